"""POST /v1/operations that cannot be: each is refused with its code before anything is written, on every body type."""

from collections.abc import Callable
from typing import Any

import pytest

from guard.flows.protect import Records
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.web.doors import NOTHING_WRITTEN, assert_problem, nothing_happens, nothing_is_written, post, send, updates
from tests.world import OTHER_KEY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = "80odnXVE9BAcgXuiNEr1"
SECOND = "FoCNvDAJbPdZLo13emta"


def record(id_: Any = FIRST, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "fields": fields or {"firstName": "Eve"}}


# name: action, records, further members, code
CASES: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any], str]] = {
    "another target's key": ("update", [record()], {"target": "other"}, "forbidden"),
    "unknown target": ("update", [record()], {"target": "nowhere"}, "forbidden"),
    "unknown resource": ("update", [record()], {"resource": "companies"}, "unknown_resource"),
    "unknown action": ("destroy", [record()], {}, "unknown_action"),
    "action of another resource": (
        "tags.add",
        [{"id": FIRST, "tags": "a"}],
        {"resource": "opportunities"},
        "unknown_action",
    ),
    "unknown field": ("update", [record(jobTitel="x")], {}, "unknown_field"),
    "read-only field": ("update", [record(dateAdded="2020-01-01")], {}, "unknown_field"),
    "unknown field in the last record": (
        "update",
        [record(), record(SECOND, firstName="Eve", nope="x")],
        {},
        "unknown_field",
    ),
    "id with a path in it": ("update", [record("../contacts/x")], {}, "invalid_record"),
    "id with a query in it": ("update", [record("abc?x=1")], {}, "invalid_record"),
    "no id": ("update", [{"fields": {"firstName": "Eve"}}], {}, "invalid_record"),
    "empty id": ("update", [record("")], {}, "invalid_record"),
    "the same record twice": ("update", [record(), record()], {}, "duplicate_record"),
    "the same record twice with different values": (
        "update",
        [record(), record(firstName="Adam")],
        {},
        "duplicate_record",
    ),
    "the same record twice, far apart": (
        "update",
        [record(), *(record(f"id{n}") for n in range(600)), record()],
        {},
        "duplicate_record",
    ),
    "deletion that was not accepted": ("delete", [{"id": FIRST}], {}, "irreversible"),
    "no records": ("update", [], {}, "invalid_request"),
    "record without fields": ("update", [{"id": FIRST}], {}, "invalid_record"),
    "member that no operation has": ("update", [record()], {"colour": "red"}, "invalid_request"),
    "note that is too long": ("update", [record()], {"note": "x" * 2001}, "invalid_request"),
    "flag that is none": ("update", [record()], {"accept_irreversible": "perhaps"}, "invalid_request"),
    "monetary value that is no number": (
        "update",
        [{"id": "7ZPllhfqWKh2O0lTQsq3", "fields": {"monetaryValue": "much"}}],
        {"resource": "opportunities"},
        "invalid_record",
    ),
    "lost reason without a status": (
        "update",
        [{"id": "7ZPllhfqWKh2O0lTQsq3", "fields": {"lostReasonId": "x"}}],
        {"resource": "opportunities"},
        "invalid_record",
    ),
}


def skip_where_the_type_cannot_say_it(kind: str, name: str) -> None:
    if kind == "csv" and name in ("no records", "no id", "record without fields"):
        pytest.skip("a CSV without rows or columns has tests of its own")


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("name", CASES)
async def test_a_bad_operation_is_refused_with_its_code_and_nothing_is_written(
    shared_world: World, kind: str, name: str
) -> None:
    skip_where_the_type_cannot_say_it(kind, name)
    action, records, members, code = CASES[name]
    with nothing_happens(shared_world):
        assert_problem(await send(shared_world, kind, action, records, **members), code)


@pytest.mark.parametrize("name", CASES)
async def test_the_refusal_of_a_bad_operation_says_in_words_that_nothing_was_written(
    shared_world: World, name: str
) -> None:
    action, records, members, _ = CASES[name]
    told = (await send(shared_world, "json", action, records, **members)).json()
    assert NOTHING_WRITTEN.search(told["detail"]), told["detail"]


