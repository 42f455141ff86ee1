"""What an operation would be, told before anything is written (I8)."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import structs

from guard.core.model import Action, Change, Reversibility
from guard.flows.guard import Guard
from guard.flows.operation import Asked, Chunks, Screen
from guard.flows.protect import Records, records_max, selected
from guard.target.base import Calls, Target

_LEVELS = list(Reversibility)


class Forecast:
    """How far each action can be taken back, and the calls and time that it takes. It reads no record.

    An upsert is judged as a create and as an update, and counted as the latter: which it will be, only reading tells.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._screens: dict[str, Screen] = {}
        self._calls: Calls | None = None
        self._records = 0

    def add(self, changes: Sequence[Change]) -> None:
        for change in (kind for each in changes for kind in _kinds(each)):
            screen = self._screens.setdefault(change.action.value, Screen(self._target, accept=True))
            screen.note(self._target.reversal(change, None))
        self._records += len(changes)
        if calls := self._target.calls(changes):
            known = self._calls or Calls(0, 0)
            self._calls = Calls(known.run + calls.run, known.revert + calls.revert)

    async def add_all(self, chunks: Chunks) -> None:
        async for _, changes in chunks:
            self.add(changes)
            await asyncio.sleep(0)  # others have their turn while 100,000 records are judged

    def told(self, asked: Asked) -> dict[str, Any]:
        """The answer to a dry run: a flat object. Numbers are null where the target has no calls to count (a database),
        times where it has no limit."""
        worst = max((s.level for s in self._screens.values()), key=_LEVELS.index, default=Reversibility.FULL)
        run, revert = (self._calls.run, self._calls.revert) if self._calls else (None, None)
        return {
            "id": None,
            "status": "dry_run",
            "target": asked.target,
            "resource": asked.resource,
            "action": asked.action,
            "records_total": self._records,
            "reversible": worst.value,
            **{f"reversible_{action}": screen.level.value for action, screen in self._screens.items()},
            "reversible_reasons": sorted(set().union(*(screen.reasons for screen in self._screens.values()))),
            "needs_accept_irreversible": worst is not Reversibility.FULL,
            "side_effects": self._target.side_effects,
            "vendor_calls": run,
            "vendor_calls_of_revert": revert,
            "seconds_at_least": self._seconds(run),
            "seconds_of_revert_at_least": self._seconds(revert),
        }

    def _seconds(self, calls: int | None) -> float | None:
        return None if calls is None else self._target.seconds_for(calls)


async def foresee(guard: Guard, asked: Asked, records: Records | None) -> dict[str, Any]:
    """The answer to an operation's dry run. Where it names a filter, the rows are counted, held until they are.

    Raises Refused, Unavailable. Closes the records.
    """
    target = guard.target(asked.target)
    try:
        forecast = Forecast(target)
        if records:
            await forecast.add_all(records.chunks(target.chunk_records))
        else:
            async with target.work() as work:  # of a database: a connection, which records that are named do not need
                await forecast.add_all(selected(asked, records_max(guard, target), work))
    finally:
        if records:
            records.close()
    return forecast.told(asked)


def _kinds(change: Change) -> Iterator[Change]:
    if change.action is Action.UPSERT:
        yield from (structs.replace(change, action=action) for action in (Action.CREATE, Action.UPDATE))
    else:
        yield change
