"""I1, I2, I4: the process dies before and after every single thing it does to store or vendor; another takes over.

Whatever was done by then can be taken back: after recovery and reverting every run that the store knows, the vendor
holds what it held before. No write ever reached it that the store did not announce, pre-image and all.
"""

from collections import Counter
from pathlib import Path

import pytest

from guard.flows.guard import Guard
from tests.flows.copies import calling, copy_of_guard, recovered_and_taken_back, until_it_dies
from tests.flows.fuse import Fuse
from tests.flows.stories import (
    BULK,
    CONTACTS,
    PASSED,
    REVERTED,
    People,
    Story,
    create,
    delete,
    everything,
    pass_create,
    pass_tags,
    pass_update,
    update,
    update_and_revert,
    update_deals,
    upsert,
)
from tests.flows.witness import Witness
from tests.world import World, settings, world


async def told_until_it_dies(folder: Path, world: World, story: Story, fuse: Fuse) -> None:
    """A story through the doors of a copy that its fuse kills."""
    there = People(world)

    async def life(guard: Guard) -> None:
        async with calling(guard) as http:
            await story(http, there)
            await guard.idle()

    accepting = settings(f"file:{folder}", world.sandbox_url, policy={"accept_irreversible": True})
    await until_it_dies(copy_of_guard(accepting, fuse=fuse), fuse, life)


def applied(world: World) -> Counter[str]:
    """How often the vendor did what, by the address written to."""
    return Counter(f"{method} {path}" for _, method, path, _, _, done in world.sandbox.log.entries if done)


async def one(folder: Path, world: World, witness: Witness, story: Story, fuse: Fuse) -> None:
    world.sandbox.reset()
    witness.store = folder
    before = everything(world)
    await told_until_it_dies(folder, world, story, fuse)
    accepting = settings(f"file:{folder}", world.sandbox_url, policy={"accept_irreversible": True})
    await recovered_and_taken_back(accepting)
    assert everything(world) == before
    assert witness.missing == []
    # There and back: what names its record was written at most twice, and deleted at most once.
    often = {call: n for call, n in applied(world).items() if n > (1 if call.startswith("DELETE") else 2)}
    assert {call: n for call, n in often.items() if "/bulk/" not in call and not call.endswith("s/")} == {}


FEW: list[Story] = [
    update, create, upsert, delete, update_deals, pass_update, pass_create, pass_tags, update_and_revert,
]  # fmt: skip
MANY = [story for story in (*BULK, *PASSED, *REVERTED) if story not in FEW]
STORIES = [*FEW, *(pytest.param(story, marks=pytest.mark.heavy) for story in MANY)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_death_at_every_step_leaves_nothing_that_cannot_be_taken_back(
    story: Story, quick_path: Path, *, after: bool
) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        witness, unburnt = Witness(there), Fuse()
        await one(quick_path / "whole", there, witness, story, unburnt)
        assert len(unburnt.steps) >= 4
        assert witness.seen >= 2
        for step in range(len(unburnt.steps)):
            await one(quick_path / str(step), there, witness, story, Fuse(step, after=after))
