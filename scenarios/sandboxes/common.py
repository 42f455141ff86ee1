"""What the sandbox of any vendor needs: tables that can undo, routes, limits, faults, a request log, a control plane.

A vendor's own module says what its API answers (a `Vendor`); `sandbox_app` puts the rest around it:

    GET    /_sandbox/state              every resource as one JSON object (heavy for large sandboxes)
    GET    /_sandbox/state/{resource}   one resource as NDJSON, one record a line
    POST   /_sandbox/reset              seeds, settings, log, limits and faults as they were at the start
    GET    /_sandbox/requests           the last requests in the order they were answered; DELETE forgets them
    GET    /_sandbox/counts             how many requests since then, by kind and method
    POST   /_sandbox/edit               a person's edit: {"resource", "id", "fields"}; fields null deletes the record
    POST   /_sandbox/settings           what an account's owner can set, and the vendor's module names
    POST   /_sandbox/faults             a list of faults (see `Fault`), added to those there; GET lists, DELETE forgets
    POST   /_sandbox/release            every request that hangs goes on now

The control plane needs no token, counts against no limit and is not in the log.
"""

import asyncio
import dataclasses
import hashlib
import re
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol, TypeVar, cast
from urllib.parse import parse_qsl

import orjson
import uvicorn
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request as ControlRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

LOG_REQUESTS_MAX = 200_000
"""Requests that the log remembers; older ones are forgotten."""

LOG_BODY_BYTES_MAX = 256
"""Bodies up to this size are logged as they are, larger ones as a digest."""

STATE_LINES_PER_CHUNK = 500

STOP_S = 2
"""Requests that still hang when the server is told to stop are cut off after this time."""

Row = dict[str, Any]


class Table:
    """Rows by id, with indexes. A row is replaced, never changed in place, so an old image stays what it was.

    Each index maps a row to the keys it is found by. `ordered_by` names the field that lists are paged by;
    rows that share its value are told apart by their id.
    """

    def __init__(
        self,
        indexes: Mapping[str, Callable[[Row], Iterable[str]]] | None = None,
        *,
        ordered_by: str | None = None,
    ) -> None:
        self.rows: dict[str, Row] = {}
        self.previous: dict[str, Row | None] = {}
        self.order: list[tuple[str, str]] = []
        self.changes: list[tuple[Table, str, Row | None]] = []
        self._keys = dict(indexes or {})
        self._found: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in self._keys}
        self._ordered_by = ordered_by

    def load(self, rows: Iterable[Row]) -> None:
        """Forget everything and begin with these rows, which come in the order of `ordered_by`."""
        self.rows = {row["id"]: row for row in rows}
        self.previous = {}
        self._found = {name: {} for name in self._keys}
        for key, row in self.rows.items():
            self._reindex(key, None, row)
        if self._ordered_by:
            self.order = sorted((row[self._ordered_by], key) for key, row in self.rows.items())

    def get(self, key: str, *, stale: bool = False) -> Row | None:
        """One row; `stale` answers as if the last write to it had not happened yet."""
        if stale and key in self.previous:
            return self.previous[key]
        return self.rows.get(key)

    def seen(self, rows: Iterable[Row], *, stale: bool) -> list[Row]:
        """Rows as a list shows them; `stale` as in `get`, so that those created by their last write are left out."""
        if not stale:
            return list(rows)
        return [old for row in rows if (old := self.get(row["id"], stale=True))]

    def put(self, row: Row) -> Row:
        self.changes.append((self, row["id"], self.rows.get(row["id"])))
        self.set(row["id"], row)
        return row

    def remove(self, key: str) -> None:
        self.changes.append((self, key, self.rows.get(key)))
        self.set(key, None)

    def find(self, index: str, key: str) -> tuple[str, ...]:
        """Ids of the rows that have this key, in the order in which they came by it."""
        return self._found[index].get(key, ())

    def set(self, key: str, row: Row | None) -> None:
        """Put or remove without a trace; only `put`, `remove` and an undo may."""
        old = self.rows.pop(key, None) if row is None else self.rows.get(key)
        if row is not None:
            self.rows[key] = row
        self._reindex(key, old, row)
        if self._ordered_by and (old is None) != (row is None):
            self._reorder(old, row)

    def before(self, cursor: tuple[str, str] | None, limit: int) -> list[str]:
        """The newest ids that are older than the cursor (of all, where there is none), newest first."""
        end = len(self.order) if cursor is None else bisect_left(self.order, cursor)
        return [key for _, key in reversed(self.order[max(0, end - limit) : end])]

    def _reorder(self, old: Row | None, row: Row | None) -> None:
        by = cast("str", self._ordered_by)
        if row is not None:
            insort(self.order, (row[by], row["id"]))
        elif old is not None:
            del self.order[bisect_left(self.order, (old[by], old["id"]))]

    def _reindex(self, key: str, old: Row | None, row: Row | None) -> None:
        """Keys that stay as they were keep their place, so that "first" does not depend on who was edited last."""
        for name, keys in self._keys.items():
            found = self._found[name]
            before = list(keys(old)) if old else []
            after = list(keys(row)) if row else []
            if before == after:
                continue
            for value in before:
                if left := tuple(other for other in found[value] if other != key):
                    found[value] = left
                else:
                    del found[value]
            for value in after:
                found[value] = (*found.get(value, ()), key)


