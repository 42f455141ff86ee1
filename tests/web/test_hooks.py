"""POST /hooks/{name}: a webhook's payload becomes an operation, once, and is taken back like any other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import orjson
import pytest

from guard.flows.guard import Guard
from guard.web.callers import Callers
from tests.flows.copies import Clock, all_taken_back, calling, copy_of_guard, swept, until_it_dies
from tests.flows.fuse import Fuse
from tests.web.doors import all_ended, assert_problem, nothing_happens, vendor_writes
from tests.web.hooking import BY_KEY, call, call_signed, hook_world, people, signature, write
from tests.world import OTHER_KEY, World


@pytest.fixture
async def hooked(tmp_path: Path) -> AsyncIterator[World]:
    async with hook_world(tmp_path) as made:
        yield made


def folder_of(world: World) -> Path:
    return Path(str(world.guard.settings.scenarios.folder))


async def test_a_payload_becomes_an_operation_and_its_revert_url_takes_it_back(hooked: World) -> None:
    before = hooked.seen()
    reply = await call(hooked, "by-key", people(hooked))
    told = reply.json()
    assert (reply.status_code, told["status"], told["records_applied"]) == (200, "applied", 3)
    assert (told["target"], told["resource"], told["action"]) == ("crm", "contacts", "update")
    assert (told["client"], told["scenario"]) == ("tests", "by-key")
    assert [row["city"] for row in list(hooked.contacts.values())[:3]] == ["Nowhere"] * 3
    assert (await hooked.revert(told))["status"] == "reverted"
    assert before == hooked.seen()


async def test_a_signed_call_needs_no_key_and_shows_under_the_hook_s_name(hooked: World) -> None:
    content = orjson.dumps(people(hooked))
    reply = await call_signed(hooked, content, signature(content))
    assert (reply.status_code, reply.json()["client"]) == (200, "hook:signed")


async def test_what_an_item_lacks_or_has_as_null_is_left_as_it_is(hooked: World) -> None:
    one, two, *_ = hooked.contacts
    names = [hooked.contacts[each]["firstName"] for each in (one, two)]
    payload = {"people": [{"who": one, "home": {"city": "X"}}, {"who": two, "first": None, "home": {"city": "X"}}]}
    assert (await call(hooked, "by-key", payload)).json()["records_applied"] == 2
    assert names == [hooked.contacts[each]["firstName"] for each in (one, two)]
    assert [hooked.contacts[each]["city"] for each in (one, two)] == ["X", "X"]


async def test_a_single_object_is_one_record(hooked: World) -> None:
    payload = {"people": people(hooked, 1)["people"][0]}
    assert (await call(hooked, "by-key", payload)).json()["records_total"] == 1


async def test_records_may_be_made_by_one_expression(hooked: World) -> None:
    text = BY_KEY.partition("[record]")[0].replace('"people"', '"people[].{id: who, fields: {city: home.city}}"')
    write(folder_of(hooked), "whole", text)
    assert (await call(hooked, "whole", people(hooked))).json()["records_applied"] == 3


async def test_a_caller_that_does_not_wait_gets_202_and_the_run_goes_on(hooked: World) -> None:
    reply = await call(hooked, "by-key", people(hooked), prefer="respond-async")
    assert (reply.status_code, reply.headers["location"]) == (202, reply.json()["run_url"])
    await all_ended(hooked)
    assert [row["city"] for row in list(hooked.contacts.values())[:3]] == ["Nowhere"] * 3


async def test_a_dry_run_says_what_it_would_be_and_writes_nothing(hooked: World) -> None:
    with nothing_happens(hooked):
        told = (await call(hooked, "by-key", people(hooked), guard_dry_run="1")).json()
    assert (told["status"], told["records_total"], told["reversible"]) == ("dry_run", 3, "full")


async def test_those_to_be_told_are_in_the_journal_with_note_and_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_TEST_CHAT", "https://chat.example.com/hook")
    chat = {"kind": "slack", "url": {"env": "GUARD_TEST_CHAT"}, "on": ["failed"]}
    async with hook_world(tmp_path, notify=[{"name": name, **chat} for name in ("sales", "hr")]) as hooked:
        write(folder_of(hooked), "told", 'tell = ["sales", "hr"]\nnote = "n"\nscenario = "s"\n' + BY_KEY)
        told = (await call(hooked, "told", people(hooked))).json()
        state = await hooked.guard.journals.state(told["id"])
    (operation,) = state.operations.values()
    assert (operation.begun["tell"], operation.begun["door"]) == (["sales", "hr"], "hook")
    assert (told["scenario"], told["note"]) == ("s", "n")


async def test_what_cannot_be_taken_back_is_refused_unless_the_file_accepts_it(hooked: World) -> None:
    text = BY_KEY.replace('"update"', '"delete"').partition("[record.fields]")[0]
    write(folder_of(hooked), "delete", text)
    with nothing_happens(hooked):
        assert_problem(await call(hooked, "delete", people(hooked)), "irreversible")
    write(folder_of(hooked), "delete", "accept_irreversible = true\n" + text)
    assert (await call(hooked, "delete", people(hooked))).json()["records_applied"] == 3


# Once


async def test_a_webhook_that_comes_again_acts_once_and_gets_the_same_answer(hooked: World) -> None:
    content = orjson.dumps(people(hooked))
    first = await call_signed(hooked, content, signature(content))
    again = await call_signed(hooked, content, signature(content))
    assert (first.status_code, first.content) == (200, again.content)
    assert len(vendor_writes(hooked)) == 3


async def test_two_equal_webhooks_at_once_act_once(hooked: World) -> None:
    content = orjson.dumps(people(hooked))
    replies = await asyncio.gather(*(call_signed(hooked, content, signature(content)) for _ in range(5)))
    assert {200} == {reply.status_code for reply in replies}
    assert len({reply.content for reply in replies}) == 1
    assert len(vendor_writes(hooked)) == 3


async def test_headers_that_no_signature_covers_do_not_make_a_repeat_another_call(hooked: World) -> None:
    """Else whoever has seen a signed call could have it act again within the tolerance."""
    content = orjson.dumps(people(hooked))
    first = await call_signed(hooked, content, signature(content))
    with nothing_happens(hooked):
        again = await call_signed(hooked, content, {**signature(content), "idempotency-key": "another"})
        assert first.content == again.content
        refused = await call_signed(hooked, content, {**signature(content), "guard-run-key": "another"})
        assert_problem(refused, "invalid_request")


async def test_another_payload_under_a_used_id_is_refused(hooked: World) -> None:
    one, other = orjson.dumps(people(hooked)), orjson.dumps(people(hooked, city="Elsewhere"))
    await call_signed(hooked, one, signature(one))
    with nothing_happens(hooked):
        assert_problem(await call_signed(hooked, other, signature(other)), "key_reused")


async def test_one_webhook_sent_to_two_hooks_acts_at_both(hooked: World) -> None:
    write(folder_of(hooked), "second", BY_KEY.replace("home.city", "home.city").replace("city =", "companyName ="))
    for name in ("by-key", "second"):
        assert (await call(hooked, name, people(hooked), webhook_id="msg_1")).status_code == 200
    assert len(vendor_writes(hooked)) == 6


async def test_without_any_key_an_equal_payload_is_another_operation(hooked: World) -> None:
    one, two = [(await call(hooked, "by-key", people(hooked))).json()["id"] for _ in range(2)]
    assert one != two


async def test_the_run_key_is_found_in_the_payload_and_calls_with_the_same_one_make_one_run(hooked: World) -> None:
    write(folder_of(hooked), "keyed", 'run_key = "execution.id"\n' + BY_KEY)
    before = hooked.seen()
    payloads = [{**people(hooked, city=city), "execution": {"id": 17}} for city in ("Rome", "Oslo", "Rome")]
    told = [(await call(hooked, "keyed", payload)).json() for payload in payloads]
    (run,) = {each["id"] for each in told}
    shown = (await hooked.http.get(f"/v1/runs/{run}")).json()
    assert len(shown["operations"]) == 2  # the third payload is the first one again
    await hooked.revert(shown)
    assert before == hooked.seen()


async def test_a_webhook_whose_guard_died_in_the_middle_is_sent_again_and_no_record_is_written_twice(
    tmp_path: Path,
) -> None:
    async with hook_world(tmp_path) as world:
        before, content, fuse = world.seen(), orjson.dumps(people(world)), Fuse("write", after=True)

        async def send(guard: Guard) -> httpx2.Response:
            async with calling(guard) as http:
                del http.headers["guard-key"]
                headers = signature(content, at=guard.now())
                return await http.post("/hooks/signed", content=content, headers=headers)

        async def life(guard: Guard) -> None:
            await send(guard)

        await until_it_dies(copy_of_guard(world.guard.settings, fuse=fuse), fuse, life)
        assert vendor_writes(world)
        other = copy_of_guard(world.guard.settings, clock=Clock())
        try:
            await swept(other)
            replies = [await send(other), await send(other)]
            assert [reply.status_code for reply in replies] == [200, 200], [reply.text for reply in replies]
            assert replies[0].content == replies[1].content
            written = [path for _, path, _, _ in vendor_writes(world)]
            assert len(written) == len(set(written)), written
            await all_taken_back(other)
        finally:
            await other.close()
        assert before == world.seen()


# Who may call


async def test_a_key_for_other_targets_opens_no_hook_and_an_unknown_name_is_not_found(hooked: World) -> None:
    with nothing_happens(hooked):
        assert_problem(await call(hooked, "by-key", people(hooked), guard_key=OTHER_KEY), "forbidden")
        assert_problem(await call(hooked, "nowhere", people(hooked)), "not_found")


async def test_a_hook_of_one_client_is_closed_to_another_of_the_same_target(tmp_path: Path) -> None:
    async with hook_world(tmp_path) as world:
        (tests, others) = world.guard.settings.clients
        both = [tests, others.model_copy(update={"targets": ["crm", "other"]})]
        world.app.state.callers = Callers(world.guard.settings.model_copy(update={"clients": both}))
        write(folder_of(world), "own", 'client = "tests"\n' + BY_KEY)
        assert (await call(world, "own", people(world))).status_code == 200
        await all_ended(world)
        with nothing_happens(world):
            assert_problem(await call(world, "own", people(world), guard_key=OTHER_KEY), "forbidden")


@pytest.mark.parametrize("name", ["by-key", "signed", "nowhere", "BY-KEY", "by-key.toml", "%00", "a" * 999])
async def test_without_a_key_or_signature_nobody_learns_which_hooks_there_are(hooked: World, name: str) -> None:
    content = orjson.dumps(people(hooked))
    wrong = {**signature(content), "webhook-signature": "v1,AAAA"}
    with nothing_happens(hooked):
        for headers in ({}, {"guard-key": "wrong"}, {"authorization": "Bearer "}, wrong):
            told = await call_signed(hooked, content, headers, name=name)
            of_one_that_is_there = await call_signed(hooked, content, headers, name="signed")
            assert assert_problem(told, "unauthenticated") == of_one_that_is_there.json()


async def test_a_key_does_not_open_a_hook_that_takes_signed_calls_only(hooked: World) -> None:
    with nothing_happens(hooked):
        assert_problem(await call(hooked, "signed", people(hooked)), "unauthenticated")


async def test_a_signature_opens_no_hook_without_secrets(hooked: World) -> None:
    content = orjson.dumps(people(hooked))
    with nothing_happens(hooked):
        reply = await call_signed(hooked, content, signature(content), name="by-key")
        assert_problem(reply, "unauthenticated")
