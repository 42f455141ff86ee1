"""Tryton's traps: a test for each, with its name."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.assembly import assemble
from guard.target.http import HttpTarget
from handlers.base import Call, Reply
from scenarios.sandboxes import tryton as vendor
from scenarios.sandboxes.common import running
from tests.handlers.tryton_database import ADDRESS, OPTIONS, PARTY, body
from tests.world import World, guarded, settings

RECORDS = 40
IDS = [str(1000 + n) for n in range(RECORDS)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    app = vendor.create_app(records=RECORDS)
    with running(app) as url:
        made = settings(f"file:{tmp_path}/store", url, pace={"requests": 10_000, "per_s": 1.0, "concurrency": 10})
        chosen = {"handler": "tryton", "options": OPTIONS}
        targets = {name: target.model_copy(update=chosen) for name, target in made.targets.items()}
        guard = assemble(made.model_copy(update={"targets": targets}))
        async with guarded(guard, app.state.sandbox, url) as there:
            yield there


def rows(world: World, model: str = PARTY) -> dict[str, Any]:
    """What is there, without Tryton's own times."""
    told = world.sandbox.vendor.store.tables[model].rows
    return {id_: {n: v for n, v in row.items() if n not in ("written", "stamp")} for id_, row in told.items()}


async def operate(world: World, action: str, records: Any, *, resource: str = PARTY, **more: Any) -> dict[str, Any]:
    return await world.operate(action, records, resource=resource, accept_irreversible=True, **more)


async def through(world: World, request: Any, **headers: str) -> httpx2.Response:
    return await world.http.post(f"/to/crm{vendor.PATH}", json=request, headers=headers)


async def calls(world: World) -> list[str]:
    return [str(each["path"]).removeprefix(vendor.PATH) for each in await world.vendor_requests()]


