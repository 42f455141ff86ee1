"""What queue.url may say."""

import boto3
import pytest

from guard.queue.memory import MemoryQueue
from guard.queue.opening import open_queue
from guard.settings import QueueSettings


async def test_without_a_setting_the_queue_is_in_this_process() -> None:
    assert isinstance(open_queue(QueueSettings().url), MemoryQueue)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:x",
        "sqs://guard",
        "https://sqs.eu-central-1.amazonaws.com/123456789012/guard",
        "https://sqs.eu-central-1.amazonaws.com/guard.fifo?x=1",
        "https://user:secret@sqs.eu-central-1.amazonaws.com/123456789012/guard.fifo",
        "https:///guard.fifo",
        "file:///guard.fifo",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"queue\.url must be"):
        open_queue(url)


def test_a_region_that_nothing_tells_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(ValueError, match=r"set queue\.region"):
        open_queue("https://queue.example.com/123456789012/guard.fifo")
