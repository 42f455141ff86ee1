"""Recover: drive runs that were cut off to their end. What was sent is settled by reading, never sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from guard.core.entries import pack
from guard.core.errors import GuardError
from guard.core.lifecycle import ChunkState, Illegal, OperationState, event
from guard.core.lines import outcome_line
from guard.core.model import Outcome, Status
from guard.flows.callback import call_back
from guard.flows.guard import Guard
from guard.flows.history import chunk_records
from guard.flows.lease import Lease
from guard.flows.operation import Screen, ending, finish
from guard.flows.passage import counts, journal_done
from guard.store.journal import Journal
from guard.target.base import Target

log = structlog.get_logger()

_POLL_S = 0.25


async def ended(guard: Guard, journal: Journal, op: str) -> OperationState:
    """Wait until an operation has ended, whoever drives it; one that nobody drives any more is ended here."""
    while journal.state.operations[op].phase != "ended":
        if _is_abandoned(guard, journal, op):
            with suppress(Illegal):  # somebody else has just taken it over
                await _end_operation(guard, journal, op)
        else:
            await asyncio.sleep(_POLL_S)
            await journal.catch_up()
    return journal.state.operations[op]


def cut_off(operation: OperationState) -> bool:
    """Did it come to nothing because nobody was there to drive it? Then an equal request begins it anew."""
    return bool(operation.ended.get("recovered")) and operation.ended["status"] == "failed"


def _is_abandoned(guard: Guard, journal: Journal, op: str) -> bool:
    """One of this copy of Guard that no task of it drives; one of another copy whose lease is over."""
    operation = journal.state.operations[op]
    if operation.writer.startswith(guard.journals.writer):
        return not guard.driven[(journal.run, op)]
    return operation.is_expired(guard.now())


@dataclass(frozen=True, slots=True)
class Recovered:
    run: str
    detail: str


class Recovery:
    """Finds and ends what is nobody's. Kept by a process that sweeps again and again."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._empty_since: dict[str, datetime] = {}

    async def sweep_forever(self) -> None:
        """At the start and then twice a lease: what a killed copy left behind is ended by those that live."""
        while True:
            try:
                async for recovered in self.sweep():
                    if recovered.detail not in (_GOING_ON, _NOT_BEGUN_YET):
                        log.info("recovered", run=recovered.run, detail=recovered.detail)
            except GuardError as error:
                log.warning("sweep_failed", code=error.code)
            await asyncio.sleep(self._guard.lease_s / 2)

    async def sweep(self, *, at_once: bool = False) -> AsyncIterator[Recovered]:
        """End every unfinished run that is nobody's. `at_once`: also those whose lease is not over.

        Raises Unavailable where the store cannot be listed; what goes wrong with one run is told as its detail.
        """
        runs = [run async for run in self._guard.journals.unfinished()]
        self._empty_since = {run: since for run, since in self._empty_since.items() if run in runs}
        for run in runs:
            with self._guard.journals.use(run) as journal:
                try:
                    yield Recovered(run, await self._recover(journal, at_once=at_once))
                except Illegal:
                    yield Recovered(run, "was taken over by another Guard")
                except GuardError as error:
                    yield Recovered(run, f"could not be ended: {error.detail}")

    async def _recover(self, journal: Journal, *, at_once: bool) -> str:
        guard, state = self._guard, await journal.catch_up()
        if state.phase == "none":
            return await self._forget_empty(journal.run, at_once=at_once)
        settled = 0
        for op, operation in list(state.operations.items()):
            if operation.phase != "open":
                continue
            if not at_once and not _is_abandoned(guard, journal, op):
                return _GOING_ON
            settled += await _end_operation(guard, journal, op)
        if of := state.opened.get("of"):
            if not at_once and not state.operations and not _is_silent(guard, state.changed_at):
                return _GOING_ON
            await self._end_revert(of, journal, at_once=at_once)
        for revert in [revert for revert, over in state.reverts.items() if over is None]:
            if not at_once and not await self._is_abandoned(journal, revert):
                return _GOING_ON
            await take_over_revert(guard, journal, revert)
        await call_back(guard, journal)
        await finish(guard, journal, shared=True)
        return f"ended; {settled} records were settled by reading"

    async def _forget_empty(self, run: str, *, at_once: bool) -> str:
        """A mark without a journal: its run begins at this moment, or its Guard died before that."""
        since = self._empty_since.setdefault(run, self._guard.now())
        if not at_once and not _is_silent(self._guard, since):
            return _NOT_BEGUN_YET
        await self._guard.journals.unmark_open(run)
        return "had not begun; nothing was sent"

    async def _end_revert(self, of: str, own: Journal, *, at_once: bool) -> None:
        """The run that was being taken back hears that this revert is over; another one may begin."""
        with self._guard.journals.use(of) as journal:
            state = await journal.catch_up()
            going_on = own.run in state.reverts and state.reverts[own.run] is None
            if going_on and (at_once or await self._is_abandoned(journal, own.run)):
                await take_over_revert(self._guard, journal, own.run)
                await finish(self._guard, journal, shared=True)

    async def _is_abandoned(self, journal: Journal, revert: str) -> bool:
        return journal.run not in self._guard.reverting and await is_revert_abandoned(self._guard, journal, revert)


