"""HighLevel (GoHighLevel) API v2, Version 2021-07-28: contacts and opportunities.

Sources: the vendor's OpenAPI files (GoHighLevel/highlevel-api-docs, apps/contacts.json, apps/opportunities.json) and
its documentation of rate limits. docs/handlers/highlevel.md lists what is not verified, and why being wrong there
loses nothing. One record per call, both ways; only tags and business have bulk calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from guard.core.errors import Refused
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Fields,
    Image,
    Key,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
)
from handlers.base import (
    READ,
    WRITE,
    Call,
    Handler,
    LimitHeaders,
    Limits,
    Page,
    Reply,
    Request,
    Route,
    Traits,
    Write,
    refuse_unknown_action,
)
from handlers.highlevel import alike, answers, calls, filters, requests
from handlers.highlevel.requests import VERSION, business_of, id_of, no_field, set_change
from handlers.highlevel.shapes import canonical_asked, refuse_unwritable, tags_of

_DELETION = (
    "HighLevel's API cannot bring a deleted record back. A revert creates it again, with a new id; "
    "its notes, tasks, conversations, appointments and history are lost, and a contact's opportunities lose it."
)
_SECOND_EMAIL = "The contact has several e-mail addresses; HighLevel may drop one, and no API writes it back."
_ENROLMENT = "It starts or stops automations, and what they send cannot be taken back."


class HighLevel(Handler):
    name = "highlevel"
    base_url = "https://services.leadconnectorhq.com"
    traits = Traits(
        read_max=1,
        write_max=1,
        answer_carries_image=True,
        isolated=False,
        restore_deleted=Restore.NEW_ID,
        limits=Limits(requests=100, per_s=10.0, concurrency=20),
        limit_headers=LimitHeaders(
            maximum="x-ratelimit-max",
            remaining="x-ratelimit-remaining",
            interval_ms="x-ratelimit-interval-milliseconds",
        ),
    )
    resources = {
        "contacts": Resource(
            name="contacts",
            sets=frozenset({"tags"}),
            # name follows first and last name; comparing it would turn an edit of one into a conflict of the other.
            volatile=frozenset(
                "name dateAdded dateUpdated lastActivity lastSessionActivityAt emailLowerCase firstNameLowerCase "
                "lastNameLowerCase fullNameLowerCase birthMonth birthDay attributions attributionSource "
                "lastAttributionSource followers".split()
            ),
            readonly=frozenset("id locationId additionalEmails gender visitorId attachments deleted".split()),
        ),
        "opportunities": Resource(
            name="opportunities",
            sets=frozenset({"followers"}),
            volatile=frozenset(
                "createdAt updatedAt lastStatusChangeAt lastStageChangeAt lastActionDate indexVersion contact "
                "notes tasks calendarEvents".split()
            ),
            readonly=frozenset("id locationId contactId source externalObjectId".split()),
            references={"contactId": "contacts"},
        ),
    }
    actions = {
        "contacts": ("create", "update", "upsert", "delete", "tags.add", "tags.remove", "business.set"),
        "opportunities": ("create", "update", "upsert", "delete"),
    }
    routes = (
        Route("POST", "/contacts/search", READ),
        Route("POST", "/opportunities/search", READ),
        Route("POST", "/contacts/upsert", WRITE, "contacts", "upsert"),
        Route("POST", "/contacts/bulk/tags/update/{type}", WRITE, "contacts", "tags"),
        Route("POST", "/contacts/bulk/business", WRITE, "contacts", "business"),
        Route("POST", "/contacts", WRITE, "contacts", "create"),
        Route("PUT", "/contacts/{id}", WRITE, "contacts", "update"),
        Route("DELETE", "/contacts/{id}", WRITE, "contacts", "delete"),
        Route("POST", "/contacts/{id}/tags", WRITE, "contacts", "tags"),
        Route("DELETE", "/contacts/{id}/tags", WRITE, "contacts", "tags"),
        Route("POST", "/contacts/{id}/campaigns/{other}", WRITE, "contacts", "enrol"),
        Route("DELETE", "/contacts/{id}/campaigns/{other}", WRITE, "contacts", "enrol"),
        Route("POST", "/contacts/{id}/workflow/{other}", WRITE, "contacts", "enrol"),
        Route("DELETE", "/contacts/{id}/workflow/{other}", WRITE, "contacts", "enrol"),
        Route("POST", "/opportunities/upsert", WRITE, "opportunities", "upsert"),
        Route("POST", "/opportunities", WRITE, "opportunities", "create"),
        Route("PUT", "/opportunities/{id}", WRITE, "opportunities", "update"),
        Route("PUT", "/opportunities/{id}/status", WRITE, "opportunities", "update"),
        Route("DELETE", "/opportunities/{id}", WRITE, "opportunities", "delete"),
        Route("POST", "/opportunities/{id}/followers", WRITE, "opportunities", "followers"),
        Route("DELETE", "/opportunities/{id}/followers", WRITE, "opportunities", "followers"),
    )
    side_effects = (
        "HighLevel starts workflows and webhooks on every write, on those of a revert too; "
        "what they have sent or started cannot be taken back."
    )

    def __init__(self, options: Mapping[str, str]) -> None:
        """options: location_id, the sub-account that creates, searches and bulk calls are for. Raises ValueError."""
        if unknown := set(options) - {"location_id"}:
            raise ValueError(f"HighLevel has no option {min(unknown)}; it has location_id")
        if not options.get("location_id"):
            raise ValueError("HighLevel needs location_id, the id of the sub-account")
        self._location = options["location_id"]

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Bearer {credential}", "version": VERSION, "accept": "application/json"}

    # Both doors

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        id_ = id_of(record.get("id"))
        if action in ("tags.add", "tags.remove"):
            return set_change(resource, id_, "tags", tags_of(record.get("tags")), adding=action == "tags.add")
        if action == "business.set":
            return Change(resource=resource, action=Action.UPDATE, id=id_, fields=business_of(record))
        given = record.get("fields") or {}
        if not isinstance(given, dict):
            raise Refused("invalid_record", "fields must be an object.")
        fields = canonical_asked(given)
        refuse_unwritable(resource, action, fields)
        if action == "update" and not fields:
            raise no_field()
        return Change(resource=resource, action=Action(action), id=id_, fields=fields)

    def changes(self, route: Route, request: Request) -> list[Change]:
        return requests.changes(route, request, self._location)

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        return [(Call(method="GET", path=f"/{resource}/{id_}", repeatable=True), (id_,)) for id_ in ids]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        return answers.images(resource, ids, reply)

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        return filters.search(self._location, resource, where, cursor)

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        del where
        return filters.page(resource, reply)

    def find(self, change: Change) -> Call | None:
        return calls.search(change, self._location)

    def found(self, change: Change, reply: Reply) -> str | None:
        return answers.found(change, reply)

    def attachments(self, resource: str, id_: str) -> list[Call]:
        return calls.attachments(resource, id_, self._location)

    def attached(self, resource: str, reply: Reply) -> list[Key] | None:
        del resource
        return answers.attached(reply)

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        return calls.writes(changes, before, self._location)

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        return answers.outcomes(changes, reply)

    # What goes with what, and how far it comes back

    def touches(self, change: Change) -> frozenset[str]:
        return alike.touches(change)

    def title(self, resource: str, image: Fields) -> str:
        if resource == "opportunities":
            return str(image.get("name") or "")
        names = [str(image[name]) for name in ("firstName", "lastName") if image.get(name)]
        return " ".join(names) or str(image.get("companyName") or image.get("email") or "")

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        del resource
        return alike.same(name, asked, found)

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get("dateAdded" if resource == "contacts" else "createdAt")

    def reversal(self, change: Change, before: Image) -> Reversal:
        if change.action is Action.DELETE:
            return Reversal(Reversibility.PARTIAL, _DELETION)
        if not change.asked() and change.action is Action.UPDATE:
            return Reversal(Reversibility.NONE, _ENROLMENT)
        moved = {n for n, value in change.fields.items() if before and not alike.same(n, value, before.get(n))}
        if before and before.get("additionalEmails") and "email" in moved:
            return Reversal(Reversibility.PARTIAL, _SECOND_EMAIL)
        if change.resource == "opportunities" and (kept := moved & {"contactId", "source"}):
            return Reversal(Reversibility.PARTIAL, f"No API puts {' and '.join(sorted(kept))} of an opportunity back.")
        return FULLY
