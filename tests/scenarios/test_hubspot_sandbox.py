"""The HubSpot sandbox keeps what its docstring promises: the traps, limits, and the vendor's own schemas."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from scenarios.sandboxes import hubspot_seed as seeds
from scenarios.sandboxes.common import RateLimits
from scenarios.sandboxes.hubspot import DEFAULT_TOKEN, HubSpot, Settings, create_app
from tests.handlers import hubspot_spec
from tests.handlers.vendor_spec import Exchange, required

HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}"}
CONTACTS = "/crm/v3/objects/contacts"
PAIRS = "/crm/v4/associations/contacts/companies/batch"
Client = httpx2.AsyncClient


@pytest.fixture
def seeded() -> Starlette:
    return create_app(records=10, limits=None)


@pytest.fixture
async def crm(seeded: Starlette) -> AsyncIterator[Client]:
    async with client(seeded) as http:
        yield http


def client(app: Starlette) -> Client:
    return Client(transport=httpx2.ASGITransport(app=app), base_url="http://s", headers=HEADERS)


def vendor(app: Starlette) -> HubSpot:
    found = app.state.sandbox.vendor
    assert isinstance(found, HubSpot)
    return found


async def patch(crm: Client, id_: str, **properties: Any) -> httpx2.Response:
    return await crm.patch(f"{CONTACTS}/{id_}", json={"properties": properties})


async def shown(crm: Client, id_: str, name: str) -> Any:
    return (await crm.get(f"{CONTACTS}/{id_}", params={"properties": name})).json()["properties"].get(name)


async def test_null_is_ignored_and_an_empty_text_empties(crm: Client) -> None:
    await patch(crm, "10001", city=None)
    assert await shown(crm, "10001", "city") == "Berlin"
    await patch(crm, "10001", city="")
    assert await shown(crm, "10001", "city") is None


@pytest.mark.parametrize("name", ["createdate", "hs_full_name_or_email", "nothing"])
async def test_what_cannot_be_written_fails_its_record_or_the_batch(seeded: Starlette, crm: Client, name: str) -> None:
    inputs = [{"id": "10001", "properties": {"city": "X"}}, {"id": "10002", "properties": {name: "X"}}]
    some = await crm.post(f"{CONTACTS}/batch/update", json={"inputs": inputs})
    vendor(seeded).settings = Settings(refuses="batch")
    inputs[0]["properties"] = {"city": "Y"}
    whole = await crm.post(f"{CONTACTS}/batch/update", json={"inputs": inputs})

    assert (some.status_code, whole.status_code) == (207, 400)
    assert some.json()["errors"][0]["context"]["id"] == ["10002"]
    assert await shown(crm, "10001", "city") == "X"


async def test_only_what_is_asked_for_comes_back(crm: Client) -> None:
    few = (await crm.get(f"{CONTACTS}/10001")).json()["properties"]
    one = (await crm.get(f"{CONTACTS}/10001", params={"properties": "city,nothing"})).json()["properties"]

    always = {"createdate", "hs_lastmodifieddate", "hs_object_id"}
    assert set(few) == set(seeds.DEFAULTS["contacts"])
    assert (set(one), one["city"]) == ({"city", *always}, "Berlin")


async def test_a_stage_moves_back_only_from_none(crm: Client) -> None:
    await patch(crm, "10001", lifecyclestage="customer")
    assert (await patch(crm, "10001", lifecyclestage="lead")).status_code == 200
    assert await shown(crm, "10001", "lifecyclestage") == "customer"
    await patch(crm, "10001", lifecyclestage="")
    await patch(crm, "10001", lifecyclestage="lead")
    assert await shown(crm, "10001", "lifecyclestage") == "lead"


async def test_a_search_is_behind_and_a_read_is_not(crm: Client) -> None:
    await patch(crm, "10001", city="X")
    rule = {"propertyName": "city", "operator": "EQ", "value": "X"}
    found = await crm.post(f"{CONTACTS}/search", json={"filterGroups": [{"filters": [rule]}]})

    assert (found.json()["total"], await shown(crm, "10001", "city")) == (0, "X")


async def test_a_deleted_record_is_in_the_bin_with_its_links_until_somebody_restores_it(
    seeded: Starlette, crm: Client
) -> None:
    links = dict(vendor(seeded).links.table.rows)
    assert (await crm.delete(f"{CONTACTS}/10001")).status_code == 204
    assert (await crm.get(f"{CONTACTS}/10001")).status_code == 404
    binned = await crm.get(f"{CONTACTS}/10001", params={"archived": "true"})
    assert (binned.status_code, binned.json()["archived"]) == (200, True)
    assert len(vendor(seeded).links.table.rows) < len(links)

    vendor(seeded).restore("10001")

    assert vendor(seeded).links.table.rows == links
    assert (await crm.get(f"{CONTACTS}/10001")).status_code == 200


async def test_the_newest_company_is_the_primary_one(seeded: Starlette, crm: Client) -> None:
    old = vendor(seeded).links.of("contacts", "10001", "companies")
    assert ("500001", "HUBSPOT_DEFINED", 1) in old
    await crm.put("/crm/v4/objects/contacts/10001/associations/default/companies/500002")
    now = vendor(seeded).links.of("contacts", "10001", "companies")

    assert [each for each in now if each[2] == 1] == [("500002", "HUBSPOT_DEFINED", 1)]
    assert ("10001", "HUBSPOT_DEFINED", 2) in vendor(seeded).links.of("companies", "500002", "contacts")
    assert ("10001", "HUBSPOT_DEFINED", 2) not in vendor(seeded).links.of("companies", "500001", "contacts")


async def test_a_unique_value_belongs_to_one_record(crm: Client) -> None:
    taken = await shown(crm, "10002", "email")
    refused = await patch(crm, "10001", email=f" {taken.upper()}")

    assert (refused.status_code, refused.json()["category"]) == (409, "CONFLICT")
    assert "Existing ID: 10002" in refused.json()["message"]


async def test_a_batch_has_a_hundred_inputs_at_most(crm: Client) -> None:
    inputs = [{"id": str(n), "properties": {"city": "X"}} for n in range(101)]
    assert (await crm.post(f"{CONTACTS}/batch/update", json={"inputs": inputs})).status_code == 400


async def test_limits_are_told_and_kept() -> None:
    app = create_app(records=1, limits=RateLimits(per_interval=2, interval_s=60.0, per_day=100))
    async with client(app) as crm:
        first, _, third = [await crm.get(f"{CONTACTS}/10001") for _ in range(3)]

    told = {
        name: first.headers[f"x-hubspot-ratelimit-{name}"] for name in ("max", "remaining", "interval-milliseconds")
    }
    assert told == {"max": "2", "remaining": "1", "interval-milliseconds": "60000"}
    assert (third.status_code, third.json()["policyName"]) == (429, "TEN_SECONDLY_ROLLING")


async def test_without_a_token_nothing_is_answered(seeded: Starlette) -> None:
    async with client(seeded) as crm:
        reply = await crm.get(f"{CONTACTS}/10001", headers={"Authorization": "Bearer other"})
    assert (reply.status_code, reply.json()["category"]) == (401, "INVALID_AUTHENTICATION")


def calls() -> Iterator[tuple[str, str, Any, int]]:
    """One call or more of each route but merge and gdpr-delete: method, path with query, body, status."""
    new = {"properties": {"email": "n@example.net"}, "associations": []}
    spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
    ends = {"from": {"id": "10002"}, "to": {"id": "500001"}}
    objects = "/crm/v4/objects/contacts/10002/associations"
    update, missing = {"id": "10002", "properties": {"zip": "1"}}, {"id": "404", "properties": {"zip": "1"}}
    yield from [
        ("GET", "/crm/v3/properties/contacts", None, 200),
        ("GET", f"{CONTACTS}/10001?properties=city&associations=companies,deals", None, 200),
        ("GET", f"{CONTACTS}/404", None, 404),
        ("POST", CONTACTS, new, 201),
        ("POST", CONTACTS, new, 409),
        ("PATCH", f"{CONTACTS}/n@example.net?idProperty=email", {"properties": {"city": ""}}, 200),
        ("PATCH", f"{CONTACTS}/10002", {"properties": {"nothing": "1"}}, 400),
        ("POST", f"{CONTACTS}/batch/create", {"inputs": [{"properties": {"city": "X"}, "associations": []}]}, 201),
        ("POST", f"{CONTACTS}/batch/create", {"inputs": [new, {**new, "properties": {"zip": "1"}}]}, 207),
        ("POST", f"{CONTACTS}/batch/update", {"inputs": [update]}, 200),
        ("POST", f"{CONTACTS}/batch/update", {"inputs": [update, missing]}, 207),
        ("POST", f"{CONTACTS}/batch/upsert", {"inputs": [{**update, "id": "u@x.org", "idProperty": "email"}]}, 200),
        ("POST", f"{CONTACTS}/batch/upsert", {"inputs": [update, missing]}, 207),
        ("POST", f"{CONTACTS}/batch/archive", {"inputs": [{"id": "10003"}]}, 204),
        ("DELETE", f"{CONTACTS}/10004", None, 204),
        ("POST", f"{PAIRS}/create", {"inputs": [{**ends, "types": [spec]}]}, 201),
        ("POST", f"{PAIRS}/create", {"inputs": [{**ends, "to": {"id": "404"}, "types": [spec]}]}, 207),
        ("POST", f"{PAIRS}/read", {"inputs": [{"id": "10002"}]}, 200),
        ("POST", f"{PAIRS}/read", {"inputs": [{"id": "10002"}, {"id": "404"}]}, 207),
        ("POST", f"{PAIRS}/labels/archive", {"inputs": [{**ends, "types": [spec]}]}, 204),
        ("POST", f"{PAIRS}/associate/default", {"inputs": [ends]}, 200),
        ("POST", f"{PAIRS}/archive", {"inputs": [{**ends, "to": [ends["to"]]}]}, 204),
        ("PUT", f"{objects}/default/companies/500001", None, 200),
        ("PUT", f"{objects}/companies/500001", [spec], 201),
        ("DELETE", f"{objects}/companies/500001", None, 204),
    ]
    read = {"inputs": [{"id": "10001"}], "properties": ["city", "zip"], "propertiesWithHistory": []}
    search = {"filterGroups": [], "limit": 2, "after": "", "properties": ["city"], "sorts": []}
    yield from [
        ("POST", f"{CONTACTS}/batch/read", read, 200),
        ("POST", f"{CONTACTS}/batch/read", {**read, "inputs": [{"id": "10001"}, {"id": "404"}]}, 207),
        ("POST", f"{CONTACTS}/search", search, 200),
    ]


async def test_every_answer_is_valid_against_the_vendors_schema(crm: Client) -> None:
    spec = required(hubspot_spec.load())
    for method, target, body, status in calls():
        reply = await crm.request(method, target, **({} if body is None else {"json": body}))
        path, _, query = target.partition("?")
        assert reply.status_code == status, (method, target, reply.text)
        exchange = Exchange(method, path, query, reply.request.content, reply.status_code, reply.content)
        assert spec.violations(exchange) == []


def test_every_route_but_the_permanent_ones_is_called(seeded: Starlette) -> None:
    found = [vendor(seeded).routes.match(method, target.partition("?")[0]) for method, target, *_ in calls()]
    called = {match[0] for match in found if match}
    known = {handler for _, _, handler, _ in vendor(seeded)._table()}

    assert {handler.__name__ for handler in known - called} == {"merge", "gdpr_delete"}