class Store:
    """The tables of one sandbox, and what the request at hand has changed in them so far."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = dict(tables)
        self.changes: list[tuple[Table, str, Row | None]] = []
        for table in self.tables.values():
            table.changes = self.changes

    def commit(self) -> bool:
        """Keep what the request changed; says whether that was anything."""
        for table, key, old in reversed(self.changes):
            table.previous[key] = old
        changed = bool(self.changes)
        self.changes.clear()
        return changed

    def rollback(self) -> None:
        for table, key, old in reversed(self.changes):
            table.set(key, old)
        self.changes.clear()


@dataclass(slots=True)
class Request:
    """One request to the vendor's API, whole in memory. Header names are lower-case."""

    method: str
    path: str
    query_string: str
    headers: Mapping[bytes, bytes]
    body: bytes
    stale: bool = False

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query_string}" if self.query_string else self.path

    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_string, keep_blank_values=True))


@dataclass(slots=True)
class Reply:
    """What goes back. Status 0 is none at all: the connection is closed without an answer."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json; charset=utf-8"
    headers: Sequence[tuple[bytes, bytes]] = ()
    applied: bool = False

    @classmethod
    def json(cls, status: int, content: object) -> "Reply":
        return cls(status, orjson.dumps(content))


Handler = Callable[..., Reply]
_PARAMETER = object()


class Routes:
    """The vendor's paths as a tree of segments, so that looking one up costs its length, not their number."""

    def __init__(self) -> None:
        self._root: dict[Any, Any] = {}

    def add(self, method: str, pattern: str, handler: Handler, *, read: bool = False) -> None:
        """Segments that begin with a colon are parameters, handed to the handler in order."""
        node = self._root
        for segment in pattern.strip("/").split("/"):
            node = node.setdefault(_PARAMETER if segment.startswith(":") else segment, {})
        node[(method,)] = (handler, read or method == "GET")

    def match(self, method: str, path: str) -> tuple[Handler, list[str], bool] | None:
        """The handler, its parameters, and whether it only reads."""
        node = self._root
        params: list[str] = []
        for segment in path.strip("/").split("/"):
            if segment in node:
                node = node[segment]
            elif _PARAMETER in node:
                node = node[_PARAMETER]
                params.append(segment)
            else:
                return None
        found = node.get((method,))
        return (found[0], params, found[1]) if found else None


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests allowed in an interval and in a day; windows are fixed, and begin with the first request."""

    per_interval: int
    interval_s: float
    per_day: int


def scaled(text: str, documented: RateLimits) -> RateLimits | None:
    """From "off", or requests in the documented interval; the daily limit grows along, so that it never bites first."""
    if text == "off":
        return None
    factor = max(1.0, int(text) / documented.per_interval)
    return RateLimits(int(text), documented.interval_s, round(documented.per_day * factor))


@dataclass
class Limiter:
    """Counts requests against the limits. The clock is in seconds, and a test may put its own here."""

    limits: RateLimits
    clock: Callable[[], float] = time.monotonic
    used_interval: int = 0
    used_day: int = 0
    _interval_until: float = 0.0
    _day_until: float = 0.0

    def take(self) -> bool:
        now = self.clock()
        if now >= self._interval_until:
            self.used_interval, self._interval_until = 0, now + self.limits.interval_s
        if now >= self._day_until:
            self.used_day, self._day_until = 0, now + 86_400
        if self.used_interval >= self.limits.per_interval or self.used_day >= self.limits.per_day:
            return False
        self.used_interval += 1
        self.used_day += 1
        return True

    def wait_s(self) -> float:
        """Until the next request may pass."""
        until = self._day_until if self.used_day >= self.limits.per_day else self._interval_until
        return max(0.0, until - self.clock())


class Match(BaseModel):
    """Which requests a fault meets: method (any where absent) and a regular expression found in the path."""

    model_config = ConfigDict(extra="forbid")
    method: str | None = None
    path_regex: re.Pattern[str] = re.compile("")


class Fault(BaseModel):
    """Something that goes wrong with the requests it matches, once the first `after` of them have passed.

    status              `status` and `body` are answered, nothing is done
    html                a proxy's HTML page with `status` (502) is answered, nothing is done
    done_then_status    done, but answered with `status` and `body` (trap "create answers 422 yet creates")
    done_then_html      done, but answered with a proxy's HTML page
    ok_not_done         answered as if done, nothing is done
    hang                waits `seconds` (or for /_sandbox/release), then does it, even if the client has gone
    drop_before         the connection is closed without an answer, nothing is done
    drop_after          done, then the connection is closed without an answer
    half_json           done, the answer's JSON is cut in the middle
    empty               done, answered 200 with an empty body
    rate_limited        429 with Retry-After (`seconds`), nothing is done
    not_applied_field   done but for `field` (a key of the body, or the id or key of a custom field in it)
    stale_read          a read answers the image from before the last write
    """

    model_config = ConfigDict(extra="forbid")
    match: Match = Match()
    kind: Literal[
        "status",
        "html",
        "done_then_status",
        "done_then_html",
        "ok_not_done",
        "hang",
        "drop_before",
        "drop_after",
        "half_json",
        "empty",
        "rate_limited",
        "not_applied_field",
        "stale_read",
    ]
    times: int = 1
    after: int = 0
    status: int | None = None
    body: Any = None
    seconds: float = 1.0
    field: str = ""

    def meets(self, method: str, path: str) -> bool:
        """Whether this request is one of its own; counts it if so."""
        if self.times == 0 or self.match.method not in (None, method):
            return False
        if not self.match.path_regex.search(path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= self.times > 0
        return True

    def refusal(self) -> Reply:
        """The answer of the kinds that do nothing."""
        if self.kind == "drop_before":
            return Reply(0)
        if self.kind == "rate_limited":
            reply = Reply.json(429, self.body or {"statusCode": 429, "message": "Too Many Requests"})
            reply.headers = [(b"retry-after", b"%d" % round(self.seconds))]
            return reply
        return self._page() if self.kind == "html" else self._status()

    def disguise(self, reply: Reply) -> Reply:
        """What the client sees of a request that was done (or seems to be)."""
        match self.kind:
            case "done_then_status":
                seen = self._status()
            case "done_then_html":
                seen = self._page()
            case "drop_after":
                seen = Reply(0)
            case "half_json":
                seen = dataclasses.replace(reply, body=reply.body[: len(reply.body) // 2])
            case "empty":
                seen = Reply(200)
            case _:
                seen = reply
        seen.applied = reply.applied
        return seen

    def _status(self) -> Reply:
        status = self.status or 500
        return Reply.json(status, self.body or {"statusCode": status, "message": HTTPStatus(status).phrase})

    def _page(self) -> Reply:
        status = self.status or 502
        title = f"{status} {HTTPStatus(status).phrase}"
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        return Reply(status, page.encode(), b"text/html")


REFUSING = frozenset({"status", "html", "drop_before", "rate_limited"})
"""Kinds that answer without doing anything."""

_FAULTS = TypeAdapter(list[Fault])


class Edit(BaseModel):
    """A person's edit in the vendor's own user interface, which no API limit or allow-list applies to."""

    model_config = ConfigDict(extra="forbid")
    resource: str
    id: str
    fields: dict[str, Any] | None


class Vendor(ABC):
    """One vendor's API in memory. All of it is synchronous, so that each request is atomic."""

    store: Store
    routes: Routes
    settings: Any
    """A dataclass: what an account's owner can set, and what /_sandbox/settings may change."""

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """Do what the request asks and answer it, the vendor's refusals included."""

    def place(self, request: Request) -> str:
        """The path by which routes, faults and the log know a request; another where the body names the method."""
        return request.path

    @abstractmethod
    def image(self, resource: str, row: Row) -> Row:
        """A row as the vendor's API shows it, and whatever more is kept of it."""

    @abstractmethod
    def edit(self, resource: str, row: Row, fields: Row) -> None:
        """A person's edit of one existing record."""

    @abstractmethod
    def erase(self, resource: str, row: Row) -> None:
        """A person's deletion of one existing record."""

    @abstractmethod
    def reset(self) -> None:
        """Rows and settings as they were at the start."""

    @abstractmethod
    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        """The headers by which this vendor tells how much is left."""

    @abstractmethod
    def too_many(self) -> Reply:
        """The refusal of a request above the limit."""

    def without_field(self, body: bytes, name: str) -> bytes:
        """The same body without one field, for the fault that ignores it."""
        content = orjson.loads(body or b"{}")
        return orjson.dumps({key: value for key, value in content.items() if key != name})


