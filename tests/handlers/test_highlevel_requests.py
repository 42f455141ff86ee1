"""What HighLevel's handler understands of a request, by either door: routes and changes."""

import re
from typing import Any

import pytest

from guard.core.errors import Refused
from guard.core.model import Action, Change
from handlers.base import READ, Request
from handlers.highlevel import HighLevel
from tests.handlers.vendor_spec import VendorSpec

ID, OTHER = "abcDEF1234567890abcD", "zyxWVU1234567890zyxW"

REFUSED = {
    # A contact's notes, tasks and followers are not in its image, so a write to them could not be taken back.
    ("POST", "/contacts/{contactId}/tasks"),
    ("PUT", "/contacts/{contactId}/tasks/{taskId}"),
    ("DELETE", "/contacts/{contactId}/tasks/{taskId}"),
    ("PUT", "/contacts/{contactId}/tasks/{taskId}/completed"),
    ("POST", "/contacts/{contactId}/notes"),
    ("PUT", "/contacts/{contactId}/notes/{id}"),
    ("DELETE", "/contacts/{contactId}/notes/{id}"),
    ("POST", "/contacts/{contactId}/followers"),
    ("DELETE", "/contacts/{contactId}/followers"),
}
READS = {("POST", "/contacts/search"), ("POST", "/opportunities/search")}

HOSTILE_IDS = ("../contacts/x", "a/b", "a?b=1", "a#b", "a%2fb", "", " ", "a b", "é", "a\n", 7, ["a"], {"id": "a"}, True)
ACTIONS = [(resource, action) for resource, actions in HighLevel.actions.items() for action in actions]


def asked(handler: HighLevel, method: str, path: str, body: Any = None, **headers: str) -> list[Change]:
    """The changes of one of the vendor's own requests."""
    found = handler.route(method, path)
    assert found is not None
    route, params = found
    return handler.changes(route, Request(method, path, params, {}, headers, body))


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", ID, path.replace("{type}", "add"))


def test_every_write_of_the_vendor_is_routed_or_deliberately_refused(handler: HighLevel, spec: VendorSpec) -> None:
    routed = {(method, path) for method, path in spec.writes() if handler.route(method, concrete(path))}

    assert set(spec.writes()) - routed == REFUSED


def test_only_the_vendors_searches_pass_as_reads(handler: HighLevel, spec: VendorSpec) -> None:
    kinds = {(m, p): found[0].kind for m, p in spec.writes() if (found := handler.route(m, concrete(p)))}

    assert {request for request, kind in kinds.items() if kind == READ} == READS


def test_no_route_of_ours_is_unknown_to_the_vendor(handler: HighLevel, spec: VendorSpec) -> None:
    known = {(method, re.sub(r"\{\w+\}", "{}", path).rstrip("/")) for method, path in spec.writes()}

    assert {(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in handler.routes} <= known


def test_a_final_slash_and_literal_segments_find_the_right_route(handler: HighLevel) -> None:
    upsert, create = handler.route("POST", "/contacts/upsert"), handler.route("POST", "/contacts/")

    assert upsert is not None
    assert create is not None
    assert (upsert[0].action, create[0].action) == ("upsert", "create")
    assert handler.route("PATCH", f"/contacts/{ID}") is None


@pytest.mark.parametrize(("resource", "action"), ACTIONS)
def test_the_bulk_door_refuses_a_hostile_id_for_every_action(handler: HighLevel, resource: str, action: str) -> None:
    for id_ in HOSTILE_IDS:
        record = {"id": id_, "fields": {"name": "A"}, "tags": ["a"], "businessId": "b"}
        with pytest.raises(Refused):
            handler.change(resource, action, record)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/contacts/bulk/tags/update/add", {"contacts": ["{}"], "tags": ["a"]}),
        ("POST", "/contacts/bulk/business", {"ids": ["{}"], "businessId": "b"}),
        ("POST", f"/opportunities/{ID}/followers", {"followers": ["{}"]}),
        ("POST", "/opportunities/upsert", {"id": "{}", "pipelineId": "p"}),
    ],
)
def test_the_pass_through_refuses_hostile_ids_in_a_body(
    handler: HighLevel, method: str, path: str, body: dict[str, Any]
) -> None:
    for id_ in HOSTILE_IDS:
        hostile = {name: [id_] if value == ["{}"] else id_ if value == "{}" else value for name, value in body.items()}
        with pytest.raises(Refused):
            asked(handler, method, path, hostile)


