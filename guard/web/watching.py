"""GET /v1/runs/{id}/events: a run's progress as server-sent events, until it has ended.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from guard.core.errors import Unavailable
from guard.core.limits import STREAMS_MAX
from guard.flows.guard import Guard
from guard.flows.history import summary
from guard.web.runs import state_of

_LOOK_S = 1.0
_SIGN_OF_LIFE_S = 15


async def events(request: Request) -> Response:
    """`progress` whenever the numbers have changed, `ended` with the last ones; the data are the run's flat object."""
    guard: Guard = request.app.state.guard
    run = (await state_of(request)).run

    async def look() -> Seen:
        state = await guard.journals.state(run)
        over = not state.running and state.status != "reverting"
        return Seen(state.n, over, summary(guard, state, list(state.operations.values())))

    return stream(guard, look)


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody who watches is told at one moment."""

    n: int
    """Another number: something has changed."""
    over: bool
    told: dict[str, Any]


def stream(guard: Guard, look: Callable[[], Awaitable[Seen]]) -> Response:
    """Server-sent events of what `look` finds, until it is over. Raises Unavailable where too many watch already."""
    if guard.watchers >= STREAMS_MAX:
        raise Unavailable("overloaded", f"{STREAMS_MAX} callers watch runs already. Ask for run_url now and then.")
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return StreamingResponse(_told(guard, look), media_type="text/event-stream", headers=headers)


async def _told(guard: Guard, look: Callable[[], Awaitable[Seen]]) -> AsyncIterator[bytes]:
    guard.watchers += 1
    try:
        last, silent = -1, 0
        while True:
            seen = await look()
            if seen.n != last:
                yield _event("ended" if seen.over else "progress", seen)
                last, silent = seen.n, 0
            elif silent % _SIGN_OF_LIFE_S == 0:
                yield b": still there\n\n"
            if seen.over:
                return
            silent += 1
            await asyncio.sleep(_LOOK_S)
    except Unavailable:
        yield b"event: store_unavailable\ndata: {}\n\n"
    finally:
        guard.watchers -= 1


def _event(name: str, seen: Seen) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seen.n, name.encode(), orjson.dumps(seen.told))
