"""One operation at a time per record, within this process.

Between reading a pre-image and writing, no other operation of ours may write that record: its pre-image would be
wrong. (Other programs are not held off by this; a vendor's API has no locks. The revert's comparison is for them.)
"""

import asyncio
from collections.abc import Iterable

from guard.core.model import Key


class RecordLocks:
    """Locks by (resource, id). Taken in sorted order, so that two chunks never wait for each other."""

    def __init__(self) -> None:
        self._locks: dict[Key, asyncio.Lock] = {}
        self._wanted: dict[Key, int] = {}

    async def acquire(self, keys: Iterable[Key]) -> None:
        taken: list[Key] = []
        try:
            for key in sorted(keys):
                self._wanted[key] = self._wanted.get(key, 0) + 1
                lock = self._locks.setdefault(key, asyncio.Lock())
                try:
                    await lock.acquire()
                except BaseException:
                    self._forget(key)
                    raise
                taken.append(key)
        except BaseException:
            self.release(taken)
            raise

    def release(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._locks[key].release()
            self._forget(key)

    def _forget(self, key: Key) -> None:
        self._wanted[key] -= 1
        if not self._wanted[key]:
            del self._wanted[key], self._locks[key]
