"""Salesforce's ids and object types, and the requests that Guard knows."""

import re
from typing import Any

from guard.core.errors import Refused
from handlers.base import READ, WRITE, Route

VERSION = "60.0"
"""Of Guard's own calls: old enough for every org, and with all that is needed. Others' may have any."""
DATA = f"/services/data/v{VERSION}"
READ_MAX = 2000
"""Records of one POST to /composite/sobjects/{type}."""
WRITE_MAX = 200
"""Records of one call of /composite/sobjects."""

_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_OBJECT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_VERSION = re.compile(r"v[0-9]{2,3}\.[0-9]")
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ANY = "/services/data/{version}"

ROUTES = (
    Route("POST", f"{_ANY}/composite/sobjects/{{type}}", READ),
    Route("POST", f"{_ANY}/composite/sobjects", WRITE, "", "create"),
    Route("PATCH", f"{_ANY}/composite/sobjects", WRITE, "", "update"),
    Route("DELETE", f"{_ANY}/composite/sobjects", WRITE, "", "delete"),
    Route("PATCH", f"{_ANY}/composite/sobjects/{{type}}/{{field}}", WRITE, "", "upsert"),
    Route("POST", f"{_ANY}/sobjects/{{type}}", WRITE, "", "row.create"),
    Route("PATCH", f"{_ANY}/sobjects/{{type}}/{{id}}", WRITE, "", "row.update"),
    Route("DELETE", f"{_ANY}/sobjects/{{type}}/{{id}}", WRITE, "", "row.delete"),
    Route("PATCH", f"{_ANY}/sobjects/{{type}}/{{field}}/{{value}}", WRITE, "", "row.upsert"),
)


def canonical_id(value: Any) -> str | None:
    """The 18-character form, which one record has but one of; None: this is no id.

    15 characters differ by case alone; the last three of 18 tell the case of the others, so that tools which
    change it do no harm.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return None
    if len(value) == 15:
        return value + _suffix(value)
    marks = [_CHECK.find(char) for char in value[15:].upper()]
    if min(marks) < 0:
        return None
    upper = [bool(marks[i // 5] >> (i % 5) & 1) for i in range(15)]
    told = "".join(char.upper() if up else char.lower() for char, up in zip(value[:15], upper, strict=True))
    return told + value[15:].upper() if _suffix(told) == value[15:].upper() else None


def _suffix(id_: str) -> str:
    parts = (id_[start : start + 5] for start in (0, 5, 10))
    return "".join(_CHECK[sum(1 << i for i, char in enumerate(part) if char.isupper())] for part in parts)


def record_id(value: Any) -> str:
    """Raises Refused: an id becomes part of a path or of a body, and nothing else may get there."""
    found = canonical_id(value)
    if found is None:
        raise Refused("invalid_record", "An id is not one of Salesforce's: they have 15 or 18 letters and digits.")
    return found


def is_object(name: object) -> bool:
    return isinstance(name, str) and _OBJECT.fullmatch(name) is not None


def refuse_odd_version(version: Any) -> None:
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise Refused("unknown_route", f"{str(version)[:20]!r} is no version of Salesforce's API. Nothing was written.")
