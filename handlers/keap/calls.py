"""The calls that leave for Keap."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change, Image
from handlers.base import Call, Write
from handlers.keap import bodies, shapes
from handlers.keap.kinds import IDS_MAX, KINDS, TAGS

_CONTACT_IDS_MAX = 100  # of one call for tags; Keap states no maximum, and one too many fails the call


def listing(resource: str, filter_: str) -> Call:
    kind = KINDS[resource]
    query = {"filter": filter_, "fields": kind.show, "page_size": str(IDS_MAX)}
    return Call(method="GET", path=kind.path, query=query, repeatable=True)


def meant(resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
    """A page of what a list's own filter means: {"filter": "company_id==17"}. Raises Refused."""
    text = where.get("filter")
    if set(where) != {"filter"} or not isinstance(text, str) or not text.strip():
        raise Refused("invalid_request", "A filter of Keap has filter: a text as its lists take it, company_id==17.")
    call = listing(resource, text)
    return replace(call, query={**call.query, "page_token": cursor}) if cursor else call


def hanging(name: str, filter_: str) -> Call:
    """A list of what hangs on a record, in the shape that Keap shows without being asked for more."""
    query = {"filter": filter_, "page_size": str(IDS_MAX)}
    return Call(method="GET", path=f"/rest/v2/{name}", query=query, repeatable=True)


def identity(change: Change) -> dict[str, str]:
    """What a search needs to find the change's record; empty where the change does not say it."""
    fields = shapes.completed(change, None)
    if change.resource != "contacts":
        return {name: str(fields.get(name) or "") for name in KINDS[change.resource].identity}
    emails = [value for _, value in sorted(shapes.members_of("email_addresses", fields).items()) if value]
    first = emails[0] if emails else ""
    return {"email": str(first.get("email") if isinstance(first, dict) else first).strip()}


def unseen(change: Change, before: Image) -> list[str]:
    """Lists that the change replaces, and whose members are not known."""
    groups = {name.partition(".")[0] for name in change.fields}
    return sorted(groups & set((before or {}).get(shapes.UNSEEN, ())))


def writing(change: Change, before: Image) -> Call | None:
    kind = KINDS[change.resource]
    fields = shapes.completed(change, before)
    path = f"{kind.path}/{change.id}"
    if change.resource == "notes":  # they are read by themselves, and written below their contact
        contact = (before or {}).get("contact_id") if change.id else fields.pop("contact_id", None)
        if not isinstance(contact, str) or not contact.isdecimal():
            return None
        path = f"/rest/v2/contacts/{contact}/notes" + (f"/{change.id}" if change.id else "")
    shown: dict[str, Any] = {} if change.resource == "companies" else {"fields": kind.show}
    if change.action is Action.DELETE:
        return Call(method="DELETE", path=path)
    if change.action is Action.CREATE:
        path = path if change.resource == "notes" else kind.path
        return Call(method="POST", path=path, query=shown, body=bodies.creation(change.resource, fields))
    body, mask = bodies.update(change.resource, fields, before)
    if not mask or unseen(change, before):
        return None
    return Call(method="PATCH", path=path, query={"update_mask": mask, **shown}, body=body, repeatable=True)


def tagging(verb: str, changes: Sequence[Change]) -> list[Write]:
    """One call for each tag and each hundred contacts."""
    by_tag: dict[str, list[int]] = {}
    for i, change in enumerate(changes):
        for tag in (change.add if verb == "applyTags" else change.remove).get(TAGS, ()):
            by_tag.setdefault(tag, []).append(i)
    parts = [
        (tag, positions[i : i + _CONTACT_IDS_MAX])
        for tag, positions in by_tag.items()
        for i in range(0, len(positions), _CONTACT_IDS_MAX)
    ]
    return [
        Write(
            Call(
                method="POST",
                path=f"/rest/v2/tags/{tag}/contacts:{verb}",
                body={"contact_ids": [changes[i].id for i in part]},
                repeatable=True,
            ),
            tuple(part),
        )
        for tag, part in parts
    ]
