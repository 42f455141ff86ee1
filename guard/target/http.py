"""Runs a handler over HTTP: finds, reads, writes and reads back the records of one operation."""

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from guard.core.errors import GuardError, Refused, Unavailable
from guard.core.limits import CHUNK_RECORDS_MIN, CLOCK_SKEW_S
from guard.core.model import (
    Action,
    Change,
    Failure,
    Fields,
    Image,
    Key,
    Known,
    Outcome,
    Resource,
    Restore,
    Reversal,
    Reversibility,
    Status,
    Touched,
)
from guard.core.past import changed_fields, members
from guard.target.base import Calls, MayWrite, Work, always
from guard.target.client import Client, Denied, NoAnswer, NotSent
from guard.target.definitions import Definitions
from guard.target.locks import RecordLocks
from guard.target.siblings import Siblings
from guard.tasks import all_or_none, all_to_the_end
from handlers.base import (
    CREATED_INSTEAD,
    DUPLICATE,
    OTHER_RECORD,
    UNKNOWN_FIELD,
    Call,
    Handler,
    Reply,
    Request,
    Route,
    Write,
)

log = structlog.get_logger()

MISSING = Failure("not_found", "The target has no record with this id; nothing was written.")
TWICE = Failure("duplicate_record", "Another record of this operation is the same one; this one was not written.")
_NOT_SENT = Failure("not_sent", "The target could not be reached; nothing was written.")
_STOPPED = Failure("not_sent", "It was stopped before this was sent; nothing was written.")
_NO_ANSWER = Failure("no_answer", "The target's answer was lost; it may have been written.")
_NAMELESS = "Nothing in this record tells which one it is: name its id."
_NO_CALL = Failure("not_writable", "The target has no call that writes this.")
_NOT_SHOWN = Failure("not_shown", "The target answered that it was done, and does not show it. A revert looks again.")
_PARTLY = Failure("partly_applied", "The target wrote only a part of it.")


