"""The stories that every kind of target tells, an API or a database: what is done through a running Guard is taken
back, whatever others did meanwhile."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx2
import pytest

from tests.handlers.samples import Member, Sample, State, Tried, record


class Place(Protocol):
    """A Guard in front of a target named `crm`, and what else can be done to the target."""

    @property
    def http(self) -> httpx2.AsyncClient: ...

    async def operate(self, action: str, records: Any, *, status: int = 200, **members: Any) -> dict[str, Any]: ...

    async def revert(self, answer: dict[str, Any], *, status: int = 200, **body: Any) -> dict[str, Any]: ...

    async def edit(self, resource: str, id_: str, fields: dict[str, Any] | None) -> None:
        """A person's edit; None deletes the record."""
        ...


class Undoing(Member):
    """The part of the conformance suite that knows only records, operations and reverts.

    A class that joins has a fixture `world` that is a Place.
    """

    @abstractmethod
    async def held(self, world: Any) -> State:
        """A copy of all that the target holds, without its own times, sets in one order."""

    @abstractmethod
    async def begin_anew(self, world: Any) -> None:
        """Have the target hold what it held at the start."""

    @abstractmethod
    def is_final(self, sample: Sample, action: str) -> bool:
        """Can nobody take this back: the deletion of what no API restores, the creation of what none deletes?"""

    def given(self) -> dict[str, Sequence[Any]]:
        known = super().given()
        tried, samples = known["tried"], known["sample"]
        return {
            **known,
            "returning": [(sample, action) for sample, action in tried if not self.is_final(sample, action)],
            "upserted": [sample for sample in samples if self.offered(sample, "upsert")],
            "created": [each for each in self.offering("create") if not self.is_final(each, "create")],
        }

    async def test_every_action_of_the_bulk_door_is_taken_back(self, world: Place, returning: Tried) -> None:
        (sample, action), before = returning, await self.held(world)
        answer = await self.operate(world, sample, action)
        assert await self.held(world) != before

        report = await world.revert(answer)

        assert (report["status"], report["records_restored"], report["records_failed"]) == ("reverted", 1, 0)
        self.assert_back(sample, action, before, await self.held(world))

    async def test_taking_back_twice_is_taking_back_once(self, world: Place, returning: Tried) -> None:
        sample, action = returning
        answer = await self.operate(world, sample, action)
        await world.revert(answer)
        once = await self.held(world)

        again = await world.revert(answer)

        told = (again["records_restored"], again["records_failed"], await self.held(world))
        assert told == (0, 0, once)
        # What no API brings back with a deleted record is told at each look: it is not as it was.
        assert again["records_already"] == 1 or (action == "delete" and sample.lost)

    async def test_what_was_emptied_is_filled_and_what_was_empty_is_empty_again(self, world: Place) -> None:
        """That the two come back tells the story of each action; this tells that the samples have both."""
        emptied, filled = set(), set()
        for sample in self.samples:
            before = (await self.held(world))[sample.resource][sample.id]
            await self.operate(world, sample, "update")
            after = (await self.held(world))[sample.resource][sample.id]
            emptied |= {name for name in _flat(before) if not _flat(after).get(name)}
            filled |= {name for name in _flat(after) if not _flat(before).get(name)}
        assert (emptied != set(), filled != set()) == (True, True)

    async def test_an_upsert_that_finds_nothing_creates_and_is_taken_back(self, world: Place, upserted: Sample) -> None:
        sample, before = upserted, await self.held(world)
        answer = await world.operate("upsert", [{"fields": dict(sample.create)}], resource=sample.resource)
        assert len((await self.held(world))[sample.resource]) == len(before[sample.resource]) + 1

        report = await world.revert(answer)

        assert (report["status"], await self.held(world)) == ("reverted", before)

    async def test_a_record_that_is_not_there_fails_alone_and_the_other_is_taken_back(
        self, world: Place, sample: Sample
    ) -> None:
        before, fields = await self.held(world), dict(sample.update)
        records = [{"id": sample.id, "fields": fields}, {"id": sample.absent, "fields": fields}]
        answer = await world.operate("update", records, resource=sample.resource)
        told = (answer["status"], answer["records_applied"], [each["id"] for each in answer["failures"]])
        assert told == ("partial", 1, [sample.absent])

        report = await world.revert(answer)

        assert (report["status"], report["records_restored"], await self.held(world)) == ("reverted", 1, before)

    async def test_an_id_of_another_kind_of_record_is_refused_or_not_found_and_nothing_is_written(
        self, world: Place, sample: Sample
    ) -> None:
        before = await self.held(world)
        for other in self.samples:
            if other.id in before[sample.resource]:
                continue  # the same record, or one that has the same number
            reply = await world.http.post("/v1/operations", json=self.operation(sample, "update", id=other.id))
            told = reply.json()
            assert (reply.status_code, await self.held(world)) == (422, before)
            codes = [told["code"], *(each["code"] for each in told.get("failures", []))]
            assert codes in (["invalid_record"], ["operation_failed", "not_found"])

    @pytest.mark.parametrize(("edited", "conflicts"), [("others", 0), ("theirs", 1), ("both", 1)])
    async def test_edits_of_others_survive_and_only_the_same_field_is_a_conflict(
        self, world: Place, sample: Sample, edited: str, conflicts: int
    ) -> None:
        edits = {"others": [sample.others], "theirs": [sample.theirs], "both": [sample.theirs, sample.others]}[edited]
        for edit in edits:
            await world.edit(sample.resource, sample.id, dict(edit))
        expected = await self.held(world)
        await self.begin_anew(world)
        answer = await self.operate(world, sample, "update")
        for edit in edits:
            await world.edit(sample.resource, sample.id, dict(edit))

        report = await world.revert(answer)

        assert (report["records_conflicted"], report["status"] == "reverted") == (conflicts, not conflicts)
        assert await self.held(world) == expected

    async def test_a_record_that_others_deleted_is_left_deleted(self, world: Place, sample: Sample) -> None:
        answer = await self.operate(world, sample, "update")
        await world.edit(sample.resource, sample.id, None)
        expected = await self.held(world)

        report = await world.revert(answer)

        assert (report["records_conflicted"], await self.held(world)) == (1, expected)

    async def test_a_created_record_that_others_worked_on_is_left(self, world: Place, created: Sample) -> None:
        sample, before = created, (await self.held(world))[created.resource]
        answer = await self.operate(world, sample, "create")
        (made,) = set((await self.held(world))[sample.resource]) - set(before)
        await world.edit(sample.resource, made, dict(sample.others))
        expected = await self.held(world)

        report = await world.revert(answer)

        assert (report["records_conflicted"], await self.held(world)) == (1, expected)

    async def test_a_revert_can_be_taken_back_and_that_again(self, world: Place, sample: Sample) -> None:
        before = await self.held(world)
        answer = await self.operate(world, sample, "update")
        after = await self.held(world)

        redo = await world.revert(await world.revert(answer))
        assert await self.held(world) == after
        undo = await world.revert(redo)

        assert (redo["status"], undo["status"], await self.held(world)) == ("reverted", "reverted", before)

    async def test_a_dry_run_changes_nothing_and_says_how_far_it_would_go_back(
        self, world: Place, tried: Tried
    ) -> None:
        (sample, action), before = tried, await self.held(world)
        told = await self.asked(world, sample, action, dry_run=True)
        assert (told["status"], await self.held(world)) == ("dry_run", before)
        assert (told["reversible"] == "none") == self.is_final(sample, action)

    async def operate(self, world: Place, sample: Sample, action: str) -> dict[str, Any]:
        answer = await self.asked(world, sample, action)
        assert (answer["status"], answer["failures"]) == ("applied", []), str(answer)
        return answer

    async def asked(
        self, world: Place, sample: Sample, action: str, *, accept: bool = True, dry_run: bool = False
    ) -> dict[str, Any]:
        """Answer or problem of the sample's operation."""
        how = {"accept_irreversible": accept, "dry_run": dry_run}
        reply = await world.http.post("/v1/operations", json={**self.operation(sample, action), **how})
        return dict(reply.json())

    def operation(self, sample: Sample, action: str, **named: Any) -> dict[str, Any]:
        """The body of POST /v1/operations. `named` are members of its one record, in place of the sample's own."""
        records = [{**record(sample, action), **named}]
        return {"target": "crm", "resource": sample.resource, "action": action, "records": records}

    def assert_back(self, sample: Sample, action: str, before: State, now: State) -> None:
        """Everything is as it was."""
        del sample, action
        assert now == before


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that hold something, those of custom fields among them."""
    inner = {
        f"{name}.{key}": each for name, value in row.items() if isinstance(value, dict) for key, each in value.items()
    }
    return {name: value for name, value in {**row, **inner}.items() if value not in (None, "", [], {})}
