"""Queries of which every member is meant once."""

from starlette.requests import Request

from guard.core.errors import Refused


def members(request: Request) -> dict[str, str]:
    """Raises Refused where one comes twice: which of the two is meant, only the caller knows."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            detail = f"{name[:80]!r} stands in the query twice. Send it once. Nothing was written."
            raise Refused("invalid_request", detail, member=name[:80])
        found[name] = value
    return found
