"""Sending a chunk: which changes one statement carries out, and what each statement did."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from guard.core.errors import Refused, Unavailable
from guard.core.model import Action, Change, Failure, Fields, Outcome, Status, Touched
from guard.target.postgresql import statements
from guard.target.postgresql.catalog import Table
from guard.target.postgresql.failures import UNIQUE_VIOLATION, constraint, refusal, sqlstate
from guard.target.postgresql.statements import Arrays
from guard.target.postgresql.values import id_of, key_arrays

KEPT = Failure("not_applied", "The database left this row as it was: a trigger or a row security policy kept it.")


@dataclass(frozen=True, slots=True)
class Group:
    """Changes that one statement carries out."""

    resource: str
    action: Action
    columns: tuple[str, ...]
    again: bool
    """Rows that come back: they keep the ids they had."""
    positions: list[int]


def groups(touched: Sequence[Touched]) -> Iterator[Group]:
    """In the order given. Updates of different columns in a row are sorted by their columns: they are different rows,
    and a sparse CSV would make as many statements as it has rows. Creates are not: one may refer to the one before."""
    sendable = (i for i, each in enumerate(touched) if _sendable(each))
    for (resource, action), run in groupby(sendable, lambda i: (touched[i].change.resource, touched[i].change.action)):
        if action is not Action.UPDATE:
            for (columns, again), part in groupby(run, lambda i: _shape(touched[i].change)):
                yield Group(resource, action, tuple(sorted(columns)), again, list(part))
            continue
        by_columns: dict[frozenset[str], list[int]] = {}
        for i in run:
            by_columns.setdefault(frozenset(touched[i].change.fields), []).append(i)
        for columns, positions in by_columns.items():
            yield Group(resource, action, tuple(sorted(columns)), again=False, positions=positions)


def _sendable(touched: Touched) -> bool:
    nothing = touched.change.action is Action.UPDATE and not touched.change.fields
    return not (touched.problem or touched.implied_by or nothing)


def _shape(change: Change) -> tuple[frozenset[str], bool]:
    return frozenset(change.fields), change.origin is not None


async def answered_rows(
    connection: AsyncConnection, table: Table, statement: sa.Executable, shown: Iterable[str] = ()
) -> list[tuple[int, Fields]]:
    """Position (from 0) and columns of each row that the statement answers; those shown, else all of the table's."""
    names = list(shown or table.columns)
    result = await connection.execute(statement)
    # The driver's own rows: all is text, so SQLAlchemy's would hold the same. Behind the columns each has one value
    # more, its position, at which zip need not look.
    rows = result.cursor.fetchall()
    result.close()
    return [(row[-1] - 1, dict(zip(names, row, strict=False))) for row in rows]


