"""Keeping a job while it is driven: its lease is renewed for as long as the driver is at it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guard.core.limits import QUEUE_LEASE_S
from guard.queue.base import Lease, Lost, Queue, Unavailable

_RENEWALS = 3
"""Renewals within one lease: two may fail before it runs out."""


@asynccontextmanager
async def kept(queue: Queue, lease: Lease, lease_s: float = QUEUE_LEASE_S) -> AsyncIterator[asyncio.Event]:
    """Renew a lease for as long as the block lasts; the event is set once it is lost, or not known to last any more.

    The block itself is not stopped: a write under way has to be accounted for.
    """
    lost = asyncio.Event()
    renewing = asyncio.create_task(_renew(queue, lease, lease_s))
    # Also where renewing fails in a way that nobody thought of: a driver must not go on believing.
    renewing.add_done_callback(lambda task: None if task.cancelled() else lost.set())
    try:
        yield lost
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])


async def _renew(queue: Queue, lease: Lease, lease_s: float) -> None:
    """Return when the lease is lost, or when it has run out without an answer."""
    until = time.monotonic() + lease_s
    while time.monotonic() < until:
        await asyncio.sleep(lease_s / _RENEWALS)
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(until - asked_at):
                await queue.extend(lease, lease_s)
        except (Unavailable, TimeoutError):
            continue
        except Lost:
            return
        until = asked_at + lease_s
