"""The HTML pages: for people who are not programmers, on any screen, read aloud or not. No script, nothing from
elsewhere, nothing kept by a cache or passed on with a referrer, for their addresses hold revert tokens."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import Response

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}

_STATES = {
    "running": "going on",
    "applied": "carried out",
    "partial": "carried out in part",
    "failed": "came to nothing",
    "stopped": "stopped",
    "reverting": "being taken back",
    "reverted": "taken back",
    "partly_reverted": "taken back in part",
}
_ACTIONS = {
    "create": "created",
    "update": "changed",
    "upsert": "created or changed",
    "delete": "deleted",
    "revert": "took back",
    "tags.add": "added tags to",
    "tags.remove": "removed tags from",
}


def page(template: str, told: Mapping[str, Any], status: int = 200) -> Response:
    text = _TEMPLATES.get_template(template).render(**told)
    return Response(text, status, PAGE_HEADERS, "text/html")


def plain(value: Any) -> str:
    """A value as a person would write it down."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(plain(each) for each in value)
        case dict():
            return ", ".join(f"{name}: {plain(each)}" for name, each in value.items())
        case None:
            return "empty"
        case _:
            return str(value)


def moment(text: str) -> str:
    """2026-01-31T12:00:00Z as 31 January 2026, 12:00 UTC."""
    at = datetime.fromisoformat(text)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def count(number: int, what: str = "record") -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def state(status: str) -> str:
    return _STATES.get(status, status)


def deed(told: Mapping[str, Any]) -> str:
    """What a run did, in a sentence without an end."""
    if told.get("checkpoint", "sealed") != "sealed":
        return f"a checkpoint of {count(told['records_total'])}, which is not sealed"
    action = str(told["action"] or "changed")
    verb = "changed between checkpoint and seal:" if "checkpoint" in told else _ACTIONS.get(action, f"{action}:")
    parts = [f"{verb} {told['records_applied']:,} of {count(told['records_total'])}"]
    if told["records_implied"]:
        parts.append(f"{told['records_implied']:,} more changed with them in the system itself")
    if told["records_failed"]:
        parts.append(f"{told['records_failed']:,} not written")
    if told["records_in_doubt"]:
        parts.append(f"{told['records_in_doubt']:,} in doubt")
    return "; ".join(parts)


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"plain": plain, "moment": moment, "count": count, "state": state, "deed": deed}
