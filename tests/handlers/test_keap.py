"""What Keap's handler makes of callers' records and of Keap's answers, without a Guard."""

import json
from typing import Any

import pytest

from guard.core.errors import Refused
from guard.core.model import Action, Change, Failure, Image, Reversibility, Status
from handlers.base import OTHER_RECORD, Reply, Request
from handlers.keap import Keap
from handlers.keap.kinds import KINDS, RESOURCES, SLOTS
from tests.handlers import keap_spec
from tests.handlers.vendor_spec import VendorSpec, required

KEAP = Keap({})
SCHEMAS = {
    "contacts": ("CreateUpdateContactRequest", "Contact"),
    "companies": ("UpdateCompanyRequest", "Company"),
    "opportunities": ("UpdateOpportunityRequestV2", "RestV2Opportunity"),
    "notes": ("UpdateNoteRequest", "Note"),
    "tasks": ("CreateUpdateTaskRequest", "Task"),
}
NOT_TAKEN_BACK = {"origin", "utm_parameters"}


@pytest.fixture(scope="session")
def file() -> VendorSpec:
    return required(keap_spec.load())


def properties(file: VendorSpec, name: str) -> dict[str, Any]:
    found: dict[str, Any] = file.documents[keap_spec.FILE]["components"]["schemas"][name]["properties"]
    return found


def update(fields: Any, resource: str = "contacts") -> Change:
    return KEAP.change(resource, "update", {"id": "1", "fields": fields})


def passed(body: Any, method: str = "PATCH", path: str = "/rest/v2/contacts/1", **query: str) -> list[Change]:
    found = KEAP.route(method, path)
    assert found is not None
    return KEAP.changes(found[0], Request(method, path, found[1], query, {}, body))


def patch(change: Change, before: Image = None) -> dict[str, Any]:
    ((write,),) = KEAP.write([change], [before])
    body: dict[str, Any] = write.call.body
    return body


def answered(content: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(content).encode())


# --- against the vendor's file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", KINDS)
def test_what_is_written_is_what_the_vendors_file_takes_but_for_what_nobody_takes_back(
    file: VendorSpec, resource: str
) -> None:
    assert KINDS[resource].writable == properties(file, SCHEMAS[resource][0]).keys() - NOT_TAKEN_BACK


@pytest.mark.parametrize("resource", KINDS)
def test_what_is_asked_for_and_relied_upon_is_in_the_vendors_file(file: VendorSpec, resource: str) -> None:
    kind, read = KINDS[resource], properties(file, SCHEMAS[resource][1])
    assert set(kind.show.split(",")) | kind.shown | kind.kept | {kind.created} <= read.keys()


def test_members_of_lists_are_written_as_the_vendors_file_has_them(file: VendorSpec) -> None:
    names = {
        "email_addresses": "EmailAddressRequest",
        "phone_numbers": "PhoneNumber",
        "fax_numbers": "FaxNumber",
        "social_accounts": "SocialAccount",
        "addresses": "Address",
    }
    for group, name in names.items():
        key, _, parts = SLOTS[group]
        assert {key, *parts} == properties(file, name).keys() - {"opt_in_reason", "number_e164"}


def test_every_route_is_one_of_the_vendors(file: VendorSpec) -> None:
    known = {(method, path.count("/"), path.rpartition("/")[2].rpartition(":")[2]) for method, path in file.writes()}
    for route in KEAP.routes:
        last = route.path.rpartition("/")[2].rpartition(":")[2]
        assert any(
            (method, depth) == (route.method, route.path.count("/")) and (last == end or last[0] == end[0] == "{")
            for method, depth, end in known
        ), route


# --- what callers may ask ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tag_ids", "score_value", "create_time", "id", "groups", "links", "last_updated_by"])
def test_what_keap_keeps_itself_is_refused_by_both_doors(name: str) -> None:
    with pytest.raises(Refused, match=name):
        update({name: "1"})
    with pytest.raises(Refused, match=name):
        passed({name: "1"})


@pytest.mark.parametrize(
    "fields",
    [
        {"custom_fields": {"7": "x"}},
        {"custom_fields": [{"content": "x"}]},
        {"email_addresses": [{"email": "a@example.com"}]},
        {"email_addresses": [{"field": "EMAIL1", "email": "a@example.com"}] * 2},
        {"phone_numbers": "5125550100"},
        {"company": {"company_name": "Who knows"}},
        {"utm_parameters": {"keap_source_id": "1"}},
        {"origin": {"ip_address": "127.0.0.1"}},
        {"addresses.BILLING": "Main Street"},
        {},
        [],
    ],
    ids=str,
)
def test_what_cannot_be_understood_or_taken_back_is_refused_by_both_doors(fields: Any) -> None:
    with pytest.raises(Refused):
        update(fields)
    with pytest.raises(Refused):
        passed(fields)


