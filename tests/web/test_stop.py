"""POST /v1/runs/{id}/stop: nothing more is sent, what was sent is accounted for and can be taken back."""

import asyncio

from tests.conftest import NewWorld
from tests.flows.copies import until
from tests.web.doors import assert_problem, send, updates, vendor_writes
from tests.world import OTHER_KEY, World, path_of

PACE = {"requests": 5000, "per_s": 1.0, "concurrency": 20}


async def begin_long_run(world: World) -> dict[str, object]:
    """An update of many chunks whose first write hangs."""
    await world.fault(match={"method": "PUT"}, kind="hang", seconds=60, times=1)
    reply = await send(world, "json", "update", updates(world, 1000), headers={"prefer": "wait=1"})
    assert (reply.status_code, reply.json()["status"]) == (202, "running")
    return dict(reply.json())


async def test_a_stopped_run_sends_nothing_more_and_goes_back_whole(new_world: NewWorld) -> None:
    async with new_world(records=1000, pace=PACE) as world:
        before = world.seen()
        told = await begin_long_run(world)
        await until(lambda: bool(vendor_writes(world)))
        stopping = asyncio.create_task(world.http.post(path_of(str(told["run_url"])) + "/stop"))
        await asyncio.sleep(0.2)
        world.sandbox.release()
        stopped = (await stopping).json()
        sent = len(vendor_writes(world))
        assert (stopped["status"], stopped["records_total"]) == ("stopped", 1000)
        assert 0 < stopped["records_applied"] < 1000
        assert stopped["records_in_doubt"] == 0
        await asyncio.sleep(0.3)
        assert len(vendor_writes(world)) == sent
        assert (await world.revert(stopped))["status"] == "reverted"
        assert world.seen() == before


async def test_a_stop_that_takes_longer_than_the_wait_is_accepted(new_world: NewWorld) -> None:
    async with new_world(records=1000, pace=PACE) as world:
        told = await begin_long_run(world)
        reply = await world.http.post(path_of(str(told["run_url"])) + "/stop", headers={"prefer": "respond-async"})
        assert (reply.status_code, reply.json()["status"]) == (202, "running")
        world.sandbox.release()
        await world.guard.idle()
        assert (await world.http.get(path_of(str(told["run_url"])))).json()["status"] == "stopped"


async def test_a_run_that_has_ended_keeps_its_status_and_takes_no_more_operations(small_world: World) -> None:
    key = {"guard-run-key": "nightly"}
    told = await small_world.operate("update", updates(small_world), headers=key)
    stopped = (await small_world.http.post(path_of(told["run_url"]) + "/stop")).json()
    again = (await small_world.http.post(path_of(told["run_url"]) + "/stop")).json()
    assert (stopped["status"], again["status"]) == ("applied", "applied")
    refused = await send(small_world, "json", "update", updates(small_world, city="Elsewhere"), headers=key)
    assert_problem(refused, "run_closed")


async def test_a_key_for_another_target_does_not_stop_it(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    reply = await small_world.http.post(path_of(told["run_url"]) + "/stop", headers={"guard-key": OTHER_KEY})
    assert_problem(reply, "not_found")
