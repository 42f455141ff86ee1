"""The vendor is down, slow, refuses, or answers nonsense: the snapshot is whole or the write is not sent, and told so.

Whatever happens, the revert URL works afterwards and ends in the original state.
"""

import asyncio
from typing import Any

import httpx2
import pytest

from guard.target import client
from guard.target.circuit import FAILURES_MAX
from tests.conftest import NewWorld
from tests.web.doors import NOTHING_WRITTEN, assert_problem, nothing_is_written, send, updates, vendor_writes
from tests.world import World, path_of

FIRST = "80odnXVE9BAcgXuiNEr1"
ALWAYS = 10_000

READ_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "401": ({"kind": "status", "status": 401}, "target_refused"),
    "403": ({"kind": "status", "status": 403}, "target_refused"),
    "500": ({"kind": "status", "status": 500}, "target_unavailable"),
    "503": ({"kind": "status", "status": 503}, "target_unavailable"),
    "429 with Retry-After": ({"kind": "rate_limited", "seconds": 0}, "target_unavailable"),
    "429 without Retry-After": ({"kind": "status", "status": 429}, "target_unavailable"),
    "HTML with 502": ({"kind": "html"}, "target_unavailable"),
    "HTML with 200": ({"kind": "html", "status": 200}, "target_unavailable"),
    "a 400 that says nothing of the record": ({"kind": "status", "status": 400}, "target_unavailable"),
    "a redirect": ({"kind": "status", "status": 302}, "target_unavailable"),
    "half a JSON": ({"kind": "half_json"}, "target_unavailable"),
    "an empty answer": ({"kind": "empty"}, "target_unavailable"),
    "a list": ({"kind": "status", "status": 200, "body": [1]}, "target_unavailable"),
    "another record": ({"kind": "status", "status": 200, "body": {"contact": {"id": "other"}}}, "target_unavailable"),
    "a record of odd parts": (
        {"kind": "status", "status": 200, "body": {"contact": {"id": FIRST, "customFields": [1], "tags": None}}},
        "target_unavailable",
    ),
    "a record with numbers for tags": (
        {"kind": "status", "status": 200, "body": {"contact": {"id": FIRST, "tags": [1, 2]}}},
        "target_unavailable",
    ),
    "a dropped connection": ({"kind": "drop_before"}, "target_unavailable"),
}


@pytest.fixture(autouse=True)
def patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts are the tested code's own; only their length is another one here."""
    monkeypatch.setattr(client, "_BACKOFF_S", 0.001)


async def to_either_door(world: World, door: str, **headers: str) -> Any:
    if door == "pass-through":
        return await world.http.put(f"/to/crm/contacts/{FIRST}", json={"city": "Rome"}, headers=headers)
    body = {"target": "crm", "resource": "contacts", "action": "update"}
    records = [{"id": FIRST, "fields": {"city": "Rome"}}]
    return await world.http.post("/v1/operations", json={**body, "records": records}, headers=headers)


def at_any_pace(world: World) -> None:
    """A 429 without Retry-After is waited out for one window of the vendor's limit; here that is a short one."""
    for target in world.guard.targets.values():
        target.client._pace._per_s = 0.01  # type: ignore[attr-defined]


@pytest.mark.parametrize("door", ["pass-through", "operations"])
@pytest.mark.parametrize("name", READ_FAULTS)
async def test_where_the_pre_image_cannot_be_read_nothing_is_sent_and_the_caller_is_told(
    small_world: World, door: str, name: str
) -> None:
    fault, code = READ_FAULTS[name]
    at_any_pace(small_world)
    await small_world.fault(match={"method": "GET"}, times=ALWAYS, **fault)
    with nothing_is_written(small_world):
        told = assert_problem(await to_either_door(small_world, door), code)
    assert NOTHING_WRITTEN.search(told["detail"]), told["detail"]
    assert not vendor_writes(small_world)


@pytest.mark.parametrize("door", ["pass-through", "operations"])
async def test_where_the_vendor_is_down_nothing_is_sent_and_the_caller_is_told(new_world: NewWorld, door: str) -> None:
    async with new_world() as world:
        await point_at(world, "http://127.0.0.1:9")
        told = assert_problem(await to_either_door(world, door), "target_unavailable")
        assert NOTHING_WRITTEN.search(told["detail"])
        assert not vendor_writes(world)


async def point_at(world: World, url: str) -> None:
    """The vendor is elsewhere from now on: at port 9 nobody listens."""
    target = world.guard.targets["crm"]
    await target.client._http.aclose()  # type: ignore[attr-defined]
    limits = target.client._pace  # type: ignore[attr-defined]
    target.client = client.Client(url, target.client._access, limits, 0.5)  # type: ignore[attr-defined]


