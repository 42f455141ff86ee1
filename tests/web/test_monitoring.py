"""GET /metrics, /readyz, /healthz: what the machines that look after Guard are told."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guard.store.base import Store, Unavailable
from guard.web import health
from tests.flows.test_notifications import CALLBACKS, Place, notify, partial, place
from tests.web.doors import assert_problem
from tests.web.serving import served
from tests.world import KEY, OTHER_KEY, World, path_of, world

__all__ = ["place"]

METRICS_KEY = "test-key-of-prometheus"
PAGE = Path(__file__).parent.parent.parent / "docs" / "monitoring.md"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TEST_METRICS_KEY", METRICS_KEY)


SERVER = {"metrics_key": {"env": "GUARD_TEST_METRICS_KEY"}}


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, server=SERVER) as made:
        yield made


async def text_of(there: World) -> str:
    reply = await there.http.get("/metrics", headers={"guard-key": METRICS_KEY})
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (200, "text/plain"), reply.text
    return reply.text


async def numbers(there: World) -> dict[str, dict[tuple[str, ...], float]]:
    """By the sample's name and its labels' values, in the order of their names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(await text_of(there)):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


async def test_metrics_open_with_their_own_key_only(watched: World) -> None:
    assert_problem(await watched.http.get("/metrics"), "unauthenticated")  # with a client's key
    bearer = {"guard-key": "", "authorization": f"Bearer {METRICS_KEY}"}
    assert (await watched.http.get("/metrics", headers=bearer)).status_code == 200
    for key in ("", METRICS_KEY[:-1], METRICS_KEY + "x", OTHER_KEY):
        assert_problem(await watched.http.get("/metrics", headers={"guard-key": key}), "unauthenticated")
    assert_problem(await watched.http.get("/v1/runs", headers={"guard-key": METRICS_KEY}), "unauthenticated")


async def test_without_a_key_in_the_settings_there_are_no_metrics(small_world: World) -> None:
    assert_problem(await small_world.http.get("/metrics", headers={"guard-key": ""}), "not_found")


async def test_runs_operations_and_records_are_counted_by_what_came_of_them(watched: World) -> None:
    told = await partial(watched)
    one, *_ = watched.contacts
    await watched.edit("contacts", one, {"companyName": "Somebody's edit"})
    await watched.revert(told)
    await watched.settle()
    found = await numbers(watched)
    assert found["guard_runs_total"] == {("run", "crm"): 1, ("revert", "crm"): 1}
    assert found["guard_operations_total"] == {("partial", "crm"): 1}
    assert found["guard_records_total"] == {("applied", "crm"): 2, ("failed", "crm"): 1, ("in_doubt", "crm"): 0}
    assert found["guard_reverts_total"] == {("partly_reverted",): 1}
    restored = {outcome: number for (outcome, _), number in found["guard_reverted_records_total"].items()}
    assert {outcome: number for outcome, number in restored.items() if number} == {"restored": 1, "conflicted": 1}


async def test_a_record_whose_answer_was_lost_and_cannot_be_read_is_counted_in_doubt(watched: World) -> None:
    await watched.fault(kind="drop_after", match={"method": "PUT"})
    first = next(iter(watched.contacts))
    await watched.fault(kind="status", status=500, match={"method": "GET"}, times=100, after=1)
    await watched.http.put(f"/to/crm/contacts/{first}", json={"city": "x"})
    await watched.settle()
    assert (await numbers(watched))["guard_records_total"]["in_doubt", "crm"] == 1


