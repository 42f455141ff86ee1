"""GET /healthz, /readyz, /metrics: for the machines that look after Guard."""

import asyncio
import hashlib
import hmac
import time

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import Refused, Unavailable
from guard.flows.guard import Guard
from guard.store.base import KeyMissing, Store, StoreError
from guard.store.journal import store_unavailable
from guard.web.callers import key_of
from guard.web.problems import Json

_KEPT_S = 5.0
"""For so long an answer of the store's counts: probes of many machines must not become a load of their own."""
_PATIENCE_S = 3.0
_KEY = "probe/readyz"
"""Never there: that the store says so is all we want to hear."""


async def healthz(_: Request) -> Response:
    """The process is up. It says nothing about store and targets: `guard check` does."""
    return Json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """May requests be sent to this copy? Raises Unavailable where they may not."""
    guard: Guard = request.app.state.guard
    if guard.draining.is_set():
        raise Unavailable("overloaded", "This Guard is shutting down. Nothing was written.")
    await request.app.state.readiness.refuse_unready()
    return Json({"status": "ready"})


class Readiness:
    """Whether the store answers: asked by one question at a time, however many probes there are."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0

    async def refuse_unready(self) -> None:
        """Raises Unavailable."""
        if self._asking is None or (self._asking.done() and time.monotonic() > self._asked_at + _KEPT_S):
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(_ask(self._guard.journals.store))
            # Heard here also where every probe has gone before it came.
            self._asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        # One that still waits is not asked again: a store that hangs must not fill our threads with questions.
        done, _ = await asyncio.wait({self._asking}, timeout=_PATIENCE_S)
        if not done:
            raise Unavailable("store_unavailable", f"The snapshot store has not answered for {_PATIENCE_S:.0f} s.")
        self._asking.result()

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            await asyncio.wait({self._asking})


async def _ask(store: Store) -> None:
    try:
        await store.get(_KEY)
    except KeyMissing:
        return
    except StoreError as error:
        raise store_unavailable(error) from error


async def metrics(request: Request) -> Response:
    """Prometheus's text format, for whoever has the key of the settings; without one there is nothing here."""
    guard: Guard = request.app.state.guard
    known = guard.settings.server.metrics_key
    if known is None:
        raise Refused("not_found", "There is nothing here: server.metrics_key is not set.")
    if not hmac.compare_digest(_digest(key_of(request)), _digest(known.get_secret_value())):
        raise Refused("unauthenticated", "Send server.metrics_key as 'Authorization: Bearer …'. Nothing was written.")
    return Response(guard.metrics.text(), headers={"cache-control": "no-store"}, media_type=CONTENT_TYPE_LATEST)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
