"""A temporary table on disk: what keeps memory flat when an operation has 100,000 records.

SQLite with no name is a file that nobody else can open and that is gone when it is closed, also after a crash.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Self

import orjson

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -2048;
CREATE TABLE row (seq INTEGER PRIMARY KEY, key TEXT UNIQUE, rank INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL);
CREATE INDEX row_by_rank ON row (rank, seq);
"""


class Taken(Exception):
    """A row with this key is there already, at this seq."""

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq


class Table:
    """Rows of JSON in order of `seq`, each with an optional unique key."""

    def __init__(self) -> None:
        # Flows may be closed from another thread than they began in (a server's shutdown); never used by two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def __len__(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM row").fetchone()
        return int(count)

    def add(self, seq: int, key: str | None, body: Any) -> None:
        """Raises Taken where the key is there already."""
        try:
            self._db.execute("INSERT INTO row (seq, key, body) VALUES (?, ?, ?)", (seq, key, orjson.dumps(body)))
        except sqlite3.IntegrityError:
            (taken,) = self._db.execute("SELECT seq FROM row WHERE key = ?", (key,)).fetchone()
            raise Taken(taken) from None

    def put(self, seq: int, key: str, body: Any, rank: int = 0) -> None:
        """Add, or replace what the key has, moving it to the new seq."""
        self._db.execute(
            "INSERT INTO row (seq, key, rank, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, rank = excluded.rank, body = excluded.body",
            (seq, key, rank, orjson.dumps(body)),
        )

    def get(self, key: str) -> Any | None:
        found = self._db.execute("SELECT body FROM row WHERE key = ?", (key,)).fetchone()
        return orjson.loads(found[0]) if found else None

    def remove(self, key: str) -> None:
        self._db.execute("DELETE FROM row WHERE key = ?", (key,))

    def ranks(self) -> list[int]:
        return [rank for (rank,) in self._db.execute("SELECT DISTINCT rank FROM row ORDER BY rank")]

    def batches(self, size: int) -> Iterator[list[Any]]:
        """All rows, first to last. Rows may be changed between batches."""
        seq = -1
        while rows := self._db.execute(
            "SELECT seq, body FROM row WHERE seq > ? ORDER BY seq LIMIT ?", (seq, size)
        ).fetchall():
            seq = rows[-1][0]
            yield [orjson.loads(body) for _, body in rows]

    def newest_first(self, size: int, rank: int) -> Iterator[list[tuple[str, Any]]]:
        """Keys and rows of a rank, last to first."""
        seq = 2**62
        while rows := self._db.execute(
            "SELECT seq, key, body FROM row WHERE rank = ? AND seq < ? ORDER BY seq DESC LIMIT ?", (rank, seq, size)
        ).fetchall():
            seq = rows[-1][0]
            yield [(key, orjson.loads(body)) for _, key, body in rows]

    def page(self, offset: int, size: int) -> list[tuple[str, Any]]:
        """Rows from an offset on, in the order of the ranks, each last to first."""
        rows = self._db.execute(
            "SELECT key, body FROM row ORDER BY rank, seq DESC LIMIT ? OFFSET ?", (size, offset)
        ).fetchall()
        return [(key, orjson.loads(body)) for key, body in rows]
