"""Connections to one database, its tables as far as they were asked for, and what became of a transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from guard.core.errors import Refused, Unavailable
from guard.target.postgresql.catalog import Table, read_table
from guard.target.postgresql.failures import understood
from handlers.postgresql import SESSION

_CONNECTIONS_MAX = 10
_COMMITTED_TRIES = 5
_COMMITTED_PAUSE_S = 0.2
_STATUS = sa.text("SELECT pg_xact_status(CAST(CAST(:receipt AS text) AS xid8))")


class Database:
    """`url` is libpq's. `timeout_s` bounds a statement, `lock_timeout_s` its waiting for other transactions' rows."""

    def __init__(self, name: str, url: str, *, timeout_s: float, lock_timeout_s: float) -> None:
        self.name = name
        self.tables: dict[str, Table] = {}
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._timeout_s = timeout_s
        self._session = {
            **SESSION,
            "statement_timeout": f"{round(timeout_s * 1000)}ms",
            "lock_timeout": f"{round(lock_timeout_s * 1000)}ms",
        }
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._open,
            pool_size=_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=timeout_s,
            # A connection that a firewall or a restart has cut is noticed before the work begins.
            pool_pre_ping=True,
            hide_parameters=True,
        )

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection with a transaction, rolled back at the end unless committed. Raises Unavailable."""
        with understood(self.name):
            connection = await self._engine.connect()
        try:
            yield connection
        finally:
            # A connection that broke has no transaction to roll back: the server did that.
            with suppress(SQLAlchemyError, asyncpg.InterfaceError, OSError):
                await connection.close()

    async def table(self, connection: AsyncConnection, name: str, *, fresh: bool = False) -> Table:
        """The table of this name, from the catalog where it was not asked for before. Raises Refused."""
        if fresh or name not in self.tables:
            with understood(self.name):
                table = await read_table(connection, name)
            self.tables |= {name: table, table.name: table}
        return self.tables[name]

    async def committed(self, receipt: str) -> bool | None:
        """Did the transaction of this receipt commit? None: it is not over yet, or too old to tell, or no answer.

        https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
        """
        for attempt in range(_COMMITTED_TRIES):
            if attempt:
                # The server may still be busy with a transaction whose client is gone.
                await asyncio.sleep(_COMMITTED_PAUSE_S)
            try:
                async with self.connect() as connection:
                    with understood(self.name):
                        status = await connection.scalar(_STATUS, {"receipt": receipt})
            except Unavailable:
                continue
            except Refused:
                # The number lies in the server's future: it was restored to a time before the transaction.
                return None
            if status != "in progress":
                return None if status is None else bool(status == "committed")
        return None

    async def close(self) -> None:
        await self._engine.dispose()

    async def _open(self) -> "asyncpg.Connection[Any]":
        try:
            return await asyncpg.connect(
                self._url,
                server_settings=self._session,
                timeout=self._timeout_s,
                # The server's own timeout comes first; this one is for a server that no longer answers.
                command_timeout=self._timeout_s + 5,
            )
        except (ValueError, asyncpg.ClientConfigurationError):
            # The message may hold the URL, and with it the password.
            raise Unavailable("target_refused", f"The credential of {self.name} is no PostgreSQL URL.") from None
