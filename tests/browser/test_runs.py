"""The pages of somebody who signs in: the list, one run, stopping it, its changes as a file."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.stage import DESKTOP, PHONE, Stage, assert_accessible

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("runs")]


def test_signing_in_leads_to_the_page_that_was_asked_for_and_signing_out_ends_it(stage: Stage) -> None:
    told = stage.operate(stage.updates(3, city="Nowhere"), scenario="bulk-import")
    with stage.page() as page:
        page.goto(f"/runs/{told['id']}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        page.get_by_label("Client key").fill("test-key-of-the-scenario-tool")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("bulk-import")
        page.get_by_role("link", name="Runs").click()
        expect(page.get_by_role("row", name="bulk-import")).to_contain_text("changed 3 of 3 records")
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"/runs/{told['id']}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_empty_list_says_what_to_do_next(stage: Stage) -> None:
    with stage.page(PHONE) as page:
        stage.sign_in(page)
        expect(page.get_by_role("main")).to_contain_text("No run yet. Send the first one")
        assert_accessible(page)


def test_a_run_is_watched_and_stopped(stage: Stage) -> None:
    stage.slow(0.4)
    records = stage.updates(120, city="Nowhere")
    told = stage.operate(records, scenario="bulk-import", headers={"prefer": "respond-async"})
    with stage.page(PHONE) as page:
        stage.sign_in(page)
        page.goto(f"/runs/{told['id']}")
        expect(page.get_by_role("progressbar")).to_be_visible()
        assert_accessible(page)
        stage.until(lambda: any(row["city"] == "Nowhere" for row in stage.contacts.values()))
        stage.slow(3.0)  # what is left takes longer than pressing a button
        page.get_by_role("button", name="Stop it").tap()
        stage.slow(0)
        expect(page.locator(".state")).to_have_text("stopped", timeout=30_000)
        expect(page.get_by_role("button", name="Stop it")).to_have_count(0)
        page.get_by_role("link", name="Take it back").tap()
        expect(page.get_by_role("heading", level=1)).to_have_text("Take this back?")
    written = [row for row in stage.contacts.values() if row["city"] == "Nowhere"]
    assert 0 < len(written) < 120


def test_the_changes_are_a_file_whose_formulas_are_defused(stage: Stage, tmp_path: Path) -> None:
    told = stage.operate(stage.updates(60, city="=1+1"))
    with stage.page(accept_downloads=True) as page:
        stage.sign_in(page)
        page.goto(f"/runs/{told['id']}")
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_role("heading", name="Changes: records 51 to 60")).to_be_visible()
        with page.expect_download() as downloading:
            page.get_by_role("link", name="Changes as CSV").click()
        downloading.value.save_as(tmp_path / "changes.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "changes.csv").read_text("utf-8-sig"))))
    assert [row["after"] for row in rows] == ["'=1+1"] * 60


@pytest.mark.parametrize("kind", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page_of_the_history(stage: Stage, kind: Any, scheme: Any) -> None:
    told = stage.operate([*stage.updates(60, city="Nowhere"), {"id": "doesNotExist", "fields": {"city": "x"}}])
    stage.http.post(told["revert_url"])
    with stage.page(kind, color_scheme=scheme) as page:
        page.goto("/sign-in")
        assert_accessible(page)
        stage.sign_in(page)
        assert_accessible(page)
        page.goto("/?status=failed")
        assert_accessible(page)
        for run in (told["id"], stage.http.get("/v1/runs").json()["runs"][0]["id"]):
            page.goto(f"/runs/{run}")
            assert_accessible(page)
