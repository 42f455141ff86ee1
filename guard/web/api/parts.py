"""What doors have in common: parameters, headers of answers, what proves who calls, groups of codes."""

from collections.abc import Mapping
from typing import Any

from guard.core.limits import KEY_CHARS_MAX, PAGE_RECORDS_MAX, WAIT_MAX_S, WAIT_S
from guard.web.api.door import TEXT

SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A client's key of the settings."},
    "guardKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Guard-Key",
        "description": "The same; it counts where both come.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Standard Webhooks: of `webhook-id`, `webhook-timestamp` and the body, by a hook's secret.",
    },
    "metricsKey": {"type": "http", "scheme": "bearer", "description": "server.metrics_key of the settings."},
}


def _header(name: str, description: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": dict(schema or TEXT)}


def _query(name: str, description: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema or TEXT)}


def path_parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
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
    "WebhookTimestamp": _header("webhook-timestamp", "Of a signed call: when it was signed, in seconds since 1970."),
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
    "RunKey": _query(
        "run_key", "Only the run that this client began under this `Guard-Run-Key`; the rest then narrows nothing."
    ),
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
    "Location": {"description": "Where to look.", "schema": TEXT, "required": True},
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
    path_parameter("run", "A run's id.", examples=["run_01m87azk9r0808pqq5vcv9qhhm"]),
    path_parameter("token", "Of a revert URL."),
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
GOES_ON = "It goes on; `Location` tells where to look."
