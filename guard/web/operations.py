"""POST /v1/operations: the bulk door."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import Refused
from guard.core.limits import KEY_CHARS_MAX
from guard.flows.foresee import foresee
from guard.flows.guard import Guard
from guard.flows.history import answer, told
from guard.flows.operation import Asked, identify
from guard.flows.protect import Records, protect
from guard.flows.queued import accept
from guard.settings import ClientSettings
from guard.target.base import Target
from guard.web.callers import Callers, refuse_foreign
from guard.web.flags import Flag
from guard.web.intake import (
    CSV,
    JSON,
    Body,
    Source,
    What,
    csv_records,
    json_records,
    kind_of,
    known_records,
    ndjson_records,
    receive,
)
from guard.web.numbers import refuse_rounded
from guard.web.problems import Json
from guard.web.queries import members
from guard.web.validated import validated
from guard.web.waiting import finished_or_begun, wait_s

_MIB = 1024 * 1024
_QUERY = (
    "A CSV or NDJSON body needs target, resource and action in the query: "
    "POST /v1/operations?target=…&resource=…&action=… Nothing was written."
)


_RECORDS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"id": {"type": ["string", "integer"]}, "fields": {"type": "object"}},
    },
}
"""As told to callers. They are checked one by one by the target, not here: there may be a million."""


class OperationModel(BaseModel):
    """What an operation says besides its records: members of the JSON body, or the query of a streamed one."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(max_length=64, description="The target's name in the settings.")
    resource: str = Field(max_length=256, description="contacts, opportunities; for a database the table.")
    action: str = Field(max_length=64, description="create, update, upsert, delete, or one of the handler's own.")
    records: Annotated[Any, WithJsonSchema(_RECORDS)] = Field(default=None, description="The records, one by one.")
    filter: dict[str, Any] | None = Field(default=None, description="A database: which rows, in place of records.")
    fields: dict[str, Any] = Field(default_factory=dict, description="With a filter: the values to set.")
    id_column: str = Field(default="id", max_length=256, description="CSV: the column that holds the ids.")
    accept_irreversible: Flag = Field(default=False, description="Let through what cannot be taken back whole.")
    dry_run: Flag = Field(default=False, description="Only say what it would be.")
    callback_url: str = Field(default="", max_length=2000, description="Is told when the operation has ended.")
    scenario: str = Field(default="", max_length=200, description="A name for the history.")
    note: str = Field(default="", max_length=2000, description="For the history.")


