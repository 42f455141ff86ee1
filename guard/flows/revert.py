"""Revert: take a run back. plan → look at what is there now → judge → compensate newest first → report.

A revert is a run of its own: its compensations are snapshot, sent and sealed like any operation, so it has a
journal, a revert URL (redo), and can be cut anywhere and repeated: what went back already is judged `already`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from msgspec import structs

from guard.core.compare import JudgedLine, Judgement
from guard.core.entries import pack
from guard.core.errors import Conflict, GuardError, Refused, Unavailable
from guard.core.ids import derived_run_id
from guard.core.lifecycle import Illegal, event, outcome_status
from guard.core.limits import ANSWER_RECORDS_MAX, CHUNKS_IN_FLIGHT_MAX
from guard.core.model import (
    Action,
    Change,
    Failure,
    Fields,
    Key,
    Outcome,
    Resource,
    Reversibility,
    Status,
    Touched,
    Verdict,
)
from guard.core.past import equal, members
from guard.flows.callback import heard
from guard.flows.guard import Guard
from guard.flows.lease import Lease
from guard.flows.operation import finish
from guard.flows.passage import Passage, journal_done
from guard.flows.plan import Judged, Narrowing, Plan, Row, judge_rows, refuse_unknown_operations, title_of
from guard.flows.settle import is_revert_abandoned, take_over_revert
from guard.flows.stop import end_all
from guard.store.journal import Journal
from guard.target.base import Target, Work
from guard.tasks import AtMost, Cut, all_to_the_end, unless

_FITS_NOTHING = "Nothing that the run did fits all of these ids, fields, resources and operations."
_DEPENDENT = "Other records depend on this one now; deleting it would delete or change them."


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertAsked:
    run: str
    client: str
    narrowing: Narrowing = field(default_factory=Narrowing)
    on_conflict: Literal["skip", "force", "abort"] = "skip"
    callback: str = ""


@dataclass(slots=True)
class Tally:
    """What a revert came to, in records."""

    counts: Counter[str] = field(default_factory=Counter)

    def judged(self, judgement: Judgement) -> None:
        """Count a record that nothing is written for, or whose verdict stands whatever is written."""
        name = _VERDICT_NAMES.get(judgement.verdict)
        if name:
            self.counts[name] += 1

    def foresee(self, judgement: Judgement) -> None:
        """Count a record as it would come out if all that can be written is."""
        self.counts[_VERDICT_NAMES.get(judgement.verdict, "restored")] += 1

    def sent(self, judgement: Judgement, status: Status, failure: Failure | None) -> None:
        """Count a record that was to be restored by what came of it."""
        if judgement.verdict is not Verdict.RESTORE:
            return
        if status is Status.UNKNOWN:
            self.counts["in_doubt"] += 1
        elif status is Status.FAILED or failure:
            self.counts["failed"] += 1
        else:
            self.counts["restored"] += 1

    def members(self) -> dict[str, int]:
        return {name: self.counts[name] for name in _NUMBERS}

    @property
    def whole(self) -> bool:
        return not any(self.counts[name] for name in ("conflicted", "irreversible", "in_doubt", "failed"))


_VERDICT_NAMES = {
    Verdict.ALREADY: "already",
    Verdict.CONFLICT: "conflicted",
    Verdict.IRREVERSIBLE: "irreversible",
    Verdict.IN_DOUBT: "in_doubt",
}
_NUMBERS = ("restored", "already", "conflicted", "irreversible", "in_doubt", "failed")


async def preview(guard: Guard, asked: RevertAsked) -> tuple[Tally, list[Judged]]:
    """Judge the whole run without writing anything; the verdicts other than restore, up to a number."""
    tally = Tally()
    shown: list[Judged] = []
    with guard.journals.use(asked.run) as journal:
        plan = await load_plan(guard, journal, asked.narrowing)
        try:
            for name in plan.targets():
                target = guard.target(name)
                # Nothing is written, so nobody needs to be held off meanwhile.
                look = partial(target.read, some=True)
                for rows in plan.batches(target.chunk_records, target=name):
                    for judged in await judge_rows(look, target, rows, plan, force=asked.on_conflict == "force"):
                        tally.foresee(judged[2])
                        if judged[2].verdict is not Verdict.RESTORE and len(shown) < ANSWER_RECORDS_MAX:
                            shown.append(judged)
        finally:
            plan.close()
    return tally, shown


async def load_plan(guard: Guard, journal: Journal, narrowing: Narrowing, *, skip: int = 0) -> Plan:
    """The plan of a run whose journal is whole. The caller closes it. Raises Refused (also where the narrowing fits
    nothing: a misspelt id is not a revert), Corrupt. skip: records at the beginning that are not asked for."""
    state = await journal.catch_up()
    if state.phase == "none":
        raise Refused("not_found", f"There is no run {journal.run}.")
    await guard.journals.refuse_gap(state)
    plan = Plan(guard, narrowing)
    try:
        await plan.load(journal, state, skip=skip)
        if plan.leaves_out and not len(plan):
            raise Refused("invalid_request", f"{_FITS_NOTHING} Nothing was written.")
    except BaseException:
        plan.close()
        raise
    return plan


def start_revert(guard: Guard, asked: RevertAsked) -> asyncio.Task[str]:
    """Begin a revert that goes on when its caller hangs up; an equal one that is going on is joined.

    Raises Conflict where another one of this run is going on.
    """
    if going_on := guard.reverting.get(asked.run):
        same, task = going_on
        if same == replace(asked, client=""):
            return task
        raise Conflict("busy", "Another revert of this run is going on. Nothing was written by this call; try again.")
    task = guard.start(f"revert of {asked.run}", revert(guard, asked))
    guard.reverting[asked.run] = (replace(asked, client=""), task)
    task.add_done_callback(lambda _: guard.reverting.pop(asked.run))
    return task


async def revert(guard: Guard, asked: RevertAsked) -> str:
    """Take a run back; the id of the revert's own run. A run that is still going is stopped first.

    Raises Conflict where another revert of the run is going on, or where there are conflicts and on_conflict is
    "abort"; Refused, Unavailable, Corrupt where nothing was written.
    """
    with guard.journals.use(asked.run) as journal:
        state = await journal.catch_up()
        if state.phase == "none":
            raise Refused("not_found", f"There is no run {asked.run}.")
        refuse_unknown_operations(state, asked.narrowing)
        if state.running and not state.driven and asked.narrowing != Narrowing():
            # Before a bracket that stands is sealed; what is under way may still do what the narrowing names.
            (await load_plan(guard, journal, asked.narrowing)).close()
        if state.running:
            await end_all(guard, journal, "closing")
        if asked.narrowing != Narrowing():
            # Before the run is closed: a narrowing that fits nothing changes nothing.
            (await load_plan(guard, journal, asked.narrowing)).close()
        if asked.on_conflict == "abort":
            await _refuse_conflicts(guard, asked)
        # Unfinished again, for recovery to find should this be cut off before the revert's own journal begins.
        await guard.journals.mark_open(asked.run)
        revert_run = await _claim(guard, journal)
        status = "failed"
        try:
            with guard.journals.use(revert_run) as own:
                try:
                    status = await _carry_out(guard, asked, journal, own)
                finally:
                    journal.given_up |= own.given_up
        finally:
            with suppress(Illegal):  # it was believed dead, and another Guard has ended it
                await journal_done(journal, (), event("revert_ended", revert=revert_run, status=status))
        await finish(guard, journal, shared=True)
    return revert_run


async def _refuse_conflicts(guard: Guard, asked: RevertAsked) -> None:
    tally, _ = await preview(guard, asked)
    if conflicted := tally.counts["conflicted"]:
        raise Conflict(
            "conflicts",
            f"{conflicted} records were changed since. Nothing was written. "
            "Revert with on_conflict=skip to leave those alone and take the others back.",
            records_conflicted=conflicted,
        )


async def _claim(guard: Guard, journal: Journal) -> str:
    """Close the run and say in its journal that this revert is the one that is going on."""
    state = journal.state
    try:
        if state.phase == "reverting":
            await _take_over_if_abandoned(guard, journal, list(state.reverts)[-1])
        revert_run = derived_run_id("revert", state.run, str(len(state.reverts)))
        first = [event("closing")] if state.phase in ("open", "stopped") else []
        await journal.append(*first, event("revert_begun", revert=revert_run))
    except Illegal:
        raise _busy(guard, next(reversed(state.reverts), journal.run)) from None
    return revert_run


async def _take_over_if_abandoned(guard: Guard, journal: Journal, last: str) -> None:
    if not await is_revert_abandoned(guard, journal, last):
        raise _busy(guard, last)
    await take_over_revert(guard, journal, last)


def _stopped() -> Conflict:
    return Conflict(
        "run_closed", "The revert was stopped. What it had not come to is as it was; revert again to go on."
    )


def _busy(guard: Guard, run: str) -> Conflict:
    return Conflict(
        "busy",
        f"Another revert of this run is going on ({run}). If it was cut off, this one can be repeated "
        f"{guard.lease_s * 1.5:.0f} s after its last sign of life. Nothing was written by this call.",
        run=run,
    )


async def _carry_out(guard: Guard, asked: RevertAsked, journal: Journal, own: Journal) -> str:
    try:
        tell = sorted({name for each in journal.state.operations.values() for name in each.begun.get("tell", ())})
        of = {"of": asked.run, "callback": asked.callback or None, "tell": tell or None}
        await own.append(event("opened", kind="revert", client=asked.client, **of))
    except Illegal:
        raise _busy(guard, own.run) from None
    await all_to_the_end(guard.journals.mark_open(own.run), guard.journals.mark_indexed(own))
    try:
        async with _alive(guard, own):
            plan = await load_plan(guard, journal, asked.narrowing)
        try:
            whole = not plan.leaves_out
            for number, name in enumerate(plan.targets()):
                taking_back = TakeBack(guard, asked, plan, own, f"op_{number + 1}", guard.target(name))
                whole &= await taking_back()
        finally:
            plan.close()
    finally:
        await finish(guard, own, shared=True)
    return "reverted" if whole else "partly_reverted"


@asynccontextmanager
async def _alive(guard: Guard, own: Journal) -> AsyncIterator[None]:
    """Show life while a revert has no operation yet: the plan of a large run takes long to read."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(guard.lease_s / 3)
            with suppress(Unavailable):
                await own.append(event("alive"))

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError, Illegal):
            await telling


