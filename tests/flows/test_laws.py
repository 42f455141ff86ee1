"""Laws: after any sequence of operations, edits by others, faults, crashes and reverts the vendor holds what a model
of a dozen lines says it must hold."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from guard.core.errors import Refused
from guard.flows.guard import Guard
from guard.flows.plan import Narrowing
from guard.flows.revert import RevertAsked, revert
from guard.target import client
from scenarios.sandboxes.common import Fault, running
from scenarios.sandboxes.highlevel import create_app as create_sandbox
from tests.flows.copies import Clock, all_accounted_for, calling, copy_of_guard, swept, until_it_dies
from tests.flows.fuse import Fuse
from tests.flows.laws import FIELDS, Run, State, between, reverted, updated
from tests.world import World
from tests.world import settings as guard_settings

RECORDS = 4
VALUES = strategies.sampled_from("ABC")
WANTED = strategies.dictionaries(
    strategies.integers(0, RECORDS - 1),
    strategies.dictionaries(strategies.sampled_from(FIELDS), VALUES, min_size=1),
    min_size=1,
)
SOME = strategies.none() | strategies.frozensets(strategies.integers(0, RECORDS - 1), min_size=1)
NAMES = strategies.none() | strategies.frozensets(strategies.sampled_from(FIELDS), min_size=1)
# After each of these the write was done or was not, and reading tells which.
FAULTS = strategies.sampled_from("drop_before drop_after half_json empty html done_then_html status".split())


class Laws(RuleBasedStateMachine):
    """One sandbox for all examples, since it is a server; a store for each."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="guard-laws-", dir=_memory()))
        self.app = create_sandbox(records=RECORDS, limits=None)
        self.server = running(self.app)
        url = self.server.__enter__()
        # Of a world only the vendor's side is used here: the copies are made below.
        self.there = World(None, None, None, self.app.state.sandbox, url)  # type: ignore[arg-type]
        self.ids = list(self.there.contacts)
        # The sandbox has no limit, and waiting for the vendor's own would be most of the time.
        pace = {"requests": 10_000, "per_s": 1.0, "concurrency": 20}
        self.settings = guard_settings(f"file:{self.folder}", url, pace=pace)
        self.clock = Clock()
        self.guard = copy_of_guard(self.settings, clock=self.clock)
        self.runs: list[tuple[str, Run]] = []
        self.state: State = {}

    @initialize()
    def begin(self) -> None:
        for id_ in self.ids:
            self.edited(id_, dict.fromkeys(FIELDS, "A"))
        self.state = {id_: dict.fromkeys(FIELDS, "A") for id_ in self.ids}

    def edited(self, id_: str, fields: dict[str, str]) -> None:
        vendor = self.there.vendor
        vendor.edit("contacts", vendor.contacts.rows[id_], fields)
        vendor.store.commit()

    @rule(wanted=WANTED)
    def operate(self, wanted: dict[int, dict[str, str]]) -> None:
        self.state, run = updated(self.state, self.named(wanted))
        self.runs.append((self.told(self.guard, wanted)["id"], run))

    @rule(wanted=WANTED, kind=FAULTS, after=strategies.integers(0, 2))
    def operate_with_a_fault(self, wanted: dict[int, dict[str, str]], kind: str, after: int) -> None:
        """One answer is lost or wrong; writes that set fields are repeated, so all is done in the end."""
        self.there.sandbox.faults.append(Fault(kind=kind, match={"method": "PUT"}, after=after))
        self.operate(wanted)
        self.there.sandbox.faults.clear()

    @rule(wanted=WANTED, step=strategies.integers(0, 9), after=strategies.booleans())
    def operate_and_die(self, wanted: dict[int, dict[str, str]], step: int, after: bool) -> None:
        """A copy dies in the middle; another one recovers. What was done, the vendor tells: the model takes it over."""
        fuse = Fuse(step, after=after)
        dying = copy_of_guard(self.settings, fuse=fuse, clock=self.clock)
        known = self.all_runs()

        async def life(guard: Guard) -> None:
            await self.post(guard, wanted)
            await guard.idle()

        async def whole() -> None:
            await until_it_dies(dying, fuse, life)
            await swept(self.guard)

        self.loop.run_until_complete(whole())
        asked, (done, run) = self.named(wanted), updated(self.state, self.named(wanted))
        self.state = {id_: self.seen()[id_] if id_ in asked else row for id_, row in self.state.items()}
        for id_ in asked:
            assert self.state[id_] in (done[id_], self.before_of(id_, run)), "neither written nor left alone"
        # Of what was announced nobody knows whether it still comes: to its revert it counts as done.
        self.runs += [(name, run if self.announced(name) else Run({}, {})) for name in self.all_runs() - known]

    def announced(self, run: str) -> bool:
        state = self.loop.run_until_complete(self.guard.journals.state(run))
        return any(op.chunks for op in state.operations.values())

    def before_of(self, id_: str, run: Run) -> dict[str, str]:
        return {**self.state[id_], **run.after[id_], **run.before[id_]}

    @rule(who=strategies.integers(0, RECORDS - 1), name=strategies.sampled_from(FIELDS), value=VALUES)
    def somebody_edits(self, who: int, name: str, value: str) -> None:
        self.edited(self.ids[who], {name: value})
        self.state[self.ids[who]] = {**self.state[self.ids[who]], name: value}

    @rule(native=WANTED, guarded=strategies.none() | WANTED, sealed=strategies.booleans())
    def bracket(
        self, native: dict[int, dict[str, str]], guarded: dict[int, dict[str, str]] | None, sealed: bool
    ) -> None:
        """What others wrote between checkpoint and seal, an operation of ours among them, is the bracket's as it came
        out. One that is not sealed is sealed by what takes it back, here at once."""
        old, run = self.state, self.loop.run_until_complete(self.ask("checkpoints", ids=self.ids))["id"]
        for id_, fields in self.named(native).items():
            self.edited(id_, fields)
        self.state, _ = updated(self.state, self.named(native))
        if guarded:
            self.operate(guarded)
        self.runs.append((run, between(old, self.state)))
        if sealed:
            self.loop.run_until_complete(self.ask(f"runs/{run}/seal"))
        else:
            self.take_back(len(self.runs) - 1, None, None)

    @precondition(lambda self: self.runs)
    @rule(which=strategies.integers(0), some=SOME, names=NAMES)
    def take_back(self, which: int, some: frozenset[int] | None, names: frozenset[str] | None) -> None:
        name, run = self.runs[which % len(self.runs)]
        ids = frozenset(self.ids[n] for n in some) if some is not None else None
        new, whole = reverted(self.state, run, ids, names)
        asked = RevertAsked(run=name, client="tests", narrowing=Narrowing(ids=ids, fields=names))
        try:
            own = self.loop.run_until_complete(revert(self.guard, asked))
        except Refused:  # the run did nothing that the narrowing names
            new, own = self.state if new == self.state else {}, ""
        if not own:
            assert new, "it was refused, and there was something to take back"
            return
        state = self.loop.run_until_complete(self.guard.journals.state(name))
        ended = state.reverts[own]
        assert ended is not None
        if not whole:
            assert ended["status"] == "partly_reverted"
        elif asked.narrowing == Narrowing():  # one that leaves out something that the run did is partly_reverted, too
            assert ended["status"] == "reverted"
        self.runs.append((own, between(self.state, new)))
        self.state = new

    @precondition(lambda self: self.runs)
    @rule(which=strategies.integers(0), step=strategies.integers(0, 9), after=strategies.booleans())
    def die_while_taking_back(self, which: int, step: int, after: bool) -> None:
        """A revert that is cut anywhere and repeated ends where one that was not cut ends."""
        name, run = self.runs[which % len(self.runs)]
        new, whole = reverted(self.state, run, None, None)
        fuse = Fuse(step, after=after)
        dying = copy_of_guard(self.settings, fuse=fuse, clock=self.clock)

        async def life(guard: Guard) -> None:
            await revert(guard, RevertAsked(run=name, client="tests"))

        async def both() -> str:
            await until_it_dies(dying, fuse, life)
            await swept(self.guard)
            own = await revert(self.guard, RevertAsked(run=name, client="tests"))
            return str((await self.guard.journals.state(name)).reverts[own]["status"])  # type: ignore[index]

        assert self.loop.run_until_complete(both()) == ("reverted" if whole else "partly_reverted")
        self.state = new

    @invariant()
    def model_and_vendor_agree(self) -> None:
        if self.state:
            assert self.seen() == self.state

    def seen(self) -> State:
        return {id_: {name: self.there.contacts[id_][name] for name in FIELDS} for id_ in self.ids}

    def named(self, wanted: dict[int, dict[str, str]]) -> State:
        return {self.ids[n]: fields for n, fields in wanted.items()}

    def all_runs(self) -> set[str]:
        async def found() -> set[str]:
            runs = {key.split("/")[1] async for key in self.guard.journals.store.list("runs/")}
            return {run for run in runs if (await self.guard.journals.state(run)).opened["kind"] == "run"}

        return self.loop.run_until_complete(found())

    def told(self, guard: Guard, wanted: dict[int, dict[str, str]]) -> dict[str, Any]:
        return self.loop.run_until_complete(self.post(guard, wanted))

    async def post(self, guard: Guard, wanted: dict[int, dict[str, str]]) -> dict[str, Any]:
        records = [{"id": id_, "fields": fields} for id_, fields in self.named(wanted).items()]
        return await self.ask("operations", guard, action="update", records=records)

    async def ask(self, what: str, guard: Guard | None = None, **members: Any) -> dict[str, Any]:
        guard = guard or self.guard
        async with calling(guard) as http:
            reply = await http.post(f"/v1/{what}", json={"target": "crm", "resource": "contacts", **members})
            assert reply.status_code == 200, reply.text
            await guard.idle()
            return dict(reply.json())

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(all_accounted_for(self.guard))
        finally:
            self.loop.run_until_complete(self.guard.close())
            self.server.__exit__(None, None, None)
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of the machine's, as /tmp is


UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking would run thousands of stories, each with servers and crashes of its own."""

QUICK = settings(
    deadline=None,
    max_examples=12,
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=UNSHRUNK,
)


@pytest.mark.parametrize(
    "patience",
    [
        pytest.param(QUICK, id="few"),
        pytest.param(
            settings(QUICK, max_examples=60, stateful_step_count=25, derandomize=False),
            id="many",
            marks=pytest.mark.heavy,
        ),
    ],
)
def test_model_and_vendor_agree_whatever_happens(patience: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF_S", 0.001)
    run_state_machine_as_test(Laws, settings=patience)
