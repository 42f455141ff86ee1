"""How long a caller waits: RFC 7240 `Prefer: wait=N` and `respond-async`."""

import asyncio
import re
from typing import Any, TypeVar

from starlette.requests import HTTPConnection

from guard.core.limits import WAIT_MAX_S, WAIT_S

T = TypeVar("T")


def wait_s(request: HTTPConnection) -> float:
    """Seconds, 0 for respond-async alone. What cannot be understood is ignored, as the RFC wants it."""
    stated = stated_wait_s(request)
    if stated is not None:
        return stated
    return 0.0 if "respond-async" in _prefer(request) else WAIT_S


def stated_wait_s(request: HTTPConnection) -> float | None:
    """Seconds for which the caller says that it waits; None where it does not say."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])", _prefer(request))
    return min(float(found[1]), WAIT_MAX_S) if found else None


def _prefer(request: HTTPConnection) -> str:
    return ",".join(request.headers.getlist("prefer")).lower()


async def finished(task: asyncio.Task[T], seconds: float) -> bool:
    """Wait for a task without ending it when the wait is over or the caller hangs up."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    return bool(done)


async def finished_or_begun(task: asyncio.Task[T], begun: asyncio.Future[str], seconds: float) -> bool:
    """True: the task ended within the wait. False: it goes on, and `begun` is known.

    Nothing is called accepted before the journal has it: by then it was found fit, and run_url shows it.
    """
    if not await finished(task, seconds):
        either: set[asyncio.Future[Any]] = {task, begun}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    return task.done()
