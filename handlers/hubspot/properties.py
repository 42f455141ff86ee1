"""Which properties an object type has, by the account's own definitions, and when two values of one are the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from guard.core.errors import Refused
from handlers.base import UNKNOWN_FIELD, Reply, unwritable

STAGE = "lifecyclestage"
"""It only moves forward: to move back it has to be emptied first, by a request of its own."""


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of one object type, by name."""

    writable: Mapping[str, str]
    """Name -> type. Only these are ever read and written."""
    readonly: frozenset[str]
    """Calculated, or kept by HubSpot."""
    sets: frozenset[str]
    """Several values in one, in any order: "a;b"."""
    unique: frozenset[str]
    """Those that name one record."""
    stages: Mapping[str, int]
    """Lifecycle stages in their order."""

    def moves_back(self, before: Any, after: Any) -> bool:
        """Would HubSpot ignore this new lifecycle stage? Yes, too, where the order of the two is not known."""
        if not before or not after or before == after:
            return False
        one, other = self.stages.get(before), self.stages.get(after)
        return one is None or other is None or other < one


def defined(reply: Reply) -> Properties | None:
    """What GET /crm/v3/properties/{type} answers; None: it does not tell."""
    results = reply.part("results")
    if reply.status != 200 or not isinstance(results, list) or not results:
        return None
    writable: dict[str, str] = {}
    readonly, sets, unique, stages = set(), set(), set(), {}
    for each in results:
        if not isinstance(each, dict) or not isinstance(name := each.get("name"), str):
            return None
        if _is_readonly(each):
            readonly.add(name)
            continue
        writable[name] = str(each.get("type"))
        if each.get("fieldType") == "checkbox":
            sets.add(name)
        if each.get("hasUniqueValue") is True:
            unique.add(name)
        if name == STAGE:
            stages = _order(each.get("options"))
    unique |= {"email"} & set(writable)  # a contact's, though the definitions do not call it unique in every account
    return Properties(writable, frozenset(readonly), frozenset(sets), frozenset(unique), stages)


def _is_readonly(definition: Mapping[str, Any]) -> bool:
    modification = definition.get("modificationMetadata")
    kept = isinstance(modification, dict) and modification.get("readOnlyValue") is not False
    return kept or definition.get("calculated") is True or definition.get("archived") is True


def _order(options: Any) -> dict[str, int]:
    told = [each for each in options if isinstance(each, dict)] if isinstance(options, list) else []
    return {str(each.get("value")): n for each in told if isinstance(n := each.get("displayOrder"), int)}


def asked(resource: str, given: Any, known: Properties) -> dict[str, str]:
    """Properties as a caller writes them, all of them as texts. Raises Refused."""
    if not isinstance(given, dict):
        raise Refused("invalid_record", "Properties must be an object.")
    if kept := sorted(set(given) & known.readonly):
        detail = f"{', '.join(kept[:10])} of {resource} cannot be written: HubSpot keeps or calculates it."
        raise Refused(UNKNOWN_FIELD, f"{detail} Nothing was written.")
    if unknown := sorted(set(given) - set(known.writable)):
        raise unwritable(resource, unknown)
    return {name: _text(name, value) for name, value in given.items()}


def _text(name: str, value: Any) -> str:
    """HubSpot's values are texts. "" empties a property; null does not, at HubSpot, and is meant to."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case str():
            return value
        case _:
            raise Refused("invalid_record", f"{name} must be a text, a number, true, false or null.")


def same(name: str, asked: Any, found: Any, known: Properties | None) -> bool:
    """Is what was found what was asked for, as HubSpot keeps it?"""
    if asked in (None, "") or found in (None, ""):
        return asked in (None, "") and found in (None, "")
    one, other = str(asked).strip(), str(found).strip()
    if one == other:
        return True
    if name == "email":
        return one.lower() == other.lower()
    if known is None:
        return False
    if name in known.sets:
        added = {each for each in one.split(";") if each}
        there = {each for each in other.split(";") if each}
        return added <= there if one.startswith(";") else added == there  # ";a" adds to what is there
    match known.writable.get(name):
        case "number":
            return _number(one) is not None and _number(one) == _number(other)
        case "bool":
            return one.lower() == other.lower()
        case "date" | "datetime":
            return _moment(one) is not None and _moment(one) == _moment(other)
        case _:
            return False


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    """HubSpot takes milliseconds since 1970, days and ISO 8601, and shows one of the latter."""
    try:
        found = datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdigit() else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found.replace(tzinfo=found.tzinfo or UTC)
