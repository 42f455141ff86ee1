"""What HubSpot's answers say of each record: batches of which a part failed, refusals, answers that tell nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard.core.model import Action, Change, Failure, Outcome, Status
from handlers.base import CREATED_INSTEAD, DUPLICATE, OTHER_RECORD, UNKNOWN_FIELD, Reply
from handlers.hubspot.properties import Properties, same

NOT_FOUND = "OBJECT_NOT_FOUND"
_TRACE = "guard-"


@dataclass(frozen=True, slots=True)
class Answer:
    """A batch's results and errors; those of a single record are a batch of one."""

    results: Sequence[Mapping[str, Any]]
    errors: Sequence[Mapping[str, Any]]

    def by_id(self) -> dict[str, Mapping[str, Any]]:
        return {each["id"]: each for each in self.results}

    def missing(self) -> set[str]:
        """What the answer says does not exist: ids, or values of a unique property."""
        return {name for error in self.errors if error.get("category") == NOT_FOUND for name in named_in(error)}


def answer_of(reply: Reply) -> Answer | None:
    """None: it is of no shape to rely upon."""
    body = reply.json()
    if reply.status not in (200, 201, 207) or not isinstance(body, dict):
        return None
    if "results" not in body:
        return Answer([body], []) if _is_record(body) and reply.status != 207 else None
    results, errors = body["results"], body.get("errors") if reply.status == 207 else []
    if body.get("status") != "COMPLETE" or not isinstance(results, list) or not isinstance(errors, list):
        return None
    if not all(_is_record(each) for each in results) or not all(isinstance(each, dict) for each in errors):
        return None
    return Answer(results, errors)


def _is_record(each: Any) -> bool:
    if not isinstance(each, dict) or not isinstance(each.get("id"), str):
        return False
    properties = each.get("properties")
    if each.get("archived") is True:  # only the bin has such, and nobody asks for that
        return False
    return isinstance(properties, dict) and all(isinstance(value, str | None) for value in properties.values())


def named_in(error: Mapping[str, Any]) -> Iterator[str]:
    """Everything that the context of an error names."""
    context = error.get("context")
    for values in context.values() if isinstance(context, dict) else ():
        yield from (str(value) for value in values) if isinstance(values, list) else ()


def traced(position: int) -> str:
    """What tells the results of a batch of creations apart: they come in any order, and without the ids asked for."""
    return f"{_TRACE}{position}"


def outcomes(
    changes: Sequence[Change], names: Sequence[frozenset[str]], reply: Reply, known: Properties | None
) -> list[Outcome]:
    """`names`: each change's fields to take back, which an answer must show to stand for a read."""
    if reply.status >= 300 or (reply.status == 204 and changes[0].action is not Action.DELETE):
        return [refused(reply)] * len(changes)
    if changes[0].action is Action.DELETE:
        # 204 says nothing of the single records of a batch: Guard looks whether they are gone.
        done = Outcome(status=Status.APPLIED) if reply.status == 204 else no_answer()
        return [done] * len(changes)
    answer = answer_of(reply)
    if answer is None:
        return [no_answer()] * len(changes)
    return _Matching(answer, known)(changes, names)


