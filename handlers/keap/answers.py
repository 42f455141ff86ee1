"""What Keap's answers mean. Its gateway answers before the API does, in a shape of its own: {"fault": {…}}."""

from collections.abc import Iterable, Sequence
from typing import Any

from guard.core.model import Action, Change, Failure, Image, Key, Outcome, Status
from handlers.base import CREATED_INSTEAD, OTHER_RECORD, UNKNOWN_FIELD, Reply
from handlers.keap.kinds import KINDS
from handlers.keap.shapes import found

_TAGGED = frozenset({"SUCCESS", "DUPLICATE"})
_NOT_TAGGED = {"CONTACT_NOT_FOUND": "not_found"} | dict.fromkeys(
    ("TAG_ID_NOT_FOUND", "FAILURE", "NO_PERMISSION"), "rejected"
)
_OK, _CREATED, _NO_CONTENT = 200, 201, 204


def listed(resource: str, reply: Reply) -> dict[str, dict[str, Any]] | None:
    """The images of a list's records by id; None where the list, or one of them, is of no shape to rely upon."""
    records = reply.part(KINDS[resource].listed)
    if reply.status != _OK or not isinstance(records, list):
        return None
    images = [image for record in records if (image := found(resource, record)) is not None]
    return {image["id"]: image for image in images} if len(images) == len(records) else None


def more(reply: Reply) -> bool:
    """Does the list go on?"""
    return bool(reply.part("next_page_token"))


def images(resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
    """A list that shows others than were asked for has not understood the filter: then absence says nothing."""
    there = listed(resource, reply)
    if there is None or not there.keys() <= set(ids):
        return {}
    if more(reply) and len(there) < len(ids):
        return dict(there)
    return {id_: there.get(id_) for id_ in ids}


def attached(names: Iterable[str], reply: Reply) -> list[Key] | None:
    """What a list of what hangs on a record shows; None: it does not tell."""
    for name in names:
        records = reply.part(name)
        if reply.status == _OK and isinstance(records, list) and not more(reply):
            ids = [each.get("id") if isinstance(each, dict) else None for each in records]
            keys = [(name, id_) for id_ in ids if isinstance(id_, str)]
            return keys if len(keys) == len(ids) else None
    return None


def outcomes(changes: Sequence[Change], reply: Reply) -> list[Outcome]:
    if reply.status >= 300:
        return [_failed(reply)] * len(changes)
    told = reply.part("results")
    if isinstance(told, dict) and reply.part("id") is None:
        return [_tagged(told.get(str(change.id))) for change in changes]
    return [_outcome(change, reply) for change in changes]


def _tagged(told: Any) -> Outcome:
    if not isinstance(told, str) or told not in _TAGGED | _NOT_TAGGED.keys():
        return _no_answer()
    if told in _TAGGED:
        return Outcome(status=Status.APPLIED)
    return Outcome(status=Status.FAILED, failure=Failure(_NOT_TAGGED[told], f"Keap: {told}"))


def _outcome(change: Change, reply: Reply) -> Outcome:
    if reply.status == _NO_CONTENT:  # a deletion, or tags removed; it says nothing of each record
        told = change.action is Action.DELETE or bool(change.remove)
        return Outcome(status=Status.APPLIED, id=change.id) if told else _no_answer()
    id_, image = reply.part("id"), found(change.resource, reply.json())
    if not isinstance(id_, str) or not id_ or change.action is Action.DELETE:
        return _no_answer()
    if change.action is Action.CREATE:
        # 200 is Keap's word for "there was one already, and it was updated": taking it back must not delete it.
        failure = None if reply.status == _CREATED else OTHER_RECORD
        return Outcome(status=Status.APPLIED, id=id_, failure=failure)
    if id_ != change.id:
        failure = CREATED_INSTEAD if reply.status == _CREATED else OTHER_RECORD
        return Outcome(status=Status.APPLIED, id=id_, failure=failure)
    # An answer that was not asked for all there is shows no post-image: what it leaves out is not empty.
    whole = image is not None and KINDS[change.resource].shown <= reply.json().keys()
    return Outcome(status=Status.APPLIED, id=id_, after=image if whole else None, sealed=whole)


def _failed(reply: Reply) -> Outcome:
    if reply.status >= 500 or not isinstance(reply.json(), dict):
        # An application that answers has ended; a gateway may have given up on one that goes on.
        ended = reply.status == 500 and isinstance(reply.part("message"), str)
        return _no_answer("vendor_error" if ended else "no_answer")
    codes = {401: "target_refused", 403: "target_refused", 404: "not_found", 429: "rate_limited"}
    code = codes.get(reply.status, "rejected")
    if reply.status == 400 and "custom field" in _message(reply).lower():
        code = UNKNOWN_FIELD  # or some other trouble with one; then the model is read once too often
    return Outcome(status=Status.FAILED, failure=Failure(code, f"Keap answered {reply.status}: {_message(reply)}"))


def _message(reply: Reply) -> str:
    text = reply.part("message") or reply.part("fault", "faultstring") or ""
    return str(text)[:200]


def _no_answer(code: str = "no_answer") -> Outcome:
    return Outcome(status=Status.UNKNOWN, failure=Failure(code, "Keap's answer does not tell whether it was done."))
