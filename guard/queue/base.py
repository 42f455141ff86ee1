"""What Guard needs of a queue: long runs wait there for a driver, those of one target in line.

A queue is no more than a waking call. What is to be done, and what was done, stands in the run's journal; a job only
names it. So a job may come twice (its lease ran out while its driver was still alive), and a driver asks the journal
before it acts. Two implementations exist (in this process, and SQS FIFO), one conformance suite holds both to the same
promises (tests/queue/conformance.py).

How a flow is meant to use it:

    whoever accepts the run     journal: the operation is open, and all that a driver needs is in the store
                                await queue.put(Job(target, run, op))
                                answer 202. Full: end the operation unsent, answer 503 with Retry-After.
    a worker, on any machine    while serving:
                                    lease = await queue.take()
                                    async with kept(queue, lease) as lost:  # guard/queue/keeping.py: renews it
                                        drive, from what the journal says; before each write look at `lost`
                                    await queue.done(lease)
    at shut down                cancel take(), let the chunks under way end, await queue.release(lease)
    the sweeper                 runs whose marker `open/…` is there and that show no life: put their jobs again

The journal comes first: a put that is lost with its process is made up for by the sweeper, while a job without an
operation would be dropped. `done` comes when the journal says that the operation has ended, or that there is nothing
to do. The lease here keeps others from trying, it gives no right to write: that is the journal's lease. A driver that
finds `lost` set stops before its next write all the same, since another one is on its way.
"""

from dataclasses import dataclass
from typing import Protocol

from guard.core.limits import QUEUE_LEASE_S


class QueueError(Exception):
    """Base of everything a queue may raise; nothing else escapes from one.

    QueueError
    ├── Full         it holds as many jobs as it may: nothing was put
    ├── Lost         the lease ran out: somebody else may have the job
    └── Unavailable  no answer, or a bad one: perhaps it was done, and asking again does no harm
    """


class Full(QueueError):
    pass


class Lost(QueueError):
    pass


class Unavailable(QueueError):
    pass


@dataclass(frozen=True, slots=True)
class Job:
    """An operation or a revert that is to be driven: where it writes, its run, its id in the run's journal."""

    target: str
    run: str
    op: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The time-limited right to try a job. `takes` counts how often it was taken, this time included."""

    job: Job
    receipt: str
    takes: int


class Queue(Protocol):
    """Jobs of one target are taken in the order they were put, one at a time: the next one's turn comes when the one
    before is done. Jobs of different targets do not wait for each other.

    A job that was taken QUEUE_TAKES_MAX times and never got done is set aside, so that it does not block its target
    for ever: its run stays unfinished in the store, for the sweeper and for `guard recover`.

    Every method may be called from many tasks at once.
    """

    @property
    def jobs(self) -> int | None:
        """Jobs that wait or are being driven, as far as it is known without asking; None: it is not."""
        ...

    async def put(self, job: Job) -> None:
        """Return once the queue has it. A job that is put again before it is done comes once; whether one that is
        put again afterwards comes again is not said (SQS: only after five minutes). Raises Full, Unavailable."""
        ...

    async def take(self, lease_s: float = QUEUE_LEASE_S) -> Lease:
        """Wait for a job whose turn it is. It is nobody else's for lease_s seconds, at least one; then it comes
        again, before all others of its target. May be cancelled. Raises Unavailable."""
        ...

    async def extend(self, lease: Lease, lease_s: float = QUEUE_LEASE_S) -> None:
        """Let the lease last for lease_s seconds from now. Raises Lost, Unavailable."""
        ...

    async def done(self, lease: Lease) -> None:
        """The job is over; the next one of its target may be taken. A lease that was lost ends nothing.

        Raises Unavailable."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give the job back undone: it may be taken again at once. A lease that was lost gives nothing back.

        Raises Unavailable."""
        ...

    async def check(self) -> None:
        """Return if the queue can be used. Raises Unavailable, in words that say what to do."""
        ...

    async def close(self) -> None:
        """Wait for the calls under way. Those that come afterwards raise Unavailable, and so does a take that waits."""
        ...


def closed() -> Unavailable:
    return Unavailable("The queue is closed.")
