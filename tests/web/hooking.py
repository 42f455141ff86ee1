"""What tests of hooks share: scenario files, payloads, and calls signed by Standard Webhooks' own library."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson
from standardwebhooks import Webhook

from tests.world import World, world

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the specification's own example; tests/world.py puts it into the environment as GUARD_TEST_CALLBACK_SECRET."""
BY_KEY = """\
target = "crm"
resource = "contacts"
action = "update"
records = "people"
[record]
id = "who"
[record.fields]
firstName = "first"
city = "home.city"
"""
SIGNED = 'secrets = [{ env = "GUARD_TEST_CALLBACK_SECRET" }]\n' + BY_KEY


def write(folder: Path, name: str, text: str = BY_KEY) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@asynccontextmanager
async def hook_world(folder: Path, **more: Any) -> AsyncIterator[World]:
    """A world whose hooks stand in folder/hooks: `by-key` and `signed` to begin with."""
    hooks = folder / "hooks"
    write(hooks, "by-key", BY_KEY)
    write(hooks, "signed", SIGNED)
    async with world(folder, scenarios=hooks, **more) as made:
        yield made


def people(world: World, count: int = 3, city: str = "Nowhere") -> dict[str, Any]:
    return {"people": [{"who": id_, "home": {"city": city}} for id_ in list(world.contacts)[:count]]}


async def call(world: World, name: str, payload: Any, **headers: str) -> httpx2.Response:
    """With the world's client key, unless a header says otherwise."""
    content = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    given = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    return await world.http.post(f"/hooks/{name}", content=content, headers=given)


async def call_signed(
    world: World, content: bytes, headers: Mapping[str, str], *, name: str = "signed"
) -> httpx2.Response:
    """Without a client key."""
    # As latin-1, since that is what a server takes headers for: a test may send what no client would.
    named = {"content-type": "application/json", **headers}
    given = {name.encode(): value.encode("latin-1") for name, value in named.items()}
    transport = world.http._transport
    async with httpx2.AsyncClient(transport=_Kept(transport), base_url=world.http.base_url) as http:
        return await http.post(f"/hooks/{name}", content=content, headers=given)


class _Kept(httpx2.AsyncBaseTransport):
    """The world's transport, not closed with the client."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transport.handle_async_request(request)


def signature(
    content: bytes, *, id_: str = "msg_1", at: datetime | None = None, secret: str = SECRET
) -> dict[str, str]:
    """The three headers, as the library makes them."""
    at = at or datetime.now(UTC)
    signed = Webhook(secret).sign(id_, at, content.decode())
    return {"webhook-id": id_, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signed}
