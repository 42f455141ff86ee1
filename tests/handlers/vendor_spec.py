"""A vendor's own OpenAPI files, where GUARD_VENDOR_SPECS names the folder that holds them: what is said to a vendor
and what its sandbox answers is checked against them.

A handler joins with `load`: the vendor's folder, its files, and what in them contradicts the vendor's own examples.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
import pytest
import yaml

Document = dict[str, Any]
Documents = Mapping[str, Document]

VARIABLE = "GUARD_VENDOR_SPECS"


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they went over the wire. `faulted`: the sandbox was told to misbehave."""

    method: str
    path: str
    query: str
    sent: bytes
    status: int
    answered: bytes
    faulted: bool = False


class VendorSpec:
    """What the vendor's files say of requests and answers.

    Paths in the files begin below `prefix`.
    """

    def __init__(self, documents: Documents, prefix: str = "") -> None:
        self.documents = documents
        self._prefix = prefix
        self._known: dict[str, jsonschema.Draft202012Validator] = {}

    def writes(self) -> list[tuple[str, str]]:
        """Every request of the vendor's that is not a GET: method and path template."""
        return [(method, path) for method, path, _, _ in self._operations() if method != "GET"]

    def knows(self, method: str, path: str) -> bool:
        return any(known == method and _fits(template, path) for known, template, _, _ in self._operations())

    def body(self, method: str, path: str) -> dict[str, Any]:
        """The JSON Schema of a request's body; no member but those it names is allowed. Raises LookupError."""
        operation, document = self._operation(method, path)
        content = operation["requestBody"]["content"]
        schema: dict[str, Any] = _closed(_plain(_json_of(content)["schema"], document, self.documents))
        return schema

    def answer(self, method: str, path: str, status: int) -> dict[str, Any] | None:
        """The JSON Schema of an answer; None where the files tell none. Raises LookupError for an unknown request."""
        operation, document = self._operation(method, path)
        answers = operation["responses"]
        found = _plain(answers.get(str(status), answers.get("default", {})), document, self.documents)
        content = _json_of(found.get("content", {}))
        schema: dict[str, Any] | None = content.get("schema")
        return schema

    def violations(self, exchange: Exchange) -> list[str]:
        """What of an exchange is not as the vendor's files have it, in words."""
        name = f"{exchange.method} {exchange.path}"
        try:
            operation, document = self._operation(exchange.method, exchange.path)
        except LookupError:
            return [f"{name} is no request of this vendor"]
        wrong = [*self._query(operation, document, exchange), *self._body(operation, exchange)]
        if not exchange.faulted:
            wrong += self._answer(operation, exchange)
        return [f"{name}: {each}" for each in wrong]

    def _query(self, operation: Document, document: Document, exchange: Exchange) -> Iterator[str]:
        described = [_plain(each, document, self.documents) for each in operation.get("parameters", [])]
        known = {each["name"]: each for each in described if each["in"] == "query"}
        given = dict(parse_qsl(exchange.query, keep_blank_values=True))
        yield from (f"it has no query {query}" for query in given if query not in known)
        yield from (f"it needs a query {n}" for n, each in known.items() if each.get("required") and n not in given)

    def _body(self, operation: Document, exchange: Exchange) -> Iterator[str]:
        described = operation.get("requestBody")
        if described is None:
            yield from ["it takes no body"] if exchange.sent not in (b"", b"{}") else []
        elif not _json_of(described["content"]):
            return  # forms and XML are not looked at
        elif exchange.sent or described.get("required"):
            yield from self._errors("body", exchange, lambda: self.body(exchange.method, exchange.path), exchange.sent)

    def _answer(self, operation: Document, exchange: Exchange) -> Iterator[str]:
        if not {str(exchange.status), "default"} & set(operation["responses"]):
            # Refusals are hardly ever listed whole; an answer that says "done" must be.
            yield from [f"it never answers {exchange.status}"] if exchange.status < 400 else []
            return
        schema = self.answer(exchange.method, exchange.path, exchange.status)
        if schema is not None:
            kind = f"answer {exchange.status}"
            yield from self._errors(kind, exchange, lambda: schema, exchange.answered)

    def _errors(
        self, kind: str, exchange: Exchange, schema: Callable[[], dict[str, Any]], content: bytes
    ) -> Iterator[str]:
        key = f"{kind} {exchange.method} {self._template(exchange)}"
        if key not in self._known:
            self._known[key] = jsonschema.Draft202012Validator(schema())
        try:
            value = json.loads(content or b"null")
        except ValueError:
            yield f"{kind}: no JSON"
            return
        for error in self._known[key].iter_errors(value):
            yield f"{kind}: {'/'.join(str(part) for part in error.path)}: {error.message[:300]}"

    def _template(self, exchange: Exchange) -> str:
        return self._found(exchange.method, exchange.path)[1]

    def _operation(self, method: str, path: str) -> tuple[Document, Document]:
        _, _, operation, document = self._found(method, path)
        return operation, document

    def _found(self, method: str, path: str) -> tuple[str, str, Document, Document]:
        """The operation whose template fits, the one with the most literal segments first. Raises LookupError."""
        fitting = [each for each in self._operations() if each[0] == method and _fits(each[1], path)]
        if not fitting:
            raise LookupError(f"{method} {path}")
        return min(fitting, key=lambda each: each[1].count("{"))

    def _operations(self) -> Iterator[tuple[str, str, Document, Document]]:
        for document in self.documents.values():
            for path, methods in document.get("paths", {}).items():
                for method, operation in methods.items():
                    if method in ("get", "post", "put", "patch", "delete"):
                        yield method.upper(), self._prefix + path, operation, document


