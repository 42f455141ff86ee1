"""A real Node-RED with our flows, in front of a real Guard: imported, deployed, and taken back."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx2
import pytest

from tests.clients.node_red import NodeRed, node_red
from tests.clients.stage import Stage, hosts_of, losing_answers, stage
from tests.world import KEY

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("node-red")]

T = TypeVar("T")


class Set:
    def __init__(self, tool: NodeRed, there: Stage) -> None:
        self.tool = tool
        self.there = there

    def deploy(self, slug: str, records: list[dict[str, Any]] | None = None, guard_url: str = "") -> Any:
        addresses = {"GUARD_URL": guard_url or self.there.guard_url, "CRM_URL": self.there.sandbox_url}
        return self.tool.deploy(slug, addresses, records)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    keys = {"GUARD_KEY": KEY, "CRM_TOKEN": "sandbox-token"}
    with stage(tmp_path_factory.mktemp("guard")) as there, node_red(tmp_path_factory.mktemp("node-red"), keys) as tool:
        yield Set(tool, there)


@pytest.fixture
def here(started: Set) -> Set:
    started.there.reset()
    return started


def moved(there: Stage, number: int) -> list[dict[str, Any]]:
    return [{"id": id_, "city": "Nowhere"} for id_ in list(there.contacts)[:number]]


def until(found: Callable[[], T]) -> T:
    deadline = time.monotonic() + 90
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


def ended(there: Stage, url: str, records: int) -> dict[str, Any]:
    """The run that a revert URL takes back, once all these records are in it and nothing goes on."""

    def told() -> dict[str, Any]:
        run = dict(httpx2.get(url, timeout=60).json())
        return run if run["status"] != "running" and run["records_total"] == records else {}

    return until(told)


def test_the_tool_speaks_and_listens_to_this_machine_alone(here: Set) -> None:
    assert hosts_of(here.tool.pid) == {"127.0.0.1"}


def test_two_hundred_records_at_once_through_the_changed_address_are_one_run_and_go_back(here: Set) -> None:
    before = here.there.seen()
    flow = here.deploy("guard-pass-through", moved(here.there, 200))
    flow.press()
    url = until(lambda: flow.kept("revert_url"))
    assert ended(here.there, url, 200)["records_applied"] == 200
    assert here.there.cities().count("Nowhere") == 200
    assert here.there.revert(url)["records_restored"] == 200
    assert here.there.seen() == before


def test_the_bulk_flow_as_it_is_imported_writes_in_one_operation_and_goes_back(here: Set) -> None:
    before = here.there.seen()
    flow = here.deploy("guard-bulk-operation")
    flow.press()
    url = until(lambda: flow.kept("revert_url"))
    assert (ended(here.there, url, 2)["status"], here.there.cities().count("Nowhere")) == ("applied", 2)
    assert here.there.revert(url)["records_restored"] == 2
    assert here.there.seen() == before


def test_a_request_whose_answer_was_lost_is_sent_again_and_acts_once(here: Set) -> None:
    with losing_answers(here.there.guard_url, "POST", "PUT") as proxy:
        flow = here.deploy("guard-bulk-operation", guard_url=proxy.url)
        flow.press()
        assert ended(here.there, until(lambda: flow.kept("revert_url")), 2)["records_applied"] == 2
        assert proxy.methods == ["POST", "POST"]
        assert len(here.there.writes()) == 2

        here.there.reset()
        proxy.seen.clear()
        flow = here.deploy("guard-pass-through", moved(here.there, 5), guard_url=proxy.url)
        flow.press()
        assert ended(here.there, until(lambda: flow.kept("revert_url")), 5)["records_applied"] == 5
        until(lambda: len(proxy.seen) == 6)
    paths = [path for _, path, _ in here.there.writes()]
    assert len(paths) == len(set(paths)) == 5


def test_a_run_that_outlasts_the_wait_is_asked_for_until_it_has_ended(here: Set) -> None:
    """Guard answers after 25 seconds that the run goes on: a client that gives up after 30 loses nothing."""
    before = here.there.seen()
    here.there.sandbox.latency_s = 1.3
    with losing_answers(here.there.guard_url) as proxy:
        flow = here.deploy("guard-revert-on-error", moved(here.there, 220), guard_url=proxy.url)
        flow.press()
        until(lambda: "GET" in proxy.methods)
        here.there.sandbox.latency_s = 0
        # What comes after the write fails in this flow, so that all of it goes back by itself.
        report = until(lambda: flow.kept("report"))
        assert proxy.methods.count("POST") == 1  # the revert URL is Guard's own address
    assert (report["status"], report["records_restored"]) == ("reverted", 220)
    assert here.there.seen() == before


def test_what_a_failed_flow_wrote_is_taken_back_by_itself(here: Set) -> None:
    before = here.there.seen()
    records = [*moved(here.there, 3), {"id": "doesNotExist00000000", "city": "Nowhere"}]
    flow = here.deploy("guard-revert-on-error", records)
    flow.press()
    report = until(lambda: flow.kept("report"))
    assert (report["status"], report["records_restored"]) == ("reverted", 3)
    assert here.there.seen() == before


def test_a_refusal_writes_nothing_and_leaves_nothing_to_take_back(here: Set) -> None:
    asked = len(here.there.get("/v1/runs")["runs"])
    misspelt = [{"id": record["id"], "citty": "x"} for record in moved(here.there, 2)]
    with losing_answers(here.there.guard_url) as proxy:
        flow = here.deploy("guard-revert-on-error", misspelt, guard_url=proxy.url)
        flow.press()
        until(lambda: "GET" in proxy.methods)  # it has failed, and asks for its run
    assert flow.kept("report") is None
    assert here.there.writes() == []
    assert len(here.there.get("/v1/runs")["runs"]) == asked


def test_a_bracket_around_own_nodes_takes_back_what_they_wrote(here: Set) -> None:
    before = here.there.seen()
    flow = here.deploy("guard-checkpoint-and-seal")
    flow.press()
    report = until(lambda: flow.kept("report"))
    assert (report["status"], report["records_applied"]) == ("applied", 2)
    assert here.there.cities().count("Nowhere") == 2
    assert here.there.revert(report["revert_url"])["records_restored"] == 2
    assert here.there.seen() == before
