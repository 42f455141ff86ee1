"""Fields as Keap takes them: bodies that create and update."""

from collections.abc import Mapping
from typing import Any

from guard.core.model import Fields, Image
from handlers.keap.kinds import CUSTOM, FLAGS, KINDS, SLOTS
from handlers.keap.shapes import members_of


def creation(resource: str, fields: Fields) -> dict[str, Any]:
    """The body that creates a record; what is empty is left out."""
    kind = KINDS[resource]
    body = {name: _sent(name, value) for name, value in fields.items() if name in kind.writable and value is not None}
    for name in sorted(kind.lists):
        if items := _items(name, members_of(name, fields)):
            body[name] = items
    return body


def update(resource: str, fields: Fields, before: Image) -> tuple[dict[str, Any], list[str]]:
    """The body of an update, and the mask that names what it changes: nothing else is touched.

    A list is sent whole, with the members that are there now. What is no text is cleared by the mask alone.
    """
    kind, there = KINDS[resource], before or {}
    lists = {group for name in fields if (group := name.partition(".")[0]) in kind.lists and "." in name}
    plain = {name: value for name, value in fields.items() if name in kind.writable - kind.lists}
    body = {name: there[name] for name in kind.needs if there.get(name)}
    for name, value in plain.items():
        if value is not None or name in kind.texts | FLAGS:
            body[name] = _sent(name, value)
        else:
            body.pop(name, None)
    for name in lists:
        body[name] = _items(name, {**members_of(name, there), **members_of(name, fields)}, told=resource != "contacts")
    return body, sorted({*plain, *lists})


def _items(name: str, members: Mapping[str, Any], *, told: bool = False) -> list[dict[str, Any]]:
    """`told`: members that go are named as empty. Only of contacts Keap says that what is not listed is removed; so it
    is right whether a list replaces the one before, or is merged into it."""
    key_name = SLOTS[name][0]
    if name == CUSTOM:
        return [{"id": key, "content": value} for key, value in sorted(members.items()) if told or value is not None]
    return [{key_name: key, **value} for key, value in sorted(members.items()) if value]


def _sent(name: str, value: Any) -> Any:
    if name == "company":
        return {"id": value}
    if value is None:
        return False if name in FLAGS else ""
    return value
