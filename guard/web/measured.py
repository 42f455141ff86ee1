"""Counts and times requests by the door they came to, never by the address they named."""

import time
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guard.metrics import Metrics


class Measured:
    """A door's name is its route's path; what came to none is counted as `none`."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._doors: dict[Any, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            self._metrics.answered(self._door(scope), status, time.perf_counter() - began)

    def _door(self, scope: Scope) -> str:
        if not self._doors:
            self._doors = {route.endpoint: route.path for route in scope["app"].routes if isinstance(route, Route)}
        return self._doors.get(scope.get("endpoint"), "none")
