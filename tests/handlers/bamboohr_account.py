"""The BambooHR handler as it is once it has read an account's definitions: the sandbox's own."""

import orjson

from handlers.bamboohr import BambooHR
from handlers.base import Reply
from scenarios.sandboxes import bamboohr_seed as seed

OPTIONS = {"company": seed.COMPANY, "tables": seed.BONUSES}


def knowing() -> BambooHR:
    handler = BambooHR(OPTIONS)
    fields, tables = (Reply(200, orjson.dumps(each)) for each in (seed.FIELDS, seed.TABLES))
    for name in handler.resources:
        assert handler.learn(name, [fields, tables] if name == "employees" else [tables])
    return handler
