"""The S3 store: the common promises against a real server, and every way in which an answer can go wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import boto3
import pytest
from botocore.exceptions import ParamValidationError

from guard.store import s3
from guard.store.base import KeyMissing, KeyTaken, Unavailable, Unknown
from guard.store.opening import open_store
from guard.store.s3 import Fate, S3Store, fate_of
from tests.servers import Fault, FaultyProxy, Request, S3Server, free_port
from tests.store.conformance import StoreConformance, keys_of

NewBucket = Callable[..., str]


class TestS3Store(StoreConformance):
    @pytest.fixture
    def bucket(self, new_bucket: NewBucket) -> str:
        return new_bucket()

    @pytest.fixture
    async def store(self, s3_server: S3Server, bucket: str) -> AsyncIterator[S3Store]:
        store = S3Store(bucket, "guard", endpoint_url=s3_server.endpoint_url)
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, s3_server: S3Server, bucket: str) -> AsyncIterator[S3Store]:
        store = S3Store(bucket, "guard", endpoint_url=s3_server.endpoint_url)
        yield store
        await store.close()


class TestS3StoreWithVersionsAndObjectLock(TestS3Store):
    rounds = 8
    listed = 1001

    @pytest.fixture
    def bucket(self, new_bucket: NewBucket) -> str:
        return new_bucket(locked=True)


def reply(status: int, body: str = "", *, kind: str = "application/xml") -> bytes:
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"{head}\r\n\r\n{body}".encode()


def refuse(status: int, code: str = "") -> Fault:
    """Answer an error without passing the request on."""

    async def fault(_: FaultyProxy, __: Request) -> bytes:
        return reply(status, f"<Error><Code>{code}</Code><Message>m</Message></Error>" if code else "<html>no</html>")

    return fault


def after(fault: Fault) -> Fault:
    """Pass the request on, then show the fault instead of the answer."""

    async def both(proxy: FaultyProxy, request: Request) -> bytes:
        await proxy.forward(request)
        return await fault(proxy, request)

    return both


async def drop(_: FaultyProxy, __: Request) -> bytes:
    return b""


async def hang(_: FaultyProxy, __: Request) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError


async def replay(proxy: FaultyProxy, request: Request) -> bytes:
    """What nginx does when its first upstream does not answer in time."""
    await proxy.forward(request)
    return await proxy.forward(request)


async def portal(_: FaultyProxy, __: Request) -> bytes:
    """What stands in a hotel's network."""
    return reply(200, "<html>Please log in</html>", kind="text/html")


async def cut(proxy: FaultyProxy, request: Request) -> bytes:
    return (await proxy.forward(request))[:-3]


OK = FaultyProxy.forward
CONFLICT = refuse(409, "ConditionalRequestConflict")
SLOW_DOWN = refuse(503, "SlowDown")
DENIED = refuse(403, "AccessDenied")
ERROR = refuse(500, "InternalError")
NO_BUCKET = refuse(404, "NoSuchBucket")


@pytest.fixture
async def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyProxy]:
    monkeypatch.setattr(s3, "_BACK_OFF_S", 0.001)
    async with FaultyProxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: FaultyProxy, new_bucket: NewBucket) -> AsyncIterator[S3Store]:
    """A store behind the proxy. It waits a second for an answer: only a test that hangs has to."""
    store = S3Store(new_bucket(), "guard", endpoint_url=proxy.url, read_timeout_s=1)
    yield store
    await store.close()


# What happens to one PUT after the other, how the create ends, and how many were sent.
STORED = [
    ([], 1),
    ([drop], 2),
    ([after(drop)], 1),
    ([hang], 2),
    ([after(hang)], 1),
    ([replay], 1),
    ([portal], 2),
    ([ERROR], 2),
    ([after(ERROR)], 1),
    ([refuse(502)], 2),
    ([after(refuse(504))], 1),
    ([after(refuse(503))], 1),
    ([CONFLICT], 2),
    ([CONFLICT] * 4, 5),
    ([SLOW_DOWN] * 4, 5),
    ([refuse(412, "PreconditionFailed")], 2),
    ([drop, after(ERROR)], 2),
    ([drop, drop, drop, drop, after(drop)], 5),
]
NOT_STORED = [
    ([CONFLICT] * 5, 5),
    ([SLOW_DOWN] * 5, 5),
    ([DENIED], 1),
    ([NO_BUCKET], 1),
    ([refuse(501, "NotImplemented")], 1),
    ([refuse(400, "InvalidRequest")], 1),
    ([refuse(301, "PermanentRedirect")] * 2, 2),  # boto3 itself looks once for the region
    ([SLOW_DOWN, DENIED], 2),
]
NOT_KNOWN = [
    ([drop] * 5, 5),
    ([ERROR] * 5, 5),
    ([refuse(503)] * 5, 5),
    ([portal] * 5, 5),
    ([drop, *[SLOW_DOWN] * 4], 5),
    ([drop, DENIED], 2),
    ([refuse(412, "PreconditionFailed")] * 5, 5),
]


