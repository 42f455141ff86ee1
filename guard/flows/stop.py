"""Stop: nothing more of a run is sent, whichever copy of Guard drives it; what was sent is accounted for."""

from contextlib import suppress
from typing import Literal

from guard.core.errors import Refused
from guard.core.lifecycle import Illegal, event
from guard.flows.guard import Guard
from guard.flows.seal import seal_all
from guard.flows.settle import ended
from guard.store.journal import Journal


async def stop(guard: Guard, run: str) -> None:
    """Stop a run for good: it takes no further operations either. Raises Refused, Unavailable."""
    with guard.journals.use(run) as journal:
        if (await journal.catch_up()).phase == "none":
            raise Refused("not_found", f"There is no run {run}.")
        await end_all(guard, journal, "stopped")


async def end_all(guard: Guard, journal: Journal, name: Literal["stopped", "closing"]) -> None:
    """Say in the journal that nothing more may be sent, and wait until what was sent is accounted for.

    Chunks under way go on to their end; an operation that nobody drives any more is taken over and settled. Brackets
    are sealed: where they cannot be, a run that was to be taken back is as it was, so that it may still be sealed.
    """
    taking_back = name == "closing"
    if taking_back:
        await seal_all(guard, journal, strict=False, stood=True)
    if journal.state.phase == "open":
        with suppress(Illegal):  # somebody else was first
            await journal.append(event(name))
    await seal_all(guard, journal, strict=not taking_back)
    for op in list(journal.state.operations):
        await ended(guard, journal, op)
