"""Whole stories about BambooHR through a running Guard: what people do there, and what comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.sandboxes import bamboohr_seed as seed
from tests.handlers.bamboohr_world import (
    ANN,
    BEN,
    IDS,
    TOLD_APART,
    answer_of,
    bamboohr_world,
    calls,
    operate,
    row_of,
    rows,
    shown,
    through,
)
from tests.world import World

HERS = f"/employees/{ANN['id']}"
JOBS = f"{HERS}/tables/jobInfo"
JOB = row_of("jobInfo")
NEW = {"employeeId": ANN["id"], **TOLD_APART}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bamboohr_world(tmp_path) as made:
        yield made


async def test_a_bulk_import_over_all_employees_goes_back_in_one_call_and_the_fewest_of_bamboos(world: World) -> None:
    before = rows(world)
    records = [{"id": id_, "fields": {"city": "Ruined", seed.BADGE: "0"}} for id_ in IDS]
    answer = await operate(world, "update", "employees", *records)
    once = sorted(f"{verb} /employees/{id_}" for verb in ("GET", "GET", "POST") for id_ in IDS)
    assert sorted(await calls(world)) == once

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], rows(world)) == ("reverted", len(IDS), before)
    assert len(await calls(world)) == 2 * len(once)


@pytest.mark.parametrize(
    ("resource", "id_", "fields"),
    [
        ("employees", ANN["id"], {"city": "", "mobilePhone": None, seed.SHIRT: "", seed.BADGE: None}),
        ("jobInfo", JOB["id"], {"department": "", "division": None}),
        ("compensation", row_of("compensation")["id"], {"reason": "", "paidPer": None}),
        (seed.BONUSES, row_of(seed.BONUSES)["id"], {"customReason": ""}),
    ],
)
async def test_what_was_emptied_is_filled_again(world: World, resource: str, id_: str, fields: dict[str, Any]) -> None:
    before = rows(world, resource)
    answer = await operate(world, "update", resource, {"id": id_, "fields": fields})
    assert (answer["status"], fields.keys() & rows(world, resource)[id_].keys()) == ("applied", set())

    report = await world.revert(answer)

    assert (report["status"], rows(world, resource)) == ("reverted", before)


@pytest.mark.parametrize(
    ("resource", "id_", "fields"),
    [
        ("employees", ANN["id"], {"middleName": "Q", "homeEmail": " a@example.net ", "gender": "Female"}),
        ("jobInfo", JOB["id"], {"reportsTo": "Ava Adler"}),
        ("employmentStatus", row_of("employmentStatus")["id"], {"comment": "On leave"}),
    ],
)
async def test_what_was_filled_is_emptied_again(world: World, resource: str, id_: str, fields: dict[str, Any]) -> None:
    before = rows(world, resource)
    answer = await operate(world, "update", resource, {"id": id_, "fields": fields})
    assert (answer["status"], fields.keys() <= rows(world, resource)[id_].keys()) == ("applied", True)

    report = await world.revert(answer)

    assert (report["status"], rows(world, resource)) == ("reverted", before)


async def test_a_row_that_is_added_is_found_among_the_others_by_one_list_more(world: World) -> None:
    """Its answer names nothing: list, write, list."""
    before = rows(world, "jobInfo")
    answer = await operate(world, "create", "jobInfo", {"fields": NEW})
    assert [each.replace(JOBS, "jobs") for each in await calls(world)] == ["GET jobs", "POST jobs", "GET jobs"]
    assert (answer["status"], await shown(world, "jobTitle")) == ("applied", "Nurse")

    asked = len(await calls(world))
    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], rows(world, "jobInfo")) == ("reverted", 1, before)
    assert [each.split()[0] for each in (await calls(world))[asked:]] == ["GET", "DELETE", "GET"]


async def test_many_rows_of_one_employee_are_told_apart_with_the_same_two_lists(world: World) -> None:
    before = rows(world, seed.BONUSES)
    fields = [{"employeeId": ANN["id"], "customDate": f"2026-0{n}-01", "customAmount": n} for n in (1, 2, 3)]
    answer = await operate(world, "create", seed.BONUSES, *({"fields": each} for each in fields))
    assert (answer["records_applied"], sorted(each.split()[0] for each in await calls(world))) == (
        3,
        ["GET", "GET", "POST", "POST", "POST"],
    )

    report = await world.revert(answer)

    assert (report["status"], report["records_restored"], rows(world, seed.BONUSES)) == ("reverted", 3, before)


async def test_rows_that_are_alike_are_one_as_good_as_another(world: World) -> None:
    before = rows(world, seed.BONUSES)
    bonus = {"employeeId": ANN["id"], "customDate": "2026-03-01", "customAmount": "250.00"}
    answer = await operate(world, "create", seed.BONUSES, {"fields": bonus}, {"fields": bonus})
    assert answer["records_applied"] == 2

    report = await world.revert(answer)

    assert (report["status"], rows(world, seed.BONUSES)) == ("reverted", before)


async def test_a_row_like_one_that_was_there_before_is_not_taken_for_it(world: World) -> None:
    bonus = {name: value for name, value in row_of(seed.BONUSES).items() if name != "id"}
    before = rows(world, seed.BONUSES)
    answer = await operate(world, "create", seed.BONUSES, {"fields": bonus})

    report = await world.revert(answer)

    assert (report["status"], rows(world, seed.BONUSES)) == ("reverted", before)


async def test_a_row_that_somebody_else_adds_like_it_at_the_same_time_leaves_both_in_doubt_and_alone(
    world: World,
) -> None:
    """Nothing tells which of the two is the run's."""
    await world.fault(kind="hang", seconds=10.0, match={"method": "POST", "path_regex": JOBS})
    ours = asyncio.create_task(operate(world, "create", "jobInfo", {"fields": NEW}))
    async with asyncio.timeout(10):
        while not world.sandbox._held:  # noqa: ASYNC110 - Guard has read the list, and its write hangs
            await asyncio.sleep(0.01)
    vendor = world.sandbox.vendor
    vendor._put_row("jobInfo", {**NEW, "id": f"{ANN['id']}-99001"})  # type: ignore[attr-defined]
    vendor.store.commit()
    world.sandbox.release()
    answer = await ours
    both = rows(world, "jobInfo")
    assert (answer["records_in_doubt"], answer["failures"][0]["code"]) == (1, "not_shown")

    report = await world.revert(answer)

    assert (report["status"], rows(world, "jobInfo")) == ("partly_reverted", both)


