"""Verify: is everything that was stored still what was stored, and is every record accounted for?"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from guard.core.entries import image_key, references, unpack
from guard.core.errors import GuardError
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
    """Every run that has an object in the store, also one that the index does not name."""
    last = ""
    try:
        async for key in journals.store.list("runs/"):
            run = key.split("/")[1]
            if run != last:
                last = run
                async for finding in verify_run(journals, run):
                    yield finding
    except StoreError as error:
        raise store_unavailable(error) from error


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
        yield Finding(run, damage=False, detail=f"image {digest[:12]}… belongs to no entry (Guard was cut off)")
    for finding in _completeness(state):
        yield finding


async def _image(journals: Journals, run: str, number: int, reference: Mapping[str, Any]) -> AsyncIterator[Finding]:
    try:
        stored = await journals.store.get(image_key(run, reference["object"])) if "object" in reference else None
        unpack(run, reference, stored)
    except KeyMissing:
        yield Finding(run, damage=True, detail=f"the image that entry {number} names is missing")
    except GuardError:
        yield Finding(run, damage=True, detail=f"the image that entry {number} names is damaged")


def _completeness(state: RunState) -> list[Finding]:
    """Records whose outcome or post-image is not known, and operations that have not ended."""
    found = []
    for op, operation in state.operations.items():
        if operation.phase != "ended":
            found.append(Finding(state.run, damage=False, detail=f"{op} has not ended"))
        if unsettled := operation.unsettled():
            found.append(Finding(state.run, damage=False, detail=f"{op}: {unsettled} records are in doubt"))
    return found
