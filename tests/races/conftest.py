"""Several copies of Guard over one store: a local folder, a bucket of an S3 server, and one of Ceph."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from guard.flows.guard import Guard
from guard.settings import Settings, StoreSettings
from guard.store.base import Store
from guard.store.journal import utc_now
from scenarios.sandboxes.common import running
from scenarios.sandboxes.highlevel import create_app as create_sandbox
from tests.flows.copies import Clock, copy_of_guard
from tests.world import World, settings

RECORDS = 20


@pytest.fixture(params=["local", "s3_server", pytest.param("ceph", marks=pytest.mark.heavy)])
def store_settings(request: pytest.FixtureRequest, quick_path: Path) -> Iterator[StoreSettings]:
    if request.param == "local":
        yield StoreSettings(url=f"file:{quick_path}/store")
        return
    server = request.getfixturevalue(request.param)
    bucket = f"bucket-{secrets.token_hex(8)}"
    with closing(boto3.client("s3", endpoint_url=server.endpoint_url)) as client:
        client.create_bucket(Bucket=bucket)
    yield StoreSettings(url=f"s3://{bucket}/guard", endpoint_url=server.endpoint_url)


@dataclass
class Copies:
    """A sandbox of twenty contacts, and as many copies of Guard in front of it as a test asks for."""

    there: World
    settings: Settings
    made: list[Guard] = field(default_factory=list)

    def new(self, *, clock: Callable[[], Any] = utc_now, store: Store | None = None) -> Guard:
        guard = copy_of_guard(self.settings, clock=clock, store=store)
        self.made.append(guard)
        return guard

    def two(self) -> tuple[Guard, Guard]:
        return self.new(clock=Clock()), self.new(clock=Clock())


@pytest.fixture
async def copies(store_settings: StoreSettings) -> AsyncIterator[Copies]:
    app = create_sandbox(records=RECORDS, limits=None)
    with running(app) as url:
        chosen = settings("file:unused", url, policy={"accept_irreversible": True})
        chosen = chosen.model_copy(update={"store": store_settings})
        # Of a world only the vendor's side is used here: the copies are the tests' own.
        there = World(None, None, None, app.state.sandbox, url)  # type: ignore[arg-type]
        copies = Copies(there, chosen)
        try:
            yield copies
        finally:
            app.state.sandbox.release()
            for guard in copies.made:
                await guard.close()
