"""What HubSpot's handler understands of a request, by either door, and what an answer tells it."""

import re
from typing import Any

import orjson
import pytest

from guard.core.errors import Refused, Unavailable
from guard.core.model import Action, Change, Status
from handlers.base import READ, Reply, Request
from handlers.hubspot import HubSpot
from tests.handlers import hubspot_spec
from tests.handlers.hubspot_account import knowing
from tests.handlers.vendor_spec import VendorSpec, required

HANDLER = knowing()
CONTACTS = "/crm/v3/objects/contacts"
PAIRS = "/crm/v4/associations/contacts/companies/batch"
PRIMARY = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}
HOSTILE_IDS = ("../x", "a/b", "1?b=1", "1#b", "1%2f", "", " ", "1 ", "\u0661", "1\n", 7, ["1"], {"id": "1"}, True, None)

REFUSED = {
    ("POST", "/crm/v3/objects/contacts/merge"),
    ("POST", "/crm/v3/objects/contacts/gdpr-delete"),
    ("POST", "/crm/v4/associations/usage/high-usage-report/{userId}"),
}
"""Nobody takes the first two back; the third makes a report. Definitions are not written either: see below."""


@pytest.fixture(scope="module")
def spec() -> VendorSpec:
    return required(hubspot_spec.load())


def asked(method: str, path: str, body: Any = None, **query: str) -> list[Change]:
    found = HANDLER.route(method, path)
    assert found is not None, (method, path)
    route, params = found
    return HANDLER.changes(route, Request(method, path, params, query, {}, body))


def routed(method: str, path: str) -> str | None:
    """The kind of the route, None: there is none, or it is refused."""
    concrete = re.sub(r"\{\w+\}", "1", re.sub(r"\{(from|to)?[oO]bjectType\}", "contacts", path))
    try:
        found = HANDLER.route(method, concrete)
    except Refused:
        return None
    return found[0].kind if found else None


def test_every_write_of_the_vendors_files_is_routed_or_deliberately_refused(spec: VendorSpec) -> None:
    unrouted = {(method, path) for method, path in spec.writes() if routed(method, path) is None}

    assert {each for each in unrouted if not each[1].startswith("/crm/v3/properties")} == REFUSED


def test_only_the_vendors_searches_and_batch_reads_pass_as_reads(spec: VendorSpec) -> None:
    reads = {path for method, path in spec.writes() if routed(method, path) == READ}

    assert {path.rpartition("/")[2] for path in reads} == {"search", "read"}


def test_no_route_of_ours_is_unknown_to_the_vendor(spec: VendorSpec) -> None:
    paths = [(route.method, re.sub(r"\{\w+\}", "1", route.path)) for route in HANDLER.routes]

    assert all(spec.knows(method, path) for method, path in paths)


@pytest.mark.parametrize("name", ["contacts", "0-1", "contact"])
def test_an_object_type_is_the_same_under_each_of_its_names(name: str) -> None:
    assert asked("DELETE", f"/crm/v3/objects/{name}/7") == [Change(resource="contacts", action=Action.DELETE, id="7")]


def test_a_custom_object_is_known_by_its_name_in_the_settings_and_by_its_type_id() -> None:
    named, unnamed = (
        HANDLER.route("DELETE", "/crm/v3/objects/2-1001/7"),
        HANDLER.route("DELETE", "/crm/v3/objects/2-5/7"),
    )

    assert named is not None
    assert unnamed is not None
    assert (named[0].resource, unnamed[0].resource) == ("cars", "2-5")
    assert "2-5" in HANDLER.resources
    assert HANDLER.resources["2-5"].name == "2-5"
    assert HANDLER.route("DELETE", "/crm/v3/objects/line_items/7") is None
    assert "line_items" not in HANDLER.resources


