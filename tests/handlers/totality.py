"""Hooks are total: whatever a vendor answers or a caller sends, a hook gives what it promises, or refuses."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.core.entries import pack, unpack
from guard.core.errors import Refused, Unavailable
from guard.core.model import Action, Change, Outcome, Status
from guard.core.past import changed_fields
from handlers.base import Call, Reply, Request
from scenarios.sandboxes.common import running
from tests.handlers.joining import Joining, asking
from tests.handlers.samples import record

ANYTHING = settings(
    deadline=None,
    max_examples=200,
    # Every handler's class runs the same function: an example that one stored would be of no use to another.
    database=None,
    suppress_health_check=[HealthCheck.differing_executors],
)

Path = tuple[str | int, ...]

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
statuses = st.sampled_from([200, 201, 204, 207]) | st.integers(100, 599)
pages = st.sampled_from([b"", b"<html><body>502 Bad Gateway</body></html>", b"null", b"[]"]) | st.binary(max_size=20)


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*path, name))


ODD: tuple[Any, ...] = (None, True, 7, "", "x", [], [None], [7], [[]], [{}], {}, {"a": 1})


def bent(value: Any) -> Iterator[Any]:
    """The value with each of its members replaced by each odd value, one at a time."""
    for *path, last in (path for path in places(value) if path):
        for odd in ODD:
            made = copy.deepcopy(value)
            holder = made
            for name in path:
                holder = holder[name]
            holder[last] = odd
            yield made


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """The value with up to two of its members replaced by anything, or missing."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 2))):
        *path, last = draw(st.sampled_from(sorted(places(value), key=str))) or (None,)
        if last is None:
            return draw(anything)
        holder = value
        for name in path:
            holder = holder[name]
        if draw(st.booleans()):
            holder[last] = draw(anything)
        else:
            del holder[last]
    return value


@st.composite
def replies(draw: st.DrawFn, true: Reply) -> Reply:
    """A true answer that went wrong: another status, cut, members that are missing or of no sense, a proxy's page."""
    status = draw(st.just(true.status) | statuses)
    if not true.body or draw(st.integers(0, 9)) == 0:
        return Reply(status, draw(pages))
    body = json.dumps(draw(spoilt(true.json()))).encode()
    return Reply(status, body[: draw(st.just(len(body)) | st.integers(0, len(body)))])


@dataclass(frozen=True)
class Answer:
    """A true answer of the sandbox, and the hook that has to understand it."""

    hook: str
    change: Change
    reply: Reply


def true_answers(joined: Joining) -> Iterator[Answer]:
    """What the vendor answers to a read, a search and each write of every sample; asked without Guard."""
    app = joined.sandbox()
    with running(app) as url, asking(joined.handler, url) as ask:
        for sample in joined.samples:
            app.state.sandbox.reset()
            update = joined.change(sample, "update")
            yield Answer("images", update, ask(joined.handler.read(sample.resource, [sample.id])[0][0]))
            upsert = Change(resource=sample.resource, action=Action.UPSERT, fields=sample.identity)
            if search := joined.handler.find(upsert):
                yield Answer("found", upsert, ask(search))
            for action in joined.offered(sample, "update", "create", "delete"):
                yield Answer("outcomes", joined.change(sample, action), ask(joined.call(sample, action)))
        for passed in joined.passed:
            app.state.sandbox.reset()
            call = Call(method=passed.method, path=passed.path, query=passed.query, body=passed.body)
            yield Answer("outcomes", joined.changes(passed)[0], ask(call))


def stored(values: list[Any], kind: type) -> list[Any]:
    """The values as they come back from a journal."""
    packed = pack(values)
    return unpack("run", {"object": packed.digest} if packed.data else packed.reference, packed.data, kind)


_ANOTHER = b"another0000000000000"


