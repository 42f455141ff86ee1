"""Prefer: how long a caller waits, and that the run goes on without it."""

import asyncio

import pytest

from tests.web.doors import all_ended, assert_problem, nothing_happens, send, updates
from tests.world import World, path_of


@pytest.mark.parametrize("prefer", ["respond-async", "respond-async, wait=0", "wait=0", "WAIT=0", "wait = 0"])
async def test_a_caller_that_does_not_wait_gets_a_place_to_look_and_the_run_goes_on(
    small_world: World, prefer: str
) -> None:
    reply = await send(small_world, "json", "update", updates(small_world), headers={"prefer": prefer})
    assert (202, reply.json()["run_url"]) == (reply.status_code, reply.headers["location"])
    await all_ended(small_world)
    told = (await small_world.http.get(path_of(reply.headers["location"]))).json()
    assert (told["status"], told["records_applied"]) == ("applied", 3)


async def test_an_accepted_answer_has_a_revert_url_that_works_at_once(small_world: World) -> None:
    before = small_world.seen()
    reply = await send(small_world, "json", "update", updates(small_world), headers={"prefer": "respond-async"})
    back = await small_world.revert(reply.json())
    assert back["status"] in ("reverted", "partly_reverted")
    assert before == small_world.seen()


async def test_what_is_accepted_can_be_looked_at_at_once(small_world: World) -> None:
    """The place that Location names is there when the answer is: the opening is durable before it is promised."""
    reply = await send(small_world, "json", "update", updates(small_world), headers={"prefer": "respond-async"})
    assert (await small_world.http.get(path_of(reply.headers["location"]))).status_code == 200


async def test_what_would_be_refused_is_not_accepted_first(small_world: World) -> None:
    record = [{"id": next(iter(small_world.contacts))}]
    with nothing_happens(small_world):
        reply = await send(small_world, "json", "delete", record, headers={"prefer": "respond-async"})
        assert_problem(reply, "irreversible")


@pytest.mark.parametrize(
    "prefer", ["wait=9999999", "wait=soon", "wait=-1", "return=minimal", "handling=lenient", ";;,"]
)
async def test_a_preference_that_cannot_be_met_is_ignored(small_world: World, prefer: str) -> None:
    reply = await send(small_world, "json", "update", updates(small_world), headers={"prefer": prefer})
    assert (reply.status_code, reply.json()["status"]) == (200, "applied")


async def test_a_caller_that_waits_not_long_enough_gets_202_and_the_numbers_so_far(small_world: World) -> None:
    await small_world.fault(match={"method": "PUT"}, kind="hang", seconds=60, times=1)
    request = send(small_world, "json", "update", updates(small_world), headers={"prefer": "wait=1"})
    reply = await request
    assert (reply.status_code, reply.json()["status"], reply.json()["records_failed"]) == (202, "running", 0)
    assert reply.json()["revert_url"]
    assert (reply.json()["records_in_doubt"], reply.json()["failures"]) == (0, [])  # on their way is no doubt
    small_world.sandbox.release()
    await all_ended(small_world)


async def test_what_cannot_be_taken_back_is_said_before_it_has_ended(small_world: World) -> None:
    record = [{"id": next(iter(small_world.contacts))}]
    headers = {"prefer": "respond-async"}
    reply = await send(small_world, "json", "delete", record, headers=headers, accept_irreversible="true")
    assert (reply.status_code, reply.json()["reversible"]) == (202, "partial")
    assert "new id" in reply.json()["reversible_reasons"][0]
    await all_ended(small_world)


async def test_a_revert_that_is_not_waited_for_goes_on(small_world: World) -> None:
    before = small_world.seen()
    told = await small_world.operate("update", updates(small_world))
    reply = await small_world.http.post(path_of(told["revert_url"]), headers={"prefer": "respond-async"})
    assert (reply.status_code, reply.json()["status"]) == (202, "reverting")
    await all_ended(small_world)
    assert before == small_world.seen()
    assert (await small_world.http.get(path_of(told["run_url"]))).json()["status"] == "reverted"


async def test_the_place_of_a_revert_that_is_not_waited_for_is_the_reverts_own_run(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    reply = await small_world.http.post(path_of(told["revert_url"]), headers={"prefer": "respond-async"})
    await all_ended(small_world)
    looked = (await small_world.http.get(path_of(reply.headers["location"]))).json()
    assert ("revert", told["id"]) == (looked["kind"], looked.get("reverts"))


async def test_a_revert_of_a_run_that_is_going_on_stops_it_first(small_world: World) -> None:
    before = small_world.seen()
    await small_world.fault(match={"method": "PUT"}, kind="hang", seconds=60, times=1)
    reply = await send(small_world, "json", "update", updates(small_world), headers={"prefer": "wait=1"})
    going = asyncio.create_task(small_world.revert(reply.json()))
    await asyncio.sleep(0)
    small_world.sandbox.release()
    assert (await going)["status"] == "reverted"
    assert before == small_world.seen()
