"""Fixtures for all tests: real servers, started once and only where a test asks for them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests import servers
from tests.ceph_server import CephServer, ceph_server, missing_programs
from tests.postgres_server import PostgresServer, postgres_server
from tests.world import World, world

# Else a handler's author would see that an assertion of the conformance suite failed, and not what it compared.
pytest.register_assert_rewrite(
    *(f"tests.handlers.{part}" for part in "samples undoing joining calling totality taking_back database".split())
)

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
    with servers.s3_server() as server, known_in_environment(server.environment):
        yield server


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CephServer]:
    """An empty Ceph; its credentials are in this process's environment meanwhile."""
    if missing := missing_programs():
        pytest.skip(f"Ceph is not installed ({', '.join(missing)}): .ci/install-ceph installs it on Debian")
    with ExitStack() as held:
        server = _started(held, tmp_path_factory)
        held.enter_context(known_in_environment(server.environment))
        yield server


def _started(held: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> CephServer:
    """Ceph's parts do not always find each other at the start; that is not what the tests are about."""
    failed = ""
    for _ in range(_CEPH_STARTS_MAX):
        try:
            return held.enter_context(ceph_server(tmp_path_factory.mktemp("ceph")))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed = str(error)
    pytest.skip(f"Ceph did not start in {_CEPH_STARTS_MAX} tries: {failed}")


_CEPH_STARTS_MAX = 3


@contextmanager
def known_in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests of processes that die, not of disks, and need many stores."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of the machine's, as /tmp is
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="guard-tests-", dir=memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest_asyncio.fixture
async def database_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """An empty database."""
    url = await postgres.create_database()
    yield url
    await postgres.drop_database(url)


@pytest_asyncio.fixture
async def sql(database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Somebody else's connection to that database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
