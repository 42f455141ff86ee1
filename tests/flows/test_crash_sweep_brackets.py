"""Brackets whose Guard dies before or after every single thing that it stores or sends: at the checkpoint, at the seal,
in the revert. The native module in between writes only where it was told that the checkpoint stands."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.flows.guard import Guard
from guard.settings import Settings
from tests.flows.copies import (
    Clock,
    all_accounted_for,
    calling,
    copy_of_guard,
    swept,
    take_all_back,
    until_it_dies,
)
from tests.flows.fuse import Fuse
from tests.flows.stories import CONTACTS, everything
from tests.world import World, path_of, settings, world

RUN_KEY = {"guard-run-key": "execution 1"}


class Scenario:
    """A checkpoint, native writes, the seal, and the error route's revert; it may be told to begin again."""

    def __init__(self, there: World, *, deleting: bool) -> None:
        self._there = there
        self._ids = list(there.contacts)[:3]
        self._deleting = deleting
        self.told: dict[str, Any] = {}

    async def __call__(self, http: httpx2.AsyncClient) -> None:
        body = {"target": "crm", "resource": "contacts", "ids": self._ids}
        reply = await http.post("/v1/checkpoints", json=body, headers=RUN_KEY)
        if reply.status_code == 200:
            self.told = reply.json()
            await self._write()
            await http.post(path_of(self.told["seal_url"]))
        reply = await http.post(path_of(self.told["revert_url"]))
        assert reply.json()["status"] == "reverted", reply.text

    async def _write(self) -> None:
        first, second, third = self._ids
        for id_ in (first, second):
            if id_ in self._there.contacts:
                await self._there.edit("contacts", id_, {"city": "Nowhere", "tags": ["ruined"]})
        if self._deleting and third in self._there.contacts:
            await self._there.edit("contacts", third, None)


Afterwards = Callable[[Guard, Scenario], Awaitable[None]]


async def an_operator_takes_all_back(guard: Guard, _: Scenario) -> None:
    await take_all_back(guard)


async def the_scenario_runs_again(guard: Guard, scenario: Scenario) -> None:
    async with calling(guard) as http:
        await scenario(http)
        await guard.idle()


async def one(chosen: Settings, there: World, fuse: Fuse, afterwards: Afterwards) -> None:
    there.sandbox.reset()
    before = everything(there)
    scenario = Scenario(there, deleting=afterwards is an_operator_takes_all_back)

    async def life(guard: Guard) -> None:
        await the_scenario_runs_again(guard, scenario)

    await until_it_dies(copy_of_guard(chosen, fuse=fuse), fuse, life)
    other = copy_of_guard(chosen, clock=Clock())
    try:
        await swept(other)
        await afterwards(other, scenario)
        assert everything(there) == before
        assert [run async for run in other.journals.unfinished()] == []
        await all_accounted_for(other)
    finally:
        await other.close()


ONE = pytest.param(an_operator_takes_all_back, True, id="after-operator")
OTHERS = [
    pytest.param(afterwards, after, id=name, marks=pytest.mark.heavy)
    for afterwards, after, name in (
        (an_operator_takes_all_back, False, "before-operator"),
        (the_scenario_runs_again, True, "after-again"),
        (the_scenario_runs_again, False, "before-again"),
    )
]


@pytest.mark.parametrize(("afterwards", "after"), [ONE, *OTHERS])
async def test_death_at_every_step_of_a_bracket_leaves_nothing_that_cannot_be_taken_back(
    quick_path: Path, afterwards: Afterwards, after: bool
) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        accepting = {"accept_irreversible": True}
        unburnt = Fuse()
        await one(settings(f"file:{quick_path}/whole", there.sandbox_url, policy=accepting), there, unburnt, afterwards)
        assert len(unburnt.steps) >= 12
        for step in range(len(unburnt.steps)):
            chosen = settings(f"file:{quick_path}/{step}", there.sandbox_url, policy=accepting)
            await one(chosen, there, Fuse(step, after=after), afterwards)
