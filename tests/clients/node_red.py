"""A real Node-RED, as a person sets it up: started on an empty folder, with our flows imported and deployed.

Nothing of it leaves this machine: telemetry and the palette's catalogue are off.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.servers import free_port, process

VERSION = "4.1.15"
ROOT = Path(__file__).parent.parent.parent
FLOWS = ROOT / "scenarios" / "node-red" / "flows"
_INSTALL_S = 600
_SETTINGS = """
module.exports = {
  uiHost: '127.0.0.1',
  uiPort: %d,
  flowFile: 'flows.json',
  credentialSecret: 'of-a-test',
  telemetry: { enabled: false, updateNotification: false },
  externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } },
  editorTheme: { palette: { catalogues: [] }, tours: false },
  logging: { console: { level: 'warn' } },
};
"""


def installed() -> Path:
    """The folder where .ci/install-node-red puts it: run here where that has not happened. Skips where it fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("GUARD_NODE_RED_FOLDER", cache / "guard" / f"node-red-{VERSION}"))
    if not (folder / ".installed").exists():
        script = str(ROOT / ".ci" / "install-node-red")
        done = subprocess.run([script], capture_output=True, text=True, timeout=_INSTALL_S, check=False)  # noqa: S603
        if done.returncode:
            pytest.skip(f"Node-RED cannot be had here: {done.stdout.strip()}")
    return folder


class NodeRed:
    def __init__(self, url: str, keys: Mapping[str, str], pid: int) -> None:
        self.url = url
        self.pid = pid
        self._keys = keys

    def deploy(self, slug: str, addresses: Mapping[str, str], records: list[dict[str, Any]] | None = None) -> "Flow":
        """One flow of ours, alone, with the addresses and keys of here; records: in place of those in it."""
        nodes = json.loads((FLOWS / f"{slug}.json").read_text())
        tab = next(node for node in nodes if node["type"] == "tab")
        for variable in tab["env"]:
            variable["value"] = addresses.get(variable["name"], variable["value"])
        tab["env"] += [{"name": name, "value": "", "type": "cred"} for name in self._keys]
        tab["credentials"] = dict(self._keys)
        begin = next(node for node in nodes if node["type"] == "inject")
        if records is not None:
            begin["payload"] = json.dumps(records)
        reply = httpx2.post(f"{self.url}/flows", json=nodes, headers={"node-red-deployment-type": "full"}, timeout=60)
        assert reply.status_code == 204, reply.text
        for name in ("revert_url", "report"):  # a flow's context outlives its deployment
            httpx2.delete(f"{self.url}/context/flow/{tab['id']}/{name}", timeout=60)
        return Flow(self.url, tab["id"], begin["id"])


class Flow:
    """A deployed flow, to press its button and look at its context."""

    def __init__(self, url: str, tab: str, button: str) -> None:
        self._url, self._tab, self._button = url, tab, button

    def press(self) -> None:
        assert httpx2.post(f"{self._url}/inject/{self._button}", timeout=60).status_code == 200

    def kept(self, name: str) -> Any:
        """What the flow's context holds under a name; None: nothing yet."""
        told = httpx2.get(f"{self._url}/context/flow/{self._tab}/{name}", timeout=60).json()
        if told.get("format") in (None, "undefined"):
            return None
        return json.loads(told["msg"]) if told["format"] == "Object" else told["msg"]


@contextmanager
def node_red(folder: Path, keys: Mapping[str, str]) -> Iterator[NodeRed]:
    """keys: what its flows get as credentials of their tab, as the page tells people to put them in."""
    program = installed() / "node_modules" / "node-red" / "red.js"
    port, settings = free_port(), folder / "settings.js"
    settings.write_text(_SETTINGS % port)
    url = f"http://127.0.0.1:{port}"
    command = ["node", str(program), "-u", str(folder), "-s", str(settings)]
    with process(command, {"HOME": str(folder)}, f"{url}/settings") as running:
        yield NodeRed(url, keys, running.pid)