def test_a_list_of_a_passed_request_is_the_whole_of_it_and_one_of_the_bulk_door_is_not() -> None:
    given = {"custom_fields": [{"id": "7", "content": "x"}]}
    before = {"custom_fields.7": "a", "custom_fields.9": 5}
    assert update(given).fields == {"custom_fields.7": "x"}
    (change,) = passed(given)
    assert KEAP.completed(change, before).fields == {"custom_fields.7": "x", "custom_fields.9": None}
    assert KEAP.completed(KEAP.completed(change, before), before) == KEAP.completed(change, before)
    emptied = KEAP.completed(update({"custom_fields": []}), before)
    assert emptied.fields == {"custom_fields.7": None, "custom_fields.9": None}


def test_a_csv_has_texts_only_and_a_column_for_each_member() -> None:
    fields = {"custom_fields.7": "x", "email_addresses.EMAIL1": "a@example.com", "phone_numbers.PHONE2": ""}
    assert update(fields).fields == {
        "custom_fields.7": "x",
        "email_addresses.EMAIL1": {"email": "a@example.com"},
        "phone_numbers.PHONE2": None,
    }
    typed = update({"projected_revenue_low": "12.5", "include_in_forecast": "true", "contact_id": 5}, "opportunities")
    assert typed.fields == {"projected_revenue_low": 12.5, "include_in_forecast": True, "contact_id": "5"}
    for wrong in ("nan", "many"):
        with pytest.raises(Refused):
            update({"projected_revenue_low": wrong}, "opportunities")
    tags = KEAP.change("contacts", "tags.add", {"id": "1", "tags": "91, 93"})
    assert tags.add == {"tag_ids": ("91", "93")}


def test_a_mask_that_names_what_the_body_lacks_is_refused() -> None:
    assert passed({"given_name": "A", "job_title": "B"}, update_mask="given_name")[0].fields == {"given_name": "A"}
    with pytest.raises(Refused, match="job_title"):
        passed({"given_name": "A"}, update_mask="given_name,job_title")


def test_a_way_of_looking_for_duplicates_that_is_not_known_is_refused() -> None:
    with pytest.raises(Refused):
        passed({"given_name": "A"}, "POST", "/rest/v2/contacts", duplicate_option="Phone")


def test_a_note_belongs_to_a_contact() -> None:
    with pytest.raises(Refused, match="contact_id"):
        KEAP.change("notes", "create", {"fields": {"title": "Called"}})
    (change,) = passed({"title": "Called", "user_id": "1"}, "POST", "/rest/v2/contacts/5/notes")
    assert (change.action, change.fields["contact_id"]) == (Action.CREATE, "5")


@pytest.mark.parametrize(
    ("before", "level"),
    [({"lists_not_shown": ["phone_numbers"]}, Reversibility.PARTIAL), ({}, Reversibility.FULL)],
)
def test_what_a_list_held_that_was_not_shown_cannot_be_put_back(before: Image, level: Reversibility) -> None:
    assert KEAP.reversal(update({"phone_numbers.PHONE1": "5125550100"}), before).level is level
    assert KEAP.reversal(update({"given_name": "A"}), before).level is Reversibility.FULL


# --- what leaves for Keap ----------------------------------------------------------------------------------------


def test_ids_are_read_by_the_hundred_and_companies_one_by_one() -> None:
    ids = [str(n) for n in range(250)]
    assert [len(each) for _, each in KEAP.read("tasks", ids)] == [100, 100, 50]
    assert len(KEAP.read("companies", ids)) == 250


def test_tags_take_one_call_for_each_tag_and_each_hundred_contacts() -> None:
    changes = [KEAP.change("contacts", "tags.add", {"id": str(n), "tags": ["91", "93"]}) for n in range(250)]
    (step,) = KEAP.write(changes, [{}] * 250)
    assert [(write.call.path[-27:], len(write.positions)) for write in step] == [
        (f"/tags/{tag}/contacts:applyTags", count) for tag in ("91", "93") for count in (100, 100, 50)
    ]
    assert step[1].call.body["contact_ids"] == [str(n) for n in range(100, 200)]


