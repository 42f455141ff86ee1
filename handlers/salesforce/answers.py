"""What Salesforce's answers say of each record. A 200 says nothing yet: each record of it has its own `success`."""

from collections.abc import Mapping, Sequence
from typing import Any

from guard.core.model import Action, Change, Failure, Outcome, Status
from handlers.base import CREATED_INSTEAD, DUPLICATE, OTHER_RECORD, UNKNOWN_FIELD, Reply
from handlers.salesforce.names import canonical_id

LIMIT = "REQUEST_LIMIT_EXCEEDED"
_CODES = {
    **dict.fromkeys(("NOT_FOUND", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"), "not_found"),
    **dict.fromkeys(("DUPLICATE_VALUE", "DUPLICATES_DETECTED"), DUPLICATE),
    **dict.fromkeys(("INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"), UNKNOWN_FIELD),
    "UNABLE_TO_LOCK_ROW": "locked",
    "UNDELETE_FAILED": "not_in_bin",
    LIMIT: "rate_limited",
}
_STATUSES = {401: "target_refused", 403: "target_refused", 404: "not_found", 429: "rate_limited"}
_CHANGED = Failure("changed_meanwhile", "Somebody changed the record just before it was written; it was left alone.")


def outcomes(changes: Sequence[Change], reply: Reply) -> list[Outcome]:
    if reply.status == 412:  # Guard asked to write only what nobody has changed
        return [Outcome(status=Status.FAILED, failure=_CHANGED)] * len(changes)
    if reply.status == 204 and len(changes) == 1 and changes[0].action is not Action.CREATE:
        # The record is not shown: Guard reads it.
        return [Outcome(status=Status.APPLIED, id=changes[0].id)]
    if reply.status not in (200, 201):
        return [refused(reply)] * len(changes)
    body = reply.json()
    results = body if isinstance(body, list) else [body]
    if len(results) != len(changes):
        return [no_answer()] * len(changes)
    return [_told(change, result) for change, result in zip(changes, results, strict=True)]


def _told(change: Change, result: Any) -> Outcome:
    """One record's share of an answer; they stand in the order of the request."""
    if not isinstance(result, dict):
        return no_answer()
    if result.get("success") is False:
        return failed(result.get("errors"))
    id_, created = canonical_id(result.get("id")), result.get("created")
    if result.get("success") is not True or id_ is None:
        return no_answer()
    if change.action is Action.CREATE:
        return Outcome(status=Status.APPLIED, id=id_, failure=OTHER_RECORD if created is False else None)
    if id_ == change.id:
        return Outcome(status=Status.APPLIED, id=id_)
    if change.action is Action.UPDATE and isinstance(created, bool):  # an upsert that went astray
        return Outcome(status=Status.APPLIED, id=id_, failure=CREATED_INSTEAD if created else OTHER_RECORD)
    return no_answer()


def failed(errors: Any) -> Outcome:
    """A record that was not written, by what the vendor says of it: [{statusCode, message, fields}]."""
    listed = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    if not listed:
        return no_answer()
    return Outcome(status=Status.FAILED, failure=Failure(_code(listed, "rejected"), _sentence(listed)))


def refused(reply: Reply) -> Outcome:
    """An answer that is no success. Only what Salesforce itself says was refused was certainly not done."""
    errors = errors_of(reply)
    if reply.status >= 500 or not errors:
        # An application that answers has ended; a gateway may have given up on one that goes on.
        return no_answer("vendor_error" if reply.status == 500 and errors else "no_answer")
    if reply.status < 400:
        return no_answer()
    code = _code(errors, _STATUSES.get(reply.status, "rejected"))
    return Outcome(status=Status.FAILED, failure=Failure(code, _sentence(errors)))


def errors_of(reply: Reply) -> list[Mapping[str, Any]]:
    """[{errorCode, message, fields}] of an answer that is a refusal; empty: it is none of Salesforce's."""
    body = reply.json()
    told = body if isinstance(body, list) else []
    return [each for each in told if isinstance(each, dict) and isinstance(each.get("errorCode"), str)]


def is_refused_whole(reply: Reply) -> bool:
    """Is this a refusal of a whole collection that one record of it may be the cause of?"""
    return reply.status == 400 and bool(errors_of(reply))


def _code(errors: Sequence[Mapping[str, Any]], otherwise: str) -> str:
    given = (each.get("statusCode") or each.get("errorCode") for each in errors)
    return next((_CODES[code] for code in given if isinstance(code, str) and code in _CODES), otherwise)


def _sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    told = (f"{each.get('message')} ({each.get('statusCode') or each.get('errorCode')})" for each in errors)
    return f"Salesforce: {'; '.join(told)[:200]}"


def no_answer(code: str = "no_answer") -> Outcome:
    detail = "Salesforce's answer does not tell whether it was done."
    return Outcome(status=Status.UNKNOWN, failure=Failure(code, detail))
