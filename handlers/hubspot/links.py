"""Associations. What Guard calls a record here are all links from one record to one object type.

    id      contacts:123:companies                     (from, its id, to)
    links   ["456/HUBSPOT_DEFINED/279", …]             (the other record, category, type id), a set

So what HubSpot changes by itself is seen, too: a new company may take the primary one's label away, and the link that
has no label takes all others of its pair with it. Such a record always exists; without links it is empty.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change, Image, Key, Outcome, Status
from handlers.base import Call, Reply, Request, Write
from handlers.hubspot.answers import NOT_FOUND, named_in, no_answer, refused
from handlers.hubspot.names import BATCH_MAX, LINKS, object_name, record_id

_LINK = re.compile(r"[0-9]{1,20}/(HUBSPOT_DEFINED|INTEGRATOR_DEFINED|USER_DEFINED|WORK)/[0-9]{1,9}")

_WORK = ("notes", "calls", "emails", "meetings", "tasks", "deals", "tickets")
"""What people attach to a record. (Companies are not among them: HubSpot links a contact to one by itself.)"""

Names = Mapping[str, str]
"""Custom objects' type ids, by their names in the settings."""
Pair = tuple[str, str]


def link_id(value: Any, custom: Names) -> str:
    """Raises Refused."""
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != 3:
        raise Refused("invalid_record", "The id of a record's links is from:id:to, as in contacts:123:companies.")
    return _id_of(object_name(parts[0], custom), record_id(parts[1]), object_name(parts[2], custom))


def _id_of(from_: str, id_: str, to: str) -> str:
    return f"{from_}:{id_}:{to}"


def change(action: str, record: Mapping[str, Any], custom: Names) -> Change:
    """One record of the bulk door: links.add or links.remove. Raises Refused."""
    id_ = link_id(record.get("id"), custom)
    if id_.startswith("companies:") and id_.endswith(":contacts"):
        detail = "It may change which company is a contact's primary one: write it from the contact's side, "
        raise Refused("invalid_record", f"{detail}as contacts:…:companies. Nothing was written.")
    given = record.get("links")
    links = given.split(",") if isinstance(given, str) else given  # a CSV has them in one cell
    if not isinstance(links, list) or not links or not all(isinstance(n, str) and _LINK.fullmatch(n) for n in links):
        raise Refused("invalid_record", "links must be a list of texts like 456/HUBSPOT_DEFINED/279.")
    named = {"links": tuple(dict.fromkeys(links))}
    adding = action == "links.add"
    return _change(id_, add=named if adding else {}, remove={} if adding else named)


def _change(id_: str, **members: Any) -> Change:
    return Change(resource=LINKS, action=Action.UPDATE, id=id_, **members)


def changes(kind: str, request: Request, custom: Names) -> list[Change]:
    """Those of one of HubSpot's own requests. Which links it makes or takes away is read, where it does not say so."""
    from_, to = (object_name(request.params[name], custom) for name in ("from", "to"))
    asked: dict[str, list[str]] = {}
    for one, others, types in _named(kind, request):
        asked.setdefault(_id_of(from_, one, to), []).extend(f"{other}/{kind}" for other in others for kind in types)
        if (from_, to) == ("companies", "contacts"):  # see `change`: the contact's own links may change
            for other in others:
                asked.setdefault(_id_of(to, other, from_), [])
    if not asked:
        raise Refused("invalid_request", "The request names no records.")
    removing = kind == "batch.labels"
    named = {id_: {"links": tuple(dict.fromkeys(links))} if links else {} for id_, links in asked.items()}
    return [_change(id_, add={} if removing else n, remove=n if removing else {}) for id_, n in named.items()]


