"""Keap (Infusionsoft) API v2: contacts with their tags, companies, opportunities, notes and tasks.

Sources: the vendor's OpenAPI file (infusionsoft/keap-sdk, sdks/v2/swagger.yml) and its developer pages about limits.
docs/handlers/keap.md lists what is not verified, and why being wrong there loses nothing. Read by lists of ids, written
one record a call; only tags have bulk calls. A PATCH replaces whole lists: see shapes.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from guard.core.errors import Refused
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Fields,
    Image,
    Key,
    Outcome,
    Restore,
    Reversal,
    Reversibility,
)
from handlers.base import (
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
from handlers.keap import answers, shapes
from handlers.keap.kinds import CUSTOM, IDS_MAX, KINDS, RESOURCES, TAGS, TIMES

_CONTACT_IDS_MAX = 100  # of one call for tags; Keap states no maximum, and one too many fails the call

_DELETION = (
    "Keap's API cannot bring a deleted record back. A revert creates it again, with a new id; "
    "what hung on it (notes, tasks, opportunities, orders, tags, history) is lost with it."
)
_TAG = "A tag that is applied again has a new date, and may start again the automations that start with it."
_CONSENT = "A reason for opting in changes the consent to marketing e-mails, and no API writes the former one back."
_UNSEEN = "Keap did not show what these lists held before, so that nobody could put it back: "


class Keap(Handler):
    name = "keap"
    base_url = "https://api.keap.com/crm"
    traits = Traits(
        read_max=IDS_MAX,
        write_max=1,
        answer_carries_image=True,
        isolated=False,
        restore_deleted=Restore.NEW_ID,
        # A personal access token's 240 a minute, spread so that its 10 a second hold, too. The headers that tell the
        # limit name their interval in words ("minute"), so they are not learnt from.
        limits=Limits(requests=10, per_s=2.5, concurrency=10),
        limit_headers=None,
    )
    resources = RESOURCES
    actions = {
        "contacts": ("create", "update", "upsert", "delete", "tags.add", "tags.remove"),
        **dict.fromkeys(("companies", "opportunities", "notes", "tasks"), ("create", "update", "upsert", "delete")),
    }
    routes = (
        Route("POST", "/rest/v2/tags/{tag}/contacts:applyTags", WRITE, "contacts", "tags.add"),
        Route("POST", "/rest/v2/tags/{tag}/contacts:removeTags", WRITE, "contacts", "tags.remove"),
        Route("POST", "/rest/v2/contacts/{contact}/notes", WRITE, "notes", "create"),
        Route("PATCH", "/rest/v2/contacts/{contact}/notes/{id}", WRITE, "notes", "update"),
        Route("DELETE", "/rest/v2/contacts/{contact}/notes/{id}", WRITE, "notes", "delete"),
        *(
            Route(method, kind.path + place, WRITE, resource, action)
            for resource, kind in KINDS.items()
            if resource != "notes"
            for method, place, action in (
                ("POST", "", "create"),
                ("PATCH", "/{id}", "update"),
                ("DELETE", "/{id}", "delete"),
            )
        ),
    )
    side_effects = (
        "Keap may start automations when a record is written or a tag applied, by a revert too; "
        "what they have sent or started cannot be taken back."
    )

    def __init__(self, options: Mapping[str, str]) -> None:
        if options:
            raise ValueError(f"Keap has no option {min(options)}; it has none at all")
        self._custom: dict[str, frozenset[str]] = {}

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Bearer {credential}", "accept": "application/json"}

    def traits_of(self, resource: str) -> Traits:
        """Companies have no filter for several ids, and an update of one cannot be asked to show all of it."""
        if resource == "companies":
            return replace(self.traits, read_max=1, answer_carries_image=False)
        return self.traits

    # Custom fields

    def describe(self, resource: str) -> list[Call]:
        return [Call(method="GET", path=f"{KINDS[resource].path}/model", repeatable=True)]

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        (reply,) = replies
        fields = reply.part("custom_fields")
        if reply.status != 200 or not isinstance(fields, list):
            return False
        ids = [each.get("id") if isinstance(each, dict) else None for each in fields]
        if not all(isinstance(id_, str) for id_ in ids):
            return False
        self._custom[resource] = frozenset(f"{CUSTOM}.{id_}" for id_ in ids)
        return True

    def _unknown(self, resource: str, fields: Fields) -> list[str]:
        """Custom fields that Keap's model of the object does not have; none, as long as the model is not known."""
        replaced = fields.get(CUSTOM)
        named = {f"{CUSTOM}.{id_}" for id_ in (replaced if isinstance(replaced, dict) else ())}
        named |= {name for name in fields if name.startswith(f"{CUSTOM}.")}
        return sorted(named - self._custom.get(resource, named))

    # The bulk door

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        id_ = _id(record.get("id"))
        if action in ("tags.add", "tags.remove"):
            return _tag_change(id_, _tags(record.get("tags")), adding=action == "tags.add")
        fields = self._asked(resource, record.get("fields") or {}, replacing=False)
        if action == "update" and not fields:
            raise shapes.invalid("The update names no field.")
        if action == "create" and resource == "notes":
            fields = {**fields, "contact_id": _parent(fields.get("contact_id"))}
        return Change(resource=resource, action=Action(action), id=id_, fields=fields)

    def _asked(self, resource: str, given: Any, *, replacing: bool) -> dict[str, Any]:
        fields = shapes.asked(resource, given, replacing=replacing)
        if unknown := self._unknown(resource, fields):
            raise unwritable(resource, unknown)
        return fields

    # The vendor's own requests

    def changes(self, route: Route, request: Request) -> list[Change]:
        for param in request.params.values():
            _id(param)
        body = request.body if request.body is not None else {}
        if not isinstance(body, dict):
            raise Refused("invalid_request", "The body must be a JSON object.")
        if "tag" in request.params:
            tags = (request.params["tag"],)
            adding = route.action == "tags.add"
            return [_tag_change(id_, tags, adding=adding) for id_ in _ids(body.get("contact_ids"))]
        action = Action(route.action)
        named = request.params.get("id")
        if action is Action.DELETE:
            return [Change(resource=route.resource, action=action, id=named)]
        fields = self._asked(route.resource, _masked(body, request.query), replacing=True)
        if action is Action.UPDATE and not fields:
            raise shapes.invalid("The update names no field.")
        if action is Action.CREATE and "contact" in request.params:
            fields["contact_id"] = request.params["contact"]
        if action is Action.CREATE and (option := request.query.get(shapes.DUPLICATES)):
            if option not in shapes.DUPLICATE_KEYS:
                raise Refused("unknown_route", f"Guard knows no {shapes.DUPLICATES} of this name.")
            action, fields[shapes.DUPLICATES] = Action.UPSERT, option
        return [Change(resource=route.resource, action=action, id=named, fields=fields)]

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        most = self.traits_of(resource).read_max
        parts = [tuple(ids[i : i + most]) for i in range(0, len(ids), most)]
        return [(_list(resource, f"{KINDS[resource].ids}=={','.join(part)}"), part) for part in parts]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        return answers.images(resource, ids, reply)

    def find(self, change: Change) -> Call | None:
        wanted = _identity(change)
        if not all(wanted.values()) or any(char in value for value in wanted.values() for char in ";*"):
            return None  # ';' and '*' mean something else in a filter
        return _list(change.resource, ";".join(f"{name}=={value}" for name, value in wanted.items()))

    def found(self, change: Change, reply: Reply) -> str | None:
        """Of several, a creation's is the newest; an upsert's could be any."""
        there = answers.listed(change.resource, reply)
        if there is None or answers.more(reply):
            raise Refused("invalid_record", "Keap's search for this record gave an answer that cannot be understood.")
        matching = [image for image in there.values() if self._matches(change, image)]
        if len(matching) > 1 and change.action is not Action.CREATE:
            raise Refused("invalid_record", "Several records are found by these values: name the id of one.")
        newest = max(matching, key=lambda image: self.created_at(change.resource, image) or "", default=None)
        return str(newest["id"]) if newest else None

    def _matches(self, change: Change, image: Fields) -> bool:
        if change.resource == "contacts":
            asked, option = _identity(change)["email"], change.fields.get(shapes.DUPLICATES, "Email")
            emails = shapes.members_of("email_addresses", image).values()
            if not any(_same_text(asked, each.get("email")) for each in emails):
                return False
            names = shapes.DUPLICATE_KEYS[option]
        else:
            names = KINDS[change.resource].identity
        return all(_same_text(change.fields.get(name), image.get(name)) for name in names)

    def attachments(self, resource: str, id_: str) -> list[Call]:
        """What is deleted with a contact, or loses it; a company's contacts, an opportunity's tasks."""
        hanging = {
            "contacts": {"opportunities": "contact_id", "notes": "contact_id", "tasks": "contact_id"},
            "companies": {"contacts": "company_id"},
            "opportunities": {"tasks": "opportunity_id"},
        }.get(resource, {})
        return [_list(other, f"{name}=={id_}") for other, name in hanging.items()]

    def attached(self, resource: str, reply: Reply) -> list[Key] | None:
        del resource
        for name in KINDS:
            if reply.part(KINDS[name].listed) is not None:
                there = answers.listed(name, reply)
                return None if there is None or answers.more(reply) else [(name, id_) for id_ in there]
        return None

    # Writing

    def completed(self, change: Change, before: Image) -> Change:
        return structs.replace(change, fields=shapes.completed(change, before))

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """Tags first, for the answers to the others show them, too."""
        tags = [*_tag_writes("applyTags", changes), *_tag_writes("removeTags", changes)]
        calls = [(i, _call(self._writable(change), before[i])) for i, change in enumerate(changes)]
        rest = [Write(call, (i,)) for i, call in calls if call]
        return [step for step in (tags, rest) if step]

    def _writable(self, change: Change) -> Change:
        """Without custom fields that somebody has deleted from the account: one of them would have all refused."""
        gone = self._unknown(change.resource, change.fields)
        kept = {name: value for name, value in change.fields.items() if name not in gone}
        return structs.replace(change, fields=kept) if gone else change

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        return answers.outcomes(changes, reply)

    def touches(self, change: Change) -> frozenset[str]:
        asked = change.asked()
        return asked | {"completion_time"} if "completed" in asked else asked

    def title(self, resource: str, image: Fields) -> str:
        if resource == "contacts":
            names = [str(image[name]) for name in ("given_name", "family_name") if image.get(name)]
            emails = [str(each.get("email")) for each in shapes.members_of("email_addresses", image).values()]
            return " ".join(names) or next(iter(emails), "")
        return str(image.get("company_name") or image.get("opportunity_title") or image.get("title") or "")

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        del resource
        if asked in (None, "", [], {}):
            return found in (None, "", [], {}, False)
        if isinstance(asked, dict) and isinstance(found, dict):
            return all(_same_part(part, value, found.get(part)) for part, value in asked.items())
        if name in TIMES:
            return bool(_moment(asked) == _moment(found))
        return bool(asked == found) or _same_text(asked, found)

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get(KINDS[resource].created)

    def reversal(self, change: Change, before: Image) -> Reversal:
        if change.action is Action.DELETE:
            return Reversal(Reversibility.PARTIAL, _DELETION)
        if change.remove:
            return Reversal(Reversibility.PARTIAL, _TAG)
        if shapes.gives_reason(change.fields):
            return Reversal(Reversibility.PARTIAL, _CONSENT)
        if unseen := _unseen(change, before):
            return Reversal(Reversibility.PARTIAL, _UNSEEN + ", ".join(unseen))
        return FULLY


