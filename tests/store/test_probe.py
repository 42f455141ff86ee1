"""Stores that break the promise in all the ways that were met, and the probe that must refuse them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from xml.sax.saxutils import escape

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guard.store.base import KeyMissing, KeyTaken, Store, Unavailable, Unknown
from guard.store.local import LocalStore
from guard.store.probe import StoreNotFit, prove_create_once
from guard.store.s3 import S3Store
from tests import servers
from tests.servers import S3Server
from tests.store.conformance import keys_of

NewBucket = Callable[..., str]


class MemoryStore:
    """A store that keeps its promises; those below break one each."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def create(self, key: str, data: bytes) -> None:
        if key in self.objects:
            raise KeyTaken(key)
        self.objects[key] = data

    async def get(self, key: str) -> bytes:
        if key not in self.objects:
            raise KeyMissing(key)
        return self.objects[key]

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > after:
                yield key

    async def remove(self, key: str) -> None:
        self.objects.pop(key, None)

    async def close(self) -> None:
        pass


class Overwriting(MemoryStore):
    async def create(self, key: str, data: bytes) -> None:
        self.objects[key] = data


class Racy(MemoryStore):
    async def create(self, key: str, data: bytes) -> None:
        if key in self.objects:
            raise KeyTaken(key)
        await asyncio.sleep(0)
        self.objects[key] = data


class Swapping(MemoryStore):
    """Refuses the second writer of a key, and keeps its data."""

    async def create(self, key: str, data: bytes) -> None:
        taken, self.objects[key] = key in self.objects, data
        if taken:
            raise KeyTaken(key)


class SwappingLate(MemoryStore):
    """As Swapping, but only for writers that meet."""

    def __init__(self) -> None:
        super().__init__()
        self.writing: set[str] = set()

    async def create(self, key: str, data: bytes) -> None:
        first = key not in self.objects and key not in self.writing
        if not first and key not in self.writing:
            raise KeyTaken(key)
        self.writing.add(key)
        await asyncio.sleep(0)
        self.objects[key] = data
        self.writing.discard(key)
        if not first:
            raise KeyTaken(key)


class Silent(MemoryStore):
    async def create(self, key: str, data: bytes) -> None:
        await super().create(key, data)
        raise Unknown("no answer")


class Refusing(MemoryStore):
    """Of writers that meet nobody wins."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = 0
        self.crowded = False

    async def create(self, key: str, data: bytes) -> None:
        self.writing += 1
        self.crowded = self.crowded or self.writing > 1
        await asyncio.sleep(0)
        self.writing -= 1
        if self.crowded:
            raise KeyTaken(key)
        await super().create(key, data)


class Forgetful(MemoryStore):
    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        async for key in super().list(prefix, after=after):
            if not key.endswith("2"):
                yield key


class Immortal(MemoryStore):
    async def remove(self, key: str) -> None:
        pass


class Away(MemoryStore):
    async def create(self, key: str, data: bytes) -> None:
        raise Unavailable(f"away with the {len(data)} bytes of {key}")


class Grudging(MemoryStore):
    """Refuses a key for ever, as a bucket would whose condition sees removed versions."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    async def create(self, key: str, data: bytes) -> None:
        if key in self.seen:
            raise KeyTaken(key)
        self.seen.add(key)
        await super().create(key, data)


class Haunted(Grudging):
    """The same, by a store that finds nothing there and so cannot tell whose the key is."""

    async def create(self, key: str, data: bytes) -> None:
        try:
            await super().create(key, data)
        except KeyTaken:
            if key in self.objects:
                raise
            raise Unknown("refused, and nothing is there") from None


