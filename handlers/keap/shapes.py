"""Keap's records as images, and callers' fields as changes.

A list that a write replaces as a whole (a contact's e-mail addresses, anybody's custom fields) is a field for each of
its members: `custom_fields.7`, `email_addresses.EMAIL1`. So members are compared and taken back one by one, and a write
of one is sent together with all the others that are there.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Change, Fields, Image
from handlers.base import unwritable
from handlers.keap.kinds import (
    CUSTOM,
    FLAGS,
    KINDS,
    NUMBERS,
    OFF,
    REFERENCES,
    RESOURCES,
    SINGLE,
    SLOTS,
    STATUS,
    TAGS,
    Kind,
)

DUPLICATES = "duplicate_option"
"""Of an upsert, beside its fields: by what Keap looks for the contact. A completed change has it no more."""

DUPLICATE_KEYS = {
    "Email": (),
    "EmailAndName": ("given_name", "family_name"),
    "EmailAndNameAndCompany": ("given_name", "family_name", "company"),
}

REASON = "opt_in_reason"
UNSEEN = "lists_not_shown"
"""Of an image: lists that the answer did not show though it was asked to. They may be empty, or hold anything."""

_EMPTY: tuple[Any, ...] = (None, "", [], {})


def known(resource: str) -> frozenset[str]:
    kind, described = KINDS[resource], RESOURCES[resource]
    return (kind.writable | described.volatile | described.readonly) - kind.lists - {UNSEEN}


# Found


def found(resource: str, record: Any) -> dict[str, Any] | None:
    """A record as read; None where it is of no shape that could be relied upon."""
    try:
        return _found(resource, record)
    except (TypeError, AttributeError, KeyError, ValueError):
        return None


def _found(resource: str, record: Mapping[str, Any]) -> dict[str, Any]:
    kind = KINDS[resource]
    image: dict[str, Any] = {"id": _text(record["id"])}
    for name, value in record.items():
        if name in kind.lists:
            image |= _members(name, value or [])
        elif name in kind.nested:
            image[kind.nested[name]] = _text(value["id"]) if value else None
        elif name == TAGS:
            image[name] = sorted(_text(each) for each in value or [])
        elif name in SINGLE or name == "address":
            group = SINGLE.get(name, "addresses")
            image[name] = _in_slot(group, value or {}, _written(group, value or {}))
        elif name == "pinned_at":
            image |= {"is_pinned": value not in _EMPTY, name: value}
        elif name in known(resource) and name != "id":
            image[name] = value
    image = {name: v for name, v in image.items() if v not in _EMPTY and not (name in OFF and v is False)}
    unseen = sorted(name for name in kind.lists if name not in record)
    return {**image, **({UNSEEN: unseen} if unseen else {})}


def _members(name: str, items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    image: dict[str, Any] = {}
    for item in items:
        key, value = _text(item[SLOTS[name][0]]), _member(name, item)
        if f"{name}.{key}" in image:
            raise ValueError(f"two of {name} are {key}")  # then they cannot be told apart when one is put back
        image[f"{name}.{key}"] = value
        if item.get(STATUS):
            image[f"{STATUS}.{key}"] = item[STATUS]
    return image


def _member(name: str, item: Mapping[str, Any]) -> Any:
    """What is written of a list's member; None where it is empty."""
    return item.get("content") if name == CUSTOM else _written(name, item)


def _written(name: str, item: Mapping[str, Any]) -> dict[str, Any] | None:
    _, essential, parts = SLOTS[name]
    value = {part: item[part] for part in sorted(parts) if item.get(part) not in _EMPTY}
    for long, code in (("country", "country_code"), ("region", "region_code")):
        if code in value:
            value.pop(long, None)  # Keap's own, from the code
    return value if value and (not essential or value.get(essential)) else None


def _in_slot(group: str, item: Any, value: dict[str, Any] | None) -> dict[str, Any] | None:
    """A company's only member of its kind, with its slot, where it names one."""
    key_name = SLOTS[group][0]
    slot = item.get(key_name) if isinstance(item, dict) else None
    return {key_name: slot, **value} if value and slot else value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value


def members_of(name: str, image: Image) -> dict[str, Any]:
    """The members that an image has of a list, by their keys."""
    prefix = f"{name}."
    return {field.removeprefix(prefix): value for field, value in (image or {}).items() if field.startswith(prefix)}


