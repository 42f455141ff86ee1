"""What every store promises. A store joins by a subclass that has the fixtures `store` and `other`.

`other` is a second instance over the same place: another process, as far as the promises go.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from guard.store.base import KeyMissing, KeyTaken, Store, Unavailable

WEIRD_KEYS = ["...", ".hidden", "-", "~", "_/_", "a./.b", "x" * 255, "K", "k", "/".join("d" * 60), "a/..b/c~d.e-f_G"]
TRAPS = ["a-b", "a.b", "a/-", "a/b", "a/b-c", "a/b.c/d", "a/bb", "a0", "aa/a", "a~", "b"]


async def keys_of(keys: AsyncIterator[str]) -> list[str]:
    return [key async for key in keys]


async def create(store: Store, key: str, data: bytes) -> bytes | None:
    """The data if this writer won."""
    try:
        await store.create(key, data)
    except KeyTaken:
        return None
    return data


class StoreConformance:
    rounds = 20
    listed = 2000

    async def test_an_object_comes_back_as_it_was_created(self, store: Store) -> None:
        await store.create("runs/a/00000001", b"\x00 one \xff")
        assert await store.get("runs/a/00000001") == b"\x00 one \xff"

    async def test_an_empty_object_is_an_object(self, store: Store) -> None:
        await store.create("open/run", b"")
        assert await store.get("open/run") == b""
        with pytest.raises(KeyTaken):
            await store.create("open/run", b"")

    async def test_a_second_create_is_refused_and_changes_nothing(self, store: Store, other: Store) -> None:
        await store.create("a", b"first")
        for writer in (store, other):
            for data in (b"second", b"first"):
                with pytest.raises(KeyTaken):
                    await writer.create("a", data)
        assert await other.get("a") == b"first"

    async def test_a_key_that_is_not_there_is_missing(self, store: Store) -> None:
        await store.create("a/b", b"")
        for key in ("b", "a", "a/b/c", "a/bb"):
            with pytest.raises(KeyMissing):
                await store.get(key)

    async def test_of_twenty_writers_of_two_instances_exactly_one_wins(self, store: Store, other: Store) -> None:
        for number in range(self.rounds):
            key, datas = f"race/{number}", [f"{number} {writer}".encode() for writer in range(20)]
            results = await asyncio.gather(
                *(create((store, other)[at % 2], key, data) for at, data in enumerate(datas))
            )
            winners = [data for data in results if data is not None]
            assert len(winners) == 1
            assert await store.get(key) == winners[0]

    async def test_equal_data_does_not_make_two_winners(self, store: Store, other: Store) -> None:
        for number in range(self.rounds // 4):
            results = await asyncio.gather(*(create((store, other)[at % 2], f"open/{number}", b"") for at in range(20)))
            assert results.count(b"") == 1

    async def test_a_value_of_8_mib_is_kept_whole(self, store: Store) -> None:
        data = bytes(range(256)) * 32 * 1024
        await store.create("large", data)
        assert await store.get("large") == data

    async def test_every_legal_key_is_taken_as_it_is(self, store: Store) -> None:
        for key in WEIRD_KEYS:
            await store.create(key, key.encode())
        assert [await store.get(key) for key in WEIRD_KEYS] == [key.encode() for key in WEIRD_KEYS]
        assert await keys_of(store.list("")) == sorted(WEIRD_KEYS)

    @pytest.mark.parametrize(
        "key",
        ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a b", "ä", "a\n", "a\0", "a\\b", "+tmp/a", "x" * 513],
    )
    async def test_an_illegal_key_is_refused(self, store: Store, key: str) -> None:
        for call in (store.create(key, b""), store.get(key), store.remove(key)):
            with pytest.raises(ValueError, match="Not a key"):
                await call

    async def test_a_removed_marker_is_gone_and_can_be_made_again(self, store: Store, other: Store) -> None:
        await store.create("open/run", b"one")
        await other.remove("open/run")
        with pytest.raises(KeyMissing):
            await store.get("open/run")
        assert await keys_of(store.list("")) == []
        await store.create("open/run", b"two")
        assert await other.get("open/run") == b"two"

    async def test_removing_what_is_not_there_is_fine(self, store: Store) -> None:
        await store.create("a/b", b"")
        for key in ("b", "a/c", "a/b/c"):
            await store.remove(key)
        assert await keys_of(store.list("")) == ["a/b"]

    async def test_a_listing_is_in_the_order_of_bytes_wherever_it_begins(self, store: Store) -> None:
        for key in TRAPS:
            await store.create(key, b"")
        assert await keys_of(store.list("")) == TRAPS
        for prefix in ("", "a", "a/", "a/b", "a/b.", "b", "c", "c/"):
            for after in ("", "a", "a/", "a/b", "a/b.c/d", "a/b.c/e", "a0", "b"):
                expected = [key for key in TRAPS if key.startswith(prefix) and key > after]
                assert await keys_of(store.list(prefix, after=after)) == expected

    async def test_a_listing_of_nothing_is_empty(self, store: Store) -> None:
        assert await keys_of(store.list("runs/")) == []

    async def test_an_illegal_prefix_is_refused(self, store: Store) -> None:
        for prefix in ("/a", "a//b", "../", "a/../b", "ä"):
            with pytest.raises(ValueError, match="Not a prefix"):
                await keys_of(store.list(prefix))

    async def test_two_thousand_keys_are_listed_in_pages(self, store: Store) -> None:
        keys = [f"runs/{number:04}/{number % 7}" for number in range(self.listed)]
        for start in range(0, len(keys), 100):
            await asyncio.gather(*(store.create(key, b"") for key in keys[start : start + 100]))
        assert await keys_of(store.list("runs/")) == keys
        assert await keys_of(store.list("runs/", after=keys[997])) == keys[998:]

    async def test_a_listing_bears_objects_that_come_and_go_meanwhile(self, store: Store, other: Store) -> None:
        for number in range(10):
            await store.create(f"open/{number}", b"")
        keys = store.list("open/")
        seen = [await anext(keys)]
        await other.remove("open/0")
        await other.remove("open/9")
        await other.create("open/8-new", b"")
        seen += [key async for key in keys]
        assert seen == sorted(seen)
        assert {f"open/{number}" for number in range(1, 9)} <= set(seen)

    async def test_a_cancelled_create_leaves_a_whole_object_or_none(self, store: Store, other: Store) -> None:
        data = b"whole" * 50_000
        for turns in range(12):
            task = asyncio.create_task(store.create(f"cut/{turns}", data))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.suppress(KeyMissing):
                assert await other.get(f"cut/{turns}") == data
        await store.create("after", b"the store still works")
        for key in await keys_of(other.list("cut/")):
            assert await other.get(key) == data

    async def test_a_closed_store_is_unavailable(self, other: Store) -> None:
        await other.close()
        with pytest.raises(Unavailable):
            await other.get("a")
