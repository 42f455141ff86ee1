"""What is done through a running Guard is taken back, whatever others, the vendor or the network did meanwhile."""

import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

import handlers
from guard.assembly import assemble
from guard.core.model import Action, Change, Restore, Reversibility
from guard.settings import LimitSettings
from handlers.base import Call
from scenarios.sandboxes.common import Row
from tests.handlers.joining import Joining, Passed, Served
from tests.handlers.samples import ACTIONS, Sample, State, Tried
from tests.handlers.undoing import Undoing
from tests.handlers.vendor_spec import required
from tests.world import World, guarded, path_of, settings

LOST_ANSWERS: list[dict[str, Any]] = [
    # done, and not told
    {"kind": "done_then_status", "status": 500},
    {"kind": "done_then_status", "status": 504},
    {"kind": "done_then_html"},
    {"kind": "drop_after"},
    {"kind": "half_json"},
    {"kind": "empty"},
    # not done, and not told; or told otherwise
    {"kind": "drop_before"},
    {"kind": "html"},
    {"kind": "status", "status": 503},
    {"kind": "ok_not_done"},
]

_UNHURRIED = LimitSettings(requests=10_000, per_s=1.0, concurrency=10)


class TakingBack(Undoing, Joining):
    """The part of the conformance suite that has a Guard in front of the sandbox."""

    def given(self) -> dict[str, Sequence[Any]]:
        known = super().given()
        return {**known, "final": [each for each in known["tried"] if each not in known["returning"]]}

    async def held(self, world: World) -> State:
        return self.state(world)

    async def begin_anew(self, world: World) -> None:
        world.sandbox.reset()

    @pytest.fixture
    async def world(self, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
        """Guard in front of the sandbox, put together as it always is, by the settings and the registry; it does not
        wait for a vendor's limits, which this sandbox has none of."""
        monkeypatch.setitem(handlers.HANDLERS, self.handler.name, type(self.handler))
        served.sandbox.reset()
        made = settings(f"file:{tmp_path}/store", served.url)
        chosen = {"handler": self.handler.name, "options": self.options, "limits": _UNHURRIED}
        targets = {name: target.model_copy(update=chosen) for name, target in made.targets.items()}
        guard = assemble(made.model_copy(update={"targets": targets}))
        async with guarded(guard, served.sandbox, served.url) as world:
            yield world
        self.refuse_unlike_spec(served)

    async def test_all_that_is_sent_and_answered_is_as_the_vendors_own_files_have_it(
        self, world: World, served: Served
    ) -> None:
        """Each action and its revert, and each of the vendor's own requests. (Whatever else this suite sends is looked
        at, too, at the end of its test.)"""
        spec = required(self.spec)
        for sample in self.samples:
            for action in self.handler.actions[sample.resource]:
                if action in ACTIONS:
                    world.sandbox.reset()
                    await world.revert(await self.operate(world, sample, action))
        for passed in self.passed:
            world.sandbox.reset()
            await self.through(world, passed, accept="true")
        assert len({(each.method, each.path) for each in served.exchanges}) > len(self.samples)
        wrong = {each for exchange in served.exchanges for each in spec.violations(exchange)}
        assert not wrong, "\n".join(sorted(wrong))

    async def test_a_dry_run_tells_no_more_calls_than_are_made(self, world: World, tried: Tried) -> None:
        (sample, action), log = tried, world.sandbox.log.entries
        await self.asked(world, sample, action, dry_run=True)  # definitions of fields are read once
        asked = len(log)
        told = await self.asked(world, sample, action, dry_run=True)
        assert len(log) == asked

        ran = await self.operate(world, sample, action)
        made = len(log) - asked
        await world.revert(ran)

        assert (told["vendor_calls"], told["status"]) == (made, "dry_run")
        assert told["vendor_calls_of_revert"] <= len(log) - asked - made

    async def test_what_nobody_can_take_back_is_told_and_left(self, world: World, final: Tried) -> None:
        before = self.state(world)
        answer = await self.operate(world, *final)
        assert self.state(world) != before
        await self.assert_left(world, answer)

    async def test_what_cannot_be_taken_back_whole_is_refused_unless_accepted(self, world: World) -> None:
        before = self.state(world)
        for sample in self.samples:
            for action in self.handler.actions[sample.resource]:
                if action in ACTIONS and self.level([self.change(sample, action)]) is not Reversibility.FULL:
                    refused = await self.asked(world, sample, action, accept=False)
                    assert (refused["code"], self.state(world)) == ("irreversible", before)
        assert await self.asked_of(world) == []

    async def test_the_vendors_own_requests_are_taken_back_as_far_as_the_handler_says(
        self, world: World, passed: Passed
    ) -> None:
        before, level = self.state(world), self.level(self.changes(passed))
        if level is not Reversibility.FULL:
            refused = await self.through(world, passed)
            assert (refused.json()["code"], await self.asked_of(world)) == ("irreversible", [])
        reply = await self.through(world, passed, accept="true")
        assert (reply.status_code // 100, self.state(world) != before) == (2, True)

        if level is Reversibility.NONE:
            await self.assert_left(world, {"revert_url": reply.headers["guard-revert-url"]})
            return
        report = await world.revert({"revert_url": reply.headers["guard-revert-url"]})

        assert report["status"] == "reverted"
        if level is Reversibility.FULL:
            assert self.state(world) == before
            return
        (sample,) = (sample for sample in self.samples if sample.resource == self.changes(passed)[0].resource)
        self.assert_back(sample, "delete", before, self.state(world))

    async def test_what_no_route_names_is_refused_and_does_not_reach_the_vendor(self, world: World) -> None:
        paths = {passed.path for passed in self.passed} | {"/", "/neverHeardOf", "/neverHeardOf/x"}
        paths |= {f"{path}/neverHeardOf" for path in paths}
        for path in sorted(paths):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                if self.handler.route(method, path) is None:
                    reply = await world.http.request(method, f"/to/crm{path}", json={})
                    assert reply.json()["code"] in ("unknown_route", "invalid_path"), (method, path)
        assert await self.asked_of(world) == []

    async def test_what_others_added_to_a_set_stays(self, world: World, sample: Sample) -> None:
        for name, member in sample.added.items():
            world.sandbox.reset()
            expected, mine = self.state(world), sample.id
            expected[sample.resource][mine][name] = sorted({*expected[sample.resource][mine].get(name, ()), member})
            answer = await self.operate(world, sample, "update")
            now = self.state(world)[sample.resource][mine].get(name, [])
            await world.edit(sample.resource, mine, {name: [*now, member]})

            report = await world.revert(answer)

            assert (report["status"], self.state(world)) == ("reverted", expected)

    async def test_what_only_the_vendor_touched_is_no_conflict(self, world: World, created: Sample) -> None:
        sample, before = created, self.state(world)
        answer = await self.operate(world, sample, "create")
        (made,) = set(self.state(world)[sample.resource]) - set(before[sample.resource])
        await world.edit(sample.resource, made, {})

        report = await world.revert(answer)

        assert (report["records_conflicted"], self.state(world)) == (0, before)

    async def test_what_changed_between_checkpoint_and_seal_is_taken_back(self, world: World, sample: Sample) -> None:
        before, ids = self.state(world), list(self.state(world)[sample.resource])
        told = await self.bracket(world, sample, [*ids, sample.id], {**sample.theirs, **sample.others})
        assert (told["records_total"], told["records_applied"]) == (len(ids), 1)

        report = await world.revert(told)

        assert (report["status"], report["records_restored"], self.state(world)) == ("reverted", 1, before)

    async def test_what_was_deleted_between_checkpoint_and_seal_comes_back(self, world: World, sample: Sample) -> None:
        deletion = Change(resource=sample.resource, action=Action.DELETE, id=sample.id)
        before = self.state(world)
        told = await self.bracket(world, sample, [sample.id], None)
        if self.level([deletion]) is Reversibility.NONE:
            await self.assert_left(world, told)
            return

        report = await world.revert(told)

        assert (report["status"], report["records_restored"]) == ("reverted", 1)
        self.assert_back(sample, "delete", before, self.state(world))

    async def bracket(
        self, world: World, sample: Sample, ids: list[str], edit: dict[str, Any] | None
    ) -> dict[str, Any]:
        """The answer of a seal, after a native module's write to the sample's record."""
        asked = {"target": "crm", "resource": sample.resource, "ids": ids}
        told = (await world.http.post("/v1/checkpoints", json=asked)).json()
        assert told["status"] == "running", told
        await world.edit(sample.resource, sample.id, edit)
        reply = await world.http.post(path_of(told["seal_url"]))
        assert reply.json()["status"] == "applied", reply.text
        return dict(reply.json())

    @pytest.mark.parametrize("fault", LOST_ANSWERS, ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}")
    async def test_whatever_became_of_the_answer_the_run_is_taken_back(
        self, world: World, tried: Tried, fault: Mapping[str, Any]
    ) -> None:
        """Also where the write is lost, late or lied about: what was done is found out by reading."""
        (sample, action), before = tried, self.state(world)
        call = self.call(sample, "update" if action == "upsert" else action)
        await world.fault(**fault, match=self._exactly(call))
        answer = await self.asked(world, sample, action)
        assert [left.times for left in world.sandbox.faults] == [0]
        assert answer["records_applied"] + answer["records_failed"] + answer["records_in_doubt"] == 1
        if (action, fault["kind"]) == ("delete", "ok_not_done"):
            assert answer["records_applied"] == 0  # nothing in such an answer shows that the record is gone
        if self.is_final(sample, action):
            gone = self.state(world) != before
            report = await world.revert(answer)
            assert report["status"] == "partly_reverted" if gone else self.state(world) == before
            return

        report = await world.revert(answer)

        if action == "create" and not self.dated and self.state(world) != before:
            assert (answer["records_in_doubt"], report["status"]) == (1, "partly_reverted")
            return
        assert report["status"] == "reverted"
        self.assert_back(sample, action, before, self.state(world))

    async def test_a_passed_request_whose_answer_is_lost_is_taken_back(self, world: World, whole: Passed) -> None:
        before = self.state(world)
        await world.fault(kind="drop_after", match=self._exactly(whole))
        reply = await self.through(world, whole)
        assert (reply.status_code, reply.json()["code"]) == (504, "in_doubt")

        report = await world.revert(reply.json())

        back = self.state(world) == before
        assert back or (not self.dated and self.route(whole)[0].action == "create")
        assert report["status"] == ("reverted" if back else "partly_reverted")

    async def test_a_credential_that_ends_in_mid_run_leaves_everything_accounted_for(
        self, world: World, sample: Sample
    ) -> None:
        """It ends among the writes of those vendors that take few records a call, and before all of the others'."""
        before, ids = self.state(world), list(self.state(world)[sample.resource])
        await self.asked(world, sample, "update", dry_run=True)  # definitions of fields are read
        reads = self.fewest_reads(sample.resource, ids)
        await world.fault(kind="status", status=401, body={}, times=-1, after=reads + len(ids) // 2)
        fields = {n: v for n, v in sample.update.items() if n not in self.handler.resources[sample.resource].sets}
        body = {**self.operation(sample, "update"), "records": [{"id": id_, "fields": fields} for id_ in ids]}
        answer = (await world.http.post("/v1/operations", json=body)).json()
        world.sandbox.faults.clear()

        # A refusal that does not bear the vendor's own words may be somebody else's: in doubt, until it can be read.
        told = [answer[f"records_{what}"] for what in ("applied", "failed", "in_doubt")]
        assert sum(told) == answer["records_total"] == len(ids)
        report = await world.revert(answer)
        assert (report["records_restored"], self.state(world)) == (answer["records_applied"], before)

    async def test_what_cannot_be_read_is_not_written(self, world: World, sample: Sample) -> None:
        call, _ = self.handler.read(sample.resource, [sample.id])[0]
        before = self.state(world)
        await world.fault(kind="html", times=-1, match=self._exactly(call))

        refused = await self.asked(world, sample, "update")

        assert (refused["status"], refused["written"], self.state(world)) == (503, "nothing", before)

    async def test_no_more_calls_are_made_than_it_takes(self, world: World, sample: Sample) -> None:
        ids = list(self.state(world)[sample.resource])
        sets = self.handler.resources[sample.resource].sets
        fields = {name: value for name, value in sample.update.items() if name not in sets}
        answer = await world.operate("update", [{"id": id_, "fields": fields} for id_ in ids], resource=sample.resource)
        traits = self.handler.traits_of(sample.resource)
        reads, writes = self.fewest_reads(sample.resource, ids), math.ceil(len(ids) / traits.write_max)
        least = reads + writes + (0 if traits.answer_carries_image else reads)
        assert len(await self.asked_of(world)) == least

        await world.revert(answer)

        assert len(await self.asked_of(world)) == 2 * least

    def is_final(self, sample: Sample, action: str) -> bool:
        return self.level([self.change(sample, action)]) is Reversibility.NONE

    async def assert_left(self, world: World, answer: dict[str, Any]) -> None:
        """What cannot be taken back is told, with its record and the reason, and nothing is written for it."""
        before, asked = self.state(world), await self.asked_of(world)
        report = await world.revert(answer)
        assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 1)
        assert all(each["id"] and each["reason"] for each in report["conflicts"])
        fresh = (await self.asked_of(world))[len(asked) :]
        assert (self.state(world), [each for each in fresh if each["applied"]]) == (before, [])

    def _exactly(self, asked: Call | Passed) -> dict[str, str]:
        """What a fault matches: this request and no other."""
        return {"method": asked.method, "path_regex": f"^{re.escape(self.place(asked))}$"}

    async def through(self, world: World, passed: Passed, accept: str = "false") -> httpx2.Response:
        headers = {"guard-accept-irreversible": accept}
        return await world.http.request(
            passed.method, f"/to/crm{passed.path}", params=passed.query, json=passed.body, headers=headers
        )

    def assert_back(self, sample: Sample, action: str, before: State, now: State) -> None:
        """Everything is as it was; a record that was deleted may have another id, and lacks what the sample names."""
        if action == "delete" and self.handler.traits_of(sample.resource).restore_deleted is not Restore.SAME_ID:
            before, now = ({**each, sample.resource: _unnamed(each[sample.resource], sample)} for each in (before, now))
        super().assert_back(sample, action, before, now)


def _unnamed(rows: Mapping[str, Row], sample: Sample) -> dict[str, Row]:
    """The rows by all that the vendor can bring back of them."""
    kept = [{name: each for name, each in row.items() if name not in {"id", *sample.lost}} for row in rows.values()]
    return {json.dumps(row, sort_keys=True): row for row in kept}
