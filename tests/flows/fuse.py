"""A fuse: the process dies at the k-th thing it does to the outside, before or after that has happened.

Once it has burnt, nothing more reaches store or vendor, as if the process had been killed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from guard.store.base import Store
from guard.target.client import Client


class Fuse:
    """`at` None never burns; `steps` counts what was done."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self._at = at
        self._after = after
        self.steps = 0
        self.burnt = asyncio.Event()

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        self.refuse_if_burnt()
        mine, self.steps = self.steps, self.steps + 1
        if mine == self._at and not self._after:
            await self._die()
        yield
        if mine == self._at and self._after:
            await self._die()
        self.refuse_if_burnt()

    async def _die(self) -> None:
        """Never go on; who watches `burnt` buries the process."""
        self.burnt.set()
        await asyncio.get_running_loop().create_future()

    def refuse_if_burnt(self) -> None:
        """What still stirs in a dead process (cleaning up, other tasks) gets nothing done."""
        if self.burnt.is_set():
            raise asyncio.CancelledError


class FusedStore:
    """A store whose changes are steps of a fuse; reads are refused once it has burnt."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    async def create(self, key: str, data: bytes) -> None:
        async with self._fuse.step():
            await self._store.create(key, data)

    async def get(self, key: str) -> bytes:
        self._fuse.refuse_if_burnt()
        return await self._store.get(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        self._fuse.refuse_if_burnt()
        async for key in self._store.list(prefix, after=after):
            yield key

    async def remove(self, key: str) -> None:
        async with self._fuse.step():
            await self._store.remove(key)

    async def close(self) -> None:
        await self._store.close()


class FusedClient(Client):
    """A vendor client whose writes are steps of a fuse: after = the vendor has done it, the answer is lost."""

    fuse: Fuse

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, query: str, headers: Mapping[str, str], content: bytes, *, whole: bool = False
    ) -> AsyncIterator[tuple[httpx2.Response, Mapping[str, str]]]:
        self.fuse.refuse_if_burnt()
        if method == "GET":
            async with super().stream(method, path, query, headers, content, whole=whole) as answered:
                yield answered
            return
        async with self.fuse.step(), super().stream(method, path, query, headers, content, whole=whole) as answered:
            yield answered
