"""What tests of Tryton share: a handler that knows the sandbox's models, as if it had read their description."""

import json
from typing import Any

from handlers.base import Reply
from handlers.tryton import Tryton
from scenarios.sandboxes import tryton as vendor

OPTIONS = {"database": vendor.DATABASE, "user": vendor.USER, "keys": {"party.party": "code"}}
PARTY, ADDRESS = vendor.PARTY, vendor.ADDRESS


def described(*names: str) -> Tryton:
    handler = Tryton(OPTIONS)
    for name in names:
        assert handler.learn(name, [answered(vendor.FIELDS[name])])
    return handler


def answered(result: Any) -> Reply:
    return Reply(200, json.dumps({"id": 0, "result": result}).encode())


def failed(*error: Any) -> Reply:
    return Reply(200, json.dumps({"id": 0, "error": list(error)}).encode())


def body(model: str, verb: str, *params: Any) -> dict[str, Any]:
    """One of Tryton's own requests."""
    return {"id": 1, "method": f"model.{model}.{verb}", "params": [*params, {}]}
