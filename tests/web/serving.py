"""Guard as a process of its own, as `guard serve` runs it, with its log kept: for what only shows there."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from scenarios.sandboxes.common import Sandbox, running
from scenarios.sandboxes.highlevel import create_app as create_sandbox
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.servers import free_port
from tests.world import KEY

_START_S = 30.0
SETTINGS = """
[server]
public_url = "{url}"
secret_keys = [{{ env = "GUARD_TEST_SECRET" }}]
{tables}
[[clients]]
name = "tests"
key = {{ env = "GUARD_TEST_KEY" }}
targets = ["crm"]
[targets.crm]
handler = "highlevel"
credential = {{ env = "GUARD_TEST_TOKEN" }}
base_url = "{sandbox}"
timeout_s = 5.0
options = {{ location_id = "{location}" }}
"""


@dataclass
class Served:
    url: str
    port: int
    sandbox: Sandbox
    process: psutil.Process
    log: Path

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, headers={"guard-key": KEY}, timeout=60)

    def memory_mib(self) -> float:
        return float(self.process.memory_info().rss) / 2**20

    async def until(self, seconds: float, done: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that happens in the other process; fails where it does not."""
        deadline = time.monotonic() + seconds
        while not await done():
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.05)


@contextmanager
def served(folder: Path, tables: str = "", environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A real Guard in front of a sandbox of twenty contacts; stopped at the end, whatever happened.

    tables: of its settings, about the store and what else; a local store below the folder without them.
    """
    app = create_sandbox(records=20, limits=None)
    with running(app) as sandbox_url, in_front_of(app.state.sandbox, sandbox_url, folder, tables, environment) as made:
        yield made


@contextmanager
def in_front_of(
    sandbox: Sandbox, sandbox_url: str, folder: Path, tables: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """A real Guard in front of a sandbox that runs already."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = folder / "guard.toml"
    tables = tables or f'[store]\nurl = "file:{folder}/store"'
    config.write_text(SETTINGS.format(url=url, tables=tables, sandbox=sandbox_url, location=LOCATION_ID))
    command = [sys.executable, "-m", "guard.cli", "serve", "--config", str(config), "--port", str(port)]
    log = folder / "guard.log"
    root = Path(__file__).parent.parent.parent
    with log.open("wb") as output:
        env = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=root, env=env, stdout=output, stderr=output)  # noqa: S603
        try:
            _wait_until_ready(process, url, log)
            yield Served(url, port, sandbox, psutil.Process(process.pid), log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    with httpx2.Client() as http:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                http.get(f"{url}/healthz")
            except httpx2.TransportError:
                time.sleep(0.05)
            else:
                return
    raise RuntimeError(f"guard does not start: {log.read_text()[-2000:]}")
