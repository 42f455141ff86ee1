"""The plan of a revert: what a run did to each record, merged, and what taking it back means now."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from guard.core import bracket
from guard.core.compare import Judgement, judge
from guard.core.errors import Refused
from guard.core.lifecycle import OperationState, RunState
from guard.core.model import Action, Change, Image, Key, Outcome, Resource, Reversibility, Status, Touched, Verdict
from guard.core.past import Past, asked_values, changed_fields, merge, moved_fields
from guard.flows.guard import Guard
from guard.flows.history import Recorded, recorded, recorded_chunks
from guard.flows.table import Table
from guard.store.journal import Journal
from guard.target.base import Target
from guard.tasks import all_or_none

_UNREADABLE = "It cannot be read now, so it is left as it is. Take it back again later."
_ATTACHED = "Others have attached something to it ({}); it would be lost if the record were deleted."
_NOT_OURS = "A record like it is there, but it is not certain that the run created it; it is left alone."

_SEARCH_ROWS = 500
"""Rows looked through before others have their turn."""

_RANK_SPAN = 2**40
"""Rows are read backwards, so each one's seq is position - rank * span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Which part of a run is taken back; None: all of it."""

    operations: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    ids: frozenset[str] | None = None
    except_ids: frozenset[str] | None = None
    """Records to leave as they are."""
    fields: frozenset[str] | None = None

    def has(self, record: Recorded, operation: OperationState) -> bool:
        change, outcome = record.touched.change, record.outcome
        # A table may be called otherwise by the caller than by the database: staff, public.staff.
        called = change.resource if record.touched.implied_by else operation.begun.get("resource")
        return (
            (self.operations is None or record.op in self.operations)
            and (self.resources is None or bool({change.resource, called} & self.resources))
            and (self.ids is None or bool({change.id, outcome.id} & self.ids))
            and (self.except_ids is None or not {change.id, outcome.id} & self.except_ids)
            # A record that was created or deleted is not a matter of single fields.
            and (self.fields is None or change.action is Action.UPDATE)
        )


class Row(Struct, gc=False, frozen=True, omit_defaults=True):
    """One record's part of the plan."""

    target: str
    past: Past
    origin: str
    """The id the record had in the run; another than past.id once a revert had to create it again."""
    search: Change | None = None
    """A creation whose id is not known: what it is searched by."""
    since: datetime | None = None
    """What is found counts as the run's creation only if it was created after this."""


class Resources:
    """The resources that a revert meets, each opened once: a database reads its catalog for it."""

    def __init__(self) -> None:
        self._opened: dict[tuple[str, str], Resource] = {}

    async def __call__(self, target: Target, name: str) -> Resource:
        key = (target.name, name)
        if key not in self._opened:
            self._opened[key] = await target.resource(name)
        return self._opened[key]


class Covers:
    """The records of a run's brackets, each with its time between checkpoint and seal; on disk."""

    def __init__(self) -> None:
        self._times = Table(list[tuple[str, tuple[int, int], tuple[int, int]]])
        self._count = 0

    def close(self) -> None:
        self._times.close()

    def add(self, operation: OperationState, records: Sequence[Recorded]) -> None:
        """Those of a bracket."""
        for record in records:
            if record.until is not None:
                self._count += 1
                key = _record_key(operation, record)
                times = [*(self._times.get(key) or ()), (record.op, record.since, record.until)]
                self._times.put(self._count, key, times)

    def covered(self, operation: OperationState, record: Recorded) -> bool:
        """Does what a record was before lie within the time of another bracket that has it, too?"""
        if not self._count:
            return False
        times = self._times.get(_record_key(operation, record)) or ()
        return any(op != record.op and since < record.since < until for op, since, until in times)


def _record_key(operation: OperationState, record: Recorded) -> str:
    change = record.touched.change
    return _key(operation.target, change.resource, record.outcome.id or change.id or f"?{record.position}")


def _was_given_up(operation: OperationState) -> bool:
    """A bracket that ended before it was sealed: nothing of it is known but what it was before."""
    return operation.is_bracket and operation.phase == "ended" and operation.ended["status"] in ("failed", "stopped")


