"""A real n8n, as a person sets it up: started on an empty folder, with our package, workflows imported and run.

Nothing of it leaves this machine: whatever n8n would send home is switched off, and an https address leads nowhere.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.servers import free_port

VERSION = "2.8.4"
ROOT = Path(__file__).parent.parent.parent
PIECES = ROOT / "scenarios" / "n8n"
_START_S = 180.0
_RUN_S = 120.0
_OFF = (
    "N8N_DIAGNOSTICS_ENABLED N8N_VERSION_NOTIFICATIONS_ENABLED N8N_VERSION_NOTIFICATIONS_WHATS_NEW_ENABLED "
    "N8N_TEMPLATES_ENABLED N8N_PERSONALIZATION_ENABLED N8N_HIRING_BANNER_ENABLED N8N_DYNAMIC_BANNERS_ENABLED "
    "N8N_LICENSE_AUTO_RENEW_ENABLED N8N_VERIFIED_PACKAGES_ENABLED N8N_SECURE_COOKIE"
).split()
OWNER = {"email": "owner@example.com", "firstName": "O", "lastName": "W", "password": "Password-of-a-test-1"}


def installed() -> Path | None:
    """The folder where .ci/install-n8n has put it; None: it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("GUARD_N8N_FOLDER", cache / "guard" / f"n8n-{VERSION}"))
    return folder if (folder / ".installed").exists() else None


class Execution:
    """How an execution of a workflow went."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.id = str(told["id"])
        self.status = str(told["status"])
        self._result = unflattened(told["data"])["resultData"]

    @property
    def error(self) -> dict[str, Any]:
        return dict(self._result.get("error") or {})

    def items(self, node: str) -> list[dict[str, Any]]:
        """What a node gave in its last run, on all its outputs."""
        outputs = self._result["runData"][node][-1]["data"]["main"]
        return [item["json"] for output in outputs for item in output or []]

    def paired(self, node: str) -> Any:
        return self._result["runData"][node][-1]["data"]["main"][0][0]["pairedItem"]


class N8n:
    def __init__(self, url: str, http: httpx2.Client, pid: int) -> None:
        self.url = url
        self.pid = pid
        self.http = http

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.http.request(method, f"{self.url}/rest{path}", json=body)
        assert reply.status_code == 200, (path, reply.text[:2000])
        return reply.json()["data"]

    def credential(self, name: str, kind: str, data: dict[str, Any]) -> dict[str, str]:
        made = self.ask("POST", "/credentials", {"name": name, "type": kind, "data": data})
        return {"id": made["id"], "name": name}

    def tested(self, credential: dict[str, str], kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """What the button "Test" beside a credential says."""
        return dict(self.ask("POST", "/credentials/test", {"credentials": {**credential, "type": kind, "data": data}}))

    def imported(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """The workflow as n8n has saved it, as one of its own each time."""
        kept = {name: workflow[name] for name in ("name", "nodes", "connections", "settings", "pinData")}
        return dict(self.ask("POST", "/workflows", kept))

    def activate(self, workflow: dict[str, Any]) -> None:
        self.ask("POST", f"/workflows/{workflow['id']}/activate", {"versionId": workflow["versionId"]})

    def run(self, workflow: dict[str, Any]) -> Execution:
        """As the button "Execute workflow" does it."""
        (trigger,) = [node["name"] for node in workflow["nodes"] if node["type"].endswith("manualTrigger")]
        body = {"workflowData": workflow, "triggerToStartFrom": {"name": trigger}}
        begun = self.ask("POST", f"/workflows/{workflow['id']}/run", body)
        return self.ended(begun["executionId"])

    def ended(self, execution: str) -> Execution:
        deadline = time.monotonic() + _RUN_S
        while True:
            told = self.ask("GET", f"/executions/{execution}")
            if told["status"] not in ("new", "running", "waiting"):
                return Execution(told)
            assert time.monotonic() < deadline, f"execution {execution} does not end"
            time.sleep(0.1)

    def retried(self, execution: Execution, workflow: dict[str, Any]) -> Execution:
        """As "Retry" in the list of executions does it."""
        self.ask("POST", f"/executions/{execution.id}/retry", {"loadWorkflow": False})
        return self.ended(max(self.executions(workflow), key=int))

    def executions(self, workflow: dict[str, Any]) -> list[str]:
        """Ids, newest first."""
        query = json.dumps({"workflowId": workflow["id"]})
        reply = self.http.get(f"{self.url}/rest/executions", params={"filter": query})
        return [each["id"] for each in reply.json()["data"]["results"]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


def unflattened(text: str) -> Any:
    """n8n stores executions as a list in which every value is named by its place (npm `flatted`)."""
    values = json.loads(text)
    made: dict[int, Any] = {}

    def value(place: int) -> Any:
        if place in made:
            return made[place]
        found = values[place]
        if isinstance(found, list):
            made[place] = rows = list[Any]()
            rows.extend(inner(each) for each in found)
            return rows
        if isinstance(found, dict):
            made[place] = row = dict[str, Any]()
            row.update({name: inner(each) for name, each in found.items()})
            return row
        return found

    def inner(each: Any) -> Any:
        return value(int(each)) if isinstance(each, str) else each

    return value(0)


@contextmanager
def n8n(folder: Path, install: Path) -> Iterator[N8n]:
    """A fresh n8n with our package in it and an owner signed in."""
    package = "n8n-nodes-automation-guard"
    shutil.copytree(PIECES / package, folder / ".n8n" / "nodes" / "node_modules" / package)
    port, log = free_port(), folder / "n8n.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            ["node", str(install / "node_modules" / "n8n" / "bin" / "n8n"), "start"],  # noqa: S607
            cwd=folder,
            env=_environment(folder, port),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, log)
            url = f"http://127.0.0.1:{port}"
            with N8n(url, httpx2.Client(timeout=60, headers={"push-ref": "tests"}), process.pid) as made:
                made.ask("POST", "/owner/setup", OWNER)
                yield made
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "N8N_USER_FOLDER": str(folder),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_HOST": "127.0.0.1",
        "N8N_PORT": str(port),
        "N8N_RUNNERS_BROKER_PORT": str(free_port()),
        "N8N_ENCRYPTION_KEY": "of-a-test",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        **dict.fromkeys(_OFF, "false"),
    }


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while "Editor is now" not in (said := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"n8n does not start: {said[-3000:]}")
        time.sleep(0.2)
