"""Answers of HighLevel's that are lost, late or lie: what was done is found out by reading, and taken back."""

from typing import Any

import httpx2
import pytest

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.handlers.crm import answer_of, through, without
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


@pytest.mark.parametrize("fault", [*DONE, {"kind": "drop_before"}, {"kind": "html"}], ids=named)
async def test_an_update_in_bulk_is_done_and_taken_back_whatever_one_answer_was(
    small_world: World, fault: dict[str, Any]
) -> None:
    world, before, ids = small_world, small_world.seen(), people(small_world)[:3]
    await world.fault(**fault, match={"method": "PUT"})
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong"}} for id_ in ids])
    assert [world.contacts[id_]["city"] for id_ in ids] == ["Wrong"] * 3

    report = await world.revert(answer)

    assert (answer["status"], report["status"], report["records_restored"]) == ("applied", "reverted", 3)
    assert world.seen() == before


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
@pytest.mark.parametrize("door", ["bulk", "pass-through"])
async def test_a_creation_whose_answer_was_lost_is_found_and_deleted(
    small_world: World, fault: dict[str, Any], door: str
) -> None:
    world, before = small_world, small_world.seen()
    await world.fault(**fault, match={"method": "POST", "path_regex": "^/contacts/$"})
    if door == "bulk":
        told = await world.operate("create", [{"fields": NEW}])
    else:
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


@pytest.mark.parametrize("fault", [f for f in DONE if f["kind"] != "half_json"], ids=named)
async def test_a_deletion_whose_answer_was_lost_is_created_again(small_world: World, fault: dict[str, Any]) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[5]
    await world.fault(**fault, match={"method": "DELETE"})
    answer = await world.operate("delete", [{"id": id_}], accept_irreversible=True)

    report = await world.revert(answer)

    (item,) = report["recreated"]
    again = world.seen()[item["new_id"]]
    assert (answer["records_applied"], item["old_id"]) == (1, id_)
    assert (again["email"], again["customFields"]) == (before[id_]["email"], before[id_]["customFields"])
    assert without(world.seen(), item["new_id"]) == without(before, id_)


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
