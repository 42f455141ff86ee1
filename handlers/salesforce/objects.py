"""Which fields an object type has, by the org's own description."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guard.core.model import Resource
from handlers.base import Reply

STAMPS = frozenset({"CreatedDate", "LastModifiedDate", "SystemModstamp"})
_UNSEEN = frozenset({"base64", "encryptedstring"})
"""What a read shows in another shape than a write takes: a file's address, a masked text. A snapshot would be wrong."""
_DERIVED = {"StageName": ("Probability", "ForecastCategoryName")}
"""Fields that Salesforce sets together with another one, though they can be written by themselves."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str
    updateable: bool
    createable: bool
    external: bool
    """An external id: its values are to name one record."""
    lookup: bool
    """A field by which the vendor finds records, too: a name, an e-mail address."""
    cased: bool
    """Values that differ by case alone are two values."""
    scale: int
    """Digits behind the point that are kept of a number."""
    label: str
    """What the vendor says of it where it cannot be written: calculated, kept by Salesforce."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One object type."""

    name: str
    prefix: str
    """What the ids of its records begin with; empty: not told."""
    fields: Mapping[str, Field]
    """By name in small letters: the vendor makes no difference."""
    undeletable: bool
    """Can be brought back out of the Recycle Bin."""
    deletable: bool
    children: tuple[tuple[str, str], ...] = ()
    """What is deleted along with a record: relationship, object type."""

    def readable(self) -> list[str]:
        """The fields of an image: what can be written, and when the record was."""
        shown = [f.name for f in self.fields.values() if f.updateable or f.createable]
        return sorted({*shown, *(f.name for f in self.fields.values() if f.name in STAMPS)})

    def get(self, name: str) -> Field | None:
        return self.fields.get(name.lower())

    def resource(self) -> Resource:
        fields = self.fields.values()
        return Resource(
            name=self.name,
            sets=frozenset(f.name for f in fields if f.type == "multipicklist"),
            volatile=STAMPS,
            readonly=frozenset(f.name for f in fields if not f.updateable and f.name not in STAMPS),
        )

    def derived(self, name: str) -> set[str]:
        """Fields that go with this one: a country and its code, a stage and its probability."""
        near = {*_DERIVED.get(name, ()), f"{name}Code", name.removesuffix("Code")}
        return {f.name for each in near - {name} if (f := self.get(each)) and f.updateable}


def defined(reply: Reply) -> Definition | None:
    """What GET /sobjects/{type}/describe answers; None: it does not tell."""
    told = reply.json()
    if reply.status != 200 or not isinstance(told, dict) or not isinstance(told.get("name"), str):
        return None
    listed = told.get("fields")
    if not isinstance(listed, list) or not all(_is_field(each) for each in listed):
        return None
    fields = {each["name"].lower(): _field(each) for each in listed}
    prefix = told.get("keyPrefix")
    return Definition(
        name=told["name"],
        prefix=prefix if isinstance(prefix, str) else "",
        fields=fields,
        undeletable=told.get("undeletable") is True,
        deletable=told.get("deletable") is not False,
        children=tuple(_children(told.get("childRelationships"))),
    )


def _is_field(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("type"), str)


def _field(told: Mapping[str, Any]) -> Field:
    is_seen = told["type"] not in _UNSEEN
    label = "calculates it" if told.get("calculated") is True or told.get("autoNumber") is True else "keeps it itself"
    scale = told.get("scale")
    return Field(
        name=told["name"],
        type=told["type"],
        updateable=told.get("updateable") is True and is_seen,
        createable=told.get("createable") is True and is_seen,
        external=told.get("externalId") is True,
        lookup=told.get("idLookup") is True and told["type"] != "id",
        cased=told.get("caseSensitive") is True,
        scale=scale if isinstance(scale, int) else 18,
        label=label if is_seen else "shows it in another shape than it takes",
    )


_HANGING = frozenset("Contacts Opportunities Cases Tasks Events Notes Attachments".split())
"""Standard relationships by which people attach something. (History, feed and sharing come by themselves.)"""


def _children(told: Any) -> list[tuple[str, str]]:
    found = []
    for each in told if isinstance(told, list) else []:
        name, kind = (each.get("relationshipName"), each.get("childSObject")) if isinstance(each, dict) else ("", "")
        if not isinstance(name, str) or not isinstance(kind, str) or each.get("cascadeDelete") is not True:
            continue
        if name in _HANGING or (name.endswith("__r") and kind.endswith("__c")):
            found.append((name, kind))
    return found
