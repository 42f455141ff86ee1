"""A stand-in for Tryton: two models of its party module, over JSON-RPC, in the shapes of a real one (8.2).

Seen on the real one, and kept here (tests/heavy/test_tryton.py asks both the same):

- One path; the method stands in the body. A request with id, method and params is answered with 200, whatever comes of
  it, and the error within; one without the id with the bare result or an HTTP status and a page.
- Sessions: `common.db.login`, then `Authorization: Session base64(user:uid:token)`. Else a bare 401.
- Each call is one transaction. `write` takes ids and values in turn. `read` fails as a whole where one record is not
  there; `delete` of one that is not there says that it was done.
- `_timestamp` in the context: refused if a record was written since.
- An odd field is a bare KeyError; a party's code can be set by its creation only, and is unique.
- Most fields are not written while the record is not active, nor created so; all of a call is looked at beforehand.
- Booleans are 1 and 0 (SQLite). Text is trimmed where the field says so. Deleting a party deletes its addresses.
"""

import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.applications import Starlette

from scenarios.sandboxes.common import (
    Limiter,
    Reply,
    Request,
    Routes,
    Row,
    Store,
    Table,
    Vendor,
    sandbox_app,
)

TOKEN = "sandbox-token"  # noqa: S105 - a sandbox's
"""The password; and a session that never ends."""
DATABASE, USER = "crm", "guard"
PATH = f"/{DATABASE}/rpc/"
PARTY, CATEGORY, ADDRESS = "party.party", "party.category", "party.address"
CONCURRENCY = ["ConcurrencyException", "Records were modified in the meanwhile"]
_OTHER_READS = (
    "search_count default_get fields_view_get view_toolbar_get export_data history_revisions on_change on_change_with "
    "autocomplete"
).split()
"""Known, and answered with nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """sessions_left: calls until every session ends; -1: they do not."""

    sessions_left: int = -1


class Failed(Exception):
    """The error that stands in the answer."""

    def __init__(self, *error: Any) -> None:
        super().__init__(*error)
        self.error = list(error)


class Aborted(Exception):
    """An HTTP status with a page."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def user_error(message: str) -> Failed:
    return Failed("UserError", [message, "", None])


class MethodRoutes(Routes):
    """Known by model.{any}.{verb} behind the path."""

    def match(self, method: str, path: str) -> tuple[Callable[..., Reply], list[str], bool] | None:
        named, _, verb = path.rpartition(".")
        model = named.removeprefix(f"{PATH}model.")
        found = super().match(method, f"{PATH}{verb}") if model != named else None
        return (found[0], [model], found[2]) if found else None


