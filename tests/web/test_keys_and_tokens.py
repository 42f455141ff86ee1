"""Who may come in: client keys, the targets they open, and revert tokens."""

from datetime import timedelta
from typing import Any

import pytest

from guard.core.ids import new_run_id
from guard.core.tokens import sign
from tests.conftest import NewWorld
from tests.web.doors import NOTHING_WRITTEN, assert_problem, nothing_happens, objects, updates
from tests.world import KEY, OTHER_KEY, World, path_of

FIRST = "80odnXVE9BAcgXuiNEr1"

DOORS = [
    ("POST", "/v1/operations"),
    ("GET", f"/to/crm/contacts/{FIRST}"),
    ("PUT", f"/to/crm/contacts/{FIRST}"),
    ("DELETE", f"/to/crm/contacts/{FIRST}"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/run_01m85bsjgaarcsjdjzfcqj80cw"),
    ("GET", "/v1/runs/run_01m85bsjgaarcsjdjzfcqj80cw/changes"),
]

WRONG_KEYS: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"guard-key": ""},
    "wrong": {"guard-key": "not-a-key-of-anybody"},
    "cut": {"guard-key": KEY[:-1]},
    "extended": {"guard-key": KEY + "x"},
    "upper-cased": {"guard-key": KEY.upper()},
    "two in one": {"guard-key": f"{KEY},{OTHER_KEY}"},
    "wrong bearer": {"authorization": "Bearer not-a-key-of-anybody"},
    "basic": {"authorization": f"Basic {KEY}"},
    "bare": {"authorization": KEY},
    "empty bearer": {"authorization": "Bearer "},
    "a wrong Guard-Key beside a good bearer": {"guard-key": "wrong", "authorization": f"Bearer {KEY}"},
    "not ASCII": {"guard-key": "schlüssel-schlüssel"},
}


@pytest.fixture
def body(small_world: World) -> dict[str, Any]:
    return {"target": "crm", "resource": "contacts", "action": "update", "records": updates(small_world, 1)}


async def test_without_a_valid_key_no_door_opens(small_world: World, body: dict[str, Any]) -> None:
    del small_world.http.headers["guard-key"]
    with nothing_happens(small_world):
        for method, path in DOORS:
            for name, headers in WRONG_KEYS.items():
                given = {key.encode(): value.encode("latin-1") for key, value in headers.items()}
                reply = await small_world.http.request(method, path, json=body, headers=given)
                told = assert_problem(reply, "unauthenticated")
                assert reply.headers["www-authenticate"] == "Bearer", name
                assert NOTHING_WRITTEN.search(told["detail"])
    assert not small_world.sandbox.log.entries


@pytest.mark.parametrize(
    "headers",
    [
        {"guard-key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer {KEY}"},
        {"guard-key": KEY, "authorization": "Bearer the-vendors-own-token"},
        {"guard-key": KEY, "authorization": f"Bearer {OTHER_KEY}"},
    ],
    ids=["guard-key", "bearer", "lower-case bearer", "vendor's token beside it", "two keys: Guard-Key counts"],
)
async def test_a_key_is_taken_from_either_header(small_world: World, headers: dict[str, str]) -> None:
    del small_world.http.headers["guard-key"]
    assert (await small_world.http.get(f"/to/crm/contacts/{FIRST}", headers=headers)).status_code == 200


async def test_a_key_of_another_target_opens_nothing_here(small_world: World, body: dict[str, Any]) -> None:
    with nothing_happens(small_world):
        for method, path in DOORS[:4]:
            reply = await small_world.http.request(method, path, json=body, headers={"guard-key": OTHER_KEY})
            assert_problem(reply, "forbidden")
    assert not small_world.sandbox.log.entries


async def test_whether_a_target_exists_is_not_told_to_who_may_not_use_it(small_world: World) -> None:
    answers = [
        (await small_world.http.get(f"/to/{name}/contacts", headers={"guard-key": KEY})).json()
        for name in ("other", "nowhere")
    ]
    assert answers[0] == {**answers[1], "detail": answers[1]["detail"].replace("nowhere", "other")}


# Revert tokens


async def changed(world: World) -> tuple[dict[str, Any], str]:
    """A run, and its token."""
    told = await world.operate("update", updates(world, 2))
    return told, path_of(told["revert_url"]).removeprefix("/revert/")


