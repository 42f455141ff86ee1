"""A bracket's records: what is known of one at the checkpoint, and what the seal says of it.

Between the two others wrote. What differs is taken for the scenario's, since nothing tells it from anybody else's, and
is called "changed between checkpoint and seal" and not "changed by the run".
"""

from msgspec.structs import replace

from guard.core.model import Action, Change, Failure, Image, Outcome, Resource, Reversal, Reversibility, Status, Touched
from guard.core.past import changed_fields

NOT_SEALED = Failure("not_sealed", "What it held after the checkpoint is not known: the checkpoint is not sealed.")
UNREADABLE = Failure("unreadable", "It could not be read at the seal; a revert reads it again.")

NOT_TOLD = Reversal(
    Reversibility.PARTIAL, "Changes by others between checkpoint and seal cannot be told from the scenario's."
)
"""Why a bracket is never called reversible in full."""


def watched(resource: str, id_: str, image: Image) -> Touched:
    """A record at the checkpoint; None: it does not exist. What will be done to it is not known."""
    return Touched(Change(resource=resource, action=Action.UPDATE, id=id_), image)


def sealed(touched: Touched, id_: str, now: Image, resource: Resource) -> Outcome:
    """What the seal says of a record."""
    same = (touched.before is None) == (now is None) and not changed_fields(touched.before, now, resource)
    if same:
        return Outcome(status=Status.UNCHANGED, id=id_)
    return Outcome(status=Status.APPLIED, id=id_, after=now, sealed=True)


def told(touched: Touched, outcome: Outcome) -> Touched:
    """The record with the change that must have happened to it, as an operation would have asked for it."""
    before, after, change = touched.before, outcome.after, touched.change
    if outcome.status is not Status.APPLIED:
        return touched
    if before is None:
        return replace(touched, change=replace(change, action=Action.CREATE, id=None, fields=after or {}))
    if after is None:
        return replace(touched, change=replace(change, action=Action.DELETE))
    fields = {name: after.get(name) for name in sorted({**before, **after}) if before.get(name) != after.get(name)}
    return replace(touched, change=replace(change, fields=fields))
