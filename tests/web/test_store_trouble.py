"""The snapshot store fails at the k-th call: no write leaves without durable pre-images, the way back stays open."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from guard.core.entries import decode, unpack
from guard.core.model import Touched
from guard.flows import passage
from guard.flows.recover import Recovery
from guard.store.base import Store, StoreError, Unavailable, Unknown
from tests.flows.copies import until
from tests.web.doors import assert_problem, objects, vendor_writes
from tests.world import World, path_of

FIRST = "80odnXVE9BAcgXuiNEr1"


class UnknownButStored(Unknown):
    """Asked, the answer is lost, and the object is there."""


class FailingStore:
    """The store of a world, except that one of its calls fails, or all from it on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = 0
        self.fail_at = -1
        self.fail_until = -1
        self.error: type[StoreError] = Unavailable

    def fail(self, error: type[StoreError], at: int, times: int = 1) -> None:
        self.calls, self.error, self.fail_at, self.fail_until = 0, error, at, at + times

    def _fails(self) -> bool:
        self.calls += 1
        return self.fail_at < self.calls <= self.fail_until - 1 or self.calls == self.fail_at

    async def create(self, key: str, data: bytes) -> None:
        if self._fails():
            if self.error is UnknownButStored:
                await self._store.create(key, data)
            raise self.error("it does not answer")
        await self._store.create(key, data)

    async def get(self, key: str) -> bytes:
        if self._fails():
            raise Unavailable("it does not answer")
        return await self._store.get(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        if self._fails():
            raise Unavailable("it does not answer")
        async for key in self._store.list(prefix, after=after):
            yield key

    async def remove(self, key: str) -> None:
        if self._fails():
            raise Unavailable("it does not answer")
        await self._store.remove(key)

    async def close(self) -> None:
        await self._store.close()


@pytest.fixture(autouse=True)
def patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage, "_SEAL_BACKOFF_S", 0.0001)


@pytest.fixture
async def failing(small_world: World) -> AsyncIterator[FailingStore]:
    store = FailingStore(small_world.guard.journals.store)
    small_world.guard.journals.store = store
    yield store
    # Where a test has failed, work that never ends would keep the world from being closed.
    stuck = [task for tasks in small_world.guard._going_on.values() for task in tasks]
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


