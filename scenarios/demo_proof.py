"""The proof that a run was taken back: from what the sandbox itself holds, without asking Guard.

What must be there now is what was there before the import, with people's later edits on top.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

Flat = dict[str, Any]
State = Mapping[str, Flat]
"""Records by id, each as its fields."""

_NOT_COMPARED = frozenset({"dateUpdated", "updatedAt", "contact"})
"""The server's own timestamps, and the excerpt of its contact that an opportunity is shown with."""

BULK_CONTACTS = 100
"""Contacts that one bulk tag call may name."""


def flat(row: Mapping[str, Any]) -> Flat:
    """One record for comparing: without the server's own timestamps, tags in any order, own fields by their id."""
    fields = {name: value for name, value in row.items() if name not in {*_NOT_COMPARED, "customFields", "tags"}}
    own = {f"customFields.{each['id']}": each.get("value", each.get("fieldValue")) for each in row["customFields"]}
    return {**fields, **own, "tags": frozenset(row.get("tags", ()))}


@dataclass(frozen=True, slots=True)
class Proof:
    """Records by what became of them. Every record that the import changed is in exactly one of the three."""

    restored: AbstractSet[str]
    """Changed by the import, and as before it now, with people's edits of other fields."""
    conflicts: AbstractSet[str]
    """Edited by people in a field that the import had changed: that edit stands, the rest is as before the import."""
    differing: AbstractSet[str]
    """Anything else."""

    def holds(self, records: int, conflicts: int) -> bool:
        """Whether all is as promised where this many were imported and this many of them met people's edits."""
        found = (len(self.restored), len(self.conflicts), len(self.differing))
        return found == (records - conflicts, conflicts, 0)


def prove(before: State, ruined: State, edited: State, now: State) -> Proof:
    """Compare every record at four moments: before the import, after it, after people's edits, after the revert."""
    restored, conflicts, differing = set(), set(), set()
    for id_ in before.keys() | now.keys():
        imported = _changed(before.get(id_, {}), ruined.get(id_, {}))
        by_people = _changed(ruined.get(id_, {}), edited.get(id_, {}))
        expected = _with(before.get(id_, {}), edited.get(id_, {}), by_people)
        if now.get(id_, {}) != expected:
            differing.add(id_)
        elif imported & by_people:
            conflicts.add(id_)
        elif imported:
            restored.add(id_)
    return Proof(restored, conflicts, differing)


def _changed(one: Flat, other: Flat) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _with(record: Flat, later: Flat, names: Iterable[str]) -> Flat:
    """The record with these fields as they are later; one that is gone later is gone."""
    merged = {**record, **{name: later.get(name) for name in names}}
    return {name: value for name, value in merged.items() if value is not None}


@dataclass(frozen=True, slots=True)
class LeastCalls:
    """The least calls that HighLevel's API allows: one contact per read and per write, tags in bulk."""

    records: int
    tag_calls: int

    @property
    def importing(self) -> int:
        return 2 * self.records

    @property
    def reverting(self) -> int:
        return 2 * self.records + self.tag_calls


def least_calls(before: State, ruined: State, ids: Sequence[str]) -> LeastCalls:
    """For an import of these records, in its order, and its revert, which goes from the newest to the oldest."""
    backwards = ids[::-1]
    parts = [backwards[start : start + BULK_CONTACTS] for start in range(0, len(ids), BULK_CONTACTS)]
    return LeastCalls(len(ids), sum(_tag_calls(before, ruined, part) for part in parts))


def _tag_calls(before: State, ruined: State, ids: Sequence[str]) -> int:
    """Tags go back as differences, since people may have added some: a call for each tag, or for each set of tags."""
    calls = 0
    for there, wanted in ((ruined, before), (before, ruined)):
        sets = {wanted[id_]["tags"] - there[id_]["tags"] for id_ in ids} - {frozenset()}
        calls += min(len(sets), len(frozenset().union(*sets)))
    return calls
