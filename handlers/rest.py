"""Any system with a plain REST API, described by settings alone: for what has no handler of its own.

Nothing is assumed of it that the settings do not say: every write is read back, a deleted record is lost, the pace is
slow. docs/handlers/rest.md has the settings.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guard.core.errors import Refused
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Failure,
    Fields,
    Image,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
    Status,
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

_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,200}")
"""What stands in a path without meaning anything else there."""
_GONE = (404, 410)
_REFUSED = range(400, 500)
_NAMED = re.compile(r"\{(\w+)\}")
_PATH = r"/[A-Za-z0-9._~/-]*"


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Object(_Options):
    """One object type. Where a record stands in bodies is told by member names with dots between them."""

    path: str = Field(pattern=_PATH + "$")
    """Where records are created; a record's own address is this, a slash, and its id."""
    id: str = "id"
    record_in: str = ""
    body_in: str = ""
    list_in: str = ""
    read_many: str = Field(default="", pattern=rf"^({_PATH}\?.*\{{ids\}}.*)?$")
    read_max: int = Field(default=50, ge=1, le=1000)
    find: str = Field(default="", pattern=rf"^({_PATH}\?.*\{{\w+\}}.*)?$")
    update: Literal["PATCH", "PUT"] = "PATCH"
    clear: Literal["null", "empty", "absent"] = "null"
    deleted: Literal["lost", "new_id", "same_id"] = "lost"
    fields: frozenset[str] = Field(min_length=1)
    """All that may be written."""
    sets: frozenset[str] = frozenset()
    volatile: frozenset[str] = frozenset()
    created: str = ""
    title: str = ""


class _Batch(_Options):
    """One call that carries several requests: a list of {method, path, body}, answered by one of {status, body}."""

    path: str = Field(pattern=_PATH + "$")
    max: int = Field(default=10, ge=2, le=1000)
    requests: str = "requests"
    responses: str = "responses"


class _Rest(_Options):
    authorization: str = "Bearer {credential}"
    side_effects: str = "What this system starts by itself when a record is written is not known to Guard."
    batch: _Batch | None = None
    objects: dict[str, _Object] = Field(min_length=1)


