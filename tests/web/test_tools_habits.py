"""What automation tools do on the wire, replayed: all items of a step at once, all of them again where one failed, an
Accept that names everything, a run looked for by its execution. tests/clients has the tools themselves."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from guard.core.limits import REQUESTS_MAX
from guard.flows import guard as guard_module
from guard.web import admission
from scenarios.sandboxes.common import Fault, Match
from tests.conftest import NewWorld
from tests.flows.copies import until
from tests.web.doors import assert_problem, vendor_writes
from tests.web.serving import served
from tests.world import KEY, World, path_of

ITEMS = 50
UNPACED = {"requests": 100_000, "per_s": 1.0, "concurrency": 50}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard takes in and works at no more than a part of the items at once."""
    monkeypatch.setattr(admission, "REQUESTS_MAX", 20)
    monkeypatch.setattr(guard_module, "RUNS_MAX", 20)


async def put_all(world: World, headers: dict[str, str]) -> list[httpx2.Response]:
    """One PUT for each contact, all of them at once."""
    calls = [
        world.http.put(f"/to/crm/contacts/{id_}", json={"city": f"Of {id_}"}, headers=headers) for id_ in world.contacts
    ]
    return await asyncio.gather(*calls)


async def test_more_items_at_once_than_guard_takes_in_are_one_run_and_go_back_whole(
    new_world: NewWorld, narrow: None
) -> None:
    async with new_world(records=ITEMS, pace=UNPACED) as world:
        before = world.seen()
        replies = await put_all(world, {"guard-run-key": "workflow-1"})
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.headers["guard-revert-url"] for reply in replies}) == 1

        again = await put_all(world, {"guard-run-key": "workflow-1"})
        assert [reply.content for reply in again] == [reply.content for reply in replies]
        assert len(vendor_writes(world)) == ITEMS

        await world.settle()
        run = (await world.http.get(f"/v1/runs/{replies[0].headers['guard-run']}")).json()
        assert (run["status"], run["records_total"], run["records_applied"]) == ("applied", ITEMS, ITEMS)
        assert (await world.revert(run))["records_restored"] == ITEMS
        assert world.seen() == before


async def test_more_items_at_once_than_guard_takes_in_go_through_without_a_run_key_too(
    new_world: NewWorld, narrow: None
) -> None:
    async with new_world(records=ITEMS, pace=UNPACED) as world:
        replies = await put_all(world, {})
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.headers["guard-run"] for reply in replies}) == ITEMS


