"""The Salesforce handler: see handlers/salesforce/__init__.py."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlencode

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
from handlers.base import Call, Handler, Limits, Page, Reply, Request, Route, Traits, Write, refuse_unknown_action
from handlers.open_ended import OpenEnded
from handlers.salesforce import answers, objects, passed, soap, soql, values, writing
from handlers.salesforce.names import (
    DATA,
    READ_MAX,
    ROUTES,
    WRITE_MAX,
    canonical_id,
    is_object,
    record_id,
)
from handlers.salesforce.objects import STAMPS, Definition, Field
from handlers.salesforce.passed import Named

_ACTIONS = ("create", "update", "upsert", "delete")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_READABLE = re.compile(r"/services/data(?:/(?!.*tooling/).*)?")
_TITLES = (("FirstName", "LastName"), ("Name",), ("Subject",), ("Title",), ("Email",))
_ALL = ""
"""The resource of requests that name their object types in the body, or by the ids alone."""
_FINAL = "Salesforce does not bring deleted records of {} back."
_KEPT = "Records of {} cannot be deleted by the API, so a new one stays."


class Salesforce(Handler):
    name = "salesforce"
    base_url = "https://login.salesforce.com"
    traits = Traits(
        read_max=READ_MAX,
        write_max=WRITE_MAX,
        answer_carries_image=False,
        isolated=False,
        restore_deleted=Restore.SAME_ID,
        # Salesforce counts calls by day only. Few at once: those that meet at a parent record lock each other out.
        limits=Limits(requests=25, per_s=1.0, concurrency=5),
        limit_headers=None,
    )
    resources = {name: Resource(name=name, volatile=STAMPS) for name in ("Account", "Contact")}
    actions = dict.fromkeys(resources, _ACTIONS)
    routes = ROUTES
    side_effects = (
        "Salesforce runs triggers, flows, assignment rules and roll-ups on every write, on those of a revert too, and "
        "may mail a new owner; none of that can be taken back. A deleted record comes back for as long as it is in the "
        "Recycle Bin: 15 days, unless somebody empties it."
    )
    asked_headers = frozenset({"if-match", "if-unmodified-since", "sforce-auto-assign", "sforce-duplicate-rule-header"})
    told_headers = frozenset({"sforce-limit-info"})

    def __init__(self, options: Mapping[str, Any]) -> None:
        """options: domain, the org's My Domain host; client_id, of the app whose client secret the credential is.
        Without the latter the credential is an access token. Raises ValueError."""
        if unknown := set(options) - {"domain", "client_id"}:
            raise ValueError(f"Salesforce has no option {min(unknown)}; it has domain and client_id")
        if not _HOST.fullmatch(options.get("domain", "")):
            raise ValueError('domain must be the host of your org, like "example.my.salesforce.com"')
        self.base_url = f"https://{options['domain']}"
        self._client_id = options.get("client_id", "")
        self.resources = OpenEnded(self.resources, is_object, self._unknown)
        self.actions = OpenEnded(self.actions, is_object, lambda _: _ACTIONS)
        self._definitions: dict[str, Definition] = {}
        self._prefixes: dict[str, str] = {}

    # Who Guard is

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Bearer {credential}", "accept": "application/json"}

    def login(self, credential: str) -> Call | None:
        if not self._client_id:
            return None
        form = {"grant_type": "client_credentials", "client_id": self._client_id, "client_secret": credential}
        typed = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        return Call(method="POST", path="/services/oauth2/token", body=urlencode(form).encode(), headers=typed)

    def token(self, reply: Reply) -> str | None:
        token = reply.part("access_token")
        return token if reply.status == 200 and isinstance(token, str) and token else None

    def expired(self, reply: Reply) -> bool:
        return reply.status == 401 or soap.is_expired(reply)

    def denies(self, reply: Reply) -> bool:
        """403 is also what a used-up daily limit is answered with."""
        codes = {each["errorCode"] for each in answers.errors_of(reply)}
        return reply.status == 401 or (reply.status == 403 and answers.LIMIT not in codes)

    def signed(self, call: Call, credential: str) -> Call:
        return soap.signed(call, credential) if call.path == soap.PATH else call

    # The org's own description

    def describe(self, resource: str) -> list[Call]:
        path = f"{DATA}/sobjects/{resource}/describe" if resource else f"{DATA}/sobjects"
        return [Call(method="GET", path=path, repeatable=True)]

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        (reply,) = replies
        if resource == _ALL:
            listed = reply.part("sobjects")
            told = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
            self._prefixes = {str(each.get("keyPrefix")): str(each.get("name")) for each in told} or self._prefixes
            return bool(told)
        if reply.status == 404:
            raise Refused("unknown_resource", f"This Salesforce org has no object {resource}, or does not show it.")
        found = objects.defined(reply)
        if found is None:
            return False
        if found.name != resource:
            raise Refused("unknown_resource", f"{resource} is called {found.name}: Guard knows it by that name only.")
        self._definitions[resource] = found
        self.resources = OpenEnded({**self.resources, resource: found.resource()}, is_object, self._unknown)
        return True

    @staticmethod
    def _unknown(name: str) -> Resource:
        return Resource(name=name, volatile=STAMPS)

    def _known(self, resource: str) -> Definition:
        if resource not in self._definitions:
            detail = f"Salesforce's description of {resource} was not read. Nothing was written; try again."
            raise Unavailable("target_unavailable", detail)
        return self._definitions[resource]

    # The bulk door

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        return self._change(resource, Action(action), record.get("id"), record.get("fields"))

    def _change(self, resource: str, action: Action, id_: Any, given: Any) -> Change:
        known = self._known(resource)
        named = None if id_ is None else self._own_id(known, id_)
        if action is Action.DELETE:
            return Change(resource=resource, action=action, id=named)
        creating = action is Action.CREATE or (action is Action.UPSERT and named is None)
        updating = action in (Action.UPDATE, Action.UPSERT)
        fields = values.asked(known, given or {}, creating=creating, updating=updating)
        if action is Action.UPDATE and not fields:
            raise Refused("invalid_record", "The update names no field.")
        return Change(resource=resource, action=action, id=named, fields=fields)

    def _own_id(self, known: Definition, value: Any) -> str:
        id_ = record_id(value)
        if known.prefix and not id_.startswith(known.prefix):
            detail = f"{id_} is no id of {known.name}: those begin with {known.prefix}. Nothing was written."
            raise Refused("invalid_record", detail)
        return id_

    # Salesforce's own requests

    def refuse_disguised(self, method: str, path: str, query: Mapping[str, str]) -> None:
        if not _READABLE.fullmatch(unquote(path).lower()):
            detail = "Guard lets no calls of Apex, SOAP (merges among them) and tools through: some write by GET."
            raise Refused("unknown_route", f"{detail} Nothing was sent.")
        if any(name.lower() == "_httpmethod" for name in query):
            raise Refused("unknown_route", "A request with _HttpMethod is another one than it seems. Nothing was sent.")

    def resources_of(self, route: Route, request: Request) -> list[str]:
        return passed.resources(route, request, self._prefixes)

    def changes(self, route: Route, request: Request) -> list[Change]:
        self.resources_of(route, request)
        changes = [self._named(each) for each in passed.records(route, request, self._prefixes)]
        ids = [change.id for change in changes if change.id]
        if len(set(ids)) < len(ids):
            raise Refused("invalid_request", "Two of the records are the same one. Nothing was written.")
        return changes

    def _named(self, record: Named) -> Change:
        resource, by = record.resource, record.by
        if not by:
            return self._change(resource, record.action, record.id, record.fields)
        field = self._known(resource).get(by)
        if field is None or not (field.external or field.lookup) or record.value in (None, ""):
            raise Refused("invalid_request", f"{by[:80]!r} is no field of {resource} whose values name a record.")
        change = self._change(resource, record.action, None, {field.name: record.value, **record.fields})
        # Which record it is must be known before it is written: it is searched by just this field.
        if self._naming(change) != field:
            raise Refused("invalid_request", "The record has another external id than the one it is to be found by.")
        return change

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        """By ids, 2,000 a call; a query would show the same, of as many as fit into an address."""
        path, fields = f"{DATA}/composite/sobjects/{resource}", self._known(resource).readable()
        parts = [tuple(ids[i : i + READ_MAX]) for i in range(0, len(ids), READ_MAX)]
        bodies = [{"ids": _asked_for(part), "fields": fields} for part in parts]
        calls = [Call(method="POST", path=path, body=body, repeatable=True) for body in bodies]
        return list(zip(calls, parts, strict=True))

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        rows, asked, known = reply.json(), _asked_for(ids), self._definitions.get(resource)
        if reply.status != 200 or known is None or not isinstance(rows, list) or len(rows) != len(asked):
            return {}
        images: dict[str, Image] = {id_: None for id_ in ids if id_ not in set(asked)}
        for id_, row in zip(asked, rows, strict=True):  # in the order of the request; null: there is none
            if row is None:
                images[id_] = None
            elif isinstance(row, dict) and canonical_id(row.get("Id")) == id_:
                image = values.image_of(row, known)
                images |= {} if image is None else {id_: image}
        return images

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        return soql.meant(self._known(resource).name, where, cursor)

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        del resource, where
        return soql.page(reply)

    def find(self, change: Change) -> Call | None:
        calls = self.finds([change])
        return calls[0][0] if calls else None

    def finds(self, changes: Sequence[Change]) -> list[tuple[Call, tuple[int, ...]]]:
        by: dict[tuple[str, str], dict[int, Any]] = {}
        for i, change in enumerate(changes):
            if (field := self._naming(change)) is not None:
                by.setdefault((change.resource, field.name), {})[i] = change.fields[field.name]
        return [
            (soql.those_with(resource, name, list(part.values())), tuple(part))
            for (resource, name), values in by.items()
            for part in soql.in_parts(values, WRITE_MAX)
        ]

    def _naming(self, change: Change) -> Field | None:
        """The first external id that the change names, else the first other field by which Salesforce finds records."""
        known = self._definitions.get(change.resource)
        named = [f for n, value in change.fields.items() if known and value not in (None, "") and (f := known.get(n))]
        external = (field for field in named if field.external)
        return next(external, next((field for field in named if field.lookup), None))

    def found(self, change: Change, reply: Reply) -> str | None:
        rows, field = soql.rows_of(reply), self._naming(change)
        if rows is None or field is None:
            raise Refused(
                "invalid_record", "Salesforce's search for this record gave an answer that says nothing sure."
            )
        asked = change.fields[field.name]
        ids = [row["Id"] for row in rows if values.names(field, asked, row.get(field.name))]
        if len(ids) > 1:
            raise Refused("invalid_record", f"Several records have this {field.name}: name the id.")
        return canonical_id(ids[0]) if ids else None

    def all_attachments(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        known = self._definitions.get(resource)
        parts = [tuple(ids[i : i + WRITE_MAX]) for i in range(0, len(ids), WRITE_MAX)]
        return [
            (call, part) for part in parts for call in soql.hanging_on(resource, part, known.children if known else ())
        ]

    def all_attached(self, resource: str, call: Call, ids: Sequence[str], reply: Reply) -> dict[str, list[Key]]:
        rows, known = soql.rows_of(reply), self._definitions.get(resource)
        if rows is None or known is None:
            return {}
        found = {str(canonical_id(row["Id"])): soql.hanging(row, known.children) for row in rows}
        return {id_: keys for id_, keys in found.items() if keys is not None}

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """One step: what became of one record is never another's business."""
        made = writing.writes(changes, before, self._known)
        return [made] if made else []

    def parts(self, write: Write, reply: Reply) -> list[Write]:
        return writing.halves(write, reply)

    # Answers

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        if changes[0].origin and soap.is_soap(reply):
            return soap.undeleted(changes, reply)
        return answers.outcomes(changes, reply)

    def touches(self, change: Change) -> frozenset[str]:
        known, asked = self._definitions.get(change.resource), change.asked()
        return asked.union(*(known.derived(name) for name in asked)) if known else asked

    def title(self, resource: str, image: Fields) -> str:
        titles = (" ".join(str(image[n]) for n in names if image.get(n)) for names in _TITLES)
        return next((title for title in titles if title), "")

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        known = self._definitions.get(resource)
        return values.alike(known.get(name) if known else None, asked, found)

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get("CreatedDate")

    def reversal(self, change: Change, before: Image) -> Reversal:
        known = self._definitions.get(change.resource)
        if known and change.action is Action.DELETE and not known.undeletable:
            return Reversal(Reversibility.NONE, _FINAL.format(known.name))
        if known and change.action is Action.CREATE and not change.origin and not known.deletable:
            return Reversal(Reversibility.NONE, _KEPT.format(known.name))
        return FULLY


def _asked_for(ids: Sequence[str]) -> list[str]:
    """What is no id is the name of no record, and one of them would spoil the call for all."""
    return [id_ for id_ in ids if canonical_id(id_) == id_]
