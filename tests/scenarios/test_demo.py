"""The demo proves what it says, says so when it does not hold, and leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from scenarios import demo
from scenarios.demo_import import SAME_FIELDS, peoples_edits
from scenarios.demo_proof import State, flat, least_calls, prove
from scenarios.demo_servers import Servers, servers
from scenarios.demo_steps import Steps, Timed
from scenarios.sandboxes.highlevel_seed import JOB_TITLE

RECORDS = 60
COMMAND = [sys.executable, "-m", "scenarios.demo", "--records", str(RECORDS)]


def test_the_demo_restores_everybody_and_keeps_peoples_edits(capfd: pytest.CaptureFixture[str]) -> None:
    status = demo.main(stay=False, records=RECORDS)

    said = capfd.readouterr().out
    figures = json.loads(said.splitlines()[-1])
    assert figures.pop("seconds") > 0
    assert figures.pop("vendor_calls") == figures.pop("least_calls") > 4 * RECORDS
    assert figures == {"records": 60, "restored": 50, "conflicts": 10, "differing": 0}
    assert (status, "The proof holds." in said, "\x1b" in said) == (0, True, False)


class _Meddling(Steps):
    """Somebody spoils one contact just after the revert."""

    def revert(self, revert_url: str) -> Timed:
        reverted = super().revert(revert_url)
        body = {"resource": "contacts", "id": self.contacts()[1]["id"], "fields": {"city": "Atlantis"}}
        httpx2.post(f"{self.where.sandbox_url}/_sandbox/edit", json=body).raise_for_status()
        return reverted


def test_a_record_that_differs_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "Steps", _Meddling)

    status = demo.main(stay=False, records=RECORDS)

    said = capfd.readouterr().out
    assert (status, "THE PROOF FAILS." in said) == (1, True)
    assert json.loads(said.splitlines()[-1])["differing"] == 1


class _Failing(Steps):
    def revert(self, revert_url: str) -> Timed:
        return super().revert(revert_url + "x")


def test_the_servers_are_gone_after_a_failure_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[Servers] = []

    @contextmanager
    def noted(records: int) -> Iterator[Servers]:
        with servers(records) as where:
            asked.append(where)
            yield where

    monkeypatch.setattr(demo, "Steps", _Failing)
    monkeypatch.setattr(demo, "servers", noted)

    assert demo.main(stay=False, records=RECORDS) == 1
    assert "The demo cannot go on" in capfd.readouterr().err
    assert [_answers(url) for url in (asked[0].guard_url, asked[0].sandbox_url)] == [False, False]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_with_stay_there_is_a_page_to_click_until_the_demo_is_stopped(ending: signal.Signals) -> None:
    with subprocess.Popen(  # noqa: S603 - the demo itself
        [*COMMAND, "--stay"], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        try:
            said = _lines_until(process.stdout, "Ctrl-C")
            revert_url, state_url = [line.strip() for line in said if line.startswith("   http")][-2:]
            with urllib.request.urlopen(  # noqa: S310 - an address of ours
                urllib.request.Request(revert_url, headers={"accept": "text/html"})  # noqa: S310
            ) as reply:
                page = reply.read().decode()
            assert ("<form" in page, _answers(state_url)) == (True, True)
        finally:
            process.send_signal(ending)
        assert process.stdout.read().strip() == "Stopped; the servers too."
        assert process.wait() == 0
    assert [_answers(url) for url in (revert_url, state_url)] == [False, False]


def _lines_until(stream: Any, word: str) -> list[str]:
    lines = []
    for line in stream:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError("".join(lines))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url):  # noqa: S310 - an address of ours
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


# The proof itself, on states made by hand.


@pytest.fixture
def before() -> State:
    return {f"c{n}": _contact(f"c{n}", "Recruiter", {"java"}) for n in range(4)}


def _contact(id_: str, title: str, tags: set[str]) -> dict[str, Any]:
    own = [{"id": JOB_TITLE, "value": title}]
    return flat({"id": id_, "city": "Berlin", "dateUpdated": object(), "customFields": own, "tags": sorted(tags)})


def _moments(before: State) -> tuple[State, State, State]:
    """After the import; after two people's edits, one of another field and one of the same; after a right revert."""
    title = f"customFields.{JOB_TITLE}"
    ruined = {id_: {**row, title: "50000", "tags": frozenset({"none"})} for id_, row in before.items()}
    edited = ruined | {"c1": {**ruined["c1"], "city": "Vienna"}, "c2": {**ruined["c2"], title: "Head"}}
    now = dict(before) | {"c1": {**before["c1"], "city": "Vienna"}, "c2": {**before["c2"], title: "Head"}}
    return ruined, edited, now


def test_the_proof_tells_restored_conflicts_and_nothing_else_after_a_right_revert(before: State) -> None:
    proof = prove(before, *_moments(before))
    assert (proof.restored, proof.conflicts, proof.differing) == ({"c0", "c1", "c3"}, {"c2"}, set())
    assert proof.holds(records=4, conflicts=1)


@pytest.mark.parametrize(
    ("id_", "spoilt"),
    [
        ("c0", {f"customFields.{JOB_TITLE}": "50000"}),  # not taken back
        ("c0", {f"customFields.{JOB_TITLE}": None}),  # emptied
        ("c0", {"tags": frozenset({"java", "none"})}),  # the import's tag is still there
        ("c0", {"phone": "+15550000"}),  # a field that nobody had touched
        ("c1", {"city": "Berlin"}),  # a person's edit is lost
        ("c2", {f"customFields.{JOB_TITLE}": "Recruiter"}),  # a person's edit of the same field is lost
        ("c2", {"tags": frozenset()}),  # a conflict that was not taken back in its other fields
    ],
)
def test_the_proof_fails_for_one_spoilt_record(before: State, id_: str, spoilt: dict[str, Any]) -> None:
    ruined, edited, now = _moments(before)
    tampered = {name: value for name, value in {**now[id_], **spoilt}.items() if value is not None}
    proof = prove(before, ruined, edited, {**now, id_: tampered})
    assert proof.differing == {id_}
    assert not proof.holds(records=4, conflicts=1)


def test_the_proof_fails_for_a_record_that_is_gone_or_new(before: State) -> None:
    ruined, edited, now = _moments(before)
    without = {id_: row for id_, row in now.items() if id_ != "c3"}
    assert prove(before, ruined, edited, without).differing == {"c3"}
    assert prove(before, ruined, edited, {**now, "c9": now["c0"]}).differing == {"c9"}


def test_the_least_calls_count_each_tag_or_each_set_of_tags_whichever_are_fewer(before: State) -> None:
    ruined = {id_: {**row, "tags": frozenset({"none"})} for id_, row in before.items()}
    ids = list(before)
    assert least_calls(before, ruined, ids).tag_calls == 2  # java back, none away
    three = {**before, "c0": {**before["c0"], "tags": frozenset({"java", "sql", "remote"})}}
    assert least_calls(three, ruined, ids).tag_calls == 3  # two sets rather than three tags; none away
    assert (least_calls(three, ruined, ids).importing, least_calls(three, ruined, ids).reverting) == (8, 11)


def test_people_edit_fifteen_contacts_elsewhere_and_ten_where_the_import_wrote() -> None:
    rows = [{"id": f"c{n}"} for n in range(50)]
    edits = peoples_edits(rows)
    own = [edit for edit in edits if any(JOB_TITLE in str(v) or "cfSalary" in str(v) for v in edit.fields.values())]
    assert (len({edit.id for edit in edits}), len(own)) == (25, SAME_FIELDS)
