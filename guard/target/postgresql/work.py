"""One operation or one revert in one transaction on one connection."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from guard.core.errors import GuardError, InDoubt, Refused, Unavailable
from guard.core.model import Action, Change, Failure, Fields, Image, Key, Known, Outcome, Status, Touched
from guard.target.postgresql import statements
from guard.target.postgresql.catalog import Table
from guard.target.postgresql.database import Database
from guard.target.postgresql.failures import answered, concluded, understood
from guard.target.postgresql.filters import chosen
from guard.target.postgresql.implied import with_implied
from guard.target.postgresql.sending import KEPT, Sender, answered_rows, groups
from guard.target.postgresql.values import id_of, key_arrays, key_texts

MISSING = Failure("not_found", "The table has no row with this key; nothing was written.")
TWICE = Failure("duplicate_record", "Another record of this operation is the same row; this one was not written.")

_BEGUN = sa.text("SELECT CAST(pg_current_xact_id() AS text)")


class PostgresWork:
    """See guard.target.base.Work. Used by one chunk after the other.

    `salvage`: a record that the database refuses fails alone. Without it, and where something else is in the way,
    `write` raises Refused or Unavailable: then nothing of the whole work is written, since nothing is until `commit`.
    """

    def __init__(self, database: Database, connection: AsyncConnection, *, salvage: bool = False) -> None:
        self.receipt: str | None = None
        self._database = database
        self._connection = connection
        self._sender = Sender(connection, database.name, salvage=salvage)
        self._walks: list[AsyncGenerator[list[Change], None]] = []

    def select(
        self, resource: str, action: str, fields: Mapping[str, Any], where: Mapping[str, Any]
    ) -> AsyncIterator[list[Change]]:
        walk = chosen(self._database, self._connection, resource, action, fields, where)
        self._walks.append(walk)
        return walk

    async def release(self) -> None:
        """Close the cursors of filters that were not walked to their end."""
        for walk in self._walks:
            with suppress(GuardError):
                await walk.aclose()

    async def look(self, resource: str, ids: Sequence[str]) -> dict[str, Image]:
        return await self.read(resource, ids, lock=True)

    async def read(self, resource: str, ids: Sequence[str], *, lock: bool) -> dict[str, Image]:
        images: dict[str, Image] = dict.fromkeys(ids)
        if not ids:
            return images
        table = await self.table(resource)
        with understood(self._database.name):
            found = await self.rows(table, statements.read(table, key_arrays(table, ids), lock=lock))
        for position, image in found:
            images[ids[position]] = image
        return images

    def let_go(self, keys: Iterable[Key]) -> None:
        """Row locks end with the transaction."""

    async def before(self, changes: Sequence[Change], known: Known | None = None) -> list[Touched]:
        by_resource: dict[str, list[str]] = {}
        for change in changes:
            if change.id is not None and change.action is not Action.CREATE:
                by_resource.setdefault(change.resource, []).append(change.id)
        images: dict[str, Mapping[str, Image]] = {}
        for resource, ids in by_resource.items():
            if known is None:
                images[resource] = await self.look(resource, ids)
            else:
                images[resource] = {id_: known[resource, id_] for id_ in ids}
        tables = {change.resource: await self.table(change.resource) for change in changes}
        seen: set[tuple[str, str]] = set()
        touched = [
            self._touched(tables[change.resource], change, images.get(change.resource, {}), seen) for change in changes
        ]
        with understood(self._database.name):
            return await with_implied(self, touched)

    def _touched(
        self, table: Table, change: Change, images: Mapping[str, Image], seen: set[tuple[str, str]]
    ) -> Touched:
        """Within one chunk a row stands once, for one statement writes it once. The same row in two chunks is no
        harm: the second finds what the first has left, and a revert merges the two."""
        if change.action is Action.CREATE:
            return Touched(replace(change, resource=table.name), None)
        asked = str(change.id)
        before = images[asked]
        # A row that is not there yet has no spelling of its own; the one asked for stands in.
        id_ = asked if before is None else id_of(table, before)
        key = (table.name, id_)
        if key in seen:
            return Touched(replace(change, resource=table.name, id=id_), before, TWICE)
        seen.add(key)
        if change.action is Action.UPSERT:
            return self._resolved(table, change, id_, before)
        if not change.fields.keys().isdisjoint(table.key):
            raise Refused("invalid_record", f"The key of {table.name} cannot be changed by a write.")
        if (change.resource, asked) != key:
            change = replace(change, resource=table.name, id=id_)
        return Touched(change, before, MISSING if before is None else None)

    def _resolved(self, table: Table, change: Change, id_: str, before: Image) -> Touched:
        if before is not None:
            return Touched(replace(change, resource=table.name, action=Action.UPDATE, id=id_), before)
        self._sender.upserted.add(table.key_constraint)
        fields = {**dict(zip(table.key, key_texts(table, id_), strict=True)), **change.fields}
        return Touched(replace(change, resource=table.name, action=Action.CREATE, id=None, fields=fields), None)

    async def write(self, touched: Sequence[Touched]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(touched)
        with understood(self._database.name):
            if self.receipt is None:
                # Rows that refer to each other come back in some order; what can wait for the end, does.
                await self._connection.execute(sa.text("SET CONSTRAINTS ALL DEFERRED"))
                self.receipt = await self._connection.scalar(_BEGUN)
            for group in groups(touched):
                table = await self.table(group.resource)
                sent = await self._sender.send(table, group, [touched[i] for i in group.positions])
                for i, outcome in zip(group.positions, sent, strict=True):
                    outcomes[i] = outcome
        return [outcome or _unsent(each) for each, outcome in zip(touched, outcomes, strict=True)]

    async def after(self, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> list[Outcome]:
        result = list(outcomes)
        unsealed: dict[str, dict[str, int]] = {}
        for i, outcome in enumerate(outcomes):
            if outcome.status is Status.APPLIED and not outcome.sealed and outcome.id is not None:
                unsealed.setdefault(touched[i].change.resource, {})[outcome.id] = i
        for resource, positions in unsealed.items():
            for id_, image in (await self.read(resource, list(positions), lock=False)).items():
                i = positions[id_]
                result[i] = _seen(touched[i], replace(outcomes[i], after=image, sealed=True))
        return result

    async def commit(self) -> None:
        """Raises Refused, too: where a constraint that is checked last is violated."""
        if self.receipt is not None:
            with understood(self._database.name):
                # What was deferred is checked now, while the server's answer still is a plain no.
                await self._connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
        try:
            await self._connection.commit()
        except (SQLAlchemyError, OSError) as error:
            if answered(error):
                raise concluded(self._database.name, error) from None
            await self._settle()

    async def _settle(self) -> None:
        """The connection broke during the commit: the server knows whether it came through."""
        committed = await self._database.committed(self.receipt) if self.receipt else False
        if committed is None:
            raise InDoubt(
                "in_doubt",
                f"{self._database.name} was lost during the commit and does not tell whether it came through.",
            ) from None
        if not committed:
            raise Unavailable(
                "target_unavailable",
                f"{self._database.name} was lost before the commit. Nothing was written; try again.",
            ) from None

    async def table(self, name: str) -> Table:
        return await self._database.table(self._connection, name)

    async def rows(self, table: Table, statement: sa.Executable) -> list[tuple[int, Fields]]:
        return await answered_rows(self._connection, table, statement)


def _unsent(touched: Touched) -> Outcome:
    if touched.problem:
        return Outcome(status=Status.FAILED, id=touched.change.id, failure=touched.problem)
    if touched.implied_by:
        # What the database does by itself is done once its cause is written; how it turned out is read afterwards.
        return Outcome(status=Status.APPLIED, id=touched.change.id)
    # An upsert that names nothing but the key of a row that is there: it is as it was asked to be.
    return Outcome(status=Status.APPLIED, id=touched.change.id, after=touched.before, sealed=True)


def _seen(touched: Touched, outcome: Outcome) -> Outcome:
    if touched.change.action is Action.DELETE and outcome.after is not None:
        return replace(outcome, status=Status.FAILED, failure=KEPT)
    return outcome
