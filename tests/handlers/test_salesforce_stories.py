"""Every action on Salesforce's records, as a story: done through Guard, taken back, in the fewest calls."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from guard.core.errors import Unavailable
from scenarios.sandboxes import salesforce_seed as seed
from tests.handlers.salesforce_org import (
    MANY,
    calls,
    configure,
    everything,
    member,
    org,
    rows,
    through,
    url_of,
    vendor,
    writes,
)
from tests.world import World

READ, UPDATE, CREATE, DELETE = "POST /sobjects/Contact", "PATCH /sobjects", "POST /sobjects", "DELETE /sobjects"
UNDELETE, SEARCH = "POST /services/Soap/u/60.0", "GET /query"


@pytest.fixture
async def crm(tmp_path: Path) -> AsyncIterator[World]:
    async with org(tmp_path) as world:
        yield world


@pytest.fixture
async def large(tmp_path: Path) -> AsyncIterator[World]:
    async with org(tmp_path, records=1000) as world:
        yield world


def people(world: World) -> list[str]:
    return list(vendor(world).store.tables["Contact"].rows)


def numbered(world: World, id_: str) -> str:
    return str(rows(world)[id_]["Candidate_Number__c"])


# The least number of calls


async def test_a_thousand_updates_are_one_read_and_five_writes_and_so_is_their_revert(large: World) -> None:
    """And one read more: Salesforce's answer to a write does not show the record, so it is read back."""
    before, ids = rows(large), people(large)
    answer = await large.operate("update", [{"id": i, "fields": {"Title": "Wrong"}} for i in ids], resource="Contact")
    assert (answer["records_applied"], await calls(large)) == (1000, [READ, *[UPDATE] * 5, READ])

    report = await large.revert(answer)

    assert (report["records_restored"], rows(large)) == (1000, before)
    assert await calls(large, since=7) == [READ, *[UPDATE] * 5, READ]


async def test_a_thousand_deletions_are_undeleted_two_hundred_a_call_under_the_same_ids(large: World) -> None:
    before = everything(large)
    answer = await large.operate("delete", [{"id": id_} for id_ in people(large)], resource="Contact")
    assert (rows(large), await calls(large)) == ({}, [READ, *[DELETE] * 5, READ])

    report = await large.revert(answer)

    assert (report["status"], report["records_restored"], report["recreated"]) == ("reverted", 1000, [])
    assert everything(large) == before
    assert await calls(large, since=7) == [READ, *[UNDELETE] * 5, READ]


async def test_a_thousand_upserts_are_searched_two_hundred_a_call(large: World) -> None:
    before = rows(large)
    records = [{"fields": {"Candidate_Number__c": f"C-{n:06}", "Title": "Wrong"}} for n in range(1000)]
    answer = await large.operate("upsert", records, resource="Contact")

    assert answer["records_applied"] == 1000
    assert await calls(large) == [*[SEARCH] * 5, READ, *[UPDATE] * 5, READ]
    assert (await large.revert(answer))["status"] == "reverted"
    assert rows(large) == before


async def test_a_thousand_creations_are_five_writes_and_deleted_by_five(large: World) -> None:
    before = rows(large)
    records = [{"fields": {"LastName": "New", "Candidate_Number__c": f"N-{n}"}} for n in range(1000)]
    answer = await large.operate("create", records, resource="Contact")
    assert (len(rows(large)), await calls(large)) == (2000, [*[CREATE] * 5, READ])

    report = await large.revert(answer)

    assert (report["records_restored"], rows(large)) == (1000, before)
    assert await calls(large, since=6) == [READ, *[DELETE] * 5, READ]


async def test_what_hangs_on_created_records_is_asked_for_two_hundred_a_query(large: World) -> None:
    before = rows(large, "Account")
    records = [{"fields": {"Name": "New", "Client_Number__c": f"N-{n}"}} for n in range(300)]
    told = await large.operate("create", records, resource="Account", dry_run=True)
    answer = await large.operate("create", records, resource="Account")
    since = len(await calls(large))

    report = await large.revert(answer)

    assert (report["records_restored"], rows(large, "Account")) == (300, before)
    back = await calls(large, since=since)
    assert sorted(back) == sorted(["POST /sobjects/Account", SEARCH, SEARCH, DELETE, DELETE, "POST /sobjects/Account"])
    assert (told["vendor_calls"], told["vendor_calls_of_revert"]) == (since, len(back))