@pytest.mark.parametrize(
    ("store", "finding"),
    [
        (Overwriting(), "overwrote an object: a second create with the same key succeeded"),
        (Racy(), "let 20 of 20 concurrent creates with one key succeed"),
        (Refusing(), "let 0 of 20 concurrent creates with one key succeed"),
        (Swapping(), "does not give back what was stored"),
        (SwappingLate(), "gave the key to one writer and kept another's data"),
        (Silent(), r"does not tell whether it stored an object \(no answer\)"),
        (Forgetful(), "does not list what was stored"),
        (Immortal(), "still shows an object that was removed"),
        (Grudging(), "refuses a key whose object was removed"),
        (Haunted(), "refuses a key whose object was removed"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_store_that_breaks_its_promise_is_refused_with_a_way_out(store: Store, finding: str) -> None:
    with pytest.raises(StoreNotFit, match=f"^The store {finding}.*Guard does not start.*AWS S3, MinIO"):
        await prove_create_once(store)
    await store.close()


async def test_a_fit_store_passes_and_nothing_is_left_in_it() -> None:
    store = MemoryStore()
    await prove_create_once(store)
    assert store.objects == {}


async def test_a_store_that_is_away_is_unavailable_and_not_unfit() -> None:
    with pytest.raises(Unavailable, match="away"):
        await prove_create_once(Away())


class StubS3:
    """As much S3 as a store asks for. `looks` says when it looks whether a key is taken, if at all."""

    def __init__(self, looks: str) -> None:
        self.looks = looks
        self.objects: dict[str, tuple[bytes, str]] = {}
        methods = ["PUT", "GET", "DELETE"]
        routes = [Route("/{bucket}", self.listing), Route("/{bucket}/{key:path}", self.object, methods=methods)]
        self.app = Starlette(routes=routes)

    async def object(self, request: Request) -> Response:
        key = request.path_params["key"]
        if request.method == "PUT":
            return await self.put(request, key)
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Response(status_code=204)
        if key not in self.objects:
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404, media_type="application/xml")
        data, writer = self.objects[key]
        return Response(data, headers={"ETag": '"e"', "x-amz-meta-guard-writer": writer})

    async def put(self, request: Request, key: str) -> Response:
        taken = key in self.objects
        data = await request.body()
        if self.looks == "then thinks":
            await asyncio.sleep(0.02)
        elif self.looks == "when the body is there":
            taken = key in self.objects
        if taken and self.looks != "never":
            return Response("<Error><Code>PreconditionFailed</Code></Error>", 412, media_type="application/xml")
        self.objects[key] = data, request.headers["x-amz-meta-guard-writer"]
        return Response(headers={"ETag": '"e"'})

    async def listing(self, request: Request) -> Response:
        keys = sorted(key for key in self.objects if key.startswith(request.query_params["prefix"]))
        contents = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        return Response(f"<ListBucketResult>{contents}</ListBucketResult>", media_type="application/xml")


Prove = Callable[[StubS3], Awaitable[None]]


@pytest.fixture
def prove(s3_server: S3Server) -> Prove:
    """Prove a stub through the S3 store; s3_server is there for its credentials."""

    async def run(stub: StubS3) -> None:
        with servers.application(stub.app) as url:
            store = S3Store("bucket", "guard", endpoint_url=url)
            try:
                await prove_create_once(store)
            finally:
                await store.close()

    return run


async def test_an_s3_server_that_keeps_the_condition_is_fit(prove: Prove) -> None:
    stub = StubS3("when the body is there")
    await prove(stub)
    assert stub.objects == {}


@pytest.mark.parametrize(
    ("looks", "finding"), [("never", "overwrote an object"), ("then thinks", "let .* of 20 concurrent creates")]
)
async def test_an_s3_server_that_does_not_is_refused(prove: Prove, looks: str, finding: str) -> None:
    with pytest.raises(StoreNotFit, match=finding):
        await prove(StubS3(looks))


async def test_the_real_stores_are_fit_and_nothing_is_left_in_them(
    local_store: LocalStore, s3_server: S3Server, new_bucket: NewBucket
) -> None:
    buckets = [S3Store(new_bucket(locked=locked), endpoint_url=s3_server.endpoint_url) for locked in (False, True)]
    stores: list[Store] = [local_store, *buckets]
    for store in stores:
        await prove_create_once(store)
        assert await keys_of(store.list("")) == []
    for bucket in buckets:
        await bucket.close()
