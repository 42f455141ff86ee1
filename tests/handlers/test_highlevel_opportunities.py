"""Every action on HighLevel's opportunities, as a story: done through Guard and taken back."""

from typing import Any

import pytest

from scenarios.sandboxes.highlevel_seed import FEE, LOCATION_ID, LOST_REASONS, PIPELINES, USERS
from tests.handlers.crm import answer_of, calls, deals, refusals, through, without
from tests.world import World

REASON, OTHER_REASON = LOST_REASONS[0]["id"], LOST_REASONS[1]["id"]


def first(world: World) -> str:
    return next(iter(world.opportunities))


async def change(world: World, **fields: Any) -> dict[str, Any]:
    """A person's edit of the first opportunity, so that a story begins from a known state; gives all of them."""
    await world.edit("opportunities", first(world), fields)
    return deals(world)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Wrong", "monetaryValue": 1},
        {"monetaryValue": "17.5"},
        {"assignedTo": USERS[2]},
        {"customFields": [{"id": FEE, "field_value": 1}]},
        {"status": "abandoned"},
        {"status": "lost", "lostReasonId": OTHER_REASON, "name": "Wrong"},
    ],
)
async def test_an_update_is_taken_back_at_the_least_calls(small_world: World, fields: dict[str, Any]) -> None:
    world = small_world
    before = await change(world, status="open", assignedTo=USERS[0])
    answer = await world.operate("update", [{"id": first(world), "fields": fields}], resource="opportunities")
    assert deals(world) != before

    report = await world.revert(answer)

    assert (report["status"], deals(world)) == ("reverted", before)
    if "lostReasonId" not in fields:
        assert [call.split()[0] for call in await calls(world)] == ["GET", "PUT"] * 2


async def test_an_opportunity_that_was_nobodys_is_nobodys_again(small_world: World) -> None:
    world = small_world
    before = await change(world, assignedTo="")
    fields = {"assignedTo": USERS[2], "name": "Wrong"}
    answer = await world.operate("update", [{"id": first(world), "fields": fields}], resource="opportunities")

    report = await world.revert(answer)

    assert (report["status"], await refusals(world)) == ("reverted", [])
    assert deals(world) == before


async def test_an_opportunity_that_moved_to_another_pipeline_comes_back_to_its_stage(small_world: World) -> None:
    world = small_world
    before = await change(world, pipelineId=PIPELINES[0]["id"], pipelineStageId=PIPELINES[0]["stages"][3]["id"])
    reply = await through(world, "PUT", f"/opportunities/{first(world)}", {"pipelineId": PIPELINES[1]["id"]})
    assert reply.status_code == 200

    report = await world.revert(answer_of(reply))

    assert (report["status"], deals(world)) == ("reverted", before)


@pytest.mark.parametrize("door", ["bulk", "pass-through", "status"])
async def test_a_lost_one_that_was_reopened_is_lost_again_for_the_same_reason(small_world: World, door: str) -> None:
    world, id_ = small_world, first(small_world)
    before = await change(world, status="lost", lostReasonId=REASON)
    if door == "bulk":
        answer = await world.operate("update", [{"id": id_, "fields": {"status": "open"}}], resource="opportunities")
    else:
        path = f"/opportunities/{id_}" + ("/status" if door == "status" else "")
        answer = answer_of(await through(world, "PUT", path, {"status": "open"}))
    assert "lostReasonId" not in world.opportunities[id_]

    report = await world.revert(answer)

    assert (report["status"], deals(world)) == ("reverted", before)


async def test_a_reason_that_was_exchanged_comes_back(small_world: World) -> None:
    world, id_ = small_world, first(small_world)
    before = await change(world, status="lost", lostReasonId=REASON)
    body = {"status": "lost", "lostReasonId": OTHER_REASON}
    reply = await through(world, "PUT", f"/opportunities/{id_}/status", body)

    report = await world.revert(answer_of(reply))

    assert (report["status"], deals(world)) == ("reverted", before)


def upsert_body(world: World, contact: str, **fields: Any) -> dict[str, Any]:
    """As the vendor's schema requires it."""
    deal = world.opportunities[first(world)]
    followers = {"followers": [], "isRemoveAllFollowers": False, "followersActionType": "add"}
    return {"pipelineId": deal["pipelineId"], "contactId": contact, "locationId": LOCATION_ID, **followers, **fields}


@pytest.mark.parametrize("known", [True, False])
async def test_an_upsert_is_taken_back_whether_it_met_one_or_not(small_world: World, known: bool) -> None:
    world, before = small_world, deals(small_world)
    contact = world.opportunities[first(world)]["contactId"] if known else list(world.contacts)[5]
    reply = await through(world, "POST", "/opportunities/upsert", upsert_body(world, contact, name="Wrong"))
    assert (reply.json()["new"], len(world.opportunities)) == (not known, 2 if known else 3)

    await world.settle()
    run = (await world.http.get(f"/v1/runs/{answer_of(reply)['run']}")).json()
    report = await world.revert(answer_of(reply))

    assert (run["status"], run["failures"]) == ("applied", [])
    assert (report["status"], deals(world)) == ("reverted", before)


