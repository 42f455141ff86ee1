"""The HTML pages: for people who are not programmers, on any screen, read aloud or not, with scripts or without.

Nothing in them is from elsewhere, nothing is kept by a cache or passed on with a referrer, for the addresses of some
hold revert tokens. Scripts and styles are files of ours; none stands in a page.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from guard.core.errors import GuardError
from guard.flows.guard import Guard
from guard.web import deeds, shown

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}

STATES = {
    "accepted": "waiting for its turn",
    "running": "going on",
    "applied": "carried out",
    "partial": "carried out in part",
    "failed": "came to nothing",
    "held": "held",
    "stopped": "stopped",
    "reverting": "being taken back",
    "reverted": "taken back",
    "partly_reverted": "taken back in part",
}


def page(request: Request, template: str, told: Mapping[str, Any], status: int = 200) -> Response:
    state = request.app.state
    client = state.sessions.client(request)
    common = {
        "base": base(state.guard),
        "client_name": client.name if client else None,
        "form_token": state.sessions.form_token(request) if client else "",
    }
    text = _TEMPLATES.get_template(template).render(**common, **told)
    return Response(text, status, PAGE_HEADERS, "text/html")


def problem_page(request: Request, error: GuardError) -> Response:
    token = request.path_params.get("token")
    address = f"/revert/{quote(token, safe='')}" if token else ""
    return page(request, "problem.html", {"problem": error.problem(), "address": address}, error.status)


def see(guard: Guard, path: str) -> Response:
    """Have the browser open another page by GET, so that reloading it repeats nothing."""
    return RedirectResponse(base(guard) + path, 303, PAGE_HEADERS)


def base(guard: Guard) -> str:
    """What stands before every path, where Guard is not at the root of its host."""
    return urlsplit(guard.settings.server.public_url).path.rstrip("/")


def wants_html(request: Request) -> bool:
    """A browser names text/html and never JSON. n8n names both, and can only read JSON."""
    accept = request.headers.get("accept", "")
    return "text/html" in accept and "application/json" not in accept


def moment(text: str) -> str:
    """2026-01-31T12:00:00Z as 31 January 2026, 12:00 UTC."""
    at = datetime.fromisoformat(text)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def state(status: str) -> str:
    return STATES.get(status, status)


def _path(url: str) -> str:
    """An address of ours without its host: links lead to where the page came from, whatever the settings call it."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "plain": shown.plain,
    "value": shown.value,
    "text": shown.isolated,
    "cut": shown.cut,
    "moment": moment,
    "count": deeds.count,
    "state": state,
    "deed": deeds.deed,
    "moments": deeds.moments,
    "path": _path,
}
