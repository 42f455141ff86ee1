"""The command line as its users have it: the installed command, in a process of its own, its output piped."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.servers import free_port
from tests.web.doors import nothing_is_written, updates
from tests.web.serving import SETTINGS
from tests.world import PUBLIC_URL, World

GUARD = Path(sys.executable).parent / "guard"


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


async def run(folder: Path, *arguments: str) -> Done:
    environment = {name: value for name, value in os.environ.items() if name not in ("GUARD_CONFIG", "COLUMNS")}
    process = await asyncio.create_subprocess_exec(
        GUARD, *arguments, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def folder(small_world: World, tmp_path: Path) -> Path:
    """A folder with a guard.toml for the world's store and sandbox."""
    store = f'[store]\nurl = "file:{tmp_path}/store"'
    text = SETTINGS.format(url=PUBLIC_URL, tables=store, sandbox=small_world.sandbox_url, location=LOCATION_ID)
    (tmp_path / "guard.toml").write_text(text)
    return tmp_path


async def test_runs_and_show_tell_what_was_done(small_world: World, folder: Path) -> None:
    told = await small_world.operate("update", updates(small_world), scenario="import [/of] [red]Tuesday[/red]")

    listed = await run(folder, "runs")
    shown = await run(folder, "show", told["id"])

    (line,) = [line for line in listed.out.splitlines() if told["id"] in line]
    assert "import [/of] [red]Tuesday[/red]" in line
    assert shown.json()["revert_url"] == told["revert_url"]


async def test_runs_are_narrowed_by_target_and_time_and_an_odd_time_is_refused(
    small_world: World, folder: Path
) -> None:
    told = await small_world.operate("update", updates(small_world))

    here = await run(folder, "runs", "--target", "crm", "--since", "2020-01-31")
    elsewhere = await run(folder, "runs", "--target", "other")
    later = await run(folder, "runs", "--since", "2999-01-01T00:00:00+02:00")
    odd = await run(folder, "runs", "--since", "yesterday")

    assert [told["id"] in each.out for each in (here, elsewhere, later)] == [True, False, False]
    assert (odd.status, "--since" in odd.err) == (2, True)


async def test_a_run_is_taken_back_by_its_id_or_its_address(small_world: World, folder: Path) -> None:
    before = small_world.seen()
    first = await small_world.operate("update", updates(small_world))
    checked = await run(folder, "revert", first["id"], "--dry-run")
    taken_back = await run(folder, "revert", first["id"])
    assert (checked.json()["records_restored"], taken_back.json()["records_restored"]) == (3, 3)

    second = await small_world.operate("update", updates(small_world))
    assert (await run(folder, "revert", second["revert_url"])).json()["status"] == "reverted"

    assert before == small_world.seen()


async def test_a_revert_is_narrowed_and_an_empty_list_is_not_taken_for_everything(
    small_world: World, folder: Path
) -> None:
    told = await small_world.operate("update", updates(small_world, city="Rome"))
    first, second, *_ = list(small_world.contacts)
    with nothing_is_written(small_world):
        for option in ("--ids", "--fields"):
            refused = await run(folder, "revert", told["id"], option, "")
            assert (refused.status, option in refused.err) == (2, True), refused
        assert (await run(folder, "revert", told["id"], "--ids", "nobody")).status == 2

    narrowed = await run(folder, "revert", told["id"], "--ids", f"{first},{second}", "--fields", "city")

    assert narrowed.json()["records_restored"] == 2


async def test_a_revoked_run_is_taken_back_by_its_id_only(small_world: World, folder: Path) -> None:
    """Whoever has the settings can always take a run back; who has but the address cannot any more."""
    before = small_world.seen()
    told = await small_world.operate("update", updates(small_world))

    assert (await run(folder, "revoke", told["id"])).status == 0
    by_url = await run(folder, "revert", told["revert_url"])
    by_id = await run(folder, "revert", told["id"])

    assert (by_url.status, "revoked" in by_url.err) == (2, True)
    assert by_id.json()["status"] == "reverted"
    assert before == small_world.seen()


