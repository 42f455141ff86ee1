"""Queues on the SQS server, as infra/cloudformation.yaml makes them: FIFO, with one for dead letters behind."""

import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import boto3
import pytest

from guard.core.limits import QUEUE_TAKES_MAX
from guard.queue.sqs import SqsQueue
from tests.servers import S3Server

NewQueue = Callable[..., SqsQueue]


@pytest.fixture
def queue_url(s3_server: S3Server) -> str:
    """A queue of its own for a test. The one for its dead letters is called the same with -dead."""
    name = secrets.token_hex(8)
    with closing(boto3.client("sqs", endpoint_url=s3_server.endpoint_url)) as client:
        dead = client.create_queue(QueueName=f"{name}-dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        told = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": told["QueueArn"], "maxReceiveCount": QUEUE_TAKES_MAX}
        return client.create_queue(
            QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": json.dumps(redrive)}
        )["QueueUrl"]


@pytest.fixture
async def new_sqs_queue(s3_server: S3Server, queue_url: str) -> AsyncIterator[NewQueue]:
    """Makes one more instance over the test's queue; all are closed at the end."""
    made: list[SqsQueue] = []

    def make(**settings: object) -> SqsQueue:
        chosen = {"endpoint_url": s3_server.endpoint_url, "poll_s": 1, **settings}
        made.append(SqsQueue(queue_url, **chosen))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for queue in made:
        await queue.close()
