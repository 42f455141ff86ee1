"""What is known of Make.com's blueprints, as rules: nothing of Make runs here, so a blueprint is held against these.

From blueprints that Make exported, and from its documentation. What they do not tell is not checked.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

REFERENCE = re.compile(r"\{\{((?:(?!\}\}).)*)\}\}", re.DOTALL)
PATH = re.compile(r"(\d+)((?:\.(?:[A-Za-z_]\w*|`[^`]+`))*)")
_SYSTEM = {"var.scenario.executionId"}
_METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}
_SCENARIO = {
    "roundtrips": int, "maxErrors": int, "autoCommit": bool, "autoCommitTriggerLast": bool, "sequential": bool,
    "confidential": bool, "dataloss": bool, "dlq": bool, "freshVariables": bool,
}  # fmt: skip
_SECRET = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[A-Za-z0-9_-]{24,}\b|\b(Bearer|Basic) [A-Za-z0-9+/=_.-]{8,}")


@dataclass(frozen=True)
class Kind:
    version: int
    parameters: frozenset[str] = frozenset()
    mapper: frozenset[str] = frozenset()
    """Members that must be there."""
    gives: frozenset[str] | None = frozenset()
    """Names that later modules may refer to; None: any."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TRIGGERS = {"gateway:CustomWebHook"}
DIRECTIVES = {"builtin:Rollback", "builtin:Commit", "builtin:Ignore", "builtin:Resume", "builtin:Break"}
AGGREGATORS = {"builtin:BasicAggregator", "util:TextAggregator"}
_HTTP = "url method headers queryParameters parseResponse stopOnHttpError allowRedirects shareCookies timeout"
KINDS = {
    "gateway:CustomWebHook": Kind(1, _names("hook maxResults"), gives=None),
    "gateway:WebhookRespond": Kind(1, mapper=_names("status body headers")),
    "util:SetVariables": Kind(1, mapper=_names("variables scope"), gives=None),
    "util:SetVariable2": Kind(1, mapper=_names("name scope value"), gives=None),
    "util:TextAggregator": Kind(1, _names("feeder rowSeparator"), _names("value"), _names("text")),
    "builtin:BasicFeeder": Kind(1, mapper=_names("array"), gives=None),
    "builtin:BasicAggregator": Kind(1, _names("feeder"), gives=_names("array")),
    "json:TransformToJSON": Kind(1, _names("space"), _names("object"), _names("json")),
    "http:MakeRequest": Kind(
        4, _names("authenticationType tlsType"), _names(f"{_HTTP} requestCompressedContent"),
        _names("data statusCode headers"),
    ),
    **{name: Kind(1) for name in DIRECTIVES},
}  # fmt: skip


@dataclass
class _Scope:
    """Modules whose output may be referred to, with the names they give."""

    given: dict[int, frozenset[str] | None] = field(default_factory=dict)
    feeders: dict[int, list[int]] = field(default_factory=dict)
    """Iterators that were not aggregated yet, with the modules since: those are out of reach after the aggregator."""


def complaints(blueprint: Any) -> list[str]:
    """What is wrong with a blueprint, in words; empty: nothing that these rules find."""
    if not isinstance(blueprint, dict) or not isinstance(blueprint.get("flow"), list) or not blueprint["flow"]:
        return ["a blueprint is an object with a name and a flow of modules"]
    found = list(_frame(blueprint))
    modules = list(walk(blueprint["flow"]))
    ids = [module.get("id") for module in modules]
    found += [f"module id {id_} stands twice" for id_ in {id_ for id_ in ids if ids.count(id_) > 1}]
    if blueprint["flow"][0].get("module") not in TRIGGERS:
        found.append("the first module is no trigger")
    found += _flow(blueprint["flow"], _Scope())
    found += [f"this looks like a secret: {text[:8]}…" for text in _texts(blueprint) if _SECRET.search(_plain(text))]
    return found


