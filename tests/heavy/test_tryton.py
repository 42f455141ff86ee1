"""A real Tryton behind Guard, with the party module, on SQLite; and whether the sandbox answers as it does.

It runs in a virtual environment of its own. Making its database takes ten seconds to a minute.
"""

import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.assembly import assemble
from guard.settings import parse
from guard.target.http import HttpTarget
from handlers.base import Call
from scenarios.sandboxes import tryton as sandbox
from scenarios.sandboxes.common import running
from tests.servers import free_port, process
from tests.world import PUBLIC_URL, World, guarded

pytestmark = pytest.mark.heavy

_VERSIONS = ("trytond==8.2.*", "trytond-party==8.2.*")
_INSTALL_S = _DATABASE_S = 300
_START_S = 60
_PASSWORD = sandbox.TOKEN
PARTY, CATEGORY, ADDRESS = sandbox.PARTY, sandbox.CATEGORY, sandbox.ADDRESS
COUNT = 40
_ASKED = ["name", "active", "lang", "categories"]


class Vendor:
    """Tryton, or its sandbox, asked without Guard."""

    def __init__(self, http: httpx2.AsyncClient, user: str, session: str) -> None:
        self.http = http
        self.headers = {"authorization": "Session " + b64encode(f"{user}:{session}".encode()).decode()}

    async def ask(self, method: str, *params: Any, named: bool = True) -> httpx2.Response:
        body = {"method": method, "params": list(params), **({"id": 1} if named else {})}
        return await self.http.post(sandbox.PATH, json=body, headers=self.headers)

    async def result(self, model: str, verb: str, *params: Any) -> Any:
        reply = await self.ask(f"model.{model}.{verb}", *params, {"active_test": False})
        assert "result" in reply.json(), reply.text
        return reply.json()["result"]

    async def people(self, ids: list[int]) -> dict[int, Any]:
        rows = await self.result(PARTY, "search_read", [["id", "in", ids]], 0, None, None, [*_ASKED])
        return {row["id"]: row for row in rows}


async def entered(http: httpx2.AsyncClient, user: str) -> Vendor:
    body = {"id": 1, "method": "common.db.login", "params": [user, {"password": _PASSWORD}, "en"]}
    number, session, _ = (await http.post(sandbox.PATH, json=body)).raise_for_status().json()["result"]
    return Vendor(http, user, f"{number}:{session}")


@pytest.fixture(scope="module")
def tryton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("tryton"), free_port()
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)  # noqa: S603
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_VERSIONS]
    installed = subprocess.run(command, timeout=_INSTALL_S, capture_output=True, check=False)  # noqa: S603
    if installed.returncode:
        pytest.skip(f"{' and '.join(_VERSIONS)} could not be installed here: pip ended with {installed.returncode}")
    config, password = folder / "trytond.conf", folder / "password"
    config.write_text(f"[web]\nlisten = 127.0.0.1:{port}\n[database]\nuri = sqlite://\npath = {folder}\n")
    password.write_text(_PASSWORD)
    (folder / f"{sandbox.DATABASE}.sqlite").touch()
    named = ["-c", str(config), "-d", sandbox.DATABASE]
    made = [str(folder / "venv/bin/trytond-admin"), *named, "--email", "a@example.com", "-u", "party"]
    env = {"TRYTONPASSFILE": str(password)}
    subprocess.run([*made, "--activate-dependencies"], timeout=_DATABASE_S, env=env, check=True)  # noqa: S603
    url = f"http://127.0.0.1:{port}"
    with process([str(folder / "venv/bin/trytond"), *named], {}, None):
        _wait_for(url)
        yield url


def _wait_for(url: str) -> None:
    """It has no page that GET could show: whatever it answers will do."""
    deadline = time.monotonic() + _START_S
    while True:
        try:
            httpx2.get(f"{url}/")
        except httpx2.ConnectError:
            assert time.monotonic() < deadline, "trytond does not start"
            time.sleep(0.1)
        else:
            return


@pytest.fixture
async def vendor(tryton: str) -> AsyncIterator[Vendor]:
    async with httpx2.AsyncClient(base_url=tryton, timeout=60) as http:
        yield await entered(http, "admin")


@pytest.fixture
async def ids(vendor: Vendor) -> list[int]:
    """New parties, half of them in a category."""
    known = await vendor.result(CATEGORY, "search", [])
    if not known:
        known = await vendor.result(CATEGORY, "create", [{"name": "Candidate"}, {"name": "Client"}])
    people = [{"name": f"Person {n}", "categories": [["add", known[:1]]] if n % 2 else []} for n in range(COUNT)]
    return list(await vendor.result(PARTY, "create", people))


