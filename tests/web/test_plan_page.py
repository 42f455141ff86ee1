"""The page of a plan: paging, search, verdicts, who else, choice, the question before anything is written."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.core import limits
from guard.flows import others
from guard.flows.plan import Narrowing
from guard.web.plans import Plans, _skip
from tests.conftest import NewWorld
from tests.flows.copies import until
from tests.web.doors import all_ended, nothing_happens, updates
from tests.web.test_pages import HTML, page, text_of
from tests.world import World, path_of

N8N = {"accept": "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, */*;q=0.8"}


async def seen(world: World, told: dict[str, Any], query: str = "") -> str:
    status, text = await page(world, "GET", f"{path_of(told['revert_url'])}?{query}")
    assert status == 200, text
    return text


async def asked(world: World, told: dict[str, Any], **form: Any) -> str:
    """The question that the page's button leads to."""
    _, text = await page(world, "POST", path_of(told["revert_url"]), data={"step": "confirm", **form})
    return text


def ids_of(text: str) -> list[str]:
    return re.findall(r'name="ids" value="([^"]*)">', text)


def cell(text: str, kind: str) -> list[str]:
    found = re.findall(rf'<td role="cell" class="{kind}"[^>]*>(.*?)</td>', text, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", each)).split()) for each in found]


async def test_pages_hold_fifty_records_each_and_all_of_them_once(new_world: NewWorld) -> None:
    async with new_world(records=120, pace={"requests": 10_000, "per_s": 1.0, "concurrency": 20}) as world:
        told = await world.operate("update", updates(world, 120, city="Nowhere"))
        pages = [await seen(world, told, f"page={n}") for n in (1, 2, 3, 4)]
        assert [len(ids_of(each)) for each in pages] == [50, 50, 20, 0]
        assert [id_ for each in pages for id_ in ids_of(each)] == list(world.contacts)[::-1]
        assert "Records 51 to 100 of 120" in pages[1]
        assert [('rel="prev"' in each, 'rel="next"' in each) for each in pages[:3]] == [
            (False, True),
            (True, True),
            (True, False),
        ]


async def test_the_end_of_a_long_run_is_read_alone_and_is_the_same(new_world: NewWorld) -> None:
    async with new_world(records=800, pace={"requests": 100_000, "per_s": 1.0, "concurrency": 20}) as world:
        records = [*updates(world, 799, city="Nowhere"), {"id": "doesNotExist", "fields": {"city": "x"}}]
        told = await world.operate("update", records, headers={"prefer": "wait=60"})
        state = await world.guard.journals.state(told["id"])
        assert _skip(state, Narrowing(), 50) > 200
        assert _skip(state, Narrowing(ids=frozenset({"x"})), 50) == 0
        short, whole = Plans(world.guard), Plans(world.guard)
        async with whole.of(state, Narrowing()) as plan:
            for offset in (0, 50):
                async with short.page(state, Narrowing(), offset, 50) as one:
                    assert (one.rows, one.total) == (plan.page(offset, 50), len(plan))
        whole.close()


async def test_a_run_that_was_taken_back_or_deleted_is_read_whole(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 3, city="Nowhere"))
    await small_world.revert(told)
    assert _skip(await small_world.guard.journals.state(told["id"]), Narrowing(), -10_000) == 0
    gone = await small_world.operate("delete", [{"id": next(iter(small_world.contacts))}], accept_irreversible=True)
    assert _skip(await small_world.guard.journals.state(gone["id"]), Narrowing(), -10_000) == 0


