"""A stateful stand-in for Keap's API v2, with the traps of its documentation.

Sources: the vendor's OpenAPI file (infusionsoft/keap-sdk, sdks/v2/swagger.yml) [spec], its developer pages about quotas
[docs], and reports of those who call it [community]. The traps, and where the sandbox has them:

 1. A PATCH with one custom field wipes the others: lists are replaced as a whole [spec].
 2. The same for e-mail addresses, phone and fax numbers, addresses and social accounts [spec].
 3. Custom fields, and much else, are in no answer that was not asked for them by `fields` [spec].
 4. An address sent with an `opt_in_reason` gets another consent, and no write takes that back [spec].
 5. A tag that is removed and applied again has a new applied time [spec].
 6. A POST with `duplicate_option` updates the contact that is there: 200 instead of 201 [spec].
 7. `removeTags` answers 204 and says nothing of each contact; `applyTags` answers 200 whatever became of them [spec].
 8. Companies have no filter for several ids, and their PATCH takes no `fields` [spec].
 9. Opportunities are listed by at most 100 ids [spec].
10. The gateway refuses in a shape that no spec has ({"fault": ...}), and its 429 has no Retry-After [community].
11. A deleted record is gone, and what hangs on it with it [docs]; no id can be chosen for a new one [spec].

What the vendor says nowhere, and the sandbox therefore decides: without a mask, members that are not in the body stay
as they are; a member that the mask names and the body lacks is cleared, and so is one that is ""; an unknown member is
refused, and null is; lists of custom fields other than a contact's are replaced, too (`custom_fields` "merge" is the
other habit); empty lists are shown as [] (`omits_empty` is the other habit); a duplicate is looked for in every e-mail
address of a contact, the oldest contact first; a filter that is not known is refused.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qs

import orjson

from scenarios.sandboxes import keap_rules as rules
from scenarios.sandboxes import keap_seed as seeds
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
DOCUMENTED = RateLimits(per_interval=240, interval_s=60.0, per_day=30_000)
"""Of a personal access token: https://developer.infusionsoft.com/api-token-quota-and-usage-measurements/"""

PAGE_MAX = 1000
DEAL_IDS_MAX = 100
NAMES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}
LISTS = (*rules.SLOTS, "custom_fields")


