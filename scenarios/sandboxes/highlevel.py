"""A stateful stand-in for HighLevel's API v2 (version 2021-07-28), with the traps its users have reported.

Sources: the vendor's OpenAPI files (github.com/GoHighLevel/highlevel-api-docs) [spec], its issue tracker by number,
its rate-limit and help pages [docs]. The traps, and where the sandbox has them:

 1. A read body written back is refused: GET has read-only keys (emailLowerCase, fullNameLowerCase, dateAdded,
    locationId, ...); one unknown or read-only key refuses the whole PUT with 422, `message` a list [#313 #314].
 2. `tags` on PUT and upsert replace all tags; tags are trimmed and lower-cased [spec].
 3. Custom fields are read as {id, value} and written as {id | key, field_value | fieldValue}; PUT touches only those
    listed; an emptied one disappears. On opportunities they are read as {id, fieldValue}; opportunity search
    answers typed keys (fieldValueString, ...) [spec, #87].
 4. Search results have another shape: `address` for `address1`, `dateOfBirth` in epoch milliseconds, no
    `dndSettings` [#314 #43].
 5. `additionalEmails` is readable, not writable; an e-mail written that is one of them becomes the primary one, and
    the old primary is dropped [#262 #337].
 6. Upsert finds its contact by e-mail or phone, in the order of the location's setting, ignores the second where it
    is another contact's, and applies no phone to an existing contact [spec, #37].
 7. Upsert drops `gender` of an existing contact and answers 200 [#313].
 8. "Create answers 422 yet creates" [#64] is a fault to switch on: {"kind": "done_then_status", "status": 422, ...}.
 9. Upsert moves an opportunity to another contact or source; PUT refuses both keys [spec].
10. Workflow and campaign enrolments are recorded as having happened, and no call takes them back.

What the vendor says nowhere, and the sandbox therefore decides: PUT leaves omitted fields as they are; null, "" and []
empty a custom field; an entry without field_value/fieldValue, or of an unknown field, is ignored without a word;
dndSettings are merged by channel; GET leaves empty fields out; an id that does not exist is answered 400 (the only
code the spec declares; `missing_status` 404 is the other habit that clients report); pipelineId without a
stage moves to the pipeline's first; any status but lost clears lostReasonId; a deleted contact takes its notes and
tasks along [docs] and leaves its opportunities without a contact. Of the spec's upsert for opportunities only
pipelineId and locationId are required, and contactId and source are accepted, as callers send them. Lists and
searches are always newest first: `sort` and `additionalDetails` are accepted and change nothing.
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

import orjson

from scenarios.sandboxes import highlevel_seed as seeds
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

VERSION = "2021-07-28"
DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - a made-up account's
DOCUMENTED = RateLimits(per_interval=100, interval_s=10.0, per_day=200_000)
"""Per app and location: https://marketplace.gohighlevel.com/docs/other/rate-limits"""

PAGE_MAX = 100
PAGE_DEFAULT = 20
PHONE_DIGITS_MIN, PHONE_DIGITS_MAX, PHONE_DIGITS_NATIONAL = 7, 15, 10
STATUSES = ("open", "won", "lost", "abandoned", "all")

Rules = Mapping[str, Callable[[Any], str | None]]


class Refused(Exception):
    """The vendor's refusal; nothing of the request has been done."""

    def __init__(self, status: int, message: str | list[str], **more: object) -> None:
        super().__init__(message)
        names = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
        error = names.get(status, "Unprocessable Entity")
        self.status = status
        self.content = {"statusCode": status, "message": message, **({} if more else {"error": error}), **more}


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between accounts. `match_order` is the order in which upsert looks for its contact."""

    allow_duplicates: bool = False
    match_order: tuple[str, ...] = ("email", "phone")
    missing_status: Literal[400, 404] = 400


# --- what a body may hold ---------------------------------------------------------------------------------------


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _nullable(value: Any) -> str | None:
    return None if value is None else _text(value)


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be a boolean value"


def _number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"


def _texts(value: Any) -> str | None:
    ok = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return None if ok else "must be an array of strings"


def _things(value: Any) -> str | None:
    ok = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return None if ok else "must be an array"


def _status(value: Any) -> str | None:
    return None if value in STATUSES else f"must be one of the following values: {', '.join(STATUSES)}"


def _email(value: Any) -> str | None:
    ok = value in (None, "") or (isinstance(value, str) and re.fullmatch(r"\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*", value))
    return None if ok else "must be an email"


def _phone(value: Any) -> str | None:
    ok = value in (None, "") or (isinstance(value, str) and normal_phone(value))
    return None if ok else "must be a valid phone number"


def _birthday(value: Any) -> str | None:
    ok = value in (None, "") or (isinstance(value, str) and normal_date(value))
    return None if ok else "must be a valid date"


def _dnd(value: Any) -> str | None:
    ok = isinstance(value, dict) and all(isinstance(v, dict) and "status" in v for v in value.values())
    return None if ok else "must be an object of channels, each with a status"


CONTACT_CREATE: Rules = {
    **dict.fromkeys(("firstName", "lastName", "name", "address1", "city", "state", "website"), _nullable),
    **dict.fromkeys(("timezone", "companyName", "source", "assignedTo"), _nullable),
    **dict.fromkeys(("postalCode", "country", "gender", "locationId"), _text),
    "email": _email,
    "phone": _phone,
    "dateOfBirth": _birthday,
    "dnd": _flag,
    "dndSettings": _dnd,
    "inboundDndSettings": _dnd,
    "tags": _texts,
    "customFields": _things,
}
CONTACT_UPDATE: Rules = {
    **{name: rule for name, rule in CONTACT_CREATE.items() if name not in ("locationId", "gender")},
    **dict.fromkeys(("keyword", "ssn", "type"), _nullable),  # accepted by the live API, absent from its spec (#314)
}
CONTACT_UPSERT: Rules = {**CONTACT_CREATE, "createNewIfDuplicateAllowed": _flag}
OPPORTUNITY_UPDATE: Rules = {
    **dict.fromkeys(("pipelineId", "name", "pipelineStageId", "assignedTo"), _text),
    "status": _status,
    "monetaryValue": _number,
    "customFields": _things,
}
OPPORTUNITY_CREATE: Rules = {**OPPORTUNITY_UPDATE, "locationId": _text, "contactId": _text}
OPPORTUNITY_UPSERT: Rules = {
    **{name: rule for name, rule in OPPORTUNITY_CREATE.items() if name != "customFields"},
    **dict.fromkeys(("id", "source", "lostReasonId"), _text),
    "followers": _texts,
    "isRemoveAllFollowers": _flag,
    "followersActionType": _text,
}
NOTE: Rules = {**dict.fromkeys(("userId", "body", "title", "color"), _text), "pinned": _flag}
TASK: Rules = {**dict.fromkeys(("title", "body", "dueDate", "assignedTo"), _text), "completed": _flag}
BULK_TAGS: Rules = {"contacts": _texts, "tags": _texts, "locationId": _text, "removeAllTags": _flag}
BULK_BUSINESS: Rules = {"locationId": _text, "ids": _texts, "businessId": _nullable}


def checked(request: Request, rules: Rules, *required: str) -> Row:
    """The body, if every key is allowed and well-formed; otherwise the vendor's 422, which lists all that is wrong."""
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"Unexpected token in JSON: {error.msg}") from None
    if not isinstance(body, dict):
        raise Refused(422, ["body must be an object"])
    wrong = [f"property {name} should not exist" for name in body if name not in rules]
    wrong += [f"{name} {says}" for name, rule in rules.items() if name in body and (says := rule(body[name]))]
    wrong += [f"{name} should not be empty" for name in required if name not in body]
    if wrong:
        raise Refused(422, wrong)
    return body


