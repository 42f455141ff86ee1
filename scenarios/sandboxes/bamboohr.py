"""A stateful stand-in for BambooHR's API, with the traps of its documentation.

Sources: the vendor's OpenAPI file (BambooHR/bhr-api-python, specs/public.yaml) [spec], its documentation pages [docs].
The traps, and where the sandbox has them:

 1. A field that the key may not see is left out of an answer; an empty one is null [spec].
 2. A job title, a pay rate, a status follow from the newest row of a table. Writing one through the employee adds a row
    to the history (`dated` "changes" is the other habit: the newest row is changed) [nobody says which].
 3. An employee on a payroll schedule takes only updates that name a long list of fields [spec].
 4. Values of list fields that are not known become new choices (`lists` "refuse": 409) [spec has both], and others are
    normalised: Pennsylvania becomes PA [spec].
 5. No employee is ever deleted [spec].
 6. A write to a table may wait for an approval: 200, and nothing shows (`approvals`) [docs].
 7. A row's deletion answers 200 with `success: false` where nothing was deleted; 409 where it waits for an approval,
    412 where it is tied to a pay schedule [spec].
 8. A new row is answered by an empty 200, which does not name it; a new employee by a Location header [spec].
 9. An update of a row that names fields which the key may not write answers 200 and leaves them out [spec].
10. Refusals have no body: the reason is in X-BambooHR-Error-Message [docs].
11. Who asks for no JSON gets XML [spec].
12. Too much is answered 503, since September 2026 429, with Retry-After [docs].
13. Employee 0 is the owner of the key; "all" is everybody [spec]. A list shows what it hides as null [spec].

What the vendor says nowhere, and the sandbox therefore decides: an unknown field is ignored, "" empties, an e-mail
address is nobody else's. It takes no XML.
"""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import orjson

from scenarios.sandboxes import bamboohr_seed as seeds
from scenarios.sandboxes.common import (
    Limiter,
    RateLimits,
    Reply,
    Request,
    Routes,
    Row,
    Store,
    Table,
    Vendor,
    opening,
)

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - a made-up account's
ASSUMED = RateLimits(per_interval=20, interval_s=1.0, per_day=1_000_000)
"""BambooHR discloses no number."""

FIELDS_MAX = 400
LIST_MAX, LIST_DEFAULT = 2500, 250
LISTS = frozenset({"department", "division", "location", "jobTitle", seeds.SHIRT, "employmentStatus", "reason"})
FIXED = {"gender": ("Female", "Male", "Other"), "maritalStatus": ("Single", "Married", "Domestic Partnership")}
STATES = {"Pennsylvania": "PA", "Utah": "UT", "Texas": "TX"}
TRAX = frozenset(
    "employeeNumber firstName lastName dateOfBirth ssn gender maritalStatus hireDate address1 city state country "
    "employmentHistoryStatus payType payRate payPer location department division".split()
)
"""Those of the file's list that this account has."""
_BASE = ("firstName", "lastName", "preferredName", "photoUrl", "jobTitleName")


class Refused(Exception):
    """The vendor's refusal; nothing of the request has been done."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between accounts and keys, or is not known."""

    hidden: tuple[str, ...] = ()
    """Fields and columns that the key may not see."""
    unwritable: tuple[str, ...] = ()
    """Those that it may not write."""
    dated: Literal["adds", "changes"] = "adds"
    lists: Literal["create", "refuse"] = "create"
    trax: tuple[str, ...] = ()
    """Employees on a schedule of Trax Payroll."""
    approvals: tuple[str, ...] = ()
    """Tables whose writes wait."""
    scheduled: tuple[str, ...] = ()
    """Tables whose rows are tied to an active pay schedule."""
    too_many: Literal[503, 429] = 429


