"""What the database does by itself because of a write: rows that foreign keys delete or change along with it.

They belong to the snapshot like the rows that were named. They are found before the write, level by level, and
locked; nobody can add one meanwhile, for the lock on the row that they would refer to keeps new references out.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Any, Protocol

import sqlalchemy as sa

from guard.core.errors import Refused
from guard.core.model import Action, Change, Fields, Touched
from guard.target.postgresql import statements
from guard.target.postgresql.catalog import Reference, Table
from guard.target.postgresql.values import id_of
from handlers.postgresql import CHUNK_RECORDS, IMPLIED_MAX

Key = tuple[str, str]

_FOLLOWS = frozenset("cnd")
"""cascade, set null, set default: the database writes the referring row, too."""


class Reader(Protocol):
    async def table(self, name: str) -> Table: ...

    async def rows(self, table: Table, statement: sa.Executable) -> list[tuple[int, Fields]]: ...


@dataclass(slots=True)
class _Row:
    """A row that the write changes (`columns`) or deletes (None)."""

    table: Table
    image: Fields
    columns: set[str] | None
    nulls: set[str] = field(default_factory=set)
    by: Key | None = None
    touched: Touched | None = None
    """Of a row that was named: its own change."""

    @property
    def key(self) -> Key:
        return self.table.name, id_of(self.table, self.image)


async def with_implied(reader: Reader, touched: Sequence[Touched]) -> list[Touched]:
    """The changes, and before them those that they imply: children before parents, so that taking back in reverse
    creates parents first. Deletes in a row are put in that order, too. Raises Refused where it would be too much."""
    tables = {name: await reader.table(name) for name in {each.change.resource for each in touched}}
    if not any(table.references for table in tables.values()):
        return list(touched)
    named = {(each.change.resource, each.change.id or "") for each in touched if not each.problem}
    result: list[Touched] = []
    for action, run in groupby(touched, lambda each: each.change.action):
        part = list(run)
        if action is Action.CREATE:
            result += part
            continue
        causes = [_cause(tables[each.change.resource], each) for each in part if not each.problem]
        implied = await _implied(reader, causes, named)
        if action is Action.DELETE:
            problems = [each for each in part if each.problem]
            result += problems + [_touched(row) for row in _children_first([*implied, *causes])]
        else:
            result += [_touched(row) for row in _children_first(implied)] + part
    return result


def _cause(table: Table, touched: Touched) -> _Row:
    columns = None if touched.change.action is Action.DELETE else set(touched.change.fields)
    return _Row(table, touched.before or {}, columns, touched=touched)


async def _implied(reader: Reader, causes: Sequence[_Row], named: set[Key]) -> list[_Row]:
    found: dict[Key, _Row] = {}
    level = list(causes)
    while level:
        following: dict[Key, _Row] = {}
        for table, reference, parents in _followed(level):
            child = await reader.table(reference.child)
            for parent, image in await _children(reader, table, reference, child, parents, len(found)):
                row = _met(found, child, reference, parent, image)
                if row is not None and row.key not in named:
                    found[row.key] = following[row.key] = row
        level = list(following.values())
    return list(found.values())


def _followed(level: Sequence[_Row]) -> Iterable[tuple[Table, Reference, list[_Row]]]:
    """The references through which these rows take others along, with the rows whose referred values are not NULL."""
    by_table: dict[str, list[_Row]] = {}
    for row in level:
        by_table.setdefault(row.table.name, []).append(row)
    for rows in by_table.values():
        table = rows[0].table
        for reference in table.references:
            parents = [row for row in rows if _effect(reference, row) in _FOLLOWS and _referred(reference, row)]
            for i in range(0, len(parents), CHUNK_RECORDS):
                yield table, reference, parents[i : i + CHUNK_RECORDS]


def _effect(reference: Reference, row: _Row) -> str:
    if row.columns is None:
        return reference.on_delete
    return "a" if row.columns.isdisjoint(reference.referred) else reference.on_update


def _referred(reference: Reference, row: _Row) -> bool:
    return all(row.image[name] is not None for name in reference.referred)


async def _children(
    reader: Reader, table: Table, reference: Reference, child: Table, parents: Sequence[_Row], already: int
) -> list[tuple[_Row, Fields]]:
    referred = [[parent.image[name] for parent in parents] for name in reference.referred]
    limit = IMPLIED_MAX - already + 1
    found = await reader.rows(child, statements.children(table, reference, child, referred, limit=limit))
    if len(found) == limit:
        raise Refused(
            "too_large",
            f"Foreign keys would write more than {IMPLIED_MAX} rows along with this (table {child.name} among them). "
            "Nothing was written; name fewer records at once, or write those rows by themselves first.",
        )
    if found and not child.key:
        raise Refused(
            "irreversible",
            f"A foreign key would write rows of {child.name} along with this, which has no primary key, so they "
            "could not be taken back. Nothing was written.",
        )
    return [(parents[position], image) for position, image in found]


def _met(found: dict[Key, _Row], child: Table, reference: Reference, parent: _Row, image: Fields) -> _Row | None:
    """The row with this effect added to what it is known to suffer; None: that was known already."""
    effect = _effect(reference, parent)
    known = found.get((child.name, id_of(child, image))) or _Row(child, image, set(), by=parent.key)
    if known.columns is None:
        return None
    if parent.columns is None and effect == "c":
        known.columns = None
        return known
    columns = set(reference.delete_sets if parent.columns is None else reference.columns)
    if columns <= known.columns:
        return None
    known.columns |= columns
    known.nulls |= columns if effect == "n" else set()
    return known


def _touched(row: _Row) -> Touched:
    if row.touched is not None:
        return row.touched
    resource, id_ = row.key
    if row.columns is None:
        change = Change(resource=resource, action=Action.DELETE, id=id_)
    else:
        # What CASCADE and SET DEFAULT write is read afterwards.
        change = Change(resource=resource, action=Action.UPDATE, id=id_, fields=dict.fromkeys(sorted(row.nulls)))
    return Touched(change, row.image, implied_by=row.by)


def _children_first(rows: Sequence[_Row]) -> list[_Row]:
    """Sorted by all foreign keys among the rows, not only those that cascade. Rows that refer to each other in a
    circle stand last, in the order in which they were found: only deferrable constraints let them come back."""
    by_key = {row.key: row for row in rows}
    if not any(row.table.references for row in rows):
        return list(rows)
    sorter: TopologicalSorter[Key] = TopologicalSorter(dict.fromkeys(by_key, ()))
    for parent, child in _edges(rows):
        if parent != child:
            sorter.add(parent, child)
    done: dict[Key, None] = {}
    with suppress(CycleError):  # it still gives all rows that no circle holds back
        sorter.prepare()
    while ready := sorter.get_ready():
        done |= dict.fromkeys(ready)
        sorter.done(*ready)
    return [by_key[key] for key in done] + [row for key, row in by_key.items() if key not in done]


def _edges(rows: Sequence[_Row]) -> Iterable[tuple[Key, Key]]:
    by_table: dict[str, list[_Row]] = {}
    for row in rows:
        by_table.setdefault(row.table.name, []).append(row)
    for parents in by_table.values():
        for reference in parents[0].table.references:
            referred: dict[tuple[Any, ...], Key] = {_values(row, reference.referred): row.key for row in parents}
            for child in by_table.get(reference.child, ()):
                parent = referred.get(_values(child, reference.columns))
                if parent is not None:
                    yield parent, child.key


def _values(row: _Row, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.image[name] for name in names)
