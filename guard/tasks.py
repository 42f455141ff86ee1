"""Several things at once, none of which is left behind: asyncio.gather lets the others run on when one fails."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Self, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


async def all_or_none(*work: Coroutine[Any, Any, T]) -> list[T]:
    """For what may be given up, such as reads: when one fails the others are cancelled and have ended on return."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    _raise_first(ended)
    return [task.result() for task in tasks]


@overload
async def all_to_the_end(one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...
@overload
async def all_to_the_end(*work: Coroutine[Any, Any, T]) -> tuple[T, ...]: ...
async def all_to_the_end(*work: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """For what must be known, such as writes: each has ended on return, also where another failed."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    _raise_first(ended)
    return tuple(ended)


class Cut(Exception):
    """The work was given up, for it is not wanted any more."""


async def unless(events: Iterable[asyncio.Event], work: Coroutine[Any, Any, T]) -> T:
    """For what may be given up: do it unless one of the events happens first. Raises Cut."""
    doing = asyncio.ensure_future(work)
    watching = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([doing, *watching], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Cut
        return doing.result()
    finally:
        for task in (doing, *watching):
            task.cancel()
        await asyncio.gather(doing, *watching, return_exceptions=True)


class AtMost:
    """`async with AtMost(4) as some:` and for each piece of work `await some.room()`, then `some.start(…)`.

    The block ends when all that was started has ended; what one of them raised is raised by `room` or by the block.
    """

    def __init__(self, count: int) -> None:
        self._slots = asyncio.Semaphore(count)
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []

    async def __aenter__(self) -> Self:
        return self

    async def room(self) -> None:
        await self._slots.acquire()
        _raise_first(self._errors)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()):
            self._errors.append(error)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        if error is None:
            _raise_first(self._errors)


def _raise_first(ended: list[Any]) -> None:
    errors = [each for each in ended if isinstance(each, BaseException)]
    # A cancellation that followed from a failure is not what went wrong.
    for error in sorted(errors, key=lambda each: isinstance(each, asyncio.CancelledError)):
        raise error