async def test_a_read_of_a_vendor_that_is_down_is_a_problem_of_guards_own(small_world: World) -> None:
    await point_at(small_world, "http://127.0.0.1:9")
    told = assert_problem(await small_world.http.get(f"/to/crm/contacts/{FIRST}"), "target_unavailable")
    assert NOTHING_WRITTEN.search(told["detail"]), told["detail"]


@pytest.mark.parametrize("door", ["pass-through", "operations"])
async def test_where_the_vendor_is_slow_to_read_nothing_is_sent(small_world: World, door: str) -> None:
    await point_at(small_world, small_world.sandbox_url)
    await small_world.fault(match={"method": "GET"}, kind="hang", seconds=60, times=ALWAYS)
    with nothing_is_written(small_world):
        assert_problem(await to_either_door(small_world, door), "target_unavailable")
    small_world.sandbox.faults.clear()
    small_world.sandbox.release()


@pytest.mark.parametrize("door", ["pass-through", "operations"])
async def test_a_request_that_failed_before_the_write_may_be_sent_again_under_its_key(
    small_world: World, door: str
) -> None:
    """The answer says "try again": so it must not be remembered as the answer."""
    headers = {"guard-run-key": "execution 7", "idempotency-key": "step 3"}
    await small_world.fault(match={"method": "GET"}, kind="status", status=503, times=client.ATTEMPTS_MAX)
    refused = assert_problem(await to_either_door(small_world, door, **headers), "target_unavailable")
    assert "try again" in refused["detail"]
    again = await asyncio.wait_for(to_either_door(small_world, door, **headers), 20)
    assert (again.status_code, small_world.contacts[FIRST]["city"]) == (200, "Rome"), again.text


# At the write

WRITE_FAULTS: dict[str, dict[str, Any]] = {
    "401": {"kind": "status", "status": 401},
    "403": {"kind": "status", "status": 403},
    "422": {"kind": "status", "status": 422},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "429 with Retry-After": {"kind": "rate_limited", "seconds": 0},
    "429 without Retry-After": {"kind": "status", "status": 429},
    "HTML": {"kind": "html"},
    "HTML with 200": {"kind": "html", "status": 200},
    "a dropped connection": {"kind": "drop_before"},
    "done, then 500": {"kind": "done_then_status", "status": 500},
    "done, then HTML": {"kind": "done_then_html"},
    "done, then a dropped connection": {"kind": "drop_after"},
    "done, then half a JSON": {"kind": "half_json"},
    "done, then an empty answer": {"kind": "empty"},
    "done, then a list": {"kind": "done_then_status", "status": 200, "body": [1]},
    "done, then a record of odd parts": {
        "kind": "done_then_status",
        "status": 200,
        "body": {"contact": {"id": FIRST, "tags": None, "customFields": None}},
    },
    "done, then a record with numbers for tags": {
        "kind": "done_then_status",
        "status": 200,
        "body": {"contact": {"id": FIRST, "tags": [1], "customFields": [5]}},
    },
}


@pytest.mark.parametrize("door", ["pass-through", "operations"])
@pytest.mark.parametrize("name", WRITE_FAULTS)
async def test_trouble_at_the_write_is_told_truly_and_can_be_taken_back(
    small_world: World, door: str, name: str
) -> None:
    at_any_pace(small_world)
    before = small_world.seen()
    await small_world.fault(match={"method": "PUT"}, times=client.ATTEMPTS_MAX, **WRITE_FAULTS[name])
    reply = await to_either_door(small_world, door, **{"guard-run-key": "k"})
    await small_world.settle()
    (told,) = (await small_world.http.get("/v1/runs")).json()["runs"]
    done = small_world.seen() != before
    numbers = told["records_applied"], told["records_failed"], told["records_in_doubt"]
    assert numbers in ({(1, 0, 0), (0, 0, 1)} if done else {(0, 1, 0), (0, 0, 1)}), told
    if reply.headers["content-type"] == "application/problem+json":
        assert reply.json()["written"] != ("nothing" if done else "some"), reply.text
    if done:
        assert reply.headers.get("guard-status", told["status"]) != "failed"
    small_world.sandbox.faults.clear()
    await small_world.revert(told)
    assert before == small_world.seen()


