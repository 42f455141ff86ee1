"""Signing in to the pages: what the cookie is worth, for how long, and what it does not open."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from guard.core.limits import SESSION_S, WRONG_KEYS_AT_ONCE_MAX
from guard.web import sessions as sessions_module
from guard.web.app import create_app
from guard.web.sessions import Sessions
from tests.flows.copies import until
from tests.web.doors import nothing_happens, nothing_is_written, updates
from tests.web.test_pages import HTML
from tests.world import KEY, OTHER_KEY, PUBLIC_URL, World


def visitor(world: World) -> httpx2.AsyncClient:
    """A browser: keeps cookies, has no key."""
    transport = httpx2.ASGITransport(world.app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=HTML, timeout=60)


async def signed_in(world: World, key: str = KEY) -> httpx2.AsyncClient:
    browser = visitor(world)
    reply = await browser.post("/sign-in", data={"key": key})
    assert reply.status_code == 303, reply.text
    return browser


async def is_in(browser: httpx2.AsyncClient) -> bool:
    reply = await browser.get("/")
    assert reply.status_code in (200, 303)
    return bool(reply.status_code == 200)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "WRONG_KEY_S", 0.01)


async def test_a_key_opens_the_pages_and_signing_out_closes_them(small_world: World) -> None:
    browser = visitor(small_world)
    assert not await is_in(browser)
    reply = await browser.post("/sign-in", data={"key": KEY})
    cookie = reply.headers["set-cookie"]
    assert KEY not in cookie
    assert re.search(
        rf"guard_session=tests\.[0-9a-f]+\.[\w-]{{32}}; HttpOnly; Max-Age={SESSION_S}; Path=/; SameSite=lax", cookie
    )
    page = await browser.get("/")
    assert page.status_code == 200
    (token,) = re.findall(r'name="form_token" value="([^"]*)"', page.text)
    await browser.post("/sign-out", data={"form_token": token})
    assert not await is_in(browser)


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", KEY[:-1], "\x00", "ключ", "a" * 100_000])
async def test_a_wrong_key_opens_nothing(small_world: World, key: str) -> None:
    browser = visitor(small_world)
    reply = await browser.post("/sign-in", data={"key": key})
    assert (reply.status_code, reply.headers.get("set-cookie")) == (401, None)
    assert not await is_in(browser)


async def test_somebody_who_is_not_signed_in_is_asked_and_led_back(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    browser = visitor(small_world)
    reply = await browser.get(f"/runs/{told['id']}?page=2")
    assert reply.status_code == 303
    asked = await browser.get(reply.headers["location"])
    (then,) = re.findall(r'name="then" value="([^"]*)"', asked.text)
    reply = await browser.post("/sign-in", data={"key": KEY, "then": then})
    assert reply.headers["location"] == f"/runs/{told['id']}?page=2"


@pytest.mark.parametrize(
    "then",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/sign-out", "/runs/\r\nx"],
)
async def test_signing_in_leads_nowhere_else(small_world: World, then: str) -> None:
    reply = await visitor(small_world).post("/sign-in", data={"key": KEY, "then": then})
    assert reply.headers["location"] == "/"


async def test_a_session_ends_by_itself(small_world: World) -> None:
    browser = await signed_in(small_world)
    made: Sessions = small_world.app.state.sessions
    now = made._clock
    made._clock = lambda: now() + timedelta(seconds=SESSION_S - 60)
    assert await is_in(browser)
    made._clock = lambda: now() + timedelta(seconds=SESSION_S + 1)
    assert not await is_in(browser)


async def test_no_other_cookie_is_a_session(small_world: World) -> None:
    browser = await signed_in(small_world)
    (value,) = browser.cookies.values()
    name, expiry, mac = value.split(".")
    later = f"{int(expiry, 16) + 1000:x}"
    for forged in (
        f"others.{expiry}.{mac}",
        f"{name}.{later}.{mac}",
        f"{name}.{expiry}.{mac[::-1]}",
        "tests",
        "..",
        "",
    ):
        fresh = visitor(small_world)
        fresh.cookies.set("guard_session", forged)
        assert not await is_in(fresh), forged


def with_settings(world: World, change: Any) -> None:
    """The application as it is after a restart with other settings."""
    settings = change(world.guard.settings)
    world.app.state.sessions = Sessions(settings, world.app.state.callers, world.guard.now)


async def test_who_has_left_the_settings_or_has_another_key_is_signed_out(small_world: World) -> None:
    browser = await signed_in(small_world)
    first = small_world.guard.settings.clients[0]
    with_settings(small_world, lambda s: s.model_copy(update={"clients": [first]}))
    assert await is_in(browser)
    other_key = first.model_copy(update={"key": SecretStr("quite-another-key-than-before")})
    with_settings(small_world, lambda s: s.model_copy(update={"clients": [other_key]}))
    assert not await is_in(browser)
    with_settings(small_world, lambda s: s.model_copy(update={"clients": s.clients[1:]}))
    assert not await is_in(browser)


async def test_sessions_rotate_with_the_servers_keys(small_world: World) -> None:
    browser = await signed_in(small_world)
    old = small_world.guard.settings.server.secret_keys[0]
    new = SecretStr("another-secret-that-signs-things")

    def keys(*them: SecretStr) -> Any:
        return lambda s: s.model_copy(update={"server": s.server.model_copy(update={"secret_keys": list(them)})})

    with_settings(small_world, keys(new, old))
    assert await is_in(browser)
    with_settings(small_world, keys(new))
    assert not await is_in(browser)


async def test_behind_https_the_cookie_goes_nowhere_else(small_world: World) -> None:
    server = small_world.guard.settings.server.model_copy(update={"public_url": "https://guard.test"})
    with_settings(small_world, lambda s: s.model_copy(update={"server": server}))
    reply = await visitor(small_world).post("/sign-in", data={"key": KEY})
    assert reply.headers["set-cookie"].startswith("__Host-guard_session=")
    assert "; Secure" in reply.headers["set-cookie"]


async def test_a_session_opens_pages_and_no_door_of_the_api(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    browser = await signed_in(small_world)
    with nothing_happens(small_world):
        for method, path in (
            ("GET", "/v1/runs"),
            ("GET", f"/v1/runs/{told['id']}/events"),
            ("POST", f"/v1/runs/{told['id']}/stop"),
            ("POST", "/v1/operations"),
            ("GET", f"/to/crm/contacts/{next(iter(small_world.contacts))}"),
        ):
            assert (await browser.request(method, path)).status_code == 401, path


async def test_another_clients_runs_are_not_there(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    browser = await signed_in(small_world, OTHER_KEY)
    for path in (f"/runs/{told['id']}", f"/runs/{told['id']}/changes.csv", f"/runs/{told['id']}/events"):
        assert (await browser.get(path)).status_code == 404, path
    assert told["id"] not in (await browser.get("/")).text


@pytest.mark.parametrize("token", [None, "", "wrong", "ключ", "of another session"])
async def test_a_form_of_another_site_does_nothing(small_world: World, token: str | None) -> None:
    told = await small_world.operate("update", updates(small_world))
    browser = await signed_in(small_world)
    if token == "of another session":
        page = await (await signed_in(small_world, OTHER_KEY)).get("/")
        (token,) = re.findall(r'name="form_token" value="([^"]*)"', page.text)
    form = {} if token is None else {"form_token": token}
    with nothing_happens(small_world):
        for path in (f"/runs/{told['id']}/stop", "/sign-out"):
            reply = await browser.post(path, data=form)
            assert reply.status_code == 403, (path, reply.text)
    assert await is_in(browser)


async def test_another_site_cannot_sign_somebody_in(small_world: World) -> None:
    browser = visitor(small_world)
    reply = await browser.post("/sign-in", data={"key": KEY}, headers={"sec-fetch-site": "cross-site"})
    assert (reply.status_code, reply.headers.get("set-cookie")) == (403, None)


async def test_so_many_wrong_keys_wait_and_further_ones_are_not_looked_at(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries keys gets at most ten answers a second, and nobody else's key costs anything by it."""
    monkeypatch.setattr(sessions_module, "WRONG_KEY_S", 30)
    browser = visitor(small_world)
    waiting = [
        asyncio.create_task(browser.post("/sign-in", data={"key": "wrong"})) for _ in range(WRONG_KEYS_AT_ONCE_MAX)
    ]
    await until(lambda: small_world.app.state.sessions._wrong == WRONG_KEYS_AT_ONCE_MAX)
    reply = await browser.post("/sign-in", data={"key": KEY})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "5")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await browser.post("/sign-in", data={"key": KEY})).status_code == 303


