"""A few habits of Kinto in memory: records within `data`, PUT replaces or creates, several requests in one batch.

https://docs.kinto-storage.org/en/stable/api/1.x/records.html and …/batch.html. tests/heavy has the real one.
"""

from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.applications import Starlette

from scenarios.sandboxes.common import Limiter, Reply, Request, Routes, Row, Store, Table, Vendor, sandbox_app

TOKEN = "sandbox-token"
NAMES = ("people", "notes")
BATCH_MAX = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing about this account can be set."""


class KintoVendor(Vendor):
    settings: Settings

    def __init__(self, records: int) -> None:
        self.store = Store({name: Table({}) for name in NAMES})
        self.routes = Routes()
        self.routes.add("POST", "/batch", self._batch)
        path = "/buckets/hr/collections/:name/records"
        for method, item, handle in (
            ("GET", "", self._list),
            ("POST", "", self._create),
            ("GET", "/:id", self._get),
            ("PUT", "/:id", self._put),
            ("PATCH", "/:id", self._patch),
            ("DELETE", "/:id", self._delete),
        ):
            self.routes.add(method, f"{path}{item}", handle)
        self._size = records
        self.reset()

    def reset(self) -> None:
        self.settings = Settings()
        self._clock = self._created = 0
        for name in NAMES:
            self.store.tables[name].load(_record(name, number) for number in range(self._size))

    def answer(self, request: Request) -> Reply:
        if request.headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            return _error(401)
        found = self.routes.match(request.method, request.path)
        if found is None:
            return _error(404)
        handle, params, _ = found
        return handle(request, *params)

    def _batch(self, request: Request) -> Reply:
        asked = orjson.loads(request.body)["requests"]
        if len(asked) > BATCH_MAX:
            return _error(400)
        answers = []
        for each in asked:
            body = orjson.dumps(each.get("body", {}))
            reply = self.answer(replace(request, method=each["method"], path=each["path"], body=body))
            answers.append({"status": reply.status, "path": each["path"], "body": orjson.loads(reply.body)})
        return Reply.json(200, {"responses": answers})

    def _list(self, request: Request, name: str) -> Reply:
        query, table = request.query(), self.store.tables[name]
        asked = query["in_id"].split(",") if "in_id" in query else list(table.rows)
        rows = [row for id_ in asked if (row := table.get(id_, stale=request.stale))]
        return Reply.json(
            200, {"data": [row for row in rows if row.get("email") == query.get("email", row.get("email"))]}
        )

    def _get(self, request: Request, name: str, id_: str) -> Reply:
        row = self.store.tables[name].get(id_, stale=request.stale)
        return Reply.json(200, {"data": row}) if row else _error(404)

    def _create(self, request: Request, name: str) -> Reply:
        self._created += 1
        return self._kept(name, f"new{self._created}", orjson.loads(request.body)["data"], 201)

    def _put(self, request: Request, name: str, id_: str) -> Reply:
        status = 200 if self.store.tables[name].get(id_) else 201
        return self._kept(name, id_, orjson.loads(request.body)["data"], status)

    def _patch(self, request: Request, name: str, id_: str) -> Reply:
        row = self.store.tables[name].get(id_)
        return self._kept(name, id_, {**row, **orjson.loads(request.body)["data"]}, 200) if row else _error(404)

    def _kept(self, name: str, id_: str, fields: Row, status: int) -> Reply:
        self._clock += 1
        kept: dict[str, Any] = {**fields, "id": id_, "last_modified": self._clock}
        return Reply.json(status, {"data": self.store.tables[name].put(kept)})

    def _delete(self, request: Request, name: str, id_: str) -> Reply:
        del request
        if not self.store.tables[name].get(id_):
            return _error(404)
        self.store.tables[name].remove(id_)
        return Reply.json(200, {"data": {"id": id_, "deleted": True}})

    def image(self, resource: str, row: Row) -> Row:
        del resource
        return row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        self._kept(resource, row["id"], {**row, **fields}, 200)

    def erase(self, resource: str, row: Row) -> None:
        self.store.tables[resource].remove(row["id"])

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        del limiter
        return []

    def too_many(self) -> Reply:
        return _error(429)


def _record(name: str, number: int) -> Row:
    return {
        "id": f"{name}{number}",
        "name": f"Person {number}",
        "email": f"{name}{number}@example.com",
        "age": 20 + number,
        "labels": ["candidate", f"team {number % 3}"],
        "last_modified": 0,
    }


def _error(status: int) -> Reply:
    return Reply.json(status, {"code": status, "message": "it cannot be done"})


def create_app(records: int = 6) -> Starlette:
    return sandbox_app(KintoVendor(records), latency_s=0.0, limits=None)