class HttpTarget:
    """A vendor's API behind one handler, one credential and one pace."""

    def __init__(self, name: str, handler: Handler, client: Client) -> None:
        self.name = name
        self.handler = handler
        self.client = client
        self.traits = handler.traits
        self.side_effects = handler.side_effects
        self.locks = RecordLocks()
        self.definitions = Definitions(name, handler, self._definition)
        batch = max(self.traits.read_max, self.traits.write_max)
        # A multiple of the larger batch, so that chunking costs no call.
        self.chunk_records = batch * math.ceil(CHUNK_RECORDS_MIN / batch)

    @property
    def referred_to(self) -> Mapping[str, int]:
        """As far as it is known: what refers to what may have been learnt from the vendor."""
        return _referred_to(self.handler.resources)

    async def resource(self, name: str) -> Resource:
        if name not in self.handler.resources:
            known = ", ".join(sorted(self.handler.resources))
            raise Refused("unknown_resource", f"{self.name} has no resource {name!r}; it has {known}.")
        await self.definitions.ensure(name)
        return self.handler.resources[name]

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        return self.handler.change(resource, action, record)

    async def renewed(self, resource: str) -> bool:
        return await self.definitions.renewed(resource)

    async def changes(self, route: Route, request: Request) -> list[Change]:
        """The changes of one of the vendor's own requests. Raises Refused (I8), Unavailable."""
        await self.definitions.ensure(route.resource)
        resources = self.handler.resources_of(route, request)
        for name in resources:
            await self.resource(name)
        try:
            return self.handler.changes(route, request)
        except Refused as refused:
            if refused.code != UNKNOWN_FIELD or not any([await self.renewed(name) for name in resources]):
                raise
        return self.handler.changes(route, request)

    def references(self, resource: str) -> Mapping[str, str]:
        return self.handler.resources[resource].references

    def title(self, resource: str, image: Image) -> str:
        return self.handler.title(resource, image or {})

    def touches(self, change: Change) -> frozenset[str] | None:
        return self.handler.touches(change)

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        return self.handler.same(resource, name, asked, found)

    def reversal(self, change: Change, before: Image) -> Reversal:
        return self.handler.reversal(change, before)

    def calls(self, changes: Sequence[Change]) -> Calls:
        """Counted with the handler's own hooks. An upsert counts as the update of a record that is found."""
        finds = len(self.handler.finds([c for c in changes if c.action is Action.UPSERT and not c.id]))
        named = [_named(change, f"new{i}") for i, change in enumerate(changes)]
        made = [change for change in named if change.action is Action.CREATE]
        there = [change for change in named if change.action is not Action.CREATE]
        run = finds + self._reads(there) + self._lists(named) + self._writes(named)
        back = [c for c in named if self.handler.reversal(c, None).level is not Reversibility.NONE]
        checks = sum(len(self.handler.all_attachments(name, ids)) for name, ids in _by_resource(made).items())
        undoing = [_undoing(change) for change in back]
        return Calls(run, self._reads(back) + checks + self._lists(undoing) + self._writes(undoing))

    def _reads(self, changes: Sequence[Change]) -> int:
        return sum(len(self.handler.read(resource, ids)) for resource, ids in _by_resource(changes).items())

    def _lists(self, changes: Sequence[Change]) -> int:
        """The calls that show what is there before something is created."""
        return len(Siblings(self.handler, self.answer).keys(changes))

    def _writes(self, changes: Sequence[Change]) -> int:
        """The calls that write, and those that read back what no answer shows."""
        before: list[Image] = [None if change.action is Action.CREATE else {} for change in changes]
        steps = self.handler.write(changes, before) if changes else []
        blind = {position: write.blind for step in steps for write in step for position in write.positions}
        # Some calls can only be made with what the record holds: one call each, as far as is known here.
        unknown = [change for i, change in enumerate(changes) if i not in blind]
        sizes = [self.handler.traits_of(name).write_max for name, ids in _by_resource(unknown).items() for _ in ids]
        shown = {
            i
            for i, change in enumerate(changes)
            if change.action is Action.UPDATE
            and not blind.get(i)
            and self.handler.traits_of(change.resource).answer_carries_image
        }
        writes = sum(map(len, steps)) + math.ceil(sum(1 / size for size in sizes))
        return writes + self._reads([change for i, change in enumerate(changes) if i not in shown])

    def seconds_for(self, calls: int) -> float | None:
        return self.client.seconds_for(calls)

    @asynccontextmanager
    async def work(self, may_write: MayWrite = always, *, salvage: bool = False) -> AsyncIterator[Work]:
        work = HttpWork(self, may_write, salvage=salvage)
        try:
            yield work
        finally:
            work.release_all()

    async def read(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, Image]:
        """Raises Unavailable where a record's image cannot be had, for then nothing may be written. `some`: such a
        record is left out, and no reason not to read the others; raises only where none can be read."""
        await self.definitions.ensure(resource)
        calls = self.handler.read(resource, ids)
        found = await all_or_none(*(self._images(resource, call, asked, some=some) for call, asked in calls))
        images = {id_: image for read, _ in found for id_, image in read.items()}
        if not images and (errors := [error for _, error in found if error]):
            raise errors[0]
        return images

    async def _images(
        self, resource: str, call: Call, asked: Sequence[str], *, some: bool
    ) -> tuple[dict[str, Image], Unavailable | None]:
        found: dict[str, Image] = {}
        try:
            reply = await self.answer(call)
            found = self.handler.images(resource, asked, reply)
            if any(id_ not in found for id_ in asked):
                raise self._unreadable(reply)
        except Unavailable as error:
            if not some:
                raise
            return found, error
        return found, None

    async def attached(self, resource: str, ids: Sequence[str]) -> dict[str, frozenset[Key] | None]:
        calls = self.handler.all_attachments(resource, ids)
        told = await all_or_none(*(self._attached(resource, call, mine) for call, mine in calls))
        found: dict[str, frozenset[Key] | None] = {}
        for (_, mine), keys in zip(calls, told, strict=True):
            for id_ in mine:
                before = found.get(id_, frozenset())
                found[id_] = None if before is None or id_ not in keys else before | frozenset(keys[id_])
        return {id_: keys for id_, keys in found.items() if keys != frozenset()}

    async def _attached(self, resource: str, call: Call, ids: Sequence[str]) -> dict[str, list[Key]]:
        try:
            return self.handler.all_attached(resource, call, ids, await self.answer(call))
        except Unavailable:
            return {}

    def outcomes(self, touched: Sequence[Touched], reply: Reply) -> list[Outcome]:
        """What an answer says, and "unknown" where the handler falls over it: what was sent must be accounted for."""
        try:
            outcomes = self.handler.outcomes([each.change for each in touched], reply)
        except Exception:  # noqa: BLE001 - a vendor's answer may be anything; the records were sent already
            log.warning("answer_not_understood", target=self.name, status=reply.status)
            return [Outcome(status=Status.UNKNOWN, failure=_NO_ANSWER)] * len(touched)
        for each, outcome in zip(touched, outcomes, strict=True):
            if outcome.failure and outcome.failure.code == UNKNOWN_FIELD:
                self.definitions.doubt(each.change.resource)
        return [_whole(each, outcome) for each, outcome in zip(touched, outcomes, strict=True)]

    async def find(self, change: Change) -> str | None:
        """The id of the record that a create or upsert would meet. Raises Refused where nothing tells, Unavailable."""
        (found,) = await self.find_all([change])
        if isinstance(found, GuardError):
            raise found
        return found

    async def find_all(self, changes: Sequence[Change], *, some: bool = False) -> list[str | GuardError | None]:
        """As `find`, for many at once; in place of an id the Refused that says why nothing tells.

        Raises Unavailable where a search cannot be made; `some`: that stands in place of the id, too.
        """
        for resource in {change.resource for change in changes}:
            await self.definitions.ensure(resource)
        found: list[str | GuardError | None] = [Refused("invalid_record", _NAMELESS)] * len(changes)
        calls = self.handler.finds(changes)
        answers = await all_or_none(
            *(self._find([changes[p] for p in positions], call, some=some) for call, positions in calls)
        )
        for (_, positions), told in zip(calls, answers, strict=True):
            for position, each in zip(positions, told, strict=True):
                found[position] = each
        return found

    async def _find(self, changes: Sequence[Change], call: Call, *, some: bool) -> list[str | GuardError | None]:
        try:
            reply = await self.answer(call)
            if not 200 <= reply.status < 300 or reply.json() is None:
                raise self._unreadable(reply)
        except Unavailable as error:
            if not some:
                raise
            return [error] * len(changes)
        return [self._found(change, reply) for change in changes]

    def _found(self, change: Change, reply: Reply) -> str | GuardError | None:
        try:
            return self.handler.found(change, reply)
        except Refused as refused:
            return refused

    def created_since(self, resource: str, image: Image, since: datetime) -> bool:
        try:
            created = datetime.fromisoformat(self.handler.created_at(resource, image) or "")
            return created >= since - timedelta(seconds=CLOCK_SKEW_S)
        except (ValueError, TypeError):
            return False  # no time, or none that could be compared: then nothing tells whose record it is

    async def answer(self, call: Call) -> Reply:
        """To a call that reads. Raises Unavailable."""
        try:
            return await self.client.read(call)
        except Denied as error:
            raise _denied(self.name, str(error)) from None
        except (NotSent, NoAnswer) as error:
            raise Unavailable(
                "target_unavailable", f"{self.name} cannot be read ({error}). Nothing was written; try again."
            ) from error

    async def _definition(self, call: Call) -> Reply:
        reply = await self.answer(call)
        if self.handler.denies(reply):
            raise self._unreadable(reply)
        return reply

    async def committed(self, receipt: str) -> bool | None:
        """An API has no transactions, so nothing ever asks with a receipt of one."""
        del receipt
        return None

    async def check(self) -> None:
        """Any answer but a refusal of the credential will do: an unknown id is asked for. Definitions must be had."""
        resource = next(iter(self.handler.resources))
        await self.definitions.ensure(resource)
        (call, _), *_ = self.handler.read(resource, ["guardcheck0000000000"])
        reply = await self.answer(call)
        if reply.status in (401, 403) or reply.status >= 500:
            raise self._unreadable(reply)

    def _unreadable(self, reply: Reply) -> Unavailable:
        if self.handler.denies(reply):
            return _denied(self.name, f"it answered {reply.status}")
        return Unavailable(
            "target_unavailable",
            f"{self.name} answered {reply.status} in a way that is no record. Nothing was written; try again later.",
        )

    async def close(self) -> None:
        await self.client.close()


