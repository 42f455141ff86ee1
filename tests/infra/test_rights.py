"""The rights in the template are those that Guard uses: one too many or one too few fails here.

Every request that boto3 makes is recorded, by whichever part of Guard makes it, while all methods of the store and of
the queue and the flows run with the rights of the deployed policy; the server refuses what it does not allow.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from guard.flows.recover import Recovery
from guard.flows.verify import verify_all
from guard.queue.base import Job
from guard.queue.sqs import SqsQueue
from guard.store.base import KeyMissing, KeyTaken, Store
from guard.store.opening import open_store
from guard.store.probe import prove_create_once
from tests.infra.aws import Aws, aws_server
from tests.infra.conftest import Deployed
from tests.world import world

Right = tuple[str, str]
"""An action and the ARN of what it is done to."""

ACTIONS = {
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
}
"""Where the right is called otherwise than the request."""

FOLDERS = ("runs", "index", "open", "subscriptions", "probe")


class Recorder:
    """Which rights this process's requests needed, by what boto3 was asked to send."""

    def __init__(self, session: boto3.Session, deployed: Deployed) -> None:
        self.rights: set[Right] = set()
        self._queue = arn_of_queue(deployed)
        session.events.register("before-parameter-build", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        action = ACTIONS.get(model.name, f"{service}:{model.name}")
        bucket = f"arn:aws:s3:::{params.get('Bucket')}"
        arn = self._queue if service == "sqs" else f"{bucket}/{params['Key']}" if "Key" in params else bucket
        self.rights.add((action, arn))


def arn_of_queue(deployed: Deployed) -> str:
    asked = deployed.aws.client("sqs").get_queue_attributes(
        QueueUrl=deployed.outputs["QueueUrl"], AttributeNames=["QueueArn"]
    )
    return str(asked["Attributes"]["QueueArn"])


def allowed(deployed: Deployed) -> set[Right]:
    """The deployed policy's actions, each with each of its resources."""
    iam, arn = deployed.aws.client("iam"), deployed.outputs["PolicyArn"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    statements = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]["Statement"]
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    return {
        (action, resource)
        for statement in statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def covers(right: Right, used: Right) -> bool:
    return right[0] == used[0] and fnmatchcase(used[1], right[1])


async def use_the_store(store: Store) -> None:
    await prove_create_once(store)
    for folder in FOLDERS:
        await store.create(f"{folder}/rights", b"")
        with pytest.raises(KeyTaken):
            await store.create(f"{folder}/rights", b"")
        assert await store.get(f"{folder}/rights") == b""
        with pytest.raises(KeyMissing):
            await store.get(f"{folder}/missing")
        assert [key async for key in store.list(f"{folder}/rights")] == [f"{folder}/rights"]
    for folder in ("open", "probe"):
        await store.remove(f"{folder}/rights")
    await store.close()


async def use_the_queue(queue: SqsQueue) -> None:
    await queue.put(Job("crm", "run_1", "op_1"))
    lease = await asyncio.wait_for(queue.take(), 30)
    await queue.extend(lease)
    await queue.release(lease)
    await queue.done(await asyncio.wait_for(queue.take(), 30))
    await queue.close()


async def use_guard(folder: Path, deployed: Deployed) -> None:
    """An operation with images of every size, a run with two of them, a revert, and the commands."""
    async with world(folder, store=deployed.store) as there:
        ids = list(there.contacts)
        before = there.seen()
        long = [{"id": id_, "fields": {"city": f"{id_} " * 4000}} for id_ in ids]
        run = await there.operate("update", long, headers={"guard-run-key": "rights"})
        await there.operate("update", [{"id": ids[0], "fields": {"city": "x"}}], headers={"guard-run-key": "rights"})
        assert (await there.revert(run))["status"] == "reverted"
        assert there.seen() == before
        assert not [finding async for finding in verify_all(there.guard.journals) if finding.damage]
        await there.guard.journals.mark_open("run_that_never_began")
        assert [each.run async for each in Recovery(there.guard).sweep(at_once=True)] == ["run_that_never_began"]


async def test_the_policy_allows_what_guard_does_and_nothing_else(
    tmp_path: Path, deployed: Deployed, as_guard: boto3.Session
) -> None:
    recorder = Recorder(as_guard, deployed)
    await use_guard(tmp_path, deployed)
    await use_the_store(open_store(deployed.outputs["StoreUrl"], endpoint_url=deployed.aws.endpoint_url))
    await use_the_queue(SqsQueue(deployed.outputs["QueueUrl"], endpoint_url=deployed.aws.endpoint_url, poll_s=1))
    rights = allowed(deployed)
    assert {action for action, _ in recorder.rights} == {action for action, _ in rights}
    assert not {used for used in recorder.rights if not any(covers(right, used) for right in rights)}
    assert not {right for right in rights if not any(covers(right, used) for used in recorder.rights)}


FORBIDDEN: dict[str, Callable[[Deployed], Any]] = {
    "delete a journal": lambda d: guard_s3(d).delete_object(Bucket=d.bucket, Key="runs/run_x/00000000"),
    "delete from the index": lambda d: guard_s3(d).delete_object(Bucket=d.bucket, Key="index/x"),
    "delete many at once": lambda d: guard_s3(d).delete_objects(
        Bucket=d.bucket, Delete={"Objects": [{"Key": "runs/run_x/00000000"}]}
    ),
    "put outside its folders": lambda d: guard_s3(d).put_object(Bucket=d.bucket, Key="x", Body=b"", IfNoneMatch="*"),
    "open the bucket to the public": lambda d: guard_s3(d).delete_public_access_block(Bucket=d.bucket),
    "change the bucket's policy": lambda d: guard_s3(d).delete_bucket_policy(Bucket=d.bucket),
    "keep snapshots from expiring": lambda d: guard_s3(d).delete_bucket_lifecycle(Bucket=d.bucket),
    "make a bucket": lambda d: guard_s3(d).create_bucket(
        Bucket="another", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    ),
    "list buckets": lambda d: guard_s3(d).list_buckets(),
    "empty the queue": lambda d: guard_sqs(d).purge_queue(QueueUrl=d.outputs["QueueUrl"]),
    "change the queue": lambda d: guard_sqs(d).set_queue_attributes(
        QueueUrl=d.outputs["QueueUrl"], Attributes={"VisibilityTimeout": "1"}
    ),
    "read dead letters": lambda d: guard_sqs(d).receive_message(QueueUrl=d.outputs["DeadJobsUrl"]),
    "read who there is": lambda d: d.aws.client("iam", d.keys).list_users(),
}


def guard_s3(deployed: Deployed) -> Any:
    return deployed.aws.client("s3", deployed.keys)


def guard_sqs(deployed: Deployed) -> Any:
    return deployed.aws.client("sqs", deployed.keys)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_guards_keys_do_not_let_a_thief(deployed: Deployed, what: str) -> None:
    with pytest.raises(ClientError) as raised:
        FORBIDDEN[what](deployed)
    assert raised.value.response["Error"]["Code"] == "AccessDenied"


@pytest.fixture(scope="module")
def plain(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The same on a server that speaks plain HTTP, with keys of somebody who may do everything.

    `aws` is asked for only so that both are skipped together.
    """
    with aws_server(tmp_path_factory.mktemp("plain"), tls=False) as server:
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        made = server.client("iam").create_policy(PolicyName="everything", PolicyDocument=json.dumps(policy))
        yield Deployed(server, server.deploy(RunsOn="elsewhere"), server.user_with(made["Policy"]["Arn"]))


def test_without_tls_bucket_and_queues_are_closed_to_those_who_may_do_everything(plain: Deployed) -> None:
    s3, sqs = guard_s3(plain), guard_sqs(plain)
    assert s3.list_buckets()["Buckets"]
    calls: list[Callable[[], Any]] = [
        lambda: s3.list_objects_v2(Bucket=plain.bucket),
        lambda: s3.put_object(Bucket=plain.bucket, Key="runs/x", Body=b"", IfNoneMatch="*"),
        lambda: sqs.receive_message(QueueUrl=plain.outputs["QueueUrl"]),
        lambda: sqs.receive_message(QueueUrl=plain.outputs["DeadJobsUrl"]),
    ]
    for call in calls:
        with pytest.raises(ClientError) as raised:
            call()
        assert raised.value.response["Error"]["Code"] == "AccessDenied"
