"""One test for each trap of Keap's documentation, behind a real Guard; named after the trap."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guard.core.limits import DEFINITIONS_AGAIN_S
from scenarios.sandboxes import keap_seed as seed
from scenarios.sandboxes.keap import DOCUMENTED, Settings
from tests.handlers.keap_world import answer_of, calls, configure, keap_world, rows, through
from tests.world import World

PEOPLE = list(seed.contacts(12, 1))
ANN = PEOPLE[9]
CONTACT = f"/contacts/{ANN['id']}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with keap_world(tmp_path) as made:
        yield made


async def test_a_patch_with_one_custom_field_wipes_the_others_and_a_revert_puts_all_of_them_back(world: World) -> None:
    before = rows(world)
    body = {"custom_fields": [{"id": seed.REGION_SERVED, "content": "ruined"}]}
    told = answer_of(await through(world, "PATCH", CONTACT, body))
    assert rows(world)[ANN["id"]]["custom_fields"] == {seed.REGION_SERVED: "ruined"}

    report = await world.revert(told)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_guards_own_update_of_one_custom_field_leaves_the_others(world: World) -> None:
    fields = {"custom_fields": [{"id": seed.REGION_SERVED, "content": "Northeast"}]}
    answer = await world.operate("update", [{"id": ANN["id"], "fields": fields}])
    assert rows(world)[ANN["id"]]["custom_fields"] == {**ANN["custom_fields"], seed.REGION_SERVED: "Northeast"}

    await world.revert(answer)

    assert rows(world)[ANN["id"]]["custom_fields"] == ANN["custom_fields"]


@pytest.mark.parametrize(
    "body",
    [
        {"email_addresses": [{"field": "EMAIL1", "email": "wrong@example.com"}]},
        {"phone_numbers": []},
        {"addresses": [{"field": "OTHER", "line1": "Nowhere"}]},
        {"social_accounts": [{"type": "YOUTUBE", "name": "wrong"}]},
        {"fax_numbers": [{"field": "FAX1", "number": "5125550177"}]},
    ],
    ids=lambda body: next(iter(body)),
)
async def test_every_list_is_replaced_as_a_whole_and_taken_back_as_a_whole(
    world: World, body: dict[str, list[object]]
) -> None:
    before, (name,) = rows(world), body
    told = answer_of(await through(world, "PATCH", CONTACT, body))
    assert len(rows(world)[ANN["id"]][name]) == len(body[name])

    report = await world.revert(told)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_a_pre_image_has_what_no_answer_shows_that_was_not_asked_for_it(world: World) -> None:
    """Without `fields` an answer has no custom fields, no job title and no fax number, and says nothing of that."""
    shown = (await world.http.get(f"/to/crm/rest/v2{CONTACT}")).json()
    assert {"custom_fields", "job_title", "social_accounts"}.isdisjoint(shown)
    answer = await world.operate("delete", [{"id": ANN["id"]}], accept_irreversible=True)

    report = await world.revert(answer)

    (again,) = (
        row
        for row in rows(world).values()
        if row["given_name"] == ANN["given_name"] and row["id"] not in {p["id"] for p in PEOPLE}
    )
    assert again["tag_ids"] == ANN["tag_ids"]
    kept = (
        "custom_fields",
        "job_title",
        "social_accounts",
        "email_addresses",
        "phone_numbers",
        "addresses",
        "owner_id",
    )
    assert {name: again[name] for name in kept} == {name: ANN[name] for name in kept}
    (recreated,) = report["recreated"]
    assert set(recreated["fields_lost"]) <= {"account_id", "created_by", "links"}


async def test_the_answer_to_a_passed_patch_is_no_post_image_for_it_shows_only_a_part(world: World) -> None:
    """What such an answer leaves out would look as if the run had emptied it."""
    told = answer_of(await through(world, "PATCH", CONTACT, {"job_title": "Wrong"}))
    assert (await calls(world))[-2:] == [f"PATCH {CONTACT}", "GET /contacts"]

    plan = await world.plan(told)

    assert [each["field"] for record in plan["plan"] for each in record["fields"]] == ["job_title"]


async def test_consent_is_not_taken_back_so_a_reason_for_opting_in_is_refused_unless_accepted(world: World) -> None:
    email = {"field": "EMAIL1", "email": "new@example.com", "opt_in_reason": "Said so on the phone"}
    body = {"email_addresses": [email]}
    refused = await through(world, "PATCH", CONTACT, body)
    assert (refused.json()["code"], "consent" in refused.text) == ("irreversible", True)
    bulk = await world.operate("update", [{"id": ANN["id"], "fields": body}], status=422)
    assert bulk["code"] == "irreversible"

    before = rows(world)
    told = answer_of(await through(world, "PATCH", CONTACT, body, accept=True))
    await world.revert(told)

    assert rows(world) == before
    consents = rows(world, "consents")
    assert consents["new@example.com"]["status"] == "SINGLE_OPT_IN"  # this stays


async def test_a_revert_never_sends_a_reason_for_opting_in(world: World) -> None:
    email = {"field": "EMAIL1", "email": "new@example.com", "opt_in_reason": "Said so on the phone"}
    told = answer_of(await through(world, "PATCH", CONTACT, {"email_addresses": [email]}, accept=True))
    consents = rows(world, "consents")
    redo = await world.revert(await world.revert(told))

    assert (redo["status"], rows(world, "consents")) == ("reverted", consents)
    assert rows(world)[ANN["id"]]["email_addresses"] == {"EMAIL1": "new@example.com"}


async def test_a_tag_that_is_removed_and_applied_again_has_a_new_applied_time(world: World) -> None:
    tag, before = ANN["tag_ids"][0], rows(world)
    refused = await world.operate("tags.remove", [{"id": ANN["id"], "tags": [tag]}], status=422)
    assert (refused["code"], "no date with a tag" in refused["detail"]) == ("irreversible", True)
    answer = await world.operate("tags.remove", [{"id": ANN["id"], "tags": [tag]}], accept_irreversible=True)
    assert answer["reversible"] == "partial"

    report = await world.revert(answer)

    now = rows(world)[ANN["id"]]
    assert (report["status"], now["tag_ids"]) == ("reverted", ANN["tag_ids"])
    assert now["applied"][tag] > before[ANN["id"]]["applied"][tag]
    assert "automations" in report["cannot_be_taken_back"][0]


async def test_a_post_with_a_duplicate_option_may_update_and_is_then_taken_back_as_an_update(world: World) -> None:
    before = rows(world)
    body = {"email_addresses": [{"field": "EMAIL1", "email": ANN["email_addresses"]["EMAIL1"]}], "given_name": "Wrong"}
    reply = await through(world, "POST", "/contacts", body, duplicate_option="Email")
    assert (reply.status_code, rows(world)[ANN["id"]]["given_name"]) == (200, "Wrong")

    report = await world.revert(answer_of(reply))

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_a_post_that_was_to_create_and_updated_somebody_is_told_and_nobody_is_deleted(world: World) -> None:
    """Between Guard's search and Keap's somebody else has made the contact."""
    body = {"email_addresses": [{"field": "EMAIL1", "email": "new@example.com"}], "given_name": "Wrong"}
    await world.fault(kind="stale_read", match={"method": "GET", "path_regex": "/contacts$"})
    await world.edit("contacts", ANN["id"], {"email_addresses": {"EMAIL3": "new@example.com"}})
    reply = await through(world, "POST", "/contacts", body, duplicate_option="Email")
    assert reply.status_code == 200

    report = await world.revert(answer_of(reply))

    assert (ANN["id"] in rows(world), report["records_irreversible"]) == (True, 1)


async def test_merging_contacts_is_refused_for_nobody_can_take_it_back(world: World) -> None:
    reply = await through(world, "POST", "/contacts:merge", {"duplicate_contact_id": "10001"}, accept=True)
    assert (reply.json()["code"], await calls(world)) == ("unknown_route", [])


async def test_more_than_a_hundred_ids_are_read_in_parts_for_opportunities_take_no_more(tmp_path: Path) -> None:
    async with keap_world(tmp_path, records=330) as world:
        deals = list(rows(world, "opportunities"))
        assert len(deals) == 110
        records = [{"id": id_, "fields": {"opportunity_notes": "Wrong"}} for id_ in deals]
        answer = await world.operate("update", records, resource="opportunities")
        assert (answer["status"], (await calls(world)).count("GET /opportunities")) == ("applied", 2)
        assert {each["status"] for each in await world.vendor_requests()} == {200}


async def test_a_list_that_ignores_the_filter_says_of_no_record_that_it_is_gone(world: World) -> None:
    """Then absence would mean nothing, and a deleted record would be created twice."""
    listed = {"contacts": [{"id": "99", "given_name": "Somebody"}]}
    await world.fault(
        kind="status", status=200, body=listed, times=-1, match={"method": "GET", "path_regex": "/contacts$"}
    )
    refused = await world.operate("update", [{"id": ANN["id"], "fields": {"given_name": "x"}}], status=503)
    assert refused["written"] == "nothing"


async def test_a_list_that_was_not_shown_is_not_replaced_for_nobody_knows_what_it_holds(world: World) -> None:
    """If Keap leaves empty lists out, a first custom field cannot be set through Guard; the others can be changed."""
    await configure(world, omits_empty=True)
    change = {"fax_numbers": [{"field": "FAX1", "number": "5125550177"}]}  # the contact has none, so none is shown
    refused = await world.operate("update", [{"id": ANN["id"], "fields": change}], status=422)
    assert [failure["code"] for failure in refused["failures"]] == ["irreversible"]
    records = [{"id": ANN["id"], "fields": change}]
    accepted = await world.operate("update", records, status=422, accept_irreversible=True)
    assert [failure["code"] for failure in accepted["failures"]] == ["not_writable"]
    passed = await through(world, "PATCH", CONTACT, change)
    assert passed.json()["code"] == "irreversible"
    fields = {"custom_fields": [{"id": seed.REGION_SERVED, "content": "Northeast"}]}
    answer = await world.operate("update", [{"id": ANN["id"], "fields": fields}])
    assert (answer["status"], (await world.revert(answer))["status"]) == ("applied", "reverted")


@pytest.mark.parametrize("habit", ["replace", "merge"])
async def test_it_is_right_whether_other_records_custom_fields_are_replaced_or_merged(
    tmp_path: Path, habit: str
) -> None:
    """Keap says it of contacts only."""
    async with keap_world(tmp_path, seed=Settings(custom_fields="merge" if habit == "merge" else "replace")) as world:
        before, (firm, *_) = rows(world, "companies"), rows(world, "companies")
        fields = {"custom_fields": [{"id": seed.INDUSTRY, "content": ""}, {"id": seed.EMPLOYEES, "content": 1}]}
        answer = await world.operate("update", [{"id": firm, "fields": fields}], resource="companies")
        assert (answer["status"], rows(world, "companies")[firm]["custom_fields"]) == ("applied", {seed.EMPLOYEES: 1})

        report = await world.revert(answer)

        assert (report["status"], rows(world, "companies")) == ("reverted", before)


async def test_a_custom_field_that_was_deleted_meanwhile_keeps_nothing_else_from_going_back(world: World) -> None:
    fields = {"job_title": "Wrong", "custom_fields": [{"id": seed.REGION_SERVED, "content": "ruined"}]}
    answer = await world.operate("update", [{"id": ANN["id"], "fields": fields}])
    await configure(world, retired=[seed.REGION_SERVED])
    world.guard.target("crm").definitions._until.clear()  # type: ignore[attr-defined]  # the model is old by now

    report = await world.revert(answer)

    assert rows(world)[ANN["id"]]["job_title"] == ANN["job_title"]
    assert (report["records_conflicted"], report["records_failed"]) == (1, 0)


async def test_a_record_that_is_created_again_does_without_a_custom_field_that_was_deleted_meanwhile(
    world: World,
) -> None:
    """Guard's copy of the model is some seconds old, and has the field still: Keap's refusal has it read anew."""
    answer = await world.operate("delete", [{"id": ANN["id"]}], accept_irreversible=True)
    await configure(world, retired=[seed.REGION_SERVED])
    world.guard.target("crm").definitions._read["contacts"] -= DEFINITIONS_AGAIN_S  # type: ignore[attr-defined]

    report = await world.revert(answer)

    (recreated,) = report["recreated"]
    assert (report["status"], recreated["fields_lost"]) == ("reverted", [f"custom_fields.{seed.REGION_SERVED}"])
    kept = {name: value for name, value in ANN["custom_fields"].items() if name != seed.REGION_SERVED}
    assert rows(world)[recreated["new_id"]]["custom_fields"] == kept


async def test_a_custom_field_that_was_made_a_minute_ago_is_known_after_one_more_look(world: World) -> None:
    await configure(world, retired=[seed.REGION_SERVED])
    records = [{"id": ANN["id"], "fields": {"custom_fields": [{"id": seed.REGION_SERVED, "content": "Northeast"}]}}]
    refused = await world.operate("update", records, status=422)
    assert refused["code"] == "unknown_field"
    await configure(world, retired=[])
    world.guard.target("crm").definitions._read["contacts"] -= DEFINITIONS_AGAIN_S  # type: ignore[attr-defined]

    answer = await world.operate("update", records)

    assert answer["status"] == "applied"


async def test_a_caller_sees_in_the_headers_how_much_is_left_as_if_there_were_no_guard(tmp_path: Path) -> None:
    async with keap_world(tmp_path, limits=DOCUMENTED) as world:
        reply = await through(world, "PATCH", CONTACT, {"given_name": "Wrong"})
    assert reply.headers["x-keap-product-throttle-limit"] == "240"
    assert reply.headers["x-keap-product-quota-available"].isdecimal()


async def test_the_gateways_refusals_have_a_shape_of_their_own_and_are_understood(world: World) -> None:
    fault = {"fault": {"faultstring": "Rate limit quota violation.", "detail": {"errorcode": "policies.ratelimit"}}}
    await world.fault(kind="status", status=403, body=fault, match={"method": "PATCH"})
    answer = await world.operate("update", [{"id": ANN["id"], "fields": {"job_title": "Wrong"}}], status=422)
    (failure,) = answer["failures"]
    assert (failure["code"], "quota violation" in failure["message"]) == ("target_refused", True)
