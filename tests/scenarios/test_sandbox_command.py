"""`guard sandbox NAME`: one command for all of them."""

import subprocess
import sys

import httpx2
import pytest

from scenarios.sandboxes import __main__ as command
from scenarios.sandboxes.common import RateLimits, scaled


@pytest.mark.parametrize("name", sorted(command.STANDS))
def test_it_runs_alone_and_says_where(name: str) -> None:
    options = ["--port", "0", "--records", "3", *(["--rate-limit", "off"] if command.STANDS[name].documented else [])]
    asked = [sys.executable, "-m", "scenarios.sandboxes", name, *options]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(f"{name} sandbox: http://127.0.0.1:")
            state = httpx2.get(f"{line.split()[-1]}/_sandbox/state").json()
            assert 3 in {len(rows) for rows in state.values()}
        finally:
            process.terminate()


@pytest.mark.parametrize("wrong", ["--rate-limit=many", "--rate-limit=0", "--records=-1", "--port=99999", "--odd=1"])
@pytest.mark.parametrize("name", ["highlevel", "keap"])
def test_what_is_no_number_is_refused_in_words(name: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([name, wrong])
    assert (ended.value.code, wrong.partition("=")[0] in capsys.readouterr().err) == (2, True)


def test_a_system_of_ones_own_has_no_limit_to_set() -> None:
    with pytest.raises(SystemExit):
        command.main(["tryton", "--rate-limit=off"])


def test_a_limit_is_in_the_vendors_own_unit_and_the_days_grows_along() -> None:
    documented = RateLimits(100, 10.0, 200_000)
    told = [scaled(text, documented) for text in ("off", "50", "1000")]
    assert told == [None, RateLimits(50, 10.0, 200_000), RateLimits(1000, 10.0, 2_000_000)]