class Plan:
    """The rows of a run, newest first, on disk. Closed by its maker."""

    def __init__(self, guard: Guard, narrowing: Narrowing) -> None:
        self._guard = guard
        self.narrowing = narrowing
        self._rows = Table(Row)
        self._new_ids = Table(tuple[str | None, Change])
        self.resources = Resources()
        self._renumbered = 0
        self.leaves_out = False
        """The narrowing leaves out something that the run did."""
        self._targets: Counter[str] = Counter()
        self._ranks: set[int] = set()
        self._opened_at = guard.now()

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        self._rows.close()
        self._new_ids.close()

    async def load(self, journal: Journal, state: RunState, *, skip: int = 0) -> None:
        """Read the run's journal, and those of its earlier reverts for the ids they gave. Raises Refused, Corrupt.

        skip: records at the beginning that are not asked for; some of them may be there all the same.
        """
        self._opened_at = state.opened_at or self._opened_at
        refuse_unknown_operations(state, self.narrowing)
        covers = await self._covers(journal, state)
        try:
            async for records in recorded_chunks(journal, state, skip=skip):
                operation = state.operations[records[0].op]
                kept = [record for record in records if self.narrowing.has(record, operation)]
                if len(kept) < len(records):
                    left = [record for record in records if not self.narrowing.has(record, operation)]
                    self.leaves_out |= any(record.outcome.status not in _NOTHING for record in left)
                kept = [record for record in kept if not covers.covered(operation, record)]
                if kept and not _was_given_up(operation):
                    await self._add(operation.target, kept)
        finally:
            covers.close()
        for revert in state.reverts:
            await self._load_new_ids(revert)

    async def _covers(self, journal: Journal, state: RunState) -> Covers:
        """What the run did itself to a bracket's records, between checkpoint and seal, is in their images."""
        covers = Covers()
        brackets = [operation for operation in state.operations.values() if operation.is_bracket]
        if not brackets or len(state.operations) == 1:
            return covers
        async for records in recorded_chunks(journal, state):
            operation = state.operations[records[0].op]
            if operation.is_bracket and not _was_given_up(operation):
                covers.add(operation, [record for record in records if self.narrowing.has(record, operation)])
        return covers

    async def _add(self, target_name: str, records: Sequence[Recorded]) -> None:
        target = self._guard.target(target_name)
        referred_to, rows = target.referred_to, []
        for record in records:
            past = past_of(target, record.touched, record.outcome, between=record.until is not None)
            if past is None:
                continue
            resource = await self.resources(target, past.resource)
            past = _without_derived(past, resource)
            if self._leaves_out(past, resource):
                continue
            search = record.touched.change if past.in_doubt and not past.id else None
            key = _key(target_name, past.resource, past.id) if past.id else f"?\n{record.position}"
            row = Row(target_name, past, past.id, search, self._opened_at if search else None)
            rows.append((self._seq(referred_to, past, record.position), key, row))
        changed_before = self._rows.add(rows)
        self._targets[target_name] += len(rows) - len(changed_before)
        for seq, key, row in changed_before:
            earlier = self._rows[key].past
            past = merge(earlier, row.past, await self.resources(target, row.past.resource))
            self._rows.put(seq, key, replace(row, past=past))

    def _seq(self, referred_to: Mapping[str, int], past: Past, position: int) -> int:
        """Records that others refer to are created again before the others are taken back."""
        last = 1 + max(referred_to.values(), default=0)
        rank = referred_to.get(past.resource, last) if past.after is None else last
        self._ranks.add(rank)
        return position - rank * _RANK_SPAN

    def _leaves_out(self, past: Past, resource: Resource) -> bool:
        """Did the run change none of the fields that the narrowing names?"""
        if self.narrowing.fields is None or past.unsealed:
            return False
        fields = frozenset(moved_fields(past, resource)) | frozenset(past.asked or () if past.in_doubt else ())
        self.leaves_out |= not fields <= self.narrowing.fields
        return fields.isdisjoint(self.narrowing.fields)

    async def _load_new_ids(self, revert: str) -> None:
        """What earlier reverts created again; an unknown outcome among them is searched for before trying again."""
        with self._guard.journals.use(revert) as journal:
            state = await journal.catch_up()
            async for record in recorded(journal, state):
                change, target = record.touched.change, state.operations[record.op].target
                if change.origin and record.outcome.status is not Status.FAILED:
                    self.renumber(target, change, record.outcome.id)

    def renumber(self, target: str, change: Change, id_: str | None) -> None:
        """Take down the new id of a record that a revert created again; None: created perhaps, the id is not known."""
        self._renumbered += 1
        key = _key(target, change.resource, str(change.origin))
        self._new_ids.put(self._renumbered, key, (id_, change))

    def new_id(self, target: str, resource: str, id_: str) -> str:
        found = self._new_ids.get(_key(target, resource, id_))
        return str(found[0]) if found and found[0] else id_

    def created(self, target: str, resource: str, id_: str) -> bool:
        """Does the plan take this record back, too, because the run created it?"""
        found = self._rows.get(_key(target, resource, id_))
        return found is not None and found.past.before is None

    def targets(self) -> list[str]:
        """The target of the run's newest record first."""
        return list(reversed([name for name, records in self._targets.items() if records]))

    def count(self, target: str) -> int:
        """Records that lie in this target."""
        return self._targets[target]

    def batches(self, size: int, *, target: str | None = None, rank: int | None = None) -> Iterator[list[Row]]:
        """The plan's rows in the order in which they are taken back; those of one target or rank only, if named."""
        for each in self.ranks() if rank is None else [rank]:
            for batch in self._rows.batches(size, -each * _RANK_SPAN, (1 - each) * _RANK_SPAN - 1):
                if rows := [self._row(row) for row in batch if target in (None, row.target)]:
                    yield rows

    def page(self, offset: int, size: int) -> list[Row]:
        """Some rows from the middle, for showing."""
        return [self._row(row) for row in self._rows.page(offset, size)]

    async def found(self, text: str) -> AsyncIterator[Row]:
        """The rows in which every word of a search is found: in the id, the title, or a value before or after."""
        words = text.casefold().split()
        for rows in self.batches(_SEARCH_ROWS):
            for row in rows:
                if self._fits(row, words):
                    yield row
            await asyncio.sleep(0)  # others have their turn while 100,000 records are looked through

    def _fits(self, row: Row, words: Sequence[str]) -> bool:
        title = title_of(self._guard.target(row.target), row, None)
        values = [row.past.id, row.origin, title, *_texts(row.past.before), *_texts(row.past.after)]
        text = "\n".join(values).casefold()
        return all(word in text for word in words)

    def ranks(self) -> list[int]:
        return sorted(self._ranks)

    def _row(self, row: Row) -> Row:
        """The row, pointed to the new id of a record that an earlier revert, or this one, had to create again."""
        found = self._new_ids.get(_key(row.target, row.past.resource, row.past.id)) if self._renumbered else None
        if found is None:
            return row
        id_, created = found
        return replace(row, past=replace(row.past, id=id_ or ""), search=None if id_ else created, since=None)


