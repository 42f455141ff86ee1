"""One operation's or one revert's passage through a vendor's API: pre-images, writes, and what came of them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from guard.core.errors import GuardError, Refused
from guard.core.model import (
    Action,
    Change,
    Failure,
    Image,
    Key,
    Known,
    Outcome,
    Status,
    Touched,
)
from guard.target.base import MayWrite, by_resource, keys_of
from guard.target.client import NoAnswer, NotSent
from guard.target.http.failures import MISSING, NO_ANSWER, NO_CALL, NOT_SENT, PARTLY, STOPPED, TWICE
from guard.target.http.settling import Settling
from guard.target.siblings import Siblings
from guard.tasks import all_to_the_end
from handlers.base import (
    UNKNOWN_FIELD,
    Write,
)

if TYPE_CHECKING:
    from guard.target.http.target import HttpTarget


class HttpWork:
    """See guard.target.base.Work. Nothing is held at the vendor; the records are locked within this process."""

    receipt: str | None = None

    def __init__(self, target: "HttpTarget", may_write: MayWrite, *, salvage: bool = False) -> None:
        self._target = target
        self._salvage = salvage
        self._may_write = may_write
        self._handler = target.handler
        self._held: set[Key] = set()
        self._resolved: set[Key] = set()
        self._siblings = Siblings(target.handler, target.answer)
        self._settling = Settling(target, self._siblings)

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
        for resource, ids in by_resource(keys_of(changes)).items():
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
            failure = NOT_SENT if self._may_write() else STOPPED
            return [Outcome(status=Status.FAILED, failure=failure)] * len(theirs)
        except NoAnswer:
            return [Outcome(status=Status.UNKNOWN, failure=NO_ANSWER)] * len(theirs)
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
        return await self._put_right(touched, await self._settling(touched, outcomes))

    async def _put_right(self, touched: Sequence[Touched], outcomes: list[Outcome]) -> list[Outcome]:
        """A record that came back out of a bin is as it was when it was deleted. What the run had changed in it before
        that is written as an update; mostly there is nothing."""
        wrong: dict[int, Touched] = {}
        for i, (each, outcome) in enumerate(zip(touched, outcomes, strict=True)):
            if self._settling.comes_back(each.change) and (names := self._settling.unlike(each.change, outcome.after)):
                fields = {name: each.change.fields[name] for name in names}
                change = replace(each.change, action=Action.UPDATE, id=each.change.origin, origin=None, fields=fields)
                wrong[i] = Touched(change, outcome.after)
        if wrong:
            corrected = list(wrong.values())
            answers = await self._settled(corrected, await self.write(corrected))
            for i, answer in zip(wrong, answers, strict=True):
                outcomes[i] = _corrected(outcomes[i], answer)
        return outcomes

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


def merged(answers: Sequence[Outcome]) -> Outcome:
    """One record's several calls as one outcome. A mixture is in doubt: only reading tells what is there now."""
    if not answers:
        return Outcome(status=Status.FAILED, failure=NO_CALL)
    if len({answer.status for answer in answers}) == 1:
        return answers[-1]
    failure = next(answer.failure for answer in answers if answer.failure)
    return Outcome(status=Status.UNKNOWN, id=answers[-1].id, failure=failure)


def _corrected(back: Outcome, answer: Outcome) -> Outcome:
    """A record that came back, after what was wrong in it was written: it is there, whatever became of that."""
    failure = answer.failure or (None if answer.status is Status.APPLIED else PARTLY)
    if answer.sealed:
        return replace(back, after=answer.after, failure=failure)
    return replace(back, failure=failure or PARTLY)


def _gave_up(answers: Sequence[Outcome]) -> bool:
    return any(answer.status is not Status.APPLIED for answer in answers)


def _is_unknown_field(outcome: Outcome) -> bool:
    return outcome.status is Status.FAILED and outcome.failure is not None and outcome.failure.code == UNKNOWN_FIELD


def _not_sent(touched: Touched) -> Outcome:
    return Outcome(status=Status.FAILED, failure=touched.problem or NO_CALL)
