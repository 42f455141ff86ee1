"""The list of runs and the page of one, for somebody who is signed in; changes as CSV."""

import csv
import io
import re
from html import unescape

import pytest

from guard.web.run_pages import defused
from tests.conftest import NewWorld
from tests.web.doors import nothing_happens, updates
from tests.web.test_pages import HOSTILE, assert_safe, text_of
from tests.web.test_sessions import signed_in
from tests.world import World, path_of


async def get(world: World, path: str) -> str:
    browser = await signed_in(world)
    reply = await browser.get(path)
    assert reply.status_code == 200, reply.text
    return reply.text


def listed(text: str) -> list[str]:
    return re.findall(r'href="/runs/(run_\w+)"', text)


async def test_the_list_is_newest_first_and_narrowed_by_target_scenario_day_and_state(small_world: World) -> None:
    ids = list(small_world.contacts)
    first = await small_world.operate("update", updates(small_world, 1, city="Rome"), scenario="Bulk import")
    records = [{"id": ids[1], "fields": {"city": "Rome"}}, {"id": "doesNotExist", "fields": {"city": "Rome"}}]
    second = await small_world.operate("update", records, scenario="nightly")
    day = first["opened_at"][:10]
    both = [second["id"], first["id"]]
    for query, expected in (
        ("", both),
        ("?target=crm", both),
        ("?target=other", []),
        ("?scenario=bulk", [first["id"]]),
        ("?status=partial", [second["id"]]),
        (f"?day={day}", both),
        ("?day=2020-01-31", []),
        (f"?day={day}&scenario=night&status=partial&target=crm", [second["id"]]),
    ):
        assert listed(await get(small_world, f"/{query}")) == expected, query
    assert "No run fits" in await get(small_world, "/?scenario=nothing-like-it")


@pytest.mark.parametrize("query", ["day=yesterday", "day=2026-02-30", "after=nonsense", "day=" + "9" * 500])
async def test_a_list_that_cannot_be_is_refused_in_words(small_world: World, query: str) -> None:
    browser = await signed_in(small_world)
    assert (await browser.get(f"/?{query}")).status_code == 422


async def test_older_runs_are_on_further_pages_with_the_same_filters(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.web.run_pages._RUNS", 2)
    told = [
        (await small_world.operate("update", updates(small_world, 1, city=f"City {n}"), scenario="import"))["id"]
        for n in range(5)
    ]
    seen, path = [], "/?scenario=import"
    while path:
        text = await get(small_world, path)
        seen += listed(text)
        path = next((unescape(link) for link in re.findall(r'rel="next" href="([^"]*)"', text)), "")
    assert seen == told[::-1]


async def test_the_empty_list_says_what_to_do_next(small_world: World) -> None:
    assert "change the base URL of your scenario" in await get(small_world, "/")
    assert "/to/crm" in await get(small_world, "/")


async def test_a_run_shows_what_it_did_record_by_record_and_the_way_back(small_world: World) -> None:
    one, two = list(small_world.contacts)[:2]
    was = small_world.contacts[one]["city"]
    records = [{"id": id_, "fields": {"city": "Nowhere"}} for id_ in (one, two, "doesNotExist")]
    told = await small_world.operate("update", records, scenario="import", note="October")
    text = await get(small_world, f"/runs/{told['id']}")
    shown = text_of(text)
    assert "changed 2 of 3 records in crm, contacts; 1 not written" in shown
    assert "Note: October" in shown
    assert re.search(rf"city {was} Nowhere", shown)
    assert "doesNotExist : The target has no record with this id" in shown
    assert f'href="{path_of(told["revert_url"])}"' in text
    assert "{firstName} {lastName}".format(**small_world.contacts[one]) in shown


async def test_a_run_and_what_took_it_back_lead_to_each_other(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2), scenario="import")
    back = await small_world.revert(told)
    assert f'href="/runs/{back["id"]}"' in await get(small_world, f"/runs/{told['id']}")
    of = await get(small_world, f"/runs/{back['id']}")
    assert f'href="/runs/{told["id"]}"' in of
    assert "took back 2 of 2 records" in text_of(of)


async def test_changes_are_paged(new_world: NewWorld) -> None:
    async with new_world(records=60, pace={"requests": 10_000, "per_s": 1.0, "concurrency": 20}) as world:
        told = await world.operate("update", updates(world, 60, city="Nowhere"))
        assert "records 1 to 50" in await get(world, f"/runs/{told['id']}")
        last = await get(world, f"/runs/{told['id']}?page=2")
        assert "records 51 to 60" in last
        assert 'rel="next"' not in last
        assert "There are no records on this page" in await get(world, f"/runs/{told['id']}?page=9")


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_values_are_text_on_the_pages_of_runs(small_world: World, name: str) -> None:
    value, id_ = HOSTILE[name], next(iter(small_world.contacts))
    records = [{"id": id_, "fields": {"companyName": value, "firstName": value}}]
    told = await small_world.operate("update", records, note=value, scenario=value[:50])
    for path in ("/", f"/runs/{told['id']}"):
        assert_safe(await get(small_world, path), value)


async def test_what_was_asked_for_is_text_on_the_list(small_world: World) -> None:
    text = await get(small_world, '/?scenario="><script>alert(1)</script>&target=<b>')
    assert_safe(text, "<script>alert(1)</script>")


async def test_the_csv_has_a_line_for_each_field_and_no_formula(small_world: World) -> None:
    one, two = list(small_world.contacts)[:2]
    await small_world.edit("contacts", one, {"city": '=HYPERLINK("http://evil.example")'})
    records = [
        {"id": one, "fields": {"city": "+1+1", "companyName": 'Safe, "quoted"\nand long'}},
        {"id": two, "fields": {"city": "@SUM(1)"}},
        {"id": "doesNotExist", "fields": {"city": "Rome"}},
    ]
    told = await small_world.operate("update", records)
    browser = await signed_in(small_world)
    with nothing_happens(small_world):
        reply = await browser.get(f"/runs/{told['id']}/changes.csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == f'attachment; filename="{told["id"]}.csv"'
    rows = list(csv.DictReader(io.StringIO(reply.content.decode("utf-8-sig"), newline="")))
    assert [(row["id"], row["status"], row["field"], row["after"]) for row in rows] == [
        (one, "applied", "city", "'+1+1"),
        (one, "applied", "companyName", 'Safe, "quoted"\nand long'),
        (two, "applied", "city", "'@SUM(1)"),
        ("doesNotExist", "failed", "city", ""),
    ]
    assert rows[0]["before"] == '\'=HYPERLINK("http://evil.example")'


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_what_a_spreadsheet_would_carry_out_becomes_text(cell: str) -> None:
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=1", " -1", "'=1", "ordinary"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert defused(cell) == cell


async def test_the_csv_of_a_long_run_comes_in_parts(new_world: NewWorld) -> None:
    async with new_world(records=300, pace={"requests": 10_000, "per_s": 1.0, "concurrency": 20}) as world:
        told = await world.operate("update", updates(world, 300, address1="x" * 300), headers={"prefer": "wait=60"})
        assert len((await get(world, f"/runs/{told['id']}/changes.csv")).splitlines()) == 301


async def test_a_revert_takes_down_how_many_records_it_is_about(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 3))
    back = await small_world.revert(told)
    state = await small_world.guard.journals.state(back["id"])
    assert [operation.begun["planned"] for operation in state.operations.values()] == [3]
