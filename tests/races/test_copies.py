"""Two copies of Guard, one store, one vendor: repeats, reverts, stops and takeovers that meet."""

import asyncio
import re
from typing import Any

import pytest

from guard.assembly import make_store
from guard.core.errors import Conflict
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, revert
from guard.settings import LimitSettings
from guard.store.journal import read_entry
from guard.target.http import HttpTarget
from tests.flows.copies import LONG, Clock, all_accounted_for, calling, swept, until
from tests.races.conftest import Copies
from tests.races.gate import GatedStore
from tests.web.doors import vendor_writes
from tests.world import World

KEY = {"idempotency-key": "once"}


def update(there: World, count: int = 3, **fields: str) -> dict[str, Any]:
    records = [{"id": id_, "fields": fields or {"city": "Wrong"}} for id_ in list(there.contacts)[:count]]
    return {"target": "crm", "resource": "contacts", "action": "update", "records": records}


async def operate(guard: Guard, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    async with calling(guard) as http:
        return dict((await http.post("/v1/operations", json=body, headers=headers)).json())


def asked(run: str) -> RevertAsked:
    return RevertAsked(run=run, client="tests")


async def only_run(guard: Guard) -> str:
    (run,) = {key.split("/")[1] async for key in guard.journals.store.list("runs/")}
    return run


async def verdicts(guard: Guard, revert_run: str) -> dict[str, int]:
    state = await guard.journals.state(revert_run)
    return {k: v for op in state.operations.values() for k, v in op.ended["verdicts"].items() if v}


async def events(guard: Guard, run: str) -> list[str]:
    """The names of a run's events in the order in which they stand in its journal."""
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
    entries = [await read_entry(guard.journals.store, run, n) for n in range(state.n)]
    return [event["e"] for entry in entries for event in entry.events]


async def until_journaled(guard: Guard, run: str, name: str) -> None:
    for _ in range(1000):
        if name in await events(guard, run):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} does not come")


@pytest.mark.parametrize("door", ["bulk", "pass-through"])
async def test_fifty_identical_requests_at_once_on_two_copies_are_one(copies: Copies, door: str) -> None:
    there, body = copies.there, update(copies.there)
    id_ = next(iter(there.contacts))

    async def call(http: Any) -> Any:
        if door == "bulk":
            return await http.post("/v1/operations", json=body, headers=KEY)
        return await http.put(f"/to/crm/contacts/{id_}", json={"city": "Rome"}, headers=KEY)

    one, other = copies.two()
    async with calling(one) as http_one, calling(other) as http_other:
        replies = await asyncio.gather(*(call(http) for _ in range(25) for http in (http_one, http_other)))

    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers.get("guard-revert-url") for reply in replies}) == 1
    assert len(vendor_writes(there)) == (3 if door == "bulk" else 1)
    await only_run(one)