class Tryton(Vendor):
    settings: Settings

    def __init__(self, records: int) -> None:
        self.store = Store({name: Table({}) for name in (PARTY, CATEGORY, ADDRESS)})
        self.routes = MethodRoutes()
        reads = {"read": self._read, "search": self._search, "search_read": self._search_read}
        self._verbs: dict[str, Callable[[str, list[Any], Row, bool], Any]] = {
            **dict.fromkeys(_OTHER_READS, self._nothing),
            **reads,
            "fields_get": self._fields_get,
            "create": self._create,
            "write": self._write,
            "delete": self._delete,
        }
        for verb in self._verbs:
            self.routes.add("POST", f"{PATH}{verb}", self.answer, read=verb not in ("create", "write", "delete"))
        self._size = records
        self._sessions: set[str] = set()
        self.reset()

    def reset(self) -> None:
        self.settings = Settings()
        self._clock, self._next = 0, 5000
        self._sessions = {TOKEN}
        seeded = {
            PARTY: [_party(n) for n in range(self._size)],
            CATEGORY: [
                _stored(str(2000 + n), {"name": name, "parent": None, "active": 1})
                for n, name in enumerate(("candidate", "client", "ruined", "called back"))
            ],
            ADDRESS: [_stored("3000", {"party": 1002, "city": "Rome"})],
        }
        for name, rows in seeded.items():
            self.store.tables[name].load(rows)

    # The one door

    def place(self, request: Request) -> str:
        said = _said(request.body)
        return f"{PATH}{said['method']}" if request.path == PATH and said else request.path

    def answer(self, request: Request) -> Reply:
        said = _said(request.body)
        if request.path != PATH or request.method != "POST":
            return _page(404)
        if said is None:
            return _page(400)
        named = set(said) == {"id", "method", "params"}
        try:
            result = self._call(request, said["method"], said.get("params") or [])
        except Aborted as aborted:
            return _page(aborted.status)
        except Failed as failed:
            self.store.rollback()
            if named:
                return Reply.json(200, {"id": said["id"], "error": failed.error})
            return _page({"UserError": 400, "ConcurrencyException": 423}.get(failed.error[0], 500))
        return Reply.json(200, {"id": said["id"], "result": result} if named else result)

    def _call(self, request: Request, method: str, params: list[Any]) -> Any:
        if method == "common.db.login":
            return self._login(params)
        self._refuse_stranger(request)
        found = self.routes.match("POST", f"{PATH}{method}")
        if found is None:
            raise Aborted(403)
        model = found[1][0]
        if model not in self.store.tables:
            raise Failed(f"'{model}'", "")
        if not params or not isinstance(params[-1], dict):
            raise Aborted(422)
        return self._verbs[method.rpartition(".")[2]](model, params[:-1], params[-1], request.stale)

    def _login(self, params: list[Any]) -> list[Any]:
        if params[:2] != [USER, {"password": TOKEN}]:
            raise Aborted(401)
        session = secrets.token_hex(8)
        self._sessions.add(session)
        return [2, session, None]

    def _refuse_stranger(self, request: Request) -> None:
        kind, _, told = request.headers.get(b"authorization", b"").decode().partition(" ")
        session = told if told == TOKEN else base64.b64decode(told.encode() + b"==").decode(errors="replace")
        if kind != "Session" or session.rpartition(":")[2] not in self._sessions:
            raise Aborted(401)
        if self.settings.sessions_left == 0:
            self._sessions.clear()
            self.settings = Settings()
            raise Aborted(401)
        if self.settings.sessions_left > 0:
            self.settings = Settings(self.settings.sessions_left - 1)

    # Reading

    def _nothing(self, model: str, params: list[Any], context: Row, stale: bool) -> None:
        del model, params, context, stale

    def _fields_get(self, model: str, params: list[Any], context: Row, stale: bool) -> Row:
        del params, context, stale
        return {name: {"name": name, **told} for name, told in FIELDS[model].items()}

    def _search(self, model: str, params: list[Any], context: Row, stale: bool) -> list[int]:
        domain, _, limit, *_ = [*params, None, None, None]
        rows = list(self.store.tables[model].seen(self.store.tables[model].rows.values(), stale=stale))
        if stale:  # also what the last write has deleted
            gone = set(self.store.tables[model].previous) - set(self.store.tables[model].rows)
            rows += [row for id_ in gone if (row := self.store.tables[model].previous[id_])]
        if context.get("active_test", True) and "active" in FIELDS[model]:
            rows = [row for row in rows if row["active"]]
        found = [int(row["id"]) for row in rows if _fits(row, domain)]
        return found[:limit]

    def _read(self, model: str, params: list[Any], context: Row, stale: bool) -> list[Row]:
        del context
        ids, names = params
        if missing := [id_ for id_ in ids if not self.store.tables[model].get(str(id_), stale=stale)]:
            raise user_error(f'You are trying to read records "{missing[0]}" that don\'t exist.')
        return [self._shown(model, id_, names, stale) for id_ in ids]

    def _search_read(self, model: str, params: list[Any], context: Row, stale: bool) -> list[Row]:
        domain, _, limit, _, names = params
        ids = self._search(model, [domain, 0, limit, None], context, stale)
        return self._read(model, [ids, names], context, stale)

    def _shown(self, model: str, id_: int, names: Sequence[str], stale: bool) -> Row:
        row = self.store.tables[model].get(str(id_), stale=stale) or {}
        whole = {**row, "id": id_, "rec_name": row.get("name") or row.get("city"), "_timestamp": row["stamp"]}
        whole |= {"create_date": row["created"], "write_date": row["written"]}
        if model == PARTY:
            whole["addresses"] = [int(a) for a, each in self.store.tables[ADDRESS].rows.items() if each["party"] == id_]
        if odd := [name for name in names if name not in whole and name not in FIELDS[model]]:
            raise Failed(f"'{odd[0]}'", "")
        return {name: whole.get(name) for name in {*names, "id"}}

    # Writing

    def _create(self, model: str, params: list[Any], context: Row, stale: bool) -> list[int]:
        del context, stale
        made = []
        for values in params[0]:
            self._next += 1
            given = self._taken(model, {**_DEFAULTS[model], **values}, {})
            given["code"] = given.get("code") or str(self._next)
            if "active" in FIELDS[model]:
                self._refuse_frozen(model, {n: v for n, v in values.items() if n not in ("active", "code")}, given)
            self._refuse_alike(model, str(self._next), given)
            self.store.tables[model].put(self._stamped(_stored(str(self._next), given), created=True))
            made.append(self._next)
        return made

    def _write(self, model: str, params: list[Any], context: Row, stale: bool) -> None:
        del stale
        pairs = list(zip(params[::2], params[1::2], strict=True))
        for ids, values in pairs:
            if len(set(ids)) < len(ids):
                raise Aborted(422)
            for id_ in ids:
                row = self.store.tables[model].get(str(id_))
                if row is None:
                    raise user_error(f'You are trying to write to records "{id_}" that don\'t exist.')
                self._refuse_frozen(model, values, row)
        self._refuse_changed(model, [id_ for ids, _ in pairs for id_ in ids], context)
        for ids, values in pairs:
            for id_ in ids:
                row = self.store.tables[model].rows[str(id_)]
                self.store.tables[model].put(self._stamped({**row, **self._taken(model, values, row)}))

    def _delete(self, model: str, params: list[Any], context: Row, stale: bool) -> None:
        del stale
        self._refuse_changed(model, params[0], context)
        for id_ in params[0]:
            if row := self.store.tables[model].get(str(id_)):
                self.erase(model, row)

    def _taken(self, model: str, values: Row, row: Row) -> Row:
        """The values as they are kept."""
        kept: Row = {}
        for name, value in values.items():
            told = FIELDS[model].get(name)
            if told is None or name == "id":
                raise Failed(f"'{name}'", "")
            if told["type"] == "many2many":
                kept[name] = _linked(row.get(name) or [], value or [], self.store.tables[told["relation"]])
            elif told["type"] == "boolean":
                kept[name] = int(bool(value))
            else:
                kept[name] = value.strip() if isinstance(value, str) and told.get("strip") else value
        return kept

    def _refuse_frozen(self, model: str, values: Row, row: Row) -> None:
        """Looked at before anything of the call is written."""
        for name in values:
            states = FIELDS[model].get(name, _OWN["id"])["states"]
            kept = (name == "code" and model == PARTY) or (states == _ACTIVE and not row["active"])
            if kept and FIELDS[model][name]["type"] != "many2many":
                raise user_error(f'You are not allowed to modify the field "{name}" in record "{row.get("name")}".')

    def _refuse_alike(self, model: str, id_: str, given: Row) -> None:
        if model == PARTY and any(
            row["code"] == given["code"] for key, row in self.store.tables[PARTY].rows.items() if key != id_
        ):
            raise user_error("The code on party must be unique.")
        if model == PARTY and given.get("name") == "refused":
            raise user_error("A party cannot have this name.")

    def _refuse_changed(self, model: str, ids: Sequence[int], context: Row) -> None:
        for id_ in ids:
            row = self.store.tables[model].get(str(id_))
            stamp = context.get("_timestamp", {}).get(f"{model},{id_}")
            if row and stamp not in (None, row["stamp"]):
                raise Failed(*CONCURRENCY)

    def _stamped(self, row: Row, *, created: bool = False) -> Row:
        self._clock += 1
        now = _now(self._clock)
        return {**row, "written": now, "stamp": f"1795555265.{self._clock}", **({"created": now} if created else {})}

    # What people do in Tryton's own client

    def image(self, resource: str, row: Row) -> Row:
        del resource
        return row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        self.store.tables[resource].put(self._stamped({**row, **fields}))

    def erase(self, resource: str, row: Row) -> None:
        self.store.tables[resource].remove(row["id"])
        if resource == PARTY:
            for id_ in [
                id_ for id_, each in self.store.tables[ADDRESS].rows.items() if str(each["party"]) == row["id"]
            ]:
                self.store.tables[ADDRESS].remove(id_)

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        del limiter
        return []

    def too_many(self) -> Reply:
        return _page(429)


