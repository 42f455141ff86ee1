"""The template, deployed on a server that enforces it, and the keys of a Guard that has its rights and no other."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import boto3
import pytest

from guard.settings import StoreSettings
from tests.infra.aws import Aws, Keys, aws_server


@dataclass(frozen=True)
class Deployed:
    aws: Aws
    outputs: Mapping[str, str]
    keys: Keys

    @property
    def bucket(self) -> str:
        return self.outputs["StoreUrl"].removeprefix("s3://")

    @property
    def store(self) -> StoreSettings:
        return StoreSettings(url=self.outputs["StoreUrl"], endpoint_url=self.aws.endpoint_url)

    def keys_stored(self) -> list[str]:
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    with aws_server(tmp_path_factory.mktemp("aws")) as made:
        yield made


@pytest.fixture(scope="session")
def deployed(aws: Aws) -> Deployed:
    outputs = aws.deploy(RunsOn="elsewhere")
    return Deployed(aws, outputs, aws.user_with(outputs["PolicyArn"]))


@pytest.fixture
def as_guard(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    """boto3's session of this process for one test: what it does, it does with Guard's rights."""
    for name, value in deployed.aws.environment(deployed.keys).items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    return session