async def test_every_call_of_a_vendor_is_counted_by_its_outcome(watched: World) -> None:
    first = next(iter(watched.contacts))
    await watched.http.get(f"/to/crm/contacts/{first}")
    await watched.http.get("/to/crm/contacts/doesNotExist00000000")
    await watched.fault(kind="status", status=429, match={"method": "GET"})
    await watched.http.get(f"/to/crm/contacts/{first}")
    await watched.fault(kind="drop_before", match={"method": "GET"})
    await watched.http.get(f"/to/crm/contacts/{first}")
    found = await numbers(watched)
    counted = {
        outcome: number for (outcome, target), number in found["guard_vendor_calls_total"].items() if target == "crm"
    }
    statuses = Counter(entry["status"] for entry in await watched.vendor_requests())
    assert counted == {"2xx": statuses[200], "4xx": 1, "429": 1, "no_answer": 1}
    assert found["guard_vendor_seconds_count"]["crm",] == sum(counted.values())


async def test_store_and_doors_are_counted_and_timed(watched: World) -> None:
    await partial(watched)
    await watched.http.get("/nowhere/at/all")
    await watched.http.get("/v1/runs/run_00000000000000000000000000")
    await watched.settle()
    found = await numbers(watched)
    assert found["guard_store_calls_total"]["create", "done"] >= 3
    assert found["guard_store_calls_total"]["get", "missing"] >= 1
    calls = {call: 0.0 for call, _ in found["guard_store_calls_total"]}
    for (call, _), number in found["guard_store_calls_total"].items():
        calls[call] += number
    assert {call: found["guard_store_seconds_count"][call,] for call in calls} == calls
    doors = {("/v1/operations", "200"): 1, ("none", "404"): 1, ("/v1/runs/{run}", "404"): 1}
    assert found["guard_requests_total"] == doors
    assert found["guard_request_seconds_count"]["/v1/operations",] == 1


async def test_what_is_in_hand_is_shown_while_it_is(watched: World) -> None:
    await watched.fault(match={"method": "GET"}, kind="hang", seconds=20, times=1)
    first = next(iter(watched.contacts))
    asking = asyncio.create_task(watched.http.get(f"/to/crm/contacts/{first}"))
    for _ in range(500):
        if (await numbers(watched))["guard_requests_in_hand"][()]:
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("it was not in hand")
    watched.sandbox.release()
    await asking
    found = await numbers(watched)
    gauges = ("guard_requests_in_hand", "guard_runs_in_hand", "guard_watchers", "guard_queue_jobs", "guard_draining")
    assert [found[name][()] for name in gauges] == [0, 0, 0, 0, 0]
    watched.guard.draining.set()
    assert (await numbers(watched))["guard_draining"][()] == 1


async def test_what_a_place_was_told_is_counted(tmp_path: Path, place: Place) -> None:
    places = [notify(tmp_path, place)]
    async with world(tmp_path, server=SERVER, callbacks=CALLBACKS, notify=places) as there:
        await partial(there)
        await there.settle()
        place.status = 500
        await partial(there)
        await there.settle()
        assert (await numbers(there))["guard_messages_total"] == {("delivered", "team"): 1, ("failed", "team"): 1}


async def test_no_metric_tells_of_runs_records_or_secrets(watched: World) -> None:
    told = await partial(watched, scenario="a-scenario", note="a note")
    await watched.http.get(path_of(told["revert_url"]))
    await watched.http.get(path_of(told["run_url"]))
    await watched.http.get(f"/to/crm/contacts/{next(iter(watched.contacts))}?secret=in-the-query")
    await watched.http.request("BREW", "/a-made-up-path")
    await watched.revert(told)
    await watched.settle()
    text = await text_of(watched)
    secrets = [
        KEY,
        METRICS_KEY,
        "sandbox-token",
        "a-scenario",
        "a note",
        "in-the-query",
        "BREW",
        "made-up",
        "companyName",
    ]
    assert [word for word in (*secrets, *watched.contacts, "doesNotExist") if word in text] == []
    assert re.findall(r"run_[0-9a-z]{26}", text) == []


async def test_two_guards_of_one_process_count_apart(tmp_path: Path) -> None:
    async with world(tmp_path / "a", server=SERVER) as one, world(tmp_path / "b", server=SERVER) as other:
        await partial(one)
        assert (await numbers(one))["guard_operations_total"] == {("partial", "crm"): 1}
        assert "guard_operations_total" not in await numbers(other)