async def test_a_plan_is_read_once_for_who_pages_through_it_and_anew_when_the_run_has_grown(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await small_world.operate("update", updates(small_world, 3), headers={"guard-run-key": "k"})
    first = await seen(small_world, told)
    kept = small_world.app.state.plans._kept
    assert len(kept) == 1
    await seen(small_world, told, "page=2")
    assert len(kept) == 1
    last = list(small_world.contacts)[-1]
    records = [{"id": last, "fields": {"city": "Rome"}}]
    await small_world.operate("update", records, headers={"guard-run-key": "k"})
    assert last in ids_of(await seen(small_world, told))
    assert last not in ids_of(first)
    small_world.app.state.plans.close()
    assert not kept


async def test_a_plan_that_nobody_looks_at_any_more_is_forgotten(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.web.plans.PLANS_KEPT_S", 0.01)
    told = await small_world.operate("update", updates(small_world, 3))
    await seen(small_world, told)
    await until(lambda: not small_world.app.state.plans._kept)


async def test_no_more_plans_are_kept_than_there_may_be(small_world: World) -> None:
    for id_ in list(small_world.contacts)[: limits.PLANS_KEPT_MAX + 2]:
        told = await small_world.operate("update", [{"id": id_, "fields": {"city": "Rome"}}])
        await seen(small_world, told)
    assert len(small_world.app.state.plans._kept) == limits.PLANS_KEPT_MAX
    small_world.app.state.plans.close()


@pytest.mark.parametrize("by", ["id", "name", "value before", "value after", "number", "two words"])
async def test_search_finds_by_id_name_and_value(small_world: World, by: str) -> None:
    first, second = list(small_world.contacts)[:2]
    await small_world.edit("contacts", first, {"companyName": "Müller GmbH", "address1": "4711 Road"})
    name = "{firstName} {lastName}".format(**small_world.contacts[first])
    told = await small_world.operate(
        "update", [{"id": first, "fields": {"companyName": "Wrong Ltd"}}, {"id": second, "fields": {"city": "Rome"}}]
    )
    text = {
        "id": first,
        "name": name.upper(),
        "value before": "MÜLLER",
        "value after": "wrong",
        "number": "4711",
        "two words": "gmbh 4711",
    }[by]
    shown = await seen(small_world, told, f"search={text}")
    assert ids_of(shown) == [first]
    assert "Take back the 1 record found" in shown
    assert "Take back all 2 records" in shown


async def test_a_search_that_finds_nothing_says_so_and_offers_everything(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2))
    shown = await seen(small_world, told, "search=nobody-has-this")
    assert "No record has that in its name" in shown
    assert "Show all" in shown


async def test_one_verdict_of_a_page_is_shown_alone(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 3, city="Nowhere"))
    edited = list(small_world.contacts)[1]
    await small_world.edit("contacts", edited, {"city": "Quito"})
    assert ids_of(await seen(small_world, told, "verdict=conflict")) == [edited]
    assert len(ids_of(await seen(small_world, told, "verdict=restore"))) == 2
    assert "None of the records of this page" in await seen(small_world, told, "verdict=already")
    assert "Only the records of this page have been read" in text_of(await seen(small_world, told))
    status, _ = await page(small_world, "GET", f"{path_of(told['revert_url'])}?verdict=green")
    assert status == 422


async def test_a_field_shows_before_after_and_now_and_what_happens(small_world: World) -> None:
    one, two = list(small_world.contacts)[:2]
    before = [small_world.contacts[id_].get("city") for id_ in (two, one)]
    told = await small_world.operate("update", updates(small_world, 2, city="Nowhere"))
    await small_world.edit("contacts", one, {"city": "Quito"})
    shown = await seen(small_world, told)
    assert cell(shown, "before") == before
    assert cell(shown, "after") == ["Nowhere", "Nowhere"]
    assert cell(shown, "now") == ["Nowhere", "Quito"]
    assert cell(shown, "what") == ["↩ goes back", "! changed since: stays by someone outside Guard"]


