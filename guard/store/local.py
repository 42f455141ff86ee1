"""A store in a local folder: nothing to install, the same promises as S3.

    root/runs/run_x/00000001    one file per object, its path is its key
    root/+tmp/…                 objects in the making; '+' is in no key, so no key can lead here

An object is written to a temporary file, made durable there, and only then given its name with link(2): the one
call that both refuses a taken name and never shows a half-written file. It needs a file system of this machine
with hard links and names that keep their case (ext4, xfs, btrfs, zfs). A folder cannot be an object, too: where
there is a key a/b, there is none called a.
"""

import contextlib
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from guard.store.base import KeyMissing, KeyTaken, Unavailable, Unknown, closed
from guard.store.keys import check_key, check_prefix, is_name
from guard.threads import Threads

_TEMP = "+tmp"
_TEMP_AGE_MAX_S = 3600.0
_PAGE_KEYS = 500
_THREADS = 16
_FOLDERS_MAX = 10_000


class LocalStore:
    """Objects as files below `root`, which is made if it is not there. Raises Unavailable where that fails."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._temp = self._root / _TEMP
        self._durable: set[Path] = set()
        with _unavailable():
            _make_root(self._root)
            self._temp.mkdir(mode=0o700, exist_ok=True)
            self._sweep()
        self._threads = Threads("guard-local", _THREADS, closed)

    async def create(self, key: str, data: bytes) -> None:
        check_key(key)
        await self._threads.run(lambda: self._create(key, data))

    async def get(self, key: str) -> bytes:
        check_key(key)
        return await self._threads.run(lambda: self._get(key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        check_prefix(prefix)
        keys = _walk(self._root, prefix[: prefix.rfind("/") + 1], prefix, after)
        while page := await self._threads.run(lambda: _page(keys)):
            for key in page:
                yield key

    async def remove(self, key: str) -> None:
        check_key(key)
        await self._threads.run(lambda: self._remove(key))

    async def close(self) -> None:
        await self._threads.close()

    def _create(self, key: str, data: bytes) -> None:
        final = self._root / key
        with _unavailable():
            temp = self._temp / f"{os.getpid()}-{secrets.token_hex(8)}"
            try:
                _write(temp, data)
                self._make_folder(final.parent)
                linked = _link(temp, final)
                if not linked:
                    # Whoever is told that a key is taken may act on it, so the name must outlive a power cut, too.
                    _sync(final.parent)
                    raise KeyTaken(key)
            finally:
                with contextlib.suppress(OSError):
                    temp.unlink()
        try:
            _sync(final.parent)
        except OSError as error:
            raise Unknown(f"The disk did not confirm {key}: {error.strerror}.") from error

    def _get(self, key: str) -> bytes:
        with _unavailable():
            try:
                return (self._root / key).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise KeyMissing(key) from None

    def _remove(self, key: str) -> None:
        # Not synced: a marker that a power cut brings back is looked at once more and removed again.
        with _unavailable(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self._root / key).unlink()

    def _make_folder(self, folder: Path) -> None:
        """Make a folder whose name is durable. One that another process made is synced once by this one, too."""
        if folder == self._root or folder in self._durable:
            return
        self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)
        if len(self._durable) >= _FOLDERS_MAX:
            self._durable.clear()
        self._durable.add(folder)

    def _sweep(self) -> None:
        """Remove what dead processes left; what is younger may still be in some process's hands."""
        oldest = time.time() - _TEMP_AGE_MAX_S
        for entry in os.scandir(self._temp):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < oldest:
                    Path(entry).unlink()


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The folder of the store cannot be used: {error.strerror}.") from error


def _make_root(root: Path) -> None:
    if root.is_dir():
        return
    if not root.parent.is_dir():
        _make_root(root.parent)
    root.mkdir(mode=0o700, exist_ok=True)
    _sync(root.parent)


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link(temp: Path, final: Path) -> bool:
    """Whether the object got its name; False where the name is taken."""
    try:
        os.link(temp, final)
    except OSError as error:
        # The answer may be lost or wrong (EIO, network file systems); the count of names tells what really happened.
        if temp.stat().st_nlink == 1:
            if isinstance(error, FileExistsError):
                return False
            raise
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _page(keys: Iterator[str]) -> tuple[str, ...]:
    with _unavailable():
        return tuple(itertools.islice(keys, _PAGE_KEYS))


def _walk(root: Path, folder: str, prefix: str, after: str) -> Iterator[str]:
    """Keys below a folder ('' or ending in '/') in the order of their bytes, reading a folder when it is reached."""
    for name in _names(root / folder):
        key = folder + name
        if not key.startswith(prefix):
            continue
        if not name.endswith("/"):
            if key > after:
                yield key
        elif key > after or after.startswith(key):
            yield from _walk(root, key, prefix, after)


def _names(folder: Path) -> tuple[str, ...]:
    """Names in a folder, sorted; a folder's ends in '/', as it does in its keys, where '-' and '.' sort before it."""
    try:
        with os.scandir(folder) as entries:
            known = [entry for entry in entries if is_name(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in known))
