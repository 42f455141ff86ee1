"""The HighLevel sandbox keeps what its docstring promises: the traps, limits, faults, and the vendor's own schemas."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema
import pytest
from starlette.applications import Starlette

from scenarios.sandboxes import highlevel_seed as seeds
from scenarios.sandboxes.common import LOG_BODY_BYTES_MAX, RateLimits, Sandbox, running
from scenarios.sandboxes.highlevel import (
    DEFAULT_TOKEN,
    VERSION,
    HighLevel,
    Settings,
    create_app,
    normal_date,
    normal_phone,
)
from tests.handlers import highlevel_spec
from tests.handlers.highlevel_spec import LIVE_FIELDS
from tests.handlers.vendor_spec import VendorSpec, required

HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}", "Version": VERSION}
LOCATION = seeds.LOCATION_ID
UNKNOWN = "x" * 20

Client = httpx2.AsyncClient
Row = dict[str, Any]


def vendor(app: Starlette) -> HighLevel:
    found = app.state.sandbox.vendor
    assert isinstance(found, HighLevel)
    return found


@pytest.fixture
def people(seeded: Starlette) -> list[str]:
    """Ids of the seeded contacts, in the order of their making."""
    return list(vendor(seeded).contacts.rows)


@pytest.fixture
def deal(seeded: Starlette) -> str:
    return next(iter(vendor(seeded).opportunities.rows))


async def contact(crm: Client, key: str) -> Row:
    reply = await crm.get(f"/contacts/{key}")
    assert reply.status_code == 200
    found: Row = reply.json()["contact"]
    return found


async def opportunity(crm: Client, key: str) -> Row:
    found: Row = (await crm.get(f"/opportunities/{key}")).json()["opportunity"]
    return found


async def put(crm: Client, key: str, **fields: Any) -> httpx2.Response:
    return await crm.put(f"/contacts/{key}", json=fields)


async def create(crm: Client, **fields: Any) -> httpx2.Response:
    return await crm.post("/contacts/", json={"locationId": LOCATION, **fields})


async def upsert(crm: Client, **fields: Any) -> Row:
    reply = await crm.post("/contacts/upsert", json={"locationId": LOCATION, **fields})
    assert reply.status_code == 200, reply.text
    answer: Row = reply.json()
    return answer


async def fault(crm: Client, kind: str, **more: Any) -> None:
    reply = await crm.post("/_sandbox/faults", json=[{"kind": kind, **more}])
    assert reply.status_code == 200, reply.text


def custom(found: Row, name: str = "value") -> Row:
    return {entry["id"]: entry[name] for entry in found["customFields"]}


class TestAdmission:
    async def test_a_request_without_the_token_is_refused(self, crm: Client) -> None:
        reply = await crm.get("/contacts/any", headers={"Authorization": "Bearer other"})
        assert (reply.status_code, reply.json()["error"]) == (401, "Unauthorized")

    async def test_a_request_without_the_version_header_is_refused(self, crm: Client) -> None:
        del crm.headers["Version"]
        assert (await crm.get("/contacts/any")).status_code == 401

    async def test_another_version_is_refused(self, crm: Client) -> None:
        assert (await crm.get("/contacts/any", headers={"Version": "2019-01-01"})).status_code == 400

    async def test_an_unknown_path_is_answered_as_the_vendors_framework_does(self, crm: Client) -> None:
        reply = await crm.patch("/contacts/any?a=1")
        expected = {"statusCode": 404, "message": "Cannot PATCH /contacts/any?a=1", "error": "Not Found"}
        assert (reply.status_code, reply.json()) == (404, expected)

    async def test_another_location_is_out_of_the_tokens_reach(self, crm: Client) -> None:
        assert (await crm.post("/contacts/", json={"locationId": "other"})).status_code == 403

    async def test_a_body_that_is_no_json_is_refused(self, crm: Client, people: list[str]) -> None:
        assert (await crm.put(f"/contacts/{people[0]}", content=b'{"a"')).status_code == 400

    async def test_the_token_can_be_set(self) -> None:
        app = create_app(records=1, limits=None, token="mine")
        transport = httpx2.ASGITransport(app=app)
        headers = {"Authorization": "Bearer mine", "Version": VERSION}
        async with Client(transport=transport, base_url="http://sandbox", headers=headers) as client:
            assert (await client.get(f"/contacts/{next(iter(vendor(app).contacts.rows))}")).status_code == 200


class TestReadingAndWriting:
    async def test_a_body_that_was_read_cannot_be_written_back(self, crm: Client, people: list[str]) -> None:
        before = await contact(crm, people[0])
        reply = await put(crm, people[0], **(before | {"firstName": "Other"}))
        assert reply.status_code == 422
        refused = reply.json()
        assert refused["error"] == "Unprocessable Entity"
        for name in ("id", "locationId", "emailLowerCase", "fullNameLowerCase", "dateAdded", "dateUpdated"):
            assert f"property {name} should not exist" in refused["message"]
        assert await contact(crm, people[0]) == before

    @pytest.mark.parametrize("name", ["gender", "additionalEmails", "followers", "businessId", "unheardOf"])
    async def test_one_key_that_is_not_writable_refuses_the_whole_update(
        self, crm: Client, people: list[str], name: str
    ) -> None:
        before = await contact(crm, people[0])
        reply = await put(crm, people[0], **{"firstName": "Other", name: []})
        assert reply.json()["message"] == [f"property {name} should not exist"]
        assert await contact(crm, people[0]) == before

    async def test_fields_that_are_not_in_a_put_stay_as_they_are(self, crm: Client, people: list[str]) -> None:
        before = await contact(crm, people[3])
        reply = await put(crm, people[3], city="Porto")
        assert reply.json()["succeded"] is True
        after = await contact(crm, people[3])
        assert {name for name in after if after[name] != before.get(name)} == {"city", "dateUpdated"}

    async def test_put_takes_what_the_live_api_takes_beyond_its_spec(self, crm: Client, people: list[str]) -> None:
        fields = {"companyName": "Acme", "keyword": "k", "ssn": "1", "type": "customer"}
        assert (await put(crm, people[0], **fields)).status_code == 200
        assert fields.items() <= (await contact(crm, people[0])).items()

    async def test_every_write_shows_in_date_updated(self, crm: Client, people: list[str]) -> None:
        seen = [(await put(crm, people[0], city="Porto")).json()["contact"]["dateUpdated"] for _ in range(5)]
        assert seen == sorted(set(seen))

    @pytest.mark.parametrize("empty", [None, ""])
    async def test_null_or_nothing_clears_a_nullable_field_which_then_disappears(
        self, crm: Client, people: list[str], empty: str | None
    ) -> None:
        names = ("email", "phone", "city", "source", "dateOfBirth", "assignedTo")
        assert (await put(crm, people[1], **dict.fromkeys(names, empty))).status_code == 200
        assert not set(names) & set(await contact(crm, people[1]))

    async def test_null_is_refused_where_the_spec_does_not_allow_it(self, crm: Client, people: list[str]) -> None:
        reply = await put(crm, people[1], country=None, tags=None, dnd=None)
        assert reply.status_code == 422
        assert len(reply.json()["message"]) == 3

    async def test_name_and_its_parts_keep_in_step(self, crm: Client, people: list[str]) -> None:
        await put(crm, people[0], name="Ada King Lovelace")
        found = await contact(crm, people[0])
        assert (found["firstName"], found["lastName"]) == ("Ada", "King Lovelace")
        await put(crm, people[0], firstName="AUGUSTA")
        found = await contact(crm, people[0])
        assert (found["name"], found["fullNameLowerCase"]) == ("AUGUSTA King Lovelace", "augusta king lovelace")

    async def test_mail_and_phone_are_rewritten(self, crm: Client, people: list[str]) -> None:
        await put(crm, people[0], email=" Ada@Example.COM ", phone="+1 (888) 888-8888")
        found = await contact(crm, people[0])
        assert (found["email"], found["emailLowerCase"], found["phone"]) == (
            "ada@example.com",
            "ada@example.com",
            "+18888888888",
        )

    async def test_a_malformed_mail_phone_or_date_is_refused(self, crm: Client, people: list[str]) -> None:
        reply = await put(crm, people[0], email="nobody", phone="call me", dateOfBirth="soon")
        assert [says.split()[0] for says in reply.json()["message"]] == ["email", "phone", "dateOfBirth"]

    async def test_do_not_disturb_is_merged_by_channel_and_sets_nothing_else(
        self, crm: Client, people: list[str]
    ) -> None:
        await put(crm, people[0], dndSettings={"SMS": {"status": "active"}})
        await put(crm, people[0], dndSettings={"Email": {"status": "inactive"}})
        found = await contact(crm, people[0])
        assert found["dndSettings"] == {"SMS": {"status": "active"}, "Email": {"status": "inactive"}}
        await put(crm, people[1], dnd=True)
        found = await contact(crm, people[1])
        assert found["dnd"] is True
        assert "dndSettings" not in found

    @pytest.mark.parametrize("status", [400, 404])
    async def test_an_id_that_does_not_exist_is_answered_as_set(self, crm: Client, status: int) -> None:
        await crm.post("/_sandbox/settings", json={"missing_status": status})
        expected = {"statusCode": status, "message": "Contact not found"}
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/tags"), ("GET", "/notes")):
            reply = await crm.request(method, f"/contacts/{UNKNOWN}{path}", json={"tags": []})
            assert reply.status_code == status
            assert expected.items() <= reply.json().items()


class TestTags:
    async def test_tags_in_a_put_replace_all_and_are_lower_cased(self, crm: Client, people: list[str]) -> None:
        await put(crm, people[0], tags=[" Hired ", "hired", "VIP"])
        assert (await contact(crm, people[0]))["tags"] == ["hired", "vip"]

    async def test_the_tag_endpoints_add_and_remove_only_what_they_name(self, crm: Client, people: list[str]) -> None:
        before = (await contact(crm, people[0]))["tags"]
        reply = await crm.post(f"/contacts/{people[0]}/tags", json={"tags": ["NEW", before[0]]})
        assert (reply.status_code, reply.json()) == (201, {"tags": [*before, "new"]})
        reply = await crm.request("DELETE", f"/contacts/{people[0]}/tags", json={"tags": ["New", "absent"]})
        assert (reply.status_code, reply.json()) == (200, {"tags": before})

    async def test_bulk_tags_succeed_in_part(self, crm: Client, people: list[str]) -> None:
        before = (await contact(crm, people[0]))["tags"]
        body = {"contacts": [people[0], UNKNOWN, "abcdef"], "tags": ["Bulk"], "locationId": LOCATION}
        reply = await crm.post("/contacts/bulk/tags/update/add", json=body)
        answer = reply.json()
        assert (reply.status_code, answer["succeded"], answer["errorCount"]) == (201, True, 2)
        done, deleted, invalid = answer["responses"]
        assert (done["oldTags"], done["tagsAdded"], done["tagsRemoved"]) == (before, ["bulk"], [])
        assert (deleted["type"], deleted["message"]) == ("error", "contact is deleted")
        assert invalid["message"] == "contact id is not a valid firebase id"
        assert (await contact(crm, people[0]))["tags"] == [*before, "bulk"]

    async def test_remove_all_tags_is_for_removing_only(self, crm: Client, people: list[str]) -> None:
        body = {"contacts": people[:2], "tags": [], "locationId": LOCATION, "removeAllTags": True}
        assert (await crm.post("/contacts/bulk/tags/update/add", json=body)).status_code == 422
        answer = (await crm.post("/contacts/bulk/tags/update/remove", json=body)).json()
        assert answer["errorCount"] == 0
        assert [(await contact(crm, key))["tags"] for key in people[:2]] == [[], []]


class TestCustomFields:
    async def test_only_the_listed_are_touched_in_either_written_shape(self, crm: Client, people: list[str]) -> None:
        before = custom(await contact(crm, people[0]))
        written = [
            {"id": seeds.JOB_TITLE, "field_value": "CTO"},
            {"key": "contact.salary_expectation", "fieldValue": 90_000},
        ]
        await put(crm, people[0], customFields=written)
        expected = before | {seeds.JOB_TITLE: "CTO", seeds.SALARY: 90_000}
        assert custom(await contact(crm, people[0])) == expected

    async def test_the_shape_that_is_read_is_not_one_that_is_written(self, crm: Client, people: list[str]) -> None:
        before = custom(await contact(crm, people[0]))
        reply = await put(crm, people[0], customFields=[{"id": seeds.JOB_TITLE, "value": "CTO"}])
        assert reply.status_code == 200
        assert custom(await contact(crm, people[0])) == before

    @pytest.mark.parametrize("empty", [None, "", []])
    async def test_an_emptied_one_disappears(self, crm: Client, people: list[str], empty: object) -> None:
        await put(crm, people[0], customFields=[{"key": "job_title", "field_value": empty}])
        assert seeds.JOB_TITLE not in custom(await contact(crm, people[0]))

    async def test_opportunities_read_field_value_and_search_reads_typed_keys(self, crm: Client, deal: str) -> None:
        written = [{"id": seeds.FEE, "field_value": 5}, {"key": "contract_type", "field_value": "temp"}]
        await crm.put(f"/opportunities/{deal}", json={"customFields": written})
        found = await opportunity(crm, deal)
        assert custom(found, "fieldValue") == {seeds.FEE: 5, seeds.CONTRACT: "temp"}
        searched = await crm.get("/opportunities/search", params={"location_id": LOCATION, "id": deal})
        assert searched.json()["opportunities"][0]["customFields"] == [
            {"id": seeds.FEE, "type": "number", "fieldValueNumber": 5},
            {"id": seeds.CONTRACT, "type": "string", "fieldValueString": "temp"},
        ]

    async def test_definitions_are_listed_by_model(self, crm: Client) -> None:
        listed = (await crm.get(f"/locations/{LOCATION}/customFields", params={"model": "contact"})).json()
        keys = [known["fieldKey"] for known in listed["customFields"]]
        assert keys == ["contact.job_title", "contact.salary_expectation", "contact.notice_period", "contact.skills"]


class TestDuplicates:
    async def test_create_refuses_a_mail_that_a_contact_has_and_names_it(self, crm: Client, people: list[str]) -> None:
        taken = (await contact(crm, people[4]))["email"]
        reply = await create(crm, email=taken.upper())
        assert reply.status_code == 400
        assert reply.json() == {
            "statusCode": 400,
            "message": "This location does not allow duplicated contacts.",
            "meta": {"contactId": people[4], "matchingField": "email"},
        }

    async def test_additional_addresses_count_as_taken(self, crm: Client, people: list[str]) -> None:
        second = (await contact(crm, people[3]))["additionalEmails"][0]["email"]
        assert (await create(crm, email=second)).json()["meta"]["contactId"] == people[3]

    async def test_an_update_cannot_take_anothers_mail_or_phone(self, crm: Client, people: list[str]) -> None:
        other = await contact(crm, people[4])
        for name in ("email", "phone"):
            reply = await put(crm, people[0], **{name: other[name]})
            assert reply.json()["meta"] == {"contactId": people[4], "matchingField": name}
            assert (await put(crm, people[4], **{name: other[name]})).status_code == 200

    async def test_a_location_may_allow_duplicates(self, crm: Client, people: list[str]) -> None:
        await crm.post("/_sandbox/settings", json={"allow_duplicates": True})
        taken = (await contact(crm, people[4]))["email"]
        assert (await create(crm, email=taken)).status_code == 201
        anew = await upsert(crm, email=taken, createNewIfDuplicateAllowed=True)
        assert anew["new"] is True
        assert (await upsert(crm, email=taken))["contact"]["id"] == people[4]

    async def test_of_two_with_the_same_mail_the_older_is_found_and_then_the_other(
        self, crm: Client, people: list[str]
    ) -> None:
        await crm.post("/_sandbox/settings", json={"allow_duplicates": True})
        taken = (await contact(crm, people[4]))["email"]
        twin = (await create(crm, email=taken)).json()["contact"]["id"]
        await put(crm, people[4], city="Faro")
        assert (await upsert(crm, email=taken))["contact"]["id"] == people[4]
        await crm.delete(f"/contacts/{people[4]}")
        assert (await upsert(crm, email=taken))["contact"]["id"] == twin

    async def test_a_freed_address_can_be_taken(self, crm: Client, people: list[str]) -> None:
        taken = (await contact(crm, people[4]))["email"]
        await put(crm, people[4], email="elsewhere@example.net")
        assert (await create(crm, email=taken)).status_code == 201

    async def test_search_duplicate_finds_by_mail_and_by_number(self, crm: Client, people: list[str]) -> None:
        wanted = await contact(crm, people[5])
        for params in ({"email": wanted["email"].upper()}, {"number": wanted["phone"]}):
            reply = await crm.get("/contacts/search/duplicate", params={"locationId": LOCATION, **params})
            assert reply.json()["contact"]["id"] == people[5]
        params = {"locationId": LOCATION, "email": "nobody@example.net"}
        assert (await crm.get("/contacts/search/duplicate", params=params)).json() == {"contact": None}


class TestUpsert:
    async def test_it_creates_what_it_does_not_find(self, crm: Client) -> None:
        answer = await upsert(crm, email="new@example.net", gender="female", phone="+351 910 000 000")
        assert answer["new"] is True
        found = await contact(crm, answer["contact"]["id"])
        assert (found["gender"], found["phone"]) == ("female", "+351910000000")

    async def test_a_secondary_address_becomes_primary_and_the_old_primary_is_lost(
        self, crm: Client, people: list[str]
    ) -> None:
        before = await contact(crm, people[3])
        second = before["additionalEmails"][0]["email"]
        answer = await upsert(crm, email=second)
        assert (answer["new"], answer["contact"]["id"]) == (False, people[3])
        after = await contact(crm, people[3])
        assert (after["email"], after["additionalEmails"]) == (second, [])
        params = {"locationId": LOCATION, "email": before["email"]}
        assert (await crm.get("/contacts/search/duplicate", params=params)).json()["contact"] is None

    async def test_phone_is_not_applied_to_an_existing_contact(self, crm: Client, people: list[str]) -> None:
        before = await contact(crm, people[0])
        await upsert(crm, email=before["email"], phone="+4930123456", city="Berlin")
        after = await contact(crm, people[0])
        assert (after["phone"], after["city"]) == (before["phone"], "Berlin")

    async def test_gender_of_an_existing_contact_is_dropped_without_a_word(self, crm: Client) -> None:
        key = (await create(crm, email="g@example.net", gender="male")).json()["contact"]["id"]
        assert (await upsert(crm, email="g@example.net", gender="female"))["contact"]["gender"] == "male"
        assert (await contact(crm, key))["gender"] == "male"

    @pytest.mark.parametrize(("order", "hit"), [(["email", "phone"], 0), (["phone", "email"], 1)])
    async def test_the_location_decides_whether_mail_or_phone_is_looked_for_first(
        self, crm: Client, people: list[str], order: list[str], hit: int
    ) -> None:
        await crm.post("/_sandbox/settings", json={"match_order": order})
        one, two = await contact(crm, people[0]), await contact(crm, people[1])
        answer = await upsert(crm, email=one["email"], phone=two["phone"], city="Faro")
        assert answer["contact"]["id"] == people[hit]
        for key, before in zip(people[:2], (one, two), strict=True):
            after = await contact(crm, key)
            assert (after["email"], after["phone"]) == (before["email"], before["phone"])
            assert (after["city"] == "Faro") == (key == people[hit])

    async def test_tags_are_replaced(self, crm: Client, people: list[str]) -> None:
        mail = (await contact(crm, people[0]))["email"]
        assert (await upsert(crm, email=mail, tags=["One"]))["contact"]["tags"] == ["one"]

    async def test_without_mail_and_phone_it_is_refused(self, crm: Client) -> None:
        reply = await crm.post("/contacts/upsert", json={"locationId": LOCATION, "firstName": "A"})
        assert reply.status_code == 422


class TestSearch:
    async def test_search_has_another_shape_than_get(self, crm: Client) -> None:
        fields = {"email": "s@example.net", "address1": "1 High St", "dateOfBirth": "1990/09/25"}
        key = (await create(crm, **fields, dndSettings={"SMS": {"status": "active"}})).json()["contact"]["id"]
        got = await contact(crm, key)
        assert (got["address1"], got["dateOfBirth"]) == ("1 High St", "1990-09-25")
        body = {
            "locationId": LOCATION,
            "pageLimit": 1,
            "filters": [{"field": "email", "operator": "eq", "value": "s@example.net"}],
        }
        answer = (await crm.post("/contacts/search", json=body)).json()
        found = answer["contacts"][0]
        assert (answer["total"], found["id"], found["address"]) == (1, key, "1 High St")
        assert found["dateOfBirth"] == 654_220_800_000
        assert not {"address1", "dndSettings"} & found.keys()
        assert found["city"] is None

    async def test_search_needs_a_location_and_a_page_limit(self, crm: Client) -> None:
        reply = await crm.post("/contacts/search", json={})
        assert reply.json()["message"] == ["locationId should not be empty", "pageLimit should not be empty"]

    async def test_the_list_pages_through_every_contact_once(self, crm: Client, people: list[str]) -> None:
        seen: list[str] = []
        params: Row = {"locationId": LOCATION, "limit": 25}
        while True:
            answer = (await crm.get("/contacts/", params=params)).json()
            seen += [found["id"] for found in answer["contacts"]]
            if "startAfterId" not in answer["meta"]:
                break
            params |= {name: answer["meta"][name] for name in ("startAfter", "startAfterId")}
        assert seen == people[::-1]

    async def test_search_pages_by_number_and_by_cursor(self, crm: Client, people: list[str]) -> None:
        body: Row = {"locationId": LOCATION, "pageLimit": 20}
        first = (await crm.post("/contacts/search", json=body)).json()["contacts"]
        second = (await crm.post("/contacts/search", json=body | {"page": 2})).json()["contacts"]
        cursor = {"searchAfter": first[-1]["searchAfter"]}
        assert second == (await crm.post("/contacts/search", json=body | cursor)).json()["contacts"]
        assert [found["id"] for found in first + second] == people[::-1][:40]

    async def test_search_filters_hold_together(self, crm: Client, people: list[str]) -> None:
        await put(crm, people[2], tags=["needle"], city="Faro")
        await put(crm, people[4], tags=["needle"])
        tagged = {"field": "tags", "operator": "eq", "value": "needle"}
        body: Row = {"locationId": LOCATION, "pageLimit": 5, "filters": [tagged]}
        assert (await crm.post("/contacts/search", json=body)).json()["total"] == 2
        body["filters"] = [tagged, {"field": "city", "operator": "contains", "value": "far"}]
        found = (await crm.post("/contacts/search", json=body)).json()["contacts"]
        assert [row["id"] for row in found] == [people[2]]

    async def test_the_list_finds_by_text(self, crm: Client, people: list[str]) -> None:
        await put(crm, people[2], name="Quirin Zzyzx")
        answer = (await crm.get("/contacts/", params={"locationId": LOCATION, "query": "zzyzx"})).json()
        assert ([row["id"] for row in answer["contacts"]], answer["count"]) == ([people[2]], 1)

    @pytest.mark.parametrize("limit", ["101", "many"])
    async def test_a_page_is_a_hundred_at_most(self, crm: Client, limit: str) -> None:
        reply = await crm.get("/contacts/", params={"locationId": LOCATION, "limit": limit})
        assert reply.status_code == 422

    async def test_a_malformed_cursor_is_refused(self, crm: Client) -> None:
        params = {"locationId": LOCATION, "startAfter": "yesterday", "startAfterId": "x"}
        assert (await crm.get("/contacts/", params=params)).status_code == 422


class TestDeletion:
    async def test_a_deleted_contact_takes_notes_and_tasks_along_and_leaves_its_opportunity(
        self, crm: Client, people: list[str], deal: str, seeded: Starlette
    ) -> None:
        key = people[0]
        await crm.post(f"/contacts/{key}/notes", json={"body": "met at fair"})
        task = {"title": "call", "dueDate": "2026-01-01T00:00:00Z", "completed": False}
        await crm.post(f"/contacts/{key}/tasks", json=task)
        assert (await opportunity(crm, deal))["contactId"] == key
        assert (await crm.delete(f"/contacts/{key}")).json() == {"succeded": True}
        assert (await crm.get(f"/contacts/{key}")).status_code == 400
        assert not vendor(seeded).notes.rows
        assert not vendor(seeded).tasks.rows
        assert not {"contactId", "contact"} & (await opportunity(crm, deal)).keys()

    async def test_a_contact_made_again_has_a_new_id(self, crm: Client, people: list[str]) -> None:
        before = await contact(crm, people[0])
        await crm.delete(f"/contacts/{people[0]}")
        again = (await create(crm, email=before["email"])).json()["contact"]
        assert again["id"] not in people
        assert len(again["id"]) == 20
        assert again["id"].isalnum()
        reply = await create(crm, email="x@example.net", id=people[0])
        assert reply.json()["message"] == ["property id should not exist"]


class TestOpportunities:
    @pytest.mark.parametrize("name", ["contactId", "source", "followers", "lostReasonId"])
    async def test_put_refuses_what_only_other_calls_may_change(self, crm: Client, deal: str, name: str) -> None:
        reply = await crm.put(f"/opportunities/{deal}", json={name: "x"})
        assert reply.json()["message"] == [f"property {name} should not exist"]

    async def test_upsert_moves_it_to_another_contact_and_source_and_put_cannot_put_it_back(
        self, crm: Client, people: list[str], deal: str
    ) -> None:
        before = await opportunity(crm, deal)
        body = {"id": deal, "pipelineId": before["pipelineId"], "locationId": LOCATION}
        reply = await crm.post("/opportunities/upsert", json=body | {"contactId": people[7], "source": "api"})
        assert reply.json()["new"] is False
        after = await opportunity(crm, deal)
        assert (after["contactId"], after["contact"]["id"], after["source"]) == (people[7], people[7], "api")
        assert (await crm.put(f"/opportunities/{deal}", json={"contactId": people[0]})).status_code == 422

    async def test_upsert_finds_by_contact_and_pipeline_else_creates(self, crm: Client, people: list[str]) -> None:
        body: Row = {"pipelineId": seeds.PIPELINES[1]["id"], "locationId": LOCATION, "contactId": people[5]}
        assert (await crm.post("/opportunities/upsert", json=body)).status_code == 422
        first = (await crm.post("/opportunities/upsert", json=body | {"name": "One"})).json()
        second = (await crm.post("/opportunities/upsert", json=body | {"name": "Two"})).json()
        assert (first["new"], second["new"]) == (True, False)
        assert first["opportunity"]["id"] == second["opportunity"]["id"]
        assert second["opportunity"]["name"] == "Two"

    async def test_upsert_adds_and_removes_followers(self, crm: Client, deal: str) -> None:
        body: Row = {"id": deal, "pipelineId": seeds.PIPELINES[0]["id"], "locationId": LOCATION}
        for more, expected in (
            ({"followers": ["a", "b"], "isRemoveAllFollowers": True}, ["a", "b"]),
            ({"followers": ["b", "c"], "followersActionType": "add"}, ["a", "b", "c"]),
            ({"followers": ["a"], "followersActionType": "remove"}, ["b", "c"]),
        ):
            answer = (await crm.post("/opportunities/upsert", json=body | more)).json()
            assert answer["opportunity"]["followers"] == expected

    async def test_the_lost_reason_goes_through_status_and_leaves_with_it(self, crm: Client, deal: str) -> None:
        reason = seeds.LOST_REASONS[0]["id"]
        status = f"/opportunities/{deal}/status"
        assert (await crm.put(status, json={"status": "lost", "lostReasonId": reason})).json() == {"succeded": True}
        lost = await opportunity(crm, deal)
        assert (lost["status"], lost["lostReasonId"]) == ("lost", reason)
        await crm.put(status, json={"status": "open"})
        won = await opportunity(crm, deal)
        assert (won["status"], "lostReasonId" in won) == ("open", False)
        assert won["lastStatusChangeAt"] > lost["lastStatusChangeAt"]

    async def test_a_pipeline_without_a_stage_moves_to_its_first_stage(self, crm: Client, deal: str) -> None:
        other = seeds.PIPELINES[1]
        answer = (await crm.put(f"/opportunities/{deal}", json={"pipelineId": other["id"]})).json()
        assert answer["opportunity"]["pipelineStageId"] == other["stages"][0]["id"]

    @pytest.mark.parametrize("name", ["pipelineId", "pipelineStageId"])
    async def test_a_pipeline_or_stage_that_is_not_there_is_refused(self, crm: Client, deal: str, name: str) -> None:
        before = await opportunity(crm, deal)
        assert (await crm.put(f"/opportunities/{deal}", json={"name": "Other", name: "x"})).status_code == 400
        assert await opportunity(crm, deal) == before

    async def test_updated_at_tells_of_every_write(self, crm: Client, deal: str) -> None:
        seen = []
        for value in (1, 2, 2):
            await crm.put(f"/opportunities/{deal}", json={"monetaryValue": value})
            seen.append((await opportunity(crm, deal))["updatedAt"])
        assert seen == sorted(set(seen))

    async def test_search_filters_and_pages(self, crm: Client, seeded: Starlette) -> None:
        deals = list(vendor(seeded).opportunities.rows.values())
        params = {"location_id": LOCATION, "contact_id": deals[1]["contactId"]}
        found = (await crm.get("/opportunities/search", params=params)).json()["opportunities"]
        assert [row["id"] for row in found] == [deals[1]["id"]]
        body = {"locationId": LOCATION, "query": "", "limit": 4}
        pages = [(await crm.post("/opportunities/search", json=body | {"page": n})).json() for n in (1, 2)]
        assert [row["id"] for page in pages for row in page["opportunities"]] == [row["id"] for row in deals[::-1]]

    async def test_the_next_page_follows_without_gap_or_repetition(self, crm: Client, seeded: Starlette) -> None:
        url = f"/opportunities/search?location_id={LOCATION}&limit=2"
        seen = []
        while url:
            answer = (await crm.get(url)).json()
            seen += [row["id"] for row in answer["opportunities"]]
            url = answer["meta"].get("nextPageUrl")
        assert seen == list(vendor(seeded).opportunities.rows)[::-1]


class TestTheRest:
    async def test_followers_are_added_and_removed(self, crm: Client, people: list[str], deal: str) -> None:
        for path in (f"/contacts/{people[0]}/followers", f"/opportunities/{deal}/followers"):
            await crm.request("DELETE", path, params={"isRemoveAllFollowers": "true"}, json={})
            added = await crm.post(path, json={"followers": ["a", "b", "a"]})
            assert added.json() == {"followers": ["a", "b"], "followersAdded": ["a", "b"]}
            removed = await crm.request("DELETE", path, json={"followers": ["a", "z"]})
            assert removed.json() == {"followers": ["b"], "followersRemoved": ["a"]}

    async def test_business_is_attached_and_detached_in_bulk(self, crm: Client, people: list[str]) -> None:
        business = seeds.BUSINESSES[0]["id"]
        body: Row = {"locationId": LOCATION, "ids": [people[0], people[1], UNKNOWN], "businessId": business}
        assert (await crm.post("/contacts/bulk/business", json=body)).json()["ids"] == people[:2]
        listed = await crm.get(f"/contacts/business/{business}", params={"locationId": LOCATION})
        assert {people[0], people[1]} <= {row["id"] for row in listed.json()["contacts"]}
        await crm.post("/contacts/bulk/business", json=body | {"businessId": None})
        assert "businessId" not in await contact(crm, people[0])

    async def test_an_enrolment_is_remembered_and_not_taken_back(
        self, crm: Client, people: list[str], seeded: Starlette
    ) -> None:
        path = f"/contacts/{people[0]}/workflow/flow1"
        for method in ("POST", "DELETE"):
            assert (await crm.request(method, path, json={})).json() == {"succeded": True}
        happened = [(row["targetId"], row["event"]) for row in vendor(seeded).enrolments.rows.values()]
        assert happened == [("flow1", "added"), ("flow1", "removed")]

    async def test_a_note_of_another_contact_is_not_found(self, crm: Client, people: list[str]) -> None:
        note = (await crm.post(f"/contacts/{people[0]}/notes", json={"body": "a"})).json()["note"]["id"]
        assert (await crm.get(f"/contacts/{people[1]}/notes/{note}")).status_code == 400
        assert (await crm.put(f"/contacts/{people[0]}/notes/{note}", json={"body": "b"})).json()["note"]["body"] == "b"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestLimits:
    async def test_the_documented_headers_count_down_and_the_limit_refuses(self) -> None:
        app = create_app(records=1)
        clock = Clock()
        app.state.sandbox.limiter.clock = clock
        path = f"/contacts/{next(iter(vendor(app).contacts.rows))}"
        async with Client(transport=httpx2.ASGITransport(app=app), base_url="http://s", headers=HEADERS) as client:
            replies = [await client.get(path) for _ in range(101)]
            assert {reply.status_code for reply in replies[:100]} == {200}
            names = ("Limit-Daily", "Daily-Remaining", "Interval-Milliseconds", "Max", "Remaining")
            told = [[int(reply.headers[f"X-RateLimit-{name}"]) for name in names] for reply in replies]
            assert told[0] == [200_000, 199_999, 10_000, 100, 99]
            assert told[100] == [200_000, 199_900, 10_000, 100, 0]
            assert replies[100].status_code == 429
            assert replies[100].json() == {"statusCode": 429, "message": "Too Many Requests"}
            clock.now += 10
            assert (await client.get(path)).status_code == 200

    async def test_the_day_has_a_limit_of_its_own(self) -> None:
        app = create_app(records=0, limits=RateLimits(per_interval=10, interval_s=1, per_day=3))
        clock = Clock()
        app.state.sandbox.limiter.clock = clock
        async with Client(transport=httpx2.ASGITransport(app=app), base_url="http://s", headers=HEADERS) as client:
            statuses = []
            for _ in range(4):
                clock.now += 5
                statuses.append((await client.get("/x")).status_code)
            assert statuses == [404, 404, 404, 429]
            clock.now += 86_400
            assert (await client.get("/x")).status_code == 404

    async def test_a_refused_write_does_nothing_and_control_is_free(self) -> None:
        app = create_app(records=1, limits=RateLimits(per_interval=0, interval_s=10, per_day=10))
        key = next(iter(vendor(app).contacts.rows))
        async with Client(transport=httpx2.ASGITransport(app=app), base_url="http://s", headers=HEADERS) as client:
            assert (await put(client, key, firstName="No")).status_code == 429
            assert vendor(app).contacts.rows[key]["firstName"] != "No"
            counts = (await client.get("/_sandbox/counts")).json()
            assert (counts["rate_limited"], counts["applied"]) == (1, 0)

    async def test_without_limits_there_are_no_headers(self, crm: Client) -> None:
        reply = await crm.get("/x")
        assert not [name for name in reply.headers if name.startswith("x-ratelimit")]


async def test_every_request_takes_as_long_as_the_vendor_is_away() -> None:
    app = create_app(records=0, limits=None, latency_s=0.05)
    async with Client(transport=httpx2.ASGITransport(app=app), base_url="http://s", headers=HEADERS) as client:
        began = time.perf_counter()
        await client.get("/x")
        assert time.perf_counter() - began >= 0.05


class TestFaults:
    async def test_create_answers_422_yet_creates(self, crm: Client, seeded: Starlette) -> None:
        body = {"statusCode": 422, "message": ["property x should not exist"], "error": "Unprocessable Entity"}
        await fault(
            crm, "done_then_status", status=422, body=body, match={"method": "POST", "path_regex": "^/contacts"}
        )
        reply = await create(crm, email="ghost@example.net")
        assert (reply.status_code, reply.json()) == (422, body)
        assert vendor(seeded).contacts.find("email", "ghost@example.net")

    @pytest.mark.parametrize(
        ("kind", "status", "done"),
        [
            ("status", 500, False),
            ("html", 502, False),
            ("rate_limited", 429, False),
            ("ok_not_done", 200, False),
            ("done_then_status", 500, True),
            ("done_then_html", 502, True),
            ("half_json", 200, True),
            ("empty", 200, True),
        ],
    )
    async def test_each_kind_does_or_does_not_what_it_answers(
        self, crm: Client, people: list[str], kind: str, status: int, done: bool
    ) -> None:
        before = await contact(crm, people[0])
        await fault(crm, kind)
        reply = await put(crm, people[0], firstName="Faulty", tags=["f"])
        assert reply.status_code == status
        after = await contact(crm, people[0])
        assert (after["firstName"] == "Faulty") is done
        assert (after == before) is not done
        log = (await crm.get("/_sandbox/requests")).json()["requests"]
        assert log[1]["applied"] is done

    async def test_answers_of_faults_are_what_clients_stumble_over(self, crm: Client, people: list[str]) -> None:
        for kind in ("html", "half_json", "empty", "rate_limited", "ok_not_done"):
            await fault(crm, kind, seconds=7)
        html, half, empty, limited, fake = [await put(crm, people[0], city="Porto") for _ in range(5)]
        assert (html.headers["content-type"], html.text[:6]) == ("text/html", "<html>")
        with pytest.raises(json.JSONDecodeError):
            half.json()
        assert empty.content == b""
        assert limited.headers["Retry-After"] == "7"
        assert fake.json()["contact"]["city"] == "Porto"

    async def test_what_was_only_seemingly_done_can_be_found_nowhere(self, crm: Client, seeded: Starlette) -> None:
        await fault(crm, "ok_not_done", times=-1)
        reply = await create(crm, email="ghost@example.net")
        assert reply.status_code == 201
        assert not vendor(seeded).contacts.find("email", "ghost@example.net")
        assert len(vendor(seeded).contacts.order) == 60
        key = next(iter(vendor(seeded).contacts.rows))
        assert (await crm.delete(f"/contacts/{key}")).status_code == 200
        await crm.delete("/_sandbox/faults")
        assert (await contact(crm, key))["id"] == key
        listed = (await crm.get("/contacts/", params={"locationId": LOCATION, "limit": 100})).json()
        assert len(listed["contacts"]) == 60

    async def test_after_and_times_count_only_matching_requests(self, crm: Client, people: list[str]) -> None:
        await fault(crm, "status", after=1, times=2, match={"method": "PUT", "path_regex": people[0]})
        statuses = []
        for _ in range(4):
            assert (await put(crm, people[1], city="A")).status_code == 200
            assert (await crm.get(f"/contacts/{people[0]}")).status_code == 200
            statuses.append((await put(crm, people[0], city="A")).status_code)
        assert statuses == [200, 500, 500, 200]

    @pytest.mark.parametrize("field", ["city", seeds.JOB_TITLE])
    async def test_one_field_is_ignored_without_a_word(self, crm: Client, people: list[str], field: str) -> None:
        before = await contact(crm, people[0])
        await fault(crm, "not_applied_field", field=field)
        written = [{"id": seeds.JOB_TITLE, "field_value": "CTO"}]
        assert (await put(crm, people[0], city="Faro", firstName="F", customFields=written)).status_code == 200
        after = await contact(crm, people[0])
        assert after["firstName"] == "F"
        assert (after["city"] == "Faro") is (field != "city")
        assert (custom(after).get(seeds.JOB_TITLE) == "CTO") is (field == "city")
        assert before["city"] != "Faro"

    async def test_a_stale_read_shows_the_image_before_the_last_write(self, crm: Client, people: list[str]) -> None:
        first = await contact(crm, people[0])
        await put(crm, people[0], city="One")
        second = await contact(crm, people[0])
        await put(crm, people[0], city="Two")
        await fault(crm, "stale_read", times=-1)
        assert await contact(crm, people[0]) == second != first
        assert (await contact(crm, people[1]))["id"] == people[1]

    async def test_stale_reads_do_not_know_the_new_and_still_know_the_deleted(
        self, crm: Client, people: list[str]
    ) -> None:
        key = (await create(crm, email="fresh@example.net")).json()["contact"]["id"]
        await crm.delete(f"/contacts/{people[0]}")
        await fault(crm, "stale_read", times=-1)
        assert (await crm.get(f"/contacts/{key}")).status_code == 400
        assert (await contact(crm, people[0]))["id"] == people[0]
        body = {"locationId": LOCATION, "pageLimit": 100}
        listed = (await crm.post("/contacts/search", json=body)).json()["contacts"]
        assert key not in [row["id"] for row in listed]

    async def test_a_fault_that_is_none_is_refused(self, crm: Client) -> None:
        for wrong in ({"kind": "earthquake"}, {"kind": "html", "match": {"path_regex": "("}}, {"kind": "html", "x": 1}):
            assert (await crm.post("/_sandbox/faults", json=[wrong])).status_code == 422
        assert (await crm.get("/_sandbox/faults")).json() == {"faults": []}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Starlette]]:
    app = create_app(records=5, limits=None)
    with running(app) as url:
        yield url, app


@pytest.fixture
async def wired(server: tuple[str, Starlette]) -> Any:
    async with Client(base_url=server[0], headers=HEADERS) as client:
        await client.post("/_sandbox/reset")
        yield client


async def hung_up(wired: Client, app: Starlette, key: str) -> None:
    """A write that hangs in the sandbox, and whose client has gone."""
    await fault(wired, "hang", seconds=600, match={"method": "PUT"})
    client = asyncio.create_task(put(wired, key, firstName="Late"))
    async with asyncio.timeout(30):
        while not app.state.sandbox._held:
            await wired.get("/_sandbox/counts")
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client


class TestOverTheWire:
    @pytest.mark.parametrize(("kind", "done"), [("drop_before", False), ("drop_after", True)])
    async def test_the_connection_is_closed_without_an_answer(
        self, wired: Client, server: tuple[str, Starlette], kind: str, done: bool
    ) -> None:
        key = next(iter(vendor(server[1]).contacts.rows))
        await fault(wired, kind)
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
            await put(wired, key, firstName="Dropped")
        assert ((await contact(wired, key))["firstName"] == "Dropped") is done
        dropped = (await wired.get("/_sandbox/requests")).json()["requests"][0]
        assert (dropped["status"], dropped["applied"]) == (0, done)

    async def test_a_slow_write_lands_although_the_client_hung_up(
        self, wired: Client, server: tuple[str, Starlette]
    ) -> None:
        key = next(iter(vendor(server[1]).contacts.rows))
        await hung_up(wired, server[1], key)
        assert (await contact(wired, key))["firstName"] != "Late"
        assert (await wired.post("/_sandbox/release")).json() == {"released": 1}
        async with asyncio.timeout(30):
            while (await contact(wired, key))["firstName"] != "Late":
                pass

    async def test_a_reset_cuts_what_still_hangs(self, wired: Client, server: tuple[str, Starlette]) -> None:
        key = next(iter(vendor(server[1]).contacts.rows))
        await hung_up(wired, server[1], key)
        held = next(iter(server[1].state.sandbox._tasks))
        await wired.post("/_sandbox/reset")
        async with asyncio.timeout(30):
            while not held.done():
                await wired.get("/_sandbox/counts")
        assert held.result().status == 0
        assert (await contact(wired, key))["firstName"] != "Late"

    async def test_a_hanging_request_goes_on_by_itself_after_its_seconds(
        self, wired: Client, server: tuple[str, Starlette]
    ) -> None:
        key = next(iter(vendor(server[1]).contacts.rows))
        await fault(wired, "hang", seconds=0.05)
        assert (await put(wired, key, firstName="Slow")).json()["contact"]["firstName"] == "Slow"

    async def test_one_resource_is_streamed_line_by_line(self, wired: Client) -> None:
        lines = (await wired.get("/_sandbox/state/contacts")).text.splitlines()
        assert [json.loads(line) for line in lines] == (await wired.get("/_sandbox/state")).json()["contacts"]
        assert (await wired.get("/_sandbox/state/nothing")).status_code == 404

    async def test_half_a_body_is_no_write(self, server: tuple[str, Starlette]) -> None:
        url, app = server
        host, port = url.removeprefix("http://").split(":")
        before = app.state.sandbox.log.seq
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /contacts/ HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with Client(base_url=url, headers=HEADERS) as client:
            await client.get("/x")
        assert app.state.sandbox.log.seq == before + 1
        assert reader.at_eof() or not await reader.read()


class TestControl:
    async def test_requests_are_logged_with_what_they_changed(self, crm: Client, people: list[str]) -> None:
        await crm.get(f"/contacts/{people[0]}")
        await put(crm, people[0], firstName="A")
        await put(crm, people[0], address1="x" * LOG_BODY_BYTES_MAX)
        await crm.get("/contacts/", params={"locationId": LOCATION})
        log = (await crm.get("/_sandbox/requests")).json()["requests"]
        assert [(entry["seq"], entry["method"], entry["status"], entry["applied"]) for entry in log] == [
            (1, "GET", 200, False),
            (2, "PUT", 200, True),
            (3, "PUT", 200, True),
            (4, "GET", 200, False),
        ]
        assert log[1]["body"] == '{"firstName":"A"}'
        assert log[2]["body"].startswith("sha256:")
        assert log[3]["path"] == f"/contacts/?locationId={LOCATION}"
        assert (await crm.delete("/_sandbox/requests")).json() == {"requests": []}

    async def test_counts_tell_reads_from_writes(self, crm: Client, people: list[str]) -> None:
        await crm.get(f"/contacts/{people[0]}")
        await crm.post("/contacts/search", json={"locationId": LOCATION, "pageLimit": 1})
        await put(crm, people[0], firstName="A")
        await put(crm, people[0], id="A")
        counts = (await crm.get("/_sandbox/counts")).json()
        assert counts == {
            "total": 4,
            "reads": 2,
            "writes": 2,
            "applied": 1,
            "rate_limited": 0,
            "by_method": {"GET": 1, "POST": 1, "PUT": 2},
        }

    async def test_a_person_edits_what_the_api_may_not(self, crm: Client, people: list[str]) -> None:
        before = await contact(crm, people[0])
        fields = {
            "additionalEmails": [{"email": "second@example.net"}],
            "gender": "female",
            "city": "Faro",
            "customFields": [{"id": seeds.JOB_TITLE, "value": "CTO"}],
        }
        edit = {"resource": "contacts", "id": people[0], "fields": fields}
        assert (await crm.post("/_sandbox/edit", json=edit)).status_code == 200
        after = await contact(crm, people[0])
        assert (after["city"], after["gender"], custom(after)[seeds.JOB_TITLE]) == ("Faro", "female", "CTO")
        assert after["dateUpdated"] > before["dateUpdated"]
        assert (await upsert(crm, email="second@example.net"))["contact"]["id"] == people[0]

    async def test_a_person_deletes_and_edits_other_resources(self, crm: Client, people: list[str], deal: str) -> None:
        edit = {"resource": "opportunities", "id": deal, "fields": {"source": "person", "contactId": people[9]}}
        await crm.post("/_sandbox/edit", json=edit)
        found = await opportunity(crm, deal)
        assert (found["source"], found["contact"]["id"]) == ("person", people[9])
        gone = {"resource": "contacts", "id": people[9], "fields": None}
        await crm.post("/_sandbox/edit", json=gone)
        assert (await crm.get(f"/contacts/{people[9]}")).status_code == 400
        assert (await crm.post("/_sandbox/edit", json=gone)).status_code == 404
        assert (await crm.post("/_sandbox/edit", json={})).status_code == 422

    async def test_reset_brings_back_the_beginning(self, crm: Client, people: list[str], seeded: Starlette) -> None:
        before = (await crm.get("/_sandbox/state")).json()
        await crm.post("/_sandbox/settings", json={"missing_status": 404})
        await put(crm, people[0], firstName="A", email="moved@example.net")
        await create(crm, email="more@example.net")
        await crm.delete(f"/contacts/{people[1]}")
        await fault(crm, "html", times=-1)
        await crm.post("/_sandbox/reset")
        assert (await crm.get("/_sandbox/state")).json() == before
        assert (await crm.get(f"/contacts/{UNKNOWN}")).status_code == 400
        assert (await crm.get("/_sandbox/counts")).json()["total"] == 1
        assert not vendor(seeded).contacts.find("email", "moved@example.net")

    async def test_an_unknown_setting_is_refused(self, crm: Client) -> None:
        assert (await crm.post("/_sandbox/settings", json={"no_such": 1})).status_code == 422

    def test_the_log_forgets_the_oldest(self) -> None:
        sandbox: Sandbox = create_app().state.sandbox
        assert sandbox.log.entries.maxlen == 200_000


class TestSeeds:
    def test_the_same_seed_gives_the_same_records_and_another_gives_others(self) -> None:
        one, same, other = (list(seeds.contacts(100, seed)) for seed in (1, 1, 2))
        assert one == same != other
        assert list(seeds.opportunities(one, 1)) == list(seeds.opportunities(same, 1))

    def test_a_smaller_sandbox_is_the_beginning_of_a_larger_one(self) -> None:
        assert list(seeds.contacts(10, 1)) == list(seeds.contacts(100, 1))[:10]

    def test_candidates_look_like_an_agencys(self) -> None:
        people = list(seeds.contacts(500, 1))
        for name in ("id", "email", "phone"):
            assert len({row[name] for row in people}) == 500
        assert all(len(row["id"]) == 20 and row["id"].isalnum() for row in people)
        assert all(2 <= len(row["tags"]) <= 4 for row in people)
        assert all(normal_phone(row["phone"]) == row["phone"] for row in people)
        for name in ("additionalEmails", "dndSettings", "companyName", "businessId", "dateOfBirth"):
            assert 0 < sum(name in row for row in people) < 500
        assert {key for row in people for key in row["customFields"]} == {
            seeds.JOB_TITLE,
            seeds.SALARY,
            seeds.NOTICE,
            seeds.SKILLS,
        }

    def test_every_tenth_contact_has_an_opportunity_in_one_of_two_pipelines(self) -> None:
        people = list(seeds.contacts(95, 1))
        deals = list(seeds.opportunities(people, 1))
        assert [row["contactId"] for row in deals] == [row["id"] for row in people[::10]]
        assert {row["pipelineId"] for row in deals} == {pipeline["id"] for pipeline in seeds.PIPELINES}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("+1 888-888-8888", "+18888888888"),
        ("(888) 888.8888", "+18888888888"),
        ("0049 30 123456", "+4930123456"),
        ("351910000000", "+351910000000"),
        ("12", None),
        ("+12 ab 34567", None),
    ],
)
def test_phones_become_e164(written: str, kept: str | None) -> None:
    assert normal_phone(written) == kept


@pytest.mark.parametrize(
    "written", ["1990/09/25", "09/25/1990", "1990-09-25", "09-25-1990", "1990.09.25", "09_25_1990"]
)
def test_birthdays_are_kept_in_one_format(written: str) -> None:
    assert normal_date(written) == "1990-09-25"
    assert normal_date("25/25/1990") is None


# --- the vendor's own schemas -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def spec() -> VendorSpec:
    return required(highlevel_spec.load(*highlevel_spec.BESIDES))


def calls(person: str, other: str, deal: str) -> list[tuple[str, str, dict[str, str], Any, int]]:
    """One call or more of every route: method, pattern, parameters, query or body, status. In an order that works."""
    who, it = {":contactId": person}, {":id": deal}
    where = {"locationId": LOCATION}
    task = {"title": "Call", "dueDate": "2026-01-01T00:00:00Z", "completed": False}
    seen: list[tuple[str, str, dict[str, str], Any, int]] = [
        ("GET", "/contacts/", {}, where, 200),
        ("GET", "/contacts/", {}, {}, 422),
        ("POST", "/contacts/", {}, where | {"email": "a@example.net", "tags": ["a"], "dnd": True}, 201),
        ("POST", "/contacts/", {}, where | {"x": 1}, 422),
        ("POST", "/contacts/", {}, where | {"email": "a@example.net"}, 400),
        ("POST", "/contacts/search", {}, where | {"pageLimit": 2}, 200),
        ("GET", "/contacts/search/duplicate", {}, where | {"email": "a@example.net"}, 200),
        ("POST", "/contacts/upsert", {}, where | {"email": "a@example.net", "name": "A B"}, 200),
        (
            "POST",
            "/contacts/bulk/tags/update/:type",
            {":type": "add"},
            where | {"contacts": [person, UNKNOWN], "tags": ["t"]},
            201,
        ),
        ("POST", "/contacts/bulk/business", {}, where | {"ids": [person], "businessId": "business000000000001"}, 200),
        ("GET", "/contacts/business/:businessId", {":businessId": "business000000000001"}, where, 200),
        ("GET", "/contacts/:contactId", who, None, 200),
        ("GET", "/contacts/:contactId", {":contactId": UNKNOWN}, None, 400),
        ("PUT", "/contacts/:contactId", who, {"dateOfBirth": "1990-01-02", "city": None, "dnd": True}, 200),
        ("PUT", "/contacts/:contactId", who, {"id": "x"}, 422),
        ("POST", "/contacts/:contactId/tags", who, {"tags": ["x"]}, 201),
        ("DELETE", "/contacts/:contactId/tags", who, {"tags": ["x"]}, 200),
        ("POST", "/contacts/:contactId/followers", who, {"followers": ["u"]}, 201),
        ("DELETE", "/contacts/:contactId/followers", who, {"followers": ["u"]}, 200),
        ("POST", "/contacts/:contactId/notes", who, {"body": "a"}, 201),
        ("GET", "/contacts/:contactId/notes", who, None, 200),
        ("GET", "/contacts/:contactId/notes/:id", who | {":id": "notes"}, None, 200),
        ("PUT", "/contacts/:contactId/notes/:id", who | {":id": "notes"}, {"body": "b", "pinned": True}, 200),
        ("DELETE", "/contacts/:contactId/notes/:id", who | {":id": "notes"}, None, 200),
        ("POST", "/contacts/:contactId/tasks", who, task, 201),
        ("GET", "/contacts/:contactId/tasks", who, None, 200),
        ("GET", "/contacts/:contactId/tasks/:taskId", who | {":taskId": "tasks"}, None, 200),
        ("PUT", "/contacts/:contactId/tasks/:taskId", who | {":taskId": "tasks"}, {"title": "Write"}, 200),
        ("PUT", "/contacts/:contactId/tasks/:taskId/completed", who | {":taskId": "tasks"}, {"completed": True}, 200),
        ("DELETE", "/contacts/:contactId/tasks/:taskId", who | {":taskId": "tasks"}, None, 200),
        ("POST", "/contacts/:contactId/campaigns/:campaignId", who | {":campaignId": "c"}, {}, 201),
        ("DELETE", "/contacts/:contactId/campaigns/:campaignId", who | {":campaignId": "c"}, None, 200),
        ("DELETE", "/contacts/:contactId/campaigns/removeAll", who, None, 200),
        ("POST", "/contacts/:contactId/workflow/:workflowId", who | {":workflowId": "w"}, {}, 200),
        ("DELETE", "/contacts/:contactId/workflow/:workflowId", who | {":workflowId": "w"}, {}, 200),
    ]
    fresh = {"name": "N", "status": "open", "contactId": other, "pipelineId": seeds.PIPELINES[0]["id"]}
    lost = {"status": "lost", "lostReasonId": seeds.LOST_REASONS[0]["id"]}
    seen += [
        ("GET", "/opportunities/search", {}, {"location_id": LOCATION, "limit": "2"}, 200),
        ("POST", "/opportunities/search", {}, where | {"query": "", "limit": 3}, 200),
        ("GET", "/opportunities/pipelines", {}, where, 200),
        ("GET", "/opportunities/lost-reason", {}, where, 200),
        ("POST", "/opportunities/", {}, where | fresh, 201),
        ("POST", "/opportunities/", {}, where, 422),
        ("POST", "/opportunities/upsert", {}, where | fresh, 200),
        ("GET", "/opportunities/:id", it, None, 200),
        ("GET", "/opportunities/:id", {":id": UNKNOWN}, None, 400),
        ("PUT", "/opportunities/:id", it, {"monetaryValue": 5, "status": "won"}, 200),
        ("PUT", "/opportunities/:id/status", it, lost, 200),
        ("POST", "/opportunities/:id/followers", it, {"followers": ["u"]}, 201),
        ("DELETE", "/opportunities/:id/followers", it, {"followers": ["u"]}, 200),
        ("DELETE", "/opportunities/:id", it, None, 200),
        ("GET", "/locations/:locationId/customFields", {":locationId": LOCATION}, None, 200),
        ("GET", "/businesses/", {}, where, 200),
        ("GET", "/businesses/:businessId", {":businessId": "business000000000001"}, None, 200),
        ("DELETE", "/contacts/:contactId", who, None, 200),
    ]
    return seen


async def call(crm: Client, app: Starlette, method: str, pattern: str, params: dict[str, str], sent: Any) -> Any:
    path = pattern
    for name, value in sorted(params.items(), reverse=True):
        rows = vendor(app).store.tables[value].rows if value in ("notes", "tasks") else None
        path = path.replace(name, next(iter(rows)) if rows else value)
    if method == "GET":
        return await crm.get(path, params=sent)
    return await crm.request(method, path, **({} if sent is None else {"json": sent}))


class TestAgainstTheVendorsSpec:
    def test_every_route_is_called(self, seeded: Starlette) -> None:
        asked = {(method, pattern) for method, pattern, *_ in calls("a", "b", "c")}
        assert {(method, pattern) for method, pattern, _ in vendor(seeded)._table()} == asked

    async def test_every_answer_is_valid_against_the_vendors_schema(
        self, crm: Client, seeded: Starlette, people: list[str], deal: str, spec: VendorSpec
    ) -> None:
        checked = 0
        # Contact 7 refuses messages, and so shows the richest image; 20 has an opportunity of its own.
        for method, pattern, params, sent, status in calls(people[7], people[20], deal):
            reply = await call(crm, seeded, method, pattern, params, sent)
            assert reply.status_code == status, (method, pattern, reply.text)
            schema = spec.answer(method, pattern.replace(":", ""), status)
            if schema is not None:
                jsonschema.validate(reply.json(), schema)
                checked += 1
        assert checked > 45

    async def test_a_refusal_for_want_of_a_token_is_valid_too(self, crm: Client, spec: VendorSpec) -> None:
        reply = await crm.get("/contacts/any", headers={"Authorization": ""})
        schema = spec.answer("GET", "/contacts/any", 401)
        assert schema is not None
        jsonschema.validate(reply.json(), schema)

    async def test_every_writable_field_of_the_spec_is_taken(
        self, crm: Client, people: list[str], spec: VendorSpec
    ) -> None:
        dto = spec.documents["contacts.json"]["components"]["schemas"]["UpdateContactDto"]["properties"]
        examples = {name: field["example"] for name, field in dto.items() if "example" in field}
        assert len(examples) > 15
        reply = await put(crm, people[0], **examples, customFields=[], dndSettings={}, inboundDndSettings={})
        assert reply.status_code == 200, reply.text
        assert dto.keys() - examples.keys() - {*LIVE_FIELDS} == {"customFields", "dndSettings", "inboundDndSettings"}


async def test_routes_are_the_same_without_the_fixtures_settings() -> None:
    app = create_app(records=1, limits=None, settings=Settings(missing_status=404))
    async with Client(transport=httpx2.ASGITransport(app=app), base_url="http://s", headers=HEADERS) as client:
        assert (await client.get(f"/contacts/{UNKNOWN}")).status_code == 404
        assert (await client.get(f"/opportunities/{UNKNOWN}")).status_code == 404
