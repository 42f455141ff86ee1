"""The HubSpot handler: see handlers/hubspot/__init__.py."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from handlers.hubspot import answers, batches, links
from handlers.hubspot.account import Account
from handlers.hubspot.batches import CREATED
from handlers.hubspot.names import (
    BATCH_MAX,
    BATCHES,
    LINK_ROUTES,
    LINKS,
    STANDARD,
    is_custom,
    named_by_us,
    record_id,
    routes_of,
)
from handlers.hubspot.properties import asked, defined, same
from handlers.open_ended import OpenEnded

_ACTIONS = ("create", "update", "upsert", "delete")
_DERIVED = {
    "dealstage": {"closedate"},
    "pipeline": {"dealstage", "closedate"},
    "hs_pipeline": {"hs_pipeline_stage"},
}
"""Writable properties that HubSpot may change together with another one."""
_TITLES = (("firstname", "lastname"), ("dealname",), ("subject",), ("name",), ("email",))
_PERMANENT = re.compile(r".*/(merge|gdpr-delete)")
_DELETION = (
    "HubSpot's API cannot bring a deleted record back. People can, for 90 days, in HubSpot under 'Restore records': "
    "with its id, its history and its associations. A revert names the records, and leaves that to them."
)


class HubSpot(Handler):
    name = "hubspot"
    base_url = "https://api.hubapi.com"
    traits = Traits(
        read_max=BATCH_MAX,
        write_max=BATCH_MAX,
        answer_carries_image=True,
        isolated=False,
        restore_deleted=Restore.NEVER,
        limits=Limits(requests=100, per_s=10.0, concurrency=10),
        limit_headers=LimitHeaders(
            maximum="x-hubspot-ratelimit-max",
            remaining="x-hubspot-ratelimit-remaining",
            interval_ms="x-hubspot-ratelimit-interval-milliseconds",
        ),
    )
    resources = {
        **{name: Resource(name=name, volatile=frozenset({CREATED})) for name in STANDARD},
        LINKS: Resource(name=LINKS, sets=frozenset({"links"})),
    }
    actions = {**dict.fromkeys(STANDARD, _ACTIONS), LINKS: ("links.add", "links.remove")}
    routes = (*(route for name in STANDARD for route in routes_of(name)), *LINK_ROUTES)
    side_effects = (
        "HubSpot enrols records in workflows, mails included, when properties change, by a revert too; what those did, "
        "and the times at which it keeps that a stage was entered, cannot be taken back."
    )

    def __init__(self, options: Mapping[str, str]) -> None:
        """options: objects, names for custom objects: "cars=2-1001 pets=2-1002". Raises ValueError."""
        if unknown := set(options) - {"objects"}:
            raise ValueError(f"HubSpot has no option {min(unknown)}; it has objects")
        self._account = account = Account(options.get("objects", ""))
        self.resources = OpenEnded(
            {**self.resources, **{n: self._object(n) for n in account.types}}, is_custom, self._object
        )
        self.actions = OpenEnded(
            {**self.actions, **dict.fromkeys(account.types, _ACTIONS)}, is_custom, lambda _: _ACTIONS
        )
        self.routes = (*self.routes, *(route for name in account.types for route in routes_of(name)))

    def traits_of(self, resource: str) -> Traits:
        """No answer shows all links of a record."""
        return self.traits if resource != LINKS else replace(self.traits, answer_carries_image=False)

    @staticmethod
    def _object(name: str) -> Resource:
        return Resource(name=name, volatile=frozenset({CREATED}))

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Bearer {credential}", "accept": "application/json"}

    def route(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Raises Refused for what nobody can take back."""
        path = named_by_us(path, self._account.names)
        if method == "POST" and _PERMANENT.fullmatch(path.rstrip("/")):
            detail = "Nobody can take back a merge or a GDPR deletion, so Guard lets none through. Nothing was written."
            raise Refused("irreversible", detail)
        found = super().route(method, path)
        kind = path.split("/")[4] if path.startswith("/crm/v3/objects/") else ""
        if found is None and is_custom(kind):
            matches = ((route, route.match(method, path)) for route in routes_of(kind))
            found = next(((route, params) for route, params in matches if params is not None), None)
        return found

    # The account's own definitions

    def describe(self, resource: str) -> list[Call]:
        return (
            [] if resource == LINKS else [Call(method="GET", path=f"/crm/v3/properties/{self._account.path(resource)}")]
        )

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        if resource == LINKS:
            return True
        found = defined(replies[0])
        if found is not None:
            self._account.properties[resource] = found
            volatile = frozenset({CREATED})
            self.resources[resource] = Resource(name=resource, volatile=volatile, readonly=found.readonly)
        return found is not None

    # The bulk door

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        if resource == LINKS:
            return links.change(action, record, self._account.types)
        given = record.get("id")
        id_ = None if given is None else record_id(given)
        return self._change(resource, Action(action), id_, record.get("fields") or {})

    def _change(self, resource: str, action: Action, id_: str | None, given: Any) -> Change:
        fields = {} if action is Action.DELETE else asked(resource, given, self._account.known(resource))
        if action is Action.UPDATE and not fields:
            raise Refused("invalid_record", "The update names no property.")
        return Change(resource=resource, action=action, id=id_, fields=fields)

    def named(self, resource: str, id_: Any) -> str:
        return links.link_id(id_, self._account.types) if resource == LINKS else record_id(id_)

    # HubSpot's own requests

    def changes(self, route: Route, request: Request) -> list[Change]:
        if route.resource == LINKS:
            return links.changes(route.action, request, self._account.types)
        body = request.body if isinstance(request.body, dict) else {}
        kind, _, verb = route.action.partition(".")
        if kind != "batch":
            if "idProperty" in request.query:
                body = {**body, "idProperty": request.query["idProperty"]}
            return [self._one(route.resource, Action(kind), {**body, "id": request.params.get("id")})]
        inputs = body.get("inputs")
        if not isinstance(inputs, list) or not inputs or not all(isinstance(each, dict) for each in inputs):
            raise Refused("invalid_request", "inputs must be a list of objects. Nothing was written.")
        if len(inputs) > BATCH_MAX:
            raise Refused("invalid_request", f"HubSpot takes {BATCH_MAX} inputs at most. Nothing was written.")
        return [self._one(route.resource, Action(BATCHES[verb]), each) for each in inputs]

    def _one(self, resource: str, action: Action, given: Mapping[str, Any]) -> Change:
        """One input of a batch, or a request about one record."""
        by, id_ = str(given.get("idProperty") or "hs_object_id"), given.get("id")
        if action is Action.CREATE:
            return self._change(resource, action, None, given.get("properties"))
        if action is Action.UPSERT and "idProperty" not in given:
            raise Refused("invalid_request", "An upsert needs the idProperty that its id is a value of.")
        if by == "hs_object_id" or action is Action.DELETE:
            return self._change(resource, action, record_id(id_), given.get("properties"))
        if by not in self._account.known(resource).unique or not isinstance(id_, str) or not id_.strip():
            raise Refused("invalid_request", f"{by[:80]} is no property whose values name a record.")
        # Which record it is must be known before it is written: it is searched as an upsert's is.
        named = self._change(resource, Action.UPSERT, None, given.get("properties"))
        return Change(resource=resource, action=Action.UPSERT, fields={by: id_, **named.fields})

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        return links.read(ids) if resource == LINKS else batches.read(self._account, resource, ids)

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        if resource == LINKS:
            return links.images(ids, reply)
        return batches.images(ids, reply, self._account.properties.get(resource))

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        if resource == LINKS:
            return super().search(resource, where, cursor)
        return batches.search(self._account, resource, where, cursor)

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        del resource, where
        return batches.page(reply)

    def find(self, change: Change) -> Call | None:
        calls = self.finds([change])
        return calls[0][0] if calls else None

    def finds(self, changes: Sequence[Change]) -> list[tuple[Call, tuple[int, ...]]]:
        return batches.finds(self._account, changes)

    def found(self, change: Change, reply: Reply) -> str | None:
        return batches.found(change, reply, self._account.properties.get(change.resource))

    def all_attachments(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        return [] if resource == LINKS else links.attachments(self._account.path(resource), ids)

    def all_attached(self, resource: str, call: Call, ids: Sequence[str], reply: Reply) -> dict[str, list[Key]]:
        return links.attached(call, ids, reply)

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        linked = {i: change for i, change in enumerate(changes) if change.resource == LINKS}
        records = {i: change for i, change in enumerate(changes) if change.resource != LINKS}
        steps = zip(links.write(linked, before), batches.write(self._account, records, before), strict=True)
        return [step for one, other in steps if (step := [*one, *other])]

    def parts(self, write: Write, reply: Reply) -> list[Write]:
        return batches.parts(write, reply)

    # Answers

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        if changes[0].resource == LINKS:
            return links.outcomes(changes, reply)
        names = [self.touches(change) for change in changes]
        return answers.outcomes(changes, names, reply, self._account.properties.get(changes[0].resource))

    def touches(self, change: Change) -> frozenset[str]:
        if change.resource == LINKS:
            return frozenset({"links"})
        derived = (_DERIVED.get(name, set()) for name in change.fields)
        return change.asked().union(*derived)

    def title(self, resource: str, image: Fields) -> str:
        titles = (" ".join(str(image[n]) for n in names if image.get(n)) for names in _TITLES)
        return next((title for title in titles if title), "")

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        return same(name, asked, found, self._account.properties.get(resource))

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get(CREATED)

    def reversal(self, change: Change, before: Image) -> Reversal:
        return Reversal(Reversibility.NONE, _DELETION) if change.action is Action.DELETE else FULLY