FIELDS: dict[str, dict[str, Row]] = {}
"""What `fields_get` says, shortened. The credit limit is of another module: for a number that is no float."""
_DEFAULTS: dict[str, Row] = {
    PARTY: {"active": True, "lang": None, "categories": [], "credit_limit_amount": None, "name": None, "code": None},
    CATEGORY: {"active": True, "parent": None},
    ADDRESS: {"city": None},
}


def _field(kind: str, **more: Any) -> Row:
    told = {"type": kind, "readonly": False, "required": False, "searchable": True, "sortable": True}
    return {**told, "states": "{}", **more}


_ACTIVE = '{"readonly": {"__class__": "Not", "v": {"__class__": "Eval", "v": "active", "d": true}}}'
"""As most fields of the party module have it: they are not written in a record that is not active."""


_OWN = {
    "id": _field("integer", readonly=True),
    "create_date": _field("timestamp", readonly=True),
    "write_date": _field("timestamp", readonly=True),
    "rec_name": _field("char", readonly=True, sortable=False),
    "xml_id": _field("char", readonly=True, searchable=False, sortable=False),
}
FIELDS[PARTY] = {
    **_OWN,
    "name": _field("char", strip=False, states=_ACTIVE),
    "code": _field("char", strip=True, required=True),
    "active": _field("boolean"),
    "lang": _field("many2one", relation="ir.lang", searchable=False, sortable=False, states=_ACTIVE),
    "categories": _field("many2many", relation=CATEGORY, sortable=False),
    "addresses": _field("one2many", relation=ADDRESS, relation_field="party", sortable=False),
    "credit_limit_amount": _field("numeric"),
}
FIELDS[CATEGORY] = {
    **_OWN,
    "name": _field("char", strip=True, required=True, translate=True, states=_ACTIVE),
    "active": _field("boolean"),
    "parent": _field("many2one", relation=CATEGORY),
}
FIELDS[ADDRESS] = {
    **_OWN,
    "party": _field("many2one", relation=PARTY, required=True),
    "city": _field("char", strip=True),
}


