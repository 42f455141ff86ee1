"""Keap's sandbox behaves as the vendor's file says, with its limits, refusals and traps."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from scenarios.sandboxes import keap_seed as seeds
from scenarios.sandboxes.common import RateLimits, running
from scenarios.sandboxes.keap import DEFAULT_TOKEN, create_app, normal_phone
from tests.handlers import keap_spec
from tests.handlers.vendor_spec import Exchange, required

V2 = "/rest/v2"
PEOPLE = list(seeds.contacts(30, 1))
ANN = PEOPLE[20]


@pytest.fixture
def app() -> Starlette:
    return create_app(records=30, limits=None)


@pytest.fixture
def keap(app: Starlette) -> Iterator[httpx2.Client]:
    with running(app) as url, httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"}) as http:
        yield http


def listed(keap: httpx2.Client, resource: str, **query: Any) -> list[dict[str, Any]]:
    reply = keap.get(f"{V2}/{resource}", params=query)
    assert reply.status_code == 200, reply.text
    return list(reply.json()[resource])


def test_every_answer_is_as_the_vendors_file_has_it(app: Starlette, keap: httpx2.Client) -> None:
    spec, exchanges = required(keap_spec.load()), []
    app.state.sandbox.watchers.append(
        lambda asked, told, faulted: exchanges.append(
            Exchange(asked.method, asked.path, asked.query_string, asked.body, told.status, told.body, faulted)
        )
    )
    for resource, id_ in (("contacts", ANN["id"]), ("companies", "5001"), ("opportunities", "7001"), ("tasks", "8001")):
        for path in (f"{V2}/{resource}", f"{V2}/{resource}/{id_}", f"{V2}/{resource}/model"):
            assert keap.get(path).status_code == 200
        assert keap.get(f"{V2}/{resource}/77777").status_code == 404
    for path in (
        "notes",
        "contacts/10001/notes",
        "contacts/10001/notes/9001",
        "notes/model",
        f"contacts/{ANN['id']}/tags",
    ):
        assert keap.get(f"{V2}/{path}").status_code == 200
    assert len(exchanges) == 21
    assert [wrong for exchange in exchanges for wrong in spec.violations(exchange)] == []


def test_custom_fields_and_much_else_are_in_no_answer_that_was_not_asked_for_them(keap: httpx2.Client) -> None:
    (short,) = listed(keap, "contacts", filter=f"ids=={ANN['id']}")
    (asked,) = listed(keap, "contacts", filter=f"ids=={ANN['id']}", fields="custom_fields,job_title")
    assert (set(short) & {"custom_fields", "job_title"}, set(asked)) == (set(), {"id", "custom_fields", "job_title"})
    (firm,) = listed(keap, "companies", filter="company_id==5001", fields="notes")
    assert {"company_name", "notes"} <= firm.keys()


def test_lists_have_pages_filters_and_refuse_what_they_do_not_know(keap: httpx2.Client) -> None:
    first = keap.get(f"{V2}/contacts", params={"page_size": 20}).json()
    rest = keap.get(f"{V2}/contacts", params={"page_token": first["next_page_token"]}).json()
    assert (len(first["contacts"]), len(rest["contacts"]), "next_page_token" in rest) == (20, 10, False)
    assert [each["id"] for each in listed(keap, "companies", filter="company_id>=5002;company_id<5004")] == [
        "5002",
        "5003",
    ]
    assert len(listed(keap, "notes", filter="title==call")) == 10  # anywhere in it
    assert len(listed(keap, "tasks", filter="title==Send*")) == 10
    assert listed(keap, "contacts", filter="company_id==5001;given_name==Nobody") == []
    many = ",".join(str(n) for n in range(101))
    for path, query in (
        ("contacts", {"filter": "shoe_size==44"}),
        ("contacts", {"page_size": "1001"}),
        ("contacts", {"page_size": "many"}),
        ("opportunities", {"filter": f"ids=={many}"}),
    ):
        reply = keap.get(f"{V2}/{path}", params=query)
        assert (reply.status_code, reply.json()["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("contacts/10021", {"score_value": "9"}),
        ("contacts/10021", {"given_name": None}),
        ("contacts/10021", {"given_name": "x" * 41}),
        ("contacts/10021", {"email_addresses": [{"field": "EMAIL9", "email": "a@example.com"}]}),
        ("contacts/10021", {"email_addresses": [{"field": "EMAIL1", "is_opt_in": True}]}),
        ("contacts/10021", {"custom_fields": [{"id": "404", "content": "x"}]}),
        ("contacts/10021", {"custom_fields": [{"id": seeds.JOB_LEVEL, "content": "No such level"}]}),
        ("companies/5001", {"address": {"planet": "Mars"}}),
        ("opportunities/7001", {"stage_id": "3"}),
        ("opportunities/7001", {"contact_id": "404"}),
        ("contacts/10001/notes/9001", {"title": "No user"}),
        ("tasks/8001", {"priority": "SOON"}),
        ("tasks/8001", {"remind_time_mins": 7}),
    ],
    ids=str,
)
def test_what_the_vendor_does_not_take_is_refused_whole(keap: httpx2.Client, path: str, body: dict[str, Any]) -> None:
    before = keap.get("/_sandbox/state").json()
    reply = keap.patch(f"{V2}/{path}", json={**body, "job_title": "x"} if path.startswith("contacts/10021") else body)
    assert (reply.status_code, keap.get("/_sandbox/state").json()) == (400, before)


def test_the_gateway_refuses_in_a_shape_of_its_own(keap: httpx2.Client) -> None:
    reply = keap.get(f"{V2}/contacts", headers={"Authorization": "Bearer wrong"})
    assert (reply.status_code, list(reply.json())) == (401, ["fault"])


def test_limits_are_told_in_headers_and_a_429_has_no_retry_after() -> None:
    app = create_app(records=1, limits=RateLimits(per_interval=2, interval_s=60.0, per_day=100))
    with running(app) as url, httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"}) as http:
        first, _, third = (http.get(f"{V2}/contacts") for _ in range(3))
    assert (first.status_code, third.status_code) == (200, 429)
    assert first.headers["x-keap-product-throttle-available"] == "1"
    assert first.headers["x-keap-product-throttle-time-unit"] == "minute"
    assert first.headers["x-keap-product-quota-available"] == "99"
    assert ("retry-after" in third.headers, list(third.json())) == (False, ["fault"])


def test_a_deleted_contact_takes_along_what_hangs_on_it_and_a_company_leaves_its_contacts(keap: httpx2.Client) -> None:
    assert keap.delete(f"{V2}/contacts/10001").status_code == 204
    for resource in ("opportunities", "notes", "tasks"):
        assert listed(keap, resource, filter="contact_id==10001") == []
    assert len(listed(keap, "contacts", filter="company_id==5001")) > 0
    assert keap.delete(f"{V2}/companies/5001").status_code == 204
    assert listed(keap, "contacts", filter="company_id==5001") == []


def test_a_contact_needs_a_way_to_be_reached(keap: httpx2.Client) -> None:
    assert keap.post(f"{V2}/contacts", json={"given_name": "A"}).status_code == 400


def test_phone_numbers_get_the_vendors_form() -> None:
    assert (normal_phone("480.555.0100"), normal_phone("+49 30 1")) == ("(480) 555-0100", "+49 30 1")
