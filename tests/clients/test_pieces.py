"""What people import into n8n and Node-RED is whole: it reads, its wires lead somewhere, it holds no secret. Needs
neither tool; test_n8n.py and test_node_red.py run all of it in the real ones."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
N8N, NODE_RED = ROOT / "scenarios" / "n8n", ROOT / "scenarios" / "node-red"
WORKFLOWS = sorted((N8N / "workflows").glob("*.json"))
FLOWS = sorted((NODE_RED / "flows").glob("*.json"))
PACKAGE = N8N / "n8n-nodes-automation-guard"


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def targets(connections: dict[str, Any]) -> Iterator[str]:
    for outputs in connections.values():
        for output in outputs["main"]:
            yield from (link["node"] for link in output)


@named(WORKFLOWS)
def test_a_workflow_is_whole_and_names_no_credential(path: Path) -> None:
    workflow = json.loads(path.read_text())
    names = [node["name"] for node in workflow["nodes"]]
    assert len(set(names)) == len({node["id"] for node in workflow["nodes"]}) == len(names)
    wired = {*workflow["connections"], *targets(workflow["connections"])}
    assert wired == set(names) - {"Read Me"}
    assert not [node for node in workflow["nodes"] if "credentials" in node]
    (note,) = [node["parameters"]["content"] for node in workflow["nodes"] if node["name"] == "Read Me"]
    assert set(re.findall(r"In \*([^*]+)\*", note)) <= set(names)


@named(FLOWS)
def test_a_flow_is_whole_and_holds_no_key(path: Path) -> None:
    nodes = json.loads(path.read_text())
    ids = [node["id"] for node in nodes]
    assert len(set(ids)) == len(ids)
    (tab,) = [node for node in nodes if node["type"] == "tab"]
    assert {variable["name"] for variable in tab["env"]} <= {"GUARD_URL", "CRM_URL"}
    inner = [node for node in nodes if node is not tab]
    assert {node["z"] for node in inner} == {tab["id"]}
    led_to = [target for node in inner for output in node["wires"] for target in output]
    assert set(led_to) <= set(ids)
    starts = {node["id"] for node in inner if node["type"] in ("inject", "catch", "comment")}
    assert {node["id"] for node in inner} - set(led_to) == starts
    core = {"inject", "function", "http request", "debug", "delay", "comment", "catch", "join"}
    assert {node["type"] for node in inner} <= core


def test_the_node_package_has_what_it_names_and_needs_nothing_besides_n8n() -> None:
    package = json.loads((PACKAGE / "package.json").read_text())
    members = package["n8n"]
    assert [path for path in [*members["nodes"], *members["credentials"]] if not (PACKAGE / path).exists()] == []
    assert "dependencies" not in package
    required = {
        name for path in PACKAGE.rglob("*.js") for name in re.findall(r"require\('([^'.][^']*)'\)", path.read_text())
    }
    assert required == {"n8n-workflow"} == set(package["peerDependencies"])


@pytest.mark.parametrize(("page", "pieces"), [("n8n.md", WORKFLOWS), ("node-red.md", FLOWS)])
def test_the_page_tells_what_each_piece_is_for(page: str, pieces: list[Path]) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert [path.name for path in pieces if path.name not in text] == []


def test_the_versions_that_are_installed_are_those_that_are_documented() -> None:
    for script, page in [("install-n8n", "n8n.md"), ("install-node-red", "node-red.md")]:
        (version,) = re.findall(r"^version=(\S+)", (ROOT / ".ci" / script).read_text(), re.MULTILINE)
        assert f" {version} on Node.js 20" in (ROOT / "docs" / page).read_text()
        assert version in (ROOT / "tests" / "clients" / f"{script[8:].replace('-', '_')}.py").read_text()
