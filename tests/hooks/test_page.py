"""docs/scenario-files.md is true: every member, the examples, the ready-made files, the recipe to sign."""

import re
import shutil
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from standardwebhooks import Webhook

from guard.core.errors import CODES, Refused
from guard.core.limits import HOOK_BYTES_MAX, HOOK_EXPRESSION_CHARS_MAX, HOOK_LOOK_S, RECORDS_MAX
from guard.hooks.expressions import Budget, Expression
from guard.hooks.mapping import mapped
from guard.hooks.model import Hook
from guard.hooks.reading import Unusable, read
from tests.hooks.test_folder import KNOWN
from tests.test_docs import rows
from tests.web.hooking import SECRET

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scenario-files.md"
TEXT = PAGE.read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def members() -> dict[str, list[str]]:
    return {
        cells[0].strip("`"): cells[1:]
        for cells in rows(PAGE, "## Every member")
        if cells[0].strip("`") in Hook.model_fields
    }


def test_every_member_of_a_file_is_documented_and_no_other() -> None:
    table = TEXT.split("## Every member\n", 1)[1].split("\n### ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(Hook.model_fields)


@pytest.mark.parametrize("name", [name for name, each in Hook.model_fields.items() if isinstance(each.default, int)])
def test_a_documented_default_is_the_real_one(name: str) -> None:
    assert members()[name][0] == str(Hook.model_fields[name].default).lower()


def test_what_must_be_there_is_what_the_page_says() -> None:
    required = {name for name, each in Hook.model_fields.items() if each.is_required()}
    assert required == {"target", "resource", "action", "records"}
    assert "The first three and `records` must be there" in TEXT


def test_the_example_is_a_file_that_can_be_used_and_makes_what_the_page_shows() -> None:
    example, *_ = blocks("toml")
    hook = read("job-titles.toml", example.encode(), KNOWN)
    (record,), _ = mapped(hook, hook.sample)
    assert f"The first record: {orjson.dumps(record).decode()}" in TEXT


def test_the_mistake_that_the_page_shows_is_the_real_one() -> None:
    broken = blocks("toml")[0].replace("name.first", "name..first")
    with pytest.raises(Unusable) as refused:
        read("hooks/job-titles.toml", broken.encode(), KNOWN)
    assert f"\n  {refused.value.mistakes[0]}\n" in TEXT


def test_the_record_expression_of_the_page_makes_records() -> None:
    _, alone = blocks("toml")
    found = Expression(tomllib.loads(alone)["records"]).look_up({"people": [{"crm_id": 1}]}, Budget())
    assert found == [{"id": 1, "fields": {"city": None}}]


def test_the_mismatch_that_the_page_shows_is_the_real_one() -> None:
    (shown,) = [orjson.loads(each) for each in blocks("json")]
    hook = read("job-titles.toml", blocks("toml")[0].encode(), KNOWN)
    with pytest.raises(Refused) as refused:
        mapped(hook, {"candidates": [{"id": "a", "name": {"first": "A"}}, {"name": {"first": "B"}}]})
    assert refused.value.problem() == shown


def test_every_expression_of_the_page_is_one() -> None:
    table = TEXT.split("| expression | what it finds |\n|---|---|\n", 1)[1].split("\n\n")[0]
    expressions = re.findall(r'^\| `(".*?")` \|', table.replace("\\|", "¦"), re.MULTILINE)
    assert len(expressions) == len(table.splitlines())
    for each in expressions:
        Expression(tomllib.loads(f"x = {each.replace('¦', '|')}")["x"])


def test_the_ready_made_files_are_all_named_and_each_names_a_sample_that_is_there() -> None:
    folder = ROOT / "scenarios" / "hooks"
    there = sorted(path.name for path in folder.glob("*.toml"))
    assert there == sorted(re.findall(r"^\| `([\w-]+\.toml)` \|", TEXT, re.MULTILINE))
    for name in there:
        assert (folder / tomllib.loads((folder / name).read_text())["sample"]).exists()


def test_the_codes_and_limits_that_the_page_names_are_the_real_ones() -> None:
    table = TEXT.split("## What the errors mean\n", 1)[1]
    for codes, status in re.findall(r"^\| ((?:`\w+`(?:, |, …)?)+) \| (\d+) \|", table, re.MULTILINE):
        assert {CODES[code].status for code in re.findall(r"\w+", codes)} == {int(status)}
    assert f"at most {HOOK_BYTES_MAX // 1024**2} MiB" in TEXT
    assert f"at most {HOOK_EXPRESSION_CHARS_MAX:,} characters" in TEXT
    assert (HOOK_LOOK_S, "every two seconds" in TEXT, RECORDS_MAX) == (2.0, True, 1_000_000)


@pytest.mark.skipif(not shutil.which("openssl"), reason="the page's recipe to sign in a shell needs openssl")
def test_the_recipe_to_sign_in_a_shell_makes_what_the_library_makes() -> None:
    (recipe,) = blocks("sh")
    done = subprocess.run(  # noqa: S603 - what the page tells its readers to run
        ["/bin/sh", "-c", f'{recipe}\nprintf "%s\\n" "$TIME" "$SIGNATURE"'],
        env={"SECRET": SECRET, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    time, signature = done.stdout.split()
    at = datetime.fromtimestamp(int(time), UTC)
    assert signature == Webhook(SECRET).sign("msg_1", at, '{"people": []}')
