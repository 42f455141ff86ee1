"""Every action on HighLevel's contacts, as a story: done through Guard, taken back, and others' edits in between."""

from typing import Any

import httpx2
import pytest

from scenarios.sandboxes.highlevel_seed import JOB_TITLE, LOCATION_ID, SALARY, USERS
from tests.conftest import NewWorld
from tests.handlers.crm import answer_of, calls, dnd, refusals, through, without
from tests.world import World

BUSINESS = "business000000000003"


def people(world: World) -> list[str]:
    return list(world.contacts)


async def test_an_update_costs_one_read_and_one_write_a_record_and_so_does_its_revert(small_world: World) -> None:
    world, before, ids = small_world, small_world.seen(), people(small_world)
    answer = await world.operate("update", [{"id": id_, "fields": {"firstName": "Wrong"}} for id_ in ids])
    report = await world.revert(answer)

    asked = await calls(world)

    assert sorted(asked[:40]) == ["GET /contacts/*"] * 20 + ["PUT /contacts/*"] * 20
    assert sorted(asked[40:]) == ["GET /contacts/*"] * 20 + ["PUT /contacts/*"] * 20
    assert (report["records_restored"], world.seen()) == (20, before)


async def test_the_revert_of_replaced_tags_costs_few_bulk_calls_more(small_world: World) -> None:
    world, before, ids = small_world, small_world.seen(), people(small_world)
    fields = {"firstName": "Wrong", "tags": ["ruined"]}
    answer = await world.operate("update", [{"id": id_, "fields": fields} for id_ in ids])
    tags = {tag for row in before.values() for tag in row["tags"]}
    await world.revert(answer)

    asked = (await calls(world))[40:]

    assert sorted(call for call in asked if "bulk" not in call) == ["GET /contacts/*"] * 20 + ["PUT /contacts/*"] * 20
    assert len(asked) - 40 <= len(tags) + 1
    assert world.seen() == before


@pytest.mark.parametrize("empty", ["", None])
async def test_fields_that_were_cleared_come_back(small_world: World, empty: str | None) -> None:
    world, before = small_world, small_world.seen()
    names = "firstName lastName city country phone source dateOfBirth assignedTo companyName address1".split()
    answer = await world.operate(
        "update", [{"id": id_, "fields": dict.fromkeys(names, empty)} for id_ in people(world)]
    )
    assert not any(set(row) & set(names) for row in world.contacts.values())

    report = await world.revert(answer)

    assert (report["status"], world.seen()) == ("reverted", before)
    assert await refusals(world) == []