def named(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": id_, "fields": values} for id_ in IDS]


def overtaken(world: World, monkeypatch: pytest.MonkeyPatch, id_: str, fields: dict[str, Any], verb: str) -> None:
    """Somebody edits a record when Guard has read it and is about to write."""
    target = world.guard.target("crm")
    assert isinstance(target, HttpTarget)
    send = target.client.write
    edits = [1]

    async def write(call: Call, *args: Any) -> Reply:
        if call.body["method"].endswith(verb) and edits and edits.pop():
            await world.edit(PARTY, id_, fields)
        return await send(call, *args)

    monkeypatch.setattr(target.client, "write", write)


async def test_a_read_of_many_does_not_fail_for_one_that_is_not_there(world: World) -> None:
    ran = await operate(world, "update", [*named({"name": "x"}), {"id": "77", "fields": {"name": "x"}}])
    assert (ran["records_applied"], [each["code"] for each in ran["failures"]]) == (RECORDS, ["not_found"])
    assert f"model.{PARTY}.read" not in await calls(world)


async def test_what_is_not_active_is_there_all_the_same(world: World) -> None:
    await world.edit(PARTY, "1003", {"active": 0})
    before = rows(world)
    ran = await operate(world, "update", [{"id": "1003", "fields": {"active": True}}])
    assert (ran["status"], rows(world)["1003"]["active"]) == ("applied", 1)
    await world.revert(ran)
    assert rows(world) == before


async def test_a_record_that_was_deactivated_and_changed_needs_two_writes_to_come_back(world: World) -> None:
    """Tryton refuses to write most fields of what is not active, also in the call that makes it active."""
    before = rows(world)
    ran = await operate(world, "update", named({"name": "x", "active": False}))
    report = await world.revert(ran)
    assert (report["records_restored"], report["records_failed"], rows(world)) == (RECORDS, 0, before)
    assert (await calls(world)).count(f"model.{PARTY}.write") == 3


async def test_a_deleted_record_that_was_not_active_comes_back_active_and_that_is_told(world: World) -> None:
    await world.edit(PARTY, "1003", {"active": 0})
    refused = await world.operate("delete", [{"id": "1003"}], resource=PARTY, status=422)
    assert "comes back active" in str(refused)
    ran = await operate(world, "delete", [{"id": "1003"}])
    (told,) = (await world.revert(ran))["recreated"]
    assert (rows(world)[told["new_id"]]["active"], "active" in told["fields_lost"]) == (1, True)


async def test_errors_come_with_200(world: World) -> None:
    ran = await operate(world, "update", [{"id": "1001", "fields": {"code": "new"}}], status=422)
    assert (ran["code"], ran["failures"][0]["code"]) == ("operation_failed", "rejected")
    assert {each["status"] for each in await world.vendor_requests()} == {200}


async def test_deleting_what_is_not_there_is_answered_as_done(world: World) -> None:
    ran = await operate(world, "delete", [{"id": "1001"}, {"id": "77"}])
    assert (ran["records_applied"], [each["code"] for each in ran["failures"]]) == (1, ["not_found"])


async def test_a_thousand_records_are_written_by_the_fewest_calls_whatever_their_values(world: World) -> None:
    records = [{"id": id_, "fields": {"name": f"n{id_}"}} for id_ in IDS]
    before = rows(world)
    ran = await operate(world, "update", records)
    least = [f"model.{PARTY}.search_read", f"model.{PARTY}.write", f"model.{PARTY}.search_read"]
    known = ["common.db.login", f"model.{PARTY}.fields_get"]
    assert await calls(world) == [*known, *least]
    await world.revert(ran)
    assert (await calls(world), rows(world)) == ([*known, *least, *least], before)


async def test_one_record_that_is_refused_keeps_no_other_of_its_call_from_being_written(world: World) -> None:
    before, records = rows(world), named({"name": "x"})
    records[11] = {"id": IDS[11], "fields": {"code": "new"}}
    ran = await operate(world, "update", records)
    assert (ran["records_applied"], [each["id"] for each in ran["failures"]]) == (RECORDS - 1, [IDS[11]])
    writes = (await calls(world)).count(f"model.{PARTY}.write")
    assert writes <= 1 + 2 * 6  # two for each halving of forty
    await world.revert(ran)
    assert rows(world) == before


async def test_creations_of_one_call_are_cut_like_writes(world: World) -> None:
    before = rows(world)
    names = [{"fields": {"name": "refused" if n == 4 else f"New {n}"}} for n in range(9)]
    ran = await operate(world, "create", names)
    assert (ran["records_applied"], ran["records_failed"], len(rows(world))) == (8, 1, RECORDS + 8)
    await world.revert(ran)
    assert rows(world) == before


async def test_a_write_that_somebody_got_in_before_is_refused_and_only_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtaken(world, monkeypatch, "1005", {"name": "Ann"}, "write")
    ran = await operate(world, "update", named({"name": "Wrong"}))
    assert [(each["id"], each["code"]) for each in ran["failures"]] == [("1005", "changed_meanwhile")]
    assert {id_: row["name"] for id_, row in rows(world).items()} == {**dict.fromkeys(IDS, "Wrong"), "1005": "Ann"}


async def test_a_revert_that_somebody_got_in_before_leaves_their_edit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(world)
    ran = await operate(world, "update", named({"name": "Wrong"}))
    overtaken(world, monkeypatch, "1005", {"name": "Ann"}, "write")
    report = await world.revert(ran)
    assert (report["records_restored"], report["records_failed"]) == (RECORDS - 1, 1)
    assert rows(world) == {**before, "1005": {**before["1005"], "name": "Ann"}}


async def test_a_deletion_that_somebody_got_in_before_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    overtaken(world, monkeypatch, "1005", {"name": "Ann"}, "delete")
    ran = await operate(world, "delete", [{"id": "1005"}], status=422)
    assert (ran["failures"][0]["code"], rows(world)["1005"]["name"]) == ("changed_meanwhile", "Ann")


async def test_a_session_that_ends_is_renewed_and_every_write_happens_once(world: World) -> None:
    before = rows(world)
    world.sandbox.vendor.settings = vendor.Settings(sessions_left=2)
    ran = await operate(world, "update", named({"name": "x"}))
    assert (ran["records_applied"], (await calls(world)).count("common.db.login")) == (RECORDS, 2)
    world.sandbox.vendor.settings = vendor.Settings(sessions_left=1)
    await world.revert(ran)
    assert (rows(world), (await calls(world)).count("common.db.login")) == (before, 3)
    applied = [each for each in await world.vendor_requests() if each["applied"]]
    assert len(applied) == 2


async def test_a_deleted_record_comes_back_under_a_new_id_and_without_what_was_deleted_with_it(world: World) -> None:
    before = rows(world)
    assert [row["party"] for row in rows(world, ADDRESS).values()] == [1002]
    ran = await operate(world, "delete", [{"id": "1002"}])
    report = await world.revert(ran)
    (told,) = report["recreated"]
    assert (told["old_id"], "addresses" in told["fields_lost"], rows(world, ADDRESS)) == ("1002", True, {})
    again = {**rows(world)[told["new_id"]], "id": "1002", "created": before["1002"]["created"]}
    assert again == before["1002"]


async def test_a_created_party_that_got_an_address_since_is_left(world: World) -> None:
    ran = await operate(world, "create", [{"fields": {"name": "New"}}])
    (id_,) = set(rows(world)) - set(IDS)
    await operate(world, "create", [{"fields": {"party": id_, "city": "Oslo"}}], resource=ADDRESS)
    report = await world.revert(ran)
    assert (report["records_conflicted"], id_ in rows(world)) == (1, True)


async def test_what_refers_to_a_record_that_comes_back_follows_it(world: World) -> None:
    key = {"guard-run-key": "both"}
    await operate(world, "delete", [{"id": "3000"}], resource=ADDRESS, headers=key)
    ran = await operate(world, "delete", [{"id": "1002"}], headers=key)
    report = await world.revert(ran)
    new = {each["old_id"]: each["new_id"] for each in report["recreated"]}
    assert [row["party"] for row in rows(world, ADDRESS).values()] == [int(new["1002"])]


async def test_numbers_and_dates_come_back_exactly(world: World) -> None:
    before = rows(world)
    values = {"credit_limit_amount": {"__class__": "Decimal", "decimal": "0.10"}}
    ran = await operate(world, "update", named(values))
    assert rows(world)["1001"]["credit_limit_amount"] == values["credit_limit_amount"]
    await world.revert(ran)
    assert rows(world) == before
    refused = await world.operate("update", named({"credit_limit_amount": 0.1}), resource=PARTY, status=422)
    assert (refused["code"], rows(world)) == ("invalid_record", before)


async def test_links_are_taken_back_by_difference(world: World) -> None:
    ran = await operate(world, "update", [{"id": "1001", "fields": {"categories": [2002]}}])
    assert rows(world)["1001"]["categories"] == [2002]
    await world.edit(PARTY, "1001", {"categories": [2002, 2003]})
    await world.revert(ran)
    assert sorted(rows(world)["1001"]["categories"]) == [2000, 2001, 2003]


async def test_records_within_a_record_are_refused_for_they_are_written_by_themselves(world: World) -> None:
    before = rows(world)
    refused = await world.operate("update", named({"addresses": [3000]}), resource=PARTY, status=422)
    reply = await through(world, body(PARTY, "create", [{"name": "N", "addresses": [["create", [{"city": "Oslo"}]]]}]))
    assert (refused["code"], reply.json()["code"]) == ("invalid_record", "invalid_record")
    told = "as party.address: create, write or delete those, with party naming the record that each belongs to."
    assert (told in refused["detail"], told in reply.json()["detail"]) == (True, True)
    assert rows(world) == before


async def test_a_parent_and_its_records_written_by_themselves_in_one_run_go_back_together(world: World) -> None:
    before, addresses = rows(world), rows(world, ADDRESS)
    key = {"guard-run-key": "with lines"}
    parent = await operate(world, "create", [{"fields": {"name": "New"}}], headers=key)
    (made,) = set(rows(world)) - set(before)
    lines = [{"fields": {"party": made, "city": city}} for city in ("Oslo", "Turku")]
    await operate(world, "create", lines, resource=ADDRESS, headers=key)
    assert len(rows(world, ADDRESS)) == len(addresses) + 2

    report = await world.revert(parent)

    assert (report["status"], rows(world), rows(world, ADDRESS)) == ("reverted", before, addresses)


@pytest.mark.parametrize("command", [["delete", [2000]], ["create", [{"name": "x"}]], ["write", [2000], {}], ["add"]])
async def test_commands_that_write_the_linked_records_are_refused(world: World, command: list[Any]) -> None:
    reply = await through(world, body(PARTY, "write", [1001], {"categories": [command]}))
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_record")


@pytest.mark.parametrize("verb", ["copy", "import_data", "deactivate", "replace", "restore_history"])
async def test_methods_that_guard_does_not_know_are_refused(world: World, verb: str) -> None:
    before = rows(world)
    for method in (f"model.{PARTY}.{verb}", "wizard.party.replace.execute", "report.party.label.execute", "system.x"):
        reply = await through(world, {"id": 1, "method": method, "params": [[1001], {}]})
        assert (reply.status_code, reply.json()["code"]) == (422, "unknown_route")
    assert (rows(world), await calls(world)) == (before, [])


async def test_what_is_no_json_rpc_is_refused(world: World) -> None:
    for content in (b"", b"[]", b"{", b'{"method": 5}', b"<methodCall/>", b'{"method": "a/b"}'):
        reply = await world.http.post(f"/to/crm{vendor.PATH}", content=content)
        assert (reply.status_code, reply.json()["code"]) == (422, "unknown_route"), content
    for method, path in (("GET", "/crm/r/x"), ("GET", "/"), ("POST", "/other/rpc/"), ("GET", vendor.PATH)):
        reply = await world.http.request(method, f"/to/crm{path}", json=body(PARTY, "read", [1], ["name"]))
        assert reply.json()["code"] == "unknown_route", path
    assert await calls(world) == []


@pytest.mark.parametrize("id_", [True, 1.5, "x", -1, 0, None])
async def test_ids_that_are_none_are_refused(world: World, id_: Any) -> None:
    reply = await through(world, body(PARTY, "write", [id_], {"name": "x"}))
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_record")


async def test_reads_pass_untouched(world: World) -> None:
    for verb, params in (("read", [[1001], ["name"]]), ("search", [[], 0, 2]), ("fields_get", [[]])):
        reply = await through(world, body(PARTY, verb, *params))
        assert (reply.status_code, reply.json()["id"], "guard-run" in reply.headers) == (200, 1, False)
    assert await calls(world) == ["common.db.login", *(f"model.{PARTY}.{v}" for v in ("read", "search", "fields_get"))]


async def test_a_context_that_guard_does_not_read_with_is_refused(world: World) -> None:
    """In another language it would be another text that is written."""
    request = {"id": 1, "method": f"model.{PARTY}.write", "params": [[1001], {"name": "x"}, {"language": "fr"}]}
    assert (await through(world, request)).json()["code"] == "invalid_record"


async def test_a_passed_write_keeps_the_callers_own_lock(world: World) -> None:
    lock = {"_timestamp": {f"{PARTY},1001": "1.0"}}
    request = {"id": 1, "method": f"model.{PARTY}.write", "params": [[1001], {"name": "x"}, lock]}
    reply = await through(world, request)
    assert (reply.status_code, reply.json()["error"], reply.headers["guard-status"]) == (
        200,
        vendor.CONCURRENCY,
        "failed",
    )


async def test_a_request_without_an_id_is_answered_by_status_and_understood(world: World) -> None:
    before = rows(world)
    request = {"method": f"model.{PARTY}.write", "params": [[1001], {"name": "x"}, {}]}
    reply = await through(world, request)
    assert (reply.status_code, reply.content, reply.headers["guard-status"]) == (200, b"null", "applied")
    await world.settle()
    await world.revert({"revert_url": reply.headers["guard-revert-url"]})
    assert rows(world) == before


async def test_a_model_that_is_not_there_is_told(world: World) -> None:
    told = await world.operate("update", [{"id": "1", "fields": {"a": 1}}], resource="no.such", status=422)
    assert told["code"] == "unknown_resource"


async def test_a_wrong_password_is_told_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    target = world.guard.target("crm")
    assert isinstance(target, HttpTarget)
    monkeypatch.setattr(target.client._access, "_credential", "wrong")
    told = await world.operate("update", named({"name": "x"}), resource=PARTY, status=502)
    assert (told["code"], "wrong" in str(told)) == ("target_refused", False)