# Asked for


def asked(resource: str, given: Any, *, replacing: bool) -> dict[str, Any]:
    """A caller's fields in our names. `replacing`: a list is the whole of it, as Keap takes it; otherwise members that
    are not named stay, and an empty list empties it. Raises Refused."""
    if not isinstance(given, dict):
        raise invalid("The fields must be an object.")
    kind = KINDS[resource]
    if unknown := [name for name in given if name not in kind.writable and not _is_member(name, kind)]:
        raise unwritable(resource, unknown)
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name not in kind.lists:
            fields[name] = _asked_member(name, value) if _is_member(name, kind) else _asked_value(name, value)
            continue
        listed = _asked_list(name, value)
        if replacing or not listed:
            fields[name] = listed
        else:
            fields |= {f"{name}.{key}": each for key, each in listed.items()}
    return fields


def _is_member(name: str, kind: Kind) -> bool:
    group, _, key = name.partition(".")
    return bool(key) and group in kind.lists


def _asked_list(name: str, value: Any) -> dict[str, Any]:
    key_name = SLOTS[name][0]
    if not isinstance(value, list) or not all(isinstance(e, dict) and isinstance(e.get(key_name), str) for e in value):
        raise invalid(f"{name} must be a list of objects, each with its {key_name}.")
    listed = {each[key_name]: _asked_member(f"{name}.{each[key_name]}", each) for each in value if each[key_name]}
    if len(listed) != len(value):
        raise invalid(f"Two of {name} have the same {key_name}, or none.")
    return listed


def _asked_member(name: str, value: Any) -> Any:
    """A member as a caller gives it: an object as Keap takes it or, in a CSV, its value alone."""
    group = name.partition(".")[0]
    if group == CUSTOM:
        return _none(value.get("content") if isinstance(value, dict) else value)
    if isinstance(value, str | None) and SLOTS[group][1]:
        value = {SLOTS[group][1]: value}
    if not isinstance(value, dict):
        raise invalid(f"{name} must be an object.")
    member = _written(group, value)
    reason = value.get(REASON)
    return {**member, REASON: reason} if member and reason and group == "email_addresses" else member


def _asked_value(name: str, value: Any) -> Any:
    if name in SINGLE or name == "address":
        group = SINGLE.get(name, "addresses")
        return None if value in _EMPTY else _in_slot(group, value, _asked_member(group, value))
    if name == "company":
        return _company(value)
    if name in REFERENCES and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _typed(name, _none(value))


def _company(value: Any) -> str | None:
    """By its id alone: by a name Keap might make a company that is not the run's to delete."""
    if value in _EMPTY:
        return None
    id_ = value.get("id") if isinstance(value, dict) else value
    if not isinstance(id_, str) or not id_:
        raise invalid("Name the company by its id.")
    return id_


def _typed(name: str, value: Any) -> Any:
    """A CSV has only texts."""
    if name in FLAGS and value in ("true", "false"):
        return value == "true"
    if name in NUMBERS and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise invalid(f"{name} must be a number.") from None
        if not math.isfinite(number):
            raise invalid(f"{name} must be a number.")
        return int(number) if number.is_integer() else number
    return value


def _none(value: Any) -> Any:
    return None if value in _EMPTY else value


def invalid(sentence: str) -> Refused:
    return Refused("invalid_record", sentence)


def gives_reason(fields: Fields) -> bool:
    """Does a change say why an address may be mailed?"""
    replaced = fields.get("email_addresses")
    of_company = fields.get("email_address")
    given = [*(replaced or {}).values(), *members_of("email_addresses", fields).values(), of_company]
    return any(isinstance(value, dict) and REASON in value for value in given)


def completed(change: Change, before: Image) -> dict[str, Any]:
    """Fields with every member of a replaced list named: those that are not in the new list are taken away."""
    kind, fields = KINDS[change.resource], dict(change.fields)
    fields.pop(DUPLICATES, None)
    for name in kind.lists & set(fields):
        replaced = fields.pop(name)
        gone = dict.fromkeys(members_of(name, before))
        fields |= {f"{name}.{key}": value for key, value in {**gone, **replaced}.items()}
    return fields
