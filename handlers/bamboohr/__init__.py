"""BambooHR: employees, and the rows of their tables. docs/handlers/bamboohr.md has what is guarded and what is lost.

An employee's job, pay and status are no fields of its own: they follow from the newest row of a table. Rows are records
here, too; the id of one is that of the employee, a hyphen, and its own ("112-2047").
"""

import base64
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from guard.core.errors import Refused
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Fields,
    Image,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
)
from handlers.bamboohr import account, answers, values
from handlers.bamboohr.account import Known
from handlers.base import (
    READ,
    WRITE,
    Call,
    Handler,
    Limits,
    Reply,
    Request,
    Route,
    Traits,
    Write,
    refuse_unknown_action,
    unwritable,
)

EMPLOYEES = "employees"
_API = "/api/v1"
_COMPANY = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_EMPLOYEE = re.compile(r"[1-9][0-9]{0,9}")
"""0 is the owner of the key and "all" is everybody: neither is one of many to be named."""
_ROW = re.compile(rf"{_EMPLOYEE.pattern}-[1-9][0-9]{{0,9}}")
_NOBODY = Known(frozenset(), ())

_STAYS = (
    "BambooHR's API deletes no employee: whoever was created stays, and only an administrator can delete them in "
    "BambooHR. A revert leaves them as they are and lists them."
)
_NEW_ROW = "A deleted row comes back as a new one, with another row id."