def test_a_member_that_is_written_goes_with_all_that_are_there_without_what_is_keaps_own() -> None:
    before = {
        "email_addresses.EMAIL1": {"email": "a@example.com"},
        "email_opt_status.EMAIL1": "SINGLE_OPT_IN",
        "addresses.BILLING": {"line1": "1 Main", "region": "Arizona"},
    }
    fields = {"email_addresses.EMAIL2": "b@example.com", "addresses.OTHER": {"line1": "2 Elm", "country_code": "USA"}}
    assert patch(update(fields), before) == {
        "email_addresses": [
            {"field": "EMAIL1", "email": "a@example.com"},
            {"field": "EMAIL2", "email": "b@example.com"},
        ],
        "addresses": [
            {"field": "BILLING", "line1": "1 Main", "region": "Arizona"},
            {"field": "OTHER", "country_code": "USA", "line1": "2 Elm"},
        ],
    }


def test_a_companys_only_address_keeps_its_slot_and_a_reason_for_opting_in_counts_there_too() -> None:
    change = update({"email_address": {"email": "a@example.com", "field": "EMAIL1", "opt_in_reason": "x"}}, "companies")
    assert change.fields["email_address"] == {"field": "EMAIL1", "email": "a@example.com", "opt_in_reason": "x"}
    assert KEAP.reversal(change, {}).level is Reversibility.PARTIAL
    shown = {
        "email_address": {"email": "a@example.com", "field": "EMAIL1", "is_opt_in": True},
        "address": {"field": "OTHER"},
    }
    images = KEAP.images("companies", ["1"], answered({"companies": [{"id": "1", "custom_fields": [], **shown}]}))
    assert images == {"1": {"id": "1", "email_address": {"field": "EMAIL1", "email": "a@example.com"}}}


def test_long_names_of_countries_and_regions_are_not_written_where_there_are_codes() -> None:
    given = {"field": "BILLING", "country": "United States", "country_code": "USA", "region": "Arizona"}
    assert update({"addresses": [given]}).fields == {"addresses.BILLING": {"country_code": "USA", "region": "Arizona"}}


@pytest.mark.parametrize("title", ["a;contact_id==5", "Call*"])
def test_a_value_that_means_something_else_in_a_filter_is_not_searched_for(title: str) -> None:
    fields = {"contact_id": "5", "title": title}
    assert KEAP.find(Change(resource="notes", action=Action.UPSERT, fields=fields)) is None


# --- what Keap answers -------------------------------------------------------------------------------------------


def test_what_is_left_out_of_a_list_is_gone_only_if_the_list_is_whole_and_what_was_asked_for() -> None:
    one = {"id": "1", "title": "A", "custom_fields": []}
    assert KEAP.images("tasks", ["1", "2"], answered({"tasks": [one]})) == {"1": {"id": "1", "title": "A"}, "2": None}
    going_on = answered({"tasks": [one], "next_page_token": "x"})
    assert KEAP.images("tasks", ["1", "2"], going_on) == {"1": {"id": "1", "title": "A"}}
    assert KEAP.images("tasks", ["2"], answered({"tasks": [one]})) == {}


def test_two_members_that_cannot_be_told_apart_make_a_record_unreadable() -> None:
    twice = [{"type": "FACEBOOK", "name": "a"}, {"type": "FACEBOOK", "name": "b"}]
    assert KEAP.images("contacts", ["1"], answered({"contacts": [{"id": "1", "social_accounts": twice}]})) == {}


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ("SUCCESS", Status.APPLIED, None),
        ("DUPLICATE", Status.APPLIED, None),
        ("CONTACT_NOT_FOUND", Status.FAILED, "not_found"),
        ("TAG_ID_NOT_FOUND", Status.FAILED, "rejected"),
        ("NO_PERMISSION", Status.FAILED, "rejected"),
        ("FAILURE", Status.FAILED, "rejected"),
        ("NEVER_HEARD_OF", Status.UNKNOWN, "no_answer"),
    ],
)
def test_applied_tags_are_told_for_each_contact(told: str, status: Status, code: str | None) -> None:
    change = KEAP.change("contacts", "tags.add", {"id": "1", "tags": ["91"]})
    (outcome,) = KEAP.outcomes([change], answered({"results": {"1": told}}))
    assert (outcome.status, outcome.failure and outcome.failure.code, outcome.sealed) == (status, code, False)


def test_an_answer_that_shows_a_part_is_no_post_image() -> None:
    lists: dict[str, list[Any]] = {name: [] for name in SLOTS}
    change = update({"given_name": "A"})
    (part,) = KEAP.outcomes([change], answered({"id": "1", "given_name": "A", "email_addresses": []}))
    (whole,) = KEAP.outcomes([change], answered({"id": "1", "given_name": "A", "tag_ids": [], **lists}))
    assert (part.status, part.sealed, part.after) == (Status.APPLIED, False, None)
    assert (whole.sealed, whole.after) == (True, {"id": "1", "given_name": "A"})


