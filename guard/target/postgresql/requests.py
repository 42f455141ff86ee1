"""Records of a bulk operation as changes."""

from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change
from guard.target.postgresql.catalog import Table
from guard.target.postgresql.values import Text, canonical, joined, key_texts


def requested(table: Table, action: Action, record: Mapping[str, Any]) -> Change:
    """One record: {"id": …, "fields": {…}}. Raises Refused (invalid_record, unknown_field).

    A create may hold its key among the fields or as id, or leave it to the database; an upsert must hold it.
    """
    if not record.keys() <= _MEMBERS:
        raise Refused("invalid_record", f"A record holds {' and '.join(sorted(_MEMBERS))}, and nothing else.")
    given = record.get("fields") or {}
    if not isinstance(given, dict):
        raise Refused("invalid_record", "The fields of a record are an object: column and value.")
    fields = canonical(table, given)
    key = _key(table, record.get("id"), fields)
    if action is Action.CREATE:
        named = dict(zip(table.key, key, strict=True)) if key else {}
        return Change(resource=table.name, action=action, fields={**fields, **named})
    if key is None:
        raise Refused("invalid_record", f"A record of {table.name} needs its id ({', '.join(table.key)}).")
    if not fields.keys().isdisjoint(table.key):
        fields = {name: value for name, value in fields.items() if name not in table.key}
    if action is Action.DELETE and fields:
        raise Refused("invalid_record", "A record to delete is named by its id; it takes no fields.")
    if action is Action.UPDATE and not fields:
        raise Refused("invalid_record", "A record to update names no column to change.")
    return Change(resource=table.name, action=action, id=joined(key), fields=fields)


_MEMBERS = {"id", "fields"}


def _key(table: Table, id_: Any, fields: Mapping[str, Text]) -> list[str] | None:
    """The key's texts, from the id or from among the fields; None: neither names them all."""
    if id_ is None:
        inside = [value for name in table.key if (value := fields.get(name)) is not None]
        return inside if len(inside) == len(table.key) else None
    key = key_texts(table, id_)
    if not fields.keys().isdisjoint(table.key) and any(
        fields.get(name, value) != value for name, value in zip(table.key, key, strict=True)
    ):
        raise Refused(
            "invalid_record", f"The key of {table.name} ({', '.join(table.key)}) cannot be changed by a write."
        )
    return key
