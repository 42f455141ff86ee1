"""The words of Guard as values. One word, one meaning: docs/design.md has the list.

What there is of every record (change, touched, outcome, …) is a msgspec Struct: made, stored as a line of JSON and read
back several times faster than dataclasses are, which a database's operation of 10,000 records shows. The names of its
members are those in the store; copies with other values are made by msgspec.structs.replace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

Fields = Mapping[str, Any]
"""Canonical field name -> canonical JSON value. An empty field is left out where the vendor sees no difference."""

Image = Fields | None
"""What a record holds at one moment; None: there is no such record."""


Key = tuple[str, str]
"""Resource and id: what names a record within a target."""

Known = Mapping[Key, Image]


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"  # only ever asked for: it is resolved to create or update before anything is sent
    DELETE = "delete"


RECORD_MEMBERS: Mapping[str, frozenset[str]] = {
    Action.CREATE: frozenset({"id", "fields"}),
    Action.UPDATE: frozenset({"id", "fields"}),
    Action.UPSERT: frozenset({"id", "fields"}),
    Action.DELETE: frozenset({"id"}),
}
"""What a record of an operation may hold, by action; a handler's verbs have members of their own."""


class Change(Struct, gc=False, frozen=True, kw_only=True, omit_defaults=True):
    """One record's share of an operation: what is asked to happen to it."""

    resource: str
    action: Action
    id: str | None = None
    fields: Fields = msgspec.field(default_factory=dict)
    add: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    remove: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    origin: str | None = None
    """Of a re-creation: the id the record had before it was deleted."""
    whole: bool = False
    """The request replaces the record: what `fields` leaves out will be gone."""

    def asked(self) -> frozenset[str]:
        """The fields this change names."""
        return frozenset(self.fields) | frozenset(self.add) | frozenset(self.remove)


class Failure(Struct, gc=False, frozen=True):
    """Why a record was not written, in a stable code and a sentence for people."""

    code: str
    message: str


class Touched(Struct, gc=False, frozen=True, omit_defaults=True):
    """A change with the record's pre-image: ready to be snapshot.

    `problem` says why this record must not be sent (no such record, the same record twice, …).
    """

    change: Change
    before: Image = None
    problem: Failure | None = None
    implied_by: Key | None = None
    """Resource and id of the record whose change makes the target do this by itself (a cascade): it is snapshot and
    taken back like the rest, but not sent."""


class Status(StrEnum):
    """What became of one record."""

    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"  # in doubt: sent, and the outcome is not known
    UNCHANGED = "unchanged"  # of a bracket: at the seal as it was at the checkpoint


class Outcome(Struct, gc=False, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one change. `after` counts only where `sealed`: the post-image is known.

    `partial`, which only a handler says of an answer: `after` has just what the answer shows, with None for what it
    shows to be empty; the rest is as it was before. Guard puts the two together before anybody else sees it.
    """

    status: Status
    id: str | None = None
    after: Image = None
    sealed: bool = False
    failure: Failure | None = None
    partial: bool = False


class Restore(StrEnum):
    """How a target brings back a deleted record."""

    SAME_ID = "same_id"  # comes back under its own id (databases; vendors whose API takes it out of a bin)
    NEW_ID = "new_id"  # re-created, the vendor gives a new id
    NEVER = "never"


class Reversibility(StrEnum):
    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Reversal:
    """How far one change can be taken back, and in plain words what is lost."""

    level: Reversibility
    reason: str = ""


FULLY = Reversal(Reversibility.FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What comparing and restoring must know of an object type."""

    name: str
    sets: frozenset[str] = frozenset()
    """Compared as sets and restored as differences, so that what others added stays."""
    volatile: frozenset[str] = frozenset()
    """Kept by the server (timestamps, counters): never compared, never restored."""
    readonly: frozenset[str] = frozenset()
    """Compared, but no API writes them: a difference there cannot be taken back."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Field -> the resource whose id it holds: a record created again gets its referrers pointed to the new id."""
    children: Mapping[str, str] = field(default_factory=dict)
    """Set -> the resource of the records that it lists: they belong to this one, and are written by themselves."""


class Verdict(StrEnum):
    """What a revert concludes for a field or a record."""

    RESTORE = "restore"
    ALREADY = "already"
    CONFLICT = "conflict"
    IRREVERSIBLE = "irreversible"
    IN_DOUBT = "in_doubt"
