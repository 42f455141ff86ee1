"""Keap (Infusionsoft) API v2: contacts with their tags, companies, opportunities, notes and tasks.

Sources: the vendor's OpenAPI file (infusionsoft/keap-sdk, sdks/v2/swagger.yml) and its developer pages about limits.
docs/handlers/keap.md lists what is not verified, and why being wrong there loses nothing. Read by lists of ids, written
one record a call; only tags have bulk calls. A PATCH replaces whole lists: see shapes.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    Page,
    Reply,
    Request,
    Route,
    Traits,
    Write,
    refuse_unknown_action,
    unwritable,
)
from handlers.keap import alike, answers, shapes
from handlers.keap.alike import same_text
from handlers.keap.calls import hanging, identity, listing, meant, tagging, unseen, writing
from handlers.keap.kinds import CUSTOM, HANGING, IDS_MAX, KINDS, RESOURCES, TAGS
from handlers.keap.requests import id_of, ids_of, masked, parent_of, tag_change, tag_ids

_DELETION = (
    "Keap's API cannot bring a deleted record back. A revert creates it again, with a new id; "
    "what hung on it (notes, tasks, opportunities, orders, the dates of its tags, history) is lost with it."
)
_TAG = (
    "The tag is applied again, to the same contacts. What is lost is the date at which it was first applied: Keap "
    "takes no date with a tag, so it shows that of the revert. Automations that start with the tag may start once more."
)
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
        id_ = id_of(record.get("id"))
        if action in ("tags.add", "tags.remove"):
            return tag_change(id_, tag_ids(record.get("tags")), adding=action == "tags.add")
        fields = self._asked(resource, record.get("fields") or {}, replacing=False)
        if action == "update" and not fields:
            raise shapes.invalid("The update names no field.")
        if action == "create" and resource == "notes":
            fields = {**fields, "contact_id": parent_of(fields.get("contact_id"))}
        return Change(resource=resource, action=Action(action), id=id_, fields=fields)

    def _asked(self, resource: str, given: Any, *, replacing: bool) -> dict[str, Any]:
        fields = shapes.asked(resource, given, replacing=replacing)
        if unknown := self._unknown(resource, fields):
            raise unwritable(resource, unknown)
        return fields

    # The vendor's own requests

    def changes(self, route: Route, request: Request) -> list[Change]:
        for param in request.params.values():
            id_of(param)
        body = request.body if request.body is not None else {}
        if not isinstance(body, dict):
            raise Refused("invalid_request", "The body must be a JSON object.")
        if "tag" in request.params:
            tags = (request.params["tag"],)
            adding = route.action == "tags.add"
            return [tag_change(id_, tags, adding=adding) for id_ in ids_of(body.get("contact_ids"))]
        action = Action(route.action)
        named = request.params.get("id")
        if action is Action.DELETE:
            return [Change(resource=route.resource, action=action, id=named)]
        fields = self._asked(route.resource, masked(body, request.query), replacing=True)
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
        return [(listing(resource, f"{KINDS[resource].ids}=={','.join(part)}"), part) for part in parts]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        return answers.images(resource, ids, reply)

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        return meant(resource, where, cursor)

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        del where
        rows = answers.listed(resource, reply)
        return None if rows is None else Page(list(rows), reply.part("next_page_token") or None)

    def find(self, change: Change) -> Call | None:
        wanted = identity(change)
        if not all(wanted.values()) or any(char in value for value in wanted.values() for char in ";*"):
            return None  # ';' and '*' mean something else in a filter
        return listing(change.resource, ";".join(f"{name}=={value}" for name, value in wanted.items()))

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
            asked, option = identity(change)["email"], change.fields.get(shapes.DUPLICATES, "Email")
            emails = shapes.members_of("email_addresses", image).values()
            if not any(same_text(asked, each.get("email")) for each in emails):
                return False
            names = shapes.DUPLICATE_KEYS[option]
        else:
            names = KINDS[change.resource].identity
        return all(same_text(change.fields.get(name), image.get(name)) for name in names)

    def attachments(self, resource: str, id_: str) -> list[Call]:
        return [hanging(other, f"{name}=={id_}") for other, name in HANGING.get(resource, {}).items()]

    def attached(self, resource: str, reply: Reply) -> list[Key] | None:
        return answers.attached(HANGING[resource], reply)

    # Writing

    def completed(self, change: Change, before: Image) -> Change:
        return structs.replace(change, fields=shapes.completed(change, before))

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """Tags first, for the answers to the others show them, too."""
        tags = [*tagging("applyTags", changes), *tagging("removeTags", changes)]
        calls = [(i, writing(self._writable(change), before[i])) for i, change in enumerate(changes)]
        rest = [Write(call, (i,)) for i, call in calls if call]
        return [step for step in (tags, rest) if step]

    def afterwards(self, changes: Sequence[Change]) -> list[Write]:
        """No create takes tags."""
        tagged = [structs.replace(change, add={TAGS: tuple(change.fields.get(TAGS, ()))}) for change in changes]
        return tagging("applyTags", tagged)

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
        return alike.same(name, asked, found)

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get(KINDS[resource].created)

    def reversal(self, change: Change, before: Image) -> Reversal:
        if change.action is Action.DELETE:
            return Reversal(Reversibility.PARTIAL, _DELETION)
        if change.remove:
            return Reversal(Reversibility.PARTIAL, _TAG)
        if shapes.gives_reason(change.fields):
            return Reversal(Reversibility.PARTIAL, _CONSENT)
        if hidden := unseen(change, before):
            return Reversal(Reversibility.PARTIAL, _UNSEEN + ", ".join(hidden))
        return FULLY