@pytest.mark.parametrize(("faults", "puts"), STORED)
async def test_a_create_that_is_stored_in_the_end_returns(
    store: S3Store, proxy: FaultyProxy, faults: list[Fault], puts: int
) -> None:
    proxy.faults["PUT"].extend(faults)
    await store.create("a", b"mine")
    assert proxy.methods.count("PUT") == puts
    assert await store.get("a") == b"mine"


@pytest.mark.parametrize(("faults", "puts"), NOT_STORED)
async def test_a_create_that_is_certainly_not_stored_is_unavailable(
    store: S3Store, proxy: FaultyProxy, faults: list[Fault], puts: int
) -> None:
    proxy.faults["PUT"].extend(faults)
    with pytest.raises(Unavailable, match=r"^Bucket bucket-\w+: .*\.$"):
        await store.create("a", b"mine")
    assert proxy.methods.count("PUT") == puts
    with pytest.raises(KeyMissing):
        await store.get("a")


@pytest.mark.parametrize(("faults", "puts"), NOT_KNOWN)
async def test_a_create_that_may_still_arrive_is_unknown(
    store: S3Store, proxy: FaultyProxy, faults: list[Fault], puts: int
) -> None:
    proxy.faults["PUT"].extend(faults)
    with pytest.raises(Unknown, match=r"^Bucket bucket-\w+ did not confirm a \(\w+\)\.$"):
        await store.create("a", b"mine")
    assert proxy.methods.count("PUT") == puts


@pytest.mark.parametrize("data", [b"theirs", b"mine", b""])
@pytest.mark.parametrize(
    "fault", [OK, drop, after(drop), hang, replay, portal, ERROR, after(ERROR), CONFLICT, after(CONFLICT), SLOW_DOWN]
)
async def test_another_s_object_is_never_taken_for_ours_even_with_equal_bytes(
    store: S3Store, proxy: FaultyProxy, fault: Fault, data: bytes
) -> None:
    await store.create("a", data)
    proxy.faults["PUT"].append(fault)
    with pytest.raises(KeyTaken):
        await store.create("a", b"mine" if data else b"")
    assert await store.get("a") == data


@pytest.mark.parametrize("blind", [drop, ERROR, DENIED, refuse(404)])
async def test_a_lost_answer_that_cannot_be_settled_by_reading_is_unknown(
    store: S3Store, proxy: FaultyProxy, blind: Fault
) -> None:
    proxy.faults["PUT"].append(after(drop))
    proxy.faults["HEAD"].extend([blind] * 5)
    with pytest.raises(Unknown):
        await store.create("a", b"mine")
    assert await store.get("a") == b"mine"


async def test_a_create_and_a_lost_race_take_one_round_trip_and_one_more(store: S3Store, proxy: FaultyProxy) -> None:
    await store.create("a", b"")
    with pytest.raises(KeyTaken):
        await store.create("a", b"")
    assert proxy.methods == ["PUT", "PUT", "HEAD"]


async def test_a_create_says_what_servers_of_all_kinds_understand(store: S3Store, proxy: FaultyProxy) -> None:
    await store.create("a", b"hello")
    head, body = proxy.seen[0].head.lower(), proxy.seen[0].body
    assert body == b"hello"
    assert head.startswith("put /bucket-")
    assert "\r\nif-none-match: *\r\n" in head
    assert "\r\ncontent-md5: xufakrxlkna5cz2rebffkg==\r\n" in head
    for trouble in ("aws-chunked", "trailer", "expect:", "x-amz-sdk-checksum"):
        assert trouble not in head