class Rest(Handler):
    name = "rest"
    base_url = ""
    structured_options = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        try:
            self._options = _Rest.model_validate(options)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        for name, each in self._options.objects.items():
            if (each.clear == "absent") != (each.update == "PUT"):
                raise ValueError(f"objects.{name}: a field is cleared by leaving it out if, and only if, update is PUT")
        objects = self._options.objects
        self.traits = self._traits(next(iter(objects.values())))
        self.resources = {name: _resource(name, each) for name, each in objects.items()}
        self.actions = {
            name: ("create", "update", *(["upsert"] if each.find else []), "delete") for name, each in objects.items()
        }
        self.routes = [route for name, each in objects.items() for route in _routes(name, each)]
        self.side_effects = self._options.side_effects

    def _traits(self, of: _Object) -> Traits:
        return Traits(
            read_max=of.read_max if of.read_many else 1,
            write_max=self._options.batch.max if self._options.batch else 1,
            answer_carries_image=False,
            isolated=False,
            restore_deleted=_RESTORE[of.deleted],
            limits=Limits(requests=5, per_s=1.0, concurrency=2),
            limit_headers=None,
        )

    def traits_of(self, resource: str) -> Traits:
        return self._traits(self._options.objects[resource])

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": self._options.authorization.replace("{credential}", credential)}

    # Both doors

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        return self._change(resource, Action(action), record.get("id"), record.get("fields") or {})

    def changes(self, route: Route, request: Request) -> list[Change]:
        each, body = self._options.objects[route.resource], request.body
        if request.query:
            raise Refused("unknown_route", "What a query changes in this write is not known. Nothing was written.")
        if body is not None and (route.action == "delete" or not _is_only(body, each.body_in)):
            raise Refused("invalid_body", "What the body holds besides the record is not known. Nothing was written.")
        fields = {} if route.action == "delete" else _member(body, each.body_in)
        if isinstance(fields, dict) and fields.get(each.id) == request.params.get("id"):
            fields = {name: value for name, value in fields.items() if name != each.id}
        whole = route.method == "PUT"
        return [self._change(route.resource, Action(route.action), request.params.get("id"), fields, whole=whole)]

    def _change(self, resource: str, action: Action, id_: Any, fields: Any, *, whole: bool = False) -> Change:
        each = self._options.objects[resource]
        if id_ is not None and not (isinstance(id_, str) and _ID.fullmatch(id_)):
            raise Refused("invalid_record", "An id is a text of letters, digits and the signs . _ ~ -")
        if not isinstance(fields, dict):
            raise Refused("invalid_record", "The fields of a record are an object.")
        if unknown := sorted(set(fields) - each.fields):
            raise unwritable(resource, unknown)
        if wrong := sorted(name for name in each.sets & set(fields) if not _is_set(fields[name])):
            raise Refused("invalid_record", f"{wrong[0]} is a set: a list of texts or numbers.")
        return Change(resource=resource, action=action, id=id_, fields=fields, whole=whole)

    def completed(self, change: Change, before: Image) -> Change:
        if not change.whole:
            return change
        there = self._options.objects[change.resource].fields & set(before or {})
        return replace(change, fields={**dict.fromkeys(sorted(there)), **change.fields})

    # Reading

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        each = self._options.objects[resource]
        if not each.read_many:
            return [(Call(method="GET", path=f"{each.path}/{id_}", repeatable=True), (id_,)) for id_ in ids]
        parts = [tuple(ids[i : i + each.read_max]) for i in range(0, len(ids), each.read_max)]
        return [(_query(each.read_many, {"ids": ",".join(part)}), part) for part in parts]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        each = self._options.objects[resource]
        if not each.read_many:
            if reply.status in _GONE:
                return dict.fromkeys(ids)
            image = self._image(resource, _member(reply.json(), each.record_in)) if reply.status == 200 else None
            return {id_: image for id_ in ids if image is not None and str(image[each.id]) == id_}
        listed = self._listed(resource, reply)
        return {} if listed is None else {id_: listed.get(id_) for id_ in ids}

    def _listed(self, resource: str, reply: Reply) -> dict[str, Image] | None:
        """The records of a list by id; None where the list, or one of them, is of no shape to rely upon."""
        each = self._options.objects[resource]
        listed = _member(reply.json(), each.list_in)
        if reply.status != 200 or not isinstance(listed, list):
            return None
        images = [image for record in listed if (image := self._image(resource, record)) is not None]
        return {str(image[each.id]): image for image in images} if len(images) == len(listed) else None

    def _image(self, resource: str, record: Any) -> dict[str, Any] | None:
        """A field that is null is left out, and so is one that is empty where that is how fields are cleared."""
        each = self._options.objects[resource]
        if not isinstance(record, dict) or not _is_id(record.get(each.id)):
            return None
        empty: tuple[Any, ...] = (None, "", []) if each.clear == "empty" else (None,)
        image = {name: value for name, value in record.items() if not any(value is e or value == e for e in empty)}
        return image if all(_is_set(image[name]) for name in each.sets & image.keys()) else None

    def find(self, change: Change) -> Call | None:
        each = self._options.objects[change.resource]
        names = _NAMED.findall(each.find)
        given = {name: change.fields.get(name) for name in names}
        if not names or any(not isinstance(value, str | int) or value == "" for value in given.values()):
            return None
        return _query(each.find, {name: str(value) for name, value in given.items()})

    def found(self, change: Change, reply: Reply) -> str | None:
        listed = self._listed(change.resource, reply)
        if listed is None:
            raise Refused("invalid_record", "The search for this record gave no list of records.")
        names = _NAMED.findall(self._options.objects[change.resource].find)
        alike = [id_ for id_, image in listed.items() if image and all(_alike(change, image, name) for name in names)]
        if len(alike) > 1 or len(alike) != len(listed):
            raise Refused("invalid_record", "The search found other records than this one, or several: name its id.")
        return alike[0] if alike else None

    # Writing

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        calls = [self._call(change, image) for change, image in zip(changes, before, strict=True)]
        batch = self._options.batch
        if batch is None or len(calls) < 2:
            return [[Write(call, (i,)) for i, call in enumerate(calls)]]
        parts = [range(i, min(i + batch.max, len(calls))) for i in range(0, len(calls), batch.max)]
        together = [_batch_call(batch, [calls[i] for i in part]) if len(part) > 1 else calls[part[0]] for part in parts]
        return [[Write(call, tuple(part)) for call, part in zip(together, parts, strict=True)]]

    def _call(self, change: Change, before: Image) -> Call:
        each = self._options.objects[change.resource]
        item = f"{each.path}/{change.id}"
        if change.action is Action.DELETE:
            return Call(method="DELETE", path=item)
        fields = {name: value for name, value in change.fields.items() if name in each.fields}
        for name in {*change.add, *change.remove}:  # a difference; only whole sets can be written
            there = {*(before or {}).get(name, ()), *change.add.get(name, ())}
            fields[name] = sorted(there - set(change.remove.get(name, ())), key=str)
        if change.action is Action.CREATE:
            body = _wrapped(each.body_in, {name: value for name, value in fields.items() if value is not None})
            if change.origin and each.deleted == "same_id":
                return Call(method="PUT", path=f"{each.path}/{change.origin}", body=body, repeatable=True)
            return Call(method="POST", path=each.path, body=body)
        body = _wrapped(each.body_in, _sent(each, fields, before))
        return Call(method=each.update, path=item, body=body, repeatable=True)

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        if len(changes) == 1 or self._options.batch is None:  # a batch of one is never sent
            return [self._outcome(change, reply.status, reply.json()) for change in changes]
        answered = reply.part(self._options.batch.responses)
        if not 200 <= reply.status < 300 or not isinstance(answered, list) or len(answered) != len(changes):
            return [_unclear(reply.status)] * len(changes)
        return [self._answered(change, each) for change, each in zip(changes, answered, strict=True)]

    def _answered(self, change: Change, answer: Any) -> Outcome:
        status = answer.get("status") if isinstance(answer, dict) else None
        return self._outcome(change, status, answer.get("body")) if isinstance(status, int) else _unclear(0)

    def _outcome(self, change: Change, status: int, body: Any) -> Outcome:
        """Not even a refusal is relied upon: the record is read back, whatever the answer says. Where nothing tells
        which record was created, a refused creation is taken for none."""
        if not 200 <= status < 300:
            refused = status in _REFUSED and isinstance(body, dict)  # a page of HTML is somebody else's answer
            return _refused(change, status) if refused else _unclear(status)
        if change.action is not Action.CREATE:
            return Outcome(status=Status.APPLIED, id=change.id)
        each = self._options.objects[change.resource]
        made = _member(body, each.record_in)
        id_ = made.get(each.id) if isinstance(made, dict) else None
        if _is_id(id_):
            return Outcome(status=Status.APPLIED, id=str(id_))
        return Outcome(
            status=Status.UNKNOWN, failure=Failure("no_answer", "The answer does not name what was created.")
        )

    def created_at(self, resource: str, image: Image) -> str | None:
        told = (image or {}).get(self._options.objects[resource].created)
        return told if isinstance(told, str) else None

    def title(self, resource: str, image: Fields) -> str:
        name = self._options.objects[resource].title
        return str(image.get(name, "")) if name else ""

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        if self._options.objects[resource].clear == "empty":
            return bool((asked or None) == (found or None))
        return bool(asked == found)

    def reversal(self, change: Change, before: Image) -> Reversal:
        each = self._options.objects[change.resource]
        known = _DELETED[each.deleted] if change.action is Action.DELETE else FULLY
        if known is not FULLY or not (change.whole or change.action is Action.DELETE):
            return known
        lost = sorted(set(before or {}) - each.fields - each.volatile - {each.id})
        return Reversal(Reversibility.PARTIAL, _WITHOUT.format(", ".join(lost[:10]))) if lost else FULLY