# --- how the vendor rewrites what it is given -------------------------------------------------------------------


def normal_email(value: str) -> str:
    return value.strip().lower()


def normal_phone(value: str) -> str | None:
    """E.164; a number without a country gets the location's (+1). None where it cannot be one."""
    number = re.sub(r"[\s().\-/]", "", value)
    number = "+" + number[2:] if number.startswith("00") else number
    if number.isdigit():
        number = ("+1" if len(number) <= PHONE_DIGITS_NATIONAL else "+") + number
    shaped = re.fullmatch(rf"\+\d{{{PHONE_DIGITS_MIN},{PHONE_DIGITS_MAX}}}", number)
    return number if shaped else None


def normal_date(value: str) -> str | None:
    """YYYY-MM-DD from any of the eight formats that the spec lists."""
    for shape in ("%Y-%m-%d", "%m-%d-%Y"):
        try:
            return datetime.strptime(re.sub(r"[/._]", "-", value), shape).date().isoformat()  # noqa: DTZ007
        except ValueError:
            continue
    return None


def normal_tags(tags: Iterable[str]) -> list[str]:
    """Trimmed, lower-case, each once, in the order they came."""
    return list(dict.fromkeys(tag for raw in tags if (tag := raw.strip().lower())))


def _field_id(entry: Row, model: str) -> str | None:
    for known in seeds.CUSTOM_FIELDS:
        if known["model"] != model:
            continue
        key: str = known["fieldKey"]
        if entry.get("id") == known["id"] or entry.get("key") in (key, key.partition(".")[2]):
            return str(known["id"])
    return None


def merged_custom(old: Row, entries: Iterable[Row], model: str, names: tuple[str, ...]) -> Row:
    """The custom fields {id: value} after a write of those listed; what is written in another shape is ignored."""
    values = dict(old)
    for entry in entries:
        key, name = _field_id(entry, model), next((name for name in names if name in entry), None)
        if key is None or name is None:
            continue
        if entry[name] in (None, "", []):
            values.pop(key, None)
        else:
            values[key] = entry[name]
    return values


WRITTEN_AS = ("field_value", "fieldValue")


def merged_contact(row: Row, body: Row, written_as: tuple[str, ...] = WRITTEN_AS) -> Row:
    """The contact after a write; empty fields are not kept, so that GET leaves them out."""
    new = dict(row)
    if "name" in body:
        new["firstName"], _, new["lastName"] = (body["name"] or "").strip().partition(" ")
    for name, value in body.items():
        if name == "customFields":
            new[name] = merged_custom(row["customFields"], value, "contact", written_as)
        elif name in ("dndSettings", "inboundDndSettings"):
            new[name] = row.get(name, {}) | value
        elif name == "email":
            _set_email(new, value)
        elif name not in ("name", "locationId"):
            new[name] = _NORMAL.get(name, _as_is)(value) if value is not None else None
    return {name: value for name, value in new.items() if value not in (None, "")}


def _as_is(value: Any) -> Any:
    return value


_NORMAL: dict[str, Callable[[Any], Any]] = {"phone": normal_phone, "dateOfBirth": normal_date, "tags": normal_tags}


def _set_email(row: Row, value: str | None) -> None:
    """Trap 5: one of the additional addresses becomes the primary one, and the old primary is gone."""
    row["email"] = normal_email(value or "")
    others = [other for other in row.get("additionalEmails", ()) if other["email"] != row["email"]]
    if "additionalEmails" in row:
        row["additionalEmails"] = others


# --- what a contact and an opportunity look like ----------------------------------------------------------------


def full_name(row: Row) -> str:
    return f"{row.get('firstName', '')} {row.get('lastName', '')}".strip()


def contact_view(row: Row) -> Row:
    """As GET by id shows it (trap 1: with keys that PUT refuses)."""
    view = row | {"locationId": seeds.LOCATION_ID, "customFields": _custom(row, "value")}
    if name := full_name(row):
        view["name"] = name
        view["fullNameLowerCase"] = name.lower()
    for source, derived in (("firstName", "firstNameLowerCase"), ("lastName", "lastNameLowerCase")):
        if source in row:
            view[derived] = row[source].lower()
    if "email" in row:
        view["emailLowerCase"] = row["email"]
    return view


def _custom(row: Row, name: str) -> list[Row]:
    return [{"id": key, name: value} for key, value in row["customFields"].items()]


_LISTED = (
    "id email phone firstName lastName timezone country source companyName type dnd city state postalCode address1 "
    "website assignedTo businessId dateOfBirth dateAdded dateUpdated tags additionalEmails"
).split()
_SEARCHED = [name for name in _LISTED if name not in ("address1", "dateOfBirth")]


def listed_view(row: Row) -> Row:
    """As GET /contacts/ shows it: no dndSettings, no lower-case keys."""
    view = {name: row[name] for name in _LISTED if name in row}
    view |= {"locationId": seeds.LOCATION_ID, "contactName": full_name(row), "attributions": []}
    return view | {"followers": row.get("followers", []), "customFields": _custom(row, "value")}


