"""A store whose round trips are counted and timed; what it does is the store's own."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guard.metrics import Metrics
from guard.store.base import KeyMissing, KeyTaken, Store, Unavailable


@dataclass(frozen=True, slots=True)
class MeasuredStore:
    store: Store
    metrics: Metrics

    async def create(self, key: str, data: bytes) -> None:
        with self._timed("create"):
            await self.store.create(key, data)

    async def get(self, key: str) -> bytes:
        with self._timed("get"):
            return await self.store.get(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Timed until the first key: how long the rest takes is its reader's matter."""
        keys = self.store.list(prefix, after=after)
        with self._timed("list"):
            first = await anext(keys, None)
        if first is not None:
            yield first
        async for key in keys:
            yield key

    async def remove(self, key: str) -> None:
        with self._timed("remove"):
            await self.store.remove(key)

    async def close(self) -> None:
        await self.store.close()

    @contextmanager
    def _timed(self, call: str) -> Iterator[None]:
        began, outcome = time.perf_counter(), "unknown"
        try:
            yield
            outcome = "done"
        except (KeyTaken, KeyMissing) as error:
            outcome = "taken" if isinstance(error, KeyTaken) else "missing"
            raise
        except Unavailable:
            outcome = "unavailable"
            raise
        finally:
            self.metrics.stored(call, outcome, time.perf_counter() - began)