def _named(kind: str, request: Request) -> list[tuple[str, list[str], list[str]]]:
    """Each (id, ids of the others, types) that the request names. Raises Refused."""
    if "id" in request.params:
        types = _types(request.body) if kind == "create" else []
        return [(record_id(request.params["id"]), [record_id(request.params["other"])], types)]
    given = request.body.get("inputs") if isinstance(request.body, dict) else None
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Refused("invalid_request", "inputs must be a list of objects.")
    named = []
    for each in given:
        others = each.get("to") if kind == "batch.archive" else [each.get("to")]
        if not isinstance(others, list):
            raise Refused("invalid_request", "to must be a list of objects with an id.")
        types = _types(each.get("types")) if kind in ("batch.create", "batch.labels") else []
        named.append((_object_id(each.get("from")), [_object_id(other) for other in others], types))
    return named


def _object_id(value: Any) -> str:
    return record_id(value.get("id") if isinstance(value, dict) else None)


def _types(given: Any) -> list[str]:
    specs = given if isinstance(given, list) and given else [None]
    named = [
        f"{s.get('associationCategory')}/{s.get('associationTypeId')}" if isinstance(s, dict) else "" for s in specs
    ]
    if not all(_LINK.fullmatch(f"1/{each}") for each in named):
        raise Refused("invalid_request", "Each type needs its associationCategory and associationTypeId.")
    return named


# Reading


