"""HighLevel (GoHighLevel) API v2, Version 2021-07-28: contacts and opportunities.

Sources: the vendor's OpenAPI files (GoHighLevel/highlevel-api-docs, apps/contacts.json, apps/opportunities.json) and
its documentation of rate limits. docs/handlers/highlevel.md lists what is not verified, and why being wrong there
loses nothing. One record per call, both ways; only tags and business have bulk calls.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guard.core.errors import Refused
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Failure,
    Fields,
    Image,
    Key,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
    Status,
)
from handlers import highlevel_filters
from handlers.base import (
    CREATED_INSTEAD,
    DUPLICATE,
    OTHER_RECORD,
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
    unwritable,
)

_VERSION = "2021-07-28"

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")

_BULK_IDS_MAX = 100  # the vendor states no maximum; one too many fails the call and is reported, nothing is lost

_CHANNEL_GROUPS = ("dndSettings.", "inboundDndSettings.")
_CHANNELS_OF = {
    "dndSettings": [f"dndSettings.{channel}" for channel in ("Call", "Email", "SMS", "WhatsApp", "GMB", "FB")],
    "inboundDndSettings": ["inboundDndSettings.all"],
}

# What PUT /contacts/{id} takes: UpdateContactDto, and four that live accounts take though the spec has them not.
_CONTACT_FIELDS = frozenset(
    "firstName lastName name email phone address1 city state postalCode website timezone dnd dndSettings "
    "inboundDndSettings tags source dateOfBirth country assignedTo companyName keyword ssn type".split()
)
# CreateContactDto has no keyword, ssn and type, but gender, which can never be changed afterwards.
_CREATE_FIELDS = (_CONTACT_FIELDS - {"keyword", "ssn", "type"}) | {"gender"}
_OPPORTUNITY_FIELDS = frozenset("pipelineId name pipelineStageId status monetaryValue assignedTo".split())
_OPPORTUNITY_CREATE_FIELDS = _OPPORTUNITY_FIELDS | {"contactId"}
_CLEARED: dict[str, Any] = {"postalCode": "", "country": "", "dnd": False, "assignedTo": "", "monetaryValue": 0}
"""What clears fields whose DTO is not nullable; the others take null."""

_OPTIONS = frozenset("id locationId createNewIfDuplicateAllowed isRemoveAllFollowers followersActionType".split())
"""Members of a request that are no fields of the record."""

_IDENTIFYING = (("email", "email"), ("number", "phone"))
"""Query names of the duplicate search, and the fields they take."""

_CUSTOM = "customFields."
_LAST = 2
"""The last of the three steps in which changes are written."""
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
        return {"authorization": f"Bearer {credential}", "version": _VERSION, "accept": "application/json"}

    # The bulk door

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        id_ = _id(record.get("id"))
        if action in ("tags.add", "tags.remove"):
            return _set_change(resource, id_, "tags", _tags(record.get("tags")), adding=action == "tags.add")
        if action == "business.set":
            return Change(resource=resource, action=Action.UPDATE, id=id_, fields=_business(record))
        given = record.get("fields") or {}
        if not isinstance(given, dict):
            raise Refused("invalid_record", "fields must be an object.")
        fields = _canonical_asked(given)
        _refuse_unwritable(resource, action, fields)
        if action == "update" and not fields:
            raise _no_field()
        return Change(resource=resource, action=Action(action), id=id_, fields=fields)

    # The vendor's own requests

    def changes(self, route: Route, request: Request) -> list[Change]:
        if request.headers.get("version", _VERSION) != _VERSION:
            # The newer set names fields otherwise; a body in its names would be understood wrongly.
            raise Refused("unknown_route", f"Guard knows HighLevel's API of Version {_VERSION} only.")
        if not isinstance(request.body, dict | None):
            raise Refused("invalid_request", "The body must be a JSON object.")
        body = request.body or {}
        id_ = _id(request.params.get("id"))
        match (route.resource, route.action):
            case ("contacts", "tags"):
                return self._tag_changes(request, body)
            case ("contacts", "business"):
                fields = _business(body)
                ids = _ids(body.get("ids"))
                return [Change(resource="contacts", action=Action.UPDATE, id=each, fields=fields) for each in ids]
            case ("contacts", "enrol"):
                return [Change(resource="contacts", action=Action.UPDATE, id=id_)]
            case ("opportunities", "followers"):
                followers = tuple(_ids(body.get("followers")))
                return [_set_change("opportunities", id_, "followers", followers, adding=request.method == "POST")]
            case (resource, "delete"):
                return [Change(resource=resource, action=Action.DELETE, id=id_)]
            case (resource, action):
                return [self._field_change(resource, Action(action), id_, body)]

    def _field_change(self, resource: str, action: Action, id_: str | None, body: Mapping[str, Any]) -> Change:
        if body.get("locationId", self._location) != self._location:
            raise Refused("invalid_request", "The request is for another location than the one in Guard's settings.")
        given = {name: value for name, value in body.items() if name not in _OPTIONS}
        if resource == "opportunities" and action is Action.UPSERT:
            id_ = _id(body.get("id"))
            named_followers = given.pop("followers", None)
            followers = tuple(_ids(named_followers)) if named_followers else ()
            if body.get("isRemoveAllFollowers"):
                given["followers"] = []
            elif followers:
                adding = body.get("followersActionType") != "remove"
                named = {"followers": followers}
                return Change(
                    resource=resource,
                    action=action,
                    id=id_,
                    fields=_canonical_asked(given),
                    add=named if adding else {},
                    remove={} if adding else named,
                )
        change = Change(resource=resource, action=action, id=id_, fields=_canonical_asked(given))
        if action is Action.UPDATE and not change.fields:
            raise _no_field()
        return change

    def _tag_changes(self, request: Request, body: Mapping[str, Any]) -> list[Change]:
        adding = request.params.get("type") == "add" if "type" in request.params else request.method == "POST"
        if not adding and request.params.get("type", "remove") != "remove":
            raise Refused("unknown_route", "Guard knows bulk tag updates of type add and remove only.")
        ids = _ids(body.get("contacts")) if "type" in request.params else [request.params["id"]]
        if body.get("removeAllTags"):
            return [Change(resource="contacts", action=Action.UPDATE, id=each, fields={"tags": []}) for each in ids]
        tags = _tags(body.get("tags"))
        return [_set_change("contacts", each, "tags", tags, adding=adding) for each in ids]

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        return [(Call(method="GET", path=f"/{resource}/{id_}", repeatable=True), (id_,)) for id_ in ids]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        (id_,) = ids
        found = reply.part(_member(resource))
        if reply.status == 200 and isinstance(found, dict) and found.get("id") == id_:
            image = _canonical_found(found)
            return {} if image is None else {id_: None if found.get("deleted") is True else image}
        return {id_: None} if _says_missing(reply) else {}

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        return highlevel_filters.search(self._location, resource, where, cursor)

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        del where
        return highlevel_filters.page(resource, reply)

    def find(self, change: Change) -> Call | None:
        fields = change.fields
        if change.resource == "contacts":
            named = {key: str(fields[name]) for key, name in _IDENTIFYING if fields.get(name)}
            query = {"locationId": self._location, **named}
            path = "/contacts/search/duplicate"
            return Call(method="GET", path=path, query=query, repeatable=True) if named else None
        if fields.get("contactId") and fields.get("pipelineId"):
            query = {
                "location_id": self._location,
                "contact_id": str(fields["contactId"]),
                "pipeline_id": str(fields["pipelineId"]),
            }
            return Call(method="GET", path="/opportunities/search", query=query, repeatable=True)
        return None

    def found(self, change: Change, reply: Reply) -> str | None:
        if change.resource == "contacts":
            return _found_id(reply.part("contact"))
        opportunities = reply.part("opportunities")
        if not isinstance(opportunities, list):
            raise _not_understood()
        if len(opportunities) > 1:
            raise Refused("invalid_record", "Several opportunities of this contact are in this pipeline: name its id.")
        return _found_id(opportunities[0]) if opportunities else None

    def attachments(self, resource: str, id_: str) -> list[Call]:
        """A contact's notes and tasks are deleted with it, and its opportunities lose it for good."""
        if resource != "contacts":
            return []
        query = {"location_id": self._location, "contact_id": id_}
        search = Call(method="GET", path="/opportunities/search", query=query, repeatable=True)
        children = [f"/contacts/{id_}/notes", f"/contacts/{id_}/tasks"]
        return [search, *(Call(method="GET", path=path, repeatable=True) for path in children)]

    def attached(self, resource: str, reply: Reply) -> list[Key] | None:
        del resource
        for name in ("opportunities", "notes", "tasks"):
            if reply.status == 200 and isinstance(found := reply.part(name), list):
                return [(name, str(each.get("id"))) for each in found if isinstance(each, dict)]
        return None

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """Bulk calls first, the calls whose answers show the whole record last: a chunk of a revert has both kinds."""
        first = [*self._bulk_tags("add", changes), *self._bulk_tags("remove", changes), *self._bulk_business(changes)]
        steps: list[list[Write]] = [first, [], []]
        for i, change in enumerate(changes):
            if change.resource == "opportunities":
                for step, call in self._opportunity_calls(change):
                    steps[step].append(Write(call, (i,)))
            elif (contact_call := self._contact_call(change, before[i])) is not None:
                steps[_LAST].append(Write(contact_call, (i,)))
        return [step for step in steps if step]

    def _bulk_tags(self, kind: str, changes: Sequence[Change]) -> list[Write]:
        """As few calls as it takes: one for each distinct list of tags, or one for each tag, whichever is fewer."""
        by_list: dict[tuple[str, ...], list[int]] = {}
        by_tag: dict[tuple[str, ...], list[int]] = {}
        for i, change in enumerate(changes):
            if tags := (change.add if kind == "add" else change.remove).get("tags"):
                by_list.setdefault(tuple(tags), []).append(i)
                for tag in tags:
                    by_tag.setdefault((tag,), []).append(i)
        writes = []
        for tags, positions in min(by_list, by_tag, key=len).items():
            for part in _parts(positions):
                body = {
                    "contacts": [changes[i].id for i in part],
                    "tags": list(tags),
                    "locationId": self._location,
                }
                path = f"/contacts/bulk/tags/update/{kind}"
                call = Call(method="POST", path=path, body=body, repeatable=True)
                writes.append(Write(call, tuple(part), blind=True))
        return writes

    def _bulk_business(self, changes: Sequence[Change]) -> list[Write]:
        by_business: dict[Any, list[int]] = {}
        for i, change in enumerate(changes):
            if change.action is Action.UPDATE and "businessId" in change.fields:
                by_business.setdefault(change.fields["businessId"], []).append(i)
        return [
            Write(
                Call(
                    method="POST",
                    path="/contacts/bulk/business",
                    body={
                        "locationId": self._location,
                        "ids": [changes[i].id for i in part],
                        "businessId": business or None,
                    },
                    repeatable=True,
                ),
                tuple(part),
                blind=True,
            )
            for business, positions in by_business.items()
            for part in _parts(positions)
        ]

    def _contact_call(self, change: Change, before: Image) -> Call | None:
        match change.action:
            case Action.DELETE:
                return Call(method="DELETE", path=f"/contacts/{change.id}")
            case Action.CREATE:
                fields = {k: v for k, v in change.fields.items() if _is_writable(k, _CREATE_FIELDS)}
                return Call(method="POST", path="/contacts/", body={**_body(fields), "locationId": self._location})
            case _:
                # The id was resolved before: PUT writes to exactly that record, upsert might choose another one.
                fields = {k: v for k, v in change.fields.items() if _is_writable(k, _CONTACT_FIELDS)}
                # All channels are named: whether HighLevel keeps those left out is not documented.
                for group in {k.partition(".")[0] for k in fields if k.startswith(_CHANNEL_GROUPS)}:
                    there = {k: v for k, v in (before or {}).items() if k.startswith(f"{group}.")}
                    fields = {**dict.fromkeys(_CHANNELS_OF[group]), **there, **fields}
                path = f"/contacts/{change.id}"
                return Call(method="PUT", path=path, body=_body(fields), repeatable=True) if fields else None

    def _opportunity_calls(self, change: Change) -> list[tuple[int, Call]]:
        path = f"/opportunities/{change.id}"
        if change.action is Action.DELETE:
            return [(0, Call(method="DELETE", path=path))]
        known = _OPPORTUNITY_CREATE_FIELDS if change.action is Action.CREATE else _OPPORTUNITY_FIELDS
        fields = {k: v for k, v in change.fields.items() if _is_writable(k, known)}
        if change.action is Action.CREATE:
            body = {**_body(fields), "locationId": self._location}
            return [(0, Call(method="POST", path="/opportunities/", body=body))]
        calls = []
        for method, followers in (("POST", change.add), ("DELETE", change.remove)):
            if followers.get("followers"):
                body = {"followers": list(followers["followers"])}
                calls.append((0, Call(method=method, path=f"{path}/followers", body=body, repeatable=True)))
        reason = change.fields.get("lostReasonId")
        if reason or ("lostReasonId" in change.fields and "status" in fields):
            # The reason goes with the status, and only through this call; a status without one clears it.
            body = {"status": fields.pop("status", "lost"), **({"lostReasonId": reason} if reason else {})}
            calls.append((1, Call(method="PUT", path=f"{path}/status", body=body, repeatable=True)))
        if fields:
            calls.append((_LAST, Call(method="PUT", path=path, body=_body(fields), repeatable=True)))
        return calls

    # Answers

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        if reply.status >= 300:
            return [_failed(reply)] * len(changes)
        if reply.part("errorCount") is not None:
            told = _told_of_each(reply)
            return [told.get(str(change.id), _no_answer()) for change in changes]
        return [self._outcome(change, reply) for change in changes]

    def _outcome(self, change: Change, reply: Reply) -> Outcome:
        answered, found = reply.json(), reply.part(_member(change.resource))
        if not isinstance(answered, dict) or answered.get("succeded") is False or answered.get("success") is False:
            return _no_answer()
        id_ = found.get("id") if isinstance(found, dict) else None
        if id_ is not None and not isinstance(id_, str):
            return _no_answer()
        if id_ and id_ != change.id and change.action is Action.UPDATE and answered.get("new") is True:
            return Outcome(status=Status.APPLIED, id=id_, failure=CREATED_INSTEAD)
        if id_ and (answered.get("new") is False if change.action is Action.CREATE else id_ != change.id):
            return Outcome(status=Status.APPLIED, id=id_, failure=OTHER_RECORD)
        if change.action is Action.CREATE:
            # The answer to a create has another shape than a read: the post-image must be read.
            return Outcome(status=Status.APPLIED, id=id_) if id_ else _no_answer()
        image = _canonical_found(found) if isinstance(found, dict) and id_ else None
        return Outcome(status=Status.APPLIED, id=change.id, after=image, sealed=image is not None)

    def touches(self, change: Change) -> frozenset[str]:
        asked = change.asked()
        derived: set[str] = set()
        if change.resource == "contacts" and "name" in asked:
            derived |= {"firstName", "lastName"}
        if change.resource == "contacts" and "email" in asked:
            derived |= {"additionalEmails"}
        if change.resource == "opportunities" and "status" in asked:
            derived |= {"lostReasonId"}
        if change.resource == "opportunities" and "pipelineId" in asked:
            derived |= {"pipelineStageId"}
        return asked | derived

    def title(self, resource: str, image: Fields) -> str:
        if resource == "opportunities":
            return str(image.get("name") or "")
        names = [str(image[name]) for name in ("firstName", "lastName") if image.get(name)]
        return " ".join(names) or str(image.get("companyName") or image.get("email") or "")

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        del resource
        if asked in (None, "", [], {}):
            return found is None
        if name == "phone":  # kept as E.164: a country code is put before a national number
            return _digits(asked) == _digits(found) or (
                len(_digits(asked)) > 6 and _digits(found).endswith(_digits(asked))
            )
        if name == "email":
            return str(asked).strip().lower() == str(found).strip().lower()
        if name == "dateOfBirth":
            return _day(asked) == _day(found)
        return bool(asked == found) or str(asked).strip() == str(found).strip()

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get("dateAdded" if resource == "contacts" else "createdAt")

    def reversal(self, change: Change, before: Image) -> Reversal:
        if change.action is Action.DELETE:
            return Reversal(Reversibility.PARTIAL, _DELETION)
        if not change.asked() and change.action is Action.UPDATE:
            return Reversal(Reversibility.NONE, _ENROLMENT)
        moved = {n for n, value in change.fields.items() if before and not self.same("", n, value, before.get(n))}
        if before and before.get("additionalEmails") and "email" in moved:
            return Reversal(Reversibility.PARTIAL, _SECOND_EMAIL)
        if change.resource == "opportunities" and (kept := moved & {"contactId", "source"}):
            return Reversal(Reversibility.PARTIAL, f"No API puts {' and '.join(sorted(kept))} of an opportunity back.")
        return FULLY


