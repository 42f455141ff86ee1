"""Protect: a bulk operation, from the validated records to the answer. Read it top-down, like the arrows of
docs/design.md: begin → chunks through the target → end → answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress

from guard.core.entries import Event
from guard.core.errors import Refused, Unavailable
from guard.core.limits import RECORDS_MAX
from guard.core.model import Change
from guard.flows.guard import Guard
from guard.flows.lease import Lease
from guard.flows.operation import Asked, Chunks, Drive, Screen, begin, finish
from guard.flows.settle import cut_off, ended
from guard.flows.spool import Keys, Spool
from guard.store.journal import Journal
from guard.target.base import Target, Work
from guard.tasks import all_to_the_end

_BATCH = 500


class Records:
    """An operation's changes, checked and on disk before the first of them is acted upon."""

    def __init__(self) -> None:
        self._changes = Spool(Change)
        self._keys = Keys()
        self.count = 0
        self.first: Change | None = None

    def add(self, changes: Sequence[Change]) -> None:
        """Raises Refused where a record stands in the operation already."""
        self.first = self.first or changes[0]
        keys = [(f"{each.resource}\n{each.id}", n) for n, each in enumerate(changes, self.count + 1) if each.id]
        self.count += len(changes)
        self._changes.add(changes)
        if twice := self._keys.add(keys):
            first, again = twice
            raise Refused(
                "duplicate_record",
                f"Record {again} is the same as record {first}: each may stand in an operation once. "
                "Nothing was written.",
                records=[first, again],
            )

    def all(self) -> Iterator[Change]:
        for batch in self._changes.batches(_BATCH):
            yield from batch

    async def chunks(self, size: int) -> Chunks:
        for numbered in enumerate(self._changes.batches(size)):
            yield numbered

    def close(self) -> None:
        self._changes.close()
        self._keys.close()


async def protect(
    guard: Guard, asked: Asked, records: Records | None, run: str, op: str, begun: asyncio.Future[str]
) -> None:
    """Carry out a bulk operation. `records` are closed at the end; None: the target selects them by a filter.

    `begun` gets the operation's id as soon as its journal has it. Returns once it has ended; a repeat waits for the
    first. Raises Refused, Unavailable, Conflict where nothing was begun; what happened afterwards is in the journal.
    """
    try:
        with guard.journals.use(run) as journal:
            await _protect(guard, journal, asked, op, records, begun)
    finally:
        if records:
            records.close()


async def _protect(
    guard: Guard, journal: Journal, asked: Asked, op: str, records: Records | None, begun: asyncio.Future[str]
) -> None:
    target, screen = screened(guard, asked, records)
    if asked.keyed:
        await journal.catch_up()

    async def announce(_: str, events: list[Event]) -> None:
        await all_to_the_end(journal.append(*events), guard.journals.mark_open(journal.run))

    op, first = await begin(guard, journal, asked, op, screen, announce)
    while not first and cut_off(await ended(guard, journal, op)):
        op, first = await begin(guard, journal, asked, op, screen, announce)
    begun.set_result(op)
    if not first:
        return
    try:
        source = chunks_of(asked, target, records, records_max(guard, target))
        drive = Drive(guard, journal, Lease(guard, journal, op), target, screen)
        await all_to_the_end(drive(source), _list(guard, journal))
    finally:
        guard.driven[(journal.run, op)] -= 1
        await finish(guard, journal, shared=asked.keyed)
    await ended(guard, journal, op)  # by another Guard, where this one was believed dead and was not


async def _list(guard: Guard, journal: Journal) -> None:
    """A long operation is listed while it runs."""
    with suppress(Unavailable):  # `finish` tries again
        await guard.journals.mark_indexed(journal)


def chunks_of(asked: Asked, target: Target, records: Records | None, records_max: int) -> Callable[[Work], Chunks]:
    """Where the chunks come from: the records sent, or the target's own selection, which is counted as it goes."""
    if records is not None:
        return lambda _: records.chunks(target.chunk_records)
    return lambda work: selected(asked, records_max, work)


def selected(asked: Asked, records_max: int, work: Work) -> Chunks:
    """What the operation's filter means, and no more than that many. Raises Refused."""
    return at_most(records_max, work.select(asked.resource, asked.action, asked.fields, asked.where or {}))


def records_max(guard: Guard, target: Target) -> int:
    return min(RECORDS_MAX, guard.policy(target.name).records_max)


def screened(guard: Guard, asked: Asked, records: Records | None) -> tuple[Target, Screen]:
    """The target and its policy. Raises Refused where already the kind of change is not allowed."""
    target = guard.target(asked.target)
    screen = Screen(target, accept=asked.accept_irreversible or guard.policy(asked.target).accept_irreversible)
    if records and records.first:
        screen.refuse(records.first)
    return target, screen


async def at_most(records_max: int, selected: AsyncIterator[list[Change]]) -> Chunks:
    """What a target selects, numbered, and counted as it goes. Raises Refused beyond the limit."""
    number = count = 0
    async for changes in selected:
        count += len(changes)
        if count > records_max:
            raise Refused("too_large", f"The filter means more than {records_max} records. Nothing was written.")
        yield number, changes
        number += 1
