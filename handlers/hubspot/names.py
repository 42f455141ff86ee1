"""HubSpot's object types under their many names, ids, and the requests that Guard knows."""

import re
from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused
from handlers.base import READ, WRITE, Route

STANDARD = {"contacts": "0-1", "companies": "0-2", "deals": "0-3", "tickets": "0-5"}
LINKS = "associations"
BATCH_MAX = 100
SEARCH_MAX = 200
"""Records of one page of a search."""
SEARCH_TOTAL_MAX = 10_000
"""Beyond these a search shows none."""
"""Inputs of one batch call. The vendor's documentation says so; its files name no number."""

_SINGULAR = {"contact": "contacts", "company": "companies", "deal": "deals", "ticket": "tickets"}
_ALIASES = {**{type_id: name for name, type_id in STANDARD.items()}, **_SINGULAR}
_CUSTOM = re.compile(r"2-[0-9]{1,12}")
_OBJECT_NAME = re.compile(r"[a-z][a-z0-9_]{1,63}|[0-9]-[0-9]{1,12}")
_ID = re.compile(r"[0-9]{1,20}")
_OBJECT_PATH = re.compile(r"(/crm/v3/objects/)([^/]+)(/.*)?")


def is_custom(name: object) -> bool:
    """Is this the type id of a custom object? Those are known without being named in the settings."""
    return isinstance(name, str) and _CUSTOM.fullmatch(name) is not None


def record_id(value: Any) -> str:
    """An id becomes part of a path or of a body: nothing but digits may get there."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise Refused("invalid_record", "An id is not one of HubSpot's: they are texts of digits.")


def object_name(value: Any, custom: Mapping[str, str]) -> str:
    """The one name of an object type that Guard and HubSpot both understand; `custom`: type ids by the names that the
    settings give them, which HubSpot does not know. Raises Refused."""
    name = _ALIASES.get(value, custom.get(value, value)) if isinstance(value, str) else ""
    if not _OBJECT_NAME.fullmatch(name):
        raise Refused("invalid_record", "An object type is not one of HubSpot's.")
    return name


def named_by_us(path: str, custom: Mapping[str, str]) -> str:
    """The path with the object type under the name that routes have: /crm/v3/objects/0-3/… is deals."""
    found = _OBJECT_PATH.fullmatch(path)
    if found is None:
        return path
    head, name, rest = found.groups()
    return f"{head}{_ALIASES.get(name, custom.get(name, name))}{rest or ''}"


def routes_of(name: str) -> tuple[Route, ...]:
    """The requests about one object type. Merging and GDPR deletion are not among them: see HubSpot.route."""
    path = f"/crm/v3/objects/{name}"
    return (
        Route("POST", f"{path}/search", READ),
        Route("POST", f"{path}/batch/read", READ),
        *(Route("POST", f"{path}/batch/{verb}", WRITE, name, f"batch.{verb}") for verb in BATCHES),
        Route("POST", path, WRITE, name, "create"),
        Route("PATCH", f"{path}/{{id}}", WRITE, name, "update"),
        Route("DELETE", f"{path}/{{id}}", WRITE, name, "delete"),
    )


BATCHES = {"create": "create", "update": "update", "upsert": "upsert", "archive": "delete"}

LINK_ROUTES = (
    Route("POST", "/crm/v4/associations/{from}/{to}/batch/read", READ),
    Route("POST", "/crm/v4/associations/{from}/{to}/batch/create", WRITE, LINKS, "batch.create"),
    Route("POST", "/crm/v4/associations/{from}/{to}/batch/archive", WRITE, LINKS, "batch.archive"),
    Route("POST", "/crm/v4/associations/{from}/{to}/batch/labels/archive", WRITE, LINKS, "batch.labels"),
    Route("POST", "/crm/v4/associations/{from}/{to}/batch/associate/default", WRITE, LINKS, "batch.default"),
    Route("PUT", "/crm/v4/objects/{from}/{id}/associations/default/{to}/{other}", WRITE, LINKS, "default"),
    Route("PUT", "/crm/v4/objects/{from}/{id}/associations/{to}/{other}", WRITE, LINKS, "create"),
    Route("DELETE", "/crm/v4/objects/{from}/{id}/associations/{to}/{other}", WRITE, LINKS, "archive"),
)
