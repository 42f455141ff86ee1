"""The pages for users of Zapier and Make name what is there, by the words that those tools show."""

import re
from pathlib import Path

from tests.clients import make_app, zapier_app

ROOT = Path(__file__).parent.parent.parent
ZAPIER, MAKE = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("zapier", "make"))


def flat(page: str) -> str:
    return re.sub(r"[\s*]+", " ", page)


def test_the_page_of_zapier_names_every_action_trigger_and_search() -> None:
    labels = {
        label
        for path in zapier_app.APP.rglob("*.js")
        if "node_modules" not in path.parts and path.stem != "lists"
        for label in re.findall(r"display: \{\s*label: '([^']+)'", path.read_text())
    }
    assert len(labels) == 6
    assert [label for label in labels if label not in flat(ZAPIER)] == []


def test_the_page_of_zapier_names_fields_as_the_editor_shows_them() -> None:
    text = "".join(path.read_text() for path in zapier_app.APP.rglob("*.js") if "node_modules" not in path.parts)
    known = set(re.findall(r"label: '([^']+)'", text)) | set(re.findall(r"\w+: '([^']+)'", text))
    for named in ("Fields to write", "Records as JSON", "Run key", "Dry run", "Client key", "Address of Guard"):
        assert named in known
        assert named in flat(ZAPIER)
    assert "When it takes longer than 25 seconds: Hold the Zap until it has ended" in flat(ZAPIER)


def test_the_page_of_make_names_every_blueprint_and_no_other() -> None:
    there = {path.name for path in (ROOT / "scenarios" / "make" / "blueprints").iterdir()}
    assert set(re.findall(r"^\| `([\w-]+\.json)`", MAKE, re.MULTILINE)) == there


def test_the_page_of_make_names_every_module_of_the_app() -> None:
    modules = make_app.read(make_app.APP / "makecomapp.json")["components"]["module"].values()
    assert [module["label"] for module in modules if module["label"] not in flat(MAKE)] == []


def test_the_page_of_make_tells_the_kinds_of_errors_that_the_app_gives() -> None:
    errors = make_app.read(make_app.APP / "general" / "base.iml.json")["response"]["error"]
    told = dict(re.findall(r"`\[(\d+)\] …[^|]*\(app: (\w+)\)", MAKE))
    assert told == {status: error["type"] for status, error in errors.items() if status in told} | {
        "504": errors["type"]
    }
    assert {status for status in errors if status.isdigit()} - {"502"} <= set(told)