def watch_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checks I1 at the very moment a write reaches the vendor; what it finds wrong is in the list."""
    answer, wrong = world.vendor.answer, []

    def watched(request: Any) -> Any:
        if request.method != "GET":
            id_ = request.path.split("/")[2]
            if id_ not in held_pre_images(world):
                wrong.append(f"{request.method} {request.path} came without a pre-image")
        return answer(request)

    monkeypatch.setattr(world.vendor, "answer", watched)
    return wrong


def held_pre_images(world: World) -> set[str]:
    """Ids of the records whose pre-images are durable and announced by an entry, as the files on disk tell."""
    held, found = objects(world), set()
    for key, data in held.items():
        parts = key.split("/")
        if parts[0] == "runs" and len(parts) == 3:
            for event in decode(parts[1], int(parts[2]), data).events:
                if event["e"] == "sending":
                    image = held.get(f"runs/{parts[1]}/images/{event['lines'].get('object')}")
                    found |= {t.change.id for t in unpack(parts[1], event["lines"], image, Touched) if t.before}
    return found


async def to_either_door(world: World, door: str, **headers: str) -> Any:
    if door == "pass-through":
        return await world.http.put(f"/to/crm/contacts/{FIRST}", json={"city": "Rome"}, headers=headers)
    body = {"target": "crm", "resource": "contacts", "action": "update"}
    records = [{"id": FIRST, "fields": {"city": "Rome"}}]
    return await world.http.post("/v1/operations", json={**body, "records": records}, headers=headers)


ERRORS = [Unavailable, UnknownButStored]
CALLS_MAX = 8


async def settled(world: World) -> None:
    await asyncio.wait_for(world.guard.idle(), 5)


def named(error: Any) -> str:
    return error.__name__ if isinstance(error, type) else str(error)


@pytest.mark.parametrize("door", ["pass-through", "operations"])
@pytest.mark.parametrize("error", ERRORS, ids=named)
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
async def test_a_store_that_fails_at_any_call_costs_no_record_its_way_back(
    small_world: World,
    failing: FailingStore,
    monkeypatch: pytest.MonkeyPatch,
    door: str,
    error: type[StoreError],
    at: int,
) -> None:
    before = small_world.seen()
    wrong = watch_writes(small_world, monkeypatch)
    failing.fail(error, at)
    reply = await asyncio.wait_for(to_either_door(small_world, door, **{"guard-run-key": "k"}), 10)
    await settled(small_world)
    failing.fail(error, -1)
    assert not wrong
    done = small_world.seen() != before
    if reply.status_code >= 400:
        assert "problem+json" in reply.headers["content-type"], reply.text
        assert reply.json()["code"] in ("store_unavailable", "in_doubt"), reply.text
        assert not done or reply.json()["written"] != "nothing", reply.text
    await taken_back(small_world)
    assert before == small_world.seen()


async def taken_back(world: World) -> None:
    """Take back every run that the store knows of, listed or not."""
    for run in sorted({key.split("/")[1] for key in objects(world) if key.startswith("runs/")}):
        state = await world.guard.journals.state(run)
        if state.opened["kind"] == "revert":
            continue  # taking that back would be a redo
        reply = await world.http.post(path_of(world.guard.revert_url(state)))
        assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("door", ["pass-through", "operations"])
@pytest.mark.parametrize("error", ERRORS, ids=named)
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
async def test_after_a_failure_of_the_store_the_same_request_can_be_sent_again(
    small_world: World, failing: FailingStore, door: str, error: type[StoreError], at: int
) -> None:
    """Zapier and Make repeat: the repeat must neither hang nor write twice, and what it says must be so."""
    failing.fail(error, at)
    key = {"guard-run-key": "k"}
    first = await asyncio.wait_for(to_either_door(small_world, door, **key), 10)
    await settled(small_world)
    failing.fail(error, -1)
    again = await asyncio.wait_for(to_either_door(small_world, door, **key), 3)
    assert len(vendor_writes(small_world)) <= 1, (first.text, again.text)
    if again.status_code < 400:
        assert small_world.contacts[FIRST]["city"] == "Rome"


@pytest.mark.parametrize("door", ["pass-through", "operations"])
async def test_a_store_that_is_gone_from_any_call_on_is_told_and_recovered_from(
    small_world: World, failing: FailingStore, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    before = small_world.seen()
    wrong = watch_writes(small_world, monkeypatch)
    for at in range(1, CALLS_MAX):
        failing.fail(Unavailable, at, times=1_000_000)
        reply = await asyncio.wait_for(to_either_door(small_world, door), 10)
        await settled(small_world)
        failing.fail(Unavailable, -1)
        done = before != small_world.seen()
        if reply.status_code >= 400:
            told = assert_problem(reply, reply.json()["code"], "unknown" if done else reply.json()["written"])
            assert told["code"] in ("store_unavailable", "in_doubt"), told
        async for _ in Recovery(small_world.guard).sweep(at_once=True):
            pass
        await taken_back(small_world)
        assert before == small_world.seen(), at
    assert not wrong


def without_a_store_once_sent(world: World, failing: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment the next write reaches the vendor the store is gone."""
    answer, gone = world.vendor.answer, iter([True])

    def answered(request: Any) -> Any:
        if request.method != "GET" and next(gone, False):
            failing.fail(Unavailable, 1, times=1_000_000)
        return answer(request)

    monkeypatch.setattr(world.vendor, "answer", answered)


