"""A witness at the vendor's: when a write arrives, it looks into the store for what should have been announced (I1)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard.core.entries import decode, unpack
from guard.core.lifecycle import RunState
from guard.core.model import Action, Touched
from scenarios.sandboxes.common import Reply, Request
from scenarios.sandboxes.highlevel import HighLevel
from tests.world import World

_COMPARED = {"contacts": ("firstName", "lastName", "city", "email"), "opportunities": ("name", "monetaryValue")}
_RECORD = re.compile(r"/(contacts|opportunities)/([A-Za-z0-9]{20})(/|$)")


class WitnessedHighLevel(HighLevel):
    witness: "Witness"

    def answer(self, request: Request) -> Reply:
        found = self.routes.match(request.method, request.path)
        if found and not found[2]:
            self.witness.sees(request)
        return super().answer(request)


class Witness:
    """Of a world. `stores` is the folder of the store in use; `missing` the writes that nothing had announced."""

    def __init__(self, world: World) -> None:
        self._vendor = world.vendor
        self._vendor.__class__ = WitnessedHighLevel
        self._vendor.witness = self  # type: ignore[attr-defined]  # set on the class just given
        self.store = Path()
        self.seen = 0
        self.missing: list[str] = []

    def sees(self, request: Request) -> None:
        self.seen += 1
        under_way = list(announced(self.store))
        body = json.loads(request.body or b"{}")
        named = list(_named(request, body))
        fine = all(self._has_image(resource, id_, under_way) for resource, id_ in named)
        if not named:
            fine = any(_is_asked(touched, body) for touched in under_way)
        if not fine:
            self.missing.append(f"{request.method} {request.path}")

    def _has_image(self, resource: str, id_: str, under_way: list[Touched]) -> bool:
        """Is the record announced, with a pre-image that holds what the vendor holds now, before the write?"""
        row = self._vendor.store.tables[resource].rows.get(id_)
        return any(
            touched.change.id == id_
            and all((touched.before or {}).get(name) == (row or {}).get(name) for name in _COMPARED[resource])
            for touched in under_way
        )


def announced(store: Path) -> Iterator[Touched]:
    """The records of every chunk that the journals in a folder say is being sent, read as a stranger would."""
    for run in sorted((store / "runs").iterdir()):
        state, lines = RunState(run.name), {}
        for n, entry in enumerate(sorted(each for each in run.iterdir() if each.is_file())):
            decoded = decode(run.name, n, entry.read_bytes())
            state.apply(decoded)
            for event in decoded.events:
                if event["e"] == "sending":
                    lines[event["op"], event["chunk"]] = event["lines"]
        for op, operation in state.operations.items():
            for number, chunk in operation.chunks.items():
                if chunk.phase == "sending":
                    reference = lines[op, number]
                    object_ = reference.get("object")
                    stored = (run / "images" / object_).read_bytes() if object_ else None
                    yield from unpack(run.name, reference, stored, Touched)


def _named(request: Request, body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found := _RECORD.search(request.path):
        yield found[1], found[2]
    if request.path.startswith("/contacts/bulk/"):
        yield from (("contacts", id_) for id_ in body.get("contacts") or body.get("ids") or ())


def _is_asked(touched: Touched, body: dict[str, Any]) -> bool:
    """Of a write that names no record (a create, an upsert): is it the announced one, by what identifies it?"""
    names = ("email", "contactId")
    same = all(touched.change.fields.get(name) == body.get(name) for name in names if name in body)
    return same and (touched.change.action is Action.CREATE or touched.before is not None)
