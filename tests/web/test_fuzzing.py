"""Schemathesis asks a real Guard whatever /openapi.json lets it, and what it does not: no fault, no answer untold of.

Generated with a fixed seed, so that it asks the same each time; `make test-heavy` asks more.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.routing import Route

from guard.web.app import PAGES
from tests.conforming import api
from tests.web.hooking import write
from tests.web.serving import Served, served
from tests.world import KEY

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
ANSWERED = (
    "not_a_server_error status_code_conformance content_type_conformance response_headers_conformance "
    "response_schema_conformance"
).split()
# Not on the command line, which takes a null that it sent as an empty text, and so as nothing, for one to be refused.
CHECKED = [*ANSWERED, "negative_data_rejection"]
OPERATIONS = [(method.upper(), path) for path, methods in api()["paths"].items() for method in methods]
AIMED = [
    each for each in OPERATIONS if re.search(r"\{(run|token|path|name)\}|operations|checkpoints|subscriptions", each[1])
]
SEED = 20261124
FEW, MORE, MANY = 3, 6, 100
"""Requests of each door and kind. The first two take some twenty seconds in all, on two cores that have other work."""


def can_be_wrong(method: str, path: str) -> bool:
    """What stands in an address is a text, and every text is one."""
    told = api()["paths"][path][method.lower()]
    return "requestBody" in told or any(given.get("in") != "path" for given in told["parameters"])


@cache
def described() -> OpenApiSchema:
    load_all_checks()
    # A copy: what is generated may be an example of the document itself, and is rewritten here.
    return schemathesis.openapi.from_dict(deepcopy(api()))


@dataclass(frozen=True)
class There:
    """A Guard with a run in it, and what opens its doors."""

    guard: Served
    run: str
    token: str
    bracket: str
    subscription: str
    ids: list[str]

    def known(self, path: str) -> dict[str, str]:
        """What stands in this address so that it leads to something."""
        real = {
            "run": self.bracket if path.endswith("/seal") else self.run,
            "token": self.token,
            "target": "crm",
            "path": "contacts",
            "name": "by-key",
            "subscription": self.subscription,
        }
        return {name: value for name, value in real.items() if f"{{{name}}}" in path}


NOBODY = "http://127.0.0.1:9/"
METRICS = 'metrics_key = { env = "GUARD_TEST_KEY" }'
"""Not for the command line: its Guard-Key would open /metrics also where it takes the document's bearer away."""
TABLES = """
[store]
url = "file:{folder}/store"
[scenarios]
folder = "{folder}/hooks"
"""
CALLBACKS = """
[callbacks]
secret = { env = "GUARD_TEST_CALLBACK_SECRET" }
allow = ["127.0.0.1/32"]
"""
"""Only for requests that `asked` makes: it sees to it that they name no address elsewhere."""


@contextmanager
def stage(folder: Path, metrics: str = "", callbacks: str = "") -> Iterator[There]:
    write(folder / "hooks", "by-key")
    with served(folder, metrics + TABLES.format(folder=folder) + callbacks) as guard:
        ids = list(guard.sandbox.vendor.contacts.rows)  # type: ignore[attr-defined]
        what = {"target": "crm", "resource": "contacts"}
        records = [{"id": id_, "fields": {"city": "Lisbon"}} for id_ in ids[:3]]
        with httpx2.Client(base_url=guard.url, headers={"guard-key": KEY}, timeout=30) as http:
            told = http.post("/v1/operations", json={**what, "action": "update", "records": records}).json()
            bracket = http.post("/v1/checkpoints", json={**what, "ids": ids[:3]}).json()
            hearing = http.post("/v1/subscriptions", json={"hook_url": NOBODY, "scenario": "none"}).json()
        token = urlsplit(told["revert_url"]).path.rpartition("/")[2]
        yield There(guard, told["id"], token, bracket["id"], hearing.get("id", ""), ids)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    with stage(tmp_path_factory.mktemp("fuzzed"), METRICS, CALLBACKS) as made:
        yield made


def asked(there: There, method: str, path: str, mode: GenerationMode, count: int, *, aimed: bool = False) -> set[int]:
    """Ask one door `count` times; fails with the request that is answered in a way the document does not tell of.

    `aimed`: with a run, a token and a target that are there, so that what stands behind them is reached.
    """
    operation = described()[path][method]
    statuses: set[int] = set()
    checks: list[Any] = CHECKS.get_by_names(CHECKED)
    known = there.known(path) if aimed else {}

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=known or None), data=st.data())
    def ask(case: Case[Any], data: st.DataObject) -> None:
        if aimed and mode is POSITIVE and path in AIMS:
            AIMS[path](case, data, there.ids)
        stay_here(case)
        # A caller that may wait for long is not asked to: what goes on is told of by 202.
        headers = {"Guard-Key": KEY, "Prefer": data.draw(st.sampled_from(["wait=2", "respond-async"]))}
        response = case.call(base_url=there.guard.url, headers=headers, timeout=30)
        statuses.add(response.status_code)
        case.validate_response(response, checks=checks)

    ask()
    return statuses


def stay_here(case: Case[Any]) -> None:
    """Nobody elsewhere is called, whatever was generated."""
    for members in (case.query, case.body):
        if isinstance(members, dict):
            for name in members.keys() & {"callback_url", "hook_url"}:
                if "://" in str(members[name]):
                    members[name] = NOBODY


