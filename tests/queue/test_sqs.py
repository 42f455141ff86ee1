"""The queue on SQS keeps the common promises, and bears what can go wrong between here and there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from structlog.testing import capture_logs

from guard.core.limits import QUEUE_TAKES_MAX
from guard.queue.base import Job, Unavailable
from guard.queue.opening import open_queue
from guard.queue.sqs import SqsQueue
from tests.queue.conformance import QueueConformance, job, nothing_comes, put, taken
from tests.queue.conftest import NewQueue
from tests.servers import FaultyProxy, Request, S3Server, free_port


class TestSqsQueue(QueueConformance):
    @pytest.fixture
    def queue(self, new_sqs_queue: NewQueue) -> SqsQueue:
        return new_sqs_queue()

    @pytest.fixture
    def other(self, new_sqs_queue: NewQueue) -> SqsQueue:
        return new_sqs_queue()

    @pytest.fixture
    def small(self, new_sqs_queue: NewQueue) -> SqsQueue:
        return new_sqs_queue(jobs_max=3)


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(s3_server.endpoint_url) as proxy:
        yield proxy


async def drop_answer(proxy: FaultyProxy, request: Request) -> bytes:
    await proxy.forward(request)
    return b""


async def drop(_: FaultyProxy, __: Request) -> bytes:
    return b""


def reply(status: int, kind: str) -> bytes:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{kind}", "message": "m"})
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n{body}".encode()


def calls(proxy: FaultyProxy) -> list[str]:
    heads = [request.head.lower() for request in proxy.seen]
    return [head.split("x-amz-target: amazonsqs.")[1].split("\r\n")[0] for head in heads]


async def test_a_put_whose_answer_is_lost_puts_one_job(proxy: FaultyProxy, new_sqs_queue: NewQueue) -> None:
    queue = new_sqs_queue(endpoint_url=proxy.url)
    proxy.faults["POST"].extend([FaultyProxy.forward, drop_answer])
    await put(queue, job(1), job(2))
    assert calls(proxy)[:3] == ["getqueueattributes", "sendmessage", "sendmessage"]
    for expected in (job(1), job(2)):
        lease = await taken(queue)
        assert lease.job == expected
        await queue.done(lease)


async def test_a_repeated_receive_says_that_it_is_one(proxy: FaultyProxy, new_sqs_queue: NewQueue) -> None:
    """AWS then gives the same message again; the emulator does not, and the job comes when its lease has run out."""
    queue = new_sqs_queue(endpoint_url=proxy.url)
    await put(queue, job(1))
    proxy.faults["POST"].append(drop_answer)
    lease = await taken(queue, lease_s=1)
    assert lease.job == job(1)
    bodies = [json.loads(request.body) for request in proxy.seen if b"WaitTimeSeconds" in request.body]
    first, second = (body["ReceiveRequestAttemptId"] for body in bodies[:2])
    assert first == second
    assert len({body["ReceiveRequestAttemptId"] for body in bodies}) == len(bodies) - 1


@pytest.mark.parametrize("kind", ["MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"])
async def test_all_that_aws_says_of_a_receipt_that_ran_out_is_a_lost_lease(
    proxy: FaultyProxy, new_sqs_queue: NewQueue, kind: str
) -> None:
    async def refused(_: FaultyProxy, __: Request) -> bytes:
        return reply(400, kind)

    queue = new_sqs_queue(endpoint_url=proxy.url)
    await put(queue, job(1))
    lease = await taken(queue)
    proxy.faults["POST"].extend([refused] * 3)
    await queue.done(lease)
    await queue.release(lease)
    with pytest.raises(Exception, match="ran out"):
        await queue.extend(lease)


async def test_a_queue_that_does_not_answer_is_unavailable(proxy: FaultyProxy, new_sqs_queue: NewQueue) -> None:
    queue = new_sqs_queue(endpoint_url=proxy.url)
    proxy.faults["POST"].extend([drop] * 4)
    with pytest.raises(Unavailable, match="no use now"):
        await queue.put(job(1))
    assert len(proxy.seen) == 4
    assert await nothing_comes(queue)


async def test_an_error_that_is_not_about_the_receipt_loses_no_lease(
    proxy: FaultyProxy, new_sqs_queue: NewQueue
) -> None:
    async def denied(_: FaultyProxy, __: Request) -> bytes:
        return reply(403, "AccessDenied")

    queue = new_sqs_queue(endpoint_url=proxy.url)
    await put(queue, job(1))
    lease = await taken(queue)
    for call in (queue.extend(lease), queue.done(lease), queue.release(lease)):
        proxy.faults["POST"].append(denied)
        with pytest.raises(Unavailable, match="allow sqs:SendMessage, sqs:ReceiveMessage"):
            await call
    await queue.extend(lease)


async def test_a_message_that_comes_to_a_take_that_was_given_up_is_given_back(
    s3_server: S3Server, new_sqs_queue: NewQueue
) -> None:
    queue, other = new_sqs_queue(), new_sqs_queue()
    assert await nothing_comes(queue)  # its receive is still waiting at the server when this returns
    await put(other, job(1))
    await asyncio.sleep(0.3)
    assert (await taken(other)).job == job(1)


async def test_takes_that_wait_keep_no_other_call_waiting(new_sqs_queue: NewQueue) -> None:
    queue = new_sqs_queue(poll_s=20)
    takers = [asyncio.create_task(taken(queue)) for _ in range(8)]
    await asyncio.sleep(0.3)
    async with asyncio.timeout(15):
        await asyncio.gather(*(queue.put(job(number, f"target{number}")) for number in range(8)))
    leases = await asyncio.gather(*takers)
    assert {lease.job for lease in leases} == {job(number, f"target{number}") for number in range(8)}


async def test_a_job_that_is_set_aside_lies_among_the_dead_letters(
    s3_server: S3Server, new_sqs_queue: NewQueue, queue_url: str
) -> None:
    queue = new_sqs_queue()
    await put(queue, job(1))
    for _ in range(QUEUE_TAKES_MAX):
        await queue.release(await taken(queue))
    assert await nothing_comes(queue)
    (letter,) = messages(s3_server, queue_url.replace(".fifo", "-dead.fifo"))
    assert json.loads(letter["Body"]) == {"target": "crm", "run": "run_1", "op": "op_1"}


@pytest.mark.parametrize("body", ["not JSON", "{}", '{"target": "crm", "run": 1, "op": null}', "[]"])
async def test_a_message_that_is_no_job_is_left_alone_and_named_in_the_log(
    s3_server: S3Server, new_sqs_queue: NewQueue, queue_url: str, body: str
) -> None:
    with closing(boto3.client("sqs", endpoint_url=s3_server.endpoint_url)) as client:
        client.send_message(QueueUrl=queue_url, MessageBody=body, MessageGroupId="odd", MessageDeduplicationId="1")
    queue = new_sqs_queue()
    await put(queue, job(1))
    with capture_logs() as lines:
        assert (await taken(queue)).job == job(1)
    assert [line["event"] for line in lines] == ["job_unreadable"]
    assert body not in str(lines) or body in "{}[]"


async def test_messages_name_the_queue_and_the_way_out_and_no_secret(s3_server: S3Server) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    found = []
    for server in (s3_server.endpoint_url, nowhere):
        queue = SqsQueue(f"{server}/000000000000/no-such-queue.fifo")
        with pytest.raises(Unavailable) as raised:
            await queue.put(job(1))
        found.append(str(raised.value))
        await queue.close()
    assert found == [
        "Queue no-such-queue.fifo: it does not exist: create it, or correct queue.url.",
        "Queue no-such-queue.fifo: its server cannot be reached: check queue.url, queue.endpoint_url and the network.",
    ]
    assert not [value for value in s3_server.environment.values() if value in "".join(found)]


async def test_missing_credentials_are_named(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    queue = SqsQueue(f"{s3_server.endpoint_url}/000000000000/a.fifo")
    with pytest.raises(Unavailable, match="no credentials were found: set AWS_ACCESS_KEY_ID"):
        await queue.put(job(1))
    await queue.close()


async def test_the_url_tells_where_to_ask(proxy: FaultyProxy, s3_server: S3Server, queue_url: str) -> None:
    """Without an endpoint_url, requests go to the queue's own host and no other."""
    name = queue_url.rpartition("/")[2]
    queue = open_queue(f"{proxy.url}/000000000000/{name}")
    await put(queue, Job("crm", "run_1", "op_1"))
    assert calls(proxy) == ["getqueueattributes", "sendmessage"]
    await queue.close()


@pytest.mark.parametrize(
    ("url", "region", "expected"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/guard.fifo", None, "eu-central-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/guard.fifo", None, "cn-north-1"),
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/guard.fifo", "eu-west-1", "eu-west-1"),
        ("https://sqs.example.com/123456789012/guard.fifo", None, "us-east-1"),
    ],
)
async def test_the_url_tells_the_region_where_no_setting_does(
    s3_server: S3Server, url: str, region: str | None, expected: str
) -> None:
    queue: Any = open_queue(url, region=region)
    assert queue._client.meta.region_name == expected
    assert queue._client.meta.endpoint_url == url.partition("/123456789012")[0]
    await queue.close()


def messages(server: S3Server, url: str) -> list[Any]:
    with closing(boto3.client("sqs", endpoint_url=server.endpoint_url)) as client:
        return list(client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))


async def test_the_jobs_it_tells_of_are_those_that_sqs_counted_at_its_last_put(new_sqs_queue: NewQueue) -> None:
    queue = new_sqs_queue()
    assert queue.jobs is None
    for number in range(3):
        await put(queue, job(number))
    assert queue.jobs == 2
