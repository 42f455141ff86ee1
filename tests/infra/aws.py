"""MiniStack as a cloud that checks who may do what: over TLS, and with every request judged by the policies."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3
import yaml

from tests.servers import free_port, process

TEMPLATE = Path(__file__).parent.parent.parent / "infra" / "cloudformation.yaml"
REGION = "eu-central-1"


@dataclass(frozen=True)
class Keys:
    access_key_id: str
    secret_access_key: str
    user: str = ""

    @classmethod
    def new(cls) -> Self:
        return cls(f"test-{secrets.token_hex(8)}", secrets.token_hex(16))


@dataclass(frozen=True)
class Aws:
    """The server, and the keys of its account's owner."""

    endpoint_url: str
    certificate: Path
    owner: Keys

    def environment(self, keys: Keys) -> dict[str, str]:
        """For a process that calls this server with these keys."""
        return {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.certificate),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: Any, keys: Keys | None = None) -> Any:
        """A client of one service with these keys, the owner's if there are none."""
        chosen = keys or self.owner
        return boto3.Session().client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            verify=str(self.certificate),
            aws_access_key_id=chosen.access_key_id,
            aws_secret_access_key=chosen.secret_access_key,
        )

    def deploy(self, **parameters: Any) -> dict[str, str]:
        """The outputs of a new stack of the template, and its name as `stack`."""
        name = f"guard-{secrets.token_hex(4)}"
        client = self.client("cloudformation")
        client.create_stack(
            StackName=name,
            TemplateBody=TEMPLATE.read_text(),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
        )
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        return {**outputs, "stack": name}

    def delete(self, outputs: Mapping[str, str]) -> None:
        """The stack that has these outputs, and what goes with it."""
        client = self.client("cloudformation")
        client.delete_stack(StackName=outputs["stack"])
        waiter = client.get_waiter("stack_delete_complete")
        waiter.wait(StackName=outputs["stack"], WaiterConfig={"Delay": 1, "MaxAttempts": 30})

    def user_with(self, policy_arn: str) -> Keys:
        """The keys of a new user who has this policy and no other."""
        name, iam = f"user-{secrets.token_hex(4)}", self.client("iam")
        iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn=policy_arn)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(made["AccessKeyId"], made["SecretAccessKey"], name)


@contextmanager
def aws_server(folder: Path, *, tls: bool = True) -> Iterator[Aws]:
    certificate, key = make_certificate(folder)
    port, owner = free_port(), Keys.new()
    aws = Aws(f"{'https' if tls else 'http'}://127.0.0.1:{port}", certificate, owner)
    settings = {
        **aws.environment(owner),  # by these the server knows its owner
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "S3_PERSIST": "0",
        "LOG_LEVEL": "WARNING",
        "AUTH": "true",
        "USE_SSL": "1" if tls else "0",
        "MINISTACK_SSL_CERT": str(certificate),
        "MINISTACK_SSL_KEY": str(key),
    }
    command = [str(Path(sys.executable).parent / "ministack")]
    with trusting(certificate), process(command, settings, f"{aws.endpoint_url}/_ministack/health"):
        yield aws


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key. Raises OSError where there is no openssl."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-addext", "basicConstraints=critical,CA:FALSE"]
    command = ["openssl", "req", "-x509", *kind, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed words and paths of ours
    return certificate, key


@contextmanager
def trusting(certificate: Path) -> Iterator[None]:
    """Let this process's urllib, which asks whether the server is up, trust the certificate."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as what they stand for: !Ref x is {"Ref": "x"}."""


def _long_form(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    key = name if name in ("Ref", "Condition") else f"Fn::{name}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {key: value.split(".") if name == "GetAtt" else value}
    assert isinstance(node, yaml.SequenceNode)
    return {key: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _long_form)


def template() -> Mapping[str, Any]:
    """The template as its long form."""
    return dict(yaml.load(TEMPLATE.read_text(), _Loader))  # noqa: S506 - a SafeLoader
