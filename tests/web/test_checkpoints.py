"""A bracket around writes that do not pass through Guard: checkpoint, native writes, seal, revert."""

from typing import Any

from tests.world import World, path_of


async def checkpoint(world: World, ids: list[str], *, status: int = 200, **members: Any) -> dict[str, Any]:
    headers = members.pop("headers", {})
    body = {"target": "crm", "resource": "contacts", "ids": ids, **members}
    reply = await world.http.post("/v1/checkpoints", json=body, headers=headers)
    assert reply.status_code == status, reply.text
    return dict(reply.json())


async def seal(world: World, told: dict[str, Any], *, status: int = 200) -> dict[str, Any]:
    reply = await world.http.post(path_of(told["seal_url"]))
    assert reply.status_code == status, reply.text
    return dict(reply.json())


async def test_what_changed_between_checkpoint_and_seal_is_taken_back(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    ids = list(world.contacts)[:4]

    told = await checkpoint(world, ids)
    await world.edit("contacts", ids[0], {"city": "Nowhere", "tags": ["ruined"]})
    await world.edit("contacts", ids[1], {"firstName": "Oops"})
    sealed = await seal(world, told)
    report = await world.revert(told)

    assert (told["status"], told["checkpoint"], told["records_total"]) == ("running", "open", 4)
    assert (sealed["status"], sealed["checkpoint"]) == ("applied", "sealed")
    assert (sealed["records_total"], sealed["records_applied"], sealed["records_unchanged"]) == (4, 2, 2)
    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert world.seen() == before