async def operations(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    callers: Callers = request.app.state.callers
    client = callers.client(request)
    # Validated before the body is taken where that is possible: a key for another target uploads nothing.
    early = None if "target" not in request.query_params else validated(OperationModel, members(request))
    if early:
        refuse_foreign(client, early.target)
    if early is None and kind_of(request) != JSON:
        raise Refused("invalid_request", _QUERY)
    if early is None and (lost := sorted(OperationModel.model_fields.keys() & request.query_params.keys())):
        # A dry_run that nobody looks at would be a write.
        detail = f"'{lost[0]}' stands in the query, and the operation in the body. Put it into the body, too."
        raise Refused("invalid_request", f"{detail} Nothing was written.", member=lost[0])
    run_key, idempotency_key = key_header(request, "guard-run-key"), idempotency_key_of(request)
    body = await receive(request, guard.settings.server.body_max_mib * _MIB)
    try:
        model = early or validated(OperationModel, json_object(body))
        refuse_foreign(client, model.target)
        target = guard.target(model.target)
        if model.callback_url:
            guard.callbacks.refuse_unfit(model.callback_url)
        await target.resource(model.resource)
        if model.filter is not None and (model.records is not None or body.kind != JSON):
            raise Refused("invalid_request", "Name the records or a filter, not both. Nothing was written.")
        if model.filter is None and model.fields:
            detail = (
                "Fields beside the records would be ignored: each record has fields of its own. Nothing was written."
            )
            raise Refused("invalid_request", detail)
        records = None if model.filter is not None else await _records(guard, target, model, body)
        asked = replace(_asked(request, client, model, body, records), run_key=run_key, idempotency_key=idempotency_key)
    finally:
        body.close()
    if model.dry_run:
        return Json(await foresee(guard, asked, records))
    return await begun(request, guard, asked, records)


async def begun(request: Request, guard: Guard, asked: Asked, records: Records | None) -> Response:
    """Begin an operation, wait for it as long as the caller wants to, and answer: the same for every door."""
    run, op = identify(guard, asked)
    if not (seconds := wait_s(request)):
        op = await accept(guard, asked, records, run, op)
        return _accepted(guard, await told(guard, run, answer(guard, run, op)))
    named: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = guard.start(run, protect(guard, asked, records, run, op, named))
    if not await finished_or_begun(task, named, seconds):
        return _accepted(guard, await told(guard, run, answer(guard, run, await named)))
    await task
    return _answered(await told(guard, run, answer(guard, run, await named)))


def _accepted(guard: Guard, given: dict[str, Any]) -> Response:
    """The run goes on, or is over already where this is a repeat."""
    if given["status"] != "running":
        return _answered(given)
    return Json(given, 202, {"location": guard.run_url(given["id"]), "retry-after": "5"})


def _answered(given: dict[str, Any]) -> Response:
    """An operation of which nothing was written at all is an error, so that a scenario stops there."""
    if given["status"] != "failed" or given["records_in_doubt"]:
        return Json(given)
    code = given.get("problem_code") or "operation_failed"
    detail = given.get("problem") or "No record was written. Each one's reason stands in failures."
    raise Refused(code, detail, **{name: value for name, value in given.items() if name not in ("status", "problem")})


def is_dry_run(request: Request) -> bool:
    """The header of callers whose body is not theirs to change. Raises Refused."""
    given = request.headers.get("guard-dry-run", "0").lower()
    if given not in ("1", "true", "0", "false"):  # whoever means a dry run must not find that it was none
        raise Refused("invalid_request", "Guard-Dry-Run is 1 or 0. Nothing was written.")
    return given in ("1", "true")


def json_object(body: Body) -> Mapping[str, Any]:
    """A whole body as an object. Raises Refused."""
    found = parsed(body.file.read())
    if not isinstance(found, dict):
        raise Refused("invalid_request", "The body must be a JSON object. Nothing was written.")
    return found


def parsed(content: bytes) -> Any:
    """JSON whose numbers survive. Raises Refused."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(
            "invalid_body", f"The body is not JSON: {error.msg} (line {error.lineno}). Nothing was written."
        ) from None
    refuse_rounded(content, "A number in it")
    return found


def _asked(
    request: Request, client: ClientSettings, model: OperationModel, body: Body, records: Records | None
) -> Asked:
    query = orjson.dumps(sorted(request.query_params.multi_items()))
    return Asked(
        client=client.name,
        target=model.target,
        resource=model.resource,
        action=model.action,
        door="operations",
        digest=hashlib.sha256(query + body.digest.encode()).hexdigest(),
        records=records.count if records else None,
        scenario=model.scenario,
        note=model.note,
        accept_irreversible=model.accept_irreversible,
        callback=model.callback_url,
        where=model.filter,
        fields=model.fields,
    )


def idempotency_key_of(request: Request) -> str:
    """The caller's own key, or what tells a Standard Webhooks message from all others. Raises Refused."""
    webhook_id = key_header(request, "webhook-id")
    return key_header(request, "idempotency-key") or (f"webhook-id {webhook_id}" if webhook_id else "")


def key_header(request: Request, name: str) -> str:
    """A caller's key, printable and of sane length. Raises Refused."""
    key = request.headers.get(name, "").strip()
    if len(key) > KEY_CHARS_MAX or not key.isprintable():
        raise Refused(
            "invalid_request", f"{name} must be printable and at most {KEY_CHARS_MAX} characters. Nothing was written."
        )
    return key


async def _records(guard: Guard, target: Target, model: OperationModel, body: Body) -> Records:
    what = What(model.resource, model.action, guard.policy(model.target).records_max)

    def source() -> Source:
        body.file.seek(0)
        if body.kind == JSON:
            return json_records(model.records)
        return csv_records(body, model.action, model.id_column) if body.kind == CSV else ndjson_records(body)

    return await known_records(source, what, target)
