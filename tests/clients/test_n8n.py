"""A real n8n with our node and workflows, in front of a real Guard: as its users import them, run them, and take back.

Heavy, and only where n8n is: `.ci/install-n8n` installs it.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx2
import pytest

from tests.clients.n8n import PIECES, N8n, installed, n8n
from tests.clients.stage import Stage, hosts_of, losing_answers, stage
from tests.servers import free_port
from tests.world import KEY

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("n8n")]

ONE, TWO = "80odnXVE9BAcgXuiNEr1", "fTwpqZpGEUlwjBl3eCuD"
"""The contacts that the imported workflows name."""
T = TypeVar("T")
NODE = "n8n-nodes-automation-guard.automationGuard"
CREDENTIAL = "automationGuardApi"


class Set:
    """n8n with credentials in it, and the Guard that they are for."""

    def __init__(self, tool: N8n, there: Stage) -> None:
        self.n8n = tool
        self.there = there
        self.address = {"baseUrl": f"{there.guard_url}/", "clientKey": KEY}
        key = tool.credential("Key", "httpHeaderAuth", {"name": "Guard-Key", "value": KEY})
        crm = {"name": "Authorization", "value": "Bearer sandbox-token"}
        self.credentials = {
            NODE: {CREDENTIAL: tool.credential("Guard", CREDENTIAL, self.address)},
            **{name: {"httpHeaderAuth": key} for name in ("Write to the CRM", "Find Its Run", "Take It Back")},
            "Your Own Nodes": {"httpHeaderAuth": tool.credential("CRM", "httpHeaderAuth", crm)},
        }

    def imported(self, slug: str, records: list[dict[str, Any]] | None = None, **parameters: Any) -> dict[str, Any]:
        """A workflow of ours with the addresses and credentials of here, as its note tells people to put them in.

        records: in place of those in it; parameters: of its node that speaks to Guard.
        """
        text = (PIECES / "workflows" / f"{slug}.json").read_text()
        text = text.replace("http://127.0.0.1:8080", self.there.guard_url)
        workflow = json.loads(text.replace("https://services.leadconnectorhq.com", self.there.sandbox_url))
        for node in workflow["nodes"]:
            node["credentials"] = self.credentials.get(node["type"]) or self.credentials.get(node["name"]) or {}
            if node["name"] == "Your Records" and records is not None:
                node["parameters"]["jsonOutput"] = json.dumps({"records": records})
            if node["type"] == NODE or node["name"] == "Write to the CRM":
                node["parameters"].update(parameters)
        return self.n8n.imported(workflow)

    def step(self, records: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
        """A workflow of our node alone."""
        workflow = copy.deepcopy(json.loads((PIECES / "workflows" / "guard-bulk-operation.json").read_text()))
        ours = next(node for node in workflow["nodes"] if node["type"] == NODE)
        ours.update(credentials=self.credentials[NODE], parameters=parameters, retryOnFail=False, name="Guard")
        if "onError" in parameters:
            ours["onError"] = parameters.pop("onError")
        begin = {"When You Click Execute", "Your Records", "One Item for Each"}
        workflow["nodes"] = [node for node in workflow["nodes"] if node["name"] in begin] + [ours]
        workflow["connections"] = {name: links for name, links in workflow["connections"].items() if name in begin}
        workflow["connections"]["One Item for Each"]["main"][0][0]["node"] = "Guard"
        records_node = next(node for node in workflow["nodes"] if node["name"] == "Your Records")
        records_node["parameters"]["jsonOutput"] = json.dumps({"records": records})
        return self.n8n.imported(workflow)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    if (install := installed()) is None:
        pytest.skip("n8n is not installed: .ci/install-n8n installs it (1.7 GB, some minutes)")
    with stage(tmp_path_factory.mktemp("guard")) as there, n8n(tmp_path_factory.mktemp("n8n"), install) as tool:
        yield Set(tool, there)


@pytest.fixture
def here(started: Set) -> Set:
    started.there.reset()
    return started


def moved(there: Stage, number: int, city: str = "Nowhere") -> list[dict[str, Any]]:
    return [{"id": id_, "city": city} for id_ in list(there.contacts)[:number]]


def test_the_tool_speaks_and_listens_to_this_machine_alone(here: Set) -> None:
    assert hosts_of(here.n8n.pid) == {"127.0.0.1"}


def test_the_credential_is_tested_by_a_request_that_tells_right_from_wrong(here: Set) -> None:
    credential = here.credentials[NODE][CREDENTIAL]
    assert here.n8n.tested(credential, CREDENTIAL, here.address)["status"] == "OK"
    for wrong in ({"clientKey": "not-the-key"}, {"baseUrl": f"http://127.0.0.1:{free_port()}"}):
        assert here.n8n.tested(credential, CREDENTIAL, here.address | wrong)["status"] == "Error"


# Importing, running, taking back


def test_the_bulk_workflow_writes_all_items_in_one_operation_and_its_url_takes_them_back(here: Set) -> None:
    before = here.there.seen()
    execution = here.n8n.run(here.imported("guard-bulk-operation"))
    assert execution.status == "success", execution.error
    (told,) = execution.items("Guarded Update")
    assert (told["status"], told["records_applied"]) == ("applied", 2)
    assert execution.paired("Guarded Update") == [{"item": 0}, {"item": 1}]
    assert here.there.cities().count("Nowhere") == 2
    (way_back,) = execution.items("The Way Back")
    assert here.there.revert(way_back["revert_url"])["records_restored"] == 2
    assert here.there.seen() == before


def test_two_hundred_items_at_once_through_the_changed_address_are_one_run_with_one_way_back(here: Set) -> None:
    before = here.there.seen()
    execution = here.n8n.run(here.imported("guard-pass-through", moved(here.there, 200)))
    assert execution.status == "success", execution.error
    answers = execution.items("Write to the CRM")
    assert {answer["statusCode"] for answer in answers} == {200}
    (url,) = {answer["headers"]["guard-revert-url"] for answer in answers}
    (way_back,) = execution.items("The Way Back")
    assert way_back["revert_url"] == url
    run = settled(here.there, way_back["run"])
    assert (len(answers), run["records_total"], run["records_applied"]) == (200, 200, 200)
    assert here.there.cities().count("Nowhere") == 200
    assert here.there.revert(url)["records_restored"] == 200
    assert here.there.seen() == before


def test_a_bracket_around_native_nodes_takes_back_what_they_wrote(here: Set) -> None:
    before = here.there.seen()
    execution = here.n8n.run(here.imported("guard-checkpoint-and-seal"))
    assert execution.status == "success", execution.error
    assert [item["city"] for item in execution.items("Checkpoint")] == ["Nowhere"] * 2
    (told,) = execution.items("Seal")
    assert (told["status"], told["records_applied"]) == ("applied", 2)
    (way_back,) = execution.items("The Way Back")
    assert here.there.revert(way_back["revert_url"])["records_restored"] == 2
    assert here.there.seen() == before


def test_a_failed_execution_is_taken_back_by_the_error_workflow(here: Set) -> None:
    before = here.there.seen()
    rescue = rescuing(here)
    records = [*moved(here.there, 3), {"id": "doesNotExist00000000", "city": "Nowhere"}]
    failed = triggered(here, here.imported("guard-bulk-operation", records), rescue)
    assert failed.status == "error"
    assert "3 of 4 records were written (partial)" in failed.error["message"]
    (rescued,) = until(lambda: here.n8n.executions(rescue))
    execution = here.n8n.ended(rescued)
    (told,) = execution.items("Take It Back")
    assert (told["status"], told["records_restored"]) == ("reverted", 3)
    assert execution.status == "success", execution.error
    assert here.there.seen() == before


def test_an_execution_that_fails_within_a_bracket_is_taken_back_too(here: Set) -> None:
    before = here.there.seen()
    rescue = rescuing(here)
    here.there.fault(method="PUT", kind="status", status=422, times=1)
    failed = triggered(here, here.imported("guard-checkpoint-and-seal"), rescue)
    assert failed.status == "error"
    (rescued,) = until(lambda: here.n8n.executions(rescue))
    (told,) = here.n8n.ended(rescued).items("Take It Back")
    assert (told["status"], told["records_restored"]) == ("reverted", 1)
    assert here.there.seen() == before


@pytest.mark.parametrize("slug", ["guard-revert-on-error", "guard-revert-on-error-without-node"])
def test_requests_passed_through_are_taken_back_by_either_error_workflow(here: Set, slug: str) -> None:
    before = here.there.seen()
    rescue = rescuing(here, slug)
    here.there.fault(method="PUT", kind="status", status=422, after=2, times=3)
    failed = triggered(here, here.imported("guard-pass-through", moved(here.there, 5)), rescue)
    assert failed.status == "error"
    (rescued,) = until(lambda: here.n8n.executions(rescue))
    execution = here.n8n.ended(rescued)
    (told,) = execution.items("Take It Back")
    assert (execution.status, told["status"], told["records_restored"]) == ("success", "reverted", 2)
    assert here.there.seen() == before


@pytest.mark.parametrize("slug", ["guard-revert-on-error", "guard-revert-on-error-without-node"])
def test_an_error_workflow_that_could_not_take_all_back_fails_and_says_so(here: Set, slug: str) -> None:
    rescue = rescuing(here, slug)
    here.there.fault(method="PUT", kind="status", status=422, after=2, times=-1)
    triggered(here, here.imported("guard-pass-through", moved(here.there, 5)), rescue)
    (rescued,) = until(lambda: here.n8n.executions(rescue))
    execution = here.n8n.ended(rescued)
    assert execution.status == "error"
    assert execution.error["message"].startswith("Not all went back (partly_reverted): 0 records restored")
    assert "2 refused" in execution.error["message"]


def test_an_execution_that_wrote_nothing_leaves_the_error_workflow_nothing_to_do(here: Set) -> None:
    rescue = rescuing(here)
    nobody = [{"id": "doesNotExist00000000", "city": "Nowhere"}]
    assert triggered(here, here.imported("guard-bulk-operation", nobody), rescue).status == "error"
    (rescued,) = until(lambda: here.n8n.executions(rescue))
    execution = here.n8n.ended(rescued)
    assert execution.status == "success", execution.error
    assert here.there.writes() == []


# Coming again


def test_a_node_that_retries_sends_all_items_again_and_nothing_happens_twice(here: Set) -> None:
    here.there.fault(method="PUT", kind="status", status=500, after=3)
    execution = here.n8n.run(here.imported("guard-pass-through", moved(here.there, 8)))
    assert execution.status == "success", execution.error
    applied = [path for _, path, status in here.there.writes() if status == 200]
    assert len(applied) == len(set(applied)) == 8
    assert len(here.there.writes()) == 9  # the refused one, and once each
    run = settled(here.there, execution.items("The Way Back")[0]["run"])
    assert here.there.revert(run["revert_url"])["records_restored"] == 8


def test_a_node_that_gives_up_waiting_and_sends_again_gets_the_first_answer(here: Set) -> None:
    here.there.fault(method="PUT", kind="hang", seconds=2.5)
    workflow = here.imported("guard-pass-through", moved(here.there, 4), options=full_answer(timeout=1500))
    node_of(workflow, "Write to the CRM")["waitBetweenTries"] = 500
    execution = here.n8n.run(workflow)
    assert execution.status == "success", execution.error
    assert sorted(path for _, path, _ in here.there.writes()) == sorted(
        f"/contacts/{record['id']}" for record in moved(here.there, 4)
    )


def test_our_node_sends_again_by_itself_what_was_lost_or_found_no_room(here: Set) -> None:
    with losing_answers(here.there.guard_url, "POST") as proxy:
        credential = here.n8n.credential("Far away", CREDENTIAL, {**here.address, "baseUrl": proxy.url})
        workflow = here.imported("guard-bulk-operation")
        node_of(workflow, "Guarded Update").update(credentials={CREDENTIAL: credential}, retryOnFail=False)
        execution = here.n8n.run(workflow)
        assert execution.status == "success", execution.error
        assert proxy.methods == ["POST", "POST"]
    assert len(here.there.writes()) == 2

    here.there.reset()
    tries = tries_of_a_read(here.there)
    here.there.fault(method="GET", kind="status", status=500, times=tries)
    workflow = here.imported("guard-bulk-operation", moved(here.there, 1))
    node_of(workflow, "Guarded Update")["retryOnFail"] = False
    execution = here.n8n.run(workflow)
    assert execution.status == "success", execution.error
    assert len(here.there.writes()) == 1


def test_our_nodes_of_one_execution_share_a_run_and_run_apart(here: Set) -> None:
    workflow = here.imported("guard-bulk-operation")
    first = node_of(workflow, "Guarded Update")
    again = {**copy.deepcopy(first), "name": "Second", "id": "another-node", "position": [760, 0]}
    again["parameters"] |= {"action": "tags.add", "tags": "imported, moved", "idField": "id"}
    workflow["nodes"].append(again)
    workflow["connections"]["One Item for Each"]["main"][0].append({"node": "Second", "type": "main", "index": 0})
    execution = here.n8n.run(here.n8n.imported(workflow))
    assert execution.status == "success", execution.error
    one, two = execution.items("Guarded Update")[0], execution.items("Second")[0]
    assert (one["id"], one["revert_url"]) == (two["id"], two["revert_url"])
    assert one["operation"] != two["operation"]
    assert {"imported", "moved"} <= set(here.there.contacts[ONE]["tags"])
    assert here.there.revert(one["revert_url"])["records_restored"] == 2


def test_a_node_in_a_loop_is_an_operation_each_round_in_one_run(here: Set) -> None:
    workflow = here.imported("guard-bulk-operation", [{"id": ONE, "city": "Nowhere"}] * 2)
    loop = {"parameters": {"batchSize": 1, "options": {}}, "id": "loop", "name": "Loop", "position": [500, 200]}
    workflow["nodes"].append({**loop, "type": "n8n-nodes-base.splitInBatches", "typeVersion": 3})
    wires = workflow["connections"]
    wires["One Item for Each"]["main"][0][0]["node"] = "Loop"
    wires["Loop"] = {"main": [[], [{"node": "Guarded Update", "type": "main", "index": 0}]]}
    wires["Guarded Update"]["main"][0][0]["node"] = "Loop"
    execution = here.n8n.run(here.n8n.imported(workflow))
    assert execution.status == "success", execution.error
    run = here.there.get(f"/v1/runs/{execution.items('Guarded Update')[0]['id']}")
    assert (len(run["operations"]), len(here.there.writes())) == (2, 2)


def test_a_failed_execution_that_is_retried_by_hand_writes_again_in_a_run_of_its_own(here: Set) -> None:
    before = here.there.seen()
    here.there.fault(method="PUT", kind="status", status=422, after=2)
    workflow = here.imported("guard-pass-through", moved(here.there, 4))
    node_of(workflow, "Write to the CRM")["retryOnFail"] = False
    failed = here.n8n.run(workflow)
    assert (failed.status, len(here.there.writes())) == ("error", 4)
    again = here.n8n.retried(failed, workflow)
    assert (again.status, len(here.there.writes())) == ("success", 8)
    runs = [here.there.get("/v1/runs", run_key=f"{workflow['id']}-{each.id}")["runs"] for each in (again, failed)]
    assert [run["records_total"] for (run,) in runs] == [4, 4]
    for (run,) in runs:  # the later one first
        assert settled(here.there, run["id"])
        here.there.revert(run["revert_url"])
    assert here.there.seen() == before


def test_a_run_that_outlasts_thirty_seconds_is_waited_for_and_told_whole(here: Set) -> None:
    """Guard answers after 25 seconds that it goes on, as many tools give up at 30; the node asks till it has ended."""
    here.there.sandbox.latency_s = 1.4  # 220 reads and 220 writes, 20 at a time: some 31 seconds
    begun = time.monotonic()
    execution = here.n8n.run(here.imported("guard-bulk-operation", moved(here.there, 220)))
    assert execution.status == "success", execution.error
    assert time.monotonic() - begun > 30
    (told,) = execution.items("Guarded Update")
    assert (told["status"], told["records_applied"], told["failures"]) == ("applied", 220, [])
    assert len(here.there.writes()) == 220


def test_a_run_that_outlasts_the_longest_wait_is_told_with_its_url_and_goes_on(here: Set) -> None:
    here.there.sandbox.latency_s = 0.7
    workflow = here.imported("guard-bulk-operation", moved(here.there, 220), longestWaitMinutes=0.1)
    node_of(workflow, "Guarded Update")["retryOnFail"] = False
    # With less than the 25 seconds that Guard lets a caller wait, the wait is cut to what is left.
    execution = here.n8n.run(workflow)
    assert execution.status == "error"
    assert "The run goes on in Guard after 6 seconds" in execution.error["message"]
    assert "Takes it back: http" in execution.error["description"]
    here.there.sandbox.latency_s = 0
    run = execution.error["description"].split("/v1/runs/")[1].split()[0]
    assert settled(here.there, run)["records_applied"] == 220


# What goes wrong


def test_what_guard_refuses_is_said_in_its_own_sentence_and_at_the_item(here: Set) -> None:
    records = [{"id": ONE, "city": "Nowhere"}, {"id": TWO, "citty": "Nowhere"}]
    what = {"operation": "bulk", "target": "crm", "recordType": "contacts", "action": "update", "fieldsFrom": "all"}
    execution = here.n8n.run(here.step(records, **what))
    assert execution.status == "error"
    assert execution.error["message"].startswith("Record 2: contacts has no writable field named citty")
    assert "Nothing was written." in execution.error["message"]
    assert "Code: unknown_field" in execution.error["description"]
    assert execution.error["context"]["itemIndex"] == 1
    assert here.there.writes() == []


def test_with_continue_on_fail_the_error_is_an_item_that_can_be_looked_at(here: Set) -> None:
    what = {"operation": "bulk", "target": "nobody", "recordType": "contacts", "action": "update", "fieldsFrom": "all"}
    execution = here.n8n.run(here.step(moved(here.there, 2), onError="continueRegularOutput", **what))
    assert execution.status == "success", execution.error
    (told,) = execution.items("Guard")
    assert (told["code"], told["written"]) == ("forbidden", "nothing")
    assert "does not open the target" in told["error"]


def test_an_item_without_an_id_is_named_before_anything_is_sent(here: Set) -> None:
    what = {"operation": "bulk", "target": "crm", "recordType": "contacts", "action": "delete"}
    execution = here.n8n.run(here.step([{"id": ONE}, {"key": TWO}], **what))
    assert execution.error["message"].startswith('Item 2 has no "id"')
    assert here.there.writes() == []


def test_an_address_where_no_guard_is_is_named(here: Set) -> None:
    for url, said in [
        (f"http://127.0.0.1:{free_port()}", "Guard does not answer at"),
        (f"{here.there.sandbox_url}", "is not Guard. Check the address"),
    ]:
        credential = here.n8n.credential("Elsewhere", CREDENTIAL, {**here.address, "baseUrl": url})
        workflow = here.step(moved(here.there, 1), operation="findRuns", limit=5)
        node_of(workflow, "Guard")["credentials"] = {CREDENTIAL: credential}
        execution = here.n8n.run(workflow)
        assert said in execution.error["message"], execution.error


# Runs


def test_runs_are_found_looked_at_and_taken_back_once_each(here: Set) -> None:
    (told,) = here.n8n.run(here.imported("guard-bulk-operation", moved(here.there, 3))).items("Guarded Update")
    found = here.n8n.run(here.step([{}], operation="findRuns", limit=1, filters={"target": "crm"})).items("Guard")
    assert [run["id"] for run in found] == [told["id"]]
    (run,) = here.n8n.run(here.step([{}], operation="getRun", runBy="id", run=told["run_url"])).items("Guard")
    assert (run["id"], run["records_applied"]) == (told["id"], 3)

    urls = [{"revert_url": told["revert_url"]}] * 3
    dry = {"operation": "revert", "revertBy": "url", "revertUrl": "={{ $json.revert_url }}"}
    (preview,) = here.n8n.run(here.step(urls, **dry, revertOptions={"dryRun": True})).items("Guard")
    assert (preview["status"], preview["records_restored"]) == ("dry_run", 3)
    assert here.there.cities().count("Nowhere") == 3
    execution = here.n8n.run(here.step(urls, operation="revert", revertBy="id", run=told["id"], revertOptions={}))
    assert [(each["status"], each["records_restored"]) for each in execution.items("Guard")] == [("reverted", 3)]
    assert execution.paired("Guard") == [{"item": 0}, {"item": 1}, {"item": 2}]
    assert here.there.cities().count("Nowhere") == 0


def test_a_long_revert_is_waited_for_too(here: Set) -> None:
    (told,) = here.n8n.run(here.imported("guard-bulk-operation", moved(here.there, 220))).items("Guarded Update")
    here.there.sandbox.latency_s = 1.3
    execution = here.n8n.run(here.step([told], operation="revert", revertBy="url", revertUrl=told["revert_url"]))
    (back,) = execution.items("Guard")
    assert (back["status"], back["records_restored"], back["records_conflicted"]) == ("reverted", 220, 0)
    assert here.there.cities().count("Nowhere") == 0


def full_answer(**more: Any) -> dict[str, Any]:
    return {"response": {"response": {"fullResponse": True}}, **more}


def tries_of_a_read(there: Stage) -> int:
    """How often Guard asks for one record before it answers 503, with Retry-After and nothing written."""
    there.fault(method="GET", kind="status", status=500, times=-1)
    record = {"id": TWO, "fields": {"city": "Nowhere"}}
    body = {"target": "crm", "resource": "contacts", "action": "update", "records": [record]}
    reply = httpx2.post(f"{there.guard_url}/v1/operations", json=body, headers={"guard-key": KEY}, timeout=60)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5"), reply.text
    tries = len(there.sandbox.log.entries)
    there.reset()
    return tries


def node_of(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in workflow["nodes"] if node["name"] == name)


def settled(there: Stage, run: str) -> dict[str, Any]:
    """The run, once nothing of it goes on; what is read back comes after the answer."""
    return until(lambda: over(there.get(f"/v1/runs/{run}")))


def over(run: dict[str, Any]) -> dict[str, Any] | None:
    return None if run["status"] == "running" else run


def until(found: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


def rescuing(here: Set, slug: str = "guard-revert-on-error") -> dict[str, Any]:
    """An error workflow, published: n8n starts no other."""
    workflow = here.imported(slug)
    here.n8n.activate(workflow)
    return workflow


def triggered(here: Set, workflow: dict[str, Any], rescue: dict[str, Any]) -> Any:
    """The workflow as it runs by itself: error workflows are for executions by a trigger, not by hand."""
    trigger = next(node for node in workflow["nodes"] if node["type"].endswith("manualTrigger"))
    path = f"go-{workflow['id']}"
    trigger.update(type="n8n-nodes-base.webhook", typeVersion=2, webhookId=path)
    trigger["parameters"] = {"path": path, "httpMethod": "POST", "responseMode": "onReceived", "options": {}}
    for node in workflow["nodes"]:
        node["retryOnFail"] = False
    workflow["settings"]["errorWorkflow"] = rescue["id"]
    saved = here.n8n.imported(workflow)
    here.n8n.activate(saved)
    reply = httpx2.post(f"{here.n8n.url}/webhook/{path}", timeout=30)
    assert reply.status_code == 200, reply.text
    (execution,) = until(lambda: here.n8n.executions(saved))
    return here.n8n.ended(execution)
