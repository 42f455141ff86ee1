"""How many calls an operation and its revert will take, counted beforehand with the handler's own hooks."""

import math
from collections.abc import Sequence

from msgspec.structs import replace

from guard.core.model import (
    Action,
    Change,
    Image,
    Reversibility,
)
from guard.target.base import Ask, Calls, by_resource, keys_of
from guard.target.siblings import Siblings
from handlers.base import Handler


def calls(handler: Handler, ask: Ask, changes: Sequence[Change]) -> Calls:
    """Counted with the handler's own hooks. An upsert counts as the update of a record that is found."""
    finds = len(handler.finds([c for c in changes if c.action is Action.UPSERT and not c.id]))
    counted = _Counted(handler, ask)
    named = [_named(change, f"new{i}") for i, change in enumerate(changes)]
    made = [change for change in named if change.action is Action.CREATE]
    there = [change for change in named if change.action is not Action.CREATE]
    run = finds + counted.reads(there) + counted.lists(named) + counted.writes(named, named)
    back = [c for c in named if handler.reversal(c, None).level is not Reversibility.NONE]
    checks = sum(len(handler.all_attachments(name, ids)) for name, ids in by_resource(keys_of(made)).items())
    undoing = [_undoing(change) for change in back]
    return Calls(run, counted.reads(back) + checks + counted.lists(undoing) + counted.writes(undoing, back))


class _Counted:
    def __init__(self, handler: Handler, ask: Ask) -> None:
        self._handler = handler
        self._siblings = Siblings(handler, ask)

    def lists(self, changes: Sequence[Change]) -> int:
        """The calls that show what is there before something is created."""
        return len(self._siblings.keys(changes))

    def reads(self, changes: Sequence[Change]) -> int:
        """What is created and named by nothing but its list has no id yet; it is read by that list."""
        listed = [change for change in changes if self._siblings.keys([change])]
        others = [change for change in changes if not self._siblings.keys([change])]
        by_ids = by_resource(keys_of(others)).items()
        return self.lists(listed) + sum(len(self._handler.read(resource, ids)) for resource, ids in by_ids)

    def writes(self, changes: Sequence[Change], read_as: Sequence[Change]) -> int:
        """The calls that write, and those that read back what no answer shows. `read_as`: the changes by which it is
        known how their records are read (one that takes back a creation does not say any more where that was)."""
        handler = self._handler
        before: list[Image] = [None if change.action is Action.CREATE else {} for change in changes]
        steps = handler.write(changes, before) if changes else []
        blind = {position: write.blind for step in steps for write in step for position in write.positions}
        # Some calls can only be made with what the record holds: one call each, as far as is known here.
        unknown = [change for i, change in enumerate(changes) if i not in blind]
        sizes = [handler.traits_of(name).write_max for name, ids in by_resource(keys_of(unknown)).items() for _ in ids]
        shown = {i for i, change in enumerate(changes) if not blind.get(i) and self._is_shown(change)}
        writes = sum(map(len, steps)) + math.ceil(sum(1 / size for size in sizes))
        return writes + self.reads([change for i, change in enumerate(read_as) if i not in shown])

    def _is_shown(self, change: Change) -> bool:
        return change.action is Action.UPDATE and self._handler.traits_of(change.resource).answer_carries_image


def _undoing(change: Change) -> Change:
    if change.action is Action.CREATE:
        return replace(change, action=Action.DELETE, fields={})
    back = replace(change, action=Action.CREATE, origin=change.id)
    return back if change.action is Action.DELETE else change


def _named(change: Change, id_: str) -> Change:
    """With an id, though its own is not known yet; an upsert as the update that it may be."""
    action = Action.UPDATE if change.action is Action.UPSERT else change.action
    return replace(change, id=change.id or id_, action=action)
