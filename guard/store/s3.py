"""A store in an S3 bucket: AWS, MinIO, Ceph, R2, any with conditional create (`If-None-Match: *`).

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 412 where the key exists, 409 where
another writer is at it, which may be tried again. An answer may also be lost after the object was stored, and a
proxy may repeat a PUT by itself, so that our own success comes back as 412. Therefore every create carries a random
writer id in the object's metadata, and whatever is not a plain success is settled by reading whose object is there.

Needs s3:PutObject and s3:GetObject on the objects, s3:DeleteObject on those that are ever removed (open/ and probe/),
and s3:ListBucket on the bucket; without the last, S3 answers 403 instead of "no such key".
infra/cloudformation.yaml grants exactly these.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.handlers import add_expect_header
from botocore.parsers import ResponseParserError

from guard.store.base import KeyMissing, KeyTaken, Unavailable, Unknown, closed
from guard.store.keys import check_key, check_prefix, is_key
from guard.threads import Threads

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ATTEMPTS_MAX = 5
_BACK_OFF_S = 0.05
_THREADS = 32
_WRITER = "guard-writer"
_FAILURES = (BotoCoreError, ClientError, ResponseParserError, urllib3.exceptions.HTTPError)
_NOT_SENT = (EndpointConnectionError, ConnectTimeoutError)
_SENT = (HTTPClientError, IncompleteReadError, ResponseParserError, urllib3.exceptions.HTTPError)
_ADVICE = {
    "NoSuchBucket": "it does not exist: create it, or correct store.url",
    "AccessDenied": "access is denied: allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
    "InvalidAccessKeyId": "the access key is not known there: check the credentials",
    "SignatureDoesNotMatch": "the secret key does not fit: check the credentials",
    "ExpiredToken": "the credentials have expired: renew them",
    "PermanentRedirect": "it is in another region: set store.region",
    "AuthorizationHeaderMalformed": "it is in another region: set store.region",
    "NotImplemented": "its server does not know conditional create (If-None-Match): use one that does",
    "NoCredentialsError": "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
    "EndpointConnectionError": "its server cannot be reached: check store.endpoint_url and the network",
    "ConnectTimeoutError": "its server cannot be reached: check store.endpoint_url and the network",
}

T = TypeVar("T")


class Fate(Enum):
    """What a failed request lets us conclude."""

    TAKEN = "the key exists"
    BUSY = "nothing was done, it may be tried again"
    REFUSED = "nothing was done, and trying again will not help"
    LOST = "it may or may not have been done"


class S3Store:
    """Objects of a bucket, below `prefix` ('' for none). Credentials come from where boto3 looks for them.

    With an endpoint_url (a server that is not AWS) the bucket is addressed in the path. Every request is tried up
    to five times, so a call may take that many times the timeouts before it raises.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._bucket = bucket
        self._root = f"{check_key(prefix)}/" if prefix else ""
        self._client = _client(endpoint_url, region, connect_timeout_s, read_timeout_s)
        self._threads = Threads("guard-s3", _THREADS, closed)

    async def create(self, key: str, data: bytes) -> None:
        check_key(key)
        writer = secrets.token_hex(16)
        asked = False
        for attempt in itertools.count(1):
            try:
                await self._threads.run(lambda: self._put(key, data, writer))
            except _FAILURES as error:
                failure, fate = error, fate_of(error)
            else:
                return
            asked = asked or fate in {Fate.TAKEN, Fate.LOST}
            last = fate is Fate.REFUSED or attempt == _ATTEMPTS_MAX
            if (asked or fate is not Fate.REFUSED) and await self._is_mine(key, writer):
                return
            if last:
                break
            await _back_off(attempt)
        if asked:
            raise Unknown(f"Bucket {self._bucket} did not confirm {key} ({_code(failure)}).") from failure
        raise self._unavailable(failure) from failure

    async def get(self, key: str) -> bytes:
        check_key(key)
        return await self._ask(lambda: self._get(key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        check_prefix(prefix)
        last, token = after, ""
        while True:
            keys, token = await self._ask(partial(self._page, prefix, after, token))
            for key in keys:
                if key <= last:
                    raise Unavailable(f"Bucket {self._bucket} does not list in the order of keys: use one that does.")
                last = key
                if is_key(key):
                    yield key
            if not token:
                return

    async def remove(self, key: str) -> None:
        check_key(key)
        await self._ask(lambda: self._delete(key))

    async def close(self) -> None:
        await self._threads.close()
        self._client.close()

    async def _ask(self, call: Callable[[], T]) -> T:
        """Do what may be repeated without harm."""
        for attempt in itertools.count(1):
            try:
                return await self._threads.run(call)
            except _FAILURES as error:
                if fate_of(error) in {Fate.TAKEN, Fate.REFUSED} or attempt == _ATTEMPTS_MAX:
                    raise self._unavailable(error) from error
            await _back_off(attempt)
        raise AssertionError  # pragma: no cover - count() does not end

    async def _is_mine(self, key: str, writer: str) -> bool:
        """Whether the object is this create's own. False also where that cannot be read; raises KeyTaken."""
        try:
            head = await self._threads.run(lambda: self._client.head_object(Bucket=self._bucket, Key=self._root + key))
        except _FAILURES:
            return False
        if head["Metadata"].get(_WRITER) != writer:
            raise KeyTaken(key)
        return True

    def _put(self, key: str, data: bytes, writer: str) -> None:
        answer = self._client.put_object(
            Bucket=self._bucket,
            Key=self._root + key,
            Body=data,
            IfNoneMatch="*",
            # Object Lock asks for a digest; this one every server knows, and it needs no trailer.
            ContentMD5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            Metadata={_WRITER: writer},
        )
        if not answer.get("ETag"):
            raise ResponseParserError("No ETag: something that is not S3 has answered.")

    def _get(self, key: str) -> bytes:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._root + key)
        except self._client.exceptions.NoSuchKey:
            raise KeyMissing(key) from None
        with contextlib.closing(answer["Body"]) as body:
            return body.read()

    def _page(self, prefix: str, after: str, token: str) -> tuple[tuple[str, ...], str]:
        """Keys of one page, and the token of the next one or ''."""
        place: Any = {"ContinuationToken": token} if token else {"StartAfter": self._root + after} if after else {}
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._root + prefix, **place)
        keys = tuple(item["Key"].removeprefix(self._root) for item in answer.get("Contents", ()))
        return keys, answer.get("NextContinuationToken", "")

    def _delete(self, key: str) -> None:
        with contextlib.suppress(self._client.exceptions.NoSuchKey):
            self._client.delete_object(Bucket=self._bucket, Key=self._root + key)

    def _unavailable(self, error: Exception) -> Unavailable:
        code = _code(error)
        return Unavailable(f"Bucket {self._bucket}: {_ADVICE.get(code, f'no use now ({code}), try again')}.")


