"""Plans of reverts that people page and search through: each is read from the journal once and kept for a short while.

A plan is a table on disk, so that keeping a few costs little memory. What a record holds now is never kept: it is read
anew for each page.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from guard.core.lifecycle import RunState
from guard.core.limits import PLANS_KEPT_MAX, PLANS_KEPT_S
from guard.flows.guard import Guard
from guard.flows.plan import Narrowing, Plan, Row
from guard.flows.revert import load_plan

_Key = tuple[str, int, Narrowing]


@dataclass(slots=True)
class _Kept:
    loading: asyncio.Task[Plan]
    users: int = 0
    forgetting: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Page:
    plan: Plan
    """Holds the rows of this page at least."""
    rows: list[Row]
    total: int
    """Rows of the whole plan."""


class Plans:
    """The plans of one process. A run whose journal has grown is another plan; a run under way is not kept at all."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    @asynccontextmanager
    async def of(self, state: RunState, narrowing: Narrowing) -> AsyncIterator[Plan]:
        """The plan of a run, for as long as the block lasts. Raises Refused, Corrupt, Unavailable."""
        key = (state.run, state.n, narrowing)
        # The ids that a revert under way gives to what it creates again are in the revert's own journal.
        if state.phase == "reverting" or key not in self._kept:
            self._kept[key] = _Kept(asyncio.create_task(self._load(state.run, narrowing)))
        kept = self._kept[key]
        self._kept.move_to_end(key)
        if kept.forgetting:
            kept.forgetting.cancel()
        kept.users += 1
        try:
            yield await asyncio.shield(kept.loading)
        finally:
            kept.users -= 1
            if not kept.users:
                self._let_go(key, kept, state)

    @asynccontextmanager
    async def page(self, state: RunState, narrowing: Narrowing, offset: int, limit: int) -> AsyncIterator[Page]:
        """A page of the plan, newest records first. Of a long run that is one operation only its end is read."""
        key, skip = (state.run, state.n, narrowing), _skip(state, narrowing, offset + limit)
        if skip and key not in self._kept:
            with self._guard.journals.use(state.run) as journal:
                plan = await load_plan(self._guard, journal, narrowing, skip=skip)
            try:
                (operation,) = state.operations.values()
                yield Page(plan, plan.page(offset, limit), operation.count("applied"))
            finally:
                plan.close()
        else:
            async with self.of(state, narrowing) as plan:
                yield Page(plan, plan.page(offset, limit), len(plan))

    async def _load(self, run: str, narrowing: Narrowing) -> Plan:
        with self._guard.journals.use(run) as journal:
            return await load_plan(self._guard, journal, narrowing)

    def _let_go(self, key: _Key, kept: _Kept, state: RunState) -> None:
        going_on = state.running or state.phase == "reverting"
        if self._kept.get(key) is not kept or going_on or _failed(kept.loading):
            self._forget(key, kept)
            return
        kept.forgetting = asyncio.get_running_loop().call_later(PLANS_KEPT_S, self._forget, key, kept)
        for each, other in list(self._kept.items())[: max(0, len(self._kept) - PLANS_KEPT_MAX)]:
            if not other.users:
                self._forget(each, other)

    def _forget(self, key: _Key, kept: _Kept) -> None:
        if kept.users:
            return
        if self._kept.get(key) is kept:
            del self._kept[key]
        if kept.forgetting:
            kept.forgetting.cancel()
        kept.loading.add_done_callback(_close)

    def close(self) -> None:
        for key, kept in list(self._kept.items()):
            self._forget(key, kept)


def _skip(state: RunState, narrowing: Narrowing, reach: int) -> int:
    """How many records at the beginning of a run need not be read for the newest `reach` rows of its plan; 0: all may.

    Within one operation each record stands once, so nothing earlier can be merged into its rows. Of deletions all are
    read, for the plan orders them otherwise.
    """
    if narrowing != Narrowing() or state.reverts or len(state.operations) != 1:
        return 0
    (operation,) = state.operations.values()
    sealed = all(chunk.phase == "sealed" and not chunk.rolled_back for chunk in operation.chunks.values())
    if operation.phase != "ended" or not sealed or operation.implied() or operation.begun.get("action") == "delete":
        return 0
    if operation.count("unknown"):
        return 0
    records = sum(chunk.records for chunk in operation.chunks.values())
    return max(0, records - operation.count("failed") - reach - _WORTHWHILE)


_WORTHWHILE = 500
"""Records that are read sooner than it takes to think about them."""


def _failed(loading: asyncio.Task[Plan]) -> bool:
    return loading.done() and (loading.cancelled() or loading.exception() is not None)


def _close(loading: asyncio.Task[Plan]) -> None:
    if not _failed(loading):
        loading.result().close()
