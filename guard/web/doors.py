"""Every door as data: what it takes and what it answers, for /openapi.json and for the page that shows it.

Errors are named by their codes; the statuses follow from guard/core/errors.py. What a body or query may hold comes from
the models that check it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from guard.core.limits import KEY_CHARS_MAX, PAGE_RECORDS_MAX, WAIT_MAX_S, WAIT_S
from guard.web.answers import Changes, DryRun, Event, Health, Plan, Ready, Report, Run, Runs, WholeRun
from guard.web.operations import OperationModel
from guard.web.revert import RevertModel

JSON, HTML, FORM = "application/json", "text/html", "application/x-www-form-urlencoded"
NDJSON, CSV, EVENTS = "application/x-ndjson", "text/csv", "text/event-stream"
TEXT: dict[str, Any] = {"type": "string"}

KEY = ("bearer", "guardKey")
SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A client's key of the settings."},
    "guardKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Guard-Key",
        "description": "The same; it counts where both come.",
    },
    "metricsKey": {"type": "http", "scheme": "bearer", "description": "server.metrics_key of the settings."},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """`content`: by type a model, several of which one fits, a schema as it is, or {} for anything."""

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    methods: Sequence[str]
    path: str
    name: str
    tag: str
    summary: str
    description: str = ""
    takes: Sequence[str] = ()
    """Names in PARAMETERS."""
    path_parameters: Sequence[Mapping[str, Any]] = ()
    query: type[BaseModel] | None = None
    """A model that the query is checked by, too."""
    not_in_query: frozenset[str] = frozenset()
    body: Mapping[str, Any] = field(default_factory=dict)
    """By content type: a model, or a schema as it is."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    answers: Mapping[int | str, Answer] = field(default_factory=dict)
    codes: Sequence[str] = ()
    security: Sequence[str] = KEY
    is_page: bool = False
    """A browser gets each answer as a page."""
    is_relayed: bool = False
    """A vendor's answers come through as they are, whatever their status."""
    is_probe: bool = False
    """Answered also when there is too much of everything else."""

    @property
    def all_codes(self) -> set[str]:
        always = {"internal"} if self.is_probe else {"internal", "overloaded"}
        return {*self.codes, *always, *(("unauthenticated",) if self.security else ())}

    def models(self) -> Iterator[Any]:
        for given in (
            *self.body.values(),
            *(each for answer in self.answers.values() for each in answer.content.values()),
        ):
            for each in given if isinstance(given, tuple) else (given,):
                if not isinstance(each, dict):
                    yield each


def _header(name: str, description: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": dict(schema or TEXT)}


def _query(name: str, description: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema or TEXT)}


def _path(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {**TEXT, **schema}}


def _whole(least: int, most: int) -> dict[str, Any]:
    """A whole number in a query; one that is empty counts as not sent."""
    return {"anyOf": [{"type": "integer", "minimum": least, "maximum": most}, {"type": "string", "maxLength": 0}]}


_A_KEY = {"type": "string", "maxLength": KEY_CHARS_MAX}
_AFTER_RUN = {"type": "string", "pattern": "^([0-9]{13}-run_[0-9a-z]{26})?$"}
PARAMETERS: dict[str, Any] = {
    "GuardRunKey": _header("Guard-Run-Key", "Puts several calls into one run: your scenario's execution id.", _A_KEY),
    "IdempotencyKey": _header("Idempotency-Key", "A repeat with it gets the same run and the same answer.", _A_KEY),
    "WebhookId": _header("webhook-id", "Taken for an Idempotency-Key where none is sent.", _A_KEY),
    "Prefer": _header(
        "Prefer",
        f"`wait=N`: answer within N seconds, up to {WAIT_MAX_S:.0f}, by default {WAIT_S:.0f}. `respond-async`: "
        "at once. Anything else is ignored.",
    ),
    "DryRun": _header(
        "Guard-Dry-Run",
        "`1`: tell what the write would be, and send nothing.",
        {"type": "string", "enum": ["1", "0", "true", "false"]},
    ),
    "AcceptIrreversible": _header(
        "Guard-Accept-Irreversible", "`true` lets a write through that cannot be taken back whole."
    ),
    "Scenario": _header("Guard-Scenario", "A name for the history.", _A_KEY),
    "RunsTarget": _query("target", "Only runs of this target."),
    "Since": _query("since", "Only runs opened since then, a time like 2026-01-31T12:00:00Z."),
    "Until": _query("until", "Only runs opened until then."),
    "RunsAfter": _query("after", "The `next_after` of the answer before.", _AFTER_RUN),
    "RecordsAfter": _query("after", "The `next_after` of the answer before.", _whole(0, 2**31)),
    "Limit": _query("limit", "At most so many; 100 where it is not sent.", _whole(1, PAGE_RECORDS_MAX)),
    "Now": _query("now", "`true`: also what the records hold at this moment."),
    "PlanOffset": _query("offset", "Where the page of the plan begins.", _whole(0, 2**31)),
    "PlanLimit": _query("limit", "Records of the page; 50 where it is not sent.", _whole(1, 500)),
}
HEADERS: dict[str, Any] = {
    "Location": {"description": "Where to look again: run_url.", "schema": TEXT, "required": True},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True},
    "WWW-Authenticate": {"schema": TEXT, "required": True},
    "Guard-Run": {"description": "Of a guarded write: the run.", "schema": {"type": "string", "pattern": "^run_"}},
    "Guard-Operation": {"description": "The operation within the run.", "schema": TEXT},
    "Guard-Revert-Url": {"description": "Takes the run back.", "schema": TEXT},
    "Guard-Status": {
        "description": "As far as it was known when the answer went out.",
        "schema": {"type": "string", "enum": ["applied", "partial", "failed"]},
    },
}

