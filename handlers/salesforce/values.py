"""Values of fields as callers write them, as images hold them, as Salesforce takes them; when two are the same."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from guard.core.errors import Refused
from handlers.base import UNKNOWN_FIELD, unwritable
from handlers.salesforce.names import canonical_id, record_id
from handlers.salesforce.objects import Definition, Field

_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})


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
