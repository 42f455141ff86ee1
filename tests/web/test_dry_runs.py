"""What is told before anything is done: how far it can be taken back, and how many calls and seconds it takes."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.conftest import NewWorld
from tests.web.doors import assert_problem, nothing_happens, updates
from tests.world import World

FAST = {"requests": 10_000, "per_s": 1.0, "concurrency": 50}


def each(world: World, count: int = 7, **members: Any) -> list[dict[str, Any]]:
    return [{"id": id_, **members} for id_ in list(world.contacts)[:count]]


def created(world: World) -> list[dict[str, Any]]:
    del world
    return [{"fields": {"email": f"new{n}@example.com", "firstName": "New"}} for n in range(3)]


def met(world: World) -> list[dict[str, Any]]:
    """Records of an upsert that are all there."""
    there = list(world.contacts.values())[:4]
    return [{"fields": {"email": row["email"], "city": f"Nowhere {n}"}} for n, row in enumerate(there)]


STORIES: dict[str, tuple[str, Callable[[World], list[dict[str, Any]]]]] = {
    "update": ("update", lambda world: updates(world, 7)),
    "tags": ("tags.add", lambda world: each(world, tags=["a", "b"])),
    "create": ("create", created),
    "upsert": ("upsert", met),
    "delete": ("delete", each),
}


@pytest.mark.parametrize("name", STORIES)
async def test_the_calls_told_before_are_those_that_are_made(new_world: NewWorld, name: str) -> None:
    async with new_world(pace=FAST) as world:
        action, make = STORIES[name]
        log, records = world.sandbox.log.entries, make(world)
        told = await world.operate(action, records, dry_run=True, accept_irreversible=True)
        assert len(log) == 0

        run = await world.operate(action, records, accept_irreversible=True)
        made = len(log)
        await world.revert(run)

        assert (told["vendor_calls"], told["vendor_calls_of_revert"]) == (made, len(log) - made)


@pytest.mark.parametrize("made_of", ["update", "create", "upsert", "delete"])
async def test_what_cannot_be_taken_back_is_told_by_action(shared_world: World, made_of: str) -> None:
    action, make = STORIES[made_of]
    with nothing_happens(shared_world):
        told = await shared_world.operate(action, make(shared_world), dry_run=True)
    levels = {name: level for name, level in told.items() if name.startswith("reversible_") and level in LEVELS}
    assert (
        levels
        == {
            "update": {"reversible_update": "full"},
            "create": {"reversible_create": "full"},
            "upsert": {"reversible_create": "full", "reversible_update": "full"},
            "delete": {"reversible_delete": "partial"},
        }[made_of]
    )
    assert told["needs_accept_irreversible"] == (made_of == "delete") == bool(told["reversible_reasons"])
    assert "workflows" in told["side_effects"]


LEVELS = ("full", "partial", "none")


async def test_the_time_told_is_what_the_vendor_allows_at_best(new_world: NewWorld) -> None:
    """100 calls in 10 s: of the 240 calls the first 100 go at once, the next 100 after 10 s, the others after 20 s."""
    async with new_world(records=120) as world:
        told = await world.operate("update", updates(world, 120), dry_run=True)
        assert (told["vendor_calls"], told["seconds_at_least"], told["seconds_of_revert_at_least"]) == (240, 20, 20)


PASSED = {
    "fields": ("PUT", "/contacts/{id}", {"city": "Nowhere"}),
    "tags": ("POST", "/contacts/{id}/tags", {"tags": ["x"]}),
    "create": ("POST", "/contacts/", {"email": "a@example.com", "locationId": LOCATION_ID}),
    "delete": ("DELETE", "/contacts/{id}", None),
}


@pytest.mark.parametrize("name", PASSED)
async def test_a_passed_request_can_be_tried_dry(small_world: World, name: str) -> None:
    method, path, body = PASSED[name]
    id_ = next(iter(small_world.contacts))

    async def passed(dry: str) -> httpx2.Response:
        headers = {"Guard-Dry-Run": dry, "Guard-Accept-Irreversible": "1"}
        reply = await small_world.http.request(method, f"/to/crm{path.format(id=id_)}", json=body, headers=headers)
        await small_world.settle()
        return reply

    with nothing_happens(small_world):
        dry = await passed("1")
    told, log = dry.json(), small_world.sandbox.log.entries
    assert (dry.status_code, told["status"], told["records_total"], len(log)) == (200, "dry_run", 1, 0)
    assert told["needs_accept_irreversible"] == (name == "delete")

    await passed("0")
    assert told["vendor_calls"] == len(log)


@pytest.mark.parametrize("given", ["yes", "", "dry", "2"])
async def test_a_dry_run_that_is_asked_for_in_other_words_is_not_sent(shared_world: World, given: str) -> None:
    id_ = next(iter(shared_world.contacts))
    with nothing_happens(shared_world):
        reply = await shared_world.http.put(
            f"/to/crm/contacts/{id_}", json={"city": "X"}, headers={"Guard-Dry-Run": given}
        )
        assert_problem(reply, "invalid_request")


async def test_a_request_that_is_no_dry_run_is_sent(small_world: World) -> None:
    id_ = next(iter(small_world.contacts))
    reply = await small_world.http.put(f"/to/crm/contacts/{id_}", json={"city": "X"}, headers={"Guard-Dry-Run": "0"})
    assert (reply.status_code, small_world.contacts[id_]["city"]) == (200, "X")