def test_the_pass_through_refuses_an_id_in_the_path_that_could_mean_another_path(handler: HighLevel) -> None:
    route, _ = handler.route("PUT", f"/contacts/{ID}") or (None, None)
    assert route is not None
    for id_ in ("..", "a/b", "a?b", "a b", "%2e%2e"):
        with pytest.raises(Refused):
            handler.changes(route, Request("PUT", "", {"id": id_}, {}, {}, {"city": "X"}))


@pytest.mark.parametrize(
    ("resource", "action", "record", "change"),
    [
        ("contacts", "create", {"fields": {"email": "a@b.c"}}, {"action": Action.CREATE, "fields": {"email": "a@b.c"}}),
        ("contacts", "update", {"fields": {"city": None}}, {"action": Action.UPDATE, "fields": {"city": None}}),
        ("contacts", "upsert", {"fields": {"phone": "1"}}, {"action": Action.UPSERT, "fields": {"phone": "1"}}),
        ("contacts", "delete", {}, {"action": Action.DELETE}),
        ("contacts", "tags.add", {"tags": [" VIP ", "vip"]}, {"action": Action.UPDATE, "add": {"tags": ("vip",)}}),
        ("contacts", "tags.remove", {"tags": "a, B"}, {"action": Action.UPDATE, "remove": {"tags": ("a", "b")}}),
        ("contacts", "business.set", {"businessId": None}, {"action": Action.UPDATE, "fields": {"businessId": None}}),
        ("opportunities", "create", {"fields": {"name": "x"}}, {"action": Action.CREATE, "fields": {"name": "x"}}),
        (
            "opportunities",
            "update",
            {"fields": {"status": "lost", "lostReasonId": "r"}},
            {"action": Action.UPDATE, "fields": {"status": "lost", "lostReasonId": "r"}},
        ),
        ("opportunities", "upsert", {"fields": {"name": "x"}}, {"action": Action.UPSERT, "fields": {"name": "x"}}),
        ("opportunities", "delete", {}, {"action": Action.DELETE}),
    ],
)
def test_the_bulk_door_makes_the_change_that_is_asked_for(
    handler: HighLevel, resource: str, action: str, record: dict[str, Any], change: dict[str, Any]
) -> None:
    assert handler.change(resource, action, {"id": ID, **record}) == Change(resource=resource, id=ID, **change)


@pytest.mark.parametrize(
    ("method", "path", "body", "change"),
    [
        ("POST", "/contacts/", {"email": "a@b.c"}, {"action": Action.CREATE, "fields": {"email": "a@b.c"}, "id": None}),
        ("POST", "/contacts/upsert", {"phone": "1"}, {"action": Action.UPSERT, "fields": {"phone": "1"}, "id": None}),
        ("PUT", f"/contacts/{ID}", {"tags": ["A"]}, {"action": Action.UPDATE, "fields": {"tags": ["a"]}}),
        ("DELETE", f"/contacts/{ID}", None, {"action": Action.DELETE}),
        ("POST", f"/contacts/{ID}/tags", {"tags": ["A"]}, {"action": Action.UPDATE, "add": {"tags": ("a",)}}),
        ("DELETE", f"/contacts/{ID}/tags", {"tags": ["A"]}, {"action": Action.UPDATE, "remove": {"tags": ("a",)}}),
        ("POST", f"/contacts/{ID}/workflow/{OTHER}", {}, {"action": Action.UPDATE}),
        ("DELETE", f"/contacts/{ID}/campaigns/removeAll", None, {"action": Action.UPDATE}),
    ],
)
def test_the_pass_through_makes_the_change_that_the_vendors_contact_request_means(
    handler: HighLevel, method: str, path: str, body: Any, change: dict[str, Any]
) -> None:
    assert asked(handler, method, path, body) == [Change(resource="contacts", **{"id": ID, **change})]


@pytest.mark.parametrize(
    ("method", "path", "body", "change"),
    [
        ("POST", "/opportunities/", {"name": "x"}, {"action": Action.CREATE, "fields": {"name": "x"}, "id": None}),
        ("PUT", f"/opportunities/{ID}", {"status": "won"}, {"action": Action.UPDATE, "fields": {"status": "won"}}),
        (
            "PUT",
            f"/opportunities/{ID}/status",
            {"status": "won"},
            {"action": Action.UPDATE, "fields": {"status": "won"}},
        ),
        ("DELETE", f"/opportunities/{ID}", None, {"action": Action.DELETE}),
        (
            "DELETE",
            f"/opportunities/{ID}/followers",
            {"followers": [OTHER]},
            {"action": Action.UPDATE, "remove": {"followers": (OTHER,)}},
        ),
    ],
)
def test_the_pass_through_makes_the_change_that_the_vendors_opportunity_request_means(
    handler: HighLevel, method: str, path: str, body: Any, change: dict[str, Any]
) -> None:
    assert asked(handler, method, path, body) == [Change(resource="opportunities", **{"id": ID, **change})]


