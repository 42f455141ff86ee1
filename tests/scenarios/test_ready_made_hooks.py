"""The scenario files that come with Guard, each with its sample, through a real server to a sandbox and back."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from scenarios.sandboxes import bamboohr
from scenarios.sandboxes import bamboohr_seed as hr_seed
from scenarios.sandboxes.common import Sandbox, running
from tests.conftest import known_in_environment
from tests.hooks.test_signature import MALFORMED
from tests.web.hooking import BY_KEY, SIGNED, signature, write
from tests.web.serving import Served, served
from tests.world import KEY

FOLDER = Path(__file__).parents[2] / "scenarios" / "hooks"
HOOKS = sorted(path.stem for path in FOLDER.glob("*.toml"))
HR = """
[store]
url = "file:{folder}/store"
[scenarios]
folder = "{hooks}"
[[clients]]
name = "people"
key = {{ env = "GUARD_TEST_HR_KEY" }}
targets = ["hr"]
[targets.hr]
handler = "bamboohr"
credential = {{ env = "GUARD_TEST_TOKEN" }}
base_url = "{sandbox}"
options = {{ company = "{company}" }}
"""
HR_KEY = "test-key-of-the-people-s-team"


@pytest.fixture(scope="module")
def with_both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Sandbox]]:
    """A Guard in a process of its own, before a HighLevel and a BambooHR sandbox, with the shipped files."""
    folder = tmp_path_factory.mktemp("served")
    hooks = Path(shutil.copytree(FOLDER, folder / "hooks"))
    write(hooks, "signed", SIGNED)
    app = bamboohr.create_app(records=6, limits=None)
    with running(app) as url, known_in_environment({"GUARD_TEST_HR_KEY": HR_KEY}):
        tables = HR.format(folder=folder, hooks=hooks, sandbox=url, company=hr_seed.COMPANY)
        with served(folder, tables, dict(os.environ)) as guard:
            yield guard, app.state.sandbox


def held(sandbox: Sandbox) -> dict[str, Any]:
    """All records of a sandbox without the times that it keeps itself."""
    volatile = ("dateUpdated", "updatedAt", "lastActivity", "lastChanged", "lastStageChangeAt", "lastStatusChangeAt")
    tables = sandbox.vendor.store.tables.items()
    return {
        f"{name}/{id_}": {key: sorted(value) if key == "tags" else value for key, value in row.items()}
        | dict.fromkeys(volatile)
        for name, table in tables
        for id_, row in table.rows.items()
    }


def test_there_is_one_for_each_of_the_usual_tasks() -> None:
    assert HOOKS == ["contact-update", "salary-import", "stage-move", "tag-sweep"]


@pytest.mark.parametrize("name", HOOKS)
async def test_a_ready_made_hook_does_what_its_sample_says_and_is_taken_back(
    with_both: tuple[Served, Sandbox], name: str
) -> None:
    guard, hr = with_both
    sandbox, key = (hr, HR_KEY) if name == "salary-import" else (guard.sandbox, KEY)
    before = held(sandbox)
    content = (FOLDER / f"{name}.sample.json").read_bytes()
    async with httpx2.AsyncClient(base_url=guard.url, headers={"guard-key": key}, timeout=60) as http:
        headers = {"content-type": "application/json"}
        told = (await http.post(f"/hooks/{name}", content=content, headers=headers)).json()
        assert (told["status"], told["records_failed"], told["reversible"]) == ("applied", 0, "full"), told
        changed = held(sandbox)
        assert told["records_total"] == len([id_ for id_ in changed if changed[id_] != before.get(id_)])
        reverted = (await http.post(told["revert_url"])).json()
    assert (reverted["status"], reverted["records_restored"]) == ("reverted", told["records_total"]), reverted
    assert before == held(sandbox)


async def test_the_tag_sweep_leaves_other_tags_alone(with_both: tuple[Served, Sandbox]) -> None:
    guard, _ = with_both
    payload = orjson.loads((FOLDER / "tag-sweep.sample.json").read_bytes())
    (first, *_) = payload["contact_ids"]
    before = list(guard.sandbox.vendor.store.tables["contacts"].rows[first]["tags"])
    async with guard.client() as http:
        told = (await http.post("/hooks/tag-sweep", json=payload)).json()
        after = guard.sandbox.vendor.store.tables["contacts"].rows[first]["tags"]
        assert set(before) - set(payload["tags"]) == set(after)
        await http.post(told["revert_url"])


async def test_the_stage_move_moves_only_what_is_ticked(with_both: tuple[Served, Sandbox]) -> None:
    guard, _ = with_both
    payload = orjson.loads((FOLDER / "stage-move.sample.json").read_bytes())
    async with guard.client() as http:
        told = (await http.post("/hooks/stage-move", json=payload, headers={"guard-dry-run": "1"})).json()
    assert told["records_total"] == 1 < len(payload["opportunities"])


async def test_signed_calls_over_the_wire_are_taken_and_malformed_ones_are_401(
    with_both: tuple[Served, Sandbox],
) -> None:
    guard, _ = with_both
    content = b'{"people": [{"who": "80odnXVE9BAcgXuiNEr1", "home": {"city": "Porto"}}]}'
    given = {"content-type": "application/json", "guard-dry-run": "1"}
    async with httpx2.AsyncClient(base_url=guard.url, timeout=60) as http:
        taken = await http.post("/hooks/signed", content=content, headers={**given, **signature(content)})
        assert (taken.status_code, taken.json()["records_total"]) == (200, 1)
        for name, changed in MALFORMED.items():
            headers = {**given, **signature(content), **changed}
            sent = {key.encode(): value.encode("latin-1") for key, value in headers.items() if value is not None}
            with suppress(httpx2.LocalProtocolError):  # what no client sends; tests/web/test_hook_signatures.py does
                reply = await http.post("/hooks/signed", content=content, headers=sent)
                assert reply.status_code in ((400, 401) if "control" in name else (401,)), name


async def test_a_file_that_breaks_is_in_the_log_before_anybody_calls_it(with_both: tuple[Served, Sandbox]) -> None:
    guard, _ = with_both
    write(guard.log.parent / "hooks", "breaks", BY_KEY.replace('"people"', '"people["'))

    async def is_told() -> bool:
        lines = guard.log.read_bytes().splitlines()
        return any(b'"hook_broken"' in line and b"breaks.toml:4" in line for line in lines)

    await guard.until(20, is_told)
