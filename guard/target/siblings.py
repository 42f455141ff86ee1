"""Creations whose answers do not name what they made: it is told from what was there before.

The list of what is there is read before the creation and after it. What is new in it, and holds what was asked for, is
the creation's; where somebody else has made the like meanwhile, or nothing new shows, nobody can tell, and it stays in
doubt. What was there before is kept in memory only: after a crash such a creation stays in doubt, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from guard.core.errors import GuardError, Unavailable
from guard.core.model import Action, Change, Fields, Image, Key, Outcome, Status, Touched
from guard.target.base import Ask
from guard.tasks import all_or_none, all_to_the_end
from handlers.base import Call, Handler


class Named(NamedTuple):
    """The record that a creation turned out to have made."""

    id: str
    image: Image


class Siblings:
    """Of one operation."""

    def __init__(self, handler: Handler, ask: Ask) -> None:
        self._handler = handler
        self._ask = ask
        self._there: dict[Key, frozenset[str]] = {}

    def keys(self, changes: Iterable[Change]) -> dict[Key, tuple[Call, Change]]:
        """The lists that these creations add to, each once: what to lock them by, and how to read them."""
        made = [change for change in changes if change.action is Action.CREATE]
        calls = [(call, change) for change in made if (call := self._handler.siblings(change))]
        return {
            (change.resource, f"{call.path}?{sorted(call.query.items())}"): (call, change) for call, change in calls
        }

    async def see(self, changes: Iterable[Change]) -> None:
        """Before they are sent. Raises Unavailable where a list cannot be seen: nothing may be written then."""
        lists = self.keys(changes)
        replies = await all_or_none(*(self._ask(call) for call, _ in lists.values()))
        for (key, (_, change)), reply in zip(lists.items(), replies, strict=True):
            there = self._handler.listed(change, reply)
            if there is None:
                raise Unavailable(
                    "target_unavailable",
                    f"The target answered {reply.status} and does not show what is there already, from which Guard "
                    "would tell what was created. Nothing was written; try again later.",
                )
            self._there[key] = frozenset(there)

    def told(self, change: Change) -> bool:
        """Was the list seen before this creation?"""
        return bool(self.keys([change]).keys() & self._there.keys())

    async def named(self, pairs: Sequence[tuple[Touched, Outcome]]) -> dict[int, Named]:
        """By position: what the creations have made whose outcomes name nothing. Raises nothing."""
        claims: dict[Key, list[int]] = {}
        lists: dict[Key, tuple[Call, Change]] = {}
        for i, (touched, outcome) in enumerate(pairs):
            open_ = not touched.problem and not outcome.id and outcome.status is not Status.FAILED
            if open_ and self.told(touched.change):
                for key, how in self.keys([touched.change]).items():
                    claims.setdefault(key, []).append(i)
                    lists[key] = how
        found: dict[int, Named] = {}
        for key, now in zip(lists, await all_to_the_end(*(self._now(*how) for how in lists.values())), strict=True):
            fresh = {id_: image for id_, image in now.items() if id_ not in self._there[key]}
            found |= self._matched(pairs, claims[key], fresh)
        return found

    async def _now(self, call: Call, change: Change) -> Mapping[str, Fields]:
        with suppress(GuardError):
            return self._handler.listed(change, await self._ask(call)) or {}
        return {}

    def _matched(
        self, pairs: Sequence[tuple[Touched, Outcome]], claims: Sequence[int], fresh: Mapping[str, Fields]
    ) -> dict[int, Named]:
        """Several creations of the like are one as good as another; those that were answered come first."""
        alike: dict[tuple[str, ...], list[int]] = {}
        for i in sorted(claims, key=lambda i: pairs[i][1].status is not Status.APPLIED):
            change = pairs[i][0].change
            alike.setdefault(tuple(id_ for id_, image in fresh.items() if self._holds(change, image)), []).append(i)
        return {
            i: Named(id_, fresh[id_])
            for ids, mine in alike.items()
            if len(ids) <= len(mine)  # else somebody has made the like meanwhile
            for i, id_ in zip(mine, ids, strict=False)
        }

    def _holds(self, change: Change, image: Fields) -> bool:
        same = self._handler.same
        return all(same(change.resource, name, value, image.get(name)) for name, value in change.fields.items())
