"""A fuse: the process dies at the k-th thing it does to the outside, before or after that has happened.

Once it has burnt, nothing more reaches store or vendor, as if the process had been killed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2

from guard.core.model import Outcome, Touched
from guard.store.base import Store
from guard.target.base import MayWrite, always
from guard.target.client import Client
from guard.target.postgresql import PostgresTarget
from guard.target.postgresql.work import PostgresWork


class Fuse:
    """`at` None never burns; "write": at the first write to a target. `steps` tells what was done, in order."""

    def __init__(self, at: int | Literal["write"] | None = None, *, after: bool = False) -> None:
        self._at = at
        self._after = after
        self.steps: list[str] = []
        self.burnt = asyncio.Event()

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        self.refuse_if_burnt()
        mine = len(self.steps)
        self.steps.append(name)
        if self._at == "write" and mine == self.first_write():
            self._at = mine
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

    def first_write(self) -> int | None:
        """The step at which the target was written to first."""
        writes = (i for i, name in enumerate(self.steps) if not name.startswith(("create ", "remove ")))
        return next(writes, None)


class FusedStore:
    """A store whose changes are steps of a fuse; reads are refused once it has burnt."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    async def create(self, key: str, data: bytes) -> None:
        async with self._fuse.step(f"create {key}"):
            await self._store.create(key, data)

    async def get(self, key: str) -> bytes:
        self._fuse.refuse_if_burnt()
        return await self._store.get(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        self._fuse.refuse_if_burnt()
        async for key in self._store.list(prefix, after=after):
            yield key

    async def remove(self, key: str) -> None:
        async with self._fuse.step(f"remove {key}"):
            await self._store.remove(key)

    async def close(self) -> None:
        await self._store.close()


class FusedClient(Client):
    """A vendor client whose writes are steps of a fuse: after = the vendor has done it, the answer is lost."""

    fuse: Fuse

    @asynccontextmanager
    async def _attempt(self, method: str, path: str, *args: Any, **kwargs: Any) -> AsyncIterator[httpx2.Response]:
        self.fuse.refuse_if_burnt()
        if method == "GET":
            async with super()._attempt(method, path, *args, **kwargs) as response:
                yield response
            return
        async with (
            self.fuse.step(f"{method} {path}"),
            super()._attempt(method, path, *args, **kwargs) as response,
        ):
            yield response


class FusedWork(PostgresWork):
    """A database's transaction whose statements and whose commit are steps of a fuse."""

    fuse: Fuse

    async def write(self, touched: Sequence[Touched]) -> list[Outcome]:
        async with self.fuse.step("statements"):
            return await super().write(touched)

    async def commit(self) -> None:
        async with self.fuse.step("commit"):
            await super().commit()


class FusedPostgres(PostgresTarget):
    fuse: Fuse

    @asynccontextmanager
    async def work(self, may_write: MayWrite = always, *, salvage: bool = False) -> AsyncIterator[FusedWork]:
        self.fuse.refuse_if_burnt()
        async with super().work(may_write, salvage=salvage) as work:
            work.__class__ = FusedWork
            assert isinstance(work, FusedWork)
            work.fuse = self.fuse
            yield work
