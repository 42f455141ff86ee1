"""Fixtures for targets that are real databases."""

from collections.abc import AsyncIterator

import pytest_asyncio

from guard.target.postgresql import PostgresTarget


@pytest_asyncio.fixture
async def target(database_url: str) -> AsyncIterator[PostgresTarget]:
    target = PostgresTarget("hr", database_url, timeout_s=20.0, lock_timeout_s=0.3)
    yield target
    await target.close()
