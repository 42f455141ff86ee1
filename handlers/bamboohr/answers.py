"""What BambooHR's answers say. Most writes answer with an empty body, and refusals with a sentence in a header."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guard.core.model import Change, Failure, Image, Outcome, Status
from handlers.bamboohr.values import shown
from handlers.base import Reply

MESSAGE = "x-bamboohr-error-message"
_NEW = re.compile(r"(?:/employees/|[?&]id=)([1-9][0-9]{0,9})(?![0-9])")
_CODES = {401: "target_refused", 403: "target_refused", 404: "not_found", 429: "rate_limited"}


def employee(id_: str, read: Sequence[str], reply: Reply) -> dict[str, Image]:
    """What GET /employees/{id} says. A field that it leaves out is one that the key may not see; None: it is empty."""
    if reply.status == 404:
        return {id_: None}
    found = reply.json()
    if reply.status != 200 or not isinstance(found, dict) or found.get("id") != id_:
        return {}
    return {id_: _image(found, read)}


def table(employee_id: str, read: Sequence[str], reply: Reply) -> dict[str, dict[str, Any]] | None:
    """The rows of GET /employees/{id}/tables/{table} by Guard's id of each; None where the list, or a row of it, is of
    no shape to rely upon."""
    listed = reply.json()
    if reply.status != 200 or not isinstance(listed, list):
        return None
    rows: dict[str, dict[str, Any]] = {}
    for row in listed:
        if not isinstance(row, dict) or row.get("employeeId", employee_id) != employee_id:
            return None
        id_ = row.get("id")
        if not isinstance(id_, str) or not id_.isascii() or not id_.isdigit():
            return None
        rows[f"{employee_id}-{id_}"] = {**_image(row, read), "employeeId": employee_id}
    return rows if len(rows) == len(listed) else None


def _image(found: Mapping[str, Any], read: Sequence[str]) -> dict[str, Any]:
    return {name: shown(found[name]) for name in read if name in found}


def outcome(change: Change, reply: Reply, *, deletes: bool, creates_employee: bool) -> Outcome:
    if not 200 <= reply.status < 300:
        return _refused(reply)
    if deletes:
        return _deleted(change, reply)
    if creates_employee:
        found = _NEW.search(reply.headers.get("location", ""))
        return Outcome(status=Status.APPLIED, id=found[1]) if found and reply.status == 201 else _unclear()
    # Nothing else is ever in such a body; a page is somebody else's.
    return Outcome(status=Status.APPLIED, id=change.id) if not reply.body.strip() else _unclear()


def _deleted(change: Change, reply: Reply) -> Outcome:
    """200 is the answer to a deletion that did not happen, too."""
    match reply.part("success"):
        case True:
            return Outcome(status=Status.APPLIED, id=change.id)
        case False:
            failure = Failure("rejected", f"BambooHR deleted nothing: {_short(reply.part('error'))}")
            return Outcome(status=Status.FAILED, failure=failure)
        case _:
            return _unclear()


def _refused(reply: Reply) -> Outcome:
    """Only what bears BambooHR's own sentence is certainly its refusal."""
    message = _short(reply.headers.get(MESSAGE))
    if reply.status < 500 and message:
        code = _CODES.get(reply.status, "rejected")
        failure = Failure(code, f"BambooHR answered {reply.status}: {message}")
        return Outcome(status=Status.FAILED, failure=failure)
    ended = reply.status < 500 or (reply.status == 500 and bool(message))
    return _unclear("vendor_error" if ended else "no_answer", reply.status)


def _unclear(code: str = "no_answer", status: int = 0) -> Outcome:
    told = f"BambooHR answered {status}." if status else "BambooHR's answer does not tell whether it was done."
    return Outcome(status=Status.UNKNOWN, failure=Failure(code, told))


def _short(message: Any) -> str:
    return str(message or "")[:200]
