"""Copies of Guard over one store, each with a clock of its own; some of them die."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import httpx2

from guard.assembly import assemble
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, revert
from guard.flows.verify import verify_all
from guard.settings import Settings
from guard.store.base import Store
from guard.store.journal import utc_now
from guard.store.journals import Journals
from guard.target.http import HttpTarget
from guard.target.postgresql import PostgresTarget
from guard.web.app import create_app
from tests.flows.fuse import Fuse, FusedClient, FusedPostgres, FusedStore
from tests.world import KEY, PUBLIC_URL

LONG = timedelta(minutes=5)
"""Longer than any lease."""
_LOOK_S = 0.005


class Clock:
    """The machine's time, `ahead` of the true one."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.ahead = ahead

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


def copy_of_guard(
    settings: Settings, *, fuse: Fuse | None = None, clock: Callable[[], datetime] = utc_now, store: Store | None = None
) -> Guard:
    """Another process's Guard: it shares nothing with other copies but the store. `fuse`: it may die."""
    made = assemble(settings)
    kept = store or made.journals.store
    guard = Guard(settings, Journals(FusedStore(kept, fuse) if fuse else kept, clock), made.targets)
    for target in guard.targets.values() if fuse else ():
        if isinstance(target, HttpTarget):
            target.client.__class__ = FusedClient
            target.client.fuse = fuse  # type: ignore[attr-defined]  # set on the class just given
        elif isinstance(target, PostgresTarget):
            target.__class__ = FusedPostgres
            target.fuse = fuse  # type: ignore[attr-defined]  # set on the class just given
    return guard


def calling(guard: Guard) -> httpx2.AsyncClient:
    """A caller of this copy."""
    transport = httpx2.ASGITransport(create_app(guard), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers={"guard-key": KEY}, timeout=60)


async def until_it_dies(guard: Guard, fuse: Fuse, life: Callable[[Guard], Awaitable[None]]) -> None:
    """A process's life, cut off where its fuse burns. Of its tasks nothing is left; its connections break."""
    others_before = asyncio.all_tasks()
    living = asyncio.ensure_future(life(guard))
    dying = asyncio.ensure_future(fuse.burnt.wait())
    await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
    killed = asyncio.all_tasks() - others_before
    for task in killed:
        task.cancel()
    ended = await asyncio.gather(living, *killed, return_exceptions=True)
    for target in guard.targets.values():
        await target.close()
    await guard.journals.store.close()
    if not fuse.burnt.is_set() and isinstance(ended[0], BaseException):
        raise ended[0]


async def swept(guard: Guard) -> None:
    """What a living copy's sweeper does in time, when nobody else shows life: all leases are over when it looks."""
    recovery, clock = Recovery(guard), guard.journals.clock
    assert isinstance(clock, Clock)
    for _ in range(2):  # a mark without a journal is given up only when it is seen a second time
        clock.ahead += LONG
        async for _ in recovery.sweep():
            pass


async def all_taken_back(guard: Guard) -> None:
    """What an operator does after the restart: take back every run, whatever became of it."""
    assert [run async for run in guard.journals.unfinished()] == []
    await take_all_back(guard)
    await all_accounted_for(guard)


async def take_all_back(guard: Guard) -> None:
    """Runs are found by their journals: the index may not have been reached."""
    for run in sorted({key.split("/")[1] async for key in guard.journals.store.list("runs/")}):
        state = await guard.journals.state(run)
        if state.opened["kind"] == "run":
            await revert(guard, RevertAsked(run=run, client="tests"))


async def all_accounted_for(guard: Guard) -> None:
    """I2: of no record nothing is known. I5: what is stored is whole."""
    for run in {key.split("/")[1] async for key in guard.journals.store.list("runs/")}:
        state = await guard.journals.state(run)
        assert not state.running, run
        assert [op.unsettled() for op in state.operations.values() if op.unsettled()] == []
        assert state.phase != "reverting", run
    assert [finding async for finding in verify_all(guard.journals) if finding.damage] == []


async def recovered_and_taken_back(settings: Settings) -> None:
    """By another copy, once no lease of the dead one holds any more."""
    guard = copy_of_guard(settings, clock=Clock())
    try:
        await swept(guard)
        await all_taken_back(guard)
    finally:
        await guard.close()


async def until(happened: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait for something that another thread or process does; fails where it does not."""
    for _ in range(int(seconds / _LOOK_S)):
        if happened():
            return
        await asyncio.sleep(_LOOK_S)
    raise AssertionError("it did not happen in time")
