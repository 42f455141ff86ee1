"""Hooks in trouble: payloads that do not fit, files that break while they serve, limits, hostile input."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.core.errors import CODES
from guard.core.limits import HOOK_BYTES_MAX
from tests.hooks.test_mapping import values
from tests.web.doors import NOTHING_WRITTEN, assert_problem, nothing_happens
from tests.web.hooking import BY_KEY, SIGNED, call, hook_world, people, write
from tests.world import OTHER_KEY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Only for calls that are refused."""
    async with hook_world(tmp_path_factory.mktemp("shared"), policy={"records_max": 5}) as made:
        yield made


def folder_of(world: World) -> Path:
    return Path(str(world.guard.settings.scenarios.folder))


async def test_a_payload_that_does_not_fit_is_told_by_expression_and_record(shared: World) -> None:
    payload = people(shared)
    payload["people"][1]["who"] = None
    with nothing_happens(shared):
        told = assert_problem(await call(shared, "by-key", payload), "payload_mismatch")
    assert (told["member"], told["expression"], told["gave"], told["record"]) == ("record.id", "who", "nothing", 2)
    assert NOTHING_WRITTEN.search(told["detail"])


@pytest.mark.parametrize("id_", ["../x", {"a": 1}, ["x"], True], ids=repr)
async def test_an_id_that_is_none_to_the_target_is_told_with_the_record(shared: World, id_: Any) -> None:
    payload = people(shared)
    payload["people"][1]["who"] = id_
    with nothing_happens(shared):
        told = assert_problem(await call(shared, "by-key", payload), "invalid_record")
    assert told["record"] == 2


async def test_a_record_that_stands_in_the_payload_twice_is_told(shared: World) -> None:
    payload = people(shared, 1)
    with nothing_happens(shared):
        told = assert_problem(await call(shared, "by-key", {"people": payload["people"] * 2}), "duplicate_record")
    assert told["records"] == [1, 2]


@pytest.mark.parametrize(
    ("name", "said"), [("records_max = 2\n", "takes 2"), ("", "may have 5 records")], ids=["the file's", "the policy's"]
)
async def test_more_records_than_allowed_are_refused(shared: World, name: str, said: str) -> None:
    write(folder_of(shared), "limited", name + BY_KEY)
    with nothing_happens(shared):
        told = assert_problem(await call(shared, "limited", people(shared, 6)), "too_large")
    assert said in told["detail"]


async def test_unknown_fields_resources_and_actions_are_told(shared: World) -> None:
    for name, one, other, code in (
        ("field", "city =", "ctiy =", "unknown_field"),
        ("resource", '"contacts"', '"contcats"', "unknown_resource"),
        ("action", '"update"', '"updat"', "unknown_action"),
    ):
        write(folder_of(shared), name, BY_KEY.replace(one, other))
        with nothing_happens(shared):
            assert_problem(await call(shared, name, people(shared)), code)


