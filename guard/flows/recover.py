"""Recover: drive runs that were cut off to their end. What was sent is settled by reading, never sent again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from guard.core.entries import pack
from guard.core.errors import GuardError
from guard.core.lifecycle import ChunkState, OperationState, event
from guard.core.model import Outcome, Status
from guard.flows.guard import Guard
from guard.flows.history import chunk_records
from guard.flows.operation import Screen, ending, finish
from guard.flows.passage import counts, journal_done
from guard.store.journal import PROCESS, Journal
from guard.target.base import Target

QUIET_S = 60.0
"""A run that was silent for so long is nobody's."""


_POLL_S = 0.25


async def ended(guard: Guard, journal: Journal, op: str) -> OperationState:
    """Wait until an operation has ended, whoever drives it; one that nobody drives any more is ended here."""
    while journal.state.operations[op].phase != "ended":
        if _is_abandoned(guard, journal, op):
            await _end_operation(guard, journal, op, journal.state.operations[op])
        else:
            await asyncio.sleep(_POLL_S)
            await journal.catch_up()
    return journal.state.operations[op]


def cut_off(operation: OperationState) -> bool:
    """Did it come to nothing because nobody was there to drive it? Then an equal request begins it anew."""
    return bool(operation.ended.get("recovered")) and operation.ended["status"] == "failed"


def _is_abandoned(guard: Guard, journal: Journal, op: str) -> bool:
    """One of this process that no task of it drives; one of another process that has been silent for long."""
    state = journal.state
    if state.operations[op].writer.startswith(PROCESS):
        return not guard.driven[(state.run, op)]
    return guard.now() - (state.changed_at or guard.now()) >= timedelta(seconds=QUIET_S)


@dataclass(frozen=True, slots=True)
class Recovered:
    run: str
    detail: str


async def recover(guard: Guard, *, at_once: bool = False) -> AsyncIterator[Recovered]:
    """End every unfinished run that is nobody's. `at_once`: also those that showed life a moment ago."""
    runs = [run async for run in guard.journals.unfinished()]
    for run in runs:
        with guard.journals.use(run) as journal:
            try:
                yield Recovered(run, await _recover(guard, journal, at_once=at_once))
            except GuardError as error:
                yield Recovered(run, f"could not be ended: {error.detail}")


async def _recover(guard: Guard, journal: Journal, *, at_once: bool) -> str:
    state = await journal.catch_up()
    if state.phase == "none":
        await guard.journals.unmark_open(journal.run)
        return "had not begun; nothing was sent"
    if not at_once and guard.now() - (state.changed_at or guard.now()) < timedelta(seconds=QUIET_S):
        return "is going on; left alone"
    settled = 0
    for op, operation in state.operations.items():
        if operation.phase == "open":
            settled += await _end_operation(guard, journal, op, operation)
    if of := state.opened.get("of"):
        await _end_revert(guard, of, state.run)
    for revert in [revert for revert, over in state.reverts.items() if over is None]:
        await _recover_revert(guard, journal, revert, at_once=at_once)
    await guard.journals.mark_indexed(state)
    await finish(guard, journal)
    return f"ended; {settled} records were settled by reading"


async def _end_operation(guard: Guard, journal: Journal, op: str, operation: OperationState) -> int:
    target = guard.target(operation.target)
    settled = 0
    for number, chunk in sorted(operation.chunks.items()):
        if chunk.phase in ("sending", "written", "settled"):
            settled += await _settle_chunk(journal, op, number, chunk, target)
    known = {name: operation.count(name) for name in ("applied", "failed", "unknown")}
    ended = ending(operation, op, Screen(target, accept=True), known)
    await journal.append({**ended, "recovered": True})
    return settled


async def _settle_chunk(journal: Journal, op: str, number: int, chunk: ChunkState, target: Target) -> int:
    if chunk.phase == "written" and chunk.receipt is not None:
        committed = await target.committed(chunk.receipt)
        if committed is not None:
            numbers = {"applied": chunk.records, "failed": 0} if committed else {"applied": 0, "failed": chunk.records}
            undone = {} if committed else {"rolled_back": True}
            await journal.append(event("sealed", op=op, chunk=number, unknown=0, **numbers, **undone))
            return chunk.records
    known = await chunk_records(journal, chunk)
    touched = [each for each, _ in known]
    async with target.work() as work:
        outcomes = await work.after(touched, [_open(outcome) for _, outcome in known])
    packed = pack(outcomes)
    sealed = event("sealed", op=op, chunk=number, lines=packed.reference, **counts(touched, outcomes))
    await journal_done(journal, packed, sealed)
    return chunk.records


def _open(outcome: Outcome) -> Outcome:
    """As `after` takes it: an outcome that was never journaled is unknown."""
    return outcome if outcome.status is not Status.UNKNOWN else Outcome(status=Status.UNKNOWN, failure=outcome.failure)


async def _recover_revert(guard: Guard, journal: Journal, revert: str, *, at_once: bool) -> None:
    """A revert of this run that was cut off, perhaps before it had a journal or a mark of its own."""
    with guard.journals.use(revert) as own:
        state = await own.catch_up()
        if state.phase == "none":
            await journal.append(event("revert_ended", revert=revert, status="failed"))
        else:
            await _recover(guard, own, at_once=at_once)


async def _end_revert(guard: Guard, of: str, revert: str) -> None:
    """The run that was being taken back hears that this revert is over; another one may begin."""
    with guard.journals.use(of) as journal:
        state = await journal.catch_up()
        if revert in state.reverts and state.reverts[revert] is None:
            await journal.append(event("revert_ended", revert=revert, status="partly_reverted"))
