"""Threads for calls that block: a store's own, so that no store keeps another part of Guard waiting."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from guard.store.base import Unavailable

T = TypeVar("T")


class Threads:
    """A bounded pool of threads for calls that block; asyncio's own pool stays free for others.

    A caller that is cancelled lets go at once; a call that has begun goes on to its end.
    """

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def close(self) -> None:
        """Return when the calls under way have ended."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
