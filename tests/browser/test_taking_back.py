"""Whole stories of people who open a revert URL, in Chromium, in front of a served Guard and a sandbox."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import DESKTOP, PHONE, Stage, assert_accessible

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("taking-back")]


def cities(stage: Stage) -> list[Any]:
    return [row.get("city") for row in stage.contacts.values()]


def confirm(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Yes, take back")).click()


def test_a_bulk_update_is_taken_back_on_a_phone_and_done_again(stage: Stage) -> None:
    before = cities(stage)
    told = stage.operate(stage.updates(120, city="Nowhere"), scenario="bulk-import")
    with stage.page(PHONE) as page:
        page.goto(told["revert_url"])
        expect(page.get_by_role("heading", level=1)).to_have_text("Take this back?")
        expect(page.locator("tr.field").first).to_contain_text("Nowhere")
        page.get_by_role("button", name="Take back all 120 records").tap()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take back 120 records in crm?")
        stage.slow(0.3)
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("This run is being taken back")
        expect(page.get_by_role("status")).to_contain_text("of 120 records")
        stage.slow(0)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
        expect(page.get_by_label("What became of the records")).to_have_text(re.compile(r"120\s+went back"))
        assert cities(stage) == before
        page.get_by_role("link", name="Undo this taking back").tap()
        expect(page.get_by_role("heading", level=1)).to_have_text("Undo the taking back?")
        page.get_by_role("button", name="Take back all 120 records").tap()
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
    assert set(cities(stage)) == {"Nowhere"}


def test_records_are_chosen_across_pages_and_only_those_go_back(stage: Stage) -> None:
    told = stage.operate(stage.updates(120, city="Nowhere"))
    newest = list(stage.contacts)[::-1]
    with stage.page(PHONE) as page:
        page.goto(told["revert_url"])
        expect(page.locator(".chosen")).to_be_hidden()
        boxes = page.get_by_role("checkbox")
        boxes.nth(0).check()
        boxes.nth(1).check()
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_role("heading", name="Records 51 to 100 of 120")).to_be_visible()
        boxes.nth(0).check()
        page.get_by_role("button", name="Take back the 3 chosen").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take back 3 of 120 records in crm?")
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
    back = [id_ for id_ in newest if stage.contacts[id_]["city"] != "Nowhere"]
    assert set(back) == {newest[0], newest[1], newest[50]}


def test_all_but_some_go_back(stage: Stage) -> None:
    told = stage.operate(stage.updates(120, city="Nowhere"))
    newest = list(stage.contacts)[::-1]
    with stage.page() as page:
        page.goto(told["revert_url"])
        page.get_by_role("button", name="Choose all 120").click()
        page.get_by_role("checkbox").nth(4).uncheck()
        page.get_by_role("button", name="Take back the 119 chosen").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take back 119 of 120 records in crm?")
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
    assert [id_ for id_ in newest if stage.contacts[id_]["city"] == "Nowhere"] == [newest[4]]


def test_conflicts_say_who_and_what_people_edited_stays_unless_it_is_overwritten(stage: Stage) -> None:
    told = stage.operate(stage.updates(3, city="Nowhere"), scenario="bulk-import")
    one, two, three = list(stage.contacts)[:3]
    stage.edit(one, city="Quito")
    stage.operate([{"id": two, "fields": {"city": "Oslo"}}], scenario="nightly-sync")
    with stage.page() as page:
        page.goto(told["revert_url"])
        rows = {city: page.locator("tr.field", has_text=city) for city in ("Quito", "Oslo")}
        expect(rows["Quito"]).to_contain_text("changed since: stays by someone outside Guard")
        expect(rows["Oslo"]).to_contain_text("changed since: stays by a later run of Guard, nightly-sync")
        page.get_by_role("button", name="Take back all 3").click()
        expect(page.get_by_label("What would happen")).to_contain_text("2 with changes made since")
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("It is taken back in part")
        assert [stage.contacts[id_]["city"] for id_ in (one, two)] == ["Quito", "Oslo"]
        assert stage.contacts[three]["city"] != "Nowhere"
        page.get_by_role("link", name="Back to the plan").click()
        page.get_by_role("button", name="Take back all 3").click()
        page.get_by_label("Overwrite it.").check()
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
    assert {"Quito", "Oslo", "Nowhere"}.isdisjoint(stage.contacts[id_]["city"] for id_ in (one, two, three))


def test_nothing_goes_back_where_that_was_asked_for_and_one_was_changed(stage: Stage) -> None:
    told = stage.operate(stage.updates(3, city="Nowhere"))
    stage.edit(next(iter(stage.contacts)), city="Lisbon")
    with stage.page(status=409) as page:
        page.goto(told["revert_url"])
        page.get_by_role("button", name="Take back all 3").click()
        page.get_by_label("Then take nothing back.").check()
        with page.expect_response(lambda reply: reply.request.method == "POST") as answered:
            page.get_by_role("button", name="Yes, take back 3 records").click()
        assert answered.value.status == 409
        expect(page.get_by_role("main")).to_contain_text("1 records were changed since. Nothing was written.")
        page.get_by_role("link", name="Back to the plan").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take this back?")
    assert cities(stage)[:3] == ["Lisbon", "Nowhere", "Nowhere"]


def test_without_scripts_the_same_is_done_with_links_and_buttons(stage: Stage) -> None:
    before = cities(stage)
    told = stage.operate(stage.updates(120, city="Nowhere"))
    with stage.page(PHONE, java_script_enabled=False) as page:
        page.goto(told["revert_url"])
        page.locator("summary", has_text="Search").tap()
        name = page.locator("tr.record b").nth(7).inner_text()
        page.get_by_label("Name, id or value").fill(name)
        page.get_by_role("button", name="Search").tap()
        expect(page.get_by_role("heading", name="Found")).to_be_visible()
        found = page.locator("tr.record").count()
        assert 1 <= found < 20
        page.get_by_role("button", name=f"Take back the {found} record").tap()
        stage.slow(1.0)
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("This run is being taken back")
        stage.slow(0)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")  # it looks again by itself
        assert len([city for city in cities(stage) if city != "Nowhere"]) == found
        page.goto(f"{told['revert_url']}?page=2")
        page.get_by_role("checkbox").nth(0).check()
        page.get_by_role("button", name="Take back the chosen records").tap()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take back 1 of 120 records in crm?")
        confirm(page)
        page.goto(told["revert_url"])
        page.get_by_role("button", name="Take back all 120 records again").tap()
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
    assert cities(stage) == before


def test_with_the_keyboard_alone(stage: Stage) -> None:
    before = cities(stage)
    told = stage.operate(stage.updates(5, city="Nowhere"))
    with stage.page() as page:
        page.goto(told["revert_url"])

        def tab_to(name: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                focused = page.locator(":focus")
                if focused.count() and name in (focused.inner_text() or ""):
                    outline = focused.evaluate("e => getComputedStyle(e).outlineStyle")
                    assert outline == "solid", "what has the focus shows it"
                    return
            raise AssertionError(f"the focus does not come to {name}")

        tab_to("Skip to the page")
        page.keyboard.press("Enter")
        tab_to("Take back all 5 records")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Take back 5 records in crm?")
        tab_to("Yes, take back 5 records")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
    assert cities(stage) == before


def test_the_token_leaves_the_address_and_reloading_and_going_back_still_work(stage: Stage) -> None:
    told = stage.operate(stage.updates(120, city="Nowhere"))
    with stage.page() as page:
        page.goto(told["revert_url"])
        masked = f"{stage.guard.url}/revert"
        expect(page).to_have_url(masked)
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take this back?")
        expect(page).to_have_url(masked)
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_role("heading", name="Records 51 to 100 of 120")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Records 51 to 100 of 120")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="Records 1 to 50 of 120")).to_be_visible()
        page.get_by_role("button", name="Take back all 120").click()
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
        expect(page).to_have_url(masked)
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_contain_text("It is taken back")
        assert page.evaluate("sessionStorage.length + localStorage.length + document.cookie.length") == 0
    with stage.page() as page:
        page.goto("/revert")
        expect(page.get_by_role("heading", level=1)).to_have_text("Which run?")
    assert told["revert_url"].rpartition("/")[2] not in stage.guard.log.read_text()


def test_what_the_system_has_not_told_in_time_comes_after(stage: Stage) -> None:
    told = stage.operate(stage.updates(30, city="Nowhere"))
    stage.slow(0.9)
    with stage.page() as page:
        page.goto(told["revert_url"])
        expect(page.get_by_text("not read yet").first).to_be_visible()
        expect(page.get_by_label("Of the records on this page")).to_have_text(re.compile(r"30\s+go back"))
        expect(page.get_by_text("not read yet")).to_have_count(0)


@pytest.mark.parametrize("kind", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page_of_a_revert(stage: Stage, kind: Any, scheme: Any) -> None:
    told = stage.operate(stage.updates(120, city="Nowhere"), scenario="bulk-import", note="October")
    stage.edit(list(stage.contacts)[-1], city="Lisbon")
    with stage.page(kind, color_scheme=scheme, reduced_motion="reduce") as page:
        page.goto(told["revert_url"])
        page.locator("summary", has_text="Search").click()
        page.get_by_role("checkbox").nth(12).check()
        assert_accessible(page)
        page.goto(f"{told['revert_url']}?search=nobody-has-this")
        assert_accessible(page)
        page.goto(told["revert_url"])
        page.get_by_role("button", name="Only check all of them now").click()
        assert_accessible(page)
        page.get_by_role("link", name="Back to the plan").click()
        page.get_by_role("button", name="Take back all").click()
        assert_accessible(page)
        stage.slow(0.5)
        confirm(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("This run is being taken back")
        assert_accessible(page)
        stage.slow(0)
        expect(page.get_by_role("heading", level=1)).to_have_text("It is taken back in part")
        assert_accessible(page)
        page.goto("/revert")
        assert_accessible(page)


HOSTILE = {
    "a script": "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">",
    "right to left": "\u202egnp.exe",
    "a null byte": "a\x00b",
    "a megabyte": "x" * 1_000_000,
    "a long word": "Donaudampfschiff" * 18,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 20,
    "another script": "שלום عليكم " * 10,
}


def test_what_a_vendor_holds_runs_nothing_turns_nothing_and_does_not_break_the_page(stage: Stage) -> None:
    ids = list(stage.contacts)
    records = [
        {"id": id_, "fields": {"city": value, "firstName": value[:200]}}
        for id_, value in zip(ids, HOSTILE.values(), strict=False)
    ]
    told = stage.operate(records, scenario="<b>import</b>", note=HOSTILE["right to left"])
    with stage.page(PHONE) as page:
        stage.sign_in(page)
        for address in (told["revert_url"], f"/runs/{told['id']}"):
            page.goto(address)
            expect(page.locator(".mark:visible", has_text="U+202E").first).to_be_visible()
            expect(page.locator(".mark:visible", has_text="U+0000").first).to_be_visible()
            assert "owned" not in page.title()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing leaves the screen"
            assert len(page.content()) < 120_000
            page.locator("summary:visible", has_text="Show up to 2,000 characters").first.click()
            expect(page.locator("i:visible", has_text="cut here; it has 1,000,000 characters")).to_have_count(1)
            assert_accessible(page)
