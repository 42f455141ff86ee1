"""The queue in this process keeps the common promises."""

import asyncio

import pytest
from structlog.testing import capture_logs

from guard.core.limits import QUEUE_TAKES_MAX
from guard.queue.memory import MemoryQueue
from tests.queue.conformance import QueueConformance, job, taken


class TestMemoryQueue(QueueConformance):
    @pytest.fixture
    async def queue(self) -> MemoryQueue:
        return MemoryQueue()

    @pytest.fixture
    async def other(self, queue: MemoryQueue) -> MemoryQueue:
        return queue

    @pytest.fixture
    async def small(self) -> MemoryQueue:
        return MemoryQueue(jobs_max=3)


async def test_a_job_that_is_set_aside_is_named_in_the_log() -> None:
    queue = MemoryQueue()
    await queue.put(job(1))
    for _ in range(QUEUE_TAKES_MAX):
        await queue.release(await taken(queue))
    await queue.put(job(2))
    with capture_logs() as lines:
        await taken(queue)
    assert lines == [
        {"event": "job_set_aside", "log_level": "error", "target": "crm", "run": "run_1", "op": "op_1"},
    ]


async def test_every_taker_that_waits_is_woken_in_its_turn() -> None:
    queue = MemoryQueue()
    takers = [asyncio.create_task(taken(queue)) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        await queue.put(job(number, f"target{number}"))
    assert {lease.job for lease in await asyncio.gather(*takers)} == {job(n, f"target{n}") for n in range(3)}


async def test_the_jobs_it_tells_of_are_those_that_are_not_done() -> None:
    queue = MemoryQueue()
    for number in range(3):
        await queue.put(job(number))
    await queue.done(await taken(queue))
    assert queue.jobs == 2
