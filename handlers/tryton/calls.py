"""What is said to Tryton: `POST /{database}/rpc/` with {"id", "method", "params"}; the last param is the context."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from guard.core.errors import Refused
from handlers.base import READ, WRITE, Call, Route, Write

READ_MAX = 1000
WRITE_MAX = 500
"""Tryton itself sets no limit (request.records_limit may). But a call is one transaction, and locks what it writes:
1,000 parties with another value each took 6 s on a small machine."""

STAMP = "_timestamp"
"""Name of the optimistic lock, in what is read and in the context of what is written."""

TOO_LARGE = 413

_ID = re.compile(r"[1-9][0-9]{0,17}")
_MODEL = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_METHOD = re.compile(r"[A-Za-z0-9_.]{1,200}")

_READS = (
    "read search search_count search_read fields_get default_get fields_view_get view_toolbar_get export_data "
    "history_revisions on_change on_change_with autocomplete"
).split()
"""What Tryton itself carries out in a transaction that may only read."""
_WRITES = {"create": "create", "write": "update", "delete": "delete"}


def path_of(database: str) -> str:
    return f"/{database}/rpc/"


def routes(database: str) -> list[Route]:
    path = path_of(database)
    return [
        *(Route("POST", f"{path}model.{{model}}.{verb}", READ) for verb in _READS),
        *(Route("POST", f"{path}model.{{model}}.{verb}", WRITE, "", action) for verb, action in _WRITES.items()),
    ]


def place(path: str, content: bytes) -> str:
    """The path with the method that the body names behind it."""
    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError:
        return path
    method = said.get("method") if isinstance(said, dict) else None
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        return path
    return f"{path.rstrip('/')}/{method}"


def is_model(name: object) -> bool:
    return isinstance(name, str) and len(name) <= 100 and _MODEL.fullmatch(name) is not None


def record_id(value: Any) -> str:
    """Raises Refused. Tryton has whole numbers; in Guard ids are texts."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.isascii() or not _ID.fullmatch(text):
        raise Refused("invalid_record", "An id of Tryton is a whole number above zero.")
    return text


def numbers(ids: Sequence[str]) -> list[int]:
    """Those that may be ids of Tryton; nothing else has a record."""
    return [int(id_) for id_ in ids if id_.isascii() and _ID.fullmatch(id_)]


def rpc(database: str, method: str, params: Sequence[Any], *, repeatable: bool = False) -> Call:
    """With an id: only then Tryton names its errors."""
    body = {"id": 0, "method": method, "params": list(params)}
    return Call(method="POST", path=path_of(database), body=body, repeatable=repeatable)


def locked(context: Mapping[str, Any], model: str, stamps: Mapping[int, Any]) -> dict[str, Any]:
    """The context in which Tryton refuses the call where one of these records was written since it was read."""
    named = {f"{model},{id_}": stamp for id_, stamp in stamps.items() if isinstance(stamp, str)}
    return {**context, STAMP: named} if named else dict(context)


def paired(values: Sequence[tuple[int, Mapping[str, Any]]]) -> list[Any]:
    """The params of a write, without the context: lists of ids and values in turn; neighbours that get the same values
    (as Python's own == does not tell: 1, 1.0 and true are three) share a pair."""
    params: list[Any] = []
    last = None
    for id_, fields in values:
        key = json.dumps(fields, sort_keys=True)
        if key == last:
            params[-2].append(id_)
        else:
            params += [[id_], fields]
        last = key
    return params


def halves(write: Write) -> list[Write]:
    """The same in two calls, for one that Tryton refused as a whole. Each is one transaction."""
    method, (*params, context) = write.call.body["method"], write.call.body["params"]
    model, _, verb = method.removeprefix("model.").rpartition(".")
    each: list[Any] = (
        [(id_, fields) for ids, fields in zip(params[::2], params[1::2], strict=True) for id_ in ids]
        if verb == "write"
        else params[0]
    )
    middle = len(each) // 2
    parts = []
    for some, positions in ((each[:middle], write.positions[:middle]), (each[middle:], write.positions[middle:])):
        kept = _context_of(context, model, some, verb)
        body = {**write.call.body, "params": [*(paired(some) if verb == "write" else [some]), kept]}
        call = Call(method="POST", path=write.call.path, body=body, repeatable=write.call.repeatable)
        parts.append(Write(call, positions))
    return parts


def _context_of(context: Mapping[str, Any], model: str, some: Sequence[Any], verb: str) -> dict[str, Any]:
    if STAMP not in context:
        return dict(context)
    ids = [each[0] if verb == "write" else each for each in some]
    stamps = {id_: context[STAMP].get(f"{model},{id_}") for id_ in ids}
    return locked({name: value for name, value in context.items() if name != STAMP}, model, stamps)
