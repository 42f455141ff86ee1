"""A real Guard runs on what the template made, with the rights that it gives."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.infra.conftest import Deployed
from tests.web.serving import Served, served


@pytest.fixture(scope="module")
def guard(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    url, queue = deployed.aws.endpoint_url, deployed.outputs["QueueUrl"]
    tables = f'[store]\nurl = "{deployed.store.url}"\nendpoint_url = "{url}"\n[queue]\nurl = "{queue}"'
    environment = deployed.aws.environment(deployed.keys)
    with served(tmp_path_factory.mktemp("served"), tables, environment) as made:
        yield made


def command(guard: Served, deployed: Deployed, *words: str) -> subprocess.CompletedProcess[str]:
    config = str(guard.log.parent / "guard.toml")
    return subprocess.run(  # noqa: S603 - words of the tests
        [sys.executable, "-m", "guard.cli", *words, "--config", config],
        env={**os.environ, **deployed.aws.environment(deployed.keys)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_an_operation_and_its_revert(guard: Served, deployed: Deployed) -> None:
    rows = guard.sandbox.vendor.contacts.rows  # type: ignore[attr-defined]
    before = {id_: row["city"] for id_, row in rows.items()}
    records = [{"id": id_, "fields": {"city": "Overwritten"}} for id_ in before]
    async with guard.client() as http:
        body = {"target": "crm", "resource": "contacts", "action": "update", "records": records}
        told = (await http.post("/v1/operations", json=body)).raise_for_status().json()
        assert (told["status"], told["records_applied"]) == ("applied", 20)
        assert {row["city"] for row in rows.values()} == {"Overwritten"}
        reverted = (await http.post(told["revert_url"])).raise_for_status().json()
        assert (reverted["status"], reverted["records_restored"]) == ("reverted", 20)
    assert {id_: row["city"] for id_, row in rows.items()} == before
    assert [key for key in deployed.keys_stored() if key.startswith(f"runs/{told['id']}/")]


def test_check_and_verify_find_nothing_wrong(guard: Served, deployed: Deployed) -> None:
    checked, verified = command(guard, deployed, "check"), command(guard, deployed, "verify")
    assert (checked.returncode, "store: works" in checked.stdout) == (0, True), checked.stdout + checked.stderr
    assert (verified.returncode, "0 damages" in verified.stdout) == (0, True), verified.stdout + verified.stderr


def test_all_that_it_stored_lies_in_folders_that_the_template_names(guard: Served, deployed: Deployed) -> None:
    assert {key.partition("/")[0] for key in deployed.keys_stored()} <= {
        "runs",
        "index",
        "open",
        "subscriptions",
        "probe",
    }