@pytest.mark.parametrize(
    ("method", "path", "body", "changes"),
    [
        ("POST", CONTACTS, {"properties": {"zip": "1"}}, [(Action.CREATE, None, {"zip": "1"})]),
        ("PATCH", f"{CONTACTS}/7", {"properties": {"zip": ""}}, [(Action.UPDATE, "7", {"zip": ""})]),
        (
            "POST",
            f"{CONTACTS}/batch/update",
            {"inputs": [{"id": "7", "properties": {"zip": "1"}}, {"id": "8", "properties": {"city": "X"}}]},
            [(Action.UPDATE, "7", {"zip": "1"}), (Action.UPDATE, "8", {"city": "X"})],
        ),
        (
            "POST",
            f"{CONTACTS}/batch/update",
            {"inputs": [{"id": "A@b.c", "idProperty": "email", "properties": {"zip": "1"}}]},
            [(Action.UPSERT, None, {"email": "A@b.c", "zip": "1"})],
        ),
        (
            "POST",
            f"{CONTACTS}/batch/upsert",
            {"inputs": [{"id": "C-1", "idProperty": "candidate_number", "properties": {"email": "a@b.c"}}]},
            [(Action.UPSERT, None, {"candidate_number": "C-1", "email": "a@b.c"})],
        ),
        ("POST", f"{CONTACTS}/batch/archive", {"inputs": [{"id": "7"}]}, [(Action.DELETE, "7", {})]),
    ],
)
def test_the_pass_through_makes_one_change_for_each_record(
    method: str, path: str, body: Any, changes: list[tuple[Action, str | None, dict[str, Any]]]
) -> None:
    made = [Change(resource="contacts", action=action, id=id_, fields=fields) for action, id_, fields in changes]

    assert asked(method, path, body) == made


def test_an_upsert_is_searched_by_the_property_that_it_names_and_not_by_another() -> None:
    body = {"inputs": [{"id": "C-1", "idProperty": "candidate_number", "properties": {"email": "a@b.c"}}]}
    call = HANDLER.find(asked("POST", f"{CONTACTS}/batch/upsert", body)[0])

    assert call is not None
    assert (call.body["idProperty"], call.body["inputs"]) == ("candidate_number", [{"id": "C-1"}])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{CONTACTS}/batch/update", None),
        (f"{CONTACTS}/batch/update", {"inputs": []}),
        (f"{CONTACTS}/batch/update", {"inputs": [{"id": str(n), "properties": {"zip": "1"}} for n in range(101)]}),
        (f"{CONTACTS}/batch/update", {"inputs": [{"id": "1", "properties": {}}]}),
        (f"{CONTACTS}/batch/update", {"inputs": [{"id": "1", "properties": {"zip": ["1"]}}]}),
        (f"{CONTACTS}/batch/update", {"inputs": [{"id": "a", "idProperty": [None], "properties": {"zip": "1"}}]}),
        (f"{CONTACTS}/batch/update", {"inputs": [{"id": "a", "idProperty": "city", "properties": {"zip": "1"}}]}),
        (f"{CONTACTS}/batch/upsert", {"inputs": [{"id": "a@b.c", "properties": {"zip": "1"}}]}),
        (f"{CONTACTS}/batch/upsert", {"inputs": [{"id": " ", "idProperty": "email", "properties": {"zip": "1"}}]}),
        (f"{CONTACTS}/batch/create", {"inputs": [{"properties": {"createdate": "1"}}]}),
        (CONTACTS, {"zip": "1"}),
        (f"{PAIRS}/create", {"inputs": []}),
        (f"{PAIRS}/create", {"inputs": [{"from": {"id": "1"}, "to": {"id": "2"}, "types": []}]}),
        (f"{PAIRS}/create", {"inputs": [{"from": {"id": "1"}, "to": {"id": "2"}, "types": [{}]}]}),
        (f"{PAIRS}/archive", {"inputs": [{"from": {"id": "1"}, "to": {"id": "2"}}]}),
    ],
)
def test_what_the_vendor_would_refuse_or_that_cannot_be_understood_is_refused(path: str, body: Any) -> None:
    with pytest.raises(Refused):
        asked("POST", path, body)


@pytest.mark.parametrize("id_", HOSTILE_IDS, ids=ascii)
def test_hostile_ids_in_a_body_are_refused(id_: Any) -> None:
    for path, body in {
        f"{CONTACTS}/batch/update": {"id": id_, "properties": {"zip": "1"}},
        f"{CONTACTS}/batch/archive": {"id": id_},
        f"{PAIRS}/create": {"from": {"id": id_}, "to": {"id": "1"}, "types": [PRIMARY]},
        f"{PAIRS}/archive": {"from": {"id": "1"}, "to": [{"id": id_}]},
    }.items():
        with pytest.raises(Refused):
            asked("POST", path, {"inputs": [body]})


