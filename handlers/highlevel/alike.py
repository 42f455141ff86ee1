"""What counts as the same value, and which fields go together."""

import re
from typing import Any

from guard.core.model import Change


def same(name: str, asked: Any, found: Any) -> bool:
    if asked in (None, "", [], {}):
        return found is None
    if name == "phone":  # kept as E.164: a country code is put before a national number
        return _digits(asked) == _digits(found) or (len(_digits(asked)) > 6 and _digits(found).endswith(_digits(asked)))
    if name == "email":
        return str(asked).strip().lower() == str(found).strip().lower()
    if name == "dateOfBirth":
        return _day(asked) == _day(found)
    return bool(asked == found) or str(asked).strip() == str(found).strip()


def touches(change: Change) -> frozenset[str]:
    asked = change.asked()
    derived: set[str] = set()
    if change.resource == "contacts" and "name" in asked:
        derived |= {"firstName", "lastName"}
    if change.resource == "contacts" and "email" in asked:
        derived |= {"additionalEmails"}
    if change.resource == "opportunities" and "status" in asked:
        derived |= {"lostReasonId"}
    if change.resource == "opportunities" and "pipelineId" in asked:
        derived |= {"pipelineStageId"}
    return asked | derived


def _day(value: Any) -> tuple[str, ...]:
    """Year, month, day of the forms that UpdateContactDto lists, with any of its separators."""
    parts = tuple(re.split(r"[-/._]", str(value)[:10]))
    return parts if len(parts[0]) == 4 else (*parts[2:], *parts[:2])


def _digits(value: Any) -> str:
    return "".join(char for char in str(value) if char.isdigit())
