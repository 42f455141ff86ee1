"""What the benchmark ran into, as small as it gets."""

import asyncio
from pathlib import Path

from guard.core.lifecycle import event
from guard.store.journal import Journal
from guard.store.local import LocalStore


class _SeenEarly(LocalStore):
    """A store whose entries can be read before their writer hears that they are there, as with every real one."""

    journal: Journal | None = None

    async def create(self, key: str, data: bytes) -> None:
        await super().create(key, data)
        if self.journal is not None:
            await self.journal.catch_up()


async def test_somebody_who_looks_at_a_run_does_not_break_the_append_that_is_under_way(tmp_path: Path) -> None:
    store = _SeenEarly(tmp_path)
    try:
        journal = Journal(store, "run_1")
        store.journal = journal
        async with asyncio.timeout(30):
            await journal.append(event("opened", kind="run"))
            await journal.append(event("closing"))
        assert (journal.state.n, journal.state.phase) == (2, "closing")
    finally:
        await store.close()
