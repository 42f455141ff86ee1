"""What HighLevel's handler makes of answers, and which calls it writes with."""

import json
from typing import Any

import jsonschema
import pytest

from guard.core.model import Action, Change, Image, Outcome, Reversibility, Status
from handlers.base import Reply
from handlers.highlevel import HighLevel
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.handlers.vendor_spec import VendorSpec

ID, OTHER = "abcDEF1234567890abcD", "zyxWVU1234567890zyxW"
HANDLER = HighLevel({"location_id": LOCATION_ID})

CONTACT = {
    "id": ID,
    "locationId": LOCATION_ID,
    "firstName": "Ann",
    "firstNameLowerCase": "ann",
    "email": "ann@example.com",
    "dnd": False,
    "tags": ["b", " A "],
    "dateOfBirth": "1990-09-25T00:00:00.000Z",
    "dndSettings": {"SMS": {"status": "active", "message": "", "code": ""}, "Email": {"status": "inactive"}},
    "customFields": [{"id": "cf1", "value": ["x"]}, {"id": "cf2", "value": ""}],
    "additionalEmails": [],
    "city": "",
    "website": None,
}


def reply(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content).encode())


def update(fields: dict[str, Any], resource: str = "contacts", id_: str = ID) -> Change:
    return Change(resource=resource, action=Action.UPDATE, id=id_, fields=fields)


def tagging(id_: str, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> Change:
    named_add, named_remove = ({"tags": names} if names else {} for names in (add, remove))
    return Change(resource="contacts", action=Action.UPDATE, id=id_, add=named_add, remove=named_remove)


def calls(*changes: Change) -> list[tuple[str, str, Any]]:
    """What is sent for these changes, in order: method, path, body."""
    steps = HANDLER.write(changes, [None] * len(changes))
    return [(w.call.method, w.call.path, w.call.body) for step in steps for w in step]


def outcome(change: Change, answer: Reply) -> Outcome:
    (found,) = HANDLER.outcomes([change], answer)
    return found


# Answers to reads


def test_an_image_has_canonical_names_and_leaves_out_what_is_empty() -> None:
    assert HANDLER.images("contacts", [ID], reply(200, {"contact": CONTACT})) == {
        ID: {
            "id": ID,
            "locationId": LOCATION_ID,
            "firstName": "Ann",
            "firstNameLowerCase": "ann",
            "email": "ann@example.com",
            "dnd": False,
            "tags": ["a", "b"],
            "dateOfBirth": "1990-09-25T00:00:00.000Z",
            "dndSettings.SMS": {"status": "active"},
            "customFields.cf1": ["x"],
        }
    }


def test_custom_fields_of_an_opportunity_are_read_in_their_own_shape() -> None:
    found = {"id": ID, "customFields": [{"id": "cf", "fieldValue": 7}], "followers": ["b", "a"], "monetaryValue": 0}

    assert HANDLER.images("opportunities", [ID], reply(200, {"opportunity": found})) == {
        ID: {"id": ID, "customFields.cf": 7, "followers": ["a", "b"], "monetaryValue": 0}
    }


@pytest.mark.parametrize(
    "answer",
    [
        reply(404, {"message": "Contact not found"}),
        reply(400, {"statusCode": 400, "message": "Contact not found", "error": "Bad Request"}),
        reply(400, {"message": ["Contact with id abc not found"]}),
        reply(200, {"contact": {**CONTACT, "deleted": True}}),
    ],
)
def test_a_record_that_is_gone_reads_as_none(answer: Reply) -> None:
    assert HANDLER.images("contacts", [ID], answer) == {ID: None}


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, b"<html>login</html>"),
        Reply(200),
        Reply(200, b'{"contact": {"id"'),
        reply(200, {"contact": {**CONTACT, "id": OTHER}}),
        reply(200, {"contacts": [CONTACT]}),
        reply(400, {"message": "version header is invalid"}),
        reply(401, {"message": "Invalid JWT"}),
        reply(422, {"message": ["x"]}),
        reply(500, {"message": "not found"}),
        Reply(502, b"<html>not found</html>"),
    ],
)
def test_an_answer_that_tells_nothing_reliable_gives_no_image(answer: Reply) -> None:
    assert HANDLER.images("contacts", [ID], answer) == {}


