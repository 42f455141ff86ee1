"""Two writers on one journal: one wins each number, the other reads what it missed and asks the lifecycle again."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guard.core.entries import decode, entry_key
from guard.core.errors import Corrupt, Unavailable
from guard.core.ids import new_run_id
from guard.core.lifecycle import Illegal, event
from guard.store.base import Store, Unknown
from guard.store.journal import Journal
from guard.store.journals import Journals
from guard.store.local import LocalStore

RUN = new_run_id(datetime(2026, 11, 23, tzinfo=UTC))
OPENED = event("opened", kind="run")


def begun(n: int) -> dict[str, object]:
    return event("begun", op=f"op_{n}", target="crm", resource="contacts", action="update", request=str(n), records=1)


async def entries(store: Store) -> list[str]:
    return [key async for key in store.list(f"runs/{RUN}/")]


async def test_of_two_writers_each_event_lands_once_and_in_a_whole_chain(local_store: LocalStore) -> None:
    one, other = Journal(local_store, RUN), Journal(local_store, RUN)
    await one.append(OPENED)
    await other.catch_up()

    await asyncio.gather(*((one if n % 2 else other).append(begun(n)) for n in range(40)))

    again = Journal(local_store, RUN)
    await again.catch_up()
    assert set(again.state.operations) == {f"op_{n}" for n in range(40)}
    assert again.state.n == len(await entries(local_store))


async def test_of_two_writers_with_the_same_step_exactly_one_takes_it(local_store: LocalStore) -> None:
    writers = [Journal(local_store, RUN) for _ in range(8)]

    results = await asyncio.gather(*(w.append(OPENED, begun(1)) for w in writers), return_exceptions=True)

    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert sum(isinstance(result, Illegal) for result in results) == 7


async def test_a_writer_that_lost_knows_what_the_winner_wrote(local_store: LocalStore) -> None:
    winner, loser = Journal(local_store, RUN), Journal(local_store, RUN)
    await winner.append(OPENED, begun(1))

    with pytest.raises(Illegal):
        await loser.append(OPENED, begun(1))

    assert "op_1" in loser.state.operations


async def test_appends_at_once_share_an_entry(local_store: LocalStore) -> None:
    journal = Journal(local_store, RUN)
    await journal.append(OPENED)

    await asyncio.gather(*(journal.append(begun(n)) for n in range(50)))

    assert len(await entries(local_store)) <= 4


async def test_an_illegal_event_in_a_group_does_not_take_the_others_with_it(local_store: LocalStore) -> None:
    journal = Journal(local_store, RUN)
    await journal.append(OPENED, begun(1))

    results = await asyncio.gather(
        journal.append(begun(2)), journal.append(begun(1)), journal.append(begun(3)), return_exceptions=True
    )

    assert [isinstance(result, Illegal) for result in results] == [False, True, False]


async def test_a_cancelled_caller_does_not_stop_the_entry_of_the_others(local_store: LocalStore) -> None:
    journal = Journal(local_store, RUN)
    await journal.append(OPENED)
    first, second = (asyncio.create_task(journal.append(begun(n))) for n in (1, 2))
    await asyncio.sleep(0)
    first.cancel()

    await second

    assert "op_2" in journal.state.operations


class Forgetful(LocalStore):
    """Loses the answer, with or without having stored."""

    stores = True

    async def create(self, key: str, data: bytes) -> None:
        if self.stores:
            await super().create(key, data)
        raise Unknown("the answer was lost")


async def test_an_entry_whose_answer_was_lost_is_looked_for(tmp_path: Path) -> None:
    store = Forgetful(tmp_path)
    journal = Journal(store, RUN)

    await journal.append(OPENED)

    assert journal.state.phase == "open"
    await store.close()


async def test_an_entry_that_may_not_be_durable_counts_as_not_written(tmp_path: Path) -> None:
    store = Forgetful(tmp_path)
    store.stores = False
    journal = Journal(store, RUN)

    with pytest.raises(Unavailable):
        await journal.append(OPENED)

    assert journal.state.phase == "none"
    await store.close()


async def test_a_gap_is_damage_and_not_the_end(local_store: LocalStore) -> None:
    journals = Journals(local_store)
    with journals.use(RUN) as journal:
        await journal.append(OPENED)
        for n in range(3):
            await journal.append(begun(n))
    await local_store.remove(entry_key(RUN, 2))

    fresh = Journals(local_store)
    state = await fresh.state(RUN)

    with pytest.raises(Corrupt, match="is missing"):
        await fresh.refuse_gap(state)


async def test_entries_tell_their_writers_apart(local_store: LocalStore) -> None:
    journal = Journal(local_store, RUN)
    await journal.append(OPENED)
    await journal.append(begun(1))

    stored = [decode(RUN, n, await local_store.get(entry_key(RUN, n))) for n in (0, 1)]

    assert stored[0].writer != stored[1].writer
    assert stored[1].prev == stored[0].digest


async def test_nobody_waits_for_a_writing_that_was_cancelled(local_store: LocalStore) -> None:
    """As when the loop ends: who cleans up meanwhile, and appends for it, must not wait for ever."""
    journal, gate = Journal(local_store, RUN), asyncio.Event()

    async def create(key: str, data: bytes) -> None:
        await gate.wait()

    local_store.create = create  # type: ignore[method-assign]
    first = asyncio.ensure_future(journal.append(OPENED))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.ensure_future(journal.append(begun(1)))
    await asyncio.sleep(0)
    journal._task.cancel()

    async with asyncio.timeout(5):
        told = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(each) for each in told] == [asyncio.CancelledError, asyncio.CancelledError]


async def test_an_entry_that_was_appended_after_the_reading_is_no_gap(local_store: LocalStore) -> None:
    """A plan is read while what was done after the answer is still being stored."""
    reader, writer = Journals(local_store), Journal(local_store, RUN)
    await writer.append(OPENED)
    state = await reader.state(RUN)
    await writer.append(begun(1))
    await writer.append(begun(2))

    await reader.refuse_gap(state)