class Refused(Exception):
    """The vendor's refusal; nothing of the request has been done."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"code": status, "message": message, "status": NAMES.get(status, "UNKNOWN"), "details": []}


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between accounts, or is not known. `retired`: custom fields that were deleted from the account."""

    custom_fields: Literal["replace", "merge"] = "replace"
    omits_empty: bool = False
    retired: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One object type: its table is named like the list's member in an answer."""

    name: str
    create: Mapping[str, rules.Rule]
    update: Mapping[str, rules.Rule]
    required: tuple[str, ...] = ()
    filters: frozenset[str]
    ids: str = "ids"
    stamps: tuple[str, str] = ("create_time", "update_time")
    default: frozenset[str] | None
    """What an answer shows that was asked for nothing; None: all but the custom fields."""
    added: bool
    """`fields` adds to the default, instead of choosing."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="contacts",
            create=rules.CONTACT,
            update=rules.CONTACT,
            filters=_words("ids contact_ids email given_name family_name middle_name company_id"),
            default=_words("id given_name family_name middle_name email_addresses phone_numbers addresses tag_ids"),
            added=False,
        ),
        Kind(
            name="companies",
            create=rules.COMPANY,
            update=rules.COMPANY,
            required=("company_name",),
            filters=_words("company_id company_name name email"),
            ids="company_id",
            default=_words("id company_name website title suffix owner_id first_name last_name"),
            added=True,
        ),
        Kind(
            name="opportunities",
            create=rules.OPPORTUNITY,
            update=rules.OPPORTUNITY,
            required=("contact_id", "opportunity_title", "stage_id"),
            filters=_words("ids opportunity_id contact_id stage_id user_id opportunity_title"),
            stamps=("created_time", "last_updated_time"),
            default=None,
            added=True,
        ),
        Kind(
            name="notes",
            create=rules.NOTE,
            update=rules.NOTE_UPDATE,
            required=("user_id",),
            filters=_words("id ids title contact_id"),
            default=None,
            added=True,
        ),
        Kind(
            name="tasks",
            create=rules.TASK,
            update=rules.TASK,
            required=("assigned_to_user_id",),
            filters=_words("id task_ids title contact_id opportunity_id user_id"),
            ids="task_ids",
            stamps=("create_time", "modification_time"),
            default=None,
            added=True,
        ),
    )
}


# --- how the vendor keeps and shows what it is given --------------------------------------------------------------


def normal_email(value: str) -> str:
    return value.strip().lower()


def normal_phone(value: str) -> str:
    """A national number in the form that Keap shows; others as they come."""
    digits = re.sub(r"\D", "", value)
    national = len(digits) == len("4805550100")
    return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}" if national else value.strip()


def kept_member(name: str, item: Row) -> Row:
    """A list's member without what tells it apart, in the vendor's own forms."""
    key = rules.SLOTS[name][0]
    kept = {part: value.strip() for part, value in item.items() if part != key and value.strip()}
    kept.pop("number_e164", None)
    kept.pop("opt_in_reason", None)
    if "number" in kept:
        kept["number"] = normal_phone(kept["number"])
    if name == "addresses":
        kept = {part: value for part, value in kept.items() if f"{part}_code" not in kept}
    return kept


def _emails(row: Row) -> list[str]:
    return list(dict.fromkeys(row.get("email_addresses", {}).values()))


def _field(name: str) -> Callable[[Row], list[str]]:
    return lambda row: [row[name]] if row.get(name) else []


class Keap(Vendor):
    """One application in memory. See the module's docstring for what it reproduces."""

    settings: Settings

    def __init__(self, *, records: int, seed: int, token: str, settings: Settings) -> None:
        of_contact = {"contact_id": _field("contact_id")}
        self.contacts = Table({"email": _emails, "company_id": _field("company")})
        self.companies = Table({"company_name": _field("company_name")})
        self.opportunities = Table(of_contact)
        self.notes = Table(of_contact)
        self.tasks = Table({**of_contact, "opportunity_id": _field("opportunity_id")})
        self.orders = Table(of_contact)
        self.consents = Table()
        self.tables = {
            "contacts": self.contacts,
            "companies": self.companies,
            "opportunities": self.opportunities,
            "notes": self.notes,
            "tasks": self.tasks,
        }
        self.store = Store({**self.tables, "orders": self.orders, "consents": self.consents})
        self.routes = Routes()
        self._bearer = f"Bearer {token}".encode()
        self._initial = settings
        people = list(seeds.contacts(records, seed))
        self._rows: dict[str, list[Row]] = {
            "companies": list(seeds.companies(records, seed)),
            "contacts": people,
            "opportunities": list(seeds.opportunities(people)),
            "notes": list(seeds.notes(people)),
            "tasks": list(seeds.tasks(people)),
        }
        self._add_routes()
        self.reset()

    def reset(self) -> None:
        self.settings = self._initial
        self._next_id, self._last_ms = 20_001, 0
        for name, rows in self._rows.items():
            self.tables[name].load(rows)
        self.orders.load(())
        self.consents.load(
            {"id": address, "status": "SINGLE_OPT_IN"} for row in self._rows["contacts"] for address in _emails(row)
        )

    def _add_routes(self) -> None:
        for name in KINDS:
            path = f"/rest/v2/{name}"
            self.routes.add("GET", path, self._bound(self.list_, name))
            self.routes.add("GET", f"{path}/model", self._bound(self.model, name))
            if name == "notes":
                path = "/rest/v2/contacts/:contact/notes"
                self.routes.add("GET", path, self.list_notes)
                self.routes.add("POST", path, self.create_note)
                self.routes.add("GET", f"{path}/:id", self.get_note)
                self.routes.add("PATCH", f"{path}/:id", self.update_note)
                self.routes.add("DELETE", f"{path}/:id", self.delete_note)
                continue
            self.routes.add("POST", path, self._bound(self.create, name))
            self.routes.add("GET", f"{path}/:id", self._bound(self.get, name))
            self.routes.add("PATCH", f"{path}/:id", self._bound(self.update, name))
            self.routes.add("DELETE", f"{path}/:id", self._bound(self.delete, name))
        self.routes.add("POST", "/rest/v2/orders", self.create_order)
        self.routes.add("GET", "/rest/v2/orders", self.list_orders)
        self.routes.add("GET", "/rest/v2/subscriptions", self.list_subscriptions)
        self.routes.add("GET", "/rest/v2/contacts/:contact/tags", self.tags_of_contact)
        self.routes.add("POST", "/rest/v2/tags/:tag/contacts:applyTags", self.apply_tags)
        self.routes.add("POST", "/rest/v2/tags/:tag/contacts:removeTags", self.remove_tags)

    @staticmethod
    def _bound(handler: Callable[..., Reply], name: str) -> Callable[..., Reply]:
        return lambda request, *params: handler(request, KINDS[name], *params)

    def answer(self, request: Request) -> Reply:
        if request.headers.get(b"authorization") != self._bearer:
            return _fault(401, "Invalid Access Token", "keymanagement.service.invalid_access_token")
        try:
            found = self.routes.match(request.method, request.path)
            if found is None:
                raise Refused(404, f"Cannot {request.method} {request.path}")
            handler, params, _ = found
            return handler(request, *params)
        except Refused as refused:
            # A handler refuses before it changes anything; should one ever not, nothing half-done may stay.
            self.store.rollback()
            return Reply.json(refused.status, refused.content)

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        limits = limiter.limits
        told = {
            "product-throttle-limit": limits.per_interval,
            "product-throttle-interval": 1,
            "product-throttle-time-unit": "minute",
            "product-throttle-available": limits.per_interval - limiter.used_interval,
            "product-throttle-used": limiter.used_interval,
            "product-quota-limit": limits.per_day,
            "product-quota-interval": 1,
            "product-quota-time-unit": "day",
            "product-quota-available": limits.per_day - limiter.used_day,
            "product-quota-used": limiter.used_day,
            "product-spike-limit": "25ps",
            "tenant-throttle-limit": "10000|250000",
            "tenant-throttle-time-unit": "minute|day",
            "tenant-id": "sandbox",
        }
        return [(f"x-keap-{name}".encode(), str(value).encode()) for name, value in told.items()]

    def too_many(self) -> Reply:
        return _fault(429, "Rate limit quota violation.", "policies.ratelimit.QuotaViolation")

    def image(self, resource: str, row: Row) -> Row:
        return self._view(KINDS[resource], row, None) if resource in KINDS else row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        """A person's edit; of a list only the members that are named."""
        grouped = {
            name: _without_empty({**row.get(name, {}), **value})
            for name, value in fields.items()
            if name in LISTS and isinstance(value, dict)
        }
        self._put(KINDS[resource], {**row, **fields, **grouped})

    def erase(self, resource: str, row: Row) -> None:
        self._drop(resource, row["id"])

    def without_field(self, body: bytes, name: str) -> bytes:
        content = orjson.loads(super().without_field(body, name))
        for group in LISTS:
            if group in content:
                content[group] = [e for e in content[group] if name not in (e.get("id"), e.get("field"), e.get("type"))]
        return orjson.dumps(content)

    # --- small things that many need ---

    def _now(self) -> str:
        """Strictly later than the last time it was asked, so that every write shows."""
        self._last_ms = max(round(time.time() * 1000), self._last_ms + 1)
        return seeds.timestamp(datetime.fromtimestamp(self._last_ms / 1000, UTC))

    def _new_id(self) -> str:
        self._next_id += 1
        return str(self._next_id)

    def _row(self, kind: Kind, key: str) -> Row:
        row = self.tables[kind.name].get(key)
        if row is None:
            raise Refused(404, f"The {kind.name} record with the id {key} was not found")
        return row

    def _put(self, kind: Kind, row: Row) -> Row:
        there = {name: value for name, value in row.items() if value is not None}
        return self.tables[kind.name].put({**there, kind.stamps[1]: self._now()})

    def _drop(self, name: str, key: str) -> None:
        """Trap 11: what hangs on a record goes with it, or loses it."""
        self.tables[name].remove(key)
        if name == "contacts":
            for child in self.orders.find("contact_id", key):
                self.orders.remove(child)
            for other in ("opportunities", "notes", "tasks"):
                for child in self.tables[other].find("contact_id", key):
                    self._drop(other, child)
        elif name == "companies":
            for child in self.contacts.find("company_id", key):
                self.contacts.put({n: v for n, v in self.contacts.rows[child].items() if n != "company"})
        elif name == "opportunities":
            for child in self.tasks.find("opportunity_id", key):
                self.tasks.put({n: v for n, v in self.tasks.rows[child].items() if n != "opportunity_id"})

    def _fields(self, kind: Kind) -> list[Row]:
        return [known for known in seeds.MODELS[kind.name] if known["id"] not in self.settings.retired]

    # --- what an answer shows ---

    def _view(self, kind: Kind, row: Row, fields: str | None) -> Row:
        """Trap 3. `fields`: what the request asks for; None: everything (for the control plane)."""
        view = self._whole(kind, row)
        if fields is not None:
            asked = {name for name in fields.split(",") if name}
            default = view.keys() - {"custom_fields"} if kind.default is None else kind.default
            chosen = default | asked if kind.added or not asked else asked
            view = {name: value for name, value in view.items() if name in chosen | {"id"}}
        omitted: tuple[Any, ...] = (None, []) if self.settings.omits_empty else (None,)
        return {name: value for name, value in view.items() if value not in omitted}

    def _whole(self, kind: Kind, row: Row) -> Row:
        view = {name: value for name, value in row.items() if name not in (*LISTS, "applied", "is_pinned")}
        known = {each["id"] for each in self._fields(kind)}
        values = row.get("custom_fields", {})
        view["custom_fields"] = [{"id": key, "content": value} for key, value in values.items() if key in known]
        match kind.name:
            case "contacts":
                view |= {name: self._shown_list(name, row.get(name, {})) for name in rules.SLOTS}
                view |= {
                    "company": self._company(row.get("company")),
                    "links": [],
                    "account_id": "1",
                    "created_by": "1",
                }
            case "companies":
                view |= {"account_id": "1", "created_by": "1"}
                for single, group in _SINGLE.items():
                    view[single] = self._shown_member(group, row[single]) if row.get(single) else None
            case "opportunities":
                view |= _deal_references(view, self.contacts.get(str(view.pop("contact_id", ""))))
            case "notes":
                view["assigned_to_user"] = {"id": view.pop("user_id")} if view.get("user_id") else None
                view["created_by_user_id"] = "1"
            case _:
                off = {"completed": False, "accepted": False}
                view = {**off, **view, "created_by_user_id": "1"}
        return view

    def _company(self, key: str | None) -> Row | None:
        row = self.companies.get(key) if key else None
        return {"id": key, "company_name": row["company_name"]} if row else None

    def _shown_list(self, name: str, members: Row) -> list[Row]:
        key = rules.SLOTS[name][0]
        values = {slot: {"email": each} if name == "email_addresses" else each for slot, each in members.items()}
        return [{key: slot, **self._shown_member(name, each)} for slot, each in sorted(values.items())]

    def _shown_member(self, name: str, member: Row) -> Row:
        if name == "email_addresses":
            consent = self.consents.get(member["email"])
            status = consent["status"] if consent else "UNENGAGED_NON_MARKETABLE"
            return {**member, "is_opt_in": status == "SINGLE_OPT_IN", "email_opt_status": status}
        if name == "phone_numbers":
            return {**member, "number_e164": "+1" + re.sub(r"\D", "", member["number"])}
        if name == "addresses":
            long = {"USA": "United States"}.get(member.get("country_code", ""))
            return {**member, **({"country": long} if long else {})}
        return member

    # --- reading ---

    def list_(self, request: Request, kind: Kind) -> Reply:
        return self._listed(request, kind, "")

    def _listed(self, request: Request, kind: Kind, also: str) -> Reply:
        query = request.query()
        filters = _filters(kind, ";".join(part for part in (query.get("filter", ""), also) if part))
        rows = [row for row in self._candidates(kind, filters) if all(_passes(kind, row, *each) for each in filters)]
        rows = self.tables[kind.name].seen(rows, stale=request.stale)
        start, size = _number(query.get("page_token"), 0), _number(query.get("page_size"), PAGE_MAX)
        if size > PAGE_MAX:
            raise Refused(400, f"page_size must be less than or equal to {PAGE_MAX}")
        views = [self._view(kind, row, query.get("fields", "")) for row in rows[start : start + size]]
        more = {"next_page_token": str(start + size)} if start + size < len(rows) else {}
        return Reply.json(200, {kind.name: views, **more})

    def _candidates(self, kind: Kind, filters: Iterable[tuple[str, str, str]]) -> list[Row]:
        table = self.tables[kind.name]
        for name, operator, value in filters:
            if operator != "==":
                continue
            if name in (kind.ids, "contact_ids", "id"):
                return [row for key in dict.fromkeys(value.split(",")) if (row := table.rows.get(key))]
            if name in ("contact_id", "opportunity_id") and kind.name != "opportunities":
                return [table.rows[key] for key in table.find(name, value)]
            if name == "email" and kind.name == "contacts":
                return [table.rows[key] for key in table.find("email", normal_email(value))]
        return list(table.rows.values())

    def get(self, request: Request, kind: Kind, key: str) -> Reply:
        row = self.tables[kind.name].get(key, stale=request.stale)
        if row is None:
            raise Refused(404, f"The {kind.name} record with the id {key} was not found")
        return Reply.json(200, self._view(kind, row, request.query().get("fields", "")))

    def model(self, request: Request, kind: Kind) -> Reply:
        del request
        optional = sorted(_OPTIONAL.get(kind.name, {"custom_fields"}))
        return Reply.json(200, {"custom_fields": self._fields(kind), "optional_properties": optional})

    # --- writing ---

    def create(self, request: Request, kind: Kind) -> Reply:
        body = self._checked(request, kind, kind.create)
        if kind.name == "contacts":
            if not any(body.get(name) for name in ("email_addresses", "phone_numbers", "addresses")):
                raise Refused(400, "A contact needs an item in email_addresses, phone_numbers or addresses")
            if (option := request.query().get("duplicate_option")) and (row := self._duplicate(body, option)):
                return self._answered(request, kind, 200, self._write(kind, row, body, list(body)))  # trap 6
        return self._answered(request, kind, 201, self._insert(kind, body))

    def _insert(self, kind: Kind, body: Row) -> Row:
        lists: Row = {name: {} for name in LISTS} if kind.name == "contacts" else {"custom_fields": {}}
        blank: Row = {"id": self._new_id(), **lists, kind.stamps[0]: self._now()}
        if kind.name == "contacts":
            blank |= {"tag_ids": [], "applied": {}, "score_value": "0"}
        return self._write(kind, blank, body, list(body))

    def update(self, request: Request, kind: Kind, key: str) -> Reply:
        row = self._row(kind, key)
        body = self._checked(request, kind, kind.update, creating=False)
        mask = parse_qs(request.query_string).get("update_mask")
        if unknown := [name for name in mask or () if name not in kind.update]:
            raise Refused(400, f"update_mask: {unknown[0]} cannot be updated")
        return self._answered(request, kind, 200, self._write(kind, row, body, list(body) if mask is None else mask))

    def delete(self, request: Request, kind: Kind, key: str) -> Reply:
        del request
        self._row(kind, key)
        self._drop(kind.name, key)
        return Reply(204)

    def _answered(self, request: Request, kind: Kind, status: int, row: Row) -> Reply:
        fields = "" if kind.name == "companies" else request.query().get("fields", "")  # trap 8
        return Reply.json(status, self._view(kind, row, fields))

    def _checked(
        self, request: Request, kind: Kind, allowed: Mapping[str, rules.Rule], *, creating: bool = True
    ) -> Row:
        try:
            body = orjson.loads(request.body or b"{}")
        except orjson.JSONDecodeError:
            raise Refused(400, "JSON parse error") from None
        if not isinstance(body, dict):
            raise Refused(400, "The body must be an object")
        required = kind.required if creating or kind.name == "notes" else ()
        wrong = [f"{name} is not a property of {kind.name}" for name in body if name not in allowed]
        wrong += [f"{name} {says}" for name, rule in allowed.items() if name in body and (says := rule(body[name]))]
        wrong += [f"{name} is required" for name in required if not body.get(name)]
        if kind.name == "notes" and not (body.get("title") or body.get("type")):
            wrong.append("a title or a type is required")
        wrong = wrong or [says for each in body.get("custom_fields", ()) if (says := self._custom(kind, each))]
        if wrong:
            raise Refused(400, "; ".join(wrong))
        return body

    def _custom(self, kind: Kind, item: Row) -> str | None:
        known = next((each for each in self._fields(kind) if each["id"] == item["id"]), None)
        if known is None:
            return f"custom field {item['id']} does not exist"
        options = [option["label"] for option in known["options"]]
        if options and item.get("content") and item["content"] not in options:
            return f"custom field {item['id']} has no option of this name"
        return None

    def _write(self, kind: Kind, row: Row, body: Row, names: Iterable[str]) -> Row:
        new = dict(row)
        for name in names:
            value = body.get(name)
            if name in LISTS:
                new[name] = self._replaced(kind, name, row.get(name, {}), value or [])
            elif name in _SINGLE:
                new[name] = kept_member(_SINGLE[name], value or {}) or None
            elif name == "company":
                new[name] = self._row(KINDS["companies"], value["id"])["id"] if value and value.get("id") else None
            elif value in (None, ""):
                new.pop(name, None)
            else:
                new[name] = value
        self._derive(kind, row, new)
        return self._put(kind, new)

    def _replaced(self, kind: Kind, name: str, old: Row, items: list[Row]) -> Row:
        """Traps 1 and 2: what is not listed goes."""
        if name == "custom_fields":
            merges = self.settings.custom_fields == "merge" and kind.name != "contacts"
            there = old if merges and items else {}
            return _without_empty({**there, **{each["id"]: each.get("content") for each in items}})
        key, slots, _ = rules.SLOTS[name]
        kept = {item.get(key, slots[0]): kept_member(name, item) for item in items}
        if name != "email_addresses":
            return _without_empty(kept)
        for item in items:
            if item.get("opt_in_reason") and item.get("email"):  # trap 4
                self.consents.put({"id": normal_email(item["email"]), "status": "SINGLE_OPT_IN"})
        return _without_empty({slot: normal_email(each.get("email", "")) for slot, each in kept.items()})

    def _derive(self, kind: Kind, old: Row, new: Row) -> None:
        for name in ("completed", "accepted", "is_pinned"):
            if new.get(name) is False:  # what is off is not kept
                del new[name]
        if kind.name == "notes":
            new["pinned_at"] = (old.get("pinned_at") or self._now()) if new.get("is_pinned") else None
        if kind.name == "tasks" and bool(new.get("completed")) != bool(old.get("completed")):
            new["completion_time"] = (new.get("completion_time") or self._now()) if new.get("completed") else None
        for name, table in (("contact_id", self.contacts), ("opportunity_id", self.opportunities)):
            if new.get(name) and new[name] != old.get(name) and new[name] not in table.rows:
                raise Refused(400, f"{name} names no record that is there")
        if kind.name == "opportunities" and new.get("stage_id") not in seeds.STAGES:
            raise Refused(400, "stage_id names no stage that is there")

    def _duplicate(self, body: Row, option: str) -> Row | None:
        emails = {normal_email(item.get("email", "")) for item in body.get("email_addresses", ())}
        keys = sorted({key for email in emails for key in self.contacts.find("email", email)}, key=int)
        names = {"Email": (), "EmailAndName": _NAMES, "EmailAndNameAndCompany": _NAMES}.get(option)
        if names is None:
            raise Refused(400, "duplicate_option is not known")
        rows = [self.contacts.rows[key] for key in keys]
        if option == "EmailAndNameAndCompany":
            rows = [row for row in rows if row.get("company") == (body.get("company") or {}).get("id")]
        return next((row for row in rows if all(row.get(name) == body.get(name) for name in names)), None)

    # --- notes hang on a contact ---

    def list_notes(self, request: Request, contact: str) -> Reply:
        return self._listed(request, KINDS["notes"], f"contact_id=={contact}")

    def create_note(self, request: Request, contact: str) -> Reply:
        self._row(KINDS["contacts"], contact)
        kind = KINDS["notes"]
        row = self._insert(kind, {**self._checked(request, kind, kind.create), "contact_id": contact})
        return self._answered(request, kind, 201, row)

    def _note(self, contact: str, key: str) -> None:
        if self._row(KINDS["notes"], key)["contact_id"] != contact:
            raise Refused(404, f"The contact has no note with the id {key}")

    def get_note(self, request: Request, contact: str, key: str) -> Reply:
        self._note(contact, key)
        return self.get(request, KINDS["notes"], key)

    def update_note(self, request: Request, contact: str, key: str) -> Reply:
        self._note(contact, key)
        return self.update(request, KINDS["notes"], key)

    def delete_note(self, request: Request, contact: str, key: str) -> Reply:
        self._note(contact, key)
        return self.delete(request, KINDS["notes"], key)

    # --- orders: only that they are there, and go with their contact ---

    def create_order(self, request: Request) -> Reply:
        body = orjson.loads(request.body)
        self._row(KINDS["contacts"], body["contact_id"])
        order = {"id": self._new_id(), "title": body["order_title"], "contact_id": body["contact_id"]}
        return Reply.json(201, _order(self.orders.put(order)))

    def list_orders(self, request: Request) -> Reply:
        rows = [self.orders.rows[key] for key in self.orders.find("contact_id", _contact_of(request))]
        return Reply.json(200, {"orders": [_order(row) for row in rows]})

    def list_subscriptions(self, request: Request) -> Reply:
        _contact_of(request)
        return Reply.json(200, {"subscriptions": []})

    # --- tags ---

    def tags_of_contact(self, request: Request, contact: str) -> Reply:
        del request
        applied = self._row(KINDS["contacts"], contact)["applied"]
        tags = [
            {"tag": {"id": key, "name": seeds.TAGS[key]}, "applied_time": at} for key, at in sorted(applied.items())
        ]
        return Reply.json(200, {"tags": tags})

    def apply_tags(self, request: Request, tag: str) -> Reply:
        """Trap 7: 200, whatever became of each."""
        return Reply.json(200, {"results": {key: self._apply(tag, key) for key in self._contact_ids(request)}})

    def _apply(self, tag: str, key: str) -> str:
        row = self.contacts.get(key)
        if tag not in seeds.TAGS:
            return "TAG_ID_NOT_FOUND"
        if row is None:
            return "CONTACT_NOT_FOUND"
        if tag in row["tag_ids"]:
            return "DUPLICATE"
        applied = {**row["applied"], tag: self._now()}
        self.contacts.put({**row, "tag_ids": sorted(applied), "applied": applied})
        return "SUCCESS"

    def remove_tags(self, request: Request, tag: str) -> Reply:
        for key in self._contact_ids(request):
            row = self.contacts.get(key)
            if row and tag in row["tag_ids"]:
                applied = {other: at for other, at in row["applied"].items() if other != tag}
                self.contacts.put({**row, "tag_ids": sorted(applied), "applied": applied})
        return Reply(204)

    def _contact_ids(self, request: Request) -> list[str]:
        try:
            ids = orjson.loads(request.body or b"{}")["contact_ids"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Refused(400, "contact_ids is required") from None
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
            raise Refused(400, "contact_ids must be a list of texts")
        return ids


_NAMES = ("given_name", "family_name")
_SINGLE = {
    "address": "addresses",
    "email_address": "email_addresses",
    "fax_number": "fax_numbers",
    "phone_number": "phone_numbers",
}
_OPTIONAL = {
    "contacts": set(rules.CONTACT) - (KINDS["contacts"].default or frozenset()),
    "companies": _words("notes fax_number address email_address phone_number update_time create_time custom_fields"),
}


def _deal_references(deal: Row, contact: Row | None) -> Row:
    stage, user = deal.pop("stage_id"), deal.pop("user_id", None)
    shown = {"id": contact["id"], "first_name": contact.get("given_name", "")} if contact else None
    return {
        "contact": shown,
        "stage": {"id": stage, "name": seeds.STAGES[stage]},
        "user": {"id": user} if user else None,
    }


def _order(row: Row) -> Row:
    return {"id": row["id"], "title": row["title"], "contact": {"id": row["contact_id"]}}


def _contact_of(request: Request) -> str:
    found = re.fullmatch("contact_id==(.+)", request.query().get("filter", ""))
    if found is None:
        raise Refused(400, "The filter is not known")
    return found[1]


def _without_empty(values: Row) -> Row:
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}


