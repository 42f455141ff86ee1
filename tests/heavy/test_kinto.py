"""A real system that has no handler of its own, Kinto, behind Guard by settings alone (docs/handlers/rest.md).

It runs in a virtual environment of its own, since it needs other versions of what Guard needs.
"""

import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.assembly import assemble
from guard.settings import parse
from tests.handlers.test_rest_conformance import KINTO
from tests.servers import free_port, process
from tests.world import PUBLIC_URL, World, guarded, path_of

pytestmark = pytest.mark.heavy

_VERSION = "kinto==26.5.0"
_INSTALL_S = 240
_CREDENTIAL = base64.b64encode(b"guard:secret").decode()
_INI = """
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = secret-of-this-test
kinto.bucket_create_principals = system.Authenticated
multiauth.policies = basicauth
multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy
"""
PATHS = {name: each["path"] for name, each in KINTO["objects"].items()}  # type: ignore[attr-defined]
COUNT = 60
"""More than two of its batches, and more than one reading."""


@pytest.fixture(scope="module")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, ending with the version of its API."""
    folder, port = tmp_path_factory.mktemp("kinto"), free_port()
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)  # noqa: S603
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _VERSION]
    installed = subprocess.run(command, timeout=_INSTALL_S, capture_output=True, check=False)  # noqa: S603
    if installed.returncode:
        pytest.skip(f"{_VERSION} could not be installed here: pip ended with {installed.returncode}")
    (folder / "kinto.ini").write_text(_INI.format(port=port))
    url = f"http://127.0.0.1:{port}/v1"
    started = [str(folder / "venv/bin/kinto"), "start", "--ini", str(folder / "kinto.ini")]
    with process(started, {}, f"{url}/"):
        yield url


@pytest.fixture
async def vendor(kinto: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Kinto itself, with fresh records."""
    async with httpx2.AsyncClient(base_url=kinto, headers={"authorization": f"Basic {_CREDENTIAL}"}) as http:
        await http.delete("/buckets/hr")
        await http.put("/buckets/hr")
        for name, path in PATHS.items():
            await http.put(f"/buckets/hr/collections/{name}")
            for n in range(COUNT):
                made = await http.put(f"{path}/{name}{n}", json={"data": record(name, n)})
                assert made.status_code == 201, made.text
        yield http


@pytest.fixture
async def world(kinto: str, vendor: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GUARD_TEST_KINTO", _CREDENTIAL)
    target = {
        "handler": "rest",
        "base_url": kinto,
        "credential": {"env": "GUARD_TEST_KINTO"},
        "options": {**KINTO, "authorization": "Basic {credential}", "batch": {"path": "/batch", "max": 25}},
        "limits": {"requests": 1000, "per_s": 1.0, "concurrency": 4},
    }
    settings = {
        "server": {"public_url": PUBLIC_URL, "secret_keys": [{"env": "GUARD_TEST_SECRET"}]},
        "store": {"url": f"file:{tmp_path}/store"},
        "clients": [{"name": "tests", "key": {"env": "GUARD_TEST_KEY"}, "targets": ["kinto"]}],
        "targets": {"kinto": target},
    }
    guard = assemble(parse(settings, "test settings"))
    async with guarded(guard, None, kinto) as there:  # type: ignore[arg-type]  # there is no sandbox
        yield there


def record(name: str, n: int) -> dict[str, Any]:
    return {"name": f"{name} {n}", "email": f"{name}{n}@example.com", "labels": ["candidate"], "hidden": n}


async def rows(vendor: httpx2.AsyncClient, name: str) -> dict[str, dict[str, Any]]:
    listed = (await vendor.get(PATHS[name])).raise_for_status().json()["data"]
    return {row["id"]: {k: v for k, v in row.items() if k not in ("id", "last_modified")} for row in listed}


async def operate(
    world: World, resource: str, action: str, records: Any, *, status: int = 200, **more: Any
) -> dict[str, Any]:
    body = {"target": "kinto", "resource": resource, "action": action, "records": records, **more}
    reply = await world.http.post("/v1/operations", json=body)
    assert reply.status_code == status, reply.text
    return dict(reply.json())


@pytest.mark.parametrize("name", PATHS)
async def test_a_bulk_update_is_taken_back_but_for_what_people_changed(
    world: World, vendor: httpx2.AsyncClient, name: str
) -> None:
    before = await rows(vendor, name)
    records = [{"id": id_, "fields": {"name": "Wrong", "age": 7, "labels": ["x"]}} for id_ in before]
    ran = await operate(world, name, "update", [*records, {"id": "nobody", "fields": {"name": "?"}}])
    assert (ran["status"], ran["records_applied"], ran["records_failed"]) == ("partial", COUNT, 1)
    theirs = await vendor.patch(f"{PATHS[name]}/{name}3", json={"data": {"name": "Ann", "email": "ann@example.com"}})
    assert theirs.status_code == 200

    report = await world.revert(ran)

    assert (report["records_restored"], report["records_conflicted"]) == (COUNT - 1, 1)
    after = {id_: {k: v for k, v in row.items() if v is not None} for id_, row in (await rows(vendor, name)).items()}
    assert after == {**before, f"{name}3": {**before[f"{name}3"], "name": "Ann", "email": "ann@example.com"}}


@pytest.mark.parametrize("name", PATHS)
async def test_deleted_records_come_back_with_their_ids_and_created_ones_go(
    world: World, vendor: httpx2.AsyncClient, name: str
) -> None:
    before = await rows(vendor, name)
    written = {id_: {k: v for k, v in row.items() if k != "hidden"} for id_, row in before.items()}
    named = [{"id": id_} for id_ in before]
    refused = await operate(world, name, "delete", named, status=422)
    assert "without hidden" in refused["failures"][0]["message"]
    deleted = await operate(world, name, "delete", named, accept_irreversible=True)
    made = await operate(world, name, "create", [{"fields": {"name": f"New {n}"}} for n in range(COUNT)])
    assert len(await rows(vendor, name)) == COUNT

    await world.revert(made)
    await world.revert(deleted)

    assert await rows(vendor, name) == written


async def test_a_record_that_is_replaced_gets_back_what_the_request_left_out(
    world: World, vendor: httpx2.AsyncClient
) -> None:
    before, path = await rows(vendor, "people"), f"{PATHS['people']}/people1"
    whole = {"data": {"name": "Only this"}}
    refused = await world.http.put(f"/to/kinto{path}", json=whole)
    assert (refused.json()["code"], refused.json()["written"]) == ("irreversible", "nothing")
    assert "without hidden" in refused.json()["detail"]

    reply = await world.http.put(f"/to/kinto{path}", json=whole, headers={"Guard-Accept-Irreversible": "1"})
    assert reply.status_code == 200, reply.text
    assert (await rows(vendor, "people"))["people1"] == {"name": "Only this"}

    await world.http.post(path_of(reply.headers["guard-revert-url"]))

    restored = {k: v for k, v in before["people1"].items() if k != "hidden"}
    assert (await rows(vendor, "people"))["people1"] == restored
