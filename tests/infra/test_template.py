"""The template says what Guard needs, in words that CloudFormation understands."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from guard.core.limits import QUEUE_LEASE_S, QUEUE_TAKES_MAX
from guard.settings import Server
from tests.infra.aws import TEMPLATE, Aws, template

FOLDERS = {"runs/", "index/", "open/", "subscriptions/", "probe/"}
"""What Guard keeps in a store."""


def properties(resource: str) -> dict[str, Any]:
    return dict(template()["Resources"][resource]["Properties"])


def test_cfn_lint_finds_nothing() -> None:
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--include-checks", "I", "--", str(TEMPLATE)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_every_folder_of_the_bucket_expires_but_those_of_unfinished_runs_and_subscriptions() -> None:
    rules = properties("Snapshots")["LifecycleConfiguration"]["Rules"]
    days = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}
    assert days == {"runs/": {"Ref": "SnapshotDays"}, "index/": {"Ref": "SnapshotDays"}, "probe/": 1}
    assert set(days) == FOLDERS - {"open/", "subscriptions/"}
    assert all(rule["Status"] == "Enabled" for rule in rules)


def test_the_bucket_gives_up_uploads_and_old_versions_everywhere() -> None:
    rules = {rule["Id"]: rule for rule in properties("Snapshots")["LifecycleConfiguration"]["Rules"]}
    assert rules["uploads-are-given-up"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert rules["old-versions-go"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert not {"Prefix", "TagFilters"} & {*rules["uploads-are-given-up"], *rules["old-versions-go"]}


def test_snapshots_outlive_revert_urls_by_default() -> None:
    snapshot_days = template()["Parameters"]["SnapshotDays"]["Default"]
    assert snapshot_days > Server.model_fields["revert_days"].default


def test_the_bucket_is_encrypted_private_its_owners_and_never_replaced() -> None:
    bucket = properties("Snapshots")
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert template()["Resources"]["Snapshots"]["UpdateReplacePolicy"] == "Retain"


def test_versions_and_object_lock_are_off_unless_asked_for() -> None:
    nothing = {"Ref": "AWS::NoValue"}
    bucket = properties("Snapshots")
    for name in ("VersioningConfiguration", "ObjectLockEnabled", "ObjectLockConfiguration"):
        condition, _, otherwise = bucket[name]["Fn::If"]
        assert (condition, otherwise) == ("Locked", nothing)
    assert template()["Conditions"]["Locked"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ObjectLockDays"}, "0"]}]}
    assert template()["Parameters"]["ObjectLockDays"]["Default"] == 0


def test_nothing_is_put_into_the_bucket_without_if_none_match() -> None:
    """As AWS documents it. The emulator does not know these condition keys, so this is all that is tested here."""
    statements = {each["Sid"]: each for each in properties("SnapshotsPolicy")["PolicyDocument"]["Statement"]}
    rule = statements["CreateOnly"]
    assert (rule["Effect"], rule["Principal"], rule["Action"]) == ("Deny", "*", "s3:PutObject")
    assert rule["Resource"] == {"Fn::Sub": "${Snapshots.Arn}/*"}
    assert rule["Condition"] == {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}


def test_the_queue_keeps_to_guards_own_limits() -> None:
    jobs = properties("Jobs")
    assert jobs["VisibilityTimeout"] == QUEUE_LEASE_S
    assert jobs["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["DeadJobs", "Arn"]},
        "maxReceiveCount": QUEUE_TAKES_MAX,
    }
    assert jobs["FifoQueue"] is properties("DeadJobs")["FifoQueue"] is True


@pytest.mark.parametrize("runs_on", ["ec2", "ecs-tasks"])
def test_the_role_is_for_where_guard_runs_and_has_the_rights_and_no_other(aws: Aws, runs_on: str) -> None:
    outputs, iam = aws.deploy(RunsOn=runs_on), aws.client("iam")
    name = outputs["RoleArn"].rpartition("/")[2]
    (statement,) = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": f"{runs_on}.amazonaws.com"}
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [each["PolicyArn"] for each in attached] == [outputs["PolicyArn"]]
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []
    assert ("InstanceProfile" in outputs) == (runs_on == "ec2")


def test_elsewhere_no_role_is_made(aws: Aws) -> None:
    outputs = aws.deploy(RunsOn="elsewhere")
    assert not {"RoleArn", "InstanceProfile"} & set(outputs)


def test_a_locked_bucket_has_versions(aws: Aws) -> None:
    outputs = aws.deploy(RunsOn="elsewhere", ObjectLockDays=30)
    bucket = outputs["StoreUrl"].removeprefix("s3://")
    assert aws.client("s3").get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_the_bucket_and_what_is_in_it_stay_when_the_stack_goes(aws: Aws) -> None:
    outputs, s3 = aws.deploy(RunsOn="elsewhere"), aws.client("s3")
    bucket = outputs["StoreUrl"].removeprefix("s3://")
    s3.put_object(Bucket=bucket, Key="runs/x", Body=b"kept", IfNoneMatch="*")
    aws.delete(outputs)
    assert s3.get_object(Bucket=bucket, Key="runs/x")["Body"].read() == b"kept"
    with pytest.raises(ClientError):
        aws.client("sqs").get_queue_attributes(QueueUrl=outputs["QueueUrl"])
