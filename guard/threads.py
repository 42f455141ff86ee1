"""Threads for calls that block: each store's and queue's own, so that none keeps another part of Guard waiting."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """A bounded pool of threads for calls that block; asyncio's own pool stays free for others.

    A caller that is cancelled lets go at once; a call that has begun goes on to its end. `closed` makes the error of
    a call that comes after `close`: one of its owner's, since nothing else may escape from there.
    """

    def __init__(self, name: str, count: int, closed: Callable[[], Exception]) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._error = closed
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise self._error()
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def close(self) -> None:
        """Return when the calls under way have ended."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