BODIES = {
    "cut": (b'{"people": [', "invalid_body"),
    "nothing": (b"", "invalid_body"),
    "nested too deep": (b"[" * 100_000, "invalid_body"),
    "not UTF-8": (b'{"people": "\xff"}', "invalid_body"),
    "half a surrogate": (b'{"people": "\\ud800"}', "invalid_body"),
    "a number that would be rounded": (b'{"people": [{"who": 12345678901234567890123}]}', "invalid_body"),
    "a list": (b"[]", "payload_mismatch"),
    "a text": (b'"x"', "payload_mismatch"),
    "too large": (b" " * (HOOK_BYTES_MAX + 1), "too_large"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_cannot_be_read_is_refused(shared: World, name: str) -> None:
    content, code = BODIES[name]
    with nothing_happens(shared):
        assert_problem(await call(shared, "by-key", content), code)


@pytest.mark.parametrize(
    "headers",
    [{"content_type": "text/csv"}, {"content_type": "application/x-www-form-urlencoded"}, {"content_encoding": "gzip"}],
    ids=str,
)
async def test_a_body_of_another_type_is_refused(shared: World, headers: dict[str, str]) -> None:
    with nothing_happens(shared):
        assert_problem(await call(shared, "by-key", people(shared), **headers), "unsupported_media_type")


async def test_json_by_another_name_is_taken(shared: World) -> None:
    for name in ("application/json; charset=utf-8", "application/cloudevents+json"):
        reply = await call(shared, "by-key", people(shared), content_type=name, guard_dry_run="1")
        assert reply.json()["status"] == "dry_run"


async def test_a_dry_run_that_is_misspelt_is_refused(shared: World) -> None:
    with nothing_happens(shared):
        assert_problem(await call(shared, "by-key", people(shared), guard_dry_run="yes"), "invalid_request")


HOSTILE = {
    "doubling": 'records = "' + " | ".join(["[@, @][]"] * 150) + '"',
    "gluing": 'records = "[{who: join(glue, people[].who)}]"',
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_expression_that_makes_much_out_of_little_is_refused_soon(shared: World, name: str) -> None:
    write(folder_of(shared), "hostile", BY_KEY.replace('records = "people"', HOSTILE[name]))
    payload = {"glue": "x" * 1_000_000, "people": [{"who": "a"}] * 10_000}
    with nothing_happens(shared):
        assert_problem(await call(shared, "hostile", payload), "payload_mismatch")


# Files that change


async def test_a_file_that_breaks_serves_its_last_good_version_and_the_list_says_so(tmp_path: Path) -> None:
    async with hook_world(tmp_path) as world:
        assert (await call(world, "by-key", people(world), guard_dry_run="1")).status_code == 200
        write(tmp_path / "hooks", "by-key", BY_KEY.replace('"who"', '"who["'))
        assert (await call(world, "by-key", people(world), guard_dry_run="1")).json()["records_total"] == 3
        listed = (await world.http.get("/v1/scenarios")).json()["scenarios"]
        (told,) = [each for each in listed if each["name"] == "by-key"]
        assert (told["state"], told["signed"], told["target"]) == ("serving_older", False, "crm")
        assert told["url"].endswith("/hooks/by-key")
        (mistake,) = told["mistakes"]
        assert (mistake["file"], mistake["line"], mistake["member"]) == ("by-key.toml", 6, "record.id")

        write(tmp_path / "hooks", "by-key", BY_KEY.replace('"people"', '"persons"'))
        assert_problem(await call(world, "by-key", people(world)), "payload_mismatch")
        (tmp_path / "hooks" / "by-key.toml").unlink()
        assert_problem(await call(world, "by-key", people(world)), "not_found")
        write(tmp_path / "hooks", "added")
        assert (await call(world, "added", people(world), guard_dry_run="1")).status_code == 200


async def test_a_file_that_was_never_good_is_unavailable_to_its_callers_and_unknown_to_others(shared: World) -> None:
    write(folder_of(shared), "broken", BY_KEY.replace('"people"', '"people["'))
    with nothing_happens(shared):
        reply = await call(shared, "broken", people(shared))
        assert_problem(reply, "hook_broken")
        assert reply.headers["retry-after"]
        assert_problem(await call(shared, "broken", people(shared), guard_key="wrong"), "unauthenticated")
        assert_problem(await call(shared, "broken", people(shared), guard_key=OTHER_KEY), "forbidden")


async def test_the_list_shows_a_key_only_what_it_opens(shared: World) -> None:
    write(folder_of(shared), "theirs", BY_KEY.replace('"crm"', '"other"'))
    write(folder_of(shared), "nobodys", "x =")
    write(folder_of(shared), "nowhere", BY_KEY.replace('"crm"', '"erp"'))

    async def listed(key: dict[str, str]) -> dict[str, str]:
        told = (await shared.http.get("/v1/scenarios", headers=key)).json()["scenarios"]
        return {each["name"]: each["state"] for each in told}

    mine, theirs = await listed({}), await listed({"guard-key": OTHER_KEY})
    assert {"by-key", "signed", "nobodys", "nowhere"} <= set(mine)
    assert "theirs" not in mine
    assert theirs == {"theirs": "serving", "nobodys": "broken", "nowhere": "broken"}
    told = (await shared.http.get("/v1/scenarios")).text
    assert "no target 'erp'" in told
    assert "they have" not in told  # other clients' targets
    assert_problem(await shared.http.get("/v1/scenarios", headers={"guard-key": "wrong"}), "unauthenticated")


async def test_no_secret_is_in_the_list(shared: World) -> None:
    write(folder_of(shared), "secretive", SIGNED.replace("GUARD_TEST_CALLBACK_SECRET", "GUARD_TEST_KEY"))
    told = (await shared.http.get("/v1/scenarios")).text
    assert "MfKQ9r8G" not in told
    assert "test-key" not in told


async def test_without_a_folder_there_are_no_hooks(small_world: World) -> None:
    assert_problem(await call(small_world, "by-key", {}), "not_found")
    assert (await small_world.http.get("/v1/scenarios")).json() == {"scenarios": []}


# Anything at all

ids = st.sampled_from(["80odnXVE9BAcgXuiNEr1", "FoCNvDAJbPdZLo13emta", "", "x/y"])
persons = st.fixed_dictionaries({}, optional={"who": ids | values, "first": values, "home": values})
payloads = values | st.fixed_dictionaries({"people": st.lists(persons, max_size=3)})


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=payloads)
async def test_no_payload_gives_a_5xx_and_every_answer_says_what_was_written(shared: World, payload: Any) -> None:
    try:
        content = orjson.dumps(payload)
    except TypeError:  # a number larger than JSON has
        content = repr(payload).encode()
    with nothing_happens(shared):
        reply = await call(shared, "by-key", content, guard_dry_run="1")
    if reply.status_code != 200:
        told = reply.json()
        assert (told["written"], CODES[told["code"]].status < 500) == ("nothing", True)
