"""Snapshot lines: one record's change and pre-image, its outcome, its verdict, as they are stored.

Member names are short because there may be 100,000 of each; this module is the only one that knows them.
"""

from typing import Any

from guard.core.compare import FieldVerdict, Judgement
from guard.core.entries import Line
from guard.core.model import Action, Change, Failure, Outcome, Status, Touched, Verdict


def change_line(change: Change) -> Line:
    return _lean(
        r=change.resource,
        a=change.action.value,
        id=change.id,
        f=dict(change.fields) or None,
        add={name: list(members) for name, members in change.add.items()} or None,
        rem={name: list(members) for name, members in change.remove.items()} or None,
        origin=change.origin,
    )


def read_change(line: Line) -> Change:
    return Change(
        resource=line["r"],
        action=Action(line["a"]),
        id=line.get("id"),
        fields=line.get("f", {}),
        add={name: tuple(members) for name, members in line.get("add", {}).items()},
        remove={name: tuple(members) for name, members in line.get("rem", {}).items()},
        origin=line.get("origin"),
    )


def touched_line(touched: Touched) -> Line:
    return change_line(touched.change) | _lean(
        b=touched.before,
        by=list(touched.implied_by) if touched.implied_by else None,
        p=_failure_line(touched.problem),
    )


def read_touched(line: Line) -> Touched:
    by = line.get("by")
    return Touched(
        read_change(line), line.get("b"), _read_failure(line.get("p")), implied_by=(by[0], by[1]) if by else None
    )


def outcome_line(outcome: Outcome) -> Line:
    return _lean(
        s=outcome.status.value,
        id=outcome.id,
        a=outcome.after,
        ok=outcome.sealed or None,
        p=_failure_line(outcome.failure),
    )


def read_outcome(line: Line) -> Outcome:
    return Outcome(
        status=Status(line["s"]),
        id=line.get("id"),
        after=line.get("a"),
        sealed=line.get("ok", False),
        failure=_read_failure(line.get("p")),
    )


def judgement_line(resource: str, id_: str, title: str, judgement: Judgement) -> Line:
    fields = [[v.field, v.verdict.value, v.before, v.after, v.now] for v in judgement.fields]
    return _lean(
        r=resource, id=id_, t=title or None, v=judgement.verdict.value, why=judgement.reason or None, f=fields or None
    )


def read_judgement(line: Line) -> tuple[str, str, str, Judgement]:
    """Resource, id, title, judgement (without its compensation: that stands in the sending line)."""
    fields = tuple(FieldVerdict(name, Verdict(v), b, a, n) for name, v, b, a, n in line.get("f", []))
    return line["r"], line["id"], line.get("t", ""), Judgement(Verdict(line["v"]), line.get("why", ""), fields)


def _failure_line(failure: Failure | None) -> list[str] | None:
    return [failure.code, failure.message] if failure else None


def _read_failure(line: list[str] | None) -> Failure | None:
    return Failure(*line) if line else None


def _lean(**members: Any) -> Line:
    return {name: value for name, value in members.items() if value is not None}
