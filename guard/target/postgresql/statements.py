"""The few statements that read and write rows, one per chunk, whatever the number of rows.

Rows go in as one array of texts per column (unnest), so a statement's text depends on the columns alone: it is
compiled, parsed and planned once. They come out as texts, too, each behind them its position (from 1) in the arrays.
Names come from the catalog and are quoted by SQLAlchemy; values are parameters.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from guard.target.postgresql.catalog import PgType, Reference, Table
from guard.target.postgresql.values import Text

Arrays = Sequence[Sequence[Text]]
"""Rows as one array per column."""

TEXT = PgType("text")
TEXTS = PgType("text[]")


def read(table: Table, keys: Arrays, *, lock: bool) -> sa.Executable:
    """The rows with these keys, every column of them.

    Locked in the key's order, so that two transactions that lock the same rows wait rather than deadlock.
    """
    given = _unnest(keys)
    statement = sa.select(*texts(table), given.c.n).join_from(table.sql, given, _matches(table, given))
    statement = statement.order_by(*(table.sql.c[name] for name in table.key))
    return statement.with_for_update(of=table.sql) if lock else statement


def children(parent: Table, reference: Reference, child: Table, referred: Arrays, *, limit: int) -> sa.Executable:
    """The rows that refer to these values of the parent's, locked. Compared in the parent's types: a bigint key may
    be referred to by an integer column, and a large one is no integer."""
    given = _unnest(referred)
    wanted = (_cast(parent, name, given, i) for i, name in enumerate(reference.referred))
    match = sa.and_(*(child.sql.c[name] == value for name, value in zip(reference.columns, wanted, strict=True)))
    statement = sa.select(*texts(child), given.c.n).join_from(child.sql, given, match)
    return statement.order_by(*(child.sql.c[name] for name in child.key)).limit(limit).with_for_update(of=child.sql)


def keys(table: Table, condition: sa.ColumnElement[bool]) -> sa.Executable:
    """The keys of the rows for which the condition holds, in their order."""
    columns = [table.sql.c[name] for name in table.key]
    return sa.select(*(sa.cast(column, TEXT) for column in columns)).where(condition).order_by(*columns)


def lock(table: Table, keys: Arrays, condition: sa.ColumnElement[bool]) -> sa.Executable:
    """The keys of those of the rows for which the condition (still) holds, locked in their order."""
    given = _unnest(keys)
    columns = [table.sql.c[name] for name in table.key]
    statement = sa.select(*(sa.cast(column, TEXT) for column in columns))
    statement = statement.join_from(table.sql, given, _matches(table, given)).where(condition)
    return statement.order_by(*columns).with_for_update(of=table.sql)


def update(table: Table, columns: Sequence[str], rows: Arrays, shown: Iterable[str]) -> sa.Executable:
    """`rows` hold the key, then the columns' new values. Returns the columns to show of the rows that were written."""
    given = _unnest(rows)
    values = {table.sql.c[name]: _cast(table, name, given, len(table.key) + i) for i, name in enumerate(columns)}
    statement = sa.update(table.sql).values(values).where(_matches(table, given))
    return statement.returning(*texts(table, shown), given.c.n)


def delete(table: Table, keys: Arrays) -> sa.Executable:
    """Returns the positions of those that were deleted."""
    given = _unnest(keys)
    return sa.delete(table.sql).where(_matches(table, given)).returning(given.c.n)


def insert(table: Table, columns: Sequence[str], rows: Arrays, *, overriding: bool) -> sa.Executable:
    """Returns every column, in the order of `rows`, without positions: an INSERT returns rows as it inserts them.

    `overriding` writes identity columns that are GENERATED ALWAYS: a row that comes back keeps its id. The sequence
    behind it is left alone: it gave the id out before, so it stands beyond it.
    """
    given = _unnest(rows)
    source = sa.select(*(_cast(table, name, given, i) for i, name in enumerate(columns))).order_by(given.c.n)
    if overriding:
        source = _Overriding(*source.selected_columns).order_by(given.c.n)
    names = [table.sql.c[name] for name in columns]
    return sa.insert(table.sql).from_select(names, source, include_defaults=False).returning(*texts(table))


def insert_defaults(table: Table) -> sa.Executable:
    """One row of nothing but defaults: no SELECT can say that."""
    return sa.insert(table.sql).returning(*texts(table))


class _Overriding(sa.Select[Any]):
    """SQLAlchemy has no word for OVERRIDING SYSTEM VALUE; it stands between the columns and the SELECT.

    https://www.postgresql.org/docs/current/sql-insert.html
    """

    inherit_cache = True


@compiles(_Overriding)
def _compile_overriding(element: _Overriding, compiler: SQLCompiler, **options: Any) -> str:
    select: str = compiler.visit_select(element, **options)  # type: ignore[no-untyped-call]
    return f"OVERRIDING SYSTEM VALUE {select}"


def texts(table: Table, names: Iterable[str] = ()) -> list[sa.ColumnElement[Any]]:
    """These columns, or all in the table's order, as their texts."""
    return [sa.cast(table.sql.c[name], TEXT).label(f"c{i}") for i, name in enumerate(names or table.columns)]


def text(value: Text) -> sa.ColumnElement[Text]:
    """A parameter that PostgreSQL takes for text, whatever it is compared with."""
    return sa.cast(sa.bindparam(None, value, type_=TEXT), TEXT)


def text_array(values: Iterable[Text]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(None, list(values), type_=TEXTS), TEXTS)


def _unnest(rows: Arrays) -> sa.TableValuedAlias:
    """The rows as a table: c0, c1, … and n, their position from 1."""
    parameters = [text_array(array) for array in rows]
    names = [f"c{i}" for i in range(len(rows))]
    return sa.func.unnest(*parameters).table_valued(*names, with_ordinality="n").render_derived(name="given")


def _matches(table: Table, given: sa.TableValuedAlias) -> sa.ColumnElement[bool]:
    """The keys are compared as what they are: '01' finds the integer 1."""
    return sa.and_(*(table.sql.c[name] == _cast(table, name, given, i) for i, name in enumerate(table.key)))


def _cast(table: Table, name: str, given: sa.TableValuedAlias, position: int) -> sa.ColumnElement[Any]:
    return sa.cast(given.c[f"c{position}"], PgType(table.columns[name].type))