def searched_view(row: Row) -> Row:
    """As POST /contacts/search shows it (trap 4): not what GET shows, and null where there is nothing."""
    born = row.get("dateOfBirth")
    return {name: row.get(name) for name in _SEARCHED} | {
        "locationId": seeds.LOCATION_ID,
        "address": row.get("address1"),
        "dateOfBirth": to_ms(f"{born}T00:00:00.000Z") if born else None,
        "firstNameLowerCase": row.get("firstName", "").lower() or None,
        "lastNameLowerCase": row.get("lastName", "").lower() or None,
        "businessName": row.get("companyName"),
        "additionalEmails": row.get("additionalEmails", []),
        "additionalPhones": [],
        "phoneLabel": None,
        "validEmail": None,
        "opportunities": [],
        "followers": row.get("followers", []),
        "customFields": _custom(row, "value"),
        "searchAfter": [to_ms(row["dateAdded"]), row["id"]],
    }


_KINDS = {str: "String", int: "Number", float: "Number", list: "Array"}


def _typed_custom(row: Row) -> list[Row]:
    typed = ((key, value, _KINDS.get(type(value), "String")) for key, value in row["customFields"].items())
    return [{"id": key, "type": kind.lower(), f"fieldValue{kind}": value} for key, value, kind in typed]


def to_ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def from_ms(at_ms: float) -> str:
    return seeds.timestamp(datetime.fromtimestamp(at_ms / 1000, UTC))


# --- the API ----------------------------------------------------------------------------------------------------


def _emails(row: Row) -> list[str]:
    """Every address of a contact, once: duplicates are found by the additional ones too."""
    others = (other["email"] for other in row.get("additionalEmails", ()))
    return list(dict.fromkeys(address for address in (row.get("email"), *others) if address))


def _field(name: str) -> Callable[[Row], list[str]]:
    return lambda row: [row[name]] if row.get(name) else []


