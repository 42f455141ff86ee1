"""Callbacks: a caller that asked for it is told when its operation or revert has ended.

What is owed stands in the journal, so a callback outlives the Guard that promised it: it is tried at once, then by
the sweeper of any copy, each time after a longer pause, until it is delivered or given up.
"""

from datetime import timedelta

import orjson
import structlog

from guard.core.entries import Event
from guard.core.lifecycle import RunState, event
from guard.flows.guard import Guard
from guard.flows.history import answer
from guard.store.journal import Journal
from guard.target.callbacks import NotDelivered

log = structlog.get_logger()

ATTEMPTS_MAX = 8
_PAUSE_S = 30
REVERT = ""
"""Stands for the whole of a revert's run, where an operation's id stands else."""


def owed(state: RunState) -> dict[str, str]:
    """Operations that have ended and whose callers still wait to hear of it, with the addresses."""
    asked = {op: operation.begun for op, operation in state.operations.items() if operation.phase == "ended"}
    if state.operations and not state.running:
        asked[REVERT] = state.opened
    return {op: begun["callback"] for op, begun in asked.items() if "callback" in begun and not _is_over(state, op)}


def _is_over(state: RunState, op: str) -> bool:
    calls = state.calls.get(op)
    return calls is not None and (calls.delivered or calls.attempts >= ATTEMPTS_MAX)


async def call_back(guard: Guard, journal: Journal) -> None:
    """Try what is owed and due. Never raises what a receiver does wrong; raises Unavailable, Illegal."""
    for op, url in owed(journal.state).items():
        calls = journal.state.calls.get(op)
        if calls and guard.now() < calls.at + timedelta(seconds=_PAUSE_S * 2 ** (calls.attempts - 1)):
            continue
        await journal.append(await _call(guard, journal.run, op, url))


async def _call(guard: Guard, run: str, op: str, url: str) -> Event:
    body = orjson.dumps(await answer(guard, run, op or None))
    try:
        await guard.callbacks.deliver(url, f"{run}.{op or 'revert'}", body)
    except NotDelivered as error:
        log.warning("callback_failed", run=run, reason=str(error))  # the address may hold a secret: not logged
        return event("called", op=op, delivered=False)
    return event("called", op=op, delivered=True)