def _texts(value: Any) -> Iterator[str]:
    """Every value that an image holds, as text, lists and objects within it included."""
    match value:
        case None | bool():
            pass
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case _:
            yield str(value)


def refuse_unknown_operations(state: RunState, narrowing: Narrowing) -> None:
    """Raise Refused where the narrowing names an operation that the run has not."""
    known = sorted(state.operations)
    if unknown := sorted((narrowing.operations or frozenset()) - set(known)):
        raise Refused("invalid_request", f"The run has no operation {unknown[0][:80]}; it has {', '.join(known[:20])}.")


_NOTHING = (Status.FAILED, Status.UNCHANGED)
"""What came to nothing, so that there is nothing to take back."""


def past_of(target: Target, touched: Touched, outcome: Outcome, *, between: bool = False) -> Past | None:
    """What the run did to a record, as far as one change of it tells; None: nothing. `between`: it is a bracket's."""
    change, before = touched.change, touched.before
    if outcome.status in _NOTHING:
        return None
    if between and outcome.status is Status.UNKNOWN:
        id_ = change.id or ""
        return Past(
            resource=change.resource, id=id_, before=before, after=before, touched=None, between=True, unsealed=True
        )
    past = Past(
        resource=change.resource,
        id=outcome.id or change.id or "",
        before=before,
        after=outcome.after,
        touched=target.touches(change) if change.action is Action.UPDATE and not between else None,
        between=between,
    )
    if outcome.failure and outcome.failure.code == "created_instead":
        return replace(past, before=None, touched=None)
    reversal = target.reversal(change, before)
    if reversal.level is Reversibility.NONE:
        return replace(past, lost=reversal.reason)
    if outcome.failure and outcome.failure.code == "other_record":
        return replace(past, lost=outcome.failure.message)
    if outcome.sealed:
        return past
    asked = None if change.action is Action.DELETE else asked_values(change, before)
    return replace(past, after=before, asked=asked, in_doubt=True)


