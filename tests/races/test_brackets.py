"""One bracket and two copies of Guard: whatever they do at once, it is sealed once and taken back once."""

import asyncio
from typing import Any

from guard.assembly import make_store
from guard.core.errors import Conflict
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, revert
from guard.flows.seal import seal
from guard.store.journal import read_entry
from tests.flows.copies import LONG, Clock, all_accounted_for, calling, swept
from tests.races.conftest import Copies
from tests.races.gate import GatedStore

KEY = {"guard-run-key": "execution 1"}


async def checkpoint(guard: Guard, copies: Copies, count: int = 20) -> dict[str, Any]:
    body = {"target": "crm", "resource": "contacts", "ids": list(copies.there.contacts)[:count]}
    async with calling(guard) as http:
        return dict((await http.post("/v1/checkpoints", json=body, headers=KEY)).json())


async def ruin(copies: Copies, count: int = 3) -> None:
    for id_ in list(copies.there.contacts)[:count]:
        await copies.there.edit("contacts", id_, {"city": "Nowhere"})


async def events(guard: Guard, run: str) -> list[str]:
    """The names of a run's events in the order in which they stand in its journal."""
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
    entries = [await read_entry(guard.journals.store, run, n) for n in range(state.n)]
    return [event["e"] for entry in entries for event in entry.events]


def reads(copies: Copies) -> int:
    return sum(entry[1] == "GET" for entry in copies.there.sandbox.log.entries)


async def test_ten_equal_checkpoints_on_two_copies_are_one(copies: Copies) -> None:
    one, other = copies.two()
    told = await asyncio.gather(*(checkpoint(guard, copies) for _ in range(5) for guard in (one, other)))

    assert {(each["id"], each["checkpoint"]) for each in told} == {(told[0]["id"], "open")}
    assert reads(copies) == 20
    assert (await events(one, told[0]["id"])).count("stands") == 1


async def test_two_seals_at_once_on_two_copies_are_one(copies: Copies) -> None:
    one, other = copies.two()
    run = (await checkpoint(one, copies))["id"]
    await ruin(copies)
    before = reads(copies)

    await asyncio.gather(seal(one, run), seal(other, run))

    assert reads(copies) - before == 20
    told = await events(other, run)
    assert (told.count("sealed"), told.count("ended")) == (1, 1)


async def test_a_seal_and_a_revert_at_once_on_two_copies_take_it_back_once(copies: Copies) -> None:
    there, before = copies.there, copies.there.seen()
    one, other = copies.two()
    run = (await checkpoint(one, copies))["id"]
    await ruin(copies)

    sealed, own = await asyncio.gather(
        seal(one, run), revert(other, RevertAsked(run=run, client="tests")), return_exceptions=True
    )

    assert sealed is None or isinstance(sealed, Conflict)
    assert isinstance(own, str)
    assert there.seen() == before
    state = await one.journals.state(own)
    assert sum(operation.count("applied") for operation in state.operations.values()) == 3
    assert (await events(other, run)).count("ended") == 1
    await all_accounted_for(other)


async def test_a_seal_that_was_taken_over_changes_nothing_any_more(copies: Copies) -> None:
    """One copy stops in the middle of its seal; the sweeper of another one goes on; then the first wakes up."""
    there, before, clock = copies.there, copies.there.seen(), Clock()
    gated = GatedStore(make_store(copies.settings))
    paused, other = copies.new(clock=clock, store=gated), copies.new(clock=clock)
    run = (await checkpoint(other, copies))["id"]
    await ruin(copies)
    with other.journals.use(run) as journal:
        taken = journal.state.n
    gated.shut(f"/{taken:08}$")
    sealing = asyncio.ensure_future(seal(paused, run))
    await gated.reached.wait()
    clock.ahead += LONG

    told = [each.detail async for each in Recovery(other).sweep()]
    gated.open()
    await sealing

    assert told == ["ended; 20 records were settled by reading"]
    assert (await events(other, run)).count("sealed") == 1
    await revert(other, RevertAsked(run=run, client="tests"))
    assert there.seen() == before
    await all_accounted_for(other)


async def test_a_checkpoint_whose_copy_died_is_taken_anew_by_the_next_one(copies: Copies) -> None:
    there, before, clock = copies.there, copies.there.seen(), Clock()
    gated = GatedStore(make_store(copies.settings))
    paused, other = copies.new(clock=clock, store=gated), copies.new(clock=clock)
    gated.shut("/00000001$")  # its first chunk is stored, and it never hears of it
    dead = asyncio.ensure_future(checkpoint(paused, copies))
    await gated.reached.wait()
    clock.ahead += LONG
    await swept(other)

    told = await checkpoint(other, copies)
    await ruin(copies)
    await seal(other, told["id"])
    gated.open()
    late = await dead

    assert (told["checkpoint"], late["code"], late["written"]) == ("open", "busy", "nothing")
    await revert(other, RevertAsked(run=told["id"], client="tests"))
    assert there.seen() == before
    await all_accounted_for(other)
