"""How long a caller waits: RFC 7240 `Prefer: wait=N` and `respond-async`."""

import asyncio
import re
from typing import TypeVar

from starlette.requests import Request

from guard.core.limits import WAIT_MAX_S, WAIT_S

T = TypeVar("T")


def wait_s(request: Request) -> float:
    """Seconds, 0 for respond-async alone. What cannot be understood is ignored, as the RFC wants it."""
    prefer = ",".join(request.headers.getlist("prefer")).lower()
    if found := re.search(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])", prefer):
        return min(float(found[1]), WAIT_MAX_S)
    return 0.0 if "respond-async" in prefer else WAIT_S


async def finished(task: asyncio.Task[T], seconds: float) -> bool:
    """Wait for a task without ending it when the wait is over or the caller hangs up."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    return bool(done)