# Answers to writes


@pytest.mark.parametrize(
    "odd",
    [
        {"tags": None},
        {"tags": [None]},
        {"tags": {"a": 1}},
        {"customFields": [None]},
        {"customFields": [1, "id"]},
        {"customFields": {"cf": 1}},
        {"customFields": True},
        {"dndSettings": {"SMS": "active"}},
        {"dndSettings": [1]},
        {"followers": 7},
        {"id": [1]},
        {"id": {"a": 1}},
        {"id": 7},
    ],
)
def test_an_answer_of_odd_shapes_is_no_reason_to_fall_over(odd: dict[str, Any]) -> None:
    for resource, member in (("contacts", "contact"), ("opportunities", "opportunity")):
        answer = reply(200, {member: {**CONTACT, **odd}})
        assert set(HANDLER.images(resource, [ID], answer)) <= {ID}
        for action in (Action.UPDATE, Action.CREATE, Action.DELETE):
            found = outcome(Change(resource=resource, action=action, id=ID), answer)
            assert found.id is None or isinstance(found.id, str)


def test_an_updates_answer_is_its_post_image() -> None:
    found = outcome(update({"firstName": "Ann"}), reply(200, {"succeded": True, "contact": CONTACT}))

    assert (found.status, found.sealed, found.id) == (Status.APPLIED, True, ID)
    assert found.after == HANDLER.images("contacts", [ID], reply(200, {"contact": CONTACT}))[ID]


def test_a_creates_answer_tells_the_id_and_is_read_back() -> None:
    change = Change(resource="contacts", action=Action.CREATE, fields={"email": "a@b.c"})
    found = outcome(change, reply(201, {"contact": {"id": OTHER, "email": "a@b.c"}}))

    assert (found.status, found.sealed, found.id) == (Status.APPLIED, False, OTHER)


def test_an_upsert_that_met_another_record_than_resolved_says_so() -> None:
    hit = outcome(update({"firstName": "x"}), reply(200, {"new": False, "contact": {**CONTACT, "id": OTHER}}))
    met = outcome(
        Change(resource="contacts", action=Action.CREATE, fields={"firstName": "x"}),
        reply(200, {"new": False, "contact": {**CONTACT, "id": OTHER}}),
    )

    for found in (hit, met):
        assert found.failure is not None
        assert (found.failure.code, found.id, found.sealed) == ("other_record", OTHER, False)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (422, b'{"message": ["property x should not exist"]}', (Status.FAILED, "rejected")),
        (400, b'{"message": "Contact not found"}', (Status.FAILED, "not_found")),
        (404, b"{}", (Status.FAILED, "not_found")),
        (401, b'{"message": "Invalid JWT"}', (Status.FAILED, "target_refused")),
        (429, b"{}", (Status.FAILED, "rate_limited")),
        (500, b'{"message": "Internal"}', (Status.UNKNOWN, "vendor_error")),
        (500, b"", (Status.UNKNOWN, "no_answer")),
        (502, b"<html></html>", (Status.UNKNOWN, "no_answer")),
        (504, b'{"message": "Endpoint request timed out"}', (Status.UNKNOWN, "no_answer")),
        (403, b"<html>blocked</html>", (Status.UNKNOWN, "no_answer")),
        (200, b"", (Status.UNKNOWN, "no_answer")),
        (200, b"<html></html>", (Status.UNKNOWN, "no_answer")),
        (200, b'{"succeded": false}', (Status.UNKNOWN, "no_answer")),
        (201, b'{"succeded": true, "errorCount": 1, "responses": []}', (Status.UNKNOWN, "no_answer")),
    ],
)
def test_only_what_the_vendor_itself_refused_counts_as_not_done(
    status: int, body: bytes, expected: tuple[Status, str]
) -> None:
    found = outcome(update({"city": "x"}), Reply(status, body))

    assert found.failure is not None
    assert (found.status, found.failure.code) == expected


