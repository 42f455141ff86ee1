"""The Tryton handler: see handlers/tryton/__init__.py."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from guard.core.errors import Refused, Unavailable
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Fields,
    Image,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
)
from handlers.base import Call, Handler, Limits, Page, Reply, Request, Route, Traits, Write, refuse_unknown_action
from handlers.open_ended import OpenEnded
from handlers.tryton import answers, calls, models
from handlers.tryton.calls import READ_MAX, STAMP, WRITE_MAX, is_model, record_id
from handlers.tryton.models import Model

_DATABASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_OPTIONS = frozenset({"database", "user", "context", "keys"})
_DELETED = Reversal(
    Reversibility.PARTIAL,
    "Tryton creates a deleted record again under a new id. What was deleted with it (a party's addresses and contact "
    "mechanisms) and what Tryton only lets its own client write is lost; one that was not active comes back active. "
    "Setting active to false hides a record whole.",
)


def _resource(name: str) -> Resource:
    return Resource(name=name, volatile=models.STAMPS)


class _Named(NamedTuple):
    """A record that is written, and what it is written with."""

    position: int
    id: Any
    stamp: Any
    values: Mapping[str, Any] = {}


class Tryton(Handler):
    name = "tryton"
    base_url = ""
    structured_options = True
    traits = Traits(
        read_max=READ_MAX,
        write_max=WRITE_MAX,
        answer_carries_image=False,
        isolated=False,
        restore_deleted=Restore.NEW_ID,
        # Tryton has no limit. Few at once: on SQLite those that write wait for each other, elsewhere they may clash.
        limits=Limits(requests=20, per_s=1.0, concurrency=4),
        limit_headers=None,
    )
    resources = {"party.party": _resource("party.party")}
    side_effects = (
        "Tryton runs its modules' own code on every write, on those of a revert too: mails of notification modules, "
        "queued tasks, other records that are kept up to date. None of that is taken back with the record."
    )

    def __init__(self, options: Mapping[str, Any]) -> None:
        """options: database and user (whose password the credential is); context, sent with every call (language,
        company); keys, by model the field that tells one record from another, for upserts. Raises ValueError."""
        if unknown := set(options) - _OPTIONS:
            raise ValueError(f"Tryton has no option {min(unknown)}; it has {', '.join(sorted(_OPTIONS))}")
        database, user = options.get("database"), options.get("user")
        if not isinstance(database, str) or not _DATABASE.fullmatch(database):
            raise ValueError("database must be the name of Tryton's database")
        if not isinstance(user, str) or not user or ":" in user:
            raise ValueError("user must be the login of the user that Guard is to Tryton")
        context, keys = options.get("context", {}), options.get("keys", {})
        if not isinstance(context, Mapping) or any(name.startswith("_") or name == "active_test" for name in context):
            raise ValueError('context must be a table like { language = "en", company = 1 }')
        if not isinstance(keys, Mapping) or not all(is_model(m) and isinstance(f, str) for m, f in keys.items()):
            raise ValueError('keys must be a table of models and fields like { "party.party" = "code" }')
        self._database, self._user, self._context, self._keys = database, user, dict(context), dict(keys)
        self._models: dict[str, Model] = {}
        self.resources = OpenEnded(
            {name: _resource(name) for name in ("party.party", *self._keys)}, is_model, _resource
        )
        self.actions = OpenEnded({name: self._actions(name) for name in self.resources}, is_model, self._actions)
        self.routes = calls.routes(database)

    def _actions(self, model: str) -> tuple[str, ...]:
        return ("create", "update", *(["upsert"] if model in self._keys else []), "delete")

    # Who Guard is

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Session {credential}"}

    def login(self, credential: str) -> Call | None:
        params = [self._user, {"password": credential}, self._context.get("language")]
        return calls.rpc(self._database, "common.db.login", params)

    def token(self, reply: Reply) -> str | None:
        match answers.result(reply):
            case [int(user), str(session), *_] if session:
                return b64encode(f"{self._user}:{user}:{session}".encode()).decode()
        return None

    def denies(self, reply: Reply) -> bool:
        """403 is also the answer to a method that a model does not have."""
        return reply.status == 401

    # What Tryton says of its models

    def describe(self, resource: str) -> list[Call]:
        if not resource:
            return []
        return [self._rpc(resource, "fields_get", [], 0, repeatable=True)]

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        (reply,) = replies
        if reply.part("error") == [f"'{resource}'", ""] or reply.status == 403:
            raise Refused("unknown_resource", f"This Tryton has no model {resource} that Guard may use.")
        known = models.defined(resource, answers.result(reply))
        if known is None:
            return False
        self._models[resource] = known
        self.resources = OpenEnded({**self.resources, resource: known.resource()}, is_model, _resource)
        return True

    def _known(self, resource: str) -> Model:
        if resource not in self._models:
            detail = f"Tryton's description of {resource} was not read. Nothing was written; try again."
            raise Unavailable("target_unavailable", detail)
        return self._models[resource]

    # Both doors

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        id_ = None if record.get("id") is None else record_id(record["id"])
        given = {} if action == "delete" else record.get("fields") or {}
        return Change(
            resource=resource, action=Action(action), id=id_, fields=models.asked(self._known(resource), given)
        )

    def place(self, path: str, content: bytes) -> str:
        return calls.place(path, content)

    def refuse_disguised(self, method: str, path: str, query: Mapping[str, str]) -> None:
        if method != "POST" or path != calls.path_of(self._database) or query:
            detail = f"Of Tryton Guard knows POST {calls.path_of(self._database)}; what else is there may write."
            raise Refused("unknown_route", f"{detail} Nothing was sent.")

    def resources_of(self, route: Route, request: Request) -> list[str]:
        if not is_model(request.params.get("model")):
            raise Refused("unknown_route", "This is no name of a model. Nothing was written.")
        return [request.params["model"]]

    def changes(self, route: Route, request: Request) -> list[Change]:
        (resource,) = self.resources_of(route, request)
        model, (*params, context) = self._known(resource), _params(request.body)
        if {name: value for name, value in context.items() if name != STAMP} != self._context:
            detail = f"A write must have the context that Guard reads with, {self._context}: see its settings."
            raise Refused("invalid_record", f"{detail} Nothing was written.")
        match route.action, params:
            case "create", [[*records]] if records:
                return [self._passed(model, Action.CREATE, None, each) for each in records]
            case "update", [_, _, *_] if len(params) % 2 == 0:
                each = zip(params[::2], params[1::2], strict=True)
                pairs = [(id_, values) for ids, values in each for id_ in _ids(ids)]
            case "delete", [ids]:
                pairs = [(id_, {}) for id_ in _ids(ids)]
            case _:
                raise Refused("invalid_record", "Tryton has other params for this. Nothing was written.")
        if len({id_ for id_, _ in pairs}) < len(pairs) or not pairs:
            raise Refused("invalid_record", "Every record is to be named once. Nothing was written.")
        return [self._passed(model, Action(route.action), id_, values) for id_, values in pairs]

    def _passed(self, model: Model, action: Action, id_: str | None, given: Any) -> Change:
        if not isinstance(given, dict):
            raise Refused("invalid_record", "The values of a record are an object. Nothing was written.")
        linked = {name: models.linked(name, given[name]) for name in given if name in model.links}
        fields = models.asked(model, {name: value for name, value in given.items() if name not in linked})
        add = {name: added for name, (added, _) in linked.items() if added}
        remove = {name: removed for name, (_, removed) in linked.items() if removed}
        return Change(resource=model.name, action=action, id=id_, fields=fields, add=add, remove=remove)

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        """By a search: a read fails as a whole where one of the records is not there."""
        parts = [tuple(ids[i : i + READ_MAX]) for i in range(0, len(ids), READ_MAX)]
        return [(self._search(resource, [["id", "in", calls.numbers(part)]]), part) for part in parts]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        found = self._found(resource, reply)
        return {} if found is None else {id_: found.get(id_) for id_ in ids}

    def _found(self, resource: str, reply: Reply) -> dict[str, Image] | None:
        rows, model = answers.result(reply), self._known(resource)
        if not isinstance(rows, list):
            return None
        images = [image for row in rows if (image := models.image_of(model, row)) is not None]
        return {image["id"]: image for image in images} if len(images) == len(rows) else None

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        """{"domain": [["name", "ilike", "A%"]]}, by ids upwards: so no record is missed while others come and go."""
        domain = where.get("domain")
        if set(where) != {"domain"} or not isinstance(domain, list) or not domain:
            raise Refused("invalid_request", "A filter of Tryton has domain: a list of clauses that is not empty.")
        context = {**self._context, "active_test": False}
        params = [[domain, ["id", ">", int(cursor or 0)]], 0, READ_MAX, [["id", "ASC"]], context]
        return calls.rpc(self._database, f"model.{resource}.search", params, repeatable=True)

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        """Raises Refused where Tryton does not know a field or an operator of the domain."""
        del resource, where
        if answers.error(reply):
            raise Refused("invalid_request", "Tryton does not take this domain. Nothing was written.")
        ids = answers.result(reply)
        if not isinstance(ids, list) or not all(isinstance(id_, int) for id_ in ids):
            return None
        return Page([str(id_) for id_ in ids], ids[-1] if len(ids) == READ_MAX else None)

    def find(self, change: Change) -> Call | None:
        """An upsert finds its record by the key of the settings. A creation whose answer was lost is searched by all
        that it says of itself: if there are two like it, it stays in doubt."""
        model = self._known(change.resource)
        names = {self._keys.get(model.name, "")} if change.action is Action.UPSERT else model.plain
        given = {name: change.fields.get(name) for name in sorted(names)}
        domain = [
            [name, "=", models.sent(model, name, value)] for name, value in given.items() if value not in (None, "")
        ]
        return self._search(model.name, domain, 2) if domain else None

    def found(self, change: Change, reply: Reply) -> str | None:
        found = self._found(change.resource, reply)
        if found is None or len(found) > 1:
            raise Refused("invalid_record", "The search for this record told no single one: name its id.")
        return next(iter(found), None)

    def _search(self, resource: str, domain: list[Any], limit: int | None = None) -> Call:
        context = {**self._context, "active_test": False}  # else what is not active would seem to be gone
        params = [domain, 0, limit, None, self._known(resource).asked_for(), context]
        return calls.rpc(self._database, f"model.{resource}.search_read", params, repeatable=True)

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """One transaction for many: what Tryton refuses for one record's sake is cut in halves, see `parts`.

        A record that becomes active again needs a call for that alone, before the one for the rest.
        """
        groups: dict[tuple[str, Action], list[int]] = {}
        for position, change in enumerate(changes):
            action = change.action if change.id else Action.CREATE
            groups.setdefault((change.resource, action), []).append(position)
        steps: list[list[Write]] = []
        for (resource, action), positions in groups.items():
            if action is Action.CREATE:
                steps.append(self._creations(resource, positions, changes))
            elif action is Action.DELETE:
                steps.append(self._deletions(resource, positions, changes, before))
            else:
                steps += self._updates(resource, positions, changes, before)
        return steps

    def _creations(self, resource: str, positions: Sequence[int], changes: Sequence[Change]) -> list[Write]:
        model = self._known(resource)
        made = [(i, models.values(model, changes[i], None)) for i in positions]
        parts = [made[i : i + WRITE_MAX] for i in range(0, len(made), WRITE_MAX)]
        return [
            Write(self._rpc(resource, "create", [values for _, values in part]), tuple(i for i, _ in part))
            for part in parts
        ]

    def _deletions(
        self, resource: str, positions: Sequence[int], changes: Sequence[Change], before: Sequence[Image]
    ) -> list[Write]:
        named = [_Named(i, _number(changes[i].id), (before[i] or {}).get(STAMP)) for i in positions]
        parts = [named[i : i + WRITE_MAX] for i in range(0, len(named), WRITE_MAX)]
        return [self._locked(resource, "delete", part, [[each.id for each in part]]) for part in parts]

    def _updates(
        self, resource: str, positions: Sequence[int], changes: Sequence[Change], before: Sequence[Image]
    ) -> list[list[Write]]:
        first, second = [], []
        for i in positions:
            change, image = changes[i], before[i] or {}
            values = models.values(self._known(resource), change, image)
            named = _Named(i, _number(change.id), image.get(STAMP), values)
            if values.get("active") and image.get("active") is False and self._known(resource).frozen & set(values):
                first.append(named._replace(values={"active": True}))
                rest = {name: value for name, value in values.items() if name != "active"}
                second.append(named._replace(values=rest, stamp=None))  # the first call moves its stamp
            else:
                first.append(named)
        return [self._written(resource, each) for each in (first, second) if each]

    def _written(self, resource: str, named: Sequence["_Named"]) -> list[Write]:
        parts = [named[i : i + WRITE_MAX] for i in range(0, len(named), WRITE_MAX)]
        pairs = [calls.paired([(each.id, each.values) for each in part]) for part in parts]
        return [self._locked(resource, "write", *each) for each in zip(parts, pairs, strict=True)]

    def _locked(self, resource: str, verb: str, named: Sequence["_Named"], params: Sequence[Any]) -> Write:
        context = calls.locked(self._context, resource, {each.id: each.stamp for each in named})
        call = calls.rpc(self._database, f"model.{resource}.{verb}", [*params, context])
        return Write(call, tuple(each.position for each in named))

    def _rpc(self, resource: str, verb: str, *params: Any, repeatable: bool = False) -> Call:
        return calls.rpc(self._database, f"model.{resource}.{verb}", [*params, self._context], repeatable=repeatable)

    def parts(self, write: Write, reply: Reply) -> list[Write]:
        refused = answers.error(reply) is not None or reply.status == calls.TOO_LARGE
        return calls.halves(write) if refused and len(write.positions) > 1 else []

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        return answers.outcomes(changes, reply)

    # What counts as the same, and what comes back

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        return models.same(self._known(resource), name, asked, found)

    def title(self, resource: str, image: Fields) -> str:
        return str(image.get("rec_name") or "")

    def created_at(self, resource: str, image: Image) -> str | None:
        told = (image or {}).get("create_date")
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        try:
            return datetime(*(told[name] for name in names), tzinfo=UTC).isoformat()  # type: ignore[index, misc]
        except (TypeError, KeyError, ValueError, OverflowError):
            return None

    def reversal(self, change: Change, before: Image) -> Reversal:
        return _DELETED if change.action is Action.DELETE else FULLY


def _number(id_: str | None) -> Any:
    """Tryton's own form of an id. A dry run counts calls with names for records that are not there yet."""
    return int(id_) if id_ and id_.isdecimal() else id_


def _params(body: Any) -> list[Any]:
    """Raises Refused unless the last is a context."""
    params = body.get("params") if isinstance(body, dict) and set(body) <= {"id", "method", "params"} else None
    if not isinstance(params, list) or not params or not isinstance(params[-1], dict):
        raise Refused(
            "invalid_body", "The body is no {id, method, params} that end with a context. Nothing was written."
        )
    return params


def _ids(given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, int) for each in given):
        raise Refused("invalid_record", "Records are named by a list of ids. Nothing was written.")
    return [record_id(each) for each in given]
