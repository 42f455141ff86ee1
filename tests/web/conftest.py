"""A world for each test module whose requests are all refused: nothing changes in it, so it can be shared."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.web.doors import all_ended
from tests.world import World, world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Twenty contacts; only for tests in which nothing may change."""
    async with world(tmp_path_factory.mktemp("shared")) as made:

        async def quiet(_: httpx2.Response) -> None:
            """What Guard does after an answer is not to be seen by the next test."""
            await all_ended(made)

        made.http.event_hooks["response"].append(quiet)
        yield made
