"""The conformance suite of a target that is a database: no HTTP, no routes, one transaction for each operation."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import pytest

from guard.core.errors import Refused
from guard.core.model import Action, Restore, Reversibility, Status
from guard.target.base import Target
from handlers.base import Traits
from tests.cutting import CutAtCommit
from tests.handlers.samples import Sample, Tried, record
from tests.handlers.undoing import Place, Undoing


class DatabaseConformance(Undoing):
    """The stories that every kind of target tells, and what only a database promises."""

    name: str
    """What the settings call this kind of system."""
    actions: Sequence[str]
    traits: Traits

    @classmethod
    def system(cls) -> str:
        return cls.name

    def actions_of(self, resource: str) -> Sequence[str]:
        del resource
        return self.actions

    def is_final(self, sample: Sample, action: str) -> bool:
        """A transaction's rows can all be written back."""
        del sample, action
        return False

    @abstractmethod
    def target(self, world: Any) -> Target:
        """What Guard works with in this world."""

    # Traits and behaviour agree

    async def test_the_work_is_isolated_and_a_deleted_row_comes_back_under_its_own_id(
        self, world: Place, sample: Sample
    ) -> None:
        assert (self.traits.isolated, self.traits.restore_deleted) == (True, Restore.SAME_ID)
        target = self.target(world)
        await target.resource(sample.resource)
        deletion = target.change(sample.resource, "delete", record(sample, "delete"))
        assert target.reversal(deletion, None).level is Reversibility.FULL
        await self.assert_nobody_else_writes(world, sample)

    @abstractmethod
    async def assert_nobody_else_writes(self, world: Any, sample: Sample) -> None:
        """While a work has read the sample's record, an edit of somebody else has to wait."""

    async def test_an_updates_outcome_is_what_is_there_afterwards(self, world: Place, sample: Sample) -> None:
        target = self.target(world)
        (outcome,), found = await self._written(target, sample, [record(sample, "update")])
        assert (outcome.status, outcome.sealed, outcome.after) == (Status.APPLIED, True, found[sample.id])

    # Images and outcomes

    async def test_images_answer_exactly_what_was_asked(self, world: Place, sample: Sample) -> None:
        target, rows = self.target(world), (await self.held(world))[sample.resource]
        await target.resource(sample.resource)
        asked = [sample.absent, *rows]
        images = await target.read(sample.resource, asked)
        assert sorted(images) == sorted(asked)
        assert [id_ for id_ in asked if images[id_] is None] == [sample.absent]
        columns = set(rows[sample.id])
        assert {frozenset(image) for image in images.values() if image} == {frozenset(columns)}

    async def test_outcomes_are_total_one_for_each_change_in_their_order(self, world: Place, sample: Sample) -> None:
        target = self.target(world)
        absent = {"id": sample.absent, "fields": dict(sample.update)}
        known = record(sample, "update")
        outcomes, _ = await self._written(target, sample, [absent, known, known])
        told = [(outcome.status, outcome.failure.code if outcome.failure else None) for outcome in outcomes]
        assert told == [(Status.FAILED, "not_found"), (Status.APPLIED, None), (Status.FAILED, "duplicate_record")]

    async def test_one_change_for_each_record_in_the_tables_own_words(self, world: Place, tried: Tried) -> None:
        (sample, action), target = tried, self.target(world)
        await target.resource(sample.resource)
        change = target.change(sample.resource, action, record(sample, action))
        assert (change.action, change.id or action) == (Action(action), "create" if action == "create" else sample.id)

    async def test_a_column_that_is_not_there_is_refused_and_nothing_is_written(
        self, world: Place, sample: Sample
    ) -> None:
        target, before = self.target(world), await self.held(world)
        await target.resource(sample.resource)
        for action in self.offered(sample, "update", "create", "upsert"):
            made = record(sample, action)
            with pytest.raises(Refused, match="neverHeardOf"):
                target.change(sample.resource, action, {**made, "fields": {**made["fields"], "neverHeardOf": "x"}})
        assert await self.held(world) == before

    async def _written(self, target: Target, sample: Sample, records: Sequence[Any]) -> Any:
        """Outcomes of an update without the journal, and what is there afterwards."""
        await target.resource(sample.resource)
        changes = [target.change(sample.resource, "update", each) for each in records]
        async with target.work() as work:
            touched = await work.before(changes)
            outcomes = await work.after(touched, await work.write(touched))
            await work.commit()
        return outcomes, await target.read(sample.resource, [sample.id])

    # In doubt: the connection is cut at the commit

    @abstractmethod
    def between(self, world: Any) -> CutAtCommit:
        """What stands between Guard and the database."""

    async def test_a_commit_that_never_arrived_has_written_nothing(self, world: Place, tried: Tried) -> None:
        (sample, action), before = tried, await self.held(world)
        self.between(world).cut = "before"
        told = await self.asked(world, sample, action)
        assert (told["status"], told["written"], await self.held(world)) == (503, "nothing", before)

    async def test_a_commit_whose_answer_is_lost_is_known_to_be_done_and_is_taken_back(
        self, world: Place, tried: Tried
    ) -> None:
        (sample, action), before = tried, await self.held(world)
        self.between(world).cut = "after"
        answer = await self.operate(world, sample, action)
        assert await self.held(world) != before

        report = await world.revert(answer)

        assert (report["status"], await self.held(world)) == ("reverted", before)

    @pytest.mark.parametrize("cut", ["before", "after"])
    async def test_a_commit_that_nobody_can_tell_about_is_in_doubt_until_the_database_is_back(
        self, world: Place, sample: Sample, cut: str
    ) -> None:
        before, between = await self.held(world), self.between(world)
        between.cut, between.deaf = cut, True
        answer = await self.asked(world, sample, "update")
        assert (answer["records_applied"], answer["records_in_doubt"]) == (0, 1)
        between.mend()
        done = await self.held(world) != before
        assert done == (cut == "after")

        report = await world.revert(answer)

        assert (report["status"], report["records_restored"], await self.held(world)) == ("reverted", int(done), before)
