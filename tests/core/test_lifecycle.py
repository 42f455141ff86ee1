"""The transition table: every event in every phase, and that an illegal one changes nothing."""

import copy
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from guard.core.entries import Event, decode, encode
from guard.core.ids import new_run_id
from guard.core.lifecycle import CHUNK, Illegal, OperationState, RunState, event, outcome_status, overall

AT = datetime(2026, 11, 23, tzinfo=UTC)
RUN = new_run_id(AT)
LINES = {"inline": "", "digest": ""}


def append(state: RunState, *events: Event) -> None:
    _, data = encode(state.run, state.n, state.prev, AT, "w", list(events))
    state.apply(decode(state.run, state.n, data))


def opened() -> RunState:
    state = RunState(RUN)
    append(state, event("opened", kind="run"), begun("op_1"))
    return state


def begun(op: str) -> Event:
    return event("begun", op=op, target="crm", resource="contacts", action="update", request="x", records=2, lease_s=60)


def chunk(name: str, op: str = "op_1", **members: object) -> Event:
    return event(
        name, op=op, chunk=0, lines=LINES, **({"records": 2} if name in ("sending", "watched") else {}), **members
    )


ROADS = [
    ("sending", "settled", "sealed"),
    ("sending", "sealed"),
    ("sending", "written", "sealed"),
    ("watched", "sealed"),
]


@pytest.mark.parametrize("road", ROADS)
def test_a_chunk_takes_one_of_its_roads(road: tuple[str, ...]) -> None:
    state = opened()
    for name in road:
        append(state, chunk(name))

    assert state.operations["op_1"].chunks[0].phase == "sealed"


@pytest.mark.parametrize("phase", ["none", "sending", "written", "settled", "sealed", "watched"])
@pytest.mark.parametrize("name", ["sending", "written", "settled", "sealed", "watched"])
def test_what_the_table_has_not_is_refused_and_changes_nothing(phase: str, name: str) -> None:
    state = opened()
    steps = {"none": (), "sending": ("sending",), "written": ("sending", "written"), "watched": ("watched",)}
    for step in steps.get(phase, ("sending", phase)):
        append(state, chunk(step))
    before = copy.deepcopy(state)

    if (phase, name) in CHUNK:
        append(state, chunk(name))
        assert state.operations["op_1"].chunks[0].phase == CHUNK[(phase, name)]
    else:
        with pytest.raises(Illegal):
            append(state, chunk(name))
        assert state == before


def test_the_same_operation_cannot_begin_twice() -> None:
    with pytest.raises(Illegal):
        append(opened(), begun("op_1"))


def test_no_operation_begins_after_the_revert_said_closing() -> None:
    state = opened()
    append(state, event("closing"), event("revert_begun", revert="r"))

    with pytest.raises(Illegal):
        append(state, begun("op_2"))


def test_an_operation_that_is_under_way_may_still_seal_while_the_run_closes() -> None:
    state = opened()
    append(state, chunk("sending"))
    append(state, event("closing"), event("revert_begun", revert="r"))

    append(state, chunk("sealed", applied=2, failed=0, unknown=0))

    assert state.operations["op_1"].count("applied") == 2


def test_a_bracket_that_stands_is_nobodys_until_it_is_taken() -> None:
    state = opened()
    append(state, chunk("watched"), event("stands", op="op_1"))
    operation = state.operations["op_1"]

    assert (operation.phase, operation.stood, state.running, operation.unsettled()) == ("standing", True, True, 0)
    for refused in (chunk("sealed"), event("alive", op="op_1"), event("ended", op="op_1", status="applied")):
        with pytest.raises(Illegal):
            append(state, refused)
    append(state, event("taken", op="op_1", term=2), {**chunk("sealed"), "term": 2})
    assert (operation.phase, operation.chunks[0].phase) == ("open", "sealed")


def test_an_ended_operation_takes_nothing_more() -> None:
    state = opened()
    append(state, event("ended", op="op_1", status="applied"))

    with pytest.raises(Illegal):
        append(state, chunk("sending"))


def test_one_illegal_event_in_an_entry_refuses_all_of_it() -> None:
    state = opened()

    with pytest.raises(Illegal):
        append(state, chunk("sending"), chunk("sending"))
    assert state.operations["op_1"].chunks == {}


def test_records_that_were_announced_and_never_settled_are_in_doubt() -> None:
    state = opened()
    append(state, chunk("sending"))

    assert state.operations["op_1"].unsettled() == 2


@pytest.mark.parametrize(
    ("numbers", "status"),
    [((3, 0, 0), "applied"), ((2, 1, 0), "partial"), ((0, 3, 0), "failed"), ((0, 0, 1), "partial")],
)
def test_an_operation_is_called_by_its_numbers(numbers: tuple[int, int, int], status: str) -> None:
    assert outcome_status(*numbers) == status


def test_a_run_of_several_operations_is_partial_unless_all_came_to_the_same() -> None:
    assert overall(["applied", "applied"]) == "applied"
    assert overall(["applied", "failed"]) == "partial"


class Folding(RuleBasedStateMachine):
    """Whatever is thrown at a run: what is refused leaves no trace, and folding again gives the same state."""

    def __init__(self) -> None:
        super().__init__()
        self.state = RunState(RUN)
        self.entries: list[bytes] = []

    @rule(
        name=st.sampled_from(
            "opened begun sending written settled watched sealed judged stands taken ended closing revoked".split()
        ),
        op=st.sampled_from(["op_1", "op_2"]),
        number=st.integers(0, 1),
    )
    def throw(self, name: str, op: str, number: int) -> None:
        made = {"begun": begun(op), "opened": event("opened", kind="run")}.get(name)
        term = 2 if name == "taken" else None
        made = made or event(name, op=op, chunk=number, lines=LINES, records=1, status="applied", term=term)
        before = copy.deepcopy(self.state)
        _, data = encode(RUN, self.state.n, self.state.prev, AT, "w", [made])
        try:
            self.state.apply(decode(RUN, self.state.n, data))
        except Illegal:
            assert self.state == before
        else:
            self.entries.append(data)

    @invariant()
    def folding_again_gives_the_same(self) -> None:
        again = RunState(RUN)
        for n, data in enumerate(self.entries):
            again.apply(decode(RUN, n, data))
        assert again == self.state


TestFolding = Folding.TestCase
TestFolding.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)


@settings(deadline=None)
@given(lease_s=st.integers(1, 3600), skew=st.floats(-0.5, 0.5), later_s=st.floats(0, 10_000))
def test_by_clocks_half_a_lease_apart_nobody_may_take_over_what_its_driver_may_still_write(
    lease_s: int, skew: float, later_s: float
) -> None:
    """`skew` is the other one's clock, ahead of the driver's, in leases."""
    operation = OperationState(event("begun", op="op_1", lease_s=lease_s), renewed_at=AT)
    drivers = AT + timedelta(seconds=later_s)
    others = drivers + timedelta(seconds=skew * lease_s)

    assert not (operation.is_held(drivers) and operation.is_expired(others))
