"""Ask a store at start whether it keeps the promise that everything rests on: of many creates, one wins.

Servers that ignore If-None-Match, or look first and store later, answer like good ones until two writers meet. The
first kind is always found. The second is found with some probability: a server that looks when the headers arrive
and stores when the body has was found in 7 of 10 rounds, one with a window of microseconds (moto) in 1 of 20. So this
refuses what is clearly broken; it is no proof that a server is sound.
"""

import asyncio
import contextlib
import secrets

from guard.store.base import KeyMissing, KeyTaken, Store, StoreError, Unknown

_WRITERS = 20
_SMALL_BYTES = 64
_LARGE_BYTES = 256 * 1024
_ROUNDS = (_LARGE_BYTES, *[_SMALL_BYTES] * 6)

_ADVICE = (
    "Runs would overwrite each other's history there, so Guard does not start. Use a store that honours "
    "If-None-Match on PUT (AWS S3, MinIO, R2, on Ceph a bucket that never had versions) or store.url = file:path."
)


class StoreNotFit(Exception):
    """The store does not keep its promises; the message says what happened and what to do."""

    def __init__(self, finding: str) -> None:
        super().__init__(f"The store {finding}. {_ADVICE}")


async def prove_create_once(store: Store) -> None:
    """Return if the store is fit. Raises StoreNotFit if it is not, Unavailable if it cannot be asked now.

    Works on keys below probe/, and removes them. Takes 143 creates, 20 of them at a time: about a second.
    """
    prefix = f"probe/{secrets.token_hex(8)}"
    keys = [f"{prefix}-{number}" for number in range(len(_ROUNDS))]
    try:
        await _one_after_the_other(store, f"{prefix}-alone")
        for key, size in zip(keys, _ROUNDS, strict=True):
            await _all_at_once(store, key, size)
        if [key async for key in store.list(f"{prefix}-")] != keys:
            raise StoreNotFit("does not list what was stored")
    except Unknown as error:
        raise StoreNotFit(f"does not tell whether it stored an object ({error})") from error
    finally:
        # What went wrong before is the better message; a removal was already tried in the first part.
        with contextlib.suppress(StoreError):
            await asyncio.gather(*(store.remove(key) for key in [f"{prefix}-alone", *keys]))


async def _one_after_the_other(store: Store, key: str) -> None:
    first, second = secrets.token_bytes(_SMALL_BYTES), secrets.token_bytes(_SMALL_BYTES)
    await store.create(key, first)
    if await _wins(store, key, second):
        raise StoreNotFit("overwrote an object: a second create with the same key succeeded")
    if await _read(store, key) != first:
        raise StoreNotFit("does not give back what was stored")
    await store.remove(key)
    if await _read(store, key) is not None:
        raise StoreNotFit("still shows an object that was removed")
    try:
        free = await _wins(store, key, second)
    except Unknown:
        # Refused, and nothing is there: so Ceph, where a bucket once had versions.
        free = await _read(store, key) == second
    if not free:
        raise StoreNotFit("refuses a key whose object was removed")
    await store.remove(key)


async def _all_at_once(store: Store, key: str, size: int) -> None:
    datas = [secrets.token_bytes(size) for _ in range(_WRITERS)]
    won = await asyncio.gather(*(_wins(store, key, data) for data in datas))
    winners = [data for data, mine in zip(datas, won, strict=True) if mine]
    if len(winners) != 1:
        raise StoreNotFit(f"let {len(winners)} of {_WRITERS} concurrent creates with one key succeed")
    if await _read(store, key) != winners[0]:
        raise StoreNotFit("gave the key to one writer and kept another's data")


async def _wins(store: Store, key: str, data: bytes) -> bool:
    try:
        await store.create(key, data)
    except KeyTaken:
        return False
    return True


async def _read(store: Store, key: str) -> bytes | None:
    try:
        return await store.get(key)
    except KeyMissing:
        return None