@pytest.mark.parametrize("door", ["pass-through", "operations", "revert"])
async def test_what_cannot_be_taken_down_is_tried_for_a_while_once_and_then_told(
    small_world: World, failing: FailingStore, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """A caller waits 25 s at most: patience for what came of the write leaves none for the end of the operation."""
    made = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Rome"}}]) if door == "revert" else {}
    without_a_store_once_sent(small_world, failing, monkeypatch)
    reply = await (small_world.http.post(path_of(made["revert_url"])) if made else to_either_door(small_world, door))
    asked = failing.calls
    failing.fail(Unavailable, -1)
    told = assert_problem(reply, "in_doubt", "unknown")
    assert "it does not answer" in told["detail"]
    assert passage._SEAL_ATTEMPTS_MAX <= asked < 2 * passage._SEAL_ATTEMPTS_MAX
    assert told["run"]


@pytest.mark.parametrize("door", ["operations", "revert"])
async def test_what_goes_on_while_the_store_cannot_be_read_is_not_called_unwritten(
    small_world: World, failing: FailingStore, door: str
) -> None:
    """The caller's wait is over, and how far it has come is not to be had."""
    made = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Rome"}}]) if door == "revert" else {}
    await small_world.fault(kind="hang", seconds=60, match={"method": "PUT"})
    wait = {"prefer": "wait=1"}
    going = asyncio.ensure_future(
        small_world.http.post(path_of(made["revert_url"]), headers=wait)
        if made
        else to_either_door(small_world, door, **wait)
    )
    await until(lambda: len(small_world.sandbox._held) == 1)
    failing.fail(Unavailable, 1, times=1_000_000)
    told = assert_problem(await going, "in_doubt", "unknown")
    assert "was begun" in told["detail"]
    failing.fail(Unavailable, -1)
    small_world.sandbox.release()
    await settled(small_world)
    assert (small_world.contacts[FIRST]["city"] == "Rome") == (door == "operations")


async def test_an_answer_too_large_for_an_entry_does_not_make_a_sent_write_look_unsent(
    small_world: World, failing: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keyed answer is kept for repeats, a large one as an object of its own: after the write, before the entry."""
    without_a_store_once_sent(small_world, failing, monkeypatch)
    large = secrets.token_hex(40_000)
    reply = await small_world.http.put(
        f"/to/crm/contacts/{FIRST}", json={"city": large}, headers={"idempotency-key": "once"}
    )
    failing.fail(Unavailable, -1)
    told = assert_problem(reply, "in_doubt", "unknown")
    assert small_world.contacts[FIRST]["city"] == large
    async for _ in Recovery(small_world.guard).sweep(at_once=True):
        pass
    assert (await small_world.revert(told))["status"] == "reverted"


@pytest.mark.parametrize("error", ERRORS, ids=named)
@pytest.mark.parametrize("at", range(1, 12))
async def test_a_store_that_fails_during_a_revert_leaves_it_repeatable(
    small_world: World, failing: FailingStore, error: type[StoreError], at: int
) -> None:
    before = small_world.seen()
    told = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Rome"}}])
    failing.fail(error, at)
    reply = await asyncio.wait_for(small_world.http.post(path_of(told["revert_url"])), 10)
    await settled(small_world)
    failing.fail(error, -1)
    if reply.status_code >= 400:
        assert reply.json()["code"] in ("store_unavailable", "in_doubt"), reply.text
        assert small_world.seen() == before or small_world.contacts[FIRST]["city"] == "Rome"
    for _ in range(2):
        again = await asyncio.wait_for(small_world.http.post(path_of(told["revert_url"])), 10)
        if again.status_code == 200:
            break
        # Another process may have been at it: it is asked whether that one still lives.
        later = datetime.now(UTC) + timedelta(seconds=61)
        small_world.guard.journals.clock = lambda later=later: later  # type: ignore[misc]
    assert (200, before) == (again.status_code, small_world.seen()), again.text


GETS = ["/v1/runs", "/v1/runs/{run}", "/v1/runs/{run}/changes", "/revert/{token}"]


@pytest.mark.parametrize("path", GETS)
async def test_reading_a_store_that_fails_is_a_problem(small_world: World, failing: FailingStore, path: str) -> None:
    told = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Rome"}}])
    url = path.format(run=told["id"], token=told["revert_url"].rpartition("/")[2])
    failing.fail(Unavailable, 1, times=1_000_000)
    reply = await small_world.http.get(url)
    assert_problem(reply, "store_unavailable")
    assert reply.headers["retry-after"]


async def test_a_pass_through_read_does_without_the_store(small_world: World, failing: FailingStore) -> None:
    failing.fail(Unavailable, 1, times=1_000_000)
    assert (await small_world.http.get(f"/to/crm/contacts/{FIRST}")).status_code == 200


async def test_a_flipped_byte_is_told_and_nothing_is_written_on_such_a_ground(small_world: World) -> None:
    told = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Rome"}}])
    await damage(small_world, told["id"], lambda data: data.replace(b"sending", b"sendinG"))
    writes = vendor_writes(small_world)
    reply = await small_world.http.post(path_of(told["revert_url"]))
    assert_problem(reply, "corrupt", "unknown")
    assert writes == vendor_writes(small_world)


async def damage(world: World, run: str, change: Callable[[bytes], bytes]) -> None:
    """As a disk would: behind Guard's back."""
    root = Path(world.guard.settings.store.url.removeprefix("file:"))
    for path in (root / "runs" / run).iterdir():
        if path.is_file() and b"sending" in path.read_bytes():
            data = path.read_bytes()
            path.chmod(0o644)
            path.write_bytes(change(data))
    world.guard.journals._journals.clear()
    world.guard.journals._users.clear()
