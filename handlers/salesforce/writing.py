"""Which calls carry changes out: collections of 200, of one object type and kind; SOAP for what is deleted."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import Any

from guard.core.model import Action, Change, Image
from handlers.base import Call, Reply, Write
from handlers.salesforce import answers, soap, values
from handlers.salesforce.names import DATA, WRITE_MAX
from handlers.salesforce.objects import Definition

_MANY = f"{DATA}/composite/sobjects"
_UNDELETE = "undelete"


def writes(changes: Sequence[Change], before: Sequence[Image], known: Callable[[str], Definition]) -> list[Write]:
    by_kind: dict[tuple[str, str], list[int]] = {}
    for i, change in enumerate(changes):
        # Undelete takes ids of any type together.
        comes_back = change.action is Action.CREATE and change.origin
        key = ("", _UNDELETE) if comes_back else (change.resource, change.action.value)
        by_kind.setdefault(key, []).append(i)
    made: list[Write] = []
    for (resource, kind), mine in by_kind.items():
        for part in (mine[i : i + WRITE_MAX] for i in range(0, len(mine), WRITE_MAX)):
            if kind == _UNDELETE:
                made.append(Write(soap.undelete([str(changes[i].origin) for i in part]), tuple(part)))
            elif kind == Action.DELETE:
                made.append(Write(_deletion([str(changes[i].id) for i in part]), tuple(part)))
            else:
                made += _filled({i: changes[i] for i in part}, before, known(resource))
    return made


def _filled(changes: Mapping[int, Change], before: Sequence[Image], known: Definition) -> list[Write]:
    """A collection of creations or updates; a single update as a row, which can have a condition."""
    bodies = {i: _body(change, before[i], known) for i, change in changes.items()}
    bodies = {i: body for i, body in bodies.items() if body or changes[i].action is Action.CREATE}
    creating = any(change.action is Action.CREATE for change in changes.values())
    if not bodies:
        return []
    if len(bodies) == 1 and not creating:
        ((i, body),) = bodies.items()
        if unchanged := _unmodified_since(before[i]):
            path = f"{DATA}/sobjects/{known.name}/{changes[i].id}"
            return [Write(Call(method="PATCH", path=path, body=body, headers=unchanged, repeatable=True), (i,))]
    named = {i: {"attributes": {"type": known.name}, **({} if creating else {"id": changes[i].id})} for i in bodies}
    records = [{**named[i], **body} for i, body in bodies.items()]
    return [Write(_collection("POST" if creating else "PATCH", records), tuple(bodies))]


def _body(change: Change, before: Image, known: Definition) -> dict[str, Any]:
    fields = dict(change.fields)
    for name in {*change.add, *change.remove}:  # a difference; Salesforce takes whole lists only
        members = {*(before or {}).get(name, ()), *change.add.get(name, ())}
        fields[name] = sorted(members - set(change.remove.get(name, ())))
    return values.body_of(fields, known, creating=change.action is Action.CREATE)


def _collection(method: str, records: Sequence[Mapping[str, Any]]) -> Call:
    body = {"allOrNone": False, "records": list(records)}
    return Call(method=method, path=_MANY, body=body, repeatable=method == "PATCH")


def _deletion(ids: Sequence[str]) -> Call:
    """Not repeatable: a second one answers of each record that it is not there."""
    return Call(method="DELETE", path=_MANY, query={"ids": ",".join(ids), "allOrNone": "false"})


def _unmodified_since(before: Image) -> dict[str, str]:
    """The condition that nobody has changed a record since it was read. Collections do not take it. It has whole
    seconds, so it is rounded up: a change within the same second goes unnoticed, and nothing is refused without one."""
    modified = values.moment((before or {}).get("LastModifiedDate"))
    if modified is None:
        return {}
    whole = modified.replace(microsecond=0) + timedelta(seconds=math.ceil(modified.microsecond / 1_000_000))
    return {"if-unmodified-since": format_datetime(whole.astimezone(UTC), usegmt=True)}


def halves(write: Write, reply: Reply) -> list[Write]:
    """A collection that was refused for one record's sake, in two; until it is that record alone."""
    many, call = len(write.positions), write.call
    if many < 2 or not answers.is_refused_whole(reply) or call.path != _MANY:
        return []
    parts = (slice(None, many // 2), slice(many // 2, None))
    if call.method == "DELETE":
        ids = str(call.query["ids"]).split(",")
        return [Write(_deletion(ids[part]), write.positions[part]) for part in parts]
    records = call.body["records"]
    return [Write(_collection(call.method, records[part]), write.positions[part]) for part in parts]