def test_a_refusal_is_told_in_the_vendors_words() -> None:
    found = outcome(update({}), reply(422, {"message": ["phone must be valid", "property x should not exist"]}))

    assert found.failure is not None
    assert "phone must be valid; property x should not exist" in found.failure.message


def test_a_bulk_tag_answer_is_read_record_by_record() -> None:
    told = [
        {"contactId": ID, "type": "success"},
        {"contactId": OTHER, "message": "contact is deleted", "type": "error"},
    ]
    answer = reply(201, {"succeded": True, "errorCount": 1, "responses": told})

    found = HANDLER.outcomes([tagging(ID, add=("a",)), tagging(OTHER, add=("a",))], answer)

    assert [each.status for each in found] == [Status.APPLIED, Status.FAILED]


# Writes


def test_equal_lists_of_tags_go_in_one_call_and_never_more_than_a_hundred_ids() -> None:
    some = [tagging(f"contact{n}", add=("a", "b")) for n in range(250)]

    sent = calls(*some)

    assert [path for _, path, _ in sent] == ["/contacts/bulk/tags/update/add"] * 3
    assert [len(body["contacts"]) for _, _, body in sent] == [100, 100, 50]
    assert all(body["tags"] == ["a", "b"] and body["locationId"] == LOCATION_ID for _, _, body in sent)


