"""/openapi.json is valid, whole, and true; /docs shows it to people.

That answers are as it says is looked at wherever a test asks Guard something (tests/conforming.py).
"""

import re
from collections.abc import Iterable
from pathlib import Path

import httpx2
import jsonschema_rs
import pytest
from pydantic import BaseModel
from schemathesis.specs.openapi.definitions import OPENAPI_31
from starlette.routing import BaseRoute, Mount, Route

from guard.core.errors import CODES
from guard.web.api.doors import DOORS
from guard.web.api.parts import HEADERS, PARAMETERS
from guard.web.app import PAGES
from guard.web.checkpoints import CheckpointModel
from guard.web.operations import OperationModel
from guard.web.pages import PAGE_HEADERS
from guard.web.revert import RevertModel
from guard.web.subscriptions import SubscriptionModel
from tests.conforming import api, conforming
from tests.web.doors import KINDS
from tests.world import PUBLIC_URL, World, path_of, world

FIRST = "80odnXVE9BAcgXuiNEr1"


def test_the_document_is_openapi_3_1() -> None:
    errors = [error.message for error in jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(api())]
    assert errors == []


async def test_it_is_there_without_a_key_and_names_this_guard(small_world: World) -> None:
    reply = await small_world.http.get("/openapi.json", headers={"guard-key": ""})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == api()
    assert reply.json()["servers"] == [{"url": PUBLIC_URL}]


def addresses(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    there = set()
    for route in routes:
        if isinstance(route, Mount):
            there.add(("get", f"{route.path}/{{file}}"))
        elif isinstance(route, Route):
            path = route.path.replace(":path}", "}")
            methods = {method.lower() for method in route.methods or ()}
            # HEAD comes with every GET; only the pass-through, where it is the vendor's, has a word to say about it.
            kept = methods if path.startswith("/to/") else methods - {"head"}
            there |= {(method, path) for method in kept}
    return {(method, path) for method, path in there if path != "/to/{target}"}  # the same door without a path


async def test_every_door_for_programs_is_in_it_and_no_page(small_world: World) -> None:
    told = {(method, path) for path, methods in api()["paths"].items() for method in methods}
    assert addresses(small_world.app.routes) - addresses(PAGES) == told
    assert addresses(PAGES) <= addresses(small_world.app.routes)


@pytest.mark.parametrize(("method", "path"), sorted(addresses(PAGES)))
async def test_what_is_not_in_it_is_a_page_or_loaded_by_one_and_opened_by_no_key(
    small_world: World, method: str, path: str
) -> None:
    done = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Lisbon"}}])
    real = {"run": done["id"], "token": path_of(done["revert_url"]).rpartition("/")[2], "file": "guard.css"}
    async with small_world.http.stream(method.upper(), path.format(**real), headers={"accept": "*/*"}) as reply:
        kind = reply.headers.get("content-type", "").partition(";")[0]
        if reply.status_code == 303:
            assert re.search("/sign-in|/revert/", reply.headers["location"])
        else:
            assert kind in ("text/html", "text/css", "text/event-stream") or reply.status_code == 401


def test_every_door_has_a_name_of_its_own() -> None:
    names = [door["operationId"] for methods in api()["paths"].values() for door in methods.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("model", [OperationModel, CheckpointModel, RevertModel, SubscriptionModel])
def test_every_member_that_a_request_may_have_is_explained(model: type[BaseModel]) -> None:
    told = api()["components"]["schemas"][model.__name__]["properties"]
    assert [name for name in model.model_fields if not told[name].get("description")] == []


def test_every_code_of_an_error_is_told_of_by_some_door() -> None:
    assert set(CODES) - {code for door in DOORS for code in door.all_codes} == set()


def test_nothing_is_defined_that_no_door_names() -> None:
    text = str(api()["paths"])
    unused = [name for name in PARAMETERS if f"parameters/{name}'" not in text]
    assert unused + [name for name in HEADERS if f"headers/{name}'" not in text] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_examples_of_an_operation_can_be_sent_as_they_are(small_world: World, kind: str) -> None:
    told = api()["paths"]["/v1/operations"]["post"]["requestBody"]["content"][KINDS[kind]]["example"]
    if kind == "json":
        reply = await small_world.http.post("/v1/operations", json=told)
    else:
        query = {"target": "crm", "resource": "contacts", "action": "update"}
        headers = {"content-type": KINDS[kind]}
        reply = await small_world.http.post("/v1/operations", content=told, params=query, headers=headers)
    assert (reply.status_code, reply.json()["records_applied"]) == (200, 1)


@pytest.mark.parametrize("path", ["/v1/checkpoints", "/v1/subscriptions"])
async def test_the_example_of_a_request_can_be_sent_as_it_is(tmp_path: Path, path: str) -> None:
    told = api()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    async with world(tmp_path, callbacks={"secret": {"env": "GUARD_TEST_CALLBACK_SECRET"}}) as there:
        assert (await there.http.post(path, json=told)).status_code in (200, 201)


async def test_an_answer_that_is_not_as_it_says_is_noticed() -> None:
    """The check behind all other tests is one."""
    request = httpx2.Request("GET", f"{PUBLIC_URL}/healthz")
    json = {"content-type": "application/json"}
    await conforming(httpx2.Response(200, json={"status": "ok"}, request=request))
    for wrong in (
        httpx2.Response(200, json={"status": "ok", "more": 1}, request=request),
        httpx2.Response(200, json={"status": "fine"}, request=request),
        httpx2.Response(200, json={}, request=request),
        httpx2.Response(200, text="ok", request=request),
        httpx2.Response(201, content=b'{"status": "ok"}', headers=json, request=request),
    ):
        with pytest.raises(AssertionError):
            await conforming(wrong)


async def test_a_problem_with_a_code_that_its_door_does_not_know_is_noticed() -> None:
    request = httpx2.Request("GET", f"{PUBLIC_URL}/v1/runs/x")
    told = {"type": "urn:guard:error:not_found", "title": "x", "status": 404, "detail": "x", "written": "nothing"}
    headers = {"content-type": "application/problem+json"}
    await conforming(httpx2.Response(404, json={**told, "code": "not_found"}, headers=headers, request=request))
    with pytest.raises(AssertionError, match="unknown_target"):
        await conforming(
            httpx2.Response(404, json={**told, "code": "unknown_target"}, headers=headers, request=request)
        )


# The page


async def test_the_page_shows_every_door_parameter_status_and_shape(small_world: World) -> None:
    reply = await small_world.http.get("/docs", headers={"guard-key": ""})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path, methods in api()["paths"].items():
        for method, door in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in reply.text
            (section,) = re.findall(
                rf'<section aria-labelledby="{door["operationId"]}">.*?</section>', reply.text, re.DOTALL
            )
            assert [status for status in door["responses"] if f"<dt>{status}</dt>" not in section] == []
    assert [name for name in api()["components"]["schemas"] if f'<h3 id="{name}">' not in reply.text] == []
    links = set(re.findall(r'href="#([^"]+)"', reply.text))
    assert links <= set(re.findall(r'id="([^"]+)"', reply.text))


async def test_the_page_runs_no_script_and_loads_nothing_from_elsewhere(small_world: World) -> None:
    reply = await small_world.http.get("/docs")
    assert {name: reply.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    assert "<script" not in reply.text
    assert re.findall(r'(?:src|href)="(?![/#])', reply.text) == []
    assert '<meta name="viewport" content="width=device-width' in reply.text
