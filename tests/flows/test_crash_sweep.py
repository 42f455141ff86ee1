"""I1, I2, I4: the process dies before and after every single thing it does to store or vendor; a new one takes over.

Whatever was done by then can be taken back: after recovery and reverting every run that the store knows, the vendor
holds what it held before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.assembly import assemble
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, revert
from guard.flows.verify import verify_all
from guard.store.journals import Journals
from guard.target.http import HttpTarget
from guard.web.app import create_app
from scenarios.sandboxes.highlevel_seed import JOB_TITLE
from tests.flows.fuse import Fuse, FusedClient, FusedStore
from tests.world import KEY, PUBLIC_URL, World, path_of, settings, world

RECORDS = 3
Story = Callable[[httpx2.AsyncClient, list[str]], Awaitable[Any]]


def fused(folder: Path, sandbox_url: str, fuse: Fuse) -> Guard:
    made = assemble(settings(f"file:{folder}", sandbox_url, policy={"accept_irreversible": True}))
    guard = Guard(made.settings, Journals(FusedStore(made.journals.store, fuse)), made.targets)
    for target in guard.targets.values():
        assert isinstance(target, HttpTarget)
        target.client.__class__ = FusedClient
        target.client.fuse = fuse  # type: ignore[attr-defined]  # set on the class just given
    return guard


async def until_it_dies(guard: Guard, fuse: Fuse, story: Story, ids: list[str]) -> None:
    """Run a story in a process that may die in the middle of it."""
    others_before = asyncio.all_tasks()
    transport = httpx2.ASGITransport(create_app(guard), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers={"guard-key": KEY}) as http:

        async def live() -> None:
            await story(http, ids)
            await guard.idle()

        living = asyncio.ensure_future(live())
        dying = asyncio.ensure_future(fuse.burnt.wait())
        await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
        killed = asyncio.all_tasks() - others_before
        for task in killed:
            task.cancel()
        await asyncio.gather(*killed, return_exceptions=True)
    for target in guard.targets.values():
        await target.close()
    await guard.journals.store.close()


async def operate(http: httpx2.AsyncClient, action: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"target": "crm", "resource": "contacts", "action": action, "records": records}
    return dict((await http.post("/v1/operations", json=body)).json())


async def update(http: httpx2.AsyncClient, ids: list[str]) -> None:
    fields = {"firstName": "Oops", "customFields": [{"id": JOB_TITLE, "field_value": "?"}], "tags": ["ruined"]}
    await operate(http, "update", [{"id": id_, "fields": fields} for id_ in ids])


async def add_tags(http: httpx2.AsyncClient, ids: list[str]) -> None:
    await operate(http, "tags.add", [{"id": id_, "tags": ["a", "b"]} for id_ in ids])


async def create(http: httpx2.AsyncClient, _: list[str]) -> None:
    people = [{"fields": {"firstName": "New", "email": f"new{n}@example.com"}} for n in range(RECORDS)]
    await operate(http, "create", people)


async def upsert(http: httpx2.AsyncClient, _: list[str]) -> None:
    emails = ["chloe.singh.0@example.com", "nobody.yet@example.com"]
    await operate(http, "upsert", [{"fields": {"email": email, "city": "Elsewhere"}} for email in emails])


async def delete(http: httpx2.AsyncClient, ids: list[str]) -> None:
    await operate(http, "delete", [{"id": id_} for id_ in ids])


async def pass_update(http: httpx2.AsyncClient, ids: list[str]) -> None:
    await http.put(f"/to/crm/contacts/{ids[0]}", json={"firstName": "Passed"})


async def pass_create(http: httpx2.AsyncClient, _: list[str]) -> None:
    await http.post("/to/crm/contacts/", json={"locationId": "sandboxLocation00001", "email": "passed@example.com"})


async def pass_delete(http: httpx2.AsyncClient, ids: list[str]) -> None:
    await http.delete(f"/to/crm/contacts/{ids[0]}")


async def update_and_revert(http: httpx2.AsyncClient, ids: list[str]) -> None:
    told = await operate(http, "update", [{"id": id_, "fields": {"city": "Elsewhere"}} for id_ in ids])
    await http.post(path_of(told["revert_url"]))


async def delete_and_revert(http: httpx2.AsyncClient, ids: list[str]) -> None:
    told = await operate(http, "delete", [{"id": id_} for id_ in ids[:2]])
    await http.post(path_of(told["revert_url"]))


STORIES: list[Story] = [
    update, add_tags, create, upsert, delete, pass_update, pass_create, pass_delete, update_and_revert,
    delete_and_revert,
]  # fmt: skip


def without_ids(seen: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The records as people: a deleted one comes back with another id, and without what no API writes."""
    lost = ("id", "dateAdded", "additionalEmails", "followers")
    people = [{k: v for k, v in row.items() if k not in lost} for row in seen.values()]
    return sorted(people, key=lambda row: str(row.get("email")))


async def take_everything_back(folder: Path, world: World) -> None:
    """What an operator does after the restart: recover, then take back every run, whatever became of it."""
    guard = assemble(settings(f"file:{folder}", world.sandbox_url, policy={"accept_irreversible": True}))
    try:
        async for _ in Recovery(guard).sweep(at_once=True):
            pass
        assert [run async for run in guard.journals.unfinished()] == []
        # Every run the store holds, found by its journal: the index may not have been reached.
        runs = sorted({key.split("/")[1] async for key in guard.journals.store.list("runs/")})
        for run in runs:
            state = await guard.journals.state(run)
            if state.opened["kind"] == "run":
                await revert(guard, RevertAsked(run=run, client="tests"))
        assert [finding async for finding in verify_all(guard.journals) if finding.damage] == []
    finally:
        await guard.close()


async def one(folder: Path, world: World, story: Story, fuse: Fuse) -> None:
    world.sandbox.reset()
    before = world.seen()
    await until_it_dies(fused(folder, world.sandbox_url, fuse), fuse, story, list(world.contacts)[:RECORDS])
    await take_everything_back(folder, world)
    assert without_ids(world.seen()) == without_ids(before)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_death_at_every_step_leaves_nothing_that_cannot_be_taken_back(
    story: Story, tmp_path: Path, *, after: bool
) -> None:
    async with world(tmp_path, records=6) as there:
        unburnt = Fuse()
        await one(tmp_path / "whole", there, story, unburnt)
        assert unburnt.steps >= 4
        for step in range(unburnt.steps):
            await one(tmp_path / str(step), there, story, Fuse(step, after=after))
