"""Subscriptions: callers that hear of every operation and revert that ends, until they want no more of it.

A subscription is an object that is created once; a second one beside it ends it, so that nothing is overwritten or
removed. Each process remembers the list and reads it anew while an operation goes on, so that no operation waits for
the store because of it; another copy of Guard may be behind by SUBSCRIPTIONS_S.
"""

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog

from guard.core.errors import Refused
from guard.core.limits import SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_S
from guard.settings import ClientSettings
from guard.store.base import KeyMissing, KeyTaken, StoreError
from guard.store.journal import store_unavailable
from guard.store.journals import Journals

log = structlog.get_logger()

_FOLDER, _ENDED = "subscriptions/", ".ended"
_ID = re.compile(r"sub_[0-9a-f]{24}")
_DIGEST_CHARS = 64


class Wanted(msgspec.Struct, frozen=True):
    """What a caller wants to hear of; an empty member leaves nothing out."""

    client: str
    hook_url: str
    target: str = ""
    scenario: str = ""
    statuses: tuple[str, ...] = ()


def is_subscription(name: str) -> bool:
    """Is it a subscription's id, and not a place's name?"""
    return _ID.fullmatch(name) is not None


class Subscription(msgspec.Struct, frozen=True):
    id: str
    created_at: str
    wanted: Wanted

    @property
    def key(self) -> str:
        return f"{_FOLDER}{self.wanted.client}/{self.id}"


class Subscriptions:
    """Those of one store, as this process knows them. `clients`: whose key opens which targets."""

    def __init__(self, journals: Journals, clients: Sequence[ClientSettings]) -> None:
        self._journals = journals
        self._opened = {client.name: frozenset(client.targets) for client in clients}
        self._known: dict[str, Subscription] = {}
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def subscribe(self, wanted: Wanted) -> tuple[Subscription, bool]:
        """The subscription, and True where it is new: asked again, an equal one is the one that is there.

        Raises Refused where the client has as many as it may (of two copies of Guard each may let the last one in),
        Unavailable.
        """
        mine = await self.of(wanted.client)
        for known in mine:
            if known.wanted == wanted:
                return known, False
        if len(mine) >= SUBSCRIPTIONS_MAX:
            detail = f"{wanted.client} has {SUBSCRIPTIONS_MAX} subscriptions. End one that is not needed any more."
            raise Refused("too_many_subscriptions", detail)
        at = self._journals.clock().isoformat(timespec="seconds").replace("+00:00", "Z")
        made = Subscription(f"sub_{secrets.token_hex(12)}", at, wanted)
        await self._create(made.key, _encoded(made))
        self._known[made.key] = made
        return made, True

    async def unsubscribe(self, client: str, id_: str) -> None:
        """End one; again, it has ended. Raises Refused where the client has none of this id, Unavailable."""
        key = f"{_FOLDER}{client}/{id_}"
        missing = Refused("not_found", "There is no such subscription.")
        if not _ID.fullmatch(id_):
            raise missing
        try:
            await self._journals.store.get(key)
        except KeyMissing:
            raise missing from None
        except StoreError as error:
            raise store_unavailable(error) from error
        with suppress(KeyTaken):
            await self._create(key + _ENDED, b"")
        self._known.pop(key, None)

    async def of(self, client: str) -> list[Subscription]:
        """A client's own, from the store. Raises Unavailable."""
        try:
            await self._read()
        except StoreError as error:
            raise store_unavailable(error) from error
        return [each for each in self._known.values() if each.wanted.client == client]

    def look(self) -> None:
        """Begin to read the list anew where it is old, beside what the caller does next."""
        old = self._read_at is None or time.monotonic() - self._read_at >= SUBSCRIPTIONS_S
        if old and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read_quietly())

    async def hearing(self, targets: set[str], scenario: str | None, status: str) -> list[str]:
        """The ids of those that are to hear of an end. `targets`: all of the run, which a client's key must open."""
        self.look()
        if self._reading:
            await asyncio.wait([self._reading])
        return [each.id for each in self._known.values() if self._hears(each.wanted, targets, scenario, status)]

    async def find(self, id_: str) -> Subscription | None:
        """One that has not ended, as far as this process knows."""
        self.look()
        if self._reading:
            await asyncio.wait([self._reading])
        return next((each for each in self._known.values() if each.id == id_), None)

    def _hears(self, wanted: Wanted, targets: set[str], scenario: str | None, status: str) -> bool:
        return (
            targets <= self._opened.get(wanted.client, frozenset())
            and wanted.target in ("", *targets)
            and wanted.scenario in ("", scenario)
            and (not wanted.statuses or status in wanted.statuses)
        )

    async def _read_quietly(self) -> None:
        """What goes on meanwhile does not fail because of it: the list stays as it was."""
        try:
            await self._read()
        except StoreError as error:
            log.warning("subscriptions_not_read", error=type(error).__name__)

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        keys = {key async for key in self._journals.store.list(_FOLDER)}
        there = {key for key in keys if not key.endswith(_ENDED) and key + _ENDED not in keys}
        for key in there - self._known.keys():
            if made := _decoded(key, await self._journals.store.get(key)):
                self._known[key] = made
        # Those that were made here since the listing began are not in it.
        for key in [key for key in self._known if key + _ENDED in keys]:
            del self._known[key]

    async def _create(self, key: str, data: bytes) -> None:
        """Raises KeyTaken, Unavailable."""
        try:
            await self._journals.store.create(key, data)
        except KeyTaken:
            raise
        except StoreError as error:
            raise store_unavailable(error) from error


def _encoded(subscription: Subscription) -> bytes:
    rest = msgspec.json.encode(subscription)
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def _decoded(key: str, data: bytes) -> Subscription | None:
    """None for one that is not what was stored: nobody is called on such a ground."""
    digest, rest = data[:_DIGEST_CHARS], data[_DIGEST_CHARS + 1 :]
    if hashlib.sha256(rest).hexdigest().encode() == digest:
        return msgspec.json.decode(rest, type=Subscription)
    log.error("subscription_damaged", key=key)
    return None
