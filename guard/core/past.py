"""What a run did to one record: its changes merged, in-doubt ones settled by what is there now."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from guard.core.model import Change, Fields, Image, Resource

Same = Callable[[str, Any, Any], bool]
"""(field, asked, found): is what was found what was asked for, on the vendor's terms?"""


class Past(Struct, gc=False, frozen=True, kw_only=True, omit_defaults=True):
    """What a run did to one record, all its changes merged: first before, last after."""

    resource: str
    id: str
    before: Image
    after: Image
    touched: frozenset[str] | None
    """Fields that are the run's; None: every difference is (a record created or deleted, or a locked write)."""
    asked: Mapping[str, Any] | None = field(default_factory=dict)
    """Where in doubt: the values asked for (sets: the whole set that should have come of it); None: a deletion."""
    in_doubt: bool = False
    """The last change may or may not have happened; `after` is then what was there just before it."""
    gone: Image = None
    """Of a deletion: the record as it was just before it, if the run had changed it before that."""
    lost: str = ""
    """Why this can in no case be taken back, in words for the report."""
    between: bool = False
    """Of a bracket: changed between checkpoint and seal, by the scenario or by others."""
    follow: tuple[str, ...] = ()
    """Of a bracket: fields that differ, that no API writes, and that may go back with those that do."""
    unsealed: bool = False
    """Of a bracket: `after` is not known; what is there now stands for it."""


def changed_fields(before: Image, after: Image, resource: Resource) -> list[str]:
    """Fields that differ, in a stable order; the server's own are left out."""
    old, new = before or {}, after or {}
    return sorted(
        name
        for name in {**old, **new}
        # Most are equal in every respect, and found so at once.
        if ((one := old.get(name)) != (other := new.get(name)) or type(one) is not type(other))
        and name not in resource.volatile
        and not equal(resource, name, one, other)
    )


def equal(resource: Resource, name: str, one: Any, other: Any) -> bool:
    if name in resource.sets:
        return members(one) == members(other)
    # True == 1 == 1.0 in Python; a vendor that changed a number into a flag did change it.
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def members(value: Any) -> frozenset[str]:
    return frozenset(value or ())


def set_difference(before: Any, after: Any, now: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Members to add and to remove so that only what the run did to a set is taken back."""
    old, new, current = members(before), members(after), members(now)
    return tuple(sorted((old - new) - current)), tuple(sorted((new - old) & current))


def asked_values(change: Change, before: Image) -> dict[str, Any]:
    """What the change's fields should hold afterwards; of a set, all its members."""
    old = before or {}
    asked = dict(change.fields)
    for name in frozenset(change.add) | frozenset(change.remove):
        kept = members(old.get(name)) - members(change.remove.get(name))
        asked[name] = sorted(kept | members(change.add.get(name)))
    return asked


def merge(earlier: Past, later: Past, resource: Resource) -> Past:
    """Two changes of one record in one run as one: first before, last after, field by field.

    Only fields that a change moved are taken from it, so an edit that somebody made between the two stays visible:
    as a conflict where the run did not touch the field again, as the value to go back to where it did.
    """
    earlier = _as_it_turned_out(earlier, later)
    if earlier.between:
        later = replace(later, between=True, follow=tuple(sorted({*earlier.follow, *later.follow})))
    if later.before is None:
        return replace(later, before=earlier.before)
    if later.unsealed:
        return replace(later, before=_first_before(earlier, later, resource, frozenset()))
    if later.after is None and not later.in_doubt:
        later = replace(later, gone=later.gone or later.before)
    if later.in_doubt:
        return replace(later, before=_first_before(earlier, later, resource, frozenset(later.asked or ())))
    moved = frozenset(moved_fields(later, resource))
    before = _first_before(earlier, later, resource, moved)
    if later.after is None:
        return replace(later, before=before)
    after = {**(earlier.after or {}), **{name: later.after.get(name) for name in moved}}
    return replace(later, before=before, after=after, touched=frozenset(moved_fields(earlier, resource)) | moved)


def _as_it_turned_out(earlier: Past, later: Past) -> Past:
    """A change of which not all is known, followed by a read of the same record: the read tells what it did."""
    if earlier.unsealed:
        return replace(earlier, unsealed=False, after=later.before)
    if not earlier.in_doubt:
        return earlier
    if earlier.asked is None or earlier.after is None or later.before is None:
        return replace(earlier, in_doubt=False, after=later.before)
    told = {name: later.before.get(name) for name in earlier.asked}
    return replace(earlier, in_doubt=False, after={**earlier.after, **told})


def _first_before(earlier: Past, later: Past, resource: Resource, moved: frozenset[str]) -> Image:
    if earlier.before is None:
        return None
    between = later.before or {}
    before = dict(between)
    for name in moved_fields(earlier, resource):
        first, then = earlier.before.get(name), (earlier.after or {}).get(name)
        if name in resource.sets:
            added, removed = members(then) - members(first), members(first) - members(then)
            before[name] = sorted((members(between.get(name)) - added) | removed)
        elif name not in moved or equal(resource, name, between.get(name), then):
            before[name] = first
    return before


def moved_fields(past: Past, resource: Resource) -> list[str]:
    """The fields that are the run's and that it changed."""
    names = changed_fields(past.before, past.after, resource)
    return names if past.touched is None else [name for name in names if name in past.touched]


def settle(past: Past, now: Image, resource: Resource, same: Same) -> Past | None:
    """Decide by reading what an in-doubt change did. None: a record that may be the run's creation, or not."""
    if past.asked is None:
        return replace(past, in_doubt=False, after=None if now is None else past.after)
    if past.after is None:
        as_asked = now is None or _as_asked(past.asked, now, resource, same)
        return replace(past, in_doubt=False, after=now) if as_asked else None
    if now is None:
        return replace(past, in_doubt=False, after={**past.after, **past.asked})
    after = dict(past.after)
    for name, value in past.asked.items():
        found = now.get(name)
        if not equal(resource, name, found, past.after.get(name)):
            after[name] = found if same(name, value, found) else value
    if _as_asked(past.asked, now, resource, same):  # then what the vendor derives from it is the run's, too
        after |= {name: now.get(name) for name in past.touched or ()}
    return replace(past, in_doubt=False, after=after)


def _as_asked(asked: Fields, now: Fields, resource: Resource, same: Same) -> bool:
    return all(
        members(now.get(name)) == members(value) if name in resource.sets else same(name, value, now.get(name))
        for name, value in asked.items()
    )