Look = Callable[[str, Sequence[str]], Awaitable[dict[str, Image]]]
"""Resource and ids -> what the records hold now."""


Judged = tuple[Row, Image, Judgement]


async def judge_rows(look: Look, target: Target, rows: Sequence[Row], plan: Plan, *, force: bool) -> list[Judged]:
    """Each row of a plan with what its record holds now and the verdict on it."""
    searched = iter(await all_or_none(*(_search(target, row, row.search) for row in rows if row.search)))
    found = [next(searched) if row.search else row for row in rows]
    now = await _look(look, [row for row in found if row.past.id])
    judged: list[Judged] = []
    for each in found:
        row = each
        resource = await plan.resources(target, row.past.resource)
        key = (row.past.resource, row.past.id)
        image = _without_own(target, plan, row, now.get(key), resource)
        if row.past.id and not row.past.lost and key not in now:
            judged.append((row, None, Judgement(Verdict.IN_DOUBT, _UNREADABLE)))
            continue
        if row.past.unsealed:
            row = replace(row, past=_sealed_now(target, row.past, image, resource))
        if image and row.since and not target.created_since(row.past.resource, image, row.since):
            row = replace(row, past=replace(row.past, lost=_NOT_OURS))
        judged.append((row, image, _judge(target, row, image, resource, plan.narrowing, force=force)))
    return judged if force else await _keep_what_others_use(target, plan, judged)


def _sealed_now(target: Target, past: Past, now: Image, resource: Resource) -> Past:
    """As it would be if the bracket were sealed at this moment."""
    touched = bracket.watched(past.resource, past.id, past.before)
    outcome = bracket.sealed(touched, past.id, now, resource)
    found = past_of(target, bracket.told(touched, outcome), outcome, between=True)
    return _without_derived(found or replace(past, unsealed=False, after=past.before), resource)


def _without_derived(past: Past, resource: Resource) -> Past:
    """What no API writes follows in most cases from what was written, and goes back with it; the plan names it. Where
    nothing else differs, it counts: then it cannot be taken back."""
    if not past.between or past.touched is not None or past.before is None or past.after is None:
        return past
    names = changed_fields(past.before, past.after, resource)
    written = frozenset(names) - resource.readonly
    follow = tuple(name for name in names if name in resource.readonly)
    return replace(past, touched=written, follow=follow) if written else past


def _without_own(target: Target, plan: Plan, row: Row, now: Image, resource: Resource) -> Image:
    """A record that the run created, without the children that the run gave it later: they are no edit of others."""
    if row.past.before is not None or now is None:
        return now
    listed = {name: kind for name, kind in resource.children.items() if now.get(name)}
    others = {n: [id_ for id_ in now[n] if not plan.created(target.name, kind, id_)] for n, kind in listed.items()}
    return {name: value for name, value in {**now, **others}.items() if name not in listed or value}


