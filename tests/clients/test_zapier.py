"""The Zapier integration, run by Zapier's own core against a real Guard: every action, the trigger, the search."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from scenarios.sandboxes.highlevel import HighLevel
from tests.clients.zapier_app import APP, Failed, ZapierApp, copied, installed
from tests.target.test_callbacks import Receiver, receiver
from tests.web.serving import Served, served
from tests.world import KEY

__all__ = ["receiver"]

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("zapier")]

TABLES = """
[store]
url = "file:{folder}/store"
[callbacks]
secret = {{ env = "GUARD_TEST_CALLBACK_SECRET" }}
allow = ["127.0.0.0/8"]
"""
OPERATION = "creates.guarded_operation.operation.perform"
REVERT = "creates.revert_run.operation.perform"
FIND = "searches.find_run.operation.perform"
TRIGGER = "triggers.run_finished.operation"
CONTACTS = {"target": "crm", "resource": "contacts", "action": "update"}


@pytest.fixture(scope="module")
def modules() -> Path:
    return installed()


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory, modules: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guard")
    with served(folder, TABLES.format(folder=folder)) as made:
        yield made


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, guard: Served, modules: Path) -> ZapierApp:
    return ZapierApp(copied(tmp_path_factory.mktemp("zapier") / "app", modules), guard.url, KEY)


@pytest.fixture
async def http(guard: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with guard.client() as made:
        yield made


def contacts(guard: Served) -> dict[str, dict[str, Any]]:
    vendor = guard.sandbox.vendor
    assert isinstance(vendor, HighLevel)
    return dict(vendor.contacts.rows)


def lines(guard: Served, city: str, count: int = 3) -> dict[str, Any]:
    """An update as Zapier's editor gives it: line items, with one column beside the id."""
    records = [{"id": id_, "field_0_city": city} for id_ in list(contacts(guard))[:count]]
    return {**CONTACTS, "field_names": "city", "records": records}


def cities(guard: Served) -> list[str]:
    return [row.get("city", "") for row in contacts(guard).values()]


def test_zapier_finds_the_integration_structurally_sound(app: ZapierApp) -> None:
    told = app.zapier("validate", "--without-style")
    assert (told.returncode, "structurally sound" in told.stdout) == (0, True), told.stdout + told.stderr


def test_the_integrations_own_tests_pass(app: ZapierApp) -> None:
    told = app.zapier("test", "--skip-validate")
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"pass [1-9]", told.stdout), told.stdout


