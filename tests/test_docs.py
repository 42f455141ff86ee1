"""The documentation is complete: every error code and every setting is explained, and none that does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from guard.core.errors import CODES
from guard.settings import (
    CallbackSettings,
    ClientSettings,
    LimitSettings,
    Policy,
    QueueSettings,
    Server,
    Settings,
    StoreSettings,
    TargetSettings,
)

DOCS = Path(__file__).parent.parent / "docs"
ERRORS, SETTINGS = DOCS / "errors.md", DOCS / "settings.md"

TABLES: dict[str, type[BaseModel]] = {
    "server": Server,
    "store": StoreSettings,
    "queue": QueueSettings,
    "callbacks": CallbackSettings,
    "clients": ClientSettings,
    "targets": TargetSettings,
    "targets.limits": LimitSettings,
    "targets.policy": Policy,
}


def rows(path: Path, heading: str) -> Iterator[list[str]]:
    """The cells of the table under a heading, without its head."""
    text = path.read_text().split(f"\n{heading}\n", 1)[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_every_error_code_is_explained_and_no_other() -> None:
    assert list(CODES) == [cells[0] for cells in rows(ERRORS, "## Codes")]


@pytest.mark.parametrize("code", CODES)
def test_the_explanation_of_a_code_is_whole_and_names_its_status(code: str) -> None:
    (cells,) = [cells for cells in rows(ERRORS, "## Codes") if cells[0] == code]
    _, status, happened, written, advice = cells
    assert str(CODES[code].status) == status
    assert written in ("nothing", "unknown", "some")
    assert happened.endswith(".")
    assert advice.endswith(".")


def test_every_code_of_a_record_that_the_code_gives_is_explained() -> None:
    explained = {cells[0] for cells in rows(ERRORS, "## Codes of single records")} | set(CODES)
    folders = [DOCS.parent / "guard", DOCS.parent / "handlers"]
    given = {
        code
        for folder in folders
        for path in folder.rglob("*.py")
        for code in re.findall(r'Failure\(\s*"(\w+)"', path.read_text())
    }
    assert given
    assert given <= explained, given - explained


def test_every_setting_is_documented_and_no_other() -> None:
    fields = {f"{table}.{name}" for table, model in TABLES.items() for name in model.model_fields}
    documented = re.findall(r"^\| `([a-z_.]+)` \|", SETTINGS.read_text(), re.MULTILINE)
    assert fields == set(documented)
    assert len(documented) == len(fields)


def test_every_table_of_the_settings_is_looked_at() -> None:
    """A table that is added to the settings has to be added here, too."""
    assert {"server", "store", "queue", "callbacks", "clients", "targets"} == set(Settings.model_fields)
    nested = {
        name for model in TABLES.values() for name, field in model.model_fields.items() if is_table(field.annotation)
    }
    assert {"limits", "policy"} == nested


def is_table(annotation: object) -> bool:
    return any(model.__name__ in str(annotation) for model in TABLES.values())


@pytest.mark.parametrize(
    ("setting", "default"),
    [
        (f"{table}.{name}", field.default)
        for table, model in TABLES.items()
        for name, field in model.model_fields.items()
        if isinstance(field.default, str | int | float)
    ],
)
def test_the_documented_default_is_the_real_one(setting: str, default: object) -> None:
    (line,) = [line for line in SETTINGS.read_text().splitlines() if line.startswith(f"| `{setting}` |")]
    told = line.split(" | ")[1].strip("`")
    assert told in (str(default), str(default).lower(), str(default).removesuffix(".0"))
