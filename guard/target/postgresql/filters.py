"""A filter in place of ids: which rows it means, a chunk at a time."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from guard.core.errors import Refused
from guard.core.model import Action, Change
from guard.target.postgresql import statements
from guard.target.postgresql.catalog import PgType, Table, refuse_unless_guardable
from guard.target.postgresql.database import Database
from guard.target.postgresql.failures import understood
from guard.target.postgresql.values import canonical, id_of, text_of
from handlers.postgresql import CHUNK_RECORDS

_COMPARISONS = {
    "eq": sa.ColumnElement.__eq__,
    "ne": sa.ColumnElement.__ne__,
    "lt": sa.ColumnElement.__lt__,
    "lte": sa.ColumnElement.__le__,
    "gt": sa.ColumnElement.__gt__,
    "gte": sa.ColumnElement.__ge__,
}
_WORDS = (*_COMPARISONS, "in", "like", "is_null")


async def chosen(
    database: Database,
    connection: AsyncConnection,
    resource: str,
    action: str,
    fields: Mapping[str, Any],
    where: Mapping[str, Any],
) -> AsyncGenerator[list[Change], None]:
    """The changes that update or delete what the filter means. Raises Refused.

    A cursor walks over the keys as they were when it was opened, so a row that the update itself moves out of the
    filter or into it is met once; nothing is kept, here or in the server, that grows with the rows. Each chunk is
    then locked under the same filter, so a row that another transaction took out of it meanwhile is left alone.
    """
    table = await database.table(connection, resource)
    refuse_unless_guardable(table)
    asked = _asked(table, action, fields)
    condition = matching(table, where)
    with understood(database.name):
        async with connection.stream(statements.keys(table, condition), execution_options=_CURSOR) as cursor:
            async for part in cursor.partitions(CHUNK_RECORDS):
                keys = list(zip(*part, strict=True))
                locked = await connection.execute(statements.lock(table, keys, condition))
                ids = [id_of(table, dict(zip(table.key, row, strict=True))) for row in locked]
                yield [Change(resource=table.name, action=Action(action), id=id_, fields=asked) for id_ in ids]


async def keys_meant(
    database: Database, connection: AsyncConnection, resource: str, where: Mapping[str, Any]
) -> AsyncGenerator[list[str], None]:
    """The ids of the rows that a filter means at this moment, a chunk at a time; nothing is locked. Raises Refused."""
    table = await database.table(connection, resource)
    condition = matching(table, where)
    with understood(database.name):
        async with connection.stream(statements.keys(table, condition), execution_options=_CURSOR) as cursor:
            async for part in cursor.partitions(CHUNK_RECORDS):
                yield [id_of(table, dict(zip(table.key, row, strict=True))) for row in part]


_CURSOR = {"max_row_buffer": CHUNK_RECORDS}


def matching(table: Table, where: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    """{"column": value} or {"column": {"gte": value, …}}, all of which must hold. Raises Refused."""
    if not where:
        raise Refused("invalid_request", "A filter names at least one column; without one it would mean every row.")
    if unknown := [name for name in where if name not in table.columns]:
        raise Refused("unknown_field", f"{table.name} has no column {', '.join(sorted(unknown)[:10])}.")
    return sa.and_(*(part for name, wanted in where.items() for part in _conditions(table, name, wanted)))


def _conditions(table: Table, name: str, wanted: Any) -> list[sa.ColumnElement[bool]]:
    if not isinstance(wanted, Mapping):
        wanted = {"is_null": True} if wanted is None else {"eq": wanted}
    if not wanted or not set(wanted) <= set(_WORDS):
        raise Refused("invalid_request", f"The filter of column {name} takes {', '.join(_WORDS)}; nothing else.")
    return [_condition(table, name, word, value) for word, value in wanted.items()]


def _condition(table: Table, name: str, word: str, value: Any) -> sa.ColumnElement[bool]:
    column, type_ = table.sql.c[name], table.columns[name].type
    match word, value:
        case "is_null", bool():
            return column.is_(None) if value else column.is_not(None)
        case "like", str():
            return sa.cast(column, statements.TEXT).like(statements.text(value))
        case "in", list() if value and None not in value:
            texts = [text_of(table.columns[name], each) for each in value]
            return column == sa.any_(sa.cast(statements.text_array(texts), PgType(f"{type_}[]")))
        case comparison, _ if comparison in _COMPARISONS and value is not None:
            given = text_of(table.columns[name], value)
            return _COMPARISONS[comparison](column, sa.cast(statements.text(given), PgType(type_)))
        case _:
            raise Refused("invalid_request", f"The filter of column {name} has no such value for {word!r}.")


def _asked(table: Table, action: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    if action not in {Action.UPDATE, Action.DELETE}:
        raise Refused("unknown_action", f"A filter goes with update or delete; not with {action!r}.")
    if bool(fields) is not (action == Action.UPDATE):
        raise Refused("invalid_request", "An update by filter names the fields to set; a delete names none.")
    if set(fields) & set(table.key):
        raise Refused("invalid_record", f"The key of {table.name} cannot be changed by a write.")
    return dict(canonical(table, fields))
