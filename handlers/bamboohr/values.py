"""How BambooHR writes and shows values."""

from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused

_EMPTY: tuple[Any, ...] = (None, "", [], "0000-00-00")
_SCALARS = (str, int, float, bool)


def asked(given: Any) -> dict[str, Any]:
    """Fields as a caller writes them. Values are shown as texts, so numbers become texts. Raises Refused."""
    if not isinstance(given, dict):
        raise Refused("invalid_record", "The fields of a record are an object.")
    return {name: _asked(name, value) for name, value in given.items()}


def _asked(name: str, value: Any) -> Any:
    match value:
        case bool() | str() | None:
            return value
        case int() | float():
            return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        case list() if all(isinstance(each, _SCALARS) for each in value):
            return value
        case dict() if all(isinstance(each, _SCALARS) for each in value.values()):  # an amount with its currency
            return value
        case _:
            raise Refused("invalid_record", f"{name} must be a text, a number, true, false, null or a list of those.")


def sent(fields: Mapping[str, Any]) -> dict[str, Any]:
    """BambooHR's file has texts for most fields and null for none of them: an empty text empties."""
    return {name: "" if value is None else value for name, value in fields.items()}


def shown(value: Any) -> Any:
    """None for what is empty."""
    return None if any(value == empty and type(value) is type(empty) for empty in _EMPTY) else value


def same(asked: Any, found: Any) -> bool:
    one, other = shown(asked), shown(found)
    if one is None or other is None:
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) or isinstance(other, list):
        return bool(one == other)
    return bool(one == other) or _plain(one) == _plain(other)


def _plain(value: Any) -> str | float:
    """Texts without the blanks around them; numbers as such: "80000" is kept as "80000.00"."""
    text = str(value).strip()
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else text
    except ValueError:  # a digit of another script
        return text
