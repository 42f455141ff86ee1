# ruff: noqa: ASYNC221, ASYNC251, T201 - what is tested runs in other processes and threads; figures are for the reader
"""The real process under load, killed at random moments again and again; at the end everything can be taken back."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, revert
from guard.settings import load as load_settings
from guard.store.base import Store
from guard.store.journal import read_entries
from scenarios.sandboxes.common import running
from scenarios.sandboxes.highlevel import create_app as create_sandbox
from tests.flows.copies import Clock, all_accounted_for, copy_of_guard, swept
from tests.flows.stories import everything
from tests.heavy.load import Load
from tests.heavy.process import GuardProcess
from tests.servers import s3_server_process
from tests.world import World

pytestmark = pytest.mark.heavy

KILLS = int(os.environ.get("GUARD_TEST_KILLS", "200"))
SEED = os.environ.get("GUARD_TEST_SEED") or secrets.token_hex(4)
CONTACTS = 24
THREADS = 4


@contextmanager
def sandbox() -> Iterator[tuple[World, str]]:
    app = create_sandbox(records=CONTACTS, limits=None)
    with running(app) as url:
        # Of a world only the vendor's side is used here: Guard is a process.
        yield World(None, None, None, app.state.sandbox, url), url  # type: ignore[arg-type]


def loading(guard: GuardProcess, there: World, seed: str) -> Load:
    return Load(guard.client, list(there.contacts)[:CONTACTS], threads=THREADS, seed=seed)


async def newest_first(guard: Guard) -> list[str]:
    """All runs of the store that are no reverts, by the time at which they were opened."""
    found = []
    for run in {key.split("/")[1] async for key in guard.journals.store.list("runs/")}:
        state = await guard.journals.state(run)
        if state.opened["kind"] == "run":
            found.append((state.opened_at, run))
    return [run for _, run in sorted(found, reverse=True)]


async def everything_taken_back(guard: Guard, there: World, before: Any) -> Counter[str]:
    """Recover what is left, then take every run back, newest first. Gives the reverts' statuses."""
    told: Counter[str] = Counter()
    await swept(guard)
    for run in await newest_first(guard):
        own = await revert(guard, RevertAsked(run=run, client="tests"))
        ended = (await guard.journals.state(run)).reverts[own]
        assert ended is not None
        told[str(ended["status"])] += 1
    await all_accounted_for(guard)
    assert everything(there) == before, (SEED, told)
    return told


async def unsealed(store: Store) -> list[str]:
    """Chunks of which a journal says that they are being sent, and not what came of it."""
    found: dict[str, None] = {}
    for run in {key.split("/")[1] async for key in store.list("runs/")}:
        async for entry in read_entries(store, run):
            for event in entry.events:
                name = f"{run} {event.get('op')} {event.get('chunk')}"
                if event["e"] == "sending":
                    found[name] = None
                elif event["e"] == "sealed":
                    del found[name]
    return list(found)


async def test_killed_two_hundred_times_under_load_it_can_still_take_everything_back(quick_path: Path) -> None:
    print(f"seed {SEED}, {KILLS} kills")
    rng = random.Random(SEED)  # noqa: S311 - it must repeat, not surprise
    with sandbox() as (there, url):
        before = everything(there)
        guard = GuardProcess(quick_path, url, f'url = "file:{quick_path}/store"')
        began = time.monotonic()
        with loading(guard, there, SEED) as load:
            for _ in range(KILLS):
                guard.start()
                time.sleep(rng.uniform(0.05, 1.0))
                guard.kill()
        print(f"{KILLS} kills in {time.monotonic() - began:.0f} s; answers {dict(load.done)}")
        assert load.done[200] > KILLS, "hardly anything was going on"
        last = copy_of_guard(load_settings(guard.config), clock=Clock())
        try:
            print(f"runs taken back: {dict(await everything_taken_back(last, there, before))}")
        finally:
            await last.close()


