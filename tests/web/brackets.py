"""What tests of brackets share: a checkpoint, what a native module does meanwhile, the seal."""

from typing import Any

import httpx2

from tests.world import World, path_of

RUN_KEY = {"guard-run-key": "execution 1"}


async def checkpoint(world: World, ids: Any = None, *, status: int = 200, **members: Any) -> dict[str, Any]:
    """POST /v1/checkpoints on contacts of `crm`; members go into the body, headers= is known."""
    headers = members.pop("headers", {})
    named = {} if ids is None else {"ids": ids}
    body = {"target": "crm", "resource": "contacts", **named, **members}
    reply = await world.http.post("/v1/checkpoints", json=body, headers=headers)
    assert reply.status_code == status, reply.text
    return dict(reply.json())


async def seal(world: World, told: dict[str, Any], *, status: int = 200) -> dict[str, Any]:
    reply = await world.http.post(f"/v1/runs/{told['id']}/seal")
    assert reply.status_code == status, reply.text
    return dict(reply.json())


async def native(world: World, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A request of the scenario's own module, straight to the vendor."""
    headers = {"authorization": "Bearer sandbox-token", "version": "2021-07-28"}
    async with httpx2.AsyncClient(base_url=world.sandbox_url, headers=headers) as http:
        reply = await http.request(method, path, json=body)
        assert reply.status_code < 300, reply.text
        return dict(reply.json()) if reply.content else {}


async def run_of(world: World, told: dict[str, Any]) -> dict[str, Any]:
    return dict((await world.http.get(path_of(told["run_url"]))).json())


def numbers(told: dict[str, Any]) -> tuple[int, int, int]:
    return told["records_total"], told["records_applied"], told["records_unchanged"]
