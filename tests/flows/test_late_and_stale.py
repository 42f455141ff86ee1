"""The vendor is late or does not know yet: a write that lands after recovery has read, reads of what was before."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from guard.flows.guard import Guard
from guard.flows.revert import RevertAsked, revert
from tests.flows.copies import LONG, Clock, all_accounted_for, calling, copy_of_guard, swept, until, until_it_dies
from tests.flows.fuse import Fuse
from tests.flows.stories import (
    CONTACTS,
    People,
    Story,
    add_tags,
    create,
    create_deals,
    delete,
    delete_deals,
    everything,
    pass_bulk_tags,
    pass_create,
    pass_deal_delete,
    pass_deal_status,
    pass_delete,
    pass_tags,
    pass_update,
    pass_upsert,
    remove_tags,
    set_business,
    update,
    update_deals,
    upsert,
)  # fmt: skip
from tests.world import World, settings, world

WRITES = "PUT POST DELETE".split()
ALL: list[Story] = [
    update, add_tags, remove_tags, set_business, create, upsert, delete, update_deals, create_deals, delete_deals,
    pass_update, pass_create, pass_upsert, pass_delete, pass_tags, pass_bulk_tags, pass_deal_status, pass_deal_delete,
]  # fmt: skip


def named(value: Any) -> str | None:
    return getattr(value, "__name__", None)


def copy(folder: Path, there: World, fuse: Fuse | None = None, clock: Clock | None = None) -> Guard:
    accepting = settings(f"file:{folder}/store", there.sandbox_url, policy={"accept_irreversible": True})
    return copy_of_guard(accepting, fuse=fuse, clock=clock or Clock())


async def the_run(guard: Guard) -> str:
    keys = [key async for key in guard.journals.store.list("runs/")]
    runs = {key.split("/")[1] for key in keys}
    (run,) = [run for run in runs if (await guard.journals.state(run)).opened["kind"] == "run"]
    return run


async def taken_back(guard: Guard, run: str) -> str:
    """The status of the revert."""
    own = await revert(guard, RevertAsked(run=run, client="tests"))
    await all_accounted_for(guard)
    return str((await guard.journals.state(run)).reverts[own]["status"])  # type: ignore[index]


async def killed_while_its_write_hangs(folder: Path, there: World, story: Story) -> int:
    """The writes of a story hang at the vendor, and its process dies. Gives the number of those that hang."""
    for method in WRITES:
        await there.fault(kind="hang", seconds=600, times=-1, match={"method": method})
    fuse, people = Fuse(), People(there)

    async def life(guard: Guard) -> None:
        async with calling(guard) as http:
            await story(http, people)

    async def kill() -> None:
        await until(lambda: bool(there.sandbox._held))
        await asyncio.sleep(0.1)  # what is sent together
        fuse.burnt.set()

    killing = asyncio.create_task(kill())
    await until_it_dies(copy(folder, there, fuse), fuse, life)
    await asyncio.gather(killing, return_exceptions=True)
    there.sandbox.faults.clear()
    return len(there.sandbox._held)


async def land(there: World, count: int) -> None:
    """The writes that hung land now."""
    before = len(there.sandbox.log.entries)
    there.sandbox.release()
    await until(lambda: len(there.sandbox.log.entries) >= before + count)


@pytest.mark.parametrize("story", ALL, ids=named)
async def test_a_slow_write_that_lands_after_recovery_has_read_is_taken_back(story: Story, quick_path: Path) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        before = everything(there)
        hanging = await killed_while_its_write_hangs(quick_path, there, story)
        guard = copy(quick_path, there)
        await swept(guard)
        assert everything(there) == before
        run = await the_run(guard)
        state = await guard.journals.state(run)
        assert {op.ended["status"] for op in state.operations.values()} <= {"partial", "stopped"}
        await land(there, hanging)
        assert everything(there) != before

        status = await taken_back(guard, run)

        assert (status, everything(there)) == ("reverted", before)
        await guard.close()


@pytest.mark.parametrize("story", ALL, ids=named)
async def test_a_slow_write_that_lands_after_a_revert_is_taken_back_by_the_next(story: Story, quick_path: Path) -> None:
    """Nothing tells a write that is still on its way from one that was lost; the same URL, called again, ends it."""
    async with world(quick_path, records=CONTACTS) as there:
        before = everything(there)
        hanging = await killed_while_its_write_hangs(quick_path, there, story)
        guard = copy(quick_path, there)
        await swept(guard)
        run = await the_run(guard)
        await taken_back(guard, run)
        assert everything(there) == before
        await land(there, hanging)
        assert everything(there) != before

        status = await taken_back(guard, run)

        assert (status, everything(there)) == ("reverted", before)
        await guard.close()


@pytest.mark.parametrize("story", ALL, ids=named)
async def test_reads_after_the_write_that_are_stale_do_not_lose_what_was_done(story: Story, quick_path: Path) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        before, people = everything(there), People(there)
        guard = copy(quick_path, there)
        async with calling(guard) as http:
            # Before the first write a read has nothing to be stale about.
            await there.fault(kind="stale_read", times=-1, match={"method": "GET"})
            await story(http, people)
            await guard.idle()
        there.sandbox.faults.clear()
        assert everything(there) != before

        status = await taken_back(guard, await the_run(guard))

        assert (status, everything(there)) == ("reverted", before)
        await guard.close()


@pytest.mark.parametrize("story", ALL, ids=named)
async def test_a_recovery_that_reads_stale_does_not_lose_what_was_done(story: Story, quick_path: Path) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        before, people = everything(there), People(there)

        async def life(guard: Guard) -> None:
            async with calling(guard) as http:
                await story(http, people)
                await guard.idle()

        fuse = Fuse("write", after=True)
        await until_it_dies(copy(quick_path, there, fuse), fuse, life)
        guard = copy(quick_path, there, clock=Clock(LONG))
        await there.fault(kind="stale_read", times=-1, match={"method": "GET"})
        await swept(guard)
        there.sandbox.faults.clear()

        status = await taken_back(guard, await the_run(guard))

        assert (status, everything(there)) == ("reverted", before)
        await guard.close()


@pytest.mark.parametrize("story", ALL, ids=named)
async def test_a_revert_that_reads_stale_is_made_good_by_the_next_one(story: Story, quick_path: Path) -> None:
    """It cannot know better than the vendor tells it; called again when the vendor knows, it ends in the same state."""
    async with world(quick_path, records=CONTACTS) as there:
        before, people = everything(there), People(there)
        guard = copy(quick_path, there)
        async with calling(guard) as http:
            await story(http, people)
            await guard.idle()
        run = await the_run(guard)
        await there.fault(kind="stale_read", times=-1, match={"method": "GET"})
        await taken_back(guard, run)
        there.sandbox.faults.clear()

        status = await taken_back(guard, run)

        assert (status, everything(there)) == ("reverted", before)
        await guard.close()


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
async def test_a_recovery_does_not_take_a_later_runs_value_for_that_of_the_one_it_ends(
    quick_path: Path, *, done: bool
) -> None:
    """The first run was cut off; before anybody recovers it, a second one writes the same records."""
    async with world(quick_path, records=CONTACTS) as there:
        before, people = everything(there), People(there)

        async def life(guard: Guard) -> None:
            async with calling(guard) as http:
                await pass_update(http, people)

        fuse = Fuse("write", after=done)
        await until_it_dies(copy(quick_path, there, fuse), fuse, life)
        guard = copy(quick_path, there, clock=Clock())
        first = await the_run(guard)
        between = everything(there)
        async with calling(guard) as http:
            reply = await http.put(f"/to/crm/contacts/{people.contacts[0]}", json={"firstName": "Second"})
        await guard.idle()

        await swept(guard)

        assert await taken_back(guard, reply.headers["guard-run"]) == "reverted"
        assert everything(there) == between
        assert (await taken_back(guard, first), everything(there)) == ("reverted", before)
        await guard.close()