async def test_a_dry_run_foretells_the_calls_there_and_back_and_writes_nothing(large: World) -> None:
    for action in ("update", "delete"):
        fields = {"fields": {"Title": "Wrong"}} if action == "update" else {}
        records = [{"id": id_, **fields} for id_ in people(large)]
        told = await large.operate(action, records, resource="Contact", dry_run=True)
        assert (told["vendor_calls"], told["vendor_calls_of_revert"]) == (7, 7)
        assert (told["reversible"], told["needs_accept_irreversible"]) == ("full", False)
    assert await calls(large) == []


# What is done comes back


async def test_emptied_and_filled_fields_go_back_to_what_they_were(crm: World) -> None:
    before, id_ = rows(crm), people(crm)[3]
    fields = {"Phone": None, "Title": "", "Department": "Sales", "Skills__c": "Java;Python", "DoNotCall": "true"}
    answer = await crm.operate("update", [{"id": id_, "fields": fields}], resource="Contact")
    now = rows(crm)[id_]
    assert ("Phone" in now, "Title" in now, now["Department"], now["DoNotCall"]) == (False, False, "Sales", True)

    await crm.revert(answer)

    assert rows(crm) == before


async def test_an_upsert_updates_who_is_there_and_creates_who_is_not(crm: World) -> None:
    before, id_ = rows(crm), people(crm)[2]
    records = [
        {"fields": {"Candidate_Number__c": numbered(crm, id_).lower(), "LastName": "Wrong"}},
        {"fields": {"Candidate_Number__c": "it's new\\", "LastName": "New"}},
    ]
    answer = await crm.operate("upsert", records, resource="Contact")
    assert (rows(crm)[id_]["LastName"], len(rows(crm))) == ("Wrong", 21)

    report = await crm.revert(answer)

    assert (report["records_restored"], rows(crm)) == (2, before)


async def test_a_custom_object_needs_no_settings(crm: World) -> None:
    before = rows(crm, "Placement__c")
    records = [{"id": id_[:15], "fields": {"Fee__c": "1.005"}} for id_ in before]
    answer = await crm.operate("update", records, resource="Placement__c")
    assert (answer["status"], answer["failures"]) == ("applied", [])

    await crm.revert(answer)

    assert rows(crm, "Placement__c") == before


async def test_an_account_that_is_deleted_takes_others_along_and_all_of_them_come_back(crm: World) -> None:
    """Trap: cascade deletes mean that the pre-image must include children. Undelete brings them back with it."""
    before = everything(crm)
    answer = await crm.operate("delete", [{"id": id_} for id_ in rows(crm, "Account")], resource="Account")
    assert (rows(crm), rows(crm, "Opportunity"), rows(crm, "Placement__c")) == ({}, {}, {})

    report = await crm.revert(answer)

    assert (report["status"], everything(crm)) == ("reverted", before)


async def test_a_restored_record_can_be_deleted_again_by_taking_back_the_revert(crm: World) -> None:
    before, id_ = rows(crm), people(crm)[0]
    answer = await crm.operate("delete", [{"id": id_}], resource="Contact")
    redo = await crm.revert(await crm.revert(answer))
    assert (redo["status"], id_ in rows(crm)) == ("reverted", False)

    again = await crm.revert(redo)

    assert (again["status"], rows(crm)) == ("reverted", before)


async def changed_then_deleted(world: World) -> tuple[str, dict[str, Any]]:
    """Two operations of one run on the same record."""
    id_, key = people(world)[0], {"guard-run-key": "one execution"}
    fields = {"Title": "Wrong", "Phone": None}
    await world.operate("update", [{"id": id_, "fields": fields}], resource="Contact", headers=key)
    return id_, await world.operate("delete", [{"id": id_}], resource="Contact", headers=key)


async def test_what_the_run_changed_before_it_deleted_goes_back_too(crm: World) -> None:
    before = rows(crm)
    _, answer = await changed_then_deleted(crm)

    report = await crm.revert(answer)

    assert (report["status"], report["records_restored"], rows(crm)) == ("reverted", 1, before)


