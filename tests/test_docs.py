"""The documentation is complete and true: what it names exists, what exists is named, what it quotes is the code."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.routing import Route

from guard import cli
from guard.core.errors import CODES
from guard.flows import passage
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
    parse,
)
from guard.store.base import Unavailable
from guard.web.operations import OperationModel
from guard.web.revert import RevertModel
from handlers import HANDLERS
from tests import drawing, handlers_table
from tests.web.test_store_trouble import FailingStore, to_either_door, without_a_store_once_sent
from tests.world import World, path_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README, API, DESIGN = ROOT / "README.md", DOCS / "api.md", DOCS / "design.md"
ERRORS, SETTINGS = DOCS / "errors.md", DOCS / "settings.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", text)
    files = re.findall(r"(?<![\w/])((?:guard|handlers|scenarios|tests|infra)/[\w/]+\.(?:py|yaml))", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [file for file in files if not (ROOT / file).exists()] == []


def commands(page: Path) -> set[str]:
    return set(re.findall(r"(?:\.venv/bin/|`)guard ([a-z]+)", page.read_text()))


def test_every_command_is_in_the_readme_and_no_page_names_another() -> None:
    registered = {
        str(command.name or command.callback.__name__) for command in cli.app.registered_commands if command.callback
    }
    registered |= {str(group.name) for group in cli.app.registered_groups}
    assert commands(README) == registered
    assert set().union(*(commands(page) for page in PAGES)) == registered


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^ *|`)make ([\w./-]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test"} <= named <= targets, named - targets


def test_the_settings_of_the_readme_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    for name in re.findall(r'env = "(\w+)"', example):
        monkeypatch.setenv(name, "a-secret-of-sufficient-length")
    assert parse(tomllib.loads(example), "README.md").targets["crm"].handler == "highlevel"


def test_every_test_that_a_page_names_exists() -> None:
    named = {name for page in (DESIGN, DOCS / "security.md") for name in re.findall(r"`(test_\w+)`", page.read_text())}
    known = {
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) > 40
    assert named <= known, named - known


def test_each_invariant_has_its_tests() -> None:
    invariants = list(rows(DESIGN, "## Invariants"))
    assert [cells[0] for cells in invariants] == [f"I{n}" for n in range(1, 11)]
    assert all("`test_" in cells[2] for cells in invariants)


def test_the_diagrams_show_every_transition_and_no_other() -> None:
    assert DESIGN.read_text() == drawing.with_diagrams(DESIGN.read_text()), "draw them anew: python -m tests.drawing"
    for name, table in drawing.TABLES.items():
        shown = DESIGN.read_text().split(f"<!-- {name}: drawn", 1)[1].split(f"<!-- {name}: end", 1)[0]
        arrows = re.findall(r"^    (\w+) --> (\w+): (.*)$", shown, re.MULTILINE)
        assert table == {(one, event): two for one, two, events in arrows for event in events.split(", ")}


def test_the_table_of_handlers_is_what_they_say_of_themselves() -> None:
    told = handlers_table.PAGE.read_text()
    assert told == handlers_table.with_tables(told), "make it anew: python -m tests.handlers_table"
    pages = {path.stem for path in (handlers_table.PAGE.parent / "handlers").glob("*.md")}
    assert pages == set(HANDLERS)
    assert [name for name in pages if f"handlers/{name}.md" not in told] == []


def code_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_example_that_is_quoted_is_the_one_that_is_tested() -> None:
    *parts, joined = re.findall(r"```python\n(.*?)```", (DOCS / "add-a-handler.md").read_text(), re.DOTALL)
    tested = ROOT / "tests" / "handlers"
    assert code_of("".join(parts)) == code_of((tested / "example_crm.py").read_text())
    assert code_of(joined) == code_of((tested / "test_example_crm.py").read_text())


# The API


async def test_every_address_is_documented_and_no_other(small_world: World) -> None:
    there = set()
    for route in small_world.app.routes:
        path = str(route.path).replace(":path}", "}")  # type: ignore[attr-defined]  # routes and mounts have it
        methods = (getattr(route, "methods", None) or {"GET"}) - {"HEAD"} if isinstance(route, Route) else {"GET"}
        there |= {f"{'ANY' if len(methods) > 1 else min(methods)} {path}"}
    there -= {"ANY /to/{target}"}  # the same door without a path
    there = {"GET /static/{file}" if address == "GET /static" else address for address in there}
    documented = re.findall(r"^## ((?:GET|POST|ANY) /\S*)$", API.read_text(), re.MULTILINE)
    assert there == set(documented)


def names(value: Any) -> set[str]:
    """The members of an answer, at any depth."""
    if isinstance(value, list):
        return {name for each in value for name in names(each)}
    return set(value) | {name for each in value.values() for name in names(each)} if isinstance(value, dict) else set()


async def answers(world: World) -> list[dict[str, Any]]:
    """One of each kind."""
    one, two, *_ = world.contacts
    fields = {"city": "Nowhere", "tags": ["imported"]}
    records = [{"id": id_, "fields": fields} for id_ in (one, two, "doesNotExist")]
    done = await world.operate("update", records, scenario="import", note="x")
    await world.edit("contacts", one, {"city": "Lisbon"})
    deleted = await world.operate("delete", [{"id": two}], accept_irreversible=True)
    gets = [await world.http.get(f"/v1/runs/{done['id']}{more}") for more in ("", "/changes?now=true")]
    plan, report = await world.plan(done), await world.revert(done)
    recreated = await world.revert(deleted)
    again = await world.http.get(f"/v1/runs/{recreated['id']}/changes")
    dry = await world.operate("update", records, dry_run=True)
    told = [reply.json() for reply in (*gets, again, await world.http.get("/v1/runs"))]
    after = (await world.http.get(f"/v1/runs/{done['id']}")).json()
    return [done, deleted, plan, report, recreated, dry, after, *told]


async def test_every_member_of_an_answer_is_documented_and_none_is_shown_that_is_not(small_world: World) -> None:
    all_kinds = await answers(small_world)
    seen, text = names(all_kinds), API.read_text()
    assert [name for name in all_kinds[0] if f"`{name}`" not in text] == []
    shown = {name for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) for name in names(json.loads(block))}
    assert [name for name in sorted(seen) if not re.search(rf'[`"]{name}[`"]', text)] == []
    assert shown <= seen, shown - seen


def test_every_member_of_a_request_is_documented() -> None:
    members = {*OperationModel.model_fields, *RevertModel.model_fields}
    assert [name for name in sorted(members) if f"`{name}`" not in API.read_text()] == []


async def test_every_header_of_guards_own_is_documented(small_world: World) -> None:
    id_ = next(iter(small_world.contacts))
    reply = await small_world.http.put(f"/to/crm/contacts/{id_}", json={"city": "Nowhere"})
    told = {name for name in reply.headers if name.startswith("guard-")}
    read = {
        name
        for path in (ROOT / "guard" / "web").rglob("*.py")
        for name in re.findall(r'"(guard-[a-z-]+|webhook-id)"', path.read_text())
    }
    documented = {name.lower() for name in re.findall(r"`((?:Guard|webhook)-[\w-]+)`", API.read_text())}
    assert told
    assert told | read <= documented, (told | read) - documented


async def test_the_documented_answer_when_the_store_fails_in_mid_run_is_the_real_one(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage, "_SEAL_BACKOFF_S", 0.0001)
    store = FailingStore(small_world.guard.journals.store)
    small_world.guard.journals.store = store
    without_a_store_once_sent(small_world, store, monkeypatch)
    told = (await to_either_door(small_world, "operations")).json()
    store.fail(Unavailable, -1)
    assert (told["code"], told["status"]) == ("in_doubt", 504)
    (documented,) = re.findall(r"Where the snapshot store fails in the middle.*?\n\n", API.read_text(), re.DOTALL)
    named = set(re.findall(r"`([a-z_]+)`", documented)) - {"in_doubt"}
    assert named == set(told) - {"type", "title", "status", "code", "detail", "written"}


async def test_the_documented_answer_to_a_lost_one_is_the_real_one(small_world: World) -> None:
    id_ = next(iter(small_world.contacts))
    await small_world.fault(kind="drop_after", match={"method": "PUT"})
    reply = await small_world.http.put(f"/to/crm/contacts/{id_}", json={"city": "Nowhere"})
    assert (reply.status_code, reply.json()["code"]) == (504, "in_doubt")
    assert path_of(reply.json()["revert_url"]).startswith("/revert/")
    assert reply.json()["run_url"]