@pytest.mark.parametrize("kind", ["drop_after", "done_then_html", "drop_before"])
async def test_a_row_whose_answer_is_lost_is_told_from_what_was_there_before(world: World, kind: str) -> None:
    before = rows(world, "jobInfo")
    await world.fault(kind=kind, match={"method": "POST", "path_regex": JOBS})
    reply = await world.http.post(
        "/v1/operations",
        json={"target": "crm", "resource": "jobInfo", "action": "create", "records": [{"fields": NEW}]},
    )
    answer = reply.json()
    assert (answer["records_applied"], answer["records_in_doubt"]) == ((0, 1) if kind == "drop_before" else (1, 0))

    report = await world.revert(answer)

    assert (report["status"], rows(world, "jobInfo")) == ("reverted", before)


async def test_where_the_rows_cannot_be_listed_no_row_is_added(world: World) -> None:
    before = rows(world, "jobInfo")
    await world.fault(kind="html", times=-1, match={"method": "GET", "path_regex": JOBS})
    refused = await operate(world, "create", "jobInfo", {"fields": NEW}, status=503)
    assert (refused["written"], rows(world, "jobInfo")) == ("nothing", before)


async def test_a_row_that_is_added_by_the_vendors_own_request_is_taken_back(world: World) -> None:
    before = rows(world, "jobInfo")
    reply = await through(world, "POST", f"{HERS}/tables/jobInfo", TOLD_APART)
    assert (reply.status_code, reply.content) == (200, b"")

    report = await world.revert(answer_of(reply))

    assert (report["status"], rows(world, "jobInfo")) == ("reverted", before)


async def test_a_deleted_row_comes_back_under_a_new_id_and_the_report_names_both(world: World) -> None:
    answer = await operate(world, "delete", "jobInfo", {"id": JOB["id"]}, accept_irreversible=True)
    assert (answer["reversible"], JOB["id"] in rows(world, "jobInfo")) == ("partial", False)
    assert await shown(world, "jobTitle") == "Trainee"

    report = await world.revert(answer)

    (again,) = report["recreated"]
    row = rows(world, "jobInfo")[again["new_id"]]
    assert {**row, "id": JOB["id"]} == JOB
    assert (report["status"], await shown(world, "jobTitle")) == ("reverted", JOB["jobTitle"])


