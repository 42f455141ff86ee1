"""A stateful stand-in for Salesforce's REST API, SOAP's undelete and the token endpoint, with their documented traps.

Sources: the vendor's documentation [docs], its clients' issue trackers [community]. The traps, and where they are:

 1. A 200 says nothing: each record of a collection has its own `success` [docs].
 2. allOrNone takes back what had succeeded, and answers 200 all the same [docs].
 3. null empties [community]: `null_empties`. An empty text empties, too.
 4. A field that is read-only, calculated or unknown fails its record, or the whole call: `refuses` [unverified which].
 5. A validation rule refuses the old value: with `no_way_back` a closed opportunity is not opened again [docs].
 6. A flow rewrites other fields: with `flow` an account's industry sets its rating, and back again [docs].
 7. A stage sets the probability, unless that is written along with it [docs].
 8. Roll-ups and formulas change by themselves; compound fields cannot be written [docs].
 9. Deleting an account deletes its contacts, opportunities and placements; undelete brings all of them back [docs].
10. The bin forgets; some objects never get there (`Visit__c`) [docs].
11. An id has 15 or 18 characters [docs].
12. A unique value that another record has is refused; a duplicate rule, too, unless a header overrules it [docs].
13. Rows are locked for a while by others' writes: `locked` [docs].
14. Conditions (If-Unmodified-Since) count on single rows only [docs].
15. A token ends after a while: `token_calls`; SOAP says so by a fault, with a 500 [docs].
16. The calls of a day are counted and told in each answer [docs].

What the vendor says nowhere, and the sandbox therefore decides: texts are trimmed, e-mails kept in small letters; of
two equal ids in a collection the second is refused; a malformed id refuses the whole of a read; undelete takes 200 ids.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

import orjson

from scenarios.sandboxes import salesforce_seed as seeds
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
from scenarios.sandboxes.salesforce_soql import parse

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - a made-up org's
CLIENT = ("sandbox-app", "sandbox-secret")
"""Client id and secret, for tokens that end."""
DOCUMENTED = RateLimits(per_interval=100_000, interval_s=86_400.0, per_day=100_000)
"""Calls of a day, in an org without licences that add to them."""

READ_MAX, WRITE_MAX, PAGE = 2000, 200, 2000
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
_REQUIRED = {"Account": "Name", "Contact": "LastName", "Opportunity": "Name", "Visit__c": "Name"}
_NUMBERS = frozenset({"double", "currency", "percent"})


class Refused(Exception):
    """The vendor's refusal."""

    def __init__(self, code: str, message: str, *fields: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.fields, self.status = code, message, list(fields), status

    def answer(self) -> Reply:
        told = {"message": self.message, "errorCode": self.code}
        return Reply.json(self.status, [{**told, **({"fields": self.fields} if self.fields else {})}])

    def as_result(self) -> Row:
        """As one record's share of an answer."""
        error = {"statusCode": self.code, "message": self.message, "fields": self.fields}
        return {"success": False, "errors": [error]}


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between orgs, or is not documented."""

    refuses: Literal["record", "batch"] = "record"
    """What a field that cannot be written costs: its record, or the whole call."""
    null_empties: bool = True
    no_way_back: bool = False
    flow: bool = False
    duplicate_rule: bool = False
    """Two contacts of one e-mail address are refused."""
    locked: tuple[str, ...] | list[str] = ()
    """Ids of rows that somebody else's transaction holds."""
    token_calls: int = 0
    """Calls after which a fetched token ends; 0: never."""


class Salesforce(Vendor):
    """The org. Rows are flat: id and the fields that are not empty, a choice of several as a list."""

    def __init__(self, *, records: int, seed: int, token: str, settings: Settings) -> None:
        self._records, self._seed, self._token, self._initial = records, seed, token, settings
        self.store = Store({kind: Table(_indexes(kind)) for kind in seeds.OBJECTS})
        self.bin = Table()
        self.bin.changes = self.store.changes
        self.routes = Routes()
        for method, pattern, handler, read in self._table():
            self.routes.add(method, pattern, handler, read=read)
        self.reset()

    def reset(self) -> None:
        self.settings: Settings = self._initial
        self.fields = {kind: {f["name"].lower(): f for f in found} for kind, found in seeds.FIELDS.items()}
        for kind, found in seeds.rows(self._records, self._seed).items():
            self.store.tables[kind].load(found)
        self.bin.load([])
        self.logins = 0
        self._queries: list[str] = []
        self._calls_left = 0
        self._next = 1_000_000

    def _table(self) -> list[tuple[str, str, Callable[..., Reply], bool]]:
        data = "/services/data/:version"
        many, one = f"{data}/composite/sobjects", f"{data}/sobjects"
        return [
            ("POST", "/services/oauth2/token", self.log_in, True),
            ("POST", "/services/Soap/u/:version", self.soap, False),
            ("GET", f"{data}/query", self.query, True),
            ("GET", f"{data}/query/:locator", self.query_more, True),
            ("GET", f"{data}/queryAll", self.query_all, True),
            ("GET", one, self.list_objects, True),
            ("GET", f"{one}/:type/describe", self.describe, True),
            ("GET", f"{many}/:type", self.retrieve_by_address, True),
            ("POST", f"{many}/:type", self.retrieve, True),
            ("POST", many, self.create_many, False),
            ("PATCH", many, self.update_many, False),
            ("DELETE", many, self.delete_many, False),
            ("PATCH", f"{many}/:type/:field", self.upsert_many, False),
            ("POST", f"{one}/:type", self.create, False),
            ("GET", f"{one}/:type/:id", self.get, True),
            ("PATCH", f"{one}/:type/:id", self.update, False),
            ("DELETE", f"{one}/:type/:id", self.delete, False),
            ("PATCH", f"{one}/:type/:field/:value", self.upsert, False),
        ]

    # --- what every vendor has --------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply:
        found = self.routes.match(request.method, request.path)
        try:
            if request.path.startswith("/services/data"):
                scheme, _, token = request.headers.get(b"authorization", b"").decode().partition(" ")
                if scheme != "Bearer" or not self._is_good(token):
                    raise Refused("INVALID_SESSION_ID", "Session expired or invalid", status=401)
            if found is None:
                raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
            return found[0](request, *(unquote(each) for each in found[1][1:]))
        except Refused as refused:
            self.store.rollback()
            return refused.answer()

    def _is_good(self, token: str) -> bool:
        """Trap 15. The fixed token never ends."""
        if token != f"session!{self.logins}" or self._calls_left == 0:
            return token == self._token
        self._calls_left -= 1
        return True

    def image(self, resource: str, row: Row) -> Row:
        del resource
        return row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        self._save(resource, row, fields)

    def erase(self, resource: str, row: Row) -> None:
        self._bin(resource, row)

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        return [(b"sforce-limit-info", b"api-usage=%d/%d" % (limiter.used_day, limiter.limits.per_day))]

    def too_many(self) -> Reply:
        return Refused("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403).answer()

    def without_field(self, body: bytes, name: str) -> bytes:
        content = orjson.loads(body or b"{}")
        for each in content.get("records", [content]):
            each.pop(name, None)
        return orjson.dumps(content)

    # --- what people do in Salesforce itself ------------------------------------------------------------------------

    def define(self, kind: str, field: Row) -> None:
        """Make a field, or change one."""
        self.fields[kind][field["name"].lower()] = field

    # --- records ----------------------------------------------------------------------------------------------------

    def _kind(self, name: str) -> str:
        if name not in self.fields:
            raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
        return name

    def _one(self, kind: str, id_: Any) -> Row:
        row = self.store.tables[kind].get(_long(id_)) if isinstance(id_, str) and _ID.fullmatch(id_) else None
        if row is None and _long(id_) in self.bin.rows:
            raise Refused("ENTITY_IS_DELETED", "entity is deleted", status=404)
        if row is None:
            detail = "Provided external ID field does not exist or is not accessible"
            raise Refused("NOT_FOUND", detail, status=404)
        return row

    def _checked(self, kind: str, given: Mapping[str, Any], row: Row | None, *, allow: bool) -> Row:
        """The fields to be written, under their own names. Raises Refused (traps 4, 5, 12, 13)."""
        if row and row["id"] in self.settings.locked:
            raise Refused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        fields: Row = {}
        for name, value in given.items():
            field = self.fields[kind].get(name.lower())
            if field is None:
                raise Refused("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}", name)
            if not field["updateable" if row else "createable"]:
                detail = f"Unable to create/update fields: {field['name']}. Please check the security settings."
                raise Refused("INVALID_FIELD_FOR_INSERT_UPDATE", detail, field["name"])
            fields[field["name"]] = self._typed(field, value)
        self._refuse_rules(kind, fields, row, allow=allow)
        return fields

    def _typed(self, field: Row, value: Any) -> Any:
        if value is None or value == "":
            return None
        wanted = {"boolean": bool, **dict.fromkeys(_NUMBERS, int | float)}.get(field["type"], str)
        if not isinstance(value, wanted) or (field["type"] in _NUMBERS and isinstance(value, bool)):
            detail = f"Cannot deserialize instance of {field['type']} from {field['name']}"
            raise Refused("JSON_PARSER_ERROR", detail)
        allowed = [each["value"] for each in field["picklistValues"]]
        if field.get("restrictedPicklist") and value not in allowed:
            code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
            raise Refused(code, f"{field['name']}: bad value for restricted picklist field", field["name"])
        if field["type"] == "multipicklist":
            return sorted(set(str(value).split(";")), key=lambda each: [*allowed, each].index(each))
        if field["type"] == "reference":
            return _long(value)
        if field["type"] in _NUMBERS:
            return round(float(value), field["scale"] or 2)
        if isinstance(value, str):
            return (value.strip().lower() if field["type"] == "email" else value.strip()) or None
        return value

    def _refuse_rules(self, kind: str, fields: Row, row: Row | None, *, allow: bool) -> None:
        required = _REQUIRED.get(kind, "")
        if required and fields.get(required, None if row is None or required in fields else "there") is None:
            raise Refused("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{required}]", required)
        closed = self.settings.no_way_back and row is not None and row.get("StageName", "").startswith("Closed")
        if closed and not fields.get("StageName", "Closed").startswith("Closed"):
            raise Refused("FIELD_CUSTOM_VALIDATION_EXCEPTION", "A closed search is not opened again.", "StageName")
        for name, value in fields.items():
            if value is None or name not in self.store.tables[kind]._keys:  # noqa: SLF001 - the indexed are the unique
                continue
            others = [i for i in self.store.tables[kind].find(name, str(value).lower()) if not row or i != row["id"]]
            if others and name == "Email":
                if self.settings.duplicate_rule and not allow:
                    raise Refused("DUPLICATES_DETECTED", "Use one of these records?")
            elif others:
                detail = f"duplicate value found: {name} duplicates value on record with id: {others[0]}"
                raise Refused("DUPLICATE_VALUE", detail)

    def _save(self, kind: str, row: Row, fields: Row) -> Row:
        new = {**row, **fields}
        if not self.settings.null_empties:  # trap 3
            new = {name: row.get(name) if value is None else value for name, value in new.items()}
        if kind == "Opportunity" and "StageName" in fields and "Probability" not in fields:  # trap 7
            new["Probability"] = seeds.STAGES.get(str(new.get("StageName")), 0.0)
        if kind == "Account" and self.settings.flow and "Industry" in fields:  # trap 6
            new["Rating"] = "Hot" if new.get("Industry") == "Technology" else "Warm"
        now = _now()
        new |= {"LastModifiedDate": now, "SystemModstamp": now}
        return self.store.tables[kind].put({name: value for name, value in new.items() if value not in (None, "", [])})

    def _created(self, kind: str, given: Mapping[str, Any], *, allow: bool) -> Row:
        fields = self._checked(kind, given, None, allow=allow)
        self._next += 1
        flags = {f["name"]: False for f in self.fields[kind].values() if f["type"] == "boolean" and f["createable"]}
        owner = {"OwnerId": seeds.OWNERS[0]} if "ownerid" in self.fields[kind] else {}
        row = {"id": seeds.record_id(kind, self._next), "CreatedDate": _now(), **owner, **flags}
        return self._save(kind, row, fields)

    def _bin(self, kind: str, row: Row) -> None:
        """Trap 9: what hangs on a record goes with it."""
        gone = [(kind, row)]
        for _, child, by in seeds.CHILDREN.get(kind, ()):
            gone += [(child, each) for each in self.store.tables[child].rows.values() if each.get(by) == row["id"]]
        for each, lost in gone:
            self.store.tables[each].remove(lost["id"])
            if each not in seeds.FINAL:
                self.bin.put({"id": lost["id"], "kind": each, "row": lost, "with": row["id"]})

    def _undelete(self, id_: str) -> None:
        kept = self.bin.rows.get(_long(id_))
        if kept is None or kept["with"] != kept["id"]:
            raise Refused("UNDELETE_FAILED", "entity is not in the recycle bin")
        for each in [each for each in self.bin.rows.values() if each["with"] == kept["id"]]:
            self.bin.remove(each["id"])
            self.store.tables[each["kind"]].put({**each["row"], "LastModifiedDate": _now(), "SystemModstamp": _now()})

    def _view(self, kind: str, row: Row, names: Iterable[str]) -> Row:
        shown: Row = {"attributes": {"type": kind, "url": f"/services/data/v60.0/sobjects/{kind}/{row['id']}"}}
        for name in names:
            if name.lower() not in self.fields[kind]:
                raise Refused("INVALID_FIELD", f"No such column '{name}' on entity '{kind}'")
            shown[self.fields[kind][name.lower()]["name"]] = self._value(row, name)
        return shown

    def _value(self, row: Row, name: str) -> Any:
        """Trap 8: formulas, roll-ups and compound fields are made when they are asked for."""
        match name:
            case "Id":
                return row["id"]
            case "IsDeleted":
                return row["id"] in self.bin.rows
            case "IsClosed":
                return str(row.get("StageName", "")).startswith("Closed")
            case "Full_Name__c":
                return f"{row.get('FirstName', '')} {row.get('LastName', '')}"
            case "Placements__c":
                placed = self.store.tables["Placement__c"].rows.values()
                return float(sum(each.get("Client__c") == row["id"] for each in placed))
            case "MailingAddress" | "BillingAddress":
                return {"city": row.get(name.replace("Address", "City"))}
            case "National_Id__c":
                return "*" * len(row.get(name, "")) or None
            case _:
                value = row.get(name)
                return ";".join(value) or None if isinstance(value, list) else value

    # --- requests that read -----------------------------------------------------------------------------------------

    def list_objects(self, request: Request) -> Reply:
        del request
        listed = [{"name": kind, "keyPrefix": prefix} for kind, prefix in seeds.PREFIXES.items()]
        return Reply.json(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed})

    def describe(self, request: Request, name: str) -> Reply:
        del request
        kind = next((kind for kind in self.fields if kind.lower() == name.lower()), name)
        return Reply.json(200, {**seeds.describe(self._kind(kind)), "fields": list(self.fields[kind].values())})

    def get(self, request: Request, name: str, id_: str) -> Reply:
        kind = self._kind(name)
        names = request.query().get("fields", "").split(",") if "fields" in request.query() else self._names(kind)
        return Reply.json(200, self._view(kind, self._one(kind, id_), names))

    def _names(self, kind: str) -> list[str]:
        return [field["name"] for field in self.fields[kind].values()]

    def retrieve(self, request: Request, name: str) -> Reply:
        body = _body(request)
        return self._retrieve(request, self._kind(name), body.get("ids"), body.get("fields"))

    def retrieve_by_address(self, request: Request, name: str) -> Reply:
        asked = request.query()
        ids, fields = (asked.get(part, "").split(",") for part in ("ids", "fields"))
        return self._retrieve(request, self._kind(name), ids, fields)

    def _retrieve(self, request: Request, kind: str, ids: Any, fields: Any) -> Reply:
        if not isinstance(ids, list) or not isinstance(fields, list) or not ids or not fields:
            raise Refused("MISSING_ARGUMENT", "The ids and fields are required")
        if len(ids) > READ_MAX:
            raise Refused("EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {READ_MAX} records")
        if odd := [id_ for id_ in ids if not isinstance(id_, str) or not _ID.fullmatch(id_)]:
            raise Refused("MALFORMED_ID", f"malformed id {odd[0]}")
        self._view(kind, {"id": ""}, fields)
        table = self.store.tables[kind]
        rows = [table.get(_long(id_), stale=request.stale) for id_ in ids]
        return Reply.json(200, [row and self._view(kind, row, ["Id", *fields]) for row in rows])

    def query(self, request: Request) -> Reply:
        return self._query(request, request.query().get("q", ""), deleted=False)

    def query_all(self, request: Request) -> Reply:
        return self._query(request, request.query().get("q", ""), deleted=True)

    def query_more(self, request: Request, locator: str) -> Reply:
        """The next page of a query: 01g, which query it was, and how many rows were shown by then."""
        number, _, shown = locator.removeprefix("01g").partition("-")
        if not (number.isdecimal() and shown.isdecimal() and int(number) < len(self._queries)):
            raise Refused("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._query(request, self._queries[int(number)], deleted=False, start=int(shown))

    def _query(self, request: Request, text: str, *, deleted: bool, start: int = 0) -> Reply:
        asked = parse(text)
        if asked is None or asked.kind not in self.fields:
            raise Refused("MALFORMED_QUERY", "unexpected token")
        table = self.store.tables[asked.kind]
        rows = table.seen(table.rows.values(), stale=request.stale)
        rows += [each["row"] for each in self.bin.rows.values() if deleted and each["kind"] == asked.kind]
        found = [row for row in rows if not asked.by or asked.fits(self._value(row, asked.by))]
        children = {
            name: (child, by) for name, child, by in seeds.CHILDREN.get(asked.kind, ()) if name in asked.children
        }
        records = [
            {
                **self._view(asked.kind, row, asked.names),
                **{name: self._hanging(child, by, row) for name, (child, by) in children.items()},
            }
            for row in found[start : start + PAGE]
        ]
        more = {}
        if len(found) > start + PAGE:
            if not start:
                self._queries.append(text)
            locator = f"01g{self._queries.index(text)}-{start + PAGE}"
            more = {"nextRecordsUrl": f"{request.path.partition('/query')[0]}/query/{locator}"}
        return Reply.json(200, {"totalSize": len(found), "done": not more, **more, "records": records})

    def _hanging(self, child: str, by: str, row: Row) -> Row | None:
        hanging = [each for each in self.store.tables[child].rows.values() if each.get(by) == row["id"]]
        shown = [self._view(child, each, ["Id"]) for each in hanging]
        return {"totalSize": len(shown), "done": True, "records": shown} if shown else None

    # --- requests about single rows ---------------------------------------------------------------------------------

    def create(self, request: Request, name: str) -> Reply:
        row = self._created(self._kind(name), _body(request), allow=_allows(request))
        return Reply.json(201, _done(row))

    def update(self, request: Request, name: str, id_: str) -> Reply:
        kind = self._kind(name)
        row = self._one(kind, id_)
        since = request.headers.get(b"if-unmodified-since", b"").decode()
        if since and datetime.fromisoformat(row["LastModifiedDate"]) > parsedate_to_datetime(since):  # trap 14
            return Reply(412)
        self._save(kind, row, self._checked(kind, _body(request), row, allow=_allows(request)))
        return Reply(204)

    def delete(self, request: Request, name: str, id_: str) -> Reply:
        del request
        kind = self._kind(name)
        self._bin(kind, self._one(kind, id_))
        return Reply(204)

    def upsert(self, request: Request, name: str, field: str, value: str) -> Reply:
        result = self._upserted(self._kind(name), field, value, _body(request), allow=_allows(request))
        return Reply.json(201 if result["created"] else 200, result)

    def _upserted(self, kind: str, by: str, value: Any, given: Row, *, allow: bool) -> Row:
        field = self.fields[kind].get(by.lower())
        if field is None or not field["idLookup"]:
            detail = f"Provided external ID field does not exist or is not accessible: {by}"
            raise Refused("NOT_FOUND", detail, status=404)
        name = field["name"]
        wanted = _long(value).lower() if name == "Id" else str(value).lower()
        rows = list(self.store.tables[kind].rows.values())
        found = [row for row in rows if str(self._value(row, name)).lower() == wanted]
        if len(found) > 1:
            raise Refused("DUPLICATE_VALUE", "more than one record found", status=300)
        if found:
            row = self._save(kind, found[0], self._checked(kind, given, found[0], allow=allow))
        elif name == "Id":
            raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        else:
            row = self._created(kind, {**given, name: value}, allow=allow)
        return {**_done(row), "created": not found}

    # --- collections ------------------------------------------------------------------------------------------------

    def create_many(self, request: Request) -> Reply:
        allow = _allows(request)
        return self._each(request, lambda kind, _, given: _done(self._created(kind, given, allow=allow)))

    def update_many(self, request: Request) -> Reply:
        seen: set[str] = set()

        def update(kind: str, id_: Any, given: Row) -> Row:
            if id_ is None:
                raise Refused("MISSING_ARGUMENT", "Id not specified in an update call")
            row = self._one(kind, id_)
            if row["id"] in seen:
                raise Refused("DUPLICATE_VALUE", f"duplicate id in list: {row['id']}")
            seen.add(row["id"])
            return _done(self._save(kind, row, self._checked(kind, given, row, allow=_allows(request))))

        return self._each(request, update)

    def upsert_many(self, request: Request, name: str, field: str) -> Reply:
        self._kind(name)

        def upsert(kind: str, id_: Any, given: Row) -> Row:
            if field.lower() == "id":
                if id_ is None:
                    return {**_done(self._created(kind, given, allow=_allows(request))), "created": True}
                return self._upserted(kind, "Id", id_, given, allow=_allows(request))
            key = next((each for each in given if each.lower() == field.lower()), "")
            value = given.get(key)
            rest = {each: found for each, found in given.items() if each != key}
            if value in (None, ""):
                raise Refused("MISSING_ARGUMENT", f"{field} not specified")
            return self._upserted(kind, field, value, rest, allow=_allows(request))

        return self._each(request, upsert)

    def delete_many(self, request: Request) -> Reply:
        asked = request.query()
        ids = asked.get("ids", "").split(",")
        _refuse_too_many(ids)

        def delete(id_: str) -> Row:
            kind = next((kind for kind, prefix in seeds.PREFIXES.items() if id_.startswith(prefix)), "")
            if not _ID.fullmatch(id_) or not kind:
                raise Refused("MALFORMED_ID", f"malformed id {id_}")
            row = self._one(kind, id_)
            self._bin(kind, row)
            return _done(row)

        return self._results([partial(delete, id_) for id_ in ids], asked.get("allOrNone") == "true")

    def _each(self, request: Request, do: Callable[[str, Any, Row], Row]) -> Reply:
        body = _body(request)
        records = body.get("records")
        if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
            raise Refused("JSON_PARSER_ERROR", "records must be a list of objects")
        _refuse_too_many(records)
        return self._results([partial(self._do, each, do) for each in records], body.get("allOrNone") is True)

    def _do(self, record: Row, do: Callable[[str, Any, Row], Row]) -> Row:
        attributes = record.get("attributes")
        kind = attributes.get("type") if isinstance(attributes, dict) else None
        if kind not in self.fields:
            raise Refused("INVALID_TYPE", f"sObject type '{kind}' is not supported.")
        given = {name: value for name, value in record.items() if name not in ("attributes", "id", "Id")}
        return do(kind, record.get("id", record.get("Id")), given)

    def _results(self, doing: list[Callable[[], Row]], all_or_none: bool) -> Reply:
        """Traps 1 and 2."""
        results = []
        for do in doing:
            try:
                results.append(do())
            except Refused as refused:
                whole = refused.code == "JSON_PARSER_ERROR" or refused.code.startswith("INVALID_FIELD")
                if whole and self.settings.refuses == "batch":
                    raise
                results.append(refused.as_result())
        if all_or_none and not all(result["success"] for result in results):
            self.store.rollback()
            undone = Refused(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK", "Record rolled back because not all records were valid"
            )
            results = [undone.as_result() if result["success"] else result for result in results]
        return Reply.json(200, results)

    # --- tokens and SOAP --------------------------------------------------------------------------------------------

    def log_in(self, request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return Reply.json(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})
        if (form.get("client_id"), form.get("client_secret")) != CLIENT:
            return Reply.json(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        self.logins += 1
        self._calls_left = self.settings.token_calls or -1
        told = {"instance_url": "https://sandbox.my.salesforce.com", "token_type": "Bearer", "scope": "api"}
        return Reply.json(200, {"access_token": f"session!{self.logins}", **told})

    def soap(self, request: Request) -> Reply:
        text = request.body.decode()
        session = re.search(r"<sessionId>(.*?)</sessionId>", text)
        if session is None or not self._is_good(session[1]):
            return _fault("sf:INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader")
        if "<undelete>" not in text:
            return _fault("soapenv:Client", "No operation available for request")
        ids = re.findall(r"<ids>(.*?)</ids>", text)
        if len(ids) > WRITE_MAX:
            return _fault("sf:EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {WRITE_MAX} records")
        results = "".join(f"<result>{self._undeleted(id_)}</result>" for id_ in ids)
        return _envelope(200, f'<undeleteResponse xmlns="urn:partner.soap.sforce.com">{results}</undeleteResponse>')

    def _undeleted(self, id_: str) -> str:
        try:
            self._undelete(id_)
        except Refused as refused:
            error = f"<message>{escape(refused.message)}</message><statusCode>{refused.code}</statusCode>"
            return f'<errors>{error}</errors><id xsi:nil="true"/><success>false</success>'
        return f"<id>{escape(_long(id_))}</id><success>true</success>"


def _indexes(kind: str) -> dict[str, Callable[[Row], Iterable[str]]]:
    names = [field["name"] for field in seeds.FIELDS[kind] if field["externalId"] or field["name"] == "Email"]
    return {name: _key_of(name) for name in names}


def _key_of(name: str) -> Callable[[Row], Iterable[str]]:
    return lambda row: [str(row[name]).lower()] if name in row else []


def _long(id_: Any) -> str:
    return seeds.long_id(id_) if isinstance(id_, str) and len(id_) == 15 else str(id_)


def _allows(request: Request) -> bool:
    return b"allowsave=true" in request.headers.get(b"sforce-duplicate-rule-header", b"").lower().replace(b" ", b"")


def _done(row: Row) -> Row:
    return {"id": row["id"], "success": True, "errors": []}


def _body(request: Request) -> Row:
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refused("JSON_PARSER_ERROR", error.msg) from None
    if not isinstance(body, dict):
        raise Refused("JSON_PARSER_ERROR", "The body is no object")
    return body


def _refuse_too_many(listed: list[Any]) -> None:
    if len(listed) > WRITE_MAX:
        raise Refused("EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {WRITE_MAX} records")


def _envelope(status: int, body: str) -> Reply:
    names = 'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    text = f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope {names}><soapenv:Body>{body}</soapenv:Body>'
    return Reply(status, f"{text}</soapenv:Envelope>".encode(), b"text/xml; charset=utf-8")


def _fault(code: str, message: str) -> Reply:
    told = f"<faultcode>{code}</faultcode><faultstring>{code.partition(':')[2]}: {message}</faultstring>"
    return _envelope(500, f"<soapenv:Fault>{told}</soapenv:Fault>")


_CLOCK = {"last": datetime(2026, 1, 1, tzinfo=UTC)}


def _now() -> str:
    """Times that only go forward, so that no two writes have the same."""
    _CLOCK["last"] = max(datetime.now(UTC), _CLOCK["last"] + timedelta(milliseconds=1))
    return seeds.stamp(_CLOCK["last"])


create_app = opening(Salesforce, Settings, DOCUMENTED, DEFAULT_TOKEN)
