"""Whole stories about Keap through a running Guard: what people do there, and what comes back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.sandboxes import keap_seed as seed
from tests.handlers.keap_world import answer_of, calls, keap_world, patches, rows, sell, through
from tests.world import World

PEOPLE = list(seed.contacts(12, 1))
ANN, BEN = PEOPLE[9], PEOPLE[10]
IDS = [person["id"] for person in PEOPLE]
NOTE, TASK, DEAL = (next(made(PEOPLE)) for made in (seed.notes, seed.tasks, seed.opportunities))
FIRM = next(seed.companies(12, 1))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with keap_world(tmp_path) as made:
        yield made


async def update(
    world: World, fields: dict[str, Any], id_: str = ANN["id"], resource: str = "contacts"
) -> dict[str, Any]:
    answer = await world.operate("update", [{"id": id_, "fields": fields}], resource=resource)
    assert (answer["status"], answer["failures"]) == ("applied", [])
    return answer


async def test_a_bulk_import_over_all_contacts_goes_back_in_one_call_and_the_fewest_of_keaps(world: World) -> None:
    before = rows(world)
    fields = {"job_title": "Ruined", "custom_fields": [{"id": seed.JOB_LEVEL, "content": "Lead"}]}
    answer = await world.operate("update", [{"id": id_, "fields": fields} for id_ in IDS])
    assert sorted(await calls(world)) == ["GET /contacts", *sorted(f"PATCH /contacts/{id_}" for id_ in IDS)]

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], rows(world)) == ("reverted", 12, before)
    assert len(await calls(world)) == 2 * (1 + 12)


@pytest.mark.parametrize(
    ("resource", "id_", "fields"),
    [
        ("contacts", ANN["id"], {"job_title": "", "time_zone": None, "owner_id": None, "source_type": None}),
        ("contacts", PEOPLE[0]["id"], {"company": None}),
        ("contacts", ANN["id"], {"email_addresses": [], "custom_fields": [], "phone_numbers.PHONE2": ""}),
        ("companies", FIRM["id"], {"notes": "", "owner_id": "", "address": None, "phone_number": None}),
        ("opportunities", DEAL["id"], {"opportunity_notes": "", "next_action_time": "", "user_id": None}),
        ("opportunities", DEAL["id"], {"projected_revenue_high": None, "custom_fields": []}),
        ("notes", NOTE["id"], {"text": "", "type": "", "custom_fields": []}),
        ("tasks", TASK["id"], {"description": "", "due_time": None, "priority": None, "contact_id": None}),
    ],
)
async def test_what_was_emptied_is_filled_again(world: World, resource: str, id_: str, fields: dict[str, Any]) -> None:
    before = rows(world, resource)
    answer = await update(world, fields, id_, resource)
    now = rows(world, resource)[id_]
    assert all(not now.get(name) for name in fields if "." not in name)

    report = await world.revert(answer)

    assert (report["status"], rows(world, resource)) == ("reverted", before)


@pytest.mark.parametrize(
    ("resource", "id_", "fields"),
    [
        ("contacts", ANN["id"], {"middle_name": "Q", "birth_date": "1990-01-31", "company": {"id": FIRM["id"]}}),
        ("contacts", ANN["id"], {"fax_numbers": [{"field": "FAX1", "number": "5125550177", "type": "Home"}]}),
        ("contacts", ANN["id"], {"custom_fields.11": "2026-01-31", "email_addresses.EMAIL3": " C@Example.net "}),
        ("companies", FIRM["id"], {"title": "Dr", "fax_number": {"number": "5125550177"}}),
        ("opportunities", DEAL["id"], {"next_action_notes": "Call", "estimated_close_time": "2026-03-01T10:00:00Z"}),
        ("notes", NOTE["id"], {"is_pinned": True, "custom_fields.43": "price"}),
        ("tasks", TASK["id"], {"completed": True, "remind_time_mins": 30, "accepted": True}),
    ],
)
async def test_what_was_filled_is_empty_again(world: World, resource: str, id_: str, fields: dict[str, Any]) -> None:
    before = rows(world, resource)
    answer = await update(world, fields, id_, resource)
    assert rows(world, resource) != before

    report = await world.revert(answer)

    assert (report["status"], rows(world, resource)) == ("reverted", before)


async def test_a_task_that_was_reopened_is_done_again_since_when_it_was(world: World) -> None:
    await world.edit("tasks", TASK["id"], {"completed": True, "completion_time": "2025-09-30T07:00:00.000Z"})
    before = rows(world, "tasks")
    answer = await update(world, {"completed": False}, TASK["id"], "tasks")
    assert "completion_time" not in rows(world, "tasks")[TASK["id"]]

    report = await world.revert(answer)

    assert (report["status"], rows(world, "tasks")) == ("reverted", before)


async def test_others_edits_to_other_members_of_a_list_stay_and_the_same_member_is_a_conflict(world: World) -> None:
    fields = {
        "phone_numbers": [{"field": "PHONE1", "number": "5125550177"}, {"field": "PHONE2", "number": "5125550178"}],
        "custom_fields": [{"id": seed.REGION_SERVED, "content": "ruined"}, {"id": seed.SALARY, "content": 1}],
    }
    answer = await update(world, fields)
    theirs: dict[str, dict[str, Any]] = {
        "phone_numbers": {"PHONE2": {"number": "(602) 555-0111"}, "PHONE4": {"number": "(602) 555-0112"}},
        "custom_fields": {seed.SALARY: 70_000, seed.START_DATE: "2026-02-01"},
    }
    await world.edit("contacts", ANN["id"], theirs)

    report = await world.revert(answer)

    now = rows(world)[ANN["id"]]
    assert now["phone_numbers"] == {**ANN["phone_numbers"], **theirs["phone_numbers"]}
    assert now["custom_fields"] == {**ANN["custom_fields"], **theirs["custom_fields"]}
    conflicts = {each["field"] for each in report["conflicts"] if each["verdict"] == "conflict"}
    assert conflicts == {"phone_numbers.PHONE2", f"custom_fields.{seed.SALARY}"}


async def test_a_member_that_the_run_took_away_comes_back_beside_those_that_others_added(world: World) -> None:
    told = answer_of(await through(world, "PATCH", f"/contacts/{ANN['id']}", {"custom_fields": [], "addresses": []}))
    await world.edit("contacts", ANN["id"], {"custom_fields": {seed.START_DATE: "2026-02-01"}})

    report = await world.revert(told)

    now = rows(world)[ANN["id"]]
    assert (report["status"], now["addresses"]) == ("reverted", ANN["addresses"])
    assert now["custom_fields"] == {**ANN["custom_fields"], seed.START_DATE: "2026-02-01"}


async def test_tags_are_applied_to_all_in_one_call_and_taken_back_by_difference(world: World) -> None:
    before = rows(world)
    answer = await world.operate("tags.add", [{"id": id_, "tags": ["99"]} for id_ in IDS])
    assert await calls(world) == ["GET /contacts", "POST /tags/99/contacts:applyTags", "GET /contacts"]
    assert all("99" in row["tag_ids"] for row in rows(world).values())
    await through(world, "POST", "/tags/97/contacts:applyTags", {"contact_ids": [ANN["id"]]})  # somebody else's
    asked = len(await calls(world))

    report = await world.revert(answer)

    assert report["status"] == "reverted"
    assert rows(world)[ANN["id"]]["tag_ids"] == sorted({*before[ANN["id"]]["tag_ids"], "97"})
    assert {id_: row["tag_ids"] for id_, row in rows(world).items() if id_ != ANN["id"]} == {
        id_: row["tag_ids"] for id_, row in before.items() if id_ != ANN["id"]
    }
    assert (await calls(world))[asked:] == ["GET /contacts", "POST /tags/99/contacts:removeTags", "GET /contacts"]


async def test_tags_for_those_who_are_not_there_and_that_are_not_there_fail_one_by_one(world: World) -> None:
    records = [{"id": ANN["id"], "tags": ["99"]}, {"id": "77777", "tags": ["99"]}, {"id": BEN["id"], "tags": "12345"}]
    answer = await world.operate("tags.add", records)
    failures = {each["id"]: each["code"] for each in answer["failures"]}
    assert (answer["status"], failures) == ("partial", {"77777": "not_found", BEN["id"]: "rejected"})

    await world.revert(answer)

    assert rows(world)[ANN["id"]]["tag_ids"] == ANN["tag_ids"]


async def test_tags_passed_through_of_which_some_fail_are_taken_back_where_they_were_applied(world: World) -> None:
    before = rows(world)
    body = {"contact_ids": [ANN["id"], BEN["id"]]}
    told = answer_of(await through(world, "POST", "/tags/99/contacts:applyTags", body))
    assert all("99" in rows(world)[id_]["tag_ids"] for id_ in body["contact_ids"])

    report = await world.revert(told)

    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert {id_: row["tag_ids"] for id_, row in rows(world).items()} == {i: r["tag_ids"] for i, r in before.items()}


async def test_created_contacts_are_deleted_again_but_not_one_that_somebody_has_worked_on(world: World) -> None:
    before = rows(world)
    people = [{"fields": {"email_addresses": [{"field": "EMAIL1", "email": f"new{n}@example.com"}]}} for n in range(3)]
    answer = await world.operate("create", people)
    created = sorted(set(rows(world)) - set(before))
    assert (await calls(world)).count("GET /contacts") == 1  # all three are read back together
    await through(world, "POST", f"/contacts/{created[0]}/notes", {"title": "Called", "user_id": "1"})
    await sell(world, created[1])

    report = await world.revert(answer)

    assert (report["records_restored"], report["records_conflicted"]) == (1, 2)
    assert set(rows(world)) == {*before, *created[:2]}


async def test_an_upsert_creates_or_updates_and_both_are_taken_back(world: World) -> None:
    before = rows(world)
    records = [
        {"fields": {"email_addresses.EMAIL1": ANN["email_addresses"]["EMAIL1"].upper(), "job_title": "Both"}},
        {"fields": {"email_addresses.EMAIL1": "new@example.com", "job_title": "Both"}},
    ]
    answer = await world.operate("upsert", records)
    assert len([row for row in rows(world).values() if row["job_title"] == "Both"]) == 2
    assert len(rows(world)) == len(before) + 1

    report = await world.revert(answer)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_an_upsert_that_several_contacts_answer_to_is_refused(world: World) -> None:
    await world.edit("contacts", BEN["id"], {"email_addresses": {"EMAIL2": ANN["email_addresses"]["EMAIL1"]}})
    records = [{"fields": {"email_addresses.EMAIL1": ANN["email_addresses"]["EMAIL1"], "job_title": "Both"}}]
    refused = await world.operate("upsert", records, status=422)
    assert "several" in refused["failures"][0]["message"].lower()


@pytest.mark.parametrize("option", ["EmailAndName", "EmailAndNameAndCompany"])
async def test_the_name_and_the_company_tell_contacts_with_one_address_apart(world: World, option: str) -> None:
    await world.edit("contacts", BEN["id"], {"email_addresses": {"EMAIL2": ANN["email_addresses"]["EMAIL1"]}})
    before = rows(world)
    body = {
        "email_addresses": [{"field": "EMAIL1", "email": ANN["email_addresses"]["EMAIL1"]}],
        "given_name": ANN["given_name"],
        "family_name": ANN["family_name"],
        "job_title": "Found",
    }
    told = answer_of(await through(world, "POST", "/contacts", body, duplicate_option=option))
    assert rows(world)[ANN["id"]]["job_title"] == "Found"

    report = await world.revert(told)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_a_deleted_contact_and_what_the_run_deleted_with_it_come_back_for_one_another(world: World) -> None:
    host = PEOPLE[0]["id"]
    key = {"guard-run-key": "cleaning"}
    for resource, id_ in (
        ("notes", NOTE["id"]),
        ("tasks", TASK["id"]),
        ("opportunities", DEAL["id"]),
        ("contacts", host),
    ):
        answer = await world.operate("delete", [{"id": id_}], resource=resource, accept_irreversible=True, headers=key)

    report = await world.revert(answer)

    (again,) = (row for row in rows(world).values() if row["id"] not in IDS)
    assert (report["status"], len(report["recreated"])) == ("reverted", 4)
    assert again["email_addresses"] == PEOPLE[0]["email_addresses"]
    for resource, title in (("notes", NOTE["title"]), ("tasks", TASK["title"])):
        assert [row["contact_id"] for row in rows(world, resource).values() if row["title"] == title] == [again["id"]]
    deals = [row for row in rows(world, "opportunities").values() if row["contact_id"] == again["id"]]
    assert [deal["custom_fields"] for deal in deals] == [DEAL["custom_fields"]]


async def test_deleted_contacts_get_their_tags_again_in_one_call_for_each_tag(world: World) -> None:
    before = rows(world)
    answer = await world.operate("delete", [{"id": id_} for id_ in IDS], accept_irreversible=True)
    assert rows(world) == {}

    report = await world.revert(answer)

    tags = sorted(row["tag_ids"] for row in rows(world).values())
    assert (report["status"], tags) == ("reverted", sorted(row["tag_ids"] for row in before.values()))
    assert len([each for each in await calls(world) if "applyTags" in each]) == len(seed.TAGS)
    assert all(each["fields_lost"] == [] for each in report["recreated"])


async def test_tags_that_could_not_be_applied_again_are_told(world: World) -> None:
    answer = await world.operate("delete", [{"id": ANN["id"]}], accept_irreversible=True)
    await world.fault(kind="status", status=500, times=-1, match={"method": "POST", "path_regex": "applyTags"})

    report = await world.revert(answer)

    assert [each["fields_lost"] for each in report["recreated"]] == [["tag_ids"]]


async def test_one_that_keap_refuses_does_not_keep_the_others_from_being_written(world: World) -> None:
    before = rows(world)
    records = [
        {"id": ANN["id"], "fields": {"custom_fields": [{"id": seed.JOB_LEVEL, "content": "No such level"}]}},
        {"id": BEN["id"], "fields": {"job_title": "Fine"}},
        {"id": "77777", "fields": {"job_title": "Nobody"}},
    ]
    answer = await world.operate("update", records)
    assert (answer["status"], answer["records_applied"], answer["records_failed"]) == ("partial", 1, 2)

    report = await world.revert(answer)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_a_revert_is_taken_back_too_members_of_lists_included(world: World) -> None:
    body = {"custom_fields": [{"id": seed.REGION_SERVED, "content": "new"}], "phone_numbers": []}
    told, before = answer_of(await through(world, "PATCH", f"/contacts/{ANN['id']}", body)), rows(world)
    undone = await world.revert(told)

    redone = await world.revert(undone)

    assert (redone["status"], rows(world)) == ("reverted", before)


async def test_a_mask_lets_a_part_of_the_body_through_and_only_that_is_the_runs(world: World) -> None:
    before = rows(world)
    body = {"given_name": "Wrong", "job_title": "Skipped", "custom_fields": []}
    mask = ["given_name", "middle_name"]
    body["middle_name"] = "Wrong, too"
    told = answer_of(await through(world, "PATCH", f"/contacts/{ANN['id']}", body, update_mask=mask))
    assert rows(world)[ANN["id"]] == {**before[ANN["id"]], "given_name": "Wrong", "middle_name": "Wrong, too"}

    report = await world.revert(told)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_guards_own_updates_name_in_their_mask_what_they_change_and_nothing_else(world: World) -> None:
    await update(
        world, {"opportunity_notes": "x", "next_action_time": "", "custom_fields.33": "y"}, DEAL["id"], "opportunities"
    )
    (request,) = [each for each in await world.vendor_requests() if each["method"] == "PATCH"]
    mask = ("custom_fields", "next_action_time", "opportunity_notes")
    assert [part for part in request["path"].split("?")[1].split("&") if part.startswith("update_mask")] == [
        f"update_mask={name}" for name in mask
    ]
    custom = [{"id": seed.FEE, "content": 250}, {"id": seed.CHANNEL, "content": "y"}]
    assert await patches(world) == [{"opportunity_notes": "x", "custom_fields": custom}]


async def test_a_note_is_read_by_itself_and_written_below_its_contact_also_after_it_has_moved(world: World) -> None:
    before = rows(world, "notes")
    answer = await update(world, {"contact_id": ANN["id"]}, NOTE["id"], "notes")
    assert rows(world, "notes")[NOTE["id"]]["contact_id"] == ANN["id"]

    report = await world.revert(answer)

    assert (report["status"], rows(world, "notes")) == ("reverted", before)
    assert (await calls(world))[-1] == f"PATCH /contacts/{ANN['id']}/notes/{NOTE['id']}"


async def test_a_token_that_ends_in_mid_run_stops_it_with_everything_accounted_for(tmp_path: Path) -> None:
    """Keap's access tokens end after a day, and Guard renews none."""
    ended = {"fault": {"faultstring": "Access Token expired", "detail": {"errorcode": "keymanagement.expired"}}}
    async with keap_world(tmp_path, records=250) as world:
        before = rows(world)
        await world.fault(kind="status", status=401, body=ended, times=-1, after=150)
        records = [{"id": id_, "fields": {"job_title": "Wrong"}} for id_ in before]
        answer = await world.operate("update", records)
        world.sandbox.faults.clear()  # somebody has put a new token in

        written = sum(row.get("job_title") == "Wrong" for row in rows(world).values())
        assert 0 < written < 250
        counted = (answer["status"], answer["records_applied"], answer["records_failed"], answer["records_in_doubt"])
        assert counted == ("partial", written, 250 - written, 0)
        assert {each["code"] for each in answer["failures"]} == {"target_refused"}
        assert ((await world.revert(answer))["records_restored"], rows(world)) == (written, before)
