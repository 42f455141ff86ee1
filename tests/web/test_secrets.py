"""I10: keys, tokens and what records hold are in no log line and in no error."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from tests.web.doors import all_ended, post, send, updates
from tests.web.hooking import BY_KEY, SECRET, call, call_signed, hook_world, people, signature, write
from tests.world import KEY, OTHER_KEY, World, path_of

FIRST = "80odnXVE9BAcgXuiNEr1"
CANARY = "canary-7f3a-of-a-record"
SECRETS = (KEY, OTHER_KEY, "sandbox-token", "test-secret-that-signs-revert-urls", CANARY)


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)


def told_secrets(text: str) -> list[str]:
    found = [secret for secret in SECRETS if secret in text]
    return found + re.findall(r"run_[0-9a-z]{26}\.[0-9a-f]+\.[A-Za-z0-9_-]+", text)


def canaries(**fields: Any) -> list[dict[str, Any]]:
    return [{"id": FIRST, "fields": {"companyName": CANARY, **fields}}]


async def trouble(world: World) -> list[Any]:
    """Requests that carry contents and go wrong in one way or the other."""
    asked: dict[str, Any] = {"target": "crm", "resource": "contacts", "action": "update"}
    replies = [
        await send(world, "json", "update", canaries(nope="x")),
        await send(world, "json", "update", [*canaries(), *canaries()]),
        await send(world, "json", "update", [{"id": CANARY, "fields": {"city": CANARY}}]),
        await send(world, "json", "update", [{"id": FIRST, "fields": CANARY}]),
        await send(world, "json", "update", canaries(dndSettings={"Call": CANARY})),
        await post(world, f'{{"id": "{CANARY}", '.encode(), "ndjson", **asked),
        await post(world, f'id,city\na,"{CANARY}"x\n'.encode(), "csv", **asked),
        await post(world, f"id,city\na,{CANARY},{CANARY}\n".encode(), "csv", **asked),
        await post(world, f'{{"target": "crm", "note": {CANARY}'.encode()),
        await world.http.put(f"/to/crm/contacts/{FIRST}", content=f'{{"city": {CANARY}'.encode()),
        await world.http.put(f"/to/crm/contacts/{FIRST}", json={"dndSettings": {"Call": CANARY}}),
        await world.http.post("/to/crm/contacts/nowhere/x", json={"city": CANARY}),
    ]
    for fault in ({"kind": "drop_after"}, {"kind": "half_json"}, {"kind": "html"}, {"kind": "status", "status": 500}):
        await world.fault(match={"method": "PUT"}, times=1, **fault)
        replies.append(await world.http.put(f"/to/crm/contacts/{FIRST}", json={"city": CANARY}))
    await all_ended(world)
    return replies


def without_own_urls(reply: Any) -> str:
    """An error in doubt and a failed operation carry the revert URL on purpose: it is for this caller."""
    if "problem+json" not in reply.headers["content-type"]:
        return ""
    return "\n".join(f"{k}: {v}" for k, v in reply.json().items() if k != "revert_url")


async def test_no_error_tells_secrets_or_what_records_hold(small_world: World) -> None:
    told = [told_secrets(without_own_urls(reply)) for reply in await trouble(small_world)]
    assert [found for found in told if found] == []


async def test_no_log_line_tells_secrets_or_what_records_hold(
    small_world: World, logged: LogCapture, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    told = await small_world.operate("update", canaries())
    await trouble(small_world)
    await small_world.http.get(path_of(told["revert_url"]))
    await small_world.http.get(path_of(told["revert_url"])[:-1])
    await small_world.revert(told)
    await small_world.http.get("/v1/runs", headers={"guard-key": OTHER_KEY})
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    out, err = capfd.readouterr()
    assert told_secrets(f"{logged.entries}\n{ours}\n{out}\n{err}") == []


async def test_an_unexpected_fault_is_logged_by_its_kind_only(
    small_world: World, logged: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(small_world.guard, "target", broken)
    reply = await send(small_world, "json", "update", updates(small_world, 1))
    assert (reply.status_code, reply.json()["written"]) == (500, "unknown")
    (entry,) = [entry for entry in logged.entries if entry["event"] == "internal_error"]
    assert entry["error"] == "RuntimeError"
    assert CANARY not in f"{reply.text}{logged.entries}"


async def test_what_hooks_refuse_and_log_holds_nothing_of_payloads_and_secrets(
    tmp_path: Path, logged: LogCapture
) -> None:
    async with hook_world(tmp_path) as world:
        write(
            tmp_path / "hooks", "keyed", 'run_key = "run"\n' + BY_KEY.replace('"first"', "\"join('', [first, `1`])\"")
        )
        replies = []
        for odd in (CANARY, [CANARY], {CANARY: CANARY}, {"who": {CANARY: 1}}, {"who": CANARY, "first": CANARY}):
            for payload in (odd, {"people": odd, "run": {CANARY: CANARY}}, {"people": [odd], "run": f"{CANARY}\n"}):
                replies += [await call(world, name, payload) for name in ("by-key", "keyed", "signed", CANARY)]
        replies.append(await call(world, "by-key", f'{{"{CANARY}": '.encode()))
        replies.append(await call_signed(world, CANARY.encode(), {**signature(b""), "webhook-timestamp": CANARY}))
        content = f'["{CANARY}"]'.encode()
        replies.append(await call_signed(world, content, signature(content)))
        await call(world, "by-key", people(world, city=CANARY))
        await all_ended(world)
        told = "".join(reply.text for reply in replies if f"hook '{CANARY}'" not in reply.text)
    assert replies
    assert not [secret for secret in (*SECRETS, SECRET) if secret in told + str(logged.entries)]
