"""A newcomer's first five minutes: every command of the README, in a real shell, with a real `guard serve`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_port, process

README = Path(__file__).parent.parent / "README.md"


def second_terminal(port: int, key: str, sandbox_url: str) -> str:
    """What the newcomer types after `guard serve` has printed the sandbox's address and the key."""
    text = README.read_text().split("## Five minutes", 1)[1].split("## A real HighLevel account", 1)[0]
    _, *blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    typed = "".join(blocks).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    return typed.replace("http://127.0.0.1:PORT", sandbox_url).replace("the-key-that-was-printed", key)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here, with which the README asks")
def test_the_first_five_minutes_go_as_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    log = tmp_path / "serve.log"
    # Through a shell, since what it prints is needed while it runs.
    serve = f"exec {sys.executable} -m guard.cli serve --port {port} > {log}"
    with process(["sh", "-c", serve], dict(os.environ), f"http://127.0.0.1:{port}/healthz"):
        (sandbox_url,), (key,) = (
            re.findall(rf"^  {name} +(\S+)$", log.read_text(), re.MULTILINE) for name in ("sandbox", "key")
        )
        script = second_terminal(port, key, sandbox_url)
        ran = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603, S607
    told = ran.stdout
    assert ran.returncode == 0, ran.stderr
    assert told.count('"firstName":"Chloe"') == 2
    assert "\nguard-revert-url: " in told
    assert '"code":"irreversible"' in told
    assert '"records_applied":2' in told
    assert '{"ok":true}' in told
    assert '"records_restored":1,"records_already":0,"records_conflicted":1' in told
    assert '"now":"Lisbon"' in told