_RESTORE = {"lost": Restore.NEVER, "new_id": Restore.NEW_ID, "same_id": Restore.SAME_ID}
_WITHOUT = "The record comes back without {}, which the settings do not name among the fields that may be written."
_DELETED = {
    "lost": Reversal(Reversibility.NONE, "A deleted record cannot be brought back."),
    "new_id": Reversal(
        Reversibility.PARTIAL, "A deleted record comes back under a new id, and without what hung on it."
    ),
    "same_id": FULLY,
}


def _resource(name: str, each: _Object) -> Resource:
    return Resource(name=name, sets=each.sets, volatile=each.volatile, readonly=frozenset({each.id}))


def _routes(name: str, each: _Object) -> list[Route]:
    item = f"{each.path}/{{id}}"
    return [
        Route("POST", each.path, WRITE, name, "create"),
        Route(each.update, item, WRITE, name, "update"),
        Route("DELETE", item, WRITE, name, "delete"),
    ]


def _alike(change: Change, image: Mapping[str, Any], name: str) -> bool:
    """Searches may find what merely resembles; letters may be kept in another case."""
    return str(change.fields.get(name)).casefold() == str(image.get(name)).casefold()


def _sent(each: _Object, fields: Mapping[str, Any], before: Image) -> dict[str, Any]:
    """What an update sends to set these fields and no others."""
    if each.update == "PUT":
        # What is left out would be gone, also what Guard does not write.
        there = {name: value for name, value in (before or {}).items() if name not in {each.id, *each.volatile}}
        return {name: value for name, value in {**there, **fields}.items() if value is not None}
    cleared = "" if each.clear == "empty" else None
    return {name: cleared if value is None else value for name, value in fields.items()}


