"""The PostgreSQL target: what the flows ask outside of a transaction."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from guard.core.errors import Refused, Unavailable
from guard.core.model import FULLY, Action, Change, Image, Key, Resource, Reversal, Reversibility
from guard.target.base import Calls, MayWrite, Meant, always
from guard.target.postgresql.catalog import refuse_unless_guardable
from guard.target.postgresql.database import Database
from guard.target.postgresql.failures import understood
from guard.target.postgresql.filters import keys_meant
from guard.target.postgresql.requests import requested
from guard.target.postgresql.values import id_of, joined, key_texts
from guard.target.postgresql.work import PostgresWork
from handlers.postgresql import ACTIONS, CHUNK_RECORDS, SIDE_EFFECTS, TRAITS


class PostgresTarget:
    """One database and one role. See guard.target.base.Target.

    `url` is libpq's (postgresql://user:password@host/database?sslmode=require …). `timeout_s` is the longest that a
    statement may take, `lock_timeout_s` the longest that it waits for a row that another transaction holds.
    """

    chunk_records = CHUNK_RECORDS
    traits = TRAITS
    side_effects = SIDE_EFFECTS
    referred_to: Mapping[str, int] = MappingProxyType({})

    def __init__(self, name: str, url: str, *, timeout_s: float = 30.0, lock_timeout_s: float = 5.0) -> None:
        self.name = name
        self._database = Database(name, url, timeout_s=timeout_s, lock_timeout_s=lock_timeout_s)

    @property
    def actions(self) -> Mapping[str, Sequence[str]]:
        return {"": ACTIONS}

    async def resource(self, name: str) -> Resource:
        """Reads the catalog each time, so that a column added yesterday is known to today's operation."""
        async with self._database.connect() as connection:
            table = await self._database.table(connection, name, fresh=True)
        refuse_unless_guardable(table)
        return table.resource

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        if resource not in self._database.tables:
            raise Refused("unknown_resource", f"{self.name} has opened no table {resource!r}. Nothing was written.")
        if action not in ACTIONS:
            raise Refused("unknown_action", f"{resource} takes {', '.join(ACTIONS)}; not {action!r}.")
        return requested(self._database.tables[resource], Action(action), record)

    async def renewed(self, resource: str) -> bool:
        """The catalog was read when the operation began."""
        del resource
        return False

    def references(self, resource: str) -> Mapping[str, str]:
        """None that matter: a row that comes back has the id it had."""
        del resource
        return {}

    def title(self, resource: str, image: Image) -> str:
        """No column is known to be a row's name."""
        del resource, image
        return ""

    def touches(self, change: Change) -> frozenset[str] | None:
        """Every difference is the run's: the rows were locked. What triggers changed with them is its, too."""
        del change
        return None

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        del resource, name
        return bool(asked == found)

    def reversal(self, change: Change, before: Image) -> Reversal:
        del before
        table = self._database.tables.get(change.resource)
        if change.action is Action.DELETE and table is not None and table.delete_triggers:
            return Reversal(
                Reversibility.FULL,
                f"Triggers run when rows of {table.name} are deleted; what they did to other tables stays.",
            )
        return FULLY

    def calls(self, changes: Sequence[Change]) -> Calls | None:
        del changes
        return None

    def seconds_for(self, calls: int) -> float | None:
        del calls
        return None

    @asynccontextmanager
    async def work(self, may_write: MayWrite = always, *, salvage: bool = False) -> AsyncIterator[PostgresWork]:
        """One connection and one transaction; what was not committed at the end is rolled back."""
        del may_write  # nothing is written before commit, and the flow asks before that
        async with self._database.connect() as connection:
            work = PostgresWork(self._database, connection, salvage=salvage)
            try:
                yield work
            finally:
                await work.release()

    async def find(self, change: Change) -> str | None:
        """The row with the key that a create names. Raises Refused where the database was to choose the key: whether
        it did is told by the work's receipt."""
        async with self._database.connect() as connection:
            table = await self._database.table(connection, change.resource)
        if any(change.fields.get(name) is None for name in table.key):
            raise Refused("invalid_record", f"A row of {table.name} that has no key yet cannot be looked for.")
        id_ = id_of(table, change.fields)
        return id_ if (await self.read(table.name, [id_]))[id_] is not None else None

    def created_since(self, resource: str, image: Image, since: datetime) -> bool:
        """No row tells when it was created."""
        del resource, image, since
        return False

    async def read(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, Image]:
        del some  # one statement reads all or none
        async with self._database.connect() as connection:
            return await PostgresWork(self._database, connection).read(resource, ids, lock=False)

    def named(self, resource: str, id_: Any) -> str:
        table = self._database.tables[resource]
        return joined(key_texts(table, id_))

    async def seen(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, tuple[str, Image]]:
        table = self._database.tables[resource]
        images = await self.read(resource, ids, some=some)
        return {asked: (asked if image is None else id_of(table, image), image) for asked, image in images.items()}

    async def meant(self, resource: str, where: Mapping[str, Any]) -> AsyncIterator[Meant]:
        async with (
            self._database.connect() as connection,
            aclosing(keys_meant(self._database, connection, resource, where)) as parts,
        ):
            async for ids in parts:
                yield Meant(ids)

    def reads(self, resource: str, ids: Sequence[str]) -> int | None:
        del resource, ids
        return None

    async def attached(self, resource: str, ids: Sequence[str]) -> dict[str, frozenset[Key] | None]:
        """Rows that refer to others are found by foreign keys, when it comes to it."""
        del resource, ids
        return {}

    async def check(self) -> None:
        async with self._database.connect() as connection:
            with understood(self.name):
                read_only = await connection.scalar(sa.text("SELECT current_setting('transaction_read_only')"))
        if read_only == "on":
            raise Unavailable(
                "target_unavailable", f"{self.name} is read-only (a standby?). Name the address of the primary."
            )

    async def committed(self, receipt: str) -> bool | None:
        """Did the work with this receipt commit? None: it is not over yet, or nobody knows any more."""
        return await self._database.committed(receipt)

    async def close(self) -> None:
        await self._database.close()
