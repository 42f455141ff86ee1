"""Signed calls at the door: 401 for every malformed one, never a 500; old ones, and replays."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import pytest_asyncio

from tests.hooks.test_signature import MALFORMED
from tests.web.doors import all_ended, assert_problem, nothing_happens, vendor_writes
from tests.web.hooking import call_signed, hook_world, people, signature
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with hook_world(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_signature_is_401(shared: World, name: str) -> None:
    content = orjson.dumps(people(shared))
    given = {**signature(content), **MALFORMED[name]}
    headers = {key: value for key, value in given.items() if value is not None}
    with nothing_happens(shared):
        assert_problem(await call_signed(shared, content, headers), "unauthenticated")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b"", b"{", "{}".encode("utf-16")], ids=repr)
async def test_a_body_that_is_no_json_is_401_unsigned_and_400_signed(shared: World, content: bytes) -> None:
    """The signature is over bytes, whatever they are."""
    signed = signature(content.decode("latin-1").encode() if not content.isascii() else content)
    with nothing_happens(shared):
        unsigned = await call_signed(shared, content, {**signed, "webhook-signature": "v1,AAAA"})
        assert_problem(unsigned, "unauthenticated")
        if content.isascii():
            assert_problem(await call_signed(shared, content, signed), "invalid_body")


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_an_old_or_future_call_is_refused_and_says_that_it_is_the_time(shared: World, minutes: int) -> None:
    content = orjson.dumps(people(shared))
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    with nothing_happens(shared):
        told = assert_problem(await call_signed(shared, content, signature(content, at=at)), "unauthenticated")
    assert "5 minutes" in told["detail"]


async def test_a_replay_acts_once_within_the_tolerance_and_is_refused_after_it(shared: World) -> None:
    """The sender's own repetition bears the same id and a new time, and gets the first answer whenever it comes."""
    content = orjson.dumps(people(shared, city="Replayed"))
    at = shared.guard.now()
    captured = signature(content, id_="msg_replayed", at=at)
    first = await call_signed(shared, content, captured)
    assert first.status_code == 200
    await all_ended(shared)
    clock, written = shared.guard.journals.clock, len(vendor_writes(shared))
    try:
        for minutes, status in ((0, 200), (4, 200), (6, 401)):
            shared.guard.journals.clock = lambda minutes=minutes: at + timedelta(minutes=minutes)  # type: ignore[misc]
            replayed = await call_signed(shared, content, captured)
            assert replayed.status_code == status
            assert status == 401 or replayed.content == first.content
        later = signature(content, id_="msg_replayed", at=at + timedelta(minutes=6))
        assert (await call_signed(shared, content, later)).content == first.content
    finally:
        shared.guard.journals.clock = clock
    assert len(vendor_writes(shared)) == written