def aim_operation(case: Case[Any], data: st.DataObject, ids: list[str]) -> None:
    """An operation on records that are there, as far as what was generated leaves room for it."""
    actions = st.sampled_from(["create", "update", "upsert", "delete", "tags.add", "nothing"])
    what = {"target": "crm", "resource": "contacts", "action": data.draw(actions)}
    if case.media_type != "application/json":
        case.query = {**(case.query or {}), **what}
        case.body = (
            f"id,city\n{data.draw(st.sampled_from(ids))},Lisbon\n" if case.media_type == "text/csv" else case.body
        )
    elif isinstance(case.body, dict):
        body: dict[str, Any] = dict(case.body)
        records: Any = [{**each, "id": data.draw(st.sampled_from(ids))} for each in body.get("records") or [{}]]
        case.query = {}
        case.body = {**{k: v for k, v in body.items() if k not in ("filter", "fields")}, **what, "records": records}


def aim_hook(case: Case[Any], data: st.DataObject, ids: list[str]) -> None:
    """What the scenario file finds records in, mixed with what was generated."""
    some = st.lists(st.sampled_from(ids) | st.just(case.body), max_size=3)
    people: Any = [{"who": id_, "first": case.body, "home": {"city": "Lisbon"}} for id_ in data.draw(some)]
    case.body = data.draw(st.sampled_from([{"people": people}, {"people": case.body}, case.body]))
    case.media_type = "application/json"


def aim_checkpoint(case: Case[Any], data: st.DataObject, ids: list[str]) -> None:
    if isinstance(case.body, dict):
        kept: dict[str, Any] = {name: value for name, value in case.body.items() if name not in ("ids", "filter")}
        named: dict[str, Any] = {
            "ids": data.draw(st.lists(st.sampled_from([*ids, "nobody", 7]), min_size=1, max_size=3))
        }
        meant: dict[str, Any] = {"filter": data.draw(st.sampled_from([{"filters": []}, case.body.get("filter") or {}]))}
        chosen = data.draw(st.sampled_from([named, meant]))
        case.body = {**kept, "target": "crm", "resource": "contacts", "callback_url": "", **chosen}


def aim_subscription(case: Case[Any], data: st.DataObject, _: list[str]) -> None:
    if isinstance(case.body, dict):
        case.body = {**case.body, "hook_url": NOBODY, "target": data.draw(st.sampled_from(["", "crm"]))}


AIMS = {
    "/v1/operations": aim_operation,
    "/hooks/{name}": aim_hook,
    "/v1/checkpoints": aim_checkpoint,
    "/v1/subscriptions": aim_subscription,
}


def test_what_the_document_allows_is_answered_as_it_says(there: There) -> None:
    for method, path in OPERATIONS:
        asked(there, method, path, POSITIVE, FEW)


def test_what_the_document_does_not_allow_is_refused_as_it_says(there: There) -> None:
    for method, path in OPERATIONS:
        if can_be_wrong(method, path):
            asked(there, method, path, NEGATIVE, FEW)


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE], ids=lambda mode: mode.value)
def test_what_is_there_is_reached_and_answered_as_the_document_says(there: There, mode: GenerationMode) -> None:
    for method, path in AIMED:
        if mode is POSITIVE or can_be_wrong(method, path):
            statuses = asked(there, method, path, mode, MORE, aimed=True)
            assert mode is NEGATIVE or path.startswith("/to/") or statuses & {200, 201, 202}, (path, statuses)


SHOWN = [route.path for route in PAGES if isinstance(route, Route) and "GET" in (route.methods or ())]
MEMBERS = "page limit search verdict read ids except_ids fields on_conflict target scenario day status after".split()
VALUES = st.text(max_size=20) | st.sampled_from(["0", "1", "2", "9999999", "wait", "conflict", "crm", "2026-01-31"])
QUERIES = st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=4)


def test_no_query_makes_a_page_fail(there: There) -> None:
    """Pages are not in the document: of them it is only asked that they are pages, also where they refuse."""
    with httpx2.Client(base_url=there.guard.url, headers={"accept": "text/html"}, timeout=30) as http:
        http.post("/sign-in", data={"key": KEY})
        assert http.get("/").status_code == 200

        @seed(SEED)
        @settings(max_examples=40, deadline=None, database=None, phases=[Phase.generate])
        @given(path=st.sampled_from(["/revert/{token}", *SHOWN]), query=QUERIES)
        def ask(path: str, query: dict[str, str]) -> None:
            reply = http.get(path.format(**there.known(path)), params=query)
            kind = reply.headers.get("content-type", "").partition(";")[0]
            assert reply.status_code < 500, (path, query)
            assert reply.status_code == 303 or kind in ("text/html", "text/csv", "text/event-stream"), (path, query)

        ask()


@pytest.mark.heavy
@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), AIMED)
def test_many_requests_of_each_kind_are_answered_as_the_document_says(
    there: There, method: str, path: str, mode: GenerationMode
) -> None:
    asked(there, method, path, mode, MANY, aimed=True)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_command_line_of_schemathesis_finds_nothing(mode: str, tmp_path: Path) -> None:
    """With its own phases; it prints the request where it fails."""
    with stage(tmp_path) as there:
        assert_nothing_is_found(there.guard.url, mode, tmp_path)


def assert_nothing_is_found(url: str, mode: str, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "st"), "run", f"{url}/openapi.json", "--url", url, "--mode", mode]
    command += ["--header", f"Guard-Key: {KEY}", "--header", "Prefer: wait=2", "--phases", "coverage,fuzzing"]
    command += ["--seed", str(SEED)]
    command += [
        "--max-examples",
        {"positive": "40", "negative": "200"}[mode],
        "--continue-on-failure",
        "--checks",
        ",".join([*ANSWERED, "unsupported_method"]),
    ]
    command += ["--suppress-health-check", "all", "--no-color", "--request-timeout", "30"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stdout[-8000:]
