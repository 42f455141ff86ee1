"""A target that is down is left alone for a while, then tried with one call."""

from guard.target.circuit import FAILURES_MAX, OPEN_S, Circuit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def down(clock: Clock) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(FAILURES_MAX):
        circuit.failed()
    return circuit


def test_a_target_that_works_is_called() -> None:
    assert Circuit(Clock()).wait_s() == 0


def test_a_few_failures_say_nothing() -> None:
    circuit = Circuit(Clock())
    for _ in range(FAILURES_MAX - 1):
        circuit.failed()
    assert circuit.wait_s() == 0


def test_failures_in_a_row_open_it_and_it_tells_for_how_long() -> None:
    assert down(Clock()).wait_s() == OPEN_S


def test_a_success_in_between_begins_the_count_anew() -> None:
    circuit = Circuit(Clock())
    for _ in range(FAILURES_MAX - 1):
        circuit.failed()
    circuit.worked()
    circuit.failed()
    assert circuit.wait_s() == 0


def test_after_a_while_one_call_tries_it_and_the_others_go_on_waiting() -> None:
    clock = Clock()
    circuit = down(clock)
    clock.now += OPEN_S
    assert (circuit.wait_s(), circuit.wait_s()) == (0, OPEN_S)


def test_the_trial_that_works_closes_it() -> None:
    clock = Clock()
    circuit = down(clock)
    clock.now += OPEN_S
    circuit.wait_s()
    circuit.worked()
    assert (circuit.wait_s(), circuit.wait_s()) == (0, 0)


def test_the_trial_that_fails_leaves_it_open() -> None:
    clock = Clock()
    circuit = down(clock)
    clock.now += OPEN_S
    circuit.wait_s()
    clock.now += 1
    circuit.failed()
    assert circuit.wait_s() == OPEN_S