async def test_a_revert_that_was_cut_off_after_the_undelete_is_finished_by_the_next(crm: World) -> None:
    before = rows(crm)
    id_, answer = await changed_then_deleted(crm)
    await crm.fault(kind="status", status=400, body=[{"errorCode": "NO", "message": "no"}], match={"method": "PATCH"})
    first = await crm.revert(answer)
    assert (first["records_failed"], rows(crm)[id_]["Title"]) == (1, "Wrong")

    second = await crm.revert(answer)

    assert (second["status"], second["records_restored"], rows(crm)) == ("reverted", 1, before)


@pytest.mark.parametrize("kind", ["drop_after", "half_json", "done_then_html", "empty", "drop_before", "html"])
async def test_an_undelete_whose_answer_is_lost_is_settled_by_reading(crm: World, kind: str) -> None:
    before = rows(crm)
    answer = await crm.operate("delete", [{"id": id_} for id_ in people(crm)[:3]], resource="Contact")
    await crm.fault(kind=kind, match={"path_regex": "/Soap/"})
    report = await crm.revert(answer)
    if kind in ("drop_before", "html"):
        assert (report["records_in_doubt"], report["status"]) == (3, "partly_reverted")
        report = await crm.revert(answer)

    assert (report["status"], rows(crm)) == ("reverted", before)


# The vendor's own requests


async def test_a_collection_of_which_a_part_fails_is_taken_back_as_far_as_it_was_done(crm: World) -> None:
    before, ids = rows(crm), people(crm)
    records = [member("Contact", id=id_, LastName="Wrong") for id_ in ids[:2]]
    records += [member("Contact", id=ids[2], LastName=None), member("Contact", id=ids[3], Notice__c="never")]
    reply = await through(crm, "PATCH", MANY, {"allOrNone": False, "records": records})
    assert [each["success"] for each in reply.json()] == [True, True, False, False]
    await crm.settle()
    run = (await crm.http.get(f"/v1/runs/{reply.headers['guard-run']}")).json()
    assert (run["records_applied"], run["records_failed"]) == (2, 2)

    report = await crm.revert(url_of(reply))

    assert (report["records_restored"], rows(crm)) == (2, before)


async def test_a_collection_of_several_object_types_is_taken_back(crm: World) -> None:
    before = everything(crm)
    records = [
        member("Contact", id=people(crm)[0], Title="Wrong"),
        member("Account", id=next(iter(rows(crm, "Account"))), Phone="0"),
        member("Placement__c", id=next(iter(rows(crm, "Placement__c"))), Fee__c=0),
    ]
    reply = await through(crm, "PATCH", MANY, {"records": records})
    assert [each["success"] for each in reply.json()] == [True] * 3

    assert (await crm.revert(url_of(reply)))["records_restored"] == 3
    assert everything(crm) == before


async def test_a_passed_deletion_by_ids_finds_out_of_which_types_they_are(crm: World) -> None:
    before = everything(crm)
    ids = [people(crm)[0][:15], next(iter(rows(crm, "Placement__c")))]
    reply = await through(crm, "DELETE", MANY, ids=",".join(ids))
    assert [each["success"] for each in reply.json()] == [True, True]

    assert (await crm.revert(url_of(reply)))["status"] == "reverted"
    assert everything(crm) == before


async def test_a_passed_upsert_is_taken_back_as_what_it_was(crm: World) -> None:
    before = rows(crm)
    records = [
        member("Contact", Candidate_Number__c="C-000001", Title="Wrong"),
        member("Contact", Candidate_Number__c="C-new", LastName="New"),
    ]
    reply = await through(crm, "PATCH", f"{MANY}/Contact/candidate_number__c", {"records": records})
    assert [each["created"] for each in reply.json()] == [False, True]
    single = await through(crm, "PATCH", "/sobjects/Contact/Candidate_Number__c/C-newer", {"LastName": "Newer"})
    assert single.status_code == 201

    assert (await crm.revert(url_of(reply)))["records_restored"] == 2
    assert (await crm.revert(url_of(single)))["records_restored"] == 1
    assert rows(crm) == before


