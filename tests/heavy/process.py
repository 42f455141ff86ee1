"""`guard serve` as a process that can be killed and started again, in front of a sandbox that outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.servers import free_port
from tests.world import KEY

_ROOT = Path(__file__).parent.parent.parent
_START_S = 60.0
_SETTINGS = """
[server]
public_url = "{url}"
secret_keys = [{{ env = "GUARD_TEST_SECRET" }}]
lease_s = 1
[store]
{store}
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
limits = {{ requests = 100000, per_s = 1.0, concurrency = 20 }}
policy = {{ accept_irreversible = true }}
"""


class GuardProcess:
    """Always on the same port. `store` are lines of the settings' [store]."""

    def __init__(self, folder: Path, sandbox_url: str, store: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "guard.toml"
        self.config.write_text(_SETTINGS.format(url=self.url, store=store, sandbox=sandbox_url, location=LOCATION_ID))
        self.log = folder / "guard.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "guard.cli", "serve", "--config", str(self.config), "--port", str(self.port)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                command, cwd=_ROOT, env=dict(os.environ), stdout=output, stderr=output
            )
        deadline = time.monotonic() + _START_S
        with httpx2.Client() as http:
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    http.get(f"{self.url}/healthz")
                except httpx2.TransportError:
                    time.sleep(0.02)
                else:
                    return
        raise RuntimeError(f"guard does not start: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, how: int = signal.SIGTERM, *, seconds: float = 40) -> int:
        """The exit status, once the process has ended."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            return self._process.wait(seconds)
        finally:
            self._process.kill()

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"guard-key": KEY}, timeout=30)
