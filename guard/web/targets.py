"""GET /v1/targets: what a key opens, for the drop-down lists of tools."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from guard.flows.guard import Guard
from guard.web.callers import Callers
from guard.web.problems import Json


async def targets(request: Request) -> Response:
    """The targets that the key opens, each with its object types and what may be done to them. Asks no target."""
    guard: Guard = request.app.state.guard
    callers: Callers = request.app.state.callers
    client = callers.client(request)
    return Json({"targets": [_item(guard, name) for name in client.targets]})


def _item(guard: Guard, name: str) -> dict[str, Any]:
    actions = guard.target(name).actions
    return {
        "id": name,
        "handler": guard.settings.targets[name].handler,
        "resources": sorted(filter(None, actions)),
        "actions": sorted({action for each in actions.values() for action in each}),
    }
