"""The Starlette application: which address leads where."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from guard.core.errors import GuardError
from guard.core.limits import HOOKS_MAPPED_MAX
from guard.flows.guard import Guard
from guard.flows.queued import work_forever
from guard.flows.recover import Recovery
from guard.hooks.folder import Folder
from guard.hooks.reading import Known
from guard.store.base import StoreError
from guard.web import revert_pages, run_pages, signing
from guard.web.admission import Admission
from guard.web.callers import Callers
from guard.web.checkpoints import checkpoints, seal_run
from guard.web.health import Readiness, healthz, metrics, readyz
from guard.web.hooks import hook, scenarios
from guard.web.measured import Measured
from guard.web.openapi import docs, openapi_json
from guard.web.operations import operations
from guard.web.pages import page
from guard.web.passing import passing
from guard.web.plans import Plans
from guard.web.problems import guard_error, http_error, internal_error, store_error
from guard.web.runs import changes, run, runs, stop_run
from guard.web.sessions import Sessions
from guard.web.subscriptions import subscribe, subscriptions, unsubscribe
from guard.web.targets import targets
from guard.web.watching import events

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def create_app(guard: Guard) -> Starlette:
    """The application around a Guard. It sweeps up what others left; closing it lets what is under way end first.

    Raises SettingsError where the folder of scenario files is none.
    """
    folder = guard.settings.scenarios.folder
    hooks = Folder(Path(folder) if folder else None, Known.of(guard.settings))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        forever = (Recovery(guard).sweep_forever(), work_forever(guard), hooks.look_forever())
        unasked = [asyncio.create_task(each) for each in forever]
        try:
            yield
        finally:
            guard.draining.set()
            for task in unasked:
                task.cancel()
            await asyncio.gather(*unasked, return_exceptions=True)
            await app.state.readiness.close()
            await guard.close()
            app.state.plans.close()

    app = Starlette(
        routes=[
            Route("/to/{target}", passing, methods=_METHODS),
            Route("/to/{target}/{path:path}", passing, methods=_METHODS),
            Route("/v1/operations", operations, methods=["POST"]),
            Route("/hooks/{name}", hook, methods=["POST"]),
            Route("/v1/scenarios", scenarios),
            Route("/v1/checkpoints", checkpoints, methods=["POST"]),
            Route("/v1/runs", runs),
            Route("/v1/runs/{run}", run),
            Route("/v1/runs/{run}/changes", changes),
            Route("/v1/runs/{run}/events", events),
            Route("/v1/runs/{run}/seal", seal_run, methods=["POST"]),
            Route("/v1/runs/{run}/stop", stop_run, methods=["POST"]),
            Route("/v1/targets", targets),
            Route("/v1/subscriptions", subscriptions),
            Route("/v1/subscriptions", subscribe, methods=["POST"]),
            Route("/v1/subscriptions/{subscription}", unsubscribe, methods=["DELETE"]),
            Route("/revert/{token}", revert_pages.show),
            Route("/revert/{token}", revert_pages.carry_out, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi_json),
            *PAGES,
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
    app.router.redirect_slashes = False  # tools make a GET without a body of a redirected POST
    app.state.guard = guard
    app.state.hooks = hooks
    app.state.mapping = asyncio.Semaphore(HOOKS_MAPPED_MAX)
    app.state.callers = Callers(guard.settings)
    app.state.sessions = Sessions(guard.settings, app.state.callers, guard.now)
    app.state.plans = Plans(guard)
    app.state.readiness = Readiness(guard)
    return app


async def resume(request: Request) -> Response:
    """Where the page of a revert shows itself without its token; a script leads back to it when it is loaded anew."""
    return page(request, "resume.html", {})


PAGES = [
    Route("/revert", resume),
    Route("/revert/{token}/report", revert_pages.report),
    Route("/revert/{token}/events", revert_pages.events),
    Route("/", run_pages.runs),
    Route("/runs/{run}", run_pages.run),
    Route("/runs/{run}/events", run_pages.events),
    Route("/runs/{run}/changes.csv", run_pages.export),
    Route("/runs/{run}/stop", run_pages.stop, methods=["POST"]),
    Route("/sign-in", signing.show),
    Route("/sign-in", signing.sign_in, methods=["POST"]),
    Route("/sign-out", signing.sign_out, methods=["POST"]),
    Route("/docs", docs),
    Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
]
"""For people with a browser, and what their pages load. No key opens any of it, and /openapi.json tells of none:
a program has the same at other doors."""
