"""Two and three copies append to one journal: one history, whole, that all of them read alike."""

import asyncio
from datetime import UTC, datetime

from guard.assembly import make_store
from guard.core.entries import GENESIS, check_chain
from guard.core.ids import new_run_id
from guard.core.lifecycle import Illegal, event
from guard.store.journal import Journal, read_entries
from tests.races.conftest import Copies

RUN = new_run_id(datetime(2026, 11, 24, tzinfo=UTC))
OPENED = event("opened", kind="run")


def begun(name: str) -> dict[str, object]:
    return event(
        "begun", op=name, target="crm", resource="contacts", action="update", request=name, records=1, lease_s=60
    )


async def test_what_three_writers_append_at_once_stands_once_in_one_chain(copies: Copies) -> None:
    stores = [make_store(copies.settings) for _ in range(3)]
    writers = [Journal(store, RUN) for store in stores]
    await writers[0].append(OPENED)
    for writer in writers:
        await writer.catch_up()

    async def append_all(number: int) -> None:
        for n in range(8):
            await asyncio.gather(*(writers[number].append(begun(f"op_{number}_{n}_{k}")) for k in range(2)))

    await asyncio.gather(*(append_all(number) for number in range(3)))

    entries = [entry async for entry in read_entries(stores[0], RUN)]
    prev = GENESIS
    for entry in entries:
        check_chain(entry, prev)
        prev = entry.digest
    begun_in_order = [each["op"] for entry in entries for each in entry.events if each["e"] == "begun"]
    assert sorted(begun_in_order) == sorted(f"op_{w}_{n}_{k}" for w in range(3) for n in range(8) for k in range(2))
    for writer in writers:
        await writer.catch_up()
        assert list(writer.state.operations) == begun_in_order
    for store in stores:
        await store.close()


async def test_of_three_that_take_the_same_step_at_once_one_does(copies: Copies) -> None:
    stores = [make_store(copies.settings) for _ in range(3)]
    writers = [Journal(store, RUN) for store in stores]
    await writers[0].append(OPENED, begun("op_1"))
    for writer in writers:
        await writer.catch_up()
    for step in (event("taken", op="op_1", term=2), event("ended", op="op_1", term=2, status="stopped")):
        told = await asyncio.gather(*(writer.append(step) for writer in writers), return_exceptions=True)
        assert sorted(isinstance(each, Illegal) for each in told) == [False, True, True], told
    for store in stores:
        await store.close()