def read(ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
    calls = []
    for (from_, to), mine in _by_pair(ids).items():
        for part in (mine[i : i + BATCH_MAX] for i in range(0, len(mine), BATCH_MAX)):
            body = {"inputs": [{"id": id_.split(":")[1]} for id_ in part]}
            path = f"/crm/v4/associations/{from_}/{to}/batch/read"
            calls.append((Call(method="POST", path=path, body=body, repeatable=True), tuple(part)))
    return calls


def _by_pair(ids: Sequence[str]) -> dict[Pair, list[str]]:
    pairs: dict[Pair, list[str]] = {}
    for id_ in ids:
        from_, _, to = id_.split(":")
        pairs.setdefault((from_, to), []).append(id_)
    return pairs


def images(ids: Sequence[str], reply: Reply) -> dict[str, Image]:
    results, errors = reply.part("results"), reply.part("errors")
    if reply.status not in (200, 207) or reply.part("status") != "COMPLETE" or not isinstance(results, list):
        return {}
    linked = {from_: links for each in results for from_, links in [_links(each)] if from_}
    told = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    without = {name for each in told if each.get("category") == NOT_FOUND for name in named_in(each)}
    found: dict[str, Image] = {}
    for id_ in ids:
        one = id_.split(":")[1]
        if (links := linked.get(one)) is not None:
            found[id_] = {"links": links}
        elif one not in linked and one in without:
            found[id_] = {}
    return found


def _links(result: Any) -> tuple[str | None, list[str] | None]:
    """From which record, and its links; None: not all of them are shown, or in no shape to rely upon."""
    from_ = result.get("from") if isinstance(result, dict) else None
    id_ = from_.get("id") if isinstance(from_, dict) else None
    if not isinstance(id_, str):
        return None, None
    to = result.get("to")
    if result.get("paging") is not None or not isinstance(to, list):  # it is there only where there are more pages
        return id_, None
    links = [link for other in to for link in _of_other(other)]
    return id_, sorted(links) if all(_LINK.fullmatch(link) for link in links) else None


def _of_other(other: Any) -> list[str]:
    """The links to one other record; a text that is none where they cannot be understood."""
    types = other.get("associationTypes") if isinstance(other, dict) else None
    if not isinstance(types, list) or not all(isinstance(each, dict) for each in types):
        return [""]
    return [f"{other.get('toObjectId')}/{each.get('category')}/{each.get('typeId')}" for each in types]


def attachments(path: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
    """What people have attached to records is lost to them with these. All kinds of one record, or one kind of many."""
    if len(ids) > len(_WORK):
        calls = read([_id_of(path, id_, kind) for kind in _WORK for id_ in ids])
        return [(call, tuple(each.split(":")[1] for each in mine)) for call, mine in calls]
    query = {"associations": ",".join(_WORK)}
    return [(Call(method="GET", path=f"/crm/v3/objects/{path}/{id_}", query=query), (id_,)) for id_ in ids]


def attached(call: Call, ids: Sequence[str], reply: Reply) -> dict[str, list[Key]]:
    """What an answer to one of these shows of each id; what it does not tell of is left out."""
    if call.method == "POST":
        from_, to = call.path.split("/")[4:6]
        told = images([_id_of(from_, id_, to) for id_ in ids], reply)
        linked = {id_.split(":")[1]: (image or {}).get("links", ()) for id_, image in told.items()}
        return {id_: [(to, link.split("/")[0]) for link in found] for id_, found in linked.items()}
    kinds = reply.part("associations") or {}
    if reply.status != 200 or reply.part("id") != ids[0] or not isinstance(kinds, dict):
        return {}
    return {ids[0]: [(name, str(each.get("id"))) for name, kind in kinds.items() for each in _results(kind)]}


def _results(kind: Any) -> list[Mapping[str, Any]]:
    found = kind.get("results") if isinstance(kind, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


# Writing


def write(changes: Mapping[int, Change], before: Sequence[Image]) -> list[list[Write]]:
    """Removals first, then what is added, and what was to stay and may have gone along.

    A whole pair is taken apart by itself, for the link without a label takes the others with it.
    """
    whole: dict[Pair, list[tuple[int, Any]]] = {}
    some: dict[Pair, list[tuple[int, Any]]] = {}
    made: dict[Pair, list[tuple[int, Any]]] = {}
    for position, each in changes.items():
        from_, one, to = str(each.id).split(":")
        there = frozenset((before[position] or {}).get("links", ()))
        then = _wanted(each, there)
        for other in sorted({link.split("/")[0] for link in there | then}):
            had, has = (sorted(n for n in links if n.startswith(f"{other}/")) for links in (there, then))
            gone = [link for link in had if link not in has]
            ends = {"from": {"id": one}, "to": {"id": other}}
            if gone and not has:
                whole.setdefault((from_, to), []).append((position, {**ends, "to": [{"id": other}]}))
            elif gone:
                some.setdefault((from_, to), []).append((position, {**ends, "types": _specs(gone)}))
            if has and has != had:
                made.setdefault((from_, to), []).append((position, {**ends, "types": _specs(has)}))
    removals = [*_calls("batch/archive", whole), *_calls("batch/labels/archive", some)]
    return [removals, _calls("batch/create", made)]


def _wanted(change: Change, there: frozenset[str]) -> frozenset[str]:
    kept = frozenset(change.fields["links"] or ()) if "links" in change.fields else there
    return (kept - frozenset(change.remove.get("links", ()))) | frozenset(change.add.get("links", ()))


def _specs(links: Sequence[str]) -> list[dict[str, Any]]:
    parts = (link.split("/") for link in links)
    return [{"associationCategory": category, "associationTypeId": int(type_id)} for _, category, type_id in parts]


def _calls(verb: str, inputs: Mapping[Pair, Sequence[tuple[int, Any]]]) -> list[Write]:
    writes = []
    for (from_, to), mine in inputs.items():
        for part in (mine[i : i + BATCH_MAX] for i in range(0, len(mine), BATCH_MAX)):
            path, body = f"/crm/v4/associations/{from_}/{to}/{verb}", {"inputs": [each for _, each in part]}
            call = Call(method="POST", path=path, body=body, repeatable=True)
            writes.append(Write(call, tuple(dict.fromkeys(position for position, _ in part))))
    return writes


def outcomes(changes: Sequence[Change], reply: Reply) -> list[Outcome]:
    """No answer shows all links of a record, so they are read. Of several inputs about one record some may have failed:
    only reading tells."""
    if reply.status not in (200, 201, 204, 207):
        return [refused(reply)] * len(changes)
    if reply.status == 204:
        return [Outcome(status=Status.APPLIED)] * len(changes)
    if reply.status == 207 or reply.part("errors"):
        return [no_answer("vendor_error")] * len(changes)
    if not isinstance(reply.part("results"), list) and reply.part("fromObjectId") is None:
        return [no_answer()] * len(changes)
    return [Outcome(status=Status.APPLIED)] * len(changes)