@pytest.mark.parametrize("name", ["500", "503", "401", "422", "HTML"])
async def test_the_status_header_of_a_pass_through_does_not_call_applied_what_was_not(
    small_world: World, name: str
) -> None:
    await small_world.fault(match={"method": "PUT"}, times=ALWAYS, **WRITE_FAULTS[name])
    reply = await to_either_door(small_world, "pass-through")
    assert reply.headers["guard-status"] != "applied"


@pytest.mark.parametrize("name", ["401", "422", "500", "HTML"])
async def test_the_vendors_refusal_of_a_pass_through_goes_back_as_it_came(small_world: World, name: str) -> None:
    fault = WRITE_FAULTS[name]
    await small_world.fault(match={"method": "PUT"}, times=1, **fault)
    reply = await to_either_door(small_world, "pass-through")
    assert reply.status_code == fault.get("status", 502)
    assert "guard-revert-url" in reply.headers


async def test_a_429_of_a_pass_through_goes_back_with_its_retry_after(small_world: World) -> None:
    at_any_pace(small_world)
    await small_world.fault(match={"method": "PUT"}, kind="rate_limited", seconds=0, times=1)
    reply = await to_either_door(small_world, "pass-through")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "0")


async def test_a_429_that_goes_back_to_the_caller_is_not_remembered_as_the_answer(small_world: World) -> None:
    """n8n and Make repeat after a 429, byte for byte: the repeat must reach the vendor, for nothing was written."""
    at_any_pace(small_world)
    key = {"guard-run-key": "execution 7"}
    await small_world.fault(match={"method": "PUT"}, kind="rate_limited", seconds=0, times=1)
    assert (await to_either_door(small_world, "pass-through", **key)).status_code == 429
    again = await to_either_door(small_world, "pass-through", **key)
    assert (again.status_code, small_world.contacts[FIRST]["city"]) == (200, "Rome")


async def test_a_very_long_retry_after_is_not_sat_out_with_the_caller_waiting(small_world: World) -> None:
    """A day's quota is used up: whoever asks next is told so, and is not left hanging for an hour."""
    await small_world.fault(match={"method": "GET"}, kind="rate_limited", seconds=3600, times=1)
    await small_world.http.get(f"/to/crm/contacts/{FIRST}")
    try:
        reply = await asyncio.wait_for(small_world.http.get(f"/to/crm/contacts/{FIRST}"), 3)
    finally:
        small_world.guard.targets["crm"].client._pace._paused_until = 0.0  # type: ignore[attr-defined]
    assert reply.status_code in (429, 503)


async def test_a_lost_answer_is_in_doubt_and_says_how_to_find_out(small_world: World) -> None:
    before = small_world.seen()
    await small_world.fault(match={"method": "PUT"}, kind="drop_after", times=1)
    told = assert_problem(await to_either_door(small_world, "pass-through"), "in_doubt", "unknown")
    assert "1 of 1 records written" in told["detail"]
    back = (await small_world.http.post(path_of(told["revert_url"]))).json()
    assert ("reverted", before) == (back["status"], small_world.seen())


async def test_a_repeat_of_a_write_whose_answer_was_lost_is_not_sent_again(small_world: World) -> None:
    key = {"guard-run-key": "execution 7"}
    await small_world.fault(match={"method": "PUT"}, kind="drop_after", times=1)
    assert_problem(await to_either_door(small_world, "pass-through", **key), "in_doubt", "unknown")
    writes = vendor_writes(small_world)
    assert_problem(await to_either_door(small_world, "pass-through", **key), "in_doubt", "unknown")
    assert writes == vendor_writes(small_world)


async def test_a_create_that_is_refused_and_done_all_the_same_is_found_and_taken_back(small_world: World) -> None:
    before = small_world.seen()
    await small_world.fault(match={"method": "POST"}, kind="done_then_status", status=422, times=1)
    told = await small_world.operate("create", [{"fields": {"firstName": "Eve", "email": "eve@example.com"}}])
    assert ("applied", len(before) + 1) == (told["status"], len(small_world.contacts))
    await small_world.revert(told)
    assert before == small_world.seen()


async def test_a_run_in_doubt_is_in_the_list_of_runs(small_world: World) -> None:
    await small_world.fault(match={"method": "PUT"}, kind="drop_after", times=1)
    told = assert_problem(await to_either_door(small_world, "pass-through"), "in_doubt", "unknown")
    listed = (await small_world.http.get("/v1/runs")).json()["runs"]
    assert [told["run"]] == [each["id"] for each in listed]