class _Matching:
    """Finds the result, or the error, of each change of a batch. The vendor gives them in any order."""

    def __init__(self, answer: Answer, known: Properties | None) -> None:
        self._answer = answer
        self._known = known
        self._by_id = answer.by_id()
        self._unclaimed = dict(self._by_id)

    def __call__(self, changes: Sequence[Change], names: Sequence[frozenset[str]]) -> list[Outcome]:
        for change in changes:
            self._unclaimed.pop(str(change.id), None)
        told = [self._told(i, change, names[i]) for i, change in enumerate(changes)]
        silent = [i for i, each in enumerate(told) if each is None]
        errors = [each for each in self._answer.errors if not _identifies(each, changes)]
        # Errors that name no record are those of the records that are named nowhere, if there are as many.
        rest = [_failed(each) for each in errors] if len(errors) == len(silent) else [no_answer()] * len(silent)
        if len(set(map(str, rest))) > 1:
            rest = [Outcome(status=Status.FAILED, failure=Failure("rejected", _ONE_OF_SEVERAL))] * len(silent)
        filled = iter(rest)
        return [next(filled) if each is None else each for each in told]

    def _told(self, position: int, change: Change, names: frozenset[str]) -> Outcome | None:
        if change.id in self._by_id:
            return _updated(change, names, self._by_id[change.id])
        if error := next((each for each in self._answer.errors if _is_about(each, position, change)), None):
            return _failed(error)
        found = self._claim(position, change)
        if found is None:
            return None
        id_, new = found["id"], found.get("new")
        if change.action is Action.UPDATE:
            return Outcome(status=Status.APPLIED, id=id_, failure=CREATED_INSTEAD if new is True else OTHER_RECORD)
        return Outcome(status=Status.APPLIED, id=id_, failure=OTHER_RECORD if new is False else None)

    def _claim(self, position: int, change: Change) -> Mapping[str, Any] | None:
        """The result that must be this change's: by its trace, or because it shows all that was asked for."""
        for id_, result in self._unclaimed.items():
            trace = result.get("objectWriteTraceId")
            mine = trace == traced(position) if str(trace).startswith(_TRACE) else self._shows(change, result)
            if mine:
                return self._unclaimed.pop(id_)
        return None

    def _shows(self, change: Change, result: Mapping[str, Any]) -> bool:
        shown = result["properties"]
        return all(same(name, value, shown.get(name), self._known) for name, value in change.fields.items())


def _updated(change: Change, names: frozenset[str], result: Mapping[str, Any]) -> Outcome:
    shown = result["properties"]
    if not names <= set(shown):
        return Outcome(status=Status.APPLIED, id=change.id)  # it does not show all of them, so it is read
    after = {name: shown[name] or None for name in names}
    return Outcome(status=Status.APPLIED, id=change.id, after=after, sealed=True, partial=True)


def _identifies(error: Mapping[str, Any], changes: Sequence[Change]) -> bool:
    return any(_is_about(error, position, change) for position, change in enumerate(changes))


def _is_about(error: Mapping[str, Any], position: int, change: Change) -> bool:
    named = set(named_in(error))
    if traced(position) in named or change.id in named:
        return True
    # Of an upsert the error names the value by which the record was to be found.
    return change.id is None and bool(named & {str(value) for value in change.fields.values() if value})


def _failed(error: Mapping[str, Any]) -> Outcome:
    return Outcome(status=Status.FAILED, failure=Failure(_code(error, 400), _sentence(error)))


def refused(reply: Reply) -> Outcome:
    """An answer that is no success. Only what HubSpot itself says was refused was certainly not done."""
    body = reply.json()
    told = isinstance(body, dict) and isinstance(body.get("message"), str)
    if reply.status >= 500 or not told:
        # An application that answers has ended; a gateway may have given up on one that goes on.
        return no_answer("vendor_error" if reply.status == 500 and told else "no_answer")
    if reply.status < 400:
        return no_answer()
    return Outcome(status=Status.FAILED, failure=Failure(_code(body, reply.status), _sentence(body)))


def is_refused_whole(reply: Reply) -> bool:
    """Is this a refusal that one record of a batch may be the cause of?"""
    return reply.status in (400, 404, 409) and refused(reply).status is Status.FAILED


def _code(error: Mapping[str, Any], status: int) -> str:
    text = str(error)
    if status in (401, 403):
        return "target_refused"
    if status == 429:
        return "rate_limited"
    if "PROPERTY_DOESNT_EXIST" in text or "READ_ONLY_VALUE" in text:
        return UNKNOWN_FIELD
    if error.get("category") in ("CONFLICT", "OBJECT_ALREADY_EXISTS") or status == 409:
        return DUPLICATE
    return "not_found" if error.get("category") == NOT_FOUND or status == 404 else "rejected"


def _sentence(error: Mapping[str, Any]) -> str:
    return f"HubSpot: {str(error.get('message'))[:200]}"


def no_answer(code: str = "no_answer") -> Outcome:
    return Outcome(status=Status.UNKNOWN, failure=Failure(code, "HubSpot's answer does not tell whether it was done."))


_ONE_OF_SEVERAL = "HubSpot refused it, and other records of the batch, without saying which for what reason."
