"""What tests of Salesforce share: a handler that knows the sandbox's objects, as if it had read their description."""

import json
from typing import Any

from handlers.base import Reply
from handlers.salesforce import Salesforce
from scenarios.sandboxes import salesforce_seed as seed

OPTIONS = {"domain": "sandbox.my.salesforce.com"}
DATA = "/services/data/v60.0"
MANY = f"{DATA}/composite/sobjects"


def described(*kinds: str) -> Salesforce:
    handler = Salesforce(OPTIONS)
    listed = [{"name": kind, "keyPrefix": prefix} for kind, prefix in seed.PREFIXES.items()]
    handler.learn("", [answered({"sobjects": listed})])
    for kind in kinds:
        handler.learn(kind, [answered(seed.describe(kind))])
    return handler


def answered(content: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(content).encode())


def member(kind: str, **fields: Any) -> dict[str, Any]:
    """One record of a collection."""
    return {"attributes": {"type": kind}, **fields}