def _unseen(change: Change, before: Image) -> list[str]:
    """Lists that the change replaces, and whose members are not known."""
    groups = {name.partition(".")[0] for name in change.fields}
    return sorted(groups & set((before or {}).get(shapes.UNSEEN, ())))


def _call(change: Change, before: Image) -> Call | None:
    kind = KINDS[change.resource]
    fields = shapes.completed(change, before)
    path = f"{kind.path}/{change.id}"
    if change.resource == "notes":  # they are read by themselves, and written below their contact
        contact = (before or {}).get("contact_id") if change.id else fields.pop("contact_id", None)
        if not isinstance(contact, str) or not contact.isdecimal():
            return None
        path = f"/rest/v2/contacts/{contact}/notes" + (f"/{change.id}" if change.id else "")
    shown: dict[str, Any] = {} if change.resource == "companies" else {"fields": kind.show}
    if change.action is Action.DELETE:
        return Call(method="DELETE", path=path)
    if change.action is Action.CREATE:
        path = path if change.resource == "notes" else kind.path
        return Call(method="POST", path=path, query=shown, body=shapes.creation(change.resource, fields))
    body, mask = shapes.update(change.resource, fields, before)
    if not mask or _unseen(change, before):
        return None
    return Call(method="PATCH", path=path, query={"update_mask": mask, **shown}, body=body, repeatable=True)