def _filters(kind: Kind, text: str) -> list[tuple[str, str, str]]:
    filters = []
    for part in filter(None, text.split(";")):
        found = re.fullmatch(r"(\w+)(==|>=|<=|>|<)(.*)", part)
        if found is None or found[1] not in kind.filters:
            raise Refused(400, f"The filter {part} is not known")
        if kind.name == "opportunities" and found[1] == "ids" and len(found[3].split(",")) > DEAL_IDS_MAX:
            raise Refused(400, f"ids must not be more than {DEAL_IDS_MAX}")  # trap 9
        filters.append((found[1], found[2], found[3]))
    return filters


def _passes(kind: Kind, row: Row, name: str, operator: str, value: str) -> bool:
    if operator != "==":
        pairs = {">=": int.__ge__, "<=": int.__le__, ">": int.__gt__, "<": int.__lt__}
        return name.endswith("id") and bool(pairs[operator](int(row["id"]), int(value)))
    if name == "company_id" and kind.name == "contacts":
        return bool(row.get("company") == value)
    if name in (kind.ids, "ids", "contact_ids", "id"):
        return row["id"] in value.split(",")
    if name == "email":
        return normal_email(value) in (_emails(row) or [str((row.get("email_address") or {}).get("email"))])
    held = str(row.get({"user_id": "assigned_to_user_id", "name": "company_name"}.get(name, name), "")).lower()
    if value.endswith("*"):
        return held.startswith(value[:-1].lower())
    return value.lower() in held if (kind.name, name) == ("notes", "title") else held == value.lower()


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal():
        raise Refused(400, "page_size and page_token must be numbers")
    return int(text)


def _fault(status: int, words: str, code: str) -> Reply:
    """Trap 10: what the gateway answers."""
    return Reply.json(status, {"fault": {"faultstring": words, "detail": {"errorcode": code}}})


create_app = opening(Keap, Settings, DOCUMENTED, DEFAULT_TOKEN)
