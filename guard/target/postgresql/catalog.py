"""Tables as the catalog describes them: columns, key, the foreign keys that point at them.

Read from pg_catalog and not by SQLAlchemy's inspector: that one has no type for composites, domains' bases or
extension types, and says nothing of triggers and of foreign keys that point *at* a table.
https://www.postgresql.org/docs/current/catalogs.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import UserDefinedType

from guard.core.errors import Refused
from guard.core.model import Resource


class PgType(UserDefinedType[str]):
    """A type by the name that PostgreSQL's format_type() gave it, so already quoted."""

    cache_ok = True

    def __init__(self, spec: str) -> None:
        self.spec = spec

    def get_col_spec(self, **_: Any) -> str:
        return self.spec


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    """The type that a text is cast to before it is assigned. It has no length: an explicit cast to varchar(3) would
    cut the value off silently, an assignment refuses it. Of a domain: its base type, for the same reason."""
    generated: bool
    is_array: bool
    is_json: bool
    """json or jsonb, or an array of them."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key of another table (or the same one) that points at this one."""

    child: str
    columns: tuple[str, ...]
    referred: tuple[str, ...]
    on_delete: str
    """As in pg_constraint.confdeltype: a no action, r restrict, c cascade, n set null, d set default."""
    on_update: str
    delete_sets: tuple[str, ...]
    """The columns that SET NULL or SET DEFAULT changes on delete."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    """schema.table, whatever the caller wrote: the journal must not depend on a role's search_path."""
    sql: sa.Table
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    key_constraint: str
    unique: frozenset[str]
    """Columns of unique indexes other than the primary key."""
    references: tuple[Reference, ...]
    inherited: bool
    """Plain tables inherit from it (partitions do not count: they share the key)."""
    reread: bool
    """Triggers run after a row was written, so RETURNING may not show the last word."""
    changes_more: bool
    """An UPDATE may change more than the columns it names and generated ones: by triggers, rules, a partition's."""
    delete_triggers: bool
    resource: Resource = field(init=False)

    def __post_init__(self) -> None:
        generated = frozenset(name for name, column in self.columns.items() if column.generated)
        object.__setattr__(self, "resource", Resource(name=self.name, volatile=generated))


_QUERY = sa.text(
    """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relhassubclass,
  (SELECT json_agg(json_build_object(
      'name', a.attname, 'type', format_type(base.oid, -1), 'generated', a.attgenerated <> '',
      'category', base.typcategory, 'element', coalesce(element.typname, base.typname)) ORDER BY a.attnum)
    FROM pg_attribute a
    CROSS JOIN LATERAL (
      WITH RECURSIVE step AS (
        SELECT t.* FROM pg_type t WHERE t.oid = a.atttypid
        UNION ALL SELECT t.* FROM pg_type t JOIN step ON t.oid = step.typbasetype AND step.typtype = 'd')
      SELECT * FROM step WHERE typtype <> 'd') base
    LEFT JOIN pg_type element ON element.oid = base.typelem AND base.typcategory = 'A'
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT json_build_object('name', k.conname, 'columns',
      (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY u(attnum, n)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum))
    FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p') AS key,
  (SELECT json_agg(DISTINCT a.attname) FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
    WHERE i.indrelid = c.oid AND i.indisunique AND NOT i.indisprimary) AS uniques,
  (SELECT json_agg(json_build_object('child', cn.nspname || '.' || cc.relname,
      'columns', (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(f.conkey) WITH ORDINALITY u(attnum, n)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.attnum),
      'referred', (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(f.confkey) WITH ORDINALITY u(attnum, n)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.attnum),
      'on_delete', f.confdeltype, 'on_update', f.confupdtype,
      'sets', (SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = f.conrelid
        AND to_jsonb(f)->'confdelsetcols' @> to_jsonb(a.attnum))) ORDER BY f.oid)
    FROM pg_constraint f JOIN pg_class cc ON cc.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = cc.relnamespace
    WHERE f.confrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0) AS refs,
  EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
    AND t.tgtype & 2 = 0 AND t.tgtype & 20 <> 0) AS after_write,
  c.relkind <> 'r' OR c.relhasrules OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid
    AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0) AS changes_more,
  EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
    AND t.tgtype & 8 <> 0) AS on_delete,
  n.nspname || '.' || c.relname = :name AS qualified
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND ((c.relname = :name AND pg_table_is_visible(c.oid)) OR n.nspname || '.' || c.relname = :name)
ORDER BY qualified DESC LIMIT 2
"""
)
# tgtype is a bit set (catalog/pg_trigger.h): 2 before, 4 insert, 8 delete, 16 update.


async def read_table(connection: AsyncConnection, name: str) -> Table:
    """The table of this name: schema.table, or a table that the role's search_path shows. Raises Refused."""
    found = (await connection.execute(_QUERY, {"name": name})).mappings().all()
    if not found:
        raise Refused("unknown_resource", f"The database shows this role no table {name!r}. Nothing was written.")
    if len(found) == 2 and found[1]["qualified"]:
        raise Refused("unknown_resource", f"{name!r} may mean two tables, since names in it hold dots; rename one.")
    return _table(found[0])


def refuse_unless_guardable(table: Table) -> None:
    """Raise Refused for what has no rows that can be named, locked and restored one by one."""
    if not table.key:
        raise Refused(
            "unknown_resource",
            f"{table.name} has no primary key (a view, or a table without one), so its rows cannot be told apart. "
            "Name a table that has one.",
        )
    if table.inherited:
        raise Refused(
            "unknown_resource",
            f"Other tables inherit from {table.name}, so its key names no single row. Name the inheriting tables.",
        )


def _table(row: sa.RowMapping) -> Table:
    columns = {each["name"]: _column(each) for each in _json(row["columns"])}
    key = row["key"] and _json(row["key"])
    name = f"{row['nspname']}.{row['relname']}"
    return Table(
        name=name,
        sql=sa.Table(
            row["relname"],
            sa.MetaData(),
            *(sa.Column(column.name, PgType(column.type)) for column in columns.values()),
            schema=row["nspname"],
        ),
        columns=columns,
        key=tuple(key["columns"]) if key else (),
        key_constraint=key["name"] if key else "",
        unique=frozenset(_json(row["uniques"])),
        references=tuple(_reference(each) for each in _json(row["refs"])),
        inherited=row["relkind"] != "p" and row["relhassubclass"],
        reread=row["after_write"],
        changes_more=row["changes_more"],
        delete_triggers=row["on_delete"],
    )


def _column(each: Mapping[str, Any]) -> Column:
    return Column(
        name=each["name"],
        type=each["type"],
        generated=each["generated"],
        is_array=each["category"] == "A",
        is_json=each["element"] in {"json", "jsonb"},
    )


def _reference(each: Mapping[str, Any]) -> Reference:
    columns = tuple(each["columns"])
    return Reference(
        child=each["child"],
        columns=columns,
        referred=tuple(each["referred"]),
        on_delete=each["on_delete"],
        on_update=each["on_update"],
        delete_sets=tuple(each["sets"] or columns),
    )


def _json(value: Any) -> Any:
    """A json column as the driver gave it: decoded, or as text."""
    return orjson.loads(value) if isinstance(value, str) else value or ()
