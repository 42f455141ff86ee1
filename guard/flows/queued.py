"""Operations that nobody waits for: taken into the store whole, then driven by whichever copy of Guard gets the job.

    records → parts in the store → journal: opened, begun (naming the parts) → job in the queue → 202
    job → lease taken in the journal → what a driver before left in doubt is settled → the chunks not yet sent → ended

What was accepted is done: it outlives the Guard that accepted it. The journal alone says what is to be done and what
was done; a job that comes twice, or to a copy that is slow, finds the operation held or ended there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from guard.core.entries import Event, pack
from guard.core.errors import GuardError, Unavailable
from guard.core.lifecycle import Illegal, OperationState
from guard.core.limits import SPOOL_BYTES_MAX, SPOOL_RECORDS_MAX, WORKERS_MAX
from guard.core.model import Change
from guard.flows.guard import Guard
from guard.flows.lease import Lease
from guard.flows.operation import Asked, Chunks, Drive, Screen, begin, finish
from guard.flows.protect import Records, at_most, records_max, screened
from guard.flows.settle import ended, settle_chunks
from guard.queue.base import Full, Job, QueueError
from guard.queue.base import Lease as Turn
from guard.queue.keeping import kept
from guard.store.journal import Journal
from guard.target.base import Target, Work
from guard.tasks import all_to_the_end

log = structlog.get_logger()

_AGAIN_S = 1.0


async def accept(guard: Guard, asked: Asked, records: Records | None, run: str, op: str) -> str:
    """Take an operation in for later; its id, once that is durable. A repeat gets the id of the first.

    Closes the records. Raises Refused, Conflict, Unavailable: nothing was accepted.
    """
    try:
        target, screen = screened(guard, asked, records)
        with guard.journals.use(run) as journal:

            async def announce(_: str, events: list[Event]) -> None:
                parts = [part async for part in _stored(journal, records)] if records else []
                events[-1]["queued"] = {"parts": parts, **_said(asked, target)}
                await all_to_the_end(journal.append(*events), guard.journals.mark_open(run))

            if asked.keyed:
                await journal.catch_up()
            op, first = await begin(guard, journal, asked, op, screen, announce)
            if first:
                guard.driven[(run, op)] -= 1  # nobody drives it yet
                with suppress(Unavailable):  # so that it is listed while it waits; `finish` tries again
                    await guard.journals.mark_indexed(journal)
                await _put_first(guard, journal, op)
            return op
    finally:
        if records:
            records.close()


def _said(asked: Asked, target: Target) -> dict[str, Any]:
    """What a driver must know besides the records."""
    return {
        "chunk_records": target.chunk_records,
        "accept": asked.accept_irreversible,
        "fields": dict(asked.fields),
        "where": dict(asked.where) if asked.where is not None else None,
    }


async def _stored(journal: Journal, records: Records) -> AsyncIterator[dict[str, Any]]:
    """Store the records in parts of bounded size; what names each part."""
    part: list[Change] = []
    size = 0
    for change in records.all():
        part.append(change)
        size += len(msgspec.json.encode(change))
        if len(part) == SPOOL_RECORDS_MAX or size >= SPOOL_BYTES_MAX:
            yield await _store(journal, part)
            part, size = [], 0
    if part:
        yield await _store(journal, part)


async def _store(journal: Journal, part: list[Change]) -> dict[str, Any]:
    packed = pack(part)
    await journal.store_lines(packed)
    return packed.reference


async def _put_first(guard: Guard, journal: Journal, op: str) -> None:
    """A queue that is full makes the caller come again; one that cannot be asked gets the job from the sweeper."""
    try:
        await put(guard, Job(journal.state.operations[op].target, journal.run, op))
    except Full as error:
        lease = await Lease.take(guard, journal, op)
        await journal.append(lease.event("ended", status="failed", records=0, recovered=True))
        await finish(guard, journal, shared=True)
        raise Unavailable("overloaded", f"{error} Nothing was written.") from error


async def put(guard: Guard, job: Job) -> None:
    """Raises Full."""
    try:
        await guard.queue.put(job)
    except Full:
        raise
    except QueueError as error:
        log.warning("job_not_put", run=job.run, op=job.op, error=str(error))


async def work_forever(guard: Guard) -> None:
    """Take jobs and drive them, those of different targets side by side. Cancelled when the process ends."""
    async with asyncio.TaskGroup() as workers:
        for _ in range(WORKERS_MAX):
            workers.create_task(_work(guard))


async def _work(guard: Guard) -> None:
    while True:
        try:
            turn = await guard.queue.take()
        except QueueError as error:
            log.warning("queue_not_usable", error=str(error))
            await asyncio.sleep(_AGAIN_S)
        else:
            await _take_turn(guard, turn)


async def _take_turn(guard: Guard, turn: Turn) -> None:
    job = turn.job
    try:
        async with kept(guard.queue, turn):
            # A write that was begun is accounted for, also when this worker is told to end.
            over = await asyncio.shield(guard.start(job.run, drive(guard, job)))
        await (guard.queue.done(turn) if over else guard.queue.release(turn))
    except (GuardError, QueueError) as error:
        log.warning("job_not_done", run=job.run, op=job.op, error=type(error).__name__)
        await asyncio.sleep(_AGAIN_S)
        with suppress(QueueError):
            await guard.queue.release(turn)


async def drive(guard: Guard, job: Job, *, at_once: bool = False) -> bool:
    """Drive a queued operation to its end. False: it is not at its end, but this process is.

    An operation that another copy holds is waited for, unless it is to be taken `at_once`.
    """
    with guard.journals.use(job.run) as journal:
        await journal.catch_up()
        while not guard.draining.is_set():
            operation = journal.state.operations.get(job.op)
            if operation is None or operation.phase == "ended":
                return True
            if journal.state.phase != "open":  # stopped, or being taken back
                await ended(guard, journal, job.op)
            elif at_once or operation.is_waiting or operation.is_expired(guard.now()):
                with suppress(Illegal):  # another copy was first
                    await _drive(guard, journal, job.op, operation)
            else:
                await asyncio.sleep(_AGAIN_S)
                await journal.catch_up()
    return False


async def _drive(guard: Guard, journal: Journal, op: str, operation: OperationState) -> None:
    queued, target = operation.begun["queued"], guard.target(operation.target)
    accepted = queued["accept"] or guard.policy(target.name).accept_irreversible
    guard.driven[(journal.run, op)] += 1
    try:
        lease = await Lease.take(guard, journal, op)
        async with lease.kept():
            await settle_chunks(journal, lease, target)
            screen = Screen.of(target, operation, accept=accepted)
            source = _source(journal, operation, target, records_max(guard, target))
            await Drive(guard, journal, lease, target, screen)(source)
    finally:
        guard.driven[(journal.run, op)] -= 1
        await finish(guard, journal, shared=True)


def _source(journal: Journal, operation: OperationState, target: Target, most: int) -> Any:
    begun, queued = operation.begun, operation.begun["queued"]

    def chunks(work: Work) -> Chunks:
        if target.traits.isolated and operation.chunks:
            return _nothing()  # its one transaction was committed or rolled back as a whole, and that is journaled
        if queued["where"] is None:
            return _unsent(journal, operation)
        return at_most(most, work.select(begun["resource"], begun["action"], queued["fields"], queued["where"]))

    return chunks


async def _nothing() -> Chunks:
    chunks: list[tuple[int, list[Change]]] = []
    for chunk in chunks:
        yield chunk


async def _unsent(journal: Journal, operation: OperationState) -> Chunks:
    """The chunks that were not announced by a driver before. Their numbers do not depend on who counts."""
    announced = {number for number, chunk in operation.chunks.items() if chunk.phase != "none"}
    size, number = operation.begun["queued"]["chunk_records"], 0
    changes: list[Change] = []
    async for change in _kept(journal, operation):
        changes.append(change)
        if len(changes) == size:
            if number not in announced:
                yield number, changes
            changes, number = [], number + 1
    if changes and number not in announced:
        yield number, changes


async def _kept(journal: Journal, operation: OperationState) -> AsyncIterator[Change]:
    for part in operation.begun["queued"]["parts"]:
        for change in await journal.named_lines(part, Change):
            yield change