class HttpWork:
    """See guard.target.base.Work. Nothing is held at the vendor; the records are locked within this process."""

    receipt: str | None = None

    def __init__(self, target: HttpTarget, may_write: MayWrite, *, salvage: bool = False) -> None:
        self._target = target
        self._salvage = salvage
        self._may_write = may_write
        self._handler = target.handler
        self._held: set[Key] = set()
        self._resolved: set[Key] = set()
        self._siblings = Siblings(target.handler, target.answer)
        self._began = datetime.now(UTC)

    def select(
        self, resource: str, action: str, fields: Mapping[str, Any], where: Mapping[str, Any]
    ) -> AsyncIterator[list[Change]]:
        del resource, action, fields, where
        raise Refused("invalid_request", f"{self._target.name} takes no filter: name the records by their ids.")

    async def look(self, resource: str, ids: Sequence[str]) -> dict[str, Image]:
        await self._lock((resource, id_) for id_ in ids)
        return await self._target.read(resource, ids, some=True)

    def let_go(self, keys: Iterable[Key]) -> None:
        self._release(keys)

    async def before(self, changes: Sequence[Change], known: Known | None = None) -> list[Touched]:
        for resource in {change.resource for change in changes}:
            await self._target.definitions.ensure(resource)  # creations are written without anything being read
        found = await self._resolve(changes)
        made = [t.change for t in found if not t.problem]
        await self._lock(self._siblings.keys(made))
        await self._siblings.see(made)
        to_read = [t.change for t in found if not t.problem and t.change.id and t.change.action is not Action.CREATE]
        images = known if known is not None else await self._read_locked(to_read)
        return [self._with_image(touched, images) for touched in found]

    async def _resolve(self, changes: Sequence[Change]) -> list[Touched]:
        """An upsert becomes what it will be; of two that mean the same record, the second is not sent."""
        nameless = [i for i, change in enumerate(changes) if change.action is Action.UPSERT and not change.id]
        ids = dict(zip(nameless, await self._target.find_all([changes[i] for i in nameless]), strict=True))
        return [self._resolved_as(change, ids.get(i, change.id)) for i, change in enumerate(changes)]

    def _resolved_as(self, change: Change, id_: str | GuardError | None) -> Touched:
        if change.action is not Action.UPSERT:
            return Touched(change, None)
        if isinstance(id_, GuardError):
            return Touched(change, None, Failure(id_.code, id_.detail))
        if id_ is None:
            return Touched(replace(change, action=Action.CREATE), None)
        if (change.resource, id_) in self._resolved:
            return Touched(change, None, TWICE)
        self._resolved.add((change.resource, id_))
        return Touched(replace(change, action=Action.UPDATE, id=id_), None)

    async def _read_locked(self, changes: Sequence[Change]) -> Known:
        images: dict[Key, Image] = {}
        for resource, ids in _by_resource(changes).items():
            await self._lock((resource, id_) for id_ in ids)
            found = await self._target.read(resource, ids)
            images |= {(resource, id_): image for id_, image in found.items()}
        return images

    def _with_image(self, touched: Touched, images: Known) -> Touched:
        change = touched.change
        if touched.problem:
            return touched
        before = None if change.action is Action.CREATE else images[change.resource, str(change.id)]
        missing = before is None and change.action is not Action.CREATE
        change = self._handler.completed(change, before)
        return replace(touched, change=change, before=before, problem=MISSING if missing else None)

    async def write(self, touched: Sequence[Touched]) -> list[Outcome]:
        sendable = [i for i, each in enumerate(touched) if not each.problem]
        sent = [touched[i] for i in sendable]
        written = await self._write(sent)
        again = [i for i, outcome in enumerate(written) if _is_unknown_field(outcome)]
        if again and self._salvage and await self._renewed({sent[i].change.resource for i in again}):
            # A property that was removed since must not keep the record's others from going back.
            for i, outcome in zip(again, await self._write([sent[i] for i in again]), strict=True):
                written[i] = outcome
        result = [_not_sent(each) for each in touched]
        for i, outcome in zip(sendable, written, strict=True):
            result[i] = outcome
        return result

    async def _renewed(self, resources: Iterable[str]) -> bool:
        """Raises nothing: what was sent must be accounted for."""
        with suppress(GuardError):
            return all([await self._target.renewed(resource) for resource in resources])
        return False

    async def _write(self, sent: Sequence[Touched]) -> list[Outcome]:
        answers: list[list[Outcome]] = [[] for _ in sent]
        for step in self._handler.write([each.change for each in sent], [each.before for each in sent]):
            # A record whose earlier call failed gets no further one; a bulk call goes on for the others in it.
            live = [w for w in step if not all(_gave_up(answers[p]) for p in w.positions)]
            for write, outcomes in zip(live, await all_to_the_end(*(self._send(sent, w) for w in live)), strict=True):
                for position, outcome in zip(write.positions, outcomes, strict=True):
                    answers[position].append(outcome)
        done = [merged(given) for given in answers]
        await self._complete(sent, done)
        return done

    async def _complete(self, sent: Sequence[Touched], outcomes: list[Outcome]) -> None:
        """Make the calls that need the ids of the records just created. What they did is seen by reading back."""
        made = [
            replace(each, change=replace(each.change, id=outcome.id))
            for each, outcome in zip(sent, outcomes, strict=True)
            if each.change.action is Action.CREATE and outcome.status is Status.APPLIED and outcome.id
        ]
        if made and (writes := self._handler.afterwards([each.change for each in made])):
            await all_to_the_end(*(self._send(made, write) for write in writes))
            outcomes[:] = [
                replace(outcome, sealed=False) if each.change.action is Action.CREATE else outcome
                for each, outcome in zip(sent, outcomes, strict=True)
            ]

    async def _send(self, sent: Sequence[Touched], write: Write) -> list[Outcome]:
        theirs = [sent[position] for position in write.positions]
        try:
            reply = await self._target.client.write(write.call, self._may_write)
        except NotSent:
            failure = _NOT_SENT if self._may_write() else _STOPPED
            return [Outcome(status=Status.FAILED, failure=failure)] * len(theirs)
        except NoAnswer:
            return [Outcome(status=Status.UNKNOWN, failure=_NO_ANSWER)] * len(theirs)
        if parts := self._handler.parts(write, reply):
            return await self._send_parts(sent, write, parts)
        return self._target.outcomes(theirs, reply)

    async def _send_parts(self, sent: Sequence[Touched], write: Write, parts: Sequence[Write]) -> list[Outcome]:
        """What one record is refused for must not keep the others of its batch from being written."""
        told: dict[int, Outcome] = {}
        for part in parts:  # one after the other: of a large batch there would be many at once
            told |= dict(zip(part.positions, await self._send(sent, part), strict=True))
        return [told[position] for position in write.positions]

    async def after(self, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> list[Outcome]:
        try:
            (settled,) = await all_to_the_end(self._settled(touched, outcomes))
        finally:
            self._release((each.change.resource, str(each.change.id)) for each in touched)
            self._release(self._siblings.keys(each.change for each in touched))
        return settled

    async def _settled(self, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Read back what the answers did not tell, in the fewest calls. Where that fails an outcome stays as it is:
        not sealed."""
        pairs = list(zip(touched, outcomes, strict=True))
        ids = [self._id_to_read(each, outcome) for each, outcome in pairs]
        searched = [i for i, (each, outcome) in enumerate(pairs) if self._must_search(each, outcome)]
        found = await self._target.find_all([touched[i].change for i in searched], some=True)
        for i, id_ in zip(searched, found, strict=True):
            ids[i] = ids[i] if isinstance(id_, GuardError) else id_
        named = await self._siblings.named(pairs)
        for i, (id_, _) in named.items():
            ids[i] = id_
        known: Known = {(touched[i].change.resource, each.id): each.image for i, each in named.items()}
        images = {
            **await self._read_back(
                key
                for each, id_ in zip(touched, ids, strict=True)
                if id_ and (key := (each.change.resource, id_)) not in known
            ),
            **known,
        }
        settled = [
            self._settle(each, outcome, ids[i], images, certain=i in named) for i, (each, outcome) in enumerate(pairs)
        ]
        return await self._put_right(touched, settled)

    async def _put_right(self, touched: Sequence[Touched], outcomes: list[Outcome]) -> list[Outcome]:
        """A record that came back out of a bin is as it was when it was deleted. What the run had changed in it before
        that is written as an update; mostly there is nothing."""
        wrong: dict[int, Touched] = {}
        for i, (each, outcome) in enumerate(zip(touched, outcomes, strict=True)):
            if self._comes_back(each.change) and (names := self._unlike(each.change, outcome.after)):
                fields = {name: each.change.fields[name] for name in names}
                change = replace(each.change, action=Action.UPDATE, id=each.change.origin, origin=None, fields=fields)
                wrong[i] = Touched(change, outcome.after)
        if wrong:
            corrected = list(wrong.values())
            answers = await self._settled(corrected, await self.write(corrected))
            for i, answer in zip(wrong, answers, strict=True):
                outcomes[i] = _corrected(outcomes[i], answer)
        return outcomes

    def _comes_back(self, change: Change) -> bool:
        """Is this a deleted record that the vendor brings back under its own id?"""
        restored = self._handler.traits_of(change.resource).restore_deleted
        return change.origin is not None and restored is Restore.SAME_ID

    def _unlike(self, change: Change, image: Image) -> list[str]:
        """The fields that are not as the change has them, of a record that is there."""
        readonly = self._handler.resources[change.resource].readonly
        return [n for n in change.fields if image and n not in readonly and not self._same(change, n, image)]

    def _must_search(self, touched: Touched, outcome: Outcome) -> bool:
        """An answer that says "failed" is no proof: HighLevel was seen to answer 422 and create all the same."""
        if touched.problem or touched.change.action is not Action.CREATE or outcome.failure == OTHER_RECORD:
            return False
        if self._comes_back(touched.change) or self._siblings.told(touched.change):
            return False
        refused = outcome.failure is not None and outcome.failure.code == DUPLICATE
        return outcome.status is not Status.APPLIED and not refused

    def _id_to_read(self, touched: Touched, outcome: Outcome) -> str | None:
        """The record whose image is not known yet; None: there is nothing to read."""
        if touched.problem or outcome.failure == OTHER_RECORD:
            return None
        if self._comes_back(touched.change):
            return touched.change.origin
        if touched.change.action is Action.CREATE or outcome.failure == CREATED_INSTEAD:
            return outcome.id
        if outcome.status is Status.FAILED or (outcome.sealed and not self._is_odd(touched, outcome.after)):
            return None
        return touched.change.id

    async def _read_back(self, keys: Iterable[Key]) -> Known:
        """What these records hold now; those that cannot be read are left out."""
        by_resource: dict[str, list[str]] = {}
        for resource, id_ in dict.fromkeys(keys):
            by_resource.setdefault(resource, []).append(id_)
        images: dict[Key, Image] = {}
        for resource, ids in by_resource.items():
            with suppress(GuardError):
                found = await self._target.read(resource, ids, some=True)
                images |= {(resource, id_): image for id_, image in found.items()}
        return images

    def _settle(self, touched: Touched, outcome: Outcome, id_: str | None, images: Known, *, certain: bool) -> Outcome:
        """`certain`: the record is known to be the one that was created."""
        change = touched.change
        if touched.problem or outcome.failure == OTHER_RECORD:
            return outcome
        key = (change.resource, str(id_))
        if id_ is not None and key not in images:
            return outcome
        image = images.get(key)
        if self._comes_back(change):
            back = Outcome(status=Status.APPLIED, id=change.origin, after=image, sealed=True)
            return back if image is not None else _undone(outcome)
        if change.action is Action.CREATE:
            ours = certain or outcome.status is Status.APPLIED or self._is_ours(change, image)
            if id_ and ours:
                return Outcome(status=Status.APPLIED, id=id_, after=image, sealed=image is not None)
            return _unnamed(outcome) if self._siblings.told(change) else outcome
        if outcome.failure == CREATED_INSTEAD and outcome.id:
            return replace(outcome, after=image, sealed=True)
        if outcome.status is Status.FAILED:
            return outcome
        return self._verify(touched, outcome if id_ is None else replace(outcome, after=image, sealed=True))

    def _is_odd(self, touched: Touched, after: Image) -> bool:
        """An answer that shows neither what was asked for nor what was there is not relied upon: it is read back."""
        change, before = touched.change, touched.before or {}
        return any(
            (after or {}).get(name) != before.get(name) and not self._same(change, name, after)
            for name in change.fields
            if name not in self._handler.resources[change.resource].sets
        )

    def _is_ours(self, change: Change, image: Image) -> bool:
        """Was this record created by the call in doubt? Only if it is new and holds what was asked for."""
        new = image is not None and self._target.created_since(change.resource, image, self._began)
        return new and all(self._same(change, name, image) for name in change.fields if name in (image or {}))

    def _verify(self, touched: Touched, outcome: Outcome) -> Outcome:
        """Compare what was asked for with what is there: an answer of 200 is no proof either."""
        change, before, after = touched.change, touched.before, outcome.after
        if change.action is Action.DELETE:
            return self._verify_delete(outcome)
        resource = self._handler.resources[change.resource]
        moved = set(changed_fields(before, after, resource))
        if outcome.status is Status.UNKNOWN and self._is_foreign(change, moved, after):
            return replace(outcome, sealed=False, after=None)
        kept = [
            n for n in change.fields if n not in moved and n not in resource.sets and not self._same(change, n, after)
        ] + _short_sets(change, after or {}, resource)
        if after is None or not kept:
            done = outcome.status is Status.APPLIED or bool(moved & change.asked()) or not change.asked()
            return replace(outcome, status=Status.APPLIED) if done else _undone(outcome)
        if not moved & self._handler.touches(change):
            return _undone(outcome)
        names = ", ".join(sorted(kept))
        return replace(
            outcome, status=Status.APPLIED, failure=Failure(_PARTLY.code, f"{_PARTLY.message} It kept {names}.")
        )

    def _is_foreign(self, change: Change, moved: set[str], after: Image) -> bool:
        """Without an answer a value that is neither the old one nor the one asked for may be somebody else's: another
        run may have written the record before this one was recovered. The revert looks again, field by field."""
        sets = self._handler.resources[change.resource].sets
        return any(n in moved and n not in sets and not self._same(change, n, after) for n in change.fields)

    def _verify_delete(self, outcome: Outcome) -> Outcome:
        if outcome.after is None:
            return replace(outcome, status=Status.APPLIED, failure=None)
        return _undone(outcome)

    def _same(self, change: Change, name: str, image: Image) -> bool:
        return self._handler.same(change.resource, name, change.fields[name], (image or {}).get(name))

    async def commit(self) -> None:
        """What a vendor's API has done is done."""

    async def _lock(self, keys: Any) -> None:
        wanted = {key for key in keys if key not in self._held}
        await self._target.locks.acquire(wanted)
        self._held |= wanted

    def _release(self, keys: Any) -> None:
        held = {key for key in keys if key in self._held}
        self._held -= held
        self._target.locks.release(held)

    def release_all(self) -> None:
        self._release(set(self._held))


def _by_resource(changes: Iterable[Change]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}
    for change in changes:
        ids.setdefault(change.resource, []).append(str(change.id))
    return ids


def _undoing(change: Change) -> Change:
    if change.action is Action.CREATE:
        return replace(change, action=Action.DELETE, fields={})
    back = replace(change, action=Action.CREATE, origin=change.id)
    return back if change.action is Action.DELETE else change


def _named(change: Change, id_: str) -> Change:
    """With an id, though its own is not known yet; an upsert as the update that it may be."""
    action = Action.UPDATE if change.action is Action.UPSERT else change.action
    return replace(change, id=change.id or id_, action=action)


def _unnamed(outcome: Outcome) -> Outcome:
    """A creation that no new record shows: it may have to be approved first."""
    if outcome.status is not Status.APPLIED:
        return outcome
    return replace(outcome, status=Status.UNKNOWN, failure=_NOT_SHOWN, sealed=False)


def _referred_to(resources: Mapping[str, Resource]) -> dict[str, int]:
    """See guard.target.base.Target."""

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        named = set(resources[name].references.values()) - {name, *above}  # a circle has no order
        return max((1 + depth(each, (*above, name)) for each in named), default=0)

    named = {each for resource in resources.values() for each in resource.references.values()}
    return {each: depth(each) for each in named}


def _whole(touched: Touched, outcome: Outcome) -> Outcome:
    """An answer that shows a part of the record, put together with what was there before."""
    if not outcome.partial:
        return outcome
    after = {**(touched.before or {}), **(outcome.after or {})}
    return replace(outcome, partial=False, after={name: value for name, value in after.items() if value is not None})


def merged(answers: Sequence[Outcome]) -> Outcome:
    """One record's several calls as one outcome. A mixture is in doubt: only reading tells what is there now."""
    if not answers:
        return Outcome(status=Status.FAILED, failure=_NO_CALL)
    if len({answer.status for answer in answers}) == 1:
        return answers[-1]
    failure = next(answer.failure for answer in answers if answer.failure)
    return Outcome(status=Status.UNKNOWN, id=answers[-1].id, failure=failure)


def _short_sets(change: Change, after: Fields, resource: Resource) -> list[str]:
    """Sets that do not hold what they should: a 201 that added no tag is no proof either."""
    short = {n for n in change.fields if n in resource.sets and members(change.fields[n]) != members(after.get(n))}
    short |= {n for n, add in change.add.items() if not members(add) <= members(after.get(n))}
    return sorted(short | {n for n, remove in change.remove.items() if members(remove) & members(after.get(n))})


def _corrected(back: Outcome, answer: Outcome) -> Outcome:
    """A record that came back, after what was wrong in it was written: it is there, whatever became of that."""
    failure = answer.failure or (None if answer.status is Status.APPLIED else _PARTLY)
    if answer.sealed:
        return replace(back, after=answer.after, failure=failure)
    return replace(back, failure=failure or _PARTLY)


def _gave_up(answers: Sequence[Outcome]) -> bool:
    return any(answer.status is not Status.APPLIED for answer in answers)


def _is_unknown_field(outcome: Outcome) -> bool:
    return outcome.status is Status.FAILED and outcome.failure is not None and outcome.failure.code == UNKNOWN_FIELD


def _not_sent(touched: Touched) -> Outcome:
    return Outcome(status=Status.FAILED, failure=touched.problem or _NO_CALL)


def _undone(outcome: Outcome) -> Outcome:
    """A read shows the record as it was. Only after an answer that says "not done" is it certain that it was not:
    without one it may still be on its way, and after one that says "done" the read may be behind."""
    failure = outcome.failure or _NOT_SHOWN
    certain = outcome.status is Status.FAILED or failure.code == "vendor_error"
    status = Status.FAILED if certain else Status.UNKNOWN
    return replace(outcome, status=status, failure=failure, sealed=False, after=None)


def _denied(target: str, why: str) -> Unavailable:
    return Unavailable(
        "target_refused",
        f"{target} refused Guard's own credential: {why}. Nothing was written. "
        "Renew the credential in Guard's settings.",
    )