class TakeBack:
    """Takes back the part of a plan that lies in one target."""

    def __init__(self, guard: Guard, asked: RevertAsked, plan: Plan, journal: Journal, op: str, target: Target) -> None:
        self._guard = guard
        self._asked = asked
        self._plan = plan
        self._journal = journal
        self._lease = Lease(guard, journal, op)
        self._target = target
        self._tally = Tally()
        self._level = Reversibility.FULL
        self._stopped_by: GuardError | None = None

    async def __call__(self) -> bool:
        """True: everything that was asked for is as it was before the run."""
        try:
            await self._begin()
        except Illegal:
            raise _busy(self._guard, self._journal.run) from None
        try:
            async with self._lease.kept():
                await self._drive()
                await self._end()
        except Illegal:
            raise Conflict(
                "busy", "This revert was believed dead and was taken over by another Guard.", run=self._journal.run
            ) from None
        finally:
            self._guard.driven[(self._journal.run, self._lease.op)] -= 1
        operation = self._journal.state.operations[self._lease.op]
        if self._stopped_by and not operation.count("applied") + operation.count("unknown") + operation.unsettled():
            raise self._stopped_by
        return self._tally.whole and self._stopped_by is None

    async def _begin(self) -> None:
        key = (self._journal.run, self._lease.op)
        self._guard.driven[key] += 1
        planned = self._plan.count(self._target.name)
        asked = {
            "target": self._target.name,
            "action": "revert",
            "door": "revert",
            "request": "",
            "planned": planned,
        }
        try:
            await self._journal.append(self._lease.event("begun", lease_s=self._guard.lease_s, **asked))
        except BaseException:
            self._guard.driven[key] -= 1
            raise

    async def _drive(self) -> None:
        try:
            # What one record cannot get back never keeps the others from it (I3).
            async with self._target.work(self._may_write, salvage=True) as work:
                passage = Passage(self._journal, self._lease, self._target, work)
                road = self._one_by_one if self._target.traits.isolated else self._overlapping
                await road(passage, work)
        except GuardError as error:
            self._stopped_by = self._stopped_by or error
        except (Cut, Illegal):
            self._stopped_by = self._stopped_by or _stopped()

    def _may_write(self) -> bool:
        stopped = self._journal.closed.is_set() or self._guard.draining.is_set()
        if stopped:
            self._stopped_by = self._stopped_by or _stopped()
        return not stopped and self._lease.may_write()

    async def _one_by_one(self, passage: Passage, work: Work) -> None:
        """A database: the whole revert in one transaction."""
        try:
            for number, rows in enumerate(self._batches(None)):
                await self._chunk(passage, work, number, rows)
        except BaseException:
            self._tally = Tally()
            await passage.roll_back()
            raise
        await passage.conclude()

    async def _overlapping(self, passage: Passage, work: Work) -> None:
        number = 0
        for rank in self._plan.ranks():
            async with AtMost(CHUNKS_IN_FLIGHT_MAX) as under_way:
                for rows in self._batches(rank):
                    await under_way.room()
                    if self._stopped_by:
                        break
                    under_way.start(self._try_chunk(passage, work, number, rows))
                    number += 1

    def _batches(self, rank: int | None) -> Any:
        return self._plan.batches(self._target.chunk_records, target=self._target.name, rank=rank)

    async def _try_chunk(self, passage: Passage, work: Work, number: int, rows: Sequence[Row]) -> None:
        try:
            await self._chunk(passage, work, number, rows)
        except GuardError as error:
            self._stopped_by = self._stopped_by or error
        except (Cut, Illegal):
            self._stopped_by = self._stopped_by or _stopped()

    async def _chunk(self, passage: Passage, work: Work, number: int, rows: Sequence[Row]) -> None:
        force = self._asked.on_conflict == "force"
        judging = judge_rows(work.look, self._target, rows, self._plan, force=force)
        judged = await unless((self._journal.closed, self._guard.draining), judging)
        compensated = [each for each in judged if each[2].compensation]
        touched, judged = await self._prepare(work, judged, compensated)
        work.let_go(
            {_key(row) for row, _, _ in judged} - {(each.change.resource, str(each.change.id)) for each in touched}
        )
        told = [
            JudgedLine(
                row.past.resource,
                row.past.id,
                title_of(self._target, row, image),
                structs.replace(judgement, compensation=None),
            )
            for row, image, judgement in judged
            if judgement.verdict is not Verdict.RESTORE
        ]
        packed = pack(told)
        await self._journal.store_lines(packed)
        note = self._lease.event("judged", chunk=number, lines=packed.reference, **_verdict_counts(judged))
        for _, _, judgement in judged:
            self._tally.judged(judgement)
        if not touched:
            await self._journal.append(note)
            return
        await passage.announce(number, touched, note)
        outcomes = await passage.send(number, touched, self._checked)
        await self._settle(judged, touched, outcomes)

    async def _prepare(
        self, work: Work, judged: list[Judged], compensated: list[Judged]
    ) -> tuple[list[Touched], list[Judged]]:
        """The compensations with their pre-images. A deletion that would take others' records with it is a conflict."""
        changes = [self._pointed_to_new_ids(j.compensation) for _, _, j in compensated if j.compensation]
        if not changes:
            return [], judged
        known = {(row.past.resource, row.past.id): image for row, image, _ in compensated}
        touched = await work.before(changes, known)
        # What the run created itself is deleted by its own compensation, before what it depends on.
        own = {(change.resource, change.id) for change in changes if change.action is Action.DELETE}
        touched = [t for t in touched if not t.implied_by or (t.change.resource, t.change.id) not in own]
        causes = {each.implied_by for each in touched if each.implied_by}
        if not causes or self._asked.on_conflict == "force":
            return touched, judged
        kept = [_conflict(each) if (each[0].past.resource, each[0].past.id) in causes else each for each in judged]
        return await self._prepare(work, kept, [each for each in kept if each[2].compensation])

    def _pointed_to_new_ids(self, change: Change) -> Change:
        """References to records that had to be created again follow them."""
        if change.action is not Action.CREATE or not self._target.references(change.resource):
            return change
        fields = dict(change.fields)
        for name, resource in self._target.references(change.resource).items():
            if name in fields:
                fields[name] = self._plan.new_id(self._target.name, resource, str(fields[name]))
        return structs.replace(change, fields=fields)

    async def _settle(self, judged: Sequence[Judged], touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> None:
        """Count what came of the compensations."""
        compensations = [(j.compensation, j) for _, _, j in judged if j.compensation]
        by_id = {(change.resource, change.origin or change.id): judgement for change, judgement in compensations}
        for each, outcome in zip(touched, outcomes, strict=True):
            change = each.change
            judgement = by_id.get((change.resource, change.origin or change.id))
            if judgement is None:
                continue
            if change.origin and outcome.id and outcome.id != change.origin:
                self._plan.renumber(self._target.name, change, outcome.id)
                self._level = Reversibility.PARTIAL
            self._tally.sent(judgement, outcome.status, outcome.failure)

    async def _checked(self, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """What was to be restored is looked for in the post-images: a vendor's rules may have made it another value."""
        names = {each.change.resource for each in touched}
        resources = {name: await self._plan.resources(self._target, name) for name in names}
        result = list(outcomes)
        for i, (each, outcome) in enumerate(zip(touched, outcomes, strict=True)):
            if outcome.status is Status.APPLIED and outcome.sealed and not outcome.failure:
                wrong = _not_restored(each.change, outcome.after or {}, resources[each.change.resource])
                if wrong:
                    failure = Failure("not_restored", f"The target did not take back {', '.join(wrong)}.")
                    result[i] = structs.replace(outcome, failure=failure)
        return result

    async def _end(self) -> None:
        operation = self._journal.state.operations[self._lease.op]
        applied, failed = operation.count("applied"), operation.count("failed")
        unknown = operation.count("unknown") + operation.unsettled()
        problem = self._stopped_by
        ended = self._lease.event(
            "ended",
            status="partial" if problem and applied else outcome_status(applied, failed + bool(problem), unknown),
            records=applied + failed + unknown,
            reversible=self._level.value,
            verdicts=self._tally.members(),
            problem={"code": problem.code, "detail": problem.detail} if problem else None,
        )
        await journal_done(self._journal, (), await heard(self._guard, self._journal.state, ended))


def _not_restored(change: Change, after: Fields, resource: Resource) -> list[str]:
    """The fields of an update that are not as it was to leave them."""
    if change.action is not Action.UPDATE:
        return []
    wrong = [n for n, value in change.fields.items() if not equal(resource, n, value or None, after.get(n) or None)]
    wrong += [n for n, add in change.add.items() if not members(add) <= members(after.get(n))]
    wrong += [n for n, remove in change.remove.items() if members(remove) & members(after.get(n))]
    return sorted(wrong)


def _key(row: Row) -> Key:
    return row.past.resource, row.past.id


def _verdict_counts(judged: Sequence[Judged]) -> dict[str, int]:
    return dict(
        Counter(judgement.verdict.value for _, _, judgement in judged if judgement.verdict is not Verdict.RESTORE)
    )


def _conflict(judged: Judged) -> Judged:
    row, image, _ = judged
    return row, image, Judgement(Verdict.CONFLICT, _DEPENDENT)
