"""From the setting queue.url to a queue."""

import re

from botocore.exceptions import NoRegionError

from guard.queue.base import Queue
from guard.queue.memory import MemoryQueue
from guard.queue.sqs import SqsQueue

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html: the suffix makes it FIFO
_SQS_FIFO = re.compile(r"https?://[^/\s?#@]+/[A-Za-z0-9_/-]+\.fifo")


def open_queue(url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Queue:
    """The queue at `memory:`, or the SQS FIFO queue with this URL.

    endpoint_url and region are for SQS only. Nothing is contacted yet. Raises ValueError for a url that is neither, and
    where nothing tells the region.
    """
    if url == "memory:":
        return MemoryQueue()
    if not _SQS_FIFO.fullmatch(url):
        raise ValueError(f"queue.url must be memory: or the URL of an SQS queue that ends in .fifo, not {url!r}.")
    try:
        return SqsQueue(url, endpoint_url=endpoint_url, region=region)
    except NoRegionError:
        raise ValueError(f"queue.url does not tell the region of {url!r}: set queue.region.") from None
