"""The demo: a bulk import ruins a thousand candidates, and one URL takes it back.

`make demo`, `guard demo` or `python -m scenarios.demo`. Everything runs on this machine, nothing is kept.
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
from rich import box
from rich.console import Console
from rich.table import Table

from scenarios.demo_import import OTHER_FIELDS, SAME_FIELDS, Edit, Row, custom
from scenarios.demo_proof import LeastCalls, Proof, least_calls, prove
from scenarios.demo_servers import SANDBOX_LIMIT, NotStarted, servers
from scenarios.demo_steps import Steps, Timed
from scenarios.sandboxes.highlevel import DOCUMENTED
from scenarios.sandboxes.highlevel_seed import JOB_TITLE, SALARY

RECORDS_MIN = 50
_STAY_RECORDS = 100
_INTERRUPTED = 130

_console = Console()


def tell(steps: Steps) -> int:
    """The story from the import to the proof; 0 where the proof holds."""
    rows = steps.contacts()
    _begin(rows)
    before = steps.state()
    imported = steps.bulk_import(rows)
    ruined = steps.state()
    _damage(imported, rows, steps.contacts())

    edits = steps.people_edit(rows)
    edited = steps.state()
    _say(f"\n2. Meanwhile people made {len(edits)} edits in the CRM: {OTHER_FIELDS} in fields that the import left")
    _say(f"   alone, {SAME_FIELDS} in fields that it had overwritten. These edits must survive.")

    url = imported.answer["revert_url"]
    planned = steps.plan(url)["records_to_take_back"]
    unchanged = steps.state() == edited
    _say(f"\n3. The import's answer held this revert URL:\n   {url}")
    _say(f"   Opening it shows the plan, {planned:,} records to look at, and changes nothing.")

    reverted = steps.revert(url)
    now = steps.state()
    _after(reverted, rows, steps.contacts(), edits)
    least = least_calls(before, ruined, [row["id"] for row in rows])
    proof = prove(before, ruined, edited, now)
    return conclude(proof, least, imported, reverted, plan_changed_nothing=unchanged)


def _begin(rows: Sequence[Row]) -> None:
    limit = f"{SANDBOX_LIMIT:,} requests per {DOCUMENTED.interval_s:.0f} s instead of HighLevel's"
    _say(f"A HighLevel sandbox with {len(rows):,} candidates, and Guard in front of it. Nothing real is touched.")
    _say(f"So that you need not wait, this sandbox allows {limit} {DOCUMENTED.per_interval}.")
    _show("Some of the candidates", [(row, "") for row in _sample(rows)])


def _damage(imported: Timed, rows: Sequence[Row], ruined: Sequence[Row]) -> None:
    total = imported.answer["records_applied"]
    _say(f"\n1. A bulk import of {total:,} rows went through Guard. Its columns had slipped by one: salaries became")
    _say("   job titles, sources became salaries, notice periods replaced all tags.")
    pairs = zip(_sample(rows), _sample(ruined), strict=True)
    _show("The damage", [line for old, new in pairs for line in ((old, "before"), (new, "now"))])


def _after(reverted: Timed, rows: Sequence[Row], now: Sequence[Row], edits: Sequence[Edit]) -> None:
    told = reverted.answer
    _say(f"\n4. One POST to that URL, and Guard reports after {reverted.seconds:.1f} s: {told['status']},")
    _say(f"   {told['records_restored']:,} restored, {told['records_conflicted']:,} conflicts.")
    by_people = {edit.id for edit in edits}
    pairs = zip(_sample(rows), _sample(now), strict=True)
    lines = [((old, "before"), (new, "edited" if new["id"] in by_people else "now")) for old, new in pairs]
    _show("After the revert; 'edited' where people were at work meanwhile", [line for pair in lines for line in pair])


def conclude(
    proof: Proof, least: LeastCalls, imported: Timed, reverted: Timed, *, plan_changed_nothing: bool = True
) -> int:
    """Say what the proof found and what it all cost; 0 where it holds and Guard's own report says the same."""
    _say("\n5. The proof: every record of the sandbox, compared with what it was before the import.")
    _say(f"   {len(proof.restored):6,} restored, people's edits of other fields kept")
    _say(f"   {len(proof.conflicts):6,} conflicts left as people had set them, their other fields restored")
    _say(f"   {len(proof.differing):6,} others differ")
    doubts = _doubts(proof, least.records, reverted.answer, plan_changed_nothing=plan_changed_nothing)
    _say("".join(f"   {doubt}\n" for doubt in doubts) + ("   THE PROOF FAILS." if doubts else "   The proof holds."))
    _costs(least, imported, reverted)
    figures = {
        "records": least.records,
        "restored": len(proof.restored),
        "conflicts": len(proof.conflicts),
        "differing": len(proof.differing),
        "seconds": round(imported.seconds + reverted.seconds, 2),
        "vendor_calls": imported.calls + reverted.calls,
        "least_calls": least.importing + least.reverting,
    }
    print(json.dumps(figures), flush=True)
    return 1 if doubts else 0