@pytest.mark.parametrize(
    "id_", ["1", "contacts:1", "contacts::companies", "con/tacts:1:companies", "contacts:1:..", "a:1:b:c", None, 7]
)
def test_the_id_of_a_records_links_names_both_object_types_and_nothing_else(id_: Any) -> None:
    with pytest.raises(Refused):
        HANDLER.change("associations", "links.add", {"id": id_, "links": ["2/HUBSPOT_DEFINED/1"]})


def test_the_bulk_door_takes_links_by_any_name_of_an_object_type_and_as_one_cell_of_a_csv() -> None:
    change = HANDLER.change(
        "associations", "links.remove", {"id": "0-1:1:company", "links": "2/HUBSPOT_DEFINED/1,2/USER_DEFINED/28"}
    )

    assert (change.id, dict(change.remove)) == (
        "contacts:1:companies",
        {"links": ("2/HUBSPOT_DEFINED/1", "2/USER_DEFINED/28")},
    )
    for links in (None, [], "", ["2"], ["2/X/1"], [7]):
        with pytest.raises(Refused):
            HANDLER.change("associations", "links.add", {"id": "contacts:1:companies", "links": links})


def test_the_bulk_door_sends_to_the_contacts_side_what_may_change_its_primary_company() -> None:
    with pytest.raises(Refused, match="contacts:…:companies"):
        HANDLER.change("associations", "links.add", {"id": "companies:1:contacts", "links": ["2/HUBSPOT_DEFINED/2"]})


def test_values_become_the_texts_that_hubspot_takes() -> None:
    given = {"salary_expectation": 5.0, "relocates": False, "zip": None, "city": "X", "notice_period": 3}
    change = HANDLER.change("contacts", "update", {"id": "1", "fields": given})

    assert dict(change.fields) == {
        "salary_expectation": "5",
        "relocates": "false",
        "zip": "",
        "city": "X",
        "notice_period": "3",
    }


@pytest.mark.parametrize(
    ("name", "asked_for", "found", "expected"),
    [
        ("email", " Ann@Example.ORG ", "ann@example.org", True),
        ("salary_expectation", "5", "5.0", True),
        ("salary_expectation", "5", "6", False),
        ("salary_expectation", "much", "much more", False),
        ("skills", "sql;java", "java;sql", True),
        ("skills", ";sql", "java;sql", True),
        ("skills", "sql", "java;sql", False),
        ("relocates", "TRUE", "true", True),
        ("available_from", "1767225600000", "2026-01-01", True),
        ("available_from", "2026-01-01T00:00:00Z", "2026-01-01", True),
        ("available_from", "2026-01-02", "2026-01-01", False),
        ("city", "", None, True),
        ("city", "Berlin", None, False),
        ("city", "", "Berlin", False),
        ("city", " Berlin ", "Berlin", True),
        ("city", "berlin", "Berlin", False),
    ],
)
def test_values_are_compared_as_hubspot_keeps_them(
    name: str, asked_for: str, found: str | None, expected: bool
) -> None:
    assert HANDLER.same("contacts", name, asked_for, found) is expected


def test_a_handler_that_has_read_no_definitions_reads_and_writes_nothing() -> None:
    handler = HubSpot({})
    with pytest.raises(Unavailable):
        handler.change("contacts", "update", {"id": "1", "fields": {"zip": "1"}})
    with pytest.raises(Unavailable):
        handler.read("contacts", ["1"])


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"results": []}', b'{"results": [1]}', b'{"results": [{"label": "x"}]}']
)
def test_definitions_that_tell_nothing_leave_what_was_known(body: bytes) -> None:
    handler = knowing()

    assert not handler.learn("contacts", [Reply(200, body)])
    assert handler.change("contacts", "update", {"id": "1", "fields": {"zip": "1"}})


