"""A Guard as it is served, a HighLevel sandbox behind it, and people with a browser: what its tests begin with."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from scenarios.sandboxes.common import running
from scenarios.sandboxes.highlevel import create_app
from tests.web.serving import Served, in_front_of
from tests.world import KEY

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PHONE: Mapping[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
DESKTOP: Mapping[str, Any] = {"viewport": {"width": 1280, "height": 900}}
_TABLES = """
[store]
url = "file:{folder}/store"
[targets.crm.limits]
requests = 1000000
per_s = 1.0
concurrency = 20
"""


@dataclass
class Stage:
    guard: Served
    browser: Browser
    http: httpx2.Client

    @property
    def contacts(self) -> dict[str, dict[str, Any]]:
        """The sandbox's contacts by id."""
        return self.guard.sandbox.vendor.contacts.rows  # type: ignore[attr-defined,no-any-return]

    def operate(self, records: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
        """A bulk update of contacts, to its end unless a header says otherwise."""
        headers = members.pop("headers", {})
        body = {"target": "crm", "resource": "contacts", "action": "update", "records": records, **members}
        reply = self.http.post("/v1/operations", json=body, headers=headers)
        assert reply.status_code < 300, reply.text
        return dict(reply.json())

    def updates(self, count: int, **fields: Any) -> list[dict[str, Any]]:
        return [{"id": id_, "fields": fields} for id_ in list(self.contacts)[:count]]

    def edit(self, id_: str, **fields: Any) -> None:
        """A person's edit in the vendor's own user interface."""
        self.contacts[id_].update(fields)

    def slow(self, seconds: float) -> None:
        self.guard.sandbox.latency_s = seconds

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for something that happens in the server; fails where it does not."""
        deadline = time.monotonic() + 30
        while not done():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)

    @contextmanager
    def page(self, kind: Mapping[str, Any] = DESKTOP, *, status: int = 200, **options: Any) -> Iterator[Page]:
        """A new visitor's page. What the browser complains about there fails the test, but for answers of a status."""
        context = self.browser.new_context(base_url=self.guard.url, **{**kind, **options})
        page = context.new_page()
        page.set_default_timeout(15_000)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
            assert [each for each in complaints if f"status of {status}" not in each] == []
        finally:
            context.close()

    def sign_in(self, page: Page) -> None:
        page.goto("/sign-in")
        page.get_by_label("Client key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()


@contextmanager
def staged(folder: Path, browser: Browser, records: int) -> Iterator[Stage]:
    app = create_app(records=records, limits=None)
    tables = _TABLES.format(folder=folder)
    with (
        running(app) as url,
        in_front_of(app.state.sandbox, url, folder, tables) as guard,
        httpx2.Client(base_url=guard.url, headers={"guard-key": KEY}, timeout=60) as http,
    ):
        yield Stage(guard, browser, http)


def assert_accessible(page: Page) -> None:
    """Axe finds nothing, by any of its rules."""
    found = Axe().run(page)
    told = [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found.response["violations"]]
    assert told == []