async def test_fields_that_were_empty_before_are_empty_again(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    names = "postalCode website timezone keyword ssn companyName address1 dateOfBirth assignedTo".split()
    ids = [id_ for id_, row in before.items() if not row.get("assignedTo")]
    fields = {**dict.fromkeys(names, "1980-01-02"), "inboundDndSettings": {"all": {"status": "active"}}}
    answer = await world.operate("update", [{"id": id_, "fields": fields} for id_ in ids])

    report = await world.revert(answer)

    inactive = {"inboundDndSettings": {"all": {"status": "inactive"}}}
    assert (len(ids) > 0, report["status"]) == (True, "reverted")
    assert world.seen() == {id_: {**row, **(inactive if id_ in ids else {})} for id_, row in before.items()}


async def test_a_name_that_was_written_whole_comes_back_in_its_parts(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    answer = await world.operate("update", [{"id": id_, "fields": {"name": "Somebody Else Entirely"}}])

    report = await world.revert(answer)

    assert (report["status"], world.seen()) == ("reverted", before)


@pytest.mark.parametrize("action", ["tags.add", "tags.remove"])
async def test_tags_added_or_removed_in_bulk_are_taken_back(small_world: World, action: str) -> None:
    world, before, ids = small_world, small_world.seen(), people(small_world)
    answer = await world.operate(action, [{"id": id_, "tags": ["python", "new"]} for id_ in ids])
    changed = sum(world.seen()[id_] != before[id_] for id_ in ids)

    report = await world.revert(answer)

    assert changed > 0
    assert (report["records_restored"], report["status"]) == (changed, "reverted")
    assert world.seen() == before
    # One for the operation; two for the revert, since some contacts had one of the tags and some had none.
    assert len([call for call in await calls(world) if "bulk" in call]) <= 3


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/contacts/{}/tags", {"tags": ["New ", "python"]}),
        ("DELETE", "/contacts/{}/tags", {"tags": ["candidate"]}),
        ("POST", "/contacts/bulk/tags/update/add", {"contacts": ["{}"], "tags": ["new"], "locationId": LOCATION_ID}),
        (
            "POST",
            "/contacts/bulk/tags/update/remove",
            {"contacts": ["{}"], "tags": [], "removeAllTags": True, "locationId": LOCATION_ID},
        ),
        ("POST", "/contacts/bulk/business", {"ids": ["{}"], "businessId": BUSINESS, "locationId": LOCATION_ID}),
        ("PUT", "/contacts/{}", {"dnd": True, "phone": "(202) 555-0999"}),
    ],
)
async def test_the_vendors_own_request_is_taken_back(
    small_world: World, method: str, path: str, body: dict[str, Any]
) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    named = {name: [id_] if value == ["{}"] else value for name, value in body.items()}
    reply = await through(world, method, path.format(id_), named)
    assert (reply.status_code // 100, world.seen() != before) == (2, True)

    report = await world.revert(answer_of(reply))

    assert (report["status"], report["records_restored"]) == ("reverted", 1)
    assert world.seen() == before


async def test_a_bulk_request_with_a_contact_that_is_gone_accounts_for_each_of_the_others(small_world: World) -> None:
    world, (gone, has, other) = small_world, people(small_world)[:3]
    await world.edit("contacts", gone, None)
    await world.edit("contacts", has, {"tags": ["new"]})
    before = world.seen()
    body = {"contacts": [gone, has, other], "tags": ["new"], "locationId": LOCATION_ID}
    reply = await through(world, "POST", "/contacts/bulk/tags/update/add", body)
    await world.settle()

    run = (await world.http.get(f"/v1/runs/{answer_of(reply)['run']}")).json()
    report = await world.revert(answer_of(reply))

    assert (run["records_applied"], run["records_failed"], run["records_in_doubt"]) == (2, 1, 0)
    assert (report["status"], world.seen()) == ("reverted", before)


async def test_do_not_disturb_goes_back_channel_by_channel(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    quiet = next(id_ for id_, row in world.contacts.items() if row["dnd"])
    loud = next(id_ for id_, row in world.contacts.items() if not row["dnd"])
    off = {"dnd": False, "dndSettings": {"Email": {"status": "inactive"}}}
    on = {"dnd": True, "dndSettings": {"SMS": {"status": "active", "message": "import"}}}
    records = [{"id": quiet, "fields": off}, {"id": loud, "fields": on}]
    was = {id_: (before[id_]["dnd"], dnd(world, id_)) for id_ in (quiet, loud)}
    answer = await world.operate("update", records)
    assert (dnd(world, quiet), list(dnd(world, loud))) == ({}, ["SMS"])

    report = await world.revert(answer)

    now = {id_: (world.contacts[id_]["dnd"], dnd(world, id_)) for id_ in (quiet, loud)}
    told = {id_: {n: {k: v for k, v in s.items() if v} for n, s in d.items()} for id_, (_, d) in was.items()}
    assert (report["status"], {id_: each[1] for id_, each in now.items()}) == ("reverted", told)
    assert {id_: each[0] for id_, each in now.items()} == {quiet: True, loud: False}
    assert without(world.seen(), quiet, loud) == without(before, quiet, loud)


async def test_setting_one_do_not_disturb_channel_leaves_the_others_on(small_world: World) -> None:
    world = small_world
    quiet = next(id_ for id_, row in world.contacts.items() if dnd(world, id_))

    await world.operate("update", [{"id": quiet, "fields": {"dndSettings": {"SMS": {"status": "active"}}}}])

    assert set(dnd(world, quiet)) == {"Email", "SMS"}


async def test_a_business_that_was_set_or_cleared_comes_back(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    owned = next(id_ for id_, row in world.contacts.items() if row.get("businessId"))
    ids = [owned, *people(world)[:3]]
    answer = await world.operate("business.set", [{"id": id_, "businessId": BUSINESS} for id_ in ids])
    cleared = await world.operate("business.set", [{"id": owned, "businessId": None}])
    assert "businessId" not in world.contacts[owned]

    reports = [await world.revert(each) for each in (cleared, answer)]

    assert [report["status"] for report in reports] == ["reverted", "reverted"]
    assert world.seen() == before


async def test_an_upsert_both_creates_and_updates_and_both_are_taken_back(small_world: World) -> None:
    world, before, known = small_world, small_world.seen(), people(small_world)[0]
    records = [
        {"fields": {"email": before[known]["email"], "city": "Wrong"}},
        {"fields": {"email": "new@example.net", "city": "Wrong"}},
        {"fields": {"phone": before[known]["phone"], "city": "Again"}},
        {"fields": {"city": "Nobody"}},
    ]
    answer = await world.operate("upsert", records)
    assert (world.contacts[known]["city"], len(world.contacts)) == ("Wrong", 21)

    report = await world.revert(answer)

    assert (answer["status"], answer["records_applied"], answer["records_failed"]) == ("partial", 2, 2)
    assert {failure["code"] for failure in answer["failures"]} == {"duplicate_record", "invalid_record"}
    assert (report["status"], report["records_restored"], world.seen()) == ("reverted", 2, before)


@pytest.mark.parametrize("email", ["new@example.net", None])
async def test_an_upsert_that_was_passed_through_is_taken_back(small_world: World, email: str | None) -> None:
    world, before = small_world, small_world.seen()
    body = {"email": email or before[people(world)[0]]["email"], "city": "Wrong", "locationId": LOCATION_ID}
    reply = await through(world, "POST", "/contacts/upsert", body)
    assert world.seen() != before

    report = await world.revert(answer_of(reply))

    assert (report["status"], world.seen()) == ("reverted", before)


async def test_created_contacts_are_deleted_unless_somebody_has_worked_on_them(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    answer = await world.operate("create", [{"fields": {"email": f"{n}@example.net", "dnd": True}} for n in range(3)])
    kept = next(id_ for id_ in world.contacts if id_ not in before)
    await world.edit("contacts", kept, {"city": "Berlin"})

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], report["records_conflicted"]) == ("partly_reverted", 2, 1)
    assert set(world.contacts) == {*before, kept}
    assert without(world.seen(), kept) == before


@pytest.mark.parametrize("what", ["notes", "tasks", "opportunities"])
async def test_a_created_contact_to_which_somebody_has_attached_something_is_not_deleted(
    small_world: World, what: str
) -> None:
    """A deletion takes notes and tasks along, and no API brings them back."""
    world, before = small_world, small_world.seen()
    answer = await world.operate("create", [{"fields": {"email": f"{n}@example.net"}} for n in range(3)])
    kept = next(id_ for id_ in world.contacts if id_ not in before)
    if what == "opportunities":
        await world.edit(what, next(iter(world.opportunities)), {"contactId": kept})
    else:
        body = {"body": "Called her", "title": "Call back", "dueDate": "2026-12-01T09:00:00Z", "completed": False}
        async with httpx2.AsyncClient(
            headers={"authorization": "Bearer sandbox-token", "version": "2021-07-28"}
        ) as http:
            taken = {name: body[name] for name in (["body"] if what == "notes" else ["title", "dueDate", "completed"])}
            reply = await http.post(f"{world.sandbox_url}/contacts/{kept}/{what}", json=taken)
            assert reply.status_code == 201, reply.text

    plan = await world.plan(answer)
    report = await world.revert(answer)

    assert (plan["page_restored"], plan["page_conflicted"]) == (2, 1)
    assert (report["status"], report["records_restored"], report["records_conflicted"]) == ("partly_reverted", 2, 1)
    assert [(each["id"], what in each["reason"]) for each in report["conflicts"]] == [(kept, True)]
    assert set(world.contacts) == {*before, kept}
    assert (await world.revert(answer, on_conflict="force"))["records_restored"] == 1
    assert set(world.contacts) == set(before)


async def test_contacts_and_their_opportunities_that_one_run_created_go_together(small_world: World) -> None:
    world, before, deals_before = small_world, small_world.seen(), set(small_world.opportunities)
    key = {"guard-run-key": "import"}
    await world.operate("create", [{"fields": {"email": "new@example.net"}}], headers=key)
    (contact,) = set(world.contacts) - set(before)
    fields = {"contactId": contact, "pipelineId": "pipelinePermanent001", "name": "N", "status": "open"}
    answer = await world.operate("create", [{"fields": fields}], headers=key, resource="opportunities")

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert (set(world.contacts), set(world.opportunities)) == (set(before), deals_before)


def as_created_again(row: dict[str, Any]) -> dict[str, Any]:
    lost = ("id", "dateAdded", "additionalEmails", "followers", "businessId")
    return {name: value for name, value in row.items() if name not in lost}


async def test_deleted_contacts_are_created_again_and_the_report_names_ids_and_losses(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    poor = next(id_ for id_, row in before.items() if row.get("additionalEmails"))
    plain = people(world)[5]
    answer = await world.operate("delete", [{"id": poor}, {"id": plain}], accept_irreversible=True)
    assert without(before, poor, plain) == world.seen()

    report = await world.revert(answer)

    recreated = {item["old_id"]: item for item in report["recreated"]}
    new = {old: item["new_id"] for old, item in recreated.items()}
    seen = world.seen()
    assert (answer["reversible"], report["records_restored"]) == ("partial", 2)
    assert {old: item["fields_lost"] for old, item in recreated.items()} == {poor: ["additionalEmails"], plain: []}
    assert all("notes" in item["lost"] for item in recreated.values())
    for old, id_ in new.items():
        assert as_created_again(seen[id_]) == as_created_again(before[old])
    assert without(seen, *new.values()) == without(before, poor, plain)


async def test_a_deletion_that_was_passed_through_is_created_again_with_its_custom_fields(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[5]
    reply = await through(world, "DELETE", f"/contacts/{id_}", accept=True)

    report = await world.revert(answer_of(reply))

    (item,) = report["recreated"]
    assert as_created_again(world.seen()[item["new_id"]]) == as_created_again(before[id_])


# Others' edits


async def test_only_the_same_field_conflicts_and_other_edits_stay(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    same, other, gone, *rest = people(world)
    fields = {"firstName": "Wrong", "customFields": [{"id": JOB_TITLE, "field_value": "42000"}]}
    answer = await world.operate("update", [{"id": id_, "fields": fields} for id_ in people(world)])
    await world.edit("contacts", same, {"firstName": "Ann"})
    await world.edit("contacts", other, {"city": "Berlin", "customFields": [{"id": SALARY, "value": 77_000}]})
    await world.edit("contacts", gone, None)

    report = await world.revert(answer)

    assert (report["records_restored"], report["records_conflicted"]) == (18, 2)
    conflicts = {(item["id"], item["field"]): item["now"] for item in report["conflicts"]}
    assert conflicts[(same, "firstName")] == "Ann"
    assert {id_ for id_, _ in conflicts} == {same, gone}
    expected = {id_: before[id_] for id_ in rest}
    expected[same] = {**before[same], "firstName": "Ann"}
    expected[other] = {**before[other], "city": "Berlin"}
    expected[other]["customFields"] = {**before[other]["customFields"], SALARY: 77_000}
    assert world.seen() == expected


async def test_a_conflict_is_overruled_where_that_is_asked_for(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong"}}])
    await world.edit("contacts", id_, {"city": "Berlin"})

    report = await world.revert(answer, on_conflict="force")

    assert (report["status"], world.seen()) == ("reverted", before)


async def test_a_revert_of_nothing_but_conflicts_says_so(small_world: World) -> None:
    world, id_ = small_world, people(small_world)[0]
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong"}}])
    await world.edit("contacts", id_, {"city": "Berlin"})

    report = await world.revert(answer)

    assert (report["status"], report["records_conflicted"]) == ("partly_reverted", 1)
    assert world.contacts[id_]["city"] == "Berlin"


async def test_a_second_revert_finds_everything_as_it_was_and_writes_nothing(small_world: World) -> None:
    world, before, ids = small_world, small_world.seen(), people(small_world)[:3]
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong"}} for id_ in ids])
    await world.revert(answer)
    count = len(await world.vendor_requests())

    report = await world.revert(answer)

    assert (report["status"], report["records_already"], report["records_restored"]) == ("reverted", 3, 0)
    assert await calls(world, since=count) == ["GET /contacts/*"] * 3
    assert world.seen() == before


# Redo: the revert of a revert


async def test_a_creation_can_be_done_again_under_a_new_id(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    answer = await world.operate("create", [{"fields": {"email": "new@example.net", "tags": ["new"]}}])
    (created,) = without(world.seen(), *before).values()

    redo = await world.revert(await world.revert(answer))
    (again,) = without(world.seen(), *before).values()
    undo = await world.revert(redo)

    assert as_created_again(again) == as_created_again(created)
    assert (undo["status"], world.seen()) == ("reverted", before)


async def test_a_deletion_can_be_done_again_to_the_record_with_the_new_id(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[5]
    answer = await world.operate("delete", [{"id": id_}], accept_irreversible=True)
    undo = await world.revert(answer)

    redo = await world.revert(undo)

    assert redo["status"] == "reverted"
    assert world.seen() == without(before, id_)


# Partial failure


async def test_what_one_record_does_wrong_does_not_keep_the_others_from_being_written_or_taken_back(
    new_world: NewWorld,
) -> None:
    async with new_world(records=20) as world:
        before, (bad, gone, taken, *_) = world.seen(), people(world)
        await world.edit("contacts", gone, None)
        fields: dict[str, dict[str, Any]] = {id_: {"city": "Wrong"} for id_ in people(world)}
        fields |= {bad: {"phone": "12"}, taken: {"email": before[bad]["email"]}, gone: {"city": "X"}}
        answer = await world.operate("update", [{"id": id_, "fields": each} for id_, each in fields.items()])

        report = await world.revert(answer)

        assert (answer["status"], answer["records_applied"], answer["records_failed"]) == ("partial", 17, 3)
        assert {f["id"]: f["code"] for f in answer["failures"]} == {
            bad: "rejected",
            taken: "duplicate",
            gone: "not_found",
        }
        assert (report["status"], report["records_restored"]) == ("reverted", 17)
        assert world.seen() == without(before, gone)


async def test_one_run_of_several_requests_is_taken_back_as_a_whole(small_world: World) -> None:
    world, before, (one, two, *_) = small_world, small_world.seen(), people(small_world)
    first = await through(world, "PUT", f"/contacts/{one}", {"city": "Wrong"}, run_key="execution 1")
    await through(world, "PUT", f"/contacts/{one}", {"city": "Worse", "firstName": USERS[0]}, run_key="execution 1")
    await through(world, "POST", f"/contacts/{two}/tags", {"tags": ["new"]}, run_key="execution 1")
    await through(
        world, "POST", "/contacts/", {"email": "n@example.net", "locationId": LOCATION_ID}, run_key="execution 1"
    )

    report = await world.revert(answer_of(first))

    assert (report["status"], report["records_restored"]) == ("reverted", 3)
    assert world.seen() == before
