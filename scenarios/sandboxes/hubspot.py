"""A stateful stand-in for HubSpot's CRM API (v3 objects, v4 associations), with the traps its users have reported.

Sources: the vendor's OpenAPI files (HubSpot-public-api-spec-collection) [spec], its documentation [docs], its clients'
issue trackers and forum [community]. The traps, and where the sandbox has them:

 1. null does not empty a property, "" does [spec].
 2. A property that is read-only, calculated or unknown fails its record [spec]; reported as a part of a batch (207) or
    as the whole of it (400): `refuses` says which.
 3. Only the properties that were asked for come back; without asking, a few [spec].
 4. lifecyclestage does not move back: the value stays, and the answer is 200 [community]. It has to be emptied first,
    by a request of its own.
 5. A contact's newest company becomes its primary one; the label of the one before goes [community]. GET by v3 shows no
    labels [spec].
 6. A batch of deletions answers 204, whatever became of each [spec].
 7. A search finds what was written last as it was before [docs].
 8. A unique value that another record has is refused [docs].
 9. What is created again has another id [spec]; what is in the bin is shown with archived=true, and people can restore
    it (`restore`) [docs].
10. A deal's stage sets properties that nobody can write, and its close date [unverified].
11. Results of a batch come in another order than its inputs [community].
12. Archiving the association without a label takes the labelled ones with it [spec].

What the vendor says nowhere, and the sandbox therefore decides: null is ignored; an answer to a write shows the default
properties and those written, with null for what is empty; e-mails are kept in lower case and trimmed; a batch refused
as a whole does nothing; an id in another shape is one that does not exist; a merged record is in the bin.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from scenarios.sandboxes import hubspot_seed as seeds
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
from scenarios.sandboxes.hubspot_links import LABELS, Links, default_type, rows_of

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - a made-up account's
DOCUMENTED = RateLimits(per_interval=190, interval_s=10.0, per_day=650_000)
"""A private app's in a professional account, as copies of the documentation have it."""

INPUTS_MAX = 100
_TYPES = {type_id: name for name, type_id in seeds.OBJECTS.items()} | {"contact": "contacts", "company": "companies"}
_NOT_SHOWN = frozenset({"id", "createdAt", "updatedAt"})


class Refused(Exception):
    """The vendor's refusal."""

    def __init__(self, status: int, category: str, message: str, **context: Sequence[str]) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"status": "error", "message": message, "category": category, "context": context}

    def answer(self) -> Reply:
        return Reply.json(self.status, {**self.content, "correlationId": str(uuid.UUID(int=0))})

    def as_error(self) -> Row:
        """As a part of a batch's answer."""
        return {**self.content, "errors": [], "links": {}}


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between accounts, or is told differently by different people."""

    refuses: Literal["record", "batch"] = "record"
    """What a record's fault costs: that record (207) or the whole batch (400, 409)."""
    traces: bool = True
    """Answers show the objectWriteTraceId of what they were asked."""
    terse: bool = False
    """Answers to writes show the default properties only."""


