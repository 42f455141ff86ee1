"""The pages of a checkpoint in a browser, and the API's description: light and dark."""

import pytest
from playwright.sync_api import expect

from tests.browser.stage import DESKTOP, PHONE, Stage, assert_accessible

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("runs")]


def test_the_page_of_an_open_checkpoint_says_that_it_waits_and_shows_the_seal_when_it_comes(stage: Stage) -> None:
    ids = list(stage.contacts)[:3]
    body = {"target": "crm", "resource": "contacts", "ids": ids, "scenario": "native import"}
    told = stage.http.post("/v1/checkpoints", json=body).json()
    stage.edit(ids[0], city="Nowhere")
    with stage.page(PHONE, color_scheme="dark") as page:
        stage.sign_in(page)
        page.goto(f"/runs/{told['id']}")
        expect(page.get_by_role("status")).to_contain_text("Guard waits for the seal")
        expect(page.get_by_role("progressbar")).to_have_count(0)
        assert_accessible(page)
        assert stage.http.post(f"/v1/runs/{told['id']}/seal").status_code == 200
        expect(page.get_by_role("main")).to_contain_text("1 of 3 records changed between checkpoint and seal")
        page.get_by_role("link", name="Take it back").tap()
        expect(page.get_by_role("main")).to_contain_text("native import: 1 of 3 records changed between")
        assert_accessible(page)
    assert stage.contacts[ids[0]]["city"] == "Nowhere"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_description_of_the_api_can_be_read_by_everybody(stage: Stage, kind: dict[str, int], scheme: str) -> None:
    with stage.page(kind, color_scheme=scheme) as page:
        page.goto("/docs")
        expect(page.get_by_role("heading", level=1)).to_have_text("Guard's API")
        assert_accessible(page)