ODD_RECORDS: dict[str, tuple[str, Any]] = {
    "fields that are a text": ("update", {"id": FIRST, "fields": "firstName=Eve"}),
    "fields that are a list": ("update", {"id": FIRST, "fields": ["firstName"]}),
    "fields that are a number": ("update", {"id": FIRST, "fields": 5}),
    "id that is a number": ("update", {"id": 5, "fields": {"firstName": "Eve"}}),
    "id that is a list": ("update", {"id": [FIRST], "fields": {"firstName": "Eve"}}),
    "tags that are a number": ("tags.add", {"id": FIRST, "tags": 5}),
    "tags that are not named": ("tags.add", {"id": FIRST}),
    "tags that are numbers": ("update", {"id": FIRST, "fields": {"tags": [1]}}),
    "custom fields that are an object": ("update", {"id": FIRST, "fields": {"customFields": {"a": 1}}}),
    "custom field without an id": ("update", {"id": FIRST, "fields": {"customFields": [{"field_value": 1}]}}),
    "channels that are a text": ("update", {"id": FIRST, "fields": {"dndSettings": "off"}}),
    "a channel that is a text": ("update", {"id": FIRST, "fields": {"dndSettings": {"Call": "off"}}}),
    "a business that is a list": ("business.set", {"id": FIRST, "businessId": ["a"]}),
    "a business that is an object": ("business.set", {"id": FIRST, "businessId": {"a": 1}}),
    "a business that is not named": ("business.set", {"id": FIRST}),
    "a member that no record has": ("update", {"id": FIRST, "fields": {"firstName": "Eve"}, "felds": {"city": "Rome"}}),
    "tags beside the fields": ("update", {"id": FIRST, "fields": {"firstName": "Eve"}, "tags": ["vip"]}),
    "a record that is a text": ("update", FIRST),
    "a record that is null": ("update", None),
    "a record that is a list": ("update", [FIRST]),
}


@pytest.mark.parametrize("kind", ["json", "ndjson"])
@pytest.mark.parametrize("name", ODD_RECORDS)
async def test_a_record_of_the_wrong_shape_is_refused_and_nothing_is_written(
    shared_world: World, kind: str, name: str
) -> None:
    action, odd = ODD_RECORDS[name]
    with nothing_happens(shared_world):
        reply = await send(shared_world, kind, action, [odd], accept_irreversible="true")
        assert_problem(reply, "invalid_record")


async def test_a_record_number_is_told_that_counts_from_one(shared_world: World) -> None:
    told = (await send(shared_world, "ndjson", "update", [record(), record(SECOND, nope="x")])).json()
    assert told["record"] == 2
    assert told["detail"].startswith("Record 2: ")


async def test_both_places_of_a_duplicate_are_told(shared_world: World) -> None:
    told = (await send(shared_world, "json", "update", [record(), record(SECOND), record()])).json()
    assert told["records"] == [1, 3]


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
async def test_ids_that_do_not_exist_are_told_one_by_one_and_nothing_is_sent(shared_world: World, kind: str) -> None:
    records = [record("doesNotExist1"), record("doesNotExist2")]
    before = len(shared_world.sandbox.log.entries)
    told = assert_problem(await send(shared_world, kind, "update", records), "operation_failed")
    assert [(each["id"], each["code"]) for each in told["failures"]] == [
        ("doesNotExist1", "not_found"),
        ("doesNotExist2", "not_found"),
    ]
    assert {"GET"} == {entry[1] for entry in list(shared_world.sandbox.log.entries)[before:]}


@pytest.mark.parametrize(
    "body",
    [{"records": []}, {"target": "crm"}, {"target": "crm", "resource": "contacts", "action": "update"}, {}],
    ids=lambda body: ",".join(body) or "empty",
)
async def test_a_body_that_leaves_out_what_is_needed_is_refused(shared_world: World, body: dict[str, Any]) -> None:
    with nothing_happens(shared_world):
        assert_problem(await shared_world.http.post("/v1/operations", json=body), "invalid_request")


@pytest.mark.parametrize("records", [None, {}, "all", 5, {"id": FIRST}], ids=repr)
async def test_records_that_are_no_list_are_refused(shared_world: World, records: Any) -> None:
    body = {"target": "crm", "resource": "contacts", "action": "update", "records": records}
    with nothing_happens(shared_world):
        assert_problem(await shared_world.http.post("/v1/operations", json=body), "invalid_request")


@pytest.mark.parametrize("name", ["target", "resource", "action", "note", "scenario", "dry_run", "id_column", "filter"])
@pytest.mark.parametrize("value", [[], 5, {"a": {}}], ids=repr)
async def test_a_member_of_the_wrong_type_is_refused(shared_world: World, name: str, value: Any) -> None:
    body = {"target": "crm", "resource": "contacts", "action": "update", "records": [record()], name: value}
    with nothing_is_written(shared_world):
        assert_problem(await shared_world.http.post("/v1/operations", json=body), "invalid_request")


async def test_a_filter_on_a_target_that_takes_none_is_refused_and_nothing_is_written(shared_world: World) -> None:
    body = {"target": "crm", "resource": "contacts", "action": "update", "filter": {"city": "Rome"}, "fields": {}}
    with nothing_is_written(shared_world):
        assert_problem(await shared_world.http.post("/v1/operations", json=body), "invalid_request")


async def test_records_and_a_filter_together_are_refused(shared_world: World) -> None:
    body = {
        "target": "crm",
        "resource": "contacts",
        "action": "update",
        "records": [record()],
        "filter": {"city": "Rome"},
    }
    with nothing_happens(shared_world):
        assert_problem(await shared_world.http.post("/v1/operations", json=body), "invalid_request")


