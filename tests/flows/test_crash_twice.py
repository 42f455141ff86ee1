"""Trouble on top of trouble: a crash inside recovery, a crash inside a revert, two recoveries at once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from guard.core.errors import GuardError
from guard.core.lifecycle import Illegal
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, revert
from tests.flows.copies import (
    LONG,
    Clock,
    all_accounted_for,
    all_taken_back,
    calling,
    copy_of_guard,
    recovered_and_taken_back,
    swept,
    take_all_back,
    until,
    until_it_dies,
)
from tests.flows.fuse import Fuse
from tests.flows.stories import (
    BULK,
    CONTACTS,
    PASSED,
    People,
    Story,
    create,
    delete,
    everything,
    pass_create,
    update,
)
from tests.flows.test_crash_sweep import applied, told_until_it_dies
from tests.flows.witness import Witness
from tests.world import World, settings, world

FEW: list[Story] = [update, pass_create]
MANY = [each for each in (*BULK, *PASSED) if each not in FEW]
HEAVY = pytest.mark.heavy
STORIES = [*FEW, *(pytest.param(each, marks=HEAVY) for each in MANY)]


def named(value: Any) -> str | None:
    return getattr(value, "__name__", None)


def accepting(folder: Path, there: World) -> Any:
    return settings(f"file:{folder}", there.sandbox_url, policy={"accept_irreversible": True})


async def recovers(guard: Guard) -> None:
    await swept(guard)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES, ids=named)
async def test_a_recovery_may_die_at_every_step_and_another_one_goes_on(
    story: Story, quick_path: Path, *, after: bool
) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        witness = Witness(there)

        async def one(folder: Path, second: Fuse) -> None:
            there.sandbox.reset()
            witness.store, before = folder, everything(there)
            await told_until_it_dies(folder, there, story, Fuse("write", after=True))
            recovering = copy_of_guard(accepting(folder, there), fuse=second, clock=Clock())
            await until_it_dies(recovering, second, recovers)
            # The third copy's clock must be ahead of the second's, or it would wait for a lease of that one's.
            third = copy_of_guard(accepting(folder, there), clock=Clock(LONG * 3))
            try:
                await swept(third)
                await all_taken_back(third)
            finally:
                await third.close()
            assert everything(there) == before
            assert witness.missing == []

        unburnt = Fuse()
        await one(quick_path / "whole", unburnt)
        assert len(unburnt.steps) >= 3  # taken over, sealed, the mark removed
        for step in range(len(unburnt.steps)):
            await one(quick_path / str(step), Fuse(step, after=after))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "story", [update, pytest.param(create, marks=HEAVY), pytest.param(delete, marks=HEAVY)], ids=named
)
@pytest.mark.parametrize("recovering", [pytest.param(True, marks=HEAVY), False], ids=["recovered", "repeated"])
async def test_a_revert_may_die_at_every_step_and_another_copy_repeats_it(
    story: Story, quick_path: Path, *, after: bool, recovering: bool
) -> None:
    """Either after its recovery, or at once: a revert takes over what it finds abandoned."""
    async with world(quick_path, records=CONTACTS) as there:
        witness = Witness(there)

        async def one(folder: Path, fuse: Fuse) -> None:
            there.sandbox.reset()
            witness.store, before, people = folder, everything(there), People(there)
            first = copy_of_guard(accepting(folder, there))
            async with calling(first) as http:
                run = str((await story(http, people))["id"])
            await first.close()
            written = applied(there).total()

            async def reverts(guard: Guard) -> None:
                await revert(guard, RevertAsked(run=run, client="tests"))

            await until_it_dies(copy_of_guard(accepting(folder, there), fuse=fuse), fuse, reverts)
            third = copy_of_guard(accepting(folder, there), clock=Clock(LONG))
            try:
                if recovering:
                    await swept(third)
                await revert(third, RevertAsked(run=run, client="tests"))
                await swept(third)
                await all_accounted_for(third)
            finally:
                await third.close()
            assert everything(there) == before
            assert witness.missing == []
            assert applied(there).total() - written <= compensations

        compensations = 100
        unburnt = Fuse()
        there.sandbox.reset()
        await one(quick_path / "whole", unburnt)
        compensations = sum(not step.startswith(("create ", "remove ")) for step in unburnt.steps)
        assert compensations > 0
        for step in range(len(unburnt.steps)):
            await one(quick_path / str(step), Fuse(step, after=after))


@pytest.mark.parametrize("story", STORIES, ids=named)
async def test_two_recoveries_at_once_end_what_was_cut_off_once(story: Story, quick_path: Path) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        unburnt = Fuse()
        await told_until_it_dies(quick_path / "whole", there, story, unburnt)
        for step in range(len(unburnt.steps)):
            there.sandbox.reset()
            folder, before = quick_path / str(step), everything(there)
            await told_until_it_dies(folder, there, story, Fuse(step, after=True))
            two = [copy_of_guard(accepting(folder, there), clock=Clock()) for _ in range(2)]
            await asyncio.gather(*(swept(guard) for guard in two))
            for run in {key.split("/")[1] async for key in two[0].journals.store.list("runs/")}:
                state = await two[0].journals.state(run)
                assert {op.phase for op in state.operations.values()} <= {"ended"}
            # They also take back at once: one of them does, the other is told that it is busy.
            taken_back = await asyncio.gather(*(take_all_back(guard) for guard in two), return_exceptions=True)
            assert [e for e in taken_back if e and not isinstance(e, GuardError | Illegal)] == []
            for guard in two:
                await guard.close()
            await recovered_and_taken_back(accepting(folder, there))
            assert everything(there) == before


async def test_what_one_recovery_has_taken_the_other_one_leaves_alone(quick_path: Path) -> None:
    async with world(quick_path, records=CONTACTS) as there:
        folder, before = quick_path / "store", everything(there)
        await told_until_it_dies(folder, there, update, Fuse("write", after=True))
        clock = Clock(LONG)
        one, other = (copy_of_guard(accepting(folder, there), clock=clock) for _ in range(2))
        await there.fault(kind="hang", seconds=60, match={"method": "GET"}, times=-1)
        (run,) = [run async for run in one.journals.unfinished()]

        recovering = asyncio.ensure_future(swept_once(one))
        with one.journals.use(run) as journal:
            await until(lambda: any(op.term > 1 for op in journal.state.operations.values()))
        told = await swept_once(other)
        reverting = asyncio.ensure_future(revert(other, RevertAsked(run=run, client="tests")))
        await asyncio.sleep(0.5)  # long enough to take over, if it did
        assert journal.state.operations["op_1"].term == 2
        there.sandbox.faults.clear()
        there.sandbox.release()
        ended = await recovering
        await reverting

        assert told == ["is going on; left alone"]
        assert ended == ["ended; 3 records were settled by reading"]
        assert everything(there) == before
        for guard in (one, other):
            await guard.close()


async def swept_once(guard: Guard) -> list[str]:
    return [recovered.detail async for recovered in Recovery(guard).sweep()]
