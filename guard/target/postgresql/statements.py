"""The few statements that read and write rows, one per chunk, whatever the number of rows.

Rows go in as one array of texts per column (unnest), so a statement's text depends on the columns alone: it is
compiled, parsed and planned once. Names come from the catalog and are quoted by SQLAlchemy; values are parameters.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from guard.target.postgresql.catalog import PgType, Reference, Table
from guard.target.postgresql.values import Text

Rows = Sequence[Sequence[Text]]

TEXT = PgType("text")
TEXTS = PgType("text[]")


def read(table: Table, columns: Sequence[str], rows: Rows, *, lock: bool) -> sa.Executable:
    """The rows whose columns have these values: position in `rows`, then every column's text.

    Locked in the key's order, so that two transactions that lock the same rows wait rather than deadlock.
    """
    given = _unnest(rows, len(columns))
    statement = sa.select(given.c.n, *texts(table)).join_from(table.sql, given, _matches(table, columns, given))
    statement = statement.order_by(*(table.sql.c[name] for name in table.key))
    return statement.with_for_update(of=table.sql) if lock else statement


def children(parent: Table, reference: Reference, child: Table, rows: Rows, *, limit: int) -> sa.Executable:
    """The rows that refer to these values of the parent's, locked. Compared in the parent's types: a bigint key may
    be referred to by an integer column, and a large one is no integer."""
    given = _unnest(rows, len(reference.columns))
    wanted = (_cast(parent, name, given, i) for i, name in enumerate(reference.referred))
    match = sa.and_(*(child.sql.c[name] == value for name, value in zip(reference.columns, wanted, strict=True)))
    statement = sa.select(given.c.n, *texts(child)).join_from(child.sql, given, match)
    return statement.order_by(*(child.sql.c[name] for name in child.key)).limit(limit).with_for_update(of=child.sql)


def keys(table: Table, condition: sa.ColumnElement[bool]) -> sa.Executable:
    """The keys of the rows for which the condition holds, in their order."""
    columns = [table.sql.c[name] for name in table.key]
    return sa.select(*(sa.cast(column, TEXT) for column in columns)).where(condition).order_by(*columns)


def lock(table: Table, rows: Rows, condition: sa.ColumnElement[bool]) -> sa.Executable:
    """The keys of those of the rows for which the condition (still) holds, locked in their order."""
    given = _unnest(rows, len(table.key))
    columns = [table.sql.c[name] for name in table.key]
    statement = sa.select(*(sa.cast(column, TEXT) for column in columns))
    statement = statement.join_from(table.sql, given, _matches(table, table.key, given)).where(condition)
    return statement.order_by(*columns).with_for_update(of=table.sql)


def update(table: Table, columns: Sequence[str], rows: Rows) -> sa.Executable:
    """`rows` hold the key, then the columns' new values. Returns position and every column's text."""
    given = _unnest(rows, len(table.key) + len(columns))
    values = {table.sql.c[name]: _cast(table, name, given, len(table.key) + i) for i, name in enumerate(columns)}
    statement = sa.update(table.sql).values(values).where(_matches(table, table.key, given))
    return statement.returning(given.c.n, *texts(table))


def delete(table: Table, rows: Rows) -> sa.Executable:
    """`rows` hold the key. Returns the positions of those that were deleted."""
    given = _unnest(rows, len(table.key))
    return sa.delete(table.sql).where(_matches(table, table.key, given)).returning(given.c.n)


def insert(table: Table, columns: Sequence[str], rows: Rows, *, overriding: bool) -> sa.Executable:
    """Returns every column's text, in the order of `rows`: an INSERT returns rows as it inserts them.

    `overriding` writes identity columns that are GENERATED ALWAYS: a row that comes back keeps its id. The sequence
    behind it is left alone: it gave the id out before, so it stands beyond it.
    """
    given = _unnest(rows, len(columns))
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


def texts(table: Table) -> list[sa.ColumnElement[Any]]:
    """Every column as its text, in the table's order."""
    return [sa.cast(table.sql.c[name], TEXT).label(f"c{i}") for i, name in enumerate(table.columns)]


def text(value: Text) -> sa.ColumnElement[Text]:
    """A parameter that PostgreSQL takes for text, whatever it is compared with."""
    return sa.cast(sa.bindparam(None, value, type_=TEXT), TEXT)


def text_array(values: Iterable[Text]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(None, list(values), type_=TEXTS), TEXTS)


def _unnest(rows: Rows, width: int) -> sa.TableValuedAlias:
    """The rows as a table: c0, c1, … and n, their position from 1."""
    arrays = zip(*rows, strict=True) if width else ()
    parameters = [text_array(array) for array in arrays]
    names = [f"c{i}" for i in range(width)]
    return sa.func.unnest(*parameters).table_valued(*names, with_ordinality="n").render_derived(name="given")


def _matches(table: Table, columns: Iterable[str], given: sa.TableValuedAlias) -> sa.ColumnElement[bool]:
    """The values are compared as what they are: '01' finds the integer 1."""
    return sa.and_(*(table.sql.c[name] == _cast(table, name, given, i) for i, name in enumerate(columns)))


def _cast(table: Table, name: str, given: sa.TableValuedAlias, position: int) -> sa.ColumnElement[Any]:
    return sa.cast(given.c[f"c{position}"], PgType(table.columns[name].type))
