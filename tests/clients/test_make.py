"""Make.com: the blueprints keep to what is known of Make, and what they send is what a real Guard takes."""

import copy
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients import make_app, make_blueprint
from tests.clients.make_blueprint import complaints, walk
from tests.clients.make_runner import Scenario, Stopped
from tests.target.test_callbacks import Receiver, receiver
from tests.world import KEY, PUBLIC_URL, World, world

__all__ = ["receiver"]

FOLDER = Path(__file__).parent.parent.parent / "scenarios" / "make" / "blueprints"
BLUEPRINTS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
CALLBACKS = {"secret": {"env": "GUARD_TEST_CALLBACK_SECRET"}, "allow": ["127.0.0.0/8"]}


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, callbacks=CALLBACKS) as made:
        yield made


def test_there_is_a_blueprint_for_each_way_to_use_guard() -> None:
    assert set(BLUEPRINTS) == {"pass-through", "bulk", "bulk-from-rows", "bracket", "undo-on-error"}


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_keeps_to_what_is_known_of_make(name: str) -> None:
    assert complaints(BLUEPRINTS[name]) == []


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_is_filled_in_at_one_place(name: str) -> None:
    """Address and key stand in the second module, as what they are: to be filled in."""
    settings = BLUEPRINTS[name]["flow"][1]["mapper"]["variables"]
    values = {each["name"]: each["value"] for each in settings}
    assert values["guard_key"] == "PASTE-THE-CLIENT-KEY-HERE"
    assert json.dumps(BLUEPRINTS[name]).count(values["guard_address"]) == 1


def module(blueprint: dict[str, Any], id_: int) -> dict[str, Any]:
    return next(each for each in walk(blueprint["flow"]) if each["id"] == id_)


