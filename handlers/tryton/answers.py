"""What Tryton answers. To a request with an id: 200 and {"id", "result"} or {"id", "error"}; to one without, the result
itself, or an HTTP status. Whatever was refused was rolled back as a whole."""

from collections.abc import Sequence
from typing import Any

from guard.core.model import Action, Change, Failure, Outcome, Status
from handlers.base import Reply

CHANGED = Failure(
    "changed_meanwhile", "Somebody changed the record between Guard's read and its write. Nothing was written."
)
_REFUSALS = frozenset({400, 401, 403, 404, 409, 413, 422, 423, 429})
"""With these Tryton refuses what it has rolled back; but a page with one of them may be a proxy's."""


def result(reply: Reply) -> Any:
    """What a call with an id gave; `is_result` tells whether it gave anything."""
    return reply.part("result") if is_result(reply) else None


def is_result(reply: Reply) -> bool:
    told = reply.json()
    return reply.status == 200 and isinstance(told, dict) and "result" in told and "error" not in told


def error(reply: Reply) -> Failure | None:
    """An error that Tryton names: it did nothing. None: the answer names none."""
    told = reply.part("error")
    match told if reply.status == 200 else None:
        case ["ConcurrencyException", *_]:
            return CHANGED
        case ["UserError" | "LoginException", [str(text), *_]]:
            return Failure("rejected", _sentence("Tryton refused it", text))
        case ["UserWarning", [_, str(text), *_]]:
            return Failure("rejected", _sentence("Tryton asks its own client to confirm this", text))
    return None


def _sentence(who: str, text: str) -> str:
    return f"{who}: {text[:300]}"


def outcomes(changes: Sequence[Change], reply: Reply) -> list[Outcome]:
    if failure := error(reply):
        return [Outcome(status=Status.FAILED, failure=failure)] * len(changes)
    told = reply.json()
    failed = isinstance(told, dict) and "error" in told
    if reply.status != 200 or failed or (isinstance(told, dict) and "result" not in told):
        return [_unclear(reply.status, named=failed and reply.status == 200)] * len(changes)
    given = told["result"] if isinstance(told, dict) else told
    if changes[0].action is Action.CREATE:
        return _created(changes, given)
    if given is not None or (reply.body.strip() != b"null" and not isinstance(told, dict)):
        return [_unclear(reply.status)] * len(changes)
    # Not sealed: deleting what is not there is answered like this, too.
    return [Outcome(status=Status.APPLIED, id=change.id) for change in changes]


def _created(changes: Sequence[Change], given: Any) -> list[Outcome]:
    fits = isinstance(given, list) and len(given) == len(changes) == len({str(each) for each in given})
    if not fits or not all(isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in given):
        return [_unclear(0)] * len(changes)
    return [Outcome(status=Status.APPLIED, id=str(id_)) for id_ in given]


def _unclear(status: int, *, named: bool = False) -> Outcome:
    """`named`: Tryton itself says that it failed. Whether before it committed, a read tells."""
    told = f"Tryton answered {status}." if status else "Tryton's answer does not name what was created."
    code = "vendor_error" if named or status in _REFUSALS else "no_answer"
    return Outcome(status=Status.UNKNOWN, failure=Failure(code, told))