class BambooHR(Handler):
    name = "bamboohr"
    base_url = "https://{company}.bamboohr.com"
    traits = Traits(
        read_max=1,
        write_max=1,
        answer_carries_image=False,
        isolated=False,
        restore_deleted=Restore.NEVER,
        limits=Limits(requests=5, per_s=1.0, concurrency=2),
        limit_headers=None,
    )
    resources: Mapping[str, Resource] = MappingProxyType({})
    actions: Mapping[str, Sequence[str]] = MappingProxyType({})
    routes: Sequence[Route] = ()
    side_effects = (
        "BambooHR may have sent notifications, started approvals, told payroll and other connected systems, and added "
        "new choices to lists; none of that is taken back."
    )

    def __init__(self, options: Mapping[str, str]) -> None:
        if unknown := sorted(set(options) - {"company", "tables"}):
            raise ValueError(f"BambooHR takes the options company and tables, not {unknown[0]}")
        company = options.get("company", "")
        if not _COMPANY.fullmatch(company):
            raise ValueError("company: the part of your BambooHR address before .bamboohr.com")
        more = [name.strip() for name in options.get("tables", "").split(",") if name.strip()]
        if wrong := [name for name in more if not _TABLE.fullmatch(name) or name == EMPLOYEES]:
            raise ValueError(f"tables: {wrong[0]!r} is no name of a table; GET /api/v1/meta/tables shows them as alias")
        self.base_url = f"https://{company}.bamboohr.com"
        self._tables = (*sorted(account.DATED_TABLES), *sorted(set(more) - account.DATED_TABLES))
        self._known: dict[str, Known] = {}
        self.resources = {
            EMPLOYEES: Resource(name=EMPLOYEES, readonly=frozenset({"id"})),
            **{name: Resource(name=name, readonly=frozenset({"id", "employeeId"})) for name in self._tables},
        }
        self.actions = {EMPLOYEES: ("create", "update"), **dict.fromkeys(self._tables, ("create", "update", "delete"))}
        self.routes = (*_ROUTES, *(route for name in self._tables for route in _row_routes(name)))

    def traits_of(self, resource: str) -> Traits:
        return self.traits if resource == EMPLOYEES else _ROW_TRAITS

    def headers(self, credential: str) -> dict[str, str]:
        """The key is the user of Basic authentication, its password anything. Who asks for no JSON may get XML."""
        pair = base64.b64encode(f"{credential}:x".encode()).decode()
        return {"authorization": f"Basic {pair}", "accept": "application/json"}

    # Definitions of fields

    def describe(self, resource: str) -> list[Call]:
        tables = Call(method="GET", path=f"{_API}/meta/tables", repeatable=True)
        if resource != EMPLOYEES:
            return [tables]
        return [Call(method="GET", path=f"{_API}/meta/fields", repeatable=True), tables]

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        known = account.employees(*replies) if resource == EMPLOYEES else account.rows(resource, *replies)
        if known is None:
            return False
        self._known[resource] = known
        return True

    def _of(self, resource: str) -> Known:
        return self._known.get(resource, _NOBODY)

    # Both doors

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        if (resource, action) == (EMPLOYEES, "delete"):
            raise Refused("unknown_action", "BambooHR's API deletes no employee, so Guard cannot either.")
        refuse_unknown_action(self, resource, action)
        return self._change(resource, Action(action), record.get("id"), record.get("fields") or {})

    def named(self, resource: str, id_: Any) -> str:
        _refuse_unlike(resource, id_)
        return str(id_)

    def changes(self, route: Route, request: Request) -> list[Change]:
        if request.query:
            raise Refused("unknown_route", "What a query changes in this write is not known. Nothing was written.")
        if route.action == "delete":
            if request.body not in (None, {}):
                raise Refused("invalid_body", "A deletion takes no body. Nothing was written.")
        elif not isinstance(request.body, dict):
            raise Refused("invalid_body", "Guard understands BambooHR's JSON, not its XML. Nothing was written.")
        fields, params = dict(request.body or {}), request.params
        if route.resource == EMPLOYEES:
            return [self._change(EMPLOYEES, Action(route.action), params.get("id"), fields)]
        if route.action == "create":
            return [self._change(route.resource, Action.CREATE, None, {**fields, "employeeId": params["id"]})]
        return [self._change(route.resource, Action(route.action), f"{params['id']}-{params['rowId']}", fields)]

    def _change(self, resource: str, action: Action, id_: Any, given: Any) -> Change:
        _refuse_unlike(resource, id_)
        fields = values.asked(given)
        own: set[str] = set()
        if action is Action.CREATE:
            own = {"employeeId"} if resource != EMPLOYEES else set()
            _refuse_incomplete(resource, fields)
        if unknown := sorted(set(fields) - self._of(resource).writable - own):
            raise unwritable(resource, unknown)
        return Change(resource=resource, action=action, id=id_, fields=fields)

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        """A table is read with all of an employee's rows."""
        if resource == EMPLOYEES:
            query = {"fields": ",".join(self._of(EMPLOYEES).read)}
            return [(Call(method="GET", path=_path(id_), query=query, repeatable=True), (id_,)) for id_ in ids]
        by_employee: dict[str, list[str]] = {}
        for id_ in ids:
            by_employee.setdefault(_employee_of(id_), []).append(id_)
        return [(_list(resource, employee), tuple(rows)) for employee, rows in by_employee.items()]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        if resource == EMPLOYEES:
            return answers.employee(ids[0], self._of(EMPLOYEES).read, reply)
        if reply.status == 404:
            return dict.fromkeys(ids)
        rows = answers.table(_employee_of(ids[0]), self._of(resource).read, reply)
        return {} if rows is None else {id_: rows.get(id_) for id_ in ids}

    def siblings(self, change: Change) -> Call | None:
        return None if change.resource == EMPLOYEES else _list(change.resource, _parent(change))

    def listed(self, change: Change, reply: Reply) -> Mapping[str, Fields] | None:
        return answers.table(_parent(change), self._of(change.resource).read, reply)

    def find(self, change: Change) -> Call | None:
        return self.siblings(change)

    def found(self, change: Change, reply: Reply) -> str | None:
        rows = self.listed(change, reply)
        if rows is None:
            raise Refused("invalid_record", "BambooHR did not show the rows of this table.")
        alike = [id_ for id_, row in rows.items() if all(_holds(row, name, v) for name, v in change.fields.items())]
        if len(alike) > 1:
            raise Refused("invalid_record", "Several rows are like this one: name its id.")
        return alike[0] if alike else None

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        calls = [self._call(change) for change in changes]
        return [[Write(call, (i,)) for i, call in enumerate(calls) if call]]

    def _call(self, change: Change) -> Call | None:
        writable = self._of(change.resource).writable
        given = {name: value for name, value in change.fields.items() if name in writable}
        new = change.action is Action.CREATE
        if new:  # there is nothing to be emptied
            given = {name: value for name, value in given.items() if value is not None}
        body = values.sent(given)
        if change.resource == EMPLOYEES:
            if change.action is Action.DELETE:
                return None
            path = f"{_API}/employees" if new else _path(str(change.id))
            return Call(method="POST", path=path, body=body, repeatable=not new)
        table = _list(change.resource, _parent(change)).path
        if new:
            return Call(method="POST", path=table, body=body)
        path = f"{table}/{str(change.id).partition('-')[2]}"
        if change.action is Action.DELETE:
            return Call(method="DELETE", path=path)  # a second one is told that there is no such row
        return Call(method="POST", path=path, body=body, repeatable=True)

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        return [
            answers.outcome(
                change,
                reply,
                deletes=change.action is Action.DELETE,
                creates_employee=(change.resource, change.action) == (EMPLOYEES, Action.CREATE),
            )
            for change in changes
        ]

    # What counts as the same, and what comes back

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        del resource, name
        return values.same(asked, found)

    def title(self, resource: str, image: Fields) -> str:
        names = ("firstName", "lastName") if resource == EMPLOYEES else ("employeeId", "date")
        return " ".join(str(image[name]) for name in names if image.get(name))

    def reversal(self, change: Change, before: Image) -> Reversal:
        if change.resource == EMPLOYEES and change.action is not Action.UPDATE:
            return Reversal(Reversibility.NONE, _STAYS)
        told = [self._unseen(change, before), self._follows(change)]
        if change.action is Action.DELETE:
            told.insert(0, _NEW_ROW)
        reason = " ".join(each for each in told if each)
        return Reversal(Reversibility.PARTIAL, reason) if reason else FULLY

    def _unseen(self, change: Change, before: Image) -> str:
        """A field that is not shown is not empty: what it held is not known."""
        known = self._of(change.resource)
        if change.action is Action.CREATE:
            return ""
        names = set(known.read) if change.action is Action.DELETE else set(change.fields)
        unseen = names - (set(known.read) if before is None else set(before)) if known.read else set()
        if not unseen:
            return ""
        listed = ", ".join(sorted(unseen)[:10])
        return f"What {listed} held before is not shown to Guard's key, so a revert cannot put it back."

    def _follows(self, change: Change) -> str:
        dated = sorted(self._of(EMPLOYEES).dated & set(change.fields)) if change.resource == EMPLOYEES else []
        if not dated:
            return ""
        return (
            f"{', '.join(dated[:10])}: taken from the newest row of a table that has dates. BambooHR may add a row for "
            "the new value, and one more when a revert writes the old value; rows that were added so stay. Changing or "
            "adding the row itself (jobInfo, compensation, employmentStatus) can be taken back whole."
        )


