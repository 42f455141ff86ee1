"""The invariants I1 to I10 of docs/design.md, each by one test that shows it whole. docs/invariants.md says which
mutation each one kills, and where the sweeps and races behind it are."""

import asyncio
import re
from pathlib import Path

import pytest
import structlog

from guard.core.limits import REQUESTS_MAX
from guard.core.model import Status
from guard.flows.guard import Guard
from guard.flows.history import recorded
from guard.flows.revert import RevertAsked, revert
from guard.flows.verify import verify_all
from guard.store.base import KeyTaken
from guard.web import admission
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.flows.copies import LONG, Clock, all_accounted_for, calling, copy_of_guard, swept, until, until_it_dies
from tests.flows.fuse import Fuse
from tests.flows.stories import People, update
from tests.flows.witness import Witness
from tests.web.doors import nothing_happens, objects, updates, vendor_writes
from tests.world import World, path_of


def store_of(world: World) -> Path:
    return Path(world.guard.settings.store.url.removeprefix("file:"))


async def killed(world: World, fuse: Fuse) -> None:
    """Another copy begins an update of three contacts and dies."""
    people = People(world)

    async def life(guard: Guard) -> None:
        async with calling(guard) as http:
            await update(http, people)

    await until_it_dies(copy_of_guard(world.guard.settings, fuse=fuse), fuse, life)


async def test_i1_no_write_leaves_before_its_pre_image_is_durable_and_announced(small_world: World) -> None:
    witness = Witness(small_world)
    witness.store = store_of(small_world)
    ids = list(small_world.contacts)

    answer = await small_world.operate("update", updates(small_world, 20))
    await small_world.http.put(f"/to/crm/contacts/{ids[0]}", json={"city": "Rome"})
    await small_world.http.post("/to/crm/contacts/", json={"email": "i1@example.com", "locationId": LOCATION_ID})
    await small_world.revert(answer)

    assert (witness.seen, witness.missing) == (42, [])


async def test_i1_also_where_pre_images_are_too_large_to_ride_in_the_entry(small_world: World) -> None:
    noise = [chr(0x4E00 + (n * 7919) % 20000) for n in range(12000)]
    ids = list(small_world.contacts)
    for n, id_ in enumerate(ids):
        await small_world.edit("contacts", id_, {"address1": "".join(noise[n * 600 : (n + 1) * 600])})
    before = small_world.seen()
    witness = Witness(small_world)
    witness.store = store_of(small_world)

    answer = await small_world.operate("update", updates(small_world, 20, address1="Elsewhere"))
    assert [key for key in objects(small_world) if "/images/" in key]
    await small_world.revert(answer)

    assert (witness.seen, witness.missing) == (40, [])
    assert before == small_world.seen()


async def test_i2_every_record_is_accounted_for_when_its_driver_is_gone(small_world: World) -> None:
    world = small_world
    await killed(world, Fuse("write", after=True))
    (run,) = {key.split("/")[1] async for key in world.guard.journals.store.list("runs/")}
    other = copy_of_guard(world.guard.settings, clock=Clock())
    await swept(other)
    await all_accounted_for(other)

    with other.journals.use(run) as journal:
        state = await journal.catch_up()
        records = [each async for each in recorded(journal, state)]
    (operation,) = state.operations.values()
    assert len(records) == sum(operation.count(name) for name in ("applied", "failed", "unknown")) == 3
    # The vendor did what the fuse let through; the journal of the dead one could say nothing of it.
    written = {id_ for id_, row in world.contacts.items() if row["firstName"] == "Oops" or "ruined" in row["tags"]}
    assert written
    assert written <= {each.touched.change.id for each in records if each.outcome.status is not Status.FAILED}
    await other.close()


