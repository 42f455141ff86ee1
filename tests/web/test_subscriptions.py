"""Subscriptions: who wants to hear of every run that ends hears of it, and of nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from guard.assembly import assemble
from guard.core.limits import SUBSCRIPTIONS_MAX
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.store.base import Unavailable
from guard.store.local import LocalStore
from guard.web.app import create_app
from tests.flows import copies
from tests.flows.copies import copy_of_guard, until_it_dies
from tests.flows.fuse import Fuse
from tests.target.test_callbacks import Receiver, receiver
from tests.web.doors import assert_problem, updates
from tests.world import OTHER_KEY, PUBLIC_URL, World, settings, world

__all__ = ["receiver"]

CALLBACKS = {"secret": {"env": "GUARD_TEST_CALLBACK_SECRET"}, "allow": ["127.0.0.0/8"]}


@pytest.fixture
async def calling(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, callbacks=CALLBACKS) as made:
        yield made


async def subscribe(there: World, url: str, *, status: int = 201, **wanted: Any) -> dict[str, Any]:
    reply = await there.http.post("/v1/subscriptions", json={"hook_url": url, **wanted})
    assert reply.status_code == status, reply.text
    return dict(reply.json())


def heard(by: Receiver) -> list[dict[str, Any]]:
    return [orjson.loads(body) for _, body in by.received]


async def test_who_subscribed_hears_of_an_operation_a_passed_request_and_a_revert(
    calling: World, receiver: tuple[Receiver, str]
) -> None:
    by, url = receiver
    await subscribe(calling, url)
    done = await calling.operate("update", updates(calling))
    await calling.settle()
    id_ = next(iter(calling.contacts))
    passed = await calling.http.put(f"/to/crm/contacts/{id_}", json={"city": "Elsewhere"})
    await calling.settle()
    back = await calling.revert(done)
    await calling.settle()
    ids = [done["id"], passed.headers["guard-run"], back["id"]]
    assert [told["id"] for told in heard(by)] == ids
    assert [told["kind"] for told in heard(by)] == ["run", "run", "revert"]
    assert [told["status"] for told in heard(by)] == ["applied", "applied", back["status"]]
    assert heard(by)[0]["revert_url"] == done["revert_url"]
    assert [run async for run in calling.guard.journals.unfinished()] == []


async def test_nobody_who_ended_its_subscription_hears_anything(calling: World, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    made = await subscribe(calling, url)
    for _ in range(2):
        reply = await calling.http.delete(f"/v1/subscriptions/{made['id']}")
        assert (reply.status_code, reply.json()) == (200, {"id": made["id"], "ended": True})
    await calling.operate("update", updates(calling))
    await calling.settle()
    assert heard(by) == []
    assert (await calling.http.get("/v1/subscriptions")).json() == {"subscriptions": []}


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        ({"target": "crm"}, 1),
        ({"scenario": "import"}, 1),
        ({"scenario": "another"}, 0),
        ({"statuses": ["applied"]}, 1),
        ({"statuses": "partial, failed"}, 0),
        ({"statuses": ["partly_reverted"]}, 0),
    ],
)
async def test_a_subscription_may_leave_something_out(
    calling: World, receiver: tuple[Receiver, str], wanted: dict[str, Any], times: int
) -> None:
    by, url = receiver
    await subscribe(calling, url, **wanted)
    await calling.operate("update", updates(calling), scenario="import")
    await calling.settle()
    assert len(heard(by)) == times


async def test_who_waits_for_failures_to_revert_them_hears_of_no_revert(
    calling: World, receiver: tuple[Receiver, str]
) -> None:
    """One that comes to nothing included: it would be reverted in turn."""
    by, url = receiver
    await subscribe(calling, url, statuses=["failed", "partial"])
    done = await calling.operate("update", updates(calling))
    await calling.fault(match={"method": "PUT"}, kind="status", status=400, times=100)
    back = await calling.revert(done)
    await calling.settle()
    assert (back["records_restored"], heard(by)) == (0, [])


async def test_a_key_hears_only_of_targets_that_it_opens(calling: World, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    theirs = {"guard-key": OTHER_KEY}
    body = {"hook_url": url}
    assert (await calling.http.post("/v1/subscriptions", json=body, headers=theirs)).status_code == 201
    await calling.operate("update", updates(calling))
    await calling.settle()
    assert heard(by) == []
    reply = await calling.http.post("/v1/subscriptions", json={**body, "target": "crm"}, headers=theirs)
    assert_problem(reply, "forbidden")


async def test_another_clients_subscription_cannot_be_seen_or_ended(calling: World) -> None:
    made = await subscribe(calling, "https://example.com/hook")
    theirs = {"guard-key": OTHER_KEY}
    assert (await calling.http.get("/v1/subscriptions", headers=theirs)).json() == {"subscriptions": []}
    for id_ in (made["id"], "sub_", "..", "sub_ü", f"{made['id']}.ended"):
        assert_problem(await calling.http.delete(f"/v1/subscriptions/{id_}", headers=theirs), "not_found")
    (mine,) = (await calling.http.get("/v1/subscriptions")).json()["subscriptions"]
    assert (mine["id"], mine["host"]) == (made["id"], "example.com")
    assert "hook_url" not in mine


async def test_asked_again_an_equal_subscription_is_the_same_one(
    calling: World, receiver: tuple[Receiver, str]
) -> None:
    by, url = receiver
    first = await subscribe(calling, url, statuses=["failed", "applied"])
    again = await subscribe(calling, url, statuses=["applied", "failed", "applied"], status=200)
    await calling.operate("update", updates(calling))
    await calling.settle()
    assert (first, len(heard(by))) == (again, 1)


async def test_a_receiver_that_answers_410_is_called_no_more(calling: World, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    await subscribe(calling, url)
    by.status = 410
    for _ in range(2):
        await calling.operate("update", updates(calling))
        await calling.settle()
    assert len(heard(by)) == 1
    assert (await calling.http.get("/v1/subscriptions")).json() == {"subscriptions": []}
    assert [run async for run in calling.guard.journals.unfinished()] == []


async def test_what_could_not_be_delivered_is_delivered_later_by_another_copy_with_the_same_id(
    calling: World, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by, url = receiver
    await subscribe(calling, url)
    by.status = 500
    done = await calling.operate("update", updates(calling))
    await calling.settle()
    by.status = 200
    monkeypatch.setattr("guard.flows.callback._PAUSE_S", 0)
    other = assemble(settings(calling.guard.settings.store.url, calling.sandbox_url, callbacks=CALLBACKS))
    try:
        assert [each.run async for each in Recovery(other).sweep()] == [done["id"]]
        assert [each.run async for each in Recovery(other).sweep()] == []
    finally:
        await other.close()
    first, second = (headers["webhook-id"] for headers, _ in by.received)
    assert first == second


async def test_another_copy_knows_a_subscription_when_it_reads_the_list_anew(
    calling: World, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by, url = receiver
    await calling.operate("update", updates(calling))
    other = assemble(settings(calling.guard.settings.store.url, calling.sandbox_url, callbacks=CALLBACKS))
    transport = httpx2.ASGITransport(create_app(other), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=calling.http.headers) as http:
        assert (await http.post("/v1/subscriptions", json={"hook_url": url})).status_code == 201
        monkeypatch.setattr("guard.flows.subscriptions.SUBSCRIPTIONS_S", 0)
        await calling.operate("update", updates(calling))
        await calling.settle()
        assert len(heard(by)) == 1
        (made,) = (await http.get("/v1/subscriptions")).json()["subscriptions"]
        await http.delete(f"/v1/subscriptions/{made['id']}")
    await other.close()
    await calling.operate("update", updates(calling))
    await calling.settle()
    assert len(heard(by)) == 1


async def test_of_an_operation_that_died_with_its_guard_the_one_tells_that_settles_it(
    calling: World, receiver: tuple[Receiver, str]
) -> None:
    by, url = receiver
    await subscribe(calling, url)
    fuse = Fuse("write", after=True)
    dead = copy_of_guard(
        settings(calling.guard.settings.store.url, calling.sandbox_url, callbacks=CALLBACKS), fuse=fuse
    )

    async def life(guard: Guard) -> None:
        async with copies.calling(guard) as http:
            body = {"target": "crm", "resource": "contacts", "action": "update", "records": updates(calling)}
            await http.post("/v1/operations", json=body)

    await until_it_dies(dead, fuse, life)
    assert heard(by) == []
    told = [each.run async for each in Recovery(calling.guard).sweep(at_once=True)]
    await calling.settle()
    assert [each["id"] for each in heard(by)] == told


async def test_a_list_that_cannot_be_read_stops_no_write(calling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused() -> None:
        raise Unavailable("no")

    monkeypatch.setattr(calling.guard.subscriptions, "_read", refused)
    assert (await calling.operate("update", updates(calling)))["status"] == "applied"


@pytest.mark.parametrize(("callbacks", "times"), [(CALLBACKS, 1), (None, 0)], ids=["with callbacks", "without"])
async def test_operations_one_after_the_other_read_the_list_once_and_never_without_callbacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, callbacks: dict[str, Any] | None, times: int
) -> None:
    async with world(tmp_path, callbacks=callbacks) as there:
        listed: list[str] = []
        listing = LocalStore.list

        def counted(store: LocalStore, prefix: str, *, after: str = "") -> AsyncIterator[str]:
            listed.append(prefix)
            return listing(store, prefix, after=after)

        monkeypatch.setattr(LocalStore, "list", counted)
        for _ in range(3):
            await there.operate("update", updates(there))
        id_ = next(iter(there.contacts))
        await there.http.put(f"/to/crm/contacts/{id_}", json={"city": "Elsewhere"})
        assert listed.count("subscriptions/") == times


async def test_a_client_has_only_so_many(calling: World) -> None:
    for n in range(SUBSCRIPTIONS_MAX):
        await subscribe(calling, f"https://example.com/{n}")
    reply = await calling.http.post("/v1/subscriptions", json={"hook_url": "https://example.com/one-more"})
    assert_problem(reply, "too_many_subscriptions")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"hook_url": "https://169.254.169.254/x"}', "forbidden_callback"),
        (b'{"hook_url": "http://example.com/"}', "forbidden_callback"),
        (b'{"hook_url": "https://example.com/", "statuses": ["done"]}', "invalid_request"),
        (b'{"hook_url": "https://example.com/", "statuses": false}', "invalid_request"),
        (b'{"hook_url": "https://example.com/", "statuses": {}}', "invalid_request"),
        (b'{"hook_url": "https://example.com/", "target": "other"}', "forbidden"),
        (b'{"hook_url": "https://example.com/", "more": 1}', "invalid_request"),
        (b"{}", "invalid_request"),
        (b"[]", "invalid_request"),
        (b"{", "invalid_body"),
        (b"x" * 70_000, "too_large"),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused_and_not_stored(calling: World, body: bytes, code: str) -> None:
    assert_problem(await calling.http.post("/v1/subscriptions", content=body), code)
    assert (await calling.http.get("/v1/subscriptions")).json() == {"subscriptions": []}


async def test_without_a_secret_for_callbacks_there_are_no_subscriptions(small_world: World) -> None:
    reply = await small_world.http.post("/v1/subscriptions", json={"hook_url": "https://example.com/"})
    assert_problem(reply, "forbidden_callback")


def damage(store: Path, name: str) -> None:
    (path,) = store.rglob(name)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"another"', b'"import"'))


async def test_a_damaged_subscription_calls_nobody(calling: World, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    made = await subscribe(calling, url, scenario="another")
    damage(Path(calling.guard.settings.store.url.removeprefix("file:")), made["id"])
    calling.guard.subscriptions._known.clear()
    calling.guard.subscriptions._read_at = None
    assert (await calling.operate("update", updates(calling), scenario="import"))["status"] == "applied"
    await calling.settle()
    assert heard(by) == []
