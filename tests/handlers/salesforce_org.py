"""What tests of Salesforce share: a handler that has read the sandbox's descriptions, and a Guard in front of it."""

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from guard.assembly import assemble
from handlers.base import Reply
from handlers.salesforce import Salesforce
from scenarios.sandboxes import salesforce as sandbox
from scenarios.sandboxes import salesforce_seed as seed
from scenarios.sandboxes.common import RateLimits, running
from tests.world import World, guarded
from tests.world import settings as world_settings

OPTIONS = {"domain": "sandbox.my.salesforce.com"}
DATA = "/services/data/v60.0"
MANY = f"{DATA}/composite/sobjects"


def described(*kinds: str) -> Salesforce:
    handler = Salesforce(OPTIONS)
    listed = [{"name": kind, "keyPrefix": prefix} for kind, prefix in seed.PREFIXES.items()]
    handler.learn("", [answered({"sobjects": listed})])
    for kind in kinds:
        handler.learn(kind, [answered(seed.describe(kind))])
    return handler


def answered(content: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(content).encode())


def member(kind: str, **fields: Any) -> dict[str, Any]:
    """One record of a collection."""
    return {"attributes": {"type": kind}, **fields}


@asynccontextmanager
async def org(
    folder: Path, *, records: int = 20, login: bool = False, limits: RateLimits | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Guard in front of a Salesforce sandbox. `login`: with a token that is fetched; settings are the sandbox's."""
    app = sandbox.create_app(records=records, limits=limits, settings=sandbox.Settings(**settings))
    with running(app) as url:
        made = world_settings(f"file:{folder}/store", url, timeout_s=10.0)
        changed: dict[str, Any] = {"handler": "salesforce", "options": OPTIONS}
        if login:
            changed["options"] = {**OPTIONS, "client_id": sandbox.CLIENT[0]}
            changed["credential"] = SecretStr(sandbox.CLIENT[1])
        targets = {name: target.model_copy(update=changed) for name, target in made.targets.items()}
        guard = assemble(made.model_copy(update={"targets": targets}))
        async with guarded(guard, app.state.sandbox, url) as world:
            yield world


def vendor(world: World) -> sandbox.Salesforce:
    assert isinstance(world.sandbox.vendor, sandbox.Salesforce)
    return world.sandbox.vendor


def configure(world: World, **settings: Any) -> None:
    vendor(world).settings = replace(vendor(world).settings, **settings)


def rows(world: World, kind: str = "Contact") -> dict[str, dict[str, Any]]:
    """A copy of the records without the server's own times."""
    stamps = ("LastModifiedDate", "SystemModstamp")
    found = copy.deepcopy(dict(vendor(world).store.tables[kind].rows))
    return {id_: {name: v for name, v in row.items() if name not in stamps} for id_, row in found.items()}


def everything(world: World) -> dict[str, dict[str, dict[str, Any]]]:
    return {kind: rows(world, kind) for kind in seed.OBJECTS}


async def calls(world: World, *, since: int = 0) -> list[str]:
    """What the vendor was asked after the first `since` requests, but for descriptions: 'METHOD path'."""
    described = ("/describe", f"{DATA}/sobjects")
    asked = [each for each in await world.vendor_requests() if not str(each["path"]).endswith(described)]
    bare = [f"{each['method']} {str(each['path']).partition('?')[0]}" for each in asked[since:]]
    return [call.replace(DATA, "").replace("/composite", "") for call in bare]


async def writes(world: World) -> list[dict[str, Any]]:
    return [each for each in await world.vendor_requests() if each["applied"]]


async def through(
    world: World, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
) -> httpx2.Response:
    """One of the vendor's own requests, sent through Guard."""
    address = path if path.startswith("/services") else DATA + path
    return await world.http.request(method, f"/to/crm{address}", json=body, params=query, headers=headers or {})


def url_of(reply: httpx2.Response) -> dict[str, Any]:
    return {"revert_url": reply.headers["guard-revert-url"]}
