"""A Guard in front of a Keap sandbox, and what stories about it share."""

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson

from guard.assembly import assemble
from scenarios.sandboxes import keap as vendor
from scenarios.sandboxes.common import RateLimits, Row, running
from tests.world import World, guarded, settings

STAMPS = ("update_time", "last_updated_time", "modification_time", "pinned_at")


@asynccontextmanager
async def keap_world(
    folder: Path,
    *,
    records: int = 12,
    seed: vendor.Settings | None = None,
    limits: RateLimits | None = None,
) -> AsyncIterator[World]:
    app = vendor.create_app(records=records, limits=limits, settings=seed)
    with running(app) as url:
        made = settings(f"file:{folder}/store", url, pace={"requests": 1000, "per_s": 1.0, "concurrency": 10})
        chosen = {"handler": "keap", "options": {}}
        targets = {name: target.model_copy(update=chosen) for name, target in made.targets.items()}
        guard = assemble(made.model_copy(update={"targets": targets}))
        async with guarded(guard, app.state.sandbox, url) as world:
            yield world


def rows(world: World, resource: str = "contacts") -> Mapping[str, Row]:
    """A copy of the records without the server's own times."""
    found = copy.deepcopy(dict(world.sandbox.vendor.store.tables[resource].rows))
    return {id_: {n: v for n, v in row.items() if n not in STAMPS} for id_, row in found.items()}


async def through(
    world: World, method: str, path: str, body: Any = None, *, accept: bool = False, **query: Any
) -> httpx2.Response:
    """One of the vendor's own requests, sent through Guard; `path` is what follows /rest/v2."""
    headers = {"guard-accept-irreversible": "true"} if accept else {}
    return await world.http.request(method, f"/to/crm/rest/v2{path}", json=body, params=query, headers=headers)


def answer_of(reply: httpx2.Response) -> dict[str, Any]:
    """What World.revert and World.plan need of a pass-through's reply."""
    assert reply.status_code < 300, reply.text
    return {"revert_url": reply.headers["guard-revert-url"], "run": reply.headers["guard-run"]}


async def calls(world: World) -> list[str]:
    """What the vendor was asked, but for its model: 'METHOD path' without the query."""
    asked = [f"{each['method']} {each['path'].partition('?')[0]}" for each in await world.vendor_requests()]
    return [each.replace("/rest/v2", "") for each in asked if not each.endswith("/model")]


async def patches(world: World) -> list[dict[str, Any]]:
    """The bodies of the PATCHes, so far as they are small enough for the log."""
    return [orjson.loads(each["body"]) for each in await world.vendor_requests() if each["method"] == "PATCH"]


async def sell(world: World, contact: str) -> None:
    """Somebody else takes an order of the contact."""
    order = {
        "contact_id": contact,
        "order_title": "A plan",
        "order_time": "2026-01-31T08:00:00Z",
        "order_type": "OFFLINE",
    }
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {vendor.DEFAULT_TOKEN}"}) as http:
        reply = await http.post(f"{world.sandbox_url}/rest/v2/orders", json=order)
        assert reply.status_code == 201, reply.text


async def configure(world: World, **changed: Any) -> None:
    """Set what the owner of the vendor's account can set."""
    async with httpx2.AsyncClient() as http:
        reply = await http.post(f"{world.sandbox_url}/_sandbox/settings", json=changed)
        assert reply.status_code == 200, reply.text
