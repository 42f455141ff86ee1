"""HighLevel's numbered traps, each as a story through Guard and the sandbox that has them."""

from typing import Any

import pytest

from scenarios.sandboxes.highlevel_seed import FEE, JOB_TITLE, LOCATION_ID, NOTICE, SALARY
from tests.handlers.crm import answer_of, calls, configure, deals, refusals, through, without
from tests.world import World

EVERYTHING = {
    "firstName": "Wrong",
    "lastName": "",
    "email": "wrong@example.net",
    "phone": "+12025550999",
    "city": "",
    "country": "FR",
    "postalCode": "75001",
    "address1": None,
    "source": "import",
    "companyName": "Wrong Ltd",
    "dateOfBirth": "01-02-1980",
    "assignedTo": "",
    "website": "https://wrong.example.net",
    "tags": ["ruined"],
    "customFields": [{"id": JOB_TITLE, "field_value": "42000"}, {"id": SALARY, "field_value": ""}],
}
WORKFLOW = "workflowWelcome00001"


def people(world: World) -> list[str]:
    return list(world.contacts)


# 1. What was read, written back, is refused for its read-only keys.


async def test_trap_1_a_revert_of_everything_writable_sends_no_read_only_key(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    answer = await world.operate("update", [{"id": people(world)[0], "fields": EVERYTHING}])

    report = await world.revert(answer)

    assert (answer["status"], report["status"]) == ("applied", "reverted")
    assert await refusals(world) == []
    assert world.seen() == before


async def test_trap_1_so_does_the_revert_of_a_request_that_was_passed_through(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    reply = await through(world, "PUT", f"/contacts/{people(world)[0]}", EVERYTHING)

    report = await world.revert(answer_of(reply))

    assert (reply.status_code, report["status"]) == (200, "reverted")
    assert await refusals(world) == []
    assert world.seen() == before


async def test_trap_1_a_write_that_the_vendor_refuses_for_such_a_key_leaves_nothing_to_revert(
    small_world: World,
) -> None:
    world, before = small_world, small_world.seen()
    reply = await through(world, "PUT", f"/contacts/{people(world)[0]}", {"emailLowerCase": "x", "city": "X"})

    report = await world.revert(answer_of(reply))

    assert (reply.status_code, reply.headers["guard-status"]) == (422, "failed")
    assert (report["status"], world.seen()) == ("reverted", before)


# 2. Tags in an update replace all of them.


async def test_trap_2_tags_that_others_added_since_survive_the_revert(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    answer = await world.operate("update", [{"id": id_, "fields": {"tags": ["ruined"]}}])
    await world.edit("contacts", id_, {"tags": [*world.contacts[id_]["tags"], "called back"]})

    report = await world.revert(answer)

    assert report["status"] == "reverted"
    assert set(world.contacts[id_]["tags"]) == {*before[id_]["tags"], "called back"}
    assert without(world.seen(), id_) == without(before, id_)


async def test_trap_2_also_after_an_update_that_was_passed_through(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    reply = await through(world, "PUT", f"/contacts/{id_}", {"tags": ["ruined"]})
    await world.edit("contacts", id_, {"tags": ["called back"]})

    await world.revert(answer_of(reply))

    assert set(world.contacts[id_]["tags"]) == {*before[id_]["tags"], "called back"}


# 3. Custom fields are read in one shape and written in another.


async def test_trap_3_custom_fields_go_back_in_the_shape_of_a_write(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    ids = [id_ for id_ in people(world) if SALARY in world.contacts[id_]["customFields"]][:2]
    wrong = [
        {"id": JOB_TITLE, "field_value": "42000"},
        {"id": SALARY, "fieldValue": ""},
        {"id": NOTICE, "value": "none"},
    ]
    answer = await world.operate("update", [{"id": id_, "fields": {"customFields": wrong}} for id_ in ids])

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert world.seen() == before


async def test_trap_3_those_of_an_opportunity_too(small_world: World) -> None:
    world, before = small_world, deals(small_world)
    body = {"customFields": [{"id": FEE, "field_value": ""}]}
    reply = await through(world, "PUT", f"/opportunities/{next(iter(before))}", body)
    assert deals(world) != before

    report = await world.revert(answer_of(reply))

    assert (report["status"], deals(world)) == ("reverted", before)


# 4. A search does not show records as they are.


async def test_trap_4_no_search_is_ever_a_pre_image(small_world: World) -> None:
    world, ids = small_world, people(small_world)[:3]
    answer = await world.operate("update", [{"id": id_, "fields": {"dateOfBirth": "1980-01-02"}} for id_ in ids])
    await world.revert(answer)

    assert await calls(world) == [*["GET /contacts/*"] * 3, *["PUT /contacts/*"] * 3] * 2


# 5. An e-mail that was the second one becomes the first, and no API writes the second.


def second_email(world: World) -> tuple[str, str]:
    """A contact with two addresses, and the second of them."""
    id_ = next(id_ for id_, row in world.contacts.items() if row.get("additionalEmails"))
    return id_, str(world.contacts[id_]["additionalEmails"][0]["email"])


async def test_trap_5_a_second_address_is_not_put_at_risk_unless_that_is_accepted(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    id_, second = second_email(world)

    answer = await world.operate("update", [{"id": id_, "fields": {"email": second}}], status=422)
    passed = await through(world, "PUT", f"/contacts/{id_}", {"email": second})
    upserted = await through(world, "POST", "/contacts/upsert", {"email": second, "locationId": LOCATION_ID})

    assert answer["failures"][0]["code"] == "irreversible"
    assert [reply.json()["code"] for reply in (passed, upserted)] == ["irreversible", "irreversible"]
    assert "e-mail addresses" in passed.json()["detail"]
    assert world.seen() == before


async def test_trap_5_where_it_was_accepted_the_report_says_what_is_lost(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    id_, second = second_email(world)
    answer = await world.operate("update", [{"id": id_, "fields": {"email": second}}], accept_irreversible=True)

    report = await world.revert(answer)

    assert answer["reversible"] == "partial"
    assert world.contacts[id_]["email"] == before[id_]["email"]
    assert report["status"] == "partly_reverted"
    assert [(item["field"], item["verdict"]) for item in report["conflicts"]] == [("additionalEmails", "irreversible")]
    assert without(world.seen(), id_) == without(before, id_)


# 6. An upsert may meet another record than the caller thinks.


async def test_trap_6_an_upsert_is_resolved_and_read_before_it_is_forwarded(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[4]
    body = {"email": before[id_]["email"].upper(), "firstName": "Wrong", "locationId": LOCATION_ID}
    reply = await through(world, "POST", "/contacts/upsert", body)

    asked = await calls(world)
    report = await world.revert(answer_of(reply))

    assert asked[:3] == ["GET /contacts/search/duplicate", "GET /contacts/*", "POST /contacts/upsert"]
    assert (report["status"], world.seen()) == ("reverted", before)


async def test_trap_6_what_the_vendor_wrote_to_another_record_is_reported_and_nothing_else_is_damaged(
    small_world: World,
) -> None:
    world, before = small_world, small_world.seen()
    by_email, by_phone = people(world)[4:6]
    # Where duplicates are allowed the search looks by e-mail first, whatever upsert does.
    await configure(world, allow_duplicates=True, match_order=["phone", "email"])
    body = {
        "email": before[by_email]["email"],
        "phone": before[by_phone]["phone"],
        "firstName": "Wrong",
        "locationId": LOCATION_ID,
    }
    reply = await through(world, "POST", "/contacts/upsert", body)
    wrong = world.seen()
    assert reply.json()["contact"]["id"] == by_phone

    report = await world.revert(answer_of(reply))

    assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 1)
    assert [item["id"] for item in report["conflicts"]] == [by_phone]
    assert world.seen() == wrong
    assert without(wrong, by_phone) == without(before, by_phone)


async def test_trap_6_the_bulk_door_writes_to_the_record_that_it_resolved(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    by_email, by_phone = people(world)[4:6]
    await configure(world, allow_duplicates=True, match_order=["phone", "email"])
    fields = {"email": before[by_email]["email"], "phone": before[by_phone]["phone"], "firstName": "Wrong"}
    answer = await world.operate("upsert", [{"fields": fields}])
    assert world.contacts[by_email]["firstName"] == "Wrong"
    assert without(world.seen(), by_email) == without(before, by_email)

    report = await world.revert(answer)

    assert (report["status"], world.seen()) == ("reverted", before)


async def test_trap_6_an_upsert_that_was_told_to_make_a_second_contact_is_taken_back(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[4]
    await configure(world, allow_duplicates=True)
    body = {"email": before[id_]["email"], "locationId": LOCATION_ID, "createNewIfDuplicateAllowed": True}
    reply = await through(world, "POST", "/contacts/upsert", body)
    assert reply.json()["new"] is True

    report = await world.revert(answer_of(reply))

    assert (report["status"], world.seen()) == ("reverted", before)


# 7. The vendor answers 200 and has dropped a field, or everything.


async def test_trap_7_a_field_that_was_dropped_in_silence_is_told(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[4]
    fields = {"email": before[id_]["email"], "gender": "female", "city": "Wrong"}
    answer = await world.operate("upsert", [{"fields": fields}])

    (failure,) = answer["failures"]
    report = await world.revert(answer)

    assert (failure["status"], failure["code"]) == ("applied", "partly_applied")
    assert "gender" in failure["message"]
    assert (report["status"], world.seen()) == ("reverted", before)


async def test_trap_7_a_phone_that_an_upsert_did_not_apply_is_told_by_the_pass_through_too(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[4]
    body = {"email": before[id_]["email"], "phone": "+12025550999", "city": "Wrong", "locationId": LOCATION_ID}
    reply = await through(world, "POST", "/contacts/upsert", body)

    await world.settle()
    run = (await world.http.get(f"/v1/runs/{answer_of(reply)['run']}")).json()
    await world.revert(answer_of(reply))

    assert [failure["code"] for failure in run["failures"]] == ["partly_applied"]
    assert "phone" in run["failures"][0]["message"]
    assert world.seen() == before


async def test_trap_7_an_upsert_that_did_all_that_was_asked_is_told_without_reserve(small_world: World) -> None:
    world, id_ = small_world, people(small_world)[4]
    body: dict[str, Any] = {"email": world.contacts[id_]["email"], "city": "Wrong", "locationId": LOCATION_ID}
    reply = await through(world, "POST", "/contacts/upsert", {**body, "createNewIfDuplicateAllowed": False})

    await world.settle()
    run = (await world.http.get(f"/v1/runs/{answer_of(reply)['run']}")).json()

    assert (reply.headers["guard-status"], run["failures"]) == ("applied", [])


async def test_trap_7_a_write_answered_with_200_that_a_read_does_not_show_is_in_doubt(small_world: World) -> None:
    """It did nothing, or the read is behind: only a later look can tell, and the revert takes one."""
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    await world.fault(kind="ok_not_done", match={"method": "DELETE"})
    answer = await world.operate("delete", [{"id": id_}], accept_irreversible=True)
    report = await world.revert(answer)

    assert (answer["records_in_doubt"], answer["failures"][0]["code"]) == (1, "not_shown")
    assert (report["status"], report["records_already"], world.seen()) == ("reverted", 1, before)


async def test_trap_7_a_custom_field_that_was_dropped_in_silence_is_told_and_the_others_go_back(
    small_world: World,
) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    await world.fault(kind="not_applied_field", field=JOB_TITLE, match={"method": "PUT"})
    answer = await world.operate("update", [{"id": id_, "fields": EVERYTHING}])

    report = await world.revert(answer)

    assert [failure["code"] for failure in answer["failures"]] == ["partly_applied"]
    assert JOB_TITLE in answer["failures"][0]["message"]
    assert (report["status"], world.seen()) == ("reverted", before)


@pytest.mark.parametrize(
    ("action", "record", "what"),
    [
        ("tags.add", {"tags": ["vip"]}, "not_shown"),
        ("update", {"fields": {"tags": ["vip"]}}, "not_shown"),
        ("update", {"fields": {"tags": ["vip"], "city": "Rome"}}, "partly_applied"),
    ],
    ids=["added", "replaced", "replaced besides another field"],
)
async def test_trap_7_tags_that_were_dropped_in_silence_are_told(
    small_world: World, action: str, record: dict[str, Any], what: str
) -> None:
    world, before, (id_, other, *_) = small_world, small_world.seen(), people(small_world)
    if action == "update":
        await world.fault(kind="not_applied_field", field="tags", match={"method": "PUT"})
    else:
        await world.fault(kind="ok_not_done", match={"path_regex": "bulk/tags"})
    answer = await world.operate(action, [{"id": id_, **record}])

    assert [(failure["id"], failure["code"]) for failure in answer["failures"]] == [(id_, what)]
    assert (await world.revert(answer))["status"] == "reverted"
    assert world.seen() == before
    assert (await world.operate("tags.add", [{"id": other, "tags": ["vip"]}]))["failures"] == []


# 8. A create is answered 422, and the contact is there.

NEW = {"email": "new@example.net", "firstName": "New"}


async def test_trap_8_a_contact_that_was_created_though_refused_is_found_and_taken_back(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    await world.fault(kind="done_then_status", status=422, match={"method": "POST", "path_regex": "^/contacts/$"})
    answer = await world.operate("create", [{"fields": NEW}])
    assert len(world.contacts) == 21

    report = await world.revert(answer)

    assert (answer["status"], answer["records_applied"]) == ("applied", 1)
    assert (report["status"], world.seen()) == ("reverted", before)


async def test_trap_8_also_where_the_request_was_passed_through(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    await world.fault(kind="done_then_status", status=422, match={"method": "POST", "path_regex": "^/contacts/$"})
    reply = await through(world, "POST", "/contacts/", {**NEW, "locationId": LOCATION_ID})

    report = await world.revert(answer_of(reply))

    assert (reply.status_code, reply.headers["guard-status"]) == (422, "applied")
    assert (report["status"], world.seen()) == ("reverted", before)


async def test_trap_8_a_duplicate_that_the_vendor_refused_is_not_taken_for_ones_own(small_world: World) -> None:
    world = small_world
    await world.operate("create", [{"fields": NEW}])
    before = world.seen()

    answer = await world.operate("create", [{"fields": NEW}], status=422)
    passed = await through(world, "POST", "/contacts/", {**NEW, "locationId": LOCATION_ID})
    for each in (answer, answer_of(passed)):
        await world.revert(each)

    assert (answer["records_failed"], passed.headers["guard-status"]) == (1, "failed")
    assert world.seen() == before


# 9. An opportunity's contact and source cannot be put back.


async def test_trap_9_an_opportunity_is_not_moved_to_another_contact_unless_that_is_accepted(
    small_world: World,
) -> None:
    world, before = small_world, deals(small_world)
    id_, deal = next(iter(before.items()))
    moved = {"id": id_, "pipelineId": deal["pipelineId"], "contactId": people(world)[5], "locationId": LOCATION_ID}
    sourced = {"id": id_, "pipelineId": deal["pipelineId"], "source": "import", "locationId": LOCATION_ID}

    refused = [await through(world, "POST", "/opportunities/upsert", body) for body in (moved, sourced)]

    assert [(reply.status_code, reply.json()["code"]) for reply in refused] == [(422, "irreversible")] * 2
    assert "contactId" in refused[0].json()["detail"]
    assert "source" in refused[1].json()["detail"]
    assert deals(world) == before


async def test_trap_9_where_it_was_accepted_the_rest_goes_back_and_the_report_names_it(small_world: World) -> None:
    world, before = small_world, deals(small_world)
    id_, deal = next(iter(before.items()))
    other = people(world)[5]
    body = {"id": id_, "pipelineId": deal["pipelineId"], "contactId": other, "name": "Wrong", "locationId": LOCATION_ID}
    reply = await through(world, "POST", "/opportunities/upsert", body, accept=True)

    report = await world.revert(answer_of(reply))

    assert [(item["field"], item["verdict"]) for item in report["conflicts"]] == [("contactId", "irreversible")]
    assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 1)
    assert deals(world) == {**before, id_: {**deal, "contactId": other}}


# 10. What a workflow sends is sent.


async def test_trap_10_no_contact_enters_or_leaves_a_workflow_unless_that_is_accepted(small_world: World) -> None:
    world, id_ = small_world, people(small_world)[0]

    replies = [
        await through(world, method, f"/contacts/{id_}/{kind}/{WORKFLOW}", {})
        for method in ("POST", "DELETE")
        for kind in ("workflow", "campaigns")
    ]

    assert {(reply.status_code, reply.json()["code"]) for reply in replies} == {(422, "irreversible")}
    assert not world.vendor.enrolments.rows
    assert await world.vendor_requests() == []


async def test_trap_10_where_it_was_accepted_plan_and_report_name_it(small_world: World) -> None:
    world, before, id_ = small_world, small_world.seen(), people(small_world)[0]
    reply = await through(world, "POST", f"/contacts/{id_}/workflow/{WORKFLOW}", {}, accept=True)
    await world.settle()

    plan = await world.plan(answer_of(reply))
    report = await world.revert(answer_of(reply))

    assert (reply.status_code, len(world.vendor.enrolments.rows)) == (200, 1)
    assert plan["reversible"] == "none"
    assert [item["verdict"] for item in plan["plan"]] == ["irreversible"]
    assert "automations" in plan["plan"][0]["reason"]
    assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 1)
    assert world.seen() == before


async def test_trap_10_an_update_that_names_no_field_is_not_taken_for_an_enrolment(small_world: World) -> None:
    world, id_ = small_world, people(small_world)[0]

    answer = await world.operate("update", [{"id": id_, "fields": {}}], status=422)

    assert answer["code"] == "invalid_record"
    assert "automations" not in answer["detail"]
