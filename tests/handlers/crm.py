"""What stories about HighLevel share: calls through the pass-through, and the sandbox's state in a shape to compare."""

import copy
from typing import Any

import httpx2

from tests.world import World

_STAMPS = ("createdAt", "updatedAt", "lastStatusChangeAt", "lastStageChangeAt")


async def through(
    world: World, method: str, path: str, body: Any = None, *, accept: bool = False, run_key: str = ""
) -> httpx2.Response:
    """One of the vendor's own requests, sent through Guard."""
    headers = {"guard-run-key": run_key} if run_key else {}
    if accept:
        headers["guard-accept-irreversible"] = "true"
    return await world.http.request(method, f"/to/crm{path}", json=body, headers=headers)


def answer_of(reply: httpx2.Response) -> dict[str, Any]:
    """What World.revert and World.plan need of a pass-through's reply."""
    return {"revert_url": reply.headers["guard-revert-url"], "run": reply.headers["guard-run"]}


def deals(world: World) -> dict[str, dict[str, Any]]:
    """A copy of the opportunities without the server's own times."""
    rows = copy.deepcopy(dict(world.opportunities))
    return {id_: {n: v for n, v in row.items() if n not in _STAMPS} for id_, row in rows.items()}


def dnd(world: World, id_: str) -> dict[str, Any]:
    """A contact's do-not-disturb channels that are not simply off."""
    settings: dict[str, Any] = world.contacts[id_].get("dndSettings", {})
    return {channel: setting for channel, setting in settings.items() if setting["status"] != "inactive"}


async def calls(world: World, *, since: int = 0) -> list[str]:
    """What the vendor was asked after the first `since` requests: 'METHOD path', ids left out."""
    known = {*world.contacts, *world.opportunities}
    asked = []
    for request in (await world.vendor_requests())[since:]:
        path = str(request["path"]).partition("?")[0]
        asked.append(f"{request['method']} " + "/".join("*" if part in known else part for part in path.split("/")))
    return asked


async def refusals(world: World) -> list[int]:
    """The vendor's answers that were refusals."""
    return [request["status"] for request in await world.vendor_requests() if request["status"] >= 400]


async def configure(world: World, **settings: Any) -> None:
    """Set what the owner of the vendor's account can set."""
    async with httpx2.AsyncClient() as http:
        reply = await http.post(f"{world.sandbox_url}/_sandbox/settings", json=settings)
        assert reply.status_code == 200, reply.text


def without(rows: dict[str, dict[str, Any]], *ids: str) -> dict[str, dict[str, Any]]:
    return {id_: row for id_, row in rows.items() if id_ not in ids}