@dataclass
class Log:
    """The last requests as small tuples, and counters of all since the log began."""

    entries: deque[tuple[int, str, str, int, bytes, bool]] = field(
        default_factory=lambda: deque(maxlen=LOG_REQUESTS_MAX)
    )
    counts: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    seq: int = 0

    def add(self, request: Request, target: str, reply: Reply, *, read: bool) -> None:
        self.seq += 1
        body = request.body
        if len(body) > LOG_BODY_BYTES_MAX:
            body = b"sha256:" + hashlib.sha256(body).hexdigest().encode()
        self.entries.append((self.seq, request.method, target, reply.status, body, reply.applied))
        self.counts["reads" if read else "writes"] += 1
        self.counts["applied"] += reply.applied
        self.counts["rate_limited"] += reply.status == HTTPStatus.TOO_MANY_REQUESTS
        self.methods[request.method] += 1

    def clear(self) -> None:
        self.seq = 0
        for part in (self.entries, self.counts, self.methods):
            part.clear()

    def as_json(self) -> list[Row]:
        names = ("seq", "method", "path", "status", "body", "applied")
        return [dict(zip(names, (*e[:4], e[4].decode(errors="replace"), e[5]), strict=True)) for e in self.entries]


class Sandbox:
    """The vendor's API as an ASGI application, with its limits, latency and faults around it."""

    def __init__(self, vendor: Vendor, *, latency_s: float, limits: RateLimits | None) -> None:
        self.vendor = vendor
        self.latency_s = latency_s
        self.limiter = Limiter(limits) if limits else None
        self.faults: list[Fault] = []
        self.log = Log()
        self.watchers: list[Callable[[Request, Reply, bool], None]] = []
        """Told of each request, its answer and whether a fault had to do with it: a test may look at all of them."""
        self._tasks: set[asyncio.Task[Reply]] = set()
        self._held: set[asyncio.Event] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        request = Request(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            dict(scope["headers"]),
            body,
        )
        allowed = self.limiter is None or self.limiter.take()
        headers = self.vendor.limit_headers(self.limiter) if self.limiter else []
        place = self.vendor.place(request)
        fault = next((f for f in self.faults if f.meets(request.method, place)), None) if allowed else None
        if fault and fault.kind == "hang":
            reply = await asyncio.shield(self._apart(self._hang(fault, request)))
        else:
            reply = await self._serve(request, fault, allowed=allowed)
        await _deliver(reply, headers, receive, send)

    async def _serve(self, request: Request, fault: Fault | None, *, allowed: bool) -> Reply:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if not allowed:
            reply = self.vendor.too_many()
        elif fault is None:
            reply = self._perform(request)
        elif fault.kind in REFUSING:
            reply = fault.refusal()
        else:
            reply = self._misbehave(request, fault)
        self._note(request, reply)
        for told in self.watchers:
            told(request, reply, fault is not None)
        return reply

    def _misbehave(self, request: Request, fault: Fault) -> Reply:
        if fault.kind == "not_applied_field":
            request = dataclasses.replace(request, body=self.vendor.without_field(request.body, fault.field))
        elif fault.kind == "stale_read":
            request = dataclasses.replace(request, stale=True)
        return fault.disguise(self._perform(request, keep=fault.kind != "ok_not_done"))

    def _perform(self, request: Request, *, keep: bool = True) -> Reply:
        try:
            reply = self.vendor.answer(request)
        except Exception:
            self.vendor.store.rollback()
            raise
        if keep:
            reply.applied = self.vendor.store.commit()
        else:
            self.vendor.store.rollback()
        return reply

    def _note(self, request: Request, reply: Reply) -> None:
        place = self.vendor.place(request)
        found = self.vendor.routes.match(request.method, place)
        read = found[2] if found else request.method in ("GET", "HEAD")
        self.log.add(request, request.target.replace(request.path, place, 1), reply, read=read)

    def _apart(self, work: Any) -> asyncio.Task[Reply]:
        """A task of its own: a client that hangs up must not take the slow write with it."""
        task: asyncio.Task[Reply] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _hang(self, fault: Fault, request: Request) -> Reply:
        released, log = asyncio.Event(), self.log
        self._held.add(released)
        try:
            await asyncio.wait_for(released.wait(), fault.seconds)
        except TimeoutError:
            pass
        finally:
            self._held.discard(released)
        if self.log is not log:
            # The sandbox began anew meanwhile; a write from before has no business in it.
            return Reply(0)
        return await self._serve(request, None, allowed=True)

    def release(self) -> int:
        """Let every hanging request go on; says how many there were."""
        for event in self._held:
            event.set()
        return len(self._held)

    def reset(self) -> None:
        self.vendor.reset()
        self.vendor.store.changes.clear()
        self.faults.clear()
        self.log = Log()
        self.release()
        if self.limiter:
            self.limiter = Limiter(self.limiter.limits, self.limiter.clock)


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None where the client went away before it was complete, since half a write is none."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _deliver(reply: Reply, limit_headers: Sequence[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
    if reply.status == 0:
        await _hang_up(receive)
        return
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *limit_headers,
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _hang_up(receive: Receive) -> None:
    """Close the connection without an answer.

    ASGI has no word for this; the servers' `receive` is a method of the request cycle, which knows its
    transport. Where there is no connection (an in-process client), the error goes straight to the client.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the sandbox closed the connection")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def sandbox_app(vendor: Vendor, *, latency_s: float, limits: RateLimits | None) -> Starlette:
    """The whole application; `app.state.sandbox` is the `Sandbox`, for tests in the same process."""
    sandbox = Sandbox(vendor, latency_s=latency_s, limits=limits)
    app = Starlette(
        routes=[Mount("/_sandbox", routes=_Control(sandbox).routes()), Mount("/", app=sandbox)],
    )
    app.state.sandbox = sandbox
    return app


S_contra = TypeVar("S_contra", contravariant=True)


class Opening(Protocol[S_contra]):
    """Makes the sandbox of a hosted vendor, with `records` of what it mainly has. `settings` None: as they are by
    default; `limits` None means neither limits nor the headers that tell them."""

    def __call__(
        self,
        *,
        records: int = ...,
        seed: int = ...,
        latency_s: float = ...,
        limits: RateLimits | None = ...,
        token: str = ...,
        settings: S_contra | None = ...,
    ) -> Starlette: ...


def opening(
    make: Callable[..., Vendor], default: Callable[[], S_contra], documented: RateLimits, default_token: str
) -> Opening[S_contra]:
    """How the sandboxes of the hosted vendors are made, all alike. `app.state.sandbox.vendor` is what `make` gave, for
    tests in the same process; `documented` are its limits where nobody says otherwise."""

    def create_app(
        *,
        records: int = 0,
        seed: int = 1,
        latency_s: float = 0.0,
        limits: RateLimits | None = documented,
        token: str = default_token,
        settings: S_contra | None = None,
    ) -> Starlette:
        vendor = make(records=records, seed=seed, token=token, settings=settings or default())
        return sandbox_app(vendor, latency_s=latency_s, limits=limits)

    return create_app


class _Control:
    """The control plane: what a demo, a test or a drill asks of the sandbox beside the vendor's API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def routes(self) -> list[Route]:
        return [
            Route("/state", self.state),
            Route("/state/{resource}", self.stream),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/requests", self.requests, methods=["GET", "DELETE"]),
            Route("/counts", self.counts),
            Route("/edit", self.edit, methods=["POST"]),
            Route("/settings", self.settings, methods=["POST"]),
            Route("/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/release", self.release, methods=["POST"]),
        ]

    def _tables(self) -> dict[str, Table]:
        return self.sandbox.vendor.store.tables

    async def state(self, request: ControlRequest) -> Response:
        del request
        image = self.sandbox.vendor.image
        return _json({n: [image(n, row) for row in t.rows.values()] for n, t in self._tables().items()})

    async def stream(self, request: ControlRequest) -> Response:
        name = request.path_params["resource"]
        if name not in self._tables():
            return _json({"message": f"no resource {name}", "resources": list(self._tables())}, 404)
        return StreamingResponse(self._lines(name), media_type="application/x-ndjson")

    async def _lines(self, name: str) -> AsyncIterator[bytes]:
        table, image = self._tables()[name], self.sandbox.vendor.image
        ids = list(table.rows)
        for start in range(0, len(ids), STATE_LINES_PER_CHUNK):
            rows = (table.rows.get(key) for key in ids[start : start + STATE_LINES_PER_CHUNK])
            yield b"".join(orjson.dumps(image(name, r), option=orjson.OPT_APPEND_NEWLINE) for r in rows if r)
            await asyncio.sleep(0)

    async def reset(self, request: ControlRequest) -> Response:
        del request
        self.sandbox.reset()
        return _json({"ok": True})

    async def requests(self, request: ControlRequest) -> Response:
        if request.method == "DELETE":
            self.sandbox.log.clear()
        return _json({"requests": self.sandbox.log.as_json()})

    async def counts(self, request: ControlRequest) -> Response:
        del request
        log = self.sandbox.log
        kinds = {kind: log.counts[kind] for kind in ("reads", "writes", "applied", "rate_limited")}
        return _json({"total": log.seq, **kinds, "by_method": dict(log.methods)})

    async def edit(self, request: ControlRequest) -> Response:
        try:
            edit = Edit.model_validate_json(await request.body())
        except ValidationError as error:
            return _json({"message": str(error)}, 422)
        vendor = self.sandbox.vendor
        row = self._tables().get(edit.resource, Table()).get(edit.id)
        if row is None:
            return _json({"message": f"no record {edit.id} in {edit.resource}"}, 404)
        if edit.fields is None:
            vendor.erase(edit.resource, row)
        else:
            vendor.edit(edit.resource, row, edit.fields)
        vendor.store.commit()
        return _json({"ok": True})

    async def settings(self, request: ControlRequest) -> Response:
        vendor = self.sandbox.vendor
        try:
            vendor.settings = dataclasses.replace(vendor.settings, **orjson.loads(await request.body()))
        except (TypeError, orjson.JSONDecodeError) as error:
            return _json({"message": str(error)}, 422)
        return _json(dataclasses.asdict(vendor.settings))

    async def faults(self, request: ControlRequest) -> Response:
        if request.method == "DELETE":
            self.sandbox.faults.clear()
        if request.method == "POST":
            try:
                added = _FAULTS.validate_json(await request.body())
            except ValidationError as error:
                return _json({"message": str(error)}, 422)
            self.sandbox.faults.extend(added)
        return _json({"faults": [fault.model_dump(mode="json") for fault in self.sandbox.faults]})

    async def release(self, request: ControlRequest) -> Response:
        del request
        return _json({"released": self.sandbox.release()})


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


class _Server(uvicorn.Server):
    """Says where it listens as soon as it does."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            self._ready(f"http://{self.config.host}:{port}")


def _server(app: Starlette, host: str, port: int, ready: Callable[[str], None]) -> _Server:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=STOP_S,
    )
    return _Server(config, ready)


def serve(app: Starlette, name: str, *, host: str, port: int) -> None:
    """Serve until interrupted; prints one line with the URL when ready. Port 0 takes a free one."""
    with suppress(KeyboardInterrupt):
        _server(app, host, port, lambda url: print(f"{name} sandbox: {url}", flush=True)).run()


@contextmanager
def running(app: Starlette) -> Iterator[str]:
    """Serve on a free local port, in a thread, for as long as the block lasts; gives the base URL."""
    urls: list[str] = []
    ready = threading.Event()

    def announce(url: str) -> None:
        urls.append(url)
        ready.set()

    server = _server(app, "127.0.0.1", 0, announce)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        if not ready.wait(timeout=30):
            raise RuntimeError("the sandbox did not start")
        yield urls[0]
    finally:
        server.should_exit = True
        thread.join()
