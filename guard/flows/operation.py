"""An operation: what a caller asked for, how it is recognised when it comes again, how its chunks are driven."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from msgspec.structs import replace

from guard.core.entries import Event
from guard.core.errors import Conflict, GuardError, InDoubt, Refused, Unavailable
from guard.core.ids import derived_operation_id, derived_run_id, new_run_id
from guard.core.lifecycle import Illegal, OperationState, event, outcome_status
from guard.core.limits import CHUNKS_IN_FLIGHT_MAX
from guard.core.model import Change, Failure, Image, Reversal, Reversibility, Touched
from guard.flows.callback import heard, look, unmark
from guard.flows.guard import Guard
from guard.flows.lease import Lease
from guard.flows.passage import UNTIL_IT_WORKS, Passage, journal_done
from guard.store.journal import Journal
from guard.target.base import Target, Work
from guard.tasks import AtMost, Cut, unless

log = structlog.get_logger()

Chunks = AsyncIterator[tuple[int, list[Change]]]
"""With their numbers: those of an operation that is taken up again have gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller asked for, whichever door it came through."""

    client: str
    target: str
    resource: str
    action: str
    door: str
    digest: str
    """Of the whole request: an equal one under the same key is a repeat, another one is refused."""
    records: int | None = None
    """None: not known before the records are selected."""
    run_key: str = ""
    idempotency_key: str = ""
    scenario: str = ""
    note: str = ""
    accept_irreversible: bool = False
    callback: str = ""
    tell: tuple[str, ...] = ()
    """Who is told when it has ended, by their names in the settings, besides those who are always told."""
    where: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keyed(self) -> bool:
        return bool(self.run_key or self.idempotency_key)


def identify(guard: Guard, asked: Asked) -> tuple[str, str]:
    """The run and the operation that this request is: a repeat gets the same ones on every copy of Guard."""
    if not asked.keyed:
        return new_run_id(guard.now()), "op_1"
    if asked.run_key:
        run = derived_run_id("run key", asked.client, asked.run_key)
    else:
        run = derived_run_id("idempotency key", asked.client, asked.idempotency_key)
    what = ("idempotency key", asked.idempotency_key) if asked.idempotency_key else ("request", asked.digest)
    return run, derived_operation_id(run, *what)


def opening(guard: Guard, journal: Journal, asked: Asked, op: str, screen: "Screen") -> list[Event]:
    """The events that begin an operation, and its run where it is the first."""
    opened = event("opened", kind="run", client=asked.client, scenario=asked.scenario or None, note=asked.note or None)
    begun = event(
        "begun",
        op=op,
        target=asked.target,
        resource=asked.resource,
        action=asked.action,
        door=asked.door,
        records=asked.records,
        request=asked.digest,
        lease_s=guard.lease_s,
        callback=asked.callback or None,
        tell=list(asked.tell) or None,
        reversible=screen.level.value,
        reasons=sorted(screen.reasons) or None,
    )
    return [begun] if journal.state.operations or journal.state.phase != "none" else [opened, begun]


async def begin(
    guard: Guard,
    journal: Journal,
    asked: Asked,
    op: str,
    screen: "Screen",
    announce: Callable[[str, list[Event]], Awaitable[None]],
) -> tuple[str, bool]:
    """Append the opening through `announce`. Gives the operation's id, and False where this is a repeat of it.

    Who gets True drives the operation, and counts it down in guard.driven at the end.
    A request whose last attempt came to nothing at all may be sent again: it becomes another operation.
    Raises Conflict where the key belongs to another request, or the run takes no more operations.
    """
    while True:
        op = _next_attempt(journal, asked, op)
        if op in journal.state.operations:
            return op, False
        if journal.state.phase not in ("none", "open"):
            raise Conflict(
                "run_closed",
                "The run was stopped or is taken back; it takes no more operations. Nothing was written.",
                run=journal.run,
            )
        look(guard)
        guard.driven[(journal.run, op)] += 1  # from before anybody else can see the operation
        try:
            await announce(op, opening(guard, journal, asked, op, screen))
        except BaseException as error:
            guard.driven[(journal.run, op)] -= 1
            if not isinstance(error, Illegal):
                raise
            # Another writer was first with something; the journal knows by now with what.
        else:
            return op, True


def _next_attempt(journal: Journal, asked: Asked, op: str) -> str:
    """The id under which this request may be going on, or may begin."""
    attempt, name = 1, op
    while (known := journal.state.operations.get(name)) is not None:
        refuse_other_request(known, asked)
        if known.phase != "ended" or known.ended["status"] != "failed":
            return name
        attempt, name = attempt + 1, f"{op}_{attempt + 1}"
    return name


def refuse_other_request(known: OperationState, asked: Asked) -> None:
    if known.begun["request"] != asked.digest:
        raise Conflict(
            "key_reused",
            "The Idempotency-Key, or a webhook's webhook-id, was used for another request. "
            "Nothing was written by this one; use a new key.",
        )


_LEVELS = list(Reversibility)


class Screen:
    """The policy on each record, and how far what was let through can be taken back."""

    def __init__(self, target: Target, *, accept: bool) -> None:
        self._target = target
        self._accept = accept
        self.level = Reversibility.FULL
        self.reasons: set[str] = set()

    @classmethod
    def of(cls, target: Target, operation: OperationState, *, accept: bool = True) -> "Screen":
        """As it was when the operation's last chunk was announced."""
        screen = cls(target, accept=accept)
        screen.level = Reversibility(operation.begun.get("reversible", "full"))
        screen.reasons |= set(operation.begun.get("reasons", ()))
        for chunk in operation.chunks.values():
            screen.level = max(screen.level, Reversibility(chunk.reversible), key=_LEVELS.index)
            screen.reasons |= set(chunk.reasons)
        return screen

    def told(self) -> dict[str, Any]:
        """For the journal: members of the event that announces a chunk."""
        if self.level is Reversibility.FULL and not self.reasons:
            return {}
        return {"reversible": self.level.value, "reasons": sorted(self.reasons)}

    def __call__(self, touched: Sequence[Touched]) -> list[Touched]:
        return [each if each.problem else self._screened(each) for each in touched]

    def _screened(self, touched: Touched) -> Touched:
        reversal = self._target.reversal(touched.change, touched.before)
        if reversal.level is not Reversibility.FULL and not self._accept:
            return replace(touched, problem=Failure("irreversible", f"{reversal.reason} {_ACCEPT}"))
        self.note(reversal)
        return touched

    def note(self, reversal: Reversal) -> None:
        if reversal.level is not self.level:
            self.level = max(self.level, reversal.level, key=_LEVELS.index)
        if reversal.reason:
            self.reasons.add(reversal.reason)

    def refuse(self, change: Change, before: Image = None) -> None:
        """Raise Refused where already the kind of change cannot be taken back and was not accepted (I8)."""
        reversal = self._target.reversal(change, before)
        if reversal.level is not Reversibility.FULL and not self._accept:
            raise Refused("irreversible", f"{reversal.reason} {_ACCEPT}", reversible=reversal.level.value)
        self.note(reversal)