def test_lists_of_tags_that_differ_go_tag_by_tag_where_that_is_fewer() -> None:
    subsets = [("a",), ("b",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    sent = calls(*(tagging(f"c{n}", add=tags) for n, tags in enumerate(subsets)))

    assert sorted((body["tags"], body["contacts"]) for _, _, body in sent) == [
        (["a"], ["c0", "c2", "c3", "c5"]),
        (["b"], ["c1", "c2", "c4", "c5"]),
        (["c"], ["c3", "c4", "c5"]),
    ]


def test_every_change_is_carried_by_the_calls_that_name_it() -> None:
    changes = [tagging("c0", add=("a",), remove=("b",)), update({"city": "X"}, id_="c1"), tagging("c2", add=("a",))]

    carried = [(w.call.path, w.positions) for step in HANDLER.write(changes, [None] * len(changes)) for w in step]

    assert carried == [
        ("/contacts/bulk/tags/update/add", (0, 2)),
        ("/contacts/bulk/tags/update/remove", (0,)),
        ("/contacts/c1", (1,)),
    ]


def test_a_run_that_touched_both_resources_writes_each_by_its_own_calls() -> None:
    sent = calls(update({"city": "X"}), update({"name": "Y"}, "opportunities", OTHER))

    assert sorted((method, path) for method, path, _ in sent) == [
        ("PUT", f"/contacts/{ID}"),
        ("PUT", f"/opportunities/{OTHER}"),
    ]


def test_businesses_are_set_in_bulk_and_cleared_with_null() -> None:
    sent = calls(
        update({"businessId": "b"}), update({"businessId": "b"}, id_=OTHER), update({"businessId": None}, id_="c")
    )

    assert [(path, body["ids"], body["businessId"]) for _, path, body in sent] == [
        ("/contacts/bulk/business", [ID, OTHER], "b"),
        ("/contacts/bulk/business", ["c"], None),
    ]


def test_an_update_carries_custom_fields_in_the_shape_of_a_write() -> None:
    assert calls(update({"customFields.cf1": ["x"], "customFields.cf2": None, "city": "X"})) == [
        (
            "PUT",
            f"/contacts/{ID}",
            {
                "city": "X",
                "customFields": [{"id": "cf1", "field_value": ["x"]}, {"id": "cf2", "field_value": ""}],
            },
        )
    ]


def test_a_birthday_that_was_read_as_a_time_is_written_as_a_day() -> None:
    ((_, _, body),) = calls(update({"dateOfBirth": "1990-09-25T00:00:00.000Z"}))

    assert body == {"dateOfBirth": "1990-09-25"}


def test_restored_dnd_settings_name_every_channel() -> None:
    ((_, _, body),) = calls(update({"dndSettings.SMS": {"status": "active"}}))

    assert set(body["dndSettings"]) == {"Call", "Email", "SMS", "WhatsApp", "GMB", "FB"}
    assert body["dndSettings"]["SMS"] == {"status": "active"}
    assert body["dndSettings"]["Email"] == {"status": "inactive"}


def test_status_and_lost_reason_go_before_the_other_fields() -> None:
    change = update({"status": "lost", "lostReasonId": "r", "name": "x"}, "opportunities")

    assert calls(change) == [
        ("PUT", f"/opportunities/{ID}/status", {"status": "lost", "lostReasonId": "r"}),
        ("PUT", f"/opportunities/{ID}", {"name": "x"}),
    ]


def restoring(image: dict[str, Any], resource: str) -> list[Change]:
    """Everything a revert may ask for: every field back, every field emptied, the record created again."""
    names = {name: value for name, value in image.items() if name not in HANDLER.resources[resource].volatile}
    created = Change(resource=resource, action=Action.CREATE, fields=names, origin=ID)
    return [update(names, resource), update(dict.fromkeys(names), resource), created]


FULL_CONTACT = {
    **CONTACT,
    **dict.fromkeys("lastName phone address1 state postalCode website timezone source country assignedTo".split(), "x"),
    **dict.fromkeys("companyName keyword ssn type gender visitorId businessId city".split(), "x"),
    "dnd": True,
    "inboundDndSettings": {"all": {"status": "active", "message": "m"}},
    "dateAdded": "2025-01-06T08:00:00.000Z",
    "followers": ["u"],
    "attachments": ["x"],
    "additionalEmails": [{"email": "b@example.com"}],
}
FULL_OPPORTUNITY = {
    "id": ID,
    "locationId": LOCATION_ID,
    "contactId": OTHER,
    "name": "Deal",
    "monetaryValue": 7,
    "pipelineId": "p",
    "pipelineStageId": "s",
    "assignedTo": "u",
    "status": "lost",
    "lostReasonId": "r",
    "source": "referral",
    "followers": ["u"],
    "customFields": [{"id": "cf", "fieldValue": "x"}],
    "createdAt": "2025-01-06T08:00:00.000Z",
    "externalObjectId": "e",
}
READONLY = {"id", "emailLowerCase", "firstNameLowerCase", "additionalEmails", "visitorId", "attachments", "dateAdded"}


def full_image(resource: str) -> dict[str, Any]:
    found: dict[str, Any] = FULL_CONTACT if resource == "contacts" else FULL_OPPORTUNITY
    member = "contact" if resource == "contacts" else "opportunity"
    image = HANDLER.images(resource, [ID], reply(200, {member: found}))[ID]
    assert image is not None
    return dict(image)


@pytest.mark.parametrize("resource", ["contacts", "opportunities"])
def test_whatever_is_restored_no_read_only_key_is_written(resource: str) -> None:
    never_changed = {"locationId", "gender"} if resource == "contacts" else {"locationId", "contactId", "source"}
    for change in restoring(full_image(resource), resource):
        for method, _, body in calls(change):
            assert not set(body or {}) & (READONLY | (never_changed if method == "PUT" else set()))


@pytest.mark.parametrize("resource", ["contacts", "opportunities"])
def test_every_body_is_one_that_the_vendors_own_schema_allows(spec: VendorSpec, resource: str) -> None:
    restored, _, created = restoring(full_image(resource), resource)
    for change in (restored, created):
        for method, path, body in calls(change):
            jsonschema.validate(body, spec.body(method, path))


@pytest.mark.parametrize(
    ("resource", "name"),
    [("contacts", name) for name in "postalCode country dnd assignedTo dateOfBirth email tags dndSettings.SMS".split()]
    + [("opportunities", name) for name in ("assignedTo", "monetaryValue", "customFields.cf")],
)
def test_a_field_is_cleared_with_a_value_of_its_own_type(spec: VendorSpec, resource: str, name: str) -> None:
    ((method, path, body),) = calls(update({name: None}, resource))

    jsonschema.validate(body, spec.body(method, path))


# Comparing, and what can be taken back


@pytest.mark.parametrize(
    ("name", "asked", "found", "expected"),
    [
        ("phone", "+1 (888) 888-8888", "+18888888888", True),
        ("phone", "(888) 888-8888", "+18888888888", True),
        ("phone", "+18888888888", "+18888888889", False),
        ("email", " Ann@Example.COM ", "ann@example.com", True),
        ("email", "ann@example.com", "ben@example.com", False),
        ("dateOfBirth", "1990/09/25", "1990-09-25", True),
        ("dateOfBirth", "09-25-1990", "1990-09-25", True),
        ("dateOfBirth", "1990-09-25", "1990-09-25T00:00:00.000Z", True),
        ("dateOfBirth", "1990-09-25", "1990-09-26", False),
        ("city", " Berlin ", "Berlin", True),
        ("city", "", None, True),
        ("city", None, "Berlin", False),
        ("customFields.cf", "90000", 90000, True),
        ("customFields.cf", [], None, True),
        ("dnd", False, None, False),
    ],
)
def test_values_are_the_same_on_the_vendors_terms(name: str, asked: Any, found: Any, expected: bool) -> None:
    assert HANDLER.same("contacts", name, asked, found) is expected


@pytest.mark.parametrize(
    ("resource", "asked", "derived"),
    [
        ("contacts", "name", {"firstName", "lastName"}),
        ("contacts", "email", {"additionalEmails"}),
        ("contacts", "city", set()),
        ("opportunities", "status", {"lostReasonId"}),
        ("opportunities", "pipelineId", {"pipelineStageId"}),
    ],
)
def test_what_the_vendor_derives_from_a_field_belongs_to_the_change(
    resource: str, asked: str, derived: set[str]
) -> None:
    assert HANDLER.touches(update({asked: "x"}, resource)) == {asked} | derived


@pytest.mark.parametrize(
    ("change", "before", "level"),
    [
        (update({"city": "x"}), {"city": "y"}, Reversibility.FULL),
        (Change(resource="contacts", action=Action.CREATE, fields={"email": "x"}), None, Reversibility.FULL),
        (Change(resource="contacts", action=Action.DELETE, id=ID), {"id": ID}, Reversibility.PARTIAL),
        (Change(resource="contacts", action=Action.UPDATE, id=ID), {"id": ID}, Reversibility.NONE),
        (update({"email": "b"}), {"email": "a"}, Reversibility.FULL),
        (update({"email": "b"}), {"email": "a", "additionalEmails": [{"email": "b"}]}, Reversibility.PARTIAL),
        (update({"email": "A "}), {"email": "a", "additionalEmails": [{"email": "b"}]}, Reversibility.FULL),
        (update({"contactId": "b"}, "opportunities"), {"contactId": "a"}, Reversibility.PARTIAL),
        (update({"source": "b"}, "opportunities"), {"source": "a"}, Reversibility.PARTIAL),
        (update({"contactId": "a"}, "opportunities"), {"contactId": "a"}, Reversibility.FULL),
        (tagging(ID, add=("a",)), {"tags": []}, Reversibility.FULL),
    ],
)
def test_how_far_a_change_can_be_taken_back(change: Change, before: Image, level: Reversibility) -> None:
    found = HANDLER.reversal(change, before)

    assert found.level is level
    assert bool(found.reason) == (level is not Reversibility.FULL)
