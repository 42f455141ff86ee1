"""Two real Guards on one bucket and one queue: they share runs, and one does what the other was killed over."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest

from guard.core.limits import QUEUE_LEASE_S
from scenarios.sandboxes.common import running
from scenarios.sandboxes.highlevel import create_app
from tests.servers import S3Server
from tests.web.serving import Served, in_front_of

pytestmark = pytest.mark.heavy

RECORDS = 150
PACE = "[targets.crm.limits]\nrequests = 1000\nper_s = 1.0\nconcurrency = 20"


@dataclass
class Pair:
    one: Served
    other: Served
    contacts: dict[str, dict[str, Any]]

    def seen(self) -> dict[str, tuple[Any, ...]]:
        return {id_: (row.get("city"), row.get("firstName")) for id_, row in self.contacts.items()}


@pytest.fixture
def pair(s3_server: S3Server, tmp_path: Path) -> Iterator[Pair]:
    bucket = "two-guards"
    boto3.client("s3", endpoint_url=s3_server.endpoint_url).create_bucket(Bucket=bucket)
    sqs = boto3.client("sqs", endpoint_url=s3_server.endpoint_url)
    dead = sqs.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "5"}}'
    queue = sqs.create_queue(QueueName="runs.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": redrive})[
        "QueueUrl"
    ]
    endpoint = f'endpoint_url = "{s3_server.endpoint_url}"'
    tables = (
        f'lease_s = 2\n[store]\nurl = "s3://{bucket}/guard"\n{endpoint}\n[queue]\nurl = "{queue}"\n{endpoint}\n{PACE}'
    )
    app = create_app(records=RECORDS, limits=None)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with running(app) as url:
        sandbox = app.state.sandbox
        with (
            in_front_of(sandbox, url, folders[0], tables, s3_server.environment) as one,
            in_front_of(sandbox, url, folders[1], tables, s3_server.environment) as other,
        ):
            yield Pair(one, other, sandbox.vendor.contacts.rows)


async def told(http: httpx2.AsyncClient, run: str) -> dict[str, Any]:
    return dict((await http.get(f"/v1/runs/{run}")).raise_for_status().json())


async def test_a_run_of_one_is_seen_and_taken_back_by_the_other(pair: Pair) -> None:
    before = pair.seen()
    async with pair.one.client() as one, pair.other.client() as other:
        body = {"target": "crm", "resource": "contacts", "action": "update", "records": records(pair, "Elsewhere")}
        made = (await one.post("/v1/operations", json=body)).raise_for_status().json()
        assert (await told(other, made["id"]))["records_applied"] == RECORDS
        back = await other.post(f"/revert/{made['revert_url'].rpartition('/')[2]}")
        assert back.json()["status"] == "reverted", back.text
    assert pair.seen() == before


def records(pair: Pair, city: str) -> list[dict[str, Any]]:
    return [{"id": id_, "fields": {"city": city}} for id_ in pair.contacts]


async def test_what_a_killed_one_had_accepted_is_done_by_the_other_and_goes_back_whole(pair: Pair) -> None:
    before = pair.seen()
    pair.one.sandbox.latency_s = 0.2
    async with pair.one.client() as one, pair.other.client() as other:
        runs = []
        for city in ("First", "Second", "Third"):
            body = {"target": "crm", "resource": "contacts", "action": "update", "records": records(pair, city)}
            accepted = await one.post("/v1/operations", json=body, headers={"prefer": "respond-async"})
            assert accepted.status_code == 202, accepted.text
            runs.append(accepted.json())
        await until_begun(other, [run["id"] for run in runs])
        os.kill(pair.one.process.pid, signal.SIGKILL)
        pair.one.sandbox.latency_s = 0
        deadline = asyncio.get_running_loop().time() + QUEUE_LEASE_S * 3
        while any([(await told(other, run["id"]))["status"] == "running" for run in runs]):
            assert asyncio.get_running_loop().time() < deadline, [await told(other, run["id"]) for run in runs]
            await asyncio.sleep(1)
        done = [await told(other, run["id"]) for run in runs]
        assert [each["records_applied"] + each["records_in_doubt"] for each in done] == [RECORDS] * 3
        assert sum(each["records_in_doubt"] for each in done) <= RECORDS
        for run in reversed(runs):
            back = await other.post(f"/revert/{run['revert_url'].rpartition('/')[2]}", headers={"prefer": "wait=60"})
            assert back.status_code == 200, back.text
    assert pair.seen() == before


async def until_begun(http: httpx2.AsyncClient, runs: list[str]) -> None:
    """Until one of them has sent something, whichever copy drives it."""
    for _ in range(400):
        if any([(await told(http, run))["records_applied"] for run in runs]):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was begun")