class BambooHR(Vendor):
    """One company in memory. See the module's docstring for what it reproduces."""

    settings: Settings

    def __init__(self, *, records: int, seed: int, token: str, settings: Settings) -> None:
        self.employees = Table({"workEmail": lambda row: [row["workEmail"].lower()] if row.get("workEmail") else []})
        self.tables = {name: Table({"employeeId": lambda row: [row["employeeId"]]}) for name in seeds.COLUMNS}
        self.store = Store({"employees": self.employees, **self.tables})
        self._token = token
        self._initial = settings
        self._people, self._rows = list(seeds.employees(records, seed)), seeds.rows(records, seed)
        self.routes = Routes()
        self._add_routes()
        self.reset()

    def reset(self) -> None:
        self.settings = self._initial
        self._next_employee, self._next_row, self._last_ms = 90_001, 95_001, 0
        self.choices: set[str] = set()
        self.employees.load(self._people)
        for name, rows in self._rows.items():
            self.tables[name].load(rows)

    def _add_routes(self) -> None:
        add = self.routes.add
        add("GET", "/api/v1/meta/fields", self.meta_fields)
        add("GET", "/api/v1/meta/tables", self.meta_tables)
        add("POST", "/api/v1/datasets/:name", self.dataset, read=True)
        add("POST", "/api/v2/datasets/:name/data", self.dataset_v2, read=True)
        add("GET", "/api/v1/employees", self.list_)
        add("POST", "/api/v1/employees", self.create)
        add("GET", "/api/v1/employees/:id", self.get)
        add("POST", "/api/v1/employees/:id", self.update)
        add("GET", "/api/v1/employees/:id/tables/:table", self.rows)
        add("DELETE", "/api/v1/employees/:id/tables/:table/:row", self.delete_row)
        for version in ("v1", "v1_1"):
            add("POST", f"/api/{version}/employees/:id/tables/:table", self.create_row)
            add("POST", f"/api/{version}/employees/:id/tables/:table/:row", self.update_row)

    def answer(self, request: Request) -> Reply:
        if _user(request) != self._token:
            return _refusal(401, "Invalid API key")
        try:
            found = self.routes.match(request.method, request.path)
            if found is None:
                raise Refused(404, "Not found")
            handler, params, _ = found
            return handler(request, *params)
        except Refused as refused:
            # A handler refuses before it changes anything; should one ever not, nothing half-done may stay.
            self.store.rollback()
            return _refusal(refused.status, str(refused))

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        del limiter  # it tells nothing until it refuses
        return []

    def too_many(self) -> Reply:
        reply = _refusal(self.settings.too_many, "Limit exceeded")
        reply.headers = [*reply.headers, (b"retry-after", b"1")]
        return reply

    def image(self, resource: str, row: Row) -> Row:
        if resource == "employees":
            return {**row, **{name: self._current(row["id"], name) for name in seeds.FOLLOWS}}
        return {**row, "id": row["id"].partition("-")[2]}

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        if resource == "employees":
            self._put_employee({**row, **fields})
        else:
            self._put_row(resource, {**row, **fields})

    def erase(self, resource: str, row: Row) -> None:
        """People can delete an employee, in BambooHR itself."""
        if resource != "employees":
            self._touch(row["employeeId"])
            self.tables[resource].remove(row["id"])
            return
        for table in self.tables.values():
            for id_ in table.find("employeeId", row["id"]):
                table.remove(id_)
        self.employees.remove(row["id"])

    # --- definitions and lists ---

    def meta_fields(self, request: Request) -> Reply:
        return _shown(request, "fields", seeds.FIELDS)

    def meta_tables(self, request: Request) -> Reply:
        return _shown(request, "tables", seeds.TABLES)

    def dataset(self, request: Request, name: str) -> Reply:
        data = self._dataset(request, name)
        pages = {"next_page": None, "prev_page": None, "total_records": len(data), "current_page": 1, "total_pages": 1}
        return Reply.json(200, {"data": data, "aggregations": [], "pagination": pages})

    def dataset_v2(self, request: Request, name: str) -> Reply:
        data = [{"fields": {k: str(v or "") for k, v in row.items()}} for row in self._dataset(request, name)]
        meta = {"page": 1, "pageSize": 500, "totalPages": 1, "totalItems": len(data)}
        return Reply.json(200, {"data": data, "links": {"next": None, "prev": None}, "meta": meta})

    def _dataset(self, request: Request, name: str) -> list[Row]:
        if name != "employee":
            raise Refused(404, "There is no such dataset")
        fields = _body(request).get("fields")
        if not isinstance(fields, list):
            raise Refused(400, "fields are required")
        return [{each: self._value(row, each) for each in fields} for row in self.employees.rows.values()]

    def list_(self, request: Request) -> Reply:
        """Trap 13: what is hidden is null here, and named."""
        query = request.query()
        ids = [id_ for name in ("filter[ids]", "filter[ids][]") for id_ in query.get(name, "").split(",") if id_]
        limit = int(query.get("page[limit]", LIST_DEFAULT))
        if not 1 <= limit <= LIST_MAX:
            return Reply.json(400, {"error": {"code": "BadRequest", "message": f"limit is at most {LIST_MAX}"}})
        found = [row for row in self.employees.rows.values() if not ids or row["id"] in ids]
        more = [name for name in query.get("fields", "").split(",") if name]
        data = [self._listed(row, more) for row in found[:limit]]
        page = {"limit": limit, "nextCursor": None, "prevCursor": None}
        return Reply.json(200, {"data": data, "meta": {"total": len(found), "page": page}, "_links": {}})

    def _listed(self, row: Row, more: list[str]) -> Row:
        names = [*_BASE, *more]
        hidden = [name for name in names if name in self.settings.hidden]
        values = {name: None if name in hidden else self._value(row, name.removesuffix("Name")) for name in more}
        base = {name: None if name in hidden else row.get(name) for name in _BASE}
        title = {"jobTitleName": None if "jobTitleName" in hidden else self._current(row["id"], "jobTitle")}
        return {"employeeId": row["id"], **base, **title, "status": "Active", **values, "_restrictedFields": hidden}

    # --- employees ---

    def get(self, request: Request, id_: str) -> Reply:
        id_ = next(iter(self.employees.rows), id_) if id_ == "0" else id_  # trap 13
        row = self.employees.get(id_, stale=request.stale)
        if row is None:
            raise Refused(404, "The employee does not exist")
        names = [name for name in request.query().get("fields", "firstName,lastName").split(",") if name]
        if len(names) > FIELDS_MAX:
            raise Refused(400, f"At most {FIELDS_MAX} fields")
        only = request.query().get("onlyCurrent", "true") != "false"
        known = [name for name in names if name in (*seeds.OWN, *seeds.FOLLOWS, "displayName", "lastChanged")]
        seen = [name for name in known if name not in self.settings.hidden]  # trap 1
        values = {name: self._value(row, name, stale=request.stale, only_current=only) for name in seen}
        return _shown(request, "employee", {"id": id_, **values})

    def create(self, request: Request) -> Reply:
        body = _body(request)
        if not (body.get("firstName") and body.get("lastName")):
            raise Refused(400, "firstName and lastName are required")
        id_ = str(self._next_employee)
        self._next_employee += 1
        self._write(id_, {"id": id_}, body)
        where = f"https://{seeds.COMPANY}.bamboohr.com/employees/employee.php?id={id_}"
        return Reply(201, headers=[(b"location", where.encode())])

    def update(self, request: Request, id_: str) -> Reply:
        row = self._employee(id_)
        body = _body(request)
        if id_ in self.settings.trax and (missing := sorted(TRAX - set(body))):  # trap 3
            raise Refused(400, f"Trax Payroll needs {', '.join(missing)}")
        written = {name: value for name, value in body.items() if name not in self.settings.unwritable}
        if not written:
            raise Refused(403, "The API user may not update any of these fields")
        self._write(id_, row, written)
        return Reply(200)

    def _write(self, id_: str, row: Row, body: Row) -> None:
        kept = {name: self._kept(id_, name, value) for name, value in body.items()}
        self._put_employee({**row, **{name: value for name, value in kept.items() if name in seeds.OWN}})
        for table in ("jobInfo", "compensation", "employmentStatus"):
            columns = {
                column: kept[name] for name, (its, column) in seeds.FOLLOWS.items() if its == table and name in kept
            }
            if columns:
                self._follow(id_, table, columns)

    def _follow(self, employee: str, table: str, columns: Row) -> None:
        """Trap 2."""
        newest = self._newest(table, employee) or {}
        if self.settings.dated == "changes" and newest:
            self._put_row(table, {**newest, **columns})
            return
        day = {seeds.DATES[table]: date.today().isoformat()}  # noqa: DTZ011 - a day of the company's own
        self._put_row(table, {**newest, **columns, **day, **self._new_row(employee)})

    def _kept(self, id_: str, name: str, value: Any) -> Any:
        """How a value is kept. Raises Refused."""
        if value in (None, ""):
            return ""
        if name in FIXED and value not in FIXED[name]:
            raise Refused(409, f"Invalid value for {name}")
        if name in LISTS and value not in self.choices:  # trap 4
            if self.settings.lists == "refuse" and not self._is_used(name, value):
                raise Refused(409, f"Invalid value for {name}")
            self.choices.add(str(value))
        if name == "workEmail" and any(other != id_ for other in self.employees.find("workEmail", str(value).lower())):
            raise Refused(409, "Duplicate email")
        if name == "state":
            return STATES.get(value, value)
        return value.strip() if isinstance(value, str) else value

    def _is_used(self, name: str, value: Any) -> bool:
        own = any(row.get(name) == value for row in self.employees.rows.values())
        return own or any(row.get(name) == value for table in self.tables.values() for row in table.rows.values())

    # --- tables ---

    def rows(self, request: Request, id_: str, table: str) -> Reply:
        found = self._table(table)
        ids = list(found.rows) if id_ == "all" else found.find("employeeId", self._employee(id_)["id"])
        rows = found.seen([found.rows[each] for each in ids], stale=request.stale)
        seen = [name for name in seeds.COLUMNS[table] if name not in self.settings.hidden]  # trap 1
        # In no particular order.
        shown = [
            {
                "id": row["id"].partition("-")[2],
                "employeeId": row["employeeId"],
                **{n: row.get(n) or None for n in seen},
            }
            for row in reversed(rows)
        ]
        return _shown(request, "row", shown)

    def create_row(self, request: Request, id_: str, table: str) -> Reply:
        self._table(table)
        employee = self._employee(id_)["id"]
        values = self._columns(table, _body(request))
        if table not in self.settings.approvals:  # trap 6
            self._put_row(table, {**values, **self._new_row(employee)})
        return Reply(200)  # trap 8

    def update_row(self, request: Request, id_: str, table: str, row_id: str) -> Reply:
        row = self._table(table).get(f"{id_}-{row_id}")
        if row is None:
            raise Refused(404, "The row does not exist")
        body = _body(request)
        written = {name: value for name, value in body.items() if name not in self.settings.unwritable}  # trap 9
        if not written:
            raise Refused(403, "The API user may not update any of these fields")
        values = self._columns(table, written)
        if table not in self.settings.approvals:
            self._put_row(table, {**row, **values})
        return Reply(200)

    def delete_row(self, request: Request, id_: str, table: str, row_id: str) -> Reply:
        """Trap 7."""
        del request
        found = self._table(table)
        if table in self.settings.approvals:
            raise Refused(409, "The row has pending changes")
        if table in self.settings.scheduled:
            raise Refused(412, "The row is tied to an active pay schedule")
        row = found.get(f"{id_}-{row_id}")
        if row is None:
            return Reply.json(200, {"success": False, "error": "The row was not found"})
        self.erase(table, row)
        return Reply.json(200, {"success": True})

    def _columns(self, table: str, body: Row) -> Row:
        if (day := body.get(seeds.DATES.get(table, ""))) and not _is_day(day):
            raise Refused(406, "Invalid date")
        return {name: self._kept("", name, value) for name, value in body.items() if name in seeds.COLUMNS[table]}

    # --- small things that many need ---

    def _employee(self, id_: str) -> Row:
        row = self.employees.get(id_)
        if row is None:
            raise Refused(404, "The employee does not exist")
        return row

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise Refused(404, "The table does not exist")
        return self.tables[name]

    def _new_row(self, employee: str) -> Row:
        self._next_row += 1
        return {"id": f"{employee}-{self._next_row}", "employeeId": employee}

    def _put_row(self, table: str, row: Row) -> None:
        self._touch(row["employeeId"])
        self.tables[table].put({name: value for name, value in row.items() if value not in (None, "")})

    def _put_employee(self, row: Row) -> None:
        kept = {name: value for name, value in row.items() if value not in (None, "")}
        self.employees.put({**kept, "lastChanged": self._now()})

    def _touch(self, employee: str) -> None:
        if row := self.employees.get(employee):
            self.employees.put({**row, "lastChanged": self._now()})

    def _value(self, row: Row, name: str, *, stale: bool = False, only_current: bool = True) -> Any:
        if name == "displayName":
            return f"{row['firstName']} {row['lastName']}"
        if name in seeds.FOLLOWS:
            return self._current(row["id"], name, stale=stale, only_current=only_current)
        return row.get(name)

    def _current(self, employee: str, name: str, *, stale: bool = False, only_current: bool = True) -> Any:
        table, column = seeds.FOLLOWS[name]
        newest = self._newest(table, employee, stale=stale, only_current=only_current)
        return (newest or {}).get(column) or None

    def _newest(self, table: str, employee: str, *, stale: bool = False, only_current: bool = True) -> Row | None:
        """The row that counts: that of the latest day up to today; of several of one day, the last added."""
        found, by = self.tables[table], seeds.DATES[table]
        rows = found.seen([found.rows[id_] for id_ in found.find("employeeId", employee)], stale=stale)
        today = date.today().isoformat()  # noqa: DTZ011
        begun = [row for row in rows if not only_current or row.get(by, "") <= today]
        return max(begun, key=lambda row: (row.get(by, ""), int(row["id"].partition("-")[2])), default=None)

    def _now(self) -> str:
        """Strictly later than the last time it was asked, so that every write shows."""
        self._last_ms = max(round(time.time() * 1000), self._last_ms + 1)
        return datetime.fromtimestamp(self._last_ms / 1000, UTC).isoformat()


