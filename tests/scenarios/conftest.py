"""A HighLevel sandbox in this process, and a client that speaks to it as a scenario would."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.applications import Starlette

from scenarios.sandboxes.highlevel import DEFAULT_TOKEN, VERSION, create_app

HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}", "Version": VERSION}


@pytest.fixture(scope="module")
def seeded() -> Starlette:
    """One sandbox for the module; `crm` resets it before each test, which is much cheaper than a new one."""
    return create_app(records=60, limits=None)


@pytest.fixture
async def crm(seeded: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    seeded.state.sandbox.reset()
    transport = httpx2.ASGITransport(app=seeded)
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox", headers=HEADERS) as client:
        yield client