def _party(number: int) -> Row:
    values = {
        "name": f"Person {number}",
        "code": str(number),
        "active": 1,
        "lang": 1 if number % 2 else None,
        "categories": [2000, 2001] if number % 2 else [2000],
        "credit_limit_amount": {"__class__": "Decimal", "decimal": f"{number}00.50"},
    }
    return _stored(str(1000 + number), values)


def _stored(id_: str, values: Row) -> Row:
    seeded = {name: 1 if name in ("month", "day") else 0 for name in ("month", "day", "hour", "minute", "second")}
    then = {"__class__": "datetime", "year": 2026, **seeded, "microsecond": 0}
    return {"id": id_, "created": then, "written": then, "stamp": "1795555265.5", **values}


def _now(clock: int) -> Row:
    now = datetime.now(UTC)
    names = ("year", "month", "day", "hour", "minute", "second")
    return {"__class__": "datetime", **{name: getattr(now, name) for name in names}, "microsecond": clock}


def _linked(there: Sequence[int], commands: Sequence[Any], table: Table) -> list[int]:
    ids = list(there)
    for verb, named in commands:
        if missing := [id_ for id_ in named if not table.get(str(id_))]:
            raise user_error(f'You are trying to read records "{missing[0]}" that don\'t exist.')
        ids = [id_ for id_ in ids if id_ not in named] + (list(named) if verb == "add" else [])
    return ids


def _fits(row: Mapping[str, Any], domain: Sequence[Any]) -> bool:
    """All of the clauses, or one of them where OR stands first; a clause may be such a list itself."""
    named = bool(domain) and domain[0] in ("AND", "OR")
    clauses = domain[1:] if named else domain
    told = (_fits(row, c) if isinstance(c[0], list) or c[0] in ("AND", "OR") else _meets(row, *c) for c in clauses)
    return any(told) if named and domain[0] == "OR" else all(told)


def _meets(row: Mapping[str, Any], name: str, operator: str, value: Any) -> bool:
    found = int(row["id"]) if name == "id" else row.get(name)
    match operator:
        case "in":
            return found in value
        case ">":
            return found is not None and found > value
        case "=":
            return bool(found == value)
        case _:
            raise user_error(f'The operator "{operator}" is not known.')


def _said(body: bytes) -> Row | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("method"), str) else None


def _page(status: int) -> Reply:
    phrase = HTTPStatus(status).phrase
    page = f"<!doctype html>\n<html lang=en>\n<title>{status} {phrase}</title>\n<h1>{phrase}</h1>\n"
    return Reply(status, b"" if status == 401 else page.encode(), b"text/html; charset=utf-8")


def create_app(*, records: int = 100, latency_s: float = 0.0) -> Starlette:
    """The sandbox with `records` parties; a system of one's own has no limits."""
    return sandbox_app(Tryton(records), latency_s=latency_s, limits=None)
