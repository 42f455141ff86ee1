"""What HighLevel's answers say, whatever comes back."""

from collections.abc import Sequence
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change, Failure, Image, Key, Outcome, Status
from handlers.base import CREATED_INSTEAD, DUPLICATE, OTHER_RECORD, Reply
from handlers.highlevel.requests import id_of
from handlers.highlevel.shapes import canonical_found


def outcomes(changes: Sequence[Change], reply: Reply) -> list[Outcome]:
    if reply.status >= 300:
        return [_failed(reply)] * len(changes)
    if reply.part("errorCount") is not None:
        told = _told_of_each(reply)
        return [told.get(str(change.id), _no_answer()) for change in changes]
    return [_outcome(change, reply) for change in changes]


def _outcome(change: Change, reply: Reply) -> Outcome:
    answered, found = reply.json(), reply.part(_member(change.resource))
    if not isinstance(answered, dict) or answered.get("succeded") is False or answered.get("success") is False:
        return _no_answer()
    id_ = found.get("id") if isinstance(found, dict) else None
    if id_ is not None and not isinstance(id_, str):
        return _no_answer()
    if id_ and id_ != change.id and change.action is Action.UPDATE and answered.get("new") is True:
        return Outcome(status=Status.APPLIED, id=id_, failure=CREATED_INSTEAD)
    if id_ and (answered.get("new") is False if change.action is Action.CREATE else id_ != change.id):
        return Outcome(status=Status.APPLIED, id=id_, failure=OTHER_RECORD)
    if change.action is Action.CREATE:
        # The answer to a create has another shape than a read: the post-image must be read.
        return Outcome(status=Status.APPLIED, id=id_) if id_ else _no_answer()
    image = canonical_found(found) if isinstance(found, dict) and id_ else None
    return Outcome(status=Status.APPLIED, id=change.id, after=image, sealed=image is not None)


def images(resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
    (id_,) = ids
    found = reply.part(_member(resource))
    if reply.status == 200 and isinstance(found, dict) and found.get("id") == id_:
        image = canonical_found(found)
        return {} if image is None else {id_: None if found.get("deleted") is True else image}
    return {id_: None} if _says_missing(reply) else {}


def found(change: Change, reply: Reply) -> str | None:
    if change.resource == "contacts":
        return _found_id(reply.part("contact"))
    opportunities = reply.part("opportunities")
    if not isinstance(opportunities, list):
        raise not_understood()
    if len(opportunities) > 1:
        raise Refused("invalid_record", "Several opportunities of this contact are in this pipeline: name its id.")
    return _found_id(opportunities[0]) if opportunities else None


def attached(reply: Reply) -> list[Key] | None:
    for name in ("opportunities", "notes", "tasks"):
        if reply.status == 200 and isinstance(found := reply.part(name), list):
            return [(name, str(each.get("id"))) for each in found if isinstance(each, dict)]
    return None


def _member(resource: str) -> str:
    return "contact" if resource == "contacts" else "opportunity"


def _found_id(record: Any) -> str | None:
    """The id of a record in the answer to a search; None where there is no record. Raises Refused."""
    if record is None:
        return None
    if not isinstance(record, dict) or not record.get("id"):
        raise not_understood()
    return id_of(record["id"])


def not_understood() -> Refused:
    return Refused("invalid_record", "HighLevel's search for this record gave an answer that cannot be understood.")


def _told_of_each(reply: Reply) -> dict[str, Outcome]:
    """What a bulk answer tells, by contact. The spec has its `responses` as texts, its example as objects."""
    told: dict[str, Outcome] = {}
    responses = reply.part("responses")
    for each in responses if isinstance(responses, list) else []:
        if isinstance(each, dict) and isinstance(each.get("contactId"), str):
            failure = Failure("rejected", f"HighLevel: {str(each.get('message'))[:200]}")
            done = each.get("type") == "success"
            told[each["contactId"]] = (
                Outcome(status=Status.APPLIED) if done else Outcome(status=Status.FAILED, failure=failure)
            )
    return told


def _says_missing(reply: Reply) -> bool:
    """404, or the 400 "Contact not found" of this vendor; any other 400 says nothing about the record."""
    return reply.status == 404 or (reply.status == 400 and "not found" in _message(reply).lower())


def _message(reply: Reply) -> str:
    """The vendor's sentence: a text or, from its validators, a list of texts."""
    message = reply.part("message")
    texts = message if isinstance(message, list) else [message]
    return "; ".join(str(text) for text in texts if text)[:200]


def _failed(reply: Reply) -> Outcome:
    if reply.status >= 500 or reply.json() is None:
        # An application that answers has ended; a gateway may have given up on one that goes on.
        ended = reply.status == 500 and reply.json() is not None
        return _no_answer("vendor_error" if ended else "no_answer")
    code = {401: "target_refused", 403: "target_refused", 429: "rate_limited"}.get(reply.status, "rejected")
    if _says_missing(reply):
        code = "not_found"
    if reply.status == 400 and reply.part("meta", "contactId"):
        code = DUPLICATE
    return Outcome(status=Status.FAILED, failure=Failure(code, f"HighLevel answered {reply.status}: {_message(reply)}"))


def _no_answer(code: str = "no_answer") -> Outcome:
    return Outcome(
        status=Status.UNKNOWN, failure=Failure(code, "HighLevel's answer does not tell whether it was done.")
    )
