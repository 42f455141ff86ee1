"""A credential that is exchanged for a token: fetched once, renewed when it counts no longer, told when it is wrong."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from guard.core.errors import Unavailable
from guard.target.access import Access
from guard.target.client import Client, Denied, NotSent
from guard.target.http import HttpTarget
from guard.target.pace import Pace
from handlers.base import Call, Reply
from scenarios.sandboxes.common import running
from tests.handlers.example_crm import ExampleCrm

WRITE = Call(method="POST", path="/people", body={"name": "Ann"})
READ = Call(method="GET", path="/people")


class WithTokens(ExampleCrm):
    """The example, if it gave tokens that end."""

    def login(self, credential: str) -> Call | None:
        return Call(method="POST", path="/token", body=f"secret={credential}".encode(), headers={"content-type": "x/y"})

    def token(self, reply: Reply) -> str | None:
        found = reply.part("token")
        return found if reply.status == 200 and isinstance(found, str) else None


class Vendor:
    """Counts what it gave and did. A token counts while it is the newest, and for `uses_max` calls."""

    def __init__(self) -> None:
        self.given = 0
        self.uses_left = 1_000_000
        self.uses_max = 1_000_000
        self.done = 0
        self.refused = 0
        self.token_status = 200
        self.typed: set[str | None] = set()

    async def token(self, request: Request) -> Response:
        self.typed.add(request.headers.get("content-type"))
        if await request.body() != b"secret=s3cret":
            return JSONResponse({"error": "invalid_client"}, 400)
        if self.token_status != 200:
            return JSONResponse({}, self.token_status)
        self.given += 1
        self.uses_left = self.uses_max
        await asyncio.sleep(0.05)
        return JSONResponse({"token": f"t{self.given}"})

    async def people(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer t{self.given}" or self.uses_left <= 0:
            self.refused += 1
            return JSONResponse({"error": "expired"}, 401)
        self.uses_left -= 1
        self.done += 1
        return JSONResponse({"people": []})


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def url(vendor: Vendor) -> Iterator[str]:
    routes = [Route("/token", vendor.token, methods=["POST"]), Route("/people", vendor.people, methods=["GET", "POST"])]
    with running(Starlette(routes=routes)) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    client = made(url)
    yield client
    await client.close()


def made(url: str, credential: str = "s3cret") -> Client:
    return Client(url, Access(WithTokens({}), credential), Pace(None, None), 2.0)


async def test_many_calls_at_once_fetch_one_token(client: Client, vendor: Vendor) -> None:
    replies = await asyncio.gather(*(client.read(READ) for _ in range(20)))
    assert ([reply.status for reply in replies], vendor.given, vendor.refused) == ([200] * 20, 1, 0)
    assert vendor.typed == {"x/y"}


async def test_a_token_that_ends_in_mid_run_is_renewed_and_every_write_happens_once(
    client: Client, vendor: Vendor
) -> None:
    vendor.uses_max = 3
    replies = [await client.write(WRITE) for _ in range(7)]
    assert [reply.status for reply in replies] == [200] * 7
    assert (vendor.done, vendor.given, vendor.refused) == (7, 3, 2)


async def test_many_that_meet_an_ended_token_renew_it_once(client: Client, vendor: Vendor) -> None:
    await client.read(READ)
    vendor.uses_left = 0
    await asyncio.gather(*(client.write(WRITE) for _ in range(20)))
    assert (vendor.done, vendor.given) == (21, 2)


async def test_who_learns_late_that_an_old_token_has_ended_does_not_forget_the_new_one() -> None:
    sent: list[Call] = []

    async def send(call: Call) -> Reply:
        sent.append(call)
        return Reply(200, b'{"token": "t%d"}' % len(sent))

    access = Access(WithTokens({}), "s3cret")
    old = await access.secret(send)
    assert access.outdated(old, Reply(401))
    new = await access.secret(send)
    assert access.outdated(old, Reply(401))
    assert (await access.secret(send), len(sent), new != old) == (new, 2, True)


async def test_the_vendors_own_requests_are_renewed_like_guards(client: Client, vendor: Vendor) -> None:
    await client.read(READ)
    vendor.uses_left = 0
    async with client.stream("POST", "/people", "", {}, b"{}") as (response, _):
        assert response.status_code == 200
    assert (vendor.done, vendor.given) == (2, 2)


async def test_a_fresh_token_that_is_refused_too_is_not_renewed_for_ever(client: Client, vendor: Vendor) -> None:
    vendor.uses_max = 0
    assert (await client.write(WRITE)).status == 401
    assert (vendor.refused, vendor.given) == (2, 2)


async def test_a_renewed_call_is_not_sent_when_it_may_be_no_longer(client: Client, vendor: Vendor) -> None:
    await client.read(READ)
    vendor.uses_left = 0
    answers = iter([True, False])
    with pytest.raises(NotSent, match="taken over"):
        await client.write(WRITE, lambda: next(answers))
    assert vendor.done == 1


async def test_a_wrong_credential_is_told_as_one_and_nothing_is_sent(url: str, vendor: Vendor) -> None:
    client = made(url, "wrong")
    target = HttpTarget("crm", WithTokens({}), client)
    with pytest.raises(Denied):
        await client.write(WRITE)
    with pytest.raises(Unavailable) as told:
        await target.read("people", ["ann"])
    assert (told.value.code, vendor.done, vendor.refused) == ("target_refused", 0, 0)
    assert "wrong" not in told.value.detail
    await target.close()


async def test_a_token_that_cannot_be_had_now_means_that_nothing_was_sent(client: Client, vendor: Vendor) -> None:
    vendor.token_status = 503
    with pytest.raises(NotSent, match="503") as told:
        await client.write(WRITE)
    assert not isinstance(told.value, Denied)
    assert vendor.done == 0


async def test_a_credential_that_needs_no_token_is_sent_as_it_is_and_never_twice(url: str, vendor: Vendor) -> None:
    client = Client(url, Access(ExampleCrm({}), "s3cret"), Pace(None, None), 2.0)
    assert (await client.write(WRITE)).status == 401
    assert (vendor.refused, vendor.given) == (1, 0)
    await client.close()