async def _keep_what_others_use(target: Target, plan: Plan, judged: list[Judged]) -> list[Judged]:
    """What the run created is not deleted with what others have attached to it since."""
    attached: dict[Key, frozenset[Key] | None] = {}
    for resource in {row.past.resource for row, _, judgement in judged if _deletes(judgement)}:
        ids = [row.past.id for row, _, judgement in judged if _deletes(judgement) and row.past.resource == resource]
        found = await target.attached(resource, ids)
        attached |= {(resource, id_): keys for id_, keys in found.items()}
    return [(row, image, _unless_attached(target, plan, row, judgement, attached)) for row, image, judgement in judged]


def _deletes(judgement: Judgement) -> bool:
    return judgement.compensation is not None and judgement.compensation.action is Action.DELETE


def _unless_attached(
    target: Target, plan: Plan, row: Row, judgement: Judgement, attached: Mapping[Key, frozenset[Key] | None]
) -> Judgement:
    keys = attached.get((row.past.resource, row.past.id), frozenset())
    if keys is None:
        return Judgement(Verdict.IN_DOUBT, _UNREADABLE)
    theirs = {resource for resource, id_ in keys if not plan.created(target.name, resource, id_)}
    return Judgement(Verdict.CONFLICT, _ATTACHED.format(", ".join(sorted(theirs)))) if theirs else judgement


def title_of(target: Target, row: Row, now: Image) -> str:
    """What people call the record; as it was before the run, which may have changed just that."""
    return target.title(row.past.resource, row.past.before or now or row.past.after)


async def _search(target: Target, row: Row, search: Change) -> Row:
    """A record whose id is not known is looked for by what identifies it, before it is judged or created again."""
    try:
        id_ = await target.find(search)
    except Refused:
        return replace(row, past=replace(row.past, lost="Nothing identifies the record, so it cannot be found."))
    return replace(row, past=replace(row.past, id=id_ or row.past.id))


async def _look(look: Look, rows: Sequence[Row]) -> dict[tuple[str, str], Image]:
    by_resource: dict[str, list[str]] = {}
    for row in rows:
        if not row.past.lost:
            by_resource.setdefault(row.past.resource, []).append(row.past.id)
    now: dict[tuple[str, str], Image] = {}
    for resource, ids in by_resource.items():
        images = await look(resource, ids)
        now |= {(resource, id_): image for id_, image in images.items()}
    return now


def _judge(target: Target, row: Row, now: Image, resource: Resource, narrowing: Narrowing, *, force: bool) -> Judgement:
    def same(name: str, asked: Any, found: Any) -> bool:
        return target.same(resource.name, name, asked, found)

    judgement = judge(row.past, now, resource, same=same, force=force, only=narrowing.fields)
    compensation = judgement.compensation
    if compensation and compensation.action is Action.CREATE:
        judgement = replace(judgement, compensation=replace(compensation, origin=row.origin))
    if row.past.between and not row.past.lost:
        judgement = replace(judgement, reason=_reason_between(row.past, now, judgement))
    return judgement


def _reason_between(past: Past, now: Image, judgement: Judgement) -> str:
    """Nobody knows who changed a bracket's record, so nobody is named."""
    done = "was created" if past.before is None else "was deleted" if past.after is None else "was changed"
    match judgement.verdict:
        case Verdict.RESTORE:
            back = {"was created": "is deleted", "was deleted": "is brought back", "was changed": "goes back"}[done]
            unwritten = (
                f" No API writes {', '.join(past.follow)}; that may follow from the rest." if past.follow else ""
            )
            return f"It {done} between checkpoint and seal; it {back}.{unwritten}"
        case Verdict.ALREADY:
            return "It is as it was at the checkpoint."
        case Verdict.CONFLICT:
            since = "deleted" if now is None else "changed again"
            return f"It {done} between checkpoint and seal, and was {since} after the seal; that is left alone."
        case _:
            return judgement.reason


def _key(target: str, resource: str, id_: str) -> str:
    return f"{target}\n{resource}\n{id_}"
