"""GET /v1/runs/{id}/events: a run's progress as server-sent events, until it has ended.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncIterator

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from guard.core.errors import Unavailable
from guard.core.lifecycle import RunState
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
    if guard.watchers >= STREAMS_MAX:
        raise Unavailable("overloaded", f"{STREAMS_MAX} callers watch runs already. Ask for run_url now and then.")
    return StreamingResponse(_told(guard, run), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _told(guard: Guard, run: str) -> AsyncIterator[bytes]:
    guard.watchers += 1
    try:
        with guard.journals.use(run) as journal:
            seen, silent = -1, 0
            while True:
                state = await journal.catch_up()
                over = not state.running and state.status != "reverting"
                if state.n != seen:
                    yield _event("ended" if over else "progress", guard, state)
                    seen, silent = state.n, 0
                elif silent % _SIGN_OF_LIFE_S == 0:
                    yield b": still there\n\n"
                if over:
                    return
                silent += 1
                await asyncio.sleep(_LOOK_S)
    except Unavailable:
        yield b"event: store_unavailable\ndata: {}\n\n"
    finally:
        guard.watchers -= 1


def _event(name: str, guard: Guard, state: RunState) -> bytes:
    data = orjson.dumps(summary(guard, state, list(state.operations.values())))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (state.n, name.encode(), data)