def put(id_: int, *path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(blueprint: dict[str, Any]) -> None:
        place: Any = module(blueprint, id_) if id_ else blueprint
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def without(id_: int, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(blueprint: dict[str, Any]) -> None:
        place: Any = module(blueprint, id_) if id_ else blueprint
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return change


def swapped(one: int, two: int) -> Callable[[dict[str, Any]], None]:
    def change(blueprint: dict[str, Any]) -> None:
        flow = blueprint["flow"]
        flow[one], flow[two] = flow[two], flow[one]

    return change


def with_key(blueprint: dict[str, Any]) -> None:
    module(blueprint, 4)["mapper"]["headers"][0]["value"] = KEY


def without_an_end(blueprint: dict[str, Any]) -> None:
    del module(blueprint, 5)["onerror"][-1]


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "no name": ("bulk", put(0, "name", value=" "), "no name"),
    "no flow": ("bulk", put(0, "flow", value=[]), "flow of modules"),
    "metadata of another version": ("bulk", put(0, "metadata", "version", value=2), "metadata.version"),
    "a scenario's member is missing": ("bulk", without(0, "metadata", "scenario", "maxErrors"), "maxErrors"),
    "a scenario's member of another type": ("bulk", put(0, "metadata", "scenario", "dlq", value=1), "dlq"),
    "an id twice": ("bulk", put(5, "id", value=4), "stands twice"),
    "an id that is a text": ("bulk", put(5, "id", value="5"), "whole number"),
    "no place in the designer": ("bulk", without(5, "metadata", "designer", "x"), "x and y"),
    "a module that is not known": ("bulk", put(6, "module", value="http:MakeARequest"), "no such module"),
    "an old version": ("bulk", put(6, "version", value=3), "version is not 4"),
    "no mapper": ("bulk", without(6, "mapper"), "no mapper"),
    "a mapper's member is missing": ("bulk", without(6, "mapper", "parseResponse"), "parseResponse"),
    "a parameter is missing": ("bulk", without(6, "parameters", "authenticationType"), "authenticationType"),
    "no trigger first": ("bulk", swapped(0, 1), "no trigger"),
    "a trigger in the middle": ("bulk", swapped(0, 1), "may only come first"),
    "a reference to what comes later": ("bulk", put(5, "mapper", "object", value="{{6.data}}"), "can be had here"),
    "a reference to nothing": ("bulk", put(5, "mapper", "object", value="{{44.array}}"), "can be had here"),
    "a reference to what an aggregator swallowed": (
        "bulk", put(5, "mapper", "object", value="{{3.id}}"), "can be had here",
    ),
    "a reference to a name that is not given": ("bulk", put(5, "mapper", "object", value="{{4.records}}"), "gives"),
    "a reference to a whole module": ("bulk", put(5, "mapper", "object", value="{{4}}"), "names no member"),
    "a function that is not known here": ("bulk", put(5, "mapper", "object", value="{{json(4.array)}}"), "not a ref"),
    "a setting that is not there": ("bulk", put(6, "mapper", "url", value="{{2.guard_url}}/v1"), "gives"),
    "half a reference": ("bulk", put(5, "mapper", "object", value="{{4.array"), "braces"),
    "braces that touch": ("bulk", put(5, "mapper", "object", value="{{{4.array}}}"), "braces"),
    "an aggregator without its iterator": ("bulk", put(4, "parameters", "feeder", value=2), "feeder"),
    "a method that is none": ("bulk", put(6, "mapper", "method", value="POST"), "method"),
    "a timeout beyond what Make takes": ("bulk", put(6, "mapper", "timeout", value=301), "timeout"),
    "plain http": ("bulk", put(6, "mapper", "url", value="http://guard.example.com/v1/operations"), "https"),
    "a body that is not JSON": ("bulk", put(6, "mapper", "jsonStringBodyContent", value='{"a": {{5.json}}'), "JSON"),
    "a body of another type": ("bulk", put(6, "mapper", "contentType", value="custom"), "contentType"),
    "the key in a header": ("pass-through", with_key, "key stands in"),
    "a secret somewhere": ("bulk", put(2, "mapper", "scope", value="k3yQ8vX2mN5pR7tW9zB4cD6f"), "secret"),
    "a connection of somebody's": ("bulk", put(6, "parameters", "__IMTCONN__", value=123), "account"),
    "an error route that sees the failed module": (
        "undo-on-error", put(6, "mapper", "url", value="{{5.data.revert_url}}"), "can be had here",
    ),
    "an error route without an end": ("undo-on-error", without_an_end, "what becomes of the scenario"),
    "a directive outside of an error route": ("undo-on-error", put(8, "module", value="builtin:Ignore"), "only end"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_blueprint_is_found(name: str) -> None:
    which, change, expected = BROKEN[name]
    blueprint = copy.deepcopy(BLUEPRINTS[which])
    change(blueprint)
    found = complaints(blueprint)
    assert any(expected in each for each in found), found


@pytest.mark.parametrize("rubbish", [None, [], {}, {"flow": {}}, {"flow": []}])
def test_what_is_no_blueprint_is_found(rubbish: Any) -> None:
    assert complaints(rubbish)


# What the blueprints send


def scenario(there: World, name: str, *, next_step: str = "", execution: str = "e1") -> Scenario:
    async def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> httpx2.Response:
        if not url.startswith(PUBLIC_URL):
            async with httpx2.AsyncClient() as http:
                return await http.request(method, url, headers=headers, content=body)
        transport = httpx2.ASGITransport(there.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport) as http:
            return await http.request(method, url, headers=headers, content=body)

    settings = {"guard_address": PUBLIC_URL, "guard_key": KEY, "next_step_url": next_step}
    return Scenario(BLUEPRINTS[name], send, settings, execution)


def some(there: World, count: int = 3) -> list[str]:
    return list(there.contacts)[:count]


async def test_a_write_passes_through_and_its_answer_carries_the_way_back(there: World) -> None:
    id_ = some(there)[0]
    before = there.seen()
    running = scenario(there, "pass-through")
    await running.run({"contact_id": id_, "fields": {"firstName": 'Quo"te', "city": "Näherland"}})
    assert (there.contacts[id_]["firstName"], there.contacts[id_]["city"]) == ('Quo"te', "Näherland")
    await there.settle()
    assert running.answered["status"] == "applied"
    await there.revert(running.answered)
    assert there.seen() == before


@pytest.mark.parametrize("name", ["bulk", "bulk-from-rows"])
async def test_many_records_are_written_and_taken_back(there: World, name: str) -> None:
    before = there.seen()
    rows = [{"id": id_, "city": 'O"slo \\ 1', "phone": f"+471234567{n}"} for n, id_ in enumerate(some(there))]
    records = [{"id": row["id"], "fields": {"city": row["city"], "phone": row["phone"]}} for row in rows]
    running = scenario(there, name)
    await running.run({"rows": rows, "records": records})
    assert (running.answered["status"], running.answered["records_applied"]) == ("applied", 3)
    assert [there.contacts[id_]["city"] for id_ in some(there)] == ['O"slo \\ 1'] * 3
    assert (await there.revert(running.answered))["status"] == "reverted"
    assert there.seen() == before


async def test_an_execution_that_make_repeats_writes_nothing_twice(there: World) -> None:
    records = [{"id": id_, "fields": {"city": "Once"}} for id_ in some(there)]
    answers = []
    for _ in range(2):
        running = scenario(there, "bulk")
        await running.run({"records": records})
        answers.append(running.answered)
    assert answers[0] == answers[1]
    other = scenario(there, "bulk", execution="e2")
    await other.run({"records": records})
    assert other.answered["revert_url"] != answers[0]["revert_url"]


async def test_a_step_that_fails_takes_the_write_back_by_itself(there: World, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    by.status = 500
    before = there.seen()
    running = scenario(there, "undo-on-error", next_step=url)
    records = [{"id": id_, "fields": {"city": "Undone"}} for id_ in some(there)]
    with pytest.raises(Stopped) as stopped:
        await running.run({"records": records})
    assert stopped.value.by == "builtin:Rollback"
    assert there.seen() == before
    runs = (await there.http.get("/v1/runs")).json()["runs"]
    assert [run["kind"] for run in runs] == ["revert", "run"]
    assert len(by.received) == 1


async def test_guards_refusal_stops_the_scenario_with_its_sentence(there: World) -> None:
    with pytest.raises(Stopped, match=r"jobTitel.*Nothing was written"):
        await scenario(there, "bulk").run({"records": [{"id": some(there)[0], "fields": {"jobTitel": "x"}}]})


async def test_native_modules_in_a_bracket_are_taken_back_when_one_fails_or_later(there: World) -> None:
    before = there.seen()
    ids = some(there)

    async def native(id_: int) -> None:
        if id_ == 5:
            await there.edit("contacts", ids[0], {"city": "Native"})

    async def failing(id_: int) -> None:
        await native(id_)
        if id_ == 5:
            raise Stopped("[500] the vendor is ill")

    running = scenario(there, "bracket")
    running.on_the_way = native
    bundles = await running.run({"ids": ids})
    assert (bundles[8]["data"]["records_applied"], bundles[8]["data"]["records_unchanged"]) == (1, 2)
    assert (await there.revert(bundles[8]["data"]))["records_restored"] == 1
    assert there.seen() == before
    running = scenario(there, "bracket", execution="e2")
    running.on_the_way = failing
    with pytest.raises(Stopped, match="an error route"):
        await running.run({"ids": ids})
    assert there.seen() == before


# The custom app


def test_the_custom_app_keeps_to_what_is_known_of_make() -> None:
    assert make_app.complaints(make_app.APP) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("makecomapp.json", '"action"', '"actions"', "no kind of module"),
        ("makecomapp.json", '"webhook": "runFinished"', '"webhook": "other"', "a trigger has a webhook"),
        ("makecomapp.json", "seal.samples", "seal.sample", "not there"),
        ("modules/seal/seal.communication.iml.json", "/v1/runs", "https://guard.example.com/v1/runs", "relative"),
        ("modules/seal/seal.communication.iml.json", "parameters.run", "bundle.run", "not known"),
        ("modules/seal/seal.communication.iml.json", '"POST",', '"POST"', "not JSON"),
        ("modules/checkpoint/checkpoint.mappable-params.iml.json", "rpc://listTargets", "rpc://targets", "there is no"),
        ("modules/seal/seal.mappable-params.iml.json", '"text"', '"string"', "no type"),
        ("general/base.iml.json", "RateLimitError", "TooManyRequests", "type that Make knows"),
        ("modules/groups.json", '"seal"', '"revertRun"', "each module once"),
    ],
)
def test_a_broken_app_is_found(tmp_path: Path, file: str, old: str, new: str, expected: str) -> None:
    app = shutil.copytree(make_app.APP, tmp_path / "app")
    text = (app / file).read_text()
    assert old in text
    (app / file).write_text(text.replace(old, new, 1))
    found = make_app.complaints(app)
    assert any(expected in each for each in found), found


def test_comments_are_taken_out_of_a_file_and_addresses_stay() -> None:
    text = '{"a": "https://x/*y*/", // one\n "b": /* two */ 1}'
    assert json.loads(make_app.without_comments(text)) == {"a": "https://x/*y*/", "b": 1}


async def asked(there: World, kind: str, name: str, part: str, **given: Any) -> Any:
    """Send what a communication of the app describes; its output, or the error that the user would see."""
    base = make_app.read(make_app.APP / "general" / "base.iml.json")
    known = {"connection": {"address": PUBLIC_URL, "key": KEY}, **given}
    described = make_app.code(make_app.APP, kind, name, part)
    request = make_app.evaluated({name: each for name, each in described.items() if name != "response"}, known)
    reply = await there.http.request(
        request["method"],
        make_app.evaluated(base["baseUrl"], known) + request["url"],
        headers={**make_app.evaluated(base["headers"], known), **request.get("headers", {})},
        json=request.get("body"),
        params=request.get("qs"),
    )
    known |= {"body": reply.json(), "statusCode": reply.status_code}
    if reply.status_code >= 400:
        error = base["response"]["error"]
        return make_app.evaluated(error.get(str(reply.status_code), error), known)
    response = described.get("response", {})
    if "iterate" in response:
        items = make_app.evaluated(response["iterate"], known)
        return [make_app.evaluated(response["output"], {**known, "item": item}) for item in items]
    return make_app.evaluated(response.get("output", response.get("data", {})), known)


async def communicated(there: World, name: str, **parameters: Any) -> Any:
    return await asked(there, "module", name, "communication", parameters=parameters)


CONTACTS = {"target": "crm", "resource": "contacts", "action": "update", "accept_irreversible": False, "dry_run": False}


async def test_the_apps_modules_write_find_and_take_back(there: World) -> None:
    before = there.seen()
    records = [{"id": id_, "fields": {"city": "By app"}} for id_ in some(there)]
    told = await communicated(there, "runOperation", **CONTACTS, records=records, run_key="x1", scenario="app")
    assert (told["status"], told["records_applied"], told["scenario"]) == ("applied", 3, "app")
    again = await communicated(there, "runOperation", **CONTACTS, records=records, run_key="x1", scenario="app")
    assert again["id"] == told["id"]
    assert (await communicated(there, "getRun", run=told["id"]))["id"] == told["id"]
    assert [run["id"] for run in await communicated(there, "listRuns", target="crm", limit=5)] == [told["id"]]
    foreign = told["revert_url"].replace(PUBLIC_URL, "https://evil.example.com")
    back = await communicated(there, "revertRun", revert_url=foreign, on_conflict="skip", dry_run=False)
    assert (back["status"], there.seen()) == ("reverted", before)


async def test_what_the_app_does_not_ask_for_is_left_to_guards_defaults(there: World) -> None:
    told = await communicated(
        there, "runOperation", **CONTACTS, records=[{"id": some(there)[0], "fields": {"city": "X"}}]
    )
    assert told["scenario"] is None


async def test_the_apps_drop_down_lists_are_filled(there: World) -> None:
    targets = await asked(there, "rpc", "listTargets", "communication")
    assert targets == [{"label": "crm (highlevel)", "value": "crm"}]
    assert {"label": "contacts", "value": "contacts"} in await asked(there, "rpc", "listResources", "communication")
    assert {"label": "tags.add", "value": "tags.add"} in await asked(there, "rpc", "listActions", "communication")


async def test_the_apps_trigger_is_attached_hears_and_is_detached(there: World, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    given = {"parameters": {"statuses": ["applied"]}, "webhook": {"url": url}}
    kept = await asked(there, "webhook", "runFinished", "attach", **given)
    told = await there.operate("update", [{"id": some(there)[0], "fields": {"city": "Heard"}}])
    await there.settle()
    assert [json.loads(body)["id"] for _, body in by.received] == [told["id"]]
    await asked(there, "webhook", "runFinished", "detach", webhook=kept)
    assert (await there.http.get("/v1/subscriptions")).json() == {"subscriptions": []}


async def test_the_apps_errors_are_of_the_kinds_that_make_acts_upon(there: World) -> None:
    refused = await communicated(there, "runOperation", **CONTACTS, records=[{"id": "x", "fields": {"jobTitel": 1}}])
    assert refused["type"] == "DataError"
    assert "jobTitel" in refused["message"]
    await there.fault(match={"method": "GET"}, kind="html", status=200, times=10_000)
    records = [{"id": some(there)[0], "fields": {"city": "X"}}]
    assert (await communicated(there, "runOperation", **CONTACTS, records=records))["type"] == "ConnectionError"


async def test_a_write_whose_outcome_is_not_known_is_not_repeated_by_make(there: World) -> None:
    """ConnectionError would make Make run the scenario again by itself; the message carries the way back instead."""
    await there.fault(kind="drop_after", match={"method": "PUT"})
    url = f"/to/crm/contacts/{some(there)[0]}"
    told = await communicated(there, "makeApiCall", url=url[1:], method="PUT", body={"city": "Lost"})
    assert told["type"] == "RuntimeError"
    assert "/revert/" in told["message"]


async def test_a_bracket_of_the_apps_modules(there: World) -> None:
    ids = some(there)
    begun = await communicated(there, "checkpoint", target="crm", resource="contacts", ids=ids)
    await there.edit("contacts", ids[0], {"city": "Native"})
    sealed = await communicated(there, "seal", run=begun["id"])
    assert (sealed["records_applied"], sealed["records_unchanged"]) == (1, 2)


def test_the_validator_knows_every_module_that_the_blueprints_use() -> None:
    used = {each["module"] for blueprint in BLUEPRINTS.values() for each in walk(blueprint["flow"])}
    assert used <= set(make_blueprint.KINDS)
