"""Fixtures for targets that are real databases."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import pytest_asyncio

from guard.target.postgresql import PostgresTarget
from tests.postgres_server import PostgresServer, postgres_server


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


@pytest_asyncio.fixture
async def target(database_url: str) -> AsyncIterator[PostgresTarget]:
    target = PostgresTarget("hr", database_url, timeout_s=20.0, lock_timeout_s=0.3)
    yield target
    await target.close()
