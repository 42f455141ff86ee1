"""A queue in this process: nothing to install. What waits in it is lost with the process; the journals are not, and
the sweeper puts their jobs again."""

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from guard.core.limits import QUEUE_JOBS_MAX, QUEUE_LEASE_S, QUEUE_TAKES_MAX
from guard.queue.base import Full, Job, Lease, Lost, closed

log = structlog.get_logger()


@dataclass(slots=True)
class _Place:
    """A job's place in the line. `receipt` is that of the one lease that counts, "" while nobody has it."""

    job: Job
    takes: int = 0
    receipt: str = ""
    until: float = 0.0


class MemoryQueue:
    """At most jobs_max jobs, those that are being driven included."""

    def __init__(self, jobs_max: int = QUEUE_JOBS_MAX) -> None:
        self._jobs_max = jobs_max
        self._places: dict[Job, _Place] = {}
        self._receipts = itertools.count(1)
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def jobs(self) -> int:
        return len(self._places)

    async def put(self, job: Job) -> None:
        self._check()
        if job in self._places:
            return
        if len(self._places) >= self._jobs_max:
            raise Full(f"{self._jobs_max} jobs are waiting, more are not taken. Try again later.")
        self._places[job] = _Place(job)
        self._wake()

    async def take(self, lease_s: float = QUEUE_LEASE_S) -> Lease:
        while True:
            self._check()
            if place := self._next():
                place.takes += 1
                place.receipt, place.until = str(next(self._receipts)), time.monotonic() + lease_s
                return Lease(place.job, place.receipt, place.takes)
            await self._change()

    async def extend(self, lease: Lease, lease_s: float = QUEUE_LEASE_S) -> None:
        self._check()
        if not (place := self._held(lease)):
            raise Lost(f"The lease on {lease.job.op} of {lease.job.run} ran out.")
        place.until = time.monotonic() + lease_s

    async def done(self, lease: Lease) -> None:
        self._check()
        if self._held(lease):
            del self._places[lease.job]
            self._wake()

    async def release(self, lease: Lease) -> None:
        self._check()
        if place := self._held(lease):
            place.receipt = ""
            self._wake()

    async def check(self) -> None:
        self._check()

    async def close(self) -> None:
        self._closed = True
        self._wake()

    def _next(self) -> _Place | None:
        """The first job of those whose target nobody drives."""
        driven: set[str] = set()
        for place in list(self._places.values()):
            if place.job.target in driven:
                continue
            if place.receipt and time.monotonic() < place.until:
                driven.add(place.job.target)
            elif place.takes >= QUEUE_TAKES_MAX:
                log.error("job_set_aside", target=place.job.target, run=place.job.run, op=place.job.op)
                del self._places[place.job]
            else:
                return place
        return None

    async def _change(self) -> None:
        """Wait until a job comes, goes or is given back, or until a lease runs out."""
        ends = [place.until for place in self._places.values() if place.receipt]
        wait_s = max(0.0, min(ends) - time.monotonic()) if ends else None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), wait_s)

    def _wake(self) -> None:
        """Wake all who wait, and let those who wait afterwards wait for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _held(self, lease: Lease) -> _Place | None:
        """The job's place, if this lease is still the one that counts: nobody took the job since."""
        place = self._places.get(lease.job)
        return place if place and place.receipt == lease.receipt else None

    def _check(self) -> None:
        if self._closed:
            raise closed()
