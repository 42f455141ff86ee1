"""Recover: runs that nobody drives any more are found by their marks, and driven on to their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from guard.core.errors import GuardError
from guard.core.lifecycle import Illegal
from guard.core.limits import STANDING_LOOK_S
from guard.flows.callback import owed
from guard.flows.guard import Guard
from guard.flows.operation import finish
from guard.flows.queued import drive, put
from guard.flows.seal import give_up, go_on, is_too_late
from guard.flows.settle import (
    end_operation,
    goes_on_later,
    is_abandoned,
    is_revert_abandoned,
    is_silent,
    take_over_revert,
)
from guard.queue.base import Full, Job
from guard.store.journal import Journal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovered:
    run: str
    detail: str


class Recovery:
    """Finds and ends what is nobody's. Kept by a process that sweeps again and again."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._empty_since: dict[str, datetime] = {}
        self._standing_at: dict[str, datetime] = {}
        """Runs in which nothing but brackets was open, by when that was seen."""

    async def sweep_forever(self) -> None:
        """At the start and then twice a lease: what a killed copy left behind is ended by those that live."""
        while True:
            try:
                async for recovered in self.sweep():
                    if recovered.detail not in _QUIET:
                        log.info("recovered", run=recovered.run, detail=recovered.detail)
            except GuardError as error:
                log.warning("sweep_failed", code=error.code)
            await asyncio.sleep(self._guard.lease_s / 2)

    async def sweep(self, *, at_once: bool = False) -> AsyncIterator[Recovered]:
        """End every unfinished run that is nobody's. `at_once`: also those whose lease is not over.

        Raises Unavailable where the store cannot be listed; what goes wrong with one run is told as its detail.
        """
        runs = [run async for run in self._guard.journals.unfinished()]
        self._guard.metrics.unfinished.set(len(runs))
        there = frozenset(runs)
        self._empty_since = {run: since for run, since in self._empty_since.items() if run in there}
        self._standing_at = {run: at for run, at in self._standing_at.items() if run in there}
        for run in runs:
            if not at_once and self._is_known_to_stand(run):
                continue
            with self._guard.journals.use(run) as journal:
                try:
                    yield Recovered(run, await self._recover(journal, at_once=at_once))
                except Illegal:
                    yield Recovered(run, "was taken over by another Guard")
                except GuardError as error:
                    yield Recovered(run, f"could not be ended: {error.detail}")
        if telling := list(self._guard.telling.values()):  # last: a slow receiver holds up no other run's end
            await asyncio.wait(telling)

    async def _recover(self, journal: Journal, *, at_once: bool) -> str:
        guard, state = self._guard, await journal.catch_up()
        if state.phase == "none":
            return await self._forget_empty(journal.run, at_once=at_once)
        settled = 0
        for op, operation in list(state.operations.items()):
            if operation.phase == "standing":
                await self._give_up_if_late(journal, op)
            elif operation.phase == "open":
                if not at_once and not is_abandoned(guard, journal, op):
                    return _GOING_ON
                if not goes_on_later(state, op):
                    settled += await (go_on if operation.is_bracket else end_operation)(guard, journal, op)
                elif not await self._take_up(Job(operation.target, journal.run, op), at_once=at_once):
                    return _WAITS
        if not await self._end_reverts(journal, at_once=at_once):
            return _GOING_ON
        await finish(guard, journal, shared=True)
        if state.running:
            self._note_standing(journal)
            return _STANDS
        return f"ended; {settled} records were settled by reading"

    def _note_standing(self, journal: Journal) -> None:
        if not owed(self._guard, journal.state):
            self._standing_at[journal.run] = self._guard.now()

    def _is_known_to_stand(self, run: str) -> bool:
        """Thousands that nobody ever seals must not be read with every sweep."""
        seen = self._standing_at.get(run)
        return seen is not None and self._guard.now() < seen + timedelta(seconds=STANDING_LOOK_S)

    async def _give_up_if_late(self, journal: Journal, op: str) -> None:
        """A bracket is nobody's to drive while it stands, and stands for as long as it could be taken back."""
        if is_too_late(self._guard, journal.state):
            await give_up(self._guard, journal, op)

    async def _end_reverts(self, journal: Journal, *, at_once: bool) -> bool:
        """Reverts of this run that nobody carries out, and this one if it is one. False: somebody does."""
        state = journal.state
        if of := state.opened.get("of"):
            if not at_once and not state.operations and not is_silent(self._guard, state.changed_at):
                return False
            await self._end_revert(of, journal, at_once=at_once)
        for revert in [revert for revert, over in state.reverts.items() if over is None]:
            if not at_once and not await self._is_revert_abandoned(journal, revert):
                return False
            await take_over_revert(self._guard, journal, revert)
        return True

    async def _take_up(self, job: Job, *, at_once: bool) -> bool:
        """An accepted operation gets its place in the queue again; by hand it is driven here and now."""
        if at_once:
            return await drive(self._guard, job, at_once=True)
        with suppress(Full):  # the next sweep tries again
            await put(self._guard, job)
        return False

    async def _forget_empty(self, run: str, *, at_once: bool) -> str:
        """A mark without a journal: its run begins at this moment, or its Guard died before that."""
        since = self._empty_since.setdefault(run, self._guard.now())
        if not at_once and not is_silent(self._guard, since):
            return _NOT_BEGUN_YET
        await self._guard.journals.unmark_open(run)
        return "had not begun; nothing was sent"

    async def _end_revert(self, of: str, own: Journal, *, at_once: bool) -> None:
        """The run that was being taken back hears that this revert is over; another one may begin."""
        with self._guard.journals.use(of) as journal:
            state = await journal.catch_up()
            going_on = own.run in state.reverts and state.reverts[own.run] is None
            if going_on and (at_once or await self._is_revert_abandoned(journal, own.run)):
                await take_over_revert(self._guard, journal, own.run)
                await finish(self._guard, journal, shared=True)

    async def _is_revert_abandoned(self, journal: Journal, revert: str) -> bool:
        return journal.run not in self._guard.reverting and await is_revert_abandoned(self._guard, journal, revert)


_WAITS = "waits in the queue"
_STANDS = "has a checkpoint that waits for its seal; left alone"
_GOING_ON = "is going on; left alone"
_NOT_BEGUN_YET = "has not begun yet; left alone"
_QUIET = {_GOING_ON, _NOT_BEGUN_YET, _WAITS, _STANDS}