async def test_the_followers_that_an_upsert_removed_come_back(small_world: World) -> None:
    world, before, id_ = small_world, deals(small_world), first(small_world)
    contact = world.opportunities[id_]["contactId"]
    body = upsert_body(world, contact, followers=[USERS[1]], followersActionType="remove")
    reply = await through(world, "POST", "/opportunities/upsert", body)
    assert world.opportunities[id_]["followers"] == []

    report = await world.revert(answer_of(reply))

    assert (report["status"], deals(world)) == ("reverted", before)


async def test_an_upsert_in_bulk_is_taken_back(small_world: World) -> None:
    world, before = small_world, deals(small_world)
    deal = world.opportunities[first(world)]
    met = {"pipelineId": deal["pipelineId"], "contactId": deal["contactId"], "name": "Wrong"}
    made = {**met, "contactId": list(world.contacts)[5], "status": "open"}
    answer = await world.operate("upsert", [{"fields": met}, {"fields": made}], resource="opportunities")
    assert len(world.opportunities) == 3

    report = await world.revert(answer)

    assert (answer["status"], report["status"], deals(world)) == ("applied", "reverted", before)


async def test_followers_are_taken_back_and_those_that_came_since_stay(small_world: World) -> None:
    world, before, id_ = small_world, deals(small_world), first(small_world)
    added = await through(world, "POST", f"/opportunities/{id_}/followers", {"followers": [USERS[0]]})
    removed = await through(world, "DELETE", f"/opportunities/{id_}/followers", {"followers": [USERS[1]]})
    await world.edit("opportunities", id_, {"followers": [USERS[0], USERS[2]]})

    reports = [await world.revert(answer_of(reply)) for reply in (added, removed)]

    assert [report["status"] for report in reports] == ["reverted", "reverted"]
    assert set(world.opportunities[id_]["followers"]) == {*before[id_]["followers"], USERS[2]}
    assert without(deals(world), id_) == without(before, id_)


async def test_a_deleted_opportunity_is_created_again_and_the_report_says_what_is_lost(small_world: World) -> None:
    world, id_ = small_world, first(small_world)
    before = await change(world, status="open")
    refused = await through(world, "DELETE", f"/opportunities/{id_}")
    answer = await world.operate("delete", [{"id": id_}], resource="opportunities", accept_irreversible=True)

    report = await world.revert(answer)

    (item,) = report["recreated"]
    lost = {"id", "source", "followers"}
    again, was = deals(world)[item["new_id"]], before[id_]
    assert (refused.status_code, refused.json()["code"]) == (422, "irreversible")
    assert {n: v for n, v in again.items() if n not in lost} == {n: v for n, v in was.items() if n not in lost}
    assert {name for name in ("source", "followers") if again.get(name) != was.get(name)} <= set(item["fields_lost"])
    assert "source" in item["fields_lost"]
    assert without(deals(world), item["new_id"]) == without(before, id_)


async def test_of_one_that_is_created_again_followers_and_lost_reason_are_named_as_lost(small_world: World) -> None:
    world, id_ = small_world, first(small_world)
    await change(world, status="lost", lostReasonId=REASON, followers=[USERS[1]])
    answer = await world.operate("delete", [{"id": id_}], resource="opportunities", accept_irreversible=True)

    report = await world.revert(answer)

    assert {"followers", "lostReasonId"} <= set(report["recreated"][0]["fields_lost"])


async def test_the_opportunity_of_a_contact_that_the_same_run_deleted_points_to_the_new_one(
    small_world: World,
) -> None:
    world, id_ = small_world, first(small_world)
    contact = world.opportunities[id_]["contactId"]
    before, people = deals(world), world.seen()
    for path in (f"/opportunities/{id_}", f"/contacts/{contact}"):
        reply = await through(world, "DELETE", path, accept=True, run_key="clean up")
        assert reply.status_code == 200

    report = await world.revert(answer_of(reply))

    new = {item["old_id"]: item["new_id"] for item in report["recreated"]}
    assert (report["records_restored"], set(new)) == (2, {id_, contact})
    assert deals(world)[new[id_]]["contactId"] == new[contact]
    assert without(deals(world), new[id_]) == without(before, id_)
    assert without(world.seen(), new[contact]) == without(people, contact)


async def test_an_opportunity_that_had_lost_its_contact_before_it_was_deleted_is_reported_as_not_created_again(
    small_world: World,
) -> None:
    world, id_ = small_world, first(small_world)
    contact = world.opportunities[id_]["contactId"]
    for path in (f"/contacts/{contact}", f"/opportunities/{id_}"):
        reply = await through(world, "DELETE", path, accept=True, run_key="clean up")

    report = await world.revert(answer_of(reply))

    assert (report["status"], report["records_restored"]) == ("partly_reverted", 1)
    assert report["records_failed"] + report["records_irreversible"] == 1
    assert [item["old_id"] for item in report["recreated"]] == [contact]


async def test_a_run_that_touched_a_contact_and_an_opportunity_is_taken_back_whole(small_world: World) -> None:
    world, before, people = small_world, deals(small_world), small_world.seen()
    await through(world, "PUT", f"/contacts/{next(iter(people))}", {"city": "Wrong"}, run_key="sync")
    reply = await through(world, "PUT", f"/opportunities/{first(world)}", {"name": "Wrong"}, run_key="sync")

    report = await world.revert(answer_of(reply))

    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert (deals(world), world.seen()) == (before, people)