async def test_every_metric_is_on_the_page_and_no_other(watched: World) -> None:
    there = set()
    for family in text_string_to_metric_families(await text_of(watched)):
        total = "_total" if family.type == "counter" else ""
        ours = family.name.startswith("guard_") and not family.name.endswith("_created")
        there |= {family.name + total} if ours else set()
    documented = re.findall(r"^\| `(guard_\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(there) == sorted(documented)
    named = set(re.findall(r"guard_\w+", PAGE.read_text()))
    assert named <= there, named - there


async def test_the_labels_of_every_metric_are_on_the_page(watched: World) -> None:
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(guard_\w+?)(?:_total)?` \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    }
    known: Any = watched.guard.metrics.registry._collector_to_names
    there = {each._name: set(each._labelnames) for each in known if getattr(each, "_name", "").startswith("guard_")}
    assert there == documented


# Ready


class SilentStore:
    """A store that is asked, and answers when it is let go, or with a failure."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0
        self.silent = asyncio.Event()
        self.fails = False

    async def get(self, key: str) -> bytes:
        self.asked += 1
        if self.fails:
            raise Unavailable("it does not answer")
        if self.silent.is_set():
            await asyncio.get_running_loop().create_future()
        return await self._store.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def silent(small_world: World) -> SilentStore:
    store = SilentStore(small_world.guard.journals.store)
    small_world.guard.journals.store = store
    return store


async def test_a_guard_whose_store_answers_is_ready_and_probes_do_not_hammer_the_store(
    small_world: World, silent: SilentStore
) -> None:
    replies = await asyncio.gather(*(small_world.http.get("/readyz", headers={"guard-key": ""}) for _ in range(50)))
    assert {(reply.status_code, reply.text) for reply in replies} == {(200, '{"status":"ready"}')}
    assert silent.asked == 1


async def test_a_guard_whose_store_fails_is_not_ready_and_says_why_and_is_ready_again_once_it_works(
    small_world: World, silent: SilentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent.fails = True
    told = assert_problem(await small_world.http.get("/readyz"), "store_unavailable")
    assert "it does not answer" in told["detail"]
    silent.fails = False
    assert_problem(await small_world.http.get("/readyz"), "store_unavailable")  # as heard a moment ago
    monkeypatch.setattr(health, "_KEPT_S", 0)
    assert (await small_world.http.get("/readyz")).status_code == 200
    assert (await small_world.http.get("/healthz")).status_code == 200


async def test_a_store_that_hangs_is_asked_once_and_the_probe_does_not_wait_for_it(
    small_world: World, silent: SilentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(health, "_KEPT_S", 0)
    silent.silent.set()
    for _ in range(3):
        assert_problem(await small_world.http.get("/readyz"), "store_unavailable")
    assert silent.asked == 1
    await small_world.app.state.readiness.close()


async def test_a_guard_that_is_about_to_end_is_not_ready(small_world: World) -> None:
    small_world.guard.draining.set()
    reply = await small_world.http.get("/readyz")
    assert "shutting down" in assert_problem(reply, "overloaded")["detail"]
    assert (await small_world.http.get("/healthz")).status_code == 200


async def test_a_real_guard_tells_both(tmp_path: Path) -> None:
    tables = f'metrics_key = {{ env = "GUARD_TEST_METRICS_KEY" }}\n[store]\nurl = "file:{tmp_path}/store"'
    with served(tmp_path, tables, dict(os.environ)) as guard:
        async with guard.client() as http:
            assert (await http.get("/readyz")).json() == {"status": "ready"}
            text = (await http.get("/metrics", headers={"guard-key": METRICS_KEY})).text
    assert "process_resident_memory_bytes" in text
    assert 'guard_requests_total{door="/readyz",status="200"} 1.0' in text
