"""A store that keeps its answers back: how a test pauses one copy of Guard at the very step that it names."""

import asyncio
import re
from collections.abc import AsyncIterator

from guard.store.base import Store


class GatedStore:
    """Once `shut`, creating a key that matches is done, and its caller does not hear of it before `open`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pattern: re.Pattern[str] | None = None
        self._way = asyncio.Event()
        self.reached = asyncio.Event()

    def shut(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._way.clear()
        self.reached.clear()

    def open(self) -> None:
        self._pattern = None
        self._way.set()

    async def create(self, key: str, data: bytes) -> None:
        await self._store.create(key, data)
        if self._pattern and self._pattern.search(key):
            self.reached.set()
            await self._way.wait()

    async def get(self, key: str) -> bytes:
        return await self._store.get(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        async for key in self._store.list(prefix, after=after):
            yield key

    async def remove(self, key: str) -> None:
        await self._store.remove(key)

    async def close(self) -> None:
        await self._store.close()
