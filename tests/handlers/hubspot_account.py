"""The HubSpot handler as it is once it has read an account's property definitions: the sandbox's own."""

import orjson

from handlers.base import Reply
from handlers.hubspot import HubSpot
from scenarios.sandboxes import hubspot_seed as seed

OPTIONS = {"objects": f"cars={seed.CARS}"}
NAMES = {"cars" if kind == seed.CARS else kind: kind for kind in seed.PROPERTIES}
"""Guard's name of each object type, and the sandbox's."""


def knowing() -> HubSpot:
    handler = HubSpot(OPTIONS)
    for name, kind in NAMES.items():
        assert handler.learn(name, [Reply(200, orjson.dumps({"results": seed.PROPERTIES[kind]}))])
    return handler
