"""Container, service and example settings fit the Guard that they are for."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from guard.assembly import assemble
from guard.cli import app
from guard.settings import load
from guard.web.app import create_app
from tests.infra.aws import template
from tests.servers import free_port, process

ROOT = Path(__file__).parent.parent.parent
CONTAINER, SERVICE = ROOT / "infra" / "Containerfile", ROOT / "infra" / "guard.service"
EXAMPLE, README = ROOT / "infra" / "guard.example.toml", ROOT / "infra" / "README.md"
GUARD = "/opt/guard/bin/guard"

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, lines that go on joined."""
    lines = [line for line in CONTAINER.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def unit(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", SERVICE.read_text(), re.MULTILINE)


def container_command() -> list[str]:
    return [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]


def service_command() -> list[str]:
    return shlex.split(unit("ExecStart")[0])


def health_command() -> list[str]:
    return list(json.loads(last("HEALTHCHECK").partition("CMD ")[2]))


@pytest.mark.parametrize("command", [container_command(), service_command()], ids=["container", "service"])
def test_the_command_exists_and_takes_these_options(command: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    assert command[0] == GUARD
    context = group.commands[command[1]].make_context(command[1], command[2:])
    assert context.params["port"] == 8080


def test_the_container_has_a_pinned_base_a_user_without_rights_and_no_secret() -> None:
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-[a-z]+", instructions()[0][1])
    assert {rest.split()[0] for name, rest in instructions() if name == "FROM"} == {"${PYTHON}"}
    names = [name for name, _ in instructions()]
    assert names.index("USER") > len(names) - names[::-1].index("FROM") - 1
    assert last("USER") == "10001:10001"
    assert not [rest for _, rest in instructions() if re.search(r"SECRET|TOKEN|PASSWORD|_KEY", rest)]


def test_the_container_is_asked_for_its_health_where_it_listens() -> None:
    port = re.findall(r"127\.0\.0\.1:(\d+)/healthz", health_command()[-1])
    assert port == [last("EXPOSE")] == [container_command()[-1]]


def test_the_container_gets_the_sources_and_nothing_else() -> None:
    """.dockerignore lets through what is copied: settings, data and .venv stay outside."""
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    names = {name for names in copied for name in names}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == names
    assert not [name for name in names if not (ROOT / name).exists()]


def test_without_settings_the_container_says_so_and_does_not_start_on_a_sandbox(tmp_path: Path) -> None:
    environment = dict(word.split("=") for word in last("ENV").split())
    environment["GUARD_CONFIG"] = str(tmp_path) + environment["GUARD_CONFIG"]
    command = [sys.executable, "-m", "guard.cli", *container_command()[1:]]
    told = subprocess.run(  # noqa: S603 - words of ours
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 2
    assert "guard.toml: No such file" in told.stderr


def test_the_service_is_given_longer_to_stop_than_open_requests_are() -> None:
    (graceful_s,) = re.findall(r"timeout_graceful_shutdown=(\d+)", (ROOT / "guard" / "cli.py").read_text())
    assert int(unit("TimeoutStopSec")[0]) > int(graceful_s)
    assert f"--stop-timeout {unit('TimeoutStopSec')[0]}" in README.read_text()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with its program where there is one."""
    (tmp_path / "guard").symlink_to(Path(sys.executable).parent / "guard")
    copy = tmp_path / "guard.service"
    copy.write_text(SERVICE.read_text().replace(f"ExecStart={GUARD}", f"ExecStart={tmp_path / 'guard'}"))
    return copy


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path) -> None:
    told = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


@needs_systemd
def test_systemd_calls_the_exposure_of_the_unit_low(installed: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(installed)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    if "unrecognized option" in told.stderr:
        pytest.skip("this systemd-analyze does not judge units offline")
    assert told.returncode == 0, told.stdout[-300:] + told.stderr


def named_variables() -> list[str]:
    return re.findall(r'\{ env = "(\w+)" \}', EXAMPLE.read_text())


@pytest.fixture
def example_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in named_variables():
        monkeypatch.setenv(name, "a-secret-that-is-long-enough")
    monkeypatch.setenv("HR_DATABASE_URL", "postgresql://guard:secret@127.0.0.1/hr")


async def test_the_example_settings_make_a_guard(example_secrets: None) -> None:
    guard = assemble(load(EXAMPLE))
    assert set(guard.targets) == {"crm", "hr"}
    assert create_app(guard)
    await guard.close()


def test_the_readme_names_the_secrets_of_the_example_and_no_other() -> None:
    assert re.findall(r"^    ([A-Z_]+)=(?:\s|$)", README.read_text(), re.MULTILINE) == named_variables()


def test_the_readme_names_each_parameter_output_and_right_of_the_template() -> None:
    text = README.read_text()
    for name in [*template()["Parameters"], *template()["Outputs"]]:
        assert f"`{name}`" in text, name
    rights = json.dumps(template()["Resources"]["Rights"])
    documented = re.findall(r"^\| `(s3:\w+|sqs:\w+)` \|", text, re.MULTILINE)
    assert sorted(documented) == sorted(set(re.findall(r"(?:s3|sqs):[A-Z]\w+", rights)))


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Path]:
    """What the Containerfile's first stage makes, made here: its own commands, in another folder."""
    source, made = tmp_path / "src", tmp_path / "guard"
    source.mkdir()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for part in rest.split()[:-1]:
                copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
                copy(ROOT / part, source / part)
    (run,) = [rest for name, rest in instructions() if name == "RUN" and "/opt/guard" in rest]
    subprocess.run(run.replace("/opt/guard", str(made)), shell=True, cwd=source, check=True, capture_output=True)  # noqa: S602
    yield made
    shutil.rmtree(made)


@pytest.mark.heavy
def test_what_the_container_installs_serves_and_is_healthy(built: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = tmp_path / "guard.toml"
    settings.write_text(
        '[server]\nsecret_keys = [{ env = "GUARD_SECRET_KEY" }]\n'
        f'[store]\nurl = "file:{tmp_path}/store"\n[targets.crm]\nhandler = "highlevel"\n'
        'credential = { env = "HIGHLEVEL_TOKEN" }\noptions = { location_id = "x" }\n'
    )
    environment = {"GUARD_CONFIG": str(settings), "GUARD_SECRET_KEY": "x" * 32, "HIGHLEVEL_TOKEN": "x"}
    here = {"/opt/guard": str(built), "0.0.0.0": "127.0.0.1", "8080": str(port)}

    def moved(words: list[str]) -> list[str]:
        for old, new in here.items():
            words = [word.replace(old, new) for word in words]
        return words

    assert subprocess.run(moved(health_command()), capture_output=True, check=False).returncode != 0  # noqa: S603
    with process(moved(container_command()), environment, f"http://127.0.0.1:{port}/static/guard.css"):
        assert subprocess.run(moved(health_command()), capture_output=True, check=False).returncode == 0  # noqa: S603