class HighLevel(Vendor):
    """One location (sub-account) in memory. See the module's docstring for what it reproduces."""

    settings: Settings

    def __init__(self, *, records: int, seed: int, token: str, settings: Settings) -> None:
        by_contact = _field("contactId")
        self.contacts = Table(
            {"email": _emails, "phone": _field("phone"), "businessId": _field("businessId")},
            ordered_by="dateAdded",
        )
        self.opportunities = Table({"contactId": by_contact}, ordered_by="createdAt")
        self.notes = Table({"contactId": by_contact})
        self.tasks = Table({"contactId": by_contact})
        self.businesses = Table()
        self.enrolments = Table()
        self.store = Store(
            {
                "contacts": self.contacts,
                "opportunities": self.opportunities,
                "notes": self.notes,
                "tasks": self.tasks,
                "businesses": self.businesses,
                "enrolments": self.enrolments,
            }
        )
        self.routes = Routes()
        self._bearer = f"Bearer {token}".encode()
        self._initial, self._seed = settings, seed
        self._people = list(seeds.contacts(records, seed))
        self._deals = list(seeds.opportunities(self._people, seed))
        self._add_routes()
        self.reset()

    def reset(self) -> None:
        self.settings = self._initial
        self._rng = random.Random(f"ids {self._seed}")  # noqa: S311 - it must repeat, not surprise
        self._last_ms = 0
        self.contacts.load(self._people)
        self.opportunities.load(self._deals)
        self.businesses.load(seeds.BUSINESSES)
        for table in (self.notes, self.tasks, self.enrolments):
            table.load(())

    def _add_routes(self) -> None:
        for method, pattern, handler in self._table():
            self.routes.add(method, pattern, handler, read=pattern.endswith("/search"))

    def _table(self) -> list[tuple[str, str, Callable[..., Reply]]]:
        contact, deal = "/contacts/:contactId", "/opportunities/:id"
        return [
            ("GET", "/contacts/", self.list_contacts),
            ("POST", "/contacts/", self.create_contact),
            ("POST", "/contacts/search", self.search_contacts),
            ("GET", "/contacts/search/duplicate", self.find_duplicate),
            ("POST", "/contacts/upsert", self.upsert_contact),
            ("POST", "/contacts/bulk/tags/update/:type", self.bulk_tags),
            ("POST", "/contacts/bulk/business", self.bulk_business),
            ("GET", "/contacts/business/:businessId", self.contacts_of_business),
            ("GET", contact, self.get_contact),
            ("PUT", contact, self.update_contact),
            ("DELETE", contact, self.delete_contact),
            ("POST", f"{contact}/tags", self.add_tags),
            ("DELETE", f"{contact}/tags", self.remove_tags),
            ("POST", f"{contact}/followers", self.follow_contact),
            ("DELETE", f"{contact}/followers", self.unfollow_contact),
            ("GET", f"{contact}/notes", self.list_notes),
            ("POST", f"{contact}/notes", self.create_note),
            ("GET", f"{contact}/notes/:id", self.get_note),
            ("PUT", f"{contact}/notes/:id", self.update_note),
            ("DELETE", f"{contact}/notes/:id", self.delete_note),
            ("GET", f"{contact}/tasks", self.list_tasks),
            ("POST", f"{contact}/tasks", self.create_task),
            ("GET", f"{contact}/tasks/:taskId", self.get_task),
            ("PUT", f"{contact}/tasks/:taskId", self.update_task),
            ("DELETE", f"{contact}/tasks/:taskId", self.delete_task),
            ("PUT", f"{contact}/tasks/:taskId/completed", self.complete_task),
            ("POST", f"{contact}/campaigns/:campaignId", self.enrol_campaign),
            ("DELETE", f"{contact}/campaigns/removeAll", self.leave_campaigns),
            ("DELETE", f"{contact}/campaigns/:campaignId", self.leave_campaign),
            ("POST", f"{contact}/workflow/:workflowId", self.enrol_workflow),
            ("DELETE", f"{contact}/workflow/:workflowId", self.leave_workflow),
            ("GET", "/opportunities/search", self.search_opportunities),
            ("POST", "/opportunities/search", self.search_opportunities_by_body),
            ("GET", "/opportunities/pipelines", self.list_pipelines),
            ("GET", "/opportunities/lost-reason", self.list_lost_reasons),
            ("POST", "/opportunities/", self.create_opportunity),
            ("POST", "/opportunities/upsert", self.upsert_opportunity),
            ("GET", deal, self.get_opportunity),
            ("PUT", deal, self.update_opportunity),
            ("DELETE", deal, self.delete_opportunity),
            ("PUT", f"{deal}/status", self.set_opportunity_status),
            ("POST", f"{deal}/followers", self.follow_opportunity),
            ("DELETE", f"{deal}/followers", self.unfollow_opportunity),
            ("GET", "/locations/:locationId/customFields", self.list_custom_fields),
            ("GET", "/businesses/", self.list_businesses),
            ("GET", "/businesses/:businessId", self.get_business),
        ]

    def answer(self, request: Request) -> Reply:
        try:
            self._admit(request)
            found = self.routes.match(request.method, request.path)
            if found is None:
                raise Refused(404, f"Cannot {request.method} {request.target}")
            handler, params, _ = found
            return handler(request, *params)
        except Refused as refused:
            # A handler refuses before it changes anything; should one ever not, nothing half-done may stay.
            self.store.rollback()
            return Reply.json(refused.status, refused.content)

    def _admit(self, request: Request) -> None:
        if request.headers.get(b"authorization") != self._bearer:
            raise Refused(401, "Invalid JWT")
        version = request.headers.get(b"version")
        if version is None:
            raise Refused(401, "version header was not found")
        if version != VERSION.encode():
            raise Refused(400, "version header is invalid")

    def limit_headers(self, limiter: Limiter) -> list[tuple[bytes, bytes]]:
        limits = limiter.limits
        return [
            (b"x-ratelimit-limit-daily", b"%d" % limits.per_day),
            (b"x-ratelimit-daily-remaining", b"%d" % (limits.per_day - limiter.used_day)),
            (b"x-ratelimit-interval-milliseconds", b"%d" % round(limits.interval_s * 1000)),
            (b"x-ratelimit-max", b"%d" % limits.per_interval),
            (b"x-ratelimit-remaining", b"%d" % (limits.per_interval - limiter.used_interval)),
        ]

    def too_many(self) -> Reply:
        return Reply.json(429, {"statusCode": 429, "message": "Too Many Requests"})

    def image(self, resource: str, row: Row) -> Row:
        if resource == "contacts":
            return contact_view(row)
        return self._opportunity_view(row) if resource == "opportunities" else row

    def edit(self, resource: str, row: Row, fields: Row) -> None:
        if resource == "contacts":
            self.contacts.put(self._touched(merged_contact(row, fields, (*WRITTEN_AS, "value"))))
        elif resource == "opportunities":
            self._save_opportunity(row, fields, (*WRITTEN_AS, "value"))
        else:
            self.store.tables[resource].put(row | fields)

    def erase(self, resource: str, row: Row) -> None:
        if resource == "contacts":
            self._drop_contact(row)
        else:
            self.store.tables[resource].remove(row["id"])

    def without_field(self, body: bytes, name: str) -> bytes:
        content = orjson.loads(super().without_field(body, name))
        if "customFields" in content:
            entries = content["customFields"]
            content["customFields"] = [e for e in entries if name not in (e.get("id"), e.get("key"))]
        return orjson.dumps(content)

    # --- small things that many need ---

    def _now(self) -> str:
        """Strictly later than the last time it was asked, so that every write shows in dateUpdated."""
        self._last_ms = max(round(time.time() * 1000), self._last_ms + 1)
        return from_ms(self._last_ms)

    def _new_id(self) -> str:
        return seeds.new_id(self._rng)

    def _touched(self, row: Row) -> Row:
        return row | {"dateUpdated": self._now()}

    def _missing(self, what: str) -> Refused:
        return Refused(self.settings.missing_status, f"{what} not found")

    def _contact(self, key: str, *, stale: bool = False) -> Row:
        row = self.contacts.get(key, stale=stale)
        if row is None:
            raise self._missing("Contact")
        return row

    def _opportunity(self, key: str, *, stale: bool = False) -> Row:
        row = self.opportunities.get(key, stale=stale)
        if row is None:
            raise self._missing("Opportunity")
        return row

    def _check_location(self, key: str | None) -> None:
        if not key:
            raise Refused(422, ["locationId should not be empty"])
        if key != seeds.LOCATION_ID:
            raise Refused(403, "The token does not have access to this location.")

    # --- contacts ---

    def get_contact(self, request: Request, key: str) -> Reply:
        return Reply.json(200, {"contact": contact_view(self._contact(key, stale=request.stale))})

    def create_contact(self, request: Request) -> Reply:
        body = checked(request, CONTACT_CREATE, "locationId")
        self._check_location(body["locationId"])
        if not self.settings.allow_duplicates:
            self._check_unique(body, None)
        return Reply.json(201, {"contact": contact_view(self._insert_contact(body))})

    def _insert_contact(self, body: Row) -> Row:
        now = self._now()
        blank: Row = {"id": self._new_id(), "type": "lead", "dnd": False, "tags": [], "customFields": {}}
        return self.contacts.put(merged_contact(blank, body) | {"dateAdded": now, "dateUpdated": now})

    def update_contact(self, request: Request, key: str) -> Reply:
        row = self._contact(key)
        body = checked(request, CONTACT_UPDATE)
        if not self.settings.allow_duplicates:
            self._check_unique(body, key)
        row = self.contacts.put(self._touched(merged_contact(row, body)))
        return Reply.json(200, {"succeded": True, "contact": contact_view(row)})

    def delete_contact(self, request: Request, key: str) -> Reply:
        del request
        self._drop_contact(self._contact(key))
        return Reply.json(200, {"succeded": True})

    def _drop_contact(self, row: Row) -> None:
        self.contacts.remove(row["id"])
        for table in (self.notes, self.tasks):
            for key in table.find("contactId", row["id"]):
                table.remove(key)
        for key in self.opportunities.find("contactId", row["id"]):
            deal = self.opportunities.rows[key]
            self.opportunities.put({name: value for name, value in deal.items() if name != "contactId"})

    def _owner(self, field: str, value: Any) -> str | None:
        """The oldest contact that has this e-mail (or phone)."""
        if not value:
            return None
        normal = normal_email(value) if field == "email" else normal_phone(value)
        return next(iter(self.contacts.find(field, normal or "")), None)

    def _check_unique(self, body: Row, own: str | None) -> None:
        for field in self.settings.match_order:
            owner = self._owner(field, body.get(field))
            if owner not in (None, own):
                meta = {"contactId": owner, "matchingField": field}
                raise Refused(400, "This location does not allow duplicated contacts.", meta=meta)

    def upsert_contact(self, request: Request) -> Reply:
        body = checked(request, CONTACT_UPSERT, "locationId")
        self._check_location(body["locationId"])
        if not body.get("email") and not body.get("phone"):
            raise Refused(422, ["email or phone should not be empty"])
        anew = body.pop("createNewIfDuplicateAllowed", False) and self.settings.allow_duplicates
        owners = (self._owner(field, body.get(field)) for field in self.settings.match_order)
        owner = None if anew else next((key for key in owners if key), None)
        row = self._upserted(self.contacts.rows[owner], body) if owner else self._insert_contact(body)
        return Reply.json(200, {"new": owner is None, "contact": contact_view(row), "traceId": self._new_id()})

    def _upserted(self, row: Row, body: Row) -> Row:
        """Traps 5, 6, 7: no phone, no gender, no e-mail of another contact's; and not a word about it."""
        kept = {name: value for name, value in body.items() if name not in ("phone", "gender")}
        if self._owner("email", body.get("email")) not in (None, row["id"]):
            del kept["email"]
        return self.contacts.put(self._touched(merged_contact(row, kept)))

    def find_duplicate(self, request: Request) -> Reply:
        query = request.query()
        self._check_location(query.get("locationId"))
        asked = {"email": query.get("email"), "phone": query.get("number")}
        order = ("email", "phone") if self.settings.allow_duplicates else self.settings.match_order
        owner = next((key for field in order if (key := self._owner(field, asked[field]))), None)
        row = self.contacts.get(owner, stale=request.stale) if owner else None
        return Reply.json(200, {"contact": contact_view(row) if row else None})

    def list_contacts(self, request: Request) -> Reply:
        query = request.query()
        self._check_location(query.get("locationId"))
        limit = _limit(query.get("limit"))
        cursor = _cursor([query.get("startAfter"), query.get("startAfterId")])
        if text := query.get("query", "").strip().lower():
            rows = _after(self._matching(text), cursor, limit)
            total = len(self._matching(text))
        else:
            rows = [self.contacts.rows[key] for key in self.contacts.before(cursor, limit)]
            total = len(self.contacts.rows)
        found = [listed_view(row) for row in self.contacts.seen(rows, stale=request.stale)]
        return Reply.json(200, {"contacts": found, "count": total, "meta": _meta(request, rows, total, limit)})

    def _matching(self, text: str) -> list[Row]:
        """Newest first. Whole addresses and numbers are looked up; anything else is a scan, as rare as it is slow."""
        keys = self.contacts.find("email", text) or self.contacts.find("phone", normal_phone(text) or "")
        rows = [self.contacts.rows[key] for key in keys]
        if not rows:
            rows = [r for r in self.contacts.rows.values() if text in f"{full_name(r)} {r.get('email')}".lower()]
        return sorted(rows, key=lambda row: (row["dateAdded"], row["id"]), reverse=True)

    def search_contacts(self, request: Request) -> Reply:
        rules = dict.fromkeys("locationId query page pageLimit searchAfter sort".split(), _anything) | {
            "filters": _things
        }
        body = checked(request, rules, "locationId", "pageLimit")
        self._check_location(body["locationId"])
        limit, page = _limit(body["pageLimit"]), _whole(body.get("page"), 1)
        if not body.get("filters") and not body.get("query"):
            rows, total = self._page(body.get("searchAfter"), limit, page), len(self.contacts.rows)
        else:
            found = self._filtered(body)
            rows = _after(found, _cursor(body.get("searchAfter")), limit * page)[limit * (page - 1) :]
            total = len(found)
        views = [searched_view(row) for row in self.contacts.seen(rows, stale=request.stale)]
        return Reply.json(200, {"contacts": views, "total": total, "traceId": self._new_id()})

    def _page(self, after: list[Any] | None, limit: int, page: int) -> list[Row]:
        keys = self.contacts.before(_cursor(after), limit * page)[limit * (page - 1) :]
        return [self.contacts.rows[key] for key in keys]

    def _filtered(self, body: Row) -> list[Row]:
        """Filters hold together (AND); eq on an e-mail, phone or id is looked up, the rest is a scan."""
        filters = list(body.get("filters") or ())
        rows: Iterable[Row] | None = None
        for rule in filters:
            if rule.get("operator") == "eq" and rule.get("field") in ("email", "phone", "id", "businessId"):
                rows = self._looked_up(rule["field"], rule.get("value"))
                break
        if rows is None:
            rows = self._matching(str(body["query"]).lower()) if body.get("query") else self.contacts.rows.values()
        found = [row for row in rows if all(_passes(row, rule) for rule in filters)]
        return sorted(found, key=lambda row: (row["dateAdded"], row["id"]), reverse=True)

    def _looked_up(self, field: str, value: Any) -> list[Row]:
        keys = (value,) if field == "id" else self.contacts.find(field, str(value))
        return [row for key in keys if (row := self.contacts.rows.get(key))]

    def contacts_of_business(self, request: Request, business: str) -> Reply:
        query = request.query()
        self._check_location(query.get("locationId"))
        skip, limit = _whole(query.get("skip"), 0), _limit(query.get("limit"))
        keys = self.contacts.find("businessId", business)
        rows = (self.contacts.rows[key] for key in keys[skip : skip + limit])
        found = [listed_view(row) for row in self.contacts.seen(rows, stale=request.stale)]
        return Reply.json(200, {"contacts": found, "count": len(keys)})

    # --- tags, businesses, followers ---

    def add_tags(self, request: Request, key: str) -> Reply:
        return self._change_tags(request, key, 201, add=True)

    def remove_tags(self, request: Request, key: str) -> Reply:
        return self._change_tags(request, key, 200, add=False)

    def _change_tags(self, request: Request, key: str, status: int, *, add: bool) -> Reply:
        row = self._contact(key)
        tags = normal_tags(checked(request, {"tags": _texts}, "tags")["tags"])
        return Reply.json(status, {"tags": self._retagged(row, tags, add=add)["tags"]})

    def _retagged(self, row: Row, tags: list[str], *, add: bool) -> Row:
        kept = [tag for tag in row["tags"] if add or tag not in tags]
        new = kept + [tag for tag in tags if add and tag not in kept]
        return self.contacts.put(self._touched(row | {"tags": new})) if new != row["tags"] else row

    def bulk_tags(self, request: Request, kind: str) -> Reply:
        body = checked(request, BULK_TAGS, "contacts", "tags", "locationId")
        self._check_location(body["locationId"])
        if kind not in ("add", "remove"):
            raise Refused(422, ["type must be one of the following values: add, remove"])
        everything = body.get("removeAllTags", False)
        if everything and kind == "add":
            raise Refused(422, ["removeAllTags can only be used with remove"])
        tags = normal_tags(body["tags"])
        responses = [self._bulk_tagged(key, kind, None if everything else tags) for key in body["contacts"]]
        errors = sum(response["type"] == "error" for response in responses)
        done = errors < len(responses) or not responses
        return Reply.json(201, {"succeded": done, "errorCount": errors, "responses": responses})

    def _bulk_tagged(self, key: str, kind: str, tags: list[str] | None) -> Row:
        row = self.contacts.get(key)
        if row is None:
            known = re.fullmatch(r"[A-Za-z0-9]{20}", key)
            message = "contact is deleted" if known else "contact id is not a valid firebase id"
            return {"contactId": key, "message": message, "type": "error"}
        old = row["tags"]
        new = self._retagged(row, old if tags is None else tags, add=kind == "add")["tags"]
        return {
            "contactId": key,
            "message": "Tags updated",
            "type": "success",
            "oldTags": old,
            "tagsAdded": [tag for tag in new if tag not in old],
            "tagsRemoved": [tag for tag in old if tag not in new],
        }

    def bulk_business(self, request: Request) -> Reply:
        body = checked(request, BULK_BUSINESS, "locationId", "ids", "businessId")
        self._check_location(body["locationId"])
        business = body["businessId"]
        if business and business not in self.businesses.rows:
            raise self._missing("Business")
        rows = [row for key in body["ids"] if (row := self.contacts.get(key))]
        for row in rows:
            kept = {name: value for name, value in row.items() if name != "businessId"}
            self.contacts.put(self._touched(kept | ({"businessId": business} if business else {})))
        return Reply.json(200, {"success": True, "ids": [row["id"] for row in rows]})

    def follow_contact(self, request: Request, key: str) -> Reply:
        return self._follow(self.contacts, self._contact(key), request, add=True)

    def unfollow_contact(self, request: Request, key: str) -> Reply:
        return self._follow(self.contacts, self._contact(key), request, add=False)

    def follow_opportunity(self, request: Request, key: str) -> Reply:
        return self._follow(self.opportunities, self._opportunity(key), request, add=True)

    def unfollow_opportunity(self, request: Request, key: str) -> Reply:
        return self._follow(self.opportunities, self._opportunity(key), request, add=False)

    def _follow(self, table: Table, row: Row, request: Request, *, add: bool) -> Reply:
        everyone = not add and request.query().get("isRemoveAllFollowers") == "true"
        asked = checked(request, {"followers": _texts}, *(() if everyone else ("followers",))).get("followers", [])
        old: list[str] = row.get("followers", [])
        asked = old if everyone else asked
        changed = [user for user in dict.fromkeys(asked) if (user in old) != add]
        new = old + changed if add else [user for user in old if user not in changed]
        if changed:
            stamp = "dateUpdated" if table is self.contacts else "updatedAt"
            table.put(row | {"followers": new, stamp: self._now()})
        return Reply.json(
            201 if add else 200, {"followers": new, "followersAdded" if add else "followersRemoved": changed}
        )

    # --- notes and tasks ---

    def list_notes(self, request: Request, contact: str) -> Reply:
        return self._children(self.notes, "notes", request, contact)

    def create_note(self, request: Request, contact: str) -> Reply:
        return self._add_child(self.notes, "note", contact, checked(request, NOTE, "body"))

    def get_note(self, request: Request, contact: str, key: str) -> Reply:
        return Reply.json(200, {"note": self._child(self.notes, "Note", contact, key, stale=request.stale)})

    def update_note(self, request: Request, contact: str, key: str) -> Reply:
        row = self._child(self.notes, "Note", contact, key)
        return Reply.json(200, {"note": self.notes.put(row | checked(request, NOTE))})

    def delete_note(self, request: Request, contact: str, key: str) -> Reply:
        del request
        self.notes.remove(self._child(self.notes, "Note", contact, key)["id"])
        return Reply.json(200, {"succeded": True})

    def list_tasks(self, request: Request, contact: str) -> Reply:
        return self._children(self.tasks, "tasks", request, contact)

    def create_task(self, request: Request, contact: str) -> Reply:
        body = checked(request, TASK, "title", "dueDate", "completed")
        return self._add_child(self.tasks, "task", contact, body)

    def get_task(self, request: Request, contact: str, key: str) -> Reply:
        return Reply.json(200, {"task": self._child(self.tasks, "Task", contact, key, stale=request.stale)})

    def update_task(self, request: Request, contact: str, key: str) -> Reply:
        row = self._child(self.tasks, "Task", contact, key)
        return Reply.json(200, {"task": self.tasks.put(row | checked(request, TASK))})

    def complete_task(self, request: Request, contact: str, key: str) -> Reply:
        row = self._child(self.tasks, "Task", contact, key)
        body = checked(request, {"completed": _flag}, "completed")
        return Reply.json(200, {"task": self.tasks.put(row | body)})

    def delete_task(self, request: Request, contact: str, key: str) -> Reply:
        del request
        self.tasks.remove(self._child(self.tasks, "Task", contact, key)["id"])
        return Reply.json(200, {"succeded": True})

    def _children(self, table: Table, name: str, request: Request, contact: str) -> Reply:
        self._contact(contact)
        keys = table.find("contactId", contact)
        rows = [row for key in keys if (row := table.get(key, stale=request.stale))]
        return Reply.json(200, {name: rows})

    def _child(self, table: Table, what: str, contact: str, key: str, *, stale: bool = False) -> Row:
        self._contact(contact)
        row = table.get(key, stale=stale)
        if row is None or row["contactId"] != contact:
            raise self._missing(what)
        return row

    def _add_child(self, table: Table, name: str, contact: str, body: Row) -> Reply:
        self._contact(contact)
        row = body | {"id": self._new_id(), "contactId": contact}
        if table is self.notes:
            row["dateAdded"] = self._now()
        return Reply.json(201, {name: table.put(row)})

    # --- campaigns and workflows: only that it happened is kept (trap 10) ---

    def enrol_campaign(self, request: Request, contact: str, campaign: str) -> Reply:
        return self._enrolled(request, contact, "campaign", campaign, "added", 201)

    def leave_campaign(self, request: Request, contact: str, campaign: str) -> Reply:
        return self._enrolled(request, contact, "campaign", campaign, "removed", 200)

    def leave_campaigns(self, request: Request, contact: str) -> Reply:
        return self._enrolled(request, contact, "campaign", "*", "removed", 200)

    def enrol_workflow(self, request: Request, contact: str, workflow: str) -> Reply:
        return self._enrolled(request, contact, "workflow", workflow, "added", 200)

    def leave_workflow(self, request: Request, contact: str, workflow: str) -> Reply:
        return self._enrolled(request, contact, "workflow", workflow, "removed", 200)

    def _enrolled(self, request: Request, contact: str, kind: str, target: str, event: str, status: int) -> Reply:
        self._contact(contact)
        if kind == "workflow":
            checked(request, {"eventStartTime": _text})
        row = {"id": self._new_id(), "contactId": contact, "kind": kind, "targetId": target}
        self.enrolments.put(row | {"event": event, "at": self._now()})
        return Reply.json(status, {"succeded": True})

    # --- opportunities ---

    def _opportunity_view(self, row: Row) -> Row:
        person = self.contacts.rows.get(row.get("contactId", ""))
        view = row | {
            "locationId": seeds.LOCATION_ID,
            "customFields": _custom(row, "fieldValue"),
            "notes": [],
            "tasks": [],
            "calendarEvents": [],
        }
        if person:
            named = ("id", "companyName", "email", "phone", "tags")
            view["contact"] = {name: person[name] for name in named if name in person} | {"name": full_name(person)}
        return view

    def get_opportunity(self, request: Request, key: str) -> Reply:
        row = self._opportunity(key, stale=request.stale)
        return Reply.json(200, {"opportunity": self._opportunity_view(row)})

    def create_opportunity(self, request: Request) -> Reply:
        body = checked(request, OPPORTUNITY_CREATE, "pipelineId", "locationId", "name", "status", "contactId")
        self._check_location(body["locationId"])
        row = self._insert_opportunity(body)
        return Reply.json(201, {"opportunity": self._opportunity_view(row)})

    def _insert_opportunity(self, body: Row) -> Row:
        self._contact(body["contactId"])
        now = self._now()
        stamps = dict.fromkeys(("createdAt", "updatedAt", "lastStatusChangeAt", "lastStageChangeAt"), now)
        blank: Row = {"id": self._new_id(), "monetaryValue": 0, "status": "open", "customFields": {}, "followers": []}
        return self._save_opportunity(blank | stamps, body)

    def update_opportunity(self, request: Request, key: str) -> Reply:
        row = self._opportunity(key)
        row = self._save_opportunity(row, checked(request, OPPORTUNITY_UPDATE))
        return Reply.json(200, {"opportunity": self._opportunity_view(row)})

    def _save_opportunity(self, row: Row, body: Row, written_as: tuple[str, ...] = WRITTEN_AS) -> Row:
        now = self._now()
        new = row | {name: value for name, value in body.items() if name != "locationId"} | {"updatedAt": now}
        if "customFields" in body:
            new["customFields"] = merged_custom(row["customFields"], body["customFields"], "opportunity", written_as)
        new["pipelineStageId"] = _stage(new, body)
        if new["status"] != row["status"]:
            new["lastStatusChangeAt"] = now
        if new["pipelineStageId"] != row.get("pipelineStageId"):
            new["lastStageChangeAt"] = now
        if new["status"] != "lost":
            new.pop("lostReasonId", None)
        return self.opportunities.put({name: value for name, value in new.items() if value not in (None, "")})

    def delete_opportunity(self, request: Request, key: str) -> Reply:
        del request
        self.opportunities.remove(self._opportunity(key)["id"])
        return Reply.json(200, {"succeded": True})

    def set_opportunity_status(self, request: Request, key: str) -> Reply:
        row = self._opportunity(key)
        body = checked(request, {"status": _status, "lostReasonId": _text}, "status")
        if body.get("lostReasonId") and all(reason["id"] != body["lostReasonId"] for reason in seeds.LOST_REASONS):
            raise self._missing("Lost reason")
        self._save_opportunity(row, body)
        return Reply.json(200, {"succeded": True})

    def upsert_opportunity(self, request: Request) -> Reply:
        body = checked(request, OPPORTUNITY_UPSERT, "pipelineId", "locationId")
        self._check_location(body["locationId"])
        action = body.pop("followersActionType", "add")
        everyone = body.pop("isRemoveAllFollowers", False)
        users = body.pop("followers", [])
        row = self._upsert_target(body)
        new = row is None
        if row is None and not {"contactId", "name"} <= body.keys():
            raise Refused(422, ["contactId should not be empty", "name should not be empty"])
        row = self._insert_opportunity(body) if row is None else self._save_opportunity(row, body)
        old = [] if everyone else row["followers"]
        kept = [user for user in old if action == "add" or user not in users]
        row = self.opportunities.put(
            row | {"followers": list(dict.fromkeys([*kept, *(users if action == "add" else [])]))}
        )
        return Reply.json(200, {"opportunity": self._opportunity_view(row), "new": new})

    def _upsert_target(self, body: Row) -> Row | None:
        """By id, else the contact's first opportunity in the same pipeline."""
        if "contactId" in body:
            self._contact(body["contactId"])
        if key := body.pop("id", None):
            return self._opportunity(key)
        keys = self.opportunities.find("contactId", body.get("contactId", ""))
        rows = (self.opportunities.rows[key] for key in keys)
        return next((row for row in rows if row["pipelineId"] == body["pipelineId"]), None)

    def search_opportunities(self, request: Request) -> Reply:
        query = request.query()
        self._check_location(query.get("location_id"))
        limit = _limit(query.get("limit"))
        names = {
            "pipeline_id": "pipelineId",
            "pipeline_stage_id": "pipelineStageId",
            "contact_id": "contactId",
            "assigned_to": "assignedTo",
            "status": "status",
            "id": "id",
        }
        wanted = {names[name]: value for name, value in query.items() if name in names and value and value != "all"}
        cursor = _cursor([query.get("startAfter"), query.get("startAfterId")])
        found = self._found_opportunities(wanted, query.get("q", ""))
        page = _after(found, cursor, limit, "createdAt")
        meta = _meta(request, page, len(found), limit, "createdAt")
        views = [self._searched_opportunity(row) for row in self.opportunities.seen(page, stale=request.stale)]
        return Reply.json(200, {"opportunities": views, "meta": meta, "aggregations": {}})

    def search_opportunities_by_body(self, request: Request) -> Reply:
        names = "locationId query limit page searchAfter additionalDetails filters sort".split()
        body = checked(request, dict.fromkeys(names, _anything), "locationId")
        self._check_location(body["locationId"])
        limit, page = _limit(body.get("limit")), _whole(body.get("page"), 1)
        found = self._found_opportunities({}, str(body.get("query") or ""))
        rows = _after(found, _cursor(body.get("searchAfter")), limit * page, "createdAt")[limit * (page - 1) :]
        views = [self._searched_opportunity(row) for row in self.opportunities.seen(rows, stale=request.stale)]
        return Reply.json(200, {"opportunities": views, "total": len(found), "aggregations": {}})

    def _found_opportunities(self, wanted: Row, text: str) -> list[Row]:
        table = self.opportunities
        keys: Iterable[str] = table.rows
        if "id" in wanted:
            keys = [wanted["id"]] if wanted["id"] in table.rows else []
        elif "contactId" in wanted:
            keys = table.find("contactId", wanted["contactId"])
        rows = (table.rows[key] for key in keys)
        found = [row for row in rows if all(row.get(n) == v for n, v in wanted.items())]
        found = [row for row in found if text.lower() in row["name"].lower()]
        return sorted(found, key=lambda row: (row["createdAt"], row["id"]), reverse=True)

    def _searched_opportunity(self, row: Row) -> Row:
        """Trap 3: search has typed custom fields where GET has fieldValue (#87)."""
        return self._opportunity_view(row) | {"customFields": _typed_custom(row)}

    def list_pipelines(self, request: Request) -> Reply:
        self._check_location(request.query().get("locationId"))
        return Reply.json(200, {"pipelines": seeds.PIPELINES})

    def list_lost_reasons(self, request: Request) -> Reply:
        self._check_location(request.query().get("locationId"))
        return Reply.json(200, {"lostReasons": seeds.LOST_REASONS, "total": len(seeds.LOST_REASONS)})

    # --- the location's own things ---

    def list_custom_fields(self, request: Request, location: str) -> Reply:
        self._check_location(location)
        model = request.query().get("model", "all")
        found = [known for known in seeds.CUSTOM_FIELDS if model in ("all", known["model"])]
        return Reply.json(200, {"customFields": found})

    def list_businesses(self, request: Request) -> Reply:
        query = request.query()
        self._check_location(query.get("locationId"))
        skip, limit = _whole(query.get("skip"), 0), _limit(query.get("limit") or PAGE_MAX)
        return Reply.json(200, {"businesses": list(self.businesses.rows.values())[skip : skip + limit]})

    def get_business(self, request: Request, key: str) -> Reply:
        row = self.businesses.get(key, stale=request.stale)
        if row is None:
            raise self._missing("Business")
        return Reply.json(200, {"business": row})


