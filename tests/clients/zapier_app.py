"""The Zapier integration with Zapier's own core and command line beside it, as its developers run them."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APP = Path(__file__).parent.parent.parent / "scenarios" / "zapier"
_CALL = Path(__file__).with_name("zapier_call.cjs")
_INSTALL_S = 900
_CALL_S = 90


class Failed(Exception):
    """What a user of the Zap would see; `kind` is Zapier's name of the error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class ZapierApp:
    folder: Path
    address: str
    key: str

    def call(self, method: str, given: dict[str, Any] | None = None, **event: Any) -> Any:
        """Call `creates.seal.operation.perform` and the like. Raises Failed."""
        callback_url = event.pop("callback_url", None)
        meta = event.pop("meta", {})
        bundle = {"authData": self._auth, "inputData": given or {}, "meta": meta, **event}
        asked = {"method": method, "bundle": bundle, "callback_url": callback_url}
        told = self._run(["node", str(_CALL)], json.dumps(asked), check=True)
        answer = json.loads(told.stdout.rpartition("\n@@")[2])
        if "error" in answer:
            raise Failed(answer["error"]["name"], _words(answer["error"]["message"]))
        return answer["results"]

    def zapier(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Zapier's command line."""
        return self._run(["npx", "--no-install", "zapier", *words], "")

    @property
    def _auth(self) -> dict[str, str]:
        return {"address": self.address, "key": self.key}

    def _run(self, command: list[str], given: str, *, check: bool = False) -> "subprocess.CompletedProcess[str]":
        environment = {
            **os.environ,
            **{f"authData_{name}": value for name, value in self._auth.items()},
            "DISABLE_ZAPIER_ANALYTICS": "1",
            "HOME": str(self.folder),
        }
        return subprocess.run(  # noqa: S603 - fixed words, in a folder of the test's own
            command, cwd=self.folder, env=environment, input=given, capture_output=True, text=True, timeout=_CALL_S,
            check=check,
        )  # fmt: skip


def _words(message: str) -> str:
    """Zapier packs its own errors' members as JSON into their message."""
    try:
        found = json.loads(message)
    except json.JSONDecodeError:
        return message
    return str(found.get("message", message)) if isinstance(found, dict) else message


def copied(folder: Path, modules: Path) -> Path:
    """The integration in a folder of its own, with its node_modules; the project's own stays as it is."""
    shutil.copytree(APP, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(modules)
    return folder


def installed() -> Path:
    """The node_modules of the versions that package.json pins, installed once and kept outside of the project.

    Skips the test where npm or its registry cannot be had.
    """
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: the Zapier integration is not run")
    package = json.loads((APP / "package.json").read_text())
    pinned = {**package["dependencies"], **package["devDependencies"]}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guard-tests"
    folder = cache / f"zapier-{pinned['zapier-platform-core']}-{pinned['zapier-platform-cli']}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", ".npmrc"):
            shutil.copy(APP / name, folder / name)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm install took longer than {_INSTALL_S} s: the Zapier integration is not run")
        if done.returncode:
            pytest.skip(f"npm cannot install Zapier's packages: {done.stderr[-500:]}")
        (folder / "complete").touch()
    return folder / "node_modules"
