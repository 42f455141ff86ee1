"""The HubSpot handler as it is once it has read an account's property definitions: the sandbox's own."""

import orjson

from handlers.base import Reply
from handlers.hubspot import HubSpot
from scenarios.sandboxes import hubspot_seed as seed

OPTIONS = {"objects": f"cars={seed.CARS_TYPE}"}


def knowing() -> HubSpot:
    handler = HubSpot(OPTIONS)
    for name, definitions in seed.PROPERTIES.items():
        assert handler.learn(name, [Reply(200, orjson.dumps({"results": definitions}))])
    return handler