@pytest.mark.parametrize("faults", [[drop], [ERROR], [SLOW_DOWN], [hang], [cut], [drop, ERROR, SLOW_DOWN, refuse(503)]])
async def test_a_read_is_tried_again(store: S3Store, proxy: FaultyProxy, faults: list[Fault]) -> None:
    await store.create("runs/a", b"data")
    proxy.faults["GET"].extend(faults)
    assert await store.get("runs/a") == b"data"
    proxy.faults["GET"].extend(faults)
    assert await keys_of(store.list("runs/")) == ["runs/a"]
    proxy.faults["DELETE"].extend(fault for fault in faults if fault is not cut)
    await store.remove("runs/a")
    assert await keys_of(store.list("")) == []


@pytest.mark.parametrize("faults", [[drop] * 5, [DENIED], [NO_BUCKET], [refuse(404)], [refuse(404, "NotFound")]])
async def test_a_read_without_an_answer_is_unavailable_and_never_missing(
    store: S3Store, proxy: FaultyProxy, faults: list[Fault]
) -> None:
    for method, call in (("GET", store.get("a")), ("GET", keys_of(store.list(""))), ("DELETE", store.remove("a"))):
        proxy.faults[method].extend(faults)
        with pytest.raises(Unavailable):
            await call
        assert not proxy.faults[method]


async def test_a_server_that_does_not_list_in_order_is_unavailable(store: S3Store, proxy: FaultyProxy) -> None:
    async def unordered(_: FaultyProxy, __: Request) -> bytes:
        return reply(200, "<ListBucketResult><Contents><Key>guard/a</Key></Contents></ListBucketResult>")

    proxy.faults["GET"].append(unordered)
    with pytest.raises(Unavailable, match="does not list in the order of keys"):
        await keys_of(store.list("", after="b"))


async def test_objects_that_no_store_made_are_not_listed(s3_server: S3Server, store: S3Store) -> None:
    await store.create("runs/a", b"")
    with closing(boto3.client("s3", endpoint_url=s3_server.endpoint_url)) as client:
        for key in ("guard/runs/", "guard/runs/ä b", "guards/runs/b"):
            client.put_object(Bucket=store._bucket, Key=key)
    assert await keys_of(store.list("")) == ["runs/a"]


async def test_messages_name_the_bucket_and_the_way_out_and_no_secret(
    s3_server: S3Server, new_bucket: NewBucket
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    found = {}
    for bucket, url in (("no-such-bucket", s3_server.endpoint_url), (new_bucket(), nowhere)):
        store = S3Store(bucket, endpoint_url=url)
        with pytest.raises(Unavailable) as raised:
            await store.create("a", b"")
        found[bucket] = str(raised.value)
        await store.close()
    assert [message.removeprefix(f"Bucket {bucket}: ") for bucket, message in found.items()] == [
        "it does not exist: create it, or correct store.url.",
        "its server cannot be reached: check store.endpoint_url and the network.",
    ]
    assert not [name for name in s3_server.environment.values() if name in "".join(found.values())]


async def test_missing_credentials_are_named(
    store: S3Store, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    bare = S3Store("bucket", endpoint_url=proxy.url)
    with pytest.raises(Unavailable, match="no credentials were found: set AWS_ACCESS_KEY_ID"):
        await bare.create("a", b"")
    await bare.close()
    assert proxy.seen == []


def test_what_failed_before_it_was_sent_is_refused() -> None:
    assert fate_of(ParamValidationError(report="r")) is Fate.REFUSED


@pytest.mark.parametrize("prefix", ["", "/", "/guard", "/deep/guard/"])
async def test_an_s3_url_opens_a_bucket_below_its_prefix(
    s3_server: S3Server, new_bucket: NewBucket, prefix: str
) -> None:
    bucket = new_bucket()
    store = open_store(f"s3://{bucket}{prefix}", endpoint_url=s3_server.endpoint_url, region="eu-central-1")
    await store.create("a/b", b"data")
    assert await keys_of(store.list("")) == ["a/b"]
    await store.close()
    with closing(boto3.client("s3", endpoint_url=s3_server.endpoint_url)) as client:
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [f"{prefix.strip('/')}/a/b".strip("/")]
