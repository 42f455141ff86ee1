"""A write that Guard repeats: what a later attempt meets tells nothing of an earlier one that may have arrived."""

from typing import Any

import pytest

from guard.target import client
from guard.target.http import HttpTarget
from tests.world import World

REFUSALS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 500},
    {"kind": "rate_limited", "seconds": 0},
]


def named(fault: dict[str, Any]) -> str:
    return f"{fault['kind']}-{fault.get('status', '')}"


@pytest.fixture(autouse=True)
def patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF_S", 0.001)


def at_any_pace(world: World) -> None:
    """A 429 is waited out for one window of the vendor's limit; here that is a short one."""
    target = world.guard.target("crm")
    assert isinstance(target, HttpTarget)
    target.client._pace._per_s = 0.01


@pytest.mark.parametrize("first", ["drop_after", "done_then_html", "done_then_status"])
@pytest.mark.parametrize("later", REFUSALS, ids=named)
async def test_an_update_that_was_done_and_then_refused_is_taken_back(
    small_world: World, first: str, later: dict[str, Any]
) -> None:
    world, before, id_ = small_world, small_world.seen(), next(iter(small_world.contacts))
    at_any_pace(world)
    await world.fault(kind=first, match={"method": "PUT"})
    await world.fault(**later, times=3, match={"method": "PUT"})
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong"}}])
    assert world.contacts[id_]["city"] == "Wrong"
    world.sandbox.faults.clear()

    report = await world.revert(answer)

    assert (answer["records_applied"], report["records_restored"], world.seen()) == (1, 1, before)


async def test_an_update_that_was_done_before_the_vendor_could_not_be_reached_any_more_is_taken_back(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, before, id_ = small_world, small_world.seen(), next(iter(small_world.contacts))
    await world.fault(kind="drop_after", match={"method": "PUT"})
    sent = -1  # the first call reads the pre-image

    async def paused_after_one(self: client.Client, *args: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == 2:
            raise client.Paused("the circuit is open")
        return await once(self, *args)

    once = client.Client._once
    monkeypatch.setattr(client.Client, "_once", paused_after_one)
    answer = await world.operate("update", [{"id": id_, "fields": {"city": "Wrong"}}])
    assert world.contacts[id_]["city"] == "Wrong"

    report = await world.revert(answer)

    assert (answer["records_applied"], report["records_restored"], world.seen()) == (1, 1, before)
