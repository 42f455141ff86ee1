"""HighLevel's OpenAPI files, where GUARD_VENDOR_SPECS names their folder: its writes and their bodies' schemas."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

FILES = ("contacts", "opportunities")
LIVE_FIELDS = ("companyName", "keyword", "ssn", "type")


class RequestSpec:
    """What the vendor's files say of requests.

    Corrected where they contradict their own examples or live accounts: `{"type": "object"}` without properties
    stands for "anything"; PUT /contacts/{id} takes four fields more (the vendor's issue #314); an upsert of an
    opportunity takes those that callers send.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {name: json.loads((folder / f"{name}.json").read_text()) for name in FILES}
        update = self._files["contacts"]["components"]["schemas"]["UpdateContactDto"]
        update["properties"] |= {name: {"type": "string", "nullable": True} for name in LIVE_FIELDS}
        create = self._files["contacts"]["components"]["schemas"]["CreateContactDto"]
        create["properties"].setdefault("companyName", {"type": "string", "nullable": True})

    def writes(self) -> list[tuple[str, str]]:
        """Every request of the vendor's that is not a GET: method and path template."""
        return [
            (method.upper(), path)
            for document in self._files.values()
            for path, methods in document["paths"].items()
            for method in methods
            if method != "get"
        ]

    def body(self, method: str, path: str) -> dict[str, Any]:
        """The JSON Schema of a request's body; no property but those it names is allowed."""
        for document in self._files.values():
            for template, methods in document["paths"].items():
                if _same(template, path) and method.lower() in methods:
                    content = methods[method.lower()]["requestBody"]["content"]
                    schema = self._plain(content["application/json"]["schema"], document)
                    return {**schema, "additionalProperties": False}
        raise LookupError(f"{method} {path}")

    def _plain(self, node: Any, document: dict[str, Any]) -> Any:
        if isinstance(node, list):
            return [self._plain(item, document) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target: Any = document
            for step in node["$ref"].partition("#/")[2].split("/"):
                target = target[step]
            return self._plain(target, document)
        if node.get("type") == "object" and "properties" not in node:
            return {}
        plain = {name: self._plain(value, document) for name, value in node.items() if name != "example"}
        if node.get("nullable"):
            plain["type"] = [plain["type"], "null"]
        return plain


def _same(template: str, path: str) -> bool:
    one, two = template.strip("/").split("/"), path.strip("/").split("/")
    return len(one) == len(two) and all(a == b or a.startswith("{") for a, b in zip(one, two, strict=True))


def load() -> RequestSpec:
    folder = os.environ.get("GUARD_VENDOR_SPECS")
    if not folder:
        pytest.skip("GUARD_VENDOR_SPECS does not name a folder with the vendors' OpenAPI files")
    return RequestSpec(Path(folder) / "highlevel")
