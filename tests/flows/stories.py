"""What a scenario does through Guard's doors, in stories that a crash may cut anywhere."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2

from scenarios.sandboxes.highlevel_seed import BUSINESSES, JOB_TITLE, LOCATION_ID, PIPELINES
from tests.world import World, comparable, path_of

RECORDS = 3
CONTACTS = 11
"""In the sandbox; with two opportunities."""


class People:
    """Ids of what is there at the start."""

    def __init__(self, world: World) -> None:
        self.contacts = list(world.contacts)[:RECORDS]
        self.deals = list(world.opportunities)


Story = Callable[[httpx2.AsyncClient, People], Awaitable[Any]]


async def operate(
    http: httpx2.AsyncClient, action: str, records: list[dict[str, Any]], resource: str = "contacts"
) -> dict[str, Any]:
    body = {"target": "crm", "resource": resource, "action": action, "records": records}
    return dict((await http.post("/v1/operations", json=body)).json())


async def update(http: httpx2.AsyncClient, there: People) -> Any:
    fields = {"firstName": "Oops", "customFields": [{"id": JOB_TITLE, "field_value": "?"}], "tags": ["ruined"]}
    return await operate(http, "update", [{"id": id_, "fields": fields} for id_ in there.contacts])


async def add_tags(http: httpx2.AsyncClient, there: People) -> Any:
    return await operate(http, "tags.add", [{"id": id_, "tags": ["a", "b"]} for id_ in there.contacts])


async def remove_tags(http: httpx2.AsyncClient, there: People) -> Any:
    return await operate(http, "tags.remove", [{"id": id_, "tags": ["candidate"]} for id_ in there.contacts])


async def set_business(http: httpx2.AsyncClient, there: People) -> Any:
    business = BUSINESSES[0]["id"]
    return await operate(http, "business.set", [{"id": id_, "businessId": business} for id_ in there.contacts])


async def create(http: httpx2.AsyncClient, _: People) -> Any:
    people = [{"fields": {"firstName": "New", "email": f"new{n}@example.com"}} for n in range(RECORDS)]
    return await operate(http, "create", people)


async def upsert(http: httpx2.AsyncClient, _: People) -> Any:
    emails = ["chloe.singh.0@example.com", "nobody.yet@example.com"]
    return await operate(http, "upsert", [{"fields": {"email": email, "city": "Elsewhere"}} for email in emails])


async def delete(http: httpx2.AsyncClient, there: People) -> Any:
    return await operate(http, "delete", [{"id": id_} for id_ in there.contacts])


async def update_deals(http: httpx2.AsyncClient, there: People) -> Any:
    fields = {"name": "Oops", "status": "won", "monetaryValue": 1}
    return await operate(http, "update", [{"id": id_, "fields": fields} for id_ in there.deals], "opportunities")


def _deal(contact: str) -> dict[str, Any]:
    pipeline = PIPELINES[0]
    stage = pipeline["stages"][0]["id"]
    return {
        "contactId": contact, "pipelineId": pipeline["id"], "pipelineStageId": stage, "name": "New", "status": "open",
    }  # fmt: skip


async def create_deals(http: httpx2.AsyncClient, there: People) -> Any:
    return await operate(http, "create", [{"fields": _deal(id_)} for id_ in there.contacts[1:]], "opportunities")


async def delete_deals(http: httpx2.AsyncClient, there: People) -> Any:
    return await operate(http, "delete", [{"id": id_} for id_ in there.deals], "opportunities")


async def pass_update(http: httpx2.AsyncClient, there: People) -> Any:
    return await http.put(f"/to/crm/contacts/{there.contacts[0]}", json={"firstName": "Passed"})


async def pass_create(http: httpx2.AsyncClient, _: People) -> Any:
    return await http.post("/to/crm/contacts/", json={"locationId": LOCATION_ID, "email": "passed@example.com"})


async def pass_upsert(http: httpx2.AsyncClient, _: People) -> Any:
    body = {"locationId": LOCATION_ID, "email": "chloe.singh.0@example.com", "city": "Elsewhere"}
    return await http.post("/to/crm/contacts/upsert", json=body)


async def pass_delete(http: httpx2.AsyncClient, there: People) -> Any:
    return await http.delete(f"/to/crm/contacts/{there.contacts[0]}")


async def pass_tags(http: httpx2.AsyncClient, there: People) -> Any:
    return await http.post(f"/to/crm/contacts/{there.contacts[0]}/tags", json={"tags": ["passed"]})


async def pass_bulk_tags(http: httpx2.AsyncClient, there: People) -> Any:
    body = {"contacts": there.contacts, "tags": ["passed"], "locationId": LOCATION_ID}
    return await http.post("/to/crm/contacts/bulk/tags/update/add", json=body)


async def pass_deal_status(http: httpx2.AsyncClient, there: People) -> Any:
    return await http.put(f"/to/crm/opportunities/{there.deals[0]}/status", json={"status": "abandoned"})


async def pass_deal_delete(http: httpx2.AsyncClient, there: People) -> Any:
    return await http.delete(f"/to/crm/opportunities/{there.deals[0]}")


async def update_and_revert(http: httpx2.AsyncClient, there: People) -> Any:
    told = await operate(http, "update", [{"id": id_, "fields": {"city": "Elsewhere"}} for id_ in there.contacts])
    return await http.post(path_of(told["revert_url"]))


async def delete_and_revert(http: httpx2.AsyncClient, there: People) -> Any:
    told = await operate(http, "delete", [{"id": id_} for id_ in there.contacts[:2]])
    return await http.post(path_of(told["revert_url"]))


BULK: list[Story] = [
    update, add_tags, remove_tags, set_business, create, upsert, delete, update_deals, create_deals, delete_deals,
]  # fmt: skip
PASSED: list[Story] = [
    pass_update, pass_create, pass_upsert, pass_delete, pass_tags, pass_bulk_tags, pass_deal_status, pass_deal_delete,
]  # fmt: skip
REVERTED: list[Story] = [update_and_revert, delete_and_revert]


def everything(world: World) -> list[Mapping[str, Any]]:
    """What the vendor holds, without what no API puts back: ids of records that were deleted, times, lost links."""
    return [
        *_sorted(world.contacts, "id dateAdded additionalEmails followers", "email"),
        *_sorted(world.opportunities, f"id contactId source followers lostReasonId {_STAMPS}", "name"),
    ]


_STAMPS = "createdAt updatedAt lastStatusChangeAt lastStageChangeAt"


def _sorted(rows: Mapping[str, dict[str, Any]], lost: str, by: str) -> list[dict[str, Any]]:
    kept = [{k: v for k, v in comparable(row).items() if k not in lost.split()} for row in rows.values()]
    return sorted(kept, key=lambda row: str(row.get(by)))
