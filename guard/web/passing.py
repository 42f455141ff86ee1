"""ANY /to/{target}/{the vendor's own path}: the pass-through door."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from guard.core.errors import Refused, Unavailable
from guard.core.lifecycle import OperationState, outcome_status
from guard.core.limits import PASS_BYTES_MAX, REPLY_BYTES_MAX
from guard.flows.foresee import Forecast
from guard.flows.guard import Guard
from guard.flows.operation import Asked
from guard.flows.passthrough import Answer, pass_through
from guard.target.base import MayWrite
from guard.target.client import NoAnswer, NotSent
from guard.target.http import HttpTarget
from guard.web.admission import GOES_ON
from guard.web.bodies import parts as received
from guard.web.callers import Callers, refuse_foreign
from guard.web.operations import idempotency_key_of, is_dry_run, key_header
from guard.web.problems import Json
from handlers.base import READ, Reply, Route
from handlers.base import Request as VendorRequest

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@%/-]*")
_ASKED_HEADERS = ("accept", "accept-language", "content-type", "if-none-match", "if-modified-since", "version")
"""What of the caller's headers goes on. Not its Authorization: Guard uses its own credential, which must be able to
take the write back; not method overrides, which would make a write of what looks like a read."""
_KEPT_HEADERS = re.compile(
    r"content-(type|language|disposition)|etag|last-modified|cache-control|retry-after|location|link|"
    r"x-([a-z]+-)?ratelimit-.*|ratelimit.*|x-.*-remaining|x-.*-(quota|throttle)-.*|x-request-id|x-.*-error-message"
)
_RAW_HEADERS = ("content-encoding", "content-length")
_SMALL_BYTES = 64 * 1024


async def passing(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    callers: Callers = request.app.state.callers
    client = callers.client(request)
    name = request.path_params["target"]
    refuse_foreign(client, name)
    target = guard.target(name)
    if not isinstance(target, HttpTarget):
        raise Refused("unknown_route", f"{name} is a database; use POST /v1/operations. Nothing was written.")
    path = vendor_path(request.scope)
    target.handler.refuse_disguised(request.method, path, dict(request.query_params))
    content = await _body(request)
    place = target.handler.place(path, content)
    found = target.handler.route(request.method, place)
    if request.method in ("GET", "HEAD") or (found and found[0].kind == READ):
        return await _read(request, target, path, content)
    if found is None:
        raise Refused(
            "unknown_route",
            f"Guard does not know what {request.method} {place} writes, so it could not be taken back. "
            "Nothing was written.",
        )
    return await _write(request, guard, client.name, target, path, content, *found)


def vendor_path(scope: Scope) -> str:
    """The vendor's path as the caller wrote it. Raises Refused for one that could mean another one, or another host."""
    raw = scope["raw_path"].decode("latin-1")
    _, _, target, *rest = raw.split("/")
    path = "/" + "/".join(rest)  # what stands behind /to/{target}, however that is spelt
    decoded = unquote(path)
    parts = decoded.split("/")[1:]
    # ';' begins parameters of a segment in some servers, so that '..;' means '..' to them.
    odd = not _PATH.fullmatch(path) or any(char in decoded for char in "\\?#%") or not decoded.isprintable()
    empty_inside = any(not part for part in parts[:-1])
    if (
        odd
        or empty_inside
        or decoded.count("/") != path.count("/")
        or {".", ".."} & set(parts)
        or "/" in unquote(target)
    ):
        raise Refused("invalid_path", "This path is not one of the target's own. Nothing was sent.")
    return path


async def _read(request: Request, target: HttpTarget, path: str, content: bytes) -> Response:
    """Reads go through untouched; unbuffered, unless they are small."""
    # The answer goes to the caller as the vendor has packed it, so it is the caller who must be able to unpack it.
    asked = {**_headers(request, target), "accept-encoding": request.headers.get("accept-encoding", "identity")}
    sent = target.client.stream(request.method, path, request.url.query, asked, content)
    try:
        async with AsyncExitStack() as held:
            response, headers = await held.enter_async_context(sent)
            kept = {**_kept(headers, target), **{k: headers[k] for k in _RAW_HEADERS if k in headers}}
            if _is_small(headers):  # most are: answering in one piece takes less time than the parts' bookkeeping
                return Response(b"".join([part async for part in response.aiter_raw()]), response.status_code, kept)
            return _Relayed(response.aiter_raw(), response.status_code, kept, held.pop_all().aclose)
    except (NotSent, NoAnswer) as error:
        raise Unavailable(
            "target_unavailable", f"{target.name} cannot be read: {error}. Nothing was written."
        ) from error


