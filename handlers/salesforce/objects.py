"""Which fields an object type has, by the org's own description, and when two values of one are the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Resource
from handlers.base import UNKNOWN_FIELD, Reply, unwritable
from handlers.salesforce.names import canonical_id, record_id

STAMPS = frozenset({"CreatedDate", "LastModifiedDate", "SystemModstamp"})
_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})
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


# Values


def asked(definition: Definition, given: Any, *, creating: bool, updating: bool) -> dict[str, Any]:
    """Fields as a caller writes them, in the vendor's names, values as images hold them. Raises Refused."""
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise Refused("invalid_record", "A record's fields are an object.")
    if unknown := [name for name in given if definition.get(name) is None]:
        raise unwritable(definition.name, unknown)
    fields: dict[str, Any] = {}
    for name, value in given.items():
        field = definition.fields[name.lower()]
        if (creating and not field.createable) or (updating and not field.updateable):
            detail = f"{field.name} of {definition.name} cannot be written so: Salesforce {field.label}."
            raise Refused(UNKNOWN_FIELD, f"{detail} Nothing was written.")
        if field.name in fields:
            raise Refused("invalid_record", f"{field.name} is named twice.")
        fields[field.name] = _typed(field, value)
    return fields


def _typed(field: Field, value: Any) -> Any:
    """Salesforce refuses texts for its numbers and flags; a CSV has only texts. Nothing and "" are the same."""
    if field.type == "multipicklist":
        return _members(value, field.name)
    if value in (None, ""):
        return None
    if isinstance(value, list | dict):
        raise _odd(field.name, "a single value")
    if field.type == "boolean":
        flag = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
        if not isinstance(flag, bool):
            raise _odd(field.name, "true or false")
        return flag
    if isinstance(value, bool):
        raise _odd(field.name, "no true or false")
    if field.type in _NUMBERS:
        number = _number(value)
        if number is None:
            raise _odd(field.name, "a number")
        return number
    if field.type in ("reference", "id"):
        return record_id(value)
    return value if isinstance(value, str) else str(value)


def _members(value: Any, name: str) -> list[str]:
    members = value.split(";") if isinstance(value, str) else [] if value is None else value
    if not isinstance(members, list) or not all(isinstance(each, str) and ";" not in each for each in members):
        raise _odd(name, "a list of texts")
    return sorted({each.strip() for each in members if each.strip()})


def _odd(name: str, what: str) -> Refused:
    return Refused("invalid_record", f"{name} must be {what}.")


def _number(value: Any) -> float | int | None:
    """None for what is no number, "nan" among it, which some tools write for nothing."""
    if isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not -1e18 < number < 1e18:
        return None
    return int(number) if number.is_integer() and "." not in str(value) else number


def image_of(row: Mapping[str, Any], definition: Definition) -> dict[str, Any] | None:
    """What can be written of a record, as a read shows it; empty is as absent. None: of no shape to rely upon."""
    image: dict[str, Any] = {}
    for name in definition.readable():
        value = row.get(name)
        if value in (None, "", []):
            continue
        if not isinstance(value, str | int | float):
            return None
        if definition.fields[name.lower()].type == "multipicklist":
            if not isinstance(value, str):
                return None
            value = _members(value, name)
        image[name] = value
    return image


def body_of(fields: Mapping[str, Any], definition: Definition, *, creating: bool) -> dict[str, Any]:
    """Fields as Salesforce takes them, of those that can be written; null empties."""
    body: dict[str, Any] = {}
    for name, value in fields.items():
        field = definition.get(name)
        if field is None or not (field.createable if creating else field.updateable):
            continue
        body[field.name] = (";".join(value) or None) if isinstance(value, list) else value
    return body


def alike(field: Field | None, asked: Any, found: Any) -> bool:
    """Is what was found what was asked for, as Salesforce keeps it? None: nothing is known of the field."""
    if asked in (None, "", []) or found in (None, "", []):
        return asked in (None, "", []) and found in (None, "", [])
    if isinstance(asked, list) or isinstance(found, list):
        return bool(asked == found)
    if asked == found and isinstance(asked, bool) == isinstance(found, bool):
        return True
    match field.type if field else "":
        case "boolean":
            return False
        case "int" | "long" | "double" | "currency" | "percent":
            one, other = _number(asked), _number(found)
            scale = field.scale if field else 18
            return one is not None and other is not None and abs(one - other) <= 0.5000001 * 10**-scale
        case "email":
            return str(asked).strip().lower() == str(found).strip().lower()
        case "reference" | "id":
            return canonical_id(asked) is not None and canonical_id(asked) == canonical_id(found)
        case "datetime":
            return moment(asked) is not None and moment(asked) == moment(found)
        case _:
            return _text(asked) == _text(found)


def names(field: Field, asked: Any, found: Any) -> bool:
    """Is the value found the one that a search asked for? Searches make no difference of case but for some fields."""
    one, other = (value if field.cased or not isinstance(value, str) else value.lower() for value in (asked, found))
    return alike(field, one, other)


def _text(value: Any) -> str:
    return str(value).replace("\r\n", "\n").strip()


def moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC)
