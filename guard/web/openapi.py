"""GET /openapi.json and GET /docs: every door of guard/web/app.py, told from the models that check requests.

To add a door, describe it in guard/web/api; a test finds one that is missing there. Pages are not in it, nor what only
they load (PAGES of guard/web/app.py): it is for programs, which have the same at other doors.
"""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from markupsafe import Markup, escape
from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import CODES
from guard.flows.guard import Guard
from guard.web.api.answers import Problem
from guard.web.api.door import Answer, Door
from guard.web.api.doors import DOORS
from guard.web.api.parts import HEADERS, PARAMETERS, SECURITY
from guard.web.pages import page

PROBLEM = "application/problem+json"
_REF = "#/components/schemas/{model}"


async def openapi_json(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    content = orjson.dumps(document(guard.settings.server.public_url))
    return Response(content, headers={"cache-control": "no-cache"}, media_type="application/json")


async def docs(request: Request) -> Response:
    """The same for people, without a script."""
    guard: Guard = request.app.state.guard
    told = {"api": document(guard.settings.server.public_url), "coded": coded, "shown": shown}
    return page(request, "docs.html", told)


def coded(text: str) -> Markup:
    """What stands between backticks as code; all of it as text."""
    parts = [escape(part) for part in text.split("`")]
    return Markup().join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def shown(example: Any) -> str:
    """An example as it would be sent."""
    return example if isinstance(example, str) else orjson.dumps(example, option=orjson.OPT_INDENT_2).decode()


@cache
def document(public_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document. https://spec.openapis.org/oas/v3.1.1.html"""
    paths: dict[str, dict[str, Any]] = {}
    for door in DOORS:
        for method in door.methods:
            paths.setdefault(door.path, {})[method.lower()] = _operation(door, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Guard",
            "version": version("automation-guard"),
            "summary": "An undo button for automations.",
            "description": (
                "Guard takes a snapshot of the records that a write will change, forwards the write, and answers with "
                "one URL that takes it back. Every error is a problem object with a stable `code`, and says in "
                "`written` whether anything was written."
            ),
        },
        "servers": [{"url": public_url.rstrip("/")}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
    }


def _operation(door: Door, method: str) -> dict[str, Any]:
    told = {
        "summary": door.summary,
        "description": door.description,
        "operationId": f"{door.name}_{method.lower()}" if len(door.methods) > 1 else door.name,
        "tags": [door.tag],
        "parameters": _parameters(door),
        "responses": _responses(door),
        "security": [{name: []} for name in door.security],
    }
    if door.body and method not in ("GET", "HEAD", "DELETE"):
        content = {kind: _media(given) for kind, given in door.body.items()}
        for kind, example in door.examples.items():
            content[kind]["example"] = example
        told["requestBody"] = {"required": door.body_required, "content": content}
    return told


def _parameters(door: Door) -> list[dict[str, Any]]:
    given = [*door.path_parameters, *({"$ref": f"#/components/parameters/{name}"} for name in door.takes)]
    return [dict(each) for each in given] + list(_query(door))


def _query(door: Door) -> Iterator[dict[str, Any]]:
    """The members of a model that may stand in the query: there each is a text."""
    if door.query:
        for name, schema in door.query.model_json_schema(ref_template=_REF)["properties"].items():
            if name not in door.not_in_query:
                kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
                yield {"name": name, "in": "query", "description": schema.get("description", ""), "schema": kept}


def _responses(door: Door) -> dict[str, Any]:
    told = {str(status): _answer(answer) for status, answer in door.answers.items()}
    by_status: dict[int, list[str]] = {}
    for code in sorted(door.all_codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {**told, **{str(status): _problem(status, codes, door) for status, codes in sorted(by_status.items())}}


def _answer(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        told["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers}
    if content := {kind: _media(each) for kind, each in answer.content.items()}:
        told["content"] = content
    return told


def _media(models: Any) -> dict[str, Any]:
    """A schema as it is, a model, or several of which one fits; empty: anything."""
    if isinstance(models, dict):
        return {"schema": models} if models else {}
    if not isinstance(models, tuple):
        return {"schema": _reference(models)}
    return {"schema": {"anyOf": [_reference(each) for each in models]}}


def _reference(model: Any) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _problem(status: int, codes: list[str], door: Door) -> dict[str, Any]:
    kind = {"allOf": [_reference(Problem), {"properties": {"code": {"enum": codes}, "status": {"const": status}}}]}
    told: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {CODES[code].title}" for code in codes),
        "content": {PROBLEM: {"schema": kind}, **_others(door)},
    }
    names = {401: ["WWW-Authenticate"], 503: ["Retry-After"]}.get(status, [])
    if names and not door.is_relayed:  # a vendor's own may come without
        told["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return told


def _others(door: Door) -> dict[str, Any]:
    """What may come in place of a problem with the same status."""
    return ({"text/html": {}} if door.is_page else {}) | ({"*/*": {}} if door.is_relayed else {})


def _schemas() -> dict[str, Any]:
    models = {model.__name__: model for door in DOORS for model in door.models()} | {"Problem": Problem}
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (name, "validation", TypeAdapter(model)) for name, model in sorted(models.items())
    ]
    _, told = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    requests = {name for name, model in models.items() if isinstance(model, type) and issubclass(model, BaseModel)}
    defined: dict[str, Any] = told["$defs"]
    return {name: schema if name in requests else _without_titles(schema) for name, schema in defined.items()}


def _without_titles(schema: Any) -> Any:
    """Pydantic gives each member its own name again, capitalised."""
    if isinstance(schema, dict):
        return {k: _without_titles(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return [_without_titles(each) for each in schema] if isinstance(schema, list) else schema
