"""Buckets and stores for the tests of stores."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from guard.store.local import LocalStore
from tests.servers import S3Server

NewBucket = Callable[..., str]


@pytest.fixture
async def local_store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    store = LocalStore(tmp_path / "store")
    yield store
    await store.close()


@pytest.fixture
def new_bucket(s3_server: S3Server) -> NewBucket:
    """Makes a bucket of its own for a test, and tells its name."""

    def make(*, locked: bool = False) -> str:
        name = f"bucket-{secrets.token_hex(8)}"
        with closing(boto3.client("s3", endpoint_url=s3_server.endpoint_url)) as client:
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
            if locked:
                client.put_object_lock_configuration(
                    Bucket=name,
                    ObjectLockConfiguration={
                        "ObjectLockEnabled": "Enabled",
                        "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}},
                    },
                )
        return name

    return make
