"""POST /v1/checkpoints and /v1/runs/{id}/seal: a bracket around writes that do not pass through Guard."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import GuardError, Refused
from guard.core.limits import JSON_BYTES_MAX, RECORDS_MAX
from guard.flows.checkpoint import checkpoint, foresee_checkpoint
from guard.flows.guard import Guard
from guard.flows.history import answer, told
from guard.flows.operation import Asked, identify
from guard.flows.seal import refuse_unsealable, seal, sealed_answer
from guard.flows.spool import Ids
from guard.settings import ClientSettings
from guard.target.base import Target
from guard.web.callers import Callers, refuse_foreign
from guard.web.flags import Flag
from guard.web.intake import JSON, Body, kind_of, receive
from guard.web.operations import idempotency_key_of, json_object, key_header
from guard.web.problems import Json
from guard.web.runs import state_of
from guard.web.validated import validated
from guard.web.waiting import finished, finished_or_begun, wait_s

_BREATHE_EVERY = 500
_RETRY_AFTER = "5"


def _digits(value: Any) -> Any:
    """Tools send numbers as texts."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


_IDS = {
    "anyOf": [
        {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1, "maxItems": RECORDS_MAX},
        {"type": "null"},
    ]
}
"""As told to callers. They are checked one by one by the target, not here: there may be a million."""
_NUMBER = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": RECORDS_MAX},
        {"type": "string", "pattern": "^[0-9]{1,9}$"},
        {"type": "null"},
    ]
}


class CheckpointModel(BaseModel):
    """What a checkpoint says: the records by their ids, or a filter in the target's own words."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(max_length=64, description="The target's name in the settings.")
    resource: str = Field(max_length=256, description="contacts, opportunities; for a database the table.")
    ids: Annotated[list[Any] | None, WithJsonSchema(_IDS)] = Field(default=None, description="The records.")
    filter: dict[str, Any] | None = Field(
        default=None, description="In place of ids: the body of a search, as the vendor's API takes it."
    )
    records_max: Annotated[int | None, BeforeValidator(_digits), WithJsonSchema(_NUMBER)] = Field(
        default=None, strict=True, ge=1, le=RECORDS_MAX, description="With more records than that it is refused."
    )
    dry_run: Flag = Field(default=False, description="Only say what it would be.")
    callback_url: str = Field(default="", max_length=2000, description="Is told when the run has ended.")
    scenario: str = Field(default="", max_length=200, description="A name for the history.")
    note: str = Field(default="", max_length=2000, description="For the history.")


async def checkpoints(request: Request) -> Response:
    """202 where the checkpoint is still being taken: nothing may be written yet."""
    guard: Guard = request.app.state.guard
    callers: Callers = request.app.state.callers
    client = callers.client(request)
    if kind_of(request) != JSON:
        raise Refused("unsupported_media_type", "A checkpoint is asked for as JSON. Nothing was written.")
    body = await receive(request, JSON_BYTES_MAX)
    try:
        model = validated(CheckpointModel, json_object(body))
    finally:
        body.close()
    refuse_foreign(client, model.target)
    target = guard.target(model.target)
    if model.callback_url:
        guard.callbacks.refuse_unfit(model.callback_url)
    resource = await target.resource(model.resource)
    if (model.ids is None) == (model.filter is None):
        raise Refused("invalid_request", "Name either the ids of the records or a filter. Nothing was written.")
    records_max = min(model.records_max or RECORDS_MAX, RECORDS_MAX, guard.policy(model.target).records_max)
    asked = _asked(client, model, resource.name, body, request)
    ids = await _ids(target, resource.name, model.ids, records_max) if model.ids is not None else None
    if model.dry_run:
        return Json(await foresee_checkpoint(guard, asked, ids, records_max))
    return await _take(request, guard, asked, ids, records_max)


async def _take(request: Request, guard: Guard, asked: Asked, ids: Ids | None, records_max: int) -> Response:
    run, op = identify(guard, asked)
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = guard.start(run, checkpoint(guard, asked, ids, records_max, run, op, begun))
    if not await finished_or_begun(task, begun, wait_s(request)):
        given = await told(guard, run, answer(guard, run, await begun))
        return Json(given, 202, {"location": guard.run_url(run), "retry-after": _RETRY_AFTER})
    await task
    return Json(await told(guard, run, answer(guard, run, await begun)))


async def seal_run(request: Request) -> Response:
    """202 where the records are still being read."""
    guard: Guard = request.app.state.guard
    state = await state_of(request)
    refuse_unsealable(guard, state)
    sealing = guard.start(f"seal of {state.run}", seal(guard, state.run))
    ended = await finished(sealing, wait_s(request))
    if ended:
        await sealing
    headers = {} if ended else {"location": guard.run_url(state.run), "retry-after": _RETRY_AFTER}
    return Json(await told(guard, state.run, sealed_answer(guard, state.run)), 200 if ended else 202, headers)


def _asked(client: ClientSettings, model: CheckpointModel, resource: str, body: Body, request: Request) -> Asked:
    return Asked(
        client=client.name,
        target=model.target,
        resource=resource,
        action="checkpoint",
        door="checkpoint",
        # Not to be taken for an operation with the same body.
        digest=hashlib.sha256(b"checkpoint" + body.digest.encode()).hexdigest(),
        scenario=model.scenario,
        note=model.note,
        callback=model.callback_url,
        where=model.filter,
        run_key=key_header(request, "guard-run-key"),
        idempotency_key=idempotency_key_of(request),
    )


async def _ids(target: Target, resource: str, given: Sequence[Any], records_max: int) -> Ids:
    """The ids, each once. Raises Refused."""
    if not given:
        raise Refused("invalid_request", "The checkpoint names no records. Nothing was written.")
    if len(given) > records_max:
        detail = f"The checkpoint names {len(given)} records; it may have {records_max}. Nothing was written."
        raise Refused("too_large", detail, records_total=len(given))
    ids = Ids()
    try:
        for start in range(0, len(given), _BREATHE_EVERY):
            part = enumerate(given[start : start + _BREATHE_EVERY], start + 1)
            ids.add([_named(target, resource, number, id_) for number, id_ in part])
            await asyncio.sleep(0)  # others have their turn while a long list is looked at
    except BaseException:
        ids.close()
        raise
    return ids


def _named(target: Target, resource: str, number: int, id_: Any) -> str:
    if id_ is None or id_ == "" or isinstance(id_, bool):
        raise Refused("invalid_record", f"Id {number} is empty. Nothing was written.", record=number)
    try:
        # Tools send ids as numbers where the vendor shows them as such.
        return target.named(resource, str(id_) if isinstance(id_, int) else id_)
    except GuardError as error:
        raise Refused(error.code, f"Id {number}: {error.detail} Nothing was written.", record=number) from None
