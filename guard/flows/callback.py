"""Callbacks: who asked for it is told when an operation or a revert has ended.

Two may have asked: the caller, by an address of its own, and those that subscribed. What is owed stands in the
journal, so a callback outlives the Guard that promised it: it is tried at once, then by the sweeper of any copy, each
time after a longer pause, until it is delivered or given up.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import structlog

from guard.core.entries import Event
from guard.core.errors import Unavailable
from guard.core.lifecycle import RunState, call_key, event
from guard.flows.guard import Guard
from guard.flows.history import answer, revert_status
from guard.store.journal import Journal
from guard.target.callbacks import Gone, NotDelivered

log = structlog.get_logger()

ATTEMPTS_MAX = 8
_PAUSE_S = 30
REVERT = ""
"""Stands for the whole of a revert's run, where an operation's id stands else."""


@dataclass(frozen=True, slots=True)
class Owed:
    """To the caller's own address, `url`; or to a subscription, by its id, `to`."""

    op: str
    url: str = ""
    to: str = ""

    @property
    def key(self) -> str:
        return call_key(self.op, self.to)


def owed(state: RunState) -> list[Owed]:
    """Ends that somebody still waits to hear of."""
    found: list[Owed] = []
    for op, operation in state.operations.items():
        if operation.phase == "ended":
            found += [Owed(op, url=operation.begun["callback"])] if "callback" in operation.begun else []
            found += [] if _is_revert(state) else [Owed(op, to=to) for to in operation.ended.get("hearing", ())]
    if state.operations and not state.running:
        found += [Owed(REVERT, url=state.opened["callback"])] if "callback" in state.opened else []
        if _is_revert(state):
            hearing = [to for operation in state.operations.values() for to in operation.ended.get("hearing", ())]
            found += [Owed(REVERT, to=to) for to in dict.fromkeys(hearing)]
    return [each for each in found if not _is_over(state, each)]


def _is_revert(state: RunState) -> bool:
    return state.opened.get("kind") == "revert"


def _is_over(state: RunState, each: Owed) -> bool:
    calls = state.calls.get(each.key)
    return calls is not None and (calls.delivered or calls.unwanted or calls.attempts >= ATTEMPTS_MAX)


async def heard(guard: Guard, state: RunState, ended: Event) -> Event:
    """The event that ends one of the run's operations, with the subscriptions that are to hear of it."""
    if not guard.callbacks.are_set_up:
        return ended
    targets = {operation.target for operation in state.operations.values()}
    status = _revert_ended(ended) if _is_revert(state) else ended["status"]
    to = await guard.subscriptions.hearing(targets, state.opened.get("scenario"), status)
    return {**ended, "hearing": to} if to else ended


def _revert_ended(ended: Event) -> str:
    """One that was cut off has no verdicts, and is not whole."""
    verdicts = {f"records_{name}": count for name, count in ended.get("verdicts", {"failed": 1}).items()}
    return revert_status({**verdicts, **({"problem": ""} if "problem" in ended else {})})


def start_calling_back(guard: Guard, journal: Journal) -> None:
    """Tell those who are owed it, beside whoever waits for the answer; what this process cannot, the sweeper does."""
    if owed(journal.state):
        with suppress(Unavailable):
            guard.start(journal.run, _call_back_and_finish(guard, journal.run))


async def _call_back_and_finish(guard: Guard, run: str) -> None:
    with guard.journals.use(run) as journal:
        await call_back(guard, journal)
        if not owed(journal.state) and not journal.state.running:
            await guard.journals.unmark_open(run)


async def call_back(guard: Guard, journal: Journal) -> None:
    """Try what is owed and due. Never raises what a receiver does wrong; raises Unavailable, Illegal."""
    if journal.run in guard.calling:
        return
    guard.calling.add(journal.run)
    try:
        for each in owed(journal.state):
            calls = journal.state.calls.get(each.key)
            if not calls or guard.now() >= calls.at + timedelta(seconds=_PAUSE_S * 2 ** (calls.attempts - 1)):
                await journal.append(await _call(guard, journal, each))
    finally:
        guard.calling.discard(journal.run)


async def _call(guard: Guard, journal: Journal, each: Owed) -> Event:
    subscription = await guard.subscriptions.find(each.to) if each.to else None
    if each.to and subscription is None:
        return _called(each, delivered=False, unwanted=True)
    url = subscription.wanted.hook_url if subscription else each.url
    id_ = ".".join(part for part in (journal.run, each.op or "revert", each.to) if part)
    try:
        await guard.callbacks.deliver(url, id_, orjson.dumps(await _told(guard, journal, each)))
    except Gone as error:
        if subscription is None:
            log.warning("callback_failed", run=journal.run, reason=str(error))
            return _called(each, delivered=False)
        await guard.subscriptions.unsubscribe(subscription.wanted.client, subscription.id)
        return _called(each, delivered=False, unwanted=True)
    except NotDelivered as error:
        log.warning("callback_failed", run=journal.run, reason=str(error))  # the address may hold a secret: not logged
        return _called(each, delivered=False)
    return _called(each, delivered=True)


async def _told(guard: Guard, journal: Journal, each: Owed) -> dict[str, Any]:
    told = await answer(guard, journal.run, each.op or None)
    return {**told, "status": revert_status(told)} if each.to and told["kind"] == "revert" else told


def _called(each: Owed, *, delivered: bool, unwanted: bool = False) -> Event:
    return event("called", op=each.op, to=each.to or None, delivered=delivered, unwanted=unwanted or None)
