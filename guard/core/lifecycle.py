"""A run's life as data: which event may follow which, and the state that a journal folds to.

Everything that asks "what may follow" asks these three tables. A chunk's road is

    ─ sending ──────────── settled ── sealed      a vendor's API: the outcomes are known, then the post-images
    ─ sending ──────────────────────── sealed     …whose answers carry the post-images
    ─ sending ── written ───────────── sealed     a database: post-images durable, then commit
    ─ watched ──────────────────────── sealed     a bracket: somebody else writes between checkpoint and seal

An event that does not fit raises Illegal and changes nothing, so two writers cannot both take the same step.

Whoever drives an operation holds a lease on it: every event of the driver renews it, and carries the operation's term
(1 where it is not named). Taking over an expired lease raises the term, so that the next event of the old driver,
and with it its next write, does not fit any more.

A bracket is an operation that nobody drives while it stands: from the end of its checkpoint to its seal, which takes it
as one takes over an expired lease.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from guard.core.entries import GENESIS, Entry, Event, check_chain
from guard.core.limits import CALLS_MAX

RUN = {
    ("none", "opened"): "open",
    ("open", "begun"): "open",
    ("open", "sending"): "open",  # of any operation: a run that was stopped or is taken back sends nothing more
    ("open", "alive"): "open",  # a revert's, before it has an operation
    ("open", "stopped"): "stopped",
    ("open", "closing"): "closing",
    ("stopped", "closing"): "closing",
    ("closing", "closing"): "closing",
    ("closing", "revert_begun"): "reverting",
    ("reverting", "revert_ended"): "closing",
    **{(phase, note): phase for phase in ("open", "stopped", "closing", "reverting") for note in ("revoked", "called")},
}

OPERATION = {
    ("none", "begun"): "open",
    ("open", "chunk"): "open",  # any event of CHUNK
    ("open", "judged"): "open",
    ("open", "alive"): "open",
    ("open", "taken"): "open",
    ("open", "stands"): "standing",  # a bracket whose checkpoint is whole, or whose seal was given up for now
    ("standing", "taken"): "open",  # by who seals it
    ("open", "ended"): "ended",
}

CHUNK = {
    ("none", "sending"): "sending",
    ("sending", "written"): "written",
    ("sending", "settled"): "settled",
    ("sending", "sealed"): "sealed",
    ("written", "settled"): "settled",
    ("written", "sealed"): "sealed",
    ("settled", "sealed"): "sealed",
    ("none", "watched"): "watched",  # nothing is sent, so a run that was stopped may still seal what was created in it
    ("watched", "sealed"): "sealed",
}

_CHUNK_EVENTS = frozenset(event for _, event in CHUNK)
_DRIVERS_EVENTS = _CHUNK_EVENTS | {event for _, event in OPERATION} - {"chunk"}
_OUTCOMES = ("applied", "failed", "unknown", "noted", "unchanged", "absent")
_VERDICTS = ("already", "conflict", "irreversible", "in_doubt")


class Illegal(Exception):
    """The event does not fit the state: another writer was first, or Guard is wrong."""


@dataclass(frozen=True, slots=True)
class LineRef:
    """Where lines lie: event `index` of entry `n`, or the object with this digest."""

    n: int
    index: int
    object: str | None

    @property
    def at(self) -> tuple[int, int]:
        """For comparing: what lies earlier in the journal was known earlier."""
        return self.n, self.index


@dataclass(slots=True)
class ChunkState:
    phase: str = "none"
    records: int = 0
    implied: int = 0
    """Records that the target changed by itself (cascades), besides."""
    counts: dict[str, int] = field(default_factory=dict)
    lines: dict[str, LineRef] = field(default_factory=dict)
    """By event: sending, written, settled, watched, sealed, judged; reply: the vendor's answer, for repeats."""
    receipt: str | None = None
    reversible: str = "full"
    reasons: list[str] = field(default_factory=list)
    rolled_back: bool = False
    """A database undid the chunk: what `written` announced did not come about."""

    @property
    def began(self) -> LineRef:
        """Where its pre-images lie."""
        return self.lines["watched"] if "watched" in self.lines else self.lines["sending"]


