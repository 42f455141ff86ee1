"""A Guard in front of a BambooHR sandbox, and what stories about it share."""

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from guard.assembly import assemble
from scenarios.sandboxes import bamboohr as vendor
from scenarios.sandboxes import bamboohr_seed as seed
from scenarios.sandboxes.common import RateLimits, Row, running
from tests.handlers.bamboohr_account import OPTIONS
from tests.world import World, guarded, settings

RECORDS = 6
PEOPLE, ROWS = list(seed.employees(RECORDS, 1)), seed.rows(RECORDS, 1)
IDS = [person["id"] for person in PEOPLE]
ANN, BEN = PEOPLE[3], PEOPLE[4]
TOLD_APART = {"date": "2026-03-01", "jobTitle": "Nurse", "department": "Sales"}
"""A job that nobody in the sandbox has."""


@asynccontextmanager
async def bamboohr_world(
    folder: Path, *, limits: RateLimits | None = None, seed_settings: vendor.Settings | None = None
) -> AsyncIterator[World]:
    app = vendor.create_app(records=RECORDS, limits=limits, settings=seed_settings)
    with running(app) as url:
        made = settings(f"file:{folder}/store", url, pace={"requests": 1000, "per_s": 1.0, "concurrency": 10})
        chosen = {"handler": "bamboohr", "options": OPTIONS}
        targets = {name: target.model_copy(update=chosen) for name, target in made.targets.items()}
        guard = assemble(made.model_copy(update={"targets": targets}))
        async with guarded(guard, app.state.sandbox, url) as world:
            yield world


def rows(world: World, resource: str = "employees") -> Mapping[str, Row]:
    """A copy of the records without the server's own times."""
    found = copy.deepcopy(dict(world.sandbox.vendor.store.tables[resource].rows))
    return {id_: {n: v for n, v in row.items() if n != "lastChanged"} for id_, row in found.items()}


def row_of(table: str, employee: str = ANN["id"], *, place: int = -1) -> Row:
    """A row that an employee has from the start; the newest one unless another is asked for."""
    return [row for row in ROWS[table] if row["employeeId"] == employee][place]


async def operate(world: World, action: str, resource: str, *records: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await world.operate(action, list(records), resource=resource, **more)


async def through(world: World, method: str, path: str, body: Any = None, *, accept: bool = False) -> httpx2.Response:
    """One of the vendor's own requests, sent through Guard; `path` is what follows /api/v1."""
    headers = {"guard-accept-irreversible": "true"} if accept else {}
    return await world.http.request(method, f"/to/crm/api/v1{path}", json=body, headers=headers)


def answer_of(reply: httpx2.Response) -> dict[str, Any]:
    """What World.revert and World.plan need of a pass-through's reply."""
    assert reply.status_code < 300, reply.text
    return {"revert_url": reply.headers["guard-revert-url"], "run": reply.headers["guard-run"]}


async def calls(world: World) -> list[str]:
    """What the vendor was asked, but for the definitions of fields: 'METHOD path' without query and /api/v1."""
    asked = [f"{each['method']} {each['path'].partition('?')[0]}" for each in await world.vendor_requests()]
    return [each.replace("/api/v1", "") for each in asked if "/meta/" not in each]


async def configure(world: World, **changed: Any) -> None:
    """Set what the owner of the vendor's account can set."""
    async with httpx2.AsyncClient() as http:
        reply = await http.post(f"{world.sandbox_url}/_sandbox/settings", json=changed)
        assert reply.status_code == 200, reply.text


async def shown(world: World, name: str, employee: str = ANN["id"]) -> Any:
    """A field of an employee, as a read through Guard shows it."""
    path, headers = f"/to/crm/api/v1/employees/{employee}", {"accept": "application/json"}
    return (await world.http.get(path, params={"fields": name}, headers=headers)).json().get(name)