def _doubts(proof: Proof, records: int, told: Mapping[str, Any], *, plan_changed_nothing: bool) -> list[str]:
    doubts = []
    if not proof.holds(records, SAME_FIELDS):
        doubts.append(f"It should be {records - SAME_FIELDS:,}, {SAME_FIELDS} and 0.")
    if (told["records_restored"], told["records_conflicted"]) != (len(proof.restored), len(proof.conflicts)):
        doubts.append("Guard's own report says something else.")
    if not plan_changed_nothing:
        doubts.append("Opening the revert URL changed something.")
    return doubts


def _costs(least: LeastCalls, imported: Timed, reverted: Timed) -> None:
    n, per, window_s = least.records, DOCUMENTED.per_interval, DOCUMENTED.interval_s
    _say("\n6. What it cost:")
    for name, timed, fewest in (("import", imported, least.importing), ("revert", reverted, least.reverting)):
        minutes = timed.calls / per * window_s / 60
        _say(
            f"   {name}  {timed.calls:7,} calls to the CRM, least possible {fewest:7,}; {timed.seconds:6.1f} s here,"
            f" {minutes:5.1f} min at HighLevel's {per} per {window_s:.0f} s"
        )
    _say(f"   HighLevel takes one contact per call: {n:,} reads and {n:,} writes each way. Tags go back by bulk calls,")
    _say(f"   {least.tag_calls} in all: for every 100 contacts one for each tag to add or to remove.\n")


def stay_up(steps: Steps) -> None:
    """Do another import, leave it for the visitor to take back, and wait for Ctrl-C."""
    rows = steps.contacts()[:_STAY_RECORDS]
    again = steps.bulk_import(rows)
    steps.people_edit(rows)
    _say(
        f"\nAnother import has just ruined {len(rows)} candidates, and people edited some since. Take it back yourself:"
    )
    _say(f"   {again.answer['revert_url']}")
    _say(f"The candidates in the CRM:\n   {steps.where.sandbox_url}/_sandbox/state/contacts")
    _say("The servers run until you press Ctrl-C.")
    threading.Event().wait()


def _sample(rows: Sequence[Row]) -> list[Row]:
    """Two contacts that nobody edits, one edited in another field, two in the same ones: see peoples_edits."""
    step = len(rows) // (OTHER_FIELDS + SAME_FIELDS)
    return [rows[n] for n in (1, step + 1, 0, OTHER_FIELDS * step, (OTHER_FIELDS + 1) * step)]


def _show(title: str, lines: Sequence[tuple[Row, str]]) -> None:
    """Contacts in a table, each with a word before it; plain where no terminal draws it."""
    table = Table(title=title, box=box.SIMPLE if _console.is_terminal else box.ASCII)
    for name in ("candidate", "", "job title", "salary", "city", "tags"):
        table.add_column(name, overflow="fold")
    for row, word in lines:
        own = [str(custom(row, field) or "") for field in (JOB_TITLE, SALARY)]
        name = "" if word in ("now", "edited") else row["name"]
        table.add_row(name, word, *own, row.get("city", ""), ", ".join(sorted(row.get("tags", ()))))
    _console.print(table)


def _say(text: str) -> None:
    _console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Take a request to end as a Ctrl-C, so that the servers are stopped then too; even where a shell ignores it."""
    previous = {ending: signal.signal(ending, signal.default_int_handler) for ending in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for ending, handler in previous.items():
            signal.signal(ending, handler)


def main(*, stay: bool, records: int = 1000) -> int:
    """Run the demo with so many candidates, 50 or more.

    0: the proof holds; 1: it does not, or a server failed; 130: interrupted before the proof.
    """
    status = _INTERRUPTED
    try:
        with _stoppable(), servers(records) as where, Steps(where) as steps:
            status = tell(steps)
            if stay:
                stay_up(steps)
    except KeyboardInterrupt:
        _say("\nStopped; the servers too.")
    except (NotStarted, httpx2.HTTPError) as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scenarios.demo", description="A bulk import is ruined and taken back.")
    parser.add_argument("--stay", action="store_true", help="leave the servers up, to click through")
    parser.add_argument("--records", type=int, default=1000, help=f"candidates in the sandbox, {RECORDS_MIN} or more")
    asked = parser.parse_args()
    if asked.records < RECORDS_MIN:
        parser.error(f"the demo needs {RECORDS_MIN} records or more")
    sys.exit(main(stay=asked.stay, records=asked.records))
