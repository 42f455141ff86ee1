"""The HubSpot handler: see handlers/hubspot/__init__.py."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guard.core.errors import Refused, Unavailable
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
    Reply,
    Request,
    Route,
    Traits,
    Write,
    refuse_unknown_action,
)
from handlers.hubspot import answers, links
from handlers.hubspot.names import (
    BATCH_MAX,
    BATCHES,
    LINK_ROUTES,
    LINKS,
    STANDARD,
    ByObject,
    is_custom,
    named_by_us,
    record_id,
    routes_of,
)
from handlers.hubspot.properties import STAGE, Properties, asked, defined, same

_ACTIONS = ("create", "update", "upsert", "delete")
_CREATED = "createdAt"
_SECOND_EMAILS = "hs_additional_emails"
_WORK = "notes,calls,emails,meetings,tasks,deals,tickets"
"""What people attach to a record. (Companies are not among them: HubSpot links a contact to one by itself.)"""
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
        **{name: Resource(name=name, volatile=frozenset({_CREATED})) for name in STANDARD},
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
        self._types = dict(each.partition("=")[::2] for each in options.get("objects", "").split())
        for name, type_id in self._types.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not is_custom(type_id) or name in self.resources:
                raise ValueError('objects must be like "cars=2-1001 pets=2-1002"; no standard object among them')
        self._names = {type_id: name for name, type_id in self._types.items()}
        self.resources = ByObject({**self.resources, **{n: self._object(n) for n in self._types}}, self._object)
        self.actions = ByObject({**self.actions, **dict.fromkeys(self._types, _ACTIONS)}, lambda _: _ACTIONS)
        self.routes = (*self.routes, *(route for name in self._types for route in routes_of(name)))
        self._properties: dict[str, Properties] = {}

    @staticmethod
    def _object(name: str) -> Resource:
        return Resource(name=name, volatile=frozenset({_CREATED}))

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Bearer {credential}", "accept": "application/json"}

    def route(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Raises Refused for what nobody can take back."""
        path = named_by_us(path, self._names)
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
        return [] if resource == LINKS else [Call(method="GET", path=f"/crm/v3/properties/{self._path(resource)}")]

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        if resource == LINKS:
            return True
        found = defined(replies[0])
        if found is not None:
            self._properties[resource] = found
            volatile = frozenset({_CREATED})
            self.resources[resource] = Resource(name=resource, volatile=volatile, readonly=found.readonly)
        return found is not None

    def _known(self, resource: str) -> Properties:
        if resource not in self._properties:
            detail = f"HubSpot's definitions of {resource} were not read. Nothing was written; try again."
            raise Unavailable("target_unavailable", detail)
        return self._properties[resource]

    def _path(self, resource: str) -> str:
        return self._types.get(resource, resource)

    # The bulk door

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        if resource == LINKS:
            return links.change(action, record, self._names)
        given = record.get("id")
        id_ = None if given is None else record_id(given)
        return self._change(resource, Action(action), id_, record.get("fields") or {})

    def _change(self, resource: str, action: Action, id_: str | None, given: Any) -> Change:
        fields = {} if action is Action.DELETE else asked(resource, given, self._known(resource))
        if action is Action.UPDATE and not fields:
            raise Refused("invalid_record", "The update names no property.")
        return Change(resource=resource, action=action, id=id_, fields=fields)

    # HubSpot's own requests

    def changes(self, route: Route, request: Request) -> list[Change]:
        if route.resource == LINKS:
            return links.changes(route.action, request, self._names)
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
        by, id_ = given.get("idProperty") or "hs_object_id", given.get("id")
        if action is Action.CREATE:
            return self._change(resource, action, None, given.get("properties"))
        if action is Action.UPSERT and "idProperty" not in given:
            raise Refused("invalid_request", "An upsert needs the idProperty that its id is a value of.")
        if by == "hs_object_id" or action is Action.DELETE:
            return self._change(resource, action, record_id(id_), given.get("properties"))
        if by not in self._known(resource).unique or not isinstance(id_, str) or not id_.strip():
            raise Refused("invalid_request", f"{str(by)[:80]} is no property whose values name a record.")
        # Which record it is must be known before it is written: it is searched as an upsert's is.
        named = self._change(resource, Action.UPSERT, None, given.get("properties"))
        return Change(resource=resource, action=Action.UPSERT, fields={by: id_, **named.fields})

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        if resource == LINKS:
            return links.read(ids)
        names = sorted(self._known(resource).writable)
        parts = [tuple(ids[i : i + BATCH_MAX]) for i in range(0, len(ids), BATCH_MAX)]
        return [(self._batch_read(resource, part, names), part) for part in parts]

    def _batch_read(self, resource: str, values: Sequence[str], names: Sequence[str], by: str = "") -> Call:
        """Never a search: what was written just now is not found by one, or found as it was."""
        inputs = [{"id": value} for value in values]
        body = {
            "inputs": inputs,
            "properties": list(names),
            "propertiesWithHistory": [],
            **({"idProperty": by} if by else {}),
        }
        return Call(
            method="POST", path=f"/crm/v3/objects/{self._path(resource)}/batch/read", body=body, repeatable=True
        )

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        if resource == LINKS:
            return links.images(ids, reply)
        answer = answers.answer_of(reply)
        if answer is None:
            return {}
        found, missing = answer.by_id(), answer.missing() if reply.status == 207 else set()
        known = self._properties.get(resource)
        images: dict[str, Image] = {id_: _image(found[id_], known) for id_ in ids if id_ in found}
        return images | {id_: None for id_ in ids if id_ not in found and id_ in missing}

    def find(self, change: Change) -> Call | None:
        calls = self.finds([change])
        return calls[0][0] if calls else None

    def finds(self, changes: Sequence[Change]) -> list[tuple[Call, tuple[int, ...]]]:
        """By the first property that names one record, a hundred values a call."""
        by: dict[tuple[str, str], list[int]] = {}
        for i, change in enumerate(changes):
            if (name := self._naming(change)) is not None:
                by.setdefault((change.resource, name), []).append(i)
        calls = []
        for (resource, name), mine in by.items():
            more = [_SECOND_EMAILS] if name == "email" else []
            for part in (mine[i : i + BATCH_MAX] for i in range(0, len(mine), BATCH_MAX)):
                values = list(dict.fromkeys(str(changes[i].fields[name]).strip() for i in part))
                calls.append((self._batch_read(resource, values, [name, *more], name), tuple(part)))
        return calls

    def _naming(self, change: Change) -> str | None:
        known = self._properties.get(change.resource)
        return next((n for n, value in change.fields.items() if known and n in known.unique and value), None)

    def found(self, change: Change, reply: Reply) -> str | None:
        answer, name = answers.answer_of(reply), self._naming(change)
        if answer is None or name is None:
            raise _not_understood()
        value, known = str(change.fields[name]).strip(), self._properties.get(change.resource)
        for each in answer.results:
            shown = each["properties"]
            second = (shown.get(_SECOND_EMAILS) or "").lower().split(";") if name == "email" else []
            if same(name, value, shown.get(name), known) or value.lower() in second:
                return str(each["id"])
        if reply.status == 207 and value.lower() in {each.strip().lower() for each in answer.missing()}:
            return None
        raise _not_understood()

    def attachments(self, resource: str, id_: str) -> list[Call]:
        """What people have attached to a record is lost to them with it."""
        if resource == LINKS:
            return []
        path = f"/crm/v3/objects/{self._path(resource)}/{id_}"
        return [Call(method="GET", path=path, query={"associations": _WORK}, repeatable=True)]

    def attached(self, resource: str, reply: Reply) -> list[Key] | None:
        if reply.status != 200 or reply.part("id") is None:
            return None
        told = reply.part("associations")
        kinds = told.items() if isinstance(told, dict) else ()
        return [(name, str(each.get("id"))) for name, kind in kinds for each in _results(kind)]

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """What has to be emptied first, then everything else."""
        linked = [(i, change) for i, change in enumerate(changes) if change.resource == LINKS]
        first, second = links.write(linked, before)
        bodies = {i: self._body(change) for i, change in enumerate(changes) if change.resource != LINKS}
        first += self._batches("update", changes, self._emptied(changes, before, bodies))
        for verb, action in BATCHES.items():
            mine = {i: body for i, body in bodies.items() if changes[i].action == action and _says_something(body)}
            if verb != "upsert":
                second += self._batches(verb, changes, mine)
        return [step for step in (first, second) if step]

    def _body(self, change: Change) -> dict[str, Any]:
        """One input of a batch, of properties that can be written; an empty text empties."""
        if change.action is Action.DELETE:
            return {"id": change.id}
        writable = self._known(change.resource).writable
        properties = {n: "" if value is None else value for n, value in change.fields.items() if n in writable}
        if change.action is Action.CREATE:
            return {"properties": properties, "associations": []}
        return {"id": change.id, "properties": properties}

    def _emptied(
        self, changes: Sequence[Change], before: Sequence[Image], bodies: Mapping[int, Mapping[str, Any]]
    ) -> dict[int, dict[str, Any]]:
        """A stage moves back only from none, and only if it was emptied by an earlier request."""
        emptied = {}
        for i, body in bodies.items():
            stage = body.get("properties", {}).get(STAGE)
            if changes[i].action is Action.UPDATE and self._known(changes[i].resource).moves_back(
                (before[i] or {}).get(STAGE), stage
            ):
                emptied[i] = {"id": body["id"], "properties": {STAGE: ""}}
        return emptied

    def _batches(self, verb: str, changes: Sequence[Change], inputs: Mapping[int, Mapping[str, Any]]) -> list[Write]:
        by_object: dict[str, list[int]] = {}
        for i in inputs:
            by_object.setdefault(changes[i].resource, []).append(i)
        return [
            _write(f"/crm/v3/objects/{self._path(resource)}/batch/{verb}", part, [inputs[i] for i in part])
            for resource, mine in by_object.items()
            for part in (mine[i : i + BATCH_MAX] for i in range(0, len(mine), BATCH_MAX))
        ]

    def parts(self, write: Write, reply: Reply) -> list[Write]:
        """A batch that was refused for one record's sake, in halves; until it is that record alone."""
        many = len(write.positions)
        if many < 2 or not write.call.path.startswith("/crm/v3/") or not answers.is_refused_whole(reply):
            return []
        inputs = write.call.body["inputs"]
        halves = (slice(None, many // 2), slice(many // 2, None))
        return [_write(write.call.path, write.positions[half], inputs[half]) for half in halves]

    # Answers

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        if changes[0].resource == LINKS:
            return links.outcomes(changes, reply)
        names = [self.touches(change) for change in changes]
        return answers.outcomes(changes, names, reply, self._properties.get(changes[0].resource))

    def touches(self, change: Change) -> frozenset[str]:
        if change.resource == LINKS:
            return frozenset({"links"})
        derived = (_DERIVED.get(name, set()) for name in change.fields)
        return change.asked().union(*derived)

    def title(self, resource: str, image: Fields) -> str:
        titles = (" ".join(str(image[n]) for n in names if image.get(n)) for names in _TITLES)
        return next((title for title in titles if title), "")

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        return same(name, asked, found, self._properties.get(resource))

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get(_CREATED)

    def reversal(self, change: Change, before: Image) -> Reversal:
        return Reversal(Reversibility.NONE, _DELETION) if change.action is Action.DELETE else FULLY


def _image(result: Mapping[str, Any], known: Properties | None) -> dict[str, Any]:
    """What can be written of a record, as HubSpot shows it. Empty is the same as absent."""
    shown = result["properties"]
    image = {name: value for name, value in shown.items() if value and (known is None or name in known.writable)}
    return {**image, **({_CREATED: result[_CREATED]} if isinstance(result.get(_CREATED), str) else {})}


def _write(path: str, positions: Sequence[int], inputs: Sequence[Mapping[str, Any]]) -> Write:
    traced: Callable[[int], dict[str, str]] = lambda n: {"objectWriteTraceId": answers.traced(n)}  # noqa: E731
    creating = path.endswith("/create")
    body = {"inputs": [{**each, **(traced(n) if creating else {})} for n, each in enumerate(inputs)]}
    return Write(Call(method="POST", path=path, body=body, repeatable=path.endswith("/update")), tuple(positions))


def _says_something(body: Mapping[str, Any]) -> bool:
    return "properties" not in body or bool(body["properties"]) or "id" not in body


def _results(kind: Any) -> list[Mapping[str, Any]]:
    found = kind.get("results") if isinstance(kind, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _not_understood() -> Refused:
    return Refused("invalid_record", "HubSpot's search for this record gave an answer that cannot be understood.")
