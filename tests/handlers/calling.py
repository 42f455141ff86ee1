"""What a handler's class says of itself is true, and what leaves for the vendor is what may."""

import re
from typing import Any

import pytest

from guard.core.errors import Refused
from guard.core.model import Action, Change, Image, Restore, Reversibility
from handlers.base import READ, WRITE, Request, Traits
from tests.handlers.joining import Ask, Joining, Served
from tests.handlers.samples import Sample, record

HOSTILE_IDS = ("../x", "..", "a/b", "a?b=1", "a#b", "a%2fb", "", " ", "a b", "\u00e9", "a\n")


class Calling(Joining):
    """The part of the conformance suite that asks the class, and the sandbox without a Guard in front."""

    # What the class says

    def test_everything_that_a_handler_must_decide_is_decided_in_its_own_class(self) -> None:
        cls, traits = type(self.handler), self.handler.traits
        decided = "name base_url traits resources routes actions side_effects".split()
        assert [name for name in decided if name not in {**vars(cls), **vars(self.handler)}] == []
        assert isinstance(traits, Traits)
        assert traits.read_max >= 1
        assert traits.write_max >= 1
        assert traits.limits is None or min(traits.limits.requests, traits.limits.per_s, traits.limits.concurrency) > 0
        assert self.handler.base_url.startswith("https://") or cls.structured_options

    def test_resources_actions_and_routes_name_each_other(self) -> None:
        known = self.handler.resources
        assert {name: resource.name for name, resource in known.items()} == {name: name for name in known}
        assert set(self.handler.actions) == set(known)
        assert all(named in known for resource in known.values() for named in resource.references.values())
        for route in self.handler.routes:
            assert route.kind in (READ, WRITE)
            assert bool(route.action) == (route.kind == WRITE)
            assert route.resource == "" or route.resource in known
        assert {sample.resource for sample in self.samples} | self.apart == set(known)

    def test_every_route_is_reached_and_none_before_it_takes_its_requests(self) -> None:
        for route in self.handler.routes:
            found = self.handler.route(route.method, route.path.replace("{", "").replace("}", ""))
            assert found is not None
            assert found[0] == route

    def test_the_sandbox_agrees_on_which_requests_read_and_which_write(self, served: Served) -> None:
        routes = served.sandbox.vendor.routes
        for route in self.handler.routes:
            found = routes.match(route.method, route.path.replace("{", "").replace("}", ""))
            assert found is not None, route
            assert found[2] is (route.kind == READ), route

    def test_every_guarded_request_of_the_vendor_is_tried_by_this_suite(self) -> None:
        tried = [self.route(passed)[0] for passed in self.passed]
        assert [route for route in self.writes() if route not in tried] == []

    def test_a_deletion_is_as_reversible_as_the_trait_says(self) -> None:
        levels = {
            Restore.SAME_ID: Reversibility.FULL,
            Restore.NEW_ID: Reversibility.PARTIAL,
            Restore.NEVER: Reversibility.NONE,
        }
        for sample in self.offering("delete"):
            reversal = self.handler.reversal(self.change(sample, "delete"), None)
            assert reversal.level is levels[self.handler.traits_of(sample.resource).restore_deleted]
            assert bool(reversal.reason) == (reversal.level is not Reversibility.FULL)

    # What leaves for the vendor

    @pytest.mark.parametrize("id_", HOSTILE_IDS, ids=ascii)
    def test_an_id_that_could_lead_elsewhere_is_refused_by_both_doors(self, id_: str) -> None:
        for sample in self.samples:
            for action in self.handler.actions[sample.resource]:
                with pytest.raises(Refused):
                    self.handler.change(sample.resource, action, {**record(sample, action), "id": id_})
        for passed in self.passed:
            route, params = self.route(passed)
            request = Request(passed.method, passed.path, dict.fromkeys(params, id_), passed.query, {}, passed.body)
            if params:
                with pytest.raises(Refused):
                    self.handler.changes(route, request)

    def test_a_field_that_the_vendor_does_not_write_is_refused(self) -> None:
        for sample in self.samples:
            for action in self.offered(sample, "update", "create", "upsert"):
                wrong = {**record(sample, action)["fields"], "neverHeardOf": "x"}
                with pytest.raises(Refused, match="neverHeardOf"):
                    self.handler.change(sample.resource, action, {**record(sample, action), "fields": wrong})

    def test_a_field_that_the_vendor_calculates_or_keeps_itself_is_refused(self) -> None:
        for sample in self.samples:
            for name in self.handler.resources[sample.resource].readonly:
                with pytest.raises(Refused, match=re.escape(name)):
                    self.handler.change(sample.resource, "update", {"id": sample.id, "fields": {name: "x"}})

    def test_no_body_holds_what_was_read_but_cannot_be_written(self, vendor: Ask, sample: Sample) -> None:
        """A revert writes what a read has shown: whatever is not in the allow-list must stay out."""
        resource, image = self.handler.resources[sample.resource], self._image(vendor, sample)
        odd = {name: f"sentinel of {name}" for name in (*resource.readonly, "neverHeardOf")}
        changes = [
            Change(resource=resource.name, action=Action.UPDATE, id=sample.id, fields={**image, **odd}),
            Change(resource=resource.name, action=Action.CREATE, fields={**image, "neverHeardOf": "sentinel of x"}),
        ]
        for change in changes:
            calls = [write.call for step in self.handler.write([change], [image]) for write in step]
            assert calls
            assert not [call for call in calls if "sentinel of" in str(call.body)]

    def test_the_fewest_reads_tell_every_record_and_those_that_are_not_there(
        self, served: Served, vendor: Ask, sample: Sample
    ) -> None:
        asked = [*served.sandbox.vendor.store.tables[sample.resource].rows, "neverThere00000000000"]
        images: dict[str, Image] = {}
        calls = self.handler.read(sample.resource, asked)
        for call, ids in calls:
            images |= self.handler.images(sample.resource, ids, vendor(call))
        assert len(calls) == self.fewest_reads(sample.resource, asked)
        assert sorted(id_ for _, ids in calls for id_ in ids) == sorted(asked)
        assert [id_ for id_ in asked if images[id_] is None] == ["neverThere00000000000"]

    def test_an_updates_answer_carries_the_post_image_if_the_trait_says_so(self, vendor: Ask, sample: Sample) -> None:
        change = self.change(sample, "update")
        before = self._image(vendor, sample)
        (outcome,) = self.handler.outcomes([change], vendor(self.call(sample, "update")))
        assert outcome.sealed is self.handler.traits_of(sample.resource).answer_carries_image
        shown = {**(before if outcome.partial else {}), **(outcome.after or {})}
        shown = {name: value for name, value in shown.items() if value is not None}
        assert not outcome.sealed or shown == self._image(vendor, sample)

    def test_a_call_that_may_be_repeated_leaves_the_same_state_when_it_is(
        self, served: Served, vendor: Ask, sample: Sample
    ) -> None:
        for action in self.offered(sample, "update", "create", "delete"):
            served.sandbox.reset()
            call = self.call(sample, action)
            vendor(call)
            once = self.state(served)
            vendor(call)
            assert not call.repeatable or self.state(served) == once

    def _image(self, vendor: Ask, sample: Sample) -> dict[str, Any]:
        call, ids = self.handler.read(sample.resource, [sample.id])[0]
        image = self.handler.images(sample.resource, ids, vendor(call))[sample.id]
        assert image
        return dict(image)
