"""POST /revert/{token}: odd bodies, narrowing, conflicts, twice, at once, and back again."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.conftest import NewWorld
from tests.flows.copies import until
from tests.web.doors import NOTHING_WRITTEN, assert_problem, nothing_happens, updates, vendor_writes
from tests.world import World, path_of

FORM = {"content-type": "application/x-www-form-urlencoded"}


async def ruined(world: World, count: int = 4) -> dict[str, Any]:
    """A run that has changed two fields of some contacts."""
    records = [
        {"id": id_, "fields": {"companyName": f"Ruined {n}", "city": f"Nowhere {n}"}}
        for n, id_ in enumerate(list(world.contacts)[:count])
    ]
    return await world.operate("update", records)


ODD_BODIES: dict[str, tuple[bytes, str]] = {
    "a list": (b"[]", "invalid_body"),
    "a text": (b'"all"', "invalid_body"),
    "null": (b"null", "invalid_body"),
    "cut": (b'{"ids": ["a"', "invalid_body"),
    "UTF-16": ('{"dry_run": true}'.encode("utf-16"), "invalid_body"),
    "nested too deep": (b"[" * 100_000, "invalid_body"),
    "a member that is not known": (b'{"colour": "red"}', "invalid_request"),
    "a member that is nearly known": (b'{"id": ["a"]}', "invalid_request"),
    "an on_conflict that is not known": (b'{"on_conflict": "overwrite"}', "invalid_request"),
    "an on_conflict in capitals": (b'{"on_conflict": "FORCE"}', "invalid_request"),
    "an on_conflict that is a list": (b'{"on_conflict": ["force"]}', "invalid_request"),
    "a dry_run that is a text": (b'{"dry_run": "perhaps"}', "invalid_request"),
    "no ids at all": (b'{"ids": []}', "invalid_request"),
    "ids that are an object": (b'{"ids": {"a": 1}}', "invalid_request"),
    "ids that are a number": (b'{"ids": 5}', "invalid_request"),
    "ids with a list in them": (b'{"ids": [["a"]]}', "invalid_request"),
    "no fields at all": (b'{"fields": []}', "invalid_request"),
    "an operation that the run has not": (b'{"operations": ["op_9"]}', "invalid_request"),
    "ids that are an empty text": (b'{"ids": ""}', "invalid_request"),
    "ids that are null": (b'{"ids": [null]}', "invalid_request"),
    "too many ids": (b'{"ids": [' + b",".join(b'"%d"' % n for n in range(100_001)) + b"]}", "invalid_request"),
    "7 MB of ids": (b'{"ids": ["' + b"x" * 7 * 1024 * 1024 + b'"]}', "too_large"),
}


async def test_an_odd_body_is_refused_and_takes_nothing_back(small_world: World) -> None:
    told = await ruined(small_world)
    failed = []
    with nothing_happens(small_world):
        for name, (content, code) in ODD_BODIES.items():
            reply = await small_world.http.post(path_of(told["revert_url"]), content=content)
            if (code, True) != (reply.json()["code"], bool(NOTHING_WRITTEN.search(reply.json()["detail"]))):
                failed.append((name, reply.text[:300]))
    assert not failed


async def test_an_empty_narrowing_in_the_query_is_refused_rather_than_taken_for_everything(small_world: World) -> None:
    """`?ids=` comes from a scenario whose variable was empty: it asks for no record, not for all."""
    told = await ruined(small_world)
    with nothing_happens(small_world):
        for name in ("ids", "fields", "resources", "operations"):
            url = path_of(told["revert_url"])
            assert_problem(await small_world.http.post(url, params={name: ""}), "invalid_request")
            form = await small_world.http.post(url, content=f"{name}=".encode(), headers=FORM)
            assert_problem(form, "invalid_request")


@pytest.mark.parametrize("query", ["colour=red", "on_conflict=never", "dry_run=perhaps", "offset=-1", "limit=0"])
async def test_an_odd_query_of_the_plan_is_refused(small_world: World, query: str) -> None:
    told = await ruined(small_world)
    with nothing_happens(small_world):
        reply = await small_world.http.get(f"{path_of(told['revert_url'])}?{query}")
        assert_problem(reply, "invalid_request")


async def test_a_body_of_another_type_is_refused(small_world: World) -> None:
    told = await ruined(small_world)
    with nothing_happens(small_world):
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
            reply = await small_world.http.post(
                path_of(told["revert_url"]), content=b"--x\r\n", headers={"content-type": kind}
            )
            assert reply.json()["code"] in ("invalid_body", "unsupported_media_type")


@pytest.mark.parametrize("how", ["json", "form", "query", "repeated form", "repeated query"])
async def test_narrowing_by_ids_takes_back_those_only(small_world: World, how: str) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    first, second, third, *_ = list(small_world.contacts)
    url = path_of(told["revert_url"])
    if how == "json":
        reply = await small_world.http.post(url, json={"ids": [first, second]})
    elif how == "form":
        reply = await small_world.http.post(url, content=f"ids={first}%2C{second}".encode(), headers=FORM)
    elif how == "repeated form":
        reply = await small_world.http.post(url, content=f"ids={first}&ids={second}".encode(), headers=FORM)
    elif how == "repeated query":
        reply = await small_world.http.post(url, params={"ids": [first, second]})
    else:
        reply = await small_world.http.post(url, params={"ids": f"{first},{second}"})
    assert (reply.status_code, reply.json().get("records_restored")) == (200, 2), reply.text
    after = small_world.seen()
    assert (before[first], before[second]) == (after[first], after[second])
    assert after[third]["city"] == "Nowhere 2"


async def test_narrowing_by_fields_leaves_the_others_as_the_run_left_them(small_world: World) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    await small_world.revert(told, fields=["city"])
    for n, id_ in enumerate(list(small_world.contacts)[:4]):
        assert small_world.contacts[id_]["city"] == before[id_]["city"]
        assert small_world.contacts[id_]["companyName"] == f"Ruined {n}"


async def test_narrowing_by_operation_and_by_resource(small_world: World) -> None:
    key = {"guard-run-key": "one execution"}
    first, second, *_ = list(small_world.contacts)
    opportunity = next(iter(small_world.opportunities))
    city, state = small_world.contacts[first]["city"], small_world.contacts[second]["state"]
    name = small_world.opportunities[opportunity]["name"]
    await small_world.operate("update", [{"id": first, "fields": {"city": "Rome"}}], headers=key)
    await small_world.operate("update", [{"id": second, "fields": {"state": "XX"}}], headers=key)
    told = await small_world.operate(
        "update", [{"id": opportunity, "fields": {"name": "X"}}], headers=key, resource="opportunities"
    )
    run = (await small_world.http.get(path_of(told["run_url"]))).json()
    assert [(each["resource"], each["records_applied"]) for each in run["operations"]] == [
        ("contacts", 1),
        ("contacts", 1),
        ("opportunities", 1),
    ]
    await small_world.revert(told, operations=[run["operations"][1]["operation"]])
    assert ("Rome", state) == (small_world.contacts[first]["city"], small_world.contacts[second]["state"])
    await small_world.revert(told, resources=["opportunities"])
    assert ("Rome", name) == (small_world.contacts[first]["city"], small_world.opportunities[opportunity]["name"])
    await small_world.revert(told)
    assert city == small_world.contacts[first]["city"]


@pytest.mark.parametrize("narrowing", [{"ids": ["somebodyElse"]}, {"fields": ["citty"]}, {"resources": ["contact"]}])
@pytest.mark.parametrize("how", ["plan", "dry run", "revert"])
async def test_a_narrowing_that_fits_nothing_is_refused_and_leaves_the_run_as_it_is(
    small_world: World, narrowing: dict[str, list[str]], how: str
) -> None:
    """A misspelt id must not be answered with "reverted"."""
    told = await ruined(small_world, 2)
    url = path_of(told["revert_url"])
    with nothing_happens(small_world):
        if how == "plan":
            reply = await small_world.http.get(url, params={name: each[0] for name, each in narrowing.items()})
        else:
            reply = await small_world.http.post(url, json={**narrowing, "dry_run": how == "dry run"})
        refused = assert_problem(reply, "invalid_request")
    assert "fits" in refused["detail"]
    assert (await small_world.http.get(path_of(told["run_url"]))).json()["status"] == "applied"


async def test_a_run_of_which_only_a_part_was_taken_back_is_not_called_reverted(small_world: World) -> None:
    told = await ruined(small_world, 2)
    first, second, *_ = list(small_world.contacts)

    async def status_after(**narrowing: Any) -> str:
        await small_world.revert(told, **narrowing)
        return str((await small_world.http.get(path_of(told["run_url"]))).json()["status"])

    assert await status_after(ids=[first]) == "partly_reverted"
    assert await status_after(ids=[second], fields=["city"]) == "partly_reverted"
    assert await status_after(fields=["city"]) == "partly_reverted"
    assert await status_after(ids=[second, first], fields=["companyName", "city"]) == "reverted"


async def test_a_narrowing_to_fields_counts_only_records_that_have_them(small_world: World) -> None:
    first, second, *_ = list(small_world.contacts)
    records = [{"id": first, "fields": {"city": "Rome"}}, {"id": second, "fields": {"state": "XX"}}]
    told = await small_world.operate("update", records)
    assert (await small_world.plan(told, fields="city"))["records_to_take_back"] == 1
    back = await small_world.revert(told, fields=["city"])
    assert (back["records_restored"], back["records_already"]) == (1, 0)


async def with_conflict(world: World) -> tuple[dict[str, Any], dict[str, Any], str]:
    before = world.seen()
    told = await ruined(world, 3)
    id_ = next(iter(world.contacts))
    await world.edit("contacts", id_, {"city": "A person's"})
    return before, told, id_


async def test_skip_leaves_a_persons_edit_and_takes_the_rest_back(small_world: World) -> None:
    before, told, id_ = await with_conflict(small_world)
    back = await small_world.revert(told)
    assert (back["status"], back["records_restored"], back["records_conflicted"]) == ("partly_reverted", 2, 1)
    assert small_world.seen() == {**before, id_: {**before[id_], "city": "A person's"}}
    (conflict,) = back["conflicts"]
    assert (id_, "city", "A person's") == (conflict["id"], conflict["field"], conflict["now"])


async def test_conflicts_are_listed_however_many_records_are_back_already(new_world: NewWorld) -> None:
    """The last of 150 was edited, all the others are back: a list of what is left alone must not begin with those."""
    async with new_world(records=150, pace={"requests": 10_000, "per_s": 1.0, "concurrency": 50}) as world:
        told = await ruined(world, 150)
        await world.revert(told)
        id_ = next(iter(world.contacts))
        await world.edit("contacts", id_, {"city": "A person's"})

        back = await world.revert(told)

        assert (back["records_already"], back["records_conflicted"]) == (149, 1)
        assert [each["id"] for each in back["conflicts"]] == [id_]


async def test_force_takes_a_persons_edit_back_too(small_world: World) -> None:
    before, told, _ = await with_conflict(small_world)
    back = await small_world.revert(told, on_conflict="force")
    assert (back["status"], back["records_restored"]) == ("reverted", 3)
    assert before == small_world.seen()


async def test_abort_writes_nothing_where_there_is_a_conflict(small_world: World) -> None:
    _, told, _ = await with_conflict(small_world)
    with nothing_happens(small_world):
        reply = await small_world.http.post(path_of(told["revert_url"]), json={"on_conflict": "abort"})
        refused = assert_problem(reply, "conflicts")
    assert (refused["records_conflicted"], "on_conflict=skip" in refused["detail"]) == (1, True)


async def test_abort_takes_all_back_where_there_is_no_conflict(small_world: World) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    back = await small_world.revert(told, on_conflict="abort")
    assert ("reverted", before) == (back["status"], small_world.seen())


@pytest.mark.parametrize("how", [{"dry_run": True}, {"dry_run": True, "on_conflict": "force"}], ids=["skip", "force"])
async def test_a_dry_run_writes_nothing_and_foresees_what_the_revert_does(
    small_world: World, how: dict[str, Any]
) -> None:
    _, told, _ = await with_conflict(small_world)
    with nothing_happens(small_world):
        foreseen = await small_world.revert(told, **how)
    done = await small_world.revert(told, **{**how, "dry_run": False})
    assert foreseen["status"] == "dry_run"
    for name in ("restored", "already", "conflicted", "irreversible", "in_doubt"):
        assert foreseen[f"records_{name}"] == done[f"records_{name}"], name
    assert [each["id"] for each in foreseen["conflicts"]] == [each["id"] for each in done["conflicts"]]


async def test_two_equal_reverts_at_once_are_one(small_world: World) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    writes = len(vendor_writes(small_world))
    first, second = await asyncio.gather(small_world.revert(told), small_world.revert(told))
    assert first["id"] == second["id"]
    assert (before, writes + 4) == (small_world.seen(), len(vendor_writes(small_world)))


async def test_two_different_reverts_at_once_exclude_each_other(small_world: World) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    url = path_of(told["revert_url"])
    replies = await asyncio.gather(
        small_world.http.post(url, json={}), small_world.http.post(url, json={"fields": ["city"]})
    )
    done, other = sorted(replies, key=lambda reply: reply.status_code)
    assert done.status_code == 200
    assert_problem(other, "busy")
    await small_world.revert(told)
    assert before == small_world.seen()


async def test_two_guards_that_take_a_run_back_at_once_compensate_each_record_once(new_world: NewWorld) -> None:
    """Two replicas behind a load balancer, one store: one of them does it, the other says so or tells the same."""
    async with new_world() as world, new_world() as other:
        before = world.seen()
        told = await ruined(world)
        writes = len(vendor_writes(world))
        for target in other.guard.targets.values():
            target.client._base_url = world.sandbox_url  # type: ignore[attr-defined]
        url = path_of(told["revert_url"])
        replies = await asyncio.gather(world.http.post(url), other.http.post(url))
        assert {reply.status_code for reply in replies} <= {200, 409}, [reply.text for reply in replies]
        assert before == world.seen()
        assert writes + 4 == len(vendor_writes(world))
        status = (await world.http.get(path_of(told["run_url"]))).json()["status"]
        assert status == "reverted"


FAST = {"requests": 10_000, "per_s": 1.0, "concurrency": 50}


async def test_two_reverts_of_the_same_records_never_wait_for_each_other(new_world: NewWorld) -> None:
    """In two runs the records stand in opposite orders: who kept what it had only looked at would wait for ever."""
    async with new_world(records=210, pace=FAST) as world:
        ids = list(world.contacts)
        runs = [
            await world.operate("update", [{"id": id_, "fields": {field: "X"}} for id_ in order])
            for field, order in (("city", ids), ("state", ids[::-1]))
        ]
        for told in runs:
            await world.revert(told)

        both = await asyncio.wait_for(asyncio.gather(*(world.revert(told) for told in runs)), 50)

        assert [back["records_already"] for back in both] == [210, 210]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_record_that_was_only_looked_at_can_be_written_by_others(new_world: NewWorld, dry_run: bool) -> None:
    """A revert of thousands takes minutes: it must not hold off writes to records it leaves alone."""
    async with new_world(records=110, pace=FAST, timeout_s=60) as world:
        oldest, *_, newest = list(world.contacts)
        told = await ruined(world, 110)
        await world.revert(told)
        await world.fault(kind="hang", seconds=60, times=-1, match={"path_regex": f"/contacts/{oldest}$"})
        looked_at = len(world.sandbox.log.entries)
        going = asyncio.create_task(world.revert(told, dry_run=dry_run))
        # All but the last one, for which it waits.
        await until(lambda: len(world.sandbox.log.entries) >= looked_at + 109)

        written = await asyncio.wait_for(world.http.put(f"/to/crm/contacts/{newest}", json={"city": "Rome"}), 30)

        assert (written.status_code, going.done()) == (200, False)
        async with httpx2.AsyncClient() as http:
            await http.delete(f"{world.sandbox_url}/_sandbox/faults")
        world.sandbox.release()
        assert (await going)["records_already"] >= 109


async def test_a_second_revert_finds_all_back_already_and_writes_nothing(small_world: World) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    await small_world.revert(told)
    writes = vendor_writes(small_world)
    again = await small_world.revert(told)
    assert (again["status"], again["records_already"], again["records_restored"]) == ("reverted", 4, 0)
    assert (writes, before) == (vendor_writes(small_world), small_world.seen())


async def test_a_revert_can_be_taken_back_and_that_again(small_world: World) -> None:
    before = small_world.seen()
    told = await ruined(small_world)
    ruin = small_world.seen()
    back = await small_world.revert(told)
    assert before == small_world.seen()
    redo = await small_world.revert(back)
    assert ruin == small_world.seen()
    await small_world.revert(redo)
    assert before == small_world.seen()


async def test_a_run_that_was_taken_back_takes_no_more_operations(small_world: World) -> None:
    key = {"guard-run-key": "closed"}
    told = await small_world.operate("update", updates(small_world, 1), headers=key)
    await small_world.revert(told)
    with nothing_happens(small_world):
        reply = await small_world.http.put(
            f"/to/crm/contacts/{next(iter(small_world.contacts))}", json={"city": "Rome"}, headers=key
        )
        refused = assert_problem(reply, "run_closed")
    assert NOTHING_WRITTEN.search(refused["detail"]), refused["detail"]


async def test_the_bulk_door_refuses_a_closed_run_too(small_world: World) -> None:
    key = {"guard-run-key": "closed"}
    told = await small_world.operate("update", updates(small_world, 1), headers=key)
    await small_world.revert(told)
    with nothing_happens(small_world):
        await small_world.operate("update", updates(small_world, 2, city="Rome"), headers=key, status=409)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_an_error_of_the_revert_is_not_kept_by_any_cache(small_world: World, accept: str) -> None:
    reply = await small_world.http.get("/revert/nonsense", headers={"accept": accept})
    assert (reply.headers.get("cache-control"), reply.headers.get("referrer-policy")) == ("no-store", "no-referrer")


async def test_a_query_that_says_nothing_usable_is_refused_also_where_the_body_says_something_else(
    small_world: World,
) -> None:
    told = await small_world.operate("update", updates(small_world))
    with nothing_happens(small_world):
        reply = await small_world.http.post(f"{path_of(told['revert_url'])}?on_conflict=", json={"on_conflict": "skip"})
        assert_problem(reply, "invalid_request")