def _is_small(headers: Mapping[str, str]) -> bool:
    size = headers.get("content-length", "")
    return len(size) < 10 and size.isdecimal() and int(size) <= _SMALL_BYTES


class _Relayed(StreamingResponse):
    """Lets go of the vendor's connection in any case, also when the caller hung up before the first byte."""

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        status: int,
        headers: dict[str, str],
        let_go: Callable[[], Awaitable[object]],
    ) -> None:
        super().__init__(parts, status, headers)
        self._let_go = let_go

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._let_go()


async def _write(
    request: Request,
    guard: Guard,
    client: str,
    target: HttpTarget,
    path: str,
    content: bytes,
    route: Route,
    params: dict[str, str],
) -> Response:
    asked_of_vendor = VendorRequest(
        method=request.method,
        path=path,
        params={name: unquote(value) for name, value in params.items()},
        query={name: ",".join(request.query_params.getlist(name)) for name in request.query_params},
        headers=request.headers,
        body=_json(content),
    )
    forwarded = _headers(request, target)
    changes = await target.changes(route, asked_of_vendor)
    if len(changes) > guard.policy(target.name).records_max:
        raise Refused("too_large", "The request touches more records than the target's policy allows.")
    asked = Asked(
        client=client,
        target=target.name,
        resource=route.resource or ", ".join(sorted({change.resource for change in changes})),
        action=route.action,
        door="pass-through",
        digest=_digest(request, path, content),
        records=len(changes),
        run_key=key_header(request, "guard-run-key"),
        idempotency_key=idempotency_key_of(request),
        scenario=key_header(request, "guard-scenario"),
        accept_irreversible=request.headers.get("guard-accept-irreversible", "").lower() in ("true", "1"),
    )
    if is_dry_run(request):
        forecast = Forecast(target)
        forecast.add(changes)
        return Json(forecast.told(asked))

    async def forward(may_send: MayWrite) -> tuple[Answer, Reply]:
        query = request.url.query
        async with target.client.stream(
            request.method, path, query, forwarded, content, whole=True, may_send=may_send
        ) as (response, headers):
            body = await _reply_body(response.aiter_bytes())
            answer = Answer(response.status_code, body, _kept(headers, target))
            return answer, Reply(response.status_code, body, headers)

    run, op, answer, request.scope[GOES_ON] = await pass_through(guard, asked, target, changes, forward)
    with guard.journals.use(run) as journal:
        state = journal.state
        told = {
            "guard-run": run,
            "guard-operation": op,
            "guard-revert-url": guard.revert_url(state),
            "guard-status": _status(state.operations[op]),
        }
    return Response(answer.body, answer.status, {**answer.headers, **told})


def _status(operation: OperationState) -> str:
    """As it ended, or as far as it is known before the post-images are read."""
    known = (operation.count(name) for name in ("applied", "failed", "unknown"))
    return str(operation.ended.get("status") or outcome_status(*known))


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in received(request):
        size += len(part)
        if size > PASS_BYTES_MAX:
            raise Refused(
                "too_large",
                f"A request that is passed through may have {PASS_BYTES_MAX // 1024} KiB; "
                "POST /v1/operations takes more. Nothing was sent.",
            )
        parts.append(part)
    return b"".join(parts)


async def _reply_body(parts: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > REPLY_BYTES_MAX:
            raise NoAnswer("its answer is too large to be understood")
    return bytes(body)


def _headers(request: Request, target: HttpTarget) -> dict[str, str]:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused("unsupported_media_type", "Send the body as it is, without Content-Encoding. Nothing was sent.")
    names = (*_ASKED_HEADERS, *target.handler.asked_headers)
    return {name: request.headers[name] for name in names if name in request.headers}


def _kept(headers: Mapping[str, str], target: HttpTarget) -> dict[str, str]:
    told = target.handler.told_headers
    return {name: value for name, value in headers.items() if _KEPT_HEADERS.fullmatch(name) or name in told}


def _json(content: bytes) -> object:
    if not content:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_body", f"The body is not JSON: {error.msg}. Nothing was written.") from None


def _digest(request: Request, path: str, content: bytes) -> str:
    parts = (request.method.encode(), path.encode(), request.url.query.encode(), content)
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