_ACCEPT = "Nothing was written. Send accept_irreversible to do it all the same."


class Drive:
    """Drives an operation's chunks through its target and ends it in the journal."""

    def __init__(self, guard: Guard, journal: Journal, lease: Lease, target: Target, screen: Screen) -> None:
        self._guard = guard
        self._journal = journal
        self._lease = lease
        self._target = target
        self._screen = screen
        self._stopped_by: GuardError | None = None

    async def __call__(self, chunks: Callable[[Work], Chunks]) -> None:
        """Drive until all chunks are through or one cannot be, then end the operation; or until it is taken over."""
        async with self._lease.kept():
            try:
                async with self._target.work(self._may_write) as work:
                    passage = Passage(self._journal, self._lease, self._target, work)
                    road = self._one_by_one if self._target.traits.isolated else self._overlapping
                    await road(passage, work, chunks(work))
            except GuardError as error:
                self._stopped_by = self._stopped_by or error
            except Illegal:
                pass  # stopped or taken over: the journal tells
            with suppress(Illegal):  # whoever has taken over ends it
                await self._end()

    @property
    def _goes_on(self) -> bool:
        return not self._journal.closed.is_set() and not self._guard.draining.is_set()

    def _may_write(self) -> bool:
        return self._goes_on and self._lease.may_write()

    async def _one_by_one(self, passage: Passage, work: Work, chunks: Chunks) -> None:
        """A database: all chunks in one transaction, committed when the last one's post-images are durable."""
        try:
            async for number, changes in chunks:
                touched = self._screen(await work.before(changes))
                await passage.announce(number, touched, **self._screen.told())
                await passage.send(number, touched)
                if not self._goes_on:
                    raise Refused("run_closed", "The run was stopped; nothing was written.")
        except BaseException:
            await passage.roll_back()
            raise
        await passage.conclude()

    async def _overlapping(self, passage: Passage, work: Work, chunks: Chunks) -> None:
        """An API: several chunks at once, so that some read or write while others are being stored."""
        async with AtMost(CHUNKS_IN_FLIGHT_MAX) as under_way:
            async for number, changes in chunks:
                await under_way.room()
                if self._stopped_by or not self._goes_on:
                    break
                under_way.start(self._chunk(passage, work, number, changes))

    async def _chunk(self, passage: Passage, work: Work, number: int, changes: list[Change]) -> None:
        try:
            # Vendors are slow: a run that was stopped does not go on reading what it will not write.
            before = await unless((self._journal.closed, self._guard.draining), work.before(changes))
            touched = self._screen(before)
            await passage.announce(number, touched, **self._screen.told())
            await passage.send(number, touched)
        except GuardError as error:
            # The chunks beside this one go on to their end: what was sent must be accounted for.
            self._stopped_by = self._stopped_by or error
        except (Cut, Illegal):
            pass  # stopped or taken over: `_goes_on` and the lease see to it that nothing more is sent

    async def _end(self) -> None:
        operation = self._journal.state.operations[self._lease.op]
        known = {name: operation.count(name) for name in ("applied", "failed", "unknown")}
        known["unknown"] += operation.unsettled()
        ended = ending(operation, self._lease, self._screen, known, self._stopped_by, stopped=not self._goes_on)
        ended = await heard(self._guard, self._journal.state, ended)
        try:
            await journal_done(self._journal, (), ended)
        except InDoubt as error:
            if self._stopped_by and not any(known.values()):
                raise self._stopped_by from error  # nothing was sent; the sweeper ends it when the store is back
            raise self._untold(known, ended["records"], str(error.__cause__)) from error

    def _untold(self, known: Mapping[str, int], total: int, reason: str) -> InDoubt:
        """The store takes no more entries: what the journal says, and what this process knows, is all there is."""
        sent = sum(known.values())
        how_far = f"{sent} of {total} records had been sent by then; the others were not." if total else ""
        return InDoubt(
            "in_doubt",
            f"The run was cut short. {reason} {how_far} {UNTIL_IT_WORKS}",
            run=self._journal.run,
            run_url=self._guard.run_url(self._journal.run),
            revert_url=self._guard.revert_url(self._journal.state),
            records_total=total,
            records_applied=known["applied"],
            records_failed=known["failed"],
            records_in_doubt=known["unknown"],
            records_not_sent=total - sent,
        )


