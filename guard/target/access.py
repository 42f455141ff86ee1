"""Who Guard is to a vendor: the credential itself, or a token that is fetched for it and renewed.

A token is kept in memory only. Of many calls that find it outdated at once, one fetches the next.
"""

import asyncio
from collections.abc import Awaitable, Callable

from handlers.base import Call, Handler, Reply


class NoToken(Exception):
    """The vendor gave no token. `status` is that of its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it gave Guard no token (it answered {status})")
        self.status = status


class Access:
    """One target's credential, and what its handler makes of it."""

    def __init__(self, handler: Handler, credential: str) -> None:
        self.handler = handler
        self._credential = credential
        self._token: str | None = None
        self._fetching = asyncio.Lock()

    async def secret(self, send: Callable[[Call], Awaitable[Reply]]) -> str:
        """What calls are made with now. Raises NoToken, and what `send` raises."""
        login = self.handler.login(self._credential)
        if login is None:
            return self._credential
        async with self._fetching:
            if self._token is None:
                reply = await send(login)
                self._token = self.handler.token(reply)
                if self._token is None:
                    raise NoToken(reply.status)
            return self._token

    def outdated(self, secret: str, reply: Reply) -> bool:
        """After a call that was made with `secret`: True where a new token may help. The old one is forgotten."""
        if self.handler.login(self._credential) is None or not self.handler.expired(reply):
            return False
        if self._token == secret:  # else somebody has renewed it meanwhile
            self._token = None
        return True
