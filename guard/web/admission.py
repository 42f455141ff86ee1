"""So many requests at once and no more. Further ones stand in line for a while, with nothing of them read: n8n sends
all items of a node at once. Whose turn does not come, and who finds the line full, is told to come again."""

import asyncio
from collections import deque

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from guard.core.errors import Unavailable
from guard.core.limits import LINE_MAX, LINE_S, REQUESTS_MAX
from guard.metrics import Metrics
from guard.web.problems import problem
from guard.web.waiting import stated_wait_s

GOES_ON = "guard.goes_on"
"""Where a request's scope names the task that goes on after its answer. Until that has ended the request keeps its
place: otherwise answered ones would pile up behind a vendor that is slow to be read back."""


class Admission:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._gauge = metrics.requests_in_hand
        self._inside = 0
        self._line: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        if not await self._let_in(scope):
            await problem(Unavailable("overloaded", _FULL))(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._leave_after(scope.get(GOES_ON))

    async def _let_in(self, scope: Scope) -> bool:
        if self._inside < REQUESTS_MAX:
            self._inside += 1
            self._gauge.set(self._inside)
            return True
        if len(self._line) >= LINE_MAX:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await asyncio.wait({turn}, timeout=_patience_s(scope))
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        if turn.done():  # a place was handed over, also where that fell together with the end of the wait
            return True
        self._give_up(turn)
        return False

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._leave()
        else:
            self._line.remove(turn)

    def _leave_after(self, task: asyncio.Task[None] | None) -> None:
        if task is None or task.done():
            self._leave()
        else:
            task.add_done_callback(lambda _: self._leave())

    def _leave(self) -> None:
        """The place goes to the first in line; nobody who comes anew is before them."""
        if self._line:
            self._line.popleft().set_result(None)
        else:
            self._inside -= 1
            self._gauge.set(self._inside)


_PROBES = ("/healthz", "/readyz", "/metrics")
"""Cheap, and wanted most when there is too much of everything else."""


def _patience_s(scope: Scope) -> float:
    """How long a caller stands in line. In the pass-through it may say so itself; elsewhere `wait` is for the work."""
    stated = stated_wait_s(HTTPConnection(scope)) if scope["path"].startswith("/to/") else None
    return LINE_S if stated is None else stated


_FULL = f"Guard has {REQUESTS_MAX} requests in hand. Nothing was written; send it again in a few seconds."