def _tag_writes(verb: str, changes: Sequence[Change]) -> list[Write]:
    """One call for each tag and each hundred contacts."""
    by_tag: dict[str, list[int]] = {}
    for i, change in enumerate(changes):
        for tag in (change.add if verb == "applyTags" else change.remove).get(TAGS, ()):
            by_tag.setdefault(tag, []).append(i)
    parts = [
        (tag, positions[i : i + _CONTACT_IDS_MAX])
        for tag, positions in by_tag.items()
        for i in range(0, len(positions), _CONTACT_IDS_MAX)
    ]
    return [
        Write(
            Call(
                method="POST",
                path=f"/rest/v2/tags/{tag}/contacts:{verb}",
                body={"contact_ids": [changes[i].id for i in part]},
                repeatable=True,
            ),
            tuple(part),
        )
        for tag, part in parts
    ]


def _list(resource: str, filter_: str) -> Call:
    kind = KINDS[resource]
    query = {"filter": filter_, "fields": kind.show, "page_size": str(IDS_MAX)}
    return Call(method="GET", path=kind.path, query=query, repeatable=True)


def _identity(change: Change) -> dict[str, str]:
    """What a search needs to find the change's record; empty where the change does not say it."""
    fields = shapes.completed(change, None)
    if change.resource != "contacts":
        return {name: str(fields.get(name) or "") for name in KINDS[change.resource].identity}
    emails = [value for _, value in sorted(shapes.members_of("email_addresses", fields).items()) if value]
    first = emails[0] if emails else ""
    return {"email": str(first.get("email") if isinstance(first, dict) else first).strip()}


