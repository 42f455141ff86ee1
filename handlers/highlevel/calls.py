"""The calls that leave for HighLevel. `location` is the sub-account that searches, creations and bulk calls are for."""

from collections.abc import Sequence
from typing import Any

from guard.core.model import Action, Change, Image
from handlers.base import Call, Write
from handlers.highlevel.shapes import (
    CHANNEL_GROUPS,
    CHANNELS_OF,
    CONTACT_FIELDS,
    CREATE_FIELDS,
    OPPORTUNITY_CREATE_FIELDS,
    OPPORTUNITY_FIELDS,
    body_of,
    is_writable,
)

_BULK_IDS_MAX = 100  # the vendor states no maximum; one too many fails the call and is reported, nothing is lost
_IDENTIFYING = (("email", "email"), ("number", "phone"))
"""Query names of the duplicate search, and the fields they take."""
_LAST = 2
"""The last of the three steps in which changes are written."""


def search(change: Change, location: str) -> Call | None:
    fields = change.fields
    if change.resource == "contacts":
        named = {key: str(fields[name]) for key, name in _IDENTIFYING if fields.get(name)}
        query = {"locationId": location, **named}
        path = "/contacts/search/duplicate"
        return Call(method="GET", path=path, query=query, repeatable=True) if named else None
    if fields.get("contactId") and fields.get("pipelineId"):
        query = {
            "location_id": location,
            "contact_id": str(fields["contactId"]),
            "pipeline_id": str(fields["pipelineId"]),
        }
        return Call(method="GET", path="/opportunities/search", query=query, repeatable=True)
    return None


def attachments(resource: str, id_: str, location: str) -> list[Call]:
    """A contact's notes and tasks are deleted with it, and its opportunities lose it for good."""
    if resource != "contacts":
        return []
    query = {"location_id": location, "contact_id": id_}
    search = Call(method="GET", path="/opportunities/search", query=query, repeatable=True)
    children = [f"/contacts/{id_}/notes", f"/contacts/{id_}/tasks"]
    return [search, *(Call(method="GET", path=path, repeatable=True) for path in children)]


def writes(changes: Sequence[Change], before: Sequence[Image], location: str) -> list[list[Write]]:
    """Bulk calls first, the calls whose answers show the whole record last: a chunk of a revert has both kinds."""
    tags = [write for verb in ("add", "remove") for write in _bulk_tags(verb, changes, location)]
    first = [*tags, *_bulk_business(changes, location)]
    steps: list[list[Write]] = [first, [], []]
    for i, change in enumerate(changes):
        if change.resource == "opportunities":
            for step, call in _opportunity_calls(change, location):
                steps[step].append(Write(call, (i,)))
        elif (contact_call := _contact_call(change, before[i], location)) is not None:
            steps[_LAST].append(Write(contact_call, (i,)))
    return [step for step in steps if step]


def _bulk_tags(kind: str, changes: Sequence[Change], location: str) -> list[Write]:
    """As few calls as it takes: one for each distinct list of tags, or one for each tag, whichever is fewer."""
    by_list: dict[tuple[str, ...], list[int]] = {}
    by_tag: dict[tuple[str, ...], list[int]] = {}
    for i, change in enumerate(changes):
        if tags := (change.add if kind == "add" else change.remove).get("tags"):
            by_list.setdefault(tuple(tags), []).append(i)
            for tag in tags:
                by_tag.setdefault((tag,), []).append(i)
    writes = []
    for tags, positions in min(by_list, by_tag, key=len).items():
        for part in _parts(positions):
            body = {
                "contacts": [changes[i].id for i in part],
                "tags": list(tags),
                "locationId": location,
            }
            path = f"/contacts/bulk/tags/update/{kind}"
            call = Call(method="POST", path=path, body=body, repeatable=True)
            writes.append(Write(call, tuple(part), blind=True))
    return writes


def _bulk_business(changes: Sequence[Change], location: str) -> list[Write]:
    by_business: dict[Any, list[int]] = {}
    for i, change in enumerate(changes):
        if change.action is Action.UPDATE and "businessId" in change.fields:
            by_business.setdefault(change.fields["businessId"], []).append(i)
    return [
        Write(
            Call(
                method="POST",
                path="/contacts/bulk/business",
                body={
                    "locationId": location,
                    "ids": [changes[i].id for i in part],
                    "businessId": business or None,
                },
                repeatable=True,
            ),
            tuple(part),
            blind=True,
        )
        for business, positions in by_business.items()
        for part in _parts(positions)
    ]


def _contact_call(change: Change, before: Image, location: str) -> Call | None:
    match change.action:
        case Action.DELETE:
            return Call(method="DELETE", path=f"/contacts/{change.id}")
        case Action.CREATE:
            fields = {k: v for k, v in change.fields.items() if is_writable(k, CREATE_FIELDS)}
            return Call(method="POST", path="/contacts/", body={**body_of(fields), "locationId": location})
        case _:
            # The id was resolved before: PUT writes to exactly that record, upsert might choose another one.
            fields = {k: v for k, v in change.fields.items() if is_writable(k, CONTACT_FIELDS)}
            # All channels are named: whether HighLevel keeps those left out is not documented.
            for group in {k.partition(".")[0] for k in fields if k.startswith(CHANNEL_GROUPS)}:
                there = {k: v for k, v in (before or {}).items() if k.startswith(f"{group}.")}
                fields = {**dict.fromkeys(CHANNELS_OF[group]), **there, **fields}
            path = f"/contacts/{change.id}"
            return Call(method="PUT", path=path, body=body_of(fields), repeatable=True) if fields else None


def _opportunity_calls(change: Change, location: str) -> list[tuple[int, Call]]:
    path = f"/opportunities/{change.id}"
    if change.action is Action.DELETE:
        return [(0, Call(method="DELETE", path=path))]
    known = OPPORTUNITY_CREATE_FIELDS if change.action is Action.CREATE else OPPORTUNITY_FIELDS
    fields = {k: v for k, v in change.fields.items() if is_writable(k, known)}
    if change.action is Action.CREATE:
        body = {**body_of(fields), "locationId": location}
        return [(0, Call(method="POST", path="/opportunities/", body=body))]
    calls = []
    for method, followers in (("POST", change.add), ("DELETE", change.remove)):
        if followers.get("followers"):
            body = {"followers": list(followers["followers"])}
            calls.append((0, Call(method=method, path=f"{path}/followers", body=body, repeatable=True)))
    reason = change.fields.get("lostReasonId")
    if reason or ("lostReasonId" in change.fields and "status" in fields):
        # The reason goes with the status, and only through this call; a status without one clears it.
        body = {"status": fields.pop("status", "lost"), **({"lostReasonId": reason} if reason else {})}
        calls.append((1, Call(method="PUT", path=f"{path}/status", body=body, repeatable=True)))
    if fields:
        calls.append((_LAST, Call(method="PUT", path=path, body=body_of(fields), repeatable=True)))
    return calls


def _parts(positions: Sequence[int]) -> list[Sequence[int]]:
    return [positions[i : i + _BULK_IDS_MAX] for i in range(0, len(positions), _BULK_IDS_MAX)]
