"""/v1/subscriptions: callers that want to hear of every run that ends, such as a Zap or a Make scenario."""

from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import Refused
from guard.flows.guard import Guard
from guard.flows.subscriptions import Subscription, Wanted
from guard.web.bodies import parts
from guard.web.callers import Callers, refuse_foreign
from guard.web.problems import Json
from guard.web.validated import validated

_BODY_BYTES_MAX = 64 * 1024

Status = Literal["applied", "partial", "failed", "stopped", "reverted", "partly_reverted"]


def _several(value: Any) -> Any:
    """Tools without lists send one text with commas, or null."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [] if value is None else value


_ONE = "|".join(get_args(Status))
_STATUSES = {
    "anyOf": [
        {"type": "array", "items": {"enum": list(get_args(Status))}, "maxItems": 10},
        {"type": "string", "pattern": rf"^ *({_ONE})?( *,( *({_ONE}))?)* *$"},
        {"type": "null"},
    ]
}


class SubscriptionModel(BaseModel):
    """What a caller wants to hear of; what is not named leaves nothing out."""

    model_config = ConfigDict(extra="forbid")

    hook_url: str = Field(min_length=1, max_length=2000, description="Where to POST what has ended.")
    target: str = Field(default="", max_length=64, description="Only of this target.")
    scenario: str = Field(default="", max_length=200, description="Only of the scenario of this name.")
    statuses: Annotated[list[Status], BeforeValidator(_several), WithJsonSchema(_STATUSES)] = Field(
        default_factory=list, max_length=10, description="Only of runs that end so; as a text with commas between."
    )


async def subscribe(request: Request) -> Response:
    """201 with the subscription's id; 200 where an equal one is there already."""
    guard, client = _who(request)
    model = validated(SubscriptionModel, await _body(request))
    guard.callbacks.refuse_unfit(model.hook_url, name="hook_url")
    if model.target:
        refuse_foreign(client, model.target)
    statuses = tuple(sorted(set(model.statuses)))
    wanted = Wanted(client.name, model.hook_url, model.target, model.scenario, statuses)
    subscription, new = await guard.subscriptions.subscribe(wanted)
    return Json(_item(subscription), 201 if new else 200)


async def subscriptions(request: Request) -> Response:
    """The client's own, without their addresses: those may hold a secret."""
    guard, client = _who(request)
    mine = sorted(await guard.subscriptions.of(client.name), key=lambda each: (each.created_at, each.id))
    return Json({"subscriptions": [_item(each) for each in mine]})


async def unsubscribe(request: Request) -> Response:
    """Nothing is delivered to it any more; again, the same answer."""
    guard, client = _who(request)
    id_ = request.path_params["subscription"]
    await guard.subscriptions.unsubscribe(client.name, id_)
    return Json({"id": id_, "ended": True})


def _who(request: Request) -> tuple[Guard, Any]:
    callers: Callers = request.app.state.callers
    return request.app.state.guard, callers.client(request)


def _item(subscription: Subscription) -> dict[str, Any]:
    wanted = subscription.wanted
    return {
        "id": subscription.id,
        "created_at": subscription.created_at,
        "host": urlsplit(wanted.hook_url).hostname,
        "target": wanted.target or None,
        "scenario": wanted.scenario or None,
        "statuses": list(wanted.statuses),
    }


async def _body(request: Request) -> dict[str, Any]:
    content = b""
    async for part in parts(request):
        content += part
        if len(content) > _BODY_BYTES_MAX:
            raise Refused("too_large", "The body of a subscription is too large. Nothing was stored.")
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_body", f"The body is not JSON: {error.msg}. Nothing was stored.") from None
    if not isinstance(found, dict):
        raise Refused("invalid_request", 'The body must be a JSON object like {"hook_url": "https://…"}.')
    return found
