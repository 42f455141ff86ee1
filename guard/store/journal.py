"""A run's journal: appending entries that exactly one writer wins, and folding them back.

Several tasks of this process append to one run at once: their events are grouped into one entry (group commit).
Several processes do, too: the entry's number is the key, so of two writers one wins; the other reads what it
missed, asks the lifecycle again, and only then tries the next number.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from guard.core.entries import Entry, Event, Packed, decode, encode, entry_key, image_key, unpack
from guard.core.errors import Corrupt, Unavailable
from guard.core.lifecycle import Illegal, LineRef, RunState
from guard.core.limits import ENTRY_EVENTS_MAX
from guard.store.base import KeyMissing, KeyTaken, Store, StoreError, Unknown

Clock = Callable[[], datetime]
Watch = Callable[[RunState, Event], None]
"""Hears of each event that this process appended, once it is durable and folded in."""
T = TypeVar("T")

_READ_AHEAD = 16


def utc_now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """One run's journal. Made by `Journals`, which keeps one per run and process."""

    def __init__(
        self, store: Store, run: str, clock: Clock = utc_now, writer: str = "", watch: Watch | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._watch = watch
        self._writer = writer or secrets.token_hex(8)
        self._waiting: list[tuple[list[Event], asyncio.Future[Entry]]] = []
        self._writing = False
        self._nonce = 0
        self.state = RunState(run)
        self.indexed = False
        """This process has listed the run."""
        self.closed = asyncio.Event()
        """Nothing more of the run may be sent: it was stopped, or is taken back."""
        self.given_up = False
        """The store did not take, for as long as it was tried, what had happened already; nor anything since."""

    @property
    def run(self) -> str:
        return self.state.run

    async def catch_up(self) -> RunState:
        """Fold in what others appended."""
        async for entry in read_entries(self._store, self.run, self.state.n):
            if entry.n == self.state.n:  # a concurrent append of ours may have folded it in meanwhile
                self._apply(entry)
        return self.state

    def _apply(self, entry: Entry) -> None:
        self.state.apply(entry)
        if self.state.phase != "open":
            self.closed.set()

    async def append(self, *events: Event) -> Entry:
        """Return the entry that carries the events, once it is durable.

        Raises Illegal where they may not follow what is there by then (nothing was appended), Unavailable where
        the store does not take them.
        """
        done: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(events), done))
        if not self._writing:
            self._writing = True
            # A task of its own: the events of others are in its hands, so no caller's cancellation may stop it.
            self._task = asyncio.create_task(self._write_all())
        return await done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                try:
                    await self._write(group)
                except BaseException as error:  # every waiter learns what happened to its events
                    for _, done in group:
                        if not done.done():
                            done.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._writing = False
            # Somebody waits here only where this task was cancelled: nobody would ever come to write it.
            for _, done in self._waiting:
                done.cancel()
            self._waiting.clear()

    def _next_group(self) -> list[tuple[list[Event], asyncio.Future[Entry]]]:
        size = 0
        for count, (events, _) in enumerate(self._waiting):
            size += len(events)
            if count and size > ENTRY_EVENTS_MAX:
                break
        else:
            count = len(self._waiting)
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _write(self, group: list[tuple[list[Event], asyncio.Future[Entry]]]) -> None:
        while group := self._still_legal(group):
            events = [event for events, _ in group for event in events]
            self._nonce += 1
            n, writer = self.state.n, f"{self._writer}-{self._nonce}"
            _, data = encode(self.run, n, self.state.prev, self._clock(), writer, events)
            try:
                await self._store.create(entry_key(self.run, n), data)
            except (KeyTaken, Unknown) as error:
                if not await self._is_there(n, data):
                    if isinstance(error, Unknown):
                        raise store_unavailable(error) from error
                    await self.catch_up()
                    continue
            except StoreError as error:
                raise store_unavailable(error) from error
            self.given_up = False
            entry = decode(self.run, n, data)
            if self.state.n == n:  # somebody who read meanwhile may have folded it in already
                self._apply(entry)
            self._tell_of(events)
            for _, done in group:
                if not done.done():
                    done.set_result(entry)
            return

    def _tell_of(self, events: list[Event]) -> None:
        if self._watch:
            for event in events:
                self._watch(self.state, event)

    async def _is_there(self, n: int, data: bytes) -> bool:
        """Is the entry of this number the very one that was to be stored? Its writer's name is in no other."""
        try:
            return await self._store.get(entry_key(self.run, n)) == data
        except StoreError:
            return False

    def _still_legal(
        self, group: list[tuple[list[Event], asyncio.Future[Entry]]]
    ) -> list[tuple[list[Event], asyncio.Future[Entry]]]:
        """The members whose events fit, one after the other. Those that do not fit at all learn it now; those that
        only do not fit beside the others wait until these are written, so that they are told of what is there."""
        legal: list[tuple[list[Event], asyncio.Future[Entry]]] = []
        deferred: list[tuple[list[Event], asyncio.Future[Entry]]] = []
        for events, done in group:
            try:
                self.state.check(events)
            except Illegal as error:
                if not done.done():
                    done.set_exception(error)
                continue
            try:
                self.state.check([event for earlier, _ in legal for event in earlier] + events)
            except Illegal:
                deferred.append((events, done))
            else:
                legal.append((events, done))
        self._waiting[:0] = deferred
        return legal

    async def store_lines(self, packed: Packed) -> None:
        """Make the object of large lines durable; those that ride inside the entry need nothing."""
        if packed.data is None:
            return
        try:
            await self._store.create(image_key(self.run, packed.digest), packed.data)
        except KeyTaken:
            pass  # the same content under its own digest
        except StoreError as error:
            raise store_unavailable(error) from error

    async def lines(self, ref: LineRef, kind: type[T], member: str = "lines") -> list[T]:
        """The lines that a member of an event names, as values of that kind. Raises Corrupt, Unavailable."""
        if ref.object is None:
            entry = await read_entry(self._store, self.run, ref.n)
            return unpack(self.run, entry.events[ref.index][member], None, kind)
        return await self.named_lines({"object": ref.object}, kind)

    async def named_lines(self, reference: Mapping[str, Any], kind: type[T]) -> list[T]:
        """The lines of a reference, as `pack` made it. Raises Corrupt, Unavailable."""
        name = reference.get("object")
        if name is None:
            return unpack(self.run, reference, None, kind)
        try:
            stored = await self._store.get(image_key(self.run, name))
        except KeyMissing:
            raise Corrupt("corrupt", f"An image of {self.run} is missing.", run=self.run, image=name) from None
        except StoreError as error:
            raise store_unavailable(error) from error
        return unpack(self.run, reference, stored, kind)


async def read_entry(store: Store, run: str, n: int) -> Entry:
    """One entry, checked. Raises Corrupt, Unavailable, KeyMissing."""
    try:
        data = await store.get(entry_key(run, n))
    except KeyMissing:
        raise
    except StoreError as error:
        raise store_unavailable(error) from error
    return decode(run, n, data)


async def read_entries(store: Store, run: str, start: int = 0) -> AsyncIterator[Entry]:
    """Entries from `start` on, until one is not there; several are fetched ahead."""
    width = 1
    n = start
    while True:
        # The first is fetched alone, then more at a time: most journals are short, some have thousands of entries.
        results = await asyncio.gather(
            *(read_entry(store, run, number) for number in range(n, n + width)), return_exceptions=True
        )
        for result in results:
            if isinstance(result, KeyMissing):
                return
            if isinstance(result, BaseException):
                raise result
            yield result
        n, width = n + width, min(width * 2, _READ_AHEAD)


def store_unavailable(error: StoreError) -> Unavailable:
    return Unavailable("store_unavailable", f"The snapshot store cannot be used now: {error}")