def _masked(body: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """The part of a body that its mask lets through. What a mask names and the body does not have would be cleared,
    or not: Keap does not say."""
    if "update_mask" not in query:
        return dict(body)
    mask = [name for name in query["update_mask"].split(",") if name]
    if missing := sorted(set(mask) - set(body)):
        raise Refused("invalid_request", f"The update_mask names {missing[0]}, and the body has no value for it.")
    return {name: body[name] for name in mask}


def _tag_change(id_: str | None, tags: tuple[str, ...], *, adding: bool) -> Change:
    named = {TAGS: tags}
    add, remove = (named, {}) if adding else ({}, named)
    return Change(resource="contacts", action=Action.UPDATE, id=id_, add=add, remove=remove)


def _tags(value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value  # a CSV has them in one cell
    if not isinstance(given, list) or not given:
        raise shapes.invalid("tags must be a list of ids of tags.")
    return tuple(_ids([each.strip() if isinstance(each, str) else each for each in given]))


def _ids(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or None in value:
        raise Refused("invalid_request", "The request names no records, or not by their ids.")
    return list(dict.fromkeys(str(_id(each)) for each in value))


def _id(value: Any) -> str | None:
    """An id becomes part of a path or a filter: nothing but digits may get there."""
    if value is None or (isinstance(value, str) and value.isascii() and value.isdecimal()):
        return value
    raise shapes.invalid("An id is not one of Keap's: they are texts of digits.")


def _parent(value: Any) -> str:
    if (id_ := _id(value)) is None:
        raise shapes.invalid("A note needs its contact_id.")
    return id_


def _same_part(part: str, asked: Any, found: Any) -> bool:
    if part == shapes.REASON:
        return True
    if part == "number":
        return _digits(asked) == _digits(found)
    return _same_text(asked, found)


def _same_text(asked: Any, found: Any) -> bool:
    return str(asked or "").strip().lower() == str(found or "").strip().lower()


def _digits(value: Any) -> str:
    return "".join(char for char in str(value) if char.isdigit())


def _moment(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
