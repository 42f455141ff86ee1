"""What a run did, in words for people.

Of a checkpoint's records nobody knows who changed them (guard/core/bracket.py), so no sentence here says that the run
did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guard.core.model import Action, Status
from guard.flows.history import Recorded

_ACTIONS = {
    "create": "created",
    "update": "changed",
    "upsert": "created or changed",
    "delete": "deleted",
    "revert": "took back",
    "tags.add": "added tags to",
    "tags.remove": "removed tags from",
}
_DONE = {Action.CREATE: "created", Action.UPDATE: "changed", Action.DELETE: "deleted"}
_WAITING = {
    "being_taken": "being taken",
    "open": "not sealed yet",
    "being_sealed": "being sealed",
    "given_up": "given up without a seal",
}
_BETWEEN = "between checkpoint and seal"
_CHECKPOINT = "checkpoint"
"""Of the flat object: the member that tells how far a run's checkpoints have come, and the action of each of them."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What pages call the two moments of which they show what records held."""

    before: str
    after: str
    """Both as the head of a column."""
    earlier: str
    """"how it was …"."""
    since: str
    """"what somebody changed …"."""
    found: str
    """What is shown where nobody knows what records hold now."""


_RUN = Moments("Before the run", "After the run", "before the run", "after the run", "what the run did")
_REVERT = Moments(
    "Before taking back", "After it", "before the run was taken back", "after it was taken back", "what went back"
)
_SEALED = Moments(
    "At the checkpoint", "At the seal", "at the checkpoint", "after the seal", "what checkpoint and seal found"
)
_OPEN = Moments(
    "At the checkpoint", "If sealed now", "at the checkpoint", "after the seal", "what the checkpoint found"
)
_BOTH = Moments(
    "Before",
    "After",
    "before the run, or at its checkpoint",
    "after the run, or after the seal",
    "what the run did and its checkpoint found",
)


def moments(told: Mapping[str, Any]) -> Moments:
    if _CHECKPOINT in told:
        if told["action"] != _CHECKPOINT:
            return _BOTH
        return _SEALED if told[_CHECKPOINT] == "sealed" else _OPEN
    return _REVERT if told["kind"] == "revert" else _RUN


def count(number: int, what: str = "record") -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def deed(told: Mapping[str, Any], where: str = "") -> str:
    """What a run did, in a sentence without an end. where: " in …", for the records that it was done to."""
    return "; ".join([_first(told, where), *_further(told)])


def _first(told: Mapping[str, Any], where: str) -> str:
    of_all = f"{told['records_applied']:,} of {count(told['records_total'])}"
    stage = told.get(_CHECKPOINT)
    if stage is None:
        action = str(told["action"] or "changed")
        return f"{_ACTIONS.get(action, f'{action}:')} {of_all}{where}"
    if told["action"] != _CHECKPOINT:
        said = f"its checkpoint is {_WAITING[stage]}" if stage in _WAITING else f"in part {_BETWEEN}"
        return f"{of_all} changed ({said}){where}"
    if stage in _WAITING:
        return f"a checkpoint of {count(told['records_total'])} ({_WAITING[stage]}){where}"
    return f"{of_all} changed {_BETWEEN}{where}"


def _further(told: Mapping[str, Any]) -> list[str]:
    only = told["action"] == _CHECKPOINT
    if only and told[_CHECKPOINT] in _WAITING:
        return []
    said = {
        "records_implied": "more changed with them in the system itself",
        "records_failed": "not written",
        "records_in_doubt": "could not be read at the seal" if only else "in doubt",
    }
    return [f"{told[name]:,} {words}" for name, words in said.items() if told[name]]


def happened(record: Recorded) -> str:
    """What became of one record, as the first word of a line."""
    action = record.touched.change.action
    done = _DONE.get(action, action.value)
    if record.until is None:
        return done
    return {Status.UNCHANGED: "unchanged", Status.UNKNOWN: "watched"}.get(record.outcome.status, f"{done} {_BETWEEN}")


def outcome(record: Recorded) -> str:
    """What came of writing it; of a checkpoint's record, which nobody wrote through Guard, whether it was sealed."""
    status = record.outcome.status
    return status.value if record.until is None or status is Status.UNKNOWN else "sealed"


def trouble(record: Recorded) -> str:
    """Empty: none. Of a checkpoint's record its own sentence tells."""
    said = {Status.FAILED: "not written", Status.UNKNOWN: "in doubt"}
    return said.get(record.outcome.status, "") if record.until is None else ""