def _query(template: str, values: Mapping[str, str]) -> Call:
    path, _, query = template.partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    filled = {name: _NAMED.sub(lambda found: values[found[1]], value) for name, value in given}
    return Call(method="GET", path=path, query=filled, repeatable=True)


def _batch_call(batch: _Batch, calls: Sequence[Call]) -> Call:
    requests = [{"method": call.method, "path": call.path, "body": call.body} for call in calls]
    requests = [{name: value for name, value in each.items() if value is not None} for each in requests]
    return Call(
        method="POST",
        path=batch.path,
        body={batch.requests: requests},
        repeatable=all(call.repeatable for call in calls),
    )


def _member(value: Any, dotted: str) -> Any:
    for name in dotted.split(".") if dotted else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_only(body: Any, dotted: str) -> bool:
    for name in dotted.split(".") if dotted else ():
        if not isinstance(body, dict) or set(body) != {name}:
            return False
        body = body[name]
    return True


def _wrapped(dotted: str, value: Any) -> Any:
    for name in reversed(dotted.split(".")) if dotted else ():
        value = {name: value}
    return value


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(_ID.fullmatch(str(value)))


def _is_set(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(each, str | int) for each in value))


def _refused(change: Change, status: int) -> Outcome:
    failure = Failure("vendor_error", f"The system answered {status}.")
    return Outcome(status=Status.FAILED if change.action is Action.CREATE else Status.UNKNOWN, failure=failure)


def _unclear(status: int) -> Outcome:
    """It may have been done, or may still be."""
    told = f"The system answered {status}." if status else "The system did not say what it did."
    return Outcome(status=Status.UNKNOWN, failure=Failure("no_answer", told))