async def test_some_records_fail_and_the_others_are_applied_and_taken_back(small_world: World) -> None:
    before = small_world.seen()
    bad = list(small_world.contacts)[1]
    await small_world.fault(match={"method": "PUT", "path_regex": bad}, kind="status", status=422, times=ALWAYS)
    told = await small_world.operate("update", updates(small_world, 3))
    assert (told["status"], told["records_applied"], told["records_failed"]) == ("partial", 2, 1)
    assert [(bad, "rejected")] == [(each["id"], each["code"]) for each in told["failures"]]
    await small_world.revert(told)
    assert before == small_world.seen()


@pytest.mark.parametrize("door", ["pass-through", "operations"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "drop_before"},
        {"kind": "html"},
        {"kind": "status", "status": 401},
        {"kind": "drop_after"},
        {"kind": "half_json"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}".strip(),
)
async def test_a_revert_that_meets_trouble_says_so_and_can_be_repeated(
    small_world: World, door: str, fault: dict[str, Any]
) -> None:
    before = small_world.seen()
    reply = await to_either_door(small_world, door)
    await small_world.settle()
    url = path_of(reply.headers.get("guard-revert-url") or reply.json()["revert_url"])
    await small_world.fault(times=2 * client.ATTEMPTS_MAX, **fault)
    back = await small_world.http.post(url)
    told = back.json()
    assert (
        told.get("status") == "reverted"
        if before == small_world.seen()
        else back.status_code >= 400 or (told["status"] == "partly_reverted")
    ), told
    small_world.sandbox.faults.clear()
    again = (await small_world.http.post(url)).json()
    assert ("reverted", before) == (again.get("status"), small_world.seen()), again


async def test_one_record_that_cannot_be_read_keeps_no_other_from_going_back(small_world: World) -> None:
    """Whatever is wrong with that one at the vendor's: plan and revert go on for the others (I3)."""
    before = small_world.seen()
    told = await small_world.operate("update", updates(small_world, 5))
    id_ = list(small_world.contacts)[2]
    await small_world.fault(kind="status", status=400, body={}, times=-1, match={"path_regex": f"/contacts/{id_}"})

    plan = await small_world.plan(told)
    back = await small_world.revert(told)

    assert (plan["page_restored"], plan["page_in_doubt"]) == (4, 1)
    assert (back["status"], back["records_restored"], back["records_in_doubt"]) == ("partly_reverted", 4, 1)
    assert [(each["id"], "cannot be read" in each["reason"]) for each in back["conflicts"]] == [(id_, True)]
    assert {each for each in before if before[each] != small_world.seen()[each]} == {id_}
    async with httpx2.AsyncClient() as http:
        await http.delete(f"{small_world.sandbox_url}/_sandbox/faults")
    assert (await small_world.revert(told))["status"] == "reverted"
    assert before == small_world.seen()


async def test_the_plan_of_a_vendor_that_is_down_is_a_problem_and_writes_nothing(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    await point_at(small_world, "http://127.0.0.1:9")
    assert_problem(await small_world.http.get(path_of(told["revert_url"])), "target_unavailable")
    assert_problem(await small_world.http.post(path_of(told["revert_url"])), "target_unavailable")
    await point_at(small_world, small_world.sandbox_url)
    back = await small_world.revert(told)
    assert back["status"] == "reverted"


async def test_callers_that_hang_up_during_reads_do_not_use_up_the_targets_connections(small_world: World) -> None:
    """Each left its place in the vendor's pace behind: after as many as there are places, nobody could call."""

    async def hang_up() -> None:
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            await asyncio.sleep(0)

        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": f"/to/crm/contacts/{FIRST}",
            "raw_path": f"/to/crm/contacts/{FIRST}".encode(),
            "query_string": b"",
            "headers": [(b"guard-key", small_world.http.headers["guard-key"].encode())],
        }
        await small_world.app(scope, receive, send)

    places = small_world.guard.targets["crm"].client._pace._slots  # type: ignore[attr-defined]
    free = places._value
    for _ in range(3):
        await hang_up()
    assert free == places._value


async def test_a_vendor_that_stays_down_is_left_alone_and_the_answers_say_so(small_world: World) -> None:
    await small_world.fault(match={"method": "GET"}, kind="status", status=503, times=1000)
    first = next(iter(small_world.contacts))
    for _ in range(FAILURES_MAX):
        await small_world.http.get(f"/to/crm/contacts/{first}")
    asked = len(await small_world.vendor_requests())
    with nothing_is_written(small_world):
        reads = await small_world.http.get(f"/to/crm/contacts/{first}")
        writes = await send(small_world, "json", "update", updates(small_world))
    assert len(await small_world.vendor_requests()) == asked
    for reply in (reads, writes):
        told = assert_problem(reply, "target_unavailable")
        assert "times in a row" in told["detail"]
