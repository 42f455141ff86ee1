"""What a model of Tryton says of its fields, and its records as images.

In images ids are texts, like everywhere in Guard; numbers, dates and bytes stay as Tryton writes them, with their
`__class__`, so that they go back exactly. What is empty (null) is left out.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Change, Image, Resource
from handlers.base import unwritable
from handlers.tryton.calls import STAMP, is_model, record_id

STAMPS = frozenset({"create_date", "create_uid", "write_date", "write_uid", "last_modified_at", STAMP})
_ALWAYS = frozenset({"id", "rec_name", "create_date"})
_CLASSES = {
    "numeric": "Decimal",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "datetime",
    "time": "time",
    "timedelta": "timedelta",
    "binary": "bytes",
}
_MEMBERS = {"one2many", "many2many"}
_STRIPS = {True: str.strip, "leading": str.lstrip, "trailing": str.rstrip}


@dataclass(frozen=True, slots=True)
class Model:
    """The fields that Guard reads; what Tryton only calculates (read-only, and not to be searched and sorted by) is
    none of them."""

    name: str
    fields: Mapping[str, Mapping[str, Any]]
    writable: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    """Many2many."""
    children: frozenset[str] = frozenset()
    """One2many: records of another model, written there."""
    plain: frozenset[str] = field(default_factory=frozenset)
    """Those by whose values a record can be searched for."""
    optional: frozenset[str] = frozenset()
    """Those of the plain ones that may be empty."""
    frozen: frozenset[str] = frozenset()
    """Those that Tryton refuses to write in a record that is not active."""

    def type_of(self, name: str) -> str:
        return str(self.fields.get(name, {}).get("type"))

    def asked_for(self) -> list[str]:
        return [*sorted(self.fields), STAMP]

    def resource(self) -> Resource:
        return Resource(
            name=self.name,
            sets=self.links | self.children,
            children={name: str(self.fields[name].get("relation")) for name in self.children},
            volatile=STAMPS | {"rec_name"},
            readonly=frozenset(self.fields) - self.writable - STAMPS - {"rec_name"},
            references={
                name: str(each["relation"])
                for name, each in self.fields.items()
                if each.get("type") == "many2one" and name in self.writable and is_model(each.get("relation"))
            },
        )


def defined(name: str, told: Any) -> Model | None:
    """What `fields_get` answered; None where it is of no shape to rely upon."""
    if not isinstance(told, dict) or not told or not all(_is_definition(each) for each in told.values()):
        return None
    fields = {n: each for n, each in told.items() if n in _ALWAYS or n in STAMPS or _is_kept(each)}
    children = frozenset(n for n, each in fields.items() if each["type"] == "one2many")
    links = frozenset(n for n, each in fields.items() if each["type"] == "many2many")
    writable = frozenset(n for n, each in fields.items() if not each["readonly"]) - children - STAMPS - _ALWAYS
    searched = {"char", "text", "integer", "selection", "many2one"}
    plain = frozenset(n for n in writable if fields[n]["type"] in searched and fields[n].get("searchable") is True)
    optional = frozenset(n for n in plain if fields[n].get("required") is False)
    frozen = frozenset(n for n in writable - {"active"} if '"active"' in str(fields[n].get("states")))
    return Model(name, fields, writable, links, children, plain, optional, frozen)


def _is_definition(told: Any) -> bool:
    return isinstance(told, dict) and isinstance(told.get("type"), str) and isinstance(told.get("readonly"), bool)


def _is_kept(told: Mapping[str, Any]) -> bool:
    return not told["readonly"] or (told.get("searchable") is True and told.get("sortable") is True)


def image_of(model: Model, row: Any) -> dict[str, Any] | None:
    """None: no shape to rely upon."""
    if not isinstance(row, dict) or not _is_number(row.get("id")):
        return None
    image: dict[str, Any] = {}
    for name, value in row.items():
        if (name not in model.fields and name != STAMP) or value is None:
            continue
        if name != STAMP and not _fits(model.type_of(name), value):
            return None
        image[name] = _canonical(model.type_of(name), value)
    return {**image, "id": str(row["id"])}


def _fits(kind: str, value: Any) -> bool:
    """Is it of the shape that later has to be understood?"""
    if kind in _MEMBERS:
        return isinstance(value, list) and all(_is_number(each) for each in value)
    if kind == "many2one":
        return _is_number(value)
    if kind in _CLASSES and kind not in ("numeric", "binary"):
        return isinstance(value, dict) and value.get("__class__") == _CLASSES[kind]
    return True


def _canonical(kind: str, value: Any) -> Any:
    if kind in _MEMBERS:
        return [str(each) for each in value]
    if kind == "many2one":
        return str(value)
    return bool(value) if kind == "boolean" else value  # SQLite shows 1 and 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# What is asked for


def asked(model: Model, given: Any) -> dict[str, Any]:
    """The values of a change in canonical form. Raises Refused."""
    if not isinstance(given, dict):
        raise Refused("invalid_record", "The fields of a record are an object.")
    if children := sorted(set(given) & model.children):
        raise Refused("invalid_record", _elsewhere(children[0], model.fields[children[0]]))
    if unknown := sorted(str(name) for name in given if name not in model.writable):
        raise unwritable(model.name, unknown)
    return {name: _asked(model, name, value) for name, value in given.items()}


def _elsewhere(name: str, told: Mapping[str, Any]) -> str:
    """What to do in place of writing records within another: Tryton's answer to that names none of them, so that what
    became of each could not be told, and one call would hold deletions among updates."""
    relation, parent = told.get("relation"), told.get("relation_field")
    to = f", with {parent} naming the record that each belongs to" if isinstance(parent, str) else ""
    return (
        f"The records in {name} are written by themselves, as {relation}: create, write or delete those{to}. Then "
        "Guard can take each of them back. Nothing was written."
    )


def _asked(model: Model, name: str, value: Any) -> Any:
    kind = model.type_of(name)
    if kind in _MEMBERS:
        if value is not None and not isinstance(value, list):
            raise Refused("invalid_record", f"{name} is a list of ids.")
        return sorted({record_id(each) for each in value or []})
    if value is None:
        return None
    if kind == "many2one":
        return record_id(value)
    if kind in _CLASSES and not _is_of(_CLASSES[kind], value):
        raise Refused("invalid_record", f'{name} is written as Tryton does: {{"__class__": "{_CLASSES[kind]}", …}}.')
    return value


def _is_of(name: str, value: Any) -> bool:
    return isinstance(value, dict) and value.get("__class__") == name


def linked(name: str, commands: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What Tryton's own commands add to a many2many and remove from it. Raises Refused for those that write, copy or
    delete the records themselves."""
    added: list[str] = []
    removed: list[str] = []
    for command in commands if isinstance(commands, list) else [commands]:
        match command:
            case ["add", [*ids]]:
                added += [record_id(each) for each in ids]
            case ["remove", [*ids]]:
                removed += [record_id(each) for each in ids]
            case _:
                detail = f'Of the commands of {name} Guard knows ["add", ids] and ["remove", ids]. Nothing was written.'
                raise Refused("invalid_record", detail)
    if set(added) & set(removed):
        raise Refused("invalid_record", f"{name} adds and removes the same record. Nothing was written.")
    return tuple(sorted(set(added))), tuple(sorted(set(removed)))


