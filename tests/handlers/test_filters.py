"""Filters of checkpoints, vendor by vendor: all pages, what is refused, and answers that are no answers."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from guard.assembly import assemble
from guard.core.errors import Refused
from handlers.base import Handler, Reply
from handlers.highlevel import HighLevel
from handlers.keap import Keap
from scenarios.sandboxes import tryton as tryton_sandbox
from scenarios.sandboxes.common import running
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.handlers import tryton_database
from tests.handlers.bamboohr_world import bamboohr_world
from tests.handlers.hubspot_account import knowing
from tests.handlers.hubspot_world import hubspot
from tests.handlers.keap_world import keap_world
from tests.handlers.salesforce_org import DATA, described, org
from tests.handlers.totality import bent
from tests.handlers.tryton_database import PARTY
from tests.world import World, guarded, settings, world

Where = Mapping[str, Any]


@asynccontextmanager
async def tryton(folder: Path, *, records: int) -> AsyncIterator[World]:
    app = tryton_sandbox.create_app(records=records)
    with running(app) as url:
        made = settings(f"file:{folder}/store", url)
        chosen = {"handler": "tryton", "options": tryton_database.OPTIONS}
        targets = {name: target.model_copy(update=chosen) for name, target in made.targets.items()}
        async with guarded(assemble(made.model_copy(update={"targets": targets})), app.state.sandbox, url) as there:
            yield there


# More than a page's records, and a filter that means all of them.
ALL: dict[str, tuple[Callable[..., Any], int, str, Where]] = {
    "highlevel": (world, 250, "contacts", {"query": "example.com"}),
    "hubspot": (hubspot, 450, "contacts", {"filterGroups": [{"filters": []}]}),
    "salesforce": (org, 2300, "Contact", {"where": "OwnerId = '005000000000001AAA'"}),
    "keap": (keap_world, 1100, "contacts", {"filter": "given_name==*"}),
    "tryton": (tryton, 1100, PARTY, {"domain": ["OR", ["active", "=", 1], ["active", "=", 0]]}),
}


@pytest.mark.parametrize("name", ALL)
async def test_a_filter_goes_over_all_pages(name: str, tmp_path: Path) -> None:
    make, records, resource, all_of_them = ALL[name]
    async with make(tmp_path, records=records) as there:
        target = there.guard.target("crm")
        await target.resource(resource)
        found = [id_ async for part in target.meant(resource, all_of_them) for id_ in part.ids]
        assert sorted(found) == sorted(there.sandbox.vendor.store.tables[resource].rows)


async def test_a_system_without_filters_says_so_before_anything_is_read(tmp_path: Path) -> None:
    async with bamboohr_world(tmp_path) as there:
        body = {"target": "crm", "resource": "employees", "filter": {"status": "Active"}}
        refused = (await there.http.post("/v1/checkpoints", json=body)).json()
        assert (refused["code"], "takes no filter for employees" in refused["detail"]) == ("invalid_request", True)


async def test_hubspots_search_shows_ten_thousand_and_no_more() -> None:
    reply = Reply(200, json.dumps({"total": 10_001, "results": []}).encode())
    with pytest.raises(Refused) as refused:
        knowing().page("contacts", {"query": "x"}, reply)
    assert refused.value.members == {"records_total": 10_001}


# A handler, a filter that it takes, and a page that its vendor answers.
PAGES: dict[str, tuple[Handler, str, Where, dict[str, Any]]] = {
    "highlevel contacts": (
        HighLevel({"location_id": LOCATION_ID}),
        "contacts",
        {"query": "x"},
        {"contacts": [{"id": "abc", "searchAfter": [1, "abc"]}], "total": 1},
    ),
    "highlevel opportunities": (
        HighLevel({"location_id": LOCATION_ID}),
        "opportunities",
        {"status": "open"},
        {"opportunities": [{"id": "abc"}], "meta": {"total": 1, "startAfter": 1, "startAfterId": "abc"}},
    ),
    "hubspot": (
        knowing(),
        "contacts",
        {"query": "x"},
        {"total": 1, "results": [{"id": "123"}], "paging": {"next": {"after": "1"}}},
    ),
    "salesforce": (
        described("Contact"),
        "Contact",
        {"where": "City = 'Rome'"},
        {
            "totalSize": 1,
            "done": False,
            "nextRecordsUrl": f"{DATA}/query/01g0-2000",
            "records": [{"Id": "003000000000001AAA"}],
        },
    ),
    "keap": (
        Keap({}),
        "contacts",
        {"filter": "email==x"},
        {"contacts": [{"id": "12", "given_name": "Ann"}], "next_page_token": "1"},
    ),
    "tryton": (tryton_database.described(PARTY), PARTY, {"domain": [["name", "=", "x"]]}, {"id": 0, "result": [12]}),
}


@pytest.mark.parametrize("name", PAGES)
def test_an_answer_that_is_none_is_no_page(name: str) -> None:
    handler, resource, where, true = PAGES[name]
    whole = handler.page(resource, where, Reply(200, json.dumps(true).encode()))
    assert whole is not None
    assert len(whole.ids) == 1
    odd = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>502 Bad Gateway</html>",
        *(json.dumps(each).encode() for each in bent(true)),
    ]
    for body in odd:
        for status in (200, 500):
            try:
                page = handler.page(resource, where, Reply(status, body))
            except Refused:
                continue
            assert page is None or (status == 200 and all(isinstance(id_, str) for id_ in page.ids)), body


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("other", [{}, {"colour": "red"}, {"where": ""}, {"domain": []}, {"filter": 5}], ids=str)
def test_other_words_are_refused(name: str, other: Where) -> None:
    handler, resource, where, _ = PAGES[name]
    handler.search(resource, where, None)
    with pytest.raises(Refused):
        handler.search(resource, other, None)
