"""Seal: the second half of a bracket. What its records hold now is what the scenario, or somebody else, left there.

    lease taken → each chunk read and compared → entry: sealed + post-images → what a filter means now and did not then
    → ended

Cut off anywhere it goes on where it was: chunks that are sealed are not read again. A target that cannot be read leaves
the bracket standing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from guard.core.bracket import NOT_TOLD, UNREADABLE, sealed, told, watched
from guard.core.entries import Event, pack
from guard.core.errors import Conflict, GuardError, Refused, Unavailable
from guard.core.lifecycle import ChunkState, Illegal, OperationState, RunState
from guard.core.limits import CHUNKS_IN_FLIGHT_MAX, CLOCK_SKEW_S
from guard.core.model import Image, Outcome, Reversal, Reversibility, Status, Touched
from guard.flows.callback import heard
from guard.flows.guard import Guard
from guard.flows.history import failures, summary
from guard.flows.lease import Lease
from guard.flows.operation import Screen, finish
from guard.flows.settle import POLL_S, is_abandoned
from guard.flows.spool import Ids
from guard.store.journal import Journal
from guard.target.base import Target
from guard.tasks import AtMost

_ONLY_MATCHING = Reversal(
    Reversibility.PARTIAL,
    "Records that were created between checkpoint and seal are known only where the filter means them and the target "
    "tells when they were created.",
)
_NOT_LOOKED_FOR = Reversal(
    Reversibility.PARTIAL, "Records that were created between checkpoint and seal could not be looked for."
)


async def seal(guard: Guard, run: str) -> None:
    """Seal all brackets of a run. Raises Refused, Conflict, Unavailable; repeated, it goes on where it was."""
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
        refuse_unsealable(guard, state)
        await seal_all(guard, journal)
        await finish(guard, journal, shared=True)


async def sealed_answer(guard: Guard, run: str) -> dict[str, Any]:
    """The flat object for a run's brackets alone: it does not change with what else happens in the run."""
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
        operations = list(brackets(state).values())
        return summary(guard, state, operations) | {"failures": await failures(guard, journal, operations)}


def refuse_unsealable(guard: Guard, state: RunState) -> None:
    """Raises Refused, Conflict."""
    if not (found := brackets(state)):
        raise Refused("invalid_request", "The run has no checkpoint, so there is nothing to seal.")
    if state.phase in ("closing", "reverting"):
        raise Conflict(
            "run_closed", "The run is taken back, or was; that has sealed its checkpoint. Look at the run to see."
        )
    if any(operation.phase != "ended" for operation in found.values()) and is_too_late(guard, state):
        raise Refused(
            "expired_token", "The checkpoint was not sealed while the run's revert URL was good; it is given up."
        )


def brackets(state: RunState) -> dict[str, OperationState]:
    return {op: operation for op, operation in state.operations.items() if operation.is_bracket}


def is_too_late(guard: Guard, state: RunState) -> bool:
    """What nobody can take back any more need not be sealed either."""
    return guard.now() >= guard.revert_expires_at(state)


async def seal_all(guard: Guard, journal: Journal, *, strict: bool = True, stood: bool = False) -> None:
    """Return once no bracket of the run is open. Not `strict`: what cannot be read is left in doubt. `stood`: those
    whose checkpoint is still being taken are left to who takes it.

    Raises Unavailable; then the bracket stands as before.
    """
    for op, operation in brackets(journal.state).items():
        if operation.stood or not stood:
            await _sealed(guard, journal, op, strict=strict)


async def _sealed(guard: Guard, journal: Journal, op: str, *, strict: bool) -> None:
    while (operation := journal.state.operations[op]).phase != "ended":
        if operation.phase == "standing" or is_abandoned(guard, journal, op):
            with suppress(Illegal):  # another one was first
                await go_on(guard, journal, op, strict=strict)
        else:
            await asyncio.sleep(POLL_S)
            await journal.catch_up()


async def go_on(guard: Guard, journal: Journal, op: str, *, strict: bool = True) -> int:
    """Seal what stands; end a checkpoint that was cut off. How many records were read. Raises Illegal, Unavailable."""
    if not journal.state.operations[op].stood:
        await give_up(guard, journal, op)
        return 0
    return await _Sealing(guard, journal, op, strict=strict)()


async def give_up(guard: Guard, journal: Journal, op: str) -> None:
    """End a bracket without its post-images: one that was cut off before it stood, or that nobody ever sealed.

    Raises Illegal where another one did something with it first.
    """
    status = "stopped" if journal.state.operations[op].stood else "failed"
    guard.driven[(journal.run, op)] += 1
    try:
        lease = await Lease.take(guard, journal, op)
        records = journal.state.operations[op].begun["records"]
        ended = lease.event("ended", status=status, records=records, recovered=True)
        await journal.append(await heard(guard, journal.state, ended))
    finally:
        guard.driven[(journal.run, op)] -= 1


def refuse_if_draining(guard: Guard) -> None:
    if guard.draining.is_set():
        raise Unavailable("overloaded", "This Guard is shutting down. Nothing was written; send it again in a while.")