@dataclass(slots=True)
class OperationState:
    begun: Event
    writer: str = ""
    """Who drives it: the process and a number of its own."""
    renewed_at: datetime | None = None
    """When its driver last appended something for it, by the driver's clock."""
    term: int = 1
    """Raised by each takeover."""
    phase: str = "open"
    stood: bool = False
    """Of a bracket: its checkpoint is whole, so what is still to be done is its seal."""
    chunks: dict[int, ChunkState] = field(default_factory=dict)
    ended: Event = field(default_factory=dict)

    @property
    def target(self) -> str:
        return str(self.begun["target"])

    @property
    def lease(self) -> timedelta:
        """For how long an event of the driver lets it drive on."""
        return timedelta(seconds=self.begun["lease_s"])

    @property
    def is_bracket(self) -> bool:
        """Others write between its checkpoint and its seal; Guard writes nothing."""
        return "bracket" in self.begun

    @property
    def is_waiting(self) -> bool:
        """Accepted for later, and nobody has taken it up yet."""
        return "queued" in self.begun and self.term == 1

    def is_held(self, now: datetime) -> bool:
        """By its driver's own clock: may it still write?"""
        return self.renewed_at is not None and now < self.renewed_at + self.lease

    def is_expired(self, now: datetime) -> bool:
        """By anybody's clock, which may be ahead of the driver's by half of the lease: may it be taken over?"""
        return self.renewed_at is None or now >= self.renewed_at + self.lease * 1.5

    def count(self, name: str) -> int:
        return sum(chunk.counts.get(name, 0) for chunk in self.chunks.values())

    def implied(self) -> int:
        return sum(chunk.implied for chunk in self.chunks.values() if not chunk.rolled_back)

    def unsettled(self) -> int:
        """Records that were announced and of which nothing is known yet."""
        return sum(c.records for c in self.chunks.values() if c.phase in ("sending", "written"))


@dataclass(slots=True)
class Calls:
    """Attempts to deliver callbacks or notifications to one receiver, the last of them at `at`."""

    attempts: int = 0
    failed: int = 0
    """Since the last message that was delivered."""
    messages: int = 0
    """Delivered or given up."""
    at: datetime | None = None
    over: set[str] = field(default_factory=set)
    """Operations of which nothing more is told."""

    def note(self, event: Event, at: datetime) -> None:
        """An attempt counts as failed from the moment it is claimed until it is told to have been delivered."""
        self.at = at
        if event["delivered"]:
            self.failed = 0
        else:
            self.attempts, self.failed = self.attempts + 1, self.failed + 1
        if event["delivered"] or self.failed >= CALLS_MAX or "unwanted" in event:
            self.over |= set(event.get("ops", [event["op"]]))
            self.failed, self.messages = 0, self.messages + 1


@dataclass(slots=True)
class RunState:
    run: str
    phase: str = "none"
    n: int = 0
    """The number that the next entry gets."""
    prev: str = GENESIS
    opened: Event = field(default_factory=dict)
    opened_at: datetime | None = None
    changed_at: datetime | None = None
    operations: dict[str, OperationState] = field(default_factory=dict)
    reverts: dict[str, Event | None] = field(default_factory=dict)
    """Revert runs of this run, in order; their closing event once they are over."""
    revoked: bool = False
    calls: dict[tuple[str, str], Calls] = field(default_factory=dict)
    """By who is told (a place's name; a subscription's id; empty: a callback) and by operation, empty for a place."""

    def check(self, events: list[Event]) -> None:
        """Raise Illegal where one of the events may not follow. Nothing changes."""
        trial = _Phases(self)
        for event in events:
            trial.step(event)

    def apply(self, entry: Entry) -> None:
        """Fold one entry in. Raises Corrupt, Illegal."""
        check_chain(entry, self.prev)
        self.check(entry.events)
        for index, event in enumerate(entry.events):
            self._apply(event, entry, index)
        self.n, self.prev, self.changed_at = entry.n + 1, entry.digest, entry.at

    def _apply(self, event: Event, entry: Entry, index: int) -> None:
        match event["e"]:
            case "opened":
                self.phase, self.opened, self.opened_at = "open", event, entry.at
            case "begun":
                self.operations[event["op"]] = OperationState(event, entry.writer)
            case "taken" | "stands" | "ended" as step:
                self._apply_step(step, self.operations[event["op"]], event, entry)
            case "closing" | "stopped" as phase:
                self.phase = phase
            case "revert_begun":
                self.phase, self.reverts[event["revert"]] = "reverting", None
            case "revert_ended":
                self.phase, self.reverts[event["revert"]] = "closing", event
            case "revoked" | "called" | "alive" as note:
                self._note(note, event, entry)
            case name:
                self._apply_chunk(name, event, entry, index)
        if event["e"] in _DRIVERS_EVENTS and "op" in event:
            self.operations[event["op"]].renewed_at = entry.at

    def _apply_step(self, name: str, operation: OperationState, event: Event, entry: Entry) -> None:
        operation.phase = OPERATION[(operation.phase, name)]
        if name == "taken":
            operation.writer, operation.term = entry.writer, event["term"]
        elif name == "stands":
            operation.stood = True
        else:
            operation.ended = event

    def _note(self, name: str, event: Event, entry: Entry) -> None:
        if name == "revoked":
            self.revoked = True
        elif name == "called":
            self.calls.setdefault(_called(event), Calls()).note(event, entry.at)

    def _apply_chunk(self, name: str, event: Event, entry: Entry, index: int) -> None:
        chunk = self.operations[event["op"]].chunks.setdefault(event["chunk"], ChunkState())
        if "lines" in event:
            chunk.lines[name] = LineRef(entry.n, index, event["lines"].get("object"))
        if "reply" in event:
            chunk.lines["reply"] = LineRef(entry.n, index, event["reply"].get("object"))
        if name == "judged":
            chunk.counts |= {verdict: event.get(verdict, 0) for verdict in _VERDICTS}
            return
        chunk.phase = CHUNK[(chunk.phase, name)]
        if name in ("sending", "watched"):
            chunk.records, chunk.implied = event["records"], event.get("implied", 0)
        chunk.reversible, chunk.reasons = event.get("reversible", chunk.reversible), event.get("reasons", chunk.reasons)
        chunk.receipt = event.get("receipt", chunk.receipt)
        chunk.rolled_back = event.get("rolled_back", False)
        chunk.counts |= {outcome: event[outcome] for outcome in _OUTCOMES if outcome in event}

    @property
    def running(self) -> bool:
        """Something is under way, or a bracket is open."""
        return any(operation.phase != "ended" for operation in self.operations.values())

    @property
    def driven(self) -> bool:
        """Something is under way, brackets that stand not counted."""
        return any(operation.phase == "open" for operation in self.operations.values())

    @property
    def status(self) -> str:
        """The one word of the API: running, applied, partial, failed, stopped, reverting, reverted, …"""
        # A revert that could not be carried out at all leaves the run as it was.
        told = [revert for revert in self.reverts.values() if revert is None or revert["status"] != "failed"]
        if told:
            return "reverting" if told[-1] is None else str(told[-1]["status"])
        if self.running:
            return "running"
        return overall([str(operation.ended["status"]) for operation in self.operations.values()])


