"""What is the same to Keap."""

from datetime import UTC, datetime
from typing import Any

from handlers.keap.kinds import TIMES
from handlers.keap.shapes import REASON


def same(name: str, asked: Any, found: Any) -> bool:
    """Is what was found what was asked for? Keap trims, lower-cases addresses and punctuates phone numbers."""
    if asked in (None, "", [], {}):
        return found in (None, "", [], {}, False)
    if isinstance(asked, dict) and isinstance(found, dict):
        return all(_same_part(part, value, found.get(part)) for part, value in asked.items())
    if name in TIMES:
        return bool(_moment(asked) == _moment(found))
    return bool(asked == found) or same_text(asked, found)


def _same_part(part: str, asked: Any, found: Any) -> bool:
    if part == REASON:
        return True
    if part == "number":
        return _digits(asked) == _digits(found)
    return same_text(asked, found)


def same_text(asked: Any, found: Any) -> bool:
    return str(asked or "").strip().lower() == str(found or "").strip().lower()


def _digits(value: Any) -> str:
    return "".join(char for char in str(value) if char.isdigit())


def _moment(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
