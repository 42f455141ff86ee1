"""A bracket around writes that do not pass through Guard: checkpoint, native writes, seal, revert."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from guard.flows.recover import Recovery
from guard.flows.verify import verify_all
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.conftest import NewWorld
from tests.web.brackets import RUN_KEY, checkpoint, native, numbers, run_of, seal
from tests.world import OTHER_KEY, World, path_of

UNHURRIED = {"requests": 10_000, "per_s": 1.0, "concurrency": 10}
BETWEEN = "Changes by others between checkpoint and seal cannot be told from the scenario's."


async def test_what_changed_between_checkpoint_and_seal_is_taken_back(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    ids = list(world.contacts)[:4]

    told = await checkpoint(world, ids)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere", "tags": ["ruined"]})
    await native(world, "PUT", f"/contacts/{ids[1]}", {"firstName": "Oops"})
    sealed = await seal(world, told)
    report = await world.revert(told)

    assert (told["status"], told["checkpoint"], told["records_total"]) == ("running", "open", 4)
    assert (sealed["status"], sealed["checkpoint"], numbers(sealed)) == ("applied", "sealed", (4, 2, 2))
    assert (sealed["reversible"], sealed["reversible_reasons"]) == ("partial", [BETWEEN])
    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert world.seen() == before


async def test_a_record_that_was_deleted_between_is_created_again(small_world: World) -> None:
    world = small_world
    gone, ids = next(iter(world.contacts)), list(world.contacts)[:2]
    email = world.contacts[gone]["email"]

    told = await checkpoint(world, ids)
    await native(world, "DELETE", f"/contacts/{gone}")
    sealed = await seal(world, told)
    report = await world.revert(told)

    assert numbers(sealed) == (2, 1, 1)
    assert any("deleted" in reason for reason in sealed["reversible_reasons"])
    assert [each["old_id"] for each in report["recreated"]] == [gone]
    assert [row["email"] for row in world.contacts.values()].count(email) == 1


async def test_what_people_changed_after_the_seal_survives(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:2]
    city = world.contacts[ids[1]]["city"]
    told = await checkpoint(world, ids)
    for id_ in ids:
        await native(world, "PUT", f"/contacts/{id_}", {"city": "Nowhere", "firstName": "Oops"})
    await seal(world, told)
    await world.edit("contacts", ids[0], {"city": "Lisbon"})

    plan = await world.plan(told)
    report = await world.revert(told)

    said = {each["id"]: each["reason"] for each in plan["plan"]}
    assert said[ids[0]] == (
        "It was changed between checkpoint and seal, and was changed again after the seal; that is left alone."
    )
    assert said[ids[1]] == "It was changed between checkpoint and seal; it goes back."
    assert report["records_conflicted"] == 1
    assert (world.contacts[ids[0]]["city"], world.contacts[ids[1]]["city"]) == ("Lisbon", city)
    assert world.contacts[ids[0]]["firstName"] != "Oops"


async def test_a_revert_seals_what_is_open_in_the_same_call(small_world: World) -> None:
    """A Make error route just calls the revert URL."""
    world, before = small_world, small_world.seen()
    ids = list(world.contacts)[:3]
    told = await checkpoint(world, ids)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})

    report = await world.revert(told)

    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 1, before)
    run = await run_of(world, told)
    assert (run["status"], run["checkpoint"], numbers(run)) == ("reverted", "sealed", (3, 1, 2))
    assert (await seal(world, told, status=409))["code"] == "run_closed"


async def test_the_plan_of_an_open_checkpoint_shows_what_differs_now_and_writes_nothing(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:3]
    told = await checkpoint(world, ids)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
    stored = [key async for key in world.guard.journals.store.list("")]

    plan = await world.plan(told)
    dry = await world.revert(told, dry_run=True)

    assert [key async for key in world.guard.journals.store.list("")] == stored
    assert (plan["checkpoint"], dry["records_restored"], dry["records_already"]) == ("open", 1, 2)
    verdicts = {each["id"]: (each["verdict"], each["reason"]) for each in plan["plan"]}
    assert verdicts[ids[0]] == ("restore", "It was changed between checkpoint and seal; it goes back.")
    assert verdicts[ids[1]] == ("already", "It is as it was at the checkpoint.")
    (field,) = [field for each in plan["plan"] if each["id"] == ids[0] for field in each["fields"]]
    assert (field["field"], field["now"]) == ("city", "Nowhere")


async def test_sealing_twice_is_sealing_once(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:3]
    told = await checkpoint(world, ids)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})

    first = await seal(world, told)
    asked = len(await world.vendor_requests())
    await world.edit("contacts", ids[1], {"city": "Lisbon"})
    second = await seal(world, told)

    assert second == first
    assert len(await world.vendor_requests()) == asked


async def test_two_seals_at_once_read_each_record_once(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)
    told = await checkpoint(world, ids)
    asked = len(await world.vendor_requests())

    answers = await asyncio.gather(*(seal(world, told) for _ in range(3)))

    assert answers[0] == answers[1] == answers[2]
    assert len(await world.vendor_requests()) - asked == len(ids)


async def test_a_run_without_a_checkpoint_is_not_sealed_and_another_key_does_not_see_one(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:1]
    plain = await world.operate("update", [{"id": ids[0], "fields": {"city": "Rome"}}])
    told = await checkpoint(world, ids)

    assert (await seal(world, plain, status=422))["code"] == "invalid_request"
    foreign = await world.http.post(f"/v1/runs/{told['id']}/seal", headers={"guard-key": OTHER_KEY})
    assert foreign.status_code == 404
    assert (await run_of(world, told))["checkpoint"] == "open"


async def test_the_same_checkpoint_under_one_run_key_is_one(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:3]

    first, again = [await checkpoint(world, ids, headers=RUN_KEY) for _ in range(2)]
    at_once = await asyncio.gather(*(checkpoint(world, ids[:2], headers=RUN_KEY) for _ in range(5)))

    assert again == first
    assert {told["id"] for told in at_once} == {first["id"]}
    run = await run_of(world, first)
    assert [each["records_total"] for each in run["operations"]] == [3, 2]
    refused = await checkpoint(world, ids, status=200, headers={"idempotency-key": "one"})
    assert refused["id"] != first["id"]
    assert (await checkpoint(world, ids[:1], status=409, headers={"idempotency-key": "one"}))["code"] == "key_reused"


async def test_overlapping_checkpoints_and_operations_of_one_run_are_taken_back_as_one(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    one, two, three = list(world.contacts)[:3]

    told = await checkpoint(world, [one, two], headers=RUN_KEY)
    await native(world, "PUT", f"/contacts/{one}", {"city": "Native 1"})
    await checkpoint(world, [one, three], headers=RUN_KEY)
    await world.operate("update", [{"id": one, "fields": {"city": "Guarded", "firstName": "Guarded"}}], headers=RUN_KEY)
    await native(world, "PUT", f"/contacts/{one}", {"city": "Native 2"})
    await native(world, "PUT", f"/contacts/{three}", {"city": "Native 3"})
    sealed = await seal(world, told)
    await world.operate("update", [{"id": one, "fields": {"city": "Guarded after"}}], headers=RUN_KEY)
    report = await world.revert(told)

    assert numbers(sealed) == (4, 3, 1)
    assert (report["status"], report["records_restored"], report["records_conflicted"]) == ("reverted", 2, 0)
    assert world.seen() == before


async def test_an_operation_before_the_checkpoint_is_merged_with_it(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    one = next(iter(world.contacts))
    told = await world.operate("update", [{"id": one, "fields": {"city": "Guarded"}}], headers=RUN_KEY)
    await checkpoint(world, [one], headers=RUN_KEY)
    await native(world, "PUT", f"/contacts/{one}", {"city": "Native", "firstName": "Native"})
    await seal(world, told)

    assert (await world.revert(told))["status"] == "reverted"
    assert world.seen() == before


async def test_a_part_of_a_bracket_is_taken_back(small_world: World) -> None:
    world = small_world
    one, two = list(world.contacts)[:2]
    was = world.contacts[one]["city"]
    told = await checkpoint(world, [one, two])
    for id_ in (one, two):
        await native(world, "PUT", f"/contacts/{id_}", {"city": "Nowhere", "firstName": "Oops"})
    await seal(world, told)

    await world.revert(told, ids=[one], fields=["city"])

    assert (world.contacts[one]["city"], world.contacts[one]["firstName"]) == (was, "Oops")
    assert world.contacts[two]["city"] == "Nowhere"


async def test_what_no_api_writes_is_named_in_the_plan(small_world: World) -> None:
    world = small_world
    one, two = list(world.contacts)[:2]
    told = await checkpoint(world, [one, two])
    await world.edit("contacts", one, {"city": "Nowhere", "gender": "other"})
    await world.edit("contacts", two, {"gender": "other"})
    await seal(world, told)

    said = {each["id"]: (each["verdict"], each["reason"]) for each in (await world.plan(told))["plan"]}
    report = await world.revert(told)

    follows = "No API writes gender; that may follow from the rest."
    assert said[one] == ("restore", f"It was changed between checkpoint and seal; it goes back. {follows}")
    assert said[two] == ("irreversible", "No API of the target writes this.")
    assert (report["records_restored"], report["records_irreversible"]) == (1, 1)


async def test_a_revert_whose_narrowing_fits_nothing_leaves_the_checkpoint_open(small_world: World) -> None:
    told = await checkpoint(small_world, list(small_world.contacts)[:2])

    refused = await small_world.revert(told, ids=["doesNotExist00000000"], status=422)

    assert refused["code"] == "invalid_request"
    assert (await run_of(small_world, told))["checkpoint"] == "open"


async def test_ids_that_do_not_exist_are_told_and_count_as_unchanged(small_world: World) -> None:
    told = await checkpoint(small_world, [next(iter(small_world.contacts)), "doesNotExist00000000"])
    sealed = await seal(small_world, told)

    assert (told["records_absent"], numbers(sealed)) == (1, (2, 0, 2))


# Filters


async def tagged(world: World, count: int) -> list[str]:
    ids = list(world.contacts)[:count]
    for id_ in ids:
        await world.edit("contacts", id_, {"tags": ["import"]})
    return ids


FILTER = {"filters": [{"field": "tags", "operator": "eq", "value": "import"}]}


async def test_a_filter_sees_what_was_created_between_and_does_not_claim_what_moved_in(small_world: World) -> None:
    world = small_world
    ids = await tagged(world, 3)
    before, mover = world.seen(), list(world.contacts)[5]

    told = await checkpoint(world, filter=FILTER)
    new = {"locationId": LOCATION_ID, "email": "new@example.com", "tags": ["import"]}
    created = (await native(world, "POST", "/contacts/", new))["contact"]["id"]
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
    await native(world, "PUT", f"/contacts/{mover}", {"tags": ["import"]})
    moved = dict(world.contacts[mover])
    sealed = await seal(world, told)
    plan = await world.plan(told)
    report = await world.revert(told)

    assert (told["records_total"], numbers(sealed)) == (3, (4, 2, 2))
    said = {each["id"]: each["reason"] for each in plan["plan"]}
    assert said[created] == "It was created between checkpoint and seal; it is deleted."
    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert created not in world.contacts
    assert {**world.seen(), mover: None} == {**before, mover: None}
    assert world.contacts[mover] == moved


async def test_a_filter_that_means_too_many_is_refused_before_anything_is_stored(small_world: World) -> None:
    world = small_world
    await tagged(world, 5)
    stored = [key async for key in world.guard.journals.store.list("")]

    refused = await checkpoint(world, filter=FILTER, records_max=4, status=413)

    assert (refused["code"], refused["records_total"]) == ("too_large", 5)
    assert "means 5 records; this checkpoint may have 4" in refused["detail"]
    assert [key async for key in world.guard.journals.store.list("")] == stored
    assert (await checkpoint(world, filter=FILTER, records_max=5))["records_total"] == 5
    assert (await checkpoint(world, filter=FILTER, records_max="5"))["records_total"] == 5


async def test_a_filter_goes_over_all_pages(new_world: NewWorld) -> None:
    async with new_world(records=250, pace=UNHURRIED) as world:
        pages = {"query": "example.com"}
        found = await checkpoint(world, filter=pages)
        assert found["records_total"] == len(world.contacts) >= 250
        deals = await checkpoint(world, resource="opportunities", filter={"status": "open"})
        rows = [row for row in world.opportunities.values() if row["status"] == "open"]
        assert deals["records_total"] == len(rows)


async def test_a_filter_that_means_nothing_yet_still_sees_what_is_created(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    told = await checkpoint(world, filter=FILTER)
    await native(world, "POST", "/contacts/", {"locationId": LOCATION_ID, "email": "n@example.com", "tags": ["import"]})

    assert (told["records_total"], numbers(await seal(world, told))) == (0, (1, 1, 0))
    assert (await world.revert(told))["records_restored"] == 1
    assert world.seen() == before


# What goes wrong


async def test_a_seal_that_the_target_interrupts_goes_on_where_it_was(new_world: NewWorld) -> None:
    async with new_world(records=250, pace=UNHURRIED) as world:
        before, ids = world.seen(), list(world.contacts)
        told = await checkpoint(world, ids)
        await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
        await native(world, "PUT", f"/contacts/{ids[-1]}", {"city": "Nowhere"})
        await world.fault(kind="html", times=-1, match={"method": "GET", "path_regex": f"/contacts/{ids[-1]}"})
        refused = await seal(world, told, status=503)
        stage = (await run_of(world, told))["checkpoint"]
        world.sandbox.faults.clear()
        asked = len(await world.vendor_requests())

        sealed = await seal(world, told)

        assert (refused["code"], refused["written"], stage) == ("target_unavailable", "nothing", "open")
        assert len(await world.vendor_requests()) - asked <= 100
        assert numbers(sealed) == (len(ids), 2, len(ids) - 2)
        await world.revert(told)
        assert world.seen() == before


async def test_a_record_that_cannot_be_read_keeps_no_other_from_going_back(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    ids = list(world.contacts)[:3]
    told = await checkpoint(world, ids)
    for id_ in ids:
        await native(world, "PUT", f"/contacts/{id_}", {"city": "Nowhere"})
    await world.fault(kind="html", times=-1, match={"method": "GET", "path_regex": f"/contacts/{ids[0]}"})

    report = await world.revert(told)
    world.sandbox.faults.clear()
    later = await world.revert(told)

    assert (report["status"], report["records_restored"], report["records_in_doubt"]) == ("partly_reverted", 2, 1)
    assert (later["status"], later["records_restored"], world.seen()) == ("reverted", 1, before)


async def test_a_revert_that_cannot_read_leaves_a_run_that_can_still_be_sealed(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    ids = list(world.contacts)[:1]
    told = await checkpoint(world, ids)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
    await world.fault(kind="html", times=-1, match={"method": "GET"})
    refused = await world.revert(told, status=503)
    world.sandbox.faults.clear()

    assert (refused["code"], refused["written"]) == ("target_unavailable", "nothing")
    assert numbers(await seal(world, told)) == (1, 1, 0)
    await world.revert(told)
    assert world.seen() == before


async def test_a_checkpoint_that_cannot_be_read_is_none_and_can_be_asked_for_again(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:3]
    await world.fault(kind="html", times=-1, match={"method": "GET", "path_regex": f"/contacts/{ids[0]}"})
    refused = await checkpoint(world, ids, status=503, headers=RUN_KEY)
    world.sandbox.faults.clear()

    told = await checkpoint(world, ids, headers=RUN_KEY)

    assert (refused["code"], refused["written"]) == ("target_unavailable", "nothing")
    assert (told["checkpoint"], told["records_total"]) == ("open", 3)
    assert numbers(await seal(world, told))[1:] == (0, 3)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "neither ids nor filter": ({}, "invalid_request"),
    "both": ({"ids": ["a"], "filter": FILTER}, "invalid_request"),
    "no ids": ({"ids": []}, "invalid_request"),
    "an id that is none": ({"ids": ["../users"]}, "invalid_record"),
    "an id that is null": ({"ids": [None]}, "invalid_record"),
    "an id that is an object": ({"ids": [{"id": "a"}]}, "invalid_record"),
    "an empty filter": ({"filter": {}}, "invalid_request"),
    "a filter of other words": ({"filter": {"colour": "red"}}, "invalid_request"),
    "a filter that the vendor does not take": (
        {"filter": {"filters": [{"field": "city", "operator": "is like"}]}},
        "invalid_request",
    ),
    "a cap of nothing": ({"filter": FILTER, "records_max": 0}, "invalid_request"),
    "a cap that is no number": ({"filter": FILTER, "records_max": True}, "invalid_request"),
    "a cap with a fraction": ({"filter": FILTER, "records_max": 4.0}, "invalid_request"),
    "more ids than the cap": ({"ids": ["a", "b"], "records_max": 1}, "too_large"),
    "an unknown member": ({"ids": ["a"], "action": "update"}, "invalid_request"),
    "an unknown resource": ({"ids": ["a"], "resource": "cows"}, "unknown_resource"),
    "another's target": ({"ids": ["a"], "target": "other"}, "forbidden"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_request_that_is_not_understood_stores_nothing(small_world: World, name: str) -> None:
    members, code = BAD[name]
    body = {"target": "crm", "resource": "contacts", **members}
    reply = await small_world.http.post("/v1/checkpoints", json=body)

    assert (reply.json()["code"], reply.json()["written"]) == (code, "nothing"), reply.text
    assert "Nothing was written" in reply.json()["detail"]
    assert [key async for key in small_world.guard.journals.store.list("")] == []


async def test_a_dry_run_tells_the_calls_and_stores_nothing(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:7]

    dry = await checkpoint(world, ids, dry_run=True)

    assert (dry["status"], dry["records_total"]) == ("dry_run", 7)
    assert [key async for key in world.guard.journals.store.list("")] == []
    await seal(world, await checkpoint(world, ids))
    assert len(await world.vendor_requests()) == dry["vendor_calls"] + dry["vendor_calls_of_seal"]


async def test_a_checkpoint_that_takes_long_is_answered_with_202_and_stands_later(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)

    told = await checkpoint(world, ids, status=202, headers={"prefer": "respond-async"})
    await world.guard.idle()
    run = await run_of(world, told)

    assert (told["status"], told["checkpoint"]) == ("running", "being_taken")
    assert (run["status"], run["checkpoint"]) == ("running", "open")


async def test_a_stop_seals_what_is_open_and_it_can_still_be_taken_back(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    ids = list(world.contacts)[:2]
    told = await checkpoint(world, ids, headers=RUN_KEY)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})

    stopped = (await world.http.post(f"/v1/runs/{told['id']}/stop")).json()

    assert (stopped["checkpoint"], numbers(stopped)) == ("sealed", (2, 1, 1))
    assert numbers(await seal(world, told)) == (2, 1, 1)
    assert (await checkpoint(world, ids[:1], status=409, headers=RUN_KEY))["code"] == "run_closed"
    await world.revert(told)
    assert world.seen() == before


async def test_the_sweeper_the_list_and_verify_leave_an_open_checkpoint_alone_and_show_it(small_world: World) -> None:
    world, guard = small_world, small_world.guard
    told = await checkpoint(world, list(world.contacts)[:2])

    clock = guard.journals.clock
    guard.journals.clock = lambda: clock() + timedelta(days=1)
    recovery = Recovery(guard)
    swept = [each.detail async for each in recovery.sweep()]
    again = [each.detail async for each in recovery.sweep()]
    by_hand = [each.detail async for each in recovery.sweep(at_once=True)]

    assert swept == by_hand == ["has a checkpoint that waits for its seal; left alone"]
    assert again == []  # it is not read with every sweep
    (listed,) = (await world.http.get("/v1/runs")).json()["runs"]
    assert (listed["id"], listed["status"], listed["checkpoint"]) == (told["id"], "running", "open")
    findings = [finding async for finding in verify_all(guard.journals)]
    assert [(f.damage, f.detail) for f in findings] == [(False, "op_1: its checkpoint is not sealed yet")]


async def test_what_nobody_sealed_while_its_revert_url_was_good_is_given_up(small_world: World) -> None:
    world, guard = small_world, small_world.guard
    told = await checkpoint(world, list(world.contacts)[:2])
    clock = guard.journals.clock
    guard.journals.clock = lambda: clock() + timedelta(days=31)

    refused = await seal(world, told, status=410)
    assert (await run_of(world, told))["checkpoint"] == "open"
    _ = [each async for each in Recovery(guard).sweep()]

    assert (refused["code"], refused["written"]) == ("expired_token", "nothing")
    run = await run_of(world, told)
    assert (run["status"], run["checkpoint"]) == ("stopped", "given_up")
    assert [each async for each in guard.journals.unfinished()] == []
    assert [finding async for finding in verify_all(guard.journals)] == []


async def test_the_changes_of_a_bracket_tell_what_happened_to_each_record(small_world: World) -> None:
    world = small_world
    ids = list(world.contacts)[:3]
    told = await checkpoint(world, ids)

    async def changes() -> dict[str, tuple[str, str, list[str]]]:
        found = (await world.http.get(f"/v1/runs/{told['id']}/changes")).json()["changes"]
        return {each["id"]: (each["action"], each["status"], [f["field"] for f in each["fields"]]) for each in found}

    assert (await changes())[ids[0]] == ("update", "unknown", [])
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
    await native(world, "DELETE", f"/contacts/{ids[1]}")
    await seal(world, told)

    found = await changes()
    assert found[ids[0]] == ("update", "applied", ["city"])
    assert found[ids[1]][:2] == ("delete", "applied")
    assert found[ids[2]] == ("update", "unchanged", [])


async def test_watchers_of_an_open_checkpoint_hear_of_its_seal(small_world: World) -> None:
    world = small_world
    told = await checkpoint(world, list(world.contacts)[:2])
    watching = asyncio.ensure_future(world.http.get(f"/v1/runs/{told['id']}/events"))
    await asyncio.sleep(0)

    await seal(world, told)

    assert "event: ended" in (await watching).text


async def test_the_page_of_a_checkpoint_does_not_say_that_the_run_changed_anything(small_world: World) -> None:
    world, one = small_world, next(iter(small_world.contacts))
    told = await checkpoint(world, [one])
    await native(world, "PUT", f"/contacts/{one}", {"city": "Nowhere"})
    html = {"accept": "text/html"}

    before = await world.http.get(path_of(told["revert_url"]), headers=html)
    await seal(world, told)
    after = await world.http.get(path_of(told["revert_url"]), headers=html)
    report = await world.http.post(path_of(told["revert_url"]), headers=html)

    assert "a checkpoint of 1 record (not sealed yet)" in before.text
    assert "1 of 1 record changed between checkpoint and seal" in after.text
    assert "cannot be told from the scenario" in before.text
    assert report.status_code == 303


async def test_a_get_of_the_seal_is_refused(small_world: World) -> None:
    told = await checkpoint(small_world, list(small_world.contacts)[:1])
    assert (await small_world.http.get(path_of(told["seal_url"]))).status_code == 405
    assert (await run_of(small_world, told))["checkpoint"] == "open"