@pytest.mark.parametrize(
    "options",
    [{"token": "x"}, {"objects": "cars"}, {"objects": "cars=0-1"}, {"objects": "deals=2-1"}, {"objects": "=2-1"}],
)
def test_options_are_checked_when_guard_starts(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="objects"):
        HubSpot(options)


# Answers


def batch(status: int, results: list[Any], errors: list[Any] | None = None) -> Reply:
    told = {} if errors is None else {"numErrors": len(errors), "errors": errors}
    return Reply(status, orjson.dumps({"status": "COMPLETE", "results": results, **told}))


def error(message: str, **context: list[str]) -> dict[str, Any]:
    return {"status": "error", "category": "VALIDATION_ERROR", "message": message, "context": context}


def updates(*ids: str) -> list[Change]:
    return [Change(resource="contacts", action=Action.UPDATE, id=id_, fields={"zip": "1"}) for id_ in ids]


def test_each_creation_of_a_batch_is_traced_for_its_values_may_come_back_rewritten() -> None:
    created = [
        Change(resource="contacts", action=Action.CREATE, fields={"email": f"{n}@b.c", "phone": f"0{n}"})
        for n in (1, 2)
    ]
    ((write,),) = HANDLER.write(created, [None, None])
    traces = [each["objectWriteTraceId"] for each in write.call.body["inputs"]]
    results = [
        {"id": f"10{n}", "properties": {"email": f"{n}@b.c", "phone": f"+490{n}"}, "objectWriteTraceId": traces[n - 1]}
        for n in (2, 1)
    ]

    assert [each.id for each in HANDLER.outcomes(created, batch(201, results))] == ["101", "102"]


def test_a_change_of_nothing_that_can_be_written_is_no_call() -> None:
    change = Change(resource="contacts", action=Action.UPDATE, id="1", fields={"createdate": "1", "gone": "2"})

    assert HANDLER.write([change], [{}]) == []


@pytest.mark.parametrize("status", [302, 400, 404, 409, 429, 500, 502])
def test_only_what_hubspot_itself_refused_was_certainly_not_done(status: int) -> None:
    said = Reply(status, orjson.dumps({"status": "error", "category": "X", "message": "No."}))
    (told,), (page,) = (HANDLER.outcomes(updates("1"), each) for each in (said, Reply(status, b"<html>")))

    assert (told.status is Status.FAILED, page.status) == (400 <= status < 500, Status.UNKNOWN)


def test_an_error_that_names_no_record_is_that_of_the_one_that_is_named_nowhere() -> None:
    told = HANDLER.outcomes(updates("1", "2"), batch(207, [{"id": "2", "properties": {"zip": "1"}}], [error("No.")]))

    assert [each.status for each in told] == [Status.FAILED, Status.APPLIED]


def test_where_errors_and_records_cannot_be_told_apart_the_record_is_in_doubt() -> None:
    told = HANDLER.outcomes(updates("1", "2", "3"), batch(207, [], [error("No."), error("Nor this.")]))

    assert [each.status for each in told] == [Status.UNKNOWN] * 3


def test_an_upsert_that_went_to_another_record_than_was_found_says_so() -> None:
    change = Change(resource="contacts", action=Action.UPDATE, id="1", fields={"email": "a@b.c"})
    other = {"id": "9", "properties": {"email": "a@b.c"}}

    (went,) = HANDLER.outcomes([change], batch(200, [{**other, "new": False}]))
    (made,) = HANDLER.outcomes([change], batch(200, [{**other, "new": True}]))

    assert went.failure is not None
    assert made.failure is not None
    assert (went.failure.code, made.failure.code) == ("other_record", "created_instead")


def test_links_that_do_not_fit_one_page_are_not_taken_for_all_of_them() -> None:
    link = {"toObjectId": 2, "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": 1, "label": None}]}
    result = {"from": {"id": "1"}, "to": [link]}
    mine = "contacts:1:companies"

    assert HANDLER.images("associations", [mine], batch(200, [result])) == {mine: {"links": ["2/HUBSPOT_DEFINED/1"]}}
    assert HANDLER.images("associations", [mine], batch(200, [{**result, "paging": {"next": {"after": "x"}}}])) == {}
