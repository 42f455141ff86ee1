"""The shapes of Guard's answers, as /openapi.json tells them; tests hold real answers to them.

An answer that gets a member more gets it here, too: a shape allows no others. What `NotRequired` says is there only
where it applies; null is a value of its own.
"""

from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic wants this one on Python 3.11
)

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

closed = with_config(ConfigDict(extra="forbid"))
_open = with_config(ConfigDict(extra="allow"))

Count = Annotated[int, Field(ge=0)]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", examples=["2026-11-24T17:52:12Z"])]
Level = Literal["full", "partial", "none"]
Value = Any
"""What a field holds, as the vendor writes it."""


def about(text: str) -> Any:
    return Field(description=text)


@closed
class Failure(TypedDict):
    """A record that was not written, is in doubt, or was written in part."""

    id: str | None
    resource: str
    status: Literal["applied", "failed", "unknown"]
    code: str
    message: str


class _Summary(TypedDict):
    id: Annotated[str, about("The run.")]
    kind: Annotated[Literal["run", "revert"], about("revert: the run of a revert.")]
    status: Literal[
        "running", "applied", "partial", "failed", "stopped", "reverting", "reverted", "partly_reverted", "dry_run"
    ]
    target: Annotated[str | None, about("null where the operations differ in it; so with resource and action.")]
    resource: str | None
    action: str | None
    scenario: str | None
    note: str | None
    client: str | None
    opened_at: Moment | None
    records_total: Count
    records_applied: Count
    records_failed: Count
    records_in_doubt: Annotated[Count, about("Sent, and the outcome is not known.")]
    records_implied: Annotated[Count, about("Changed by the target itself, by foreign keys.")]
    records_restored: NotRequired[Annotated[Count, about("Of a revert, as the following ones.")]]
    records_already: NotRequired[Count]
    records_conflicted: NotRequired[Count]
    records_irreversible: NotRequired[Count]
    records_unchanged: NotRequired[Annotated[Count, about("Of a checkpoint, as the following ones.")]]
    records_absent: NotRequired[Annotated[Count, about("Ids that did not exist at the checkpoint.")]]
    checkpoint: NotRequired[Literal["being_taken", "open", "being_sealed", "sealed", "given_up"]]
    seal_url: NotRequired[Annotated[str, about("POST here once the records are written.")]]
    reversible: Level
    reversible_reasons: list[str]
    revert_url: Annotated[str, about("Takes the run back. Whoever has it may: treat it like a password.")]
    revert_expires_at: Moment
    run_url: str
    reverts: NotRequired[Annotated[str, about("Of a revert: the run that it took back.")]]
    reverted_by: NotRequired[Annotated[str, about("The last revert of this run.")]]
    problem_code: NotRequired[Annotated[str, about("What stopped it before its end.")]]
    problem: NotRequired[str]


@closed
class Listed(_Summary):
    """A run in the history."""


_LISTED = {"$ref": "#/components/schemas/Listed"}
_A_RUN = {"type": "string", "contentMediaType": "application/json", "contentSchema": _LISTED}


@closed
class Event(TypedDict):
    """One of the stream's events."""

    event: Annotated[
        Literal["progress", "ended", "store_unavailable"],
        about("progress: the numbers have changed; ended: these are the last ones."),
    ]
    id: NotRequired[str]
    data: Annotated[str, WithJsonSchema(_A_RUN), about("The run, as in the history.")]


@closed
class Run(_Summary):
    """What an operation, or a run, has come to."""

    operation: NotRequired[Annotated[str, about("Its id within the run; not in an answer about a whole run.")]]
    failures: Annotated[list[Failure], about("Up to 100; the rest is at run_url + /changes.")]


@closed
class Operation(_Summary):
    """One operation of a run."""

    operation: str


@closed
class WholeRun(Run):
    """A run with its operations one by one, and all its reverts."""

    operations: list[Operation]
    reverted_by_runs: list[str]


@closed
class Runs(TypedDict):
    runs: list[Listed]
    next_after: Annotated[str | None, about("As `after`, goes on; null: there are no more.")]