_ROW_TRAITS = Traits(
    read_max=1,
    write_max=1,
    answer_carries_image=False,
    isolated=False,
    restore_deleted=Restore.NEW_ID,
    limits=BambooHR.traits.limits,
    limit_headers=None,
)

_ROUTES = (
    Route("POST", f"{_API}/employees", WRITE, EMPLOYEES, "create"),
    Route("POST", f"{_API}/employees/{{id}}", WRITE, EMPLOYEES, "update"),
    Route("POST", f"{_API}/datasets/{{name}}", READ),
    Route("POST", "/api/v2/datasets/{name}/data", READ),
)
"""Queries of datasets read, though they are sent by POST."""


def _refuse_unlike(resource: str, id_: Any) -> None:
    """An id becomes part of a path. Raises Refused."""
    form = _EMPLOYEE if resource == EMPLOYEES else _ROW
    if id_ is not None and not (isinstance(id_, str) and form.fullmatch(id_)):
        wanted = "a number" if resource == EMPLOYEES else "the employee's id, a hyphen and the row's: 112-2047"
        raise Refused("invalid_record", f"The id of one of {resource} is {wanted}.")


def _refuse_incomplete(resource: str, fields: Mapping[str, Any]) -> None:
    """Raise Refused where a new record lacks what it cannot be without."""
    if resource == EMPLOYEES:
        if not (fields.get("firstName") and fields.get("lastName")):
            raise Refused("invalid_record", "A new employee needs a firstName and a lastName.")
    elif not (isinstance(employee := fields.get("employeeId"), str) and _EMPLOYEE.fullmatch(employee)):
        raise Refused("invalid_record", "A new row needs its employeeId, a number.")


def _row_routes(table: str) -> list[Route]:
    old, new = (f"/api/{version}/employees/{{id}}/tables/{table}" for version in ("v1", "v1_1"))
    return [
        Route("POST", old, WRITE, table, "create"),
        Route("POST", new, WRITE, table, "create"),
        Route("POST", f"{old}/{{rowId}}", WRITE, table, "update"),
        Route("POST", f"{new}/{{rowId}}", WRITE, table, "update"),
        Route("DELETE", f"{old}/{{rowId}}", WRITE, table, "delete"),
    ]


def _path(id_: str) -> str:
    return f"{_API}/employees/{id_}"


def _list(table: str, employee: str) -> Call:
    return Call(method="GET", path=f"{_path(employee)}/tables/{table}", repeatable=True)


def _employee_of(id_: str) -> str:
    return id_.partition("-")[0]


def _parent(change: Change) -> str:
    """The employee whom a row belongs to. A new row names it among its fields."""
    return str(change.fields.get("employeeId") or _employee_of(change.origin or str(change.id)))


def _holds(row: Fields, name: str, asked: Any) -> bool:
    return values.same(asked, row.get(name))
