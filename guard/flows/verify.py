"""Verify: is everything that was stored still what was stored, and is every record accounted for?"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from guard.core.entries import entry_key, image_key, references, unpack
from guard.core.errors import GuardError
from guard.core.ids import is_run_id
from guard.core.lifecycle import Illegal, RunState
from guard.store.base import KeyMissing, StoreError
from guard.store.journal import read_entry, store_unavailable
from guard.store.journals import Journals


@dataclass(frozen=True, slots=True)
class Finding:
    """`damage`: stored data is not what was stored. Otherwise a remark: a run that is unfinished, for instance."""

    run: str
    damage: bool
    detail: str


async def verify_all(journals: Journals) -> AsyncIterator[Finding]:
    """Every run that has an object in the store, and every one that the index or a mark names."""
    last = ""
    try:
        async for key in journals.store.list("runs/"):
            run = key.split("/")[1]
            if run != last:
                last = run
                async for finding in verify_run(journals, run):
                    yield finding
        async for key in journals.store.list("index/"):
            async for finding in _named(journals, key, key.partition("-")[2]):
                yield finding
        async for key in journals.store.list("open/"):
            if not is_run_id(key.removeprefix("open/")):
                yield Finding("", damage=True, detail=f"a foreign object: {key}")
    except StoreError as error:
        raise store_unavailable(error) from error


async def _named(journals: Journals, key: str, run: str) -> AsyncIterator[Finding]:
    """A run in the index has begun, so it has a journal. (A mark may stand before its run's first entry does.)"""
    if not is_run_id(run):
        yield Finding("", damage=True, detail=f"a foreign object: {key}")
    elif not [each async for each in journals.store.list(f"runs/{run}/0")]:
        yield Finding(run, damage=True, detail="the index names it, and its journal is gone")


async def verify_run(journals: Journals, run: str) -> AsyncIterator[Finding]:
    """All that is wrong with one run; nothing: it is whole."""
    try:
        keys = [key.removeprefix(f"runs/{run}/") async for key in journals.store.list(f"runs/{run}/")]
    except StoreError as error:
        raise store_unavailable(error) from error
    numbers = [int(key) for key in keys if key.isdecimal() and len(key) == 8]
    images = {key.removeprefix("images/") for key in keys if key.startswith("images/")}
    for stray in keys:
        if not (stray.isdecimal() and len(stray) == 8) and not stray.startswith("images/"):
            yield Finding(run, damage=True, detail=f"a foreign object: {stray}")
    if not numbers:
        yield Finding(run, damage=True, detail="it has no journal")
        return
    for number in range(max(numbers) + 1):
        if number not in numbers:
            yield Finding(run, damage=True, detail=f"entry {number} is missing: a gap")
    async for finding in _entries(journals, run, sorted(numbers), images):
        yield finding


async def _entries(journals: Journals, run: str, numbers: list[int], images: set[str]) -> AsyncIterator[Finding]:
    state = RunState(run)
    named: set[str] = set()
    for number in numbers:
        try:
            entry = await read_entry(journals.store, run, number)
            state.apply(entry)
        except (GuardError, KeyMissing) as error:
            yield Finding(run, damage=True, detail=str(error) or f"entry {number} is gone")
            return
        except (Illegal, KeyError, TypeError, ValueError) as error:
            yield Finding(run, damage=True, detail=f"entry {number} does not belong there: {error}")
            return
        for event in entry.events:
            for reference in references(event):
                named.add(str(reference.get("object")))
                async for finding in _image(journals, run, number, reference):
                    yield finding
    for digest in sorted(images - named):
        yield await _orphan(journals, run, digest)
    for finding in await _completeness(journals, state):
        yield finding


async def _orphan(journals: Journals, run: str, digest: str) -> Finding:
    try:
        whole = hashlib.sha256(await journals.store.get(image_key(run, digest))).hexdigest() == digest
    except KeyMissing:
        whole = False
    if whole:
        return Finding(run, damage=False, detail=f"image {digest[:12]}… belongs to no entry (Guard was cut off)")
    return Finding(run, damage=True, detail=f"a foreign object: images/{digest}")


async def _image(journals: Journals, run: str, number: int, reference: Mapping[str, Any]) -> AsyncIterator[Finding]:
    try:
        stored = await journals.store.get(image_key(run, reference["object"])) if "object" in reference else None
        unpack(run, reference, stored)
    except KeyMissing:
        yield Finding(run, damage=True, detail=f"the image that entry {number} names is missing")
    except GuardError:
        yield Finding(run, damage=True, detail=f"the image that entry {number} names is damaged")


async def _completeness(journals: Journals, state: RunState) -> list[Finding]:
    """Records whose outcome or post-image is not known, and operations and reverts that have not ended."""
    unended = [op for op, operation in state.operations.items() if operation.phase != "ended"]
    unended += [f"revert {revert}" for revert, over in state.reverts.items() if over is None]
    if unended and await _is_cut(journals, state):
        return [Finding(state.run, damage=True, detail=f"its last entries are missing: {unended[0]} has no end")]
    found = [Finding(state.run, damage=False, detail=_unended(state, each)) for each in unended]
    for op, operation in state.operations.items():
        if unsettled := operation.unsettled():
            found.append(Finding(state.run, damage=False, detail=f"{op}: {unsettled} records are in doubt"))
    return found


def _unended(state: RunState, name: str) -> str:
    standing = name in state.operations and state.operations[name].phase == "standing"
    return f"{name}: its checkpoint is not sealed yet" if standing else f"{name} has not ended"


async def _is_cut(journals: Journals, state: RunState) -> bool:
    """An unfinished run is marked as open from its beginning to its last entry. One that is not, and has come further
    than its first entry (which is stored along with the mark), has lost its end; unless it goes on right now."""
    if state.n < 2 or f"open/{state.run}" in [key async for key in journals.store.list(f"open/{state.run}")]:
        return False
    return not [key async for key in journals.store.list(entry_key(state.run, state.n))]
