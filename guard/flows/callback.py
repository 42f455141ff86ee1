"""Callbacks and notifications: who is told when an operation or a revert has ended.

A caller that asked for it is called back, for each operation, and so is who subscribed; the places of the settings
(`[[notify]]`) are told of a run, of several operations at once where they end soon after each other. What is owed
stands in the journal, so it outlives the Guard that promised it: it is tried at once, beside the answer, then by the
sweeper of any copy, each time after a longer pause, until it is delivered or given up. Each attempt is claimed in the
journal first, so that of several copies one makes it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from guard.core.entries import Event
from guard.core.errors import Corrupt, Refused, Unavailable
from guard.core.lifecycle import Calls, Illegal, OperationState, RunState, event, overall
from guard.flows.guard import Guard
from guard.flows.history import answer, summary
from guard.flows.messages import ends_of, revert_came_to, revert_status, slack_message, webhook_message
from guard.flows.subscriptions import is_subscription
from guard.settings import NotifySettings
from guard.store.journal import Journal
from guard.target.callbacks import Gone, NotDelivered
from guard.tasks import all_to_the_end

log = structlog.get_logger()

_PAUSE_S = 30
_GATHER_S = 60
"""After a message of a run a place is told what follows together: an n8n node ends an operation for each item."""
REVERT = ""
"""Stands for the whole of a revert's run, where an operation's id stands else."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One message. `to` is a place's name; a subscription's id; or empty: the caller who asked to be called back. The
    last two are told of each operation by itself, so their `ops` are one."""

    to: str
    ops: tuple[str, ...]

    @property
    def is_of_place(self) -> bool:
        return bool(self.to) and not is_subscription(self.to)

    @property
    def key(self) -> tuple[str, str]:
        return self.to, "" if self.is_of_place else self.ops[0]


def owed(guard: Guard, state: RunState) -> list[Owed]:
    """What is still to be told of what has ended. A place that the settings do not have any more is dropped."""
    asked = [*_callbacks(state), *_subscribed(state)]
    return [*asked, *(each for place in guard.settings.notify for each in _of_place(place, state))]


def _callbacks(state: RunState) -> Iterator[Owed]:
    asked = {op: operation.begun for op, operation in state.operations.items() if operation.phase == "ended"}
    if state.operations and not state.running:
        asked[REVERT] = state.opened
    for op, begun in asked.items():
        if "callback" in begun and op not in state.calls.get(("", op), _NO_CALLS).over:
            yield Owed("", (op,))


def _subscribed(state: RunState) -> Iterator[Owed]:
    hearing = {op: operation.ended.get("hearing", ()) for op, operation in state.operations.items()}
    if state.opened.get("kind") == "revert":
        over = state.operations and not state.running
        hearing = {REVERT: dict.fromkeys(to for each in hearing.values() for to in each)} if over else {}
    for op, to in ((op, to) for op, several in hearing.items() for to in several):
        if op not in state.calls.get((to, op), _NO_CALLS).over:
            yield Owed(to, (op,))


def look(guard: Guard) -> None:
    """An operation begins: who wants to hear of its end is read meanwhile, where that is not known."""
    if guard.callbacks.are_set_up:
        guard.subscriptions.look()


async def heard(guard: Guard, state: RunState, ended: Event) -> Event:
    """The event that ends one of the run's operations, with the subscriptions that are to hear of it."""
    if not guard.callbacks.are_set_up:
        return ended
    targets = {operation.target for operation in state.operations.values()}
    status = _taken_back([ended]) if state.opened.get("kind") == "revert" else str(ended["status"])
    to = await guard.subscriptions.hearing(targets, state.opened.get("scenario"), status)
    return {**ended, "hearing": to} if to else ended


def _taken_back(ended: Sequence[Event]) -> str:
    """The word for a revert: never that of an operation, so that who waits for failed ones to revert them hears no
    revert of his own."""
    return "reverted" if revert_came_to(ended) == "reverted" else "partly_reverted"


def _of_place(place: NotifySettings, state: RunState) -> Iterator[Owed]:
    over = state.calls.get((place.name, ""), _NO_CALLS).over
    if state.opened.get("kind") == "revert":
        ops = [REVERT] if _hears_of_revert(place, state) else []
    else:
        ops = [op for op, operation in state.operations.items() if _hears_of(place, operation)]
    if left := tuple(op for op in ops if op not in over):
        yield Owed(place.name, left)


def _hears_of(place: NotifySettings, operation: OperationState) -> bool:
    named = place.always or place.name in operation.begun.get("tell", ())
    return operation.phase == "ended" and named and place.fits({operation.target}, ends_of(operation))


def _hears_of_revert(place: NotifySettings, state: RunState) -> bool:
    if not state.operations or state.running:
        return False
    named = place.always or place.name in state.opened.get("tell", ())
    return named and place.fits({each.target for each in state.operations.values()}, {revert_status(state)})


_NO_CALLS = Calls()


def _is_due(calls: Calls, now: datetime) -> bool:
    if calls.at is None:
        return True
    pause_s = _PAUSE_S * 2 ** (calls.failed - 1) if calls.failed else _GATHER_S
    return now >= calls.at + timedelta(seconds=pause_s)


def _due(guard: Guard, state: RunState) -> list[Owed]:
    return [each for each in owed(guard, state) if _is_due(state.calls.get(each.key, _NO_CALLS), guard.now())]


