"""The sandbox of the example CRM: people in memory, and what their vendor does to what it is given.

E-mails are trimmed and lower-cased, and are nobody else's; empty fields disappear; labels are replaced, never added;
one unknown or read-only key refuses a whole write; ids that do not exist are left out of a list.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.applications import Starlette

from scenarios.sandboxes.common import Limiter, Reply, Request, Routes, Row, Store, Table, Vendor, sandbox_app

TOKEN = "sandbox-token"
WRITABLE = ("name", "email", "phone", "city", "labels")


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing about this account can be set."""


class ExampleVendor(Vendor):
    settings: Settings

    def __init__(self, people: int) -> None:
        self.people = Table({"email": lambda row: [row["email"]] if row.get("email") else []})
        self.store = Store({"people": self.people})
        self.routes = Routes()
        self.routes.add("GET", "/people", self._list)
        self.routes.add("POST", "/people", self._create)
        self.routes.add("POST", "/people/search", self._list, read=True)
        self.routes.add("PATCH", "/people/:id", self._update)
        self.routes.add("DELETE", "/people/:id", self._delete)
        self._size = people
        self.reset()

    def reset(self) -> None:
        self.settings = Settings()
        self._created = 0
        self.people.load(_person(number) for number in range(self._size))

    def answer(self, request: Request) -> Reply:
        found = self.routes.match(request.method, request.path)
        if request.headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            return _error(401)
        if found is None:
            return _error(404)
        handle, params, _ = found
        return handle(request, *params)

    def _list(self, request: Request) -> Reply:
        query = request.query()
        ids = query["ids"].split(",") if "ids" in query else self.people.find("email", _email(query.get("email")))
        rows = (self.people.get(id_, stale=request.stale) for id_ in ids)
        return Reply.json(200, {"people": [row for row in rows if row]})

    def _create(self, request: Request) -> Reply:
        self._created += 1
        return self._write(request, {"id": f"new{self._created}", "created": _now()}, 201)

    def _update(self, request: Request, id_: str) -> Reply:
        row = self.people.get(id_)
        return self._write(request, row, 200) if row else _error(404)

    def _write(self, request: Request, row: Row, status: int) -> Reply:
        body = orjson.loads(request.body)
        if not set(body) <= set(WRITABLE):
            return _error(422)
        if any(id_ != row["id"] for id_ in self.people.find("email", _email(body.get("email")))):
            return _error(409)
        return Reply.json(status, {"person": self.people.put(_merged(row, body))})

    def _delete(self, request: Request, id_: str) -> Reply:
        del request
        if not self.people.get(id_):
            return _error(404)
        self.people.remove(id_)
        return Reply(204)

    def image(self, resource: str, row: Row) -> Row:
        del resource
        return row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        del resource
        self.people.put(_merged(row, fields))

    def erase(self, resource: str, row: Row) -> None:
        del resource
        self.people.remove(row["id"])

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        del limiter
        return []

    def too_many(self) -> Reply:
        return _error(429)


def _person(number: int) -> Row:
    return {
        "id": f"person{number}",
        "name": f"Person {number}",
        "email": f"person{number}@example.com",
        "city": "Berlin",
        "labels": ["candidate", f"team {number % 3}"],
        "score": number,
        "created": "2026-01-05T08:00:00+00:00",
        "updated": "2026-01-05T08:00:00+00:00",
    }


def _merged(row: Row, fields: Row) -> Row:
    given: dict[str, Any] = {**fields, **({"email": _email(fields["email"])} if "email" in fields else {})}
    merged = {**row, **given, "updated": _now()}
    return {name: value for name, value in merged.items() if value not in (None, "", [])}


def _email(value: str | None) -> str:
    return (value or "").strip().lower()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _error(status: int) -> Reply:
    return Reply.json(status, {"error": "it cannot be done"})


def create_app(people: int = 6) -> Starlette:
    return sandbox_app(ExampleVendor(people), latency_s=0.0, limits=None)
