"""A driver keeps its job for as long as it is at it, and learns when it no longer has it."""

import asyncio

import pytest

from guard.queue.keeping import kept
from guard.queue.memory import MemoryQueue
from guard.queue.sqs import SqsQueue
from tests.queue.conformance import COMES_S, job, taken
from tests.queue.conftest import NewQueue
from tests.servers import free_port

LEASE_S = 0.3


async def test_a_lease_is_renewed_for_as_long_as_the_driver_is_at_it() -> None:
    queue = MemoryQueue()
    await queue.put(job(1))
    lease = await taken(queue, LEASE_S)
    waiting = asyncio.create_task(queue.take())
    async with kept(queue, lease, LEASE_S) as lost:
        await asyncio.sleep(4 * LEASE_S)
        assert not waiting.done()
    assert not lost.is_set()
    assert (await asyncio.wait_for(waiting, COMES_S)).job == job(1)


async def test_a_driver_learns_that_somebody_else_has_its_job() -> None:
    queue = MemoryQueue()
    await queue.put(job(1))
    lease = await taken(queue, lease_s=0)
    assert (await taken(queue)).job == lease.job
    async with kept(queue, lease, LEASE_S) as lost:
        await asyncio.wait_for(lost.wait(), COMES_S)


async def test_a_driver_that_cannot_renew_gives_its_job_up_for_lost(new_sqs_queue: NewQueue, queue_url: str) -> None:
    queue = new_sqs_queue()
    await queue.put(job(1))
    lease = await taken(queue)
    cut_off = SqsQueue(queue_url, endpoint_url=f"http://127.0.0.1:{free_port()}")
    async with kept(cut_off, lease, LEASE_S) as lost:
        await asyncio.wait_for(lost.wait(), COMES_S)
    await cut_off.close()


async def test_a_driver_that_fails_stops_renewing() -> None:
    queue = MemoryQueue()
    await queue.put(job(1))
    lease = await taken(queue, LEASE_S)
    with pytest.raises(ZeroDivisionError):
        async with kept(queue, lease, LEASE_S):
            raise ZeroDivisionError
    assert (await taken(queue)).takes == 2
