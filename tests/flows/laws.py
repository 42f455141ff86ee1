"""The laws' model: what a vendor should hold after any sequence of operations, edits and reverts, in plain dicts."""

from collections.abc import Mapping
from dataclasses import dataclass

Fields = dict[str, str]
State = dict[str, Fields]

FIELDS = ("city", "companyName")


@dataclass
class Run:
    """What a run did, by record: the fields before it and after it."""

    before: State
    after: State


def updated(state: State, wanted: Mapping[str, Fields]) -> tuple[State, Run]:
    """The state after a bulk update, and the run that did it."""
    before = {id_: {name: state[id_][name] for name in fields} for id_, fields in wanted.items()}
    after = {id_: dict(fields) for id_, fields in wanted.items()}
    return {id_: {**row, **wanted.get(id_, {})} for id_, row in state.items()}, Run(before, after)


def reverted(state: State, run: Run, ids: frozenset[str] | None, names: frozenset[str] | None) -> tuple[State, bool]:
    """I3: only what the run changed, and only where it is still as the run left it. True: nothing was in conflict."""
    new = {id_: dict(row) for id_, row in state.items()}
    whole = True
    for id_, after in run.after.items():
        if ids is not None and id_ not in ids:
            continue
        for name, value in after.items():
            before, now = run.before[id_][name], state[id_][name]
            if (names is not None and name not in names) or before in (value, now):
                continue
            if now == value:
                new[id_][name] = before
            else:
                whole = False
    return new, whole


def between(old: State, new: State) -> Run:
    """The run of a revert: a revert can be taken back, too."""
    changed = {
        id_: {name for name in FIELDS if old[id_][name] != new[id_][name]} for id_ in old if old[id_] != new[id_]
    }
    before = {id_: {name: old[id_][name] for name in names} for id_, names in changed.items()}
    return Run(before, {id_: {name: new[id_][name] for name in names} for id_, names in changed.items()})
