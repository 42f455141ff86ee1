"""What a seal finds out about a record, from its two images alone."""

from typing import Any

import pytest

from guard.core.bracket import sealed, told, watched
from guard.core.model import Action, Image, Resource, Status

CONTACTS = Resource(name="contacts", sets=frozenset({"tags"}), volatile=frozenset({"updated"}))
ANN = {"name": "Ann", "city": "Rome", "tags": ["a", "b"], "updated": "1"}
BEA = {"name": "Bea", "tags": ["a", "b"]}

FOUND: dict[str, tuple[Image, Image, Action, dict[str, Any]]] = {
    "changed, and a field emptied": (ANN, BEA, Action.UPDATE, {"name": "Bea", "city": None}),
    "created": (None, ANN, Action.CREATE, ANN),
    "deleted": (ANN, None, Action.DELETE, {}),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_change_that_must_have_happened_is_told(name: str) -> None:
    before, now, action, fields = FOUND[name]
    touched = watched("contacts", "1", before)
    outcome = sealed(touched, "1", now, CONTACTS)
    found = told(touched, outcome)

    assert (outcome.status, outcome.id, outcome.after, outcome.sealed) == (Status.APPLIED, "1", now, True)
    assert (found.change.action, found.before) == (action, before)
    assert {**found.change.fields, "updated": None} == {**fields, "updated": None}


@pytest.mark.parametrize("now", [ANN, {**ANN, "updated": "2"}, {**ANN, "tags": ["b", "a"]}])
def test_what_the_vendor_keeps_itself_and_the_order_of_a_set_are_no_change(now: Image) -> None:
    touched = watched("contacts", "1", ANN)
    outcome = sealed(touched, "1", now, CONTACTS)

    assert (outcome.status, told(touched, outcome)) == (Status.UNCHANGED, touched)


def test_a_record_that_never_was_there_is_unchanged() -> None:
    assert sealed(watched("contacts", "1", None), "1", None, CONTACTS).status is Status.UNCHANGED


def test_an_empty_record_that_came_or_went_did_change() -> None:
    assert sealed(watched("contacts", "1", None), "1", {}, CONTACTS).status is Status.APPLIED
    assert sealed(watched("contacts", "1", {}), "1", None, CONTACTS).status is Status.APPLIED