async def test_i3_a_revert_touches_only_what_the_run_changed(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    one, two, three = list(world.contacts)[:3]
    answer = await world.operate("update", updates(world, 3, city="Wrong", companyName="Wrong"))
    await world.edit("contacts", one, {"city": "Berlin"})
    await world.edit("contacts", two, {"firstName": "Ann"})

    report = await world.revert(answer)

    assert (report["records_restored"], report["records_conflicted"]) == (2, 1)
    expected = {**before, one: {**before[one], "city": "Berlin"}, two: {**before[two], "firstName": "Ann"}}
    assert world.seen() == expected
    assert world.seen()[three] == before[three]


async def test_i4_a_revert_that_is_cut_repeated_and_run_twice_at_once_compensates_once(small_world: World) -> None:
    world, before = small_world, small_world.seen()
    answer = await world.operate("update", updates(world, 5))
    written = len(vendor_writes(world))
    asked = RevertAsked(run=answer["id"], client="tests")

    async def life(guard: Guard) -> None:
        await revert(guard, asked)

    fuse = Fuse(7, after=True)
    await until_it_dies(copy_of_guard(world.guard.settings, fuse=fuse), fuse, life)
    assert fuse.burnt.is_set()
    two = [copy_of_guard(world.guard.settings, clock=Clock(LONG)) for _ in range(2)]
    await asyncio.gather(*(revert(guard, asked) for guard in two), return_exceptions=True)
    await revert(two[0], asked)

    assert world.seen() == before
    assert len(vendor_writes(world)) - written == 5
    for guard in two:
        await guard.close()


async def test_i5_nothing_stored_is_overwritten_and_what_was_changed_is_noticed(small_world: World) -> None:
    world = small_world
    answer = await world.operate("update", updates(world, 3))
    await world.settle()
    kept = {key: data for key, data in objects(world).items() if not key.startswith("open/")}
    await world.revert(answer)
    await world.operate("update", updates(world, 3, city="Other"))
    await world.settle()

    after = objects(world)
    assert {key: after[key] for key in kept} == kept
    with pytest.raises(KeyTaken):
        await world.guard.journals.store.create(f"runs/{answer['id']}/00000001", b"another")
    entry = store_of(world) / "runs" / answer["id"] / "00000001"
    entry.write_bytes(re.sub(rb'"at":"\d{4}', b'"at":"1999', entry.read_bytes()))
    assert any(finding.damage for finding in [each async for each in verify_all(world.guard.journals)])


async def test_i6_a_repeated_request_acts_once_at_once_on_another_copy_and_after_a_crash(small_world: World) -> None:
    world = small_world
    body = {"target": "crm", "resource": "contacts", "action": "update", "records": updates(world, 3)}
    other = copy_of_guard(world.guard.settings)
    async with calling(other) as http:
        key = {"idempotency-key": "i6"}
        replies = await asyncio.gather(
            *(each.post("/v1/operations", json=body, headers=key) for _ in range(10) for each in (world.http, http))
        )
    await other.close()
    third = copy_of_guard(world.guard.settings)
    async with calling(third) as http:
        replies.append(await http.post("/v1/operations", json=body, headers=key))
    await third.close()

    assert len({reply.content for reply in replies}) == 1
    assert len(vendor_writes(world)) == 3


async def test_i7_get_changes_nothing_and_a_token_cannot_be_guessed(small_world: World) -> None:
    answer = await small_world.operate("update", updates(small_world, 3))
    await small_world.settle()
    path = path_of(answer["revert_url"])
    with nothing_happens(small_world):
        for method in ("GET", "HEAD"):
            for accept in ("text/html", "application/json"):
                reply = await small_world.http.request(method, path, headers={"accept": accept})
                assert reply.status_code == 200
        other = path[:-1] + ("A" if path[-1] != "A" else "B")
        assert (await small_world.http.post(other)).status_code in (401, 403, 404)


async def test_i8_what_cannot_be_taken_back_or_is_not_known_is_refused_before_anything_is_sent(
    small_world: World,
) -> None:
    id_ = next(iter(small_world.contacts))
    with nothing_happens(small_world):
        asked = len(await small_world.vendor_requests())
        unknown = await small_world.http.post("/to/crm/invoices/", json={})
        deletion = await small_world.http.delete(f"/to/crm/contacts/{id_}")
        assert len(await small_world.vendor_requests()) == asked
    assert (unknown.json()["code"], deletion.json()["code"]) == ("unknown_route", "irreversible")


async def test_i9_of_more_callers_than_the_limit_the_last_is_told_to_come_again(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = small_world
    monkeypatch.setattr(admission, "LINE_MAX", 0)
    await world.fault(kind="hang", seconds=60, times=-1, match={"method": "GET"})
    id_ = next(iter(world.contacts))
    waiting = [asyncio.ensure_future(world.http.get(f"/to/crm/contacts/{id_}")) for _ in range(REQUESTS_MAX)]
    await until(lambda: len(world.sandbox._held) > 0)
    await asyncio.sleep(0.1)

    refused = await world.http.get(f"/to/crm/contacts/{id_}")
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) > 0
    world.sandbox.faults.clear()
    world.sandbox.release()
    assert {reply.status_code for reply in await asyncio.gather(*waiting)} == {200}


async def test_i10_secrets_and_contents_are_in_no_log_error_or_key(
    small_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = small_world
    await world.fault(kind="status", status=403, times=2, body={"message": "no"}, match={"method": "PUT"})
    with structlog.testing.capture_logs() as logs:
        answer = await world.operate("update", updates(world, 3, city="Contents of a record"))
        body = {"contact": {"city": "Contents of a record"}}
        await world.fault(kind="status", status=500, times=-1, body=body, match={"method": "GET"})
        problem = await world.http.post(path_of(answer["revert_url"]))
        await world.settle()

    told = f"{logs} {capsys.readouterr()} {problem.text} {sorted(objects(world))}"
    token = re.sub(".*/revert/", "", answer["revert_url"])
    assert problem.status_code == 503
    assert [secret for secret in ("Contents of a record", "sandbox-token", token) if secret in told] == []