def fate_of(error: Exception) -> Fate:
    """Judge a failed request; in doubt it is LOST."""
    if not isinstance(error, ClientError):
        return Fate.BUSY if isinstance(error, _NOT_SENT) else Fate.LOST if isinstance(error, _SENT) else Fate.REFUSED
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if status == 412:
        return Fate.TAKEN
    # Any other 503 may come from a proxy that had already passed the request on.
    if status in {409, 429} or _code(error) == "SlowDown":
        return Fate.BUSY
    if status == 408 or (status >= 500 and status != 501):
        return Fate.LOST
    return Fate.REFUSED


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


async def _back_off(attempt: int) -> None:
    """Wait longer each time, at random, so that writers who collided do not collide again."""
    await asyncio.sleep(random.uniform(0.5, 1.0) * _BACK_OFF_S * 2**attempt)  # noqa: S311 - nothing secret


def _client(
    endpoint_url: str | None, region: str | None, connect_timeout_s: float, read_timeout_s: float
) -> "S3Client":
    config = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        max_pool_connections=_THREADS,
        # A repeat inside boto3 would hide from us that an answer was lost.
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"} if endpoint_url else {},
        # Checksums of boto3's own choice go in trailers over TLS, which R2 and older Ceph do not take.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = boto3.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)
    # "Expect: 100-continue" costs a round trip per create, and a second where a proxy swallows it.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client
