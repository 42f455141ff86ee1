"""What was accepted is done: by whichever copy, after a crash as well, each record once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.core.limits import SPOOL_RECORDS_MAX
from guard.flows.guard import Guard
from guard.flows.queued import drive, work_forever
from guard.flows.recover import Recovery
from guard.flows.settle import ended
from guard.flows.verify import verify_all
from guard.queue.base import Job
from guard.queue.memory import MemoryQueue
from tests.conftest import NewWorld
from tests.flows.copies import Clock, calling, copy_of_guard, until_it_dies
from tests.flows.fuse import Fuse
from tests.web.doors import assert_problem, nothing_is_written, updates, vendor_writes
from tests.world import World, path_of, settings

PACE = {"requests": 5000, "per_s": 1.0, "concurrency": 20}
LATER = {"prefer": "respond-async"}


@asynccontextmanager
async def copy_of(world: World, folder: Path) -> AsyncIterator[tuple[Guard, httpx2.AsyncClient]]:
    """Another Guard over the same store, with no workers: what it accepts waits."""
    guard = copy_of_guard(settings(f"file:{folder}/store", world.sandbox_url, pace=PACE))
    try:
        async with calling(guard) as http:
            http.headers |= LATER
            yield guard, http
    finally:
        await guard.close()


def body(records: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    return {"target": "crm", "resource": "contacts", "action": "update", "records": records, **members}


async def swept(guard: Guard, **how: bool) -> list[str]:
    return [each.detail async for each in Recovery(guard).sweep(**how)]


async def test_what_one_copy_accepted_another_one_does(new_world: NewWorld, tmp_path: Path) -> None:
    async with new_world(records=1000, pace=PACE) as world, copy_of(world, tmp_path) as (_, http):
        before = world.seen()
        world.guard.journals.clock = clock = Clock()
        told = (await http.post("/v1/operations", json=body(updates(world, 1000)))).json()
        assert (told["status"], told["records_total"], vendor_writes(world)) == ("running", 1000, [])
        assert await swept(world.guard) == ["is going on; left alone"]
        clock.ahead = timedelta(seconds=world.guard.lease_s * 1.5)  # by then the first copy counts as dead
        assert await swept(world.guard) == ["waits in the queue"]
        await world.settle()
        done = (await world.http.get(path_of(told["run_url"]))).json()
        assert (done["status"], done["records_applied"]) == ("applied", 1000)
        assert len(vendor_writes(world)) == 1000
        assert (await world.revert(done))["records_restored"] == 1000
        assert world.seen() == before


async def test_a_killed_driver_is_replaced_and_each_record_is_written_once(new_world: NewWorld, tmp_path: Path) -> None:
    """The first driver dies in the middle; the second one settles what was on its way and does the rest."""
    async with new_world(records=350, pace=PACE) as world, copy_of(world, tmp_path) as (guard, http):
        before = world.seen()
        told = (await http.post("/v1/operations", json=body(updates(world, 350)))).json()
        job = Job("crm", told["id"], next(iter((await guard.journals.state(told["id"])).operations)))
        fuse = Fuse(at=150)

        async def driven(guard: Guard) -> None:
            await drive(guard, job)

        dying = copy_of_guard(settings(f"file:{tmp_path}/store", world.sandbox_url, pace=PACE), fuse=fuse)
        await until_it_dies(dying, fuse, driven)
        assert await drive(world.guard, job, at_once=True)
        done = (await world.http.get(path_of(told["run_url"]))).json()
        # Of what was announced and not answered, nobody can say that it is not on its way: it is not sent again.
        assert done["records_applied"] + done["records_in_doubt"] == 350
        assert 0 < done["records_in_doubt"] <= 300
        paths = [path for _, path, status, applied in vendor_writes(world) if applied]
        assert len(paths) == len(set(paths)) == done["records_applied"]
        assert (await world.revert(done))["status"] == "reverted"
        assert world.seen() == before


async def test_a_repeat_of_an_accepted_request_is_the_same_run(new_world: NewWorld, tmp_path: Path) -> None:
    async with new_world(records=20, pace=PACE) as world, copy_of(world, tmp_path) as (_, http):
        key = {"idempotency-key": "import-7", **LATER}
        first, second = [await http.post("/v1/operations", json=body(updates(world)), headers=key) for _ in range(2)]
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json()["id"] == second.json()["id"]
        other = await http.post("/v1/operations", json=body(updates(world, city="Elsewhere")), headers=key)
        assert_problem(other, "key_reused")


async def test_an_accepted_run_can_be_taken_back_before_anybody_has_begun_it(
    new_world: NewWorld, tmp_path: Path
) -> None:
    async with new_world(records=20, pace=PACE) as world, copy_of(world, tmp_path) as (_, http):
        told = (await http.post("/v1/operations", json=body(updates(world)))).json()
        with nothing_is_written(world):
            back = await http.post(path_of(told["revert_url"]), headers={"prefer": "wait=20"})
            assert back.status_code == 200, back.text
            assert await swept(world.guard) == []
        done = (await world.http.get(path_of(told["run_url"]))).json()
        assert done["records_applied"] == 0


async def test_a_queue_that_is_full_makes_the_caller_come_again(new_world: NewWorld, tmp_path: Path) -> None:
    async with new_world(records=20, pace=PACE) as world, copy_of(world, tmp_path) as (guard, http):
        guard.queue = MemoryQueue(jobs_max=1)
        assert (await http.post("/v1/operations", json=body(updates(world)))).status_code == 202
        with nothing_is_written(world):
            refused = await http.post("/v1/operations", json=body(updates(world)))
        assert_problem(refused, "overloaded")
        assert refused.headers["retry-after"]


async def test_jobs_of_one_target_are_driven_one_after_the_other(new_world: NewWorld, tmp_path: Path) -> None:
    async with new_world(records=20, pace=PACE) as world, copy_of(world, tmp_path) as (guard, http):
        cities = ["First", "Second", "Third"]
        for city in cities:
            await http.post("/v1/operations", json=body(updates(world, 5, city=city)))
        working = asyncio.create_task(work_forever(guard))
        for run in [run async for run in guard.journals.unfinished()]:
            with guard.journals.use(run) as journal:
                await journal.catch_up()
                for op in list(journal.state.operations):
                    await ended(guard, journal, op)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert {row["city"] for row in list(world.contacts.values())[:5]} == {"Third"}
        assert len(vendor_writes(world)) == 15


async def test_the_records_that_wait_lie_in_parts_and_are_verified(new_world: NewWorld, tmp_path: Path) -> None:
    async with new_world(records=20, pace=PACE) as world, copy_of(world, tmp_path) as (guard, http):
        names = [secrets.token_hex(40) for _ in range(SPOOL_RECORDS_MAX + 1)]
        rows = [{"id": f"unknown{n:013d}", "fields": {"firstName": name}} for n, name in enumerate(names)]
        told = (await http.post("/v1/operations", json=body(rows))).json()
        (operation,) = (await guard.journals.state(told["id"])).operations.values()
        assert len(operation.begun["queued"]["parts"]) == 2
        assert [finding.detail async for finding in verify_all(guard.journals) if finding.damage] == []
        for path in (tmp_path / "store" / "runs" / told["id"] / "images").iterdir():
            path.unlink()
        assert any([finding.damage async for finding in verify_all(guard.journals)])


@pytest.mark.parametrize("how", [{}, {"at_once": True}], ids=["sweep", "by hand"])
async def test_recovery_by_hand_drives_what_waits_and_a_sweep_puts_it_in_the_queue(
    new_world: NewWorld, tmp_path: Path, how: dict[str, bool]
) -> None:
    async with new_world(records=20, pace=PACE) as world, copy_of(world, tmp_path) as (guard, http):
        await http.post("/v1/operations", json=body(updates(world)))
        told = await swept(guard, **how)
        assert told == (["ended; 0 records were settled by reading"] if how else ["waits in the queue"])
        assert len(vendor_writes(world)) == (3 if how else 0)