class _Phases:
    """The phases that events would lead to, without touching the state."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._run = state.phase
        self._operations: dict[str, str] = {}
        self._terms: dict[str, int] = {}
        self._chunks: dict[tuple[str, int], str] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    def step(self, event: Event) -> None:
        name = event["e"]
        of_operation = name in _DRIVERS_EVENTS and "op" in event
        if of_operation:
            self._step_operation(name, event)
        if not of_operation or name in ("begun", "sending"):
            self._run = _next(RUN, self._run, name, "run")
        if name == "called" and "attempt" in event and not event["delivered"]:
            self._step_attempt(event)

    def _step_attempt(self, event: Event) -> None:
        """Of several that would tell the same, one makes the attempt."""
        key = _called(event)
        known = self._state.calls.get(key)
        made = self._attempts.get(key, known.attempts if known else 0)
        if event["attempt"] != made + 1:
            raise Illegal(f"attempt {event['attempt']} may not follow attempt {made}")
        self._attempts[key] = event["attempt"]

    def _step_operation(self, name: str, event: Event) -> None:
        op = event["op"]
        known = self._state.operations.get(op)
        phase = self._operations.get(op, known.phase if known else "none")
        self._operations[op] = _next(OPERATION, phase, "chunk" if name in _CHUNK_EVENTS else name, op)
        self._step_term(name, event, known.term if known else 1)
        if name in _CHUNK_EVENTS:
            key = (op, event["chunk"])
            chunk = known.chunks.get(event["chunk"]) if known else None
            before = self._chunks.get(key, chunk.phase if chunk else "none")
            self._chunks[key] = _next(CHUNK, before, name, f"{op} chunk {event['chunk']}")

    def _step_term(self, name: str, event: Event, known: int) -> None:
        op, term = event["op"], event.get("term", 1)
        held = self._terms.get(op, known)
        if term != held + (name == "taken"):
            raise Illegal(f"{op}: {name!r} of term {term} may not follow in term {held}: it was taken over")
        self._terms[op] = term


def _called(event: Event) -> tuple[str, str]:
    return event.get("to", ""), event["op"]


def _next(table: dict[tuple[str, str], str], phase: str, event: str, what: str) -> str:
    try:
        return table[(phase, event)]
    except KeyError:
        raise Illegal(f"{what}: {event!r} may not follow in phase {phase!r}") from None


def overall(statuses: list[str]) -> str:
    """One word for several operations' statuses."""
    found = set(statuses)
    if len(found) == 1:
        return found.pop()
    return "partial" if found else "applied"


def outcome_status(applied: int, failed: int, unknown: int) -> str:
    if unknown == 0 and failed == 0:
        return "applied"
    return "partial" if applied or unknown else "failed"


def event(name: str, **members: Any) -> Event:
    return {"e": name, **{key: value for key, value in members.items() if value is not None}}