class HubSpot(Vendor):
    """The account. Rows are flat: id, createdAt, updatedAt and the properties that are not empty."""

    def __init__(self, *, records: int, seed: int, token: str, settings: Settings) -> None:
        self._records, self._seed, self._token, self._initial = records, seed, token, settings
        indexes: dict[str, dict[str, Callable[[Row], Iterable[str]]]] = {
            kind: {d["name"]: _key_of(d["name"]) for d in seeds.PROPERTIES[kind] if d["hasUniqueValue"]}
            for kind in seeds.OBJECTS
        }
        self.store = Store({**{kind: Table(indexes[kind]) for kind in seeds.OBJECTS}, "associations": Table()})
        self.bin = Table()
        self.bin.changes = self.store.changes
        self.links = Links(self.store.tables["associations"])
        self.routes = Routes()
        for method, pattern, handler, read in self._table():
            self.routes.add(method, pattern, handler, read=read)
        self.reset()

    def reset(self) -> None:
        self.settings = self._initial
        self.properties = {kind: {d["name"]: d for d in found} for kind, found in seeds.PROPERTIES.items()}
        rows = seeds.rows(self._records, self._seed)
        for kind, found in rows.items():
            self.store.tables[kind].load(found)
        self.links.table.load(rows_of(rows["contacts"], rows["companies"], rows["deals"]))
        self.bin.load([])
        self._next = 9_000_000

    def _table(self) -> list[tuple[str, str, Callable[..., Reply], bool]]:
        objects = "/crm/v3/objects/:type"
        pairs = "/crm/v4/associations/:from/:to"
        return [
            ("GET", "/crm/v3/properties/:type", self.list_properties, True),
            ("POST", f"{objects}/search", self.search, True),
            ("POST", f"{objects}/batch/read", self.batch_read, True),
            ("POST", f"{objects}/batch/create", self.batch_create, False),
            ("POST", f"{objects}/batch/update", self.batch_update, False),
            ("POST", f"{objects}/batch/upsert", self.batch_upsert, False),
            ("POST", f"{objects}/batch/archive", self.batch_archive, False),
            ("POST", f"{objects}/merge", self.merge, False),
            ("POST", f"{objects}/gdpr-delete", self.gdpr_delete, False),
            ("POST", objects, self.create, False),
            ("GET", f"{objects}/:id", self.get, True),
            ("PATCH", f"{objects}/:id", self.update, False),
            ("DELETE", f"{objects}/:id", self.archive, False),
            ("POST", f"{pairs}/batch/read", self.links_read, True),
            ("POST", f"{pairs}/batch/create", self.links_create, False),
            ("POST", f"{pairs}/batch/archive", self.links_archive, False),
            ("POST", f"{pairs}/batch/labels/archive", self.labels_archive, False),
            ("POST", f"{pairs}/batch/associate/default", self.links_default, False),
            ("PUT", "/crm/v4/objects/:from/:id/associations/default/:to/:other", self.link_default, False),
            ("PUT", "/crm/v4/objects/:from/:id/associations/:to/:other", self.link, False),
            ("DELETE", "/crm/v4/objects/:from/:id/associations/:to/:other", self.unlink, False),
        ]

    # --- what every vendor has --------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply:
        found = self.routes.match(request.method, request.path)
        try:
            if request.headers.get(b"authorization") != b"Bearer " + self._token.encode():
                raise Refused(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or expired.")
            if found is None:
                raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")
            return found[0](request, *found[1])
        except Refused as refused:
            self.store.rollback()
            return refused.answer()

    def image(self, resource: str, row: Row) -> Row:
        del resource
        return row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        if resource == "associations":
            self.links.table.put(row | fields)
        else:
            self._save(resource, row, {name: str(value) for name, value in fields.items()})

    def erase(self, resource: str, row: Row) -> None:
        self._bin(resource, row)

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        limits = limiter.limits
        told = {
            "Daily": limits.per_day,
            "Daily-Remaining": limits.per_day - limiter.used_day,
            "Interval-Milliseconds": round(limits.interval_s * 1000),
            "Max": limits.per_interval,
            "Remaining": limits.per_interval - limiter.used_interval,
        }
        return [(f"x-hubspot-ratelimit-{name}".lower().encode(), b"%d" % value) for name, value in told.items()]

    def too_many(self) -> Reply:
        told = {"status": "error", "message": "You have reached your ten_secondly_rolling limit."}
        kind = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING", "category": "RATE_LIMITS"}
        return Reply.json(429, {**told, **kind, "correlationId": str(uuid.UUID(int=0))})

    def without_field(self, body: bytes, name: str) -> bytes:
        content = orjson.loads(body or b"{}")
        for each in content.get("inputs", [content]):
            each.get("properties", {}).pop(name, None)
        return orjson.dumps(content)

    # --- what people do in HubSpot itself ---------------------------------------------------------------------------

    def restore(self, id_: str) -> None:
        """Take a record out of the bin, with its id and its links."""
        kept = self.bin.rows[id_]
        self.bin.remove(id_)
        row = {name: value for name, value in kept.items() if name not in ("kind", "links", "archivedAt")}
        self.store.tables[kept["kind"]].put(row)
        for to, links in kept["links"].items():
            for other, category, type_id in links:
                self.links.add(kept["kind"], id_, to, other, [(category, type_id)])
        self.store.commit()

    def define(self, kind: str, definition: Row) -> None:
        """Make a property, or change one."""
        self.properties[kind][definition["name"]] = definition

    # --- records ----------------------------------------------------------------------------------------------------

    def _kind(self, name: str) -> str:
        kind = _TYPES.get(name, name)
        if kind not in self.properties:
            raise Refused(400, "VALIDATION_ERROR", f"Unable to infer object type from: {name}")
        return kind

    def _new_id(self) -> str:
        self._next += 1
        return str(self._next)

    def _found(self, kind: str, key: str, by: str, *, stale: bool = False) -> Row | None:
        table = self.store.tables[kind]
        if by in ("", "hs_object_id"):
            return table.get(key, stale=stale)
        if not self.properties[kind].get(by, {}).get("hasUniqueValue"):
            raise Refused(400, "VALIDATION_ERROR", f"Property {by} is not unique.")
        key = key.strip().lower()
        ids = table.find(by, key) or [
            id_
            for id_, row in table.rows.items()
            if by == "email" and key in row.get("hs_additional_emails", "").split(";")
        ]
        return table.get(ids[0], stale=stale) if ids else None

    def _one(self, kind: str, key: str, by: str = "") -> Row:
        row = self._found(kind, key, by)
        if row is None:
            raise Refused(404, "OBJECT_NOT_FOUND", "resource not found", id=[key])
        return row

    def _save(self, kind: str, row: Row, properties: Mapping[str, str]) -> Row:
        """The row after a write, as HubSpot keeps it."""
        new = {**row, **{name: _kept(name, value) for name, value in properties.items()}, "updatedAt": _now()}
        stage, before = new.get("lifecyclestage"), row.get("lifecyclestage")
        if before in seeds.STAGES and stage in seeds.STAGES and seeds.STAGES.index(stage) < seeds.STAGES.index(before):
            new["lifecyclestage"] = before  # trap 4
        if kind == "deals" and new.get("dealstage") != row.get("dealstage"):  # trap 10
            new["hs_v2_date_entered_current_stage"] = _now()
            if new.get("dealstage") in seeds.CLOSED and "closedate" not in properties:
                new["closedate"] = _now()
        return self.store.tables[kind].put({name: value for name, value in new.items() if value != ""})

    def _checked(self, kind: str, given: Any, row: Row | None) -> dict[str, str]:
        """What of the properties is to be written. Raises Refused (traps 1, 2, 8)."""
        if not isinstance(given, dict) or not all(isinstance(value, str | None) for value in given.values()):
            raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: properties must be texts.")
        for name in given:
            if name not in self.properties[kind]:
                code = "PROPERTY_DOESNT_EXIST"
                raise Refused(400, "VALIDATION_ERROR", f'Property "{name}" does not exist: {code}', name=[name])
            if self.properties[kind][name]["modificationMetadata"]["readOnlyValue"]:
                code = "READ_ONLY_VALUE"
                raise Refused(400, "VALIDATION_ERROR", f'"{name}" is a read only property: {code}', name=[name])
        kept = {name: value for name, value in given.items() if value is not None}
        for name, value in kept.items():
            owners = (
                self.store.tables[kind].find(name, _kept(name, value).lower()) if self._is_unique(kind, name) else ()
            )
            if value and (others := [id_ for id_ in owners if row is None or id_ != row["id"]]):
                named = kind.removesuffix("s").capitalize()
                raise Refused(409, "CONFLICT", f"{named} already exists. Existing ID: {others[0]}", id=others)
        return kept

    def _is_unique(self, kind: str, name: str) -> bool:
        return bool(self.properties[kind][name]["hasUniqueValue"])

    def _created(self, kind: str, body: Row) -> Row:
        properties = self._checked(kind, body.get("properties"), None)
        row = self._save(kind, {"id": self._new_id(), "createdAt": _now()}, properties)
        for each in body.get("associations") or []:
            types = [(t["associationCategory"], t["associationTypeId"]) for t in each["types"]]
            to = next(
                name for name in ("companies", "contacts", "deals") if self.store.tables[name].get(each["to"]["id"])
            )
            self.links.add(kind, row["id"], to, each["to"]["id"], types)
        return row

    def _bin(self, kind: str, row: Row) -> None:
        links = self.links.drop(kind, row["id"])
        self.bin.put({**row, "kind": kind, "links": links, "archivedAt": _now()})
        self.store.tables[kind].remove(row["id"])

    def _view(self, kind: str, row: Row, names: Iterable[str], **more: Any) -> Row:
        """Trap 3: what was asked for, and three that always come along; empty ones as null."""
        names = (*names, "createdate", "hs_lastmodifieddate", "hs_object_id")
        known = {
            **row,
            "createdate": row["createdAt"],
            "hs_lastmodifieddate": row["updatedAt"],
            "hs_object_id": row["id"],
        }
        named = " ".join(row[n] for n in ("firstname", "lastname") if n in row)
        known |= {
            "hs_full_name_or_email": named or row.get("email"),
            "hs_is_closed": str(row.get("dealstage") in seeds.CLOSED),
        }
        shown = {name: known.get(name) for name in names if name in self.properties[kind] and name not in _NOT_SHOWN}
        stamps = {name: row[name] for name in ("id", "createdAt", "updatedAt")}
        return {**stamps, "properties": shown, "archived": False, **more}

    def _written(self, kind: str, row: Row, body: Row, **more: Any) -> Row:
        names = seeds.DEFAULTS[kind] if self.settings.terse else (*seeds.DEFAULTS[kind], *body.get("properties", {}))
        trace = body.get("objectWriteTraceId")
        return self._view(
            kind, row, names, **more, **({"objectWriteTraceId": trace} if trace and self.settings.traces else {})
        )

    # --- requests about records -------------------------------------------------------------------------------------

    def list_properties(self, request: Request, name: str) -> Reply:
        del request
        return Reply.json(200, {"results": list(self.properties[self._kind(name)].values())})

    def get(self, request: Request, name: str, id_: str) -> Reply:
        kind, query = self._kind(name), request.query()
        names = query["properties"].split(",") if "properties" in query else seeds.DEFAULTS[kind]
        if query.get("archived") == "true":
            row = self.bin.get(id_)
            if row is None or row["kind"] != kind:
                raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")
            return Reply.json(200, self._view(kind, row, names, archived=True, archivedAt=row["archivedAt"]))
        row = self._found(kind, id_, query.get("idProperty", ""), stale=request.stale)
        if row is None:
            raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")
        linked = {to: self._linked(kind, row["id"], to) for to in query.get("associations", "").split(",") if to}
        shown = {to: {"results": found} for to, found in linked.items() if found}
        return Reply.json(200, self._view(kind, row, names, **({"associations": shown} if shown else {})))

    def _linked(self, kind: str, id_: str, to: str) -> list[Row]:
        others = dict.fromkeys(other for other, *_ in self.links.of(kind, id_, to))
        return [{"id": other, "type": f"{kind.removesuffix('s')}_to_{to.removesuffix('s')}"} for other in others]

    def create(self, request: Request, name: str) -> Reply:
        kind, body = self._kind(name), _body(request)
        return Reply.json(201, self._written(kind, self._created(kind, body), body))

    def update(self, request: Request, name: str, id_: str) -> Reply:
        kind, body = self._kind(name), _body(request)
        row = self._one(kind, id_, request.query().get("idProperty", ""))
        row = self._save(kind, row, self._checked(kind, body.get("properties"), row))
        return Reply.json(200, self._written(kind, row, body))

    def archive(self, request: Request, name: str, id_: str) -> Reply:
        """Deleting what is not there is no error, as with a batch."""
        del request
        kind = self._kind(name)
        if row := self.store.tables[kind].get(id_):
            self._bin(kind, row)
        return Reply(204)

    def batch_read(self, request: Request, name: str) -> Reply:
        kind, body = self._kind(name), _body(request)
        names, by = body.get("properties") or seeds.DEFAULTS[kind], body.get("idProperty", "")
        binned = request.query().get("archived") == "true"
        results, missing = [], []
        for each in _inputs(body):
            row = self.bin.get(each["id"]) if binned else self._found(kind, each["id"], by, stale=request.stale)
            if row is None:
                missing.append(each["id"])
            else:
                results.append(self._view(kind, row, names, archived=binned))
        message = (
            f"Could not get some {kind.upper()} objects, they may be deleted or not exist. Check that ids are valid."
        )
        errors = [Refused(404, "OBJECT_NOT_FOUND", message, ids=missing).as_error()] if missing else []
        return _batch(200, results, errors)

    def batch_create(self, request: Request, name: str) -> Reply:
        kind = self._kind(name)
        return self._each(request, 201, lambda each: self._written(kind, self._created(kind, each), each))

    def batch_update(self, request: Request, name: str) -> Reply:
        kind = self._kind(name)

        def update(each: Row) -> Row:
            row = self._one(kind, each["id"], each.get("idProperty", ""))
            return self._written(kind, self._save(kind, row, self._checked(kind, each.get("properties"), row)), each)

        return self._each(request, 200, update)

    def batch_upsert(self, request: Request, name: str) -> Reply:
        kind = self._kind(name)

        def upsert(each: Row) -> Row:
            by = each.get("idProperty", "")
            row = self._found(kind, each["id"], by)
            if row is None and by not in ("", "hs_object_id"):
                made = {**each, "properties": {by: each["id"], **each["properties"]}}
                return self._written(kind, self._created(kind, made), made, new=True)
            row = row or self._one(kind, each["id"])
            return self._written(
                kind, self._save(kind, row, self._checked(kind, each["properties"], row)), each, new=False
            )

        return self._each(request, 200, upsert)

    def _each(self, request: Request, status: int, do: Callable[[Row], Row]) -> Reply:
        results, errors = [], []
        for each in _inputs(_body(request)):
            try:
                results.append(do(each))
            except Refused as refused:
                if self.settings.refuses == "batch":
                    raise
                named = {"id": [each["id"]]} if "id" in each else {}
                trace = {"objectWriteTraceId": [each["objectWriteTraceId"]]} if "objectWriteTraceId" in each else {}
                errors.append({**refused.as_error(), "context": {**refused.content["context"], **named, **trace}})  # type: ignore[dict-item]
        return _batch(status, results, errors)

    def batch_archive(self, request: Request, name: str) -> Reply:
        kind = self._kind(name)
        for each in _inputs(_body(request)):  # trap 6
            if row := self.store.tables[kind].get(each["id"]):
                self._bin(kind, row)
        return Reply(204)

    def search(self, request: Request, name: str) -> Reply:
        """Trap 7: whatever was written last is found as it was before."""
        kind, body = self._kind(name), _body(request)
        table = self.store.tables[kind]
        rows = table.seen(table.rows.values(), stale=True)
        groups = [group["filters"] for group in body.get("filterGroups", [])] or [[]]
        found = [row for row in rows if any(_fits(row, filters) for filters in groups)]
        names = body.get("properties") or seeds.DEFAULTS[kind]
        start, size = int(body.get("after") or 0), min(int(body.get("limit", 10)), 200)
        views = [self._view(kind, row, names) for row in found[start : start + size]]
        more = {"paging": {"next": {"after": str(start + size)}}} if start + size < len(found) else {}
        return Reply.json(200, {"total": len(found), "results": views, **more})

    def merge(self, request: Request, name: str) -> Reply:
        kind, body = self._kind(name), _body(request)
        kept, gone = (self._one(kind, body[name]) for name in ("primaryObjectId", "objectIdToMerge"))
        self._bin(kind, gone)
        return Reply.json(200, self._view(kind, self._save(kind, {**gone, **kept}, {}), seeds.DEFAULTS[kind]))

    def gdpr_delete(self, request: Request, name: str) -> Reply:
        kind, body = self._kind(name), _body(request)
        row = self._one(kind, body["objectId"], body.get("idProperty", ""))
        self.links.drop(kind, row["id"])
        self.store.tables[kind].remove(row["id"])
        return Reply(204)

    # --- requests about associations --------------------------------------------------------------------------------

    def links_read(self, request: Request, one: str, other: str) -> Reply:
        from_, to = self._named(one), self._named(other)
        results, errors = [], []
        for each in _inputs(_body(request), 1000):
            links = self.links.of(from_, each["id"], to, stale=request.stale)
            others = dict.fromkeys(id_ for id_, *_ in links)
            if links:
                shown = [{"toObjectId": id_, "associationTypes": _types(links, id_)} for id_ in others]
                results.append({"from": {"id": each["id"]}, "to": shown})
            else:
                message = f"No {to} is associated with {from_} {each['id']}."
                refused = Refused(404, "OBJECT_NOT_FOUND", message, fromObjectId=[each["id"]], toObjectType=[to])
                errors.append({**refused.as_error(), "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"})
        return _batch(200, results, errors)

    def _named(self, name: str) -> str:
        return _TYPES.get(name, name)

    def _both(self, from_: str, id_: str, to: str, other: str) -> None:
        for kind, key in ((from_, id_), (to, other)):
            if kind in self.store.tables and self.store.tables[kind].get(key) is None:
                raise Refused(404, "OBJECT_NOT_FOUND", f"{kind} {key} does not exist", fromObjectId=[id_])

    def _make(self, from_: str, to: str, each: Row, types: Any) -> Row:
        one, other = each["from"]["id"], each["to"]["id"]
        self._both(from_, one, to, other)
        self.links.add(from_, one, to, other, [(t["associationCategory"], t["associationTypeId"]) for t in types])
        ends = {"fromObjectTypeId": from_, "fromObjectId": one, "toObjectTypeId": to, "toObjectId": other}
        return {**ends, "labels": [LABELS[t["associationTypeId"]] for t in types if t["associationTypeId"] in LABELS]}

    def links_create(self, request: Request, one: str, other: str) -> Reply:
        from_, to = self._named(one), self._named(other)
        return self._each(request, 201, lambda each: self._make(from_, to, each, each["types"]))

    def links_default(self, request: Request, one: str, other: str) -> Reply:
        from_, to = self._named(one), self._named(other)
        spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": default_type(from_, to)}

        def make(each: Row) -> Row:
            self._make(from_, to, each, [spec])
            return {"from": each["from"], "to": each["to"], "associationSpec": spec}

        return self._each(request, 200, make)

    def links_archive(self, request: Request, one: str, other: str) -> Reply:
        for each in _inputs(_body(request)):
            for end in each["to"]:
                self.links.remove(self._named(one), each["from"]["id"], self._named(other), end["id"])
        return Reply(204)

    def labels_archive(self, request: Request, one: str, other: str) -> Reply:
        for each in _inputs(_body(request)):
            types = [(t["associationCategory"], t["associationTypeId"]) for t in each["types"]]
            self.links.remove(self._named(one), each["from"]["id"], self._named(other), each["to"]["id"], types)
        return Reply(204)

    def link(self, request: Request, one: str, id_: str, other: str, end: str) -> Reply:
        each = {"from": {"id": id_}, "to": {"id": end}}
        return Reply.json(201, self._make(self._named(one), self._named(other), each, orjson.loads(request.body)))

    def link_default(self, request: Request, one: str, id_: str, other: str, end: str) -> Reply:
        body = {"inputs": [{"from": {"id": id_}, "to": {"id": end}}]}
        return self.links_default(dataclasses.replace(request, body=orjson.dumps(body)), one, other)

    def unlink(self, request: Request, one: str, id_: str, other: str, end: str) -> Reply:
        del request
        self.links.remove(self._named(one), id_, self._named(other), end)
        return Reply(204)


def _types(links: Iterable[tuple[str, str, int]], id_: str) -> list[Row]:
    mine = [(category, type_id) for other, category, type_id in links if other == id_]
    labels = [{"label": LABELS[t]} if t in LABELS else {} for _, t in mine]
    return [{"category": c, "typeId": t, **label} for (c, t), label in zip(mine, labels, strict=True)]


def _key_of(name: str) -> Callable[[Row], Iterable[str]]:
    return lambda row: [row[name].lower()] if name in row else []


def _kept(name: str, value: str) -> str:
    return value.strip().lower() if name == "email" else value


def _body(request: Request) -> Row:
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refused(400, "VALIDATION_ERROR", f"Invalid input JSON: {error.msg}") from None
    if not isinstance(body, dict):
        raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: not an object.")
    return body


def _inputs(body: Row, most: int = INPUTS_MAX) -> list[Row]:
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: inputs must be a list of objects.")
    if len(inputs) > most:
        raise Refused(400, "VALIDATION_ERROR", f"The maximum batch size is {most}.")
    return inputs


def _batch(status: int, results: list[Row], errors: list[Row]) -> Reply:
    """Trap 11: results in an order of their own. With errors it is a 207."""
    body = {"status": "COMPLETE", "results": results[::-1], "startedAt": _now(), "completedAt": _now()}
    told = {"numErrors": len(errors), "errors": errors} if errors else {}
    return Reply.json(207 if errors else status, {**body, **told})


_CLOCK = {"last": datetime(2026, 1, 1, tzinfo=UTC)}


def _now() -> str:
    """Times that only go forward, so that no two writes have the same."""
    _CLOCK["last"] = max(datetime.now(UTC), _CLOCK["last"] + timedelta(milliseconds=1))
    return _CLOCK["last"].isoformat(timespec="milliseconds").replace("+00:00", "Z")


create_app = opening(HubSpot, Settings, DOCUMENTED, DEFAULT_TOKEN)


def _fits(row: Row, filters: list[dict[str, Any]]) -> bool:
    """All filters of a group; of several groups one is enough."""
    return all(row.get(each["propertyName"]) == each.get("value") for each in filters)