@pytest.fixture
async def world(tryton: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("GUARD_TEST_TRYTON", _PASSWORD)
    target = {
        "handler": "tryton",
        "base_url": tryton,
        "credential": {"env": "GUARD_TEST_TRYTON"},
        "options": {"database": sandbox.DATABASE, "user": "admin", "keys": {PARTY: "code"}},
        "limits": {"requests": 1000, "per_s": 1.0, "concurrency": 4},
    }
    settings = {
        "server": {"public_url": PUBLIC_URL, "secret_keys": [{"env": "GUARD_TEST_SECRET"}]},
        "store": {"url": f"file:{tmp_path}/store"},
        "clients": [{"name": "tests", "key": {"env": "GUARD_TEST_KEY"}, "targets": ["erp"]}],
        "targets": {"erp": target},
    }
    guard = assemble(parse(settings, "test settings"))
    async with guarded(guard, None, tryton) as there:  # type: ignore[arg-type]  # there is no sandbox
        yield there


async def operate(world: World, action: str, records: Any, *, resource: str = PARTY, **more: Any) -> dict[str, Any]:
    body = {"target": "erp", "resource": resource, "action": action, "records": records, **more}
    reply = await world.http.post("/v1/operations", json=body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def target_of(world: World) -> HttpTarget:
    target = world.guard.target("erp")
    assert isinstance(target, HttpTarget)
    return target


def wrong(ids: list[int], categories: list[int]) -> list[dict[str, Any]]:
    fields = {"name": "Wrong", "lang": 1, "active": False, "categories": categories}
    return [{"id": str(id_), "fields": fields} for id_ in ids]


async def test_a_bulk_update_is_taken_back_but_for_what_people_changed(
    world: World, vendor: Vendor, ids: list[int]
) -> None:
    before, known = await vendor.people(ids), await vendor.result(CATEGORY, "search", [])
    ran = await operate(world, "update", [*wrong(ids, known[1:2]), {"id": "999999", "fields": {"name": "?"}}])
    assert (ran["status"], ran["records_applied"], ran["records_failed"]) == ("partial", COUNT, 1)
    assert {row["name"] for row in (await vendor.people(ids)).values()} == {"Wrong"}
    await vendor.result(PARTY, "write", [ids[3]], {"active": True})
    await vendor.result(PARTY, "write", [ids[3]], {"name": "Ann"})

    report = await world.revert(ran)

    assert (report["records_restored"], report["records_conflicted"]) == (COUNT - 1, 1)
    assert await vendor.people(ids) == {**before, ids[3]: {**before[ids[3]], "name": "Ann"}}


async def test_created_records_go_and_deleted_ones_come_back_under_new_ids(
    world: World, vendor: Vendor, ids: list[int]
) -> None:
    before = await vendor.people(ids)
    created = await operate(world, "create", [{"fields": {"name": f"New {n}"}} for n in range(COUNT)])
    await world.revert(created)
    assert await vendor.result(PARTY, "search", [["name", "like", "New %"]]) == []
    deleted = await operate(world, "delete", [{"id": id_} for id_ in ids], accept_irreversible=True)
    assert await vendor.people(ids) == {}

    report = await world.revert(deleted)

    assert (report["records_restored"], report["records_failed"]) == (COUNT, 0)
    new = [int(each["new_id"]) for each in report["recreated"]]
    shown = (await vendor.people(new)).values()
    keys = sorted(str({**row, "id": 0}) for row in shown)
    assert keys == sorted(str({**row, "id": 0}) for row in before.values())


async def test_what_a_client_sends_as_commands_of_the_parent_goes_back_where_it_is_written_by_itself(
    world: World, vendor: Vendor, ids: list[int]
) -> None:
    """The table of docs/handlers/tryton.md."""

    async def addresses() -> list[Any]:
        shown = ["party", "city", "street_unstructured"]
        found = await vendor.result(ADDRESS, "search_read", [["party", "in", ids]], 0, None, None, shown)
        return sorted(sorted((n, str(v)) for n, v in row.items() if n != "id") for row in found)

    hers = await vendor.result(
        ADDRESS, "create", [{"party": ids[0], "city": city} for city in ("Oslo", "Turku", "Bergen")]
    )
    before, there = await addresses(), str(hers[0])
    for action, records in (
        (
            "create",
            [{"fields": {"party": str(ids[0]), "city": "Lund"}}, {"fields": {"party": str(ids[0]), "city": "Umea"}}],
        ),
        ("update", [{"id": there, "fields": {"city": "Wrong"}}]),
        ("delete", [{"id": there}]),
    ):
        ran = await operate(world, action, records, resource=ADDRESS, accept_irreversible=action == "delete")
        assert (ran["records_applied"], await addresses() != before) == (len(records), True), ran
        report = await world.revert(ran)
        assert (report["records_restored"], await addresses()) == (len(records), before), (action, report)


async def test_an_address_does_not_move_to_another_party_whoever_asks(
    world: World, vendor: Vendor, ids: list[int]
) -> None:
    """So a command that adds to a parent or removes from it is nothing that Guard keeps people from."""
    (hers,) = await vendor.result(ADDRESS, "create", [{"party": ids[0], "city": "Oslo"}])
    for command in (["add", [hers]], ["remove", [hers]]):
        owner = ids[1] if command[0] == "add" else ids[0]
        told = await vendor.ask(f"model.{PARTY}.write", [owner], {"addresses": [command]}, {})
        assert "error" in told.json(), told.text
    body = {"target": "erp", "resource": ADDRESS, "action": "update"}
    records = [{"id": str(hers), "fields": {"party": str(ids[1])}}]
    reply = await world.http.post("/v1/operations", json={**body, "records": records})
    assert "not allowed to modify the field" in reply.json()["failures"][0]["message"]


async def test_a_parent_and_its_records_of_one_run_go_back_together(world: World, vendor: Vendor) -> None:
    key = {"guard-run-key": "with addresses"}

    async def create(resource: str, *records: dict[str, Any]) -> dict[str, Any]:
        body = {"target": "erp", "resource": resource, "action": "create", "records": [{"fields": r} for r in records]}
        reply = await world.http.post("/v1/operations", json=body, headers=key)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    await create(PARTY, {"name": "Parent of two"})
    (parent,) = await vendor.result(PARTY, "search", [["name", "=", "Parent of two"]])
    ran = await create(ADDRESS, *({"party": str(parent), "city": city} for city in ("Oslo", "Turku")))

    report = await world.revert(ran)

    assert (report["status"], report["records_restored"]) == ("reverted", 3)
    assert await vendor.result(PARTY, "search", [["name", "=", "Parent of two"]]) == []
    assert await vendor.result(ADDRESS, "search", [["party", "=", parent]]) == []


async def test_what_tryton_refuses_for_one_record_keeps_no_other_from_being_written(
    world: World, vendor: Vendor, ids: list[int]
) -> None:
    before = await vendor.people(ids)
    records = wrong(ids, [])
    records[7] = {"id": str(ids[7]), "fields": {"code": "another"}}

    ran = await operate(world, "update", records)

    assert (ran["records_applied"], ran["records_failed"]) == (COUNT - 1, 1)
    assert "not allowed to modify the field" in ran["failures"][0]["message"]
    assert (await world.revert(ran))["records_restored"] == COUNT - 1
    assert await vendor.people(ids) == before


async def test_a_session_that_ends_in_mid_run_is_renewed_and_all_is_accounted_for(
    world: World, vendor: Vendor, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, target = await vendor.people(ids), target_of(world)
    send, ended = target.client.write, list[int]()

    async def logged_out(call: Call, *args: Any) -> Any:
        token = target.client._access._token
        if token and not ended:
            session = Vendor(vendor.http, "admin", b64decode(token).decode().partition(":")[2])
            ended.append((await session.ask("common.db.logout")).status_code)
        return await send(call, *args)

    monkeypatch.setattr(target.client, "write", logged_out)
    ran = await operate(world, "update", wrong(ids, []))
    assert (ended, ran["records_applied"]) == ([200], COUNT)
    ended.clear()

    report = await world.revert(ran)

    assert (ended, report["records_restored"], report["records_failed"]) == ([200], COUNT, 0)
    assert await vendor.people(ids) == before


async def test_a_write_that_somebody_got_in_before_is_refused_by_tryton_itself(
    world: World, vendor: Vendor, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_of(world)
    send, edited = target.client.write, list[Call]()

    async def overtaken(call: Call, *args: Any) -> Any:
        if not edited:
            edited.append(call)
            await vendor.result(PARTY, "write", [ids[2]], {"name": "Ann"})
        return await send(call, *args)

    monkeypatch.setattr(target.client, "write", overtaken)
    ran = await operate(world, "update", wrong(ids, []))

    assert [(each["id"], each["code"]) for each in ran["failures"]] == [(str(ids[2]), "changed_meanwhile")]
    names = {id_: row["name"] for id_, row in (await vendor.people(ids)).items()}
    assert names == {id_: "Ann" if id_ == ids[2] else "Wrong" for id_ in ids}


@pytest.mark.parametrize("named", [True, False], ids=["with an id", "without"])
async def test_the_vendors_own_write_is_passed_on_and_taken_back(
    world: World, vendor: Vendor, ids: list[int], *, named: bool
) -> None:
    before = await vendor.people(ids)
    params = [ids[:2], {"name": "Wrong"}, ids[2:], {"active": False}, {}]
    body = {**({"id": 9} if named else {}), "method": f"model.{PARTY}.write", "params": params}

    reply = await world.http.post(f"/to/erp{sandbox.PATH}", json=body)

    assert (reply.status_code, reply.json()) == (200, {"id": 9, "result": None} if named else None)
    assert {row["active"] for row in (await vendor.people(ids[2:])).values()} == {0}
    await world.settle()
    await world.revert({"revert_url": reply.headers["guard-revert-url"]})
    assert await vendor.people(ids) == before


def shape(value: Any) -> Any:
    """Names and kinds, without what they hold."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


async def asked(vendor: Vendor, user: str) -> dict[str, Any]:
    """What it answers, in shapes, to the same requests as the other."""
    code = f"C{id(vendor)}"
    (id_,) = await vendor.result(PARTY, "create", [{"name": " Kept blanks ", "code": code}])
    shown = [*_ASKED, "code", "addresses", "rec_name", "create_date", "_timestamp"]
    lock = {"_timestamp": {f"{PARTY},{id_}": "1.0"}}
    requests: dict[str, tuple[Any, ...]] = {
        "found": (f"model.{PARTY}.search_read", [["id", "in", [id_, 10**12]]], 0, None, None, shown, {}),
        "none": (f"model.{PARTY}.search_read", [["id", "in", []]], 0, None, None, shown, {}),
        "missing": (f"model.{PARTY}.read", [id_, 10**12], ["name"], {}),
        "written": (f"model.{PARTY}.write", [id_], {"name": "A"}, [id_], {"active": False}, {}),
        "inactive": (f"model.{PARTY}.search", [["id", "=", id_]], 0, None, None, {}),
        "outdated": (f"model.{PARTY}.write", [id_], {"name": "B"}, lock),
        "odd field": (f"model.{PARTY}.write", [id_], {"nosuch": "B"}, {}),
        "unknown": (f"model.{PARTY}.write", [10**12], {"name": "B"}, {}),
        "code": (f"model.{PARTY}.write", [id_], {"code": "B"}, {}),
        "twice": (f"model.{PARTY}.write", [id_, id_], {"name": "B"}, {}),
        "taken": (f"model.{PARTY}.create", [{"name": "B", "code": code}], {}),
        "no context": (f"model.{PARTY}.read", [id_], ["name"]),
        "no method": (f"model.{PARTY}.nosuch", [id_], {}),
        "no model": ("model.no.such.read", [id_], ["name"], {}),
        "not there": (f"model.{PARTY}.delete", [10**12], {}),
        "deleted": (f"model.{PARTY}.delete", [id_], {}),
    }
    told: dict[str, Any] = {}
    for name, (method, *params) in requests.items():
        for named in (True, False):
            told[f"{name}, {'named' if named else 'bare'}"] = _told(await vendor.ask(method, *params, named=named))
    stranger = Vendor(vendor.http, user, "1:nobody")
    told["stranger"] = _told(await stranger.ask(f"model.{PARTY}.read", [id_], ["name"], {}))
    return told


def _told(reply: httpx2.Response) -> Any:
    if reply.headers["content-type"] != "application/json" and not reply.text.startswith(("{", "[", "null")):
        return reply.status_code, reply.text.split("\n")[2:3]
    content = reply.json()
    error = content.get("error") if isinstance(content, dict) else None
    return reply.status_code, shape(content), error and str(error[0]).partition("'")[0]


async def test_the_sandbox_answers_in_the_shapes_of_the_real_one(vendor: Vendor) -> None:
    with running(sandbox.create_app(records=6)) as url:
        async with httpx2.AsyncClient(base_url=url) as http:
            its = await asked(await entered(http, sandbox.USER), sandbox.USER)
    assert its == await asked(vendor, "admin")


async def test_the_sandbox_describes_its_fields_as_the_real_one_does(vendor: Vendor) -> None:
    for model, fields in sandbox.FIELDS.items():
        real = await vendor.result(model, "fields_get", [], 0)
        for name, told in fields.items():
            if name != "credit_limit_amount":  # of a module that is not there
                decides = {n: told[n] for n in told if n != "states"}
                assert {n: real[name].get(n) for n in decides} == decides, (model, name)
