"""What became of what was sent: answers are not believed where they say too little, or something odd."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from guard.core.errors import GuardError
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
    Status,
    Touched,
)
from guard.core.past import changed_fields, members
from guard.target.base import by_resource
from guard.target.http.failures import NOT_SHOWN, PARTLY
from guard.target.siblings import Siblings
from handlers.base import (
    CREATED_INSTEAD,
    DUPLICATE,
    OTHER_RECORD,
)

if TYPE_CHECKING:
    from guard.target.http.target import HttpTarget


class Settling:
    """Of one operation. `siblings` tell what was there before something was created."""

    def __init__(self, target: "HttpTarget", siblings: Siblings) -> None:
        self._target = target
        self._handler = target.handler
        self._siblings = siblings
        self._began = datetime.now(UTC)

    async def __call__(self, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> list[Outcome]:
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
        return [
            self._settle(each, outcome, ids[i], images, certain=i in named) for i, (each, outcome) in enumerate(pairs)
        ]

    def comes_back(self, change: Change) -> bool:
        """Is this a deleted record that the vendor brings back under its own id?"""
        restored = self._handler.traits_of(change.resource).restore_deleted
        return change.origin is not None and restored is Restore.SAME_ID

    def unlike(self, change: Change, image: Image) -> list[str]:
        """The fields that are not as the change has them, of a record that is there."""
        readonly = self._handler.resources[change.resource].readonly
        return [n for n in change.fields if image and n not in readonly and not self._same(change, n, image)]

    def _must_search(self, touched: Touched, outcome: Outcome) -> bool:
        """An answer that says "failed" is no proof: HighLevel was seen to answer 422 and create all the same."""
        if touched.problem or touched.change.action is not Action.CREATE or outcome.failure == OTHER_RECORD:
            return False
        if self.comes_back(touched.change) or self._siblings.told(touched.change):
            return False
        refused = outcome.failure is not None and outcome.failure.code == DUPLICATE
        return outcome.status is not Status.APPLIED and not refused

    def _id_to_read(self, touched: Touched, outcome: Outcome) -> str | None:
        """The record whose image is not known yet; None: there is nothing to read."""
        if touched.problem or outcome.failure == OTHER_RECORD:
            return None
        if self.comes_back(touched.change):
            return touched.change.origin
        if touched.change.action is Action.CREATE or outcome.failure == CREATED_INSTEAD:
            return outcome.id
        if outcome.status is Status.FAILED or (outcome.sealed and not self._is_odd(touched, outcome.after)):
            return None
        return touched.change.id

    async def _read_back(self, keys: Iterable[Key]) -> Known:
        """What these records hold now; those that cannot be read are left out."""
        images: dict[Key, Image] = {}
        for resource, ids in by_resource(keys).items():
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
        if self.comes_back(change):
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
            outcome, status=Status.APPLIED, failure=Failure(PARTLY.code, f"{PARTLY.message} It kept {names}.")
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


def _unnamed(outcome: Outcome) -> Outcome:
    """A creation that no new record shows: it may have to be approved first."""
    if outcome.status is not Status.APPLIED:
        return outcome
    return replace(outcome, status=Status.UNKNOWN, failure=NOT_SHOWN, sealed=False)


def _short_sets(change: Change, after: Fields, resource: Resource) -> list[str]:
    """Sets that do not hold what they should: a 201 that added no tag is no proof either."""
    short = {n for n in change.fields if n in resource.sets and members(change.fields[n]) != members(after.get(n))}
    short |= {n for n, add in change.add.items() if not members(add) <= members(after.get(n))}
    return sorted(short | {n for n, remove in change.remove.items() if members(remove) & members(after.get(n))})


def _undone(outcome: Outcome) -> Outcome:
    """A read shows the record as it was. Only after an answer that says "not done" is it certain that it was not:
    without one it may still be on its way, and after one that says "done" the read may be behind."""
    failure = outcome.failure or NOT_SHOWN
    certain = outcome.status is Status.FAILED or failure.code == "vendor_error"
    status = Status.FAILED if certain else Status.UNKNOWN
    return replace(outcome, status=status, failure=failure, sealed=False, after=None)
