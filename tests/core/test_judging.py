"""The verdict table of docs/design.md, case by case, and the laws behind it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.compare import Judgement, judge
from guard.core.model import Action, Change, Image, Resource, Verdict
from guard.core.past import Past, asked_values, changed_fields, equal, merge, set_difference

CONTACTS = Resource(
    name="contacts", sets=frozenset({"tags"}), volatile=frozenset({"updated"}), readonly=frozenset({"gender"})
)
FIELDS = ("a", "b", "c")

values = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "x", "y"]))
tags = st.lists(st.sampled_from(["red", "green", "blue"]), unique=True)
images = st.fixed_dictionaries({"a": values, "b": values, "c": values, "tags": tags, "updated": st.integers()})


def same(_: str, asked: Any, found: Any) -> bool:
    return bool(asked == found)


def past(before: Image, after: Image, touched: set[str] | None = None, **members: Any) -> Past:
    fields = frozenset(touched) if touched is not None else None
    return Past(resource="contacts", id="1", before=before, after=after, touched=fields, **members)


def verdict(judgement: Judgement, field: str) -> Verdict:
    return {each.field: each.verdict for each in judgement.fields}[field]


def applied(change: Change | None, image: Image) -> Image:
    """What a perfect target makes of a compensation."""
    if change is None:
        return image
    if change.action is Action.DELETE:
        return None
    if change.action is Action.CREATE:
        return dict(change.fields)
    return {**(image or {}), **asked_values(change, image)}


def judged(what: Past, now: Image, **options: Any) -> Judgement:
    return judge(what, now, CONTACTS, same=same, **options)


class TestUpdate:
    def test_a_field_that_is_as_the_run_left_it_goes_back(self) -> None:
        judgement = judged(past({"a": 1}, {"a": 2}), {"a": 2})

        assert judgement.verdict is Verdict.RESTORE
        assert judgement.compensation == Change(
            resource="contacts", action=Action.UPDATE, id="1", fields={"a": 1}, add={}, remove={}
        )

    def test_a_field_that_is_back_already_is_left(self) -> None:
        judgement = judged(past({"a": 1}, {"a": 2}), {"a": 1})

        assert (judgement.verdict, judgement.compensation) == (Verdict.ALREADY, None)

    def test_a_field_that_somebody_changed_since_is_a_conflict_and_does_not_block_the_others(self) -> None:
        judgement = judged(past({"a": 1, "b": 1}, {"a": 2, "b": 2}), {"a": 9, "b": 2})

        assert judgement.verdict is Verdict.CONFLICT
        assert (verdict(judgement, "a"), verdict(judgement, "b")) == (Verdict.CONFLICT, Verdict.RESTORE)
        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"b": 1}

    def test_force_overrules_the_conflict(self) -> None:
        judgement = judged(past({"a": 1}, {"a": 2}), {"a": 9}, force=True)

        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"a": 1}

    def test_a_field_the_run_did_not_touch_is_never_written(self) -> None:
        judgement = judged(past({"a": 1, "b": 1}, {"a": 2, "b": 5}, touched={"a"}), {"a": 2, "b": 5})

        assert judgement.compensation is not None
        assert set(judgement.compensation.fields) == {"a"}

    def test_what_the_server_keeps_itself_is_no_conflict(self) -> None:
        judgement = judged(past({"a": 1, "updated": 1}, {"a": 2, "updated": 2}), {"a": 2, "updated": 77})

        assert [each.field for each in judgement.fields] == ["a"]

    def test_a_set_goes_back_as_a_difference_so_that_later_additions_stay(self) -> None:
        judgement = judged(past({"tags": ["x", "y"]}, {"tags": ["ruined"]}), {"tags": ["ruined", "hired"]})

        assert judgement.compensation is not None
        assert judgement.compensation.add == {"tags": ("x", "y")}
        assert judgement.compensation.remove == {"tags": ("ruined",)}

    def test_a_field_that_no_api_writes_is_irreversible(self) -> None:
        judgement = judged(past({"gender": "f"}, {"gender": None}), {"gender": None})

        assert (judgement.verdict, judgement.compensation) == (Verdict.IRREVERSIBLE, None)

    def test_a_record_that_is_gone_is_a_conflict(self) -> None:
        assert judged(past({"a": 1}, {"a": 2}), None).verdict is Verdict.CONFLICT

    def test_narrowing_to_a_field_leaves_the_others(self) -> None:
        judgement = judged(past({"a": 1, "b": 1}, {"a": 2, "b": 2}), {"a": 2, "b": 2}, only=frozenset({"b"}))

        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"b": 1}

    def test_true_is_not_one(self) -> None:
        assert changed_fields({"a": True}, {"a": 1}, CONTACTS) == ["a"]


class TestCreateAndDelete:
    def test_a_created_record_is_deleted(self) -> None:
        judgement = judged(past(None, {"a": 1}), {"a": 1, "updated": 5})

        assert judgement.compensation == Change(resource="contacts", action=Action.DELETE, id="1")

    def test_a_created_record_that_was_edited_since_stays(self) -> None:
        judgement = judged(past(None, {"a": 1}), {"a": 2})

        assert (judgement.verdict, judgement.compensation) == (Verdict.CONFLICT, None)

    def test_a_created_record_that_is_gone_is_back_already(self) -> None:
        assert judged(past(None, {"a": 1}), None).verdict is Verdict.ALREADY

    def test_a_deleted_record_is_created_again_and_remembers_its_id(self) -> None:
        judgement = judged(past({"a": 1, "updated": 3}, None), None)

        assert judgement.compensation == Change(resource="contacts", action=Action.CREATE, fields={"a": 1}, origin="1")

    def test_a_deleted_record_that_is_there_again_is_left(self) -> None:
        assert judged(past({"a": 1}, None), {"a": 1}).verdict is Verdict.ALREADY

    def test_a_deleted_record_that_is_there_again_with_other_values_is_a_conflict(self) -> None:
        assert judged(past({"a": 1}, None), {"a": 2}).verdict is Verdict.CONFLICT

    def test_a_deleted_record_that_is_there_again_but_for_what_no_api_writes_is_left(self) -> None:
        judgement = judged(past({"a": 1, "gender": "x"}, None), {"a": 1})

        assert (judgement.verdict, judgement.reason.endswith("gender.")) == (Verdict.ALREADY, True)

    def test_created_and_deleted_in_one_run_is_nothing(self) -> None:
        assert judged(past(None, None), None).verdict is Verdict.ALREADY


class TestInDoubt:
    """`after` is what was there just before the change in doubt; `asked` is what it should have become."""

    def test_not_done_is_back_already(self) -> None:
        what = past({"a": 1}, {"a": 1}, touched={"a"}, asked={"a": 2}, in_doubt=True)

        assert judged(what, {"a": 1}).verdict is Verdict.ALREADY

    def test_done_goes_back(self) -> None:
        what = past({"a": 1}, {"a": 1}, touched={"a"}, asked={"a": 2}, in_doubt=True)

        judgement = judged(what, {"a": 2})

        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"a": 1}

    def test_neither_is_a_conflict(self) -> None:
        what = past({"a": 1}, {"a": 1}, touched={"a"}, asked={"a": 2}, in_doubt=True)

        assert judged(what, {"a": 3}).verdict is Verdict.CONFLICT

    def test_a_deletion_that_did_not_happen_is_back_already(self) -> None:
        assert judged(past({"a": 1}, {"a": 1}, asked=None, in_doubt=True), {"a": 1}).verdict is Verdict.ALREADY

    def test_a_deletion_that_happened_is_undone(self) -> None:
        judgement = judged(past({"a": 1}, {"a": 1}, asked=None, in_doubt=True), None)

        assert judgement.compensation is not None
        assert judgement.compensation.action is Action.CREATE

    def test_a_creation_that_is_not_there_is_nothing(self) -> None:
        assert judged(past(None, None, asked={"a": 1}, in_doubt=True), None).verdict is Verdict.ALREADY

    def test_a_creation_that_is_there_as_asked_is_deleted(self) -> None:
        judgement = judged(past(None, None, asked={"a": 1}, in_doubt=True), {"a": 1, "b": 2})

        assert judgement.compensation is not None
        assert judgement.compensation.action is Action.DELETE

    def test_a_record_that_only_resembles_the_creation_is_left_alone(self) -> None:
        judgement = judged(past(None, None, asked={"a": 1}, in_doubt=True), {"a": 2})

        assert (judgement.verdict, judgement.compensation) == (Verdict.IN_DOUBT, None)


class TestLaws:
    @given(images, images)
    def test_taking_back_restores_every_field_of_the_run(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        compensation = judged(past(before, after), after).compensation

        assert changed_fields(before, applied(compensation, after), CONTACTS) == []

    @given(images, images, images)
    def test_taking_back_twice_is_taking_back_once(
        self, before: dict[str, Any], after: dict[str, Any], now: dict[str, Any]
    ) -> None:
        what = past(before, after)
        once = applied(judged(what, now).compensation, now)

        assert judged(what, once).compensation is None

    @given(images, images, images, st.sets(st.sampled_from([*FIELDS, "tags"])))
    def test_nothing_is_written_that_is_not_as_the_run_left_it(
        self, before: dict[str, Any], after: dict[str, Any], now: dict[str, Any], touched: set[str]
    ) -> None:
        compensation = judged(past(before, after, touched), now).compensation

        if compensation is not None:
            assert compensation.asked() <= touched
            assert all(equal(CONTACTS, name, now[name], after[name]) for name in compensation.fields)
            assert not any(equal(CONTACTS, name, before[name], after[name]) for name in compensation.fields)

    @given(tags, tags, tags)
    def test_a_set_keeps_what_others_added(self, before: list[str], after: list[str], now: list[str]) -> None:
        add, remove = set_difference(before, after, now)

        others = set(now) - set(before) - set(after)
        assert others <= (set(now) | set(add)) - set(remove)

    @given(images, images, images)
    def test_two_changes_of_one_record_go_back_as_one(
        self, first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
    ) -> None:
        merged = merge(past(first, second), past(second, third), CONTACTS)
        compensation = judged(merged, third).compensation

        assert changed_fields(first, applied(compensation, third), CONTACTS) == []


class TestMerging:
    def test_an_edit_between_two_changes_of_other_fields_stays_a_conflict(self) -> None:
        first = past({"a": 1, "b": 1}, {"a": 2, "b": 1}, touched={"a"})
        second = past({"a": 99, "b": 1}, {"a": 99, "b": 2}, touched={"b"})  # somebody set a to 99 in between

        judgement = judged(merge(first, second, CONTACTS), {"a": 99, "b": 2})

        assert verdict(judgement, "a") is Verdict.CONFLICT
        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"b": 1}

    def test_an_edit_that_the_run_overwrote_is_what_goes_back(self) -> None:
        first = past({"a": 1}, {"a": 2}, touched={"a"})
        second = past({"a": 99}, {"a": 3}, touched={"a"})

        judgement = judged(merge(first, second, CONTACTS), {"a": 3})

        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"a": 99}

    def test_update_then_delete_is_created_again_as_before_the_run(self) -> None:
        merged = merge(past({"a": 1}, {"a": 2}, touched={"a"}), past({"a": 2}, None), CONTACTS)

        judgement = judged(merged, None)

        assert judgement.compensation is not None
        assert judgement.compensation.fields == {"a": 1}

    def test_what_came_back_as_it_was_when_it_was_deleted_still_gets_back_what_was_changed_before_that(self) -> None:
        changed, deleted = past({"a": 1, "b": 1}, {"a": 2, "b": 1}, touched={"a"}), past({"a": 2, "b": 1}, None)

        judgement = judged(merge(changed, deleted, CONTACTS), {"a": 2, "b": 1})

        assert judgement.verdict is Verdict.RESTORE
        assert judgement.compensation == Change(resource="contacts", action=Action.UPDATE, id="1", fields={"a": 1})

    def test_what_came_back_and_was_edited_since_is_a_conflict(self) -> None:
        changed, deleted = past({"a": 1, "b": 1}, {"a": 2, "b": 1}, touched={"a"}), past({"a": 2, "b": 1}, None)

        judgement = judged(merge(changed, deleted, CONTACTS), {"a": 2, "b": 5})

        assert (judgement.verdict, judgement.compensation) == (Verdict.CONFLICT, None)

    def test_create_then_update_is_deleted(self) -> None:
        merged = merge(past(None, {"a": 1}), past({"a": 1}, {"a": 2}, touched={"a"}), CONTACTS)

        judgement = judged(merged, {"a": 2})

        assert judgement.compensation is not None
        assert judgement.compensation.action is Action.DELETE

    def test_create_then_delete_is_nothing(self) -> None:
        merged = merge(past(None, {"a": 1}), past({"a": 1}, None), CONTACTS)

        assert judged(merged, None).verdict is Verdict.ALREADY

    @pytest.mark.parametrize("happened", [True, False])
    def test_an_in_doubt_change_is_settled_by_the_next_one_that_read_the_record(self, *, happened: bool) -> None:
        doubtful = past({"a": 1}, {"a": 1}, touched={"a"}, asked={"a": 2}, in_doubt=True)
        read = {"a": 2 if happened else 1, "b": 1}

        merged = merge(doubtful, past(read, {**read, "b": 2}, touched={"b"}), CONTACTS)

        judgement = judged(merged, {**read, "b": 2})
        assert judgement.compensation is not None
        assert judgement.compensation.fields == ({"a": 1, "b": 1} if happened else {"b": 1})
