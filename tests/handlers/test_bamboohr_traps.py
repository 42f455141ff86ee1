"""One test for each trap of BambooHR's documentation, behind a real Guard; named after the trap."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scenarios.sandboxes import bamboohr as vendor
from scenarios.sandboxes.common import RateLimits
from tests.handlers.bamboohr_world import (
    ANN,
    BEN,
    IDS,
    TOLD_APART,
    answer_of,
    bamboohr_world,
    calls,
    configure,
    operate,
    row_of,
    rows,
    shown,
    through,
)
from tests.world import World

HERS = f"/employees/{ANN['id']}"
JOB = row_of("jobInfo")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bamboohr_world(tmp_path) as made:
        yield made


async def test_a_field_that_the_key_may_not_see_is_absent_and_that_is_not_empty(world: World) -> None:
    """Taken for empty, it would be emptied by a revert."""
    await configure(world, hidden=["city"])
    before = rows(world)
    fields = {"city": "Nowhere", "firstName": "Wrong"}
    refused = await through(world, "POST", HERS, fields)
    assert (refused.json()["code"], "city" in refused.text, rows(world)) == ("irreversible", True, before)

    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": fields}, accept_irreversible=True)
    report = await world.revert(answer)

    now = rows(world)[ANN["id"]]
    assert answer["reversible"] == "partial"
    assert (report["records_failed"], now["firstName"], now["city"]) == (0, ANN["firstName"], "Nowhere")


async def test_a_field_that_the_key_sees_no_longer_at_the_revert_is_left_alone(world: World) -> None:
    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"city": "Nowhere"}})
    await configure(world, hidden=["city"])

    report = await world.revert(answer)

    assert (report["records_conflicted"], rows(world)[ANN["id"]]["city"]) == (1, "Nowhere")


async def test_a_deleted_row_is_refused_where_a_column_is_hidden_for_it_would_come_back_without(world: World) -> None:
    await configure(world, hidden=["department"])
    record = {"id": JOB["id"]}
    refused = await operate(world, "delete", "jobInfo", record, status=422)
    assert (refused["code"], await calls(world)) == ("irreversible", [])

    answer = await operate(world, "delete", "jobInfo", record, accept_irreversible=True)

    assert [reason for reason in answer["reversible_reasons"] if "department" in reason]


@pytest.mark.parametrize("habit", ["adds", "changes"])
async def test_writing_a_job_title_through_the_employee_is_refused_for_it_may_add_a_row_to_the_history(
    world: World, habit: str
) -> None:
    await configure(world, dated=habit)
    before = rows(world, "jobInfo")
    refused = await through(world, "POST", HERS, {"jobTitle": "Wrong"})
    assert (refused.json()["code"], "jobTitle" in refused.text, await calls(world)) == ("irreversible", True, [])

    told = answer_of(await through(world, "POST", HERS, {"jobTitle": "Wrong"}, accept=True))
    report = await world.revert(told)

    history = rows(world, "jobInfo")
    assert (report["status"], await shown(world, "jobTitle")) == ("reverted", JOB["jobTitle"])
    assert len(history) == len(before) + (2 if habit == "adds" else 0)


@pytest.mark.parametrize("name", ["payRate", "payType", "employmentHistoryStatus", "department", "reportsTo"])
async def test_whatever_follows_from_a_table_is_told_before_it_is_written(world: World, name: str) -> None:
    refused = await through(world, "POST", HERS, {name: "Wrong", "firstName": "Wrong"})
    assert (refused.json()["code"], name in refused.json()["detail"]) == ("irreversible", True)


async def test_the_same_change_made_as_a_row_is_taken_back_whole_and_leaves_no_trace_in_the_history(
    world: World,
) -> None:
    before = rows(world, "jobInfo")
    answer = await operate(world, "create", "jobInfo", {"fields": {"employeeId": ANN["id"], **TOLD_APART}})
    assert (answer["reversible"], await shown(world, "jobTitle")) == ("full", "Nurse")

    report = await world.revert(answer)

    assert (report["status"], rows(world, "jobInfo")) == ("reverted", before)


async def test_an_employee_on_trax_payroll_takes_no_update_of_one_field_and_the_revert_says_so(world: World) -> None:
    """Guard writes back only what the run changed. The other employees go back."""
    fields = {"firstName": "Wrong"}
    answer = await operate(
        world, "update", "employees", {"id": ANN["id"], "fields": fields}, {"id": BEN["id"], "fields": fields}
    )
    await configure(world, trax=[ANN["id"]])

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], report["records_failed"]) == ("partly_reverted", 1, 1)
    assert [rows(world)[each["id"]]["firstName"] for each in (ANN, BEN)] == ["Wrong", BEN["firstName"]]


async def test_a_number_that_may_be_shown_masked_is_in_no_snapshot_and_never_written_back(world: World) -> None:
    refused = await through(world, "POST", HERS, {"ssn": "000-00-0000"})
    assert (refused.json()["code"], "ssn" in refused.json()["detail"]) == ("irreversible", True)
    await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"firstName": "Wrong"}})

    (asked, *_) = [each["path"] for each in await world.vendor_requests() if "fields=" in each["path"]]
    assert "firstName" in asked
    assert "ssn" not in asked


async def test_a_choice_that_a_list_did_not_have_is_made_by_writing_it_and_is_told_to_stay(world: World) -> None:
    before = rows(world, "jobInfo")
    answer = await operate(world, "update", "jobInfo", {"id": JOB["id"], "fields": {"department": "Sourcing"}})
    assert "Sourcing" in world.sandbox.vendor.choices  # type: ignore[attr-defined]

    assert "new choices" in " ".join((await world.plan(answer))["cannot_be_taken_back"])
    await world.revert(answer)
    assert rows(world, "jobInfo") == before


async def test_a_choice_that_a_list_refuses_fails_its_record_alone_and_says_why(world: World) -> None:
    await configure(world, lists="refuse")
    good, bad = {"fields": {"jobTitle": "Trainee"}}, {"fields": {"department": "Sourcing"}}
    answer = await operate(
        world, "update", "jobInfo", {"id": JOB["id"], **bad}, {"id": row_of("jobInfo", BEN["id"])["id"], **good}
    )
    assert (answer["status"], answer["records_applied"], answer["records_failed"]) == ("partial", 1, 1)
    assert answer["failures"][0]["message"] == "BambooHR answered 409: Invalid value for department"


async def test_a_state_that_is_normalised_is_recognised_by_what_was_read_back(world: World) -> None:
    before = rows(world)
    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"state": "Pennsylvania"}})
    assert (answer["status"], rows(world)[ANN["id"]]["state"]) == ("applied", "PA")

    report = await world.revert(answer)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_a_created_employee_cannot_be_deleted_so_that_is_said_before_and_the_revert_leaves_them(
    world: World,
) -> None:
    fields = {"firstName": "New", "lastName": "Nurse"}
    dry = await operate(world, "create", "employees", {"fields": fields}, dry_run=True, accept_irreversible=True)
    assert dry["reversible"] == "none"
    refused = await operate(world, "create", "employees", {"fields": fields}, status=422)
    assert (refused["code"], "deletes no employee" in refused["detail"]) == ("irreversible", True)
    assert await calls(world) == []

    answer = await operate(world, "create", "employees", {"fields": fields}, accept_irreversible=True)
    made = rows(world)
    asked = len(await world.vendor_requests())
    report = await world.revert(answer)

    (told,) = report["conflicts"]
    assert (report["records_irreversible"], "administrator" in told["reason"], rows(world)) == (1, True, made)
    assert [each["method"] for each in (await world.vendor_requests())[asked:]] == []


async def test_deleting_an_employee_is_refused_by_both_doors(world: World) -> None:
    by_bulk = await operate(world, "delete", "employees", {"id": ANN["id"]}, status=422, accept_irreversible=True)
    by_passing = await through(world, "DELETE", HERS, accept=True)
    assert (by_bulk["code"], "deletes no employee" in by_bulk["detail"]) == ("unknown_action", True)
    assert (by_passing.json()["code"], await calls(world)) == ("unknown_route", [])


async def test_a_write_that_waits_for_an_approval_is_not_taken_for_done(world: World) -> None:
    await configure(world, approvals=["jobInfo"])
    before = rows(world, "jobInfo")
    changed = await operate(world, "update", "jobInfo", {"id": JOB["id"], "fields": {"jobTitle": "Wrong"}})
    added = await operate(world, "create", "jobInfo", {"fields": {"employeeId": ANN["id"], **TOLD_APART}})
    deleted = await operate(world, "delete", "jobInfo", {"id": JOB["id"]}, status=422, accept_irreversible=True)
    assert [each["records_in_doubt"] for each in (changed, added)] == [1, 1]
    assert [each["failures"][0]["code"] for each in (changed, added)] == ["not_shown", "not_shown"]
    assert deleted["failures"][0]["message"] == "BambooHR answered 409: The row has pending changes"

    reports = [await world.revert(each) for each in (changed, added)]

    assert [report["records_failed"] for report in reports] == [0, 0]
    assert rows(world, "jobInfo") == before


async def test_a_row_that_was_approved_after_all_is_not_deleted_unless_it_is_certainly_the_runs(world: World) -> None:
    """Nothing in a row tells when it was made, or by whom."""
    await configure(world, approvals=["jobInfo"])
    fields = {"employeeId": ANN["id"], **TOLD_APART}
    answer = await operate(world, "create", "jobInfo", {"fields": fields})
    await configure(world, approvals=[])
    await operate(world, "create", "jobInfo", {"fields": fields})
    approved = rows(world, "jobInfo")

    report = await world.revert(answer)

    assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 1)
    assert rows(world, "jobInfo") == approved


async def test_a_deletion_that_answers_200_and_success_false_deleted_nothing(world: World) -> None:
    await world.fault(
        kind="status",
        status=200,
        body={"success": False, "error": "The row could not be deleted"},
        match={"method": "DELETE", "path_regex": ""},
    )
    answer = await operate(world, "delete", "jobInfo", {"id": JOB["id"]}, status=422, accept_irreversible=True)
    assert (answer["records_applied"], answer["records_failed"]) == (0, 1)
    assert answer["failures"][0]["message"] == "BambooHR deleted nothing: The row could not be deleted"


async def test_a_row_that_is_tied_to_a_pay_schedule_is_not_deleted_by_the_revert_either(world: World) -> None:
    pay = {"startDate": "2026-03-01", "rate": "61000.00", "type": "Salary"}
    answer = await operate(world, "create", "compensation", {"fields": {"employeeId": ANN["id"], **pay}})
    await configure(world, scheduled=["compensation"])

    report = await world.revert(answer)

    assert (report["status"], report["records_failed"]) == ("partly_reverted", 1)
    assert "pay schedule" in str(report)


async def test_an_update_of_a_row_that_left_out_a_field_is_reported_as_done_in_part(world: World) -> None:
    await configure(world, unwritable=["department"])
    fields = {"jobTitle": "Wrong", "department": "Sourcing"}
    before = rows(world, "jobInfo")
    answer = await operate(world, "update", "jobInfo", {"id": JOB["id"], "fields": fields})
    assert (answer["failures"][0]["code"], "department" in answer["failures"][0]["message"]) == ("partly_applied", True)

    report = await world.revert(answer)

    assert (report["status"], rows(world, "jobInfo")) == ("reverted", before)


async def test_the_reason_of_a_refusal_is_in_a_header_which_the_caller_gets_too(world: World) -> None:
    refused = await through(world, "POST", HERS, {"workEmail": BEN["workEmail"]})
    assert (refused.status_code, refused.headers["x-bamboohr-error-message"]) == (409, "Duplicate email")
    record = {"id": ANN["id"], "fields": {"workEmail": BEN["workEmail"]}}
    answer = await operate(world, "update", "employees", record, status=422)
    assert answer["failures"][0]["message"] == "BambooHR answered 409: Duplicate email"


async def test_a_refusal_without_bamboos_own_sentence_may_be_somebody_elses_and_is_settled_by_reading(
    world: World,
) -> None:
    await world.fault(kind="done_then_status", status=403, match={"method": "POST", "path_regex": HERS})
    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"firstName": "Wrong"}})
    assert (answer["records_applied"], rows(world)[ANN["id"]]["firstName"]) == (1, "Wrong")


async def test_who_asks_for_json_is_not_answered_in_xml(world: World) -> None:
    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"firstName": "Wrong"}})
    assert answer["status"] == "applied"
    xml = await world.http.get(f"/to/crm/api/v1{HERS}", headers={"accept": "application/xml"})
    assert (xml.headers["content-type"], "<field id=" in xml.text) == ("text/xml; charset=utf-8", True)


async def test_xml_in_a_write_is_refused_since_guard_does_not_understand_it(world: World) -> None:
    body = '<employee><field id="firstName">Wrong</field></employee>'
    headers = {"content-type": "application/xml"}
    refused = await world.http.post(f"/to/crm/api/v1{HERS}", content=body, headers=headers)
    assert (refused.json()["code"], await calls(world)) == ("invalid_body", [])


@pytest.mark.parametrize("status", [503, 429])
async def test_too_many_requests_are_answered_503_or_429_and_waited_for(tmp_path: Path, status: int) -> None:
    """Six employees are eighteen calls, and a second has ten; 503 was the answer until September 2026."""
    limits = RateLimits(per_interval=10, interval_s=1.0, per_day=1_000_000)
    tight = vendor.Settings(too_many=status)  # type: ignore[arg-type]
    async with bamboohr_world(tmp_path, limits=limits, seed_settings=tight) as world:
        before = rows(world)
        records = [{"id": id_, "fields": {"firstName": "Wrong"}} for id_ in IDS]
        answer = await operate(world, "update", "employees", *records)
        assert (answer["status"], answer["records_applied"]) == ("applied", len(IDS))

        report = await world.revert(answer)

        assert (report["status"], rows(world)) == ("reverted", before)


@pytest.mark.parametrize("id_", ["0", "all", "00", "-1"])
async def test_employee_0_is_whoever_owns_the_key_and_all_is_everybody_so_neither_is_an_id(
    world: World, id_: str
) -> None:
    passed = await through(world, "POST", f"/employees/{id_}", {"firstName": "Wrong"})
    row = await through(world, "POST", f"/employees/{id_}/tables/jobInfo", TOLD_APART)
    bulk = await operate(world, "update", "employees", {"id": id_, "fields": {"firstName": "Wrong"}}, status=422)
    assert [passed.json()["code"], row.json()["code"], bulk["code"]] == ["invalid_record"] * 3
    assert await calls(world) == []


async def test_what_has_been_sent_and_started_is_named_for_no_revert_takes_it_back(world: World) -> None:
    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"firstName": "Wrong"}})
    told = " ".join((await world.plan(answer))["cannot_be_taken_back"])
    assert [word for word in ("notifications", "approvals", "payroll") if word not in told] == []
