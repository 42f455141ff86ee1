"""Answers of HighLevel's that are lost, late or lie: what was done is found out by reading, and taken back."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.handlers.crm import answer_of, through
from tests.world import World

NEW = {"email": "new@example.net", "firstName": "New"}

DONE: list[dict[str, Any]] = [
    {"kind": "done_then_status", "status": 500},
    {"kind": "done_then_status", "status": 504},
    {"kind": "done_then_html"},
    {"kind": "drop_after"},
    {"kind": "half_json"},
    {"kind": "empty"},
]
NOT_DONE: list[dict[str, Any]] = [
    {"kind": "drop_before"},
    {"kind": "html"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "ok_not_done"},
]


def named(fault: dict[str, Any]) -> str:
    return f"{fault['kind']}-{fault.get('status', '')}"


def people(world: World) -> list[str]:
    return list(world.contacts)


async def release(world: World) -> None:
    """Have the write that hangs land now; returns once it has."""
    count = len(await world.vendor_requests())
    async with httpx2.AsyncClient() as http:
        released = await http.post(f"{world.sandbox_url}/_sandbox/release")
    assert released.json() == {"released": 1}
    landed = False
    while not landed:
        landed = any(request["applied"] for request in (await world.vendor_requests())[count:])


@pytest.mark.parametrize("fault", DONE, ids=named)
async def test_an_update_that_was_passed_through_is_taken_back_though_its_answer_was_lost(
    small_world: World, fault: dict[str, Any]
) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    await world.fault(**fault, match={"method": "PUT"})
    reply = await through(world, "PUT", f"/contacts/{id_}", {"city": "Wrong", "tags": ["ruined"]})
    assert world.contacts[id_]["city"] == "Wrong"
    told = reply.json() if fault["kind"] == "drop_after" else answer_of(reply)

    report = await world.revert(told)

    assert reply.status_code == (504 if fault["kind"] == "drop_after" else reply.status_code)
    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 1, before)


@pytest.mark.parametrize("fault", NOT_DONE, ids=named)
async def test_an_update_that_was_passed_through_and_not_done_leaves_nothing_to_take_back(
    small_world: World, fault: dict[str, Any]
) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    await world.fault(**fault, match={"method": "PUT"})
    reply = await through(world, "PUT", f"/contacts/{id_}", {"city": "Wrong"})
    assert world.seen() == before

    told = reply.json() if fault["kind"] == "drop_before" else answer_of(reply)
    report = await world.revert(told)

    assert (report["status"], world.seen()) == ("reverted", before)


@pytest.mark.parametrize("fault", DONE, ids=named)
async def test_a_creation_that_was_passed_through_is_found_and_deleted_though_its_answer_was_lost(
    small_world: World, fault: dict[str, Any]
) -> None:
    world, before = small_world, small_world.seen()
    await world.fault(**fault, match={"method": "POST", "path_regex": "^/contacts/$"})
    reply = await through(world, "POST", "/contacts/", {**NEW, "locationId": LOCATION_ID})
    told = reply.json() if fault["kind"] == "drop_after" else answer_of(reply)
    assert len(world.contacts) == 21

    report = await world.revert(told)

    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 1, before)


async def test_a_creation_that_never_reached_the_vendor_is_in_doubt_until_the_revert_has_looked(
    small_world: World,
) -> None:
    world, before = small_world, small_world.seen()
    await world.fault(kind="drop_before", match={"method": "POST"})
    answer = await world.operate("create", [{"fields": NEW}])

    report = await world.revert(answer)

    assert (answer["records_in_doubt"], report["status"], world.seen()) == (1, "reverted", before)


async def test_a_creation_that_lands_only_after_the_answer_is_found_by_the_revert(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    await world.fault(kind="hang", seconds=60, match={"method": "POST"})
    answer = await world.operate("create", [{"fields": NEW}])
    assert (answer["records_in_doubt"], world.seen()) == (1, before)
    await release(world)

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 1, before)


@pytest.mark.parametrize("told", [None, "", "yesterday", "2099-01-01T00:00:00", 4070908800000, ["2099"]], ids=str)
async def test_a_record_that_tells_no_usable_time_is_not_taken_for_a_new_one(small_world: World, told: Any) -> None:
    crm, since = small_world.guard.target("crm"), datetime(2026, 1, 1, tzinfo=UTC)

    assert crm.created_since("contacts", {"dateAdded": "2026-01-01T00:00:00.000Z"}, since)
    assert not crm.created_since("contacts", {"dateAdded": told}, since)


async def test_an_update_that_lands_only_after_the_answer_is_taken_back(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    await world.fault(kind="hang", seconds=60, match={"method": "PUT"})
    reply = await through(world, "PUT", f"/contacts/{id_}", {"city": "Wrong"})
    assert (reply.status_code, reply.json()["written"], world.seen()) == (504, "unknown", before)
    await release(world)

    report = await world.revert(reply.json())

    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 1, before)


async def test_a_lost_answer_does_not_make_somebody_elses_later_edit_the_runs(small_world: World) -> None:
    world, before, (one, two, *_) = small_world, small_world.seen(), people(small_world)
    await world.fault(kind="hang", seconds=60, match={"method": "PUT"})
    reply = await through(world, "PUT", f"/contacts/{one}", {"city": "Wrong"})
    await release(world)
    await world.edit("contacts", one, {"city": "Berlin", "firstName": "Ann"})

    report = await world.revert(reply.json())

    assert (report["status"], report["records_conflicted"]) == ("partly_reverted", 1)
    assert world.seen() == {**before, one: {**before[one], "city": "Berlin", "firstName": "Ann"}}
    assert world.contacts[two]["city"] == before[two]["city"]


@pytest.mark.parametrize("fault", [*DONE[2:4], {"kind": "drop_before"}], ids=named)
async def test_a_revert_whose_answers_are_lost_restores_all_the_same(small_world: World, fault: dict[str, Any]) -> None:
    world, before, ids = small_world, small_world.seen(), people(small_world)[:3]
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong", "tags": ["x"]}} for id_ in ids])
    for method in ("PUT", "POST"):
        await world.fault(**fault, match={"method": method})

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 3, before)


@pytest.mark.parametrize("status", [401, 500, 503])
async def test_a_vendor_that_cannot_be_read_is_not_written_to(small_world: World, status: int) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    await world.fault(kind="status", status=status, times=-1, match={"method": "GET"})

    reply = await through(world, "PUT", f"/contacts/{id_}", {"city": "Wrong"})

    assert (reply.status_code, reply.json()["written"]) == (502 if status == 401 else 503, "nothing")
    assert (world.seen(), {r["method"] for r in await world.vendor_requests()}) == (before, {"GET"})
