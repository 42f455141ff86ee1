"""One chunk's passage, the same for an operation and for a revert:

    snapshot durable and sending announced → sent → outcomes and post-images → journaled

A vendor's API acts with every call, so each chunk is sealed by itself. A database acts at commit: until then its
chunks are only `written`, and `conclude` seals or rolls back all of them. So what is written of one chunk may still be
on its way into the journal while the next one is read; all of it is there before the commit.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from guard.core.entries import Event, Packed, pack
from guard.core.errors import GuardError, InDoubt, Unavailable
from guard.core.lifecycle import Illegal
from guard.core.model import Outcome, Status, Touched
from guard.flows.lease import Lease
from guard.store.journal import Journal
from guard.target.base import Target, Work

_SEAL_ATTEMPTS_MAX = 6
_SEAL_BACKOFF_S = 0.25
_UNTOLD = "The records were sent, but what came of it could not be taken down."
UNTIL_IT_WORKS = (
    "When the store works again, Guard finds out by reading what was written, or `guard recover` does so at once; "
    "then the revert URL takes it back. Do not send the request again before that."
)
"""What to do about a run that the store has left half told."""


class Passage:
    """The chunks of one operation on their way through one target."""

    def __init__(self, journal: Journal, lease: Lease, target: Target, work: Work) -> None:
        self._journal = journal
        self._lease = lease
        self._isolated = target.traits.isolated
        self._work = work
        self._written: dict[int, dict[str, int]] = {}
        self._noting: asyncio.Task[None] | None = None

    async def announce(self, chunk: int, touched: Sequence[Touched], *first: Event, **told: Any) -> None:
        """Make the pre-images durable; from here on the chunk counts as sent (I1). Raises Unavailable, Illegal."""
        packed = pack(touched)
        await self._journal.store_lines(packed)
        implied = sum(each.implied_by is not None for each in touched)
        known = {"records": len(touched) - implied, "implied": implied or None}
        sending = self._event("sending", chunk, packed, **known, **told)
        await self._journal.append(*first, sending)

    async def send(self, chunk: int, touched: Sequence[Touched]) -> list[Outcome]:
        """Send an announced chunk and journal what came of it."""
        outcomes = await self._work.after(touched, await self._work.write(touched))
        if self._isolated:
            self._written[chunk] = counts(touched, outcomes)
            await self._noted()
            self._noting = asyncio.create_task(self._note(chunk, outcomes, self._work.receipt))
        else:
            packed = pack(outcomes)
            sealed = self._event("sealed", chunk, packed, **counts(touched, outcomes))
            await journal_done(self._journal, (packed,), sealed)
        return outcomes

    async def _note(self, chunk: int, outcomes: Sequence[Outcome], receipt: str | None) -> None:
        packed = pack(outcomes)
        await self._journal.store_lines(packed)
        await self._journal.append(self._event("written", chunk, packed, receipt=receipt))

    async def _noted(self) -> None:
        """Wait for the chunk before: no more than one is on its way into the journal. Raises Unavailable, Illegal."""
        if self._noting:
            await self._noting

    async def conclude(self) -> None:
        """Commit what was written. Raises what commit raises, once the journal tells what became of it."""
        try:
            await self._noted()
            if not self._lease.may_write():
                raise Unavailable("target_unavailable", "It took too long and was taken over. Nothing was written.")
            await self._work.commit()
        except InDoubt:
            unknown = [self._lease.event("settled", chunk=k, unknown=_total(c)) for k, c in self._written.items()]
            await journal_done(self._journal, (), *unknown)
            raise
        except (GuardError, Illegal):
            await self.roll_back()
            raise
        sealed = [self._lease.event("sealed", chunk=chunk, **known) for chunk, known in self._written.items()]
        await journal_done(self._journal, (), *sealed)

    async def roll_back(self) -> None:
        """The transaction is undone: say so of every chunk that was announced."""
        if self._noting:
            await asyncio.wait([self._noting])
        chunks = self._journal.state.operations[self._lease.op].chunks
        undone = [
            self._lease.event("sealed", chunk=number, applied=0, failed=chunk.records, unknown=0, rolled_back=True)
            for number, chunk in chunks.items()
            if chunk.phase in ("sending", "written")
        ]
        with suppress(Illegal):  # who has taken over asks the database itself what became of it
            await journal_done(self._journal, (), *undone)

    def _event(self, name: str, chunk: int, packed: Packed, **members: object) -> Event:
        return self._lease.event(name, chunk=chunk, lines=packed.reference, **members)


async def journal_done(journal: Journal, lines: Sequence[Packed], *events: Event) -> None:
    """Journal what has happened already. A store that fails now is tried again for a while, for the target has acted.

    Raises InDoubt in the end: the journal then says "sending", and a revert finds out by reading. From then on the
    store is asked only once each time, so that the caller hears of it before its patience is at an end.
    """
    if not events:
        return
    attempts_max = 1 if journal.given_up else _SEAL_ATTEMPTS_MAX
    for attempt in range(1, attempts_max + 1):
        try:
            for packed in lines:
                await journal.store_lines(packed)
            await journal.append(*events)
        except Unavailable as error:
            if attempt == attempts_max:
                journal.given_up = True
                raise InDoubt("in_doubt", f"{_UNTOLD} {error.detail} {UNTIL_IT_WORKS}", run=journal.run) from error
            await asyncio.sleep(_SEAL_BACKOFF_S * 2**attempt)
        else:
            return


def counts(touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many of the caller's records came to what; what the target does by itself is counted apart."""
    asked = [outcome for each, outcome in zip(touched, outcomes, strict=True) if each.implied_by is None]
    statuses = [outcome.status for outcome in asked]
    return {
        "applied": statuses.count(Status.APPLIED),
        "failed": statuses.count(Status.FAILED),
        "unknown": statuses.count(Status.UNKNOWN),
        "noted": sum(outcome.status is Status.APPLIED and outcome.failure is not None for outcome in asked),
    }


def _total(known: dict[str, int]) -> int:
    return known["applied"] + known["failed"] + known["unknown"]