def damaged(token: str) -> dict[str, str]:
    run, expiry, mac = token.split(".")
    later = f"{int(expiry, 16) + 86400:x}"
    return {
        "cut": token[:-1],
        "cut in half": token[: len(token) // 2],
        "without its mac": f"{run}.{expiry}.",
        "only a run": run,
        "extended": token + "A",
        "with a dot more": token + ".",
        "with a later expiry": f"{run}.{later}.{mac}",
        "with an expiry in capitals": f"{run}.{expiry.upper()}x.{mac}",
        "with a zero before the expiry": f"{run}.0{expiry}.{mac}",
        "upper-cased": token.upper(),
        "with one letter changed": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "padded": token + "=",
        "of another run": f"{new_run_id_like(run)}.{expiry}.{mac}",
        "with a blank": token + "%20",
        "with an umlaut": token[:-1] + "%C3%BC",
        "nonsense": "x",
        "very long": token * 100,
        "dots": "...",
        "signed by somebody else": "",
    }


def new_run_id_like(run: str) -> str:
    return run[:-1] + ("0" if run[-1] != "0" else "1")


async def test_a_token_that_is_not_whole_opens_nothing(small_world: World) -> None:
    _, token = await changed(small_world)
    bad = damaged(token)
    state_expires = small_world.guard.now() + timedelta(days=3)
    bad["signed by somebody else"] = sign(token.split(".")[0], state_expires, b"a key of somebody else, and long")
    with nothing_happens(small_world):
        for name, each in bad.items():
            for method in ("GET", "POST", "HEAD"):
                reply = await small_world.http.request(method, f"/revert/{each}")
                if method != "HEAD":
                    told = assert_problem(reply, "invalid_token")
                    assert token.split(".")[2] not in reply.text, name
                    assert told["detail"]
                assert reply.status_code == 404, name


async def test_a_refused_token_says_in_words_that_nothing_was_written(small_world: World) -> None:
    _, token = await changed(small_world)
    refused = (await small_world.http.post(f"/revert/{token[:-1]}")).json()
    assert NOTHING_WRITTEN.search(refused["detail"]), refused["detail"]
    later = small_world.guard.now() + timedelta(days=31)
    small_world.guard.journals.clock = lambda: later
    expired = (await small_world.http.post(f"/revert/{token}")).json()
    assert NOTHING_WRITTEN.search(expired["detail"]), expired["detail"]


async def test_the_token_of_another_run_takes_back_that_run_only(small_world: World) -> None:
    first = await small_world.operate("update", [{"id": FIRST, "fields": {"city": "Rome"}}])
    second = await small_world.operate("update", [{"id": list(small_world.contacts)[1], "fields": {"city": "Oslo"}}])
    await small_world.revert(second)
    assert small_world.contacts[FIRST]["city"] == "Rome"
    assert first["id"] != second["id"]


async def test_a_token_works_until_the_second_at_which_it_expires(small_world: World) -> None:
    told, token = await changed(small_world)
    clock = small_world.guard.journals.clock
    expires_at = small_world.guard.revert_expires_at(await small_world.guard.journals.state(told["id"]))
    small_world.guard.journals.clock = lambda: expires_at.replace(microsecond=0) - timedelta(seconds=1)
    assert (await small_world.http.get(f"/revert/{token}")).status_code == 200
    small_world.guard.journals.clock = lambda: expires_at.replace(microsecond=0)
    with nothing_happens(small_world):
        for method in ("GET", "POST"):
            assert_problem(await small_world.http.request(method, f"/revert/{token}"), "expired_token")
    small_world.guard.journals.clock = clock


async def test_a_signed_token_of_a_run_that_does_not_exist_is_not_found(small_world: World) -> None:
    guard = small_world.guard
    token = sign(new_run_id(guard.now()), guard.now() + timedelta(days=1), guard.settings.signing_keys[0])
    with nothing_happens(small_world):
        for method in ("GET", "POST"):
            assert_problem(await small_world.http.request(method, f"/revert/{token}"), "not_found")


async def test_a_revoked_run_cannot_be_taken_back_by_its_url(small_world: World) -> None:
    told, token = await changed(small_world)
    with small_world.guard.journals.use(told["id"]) as journal:
        await journal.append({"e": "revoked"})
    with nothing_happens(small_world):
        for method in ("GET", "POST"):
            refused = assert_problem(await small_world.http.request(method, f"/revert/{token}"), "revoked_token")
            assert "asks" not in refused


async def test_a_token_signed_with_an_older_key_works_until_that_key_is_taken_away(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_TEST_NEWER_SECRET", "a-newer-secret-that-signs-revert-urls")
    old, new = {"env": "GUARD_TEST_SECRET"}, {"env": "GUARD_TEST_NEWER_SECRET"}
    async with new_world(server={"secret_keys": [old]}) as world:
        told, token = await changed(world)
    async with new_world(server={"secret_keys": [new, old]}) as world:
        assert (await world.http.get(f"/v1/runs/{told['id']}")).json()["revert_url"] != told["revert_url"]
        assert (await world.http.get(f"/revert/{token}")).status_code == 200
    async with new_world(server={"secret_keys": [new]}) as world:
        with nothing_happens(world):
            assert_problem(await world.http.post(f"/revert/{token}"), "invalid_token")


async def test_a_token_opens_no_other_door(small_world: World) -> None:
    _, token = await changed(small_world)
    del small_world.http.headers["guard-key"]
    with nothing_happens(small_world):
        for headers in ({"guard-key": token}, {"authorization": f"Bearer {token}"}):
            assert_problem(await small_world.http.get("/v1/runs", headers=headers), "unauthenticated")


async def test_the_store_holds_neither_keys_nor_tokens(small_world: World) -> None:
    _, token = await changed(small_world)
    await small_world.http.put(f"/to/crm/contacts/{FIRST}", json={"city": "Rome"}, headers={"guard-run-key": "k1"})
    await small_world.settle()
    held = b"\n".join(objects(small_world).values())
    for secret in (KEY, token.rpartition(".")[2], "test-secret-that-signs-revert-urls", "sandbox-token"):
        assert secret.encode() not in held