async def test_told_to_end_under_load_it_ends_what_it_has_begun_and_leaves_the_rest(quick_path: Path) -> None:
    with sandbox() as (there, url):
        before = everything(there)
        guard = GuardProcess(quick_path, url, f'url = "file:{quick_path}/store"')
        last = copy_of_guard(load_settings(guard.config), clock=Clock())
        there.sandbox.latency_s = 0.02
        with loading(guard, there, SEED):
            for _ in range(5):
                guard.start()
                time.sleep(1.0)
                assert guard.end(signal.SIGTERM) == 0, guard.log.read_text()[-2000:]
                assert await unsealed(last.journals.store) == []
        there.sandbox.latency_s = 0.0
        await everything_taken_back(last, there, before)
        await last.close()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    if done.returncode:
        pytest.skip("no small disk can be mounted here (only root may)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607


async def test_on_a_full_disk_nothing_is_written_and_all_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    with sandbox() as (there, url), small_disk(tmp_path / "disk") as disk:
        before = everything(there)
        guard = GuardProcess(tmp_path, url, f'url = "file:{disk}/store"')
        guard.start()
        try:
            with loading(guard, there, SEED) as load, guard.client() as http:
                time.sleep(1.5)
                filler = disk / "filler"
                with filler.open("wb", buffering=0) as file:
                    fill(file)
                time.sleep(3)
                body = {"firstName": "Nobody has room for this"}
                reply = http.put(f"/to/crm/contacts/{next(iter(there.contacts))}", json=body)
                assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
                filler.unlink()
                answered = load.done[200]
                time.sleep(2)
                assert load.done[503] > 0
                assert load.done[200] > answered
            assert json.dumps(everything(there)).count("Nobody has room") == 0
        finally:
            guard.end()
        last = copy_of_guard(load_settings(guard.config), clock=Clock())
        await everything_taken_back(last, there, before)
        await last.close()


def fill(file: Any) -> None:
    try:
        while True:
            file.write(b"\0" * 4096)
    except OSError:
        return


async def test_without_its_store_for_a_minute_nothing_is_written_and_all_goes_on_afterwards(tmp_path: Path) -> None:
    """The S3 server is frozen, so that requests neither fail nor are answered."""
    with sandbox() as (there, url), s3_server_process() as (server, process):
        patch = pytest.MonkeyPatch()
        for name, value in server.environment.items():
            patch.setenv(name, value)
        with closing(boto3.client("s3", endpoint_url=server.endpoint_url)) as client:
            client.create_bucket(Bucket="guard-tests")
        before = everything(there)
        store = f'url = "s3://guard-tests/guard"\nendpoint_url = "{server.endpoint_url}"'
        guard = GuardProcess(tmp_path, url, store)
        guard.start()
        try:
            with loading(guard, there, SEED) as load:
                time.sleep(3)
                process.send_signal(signal.SIGSTOP)
                try:
                    time.sleep(10)
                    written = len(there.sandbox.log.entries)
                    time.sleep(50)
                    assert len(there.sandbox.log.entries) - written <= 200, "reads only, and few"
                finally:
                    process.send_signal(signal.SIGCONT)
                answered = load.done[200]
                time.sleep(10)
                assert load.done[200] > answered
        finally:
            guard.end()
        last = copy_of_guard(load_settings(guard.config), clock=Clock())
        await everything_taken_back(last, there, before)
        await last.close()
        patch.undo()


async def test_recover_by_hand_ends_what_a_killed_process_left(quick_path: Path) -> None:
    with sandbox() as (there, url):
        before = everything(there)
        guard = GuardProcess(quick_path, url, f'url = "file:{quick_path}/store"')
        guard.start()
        with loading(guard, there, SEED):
            time.sleep(1.5)
            guard.kill()
        command = [sys.executable, "-m", "guard.cli", "recover", "--now", "--config", str(guard.config)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        assert done.returncode == 0, done.stderr
        last = copy_of_guard(load_settings(guard.config), clock=Clock())
        assert [recovered async for recovered in Recovery(last).sweep()] == []
        await everything_taken_back(last, there, before)
        await last.close()
