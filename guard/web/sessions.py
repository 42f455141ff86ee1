"""Who is signed in to the pages: a cookie that names a client until it expires, and holds no key.

    guard_session = {client's name}.{expiry}.{mac}

The mac covers the client's key as well, so that a client that has left the settings, or whose key was changed, is
signed out with it. It is made with the server's secret keys, and rotates with them: the first signs, all are accepted.
Nothing is stored. The cookie opens pages only; the API takes keys.
"""

import asyncio
import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import Refused
from guard.core.limits import SESSION_S, WRONG_KEY_S, WRONG_KEYS_AT_ONCE_MAX
from guard.settings import ClientSettings, Settings
from guard.store.journal import Clock
from guard.web.callers import Callers

_MAC_BYTES = 24


class TooMany(Exception):
    """So many wrong keys wait for their answer that this one was not even looked at."""


class Sessions:
    """The sessions of one process's settings."""

    def __init__(self, settings: Settings, callers: Callers, clock: Clock) -> None:
        self._clients = {client.name: client for client in settings.clients}
        self._keys = settings.signing_keys
        self._callers = callers
        self._clock = clock
        self._secure = settings.server.public_url.startswith("https:")
        self.cookie = "__Host-guard_session" if self._secure else "guard_session"
        """The prefix has browsers take it only by https and from this very host."""
        self._wrong = 0

    def client(self, request: Request) -> ClientSettings | None:
        """Who is signed in; None: nobody."""
        name, _, rest = request.cookies.get(self.cookie, "").partition(".")
        expiry, _, mac = rest.partition(".")
        client = self._clients.get(name)
        if client is None or not mac.isascii():
            return None
        if not any(hmac.compare_digest(mac, _mac(key, "session", name, expiry, _secret(client))) for key in self._keys):
            return None
        # Only now is the expiry known to be ours.
        return client if self._clock().timestamp() < int(expiry, 16) else None

    async def sign_in(self, key: str) -> ClientSettings | None:
        """The client of this key; None, after a pause: nobody's. Raises TooMany."""
        if self._wrong >= WRONG_KEYS_AT_ONCE_MAX:
            raise TooMany
        if client := self._callers.of_key(key):
            return client
        self._wrong += 1
        try:
            await asyncio.sleep(WRONG_KEY_S)
        finally:
            self._wrong -= 1
        return None

    def begin(self, answer: Response, client: ClientSettings) -> None:
        expires_at: datetime = self._clock() + timedelta(seconds=SESSION_S)
        expiry = f"{int(expires_at.timestamp()):x}"
        value = f"{client.name}.{expiry}.{_mac(self._keys[0], 'session', client.name, expiry, _secret(client))}"
        answer.set_cookie(
            self.cookie, value, max_age=SESSION_S, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def end(self, answer: Response) -> None:
        answer.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="lax")

    def form_token(self, request: Request) -> str:
        """What the forms of a session carry: another site can have a browser send the cookie, but cannot read this."""
        return _mac(self._keys[0], "form", request.cookies.get(self.cookie, ""))

    def refuse_foreign_form(self, request: Request, token: str) -> None:
        """Raise Refused where a form is not one of this session's own pages."""
        cookie = request.cookies.get(self.cookie, "")
        if not token.isascii() or not any(hmac.compare_digest(token, _mac(key, "form", cookie)) for key in self._keys):
            detail = "This form is not from a page of your session. Open the page again and press the button there."
            raise Refused("forbidden", detail)


def _secret(client: ClientSettings) -> str:
    return hashlib.sha256(client.key.get_secret_value().encode()).hexdigest()


def _mac(key: bytes, *parts: str) -> str:
    digest = hmac.digest(key, "\n".join(("guard pages 1", *parts)).encode(), hashlib.sha256)
    return urlsafe_b64encode(digest[:_MAC_BYTES]).decode()