@pytest.fixture
async def full(small_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two requests are in hand, which is all that is taken in, and hang at the vendor."""
    monkeypatch.setattr(admission, "REQUESTS_MAX", 2)
    await small_world.fault(kind="hang", seconds=60, times=-1, match={"method": "GET"})
    return small_world


def reading(world: World, **headers: str) -> "asyncio.Task[httpx2.Response]":
    id_ = next(iter(world.contacts))

    async def read() -> httpx2.Response:
        return await world.http.get(f"/to/crm/contacts/{id_}", headers=headers)

    return asyncio.create_task(read())


def let_go(world: World) -> None:
    world.sandbox.faults.clear()
    world.sandbox.release()


async def test_who_stands_in_line_is_let_in_when_another_leaves(full: World) -> None:
    waiting = [reading(full) for _ in range(5)]
    await until(lambda: len(full.sandbox._held) == 2)
    let_go(full)
    assert [reply.status_code for reply in await asyncio.gather(*waiting)] == [200] * 5


async def test_whose_turn_does_not_come_is_told_to_come_again_and_leaves_no_gap(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = [reading(full) for _ in range(2)]
    await until(lambda: len(full.sandbox._held) == 2)
    monkeypatch.setattr(admission, "LINE_S", 0.05)
    reply = await reading(full)
    assert_problem(reply, "overloaded")
    assert int(reply.headers["retry-after"]) > 0
    let_go(full)
    assert [reply.status_code for reply in await asyncio.gather(*inside)] == [200] * 2
    assert [reply.status_code for reply in await asyncio.gather(*(reading(full) for _ in range(2)))] == [200] * 2


async def test_in_the_pass_through_a_caller_may_stand_in_line_for_longer(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = [reading(full) for _ in range(2)]
    await until(lambda: len(full.sandbox._held) == 2)
    monkeypatch.setattr(admission, "LINE_S", 0.01)
    patient = reading(full, prefer="wait=30")
    assert_problem(await full.http.get("/v1/runs", headers={"prefer": "wait=30"}), "overloaded")
    let_go(full)
    assert [reply.status_code for reply in await asyncio.gather(*inside, patient)] == [200] * 3


@pytest.mark.heavy
async def test_for_who_hung_up_in_line_nothing_is_written(tmp_path: Path) -> None:
    pace = "[targets.crm.limits]\nrequests = 100000\nper_s = 1.0\nconcurrency = 50"
    with served(tmp_path, f'[store]\nurl = "file:{tmp_path}/store"\n{pace}') as there:
        there.sandbox.faults.append(Fault(kind="hang", seconds=60, times=-1, match=Match(method="GET")))
        contacts = there.sandbox.vendor.store.tables["contacts"].rows
        one, two, *_ = contacts
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=there.url, headers={"guard-key": KEY}, limits=limits, timeout=30
        ) as http:
            inside = [asyncio.create_task(http.get(f"/to/crm/contacts/{one}")) for _ in range(REQUESTS_MAX)]
            await until(lambda: len(there.sandbox._held) > 0)
            await asyncio.sleep(0.5)  # all of them are at the door, though the vendor is asked by some at a time
            with pytest.raises(httpx2.ReadTimeout):
                await http.put(f"/to/crm/contacts/{one}", json={"city": "Nowhere"}, timeout=0.5)
            there.sandbox.faults.clear()
            there.sandbox.release()
            assert {reply.status_code for reply in await asyncio.gather(*inside)} == {200}
            reply = await http.put(f"/to/crm/contacts/{two}", json={"city": "Nowhere"})
            assert reply.status_code == 200, reply.text
        assert [id_ for id_, row in contacts.items() if row.get("city") == "Nowhere"] == [two]


async def test_who_gives_up_in_line_takes_no_place(full: World) -> None:
    inside = [reading(full) for _ in range(2)]
    await until(lambda: len(full.sandbox._held) == 2)
    gone = reading(full)
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    let_go(full)
    assert [reply.status_code for reply in await asyncio.gather(*inside)] == [200] * 2
    assert [reply.status_code for reply in await asyncio.gather(*(reading(full) for _ in range(4)))] == [200] * 4


async def test_a_run_is_found_by_its_key_and_by_no_other_client(small_world: World) -> None:
    world = small_world
    id_ = next(iter(world.contacts))
    record = {"id": id_, "fields": {"city": "Nowhere"}}
    done = await world.operate("update", [record], headers={"guard-run-key": "workflow-1 7"})
    found = (await world.http.get("/v1/runs", params={"run_key": " workflow-1 7"})).json()
    assert [(run["id"], path_of(run["revert_url"])) for run in found["runs"]] == [
        (done["id"], path_of(done["revert_url"]))
    ]
    other = {"guard-key": "test-key-of-somebody-else-here"}
    for params, headers in [({"run_key": "workflow-1"}, {}), ({"run_key": "workflow-1 7"}, other)]:
        reply = await world.http.get("/v1/runs", params=params, headers=headers)
        assert reply.json() == {"runs": [], "next_after": None}


async def test_an_answer_names_its_operation_so_that_it_can_be_followed_within_its_run(small_world: World) -> None:
    world = small_world
    one, two, *_ = world.contacts
    key = {"guard-run-key": "workflow-1"}
    done = [
        await world.operate("update", [{"id": id_, "fields": {"city": "Nowhere"}}], headers=key) for id_ in (one, two)
    ]
    run = (await world.http.get(f"/v1/runs/{done[0]['id']}")).json()
    assert [each["operation"] for each in done] == [each["operation"] for each in run["operations"]]
    assert "operation" not in run


@pytest.mark.parametrize("path", ["/v1/operations/", "/v1/runs/", "/to", "/static", "//to/crm/contacts/"])
async def test_no_address_redirects_for_tools_would_post_nothing_or_twice(small_world: World, path: str) -> None:
    for method in ("GET", "POST"):
        reply = await small_world.http.request(method, path, json={"city": "Nowhere"})
        assert reply.status_code in (404, 405), (path, reply.status_code)
        assert reply.json()["detail"].endswith("Nothing was written.")


async def test_a_tool_that_takes_html_as_well_is_answered_in_json(small_world: World) -> None:
    """What n8n's HTTP Request node sends where nobody says what the answer is."""
    accept = "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7"
    id_ = next(iter(small_world.contacts))
    done = await small_world.operate("update", [{"id": id_, "fields": {"city": "Nowhere"}}])
    for method in ("GET", "POST"):
        reply = await small_world.http.request(method, path_of(done["revert_url"]), headers={"accept": accept})
        assert reply.headers["content-type"] == "application/json", reply.text[:100]
    assert reply.json()["records_restored"] == 1