async def test_all_or_none_that_comes_to_none_is_told_as_nothing_done(crm: World) -> None:
    before, ids = rows(crm), people(crm)
    records = [member("Contact", id=ids[0], Title="Wrong"), member("Contact", id=ids[1], LastName=None)]
    reply = await through(crm, "PATCH", MANY, {"allOrNone": True, "records": records})

    assert (reply.status_code, reply.headers["guard-status"], rows(crm)) == (200, "failed", before)


async def test_reads_pass_whatever_their_method(crm: World) -> None:
    id_ = people(crm)[0]
    query = await through(crm, "GET", "/query", q="SELECT Id FROM Contact")
    many = await through(crm, "POST", f"{MANY}/Contact", {"ids": [id_], "fields": ["LastName"]})
    one = await through(crm, "GET", f"/sobjects/Contact/{id_}")
    assert (query.json()["totalSize"], many.json()[0]["Id"], one.json()["Id"]) == (20, id_, id_)


# Tokens


async def test_a_token_that_ends_in_mid_run_is_renewed_and_nothing_is_written_twice(tmp_path: Path) -> None:
    async with org(tmp_path, records=1000, login=True, token_calls=4) as world:
        before = rows(world)
        records = [{"id": id_, "fields": {"Title": "Wrong"}} for id_ in people(world)]
        answer = await world.operate("update", records, resource="Contact")
        assert (answer["records_applied"], len(await writes(world))) == (1000, 5)
        assert vendor(world).logins > 1

        report = await world.revert(answer)

        assert (report["records_restored"], len(await writes(world)), rows(world)) == (1000, 10, before)


async def test_a_token_that_ends_before_an_undelete_is_renewed_though_soap_says_so_by_a_500(tmp_path: Path) -> None:
    async with org(tmp_path, login=True) as world:
        before = rows(world)
        answer = await world.operate("delete", [{"id": people(world)[0]}], resource="Contact")
        logins = vendor(world).logins
        configure(world, token_calls=1)
        vendor(world)._calls_left = 1  # the read, and not the undelete

        report = await world.revert(answer)

        assert (report["status"], rows(world)) == ("reverted", before)
        assert vendor(world).logins > logins


async def test_a_token_that_cannot_be_renewed_stops_the_run_with_everything_accounted_for(tmp_path: Path) -> None:
    async with org(tmp_path, records=1000, login=True) as world:
        before = rows(world)
        await world.operate("update", [{"id": people(world)[0], "fields": {"Phone": "1"}}], resource="Contact")
        vendor(world)._calls_left = 3  # one read, two of the five writes
        await world.fault(
            kind="status", status=400, body={"error": "invalid_client"}, times=-1, match={"path_regex": "token"}
        )
        records = [{"id": id_, "fields": {"Title": "Wrong"}} for id_ in people(world)]
        answer = await world.operate("update", records, resource="Contact")
        assert (answer["records_applied"], answer["records_failed"], answer["records_in_doubt"]) == (400, 600, 0)

        world.sandbox.faults.clear()
        report = await world.revert(answer)

        now = rows(world)
        now[people(world)[0]] = before[people(world)[0]]
        assert (report["records_restored"], now) == (400, before)


async def test_a_wrong_secret_is_told_as_one_and_nothing_is_written(tmp_path: Path) -> None:
    async with org(tmp_path, login=True) as world:
        await world.fault(
            kind="status", status=400, body={"error": "invalid_client"}, times=-1, match={"path_regex": "token"}
        )
        records = [{"id": people(world)[0], "fields": {"Phone": "1"}}]
        told = await world.operate("update", records, resource="Contact", status=502)
        assert (told["code"], told["written"], await writes(world)) == ("target_refused", "nothing", [])


async def test_the_sandbox_holds_what_its_seed_says(crm: World) -> None:
    assert {kind: len(rows(crm, kind)) for kind in seed.OBJECTS} == {
        "Account": 4, "Contact": 20, "Opportunity": 4, "Placement__c": 4, "Visit__c": 5,
    }  # fmt: skip


async def test_guard_check_tells_a_good_credential_from_a_bad_one(tmp_path: Path) -> None:
    async with org(tmp_path, login=True) as world:
        await world.guard.target("crm").check()
        vendor(world).reset()
        await world.fault(kind="status", status=401, body=[], times=-1)
        with pytest.raises(Unavailable, match="refused Guard's own credential"):
            await world.guard.target("crm").check()