def values(model: Model, change: Change, before: Image) -> dict[str, Any]:
    """What is sent: only what may be written, sets as differences. `before` is None for a creation."""
    fields = {name: value for name, value in change.fields.items() if name in model.writable}
    values = {n: sent(model, n, v) for n, v in _moved(model, fields, before, change).items() if n not in model.links}
    for name in model.links:
        there = set((before or {}).get(name) or ())
        wanted = set(fields[name] or ()) if name in fields else there
        wanted = (wanted | set(change.add.get(name, ()))) - set(change.remove.get(name, ()))
        commands = [["add", wanted - there], ["remove", there - wanted]]
        if told := [[verb, sorted(map(int, ids))] for verb, ids in commands if ids]:
            values[name] = told
    return values


def _moved(model: Model, fields: Mapping[str, Any], before: Image, change: Change) -> Mapping[str, Any]:
    """Of an update, what is there already is left out: Tryton refuses some fields (a party's code) even where they
    stay as they are. Of a record that comes back, what was empty is named: else it would get Tryton's defaults."""
    if before is None and change.origin and model.frozen and fields.get("active") is False:
        fields = {n: v for n, v in fields.items() if n != "active"}  # Tryton would refuse to create it
    if before is None:
        return {**dict.fromkeys(model.optional if change.origin else ()), **fields}
    moved = {n: v for n, v in fields.items() if not same(model, n, v, before.get(n))}
    return moved or fields


def sent(model: Model, name: str, value: Any) -> Any:
    if model.type_of(name) == "many2one" and value is not None:
        return int(value) if str(value).isdecimal() else value
    return value


# What is found


def same(model: Model, name: str, wanted: Any, found: Any) -> bool:
    told, kind = model.fields.get(name, {}), model.type_of(name)
    if kind in _MEMBERS:
        return set(wanted or ()) == set(found or ())
    if isinstance(wanted, str) and isinstance(found, str):
        strip = _STRIPS.get(told.get("strip") or False, str)
        return strip(wanted) == strip(found)
    if kind == "numeric":
        return bool(_decimal(wanted) == _decimal(found))
    if kind == "binary":
        return bool(_bytes(wanted) == _bytes(found))
    if kind in ("datetime", "timestamp") and isinstance(wanted, dict) and isinstance(found, dict):
        return bool({**wanted, "microsecond": 0} == {**found, "microsecond": 0})
    return bool(wanted == found)


def _decimal(value: Any) -> Any:
    try:
        return Decimal(value["decimal"])
    except (TypeError, KeyError, InvalidOperation, ValueError):
        return value


def _bytes(value: Any) -> Any:
    try:
        return b64decode(value["base64"])
    except (TypeError, KeyError, ValueError):
        return value