async def test_a_conflict_names_the_later_run_behind_it(small_world: World) -> None:
    one, two, three = list(small_world.contacts)[:3]
    await small_world.operate("update", [{"id": three, "fields": {"city": "Quito"}}], scenario="earlier")
    await small_world.edit("contacts", three, {"city": "Bern"})
    told = await small_world.operate("update", updates(small_world, 3, city="Nowhere"))
    await small_world.operate("update", [{"id": one, "fields": {"city": "Oslo"}}], scenario="nightly-sync")
    await small_world.edit("contacts", two, {"city": "Oslo"})
    await small_world.edit("contacts", three, {"city": "Quito"})
    who = [each.removeprefix("! changed since: stays ") for each in cell(await seen(small_world, told), "what")]
    assert who == ["by someone outside Guard", "by someone outside Guard", "by a later run of Guard, nightly-sync"]


async def test_a_record_that_was_deleted_since_names_who(small_world: World) -> None:
    one, two = list(small_world.contacts)[:2]
    told = await small_world.operate("update", updates(small_world, 2, city="Nowhere"))
    await small_world.operate("delete", [{"id": one}], accept_irreversible=True, scenario="cleaning")
    await small_world.edit("contacts", two, None)
    shown = text_of(await seen(small_world, told))
    assert "by a later run of Guard, cleaning" in shown
    assert "by someone outside Guard" not in shown.partition("cleaning")[2]


async def test_nobody_outside_is_blamed_where_not_all_later_runs_were_looked_at(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(others, "RUNS_LOOKED_THROUGH_MAX", 1)
    one, *rest = list(small_world.contacts)[:4]
    told = await small_world.operate("update", updates(small_world, 1, city="Nowhere"))
    for id_ in (one, *rest):
        await small_world.operate("update", [{"id": id_, "fields": {"city": "Oslo"}}])
    assert "stays by someone else" in " ".join(cell(await seen(small_world, told), "what"))


async def test_a_system_that_does_not_answer_does_not_keep_the_page(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.web.plan_page.PAGE_READ_S", 0.05)
    told = await small_world.operate("update", updates(small_world, 2, city="Nowhere"))
    await small_world.fault(kind="hang", seconds=60, match={"method": "GET"}, times=2)
    shown = await seen(small_world, told)
    assert cell(shown, "now") == ["not read yet"] * 2
    assert cell(shown, "after") == ["Nowhere"] * 2
    assert "Take back all 2 records" in shown
    small_world.sandbox.release()
    (later,) = re.findall(r'data-read="([^"]*)"', shown)
    _, read = await page(small_world, "GET", unescape(later))
    assert cell(read, "now") == ["Nowhere"] * 2


async def test_a_system_that_is_down_is_named_and_the_page_shows_what_the_run_did(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2, city="Nowhere"))
    await small_world.fault(kind="status", status=401, match={"method": "GET"}, times=100)
    shown = await seen(small_world, told)
    assert cell(shown, "after") == ["Nowhere"] * 2
    assert "cannot be read" in text_of(shown)


async def test_the_question_says_the_numbers_again_and_writes_nothing(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 5, city="Nowhere"))
    ids = list(small_world.contacts)
    await small_world.edit("contacts", ids[0], {"city": "Quito"})
    with nothing_happens(small_world):
        question = await asked(small_world, told, choice="chosen", ids=ids[:3])
    assert "Take back 3 of 5 records in crm?" in question
    assert "2 go back" in text_of(question)
    assert "1 with changes made since: those changes are left alone" in text_of(question)
    assert "Yes, take back 3 records" in question
    form = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', question)
    _, report = await page(
        small_world, "POST", path_of(told["revert_url"]), data={n: [] for n, _ in form} | _form(form)
    )
    assert "It is taken back in part" in report
    left = [small_world.contacts[id_]["city"] for id_ in ids[:5]]
    assert left[0] == "Quito"
    assert [city == "Nowhere" for city in left] == [False, False, False, True, True]


