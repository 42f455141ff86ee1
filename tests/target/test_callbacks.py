"""Callbacks: to whom they may go, how they are signed, and what a receiver may do wrong."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from guard.core.errors import Refused
from guard.target.callbacks import Callbacks, NotDelivered, sign
from tests.servers import application

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Keeps what it was sent; answers with `status`, or redirects to itself."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []

    async def hook(self, request: Request) -> Response:
        self.received.append((dict(request.headers), await request.body()))
        if self.status == 302:
            return RedirectResponse("/hook", 307)
        return PlainTextResponse("", self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    app = Starlette(routes=[Route("/hook", made.hook, methods=["POST"])])
    with application(app) as url:
        yield made, f"{url}/hook"


def test_the_signature_is_the_one_of_the_specification() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    made = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_receiver_gets_the_body_signed(receiver: tuple[Receiver, str]) -> None:
    told, url = receiver
    await Callbacks(SECRET, ["127.0.0.1/32"]).deliver(url, "run_1.op_1", b"{}")
    ((headers, body),) = told.received
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert (body, headers["webhook-id"], headers["content-type"]) == (b"{}", "run_1.op_1", "application/json")
    assert headers["webhook-signature"] == sign(key, "run_1.op_1", headers["webhook-timestamp"], b"{}")
    assert headers["host"] == url.split("/")[2]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://[2002:7f00:1::]/x",
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://172.16.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/latest/meta-data/",
        "https://[fe80::1]/x",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://224.0.0.1/x",
        "https://255.255.255.255/x",
    ],
)
async def test_an_address_inside_is_refused_when_it_is_named_and_again_when_it_is_called(url: str) -> None:
    callbacks = Callbacks(SECRET)
    with pytest.raises(Refused, match="not an address that Guard may call"):
        callbacks.refuse_unfit(url)
    with pytest.raises(NotDelivered):
        await callbacks.deliver(url, "id", b"{}")


@pytest.mark.parametrize(
    "url",
    "http://example.com/x ftp://example.com/x file:///etc/passwd https://a:b@example.com/ x https:// //x".split(),
)
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        Callbacks(SECRET).refuse_unfit(url)


def test_without_a_secret_there_are_no_callbacks() -> None:
    with pytest.raises(Refused, match="not set up"):
        Callbacks(None).refuse_unfit("https://example.com/x")


@pytest.mark.parametrize("name", ["2130706433", "0x7f.1", "localhost", "127.1"])
async def test_a_name_that_leads_inside_is_not_called(name: str, receiver: tuple[Receiver, str]) -> None:
    """Resolved here, and every address checked: whatever way there is to write it."""
    told, url = receiver
    port = url.split(":")[2].split("/")[0]
    with pytest.raises(NotDelivered, match="may call"):
        await Callbacks(SECRET).deliver(f"https://{name}:{port}/hook", "id", b"{}")
    assert told.received == []


async def test_a_name_that_resolves_otherwise_a_moment_later_gains_nothing(
    receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the connection goes to the address that was checked; the name is asked for once."""
    _, url = receiver
    port = url.split(":")[2].split("/")[0]
    asked: list[str] = []

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = "203.0.113.5" if len(asked) > 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    allowed = Callbacks(SECRET, ["hooks.example.test"])
    await allowed.deliver(f"http://hooks.example.test:{port}/hook", "id", b"{}")
    assert asked.count("hooks.example.test") == 1


async def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in ("93.184.216.34", "10.0.0.7")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(NotDelivered, match="may call"):
        await Callbacks(SECRET).deliver("https://hooks.example.test/", "id", b"{}")


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
async def test_an_answer_that_is_no_success_is_no_delivery_and_redirects_are_not_followed(
    receiver: tuple[Receiver, str], status: int
) -> None:
    told, url = receiver
    told.status = status
    with pytest.raises(NotDelivered, match="the answer was"):
        await Callbacks(SECRET, ["127.0.0.0/8"]).deliver(url, "id", b"{}")
    assert len(told.received) == 1


async def test_nobody_there_is_no_delivery() -> None:
    with pytest.raises(NotDelivered, match="no answer"):
        await Callbacks(SECRET, ["127.0.0.0/8"]).deliver("http://127.0.0.1:9/x", "id", b"{}")
