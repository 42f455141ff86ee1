"""The local store: the common promises, and what only files can break: kills, full disks, power cuts."""

import asyncio
import errno
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.store import local
from guard.store.base import KeyTaken, Unavailable, Unknown
from guard.store.local import LocalStore
from guard.store.opening import open_store
from tests.store.conformance import StoreConformance, keys_of


class TestLocalStore(StoreConformance):
    rounds = 100

    @pytest.fixture
    def store(self, local_store: LocalStore) -> LocalStore:
        return local_store

    @pytest.fixture
    async def other(self, tmp_path: Path) -> AsyncIterator[LocalStore]:
        store = LocalStore(tmp_path / "store")
        yield store
        await store.close()


# A folder's keys end in names of their own, so that no key is the folder of another one.
_FOLDER = st.text("ab-B~", min_size=1, max_size=3)
_KEY = st.builds(lambda folders, name: "/".join([*folders, f"{name}."]), st.lists(_FOLDER, max_size=3), _FOLDER)


@settings(deadline=None, max_examples=150)
@given(keys=st.sets(_KEY, max_size=12), data=st.data())
def test_a_listing_is_sorted_by_whole_keys_and_not_by_folders(keys: set[str], data: st.DataObject) -> None:
    some = st.sampled_from(sorted(keys)) if keys else st.just("a")
    prefix = data.draw(some.flatmap(lambda key: st.integers(0, len(key)).map(lambda end: key[:end])))
    after = data.draw(st.one_of(st.just(""), some, some.map(lambda key: key[:-1]), some.map(lambda key: f"{key}-")))

    async def listed() -> list[str]:
        with tempfile.TemporaryDirectory() as root:
            store = LocalStore(Path(root))
            for key in keys:
                (Path(root) / key).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / key).touch()
            found = await keys_of(store.list(prefix, after=after))
            await store.close()
            return found

    assert asyncio.run(listed()) == [key for key in sorted(keys) if key.startswith(prefix) and key > after]


