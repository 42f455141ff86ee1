"""Checkpoint: the first half of a bracket, for writes that do not pass through Guard.

    ids, or what a filter means → journal: opened, begun → read, chunk by chunk → entry: watched + pre-images → stands

From "stands" on nobody drives the operation, until it is sealed: guard/flows/seal.py. A checkpoint that is cut off
before that is worth nothing, since its caller has not been told that it may write; it ends as failed, and is taken
anew.
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any

from guard.core.bracket import NOT_TOLD, watched
from guard.core.entries import Event, pack
from guard.core.errors import CODES, Conflict, GuardError, Refused, Unavailable
from guard.core.lifecycle import Illegal, OperationState
from guard.core.limits import CHUNKS_IN_FLIGHT_MAX
from guard.flows.callback import heard
from guard.flows.guard import Guard
from guard.flows.lease import Lease
from guard.flows.operation import Asked, Screen, begin, finish
from guard.flows.seal import give_up, refuse_if_draining
from guard.flows.settle import POLL_S, cut_off, is_abandoned
from guard.flows.spool import Ids
from guard.store.journal import Journal
from guard.target.base import Target
from guard.tasks import AtMost, all_to_the_end


async def checkpoint(
    guard: Guard, asked: Asked, ids: Ids | None, records_max: int, run: str, op: str, begun: asyncio.Future[str]
) -> None:
    """Take a checkpoint. `ids` are closed at the end; None: those that `asked.where` means, at most `records_max`.

    `begun` gets the operation's id as soon as its journal has it. Returns once the checkpoint stands; a repeat waits
    for the first. Raises Refused, Unavailable, Conflict: then there is no checkpoint. Nothing is written to the target.
    """
    ids = ids if asked.where is None else Ids()
    assert ids is not None  # noqa: S101 - the door has seen to it that there are ids or a filter
    try:
        with guard.journals.use(run) as journal:
            await _checkpoint(guard, journal, asked, op, _Wanted(guard, asked, ids, records_max), begun)
    finally:
        ids.close()


async def foresee_checkpoint(guard: Guard, asked: Asked, ids: Ids | None, records_max: int) -> dict[str, Any]:
    """The answer to a checkpoint's dry run. A filter is asked, no record is read. Closes the ids."""
    target = guard.target(asked.target)
    wanted = _Wanted(guard, asked, ids or Ids(), records_max)
    try:
        await wanted.known()
        calls = [target.reads(asked.resource, part) for part in wanted.ids.batches(target.chunk_records)]
        counted = sum(each for each in calls if each is not None) if None not in calls else None
        seconds = target.seconds_for(counted) if counted is not None else None
        return {
            "id": None,
            "status": "dry_run",
            "target": asked.target,
            "resource": asked.resource,
            "action": asked.action,
            "records_total": len(wanted.ids),
            "reversible": NOT_TOLD.level.value,
            "reversible_reasons": [NOT_TOLD.reason],
            "side_effects": target.side_effects,
            "vendor_calls": counted,
            "vendor_calls_of_seal": counted,
            "seconds_at_least": seconds,
            "seconds_of_seal_at_least": seconds,
        }
    finally:
        wanted.ids.close()


class _Wanted:
    """The records of a checkpoint: a filter is asked only when it is known that the request is no repeat."""

    def __init__(self, guard: Guard, asked: Asked, ids: Ids, records_max: int) -> None:
        self._asked = asked
        self._target = guard.target(asked.target)
        self._now = guard.now
        self._records_max = records_max
        self.ids = ids
        self.since: datetime | None = None
        """When the filter was asked. Whole seconds, since a vendor's times may have no more."""

    async def known(self) -> None:
        """Raises Refused, also beyond the limit; Unavailable."""
        if self._asked.where is None or self.since is not None:
            return
        since = self._now().replace(microsecond=0)
        async for part in self._target.meant(self._asked.resource, self._asked.where):
            self.ids.add(part.ids)
            if max(part.total or 0, len(self.ids)) > self._records_max:
                raise _too_many(self._records_max, part.total)
        self.since = since

    def told(self) -> dict[str, Any]:
        """For the journal."""
        since = self.since.isoformat() if self.since else None
        return {"where": dict(self._asked.where) if self._asked.where is not None else None, "since": since}


def _too_many(records_max: int, total: int | None) -> Refused:
    how_many = f"{total} records" if total else f"more than {records_max} records"
    return Refused(
        "too_large",
        f"The filter means {how_many}; this checkpoint may have {records_max}. Narrow it, or raise records_max. "
        "No checkpoint was taken. Nothing was written.",
        **({"records_total": total} if total else {}),
    )


