"""Values as PostgreSQL's own text: what callers send becomes it, what is read is it, NULL is None.

Text is the one form in which every type goes out and comes back exactly, numeric and composite types included, and
in which two values are equal when their texts are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from guard.core.errors import Refused
from guard.core.model import Fields
from guard.target.postgresql.catalog import Column, Table

Text = str | None


def canonical(table: Table, fields: Mapping[str, Any]) -> dict[str, Text]:
    """The fields of a record in text form. Raises Refused (unknown_field, invalid_record), naming the column."""
    try:
        texts = {name: text_of(table.columns[name], value) for name, value in fields.items()}
    except KeyError:
        raise _unwritable(table, list(fields.keys() - table.columns.keys()), "has no column") from None
    if not table.resource.volatile.isdisjoint(fields):
        raise _unwritable(table, list(table.resource.volatile.intersection(fields)), "computes by itself the column")
    return texts


def key_texts(table: Table, given: Any) -> list[str]:
    """The key's values of an id: a value; for a key of several columns an object or a list (or its JSON text)."""
    if len(table.key) == 1 and type(given) is str:
        return [given]
    parts = _parts(table, _decoded(given) if isinstance(given, str) else given)
    if len(parts) != len(table.key) or any(part is None for part in parts):
        raise Refused(
            "invalid_record", f"A record of {table.name} is named by {', '.join(table.key)}, all of them given."
        )
    return [str(text_of(table.columns[name], part)) for name, part in zip(table.key, parts, strict=True)]


def key_arrays(table: Table, ids: Sequence[str]) -> list[Sequence[str]]:
    """The keys' values, one array per column of the key."""
    if len(table.key) == 1:
        return [ids]
    return list(zip(*(key_texts(table, id_) for id_ in ids), strict=True))


def _parts(table: Table, given: Any) -> list[Any]:
    if isinstance(given, dict):
        return [given[name] for name in table.key] if set(given) == set(table.key) else []
    return given if isinstance(given, list) else [given]


def id_of(table: Table, fields: Fields) -> str:
    """The id of a record, from its key among its fields."""
    if len(table.key) == 1:
        return str(fields[table.key[0]])
    return joined([fields[name] for name in table.key])


def joined(key: Sequence[str]) -> str:
    """A key as an id: its text; of several columns, their texts as a JSON array without spaces."""
    return key[0] if len(key) == 1 else orjson.dumps(key).decode()


def text_of(column: Column, value: Any) -> Text:
    """A JSON value as the text of the column's type. Raises Refused (invalid_record), naming the column."""
    match value:
        case str():
            text = value
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case list() if column.is_array:
            text = _array(column, value)
        case dict() | list() if column.is_json and not column.is_array:
            text = orjson.dumps(value).decode()
        case _:
            raise Refused("invalid_record", f"The value of column {column.name} does not fit its type, {column.type}.")
    if "\0" in text:
        raise Refused("invalid_record", f"The value of column {column.name} holds a zero byte; PostgreSQL keeps none.")
    return text


def _array(column: Column, values: Sequence[Any]) -> str:
    """An array literal: every element but NULL is quoted, so that no text is taken for syntax.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    return "{" + ",".join(_element(column, value) for value in values) + "}"


def _element(column: Column, value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return _array(column, value)
    if isinstance(value, dict) and column.is_json:
        value = orjson.dumps(value).decode()
    text = str(text_of(column, value))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _unwritable(table: Table, names: Sequence[str], why: str) -> Refused:
    listed = ", ".join(sorted(names)[:10])
    return Refused("unknown_field", f"{table.name} {why} {listed}. Nothing was written.")