async def test_a_listing_reads_no_folder_that_sorts_before_where_it_begins(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(9):
        await local_store.create(f"index/{day}/run", b"")
    read: list[str] = []
    names = local._names

    def record(folder: Path) -> tuple[str, ...]:
        read.append(folder.name)
        return names(folder)

    monkeypatch.setattr(local, "_names", record)
    assert await keys_of(local_store.list("index/", after="index/7/run")) == ["index/8/run"]
    assert read == ["index", "7", "8"]


async def test_files_that_are_no_objects_are_not_listed(local_store: LocalStore, tmp_path: Path) -> None:
    await local_store.create("a", b"")
    (tmp_path / "store" / "+tmp" / "1-half").touch()
    (tmp_path / "store" / "lost+found").mkdir()
    assert await keys_of(local_store.list("")) == ["a"]


async def test_files_and_folders_are_the_owner_s_alone(local_store: LocalStore, tmp_path: Path) -> None:
    await local_store.create("runs/a/1", b"")
    root = tmp_path / "store"
    modes = [path.stat().st_mode & 0o777 for path in (root, root / "+tmp", root / "runs/a", root / "runs/a/1")]
    assert modes == [0o700, 0o700, 0o700, 0o600]


async def test_leftovers_older_than_an_hour_are_swept_on_opening(local_store: LocalStore, tmp_path: Path) -> None:
    temp = tmp_path / "store" / "+tmp"
    for name, age_s in (("old", 3700), ("young", 3500)):
        (temp / name).touch()
        os.utime(temp / name, (time.time() - age_s,) * 2)
    await LocalStore(tmp_path / "store").close()
    assert [path.name for path in temp.iterdir()] == ["young"]


async def test_no_create_leaves_a_temporary_file(local_store: LocalStore, tmp_path: Path) -> None:
    await local_store.create("a", b"")
    with pytest.raises(KeyTaken):
        await local_store.create("a", b"")
    with pytest.raises(Unavailable):
        await local_store.create("a/b", b"")
    assert list((tmp_path / "store" / "+tmp").iterdir()) == []


@pytest.mark.parametrize("form", ["file:{path}", "file://{path}", "file:store"])
async def test_a_file_url_opens_a_folder(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(form.format(path=tmp_path / "store"))
    await store.create("a/b", b"data")
    await store.close()
    assert (tmp_path / "store/a/b").read_bytes() == b"data"


@pytest.mark.parametrize(
    "url", ["", "file:", "store", "/srv/store", "https://bucket", "s3:bucket", "s3://", "s3://B/p"]
)
def test_a_url_of_no_store_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(ValueError, match=r"store\.url .*s3://bucket/prefix"):
        open_store(url)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="The folder of the store cannot be used: File exists"):
        LocalStore(tmp_path / "file" / "store")


_SMALL_DISK = """
import asyncio, os, resource, sys
from pathlib import Path
from guard.store.base import Unavailable
from guard.store.local import LocalStore

async def main():
    store = LocalStore(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    await store.create("fits", b"x" * 1000)
    try:
        await store.create("large", b"x" * 1001)
    except Unavailable as error:
        print(error)
    await store.close()

asyncio.run(main())
"""


def test_what_does_not_fit_on_the_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    small = _python(_SMALL_DISK, str(tmp_path))
    try:
        output, _ = small.communicate(timeout=60)
    finally:
        _stop(small)
    assert output == "The folder of the store cannot be used: File too large.\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["+tmp", "fits"]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that the store asks of the disk, in order."""
    asked: list[str] = []
    fsync, link = os.fsync, os.link

    def record_fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        asked.append(f"sync {'temp' if path.parent.name == '+tmp' else path.name}")
        fsync(handle)

    def record_link(source: Path, target: Path) -> None:
        asked.append(f"link {target.name}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", record_link)
    return asked


async def test_content_is_durable_before_its_name_and_the_name_before_create_returns(
    local_store: LocalStore, disk: list[str]
) -> None:
    await local_store.create("runs/a/1", b"")
    assert disk == ["sync temp", "sync store", "sync runs", "link 1", "sync a"]
    disk.clear()
    await local_store.create("runs/a/2", b"")
    assert disk == ["sync temp", "link 2", "sync a"]


async def test_a_folder_of_another_process_is_made_durable_by_this_one_too(
    local_store: LocalStore, disk: list[str], tmp_path: Path
) -> None:
    (tmp_path / "store" / "runs").mkdir()
    await local_store.create("runs/1", b"")
    assert disk == ["sync temp", "sync store", "link 1", "sync runs"]


async def test_a_key_is_reported_taken_only_when_its_name_is_durable(local_store: LocalStore, disk: list[str]) -> None:
    await local_store.create("a", b"")
    disk.clear()
    with pytest.raises(KeyTaken):
        await local_store.create("a", b"")
    assert disk == ["sync temp", "link a", "sync store"]


@pytest.mark.parametrize(
    ("broken", "expected", "stored"),
    [("temp", Unavailable, False), ("runs", Unknown, True), ("store", Unavailable, False)],
)
async def test_a_disk_that_fails_is_told_apart_by_whether_the_name_was_given(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, broken: str, expected: type[Exception], stored: bool
) -> None:
    fsync = os.fsync

    def fail(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if broken in {path.name, "temp" if path.parent.name == "+tmp" else ""}:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected, match="Input/output error"):
        await local_store.create("runs/1", b"data")
    assert (await keys_of(local_store.list("")) == ["runs/1"]) is stored


@pytest.mark.parametrize("code", [errno.EIO, errno.EEXIST])
async def test_a_link_whose_answer_is_lost_is_settled_by_counting_names(
    local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    link = os.link

    def lose_the_answer(source: Path, target: Path) -> None:
        link(source, target)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", lose_the_answer)
    await local_store.create("a", b"mine")
    assert await local_store.get("a") == b"mine"


_RACER = """
import asyncio, sys
from pathlib import Path
from guard.store.base import KeyTaken
from guard.store.local import LocalStore

async def win(store, key):
    try:
        await store.create(key, sys.argv[2].encode())
        print(key)
    except KeyTaken:
        pass

async def main():
    store = LocalStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(300):
        await asyncio.gather(*(win(store, f"race/{number}") for _ in range(3)))
    await store.close()

asyncio.run(main())
"""


def test_of_two_processes_exactly_one_wins_each_key(tmp_path: Path) -> None:
    racers = [_python(_RACER, str(tmp_path), name) for name in ("one", "two")]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = [racer.communicate(timeout=60)[0].split() for racer in racers]
    finally:
        for racer in racers:
            _stop(racer)
    assert sorted(won[0] + won[1]) == sorted(f"race/{number}" for number in range(300))
    for name, keys in zip(("one", "two"), won, strict=True):
        assert {(tmp_path / key).read_text() for key in keys} <= {name}


_WRITER = """
import asyncio, hashlib, secrets, sys
from pathlib import Path
from guard.store.local import LocalStore

async def write(store):
    while True:
        data = secrets.token_bytes(20_000)
        key = f"runs/{hashlib.sha256(data).hexdigest()}"
        await store.create(key, data)
        print(key, flush=True)

async def main():
    store = LocalStore(Path(sys.argv[1]))
    await asyncio.gather(*(write(store) for _ in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("round_", range(20))
def test_a_kill_leaves_whole_objects_and_all_that_were_confirmed(tmp_path: Path, round_: int) -> None:
    writer = _python(_WRITER, str(tmp_path))
    try:
        assert writer.stdout is not None
        confirmed = [writer.stdout.readline() for _ in range(random.Random(round_).randint(1, 25))]  # noqa: S311
        writer.kill()
        confirmed += [line for line in writer.stdout if line.endswith("\n")]
    finally:
        _stop(writer)
    objects = {f"runs/{path.name}": path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    assert {line.strip() for line in confirmed} <= objects.keys()
    assert [key for key, data in objects.items() if hashlib.sha256(data).hexdigest() != key[5:]] == []


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
