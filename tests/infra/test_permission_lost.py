"""Somebody takes Guard's permission away in the middle of its work: a cloud's user policy, Ceph's bucket policy.

The server refuses by itself, Guard is the real one, and what reached the vendor is told by the vendor's own log.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest

from guard.core.entries import decode, unpack
from guard.core.model import Touched
from guard.flows import passage
from guard.flows.recover import Recovery
from guard.settings import StoreSettings
from guard.store.base import Unavailable
from guard.store.probe import prove_create_once
from tests.ceph_server import CephServer
from tests.flows.copies import all_accounted_for, until
from tests.infra.conftest import Deployed
from tests.web.doors import assert_problem, vendor_writes
from tests.world import World, path_of, world

pytestmark = pytest.mark.heavy

RECORDS = 500
"""Five chunks, of which four are under way at once."""
WRITING = ("s3:PutObject",)
EVERYTHING = ("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket")


@dataclass
class Bucket:
    """Guard's bucket, in the hands of its owner."""

    store: StoreSettings
    owner: Any
    environment: dict[str, str]
    """Guard's keys."""
    deny: Callable[[Sequence[str]], object]
    """Take these permissions from Guard; () gives all back."""

    def objects(self) -> dict[str, bytes]:
        """All that is stored, as its owner may read it."""
        name = self.store.url.removeprefix("s3://")
        pages = self.owner.get_paginator("list_objects_v2").paginate(Bucket=name)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self.owner.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}


def in_the_cloud(deployed: Deployed) -> Bucket:
    keys, iam = deployed.aws.user_with(deployed.outputs["PolicyArn"]), deployed.aws.client("iam")

    def deny(actions: Sequence[str]) -> None:
        named = {"UserName": keys.user, "PolicyName": "taken-away"}
        if actions:
            iam.put_user_policy(**named, PolicyDocument=policy(statement("Deny", actions, ["*"])))
        else:
            iam.delete_user_policy(**named)

    return Bucket(deployed.store, deployed.aws.client("s3"), deployed.aws.environment(keys), deny)


def on_ceph(ceph: CephServer) -> Bucket:
    name, owner = f"bucket-{secrets.token_hex(8)}", boto3.Session().client("s3", endpoint_url=ceph.endpoint_url)
    owner.create_bucket(Bucket=name)

    def allow(user: str, actions: Sequence[str]) -> dict[str, Any]:
        arns = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
        return statement("Allow", actions, arns, Principal={"AWS": [f"arn:aws:iam:::user/{user}"]})

    def deny(actions: Sequence[str]) -> None:
        # What another user has put into it not even the bucket's owner may read without being named.
        allowed = [allow("tests", EVERYTHING)]
        if left := [action for action in EVERYTHING if action not in actions]:
            allowed.append(allow("other", left))
        owner.put_bucket_policy(Bucket=name, Policy=policy(*allowed))

    deny(())
    store = StoreSettings(url=f"s3://{name}", endpoint_url=ceph.endpoint_url)
    return Bucket(store, owner, ceph.other, deny)


def statement(effect: str, actions: Sequence[str], resources: Sequence[str], **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": list(resources), **members}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(autouse=True)
def patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage, "_SEAL_BACKOFF_S", 0.01)


