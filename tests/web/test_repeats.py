"""A repeated request acts once: the same run, the very same answer, one after the other and twenty at once."""

import asyncio
from typing import Any

import pytest

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.web.doors import NOTHING_WRITTEN, all_ended, assert_problem, nothing_happens, send, updates, vendor_writes
from tests.world import World

FIRST = "80odnXVE9BAcgXuiNEr1"
KEYS = [{"idempotency-key": "i1"}, {"guard-run-key": "r1"}, {"guard-run-key": "r1", "idempotency-key": "i1"}]


def named(keys: dict[str, str]) -> str:
    return " and ".join(keys)


async def put(world: World, city: str = "Rome", **headers: str) -> Any:
    return await world.http.put(f"/to/crm/contacts/{FIRST}", json={"city": city}, headers=headers)


def told_to_the_caller(reply: Any) -> tuple[Any, ...]:
    kept = ("content-type", "guard-run", "guard-operation", "guard-revert-url", "guard-status")
    return (reply.status_code, reply.content, *(reply.headers[name] for name in kept))


@pytest.mark.parametrize("keys", KEYS, ids=named)
async def test_a_repeated_pass_through_gets_the_very_same_answer(small_world: World, keys: dict[str, str]) -> None:
    first = await put(small_world, **keys)
    again = await put(small_world, **keys)
    assert told_to_the_caller(first) == told_to_the_caller(again)
    assert len(vendor_writes(small_world)) == 1


@pytest.mark.parametrize("keys", KEYS, ids=named)
async def test_twenty_equal_pass_throughs_at_once_are_one(small_world: World, keys: dict[str, str]) -> None:
    replies = await asyncio.gather(*(put(small_world, **keys) for _ in range(20)))
    assert len({told_to_the_caller(reply) for reply in replies}) == 1
    assert len(vendor_writes(small_world)) == 1


@pytest.mark.parametrize("keys", KEYS, ids=named)
async def test_a_repeated_creation_creates_once(small_world: World, keys: dict[str, str]) -> None:
    async def create() -> Any:
        body = {"firstName": "Eve", "email": "eve@example.com", "locationId": LOCATION_ID}
        return await small_world.http.post("/to/crm/contacts/", json=body, headers=keys)

    replies = await asyncio.gather(*(create() for _ in range(5)))
    assert {201} == {reply.status_code for reply in replies}, [reply.text for reply in replies]
    assert len({reply.content for reply in replies}) == 1
    assert len(small_world.contacts) == 21


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("keys", KEYS, ids=named)
async def test_twenty_equal_operations_at_once_are_one(small_world: World, kind: str, keys: dict[str, str]) -> None:
    records = updates(small_world, 3)
    replies = await asyncio.gather(*(send(small_world, kind, "update", records, headers=keys) for _ in range(20)))
    assert {200} == {reply.status_code for reply in replies}
    assert len({reply.content for reply in replies}) == 1
    assert len(vendor_writes(small_world)) == 3
    again = await send(small_world, kind, "update", records, headers=keys)
    assert replies[0].content == again.content


async def test_without_a_key_an_equal_request_is_another_one(small_world: World) -> None:
    first, second = await put(small_world), await put(small_world)
    assert first.headers["guard-run"] != second.headers["guard-run"]
    assert len(vendor_writes(small_world)) == 2


@pytest.mark.parametrize("keys", KEYS[::2], ids=named)
async def test_another_request_under_a_used_idempotency_key_is_refused(
    small_world: World, keys: dict[str, str]
) -> None:
    await put(small_world, **keys)
    await all_ended(small_world)
    with nothing_happens(small_world):
        told = assert_problem(await put(small_world, "Oslo", **keys), "key_reused")
        assert NOTHING_WRITTEN.search(told["detail"])
    await send(small_world, "json", "update", updates(small_world, 1), headers={"idempotency-key": "i2"})
    with nothing_happens(small_world):
        reply = await send(small_world, "json", "update", updates(small_world, 2), headers={"idempotency-key": "i2"})
        assert_problem(reply, "key_reused")


async def test_of_two_different_requests_at_once_under_one_idempotency_key_one_is_refused(small_world: World) -> None:
    key = {"idempotency-key": "i1"}
    replies = await asyncio.gather(put(small_world, "Rome", **key), put(small_world, "Oslo", **key))
    assert sorted(reply.status_code for reply in replies) == [200, 409]
    assert len(vendor_writes(small_world)) == 1


async def test_several_different_requests_at_once_under_one_run_key_are_one_run(small_world: World) -> None:
    before = small_world.seen()
    ids = list(small_world.contacts)[:8]

    async def one(n: int, id_: str) -> str:
        headers = {"guard-run-key": "execution 1"}
        if n % 2:
            reply = await small_world.http.put(f"/to/crm/contacts/{id_}", json={"city": f"C{n}"}, headers=headers)
            return str(reply.headers["guard-run"])
        reply = await send(small_world, "json", "update", [{"id": id_, "fields": {"city": f"C{n}"}}], headers=headers)
        return str(reply.json()["id"])

    (run,) = set(await asyncio.gather(*(one(n, id_) for n, id_ in enumerate(ids))))
    told = (await small_world.http.get(f"/v1/runs/{run}")).json()
    assert (len(told["operations"]), told["records_applied"]) == (8, 8)
    await small_world.settle()
    await small_world.revert(told)
    assert before == small_world.seen()


async def test_the_keys_of_two_clients_do_not_meet(small_world: World) -> None:
    mine = await put(small_world, **{"guard-run-key": "same"})
    theirs = await small_world.http.put(
        f"/to/other/contacts/{FIRST}",
        json={"city": "Rome"},
        headers={"guard-run-key": "same", "guard-key": "test-key-of-somebody-else-here"},
    )
    assert theirs.status_code == 200
    assert mine.headers["guard-run"] != theirs.headers["guard-run"]


async def test_the_same_body_as_json_and_as_lines_are_two_requests(small_world: World) -> None:
    key = {"idempotency-key": "i1"}
    await send(small_world, "json", "update", updates(small_world, 1), headers=key)
    reply = await send(small_world, "ndjson", "update", updates(small_world, 1), headers=key)
    assert_problem(reply, "key_reused")


async def test_a_refused_request_does_not_use_up_its_key(small_world: World) -> None:
    key = {"idempotency-key": "i1"}
    assert (await send(small_world, "json", "update", [{"id": FIRST, "fields": {"no": 1}}], headers=key)).is_error
    assert (await send(small_world, "json", "update", updates(small_world, 1), headers=key)).status_code == 200