@pytest.mark.parametrize("header", ["guard-run-key", "idempotency-key"])
@pytest.mark.parametrize("key", ["x" * 256, "a\tb", "a\x7fb"], ids=["too long", "tab", "delete"])
async def test_an_odd_key_of_the_caller_is_refused(shared_world: World, header: str, key: str) -> None:
    with nothing_happens(shared_world):
        reply = await send(shared_world, "json", "update", [record()], headers={header: key})
        assert_problem(reply, "invalid_request")


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
async def test_a_dry_run_of_a_bad_operation_is_refused_alike(shared_world: World, kind: str) -> None:
    with nothing_happens(shared_world):
        reply = await send(shared_world, kind, "update", [record(nope="x")], dry_run="true")
        assert_problem(reply, "unknown_field")


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
async def test_a_dry_run_neither_reads_nor_writes(shared_world: World, kind: str) -> None:
    before = len(shared_world.sandbox.log.entries)
    with nothing_happens(shared_world):
        reply = await send(shared_world, kind, "update", updates(shared_world), dry_run="true")
    assert (reply.status_code, reply.json()["status"], reply.json()["records_total"]) == (200, "dry_run", 3)
    assert before == len(shared_world.sandbox.log.entries)


async def test_fields_beside_the_records_are_refused_rather_than_ignored(shared_world: World) -> None:
    with nothing_happens(shared_world):
        body = {"target": "crm", "resource": "contacts", "action": "update", "fields": {"city": "Rome"}}
        reply = await shared_world.http.post("/v1/operations", json={**body, "records": updates(shared_world)})
        assert_problem(reply, "invalid_request")


async def test_the_key_of_another_target_uploads_nothing(shared_world: World) -> None:
    """The target stands in the query, so the refusal needs none of the body: asking for it would be the failure."""

    async def unread() -> Any:
        raise AssertionError("the body was asked for")
        yield b""

    with nothing_happens(shared_world):
        reply = await shared_world.http.post(
            "/v1/operations",
            params={"target": "crm", "resource": "contacts", "action": "update"},
            content=unread(),
            headers={"guard-key": OTHER_KEY, "content-type": "application/x-ndjson"},
        )
        assert_problem(reply, "forbidden")


async def test_more_records_than_the_policy_allows_are_refused(
    new_world: Callable[..., Any],
) -> None:
    async with new_world(policy={"records_max": 2}) as world:
        with nothing_happens(world):
            for kind in ("json", "ndjson", "csv"):
                assert_problem(await send(world, kind, "update", updates(world, 3)), "too_large")
        assert (await send(world, "csv", "update", updates(world, 2))).status_code == 200


async def test_the_policys_limit_of_records_holds_for_a_pass_through_too(new_world: Callable[..., Any]) -> None:
    async with new_world(policy={"records_max": 2}) as world:
        body = {"locationId": LOCATION_ID, "contacts": list(world.contacts)[:3], "tags": ["a"]}
        with nothing_happens(world):
            assert_problem(await world.http.post("/to/crm/contacts/bulk/tags/update/add", json=body), "too_large")


async def test_the_records_of_a_refused_operation_leave_nothing_open(
    shared_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Records] = []
    closed: list[Records] = []
    make, close = Records.__init__, Records.close

    def made(self: Records) -> None:
        opened.append(self)
        make(self)

    def ended(self: Records) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Records, "__init__", made)
    monkeypatch.setattr(Records, "close", ended)
    await send(shared_world, "json", "delete", [{"id": FIRST}])
    await send(shared_world, "json", "update", [record(), record()])
    await send(shared_world, "json", "update", [record()], headers={"idempotency-key": "x" * 256})
    await post(shared_world, b"{", "ndjson", target="crm", resource="contacts", action="update")
    assert len(opened) == 3  # the key is looked at before the body
    assert {id(each) for each in opened} == {id(each) for each in closed}


@pytest.mark.parametrize("member", ["dry_run=true", "accept_irreversible=true", "scenario=x", "action=delete"])
async def test_a_member_in_the_query_beside_a_json_body_is_refused_and_not_overlooked(
    shared_world: World, member: str
) -> None:
    """A dry run that nobody looks at would be a write."""
    body = {"target": "crm", "resource": "contacts", "action": "update", "records": updates(shared_world)}
    with nothing_happens(shared_world):
        reply = await shared_world.http.post(f"/v1/operations?{member}", json=body)
        assert assert_problem(reply, "invalid_request")["member"] == member.partition("=")[0]


async def test_a_member_that_stands_in_the_query_twice_is_refused(small_world: World) -> None:
    """One of the two would be ignored: perhaps the one that was meant."""
    row = f"id,city\n{next(iter(small_world.contacts))},Lisbon"
    query = "target=crm&resource=contacts&action=update&action=create"
    with nothing_happens(small_world):
        reply = await small_world.http.post(
            f"/v1/operations?{query}", content=row, headers={"content-type": "text/csv"}
        )
        assert (reply.status_code, reply.json()["member"]) == (422, "action")
    told = await small_world.operate("update", updates(small_world, 1))
    for address in ("/v1/runs?limit=1&limit=2", f"/v1/runs/{told['id']}/changes?after=1&after="):
        assert (await small_world.http.get(address)).status_code == 422
