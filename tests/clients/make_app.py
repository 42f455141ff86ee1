"""The custom app for Make.com: its files against the manifest, and its requests as Make's IML describes them.

A small part of IML, that which the app uses. https://developers.make.com/custom-apps-documentation
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

APP = Path(__file__).parent.parent.parent / "scenarios" / "make" / "app"
_CODES = {
    "connection": {"communication", "params"},
    "rpc": {"communication", "params"},
    "webhook": {"communication", "params", "attach", "detach"},
    "module": {"communication", "staticParams", "mappableParams", "interface", "samples"},
}
_MODULES = {"action", "search", "universal", "instant_trigger"}
_TYPES = {
    "any", "array", "boolean", "collection", "date", "integer", "uinteger", "number", "password", "select", "text",
    "url",
}  # fmt: skip
_ERRORS = {"RuntimeError", "DataError", "RateLimitError", "ConnectionError", "InvalidAccessTokenError"}
_ROOTS = {"parameters", "connection", "body", "item", "headers", "statusCode", "webhook"}
EXPRESSION = re.compile(r"\{\{((?:(?!\}\}).)*)\}\}")


def without_comments(text: str) -> str:
    """JSON with comments (jsonc), which Make's files may have, as JSON."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', lambda found: found[1] or "", text, flags=re.DOTALL)


def read(path: Path) -> Any:
    return json.loads(without_comments(path.read_text()))


def code(app: Path, kind: str, name: str, part: str) -> Any:
    manifest = read(app / "makecomapp.json")
    return read(app / manifest["components"][kind][name]["codeFiles"][part])


def complaints(app: Path) -> list[str]:
    """What is wrong with the app, in words."""
    try:
        manifest = read(app / "makecomapp.json")
        return list(_files(app, manifest)) or [*_components(manifest), *_contents(app, manifest)]
    except json.JSONDecodeError as error:
        return [f"a file is not JSON: {error}"]


def _paths(manifest: Mapping[str, Any]) -> list[str]:
    codes = [part["codeFiles"] for parts in manifest["components"].values() for part in parts.values()]
    return [path for each in (manifest["generalCodeFiles"], *codes) for path in each.values()]


def _files(app: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    named = _paths(manifest)
    there = {str(path.relative_to(app)) for path in app.rglob("*") if path.is_file()} - {"makecomapp.json"}
    yield from (f"{path} is named and not there" for path in sorted(set(named) - there))
    yield from (f"{path} is there and not named" for path in sorted(there - set(named)))
    for path in set(named) & there:
        if path.endswith(".json"):
            read(app / path)


def _components(manifest: Mapping[str, Any]) -> Iterator[str]:
    if set(manifest["generalCodeFiles"]) != {"base", "common", "readme", "groups"}:
        yield "the manifest's general files are base, common, readme and groups"
    parts = manifest["components"]
    for kind, wanted in _CODES.items():
        for name, part in parts[kind].items():
            yield from (f"{kind} {name}: {each}" for each in _component(name, part, wanted, parts["connection"]))
    for name, part in parts["module"].items():
        if part["moduleType"] not in _MODULES:
            yield f"module {name}: {part['moduleType']!r} is no kind of module"
        if (part["moduleType"] == "instant_trigger") != (part.get("webhook") in parts["webhook"]):
            yield f"module {name}: a trigger has a webhook, and no other module has"
    if sum(part["moduleType"] == "universal" for part in parts["module"].values()) != 1:
        yield "an app has one universal module"


def _component(name: str, part: Mapping[str, Any], wanted: set[str], connections: Mapping[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[a-zA-Z][0-9a-zA-Z]{2,}", name):
        yield "a name is of letters and digits"
    optional = {"mappableParams"} if part.get("moduleType") == "instant_trigger" else set()
    if missing := wanted - optional - part["codeFiles"].keys():
        yield f"it has no {', '.join(sorted(missing))}"
    if part.get("connection") not in (None, *connections):
        yield f"there is no connection {part['connection']}"


def _contents(app: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    grouped = [name for group in read(app / manifest["generalCodeFiles"]["groups"]) for name in group["modules"]]
    if sorted(grouped) != sorted(manifest["components"]["module"]):
        yield "the groups do not hold each module once"
    errors = read(app / manifest["generalCodeFiles"]["base"])["response"]["error"]
    for each in (errors, *(errors[status] for status in errors if status.isdigit())):
        if each.get("type") not in _ERRORS or "message" not in each:
            yield f"an error has a message and a type that Make knows: {each}"
    rpcs = manifest["components"]["rpc"]
    for path in _paths(manifest):
        if not path.endswith(".iml.json"):
            continue
        content = read(app / path)
        for expression in _expressions(content):
            roots = set(re.findall(r"(?<![\w.'])([a-z][A-Za-z]*)(?=[.}\s,)]|$)", expression))
            if not roots or not roots <= _ROOTS:
                yield f"{path}: {{{{{expression}}}}} is not known here"
        if path.endswith(("params.iml.json", "interface.iml.json")):
            yield from (f"{path}: {each}" for each in _parameters(content, rpcs))
        url = content.get("url", "") if isinstance(content, dict) else ""
        if url and not url.startswith("/") and "connections/" not in path:
            yield f"{path}: a url is relative, so that the key goes to the connection's address"


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each)
    elif isinstance(value, str):
        yield from (found.strip() for found in EXPRESSION.findall(value))


def _parameters(content: list[dict[str, Any]], rpcs: Mapping[str, Any]) -> Iterator[str]:
    names = [parameter["name"] for parameter in content]
    if len(names) != len(set(names)):
        yield "two parameters have one name"
    for parameter in content:
        if parameter.get("type") not in _TYPES or not parameter.get("label"):
            yield f"{parameter['name']} has no label or no type that Make knows"
        store = parameter["options"].get("store", "") if isinstance(parameter.get("options"), dict) else ""
        if store and store.removeprefix("rpc://") not in rpcs:
            yield f"{parameter['name']}: there is no {store}"


def evaluated(value: Any, given: Mapping[str, Any]) -> Any:
    """A communication's value. What is not given is left out, as JSON leaves out what is undefined."""
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for name, each in value.items():
            if name == "{{...}}":
                members |= evaluated(each, given) or {}
            elif (made := evaluated(each, given)) is not None:
                members[name] = made
        return members
    if isinstance(value, list):
        return [evaluated(each, given) for each in value]
    if not isinstance(value, str):
        return value
    if whole := EXPRESSION.fullmatch(value):
        return _value(whole[1], given)
    return EXPRESSION.sub(lambda found: str(_value(found[1], given) or ""), value)


def _value(expression: str, given: Mapping[str, Any]) -> Any:
    if found := re.fullmatch(r"last\(split\(([\w.]+), '/'\)\)", expression):
        return str(_value(found[1], given)).rpartition("/")[2]
    if found := re.fullmatch(r"toCollection\(([\w.]+), 'key', 'value'\)", expression):
        return {each["key"]: each["value"] for each in _value(found[1], given) or []}
    if found := re.fullmatch(r"flatten\(map\(([\w.]+), '(\w+)'\)\)", expression):
        return [each for item in _value(found[1], given) for each in item[found[2]]]
    value: Any = given
    for name in expression.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