_GOING_ON = "is going on; left alone"
_NOT_BEGUN_YET = "has not begun yet; left alone"


def _is_silent(guard: Guard, since: datetime | None) -> bool:
    return since is None or guard.now() - since >= timedelta(seconds=guard.lease_s * 1.5)


async def is_revert_abandoned(guard: Guard, journal: Journal, revert: str) -> bool:
    """Has the revert of this run, that has not ended in its journal, nobody who carries it out?"""
    with guard.journals.use(revert) as own:
        state = await own.catch_up()
        open_ones = [op for op, operation in state.operations.items() if operation.phase == "open"]
        if open_ones:
            return all(_is_abandoned(guard, own, op) for op in open_ones)
        return _is_silent(guard, state.changed_at or journal.state.changed_at)


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
                await _end_operation(guard, own, op)
        await finish(guard, own, shared=True)
    await journal.append(event("revert_ended", revert=revert, status="partly_reverted"))


async def _end_operation(guard: Guard, journal: Journal, op: str) -> int:
    """Take an operation over, settle what is open of it, end it. Raises Illegal where another one did so first."""
    target = guard.target(journal.state.operations[op].target)
    guard.driven[(journal.run, op)] += 1
    try:
        lease = await Lease.take(guard, journal, op)
        async with lease.kept():
            return await _settle_operation(journal, lease, target)
    finally:
        guard.driven[(journal.run, op)] -= 1


async def _settle_operation(journal: Journal, lease: Lease, target: Target) -> int:
    operation = journal.state.operations[lease.op]
    settled = 0
    for number, chunk in sorted(operation.chunks.items()):
        if chunk.phase in ("sending", "written", "settled"):
            settled += await _settle_chunk(journal, lease, number, chunk, target)
    known = {name: operation.count(name) for name in ("applied", "failed", "unknown")}
    stopped = journal.state.phase != "open"
    ended = ending(operation, lease, Screen(target, accept=True), known, stopped=stopped)
    await journal_done(journal, None, {**ended, "recovered": True})
    return settled


async def _settle_chunk(journal: Journal, lease: Lease, number: int, chunk: ChunkState, target: Target) -> int:
    if chunk.phase == "written" and chunk.receipt is not None:
        committed = await target.committed(chunk.receipt)
        if committed is not None:
            numbers = {"applied": chunk.records, "failed": 0} if committed else {"applied": 0, "failed": chunk.records}
            undone = {} if committed else {"rolled_back": True}
            await journal_done(journal, None, lease.event("sealed", chunk=number, unknown=0, **numbers, **undone))
            return chunk.records
    known = await chunk_records(journal, chunk)
    touched = [each for each, _ in known]
    async with target.work() as work:
        outcomes = await work.after(touched, [_open(outcome) for _, outcome in known])
    packed = pack(outcome_line(outcome) for outcome in outcomes)
    sealed = lease.event("sealed", chunk=number, lines=packed.reference, **counts(touched, outcomes))
    await journal_done(journal, packed, sealed)
    return chunk.records


def _open(outcome: Outcome) -> Outcome:
    """As `after` takes it: an outcome that was never journaled is unknown."""
    return outcome if outcome.status is not Status.UNKNOWN else Outcome(status=Status.UNKNOWN, failure=outcome.failure)