class Sender:
    """Writes groups of changes over one connection. Raises the driver's errors, Refused, Unavailable."""

    def __init__(self, connection: AsyncConnection, target: str, *, salvage: bool) -> None:
        self._connection = connection
        self._target = target
        self._salvage = salvage
        self.upserted: set[str] = set()
        """Key constraints of tables where an upsert found no row: one that is there now came in between."""

    async def send(self, table: Table, group: Group, touched: Sequence[Touched]) -> list[Outcome]:
        moving = group.action is Action.UPDATE and not table.unique.isdisjoint(group.columns)
        if not (self._salvage or moving):
            return await self._send(table, group, touched)
        try:
            async with self._connection.begin_nested():
                return await self._send(table, group, touched)
        except (SQLAlchemyError, Refused) as error:
            if not self._blocks_one(error):
                raise
        return await self._one_by_one(table, group, touched)

    def _blocks_one(self, error: Exception) -> bool:
        """Is it one record that is in the way, so that the others may still be written?"""
        if not self._salvage:
            return sqlstate(error) == UNIQUE_VIOLATION
        return isinstance(error, Refused) or refusal(self._target, error) is not None

    async def _one_by_one(self, table: Table, group: Group, touched: Sequence[Touched]) -> list[Outcome]:
        """Each change by itself, as soon as it can be: PostgreSQL checks unique values row by row, in an order of its
        own, so a value that moves from one row of a statement to another may be refused. What can never be written
        fails alone where the work salvages, and is raised where it does not."""
        outcomes: dict[int, Outcome] = {}
        waiting = list(range(len(touched)))
        while waiting:
            blocked: dict[int, Exception] = {}
            for i in waiting:
                try:
                    async with self._connection.begin_nested():
                        (outcomes[i],) = await self._send(table, group, [touched[i]])
                except (SQLAlchemyError, Refused) as error:
                    if not self._blocks_one(error):
                        raise
                    blocked[i] = error
            if len(blocked) == len(waiting):
                if not self._salvage:
                    raise blocked[waiting[-1]]
                outcomes |= {i: self._refused(touched[i].change, error) for i, error in blocked.items()}
                break
            waiting = list(blocked)
        return [outcomes[i] for i in range(len(touched))]

    def _refused(self, change: Change, error: Exception) -> Outcome:
        told = error.detail if isinstance(error, Refused) else refusal(self._target, error)
        failure = Failure("rejected", f"{told} This record was left as it is.")
        return Outcome(status=Status.FAILED, id=change.id or change.origin, failure=failure)

    async def _send(self, table: Table, group: Group, touched: Sequence[Touched]) -> list[Outcome]:
        changes = [each.change for each in touched]
        match group.action:
            case Action.CREATE:
                return await self._create(table, group, changes)
            case Action.DELETE:
                return await self._delete(table, changes)
            case _:
                return await self._update(table, group.columns, touched)

    async def _update(self, table: Table, columns: Sequence[str], touched: Sequence[Touched]) -> list[Outcome]:
        keys = key_arrays(table, [str(each.change.id) for each in touched])
        rows = [*keys, *([each.change.fields[name] for each in touched] for name in columns)]
        images = dict(await self._written(table, columns, rows))
        return [
            Outcome(
                status=Status.APPLIED,
                id=each.change.id,
                after={**(each.before or {}), **images[i]},
                sealed=not table.reread,
            )
            if i in images
            else Outcome(status=Status.FAILED, id=each.change.id, failure=KEPT)
            for i, each in enumerate(touched)
        ]

    async def _written(self, table: Table, columns: Sequence[str], rows: Arrays) -> list[tuple[int, Fields]]:
        """Position of each row that was written, and its columns as far as they may be others than before."""
        shown = () if table.changes_more else [*columns, *sorted(table.resource.volatile)]
        return await answered_rows(self._connection, table, statements.update(table, columns, rows, shown), shown)

    async def _create(self, table: Table, group: Group, changes: Sequence[Change]) -> list[Outcome]:
        columns = group.columns
        rows = [[change.fields[name] for change in changes] for name in columns]
        try:
            if columns:
                images = await self._images(table, statements.insert(table, columns, rows, overriding=group.again))
            else:
                defaults = statements.insert_defaults(table)
                images = [image for _ in changes for image in await self._images(table, defaults)]
        except IntegrityError as error:
            if constraint(error) in self.upserted:
                raise Unavailable(
                    "target_unavailable",
                    f"Another transaction created a row of {table.name} at the same time. Nothing was written; "
                    "try again.",
                ) from None
            raise
        if len(images) != len(changes):
            # Which ones are missing cannot be told, for a row has no id before it is there.
            raise Refused(
                "operation_failed", f"A trigger of {table.name} kept a row from being created. Nothing was written."
            )
        return [
            Outcome(status=Status.APPLIED, id=id_of(table, image), after=image, sealed=not table.reread)
            for image in images
        ]

    async def _delete(self, table: Table, changes: Sequence[Change]) -> list[Outcome]:
        keys = key_arrays(table, [str(change.id) for change in changes])
        deleted = {row[0] - 1 for row in await self._connection.execute(statements.delete(table, keys))}
        return [
            Outcome(status=Status.APPLIED, id=change.id, sealed=True)
            if i in deleted
            else Outcome(status=Status.FAILED, id=change.id, failure=KEPT)
            for i, change in enumerate(changes)
        ]

    async def _images(self, table: Table, statement: sa.Executable) -> list[Fields]:
        names = list(table.columns)
        return [dict(zip(names, row, strict=True)) for row in await self._connection.execute(statement)]
