"""What a vendor says of its fields (custom ones, calculated ones, allowed values): read once, used for a while.

A handler that needs them has `describe` and `learn`. They are read before a resource is first used, anew when they are
older than DEFINITIONS_S, and anew when the vendor, or the handler, has met a field that it does not know: somebody may
have made or removed one meanwhile.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

import structlog

from guard.core.errors import Unavailable
from guard.core.limits import DEFINITIONS_AGAIN_S, DEFINITIONS_S
from guard.target.base import Ask
from guard.tasks import all_or_none
from handlers.base import Call, Handler

log = structlog.get_logger()


class Definitions:
    """The definitions that one target's handler works with. `clock` is in seconds; a test may put its own here."""

    def __init__(
        self,
        target: str,
        handler: Handler,
        ask: Ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._handler = handler
        self._ask = ask
        self._clock = clock
        self._read: dict[str, float] = {}
        self._until: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, resource: str) -> bool:
        """Have the handler know this resource's fields; True: they were read just now.

        Raises Unavailable where they never could be read. Those that only cannot be read anew are used on: what they
        have wrong the vendor refuses.
        """
        if self._fresh(resource) or not (calls := self._handler.describe(resource)):
            return False
        async with self._locks[resource]:  # of many who need them at once, one reads
            if self._fresh(resource):
                return False
            return await self._renew(resource, calls)

    def doubt(self, resource: str) -> None:
        """A field was unknown: read them anew before the next use, unless they were read just now."""
        if resource in self._read:
            self._until[resource] = min(self._until[resource], self._read[resource] + DEFINITIONS_AGAIN_S)

    async def renewed(self, resource: str) -> bool:
        """After a field was unknown: True where they were read anew, so that asking again may help."""
        self.doubt(resource)
        return await self.ensure(resource)

    def _fresh(self, resource: str) -> bool:
        return self._clock() < self._until.get(resource, float("-inf"))

    async def _renew(self, resource: str, calls: list[Call]) -> bool:
        known = resource in self._read
        try:
            learnt = self._handler.learn(resource, await all_or_none(*(self._ask(call) for call in calls)))
        except Unavailable:
            if not known:
                raise
            learnt = False
        if not learnt and not known:
            raise Unavailable(
                "target_unavailable",
                f"{self._target} does not tell which fields {resource} has. Nothing was written; try again.",
            )
        if not learnt:
            log.warning("definitions_not_read", target=self._target, resource=resource)
        now = self._clock()
        self._read[resource] = now
        self._until[resource] = now + (DEFINITIONS_S if learnt else DEFINITIONS_AGAIN_S)
        return learnt
