"""Salesforce's own requests, taken apart into the records that they name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action
from handlers.base import Request, Route
from handlers.salesforce.names import WRITE_MAX, record_id, refuse_odd_version


@dataclass(frozen=True, slots=True)
class Named:
    """One record as a request names it: by its id, by the value of a field, or, a new one, not at all."""

    resource: str
    action: Action
    id: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    value: Any = None


def resources(route: Route, request: Request, prefixes: Mapping[str, str]) -> list[str]:
    """The object types that a request is about, each once. `prefixes`: the object type by what its ids begin with."""
    refuse_odd_version(request.params["version"])
    if "type" in request.params:
        return [request.params["type"]]
    if route.action == "delete":
        found = [prefixes.get(id_[:3], "") for id_ in _ids(request)]
        if "" in found:
            raise Refused("invalid_request", "One of the ids is of no object type of this org. Nothing was written.")
    else:
        found = [_type(each) for each in _records(request)]
    return list(dict.fromkeys(found))


def records(route: Route, request: Request, prefixes: Mapping[str, str]) -> list[Named]:
    """Raises Refused where the request does not tell which records it is about."""
    kind, _, verb = route.action.rpartition(".")
    action = Action(verb)
    if kind == "row":
        return [_row(action, request)]
    if action is Action.DELETE:
        return [Named(prefixes[id_[:3]], action, id_) for id_ in _ids(request)]
    only = request.params.get("type", "")
    return [_member(_type(each, only), action, each, request.params.get("field", "")) for each in _records(request)]


def _row(action: Action, request: Request) -> Named:
    body = {} if request.body is None else request.body
    if not isinstance(body, dict):
        raise Refused("invalid_request", "The body must be an object of fields. Nothing was written.")
    params, fields = request.params, {name: value for name, value in body.items() if name != "attributes"}
    if action is Action.UPSERT:
        return _upsert(params["type"], params["field"], params["value"], fields)
    return Named(params["type"], action, params.get("id"), fields)


def _member(resource: str, action: Action, given: Mapping[str, Any], by: str) -> Named:
    """One record of a collection. Names are in any case."""
    fields = {name: value for name, value in given.items() if name != "attributes"}
    named = {name.lower(): name for name in fields}
    if action is Action.CREATE:
        return Named(resource, action, None, fields)
    value = fields.pop(named.get(by.lower() or "id", ""), None)
    if action is Action.UPDATE:
        return Named(resource, action, record_id(value), fields)
    if by.lower() == "id" and value is None:
        return Named(resource, Action.CREATE, None, fields)
    return _upsert(resource, by, value, fields)


def _upsert(resource: str, by: str, value: Any, fields: Mapping[str, Any]) -> Named:
    if by.lower() == "id":
        return Named(resource, Action.UPDATE, record_id(value), fields)
    return Named(resource, Action.UPSERT, None, fields, by, value)


def _records(request: Request) -> list[dict[str, Any]]:
    listed = request.body.get("records") if isinstance(request.body, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise Refused("invalid_request", "records must be a list of objects. Nothing was written.")
    _refuse_too_many(listed)
    return listed


def _ids(request: Request) -> list[str]:
    ids = [record_id(each) for each in request.query.get("ids", "").split(",")]
    _refuse_too_many(ids)
    return ids


def _refuse_too_many(listed: Sequence[Any]) -> None:
    if len(listed) > WRITE_MAX:
        raise Refused("invalid_request", f"Salesforce takes {WRITE_MAX} records at most. Nothing was written.")


def _type(record: Mapping[str, Any], only: str = "") -> str:
    """The object type of a member of a collection; `only`: the one that the path names."""
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(name, str) or only not in ("", name):
        raise Refused("invalid_request", "Each record needs its attributes.type. Nothing was written.")
    return name