async def unmark(guard: Guard, journal: Journal, *, shared: bool) -> None:
    """Take the mark of an unfinished run away, or begin to tell what is owed; the mark stays until that is done.

    `shared`: other copies of Guard may add operations to the run, so the mark may be theirs by now.
    """
    if owed(guard, journal.state):  # also while others of its operations go on: a bracket may stand for days
        _begin_to_tell(guard, journal)
        return
    if journal.state.running:
        return
    await guard.journals.unmark_open(journal.run)
    if shared and (await journal.catch_up()).running:
        await guard.journals.mark_open(journal.run)


def _begin_to_tell(guard: Guard, journal: Journal) -> None:
    """In a task of its own: no receiver holds up an answer."""
    if journal.run in guard.telling or not _due(guard, journal.state):
        return
    with suppress(Unavailable):  # about to end, or busy: the sweeper tells it
        task = guard.start(journal.run, _tell(guard, journal.run))
        guard.telling[journal.run] = task
        task.add_done_callback(lambda _: guard.telling.pop(journal.run))


async def _tell(guard: Guard, run: str) -> None:
    with guard.journals.use(run) as journal:
        if not await _is_over(guard, journal):
            return
        while due := _due(guard, journal.state):
            await all_to_the_end(*(_attempt(guard, journal, each) for each in due))
        await unmark(guard, journal, shared=True)


async def _is_over(guard: Guard, journal: Journal) -> bool:
    """A revert has an operation for each target, one after the other: the run that it takes back knows its end."""
    of = journal.state.opened.get("of")
    if of is None:
        return True
    if going_on := guard.reverting.get(of):
        await asyncio.wait([going_on[1]])
    try:
        return (await guard.journals.state(of)).reverts.get(journal.run) is not None
    except (Refused, Corrupt):  # expired or damaged: nothing more will be heard of it
        return True


async def _attempt(guard: Guard, journal: Journal, each: Owed) -> None:
    """One attempt, claimed first. Never raises what a receiver does wrong; raises Unavailable."""
    before = journal.state.calls.get(each.key, _NO_CALLS)
    named = _named(each)
    attempt, message = before.attempts + 1, ".".join((journal.run, *_parts(each)))
    try:
        await journal.append(event("called", attempt=attempt, delivered=False, **named))
    except Illegal:
        return  # another copy makes it
    try:
        await _deliver(guard, journal, each, f"{message}.{before.messages + 1}" if each.is_of_place else message)
    except Gone as error:
        log.info("not_wanted", run=journal.run, to=each.to or "callback", reason=str(error))
        await journal.append(event("called", attempt=attempt + 1, delivered=False, unwanted=True, **named))
        return
    except NotDelivered as error:
        # An address may hold a secret: not logged.
        log.warning("not_told", run=journal.run, to=each.to or "callback", attempt=attempt, reason=str(error))
        given_up = set(each.ops) <= journal.state.calls[each.key].over
        guard.metrics.told(each.to, "given_up" if given_up else "failed")
        return
    guard.metrics.told(each.to, "delivered")
    await journal.append(event("called", attempt=attempt, delivered=True, **named))


def _named(each: Owed) -> dict[str, Any]:
    """For the journal: members of the event that claims an attempt."""
    if each.is_of_place:
        return {"to": each.to, "op": "", "ops": list(each.ops)}
    return {"op": each.ops[0], **({"to": each.to} if each.to else {})}


def _parts(each: Owed) -> list[str]:
    """What tells a message of a run from its others."""
    if each.is_of_place:
        return [each.to]
    return [each.ops[0] or "revert", *([each.to] if each.to else [])]


async def _deliver(guard: Guard, journal: Journal, each: Owed, id_: str) -> None:
    """Raises NotDelivered."""
    op = each.ops[0]
    if is_subscription(each.to):
        await _deliver_to_subscriber(guard, journal, each, id_)
        return
    if not each.to:
        begun = journal.state.operations[op].begun if op else journal.state.opened
        body = orjson.dumps(await answer(guard, journal.run, op or None))
        await guard.callbacks.deliver(begun["callback"], id_, body)
        return
    place = guard.place(each.to)
    state, is_revert = journal.state, op == REVERT
    operations = [state.operations[op] for op in each.ops if op] or list(state.operations.values())
    told = summary(guard, state, operations)
    # What has ended is told, not what the run has come to meanwhile: it may be taken back already, or a bracket stand.
    told["status"] = overall([str(operation.ended["status"]) for operation in operations])
    if is_revert:
        told["status"] = revert_status(state)
    url = place.url.get_secret_value()
    if place.kind == "slack":
        await guard.callbacks.deliver(url, id_, slack_message(told, guard.page_url(journal.run)), signed=False)
    else:
        await guard.callbacks.deliver(url, id_, webhook_message(told))


async def _deliver_to_subscriber(guard: Guard, journal: Journal, each: Owed, id_: str) -> None:
    """Raises Gone where it wants no more, which ends its subscription; NotDelivered."""
    subscription = await guard.subscriptions.find(each.to)
    if subscription is None:
        raise Gone("its subscription has ended")
    told = await answer(guard, journal.run, each.ops[0] or None)
    if told["kind"] == "revert":
        told["status"] = _taken_back([operation.ended for operation in journal.state.operations.values()])
    try:
        await guard.callbacks.deliver(subscription.wanted.hook_url, id_, orjson.dumps(told))
    except Gone:
        await guard.subscriptions.unsubscribe(subscription.wanted.client, subscription.id)
        raise