async def _checkpoint(
    guard: Guard, journal: Journal, asked: Asked, op: str, wanted: _Wanted, begun: asyncio.Future[str]
) -> None:
    if asked.keyed:
        await journal.catch_up()
    screen = Screen(guard.target(asked.target), accept=True)
    screen.note(NOT_TOLD)

    async def announce(_: str, events: list[Event]) -> None:
        await wanted.known()
        events[-1] |= {"records": len(wanted.ids), "bracket": wanted.told()}
        await all_to_the_end(journal.append(*events), guard.journals.mark_open(journal.run))

    while True:
        op, first = await begin(guard, journal, asked, op, screen, announce)
        if first or not cut_off(await _taken(guard, journal, op)):
            break
    begun.set_result(op)
    if first:
        await _Taking(guard, journal, op, wanted.ids)()
    operation = journal.state.operations[op]
    if operation.phase == "ended" and operation.ended["status"] in ("failed", "stopped"):
        raise _failed(operation)


def _failed(operation: OperationState) -> GuardError:
    """What the first of two equal requests failed of, for the other one."""
    if "problem" not in operation.ended:
        return Conflict("run_closed", "The checkpoint was never sealed, and is given up. Use a new Guard-Run-Key.")
    code, detail = operation.ended["problem"]["code"], operation.ended["problem"]["detail"]
    return Unavailable(code, detail) if CODES[code].status >= 500 else Refused(code, detail)


async def _taken(guard: Guard, journal: Journal, op: str) -> OperationState:
    """Wait until a checkpoint that somebody else takes stands, or has failed. One that nobody takes any more ends."""
    while (operation := journal.state.operations[op]).phase == "open" and not operation.stood:
        if is_abandoned(guard, journal, op):
            with suppress(Illegal):  # somebody else has just done so
                await give_up(guard, journal, op)
        else:
            await asyncio.sleep(POLL_S)
            await journal.catch_up()
    return operation


class _Taking:
    """Takes a checkpoint that has begun. What begins it has counted it in guard.driven."""

    def __init__(self, guard: Guard, journal: Journal, op: str, ids: Ids) -> None:
        self._guard = guard
        self._journal = journal
        self._ids = ids
        self._lease = Lease(guard, journal, op)
        operation = journal.state.operations[op]
        self._target: Target = guard.target(operation.target)
        self._resource = str(operation.begun["resource"])

    async def __call__(self) -> None:
        try:
            async with self._lease.kept():
                try:
                    await self._take()
                except GuardError as error:
                    await self._end(error)
                    raise
        except Illegal:
            raise Conflict(
                "busy",
                "The checkpoint took too long and was given up. Nothing was written; send it again.",
                run=self._journal.run,
            ) from None
        finally:
            self._guard.driven[(self._journal.run, self._lease.op)] -= 1
            await finish(self._guard, self._journal, shared=True)

    async def _take(self) -> None:
        at_once = 1 if self._target.traits.isolated else CHUNKS_IN_FLIGHT_MAX
        async with AtMost(at_once) as under_way:
            for number, ids in enumerate(self._ids.batches(self._target.chunk_records)):
                await under_way.room()
                self._refuse_if_over()
                under_way.start(self._watch(number, ids))
        self._refuse_if_over()
        await self._journal.append(self._lease.event("stands"))

    def _refuse_if_over(self) -> None:
        refuse_if_draining(self._guard)
        if self._journal.closed.is_set():
            raise Conflict("run_closed", "The run was stopped or is taken back; no checkpoint was taken.")

    async def _watch(self, number: int, ids: list[str]) -> None:
        seen = await self._target.seen(self._resource, ids)
        touched = [watched(self._resource, id_, image) for id_, image in seen.values()]
        packed = pack(touched)
        await self._journal.store_lines(packed)
        absent = sum(each.before is None for each in touched)
        told = {"records": len(touched), "absent": absent, "lines": packed.reference}
        await self._journal.append(self._lease.event("watched", chunk=number, **told))

    async def _end(self, error: GuardError) -> None:
        problem = {"code": error.code, "detail": error.detail}
        status = "stopped" if self._journal.closed.is_set() else "failed"
        ended = self._lease.event("ended", status=status, records=len(self._ids), problem=problem)
        with suppress(Unavailable):  # the store may be what failed: then the sweeper ends it
            await self._journal.append(await heard(self._guard, self._journal.state, ended))
