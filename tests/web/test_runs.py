"""The history: paged, narrowed, and only what the caller may see."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.web.doors import assert_problem, updates
from tests.world import OTHER_KEY, World, path_of

THEIRS = {"guard-key": OTHER_KEY}


async def several(world: World, count: int = 5) -> list[str]:
    """Runs a second apart, oldest first."""
    clock = world.guard.journals.clock
    made = []
    for n in range(count):
        world.guard.journals.clock = lambda n=n: clock() + timedelta(seconds=n)  # type: ignore[misc]
        made.append((await world.operate("update", updates(world, 1, city=f"C{n}")))["id"])
    world.guard.journals.clock = lambda: clock() + timedelta(seconds=count)
    return made


async def listed(world: World, **query: Any) -> list[str]:
    reply = await world.http.get("/v1/runs", params=query)
    assert reply.status_code == 200, reply.text
    return [each["id"] for each in reply.json()["runs"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_paging_shows_every_run_once_newest_first(small_world: World, limit: int) -> None:
    made = await several(small_world)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": limit}
    for _ in range(10):
        reply = (await small_world.http.get("/v1/runs", params=query)).json()
        seen += [each["id"] for each in reply["runs"]]
        if reply["next_after"] is None:
            break
        query["after"] = reply["next_after"]
    assert made[::-1] == seen


async def test_a_time_narrows_from_both_sides(small_world: World) -> None:
    made = await several(small_world)
    opened = {}
    for run in made:
        state = await small_world.guard.journals.state(run)
        assert state.opened_at is not None
        opened[run] = state.opened_at
    since, until = opened[made[1]].isoformat(), opened[made[3]].isoformat()
    found = await listed(small_world, since=since, until=until)
    # The index keeps milliseconds, so a run at the very edge may be on either side of it.
    assert made[2] in found
    assert set(found) <= set(made[1:4])


async def test_a_target_narrows(small_world: World) -> None:
    made = await several(small_world, 2)
    assert made[::-1] == await listed(small_world, target="crm")
    assert await listed(small_world, target="nowhere") == []


async def test_runs_of_targets_that_a_key_does_not_open_are_not_there_for_it(small_world: World) -> None:
    (run,) = await several(small_world, 1)
    assert (await small_world.http.get("/v1/runs", headers=THEIRS)).json()["runs"] == []
    for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/changes"):
        hidden = assert_problem(await small_world.http.get(path, headers=THEIRS), "not_found")
        missing = await small_world.http.get(path.replace(run, run[:-1] + "0"), headers=THEIRS)
        assert hidden == missing.json()


async def test_a_revert_that_found_nothing_to_do_is_not_shown_to_others(small_world: World) -> None:
    told = await small_world.operate("update", [{"id": "nobody", "fields": {"city": "Rome"}}], status=422)
    back = await small_world.revert(told)
    assert (back["status"], back["records_total"]) == ("reverted", 0)
    assert (await small_world.http.get("/v1/runs", headers=THEIRS)).json()["runs"] == []
    assert_problem(await small_world.http.get(f"/v1/runs/{back['id']}", headers=THEIRS), "not_found")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=0&run_key=x",
        "since=yesterday&run_key=x",
        "after=x&run_key=x",
        "limit=-1",
        "limit=1001",
        "limit=x",
        "limit=1e3",
        "limit=%D9%A1",
        "since=yesterday",
        "until=2026-13-01",
        "since=12",
        "until=%00",
    ],
)
async def test_an_odd_query_of_the_list_is_refused(small_world: World, query: str) -> None:
    assert_problem(await small_world.http.get(f"/v1/runs?{query}"), "invalid_request")


@pytest.mark.parametrize("until", ["0001-01-01", "9999-12-31", "1970-01-01", "2026-01-01T00:00:00+23:59"])
async def test_any_time_of_the_calendar_is_taken(small_world: World, until: str) -> None:
    made = await several(small_world, 1)
    assert await listed(small_world, until=until) == (made if until.startswith("9999") else [])
    assert await listed(small_world, since=until) == ([] if until.startswith("9999") else made)


@pytest.mark.parametrize("run", ["x", "run_x", "run_" + "0" * 26, "run_" + "0" * 25 + "u", "..", "%2e%2e", "run_%00"])
async def test_a_run_that_does_not_exist_is_not_found(small_world: World, run: str) -> None:
    for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/changes"):
        assert_problem(await small_world.http.get(path), "not_found")


async def test_a_foreign_object_in_the_index_does_not_hide_the_runs(small_world: World, tmp_path: Path) -> None:
    told = await small_world.operate("update", updates(small_world, 1))
    for name in ("zz", "0-", "zz-run_x"):
        (tmp_path / "store" / "index" / name).write_text("?")
    listed = (await small_world.http.get("/v1/runs")).json()["runs"]
    assert [each["id"] for each in listed] == [told["id"]]


async def test_changes_are_paged_and_complete(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 7))
    seen, after = [], 0
    for _ in range(9):
        reply = await small_world.http.get(f"{path_of(told['run_url'])}/changes", params={"limit": 3, "after": after})
        page = reply.json()
        seen += [each["id"] for each in page["changes"]]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert list(small_world.contacts)[:7] == seen


@pytest.mark.parametrize("limit", [1, 7, 8])
async def test_the_last_page_of_changes_says_that_it_is_the_last(small_world: World, limit: int) -> None:
    told = await small_world.operate("update", updates(small_world, 7))
    params = {"limit": limit, "after": 7 - min(limit, 7)}
    page = (await small_world.http.get(f"{path_of(told['run_url'])}/changes", params=params)).json()
    assert (min(limit, 7), None) == (len(page["changes"]), page["next_after"])


async def test_a_page_behind_the_last_change_is_empty(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2))
    page = (await small_world.http.get(f"{path_of(told['run_url'])}/changes", params={"after": 99})).json()
    assert page == {"changes": [], "next_after": None}


async def test_changes_show_before_after_and_now(small_world: World) -> None:
    id_ = next(iter(small_world.contacts))
    city = small_world.contacts[id_]["city"]
    told = await small_world.operate("update", [{"id": id_, "fields": {"city": "Rome"}}])
    await small_world.edit("contacts", id_, {"city": "Oslo"})
    page = (await small_world.http.get(f"{path_of(told['run_url'])}/changes", params={"now": "true"})).json()
    assert [{"field": "city", "before": city, "after": "Rome", "now": "Oslo"}] == page["changes"][0]["fields"]
    assert page["changes"][0]["exists_now"] is True
    await small_world.edit("contacts", id_, None)
    page = (await small_world.http.get(f"{path_of(told['run_url'])}/changes", params={"now": "true"})).json()
    assert (page["changes"][0]["exists_now"], page["changes"][0]["fields"][0]["now"]) == (False, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=9999", "after=-1", "after=x", "after=99999999999999"])
async def test_an_odd_query_of_changes_is_refused(small_world: World, query: str) -> None:
    told = await small_world.operate("update", updates(small_world, 1))
    assert_problem(await small_world.http.get(f"{path_of(told['run_url'])}/changes?{query}"), "invalid_request")