def _form(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


async def test_all_but_some_and_what_was_found_are_choices_too(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 5, city="Nowhere"))
    one = next(iter(small_world.contacts))
    assert "Take back 4 of 5 records" in await asked(small_world, told, choice="chosen", except_ids=one)
    assert "Take back 1 of 5 records" in await asked(small_world, told, choice="found", search=one)
    assert "Take back 5 records" in await asked(small_world, told, choice="all", ids=one)


async def test_of_a_single_record_nothing_can_be_chosen(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 1))
    shown = await seen(small_world, told)
    assert ids_of(shown) == []
    assert "Take back 1 record …" in shown
    assert "chosen" not in text_of(shown)


async def test_to_choose_nothing_is_refused(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 5))
    with nothing_happens(small_world):
        for form in ({"choice": "chosen"}, {"choice": "found", "search": "nobody-has-this"}):
            shown = await asked(small_world, told, **form)
            assert "Nothing was written" in shown


async def test_except_ids_leave_records_out_of_a_revert_of_a_program_too(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 3, city="Nowhere"))
    one = next(iter(small_world.contacts))
    assert (await small_world.plan(told, except_ids=one))["records_to_take_back"] == 2
    back = await small_world.revert(told, except_ids=[one])
    assert back["records_restored"] == 2
    assert [row["city"] for row in small_world.contacts.values()].count("Nowhere") == 1


async def test_a_tool_that_names_html_and_json_gets_json(small_world: World) -> None:
    """n8n's HTTP Request node does, and can make nothing of a page."""
    told = await small_world.operate("update", updates(small_world, 2))
    url = path_of(told["revert_url"])
    assert (await small_world.http.get(url, headers=N8N)).json()["records_to_take_back"] == 2
    assert (await small_world.http.post(url, headers=N8N)).json()["records_restored"] == 2


async def test_after_the_button_the_browser_is_at_a_report_that_can_be_loaded_again(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2))
    reply = await small_world.http.post(path_of(told["revert_url"]), headers=HTML)
    assert (reply.status_code, reply.headers["location"]) == (303, f"{path_of(told['revert_url'])}/report")
    with nothing_happens(small_world):
        first = await page(small_world, "GET", reply.headers["location"])
        assert first == await page(small_world, "GET", reply.headers["location"])
    assert "It is taken back" in first[1]


async def test_the_report_of_a_run_that_nobody_took_back_is_its_plan(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2))
    _, shown = await page(small_world, "GET", f"{path_of(told['revert_url'])}/report")
    assert "Take this back?" in shown


async def test_the_token_opens_the_progress_of_its_own_revert_without_a_key(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 3))
    transport = httpx2.ASGITransport(small_world.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://guard.test") as anyone:
        assert "event: ended" in (await anyone.get(f"{path_of(told['revert_url'])}/events")).text
        await small_world.revert(told)
        text = (await anyone.get(f"{path_of(told['revert_url'])}/events")).text
        assert '"records_planned":3' in text
        assert '"records_done":3' in text
        assert (await anyone.get("/revert/wrong/events")).status_code == 404


async def test_progress_tells_how_many_are_planned_and_done_while_it_goes_on(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 3))
    await small_world.fault(kind="hang", seconds=60, match={"method": "PUT"})
    url = path_of(told["revert_url"])
    await small_world.http.post(url, headers={**HTML, "prefer": "wait=0"})
    _, shown = await page(small_world, "GET", url)
    assert "0 of 3 records done" in text_of(shown)
    small_world.sandbox.release()
    await all_ended(small_world)


async def test_the_address_without_its_token_tells_what_to_do(small_world: World) -> None:
    status, shown = await page(small_world, "GET", "/revert")
    assert (status, "Open the link again" in shown) == (200, True)


def test_no_page_needs_a_style_or_a_script_of_its_own() -> None:
    """The Content-Security-Policy forbids both: they would be silently left out."""
    for template in (Path(limits.__file__).parent.parent / "web" / "templates").glob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! type=\"module\" src=)", text), template.name
