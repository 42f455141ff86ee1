"""A queue on SQS FIFO: the target is the message group, so SQS keeps the order and lets one driver at a time in.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fifo-queues.html. The visibility timeout
is the lease, and every take says how long it is; renewed, a lease lasts twelve hours at most, SQS gives no more.
Setting aside is the queue's own redrive policy: maxReceiveCount = QUEUE_TAKES_MAX, and a dead-letter queue
(infra/cloudformation.yaml makes both). Of two equal jobs put within five minutes SQS drops the second, done or not.

Needs sqs:SendMessage, sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes.
"""

import json
import math
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import boto3
import structlog
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from pydantic import TypeAdapter, ValidationError

from guard.core.limits import QUEUE_JOBS_MAX, QUEUE_LEASE_S
from guard.queue.base import Full, Job, Lease, Lost, Unavailable, closed
from guard.threads import Threads

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = structlog.get_logger()

T = TypeVar("T")

_TAKERS = 8
_THREADS = 8
_ATTEMPTS_MAX = 4
_FAILURES = (BotoCoreError, ClientError, ResponseParserError, urllib3.exceptions.HTTPError)
# A receipt that has run out is answered with any of these.
_LOST = {"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"}
_ADVICE = {
    "NonExistentQueue": "it does not exist: create it, or correct queue.url",
    "QueueDoesNotExist": "it does not exist: create it, or correct queue.url",
    "AccessDenied": "access is denied: allow sqs:SendMessage, sqs:ReceiveMessage, sqs:DeleteMessage, "
    "sqs:ChangeMessageVisibility and sqs:GetQueueAttributes",
    "InvalidClientTokenId": "the access key is not known there: check the credentials",
    "UnrecognizedClientException": "the access key is not known there: check the credentials",
    "SignatureDoesNotMatch": "the secret key or the region does not fit: check the credentials and queue.region",
    "ExpiredToken": "the credentials have expired: renew them",
    "NoCredentialsError": "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
    "EndpointConnectionError": "its server cannot be reached: check queue.url, queue.endpoint_url and the network",
    "ConnectTimeoutError": "its server cannot be reached: check queue.url, queue.endpoint_url and the network",
}
_JOB = TypeAdapter(Job)


class SqsQueue:
    """The FIFO queue at `url`. Credentials come from where boto3 looks for them.

    endpoint_url: where to send the requests, if not to the url's own host. region: if the host does not tell it.
    jobs_max is compared with SQS's own approximate count, which may be a minute old. poll_s: how many seconds, 1 to 20,
    one receive waits at SQS; a take repeats it, and `close` may have to wait for it.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        jobs_max: int = QUEUE_JOBS_MAX,
        poll_s: int = 5,
    ) -> None:
        self._url = url
        self.jobs: int | None = None
        """As counted at the last put of this process."""
        self._name = url.rpartition("/")[2]
        self._jobs_max = jobs_max
        self._poll_s = poll_s
        self._client = _client(url, endpoint_url, region, poll_s)
        # Receiving waits, so it has threads of its own: a renewal must not stand in line behind it.
        self._takers = Threads("guard-sqs-take", _TAKERS, closed)
        self._threads = Threads("guard-sqs", _THREADS, closed)

    async def put(self, job: Job) -> None:
        self.jobs = await self._ask(self._count)
        if self.jobs >= self._jobs_max:
            raise Full(f"{self._jobs_max} jobs are waiting, more are not taken. Try again later.")
        await self._ask(lambda: self._send(job))

    async def take(self, lease_s: float = QUEUE_LEASE_S) -> Lease:
        while True:
            given_up = threading.Event()
            try:
                lease = await self._ask(partial(self._receive, lease_s, given_up), self._takers)
            except BaseException:
                given_up.set()
                raise
            if lease:
                return lease

    async def extend(self, lease: Lease, lease_s: float = QUEUE_LEASE_S) -> None:
        if not await self._ask(partial(self._held, partial(self._change, lease.receipt, lease_s))):
            raise Lost(f"The lease on {lease.job.op} of {lease.job.run} ran out.")

    async def done(self, lease: Lease) -> None:
        await self._ask(partial(self._held, partial(self._delete, lease.receipt)))

    async def release(self, lease: Lease) -> None:
        await self._ask(partial(self._held, partial(self._change, lease.receipt, 0)))

    async def check(self) -> None:
        await self._ask(self._count)

    async def close(self) -> None:
        await self._takers.close()
        await self._threads.close()
        self._client.close()

    async def _ask(self, call: Callable[[], T], threads: Threads | None = None) -> T:
        """boto3 repeats a request by itself; with SQS FIFO none of ours does harm when repeated."""
        try:
            return await (threads or self._threads).run(call)
        except _FAILURES as error:
            advice = _ADVICE.get(_code(error), f"no use now ({_code(error)}), try again")
            raise Unavailable(f"Queue {self._name}: {advice}.") from error

    def _count(self) -> int:
        answer = self._client.get_queue_attributes(
            QueueUrl=self._url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(int(number) for number in answer.get("Attributes", {}).values())

    def _send(self, job: Job) -> None:
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=json.dumps(asdict(job)),
            MessageGroupId=job.target,
            MessageDeduplicationId=f"{job.run}+{job.op}",
        )

    def _receive(self, lease_s: float, given_up: threading.Event) -> Lease | None:
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=self._poll_s,
            VisibilityTimeout=math.ceil(lease_s),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            # With it a repeat of a receive whose answer was lost gets the same message, not the next one.
            ReceiveRequestAttemptId=str(uuid.uuid4()),
        )
        for message in answer.get("Messages", ()):
            if given_up.is_set():
                self._held(partial(self._change, message["ReceiptHandle"], 0))
            elif lease := self._lease(message):
                return lease
        return None

    def _lease(self, message: "MessageTypeDef") -> Lease | None:
        try:
            job = _JOB.validate_json(message["Body"])
        except ValidationError:
            # Not ours, or of another version: left alone, it ends among the dead letters, for somebody to look at.
            log.warning("job_unreadable", queue=self._name, message=message["MessageId"])
            return None
        return Lease(job, message["ReceiptHandle"], int(message["Attributes"]["ApproximateReceiveCount"]))

    def _change(self, receipt: str, lease_s: float) -> None:
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=math.ceil(lease_s)
        )

    def _delete(self, receipt: str) -> None:
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)

    def _held(self, call: Callable[[], object]) -> bool:
        """Do something with a receipt; False where it is good for nothing any more."""
        try:
            call()
        except ClientError as error:
            if _code(error) not in _LOST:
                raise
            return False
        return True


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        # Older names come with the service's in front: AWS.SimpleQueueService.NonExistentQueue
        return str(error.response.get("Error", {}).get("Code", "Unknown")).rpartition(".")[2]
    return type(error).__name__


def _client(url: str, endpoint_url: str | None, region: str | None, poll_s: int) -> "SQSClient":
    host = urlsplit(url).hostname or ""
    # https://docs.aws.amazon.com/general/latest/gr/sqs-service.html: sqs.{region}.amazonaws.com
    told = host.split(".")[1] if host.startswith("sqs.") and ".amazonaws.com" in host else None
    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url or url.removesuffix(urlsplit(url).path),
        region_name=region or told,
        config=Config(
            connect_timeout=3.0,
            read_timeout=10.0 + poll_s,
            max_pool_connections=_TAKERS + _THREADS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS_MAX},
        ),
    )