async def test_no_page_of_a_session_is_kept_by_a_cache(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    browser = await signed_in(small_world)
    for path in (
        "/",
        f"/runs/{told['id']}",
        f"/runs/{told['id']}/changes.csv",
        f"/runs/{told['id']}/events",
        "/sign-in",
    ):
        reply = await browser.get(path)
        assert reply.status_code == 200, path
        assert (reply.headers["cache-control"], reply.headers["referrer-policy"]) == ("no-store", "no-referrer"), path


async def test_a_run_is_stopped_by_its_button(small_world: World) -> None:
    await small_world.fault(kind="hang", seconds=60, match={"method": "PUT"}, times=100)
    told = await small_world.operate("update", updates(small_world, 5), headers={"prefer": "respond-async"}, status=202)
    browser = await signed_in(small_world)
    page = (await browser.get(f"/runs/{told['id']}")).text
    tokens = set(re.findall(r'name="form_token" value="([^"]*)"', page))
    assert "Stop it" in page
    stopping = asyncio.create_task(browser.post(f"/runs/{told['id']}/stop", data={"form_token": tokens.pop()}))
    await asyncio.sleep(0.1)
    small_world.sandbox.release()
    assert (await stopping).status_code == 303
    await small_world.settle()
    assert "Stop it" not in (await browser.get(f"/runs/{told['id']}")).text


async def test_pages_lead_to_their_host_s_own_folder_where_guard_is_not_at_its_root(small_world: World) -> None:
    server = small_world.guard.settings.server.model_copy(update={"public_url": "https://host.test/guard"})
    small_world.guard.settings = small_world.guard.settings.model_copy(update={"server": server})
    app = create_app(small_world.guard)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="https://host.test", headers=HTML
    ) as browser:
        page = await browser.get("/sign-in")
        assert 'action="/guard/sign-in"' in page.text
        assert 'href="/guard/static/guard.css"' in page.text
        with nothing_is_written(small_world):
            reply = await browser.post("/sign-in", data={"key": KEY})
        assert reply.headers["location"] == "/guard/"
