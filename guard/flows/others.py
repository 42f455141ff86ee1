"""Who else changed a record since a run: a later run of ours, where its journal shows that it left that very value."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from guard.core.errors import GuardError
from guard.core.lifecycle import RunState
from guard.core.limits import RECORDS_LOOKED_THROUGH_MAX, RUNS_LOOKED_THROUGH_MAX
from guard.core.model import Verdict
from guard.flows.guard import Guard
from guard.flows.history import Recorded, recorded_chunks
from guard.flows.plan import Judged

Where = tuple[str, str, str]
"""Target, resource, record."""

Wanted = dict[Where, dict[str, Any]]
"""What fields hold that others changed; under GONE, that the record was deleted."""

GONE = ""


@dataclass(frozen=True, slots=True)
class Other:
    """A later run that left what is there now."""

    run: str
    scenario: str
    between: bool
    """It only happened between checkpoint and seal of that run: perhaps it was somebody else."""


@dataclass(frozen=True, slots=True)
class Others:
    found: dict[tuple[Where, str], Other]
    """By record and field."""
    all_looked_through: bool
    """False: there are more later runs than are looked through; whoever is not found may be one of those."""


async def others(guard: Guard, state: RunState, judged: Iterable[Judged]) -> Others:
    """The latest of the later runs behind each conflict; what is not found was done by somebody outside Guard."""
    wanted = _wanted(judged)
    found: dict[tuple[Where, str], Other] = {}
    runs, records = 0, 0
    async for opened_at, run in guard.journals.newest():
        if not wanted or (state.opened_at and opened_at < state.opened_at):
            break
        if run == state.run:
            continue
        if (runs := runs + 1) > RUNS_LOOKED_THROUGH_MAX or records > RECORDS_LOOKED_THROUGH_MAX:
            return Others(found, all_looked_through=False)
        try:
            records += await _look_through(guard, run, wanted, found)
        except GuardError:  # one that cannot be read may be it
            return Others(found, all_looked_through=False)
    return Others(found, all_looked_through=True)


def _wanted(judged: Iterable[Judged]) -> Wanted:
    wanted: Wanted = {}
    for row, now, judgement in judged:
        where = (row.target, row.past.resource, row.past.id)
        if judgement.verdict is Verdict.CONFLICT and now is None:
            wanted[where] = {GONE: None}
        elif fields := {each.field: each.now for each in judgement.fields if each.verdict is Verdict.CONFLICT}:
            wanted[where] = fields
    return wanted


async def _look_through(guard: Guard, run: str, wanted: Wanted, found: dict[tuple[Where, str], Other]) -> int:
    """Move what the run left from wanted to found; the number of records that were looked at."""
    records = 0
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
        targets = {op: operation.target for op, operation in state.operations.items()}
        if {where[0] for where in wanted}.isdisjoint(targets.values()):
            return 0
        scenario = str(state.opened.get("scenario") or "")
        async for chunk in recorded_chunks(journal, state):
            records += len(chunk)
            for each in chunk:
                change = each.touched.change
                where = (targets[each.op], change.resource, str(each.outcome.id or change.id))
                for field in [name for name, value in wanted.get(where, {}).items() if _left(each, name, value)]:
                    found[where, field] = Other(run, scenario, each.until is not None)
                    del wanted[where][field]
                if where in wanted and not wanted[where]:
                    del wanted[where]
            if records > RECORDS_LOOKED_THROUGH_MAX:
                break
    return records


def _left(record: Recorded, field: str, value: Any) -> bool:
    """Did this change leave what is there now?"""
    before, outcome = record.touched.before or {}, record.outcome
    if not outcome.sealed or field == GONE or outcome.after is None:
        return outcome.sealed and field == GONE and outcome.after is None
    return bool(outcome.after.get(field) == value and before.get(field) != value)
