"""The calls that read, find and write records, a hundred at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change, Image
from handlers.base import Call, Page, Reply, Write
from handlers.hubspot.account import Account
from handlers.hubspot.answers import answer_of, is_refused_whole, traced
from handlers.hubspot.names import BATCH_MAX, SEARCH_MAX, SEARCH_TOTAL_MAX
from handlers.hubspot.properties import STAGE, Properties, same

CREATED = "createdAt"
_SECOND_EMAILS = "hs_additional_emails"
_VERBS = {Action.CREATE: "create", Action.UPDATE: "update", Action.DELETE: "archive"}

Inputs = Mapping[int, Mapping[str, Any]]
"""Inputs of batches by the positions of their changes."""


# Reading


def read(account: Account, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
    names = sorted(account.known(resource).writable)
    return [(_read(account, resource, part, names), tuple(part)) for part in _hundreds(ids)]


def _read(account: Account, resource: str, values: Sequence[str], names: Sequence[str], by: str = "") -> Call:
    """Never a search: what was written just now is not found by one, or found as it was."""
    body: dict[str, Any] = {"inputs": [{"id": value} for value in values], "properties": list(names)}
    body |= {"propertiesWithHistory": [], **({"idProperty": by} if by else {})}
    path = f"/crm/v3/objects/{account.path(resource)}/batch/read"
    return Call(method="POST", path=path, body=body, repeatable=True)


def images(ids: Sequence[str], reply: Reply, known: Properties | None) -> dict[str, Image]:
    answer = answer_of(reply)
    if answer is None:
        return {}
    found, missing = answer.by_id(), answer.missing()
    shown: dict[str, Image] = {id_: _image(found[id_], known) for id_ in ids if id_ in found}
    return shown | {id_: None for id_ in ids if id_ not in found and id_ in missing}


def _image(result: Mapping[str, Any], known: Properties | None) -> dict[str, Any]:
    """What can be written of a record, as HubSpot shows it. Empty is the same as absent."""
    shown = result["properties"].items()
    image = {name: value for name, value in shown if value and (known is None or name in known.writable)}
    return {**image, **({CREATED: result[CREATED]} if isinstance(result.get(CREATED), str) else {})}


# Finding


def finds(account: Account, changes: Sequence[Change]) -> list[tuple[Call, tuple[int, ...]]]:
    """By the first property that names one record."""
    by: dict[tuple[str, str], list[int]] = {}
    for i, change in enumerate(changes):
        if (name := _naming(change, account.properties.get(change.resource))) is not None:
            by.setdefault((change.resource, name), []).append(i)
    calls = []
    for (resource, name), mine in by.items():
        shown = [name, _SECOND_EMAILS] if name == "email" else [name]
        for part in _hundreds(mine):
            values = list(dict.fromkeys(str(changes[i].fields[name]).strip() for i in part))
            calls.append((_read(account, resource, values, shown, name), tuple(part)))
    return calls


def search(account: Account, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
    """A page of the ids of a search, {"filterGroups": […], "query": "…"} as HubSpot takes it. Raises Refused.

    https://developers.hubspot.com/docs/api-reference/search/guide
    """
    if not any(where.values()) or not set(where) <= {"filterGroups", "query"}:
        raise Refused("invalid_request", "A filter of HubSpot has filterGroups, query, or both.")
    if not isinstance(where.get("filterGroups") or [], list) or not isinstance(where.get("query") or "", str):
        raise Refused("invalid_request", "filterGroups is a list, and query a text, as HubSpot's search takes them.")
    # All of these are required, says HubSpot's own file.
    paged = {"after": cursor or "0", "limit": SEARCH_MAX, "sorts": [], "properties": ["hs_object_id"]}
    body = {"filterGroups": [], **where, **paged}
    return Call(method="POST", path=f"/crm/v3/objects/{account.path(resource)}/search", body=body, repeatable=True)


def page(reply: Reply) -> Page | None:
    """Raises Refused where the search means more than it ever shows."""
    rows, total = reply.part("results"), reply.part("total")
    if reply.status != 200 or not isinstance(rows, list) or not isinstance(total, int):
        return None
    if total > SEARCH_TOTAL_MAX:
        detail = f"The filter means {total} records, and HubSpot's search shows {SEARCH_TOTAL_MAX} at most: narrow it."
        raise Refused("too_large", f"{detail} Nothing was written.", records_total=total)
    ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
    after = reply.part("paging", "next", "after")
    return None if None in ids else Page([str(id_) for id_ in ids], str(after) if after else None, total)


def _naming(change: Change, known: Properties | None) -> str | None:
    return next((n for n, value in change.fields.items() if known and n in known.unique and value), None)


def found(change: Change, reply: Reply, known: Properties | None) -> str | None:
    """The id in an answer to `finds`; None: there is no such record. Raises Refused."""
    answer, name = answer_of(reply), _naming(change, known)
    if answer is None or name is None:
        raise _not_understood()
    value = str(change.fields[name]).strip()
    for each in answer.results:
        shown = each["properties"]
        second = (shown.get(_SECOND_EMAILS) or "").lower().split(";") if name == "email" else []
        if same(name, value, shown.get(name), known) or value.lower() in second:
            return str(each["id"])
    if value.lower() in {each.strip().lower() for each in answer.missing()}:
        return None
    raise _not_understood()


def _not_understood() -> Refused:
    return Refused("invalid_record", "HubSpot's search for this record gave an answer that cannot be understood.")


# Writing


def write(account: Account, changes: Mapping[int, Change], before: Sequence[Image]) -> list[list[Write]]:
    """Two steps: what has to be emptied first, and everything. `changes` are by position."""
    inputs = {i: _input(change, account.known(change.resource)) for i, change in changes.items()}
    emptied = {i: each for i, change in changes.items() if (each := _emptied(account, change, before[i], inputs[i]))}
    first = _batches(account, "update", changes, emptied)
    second = []
    for action, verb in _VERBS.items():
        mine = {i: each for i, each in inputs.items() if changes[i].action is action and each.get("properties", True)}
        second += _batches(account, verb, changes, mine)
    return [first, second]


def _input(change: Change, known: Properties) -> dict[str, Any]:
    """One input of a batch, of properties that can be written; an empty text empties."""
    if change.action is Action.DELETE:
        return {"id": change.id}
    written = {n: "" if value is None else value for n, value in change.fields.items() if n in known.writable}
    if change.action is Action.CREATE:
        return {"properties": written, "associations": []}
    return {"id": change.id, "properties": written}


def _emptied(account: Account, change: Change, before: Image, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """A lifecycle stage moves back only from none, and only if it was emptied by an earlier request."""
    stage = given.get("properties", {}).get(STAGE)
    known = account.known(change.resource)
    if change.action is Action.UPDATE and known.moves_back((before or {}).get(STAGE), stage):
        return {"id": change.id, "properties": {STAGE: ""}}
    return None


def _batches(account: Account, verb: str, changes: Mapping[int, Change], inputs: Inputs) -> list[Write]:
    by_object: dict[str, list[int]] = {}
    for i in inputs:
        by_object.setdefault(changes[i].resource, []).append(i)
    return [
        _batch(f"/crm/v3/objects/{account.path(resource)}/batch/{verb}", part, [inputs[i] for i in part])
        for resource, mine in by_object.items()
        for part in _hundreds(mine)
    ]


def _batch(path: str, positions: Sequence[int], inputs: Sequence[Mapping[str, Any]]) -> Write:
    if path.endswith("/create"):  # what is created has no id yet by which its result could be told
        inputs = [{**each, "objectWriteTraceId": traced(n)} for n, each in enumerate(inputs)]
    repeatable = path.endswith("/update")
    return Write(Call(method="POST", path=path, body={"inputs": list(inputs)}, repeatable=repeatable), tuple(positions))


def parts(write: Write, reply: Reply) -> list[Write]:
    """A batch of records that was refused for one record's sake, in halves; until it is that record alone."""
    many = len(write.positions)
    if many < 2 or not write.call.path.startswith("/crm/v3/") or not is_refused_whole(reply):
        return []
    inputs = write.call.body["inputs"]
    halves = (slice(None, many // 2), slice(many // 2, None))
    return [_batch(write.call.path, write.positions[half], inputs[half]) for half in halves]


def _hundreds(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[i : i + BATCH_MAX] for i in range(0, len(items), BATCH_MAX))
