"""A temporary table on disk: what keeps memory flat when an operation of 100,000 records is taken back.

SQLite with no name is a file that nobody else can open and that is gone when it is closed, also after a crash.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
Row = tuple[int, str, T]
"""seq, key, value"""

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8192;
CREATE TABLE row (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
BEGIN;
"""
# Never committed, since nobody else reads it: one transaction for all halves the time that a row takes.


class Table(Generic[T]):
    """Values of one kind, as JSON, each with a key of its own. They are added in order of `seq` and read backwards."""

    def __init__(self, kind: type[T]) -> None:
        self._encode, self._decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(kind).decode
        # Flows may be closed from another thread than they began in (a server's shutdown); never used by two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def __len__(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM row").fetchone()
        return int(count)

    def add(self, rows: Sequence[Row[T]]) -> list[Row[T]]:
        """Add those whose keys are not there yet. Returns the others."""
        done = self._db.executemany(
            "INSERT INTO row (seq, key, body) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
            ((seq, key, self._encode(value)) for seq, key, value in rows),
        )
        if done.rowcount == len(rows):
            return []
        return [(seq, key, value) for seq, key, value in rows if self._seq(key) != seq]

    def put(self, seq: int, key: str, value: T) -> None:
        """Add, or replace what the key has, moving it to the new seq."""
        self._db.execute(
            "INSERT INTO row (seq, key, body) VALUES (?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, body = excluded.body",
            (seq, key, self._encode(value)),
        )

    def _seq(self, key: str) -> int:
        (seq,) = self._db.execute("SELECT seq FROM row WHERE key = ?", (key,)).fetchone()
        return int(seq)

    def get(self, key: str) -> T | None:
        found = self._db.execute("SELECT body FROM row WHERE key = ?", (key,)).fetchone()
        return self._decode(found[0]) if found else None

    def __getitem__(self, key: str) -> T:
        """Raises KeyError."""
        if (found := self.get(key)) is None:
            raise KeyError(key)
        return found

    def batches(self, size: int, first: int, last: int) -> Iterator[list[T]]:
        """The values from seq `last` back to `first`. Rows may be changed between batches."""
        while rows := self._db.execute(
            "SELECT seq, body FROM row WHERE seq BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?", (first, last, size)
        ).fetchall():
            last = rows[-1][0] - 1
            yield [self._decode(body) for _, body in rows]

    def page(self, offset: int, size: int) -> list[T]:
        """Some values, counted from the last back."""
        rows = self._db.execute("SELECT body FROM row ORDER BY seq DESC LIMIT ? OFFSET ?", (size, offset)).fetchall()
        return [self._decode(body) for (body,) in rows]