def _anything(value: Any) -> None:
    del value


def _whole(asked: Any, default: int) -> int:
    try:
        return max(default, int(asked or default))
    except (TypeError, ValueError):
        raise Refused(422, [f"{asked} must be a number"]) from None


def _limit(asked: Any) -> int:
    """Page size; above the maximum the vendor refuses."""
    limit = _whole(asked or PAGE_DEFAULT, 1)
    if limit > PAGE_MAX:
        raise Refused(422, [f"limit must not be greater than {PAGE_MAX}"])
    return limit


def _cursor(after: Any) -> tuple[str, str] | None:
    """From [epoch milliseconds, id], as lists and searches hand them out; None where there is none."""
    if not after or None in after:
        return None
    try:
        return from_ms(float(after[0])), str(after[1])
    except (TypeError, ValueError, LookupError, OverflowError):
        raise Refused(422, ["searchAfter must be a time and an id"]) from None


def _after(rows: list[Row], cursor: tuple[str, str] | None, limit: int, by: str = "dateAdded") -> list[Row]:
    """The next page of rows that are sorted newest first."""
    return [row for row in rows if cursor is None or (row[by], row["id"]) < cursor][:limit]


def _meta(request: Request, rows: list[Row], total: int, limit: int, by: str = "dateAdded") -> Row:
    """The total, and where the next page is, unless this page is the last."""
    if len(rows) < limit:
        return {"total": total}
    cursor = {"startAfter": to_ms(rows[-1][by]), "startAfterId": rows[-1]["id"]}
    host = request.headers.get(b"host", b"").decode("latin-1")
    link = f"http://{host}{request.path}?{urlencode(request.query() | cursor)}"
    return {"total": total, "nextPageUrl": link, **cursor}


def _passes(row: Row, rule: Row) -> bool:
    value, wanted = row.get(rule.get("field", "")), rule.get("value")
    match rule.get("operator"):
        case "eq":
            return value == wanted or (isinstance(value, list) and wanted in value)
        case "not_eq":
            return value != wanted
        case "contains":
            return str(wanted).lower() in (value if isinstance(value, list) else str(value or "").lower())
        case "exists":
            return value not in (None, "", [])
        case "not_exists":
            return value in (None, "", [])
        case operator:
            raise Refused(422, [f"operator {operator} is not supported"])


def _stage(row: Row, body: Row) -> str:
    """The stage after a write; a pipeline or stage that does not exist, or not there, is refused."""
    pipeline = next((known for known in seeds.PIPELINES if known["id"] == row.get("pipelineId")), None)
    if pipeline is None:
        raise Refused(400, "The pipeline id is invalid.")
    stages = [stage["id"] for stage in pipeline["stages"]]
    stage: str = row.get("pipelineStageId", stages[0])
    if stage in stages:
        return stage
    if "pipelineStageId" in body:
        raise Refused(400, "The pipeline stage id is invalid.")
    return str(stages[0])


create_app = opening(HighLevel, Settings, DOCUMENTED, DEFAULT_TOKEN)