def ending(
    operation: OperationState,
    lease: Lease,
    screen: Screen,
    known: Mapping[str, int],
    stopped_by: GuardError | None = None,
    *,
    stopped: bool = False,
) -> Event:
    """The event that ends an operation, with its numbers."""
    applied, failed, unknown = known["applied"], known["failed"], known["unknown"]
    total = max(operation.begun.get("records") or 0, applied + failed + unknown)
    not_sent = total - applied - failed - unknown
    status = "stopped" if stopped and applied < total else outcome_status(applied, failed + not_sent, unknown)
    if stopped_by and not total:
        status = "failed"
    return lease.event(
        "ended",
        status=status,
        records=total,
        not_sent=not_sent or None,
        reversible=screen.level.value,
        reasons=sorted(screen.reasons) or None,
        problem={"code": stopped_by.code, "detail": stopped_by.detail} if stopped_by else None,
    )


async def finish(guard: Guard, journal: Journal, *, shared: bool = False) -> None:
    """List the run, and take the mark of an unfinished one away once none of its operations is open and all who are to
    be told of them were.

    `shared`: other copies of Guard may add operations to the run, so the mark may be theirs by now.
    """
    try:
        await guard.journals.mark_indexed(journal)
        if shared:
            await journal.catch_up()
        await unmark(guard, journal, shared=shared)
    except Unavailable as error:
        # What happened has happened; the mark that stays makes recovery look, and list the run.
        log.warning("marks_not_written", run=journal.run, code=error.code)
