"""The Starlette application: which address leads where."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from guard.core.errors import GuardError
from guard.flows.guard import Guard
from guard.flows.queued import work_forever
from guard.flows.recover import Recovery
from guard.store.base import StoreError
from guard.web.admission import Admission
from guard.web.callers import Callers
from guard.web.health import Readiness, healthz, metrics, readyz
from guard.web.measured import Measured
from guard.web.openapi import docs, openapi_json
from guard.web.operations import operations
from guard.web.passing import passing
from guard.web.problems import guard_error, http_error, internal_error, store_error
from guard.web.revert import carry_out, show
from guard.web.runs import changes, run, runs, stop_run
from guard.web.watching import events

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def create_app(guard: Guard) -> Starlette:
    """The application around a Guard. It sweeps up what others left; closing it lets what is under way end first."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        unasked = [asyncio.create_task(Recovery(guard).sweep_forever()), asyncio.create_task(work_forever(guard))]
        try:
            yield
        finally:
            guard.draining.set()
            for task in unasked:
                task.cancel()
            await asyncio.gather(*unasked, return_exceptions=True)
            await app.state.readiness.close()
            await guard.close()

    app = Starlette(
        routes=[
            Route("/to/{target}", passing, methods=_METHODS),
            Route("/to/{target}/{path:path}", passing, methods=_METHODS),
            Route("/v1/operations", operations, methods=["POST"]),
            Route("/v1/runs", runs),
            Route("/v1/runs/{run}", run),
            Route("/v1/runs/{run}/changes", changes),
            Route("/v1/runs/{run}/events", events),
            Route("/v1/runs/{run}/stop", stop_run, methods=["POST"]),
            Route("/revert/{token}", show),
            Route("/revert/{token}", carry_out, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi_json),
            Route("/docs", docs),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={
            GuardError: guard_error,
            StoreError: store_error,
            HTTPException: http_error,
            Exception: internal_error,
        },
        middleware=[Middleware(Measured, guard.metrics), Middleware(Admission, guard.metrics)],
        lifespan=lifespan,
    )
    app.state.guard = guard
    app.state.callers = Callers(guard.settings)
    app.state.readiness = Readiness(guard)
    return app