async def test_of_two_reverts_at_once_on_two_copies_one_takes_back_and_the_other_is_told(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    one, other = copies.two()
    run = (await operate(one, update(there)))["id"]
    written = len(vendor_writes(there))

    told = await asyncio.gather(*(revert(guard, asked(run)) for guard in (one, other)), return_exceptions=True)

    assert sorted(isinstance(each, str) for each in told) == [False, True], told
    (refused,) = [each for each in told if not isinstance(each, str)]
    assert isinstance(refused, Conflict)
    assert refused.code == "busy"
    assert len(vendor_writes(there)) - written == 3
    assert there.seen() == before
    assert await verdicts(other, await revert(other, asked(run))) == {"already": 3}


async def test_a_revert_that_another_copy_is_carrying_out_is_not_taken_over(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    one, other = copies.two()
    run = (await operate(one, update(there)))["id"]
    await there.fault(kind="hang", seconds=60, times=3, match={"method": "PUT"})
    reverting = asyncio.ensure_future(revert(one, asked(run)))
    await until(lambda: len(there.sandbox._held) == 3)

    with pytest.raises(Conflict) as refused:
        await revert(other, asked(run))
    there.sandbox.release()
    own = await reverting

    assert refused.value.code == "busy"
    assert await verdicts(other, own) == {"restored": 3}
    assert there.seen() == before


async def test_a_revert_on_another_copy_stops_the_run_waits_for_its_driver_and_takes_it_back(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    driver, other = copies.two()
    there.sandbox.faults.clear()
    await there.fault(kind="hang", seconds=60, times=2, match={"method": "PUT"})
    driving = asyncio.ensure_future(operate(driver, update(there, 20)))
    await until(lambda: len(there.sandbox._held) == 2)
    run = await only_run(other)

    reverting = asyncio.ensure_future(revert(other, asked(run)))
    await until_journaled(other, run, "closing")
    assert not reverting.done()
    there.sandbox.release()
    answer = await driving
    await reverting

    assert answer["records_applied"] == 20
    assert there.seen() == before
    told = await events(other, run)
    assert "sending" not in told[told.index("closing") :]


async def test_a_stop_on_another_copy_ends_the_run_where_it_is(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    gated = GatedStore(make_store(copies.settings))
    driver, other = copies.new(clock=Clock(), store=gated), copies.new(clock=Clock())
    gated.shut("/00000000$")  # the operation has begun, its driver does not know it yet
    driving = asyncio.ensure_future(operate(driver, update(there)))
    await gated.reached.wait()
    run = await only_run(other)

    async with calling(other) as http:
        stopping = asyncio.ensure_future(http.post(f"/v1/runs/{run}/stop", headers={"prefer": "wait=20"}))
        await until_journaled(other, run, "stopped")
        gated.open()
        answer, stopped = await driving, (await stopping).json()

    assert (answer["status"], stopped["status"], answer["records_applied"]) == ("stopped", "stopped", 0)
    assert (vendor_writes(there), there.seen()) == ([], before)


async def test_a_driver_that_was_taken_over_sends_nothing_that_it_still_has_in_hand(copies: Copies) -> None:
    there, before, clock = copies.there, copies.there.seen(), Clock()
    gated = GatedStore(make_store(copies.settings))
    paused, other = copies.new(clock=clock, store=gated), copies.new(clock=clock)
    gated.shut("/00000001$")  # announced; about to be sent
    driving = asyncio.ensure_future(operate(paused, update(there), **KEY))
    await gated.reached.wait()
    clock.ahead += LONG
    await swept(other)
    assert vendor_writes(there) == []
    gated.open()
    answer = await driving

    assert (vendor_writes(there), there.seen()) == ([], before)
    assert (answer["records_applied"], answer["records_in_doubt"]) == (0, 3)
    # It was told what the other one had found, and so is whoever repeats it.
    assert (await operate(other, update(there), **KEY))["status"] == answer["status"]
    await revert(other, asked(answer["id"]))
    assert there.seen() == before
    await all_accounted_for(other)


async def test_what_a_paused_driver_had_sent_is_taken_back_though_another_one_ended_its_operation(
    copies: Copies,
) -> None:
    """Sent and acted upon, then paused before it could say so; it comes back and finds the operation ended."""
    there, before, clock = copies.there, copies.there.seen(), Clock()
    paused, other = copies.new(clock=clock), copies.new(clock=clock)
    await there.fault(kind="hang", seconds=60, times=3, match={"method": "PUT"})
    driving = asyncio.ensure_future(operate(paused, update(there)))
    await until(lambda: len(there.sandbox._held) == 3)
    clock.ahead += LONG
    await swept(other)
    there.sandbox.release()
    answer = await driving
    assert there.seen() != before

    assert (answer["records_in_doubt"], answer["status"]) == (3, "partial")
    own = await revert(other, asked(answer["id"]))
    assert await verdicts(other, own) == {"restored": 3}
    assert there.seen() == before


@pytest.mark.parametrize("door", ["bulk", "pass-through"])
async def test_a_lease_that_runs_out_while_writes_wait_for_their_turn_lets_none_of_them_through(
    copies: Copies, door: str
) -> None:
    """The vendor allows one call at a time, and somebody's read holds that place until the lease is over."""
    there, before, clock = copies.there, copies.there.seen(), Clock()
    one_at_a_time = LimitSettings(requests=1000, per_s=1.0, concurrency=1)
    slow = copies.settings.targets["crm"].model_copy(update={"limits": one_at_a_time})
    copies.settings = copies.settings.model_copy(update={"targets": {"crm": slow}})
    gated = GatedStore(make_store(copies.settings))
    driver, other = copies.new(clock=clock, store=gated), copies.new(clock=clock)
    path = f"/to/crm/contacts/{next(iter(there.contacts))}"

    async with calling(driver) as http:
        gated.shut("/00000001$" if door == "bulk" else "/00000000$")  # announced
        if door == "bulk":
            waiting = asyncio.ensure_future(http.post("/v1/operations", json=update(there)))
        else:
            waiting = asyncio.ensure_future(http.put(path, json={"city": "Wrong"}))
        await gated.reached.wait()
        await there.fault(kind="hang", seconds=60, match={"method": "GET"})
        reading = asyncio.ensure_future(http.get(path))
        await until(lambda: len(there.sandbox._held) == 1)
        gated.open()
        target = driver.target("crm")
        assert isinstance(target, HttpTarget)
        await until(lambda: bool(target.client._pace._slots._waiters))
        clock.ahead += LONG
        assert (await swept_once(other))[0].startswith("ended")
        there.sandbox.release()
        await asyncio.gather(reading, waiting)

    assert (vendor_writes(there), there.seen()) == ([], before)


async def swept_once(guard: Guard) -> list[str]:
    return [recovered.detail async for recovered in Recovery(guard).sweep()]


async def test_clocks_that_are_thirty_seconds_apart_do_no_harm(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    slow, fast = copies.new(clock=Clock(LONG)), copies.new(clock=Clock(LONG))
    slow.journals.clock.ahead -= (half := LONG / 20)  # type: ignore[attr-defined]
    fast.journals.clock.ahead += half  # type: ignore[attr-defined]
    for driver, other in ((slow, fast), (fast, slow)):
        await there.fault(kind="hang", seconds=60, times=3, match={"method": "PUT"})
        driving = asyncio.ensure_future(operate(driver, update(there)))
        await until(lambda: len(there.sandbox._held) == 3)
        told = await swept_once(other)
        there.sandbox.release()
        answer = await driving
        assert told == ["is going on; left alone"]
        assert answer["status"] == "applied"
        await revert(other, asked(answer["id"]))
        assert there.seen() == before


async def test_operations_of_one_run_from_two_copies_at_once_are_one_run(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    one, other = copies.two()
    ids = list(there.contacts)

    async def call(http: Any, n: int) -> Any:
        return await http.put(
            f"/to/crm/contacts/{ids[n]}", json={"city": f"City {n}"}, headers={"guard-run-key": "execution 1"}
        )

    async with calling(one) as http_one, calling(other) as http_other:
        replies = await asyncio.gather(*(call((http_one, http_other)[n % 2], n) for n in range(20)))
    await one.idle()
    await other.idle()

    assert {reply.status_code for reply in replies} == {200}
    (run,) = {reply.headers["guard-run"] for reply in replies}
    own = await revert(other, asked(run))
    assert await verdicts(other, own) == {"restored": 20}
    assert there.seen() == before
    assert [run async for run in one.journals.unfinished()] == []
    assert re.fullmatch(r"run_\w{26}", run)
