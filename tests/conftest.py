"""Fixtures for all tests: real servers, started once and only where a test asks for them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests import servers
from tests.world import World, world

NewWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def new_world(tmp_path: Path) -> NewWorld:
    """Makes a Guard in front of a HighLevel sandbox: `async with new_world(records=100) as world`."""
    return partial(world, tmp_path)


@pytest.fixture
async def small_world(tmp_path: Path) -> AsyncIterator[World]:
    """Twenty contacts, two opportunities, no rate limit."""
    async with world(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def s3_server() -> Iterator[servers.S3Server]:
    """An empty S3 server; its credentials are in this process's environment meanwhile."""
    with servers.s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
