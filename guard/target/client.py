"""The only HTTP client: sends one call to a vendor, paced, retried where nothing can happen twice.

What the transport may do wrong ends here as one of two facts: NotSent (no byte of the request can have been
acted upon) or NoAnswer (it may have been).
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache

import httpx2
import orjson

from guard.core.limits import REPLY_BYTES_MAX
from guard.metrics import Attempted, uncounted
from guard.target.access import Access, NoToken
from guard.target.base import MayWrite, always
from guard.target.circuit import FAILURES_MAX, Circuit
from guard.target.pace import Pace, TooLong
from handlers.base import Call, Reply

ATTEMPTS_MAX = 4
_BACKOFF_S = 0.25
_TOO_MANY = 429
_REFUSED = 400
_SERVER_ERROR = 500
_NO_STATUS = 0
_DENIED = frozenset({400, 401, 403})
"""What token endpoints answer to a credential that is wrong (RFC 6749, 5.2), or may not."""
_DOWN = frozenset({502, 503, 504})
"""What gateways answer for a server that is not there; 500 may be about one record."""

_HEADERS = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "automation-guard"}
"""Of every call, unless the handler or the caller says otherwise. All names are in small letters."""


class NotSent(Exception):
    """The request cannot have been acted upon."""


class Paused(NotSent):
    """Not sent, and trying again soon is no use."""


class Denied(Paused):
    """Not sent: the vendor gave no token for Guard's credential."""


class NoAnswer(Exception):
    """The request may have been acted upon; its answer is lost."""


