"""A handler small enough to read whole, for a CRM that does not exist. docs/add-a-handler.md quotes it."""

from collections.abc import Mapping, Sequence
from typing import Any

from guard.core.errors import Refused
from guard.core.model import (
    FULLY,
    Action,
    Change,
    Failure,
    Image,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
    Status,
)
from handlers.base import (
    DUPLICATE,
    READ,
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

WRITABLE = frozenset({"name", "email", "phone", "city", "labels"})
READ_MAX = 50


class ExampleCrm(Handler):
    name = "example"
    base_url = "https://api.example.com"
    traits = Traits(
        read_max=READ_MAX,
        write_max=1,
        answer_carries_image=True,
        isolated=False,
        restore_deleted=Restore.NEW_ID,
        limits=Limits(requests=50, per_s=1.0, concurrency=5),
        limit_headers=None,
    )
    resources = {
        "people": Resource(
            name="people",
            sets=frozenset({"labels"}),
            volatile=frozenset({"created", "updated"}),
            readonly=frozenset({"id", "score"}),
        )
    }
    actions = {"people": ("create", "update", "upsert", "delete")}
    routes = (
        Route("POST", "/people/search", READ),
        Route("POST", "/people", WRITE, "people", "create"),
        Route("PATCH", "/people/{id}", WRITE, "people", "update"),
        Route("DELETE", "/people/{id}", WRITE, "people", "delete"),
    )
    side_effects = "The example CRM mails a person's owner at every change; a mail cannot be taken back."

    def __init__(self, options: Mapping[str, str]) -> None:
        if options:
            raise ValueError("the example CRM takes no options")

    def headers(self, credential: str) -> dict[str, str]:
        return {"authorization": f"Bearer {credential}"}

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        refuse_unknown_action(self, resource, action)
        return _change(Action(action), record.get("id"), record.get("fields") or {})

    def changes(self, route: Route, request: Request) -> list[Change]:
        return [_change(Action(route.action), request.params.get("id"), request.body or {})]

    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        parts = [tuple(ids[i : i + READ_MAX]) for i in range(0, len(ids), READ_MAX)]
        return [(Call(method="GET", path="/people", query={"ids": ",".join(part)}), part) for part in parts]

    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        people = _people(reply)
        return {} if people is None else {id_: people.get(id_) for id_ in ids}

    def find(self, change: Change) -> Call | None:
        email = change.fields.get("email")
        return Call(method="GET", path="/people", query={"email": str(email)}) if email else None

    def found(self, change: Change, reply: Reply) -> str | None:
        people = _people(reply)
        if people is None:
            raise Refused("invalid_record", "The search for this e-mail gave no list of people.")
        return next(iter(people), None)

    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        calls = map(_call, changes, before)
        return [[Write(call, (position,)) for position, call in enumerate(calls)]]

    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        return [_outcome(change, reply) for change in changes]

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        if name == "email":  # kept without blanks and in small letters
            return str(asked or "").strip().lower() == (found or "")
        return bool((asked or None) == (found or None))

    def created_at(self, resource: str, image: Image) -> str | None:
        return (image or {}).get("created")

    def reversal(self, change: Change, before: Image) -> Reversal:
        if change.action is Action.DELETE:
            return Reversal(Reversibility.PARTIAL, "A deleted person comes back under a new id, without a score.")
        return FULLY


def _change(action: Action, id_: Any, fields: Any) -> Change:
    """What both doors may ask for, and nothing else."""
    if id_ is not None and not (isinstance(id_, str) and id_.isascii() and id_.isalnum()):
        raise Refused("invalid_record", "An id of the example CRM is a text of letters and digits.")
    if not isinstance(fields, dict) or not _are_texts(fields.get("labels")):
        raise Refused("invalid_record", "A person's fields are an object, and labels in it a list of texts.")
    if unknown := sorted(set(fields) - WRITABLE):
        raise unwritable("people", unknown)
    return Change(resource="people", action=action, id=id_, fields=fields)


def _are_texts(labels: Any) -> bool:
    return labels is None or (isinstance(labels, list) and all(isinstance(label, str) for label in labels))


def _image(person: Any) -> dict[str, Any] | None:
    """Empty fields are left out: to this CRM empty and absent are one. None: no shape to rely upon."""
    if not isinstance(person, dict) or not isinstance(person.get("id") or None, str):
        return None
    image = {name: value for name, value in person.items() if value not in (None, "", [])}
    return image if _are_texts(image.get("labels")) else None


def _people(reply: Reply) -> dict[str, Any] | None:
    """The people of a list by id; None where the list, or one of them, is of no shape to rely upon."""
    listed = reply.part("people")
    if reply.status != 200 or not isinstance(listed, list):
        return None
    images = [image for person in listed if (image := _image(person))]
    return {image["id"]: image for image in images} if len(images) == len(listed) else None


def _call(change: Change, before: Image) -> Call:
    fields = {name: value for name, value in change.fields.items() if name in WRITABLE}
    if change.add or change.remove:  # a difference; this CRM takes only whole lists
        labels = {*(before or {}).get("labels", ()), *change.add.get("labels", ())}
        fields["labels"] = sorted(labels - set(change.remove.get("labels", ())))
    if change.action is Action.CREATE:
        return Call(method="POST", path="/people", body=fields)
    if change.action is Action.DELETE:
        return Call(method="DELETE", path=f"/people/{change.id}")
    return Call(method="PATCH", path=f"/people/{change.id}", body=fields, repeatable=True)


def _outcome(change: Change, reply: Reply) -> Outcome:
    image = _image(reply.part("person"))
    if reply.status == 204 and change.action is Action.DELETE:
        return Outcome(status=Status.APPLIED, id=change.id)  # not sealed: Guard looks whether it is gone
    if reply.status in (200, 201) and image and change.id in (None, image["id"]):
        return Outcome(status=Status.APPLIED, id=image["id"], after=image, sealed=True)
    if 400 <= reply.status < 500 and reply.part("error"):
        code = {404: "not_found", 409: DUPLICATE, 429: "rate_limited"}.get(reply.status, "rejected")
        told = f"The CRM answered {reply.status}: {str(reply.part('error'))[:200]}"
        return Outcome(status=Status.FAILED, failure=Failure(code, told))
    return Outcome(status=Status.UNKNOWN, failure=Failure("no_answer", "The CRM did not say whether it was done."))