class Total(Joining):
    """The part of the conformance suite that needs no Guard: pure hooks against everything."""

    @pytest.fixture(scope="class")
    @classmethod
    def answers(cls) -> list[Answer]:
        return list(true_answers(cls()))

    @pytest.mark.parametrize("hook", ["images", "found", "outcomes"])
    @ANYTHING
    @given(data=st.data())
    def test_whatever_is_answered_the_hook_gives_what_it_promises(
        self, answers: list[Answer], hook: str, data: st.DataObject
    ) -> None:
        if mine := [answer for answer in answers if answer.hook == hook]:  # one that has no search has no "found"
            answer = data.draw(st.sampled_from(mine))
            self._check(answer.hook, answer.change, data.draw(replies(answer.reply)))

    def _check(self, hook: str, change: Change, reply: Reply) -> None:
        match hook:
            case "images":
                self._check_images(change, reply)
            case "found":
                self._check_found(change, reply)
            case _:
                for count in (1, 2):
                    self._check_outcomes([change] * count, reply)

    def _check_images(self, change: Change, reply: Reply) -> None:
        id_, resource = str(change.id), self.handler.resources[change.resource]
        images = self.handler.images(change.resource, [id_], reply)
        assert set(images) <= {id_}
        # An answer that names the record does not say that it is gone.
        assert images.get(id_, {}) is not None or reply.status != 200 or not self._names(id_, reply)
        for image in images.values():
            assert image is None or isinstance(image, dict)
            # What the flows do with an image: it must be of a shape that compares, and that reversal can look at.
            for name in changed_fields({}, image, resource):
                self.handler.same(change.resource, name, (image or {}).get(name), None)
            self.handler.reversal(change, image)
            self.handler.created_at(change.resource, image)

    def _names(self, id_: str, reply: Reply) -> bool:
        return json.dumps(self.vendors_own(id_)).encode() in reply.body

    def _check_found(self, change: Change, reply: Reply) -> None:
        try:
            id_ = self.handler.found(change, reply)
        except Refused:
            return
        assert id_ is None or isinstance(id_, str)

    def _check_outcomes(self, changes: list[Change], reply: Reply) -> None:
        outcomes = self.handler.outcomes(changes, reply)
        assert [type(outcome) for outcome in outcomes] == [Outcome] * len(changes)
        assert stored(outcomes, Outcome) == outcomes
        for outcome in outcomes:
            assert outcome.id is None or isinstance(outcome.id, str)
            assert outcome.status is Status.APPLIED or outcome.failure
            assert not (outcome.sealed and outcome.status is not Status.APPLIED)
            assert not (outcome.sealed and outcome.after is None and changes[0].action is not Action.DELETE)

    def test_no_odd_member_anywhere_in_an_answer_is_too_much_for_a_hook(self, answers: list[Answer]) -> None:
        for answer in answers:
            for made in bent(answer.reply.json()):
                self._check(answer.hook, answer.change, Reply(answer.reply.status, json.dumps(made).encode()))

    @pytest.mark.parametrize("status", [200, 201, 403, 502])
    @pytest.mark.parametrize("body", [b"<html>502</html>", b"", b'{"a": ', b"null"])
    def test_an_answer_that_says_nothing_is_no_record_that_is_gone_and_no_write_that_is_settled(
        self, answers: list[Answer], status: int, body: bytes
    ) -> None:
        reply = Reply(status, body)
        for answer in answers:
            if answer.hook == "images":
                assert self.handler.images(answer.change.resource, [str(answer.change.id)], reply) == {}
            if answer.hook == "outcomes":
                (outcome,) = self.handler.outcomes([answer.change], reply)
                assert (outcome.sealed, outcome.status is Status.FAILED) == (False, False)

    def test_an_answer_about_another_record_is_no_image_of_this_one(self, answers: list[Answer]) -> None:
        for answer in answers:
            if id_ := answer.change.id:
                reply = Reply(answer.reply.status, answer.reply.body.replace(self.vendors_own(id_).encode(), _ANOTHER))
                if answer.hook == "images":
                    assert not self.handler.images(answer.change.resource, [id_], reply).get(id_)
                if answer.hook == "outcomes":
                    assert not self.handler.outcomes([answer.change], reply)[0].sealed

    @ANYTHING
    @given(data=st.data())
    def test_whatever_a_record_of_the_bulk_door_is_it_becomes_a_change_or_is_refused(self, data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(list(self.samples)))
        action = data.draw(st.sampled_from(list(self.handler.actions[sample.resource])))
        given_ = data.draw(spoilt(record(sample, action)).filter(lambda each: isinstance(each, dict)))
        try:
            change = self.handler.change(sample.resource, action, given_)
        except Refused:
            return
        assert isinstance(change, Change)
        assert stored([change], Change) == [change]
        for step in self.handler.write([change], [None]):
            for write in step:
                assert json.dumps(write.call.body) is not None

    @ANYTHING
    @given(data=st.data())
    def test_whatever_a_passed_request_is_it_becomes_changes_or_is_refused(self, data: st.DataObject) -> None:
        passed = data.draw(st.sampled_from(list(self.passed)))
        route, params = self.route(passed)
        body = data.draw(spoilt(dict(passed.body)) if passed.body is not None else anything)
        request = Request(passed.method, passed.path, params, passed.query, {}, body)
        try:
            changes = self.handler.changes(route, request)
        except (Refused, Unavailable):  # an object type that the vendor has not described yet
            return
        assert changes
        assert {type(change) for change in changes} == {Change}
        assert stored(changes, Change) == changes
        for change in changes:
            self.handler.reversal(change, None)
            self.handler.touches(change)