class Client:
    """`access` is who Guard is to the vendor, and what its handler asks for besides."""

    def __init__(
        self, base_url: str, access: Access, pace: Pace, timeout_s: float, attempted: Attempted = uncounted
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._access = access
        self._pace = pace
        self._timeout_s = timeout_s
        self._attempted = attempted
        self._circuit = Circuit()
        self._timeouts = {"timeout": httpx2.Timeout(timeout_s, connect=5.0).as_dict()}
        # Not httpx2's client around it: its redirects, cookies and authentication are not for Guard, and cost time.
        self._http = httpx2.AsyncHTTPTransport(
            # Idle connections are dropped before common servers drop them: a write on one that the server has just
            # closed would be in doubt for nothing.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4.0),
            trust_env=False,
            verify=_tls(),
        )

    def seconds_for(self, calls: int) -> float | None:
        """The least time for so many calls at the target's limit; None: it has none."""
        return self._pace.seconds_for(calls)

    async def read(self, call: Call) -> Reply:
        """Raises NotSent, NoAnswer after the last attempt; any status is an answer."""
        return await self._repeat(call, repeatable=True)

    async def write(self, call: Call, may_send: MayWrite = always) -> Reply:
        """Like read, but repeated after a doubtful outcome only where the call is repeatable.

        `may_send` is asked at the last moment before each attempt. Raises NoAnswer also where a later attempt was
        refused or not sent: that tells nothing of an earlier one that may have been acted upon.
        """
        earlier: list[int] = []
        try:
            reply = await self._repeat(call, repeatable=call.repeatable, may_send=may_send, earlier=earlier)
        except NotSent as error:
            if earlier:
                raise NoAnswer(f"an earlier attempt may have arrived; then {error}") from error
            raise
        lost = not {_NO_STATUS, *_DOWN}.isdisjoint(earlier)
        if earlier and reply.status >= _REFUSED and (lost or reply.status < _SERVER_ERROR):
            raise NoAnswer(f"an earlier attempt may have arrived; then it answered {reply.status}")
        return reply

    async def _repeat(
        self, call: Call, *, repeatable: bool, may_send: MayWrite = always, earlier: list[int] | None = None
    ) -> Reply:
        """`earlier` is given the statuses of attempts that may have been acted upon and were not the last."""
        earlier = [] if earlier is None else earlier
        for attempt in range(1, ATTEMPTS_MAX + 1):
            last = attempt == ATTEMPTS_MAX
            try:
                reply = await self._once(call, may_send)
            except NotSent as error:
                if last or isinstance(error, Paused):
                    raise
            except NoAnswer:
                if last or not repeatable:
                    raise
                earlier.append(_NO_STATUS)
            else:
                again = reply.status == _TOO_MANY or (repeatable and reply.status >= _SERVER_ERROR)
                if last or not again:
                    return reply
                if reply.status != _TOO_MANY:
                    earlier.append(reply.status)
            await asyncio.sleep(_BACKOFF_S * 2 ** (attempt - 1))
        raise AssertionError  # the last attempt returns or raises

    async def _once(self, call: Call, may_send: MayWrite) -> Reply:
        """One attempt; a second one, after a refusal for an outdated token, is still the first that can act."""
        for last in (False, True):
            secret = await self._secret()
            signed = self._access.handler.signed(call, secret)
            reply = await self._whole(signed, self._access.handler.headers(secret), may_send)
            if last or not self._access.outdated(secret, reply):
                return reply
        raise AssertionError  # the last attempt returns or raises

    async def _secret(self) -> str:
        try:
            return await self._access.secret(self._login)
        except NoToken as error:
            raise (Denied if error.status in _DENIED else NotSent)(str(error)) from None
        except NoAnswer as error:
            raise NotSent(f"no token could be had: {error}") from error

    async def _login(self, call: Call) -> Reply:
        return await self._whole(call, {}, always)

    async def _whole(self, call: Call, headers: Mapping[str, str], may_send: MayWrite) -> Reply:
        content = b"" if call.body is None else call.body if isinstance(call.body, bytes) else orjson.dumps(call.body)
        typed = {"content-type": "application/json"} if content else {}
        query = str(httpx2.QueryParams(dict(call.query)))
        headers = {**headers, **typed, **call.headers}
        attempt = self._attempt(call.method, call.path, query, headers, content, whole=True, may_send=may_send)
        async with attempt as response:
            return Reply(response.status_code, await _body(response), response.headers)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        content: bytes,
        *,
        whole: bool = False,
        may_send: MayWrite = always,
    ) -> AsyncIterator[tuple[httpx2.Response, Mapping[str, str]]]:
        """One of the vendor's own requests, once; the response with its headers as received, its body still to be read.

        `whole`: the timeout is for all of the answer, not for each part of it: some trickle. `may_send` is asked when
        its turn has come: the wait for it may have been long.
        """
        for last in (False, True):
            secret = await self._secret()
            ours = {**self._access.handler.headers(secret), **headers}
            attempt = self._attempt(method, path, query, ours, content, whole=whole, may_send=may_send)
            async with attempt as response:
                if last or not self._access.outdated(secret, Reply(response.status_code, headers=response.headers)):
                    yield response, response.headers
                    return

    @asynccontextmanager
    async def _attempt(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        content: bytes,
        *,
        whole: bool,
        may_send: MayWrite,
    ) -> AsyncIterator[httpx2.Response]:
        url = self._base_url + path + (f"?{query}" if query else "")
        request = httpx2.Request(
            method, url, headers={**_HEADERS, **headers}, content=content, extensions=self._timeouts
        )
        async with self._paced():
            self._refuse_while_down()
            if not may_send():
                raise Paused("Guard was taken over by another copy before this was sent")
            began, took_s, outcome = time.perf_counter(), 0.0, "no_answer"
            try:
                async with asyncio.timeout(self._timeout_s if whole else None), self._sent(request) as response:
                    took_s, outcome = time.perf_counter() - began, _class(response.status_code)
                    yield response
            except NotSent:
                self._circuit.failed()
                outcome = "not_sent"
                raise
            except (NoAnswer, httpx2.RequestError, TimeoutError) as error:
                self._circuit.failed()
                outcome = "no_answer"
                raise NoAnswer(str(error) if isinstance(error, NoAnswer) else _sentence(error)) from error
            finally:
                self._attempted(outcome, took_s or time.perf_counter() - began)

    @asynccontextmanager
    async def _sent(self, request: httpx2.Request) -> AsyncIterator[httpx2.Response]:
        try:
            response = await self._http.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise NotSent(_sentence(error)) from error
        try:
            self._learn(response)
            yield response
        finally:
            await response.aclose()

    def _refuse_while_down(self) -> None:
        if wait_s := self._circuit.wait_s():
            raise Paused(f"it has failed {FAILURES_MAX} times in a row; Guard tries it again in {wait_s:.0f} s")

    @asynccontextmanager
    async def _paced(self) -> AsyncIterator[None]:
        try:
            await self._pace.__aenter__()
        except TooLong as error:
            raise Paused(str(error)) from None
        try:
            yield
        finally:
            await self._pace.__aexit__(None, None, None)

    def _learn(self, response: httpx2.Response) -> None:
        self._pace.learn(response.headers)
        # A server that says when to come again is there: 503 is how some refuse what is too much for them.
        asks = response.status_code in _DOWN and "retry-after" in response.headers
        if asks or response.status_code == _TOO_MANY:
            self._pace.pause(response.headers)
        if response.status_code in _DOWN and not asks:
            self._circuit.failed()
        else:
            self._circuit.worked()

    async def close(self) -> None:
        await self._http.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """One for all targets of the process: the list of trusted authorities takes tens of milliseconds to load."""
    return httpx2.create_ssl_context(trust_env=False)


def _class(status: int) -> str:
    """One word for a status; "too many" by itself, since it is the pace that is wrong then, not the request."""
    return str(status) if status == _TOO_MANY else f"{status // 100}xx"


async def _body(response: httpx2.Response) -> bytes:
    """The decoded body. One that is too large to be understood is taken as if it had not come."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > REPLY_BYTES_MAX:
            raise NoAnswer(f"its answer is larger than {REPLY_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def _sentence(error: Exception) -> str:
    """What went wrong without addresses or contents (I10)."""
    return {
        "ConnectError": "the connection was refused or could not be made",
        "ConnectTimeout": "no connection could be made in time",
        "PoolTimeout": "no connection became free in time",
        "TimeoutError": "it did not answer whole in time",
        "ReadTimeout": "it did not answer in time",
        "WriteTimeout": "it did not take the request in time",
    }.get(type(error).__name__, "the connection broke")