def _member(resource: str) -> str:
    return "contact" if resource == "contacts" else "opportunity"


def _found_id(record: Any) -> str | None:
    """The id of a record in the answer to a search; None where there is no record. Raises Refused."""
    if record is None:
        return None
    if not isinstance(record, dict) or not record.get("id"):
        raise _not_understood()
    return _id(record["id"])


def _not_understood() -> Refused:
    return Refused("invalid_record", "HighLevel's search for this record gave an answer that cannot be understood.")


def _told_of_each(reply: Reply) -> dict[str, Outcome]:
    """What a bulk answer tells, by contact. The spec has its `responses` as texts, its example as objects."""
    told: dict[str, Outcome] = {}
    responses = reply.part("responses")
    for each in responses if isinstance(responses, list) else []:
        if isinstance(each, dict) and isinstance(each.get("contactId"), str):
            failure = Failure("rejected", f"HighLevel: {str(each.get('message'))[:200]}")
            done = each.get("type") == "success"
            told[each["contactId"]] = (
                Outcome(status=Status.APPLIED) if done else Outcome(status=Status.FAILED, failure=failure)
            )
    return told


def _canonical_found(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """A record as read; None where it is of no shape that could be relied upon."""
    try:
        return _canonical(found)
    except (TypeError, AttributeError, KeyError, Refused):
        return None


def _canonical(found: Mapping[str, Any]) -> dict[str, Any]:
    """Empty means the same to HighLevel as absent, so empty fields are left out."""
    image: dict[str, Any] = {}
    for name, value in found.items():
        match name:
            case "customFields":  # a contact's have value, an opportunity's fieldValue
                image |= {_CUSTOM + f["id"]: f.get("value", f.get("fieldValue")) for f in value or []}
            case "tags":
                image[name] = sorted(_tags(value or []))
            case "dndSettings" | "inboundDndSettings":
                image |= {f"{name}.{channel}": each for channel, each in _channels(value).items()}
            case "followers":
                image[name] = sorted(str(each) for each in value or [])
            case _:
                image[name] = value
    return {name: value for name, value in image.items() if value not in (None, "", [], {})}


def _canonical_asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a caller writes them, in canonical names. Nothing is left out: an empty one asks for clearing."""
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name == "customFields":
            if not isinstance(value, list):
                raise Refused("invalid_record", "customFields must be a list of {id, field_value}.")
            fields |= dict(_asked_custom(each) for each in value)
        elif name == "tags":
            fields[name] = list(_tags(value))
        elif name in ("dndSettings", "inboundDndSettings"):
            if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
                raise Refused("invalid_record", f"{name} must be an object of channels.")
            on = _channels(value)
            fields |= {f"{name}.{channel}": on.get(channel) for channel in value}
        else:
            fields[name] = _typed(name, value)
    return fields


def _typed(name: str, value: Any) -> Any:
    """HighLevel refuses texts for its flag and its number; a CSV has only texts."""
    if name == "dnd" and value in ("true", "false"):
        return value == "true"
    if name == "monetaryValue" and isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):  # "nan", which some tools write for nothing, would clear it
            raise Refused("invalid_record", "monetaryValue must be a number.")
        return float(value)
    return value


def _set_change(resource: str, id_: str | None, name: str, members: tuple[str, ...], *, adding: bool) -> Change:
    named = {name: members}
    return Change(
        resource=resource,
        action=Action.UPDATE,
        id=id_,
        add=named if adding else {},
        remove={} if adding else named,
    )


def _asked_custom(given: Any) -> tuple[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise Refused(
            "invalid_record", "Each of customFields needs its id; a key alone does not tell which field it is."
        )
    values = [given[key] for key in ("field_value", "fieldValue", "value") if key in given]
    if not values:
        raise Refused("invalid_record", "Each of customFields needs its field_value.")
    return _CUSTOM + given["id"], values[0]


def _refuse_unwritable(resource: str, action: str, fields: Mapping[str, Any]) -> None:
    known = {
        ("contacts", "create"): _CREATE_FIELDS,
        ("contacts", "upsert"): _CREATE_FIELDS,
        ("opportunities", "create"): _OPPORTUNITY_CREATE_FIELDS,
        ("opportunities", "upsert"): _OPPORTUNITY_CREATE_FIELDS,
        ("opportunities", "update"): _OPPORTUNITY_FIELDS | {"lostReasonId"},
    }.get((resource, action), _CONTACT_FIELDS)
    if unknown := [name for name in fields if not _is_writable(name, known)]:
        raise unwritable(resource, unknown)
    if "lostReasonId" in fields and "status" not in fields:
        raise Refused("invalid_record", "HighLevel sets lostReasonId together with status only: name both.")


def _is_writable(name: str, known: frozenset[str]) -> bool:
    """Custom fields and channels are named after what they belong to: customFields.<id>, dndSettings.SMS."""
    return name in known or name.startswith((_CUSTOM, *_CHANNEL_GROUPS))


def _no_field() -> Refused:
    return Refused("invalid_record", "The update names no field.")


def _body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical fields as HighLevel takes them; a None clears."""
    body: dict[str, Any] = {}
    custom = []
    for name, value in fields.items():
        if name.startswith(_CUSTOM):
            custom.append({"id": name.removeprefix(_CUSTOM), "field_value": "" if value is None else value})
        elif name.startswith(_CHANNEL_GROUPS):
            group, _, channel = name.partition(".")
            body.setdefault(group, {})[channel] = value or {"status": "inactive"}
        elif name == "dateOfBirth" and isinstance(value, str):
            body[name] = value[:10]  # read as a timestamp, written as a day
        elif name == "tags":
            body[name] = list(value or [])
        else:
            body[name] = _CLEARED.get(name) if value is None else value
    return {**body, **({"customFields": custom} if custom else {})}


def _channels(value: Any) -> dict[str, Any]:
    """Do-not-disturb settings without the channels that are simply off."""
    cleaned = {
        channel: {k: v for k, v in (s or {}).items() if v not in (None, "")} for channel, s in (value or {}).items()
    }
    return {channel: s for channel, s in cleaned.items() if s and s != {"status": "inactive"}}


def _tags(value: Any) -> tuple[str, ...]:
    """HighLevel keeps tags trimmed and in lower case."""
    given = value.split(",") if isinstance(value, str) else value  # a CSV has them in one cell
    if not isinstance(given, list) or not all(isinstance(tag, str) for tag in given):
        raise Refused("invalid_record", "tags must be a list of texts.")
    return tuple(dict.fromkeys(tag.strip().lower() for tag in given if tag.strip()))


def _id(value: Any) -> str | None:
    """An id becomes part of a path: nothing but what the vendor's own ids are made of may get there."""
    if value is None or (isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum()):
        return value
    raise Refused("invalid_record", "An id is not one of HighLevel's: they are texts of letters and digits.")


def _business(given: Mapping[str, Any]) -> dict[str, Any]:
    """Null detaches. Raises Refused."""
    if "businessId" not in given:
        raise Refused("invalid_record", "Name the businessId; null detaches.")
    return {"businessId": _id(given.get("businessId") or None)}


def _ids(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or None in value:
        raise Refused("invalid_request", "The request names no records, or not by their ids.")
    return [str(_id(each)) for each in value]


def _parts(positions: Sequence[int]) -> list[Sequence[int]]:
    return [positions[i : i + _BULK_IDS_MAX] for i in range(0, len(positions), _BULK_IDS_MAX)]


def _day(value: Any) -> tuple[str, ...]:
    """Year, month, day of the forms that UpdateContactDto lists, with any of its separators."""
    parts = tuple(re.split(r"[-/._]", str(value)[:10]))
    return parts if len(parts[0]) == 4 else (*parts[2:], *parts[:2])


def _digits(value: Any) -> str:
    return "".join(char for char in str(value) if char.isdigit())


def _says_missing(reply: Reply) -> bool:
    """404, or the 400 "Contact not found" of this vendor; any other 400 says nothing about the record."""
    return reply.status == 404 or (reply.status == 400 and "not found" in _message(reply).lower())


def _message(reply: Reply) -> str:
    """The vendor's sentence: a text or, from its validators, a list of texts."""
    message = reply.part("message")
    texts = message if isinstance(message, list) else [message]
    return "; ".join(str(text) for text in texts if text)[:200]


def _failed(reply: Reply) -> Outcome:
    if reply.status >= 500 or reply.json() is None:
        # An application that answers has ended; a gateway may have given up on one that goes on.
        ended = reply.status == 500 and reply.json() is not None
        return _no_answer("vendor_error" if ended else "no_answer")
    code = {401: "target_refused", 403: "target_refused", 429: "rate_limited"}.get(reply.status, "rejected")
    if _says_missing(reply):
        code = "not_found"
    if reply.status == 400 and reply.part("meta", "contactId"):
        code = DUPLICATE
    return Outcome(status=Status.FAILED, failure=Failure(code, f"HighLevel answered {reply.status}: {_message(reply)}"))


def _no_answer(code: str = "no_answer") -> Outcome:
    return Outcome(
        status=Status.UNKNOWN, failure=Failure(code, "HighLevel's answer does not tell whether it was done.")
    )