def walk(flow: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for module in flow:
        yield module
        yield from walk(module.get("onerror", ()))
        for route in module.get("routes", ()):
            yield from walk(route["flow"])


def _frame(blueprint: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(blueprint.get("name"), str) or not blueprint["name"].strip():
        yield "it has no name"
    metadata = blueprint.get("metadata", {})
    if metadata.get("version") != 1:
        yield "metadata.version is not 1"
    if not isinstance(metadata.get("instant"), bool):
        yield "metadata.instant is missing"
    if not isinstance(metadata.get("designer", {}).get("orphans"), list):
        yield "metadata.designer.orphans is missing"
    for name, kind in _SCENARIO.items():
        if type(metadata.get("scenario", {}).get(name)) is not kind:
            yield f"metadata.scenario.{name} is missing or no {kind.__name__}"


def _flow(flow: Sequence[dict[str, Any]], scope: _Scope, *, error_route: bool = False) -> Iterator[str]:
    for place, module in enumerate(flow):
        where = f"module {module.get('id')} ({module.get('module')})"
        yield from (f"{where}: {each}" for each in _module(module, place, scope, error_route=error_route))
        last = place == len(flow) - 1
        if module.get("module") in DIRECTIVES and not (error_route and last):
            yield f"{where}: it may only end an error route"
        if error_route and last and module.get("module") not in DIRECTIVES:
            yield f"{where}: an error route ends with what becomes of the scenario"
        # The error route sees what came before the module that failed, and not its output.
        yield from _flow(module.get("onerror", ()), _copied(scope), error_route=True)
        _give(module, scope)


def _copied(scope: _Scope) -> _Scope:
    return _Scope(dict(scope.given), {feeder: list(inside) for feeder, inside in scope.feeders.items()})


def _give(module: Mapping[str, Any], scope: _Scope) -> None:
    name, id_ = module.get("module"), module.get("id")
    kind = KINDS.get(str(name))
    if kind is None or not isinstance(id_, int):
        return
    for inside in scope.feeders.values():
        inside.append(id_)
    if name == "builtin:BasicFeeder":
        scope.feeders[id_] = [id_]
    if name in AGGREGATORS:
        for hidden in scope.feeders.pop(module["parameters"].get("feeder"), []):
            scope.given.pop(hidden, None)
    scope.given[id_] = _gives(module, kind)


def _gives(module: Mapping[str, Any], kind: Kind) -> frozenset[str] | None:
    match module:
        case {"module": "util:SetVariables", "mapper": {"variables": list(variables)}}:
            return frozenset(each["name"] for each in variables)
        case {"module": "util:SetVariable2", "mapper": {"name": str(name)}}:
            return frozenset({name})
    return kind.gives


def _module(module: Mapping[str, Any], place: int, scope: _Scope, *, error_route: bool) -> Iterator[str]:
    if not isinstance(module.get("id"), int) or module["id"] < 1:
        yield "its id is no whole number from 1"
    position = module.get("metadata", {}).get("designer", {})
    if not all(isinstance(position.get(axis), int | float) for axis in "xy"):
        yield "metadata.designer has no x and y"
    kind = KINDS.get(str(module.get("module")))
    if kind is None:
        yield "there is no such module, as far as is known here"
        return
    if module["module"] in TRIGGERS and (place or error_route):
        yield "a trigger may only come first"
    yield from _members(module, kind)
    yield from _references(module, scope)
    if module["module"] in AGGREGATORS and module.get("parameters", {}).get("feeder") not in scope.feeders:
        yield "its feeder is no iterator before it"
    if module["module"] == "http:MakeRequest":
        yield from _request(module.get("mapper") or {})


def _members(module: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    if module.get("version") != kind.version:
        yield f"its version is not {kind.version}"
    for member, wanted in (("parameters", kind.parameters), ("mapper", kind.mapper)):
        held = module.get(member)
        if not isinstance(held, dict):
            yield f"it has no {member}"
        elif missing := wanted - held.keys():
            yield f"{member} has no {', '.join(sorted(missing))}"
    if "onerror" in module and module["module"] in DIRECTIVES | TRIGGERS:
        yield "it cannot have an error route"
    if "__IMTCONN__" in module.get("parameters", {}):
        yield "it names a connection of somebody's account"


def _references(module: Mapping[str, Any], scope: _Scope) -> Iterator[str]:
    for text in _texts(module.get("mapper") or {}):
        if text.count("{{") != text.count("}}") or "{{{" in text or "}}}" in text:
            yield f"braces do not match, or touch others, in {text[:40]!r}"
        for expression in REFERENCE.findall(text):
            found = PATH.fullmatch(expression.strip())
            if expression.strip() in _SYSTEM:
                continue
            if found is None:
                yield f"{{{{{expression}}}}} is not a reference that is known here"
            elif int(found[1]) not in scope.given:
                yield f"{{{{{expression}}}}} refers to no module whose output can be had here"
            else:
                names = [part.strip("`") for part in re.findall(r"`[^`]+`|\w+", found[2])]
                given = scope.given[int(found[1])]
                if not names:
                    yield f"{{{{{expression}}}}} names no member"
                elif given is not None and names[0] not in given:
                    yield f"{{{{{expression}}}}}: module {found[1]} gives {', '.join(sorted(given))}"


def _request(mapper: Mapping[str, Any]) -> Iterator[str]:
    if mapper.get("method") not in _METHODS:
        yield f"method {mapper.get('method')!r} is none of {', '.join(sorted(_METHODS))}"
    if not isinstance(mapper.get("timeout"), int) or not 1 <= mapper["timeout"] <= 300:
        yield "timeout is not 1 to 300 seconds"
    if not re.match(r"https://|\{\{", str(mapper.get("url", ""))):
        yield "url is no https address"
    for header in mapper.get("headers") or ():
        if set(header) != {"name", "value"}:
            yield "a header has a name and a value"
        elif header["name"].lower() in ("guard-key", "authorization") and not REFERENCE.fullmatch(header["value"]):
            yield f"the key stands in the header {header['name']}"
    if "contentType" in mapper:
        yield from _body(mapper)


def _body(mapper: Mapping[str, Any]) -> Iterator[str]:
    if mapper["contentType"] != "json" or mapper.get("inputMethod") != "jsonString":
        yield "a body is given as contentType json, inputMethod jsonString"
        return
    text = str(mapper.get("jsonStringBodyContent", ""))
    # Inside of quotes a reference stands for plain text, outside for JSON of its own.
    quoted = re.sub(r'"(?:[^"\\{]|\\.|\{(?!\{)|\{\{.*?\}\})*"', lambda m: REFERENCE.sub("x", m[0]), text)
    try:
        json.loads(REFERENCE.sub("0", quoted))
    except json.JSONDecodeError as error:
        yield f"the body is not JSON: {error.msg}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _plain(text: str) -> str:
    return REFERENCE.sub("", text)