def load(
    vendor: str, files: Sequence[str], correct: Callable[[Documents], None] | None = None, prefix: str = ""
) -> VendorSpec | None:
    """The vendor's files, corrected; None where they are not at hand."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    documents = {name: _document(Path(folder) / vendor / name) for name in files}
    if correct:
        correct(documents)
    return VendorSpec(documents, prefix)


def required(spec: VendorSpec | None) -> VendorSpec:
    """The files, or the test is skipped and says why."""
    if spec is None:
        pytest.skip(f"{VARIABLE} does not name a folder with this vendor's OpenAPI files")
    return spec


def _document(path: Path) -> Document:
    if path.suffix == ".json":
        found: Document = json.loads(path.read_text())
        return found
    # The parser in C, where it is there: some files have more than a megabyte.
    return dict(yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 - both safe


def _fits(template: str, path: str) -> bool:
    one, two = template.strip("/").split("/"), path.strip("/").split("/")
    return len(one) == len(two) and all(a == b or a.startswith("{") for a, b in zip(one, two, strict=True))


def _json_of(content: Document) -> Document:
    """The JSON form among those of a body. (Some files have */* or a charset in its name.)"""
    found: Document = next((each for name, each in content.items() if "json" in name or name == "*/*"), {})
    return found


def _plain(node: Any, document: Document, documents: Documents, seen: tuple[str, ...] = ()) -> Any:
    """References put in place (one that leads back to itself: anything), `nullable` in JSON Schema's words."""
    if isinstance(node, list):
        return [_plain(item, document, documents, seen) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(reference := node.get("$ref"), str):
        if reference in seen:
            return {}
        file, _, pointer = reference.partition("#/")
        target: Any = documents[Path(file).stem + ".json"] if file else document
        for step in pointer.split("/"):
            target = target[step]
        return _plain(target, document, documents, (*seen, reference))
    if _says_nothing(node):
        return {}
    plain = {
        # Generators write "exactly one" for schemas that overlap; "at least one" is what they can mean.
        {"oneOf": "anyOf"}.get(name, name): {n: _plain(v, document, documents, seen) for n, v in value.items()}
        if name == "properties"  # its members are named by the vendor, and may be named like the words of a schema
        else _plain(value, document, documents, seen)
        for name, value in node.items()
        if name not in ("example", "default")
    }
    if node.get("nullable"):
        plain["type"] = [plain["type"], "null"]
        plain |= {"enum": [*plain["enum"], None]} if "enum" in plain else {}
    return plain


def _says_nothing(node: Document) -> bool:
    """A list or an object of which nothing is said: generators write it where anything may stand."""
    bare = {"array": "items", "object": "additionalProperties"}.get(str(node.get("type")))
    return bare is not None and bare not in node and not node.get("properties") and "allOf" not in node


def _closed(schema: Any) -> Any:
    """The same schema, with no members allowed but those it names."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        name: {each: _closed(v) for each, v in value.items()} if name == "properties" else _closed(value)
        for name, value in schema.items()
    }
    # A choice of schemas is left open: each of them would refuse the others' members.
    if "properties" in schema and "additionalProperties" not in schema and "allOf" not in schema:
        closed["additionalProperties"] = False
    return closed
