"""What keeps memory flat when an operation has 100,000 records: its changes in a temporary file, and their keys beside
them. Neither outlives the process."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import SEEK_END
from typing import Generic, TypeVar

import msgspec

from guard.flows.table import Table

T = TypeVar("T")

_IN_MEMORY_BYTES = 1024 * 1024


class Spool(Generic[T]):
    """Values of one kind in the order in which they came."""

    def __init__(self, kind: type[T]) -> None:
        self._encoder, self._decoder = msgspec.json.Encoder(), msgspec.json.Decoder(kind)
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by close

    def close(self) -> None:
        self._file.close()

    def add(self, values: Iterable[T]) -> None:
        self._file.seek(0, SEEK_END)
        self._file.write(self._encoder.encode_lines(values))

    def batches(self, size: int) -> Iterator[list[T]]:
        """All of them, first to last."""
        start = 0
        while True:
            self._file.seek(start)
            lines = b"".join(islice(self._file, size))
            if not lines:
                return
            start += len(lines)
            yield self._decoder.decode_lines(lines)


class Ids:
    """Ids, each once, in the order in which they came first."""

    def __init__(self) -> None:
        self._table = Table(str)
        self._given = 0

    def close(self) -> None:
        self._table.close()

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, id_: str) -> bool:
        return self._table.get(id_) is not None

    def add(self, ids: Iterable[str]) -> None:
        rows = [(-n, id_, id_) for n, id_ in enumerate(dict.fromkeys(ids), self._given + 1)]
        self._given += len(rows)
        self._table.add(rows)  # which is read from its highest number down

    def batches(self, size: int) -> Iterator[list[str]]:
        return self._table.batches(size, -(2**62), 0)


class Keys:
    """Each key with the number of the record that came with it first."""

    def __init__(self) -> None:
        # SQLite with no name is a file that nobody else can open. Flows may be closed from another thread than they
        # began in (a server's shutdown); never used by two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2048;"
            "CREATE TABLE met (key TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID; BEGIN;"
        )

    def close(self) -> None:
        self._db.close()

    def add(self, rows: Sequence[tuple[str, int]]) -> tuple[int, int] | None:
        """Add those that are new. Returns the numbers of the first and the second record with one key, if there are."""
        done = self._db.executemany("INSERT OR IGNORE INTO met VALUES (?, ?)", rows)
        if done.rowcount == len(rows):
            return None
        pairs = ((self._first(key), number) for key, number in rows)
        return next((first, number) for first, number in pairs if first != number)

    def _first(self, key: str) -> int:
        (number,) = self._db.execute("SELECT number FROM met WHERE key = ?", (key,)).fetchone()
        return int(number)