@pytest.fixture(params=["cloud", "ceph"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    if request.param == "cloud":
        made = in_the_cloud(request.getfixturevalue("deployed"))
    else:
        made = on_ceph(request.getfixturevalue("ceph"))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session())
    return made


@pytest.fixture
async def there(bucket: Bucket, tmp_path: Path) -> AsyncIterator[World]:
    pace = {"requests": 100_000, "per_s": 1.0, "concurrency": 40}
    async with world(tmp_path, records=RECORDS, store=bucket.store, pace=pace) as made:
        yield made


def with_pre_image(bucket: Bucket, run: str) -> set[str]:
    """Ids of the records whose pre-images are in the bucket, named by an entry that says that sending begins."""
    held, found = bucket.objects(), set()
    for key, data in held.items():
        if key.startswith(f"runs/{run}/0"):
            for event in decode(run, int(key.rpartition("/")[2]), data).events:
                if event["e"] == "sending":
                    image = held.get(f"runs/{run}/images/{event['lines'].get('object')}")
                    found |= {each.change.id for each in unpack(run, event["lines"], image, Touched) if each.before}
    return {id_ for id_ in found if id_}


def written(there: World) -> set[str]:
    return {path.split("/")[2] for _, path, _, _ in vendor_writes(there)}


def an_update(there: World, count: int = RECORDS) -> dict[str, Any]:
    records = [{"id": id_, "fields": {"city": "Wrong"}} for id_ in list(there.contacts)[:count]]
    return {"target": "crm", "resource": "contacts", "action": "update", "records": records}


async def denied_in_mid_write(there: World, bucket: Bucket, denied: Sequence[str], calling: Any) -> Any:
    """What a call is answered that loses the permissions while the vendor has some of its requests in hand."""
    await there.fault(kind="hang", seconds=60, times=20, match={"method": "PUT"})
    already = len(there.sandbox.faults) - 1
    going = asyncio.ensure_future(calling)
    await until(lambda: len(there.sandbox._held) >= 20 + already)
    bucket.deny(denied)
    there.sandbox.faults.clear()
    there.sandbox.release()
    return await going


@pytest.mark.parametrize("denied", [EVERYTHING, WRITING], ids=["everything", "writing"])
async def test_a_run_whose_bucket_loses_its_permission_sends_no_more_tells_how_far_it_came_and_goes_back(
    there: World, bucket: Bucket, denied: Sequence[str]
) -> None:
    before, fourth = there.seen(), list(there.contacts)[300:400]
    # Its pre-images are not yet read when the others' writes are under way.
    await there.fault(kind="hang", seconds=60, times=-1, match={"method": "GET", "path_regex": fourth[-1]})
    reply = await denied_in_mid_write(there, bucket, denied, there.http.post("/v1/operations", json=an_update(there)))

    told = assert_problem(reply, "in_doubt", "unknown")
    assert "access is denied: allow s3:GetObject, s3:PutObject" in told["detail"]
    assert "guard recover" in told["detail"]
    run, sent = told["run"], written(there)
    assert sent == with_pre_image(bucket, run)  # I1
    assert len(sent) >= 20
    assert not sent & set(fourth)
    assert f"{len(sent)} of {RECORDS} records had been sent" in told["detail"]
    known = told["records_applied"] + told["records_failed"] + told["records_in_doubt"]
    assert (known, told["records_not_sent"], told["records_total"]) == (len(sent), RECORDS - len(sent), RECORDS)

    assert_problem(await there.http.post(path_of(told["revert_url"])), "store_unavailable")
    assert written(there) == sent

    bucket.deny(())
    assert [each.detail async for each in Recovery(there.guard).sweep()] == [
        f"ended; {told['records_in_doubt']} records were settled by reading"
    ]
    answer = (await there.http.get(path_of(told["run_url"]))).json()
    assert (answer["status"], answer["records_applied"]) == ("partial", len(sent))
    reverted = await there.revert(told)
    assert (reverted["status"], reverted["records_restored"]) == ("reverted", len(sent))
    assert there.seen() == before
    await all_accounted_for(there.guard)


async def test_a_run_that_loses_the_permission_while_it_reads_has_written_nothing_and_says_so(
    there: World, bucket: Bucket
) -> None:
    before = there.seen()
    await there.fault(kind="hang", seconds=60, times=-1, match={"method": "GET"})
    going = asyncio.ensure_future(there.http.post("/v1/operations", json=an_update(there, 3)))
    await until(lambda: len(there.sandbox._held) >= 3)
    bucket.deny(EVERYTHING)
    there.sandbox.faults.clear()
    there.sandbox.release()
    assert "access is denied" in assert_problem(await going, "store_unavailable")["detail"]
    assert (vendor_writes(there), there.seen()) == ([], before)

    bucket.deny(())
    (ended,) = [each async for each in Recovery(there.guard).sweep()]
    assert ended.detail == "ended; 0 records were settled by reading"
    assert (await there.http.get(f"/v1/runs/{ended.run}")).json()["status"] == "failed"
    await all_accounted_for(there.guard)


def pass_through(there: World, headers: dict[str, str] | None = None) -> Any:
    return there.http.put(f"/to/crm/contacts/{next(iter(there.contacts))}", json={"city": "Wrong"}, headers=headers)


DOORS: dict[str, Callable[[World], Any]] = {
    "operation": lambda there: there.http.post("/v1/operations", json=an_update(there, 3)),
    "operation that nobody waits for": lambda there: there.http.post(
        "/v1/operations", json=an_update(there, 3), headers={"prefer": "respond-async"}
    ),
    "pass-through": pass_through,
    "pass-through with a key": lambda there: pass_through(there, {"idempotency-key": there.sandbox_url}),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("denied", [EVERYTHING, WRITING], ids=["everything", "writing"])
async def test_without_permission_no_write_reaches_the_vendor_and_its_caller_is_told_why(
    there: World, bucket: Bucket, denied: Sequence[str], door: str
) -> None:
    before = there.seen()
    bucket.deny(denied)
    told = assert_problem(await asyncio.wait_for(DOORS[door](there), 5), "store_unavailable")
    assert "access is denied: allow s3:GetObject, s3:PutObject" in told["detail"]
    assert (vendor_writes(there), there.seen()) == ([], before)

    bucket.deny(())
    again = await DOORS[door](there)
    assert again.status_code in (200, 202), again.text
    await there.settle()
    assert there.seen() != before


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/{run}", "/v1/runs/{run}/changes", "/revert/{token}"])
async def test_without_permission_questions_are_answered_clearly_and_reads_pass(
    there: World, bucket: Bucket, path: str
) -> None:
    made = await there.operate("update", an_update(there, 1)["records"])
    bucket.deny(EVERYTHING)
    url = path.format(run=made["id"], token=made["revert_url"].rpartition("/")[2])
    reply = await there.http.get(url, headers={"accept": "application/json"})
    assert "access is denied" in assert_problem(reply, "store_unavailable")["detail"]
    assert reply.headers["retry-after"]
    assert (await there.http.get("/healthz")).json() == {"status": "ok"}
    assert (await there.http.get(f"/to/crm/contacts/{next(iter(there.contacts))}")).status_code == 200


async def test_without_permission_guard_does_not_start_and_check_says_why(there: World, bucket: Bucket) -> None:
    for denied in (EVERYTHING, WRITING):
        bucket.deny(denied)
        with pytest.raises(Unavailable, match="access is denied: allow s3:GetObject, s3:PutObject"):
            await prove_create_once(there.guard.journals.store)
    bucket.deny(())
    await prove_create_once(there.guard.journals.store)


async def test_a_pass_through_write_that_was_under_way_is_in_doubt_with_its_way_back(
    there: World, bucket: Bucket
) -> None:
    before = there.seen()
    await there.fault(kind="hang", seconds=60, times=1, match={"method": "PUT"})
    going = asyncio.ensure_future(pass_through(there))
    await until(lambda: len(there.sandbox._held) == 1)
    bucket.deny(EVERYTHING)
    there.sandbox.release()
    told = assert_problem(await going, "in_doubt", "unknown")
    assert "access is denied" in told["detail"]
    assert there.seen() != before

    bucket.deny(())
    assert (await there.revert(told))["status"] == "reverted"
    assert there.seen() == before


async def test_a_revert_that_loses_the_permission_is_told_so_and_can_be_carried_out_again(
    there: World, bucket: Bucket
) -> None:
    before = there.seen()
    made = await there.operate("update", an_update(there, 150)["records"])
    back: Callable[[], Any] = lambda: there.http.post(path_of(made["revert_url"]))  # noqa: E731
    reply: httpx2.Response = await denied_in_mid_write(there, bucket, EVERYTHING, back())
    assert "access is denied" in assert_problem(reply, "in_doubt", "unknown")["detail"]

    bucket.deny(())
    async for _ in Recovery(there.guard).sweep():
        pass
    again = await there.revert(made)
    assert (again["status"], again["records_conflicted"]) == ("reverted", 0)
    assert there.seen() == before
    await all_accounted_for(there.guard)