class _Sealing:
    """Seals one bracket that stands."""

    def __init__(self, guard: Guard, journal: Journal, op: str, *, strict: bool) -> None:
        self._guard = guard
        self._journal = journal
        self._op = op
        self._strict = strict
        self._operation = journal.state.operations[op]
        self._target: Target = guard.target(self._operation.target)
        self._screen = Screen.of(self._target, self._operation)
        self._read = 0

    async def __call__(self) -> int:
        self._guard.driven[(self._journal.run, self._op)] += 1
        try:
            self._lease = await Lease.take(self._guard, self._journal, self._op)
            async with self._lease.kept():
                try:
                    await self._seal()
                except GuardError:
                    with suppress(GuardError, Illegal):  # else the lease runs out, and the sweeper goes on
                        await self._journal.append(self._lease.event("stands"))
                    raise
        finally:
            self._guard.driven[(self._journal.run, self._op)] -= 1
        return self._read

    async def _seal(self) -> None:
        self._resource = await self._target.resource(str(self._operation.begun["resource"]))
        open_ones = [number for number, chunk in self._operation.chunks.items() if chunk.phase == "watched"]
        at_once = 1 if self._target.traits.isolated else CHUNKS_IN_FLIGHT_MAX
        async with AtMost(at_once) as under_way:
            for number in sorted(open_ones):
                await under_way.room()
                refuse_if_draining(self._guard)
                under_way.start(self._seal_chunk(number, self._operation.chunks[number]))
        if self._operation.begun["bracket"]["where"] is not None:
            await self._look_for_created()
        await self._journal.append(await heard(self._guard, self._journal.state, self._ended()))

    async def _seal_chunk(self, number: int, chunk: ChunkState) -> None:
        touched = await self._journal.lines(chunk.began, Touched)
        ids = [str(each.change.id) for each in touched]
        now = await self._target.seen(self._resource.name, ids, some=not self._strict)
        outcomes = [self._outcome(each, now) for each in touched]
        self._read += len(touched)
        event, packed = self._event(number, touched, outcomes)
        await self._journal.store_lines(packed)
        await self._journal.append(event)

    def _outcome(self, touched: Touched, now: Mapping[str, tuple[str, Image]]) -> Outcome:
        asked = str(touched.change.id)
        if asked not in now:
            return Outcome(status=Status.UNKNOWN, id=asked, failure=UNREADABLE)
        id_, image = now[asked]
        return sealed(touched, id_, image, self._resource)

    def _event(self, number: int, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> tuple[Event, Any]:
        for each, outcome in zip(touched, outcomes, strict=True):
            if outcome.status is Status.APPLIED:
                self._screen.note(self._target.reversal(told(each, outcome).change, each.before))
        statuses = [outcome.status for outcome in outcomes]
        known = {status.value: statuses.count(status) for status in Status}
        packed = pack(outcomes)
        lines = {"lines": packed.reference, **self._screen.told()}
        return self._lease.event("sealed", chunk=number, **known, **lines), packed

    async def _look_for_created(self) -> None:
        """What the filter means now, did not mean then, and was not there yet."""
        if self._target.traits.isolated:  # no row tells when it was created
            self._screen.note(_NOT_LOOKED_FOR)
            return
        self._screen.note(_ONLY_MATCHING)
        known = Ids()
        try:
            await self._load(known)
            bracket = self._operation.begun["bracket"]
            # Only what was surely not there then: the filter's index may have been behind.
            since = datetime.fromisoformat(bracket["since"]) + timedelta(seconds=CLOCK_SKEW_S)
            async for part in self._target.meant(self._resource.name, bracket["where"]):
                refuse_if_draining(self._guard)
                await self._keep_created([id_ for id_ in part.ids if id_ not in known], since)
                known.add(part.ids)
        except GuardError:
            if self._strict:
                raise
            self._screen.note(_NOT_LOOKED_FOR)
        finally:
            known.close()

    async def _load(self, known: Ids) -> None:
        for chunk in list(self._operation.chunks.values()):
            known.add(str(each.change.id) for each in await self._journal.lines(chunk.began, Touched))

    async def _keep_created(self, ids: Sequence[str], since: datetime) -> None:
        name = self._resource.name
        now = await self._target.read(name, list(ids), some=not self._strict) if ids else {}
        made = {id_: image for id_, image in now.items() if image and self._target.created_since(name, image, since)}
        if not made:
            return
        touched = [watched(name, id_, None) for id_ in made]
        before = pack(touched)
        number = max(self._operation.chunks, default=-1) + 1
        outcomes = [sealed(each, id_, made[id_], self._resource) for each, id_ in zip(touched, made, strict=True)]
        event, after = self._event(number, touched, outcomes)
        for packed in (before, after):
            await self._journal.store_lines(packed)
        watching = self._lease.event("watched", chunk=number, records=len(touched), lines=before.reference)
        await self._journal.append(watching, event)

    def _ended(self) -> Event:
        operation = self._operation
        unknown = operation.count("unknown")
        return self._lease.event(
            "ended",
            status="partial" if unknown else "applied",
            records=operation.count("applied") + operation.count("unchanged") + unknown,
            reversible=self._screen.level.value,
            reasons=sorted(self._screen.reasons | {NOT_TOLD.reason}),
        )
