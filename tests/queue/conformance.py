"""What every queue promises. A queue joins by a subclass that has the fixtures `queue`, `other` and `small`.

`other` is a second instance over the same place: another machine, as far as the promises go; a queue of one process is
its own. `small` holds three jobs at most.
"""

import asyncio
import time

import pytest

from guard.core.limits import QUEUE_TAKES_MAX
from guard.queue.base import Full, Job, Lease, Lost, Queue, Unavailable

COMES_S = 30.0
"""Long enough for what comes to come, on any machine."""

STAYS_AWAY_S = 1.5
"""For what must not come: a test never fails because this is too long or too short, it may only miss a fault."""


def job(number: int, target: str = "crm") -> Job:
    return Job(target, f"run_{number}", f"op_{number}")


async def put(queue: Queue, *jobs: Job) -> None:
    for each in jobs:
        await queue.put(each)


async def taken(queue: Queue, lease_s: float = 60.0) -> Lease:
    return await asyncio.wait_for(queue.take(lease_s), COMES_S)


async def nothing_comes(queue: Queue) -> bool:
    waiting = asyncio.create_task(queue.take())
    done, _ = await asyncio.wait([waiting], timeout=STAYS_AWAY_S)
    waiting.cancel()
    return not done


class QueueConformance:
    async def test_a_queue_that_can_be_used_says_so_and_a_closed_one_does_not(self, queue: Queue) -> None:
        await queue.check()
        await queue.close()
        with pytest.raises(Unavailable):
            await queue.check()

    async def test_jobs_of_one_target_come_in_the_order_they_were_put(self, queue: Queue, other: Queue) -> None:
        jobs = [job(number) for number in range(6)]
        await put(queue, *jobs)
        came = []
        for each in (queue, other) * 3:
            lease = await taken(each)
            came.append(lease.job)
            await each.done(lease)
        assert came == jobs

    async def test_a_job_is_nobody_elses_and_the_next_of_its_target_waits_until_it_is_done(
        self, queue: Queue, other: Queue
    ) -> None:
        await put(queue, job(1), job(2))
        first = await taken(queue)
        assert first.job == job(1)
        assert await nothing_comes(other)
        await queue.done(first)
        assert (await taken(other)).job == job(2)

    async def test_jobs_of_other_targets_do_not_wait(self, queue: Queue, other: Queue) -> None:
        await put(queue, job(1, "crm"), job(2, "crm"), job(3, "hr"), job(4, "erp"), job(5, "hr"))
        came = {(await taken(each)).job for each in (queue, other, queue)}
        assert came == {job(1, "crm"), job(3, "hr"), job(4, "erp")}
        assert await nothing_comes(other)

    async def test_of_many_takers_one_drives_a_target_at_a_time(self, queue: Queue, other: Queue) -> None:
        targets = ("crm", "hr", "erp")
        jobs = [job(number, targets[number % 3]) for number in range(18)]
        driving: list[str] = []
        came: list[Job] = []

        async def drive(each: Queue) -> None:
            while len(came) < len(jobs):
                lease = await each.take()
                assert lease.job.target not in driving
                driving.append(lease.job.target)
                came.append(lease.job)
                await asyncio.sleep(0)
                driving.remove(lease.job.target)
                await each.done(lease)

        await put(queue, *jobs)
        drivers = [asyncio.create_task(drive(each)) for each in (queue, other) * 3]
        async with asyncio.timeout(COMES_S):
            await asyncio.wait(drivers, return_when=asyncio.FIRST_COMPLETED)
        for driver in drivers:
            driver.cancel()
        ended = await asyncio.gather(*drivers, return_exceptions=True)
        assert not [error for error in ended if isinstance(error, Exception)]
        for target in targets:
            assert [each for each in came if each.target == target] == [each for each in jobs if each.target == target]

    async def test_a_take_waits_for_a_job_that_is_put_later(self, queue: Queue, other: Queue) -> None:
        waiting = asyncio.create_task(taken(other))
        await asyncio.sleep(0.1)
        await queue.put(job(1))
        assert (await waiting).job == job(1)

    @pytest.mark.parametrize("end", ["done", "release"])
    async def test_a_take_that_waits_gets_its_job_once_the_one_before_is_let_go(
        self, queue: Queue, other: Queue, end: str
    ) -> None:
        await put(queue, job(1), job(2))
        first = await taken(queue)
        waiting = asyncio.create_task(taken(other))
        await asyncio.sleep(0.1)
        await getattr(queue, end)(first)
        assert (await waiting).job == {"done": job(2), "release": job(1)}[end]

    async def test_an_unfinished_job_comes_again_first_once_its_lease_has_run_out(
        self, queue: Queue, other: Queue
    ) -> None:
        await put(queue, job(1), job(2))
        first = await taken(queue, lease_s=1)
        again = await taken(other)
        assert (again.job, first.takes, again.takes) == (job(1), 1, 2)

    async def test_who_lost_a_lease_learns_it_and_ends_nothing(self, queue: Queue, other: Queue) -> None:
        await put(queue, job(1), job(2))
        lost = await taken(queue, lease_s=1)
        held = await taken(other)
        assert held.job == lost.job
        with pytest.raises(Lost, match="op_1 of run_1"):
            await queue.extend(lost)
        await queue.done(lost)
        await queue.release(lost)
        assert await nothing_comes(queue)
        await other.extend(held)
        await other.done(held)
        assert (await taken(queue)).job == job(2)

    async def test_a_lease_that_is_extended_lasts(self, queue: Queue, other: Queue) -> None:
        await queue.put(job(1))
        while True:
            started_at = time.monotonic()
            lease = await taken(queue, lease_s=2)
            await queue.extend(lease, lease_s=60)
            if time.monotonic() - started_at < 2:
                break
            await queue.release(lease)  # the machine was so busy that the lease may have run out in between
        await asyncio.sleep(2)
        assert await nothing_comes(other)
        await queue.done(lease)

    async def test_a_job_that_is_released_comes_again_at_once_and_first(self, queue: Queue, other: Queue) -> None:
        await put(queue, job(1), job(2))
        await queue.release(await taken(queue))
        assert (await taken(other)).job == job(1)

    async def test_a_job_that_is_put_twice_comes_once(self, queue: Queue, other: Queue) -> None:
        await put(queue, job(1))
        await put(other, job(1))
        lease = await taken(queue)
        await put(other, job(1))
        await queue.done(lease)
        await put(queue, job(2))
        assert (await taken(other)).job == job(2)

    async def test_operations_of_one_run_are_jobs_of_their_own(self, queue: Queue) -> None:
        jobs = [Job("crm", "run_1", "op_1"), Job("crm", "run_1", "op_2"), Job("crm", "run_2", "op_1")]
        await put(queue, *jobs)
        for expected in jobs:
            lease = await taken(queue)
            assert lease.job == expected
            await queue.done(lease)

    async def test_a_job_that_never_gets_done_is_set_aside_and_blocks_nobody(self, queue: Queue, other: Queue) -> None:
        await put(queue, job(1), job(2))
        for number in range(QUEUE_TAKES_MAX):
            lease = await taken((queue, other)[number % 2])
            assert (lease.job, lease.takes) == (job(1), number + 1)
            await queue.release(lease)
        assert (await taken(queue)).job == job(2)

    async def test_a_full_queue_refuses_and_takes_jobs_again_once_one_is_done(self, small: Queue) -> None:
        await put(small, job(1), job(2), job(3, "hr"))
        lease = await taken(small)
        with pytest.raises(Full, match="3 jobs"):
            await small.put(job(4))
        await small.done(lease)
        await small.put(job(4))
        with pytest.raises(Full):
            await small.put(job(5))

    async def test_a_take_that_is_given_up_takes_no_job_away(self, queue: Queue, other: Queue) -> None:
        waiting = asyncio.create_task(queue.take())
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait([waiting])
        await other.put(job(1))
        assert (await taken(other)).job == job(1)

    async def test_a_closed_queue_says_so(self, queue: Queue) -> None:
        await queue.put(job(1))
        lease = await taken(queue)
        await queue.close()
        for call in (queue.put(job(2)), queue.take(), queue.extend(lease), queue.done(lease), queue.release(lease)):
            with pytest.raises(Unavailable, match="closed"):
                await call

    async def test_a_take_that_waits_ends_when_the_queue_is_closed(self, queue: Queue) -> None:
        waiting = asyncio.create_task(taken(queue))
        await asyncio.sleep(0.1)
        await queue.close()
        with pytest.raises(Unavailable, match="closed"):
            await waiting