async def test_verify_tells_damage_by_its_exit_status(small_world: World, folder: Path) -> None:
    told = await small_world.operate("update", updates(small_world))
    whole = await run(folder, "verify")
    entry = folder / "store" / "runs" / told["id"] / "00000001"
    entry.write_bytes(entry.read_bytes().replace(b'"n":1', b'"n":7'))

    damaged = await run(folder, "verify", told["id"])

    assert (whole.status, damaged.status) == (0, 1)
    assert "DAMAGED" in damaged.out
    assert "entry 1" in damaged.out


@pytest.mark.parametrize("command", ["show", "verify", "revert", "revoke"])
@pytest.mark.parametrize("named", ["run_00000000000000000000000000", "https://guard.test/revert/cut"])
async def test_a_run_that_is_not_there_is_told(tmp_path: Path, command: str, named: str) -> None:
    text = SETTINGS.format(url=PUBLIC_URL, tables="", sandbox="http://127.0.0.1:9", location=LOCATION_ID)
    (tmp_path / "guard.toml").write_text(text)
    told = await run(tmp_path, command, named)
    assert (told.status, told.err.startswith("guard: "), "Traceback" in told.err) == (2, True, False), told


async def test_recover_says_that_there_is_nothing_to_do(folder: Path) -> None:
    assert (await run(folder, "recover")).out == "No run is unfinished.\n"


async def test_check_names_what_does_not_work(small_world: World, folder: Path) -> None:
    works = await run(folder, "check")
    await small_world.fault(kind="status", status=401, times=9)
    refused = await run(folder, "check")
    assert (works.status, refused.status) == (0, 1)
    assert "target crm: does not work" in refused.out


async def test_without_settings_the_commands_say_how_to_name_them(tmp_path: Path) -> None:
    for command in (["runs"], ["check"], ["runs", "--config", "nowhere.toml"]):
        told = await run(tmp_path, *command)
        assert (told.status, told.err.startswith("guard: ")) == (2, True), told
    assert "--config" in (await run(tmp_path, "runs")).err


async def test_a_port_that_is_taken_or_none_is_told(small_world: World, folder: Path) -> None:
    taken = await run(folder, "serve", "--port", small_world.sandbox_url.rpartition(":")[2])
    none = await run(folder, "serve", "--port", "99999")
    assert (taken.status, none.status) == (2, 2)
    assert "cannot listen" in taken.err


async def test_the_sandbox_command_passes_its_options_on(tmp_path: Path) -> None:
    wrong, helped = await run(tmp_path, "sandbox", "keap", "--records=-1"), await run(tmp_path, "sandbox", "--help")
    assert (wrong.status, "Traceback" in wrong.err, "--records" in wrong.err) == (2, False, True), wrong
    assert (helped.status, "salesforce" in helped.out) == (0, True), helped


async def test_without_settings_there_is_a_sandbox_a_key_and_commands_that_find_them(tmp_path: Path) -> None:
    """From nothing to a run that is taken back, as the printed words say."""
    serving = await asyncio.create_subprocess_exec(
        GUARD, "serve", "--port", str(free_port()), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert serving.stdout
        lines: list[str] = []
        while not lines or not lines[-1].startswith("guard: "):
            lines.append((await asyncio.wait_for(serving.stdout.readline(), 60)).decode())
        words = dict(line.split() for line in lines if line.startswith("  ") and len(line.split()) == 2)
        async with httpx2.AsyncClient(
            base_url=lines[-1].split()[1], headers={"guard-key": words["key"]}, timeout=60
        ) as http:
            found = await http.get("/to/crm/contacts/", params={"locationId": LOCATION_ID, "limit": 1})
            (contact,) = found.json()["contacts"]
            written = await http.put(f"/to/crm/contacts/{contact['id']}", json={"firstName": "Oops"})
            address = written.headers["guard-revert-url"]
            assert (await http.get(address)).status_code == 200
            listed = await run(tmp_path, "runs")
            assert written.headers["guard-run"] in listed.out
            taken_back = await run(tmp_path, "revert", address)
            assert taken_back.json()["records_restored"] == 1, taken_back
            assert (await run(tmp_path, "check")).status == 0
            sample = (tmp_path / "guard-data" / "hooks" / "contact-update.sample.json").read_bytes()
            headers = {"content-type": "application/json"}
            hooked = (await http.post("/hooks/contact-update", content=sample, headers=headers)).json()
            assert (hooked["status"], hooked["records_total"]) == ("applied", 3)
    finally:
        serving.terminate()
        await serving.wait()
