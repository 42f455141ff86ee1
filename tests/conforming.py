"""Is an answer one that /openapi.json tells of? For tests of the doors, whoever calls them."""

import re
from functools import cache
from typing import Any

import httpx2
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from guard.web.openapi import document

_ROOT = "urn:openapi"
_URL = "http://guard.test"


def api() -> dict[str, Any]:
    return document(_URL)


@cache
def _registry() -> Registry[Any]:
    known: Registry[Any] = Registry().with_resource(_ROOT, DRAFT202012.create_resource(api()))
    return known


@cache
def _validator(*pointer: str) -> Draft202012Validator:
    """Of the schema at this place of the document."""
    path = "/".join(part.replace("~", "~0").replace("/", "~1") for part in pointer)
    return Draft202012Validator({"$ref": f"{_ROOT}#/{path}"}, registry=_registry())


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """In the order of the document; only the pass-through's path has slashes in it."""
    made = []
    for path in api()["paths"]:
        parts = re.split(r"(\{\w+\})", path)
        one = [
            "[^/]*" if part.startswith("{") and part != "{path}" else ".*" if part == "{path}" else re.escape(part)
            for part in parts
        ]
        made.append((re.compile("".join(one)), path))
    return made


def path_of(url_path: str) -> str | None:
    return next((path for pattern, path in _paths() if pattern.fullmatch(url_path)), None)


def refuse_unfit(method: str, url_path: str, status: int, headers: httpx2.Headers, content: bytes | None) -> None:
    """Fail where the document does not tell of this answer. What it says of no door is for another test."""
    path = path_of(url_path)
    operation = api()["paths"].get(path, {}).get(method.lower())
    if operation is None:
        return
    where = f"{method} {path} {status}"
    key = str(status) if str(status) in operation["responses"] else "default"
    assert key in operation["responses"], f"{where} is not documented"
    told = operation["responses"][key]
    for name, reference in told.get("headers", {}).items():
        needed = api()["components"]["headers"][reference["$ref"].rsplit("/", 1)[1]].get("required")
        assert not needed or name in headers, f"{where} has no {name}"
    if method == "HEAD" or (status in (204, 304)):
        return
    if "content" not in told:
        assert not content, f"{where} is documented as empty"
        return
    kind = headers.get("content-type", "").partition(";")[0]
    media = kind if kind in told["content"] else "*/*"
    assert media in told["content"], f"{where} is not documented as {kind}"
    if content is None or "schema" not in told["content"][media] or "json" not in kind:
        return
    pointer = ("paths", str(path), method.lower(), "responses", key, "content", media, "schema")
    errors = list(_validator(*pointer).iter_errors(httpx2.Response(200, content=content).json()))
    assert errors == [], f"{where} is not what guard/web/api/answers.py says: {_sentence(errors[0])}"


def _sentence(error: Any) -> str:
    deepest = min([error, *error.context], key=lambda each: (len(each.context or ()), -len(each.absolute_path)))
    return f"{error.message[:300]} … {list(error.absolute_path)} … {deepest.message[:300]}"


async def conforming(reply: httpx2.Response) -> None:
    """An event hook for a client of Guard: every answer to it is one that the document tells of."""
    ours = "/to/" not in reply.request.url.path or "problem" in reply.headers.get("content-type", "")
    whole = ours and "content-length" in reply.headers
    content = await reply.aread() if whole else None
    refuse_unfit(reply.request.method, reply.request.url.path, reply.status_code, reply.headers, content)