def test_bulk_requests_of_the_vendor_become_one_change_for_each_record(handler: HighLevel) -> None:
    tagged = asked(handler, "POST", "/contacts/bulk/tags/update/remove", {"contacts": [ID, OTHER], "tags": ["A"]})
    emptied = asked(
        handler, "POST", "/contacts/bulk/tags/update/remove", {"contacts": [ID], "tags": [], "removeAllTags": True}
    )
    detached = asked(handler, "POST", "/contacts/bulk/business", {"ids": [ID, OTHER], "businessId": None})

    assert [(change.id, dict(change.remove)) for change in tagged] == [
        (ID, {"tags": ("a",)}),
        (OTHER, {"tags": ("a",)}),
    ]
    assert [dict(change.fields) for change in emptied] == [{"tags": []}]
    assert [(change.id, dict(change.fields)) for change in detached] == [
        (ID, {"businessId": None}),
        (OTHER, {"businessId": None}),
    ]


def test_a_bulk_tag_request_of_another_kind_is_refused(handler: HighLevel) -> None:
    with pytest.raises(Refused):
        asked(handler, "POST", "/contacts/bulk/tags/update/replace", {"contacts": [ID], "tags": ["a"]})


def test_another_version_of_the_api_is_refused_and_this_one_is_not(handler: HighLevel) -> None:
    with pytest.raises(Refused, match="2021-07-28"):
        asked(handler, "PUT", f"/contacts/{ID}", {"city": "X"}, version="v3")
    assert asked(handler, "PUT", f"/contacts/{ID}", {"city": "X"}, version="2021-07-28")


@pytest.mark.parametrize(
    "record",
    [
        {"fields": {"locationId": "x"}},
        {"fields": {"emailLowerCase": "x"}},
        {"fields": {"additionalEmails": []}},
        {"fields": {"gender": "x"}},
        {"fields": {"id": OTHER}},
        {"fields": {"customFields": [{"key": "job_title", "field_value": "x"}]}},
        {"fields": {"customFields": [{"id": "cf"}]}},
        {"fields": {"customFields": {"cf": "x"}}},
        {"fields": {"tags": [1]}},
        {"fields": {"tags": None}},
        {"fields": ["firstName"]},
        {"fields": "firstName=Ann"},
        {"fields": {"dndSettings": "off"}},
        {"fields": {"dndSettings": {"SMS": "active"}}},
    ],
)
def test_the_bulk_door_refuses_what_the_vendor_would_refuse_or_misunderstand(
    handler: HighLevel, record: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        handler.change("contacts", "update", {"id": ID, **record})


@pytest.mark.parametrize("business", [["b"], {"id": "b"}, 7, True])
def test_a_business_that_is_no_text_is_refused_by_both_doors(handler: HighLevel, business: Any) -> None:
    with pytest.raises(Refused):
        handler.change("contacts", "business.set", {"id": ID, "businessId": business})
    with pytest.raises(Refused):
        asked(handler, "POST", "/contacts/bulk/business", {"ids": [ID], "businessId": business})


def test_a_lost_reason_without_a_status_is_refused(handler: HighLevel) -> None:
    with pytest.raises(Refused, match="status"):
        handler.change("opportunities", "update", {"id": ID, "fields": {"lostReasonId": "r"}})


def test_texts_of_a_csv_become_the_types_that_the_vendor_takes(handler: HighLevel) -> None:
    contact = handler.change("contacts", "update", {"id": ID, "fields": {"dnd": "true", "tags": "A,b"}})
    deal = handler.change("opportunities", "update", {"id": ID, "fields": {"monetaryValue": "12.5"}})

    assert dict(contact.fields) == {"dnd": True, "tags": ["a", "b"]}
    assert dict(deal.fields) == {"monetaryValue": 12.5}
    for odd in ("much", "nan", "inf", "1_000", "1,5", ""):
        with pytest.raises(Refused):
            handler.change("opportunities", "update", {"id": ID, "fields": {"monetaryValue": odd}})


def test_options_are_checked_when_guard_starts() -> None:
    for options in ({}, {"location_id": ""}, {"location_id": "x", "token": "y"}):
        with pytest.raises(ValueError, match="location_id"):
            HighLevel(options)