@closed
class DryRun(TypedDict):
    """What an operation would be."""

    id: None
    status: Literal["dry_run"]
    target: str
    resource: str
    action: str
    records_total: Count
    reversible: Level
    reversible_create: NotRequired[Level]
    reversible_update: NotRequired[Level]
    reversible_delete: NotRequired[Level]
    reversible_reasons: list[str]
    needs_accept_irreversible: bool
    side_effects: str
    vendor_calls: Annotated[Count | None, about("null: a database.")]
    vendor_calls_of_revert: Count | None
    seconds_at_least: Annotated[float | None, about("At the target's limit; null: none is known.")]
    seconds_of_revert_at_least: float | None


@closed
class CheckpointDryRun(TypedDict):
    """What a checkpoint would be."""

    id: None
    status: Literal["dry_run"]
    target: str
    resource: str
    action: Literal["checkpoint"]
    records_total: Count
    reversible: Level
    reversible_reasons: list[str]
    side_effects: str
    vendor_calls: Annotated[Count | None, about("null: a database.")]
    vendor_calls_of_seal: Count | None
    seconds_at_least: Annotated[float | None, about("At the target's limit; null: none is known.")]
    seconds_of_seal_at_least: float | None


@closed
class ChangedField(TypedDict):
    field: str
    before: Value
    after: Value
    now: NotRequired[Annotated[Value, about("Where it was asked for.")]]


@closed
class ChangedRecord(TypedDict):
    operation: str
    resource: str
    action: Literal["create", "update", "upsert", "delete"]
    id: str | None
    status: Annotated[
        Literal["applied", "failed", "unknown", "unchanged"],
        about("unchanged: of a checkpoint, it holds what it held."),
    ]
    code: str | None
    message: str | None
    recreates: NotRequired[Annotated[str, about("Of a revert: the id that the record had before.")]]
    exists_now: NotRequired[bool]
    fields: list[ChangedField]


@closed
class Changes(TypedDict):
    changes: list[ChangedRecord]
    next_after: Annotated[int | None, about("As `after`, goes on; null: there are no more.")]


Verdict = Literal["restore", "already", "conflict", "irreversible", "in_doubt"]


@closed
class JudgedField(TypedDict):
    field: str
    verdict: Verdict
    before: Value
    after: Value
    now: Value


@closed
class JudgedRecord(TypedDict):
    target: str
    resource: str
    id: str | None
    title: Annotated[str, about("What people call the record.")]
    verdict: Verdict
    reason: str
    exists_now: bool | None
    fields: list[JudgedField]


@closed
class Plan(_Summary):
    """What a revert would do, a page of it, judged by what is there at this moment."""

    records_to_take_back: Count
    page_offset: Count
    page_records: Count
    next_offset: Count | None
    page_restored: Count
    page_already: Count
    page_conflicted: Count
    page_irreversible: Count
    page_in_doubt: Count
    page_failed: Count
    cannot_be_taken_back: list[str]
    plan: list[JudgedRecord]


@closed
class Left(TypedDict):
    """A field, or a record, that did not go back."""

    resource: str
    id: str
    title: str
    reason: str
    verdict: Verdict
    field: NotRequired[str]
    before: NotRequired[Value]
    after: NotRequired[Value]
    now: NotRequired[Value]


@closed
class Recreated(TypedDict):
    """A record that was created again and has a new id."""

    resource: str
    title: str
    old_id: str
    new_id: str
    fields_lost: list[str]
    lost: str


@closed
class Report(Run):
    """What a revert has come to."""

    conflicts: Annotated[list[Left], about("Up to 100 records, field by field.")]
    recreated: list[Recreated]
    cannot_be_taken_back: list[str]


@_open
class Problem(TypedDict):
    """Every error (RFC 9457). `code` and `written` are stable; further members depend on the code."""

    type: Annotated[str, Field(pattern="^urn:guard:error:[a-z_]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: str
    detail: Annotated[str, about("A sentence for people.")]
    written: Annotated[Literal["nothing", "unknown", "some"], about("What this request has done to the target.")]
    run_url: NotRequired[str]
    revert_url: NotRequired[str]
    record: NotRequired[Annotated[int, about("The number of the record that is meant, from 1.")]]
    failures: NotRequired[list[Failure]]
