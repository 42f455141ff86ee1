"""A Guard in front of a HubSpot sandbox, and what stories about it share."""

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from guard.assembly import assemble
from scenarios.sandboxes.common import running
from scenarios.sandboxes.hubspot import HubSpot, Settings, create_app
from tests.handlers.hubspot_account import OPTIONS
from tests.world import World, guarded, settings

DEFINITIONS = "/crm/v3/properties/"


@asynccontextmanager
async def hubspot(
    folder: Path, *, records: int = 20, account: Settings | None = None, options: Mapping[str, str] = OPTIONS
) -> AsyncIterator[World]:
    app = create_app(records=records, limits=None, settings=account)
    with running(app) as url:
        made = settings(f"file:{folder}/store", url, pace={"requests": 10_000, "per_s": 1.0, "concurrency": 10})
        chosen = {"handler": "hubspot", "options": options}
        targets = {name: target.model_copy(update=chosen) for name, target in made.targets.items()}
        guard = assemble(made.model_copy(update={"targets": targets}))
        async with guarded(guard, app.state.sandbox, url) as world:
            yield world


def account(world: World) -> HubSpot:
    vendor = world.sandbox.vendor
    assert isinstance(vendor, HubSpot)
    return vendor


def rows(world: World, kind: str = "contacts") -> dict[str, dict[str, Any]]:
    """A copy of the account's records without the server's own times."""
    found = copy.deepcopy(account(world).store.tables[kind].rows)
    stamps = ("updatedAt", "hs_v2_date_entered_current_stage")
    return {id_: {n: v for n, v in row.items() if n not in stamps} for id_, row in found.items()}


def everything(world: World) -> dict[str, Any]:
    return {kind: rows(world, kind) for kind in account(world).store.tables}


def links(world: World, id_: str) -> list[str]:
    """A record's links, as "456/HUBSPOT_DEFINED/279"."""
    row = account(world).links.table.rows.get(id_)
    return list(row["links"]) if row else []


async def asked(world: World, *, since: int = 0) -> list[str]:
    """What HubSpot was asked after the first `since` requests, but for its definitions: 'METHOD path'."""
    requests = (await world.vendor_requests())[since:]
    return [f"{each['method']} {each['path']}" for each in requests if not each["path"].startswith(DEFINITIONS)]