RUN, TOKEN = (
    _path("run", "A run's id.", examples=["run_01m87azk9r0808pqq5vcv9qhhm"]),
    _path("token", "Of a revert URL."),
)
STORE = ("store_unavailable", "corrupt")
TARGET = ("target_unavailable", "target_refused", "unknown_target", "unknown_resource")
ONE_RUN = ("not_found", "unauthenticated", *STORE)
WRITES = (
    *STORE, *TARGET, "forbidden", "unknown_action", "unknown_field", "invalid_request", "invalid_record",
    "duplicate_record", "invalid_body", "too_large", "unsupported_media_type", "irreversible", "operation_failed",
    "key_reused", "run_closed", "in_doubt",
)  # fmt: skip
"""What a door may answer behind which an operation is carried out."""
REVERT_URL = ("invalid_token", "expired_token", "revoked_token", "not_found", "invalid_request", *STORE, *TARGET)
_GOES_ON = "It goes on; `Location` tells where to look."

DOORS: list[Door] = [
    Door(
        methods=["POST"],
        path="/v1/operations",
        name="operations",
        tag="Writing",
        summary="Write many records",
        description=(
            "The records are in a JSON body beside the other members; or they are an NDJSON or CSV body, and the other "
            "members are in the query. All records are checked before the first is read or written."
        ),
        takes=["GuardRunKey", "IdempotencyKey", "WebhookId", "Prefer"],
        query=OperationModel,
        not_in_query=frozenset({"records", "filter", "fields"}),
        body={JSON: OperationModel, NDJSON: TEXT, CSV: TEXT},
        examples={
            JSON: {
                "target": "crm",
                "resource": "contacts",
                "action": "update",
                "scenario": "import",
                "records": [{"id": "80odnXVE9BAcgXuiNEr1", "fields": {"city": "Lisbon"}}],
            },
            NDJSON: '{"id": "80odnXVE9BAcgXuiNEr1", "fields": {"city": "Lisbon"}}\n',
            CSV: "id,city\n80odnXVE9BAcgXuiNEr1,Lisbon\n",
        },
        answers={
            200: Answer("It has ended; or, with `dry_run`, what it would be.", {JSON: (Run, DryRun)}),
            202: Answer(_GOES_ON, {JSON: Run}, ["Location", "Retry-After"]),
        },
        codes=[*WRITES, "forbidden_callback"],
    ),
    Door(
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        path="/to/{target}/{path}",
        name="passing",
        tag="Writing",
        summary="Pass one of the vendor's own requests through",
        description=(
            "Behind the target's name stands the vendor's own path, slashes and all, with its own query and body. "
            "Reads pass untouched; writes that Guard knows are guarded, others are refused. The answer is the "
            "vendor's, whatever its status; where it is Guard's own, it is a problem object."
        ),
        takes=["GuardRunKey", "IdempotencyKey", "WebhookId", "DryRun", "AcceptIrreversible", "Scenario"],
        path_parameters=[_path("target", "A target's name in the settings."), _path("path", "The vendor's own path.")],
        body={JSON: {}, "*/*": {}},
        body_required=False,
        answers={
            "default": Answer(
                "The vendor's answer, as it is.",
                {"*/*": {}},
                ["Guard-Run", "Guard-Operation", "Guard-Revert-Url", "Guard-Status"],
            )
        },
        codes=[*WRITES, "unknown_route", "invalid_path", "not_found", "method_not_allowed"],
        is_relayed=True,
    ),
    Door(
        methods=["GET"],
        path="/revert/{token}",
        name="show",
        tag="Taking back",
        summary="The plan of a revert",
        description="What the run did, record by record, judged by what is there at this moment. Changes nothing.",
        path_parameters=[TOKEN],
        takes=["PlanOffset", "PlanLimit"],
        query=RevertModel,
        answers={200: Answer("A page of the plan.", {JSON: Plan, HTML: TEXT})},
        codes=REVERT_URL,
        security=(),
        is_page=True,
    ),
    Door(
        methods=["POST"],
        path="/revert/{token}",
        name="carry_out",
        tag="Taking back",
        summary="Take a run back",
        description="No body is needed; one may narrow it. It may be repeated: what went back already counts as there.",
        path_parameters=[TOKEN],
        takes=["Prefer"],
        query=RevertModel,
        body={JSON: RevertModel, FORM: RevertModel},
        examples={JSON: {"on_conflict": "skip"}},
        body_required=False,
        answers={
            200: Answer("What it came to; or, with `dry_run`, what it would.", {JSON: Report, HTML: TEXT}),
            202: Answer(_GOES_ON, {JSON: Report, HTML: TEXT}),
        },
        codes=[
            *REVERT_URL,
            *("busy", "conflicts", "run_closed", "too_large", "invalid_body", "forbidden_callback", "in_doubt"),
        ],
        security=(),
        is_page=True,
    ),
    Door(
        methods=["GET"],
        path="/v1/runs",
        name="runs",
        tag="History",
        summary="Runs, newest first",
        description="Of the targets that the key opens.",
        takes=["RunsTarget", "Since", "Until", "Limit", "RunsAfter"],
        answers={200: Answer("A page of them.", {JSON: Runs})},
        codes=["invalid_request", *STORE],
    ),
    Door(
        methods=["GET"],
        path="/v1/runs/{run}",
        name="run",
        tag="History",
        summary="One run",
        path_parameters=[RUN],
        answers={200: Answer("With its operations one by one.", {JSON: WholeRun})},
        codes=ONE_RUN,
    ),
    Door(
        methods=["GET"],
        path="/v1/runs/{run}/changes",
        name="changes",
        tag="History",
        summary="A run, record by record",
        path_parameters=[RUN],
        takes=["Limit", "RecordsAfter", "Now"],
        answers={200: Answer("A page of them.", {JSON: Changes})},
        codes=[*ONE_RUN, *TARGET, "invalid_request"],
    ),
    Door(
        methods=["GET"],
        path="/v1/runs/{run}/events",
        name="events",
        tag="History",
        summary="A run's progress, as server-sent events",
        description="`progress` when the numbers have changed, `ended` with the last ones. The data: a run's object.",
        path_parameters=[RUN],
        answers={200: Answer("Until the run has ended.", {EVENTS: Event})},
        codes=ONE_RUN,
    ),
    Door(
        methods=["POST"],
        path="/v1/runs/{run}/stop",
        name="stop_run",
        tag="History",
        summary="Send nothing more of a run",
        description="What was sent is accounted for first. It is not a revert: what was written stays.",
        path_parameters=[RUN],
        takes=["Prefer"],
        answers={
            200: Answer("It is stopped.", {JSON: Run}),
            202: Answer("Nothing more begins; what is under way has not ended yet.", {JSON: Run}),
        },
        codes=[*ONE_RUN, *TARGET, "in_doubt"],
    ),
    Door(
        methods=["GET"],
        path="/healthz",
        name="healthz",
        tag="Looking after Guard",
        summary="Is the process up?",
        answers={200: Answer("It is.", {JSON: Health})},
        security=(),
        is_probe=True,
    ),
    Door(
        methods=["GET"],
        path="/readyz",
        name="readyz",
        tag="Looking after Guard",
        summary="May requests be sent to this copy?",
        answers={200: Answer("They may: the store answers.", {JSON: Ready})},
        codes=["store_unavailable", "overloaded"],
        security=(),
        is_probe=True,
    ),
    Door(
        methods=["GET"],
        path="/metrics",
        name="metrics",
        tag="Looking after Guard",
        summary="Numbers for Prometheus",
        answers={200: Answer("Prometheus's text format.", {"text/plain": TEXT})},
        codes=["not_found"],
        security=("metricsKey",),
        is_probe=True,
    ),
    Door(
        methods=["GET"],
        path="/openapi.json",
        name="openapi_json",
        tag="Looking after Guard",
        summary="This document",
        answers={200: Answer("OpenAPI 3.1.", {JSON: {"type": "object"}})},
        security=(),
    ),
    Door(
        methods=["GET"],
        path="/docs",
        name="docs",
        tag="Looking after Guard",
        summary="This document as a page",
        answers={200: Answer("A page.", {HTML: TEXT})},
        security=(),
    ),
    Door(
        methods=["GET"],
        path="/static/{file}",
        name="static",
        tag="Looking after Guard",
        summary="What the pages are made of",
        path_parameters=[_path("file", "A file's name.", examples=["guard.css"])],
        answers={200: Answer("The file.", {"*/*": {}})},
        codes=["not_found", "method_not_allowed"],
        security=(),
    ),
]
