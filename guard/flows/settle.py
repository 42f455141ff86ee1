"""Settle: what was sent and never accounted for is found out by reading, never sent again; then the operation ends."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from guard.core.entries import pack
from guard.core.lifecycle import ChunkState, Illegal, OperationState, RunState, event
from guard.core.model import Outcome, Status
from guard.flows.callback import heard
from guard.flows.guard import Guard
from guard.flows.history import chunk_records
from guard.flows.lease import Lease
from guard.flows.operation import Screen, ending, finish
from guard.flows.passage import counts, journal_done
from guard.store.journal import Journal
from guard.target.base import Target

POLL_S = 0.25


async def ended(guard: Guard, journal: Journal, op: str) -> OperationState:
    """Wait until an operation has ended, whoever drives it; one that nobody drives any more is ended here."""
    while journal.state.operations[op].phase != "ended":
        if is_abandoned(guard, journal, op) and not goes_on_later(journal.state, op):
            with suppress(Illegal):  # somebody else has just taken it over
                await end_operation(guard, journal, op)
        else:
            await asyncio.sleep(POLL_S)
            await journal.catch_up()
    return journal.state.operations[op]


def goes_on_later(state: RunState, op: str) -> bool:
    """Is it one that waits in the queue, or is taken up there again when its driver dies?"""
    return state.phase == "open" and "queued" in state.operations[op].begun


def cut_off(operation: OperationState) -> bool:
    """Did it come to nothing because nobody was there to drive it? Then an equal request begins it anew."""
    return bool(operation.ended.get("recovered")) and operation.ended["status"] == "failed"


def is_abandoned(guard: Guard, journal: Journal, op: str) -> bool:
    """One of this copy of Guard that no task of it drives; one of another copy whose lease is over."""
    operation = journal.state.operations[op]
    if operation.writer.startswith(guard.journals.writer):
        return not guard.driven[(journal.run, op)]
    return operation.is_expired(guard.now())


def is_silent(guard: Guard, since: datetime | None) -> bool:
    return since is None or guard.now() - since >= timedelta(seconds=guard.lease_s * 1.5)


async def is_revert_abandoned(guard: Guard, journal: Journal, revert: str) -> bool:
    """Has the revert of this run, that has not ended in its journal, nobody who carries it out?"""
    with guard.journals.use(revert) as own:
        state = await own.catch_up()
        open_ones = [op for op, operation in state.operations.items() if operation.phase == "open"]
        if open_ones:
            return all(is_abandoned(guard, own, op) for op in open_ones)
        return is_silent(guard, state.changed_at or journal.state.changed_at)


async def take_over_revert(guard: Guard, journal: Journal, revert: str) -> None:
    """End a revert of this run that nobody carries out any more; if somebody does, it gets nothing more done.

    Its own journal is closed first, so that no operation can begin in it: only then may another revert begin.
    Raises Illegal where somebody else has just done so.
    """
    with guard.journals.use(revert) as own:
        state = await own.catch_up()
        if state.phase == "none":
            await own.append(event("opened", kind="revert", of=journal.run), event("closing"))
        elif state.phase == "open":
            await own.append(event("closing"))
        for op, operation in list(state.operations.items()):
            if operation.phase == "open":
                await end_operation(guard, own, op)
        await finish(guard, own, shared=True)
    await journal.append(event("revert_ended", revert=revert, status="partly_reverted"))


async def end_operation(guard: Guard, journal: Journal, op: str) -> int:
    """Take an operation over, settle what is open of it, end it. Raises Illegal where another one did so first."""
    target = guard.target(journal.state.operations[op].target)
    guard.driven[(journal.run, op)] += 1
    try:
        lease = await Lease.take(guard, journal, op)
        async with lease.kept():
            return await _settle_operation(guard, journal, lease, target)
    finally:
        guard.driven[(journal.run, op)] -= 1


async def _settle_operation(guard: Guard, journal: Journal, lease: Lease, target: Target) -> int:
    operation = journal.state.operations[lease.op]
    settled = await settle_chunks(journal, lease, target)
    known = {name: operation.count(name) for name in ("applied", "failed", "unknown")}
    stopped = journal.state.phase != "open"
    ended = ending(operation, lease, Screen.of(target, operation), known, stopped=stopped)
    await journal_done(journal, (), {**await heard(guard, journal.state, ended), "recovered": True})
    return settled


async def settle_chunks(journal: Journal, lease: Lease, target: Target) -> int:
    """Find out what became of the chunks that were announced and not accounted for; how many records that were."""
    settled = 0
    for number, chunk in sorted(journal.state.operations[lease.op].chunks.items()):
        if chunk.phase in ("sending", "written", "settled"):
            settled += await _settle_chunk(journal, lease, number, chunk, target)
    return settled


async def _settle_chunk(journal: Journal, lease: Lease, number: int, chunk: ChunkState, target: Target) -> int:
    if chunk.phase == "written" and chunk.receipt is not None:
        committed = await target.committed(chunk.receipt)
        if committed is not None:
            numbers = {"applied": chunk.records, "failed": 0} if committed else {"applied": 0, "failed": chunk.records}
            undone = {} if committed else {"rolled_back": True}
            await journal_done(journal, (), lease.event("sealed", chunk=number, unknown=0, **numbers, **undone))
            return chunk.records
    known = await chunk_records(journal, chunk)
    touched = [each for each, _ in known]
    async with target.work() as work:
        outcomes = await work.after(touched, [_open(outcome) for _, outcome in known])
    packed = pack(outcomes)
    sealed = lease.event("sealed", chunk=number, lines=packed.reference, **counts(touched, outcomes))
    await journal_done(journal, (packed,), sealed)
    return chunk.records


def _open(outcome: Outcome) -> Outcome:
    """As `after` takes it: an outcome that was never journaled is unknown."""
    return outcome if outcome.status is not Status.UNKNOWN else Outcome(status=Status.UNKNOWN, failure=outcome.failure)
