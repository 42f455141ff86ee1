"""Judging a record at revert: what goes back, what is there already, what others changed since.

The post-image is what was read back, never what was sent. A field is the run's to take back only where what is
there now equals the post-image; sets are taken back as differences, so later additions of others stay.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from guard.core.model import Action, Change, Fields, Image, Resource, Verdict
from guard.core.past import Past, Same, changed_fields, equal, set_difference, settle


class FieldVerdict(Struct, gc=False, frozen=True, array_like=True):
    field: str
    verdict: Verdict
    before: Any
    after: Any
    now: Any


class Judgement(Struct, gc=False, frozen=True, omit_defaults=True):
    """The verdict on one record, its fields', and the one change that takes it back (None: nothing to write)."""

    verdict: Verdict
    reason: str = ""
    fields: tuple[FieldVerdict, ...] = ()
    compensation: Change | None = None


class JudgedLine(NamedTuple):
    """A judgement as it is stored: with its record, and without the compensation, which has a line of its own."""

    resource: str
    id: str
    title: str
    """What people call the record."""
    judgement: Judgement


def judge(
    past: Past, now: Image, resource: Resource, *, same: Same, force: bool = False, only: frozenset[str] | None = None
) -> Judgement:
    """What a revert does with one record. `only` narrows it to some fields; `force` overrules conflicts."""
    if past.lost:
        return Judgement(Verdict.IRREVERSIBLE, past.lost)
    if past.in_doubt:
        settled = settle(past, now, resource, same)
        if settled is None:
            return Judgement(Verdict.IN_DOUBT, "It is not certain that this record is the one the run created.")
        past = settled
    match (past.before, past.after):
        case (None, None):
            return Judgement(Verdict.ALREADY, "The run created the record and deleted it again.")
        case (None, _):
            return _undo_create(past, now, resource, force=force)
        case (_, None):
            return _undo_delete(past, now, resource)
        case _:
            return _undo_update(past, now, resource, force=force, only=only)


def _undo_create(past: Past, now: Image, resource: Resource, *, force: bool) -> Judgement:
    if now is None:
        return Judgement(Verdict.ALREADY, "The record is gone.")
    since = changed_fields(past.after, now, resource)
    if since and not force:
        fields = tuple(_verdict(name, Verdict.CONFLICT, past, now) for name in since)
        return Judgement(Verdict.CONFLICT, "The record was changed after the run created it.", fields)
    deletion = Change(resource=past.resource, action=Action.DELETE, id=past.id)
    return Judgement(Verdict.RESTORE, "The run created the record; it is deleted.", (), deletion)


def _undo_delete(past: Past, now: Image, resource: Resource) -> Judgement:
    if now is not None:
        other = changed_fields(past.before, now, resource)
        if not other:
            return Judgement(Verdict.ALREADY, "The record is there again.")
        if resource.readonly.issuperset(other):  # as after a revert before this one: there is nothing left to write
            kept = ", ".join(sorted(other))
            return Judgement(Verdict.ALREADY, f"The record is there again, but for what no API writes: {kept}.")
        if past.gone and not changed_fields(past.gone, now, resource):
            # It came back as it was when the run deleted it: what the run had changed before is still to be undone.
            return _undo_update(replace(past, after=past.gone), now, resource, force=False, only=None)
        fields = tuple(_verdict(name, Verdict.CONFLICT, past, now) for name in other)
        return Judgement(Verdict.CONFLICT, "The record is there again, with other values.", fields)
    creation = Change(
        resource=past.resource,
        action=Action.CREATE,
        fields={name: value for name, value in (past.before or {}).items() if name not in resource.volatile},
        origin=past.id,
    )
    return Judgement(Verdict.RESTORE, "The run deleted the record; it is brought back.", (), creation)


def _undo_update(past: Past, now: Image, resource: Resource, *, force: bool, only: frozenset[str] | None) -> Judgement:
    names = [n for n in changed_fields(past.before, past.after, resource) if past.touched is None or n in past.touched]
    if only is not None:
        names = [n for n in names if n in only]
    if now is None:
        gone = tuple(_verdict(name, Verdict.CONFLICT, past, now) for name in names)
        return Judgement(Verdict.CONFLICT, "The record was deleted after the run.", gone)
    verdicts = tuple(_judge_field(name, past, now, resource, force) for name in names)
    return Judgement(_overall(verdicts), "", verdicts, _compensation(past, resource, verdicts))


def _judge_field(name: str, past: Past, now: Fields, resource: Resource, force: bool) -> FieldVerdict:
    before, after, current = (past.before or {}).get(name), (past.after or {}).get(name), now.get(name)
    if name in resource.sets:
        add, remove = set_difference(before, after, current)
        verdict = Verdict.RESTORE if add or remove else Verdict.ALREADY
    elif equal(resource, name, current, before):
        verdict = Verdict.ALREADY
    elif equal(resource, name, current, after) or force:
        verdict = Verdict.RESTORE
    else:
        verdict = Verdict.CONFLICT
    if verdict is Verdict.RESTORE and name in resource.readonly:
        verdict = Verdict.IRREVERSIBLE
    return FieldVerdict(name, verdict, before, after, current)


def _compensation(past: Past, resource: Resource, verdicts: Iterable[FieldVerdict]) -> Change | None:
    fields: dict[str, Any] = {}
    add: dict[str, tuple[str, ...]] = {}
    remove: dict[str, tuple[str, ...]] = {}
    for each in verdicts:
        if each.verdict is not Verdict.RESTORE:
            continue
        if each.field not in resource.sets:
            fields[each.field] = each.before
            continue
        added, removed = set_difference(each.before, each.after, each.now)
        if added:
            add[each.field] = added
        if removed:
            remove[each.field] = removed
    if not (fields or add or remove):
        return None
    return Change(resource=past.resource, action=Action.UPDATE, id=past.id, fields=fields, add=add, remove=remove)


_GRAVEST_FIRST = (Verdict.CONFLICT, Verdict.IRREVERSIBLE, Verdict.IN_DOUBT, Verdict.RESTORE)


def _overall(verdicts: Iterable[FieldVerdict]) -> Verdict:
    """One conflict makes the record a conflict in the count, though its other fields go back."""
    found = {verdict.verdict for verdict in verdicts}
    for verdict in _GRAVEST_FIRST:
        if verdict in found:
            return verdict
    return Verdict.ALREADY


def _verdict(name: str, verdict: Verdict, past: Past, now: Image) -> FieldVerdict:
    return FieldVerdict(
        name, verdict, (past.before or {}).get(name), (past.after or {}).get(name), (now or {}).get(name)
    )