def _user(request: Request) -> str:
    """The key is the user; the password is anything."""
    kind, _, pair = request.headers.get(b"authorization", b"").partition(b" ")
    try:
        return base64.b64decode(pair).decode().partition(":")[0] if kind == b"Basic" else ""
    except ValueError:
        return ""


def _body(request: Request) -> Row:
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise Refused(400, "The posted JSON is malformed") from None
    if not isinstance(body, dict) or not body:
        raise Refused(400, "The posted JSON is malformed")
    return body


def _is_day(text: Any) -> bool:
    try:
        date.fromisoformat(str(text))
    except ValueError:
        return False
    return True


def _refusal(status: int, message: str) -> Reply:
    """Trap 10."""
    return Reply(status, headers=[(b"x-bamboohr-error-message", message.encode())])


def _shown(request: Request, name: str, content: Any) -> Reply:
    """Trap 11."""
    if b"json" in request.headers.get(b"accept", b""):
        return Reply.json(200, content)
    listed = content if isinstance(content, list) else [content]
    return Reply(200, "".join(_xml(name, each) for each in listed).encode(), b"text/xml; charset=utf-8")


def _xml(name: str, content: Mapping[str, Any]) -> str:
    fields = "".join(f"<field id={quoteattr(key)}>{escape(str(value or ''))}</field>" for key, value in content.items())
    return f"<{name}>{fields}</{name}>"


create_app = opening(BambooHR, Settings, ASSUMED, DEFAULT_TOKEN)
