"""The demo's two servers, as processes of their own: a HighLevel sandbox, and a Guard in front of it."""

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scenarios.sandboxes.highlevel import DEFAULT_TOKEN
from scenarios.sandboxes.highlevel_seed import LOCATION_ID

SANDBOX_LIMIT = 100_000
"""Requests per 10 s that the demo's sandbox allows; Guard learns it from the sandbox's headers, as from HighLevel's."""

_STOP_S = 35.0
"""A Guard gives the requests under way 30 s to end."""

_SETTINGS = """\
[server]
public_url = "{url}"
secret_keys = [{{ env = "GUARD_DEMO_SECRET" }}]
[store]
url = 'file:{store}'
[[clients]]
name = "demo"
key = {{ env = "GUARD_DEMO_KEY" }}
targets = ["crm"]
[targets.crm]
handler = "highlevel"
credential = {{ env = "GUARD_DEMO_TOKEN" }}
base_url = "{sandbox_url}"
options = {{ location_id = "{location}" }}
"""


class NotStarted(Exception):
    """A server ended before it was ready; the message holds the last it had to say."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses of the two, and the key that Guard knows its caller by."""

    sandbox_url: str
    guard_url: str
    key: str


@contextmanager
def servers(records: int) -> Iterator[Servers]:
    """Both servers, on free ports of this machine; they and all they kept are gone at the end. Raises NotStarted."""
    sandbox = [sys.executable, "-m", "scenarios.sandboxes", "highlevel", "--port", "0"]
    sandbox += ["--records", str(records), "--rate-limit", str(SANDBOX_LIMIT)]
    with tempfile.TemporaryDirectory(prefix="guard-demo-") as name:
        folder = Path(name)
        with _process(sandbox, {}, folder / "sandbox.log") as sandbox_url:
            key, port, config = secrets.token_urlsafe(24), _free_port(), folder / "guard.toml"
            url = f"http://127.0.0.1:{port}"
            places = {"url": url, "store": folder / "store", "sandbox_url": sandbox_url, "location": LOCATION_ID}
            config.write_text(_SETTINGS.format(**places))
            guard = [sys.executable, "-m", "guard.cli", "serve", "--config", str(config), "--port", str(port)]
            known = {"GUARD_DEMO_SECRET": secrets.token_urlsafe(32), "GUARD_DEMO_KEY": key}
            with _process(guard, {**known, "GUARD_DEMO_TOKEN": DEFAULT_TOKEN}, folder / "guard.log"):
                yield Servers(sandbox_url, url, key)


def _free_port() -> int:
    """Revert URLs begin with Guard's address, so its port must be known before it starts."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """The address that a server prints as soon as it is ready. Raises NotStarted."""
    with log.open("wb") as errors:
        # Of a group of its own: Ctrl-C is for the demo, which then stops its servers in order.
        process = subprocess.Popen(  # noqa: S603 - our own servers
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        try:
            yield _announced(process, log)
        finally:
            _stop(process)


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        if found := re.search(r"http://\S+", line.decode()):
            return found[0]
    raise NotStarted(f"{process.args!r} ended before it was ready:\n{log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
