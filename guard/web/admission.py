"""So many requests at once and no more: the next one is told at once to come again, before anything is read of it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from guard.core.errors import Unavailable
from guard.core.limits import REQUESTS_MAX
from guard.metrics import Metrics
from guard.web.problems import problem


class Admission:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._gauge = metrics.requests_in_hand
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        if self._inside >= REQUESTS_MAX:
            await problem(Unavailable("overloaded", _FULL))(scope, receive, send)
            return
        self._inside += 1
        self._gauge.set(self._inside)
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
            self._gauge.set(self._inside)


_PROBES = ("/healthz", "/readyz", "/metrics")
"""Cheap, and wanted most when there is too much of everything else."""


_FULL = f"Guard has {REQUESTS_MAX} requests in hand. Nothing was written; send it again in a few seconds."