def test_a_creation_that_is_answered_200_was_an_update_of_somebody_elses_record() -> None:
    create = Change(resource="contacts", action=Action.CREATE, fields={"given_name": "A"})
    assert KEAP.outcomes([create], answered({"id": "5"}, 200))[0].failure == OTHER_RECORD
    assert KEAP.outcomes([create], answered({"id": "5"}, 201))[0].failure is None


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (401, {"fault": {"faultstring": "Invalid Access Token"}}, "target_refused"),
        (429, {"fault": {"faultstring": "Rate limit quota violation."}}, "rate_limited"),
        (404, {"code": 404, "message": "not there"}, "not_found"),
        (409, {"code": 409, "message": "in conflict"}, "rejected"),
        (400, {"code": 400, "message": "Custom field 7 does not exist"}, "unknown_field"),
        (500, {"code": 500, "message": "sorry"}, "vendor_error"),
        (504, {"fault": {"faultstring": "Gateway Timeout"}}, "no_answer"),
    ],
)
def test_refusals_of_the_gateway_and_of_the_api_are_told_apart(status: int, content: Any, code: str) -> None:
    (outcome,) = KEAP.outcomes([update({"given_name": "A"})], answered(content, status))
    assert isinstance(outcome.failure, Failure)
    assert outcome.failure.code == code


def test_of_several_that_are_found_a_creation_is_the_newest_and_an_upsert_none() -> None:
    notes = [
        {"id": str(n), "contact_id": "5", "title": "Call", "create_time": f"2026-01-0{n}T00:00:00.000Z"}
        for n in (1, 3, 2)
    ]
    other = {"id": "9", "contact_id": "5", "title": "Call again", "create_time": "2026-02-01T00:00:00.000Z"}
    reply = answered({"notes": [*notes, other]})  # a title matches anywhere in it
    fields = {"contact_id": "5", "title": "Call"}
    assert KEAP.found(Change(resource="notes", action=Action.CREATE, fields=fields), reply) == "3"
    with pytest.raises(Refused, match="Several"):
        KEAP.found(Change(resource="notes", action=Action.UPSERT, fields=fields), reply)


def test_an_answer_to_model_that_tells_no_fields_teaches_nothing() -> None:
    handler = Keap({})
    assert not handler.learn("contacts", [answered({"custom_fields": None})])
    assert not handler.learn("contacts", [answered({"custom_fields": [{"label": "no id"}]})])
    assert handler.learn("contacts", [answered({"custom_fields": [{"id": "7"}]})])
    with pytest.raises(Refused, match=r"custom_fields\.9"):
        handler.change("contacts", "update", {"id": "1", "fields": {"custom_fields": [{"id": "9", "content": "x"}]}})


@pytest.mark.parametrize(
    ("name", "asked", "found", "same"),
    [
        ("email_addresses.EMAIL1", {"email": " A@Example.com", "opt_in_reason": "x"}, {"email": "a@example.com"}, True),
        ("phone_numbers.PHONE1", {"number": "480 555 0100"}, {"number": "(480) 555-0100", "type": "Work"}, True),
        ("phone_numbers.PHONE1", {"number": "480 555 0100"}, {"number": "(480) 555-0101"}, False),
        ("due_time", "2026-01-31T09:00:00+01:00", "2026-01-31T08:00:00.000Z", True),
        ("due_time", "2026-01-31T09:00:00Z", "2026-01-31T08:00:00.000Z", False),
        ("custom_fields.9", "5", 5, True),
        ("completed", None, False, True),
        ("job_title", "", "Consultant", False),
    ],
)
def test_what_counts_as_the_same(name: str, asked: Any, found: Any, same: bool) -> None:
    assert KEAP.same("contacts", name, asked, found) is same


def test_what_is_never_compared_is_what_changes_by_itself() -> None:
    assert {"update_time", "score_value", "email_opt_status.EMAIL1"} <= RESOURCES["contacts"].volatile
    assert "applied" not in KINDS["contacts"].show


def test_what_hangs_on_a_record_is_told_only_by_a_list_that_is_whole() -> None:
    assert len(KEAP.attachments("contacts", "1")) == 5
    assert KEAP.attached("contacts", answered({"orders": [{"id": "7"}]})) == [("orders", "7")]
    assert KEAP.attached("contacts", answered({"tasks": []})) == []
    for reply in (
        answered({"orders": [{"id": "7"}], "next_page_token": "x"}),
        answered({"orders": [{}]}),
        answered({"orders": []}, 403),
        answered({"companies": []}),
    ):
        assert KEAP.attached("contacts", reply) is None