def test_versions_are_pinned_exactly_and_no_lock_file_names_a_registry() -> None:
    package = json.loads((APP / "package.json").read_text())
    for version in (*package["dependencies"].values(), *package["devDependencies"].values()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert not (APP / "package-lock.json").exists()


def test_a_connection_is_tested_and_named_by_its_targets(app: ZapierApp) -> None:
    told = app.zapier("invoke", "auth", "test", "--non-interactive")
    assert '"targets": "crm"' in told.stdout, told.stdout + told.stderr


def test_a_wrong_key_asks_for_a_new_connection(app: ZapierApp) -> None:
    wrong = ZapierApp(app.folder, app.address, "a-key-that-nobody-has-set")
    with pytest.raises(Failed, match="client key") as failed:
        wrong.call("authentication.test")
    assert failed.value.kind == "ExpiredAuthError"


def test_an_address_where_no_guard_is_is_told_as_that(app: ZapierApp, guard: Served) -> None:
    with pytest.raises(Failed, match=r"Check the address|There is nothing here"):
        ZapierApp(app.folder, f"{guard.url}/static/guard.css?", KEY).call("authentication.test")


def test_the_key_goes_to_no_other_address(app: ZapierApp, guard: Served) -> None:
    """A link that somebody maps into a field names a run, and never a place to send the key to."""
    with pytest.raises(Failed, match=r"cut|changed|not valid|revert URL"):
        app.call(REVERT, {"run": "http://127.0.0.1:9/revert/run_00000000000000000000000000.x.y"})


def test_drop_down_lists_are_filled_by_guard(app: ZapierApp) -> None:
    assert app.call("triggers.target_list.operation.perform") == [{"id": "crm", "name": "crm (highlevel)"}]
    resources = app.call("triggers.resource_list.operation.perform", {"target": "crm"})
    assert [each["id"] for each in resources] == ["contacts", "opportunities"]
    assert {"id": "tags.add", "name": "tags.add"} in app.call("triggers.action_list.operation.perform")


def test_the_columns_of_records_are_the_fields_that_the_user_named(app: ZapierApp) -> None:
    fields = app.call(
        "creates.guarded_operation.operation.inputFields", {**CONTACTS, "field_names": "first name, city"}
    )
    (records,) = [field for field in fields if field["key"] == "records"]
    columns = {child["key"]: child["label"] for child in records["children"]}
    assert columns == {"id": "Record ID", "field_0_first_name": "first name", "field_1_city": "city"}


def test_line_items_are_written_and_the_revert_link_takes_them_back(app: ZapierApp, guard: Served) -> None:
    before = cities(guard)
    told = app.zapier("invoke", "create", "guarded_operation", "--non-interactive", "-i", json.dumps(lines(guard, "A")))
    answer = json.loads(re.findall(r"^\{.*?^\}", told.stdout, re.DOTALL | re.MULTILINE)[0])
    assert (answer["status"], answer["message"]) == ("applied", "applied: 3 of 3 records were written.")
    assert cities(guard) == ["A"] * 3 + before[3:]
    back = app.zapier(
        "invoke", "create", "revert_run", "--non-interactive", "-i", json.dumps({"run": answer["revert_url"]})
    )
    assert "reverted: 3 records went back." in back.stdout, back.stdout + back.stderr
    assert cities(guard) == before


def test_json_text_is_written_as_it_stands(app: ZapierApp, guard: Served) -> None:
    id_ = next(iter(contacts(guard)))
    text = json.dumps([{"id": id_, "fields": {"tags": ["one", "two"]}}])
    told = app.call(OPERATION, {**CONTACTS, "records_json": text})
    assert contacts(guard)[id_]["tags"] == ["one", "two"]
    assert app.call(REVERT, {"run": told["id"]})["status"] == "reverted"


def test_tags_are_added_by_line_items(app: ZapierApp, guard: Served) -> None:
    id_ = next(iter(contacts(guard)))
    given = {**CONTACTS, "action": "tags.add", "records": [{"id": id_, "tags": "imported, checked"}]}
    told = app.call(OPERATION, given)
    assert {"imported", "checked"} <= set(contacts(guard)[id_]["tags"])
    app.call(REVERT, {"run": told["revert_url"]})
    assert "imported" not in contacts(guard)[id_]["tags"]


def test_a_replayed_step_with_a_run_key_writes_nothing_twice(app: ZapierApp, guard: Served) -> None:
    count = len(contacts(guard))
    given = {
        **CONTACTS, "action": "create", "field_names": "firstName, email", "run_key": "row 12",
        "records": [{"field_0_firstName": "Ada", "field_1_email": "ada.replayed@example.com"}],
    }  # fmt: skip
    zap = {"zap": {"id": "77"}}
    first, again = (app.call(OPERATION, given, meta=zap) for _ in range(2))
    assert (first["id"], first["revert_url"]) == (again["id"], again["revert_url"])
    assert len(contacts(guard)) == count + 1
    other = app.call(OPERATION, lines(guard, "Elsewhere") | {"run_key": "row 12"}, meta={"zap": {"id": "78"}})
    assert other["id"] != first["id"]
    for told in (other, first):
        app.call(REVERT, {"run": told["id"]})
    assert len(contacts(guard)) == count


def test_a_dry_run_writes_nothing_and_says_so(app: ZapierApp, guard: Served) -> None:
    before = cities(guard)
    told = app.call(OPERATION, lines(guard, "Nowhere") | {"dry_run": True})
    assert (told["status"], told["message"]) == ("dry_run", "dry_run: nothing was written.")
    assert cities(guard) == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({**CONTACTS}, "There are no records. Nothing was written."),
        ({**CONTACTS, "records_json": "[{"}, "is not JSON.*Nothing was written"),
        ({**CONTACTS, "records_json": "[]", "records": [{"id": "x"}]}, "not both"),
        ({**CONTACTS, "records_json": '[{"id": "x", "fields": {"jobTitel": 1}}]'}, "jobTitel.*Nothing was written"),
        ({**CONTACTS, "target": "other", "records_json": '[{"id": "x"}]'}, "does not open"),
        ({**CONTACTS, "action": "delete", "records_json": '[{"id": "x"}]'}, "accept_irreversible"),
        (
            {**CONTACTS, "records_json": '[{"id": "doesNotExist", "fields": {"city": "X"}}]'},
            "doesNotExist: .*no record",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(app: ZapierApp, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Failed, match=sentence) as failed:
        app.call(OPERATION, given)
    assert failed.value.kind == "AppError"


def test_a_target_that_cannot_be_read_makes_zapier_hold_the_step_and_try_again(app: ZapierApp, guard: Served) -> None:
    faults = f"{sandbox_url(guard)}/_sandbox/faults"
    httpx2.post(faults, json=[{"match": {"method": "GET"}, "kind": "html", "status": 200, "times": 10_000}])
    try:
        with pytest.raises(Failed, match="Nothing was written") as failed:
            app.call(OPERATION, lines(guard, "Nowhere"))
    finally:
        httpx2.delete(faults)
    assert failed.value.kind == "ThrottledError"


def sandbox_url(guard: Served) -> str:
    found = re.search(r'base_url = "(.*?)"', guard.log.with_name("guard.toml").read_text())
    assert found
    return found[1]


async def test_a_run_that_takes_long_holds_the_zap_until_guard_calls_back(
    app: ZapierApp, guard: Served, receiver: tuple[Receiver, str]
) -> None:
    by, url = receiver
    given = lines(guard, "Later") | {"when_long": "wait"}
    first = await asyncio.to_thread(app.call, OPERATION, given, callback_url=url)
    assert first["status"] in ("running", "applied")

    async def called() -> bool:
        return bool(by.received)

    await guard.until(20, called)
    resumed = await asyncio.to_thread(
        app.call,
        "creates.guarded_operation.operation.performResume",
        given,
        outputData=first,
        cleanedRequest=json.loads(by.received[0][1]),
    )
    assert (resumed["id"], resumed["message"]) == (first["id"], "applied: 3 of 3 records were written.")
    back = await asyncio.to_thread(app.call, REVERT, {"run": first["id"], "when_long": "wait"}, callback_url=url)
    assert back["status"] in ("reverting", "reverted")


async def test_in_the_editor_a_step_never_holds(app: ZapierApp, guard: Served, receiver: tuple[Receiver, str]) -> None:
    by, url = receiver
    given = lines(guard, "Tried") | {"when_long": "wait"}
    told = await asyncio.to_thread(app.call, OPERATION, given, callback_url=url, meta={"isLoadingSample": True})
    assert (told["status"], by.received) == ("applied", [])
    await asyncio.to_thread(app.call, REVERT, {"run": told["id"]})


async def test_a_zap_hears_of_runs_that_finish_until_it_is_turned_off(
    app: ZapierApp, guard: Served, http: httpx2.AsyncClient, receiver: tuple[Receiver, str]
) -> None:
    by, url = receiver
    wanted = {"target": "crm", "statuses": ["applied", "reverted"]}
    made = await asyncio.to_thread(app.call, f"{TRIGGER}.performSubscribe", wanted, targetUrl=url)
    told = await asyncio.to_thread(app.call, OPERATION, lines(guard, "Heard"))

    async def heard() -> bool:
        return bool(by.received)

    await guard.until(20, heard)
    cleaned = json.loads(by.received[0][1])
    (item,) = await asyncio.to_thread(app.call, f"{TRIGGER}.perform", wanted, cleanedRequest=cleaned)
    assert (item["id"], item["message"]) == (told["id"], "applied: 3 of 3 records were written.")
    for _ in range(2):  # Zapier may ask twice
        await asyncio.to_thread(app.call, f"{TRIGGER}.performUnsubscribe", {}, subscribeData=made)
    assert (await http.get("/v1/subscriptions")).json() == {"subscriptions": []}
    back = await asyncio.to_thread(app.call, REVERT, {"run": told["id"]})
    samples = await asyncio.to_thread(app.call, f"{TRIGGER}.performList", {"target": "crm"})
    assert (samples[0]["id"], samples[0]["status"]) == (back["id"], "reverted")
    assert len(by.received) == 1


def test_a_run_is_found_by_its_id_its_link_or_its_name(app: ZapierApp, guard: Served) -> None:
    told = app.call(OPERATION, lines(guard, "Found") | {"scenario": "findable"})
    for run in (told["id"], told["revert_url"]):
        (found,) = app.call(FIND, {"run": run})
        assert found["id"] == told["id"]
    (newest,) = app.call(FIND, {"target": "crm", "scenario": "findable", "status": "applied"})
    assert newest["revert_url"] == told["revert_url"]
    assert app.call(FIND, {"run": "run_00000000000000000000000000"}) == []
    assert app.call(FIND, {"scenario": "no such name"}) == []
    app.call(REVERT, {"run": told["id"]})


async def test_a_persons_later_edit_survives_the_revert_and_is_counted(app: ZapierApp, guard: Served) -> None:
    told = await asyncio.to_thread(app.call, OPERATION, lines(guard, "Wrong"))
    id_ = next(iter(contacts(guard)))
    edit = {"resource": "contacts", "id": id_, "fields": {"city": "Lisbon"}}
    httpx2.post(f"{sandbox_url(guard)}/_sandbox/edit", json=edit)
    refused = {"run": told["id"], "on_conflict": "abort"}
    with pytest.raises(Failed, match="1 records were changed since"):
        await asyncio.to_thread(app.call, REVERT, refused)
    back = await asyncio.to_thread(app.call, REVERT, {"run": told["id"], "on_conflict": "skip"})
    assert (back["status"], back["records_restored"], back["records_conflicted"]) == ("partly_reverted", 2, 1)
    assert "1 were changed since and left alone" in back["message"]
    assert contacts(guard)[id_]["city"] == "Lisbon"


def test_native_steps_between_checkpoint_and_seal_are_taken_back(app: ZapierApp, guard: Served) -> None:
    ids, before = list(contacts(guard))[:2], cities(guard)
    begun = app.call("creates.checkpoint.operation.perform", {**CONTACTS, "ids": ids})
    assert begun["status"] == "running"
    edit = {"resource": "contacts", "id": ids[0], "fields": {"city": "Native"}}
    httpx2.post(f"{sandbox_url(guard)}/_sandbox/edit", json=edit)
    sealed = app.call("creates.seal.operation.perform", {"run": begun["id"]})
    assert (sealed["status"], sealed["records_applied"], sealed["records_unchanged"]) == ("applied", 1, 1)
    assert app.call(REVERT, {"run": begun["revert_url"]})["records_restored"] == 1
    assert cities(guard) == before