async def test_a_run_that_adds_a_row_and_changes_it_again_leaves_nothing(world: World) -> None:
    before = rows(world, "jobInfo")
    key = {"headers": {"guard-run-key": "one-run"}}
    await operate(world, "create", "jobInfo", {"fields": NEW}, **key)
    (made,) = set(rows(world, "jobInfo")) - set(before)
    answer = await operate(world, "update", "jobInfo", {"id": made, "fields": {"jobTitle": "Wrong"}}, **key)

    report = await world.revert(answer)

    assert (report["status"], rows(world, "jobInfo")) == ("reverted", before)


async def test_a_partial_failure_names_the_record_and_the_others_go_back(world: World) -> None:
    before = rows(world)
    good = {"id": ANN["id"], "fields": {"gender": "Other"}}
    bad = {"id": BEN["id"], "fields": {"gender": "Wrong"}}
    answer = await operate(world, "update", "employees", good, bad, {"id": "999", "fields": {"city": "x"}})
    told = {each["id"]: each["code"] for each in answer["failures"]}
    assert (answer["status"], told) == ("partial", {BEN["id"]: "rejected", "999": "not_found"})

    report = await world.revert(answer)

    assert (report["status"], rows(world)) == ("reverted", before)


async def test_edits_that_people_made_since_survive_field_by_field(world: World) -> None:
    answer = await operate(world, "update", "employees", {"id": ANN["id"], "fields": {"city": "x", "zipcode": "1"}})
    await world.edit("employees", ANN["id"], {"city": "Lehi", "mobilePhone": "801-555-0199"})

    report = await world.revert(answer)

    now = rows(world)[ANN["id"]]
    assert (report["records_conflicted"], now["city"], now["mobilePhone"]) == (1, "Lehi", "801-555-0199")
    assert "zipcode" not in now


async def test_an_added_row_that_people_worked_on_is_left(world: World) -> None:
    answer = await operate(world, "create", "jobInfo", {"fields": NEW})
    (made,) = set(rows(world, "jobInfo")) - {row["id"] for row in seed.rows(len(IDS), 1)["jobInfo"]}
    await world.edit("jobInfo", made, {"location": "Lehi, Utah"})

    report = await world.revert(answer)

    assert (report["records_conflicted"], made in rows(world, "jobInfo")) == (1, True)


async def test_a_revert_of_a_row_can_be_taken_back_and_that_again(world: World) -> None:
    before = rows(world, "jobInfo")
    answer = await operate(world, "create", "jobInfo", {"fields": NEW})

    redo = await world.revert(await world.revert(answer))
    assert (redo["status"], await shown(world, "jobTitle")) == ("reverted", "Nurse")
    undo = await world.revert(redo)

    assert (undo["status"], rows(world, "jobInfo")) == ("reverted", before)


async def test_an_employee_that_may_have_been_created_is_named_and_left(world: World) -> None:
    before = rows(world)
    await world.fault(kind="drop_after", match={"method": "POST", "path_regex": "/employees$"})
    fields = {"firstName": "New", "lastName": "Nurse"}
    answer = await operate(world, "create", "employees", {"fields": fields}, accept_irreversible=True)
    assert (answer["records_in_doubt"], len(rows(world))) == (1, len(before) + 1)

    report = await world.revert(answer)

    assert (report["status"], len(rows(world))) == ("partly_reverted", len(before) + 1)


async def test_a_dry_run_counts_the_lists_that_name_a_new_row(world: World) -> None:
    records = [{"fields": NEW}, {"fields": {**NEW, "employeeId": BEN["id"]}}]
    told = await operate(world, "create", "jobInfo", *records, dry_run=True)
    await operate(world, "create", "jobInfo", *records)
    assert told["vendor_calls"] == len(await calls(world)) == 6


async def test_a_dry_run_of_several_rows_of_one_employee_counts_her_list_once(world: World) -> None:
    records = [{"fields": {**NEW, "date": f"2026-0{month}-01"}} for month in (3, 4, 5)]
    told = await operate(world, "create", "jobInfo", *records, dry_run=True)
    answer = await operate(world, "create", "jobInfo", *records)
    made = len(await calls(world))
    assert (answer["records_applied"], told["vendor_calls"], made) == (3, 5, 5)

    report = await world.revert(answer)

    assert (report["status"], told["vendor_calls_of_revert"]) == ("reverted", len(await calls(world)) - made)


async def test_datasets_are_asked_by_post_and_pass_as_the_reads_that_they_are(world: World) -> None:
    reply = await through(world, "POST", "/datasets/employee", {"fields": ["firstName", "jobTitle"]})
    assert (reply.status_code, len(reply.json()["data"])) == (200, len(IDS))
    assert "guard-revert-url" not in reply.headers
