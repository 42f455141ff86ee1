"""GET /v1/runs/{id}/events, and callbacks: being told of a run's progress and of its end."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import orjson
import pytest

from guard.assembly import assemble
from guard.flows.recover import Recovery
from guard.target.callbacks import sign
from guard.web import admission
from guard.web.app import create_app
from tests.target.test_callbacks import SECRET, Receiver, receiver
from tests.web.brackets import checkpoint, seal
from tests.web.doors import assert_problem, nothing_happens, send, updates
from tests.web.serving import served
from tests.world import KEY, PUBLIC_URL, World, path_of, settings, world

__all__ = ["receiver"]

CALLBACKS = {"secret": {"env": "GUARD_TEST_CALLBACK_SECRET"}, "allow": ["127.0.0.0/8"]}


@pytest.fixture
async def calling(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, callbacks=CALLBACKS) as made:
        yield made


def parsed(text: str) -> list[tuple[str, dict[str, object]]]:
    events = [block.splitlines() for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(lines[1].removeprefix("event: "), orjson.loads(lines[2].removeprefix("data: "))) for lines in events]


async def test_the_events_of_a_run_that_has_ended_are_its_last_numbers(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    reply = await small_world.http.get(path_of(told["run_url"]) + "/events")
    assert reply.headers["content-type"].startswith("text/event-stream")
    ((name, data),) = parsed(reply.text)
    assert (name, data["status"], data["records_applied"]) == ("ended", "applied", 3)


async def test_progress_is_told_while_it_goes_on(tmp_path: Path) -> None:
    """Over a real server: the stream is read as it comes."""
    with served(tmp_path) as guard:
        ids = list(guard.sandbox.vendor.contacts.rows)  # type: ignore[attr-defined]
        guard.sandbox.latency_s = 0.3
        records = [{"id": id_, "fields": {"city": "Elsewhere"}} for id_ in ids]
        async with guard.client() as http:
            body = {"target": "crm", "resource": "contacts", "action": "update", "records": records}
            told = (await http.post("/v1/operations", json=body, headers={"prefer": "respond-async"})).json()
            reply = await http.get(f"/v1/runs/{told['id']}/events")
    names = [name for name, _ in parsed(reply.text)]
    assert names[-1] == "ended"
    assert set(names[:-1]) == {"progress"}


async def test_the_caller_is_called_back_once_with_the_answer_signed(
    calling: World, receiver: tuple[Receiver, str]
) -> None:
    heard, url = receiver
    told = await calling.operate("update", updates(calling), callback_url=url)
    await calling.settle()
    ((headers, body),) = heard.received
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert headers["webhook-signature"] == sign(key, headers["webhook-id"], headers["webhook-timestamp"], body)
    same = ("id", "status", "records_applied", "revert_url", "run_url")
    assert {name: orjson.loads(body)[name] for name in same} == {name: told[name] for name in same}
    assert [run async for run in calling.guard.journals.unfinished()] == []


async def test_a_checkpoint_calls_back_when_it_is_sealed(calling: World, receiver: tuple[Receiver, str]) -> None:
    heard, url = receiver
    told = await checkpoint(calling, list(calling.contacts)[:2], callback_url=url)
    assert heard.received == []
    await seal(calling, told)

    await calling.settle()
    ((_, body),) = heard.received
    assert orjson.loads(body)["checkpoint"] == "sealed"
    assert [run async for run in calling.guard.journals.unfinished()] == []


async def test_a_revert_calls_back_too(calling: World, receiver: tuple[Receiver, str]) -> None:
    heard, url = receiver
    told = await calling.operate("update", updates(calling))
    back = await calling.revert(told, callback_url=url)
    await calling.settle()
    ((_, body),) = heard.received
    assert {**orjson.loads(body), "id": back["id"]}["records_restored"] == 3


async def test_a_receiver_that_fails_is_called_again_later_also_by_another_copy(
    calling: World, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, url = receiver
    heard.status = 500
    told = await calling.operate("update", updates(calling), callback_url=url)
    await calling.settle()
    assert (len(heard.received), told["status"]) == (1, "applied")
    heard.status = 200
    monkeypatch.setattr("guard.flows.callback._PAUSE_S", 0)
    other = assemble(settings(calling.guard.settings.store.url, calling.sandbox_url, callbacks=CALLBACKS))
    try:
        assert [each.run async for each in Recovery(other).sweep()] == [told["id"]]
        assert [each.run async for each in Recovery(other).sweep()] == []
    finally:
        await other.close()
    first, second = (headers["webhook-id"] for headers, _ in heard.received)
    assert first == second


async def test_a_receiver_that_goes_on_failing_is_given_up(
    calling: World, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, url = receiver
    heard.status = 500
    monkeypatch.setattr("guard.flows.callback._PAUSE_S", 0)
    await calling.operate("update", updates(calling), callback_url=url)
    await calling.settle()
    for _ in range(10):
        _ = [each async for each in Recovery(calling.guard).sweep()]
    assert len(heard.received) == 8
    assert [run async for run in calling.guard.journals.unfinished()] == []


@pytest.mark.parametrize("url", ["https://169.254.169.254/x", "http://example.com/", "https://10.1.2.3/", "no address"])
async def test_an_address_that_may_not_be_called_is_refused_before_anything_is_written(
    calling: World, url: str
) -> None:
    with nothing_happens(calling):
        reply = await send(calling, "json", "update", updates(calling), callback_url=url)
        assert_problem(reply, "forbidden_callback")


async def test_the_two_hundred_and_first_caller_is_told_to_come_again_where_the_line_is_full(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and queues stay bounded however slow the vendor is; the health check still answers."""
    monkeypatch.setattr(admission, "LINE_MAX", 0)
    await small_world.fault(match={"method": "GET"}, kind="hang", seconds=60, times=1000)
    first = next(iter(small_world.contacts))
    transport = httpx2.ASGITransport(create_app(small_world.guard), raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url=PUBLIC_URL, headers={"guard-key": KEY}, timeout=60
    ) as http:
        waiting = [asyncio.create_task(http.get(f"/to/crm/contacts/{first}")) for _ in range(200)]
        await asyncio.sleep(0.5)
        reply = await http.get(f"/to/crm/contacts/{first}")
        healthy = [(await http.get(path)).status_code for path in ("/healthz", "/readyz")]
        small_world.sandbox.release()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert_problem(reply, "overloaded")
        assert (reply.headers["retry-after"], healthy) == ("5", [200, 200])
