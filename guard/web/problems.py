"""The one shape of every error: RFC 9457 problem details, as JSON."""

import re
from typing import Any

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import GuardError, Refused
from guard.store.base import StoreError
from guard.store.journal import store_unavailable

log = structlog.get_logger()

RETRY_AFTER_S = 5
_SAID = re.compile(r"[Nn]othing (was|has been|is) ")


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def problem(error: GuardError) -> Response:
    told = error.problem()
    if error.written == "nothing" and not _SAID.search(told["detail"]):
        told["detail"] += " Nothing was written."
    headers = {"retry-after": str(RETRY_AFTER_S)} if error.status == 503 else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Json(told, error.status, headers, media_type="application/problem+json")


async def guard_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, GuardError)  # noqa: S101 - registered for this class
    return problem(error)


async def store_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)  # noqa: S101 - registered for this class
    return problem(store_unavailable(error))


async def http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    detail = "This address does not take this method." if error.status_code == 405 else "There is nothing here."
    answer = problem(Refused(code, detail))
    answer.headers.update(error.headers or {})
    return answer


async def internal_error(request: Request, error: Exception) -> Response:
    """A fault of ours. The log has the error's type and place; contents stay out of it (I10)."""
    log.error("internal_error", method=request.method, error=type(error).__name__, exc_info=False)
    detail = "Guard failed. Whether something was written is told by the list of runs."
    broken = GuardError("internal", detail)
    broken.written = "unknown"
    return problem(broken)
