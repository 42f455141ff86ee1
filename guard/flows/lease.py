"""The right to drive an operation: held by its journal entries, renewed by each, lost to whoever takes over.

A driver that was believed dead and is not learns of it at its next append, since the operation's term has risen, and
every write is preceded by an append. What it still has in hand it does not send once its own clock says that the
lease is over: another one may hold it then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from guard.core.entries import Event
from guard.core.errors import GuardError
from guard.core.lifecycle import Illegal, event
from guard.flows.guard import Guard
from guard.store.journal import Journal


class Lease:
    """Of one operation in one journal. `op` may only be begun: the event that begins it is the first to hold it."""

    def __init__(self, guard: Guard, journal: Journal, op: str, term: int = 1) -> None:
        self._guard = guard
        self._journal = journal
        self.op = op
        self._term = term

    @classmethod
    async def take(cls, guard: Guard, journal: Journal, op: str) -> "Lease":
        """Take over. Raises Illegal where somebody else did, or the operation has ended."""
        lease = cls(guard, journal, op, journal.state.operations[op].term + 1)
        await journal.append(lease.event("taken"))
        return lease

    def event(self, name: str, **members: Any) -> Event:
        """An event of the operation's driver."""
        return event(name, op=self.op, term=self._term if self._term > 1 else None, **members)

    def may_write(self) -> bool:
        """Asked before every single write to a target."""
        operation = self._journal.state.operations.get(self.op)
        return operation is not None and operation.term == self._term and operation.is_held(self._guard.now())

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease for as long as the block lasts, however long a chunk takes."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self) -> None:
        third = self._journal.state.operations[self.op].lease / 3
        while True:
            await asyncio.sleep(third.total_seconds())
            operation = self._journal.state.operations[self.op]
            if operation.renewed_at and self._guard.now() - operation.renewed_at < third:
                continue
            try:
                await self._journal.append(self.event("alive"))
                # Who ended another operation of this run just now may have taken its mark away.
                await self._guard.journals.mark_open(self._journal.run)
            except Illegal:
                return  # taken over, or ended
            except GuardError:
                continue  # the store may be back before the lease is over
