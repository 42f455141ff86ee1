"""The journals of a store: one writer per run in this process, the index of runs, the markers of unfinished ones."""

import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime

from guard.core.entries import entry_key
from guard.core.errors import Corrupt, Refused
from guard.core.ids import index_after, index_key, indexed, is_run_id
from guard.core.lifecycle import RunState
from guard.core.limits import IDLE_JOURNALS_MAX
from guard.store.base import KeyTaken, Store, StoreError
from guard.store.journal import Clock, Journal, Watch, store_unavailable, utc_now


class Journals:
    def __init__(self, store: Store, clock: Clock = utc_now, watch: Watch | None = None) -> None:
        self.store = store
        self._watch = watch
        self.clock = clock
        self.writer = secrets.token_hex(8)
        """What the entries of this copy of Guard call their writer, up to the hyphen."""
        self._journals: OrderedDict[str, Journal] = OrderedDict()
        self._users: Counter[str] = Counter()

    @contextmanager
    def use(self, run: str) -> Iterator[Journal]:
        """The run's one journal of this process: whoever uses it at the same time gets the same, and shares appends.

        Those not in use are kept for a while, so that the next call of the same run reads only what is new.
        """
        journal = self._journals.setdefault(run, Journal(self.store, run, self.clock, self.writer, self._watch))
        self._journals.move_to_end(run)
        self._users[run] += 1
        try:
            yield journal
        finally:
            self._users[run] -= 1
            self._forget_idle()

    def _forget_idle(self) -> None:
        for run in list(self._journals)[: max(0, len(self._journals) - IDLE_JOURNALS_MAX)]:
            if not self._users[run]:
                del self._journals[run], self._users[run]

    async def state(self, run: str) -> RunState:
        """The run as its journal tells. Raises Refused (not_found), Corrupt, Unavailable."""
        if not is_run_id(run):
            raise Refused("not_found", f"There is no run {run[:80]}.")
        with self.use(run) as journal:
            state = await journal.catch_up()
        if state.phase == "none":
            raise Refused("not_found", f"There is no run {run}.")
        return state

    async def refuse_unknown(self, run: str) -> None:
        """Raise Refused where nothing at all is stored of the run, be it whole or damaged."""
        if not is_run_id(run) or not [key async for key in self._keys(f"runs/{run}/")]:
            raise Refused("not_found", f"There is no run {run[:80]}.")

    async def refuse_gap(self, state: RunState) -> None:
        """Raise Corrupt where the store lists entries beyond the one at which reading ended: one is missing. (That one
        itself is none that is missing: it was appended since.)"""
        n = state.n  # the run may go on meanwhile
        async for key in self._keys(f"runs/{state.run}/0", after=entry_key(state.run, n - 1)):
            if key == entry_key(state.run, n):
                return
            detail = f"Journal entry {n} of {state.run} is missing: there are later ones."
            raise Corrupt("corrupt", detail, run=state.run, entry=n, found=key.rpartition("/")[2])

    async def mark_open(self, run: str) -> None:
        await self._mark(f"open/{run}")

    async def mark_indexed(self, journal: Journal) -> None:
        """List the run. Done once: this mark stays."""
        if not journal.indexed:
            assert journal.state.opened_at is not None  # noqa: S101 - a run that was opened has its time
            await self._mark(index_key(journal.state.opened_at, journal.run))
            journal.indexed = True

    async def unmark_open(self, run: str) -> None:
        try:
            await self.store.remove(f"open/{run}")
        except StoreError as error:
            raise store_unavailable(error) from error

    async def newest(self, until: datetime | None = None, after: str = "") -> AsyncIterator[tuple[datetime, str]]:
        """Runs by the time they were opened, newest first; those opened by `until`, those behind the key `after`."""
        async for key in self._keys("index/", after=max(after, index_after(until) if until else "")):
            if is_run_id(key.partition("-")[2]):  # what else lies there is for `guard verify` to tell
                yield indexed(key)

    async def unfinished(self) -> AsyncIterator[str]:
        async for key in self._keys("open/"):
            yield key.removeprefix("open/")

    async def _mark(self, key: str) -> None:
        try:
            await self.store.create(key, b"")
        except KeyTaken:
            pass
        except StoreError as error:
            raise store_unavailable(error) from error

    async def _keys(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        try:
            async for key in self.store.list(prefix, after=after):
                yield key
        except StoreError as error:
            raise store_unavailable(error) from error
