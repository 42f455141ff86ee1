"""What callers may name: ids, tags, and the part of a body that a mask lets through."""

from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change
from handlers.keap.kinds import TAGS
from handlers.keap.shapes import invalid


def masked(body: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """The part of a body that its mask lets through. What a mask names and the body does not have would be cleared,
    or not: Keap does not say."""
    if "update_mask" not in query:
        return dict(body)
    mask = [name for name in query["update_mask"].split(",") if name]
    if missing := sorted(set(mask) - set(body)):
        raise Refused("invalid_request", f"The update_mask names {missing[0]}, and the body has no value for it.")
    return {name: body[name] for name in mask}


def tag_change(id_: str | None, tags: tuple[str, ...], *, adding: bool) -> Change:
    named = {TAGS: tags}
    add, remove = (named, {}) if adding else ({}, named)
    return Change(resource="contacts", action=Action.UPDATE, id=id_, add=add, remove=remove)


def tag_ids(value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value  # a CSV has them in one cell
    if not isinstance(given, list) or not given:
        raise invalid("tags must be a list of ids of tags.")
    return tuple(ids_of([each.strip() if isinstance(each, str) else each for each in given]))


def ids_of(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or None in value:
        raise Refused("invalid_request", "The request names no records, or not by their ids.")
    return list(dict.fromkeys(str(id_of(each)) for each in value))


def id_of(value: Any) -> str | None:
    """An id becomes part of a path or a filter: nothing but digits may get there."""
    if value is None or (isinstance(value, str) and value.isascii() and value.isdecimal()):
        return value
    raise invalid("An id is not one of Keap's: they are texts of digits.")


def parent_of(value: Any) -> str:
    if (id_ := id_of(value)) is None:
        raise invalid("A note needs its contact_id.")
    return id_
