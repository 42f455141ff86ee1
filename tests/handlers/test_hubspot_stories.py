"""What is done to HubSpot through a running Guard, and how it is taken back: batches, links, partial failures."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from guard.core.model import Status
from guard.target import definitions
from scenarios.sandboxes import hubspot_seed as seed
from scenarios.sandboxes.hubspot import Settings
from tests.handlers.crm import answer_of, through
from tests.handlers.hubspot_account import knowing
from tests.handlers.hubspot_world import DEFINITIONS, account, asked, everything, hubspot, links, rows
from tests.world import World

CONTACTS = "/crm/v3/objects/contacts"
READ, UPDATE = f"POST {CONTACTS}/batch/read", f"POST {CONTACTS}/batch/update"
PAIRS = "/crm/v4/associations/contacts/companies/batch"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with hubspot(tmp_path) as world:
        yield world


def spec(type_id: int, category: str = "HUBSPOT_DEFINED") -> dict[str, Any]:
    return {"associationCategory": category, "associationTypeId": type_id}


# Many records


async def test_a_thousand_contacts_cost_ten_reads_and_ten_writes_and_so_does_their_revert(tmp_path: Path) -> None:
    async with hubspot(tmp_path, records=1000) as world:
        before = everything(world)
        fields = {"jobtitle": "Wrong", "city": "", "salary_expectation": 1}
        records = [{"id": id_, "fields": fields} for id_ in rows(world)]
        told = await world.operate("update", records, dry_run=True)
        assert (told["vendor_calls"], told["vendor_calls_of_revert"], await asked(world)) == (20, 20, [])
        answer = await world.operate("update", records)
        assert sorted(await asked(world)) == [READ] * 10 + [UPDATE] * 10
        assert (answer["status"], answer["records_applied"]) == ("applied", 1000)
        since = len(await world.vendor_requests())

        report = await world.revert(answer)

        assert sorted(await asked(world, since=since)) == [READ] * 10 + [UPDATE] * 10
        assert (report["status"], everything(world)) == ("reverted", before)
        definitions_read = [each for each in await world.vendor_requests() if each["path"].startswith(DEFINITIONS)]
        assert len(definitions_read) == 1


async def test_creating_searching_and_deleting_cost_one_call_for_a_hundred_records(tmp_path: Path) -> None:
    async with hubspot(tmp_path, records=200) as world:
        created = [{"fields": {"email": f"n{n}@example.net"}} for n in range(200)]
        answer = await world.operate("create", created)
        assert sorted(await asked(world)) == [f"POST {CONTACTS}/batch/create"] * 2 + [READ] * 2

        since = len(await world.vendor_requests())
        emails = [row["email"] for row in rows(world).values()][100:300]  # a hundred that were there, a hundred new
        await world.operate("upsert", [{"fields": {"email": email, "city": "Rome"}} for email in emails])
        # Two that search, two (one a chunk) that read what is there, two that write it.
        assert sorted(await asked(world, since=since)) == [READ] * 4 + [UPDATE] * 2

        since = len(await world.vendor_requests())
        deleted = [{"id": id_} for id_ in list(rows(world))[:200]]
        await world.operate("delete", deleted, accept_irreversible=True)
        assert sorted(await asked(world, since=since)) == [f"POST {CONTACTS}/batch/archive"] * 2 + [READ] * 4
        assert answer["records_applied"] == 200


async def test_a_batch_above_the_vendors_size_is_split_in_the_bulk_door_and_refused_in_the_pass_through(
    tmp_path: Path,
) -> None:
    async with hubspot(tmp_path, records=101) as world:
        inputs = [{"id": id_, "properties": {"city": "X"}} for id_ in rows(world)]
        before = everything(world)

        reply = await through(world, "POST", f"{CONTACTS}/batch/update", {"inputs": inputs})
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
        assert (await asked(world), everything(world)) == ([], before)

        await world.operate("update", [{"id": each["id"], "fields": each["properties"]} for each in inputs])
        assert sorted(await asked(world)) == [READ] * 2 + [UPDATE] * 2


async def test_an_answer_that_does_not_show_what_was_written_is_read_back_in_one_call(tmp_path: Path) -> None:
    async with hubspot(tmp_path, account=Settings(terse=True)) as world:
        before = everything(world)
        answer = await world.operate("update", [{"id": id_, "fields": {"zip": "1"}} for id_ in rows(world)])
        assert await asked(world) == [READ, UPDATE, READ]

        assert (await world.revert(answer))["status"] == "reverted"
        assert everything(world) == before


async def test_only_what_was_changed_is_told_though_the_answer_shows_a_part_of_the_record(world: World) -> None:
    mine = next(iter(rows(world)))

    answer = await world.operate("update", [{"id": mine, "fields": {"zip": "1", "city": "Berlin"}}])

    (change,) = (await world.http.get(f"/v1/runs/{answer['id']}/changes")).json()["changes"]
    assert [(each["field"], each["before"], each["after"]) for each in change["fields"]] == [("zip", None, "1")]


# A part fails


async def test_a_record_that_a_batch_read_says_nothing_of_keeps_none_of_the_others_from_going_back(
    world: World,
) -> None:
    before, (one, *others) = rows(world), list(rows(world))
    answer = await world.operate("update", [{"id": id_, "fields": {"zip": "1"}} for id_ in before])
    results = [{"id": id_, "properties": rows(world)[id_]} for id_ in others]
    silent = {"status": "COMPLETE", "results": results}
    await world.fault(kind="status", status=200, body=silent, match={"path_regex": "batch/read$"})

    report = await world.revert(answer)

    assert (report["records_in_doubt"], report["records_restored"]) == (1, 19)
    assert [id_ for id_, row in rows(world).items() if row.get("zip")] == [one]
    assert (await world.revert(answer))["status"] == "reverted"
    assert rows(world) == before


@pytest.mark.parametrize("refuses", ["record", "batch"])
async def test_of_a_batch_only_the_records_at_fault_are_not_written(tmp_path: Path, refuses: Any) -> None:
    async with hubspot(tmp_path, account=Settings(refuses=refuses)) as world:
        before, ids = everything(world), list(rows(world))
        taken = rows(world)[ids[0]]["email"]
        records = [{"id": id_, "fields": {"zip": "1"}} for id_ in ids]
        records[3]["fields"] = records[11]["fields"] = {"email": taken, "zip": "1"}

        answer = await world.operate("update", [*records, {"id": "404", "fields": {"zip": "1"}}])

        assert (answer["status"], answer["records_applied"], answer["records_failed"]) == ("partial", 18, 3)
        assert {each["id"]: each["code"] for each in answer["failures"]} == {
            ids[3]: "duplicate",
            ids[11]: "duplicate",
            "404": "not_found",
        }
        assert [id_ for id_ in ids if rows(world)[id_].get("zip") != "1"] == [ids[3], ids[11]]
        assert (await world.revert(answer))["records_restored"] == 18
        assert everything(world) == before


@pytest.mark.parametrize("refuses", ["record", "batch"])
async def test_of_a_batch_of_creations_those_that_are_there_already_are_told_apart(
    tmp_path: Path, refuses: Any
) -> None:
    async with hubspot(tmp_path, account=Settings(refuses=refuses)) as world:
        before = everything(world)
        emails = [f"n{n}@example.net" for n in range(9)]
        emails[4] = next(iter(rows(world).values()))["email"]

        answer = await world.operate("create", [{"fields": {"email": email}} for email in emails])

        assert (answer["records_applied"], answer["records_failed"], answer["records_in_doubt"]) == (8, 1, 0)
        assert (await world.revert(answer))["records_restored"] == 8
        assert everything(world) == before


async def test_a_207_of_the_vendors_own_is_handed_on_and_what_was_done_is_taken_back(world: World) -> None:
    before, (one, two, *_) = everything(world), list(rows(world))
    taken = rows(world)[one]["email"]
    inputs = [{"id": one, "properties": {"zip": "1"}}, {"id": two, "properties": {"email": taken}}]

    reply = await through(world, "POST", f"{CONTACTS}/batch/update", {"inputs": inputs})

    assert (reply.status_code, reply.json()["numErrors"], reply.headers["guard-status"]) == (207, 1, "partial")
    assert (await world.revert(answer_of(reply)))["records_restored"] == 1
    assert everything(world) == before


async def test_a_batch_whose_answer_was_lost_is_settled_by_reading_and_taken_back(world: World) -> None:
    before = everything(world)
    await world.fault(kind="drop_after", match={"path_regex": "batch/update$"}, times=-1)

    answer = await world.operate("update", [{"id": id_, "fields": {"zip": "1"}} for id_ in rows(world)])
    assert (answer["records_applied"], answer["records_in_doubt"]) == (20, 0)
    world.sandbox.faults.clear()

    assert (await world.revert(answer))["status"] == "reverted"
    assert everything(world) == before


async def test_creations_whose_answer_was_lost_are_found_by_what_names_them(world: World) -> None:
    before = everything(world)
    await world.fault(kind="drop_after", match={"path_regex": "batch/create$"})

    answer = await world.operate("create", [{"fields": {"email": f"n{n}@example.net"}} for n in range(5)])

    assert (answer["records_applied"], answer["records_in_doubt"]) == (5, 0)
    assert (await world.revert(answer))["status"] == "reverted"
    assert everything(world) == before


async def test_a_creation_that_nothing_names_and_whose_answer_was_lost_stays_in_doubt_and_is_told(world: World) -> None:
    await world.fault(kind="drop_after", match={"path_regex": "batch/create$"})

    answer = await world.operate("create", [{"fields": {"dealname": "Nameless"}}], resource="deals")

    assert (answer["records_applied"], answer["records_in_doubt"]) == (0, 1)
    report = await world.revert(answer)
    assert (report["status"], report["records_irreversible"] + report["records_in_doubt"]) == ("partly_reverted", 1)


# The vendor's own requests


async def test_a_contact_named_by_its_address_is_found_before_it_is_written(world: World) -> None:
    before, (mine, row) = everything(world), next(iter(rows(world).items()))
    path = f"{CONTACTS}/{row['email']}?idProperty=email"

    reply = await through(world, "PATCH", path, {"properties": {"city": "X"}})

    assert (reply.status_code, reply.json()["id"], rows(world)[mine]["city"]) == (200, mine, "X")
    assert (await world.revert(answer_of(reply)))["status"] == "reverted"
    assert everything(world) == before


async def test_an_address_that_nobody_has_is_answered_as_the_vendor_does_and_nothing_is_written(world: World) -> None:
    before = everything(world)

    reply = await through(world, "PATCH", f"{CONTACTS}/no@example.net?idProperty=email", {"properties": {"city": "X"}})

    assert (reply.status_code, reply.headers["guard-status"], everything(world)) == (404, "failed", before)


async def test_an_upsert_of_a_batch_goes_both_ways_and_back(world: World) -> None:
    before, (mine, row) = everything(world), next(iter(rows(world).items()))
    second = row["hs_additional_emails"]
    inputs = [
        {"idProperty": "email", "id": "new@example.net", "properties": {"city": "X"}},
        {"idProperty": "candidate_number", "id": rows(world)[str(int(mine) + 1)]["candidate_number"], "properties": {}},
        {"idProperty": "email", "id": second, "properties": {"zip": "1"}},
    ]

    reply = await through(world, "POST", f"{CONTACTS}/batch/upsert", {"inputs": inputs})

    assert reply.status_code == 200, reply.text
    assert sorted(each["new"] for each in reply.json()["results"]) == [False, False, True]
    report = await world.revert(answer_of(reply))
    assert (report["status"], everything(world)) == ("reverted", before)


async def test_a_custom_object_is_known_by_its_type_id_without_being_in_the_settings(tmp_path: Path) -> None:
    async with hubspot(tmp_path, options={}) as world:
        before, mine = everything(world), next(iter(rows(world, "cars")))

        answer = await world.operate("update", [{"id": mine, "fields": {"colour": "blue"}}], resource=seed.CARS_TYPE)
        reply = await through(
            world, "PATCH", f"/crm/v3/objects/{seed.CARS_TYPE}/{mine}", {"properties": {"model": "Golf"}}
        )

        assert (rows(world, "cars")[mine]["colour"], rows(world, "cars")[mine]["model"]) == ("blue", "Golf")
        assert (await world.revert(answer_of(reply)))["status"] == "reverted"
        assert (await world.revert(answer))["status"] == "reverted"
        assert everything(world) == before


# Links


async def test_links_are_added_and_taken_away_and_both_come_back(world: World) -> None:
    before, mine = everything(world), "contacts:10001:companies"
    other = next(id_ for id_ in rows(world, "companies") if not any(n.startswith(id_) for n in links(world, mine)))
    had = links(world, mine)

    added = await world.operate(
        "links.add", [{"id": mine, "links": [f"{other}/USER_DEFINED/28"]}], resource="associations"
    )
    assert f"{other}/USER_DEFINED/28" in links(world, mine)
    removed = await world.operate("links.remove", [{"id": mine, "links": had}], resource="associations")
    assert not set(had) & set(links(world, mine))

    assert (await world.revert(removed))["status"] == "reverted"
    assert (await world.revert(added))["status"] == "reverted"
    assert everything(world) == before


async def test_the_link_without_a_label_takes_the_others_along_and_all_come_back(world: World) -> None:
    before = everything(world)
    mine = next(id_ for id_ in account(world).links.table.rows if any("/28" in link for link in links(world, id_)))
    (company,) = {link.split("/")[0] for link in links(world, mine)}
    ends = {"from": {"id": mine.split(":")[1]}, "to": {"id": company}}

    reply = await through(world, "POST", f"{PAIRS}/labels/archive", {"inputs": [{**ends, "types": [spec(279)]}]})

    assert (reply.status_code, links(world, mine)) == (204, [])
    assert (await world.revert(answer_of(reply)))["status"] == "reverted"
    assert everything(world) == before


async def test_links_that_others_made_since_stay(world: World) -> None:
    mine, (one, two, *_) = "contacts:10002:companies", list(rows(world, "companies"))
    answer = await world.operate(
        "links.add", [{"id": mine, "links": [f"{one}/HUBSPOT_DEFINED/279"]}], resource="associations"
    )
    account(world).links.add("contacts", "10002", "companies", two, [("USER_DEFINED", 28)])
    account(world).store.commit()
    theirs = [link for link in links(world, mine) if link.startswith(two)]

    await world.revert(answer)

    assert set(theirs) <= set(links(world, mine))
    assert not [link for link in links(world, mine) if link.startswith(one)]


async def test_the_links_of_a_hundred_records_cost_one_read_before_and_one_after(tmp_path: Path) -> None:
    async with hubspot(tmp_path, records=100) as world:
        company = next(iter(rows(world, "companies")))
        before = everything(world)
        ids = [f"contacts:{id_}:companies" for id_ in rows(world)]
        named = [{"id": id_, "links": [f"{company}/USER_DEFINED/28"]} for id_ in ids]

        answer = await world.operate("links.add", named, resource="associations")

        assert await asked(world) == [f"POST {PAIRS}/read", f"POST {PAIRS}/create", f"POST {PAIRS}/read"]
        assert (await world.revert(answer))["status"] == "reverted"
        assert everything(world) == before


@pytest.mark.parametrize(("created", "looks"), [(2, 2), (30, 7)])
async def test_a_created_record_to_which_others_attached_something_is_left(
    world: World, created: int, looks: int
) -> None:
    answer = await world.operate("create", [{"fields": {"email": f"n{n}@example.net"}} for n in range(created)])
    one, *_ = sorted(id_ for id_, row in rows(world).items() if row["email"].endswith("@example.net"))
    account(world).links.add("contacts", one, "notes", "1", [("HUBSPOT_DEFINED", 201)])
    account(world).store.commit()
    since = len(await world.vendor_requests())

    report = await world.revert(answer)

    assert (report["records_conflicted"], report["records_restored"]) == (1, created - 1)
    assert "notes" in report["conflicts"][0]["reason"]
    assert [id_ for id_, row in rows(world).items() if row["email"].endswith("@example.net")] == [one]
    # One read before, one after and one deletion; besides, one look for each record or one for each kind of them.
    assert len(await asked(world, since=since)) == 3 + looks


async def test_what_the_run_itself_attached_to_what_it_created_is_no_reason_to_leave_it(world: World) -> None:
    before = everything(world)
    key = {"guard-run-key": "one run"}
    await world.operate("create", [{"fields": {"email": f"n{n}@example.net"}} for n in range(9)], headers=key)
    deal = await world.operate("create", [{"fields": {"dealname": "D"}}], resource="deals", headers=key)
    people = [id_ for id_, row in rows(world).items() if row["email"].endswith("@example.net")]
    (placement,) = [id_ for id_, row in rows(world, "deals").items() if row["dealname"] == "D"]
    for id_ in people:
        account(world).links.add("contacts", id_, "deals", placement, [])
    account(world).store.commit()

    assert (await world.revert(deal))["status"] == "reverted"
    assert everything(world) == before


async def test_links_of_a_custom_object_are_asked_for_by_its_type_id(world: World) -> None:
    before, (car, *_), (person, *_) = everything(world), rows(world, "cars"), rows(world)

    named = [{"id": f"cars:{car}:contacts", "links": [f"{person}/HUBSPOT_DEFINED/501"]}]
    answer = await world.operate("links.add", named, resource="associations")

    paths = await asked(world)
    assert all(f"/{seed.CARS_TYPE}/contacts/" in path for path in paths)
    assert links(world, f"cars:{car}:contacts") == [f"{person}/HUBSPOT_DEFINED/501"]
    assert (await world.revert(answer))["status"] == "reverted"
    assert everything(world) == before


# Definitions


async def test_a_property_that_was_made_a_minute_ago_is_known_to_both_doors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "DEFINITIONS_AGAIN_S", 0.0)
    before, mine = everything(world), next(iter(rows(world)))
    await world.operate("update", [{"id": mine, "fields": {"zip": "1"}}])  # the definitions are known now
    account(world).define("contacts", seed.definition("shoe_size"))
    line = orjson.dumps({"id": mine, "fields": {"shoe_size": "44"}})

    reply = await world.http.post(
        "/v1/operations?target=crm&resource=contacts&action=update",
        content=line,
        headers={"content-type": "application/x-ndjson"},
    )
    account(world).define("contacts", seed.definition("hat_size"))
    passed = await through(world, "PATCH", f"{CONTACTS}/{mine}", {"properties": {"hat_size": "7"}})

    assert (reply.status_code, passed.status_code) == (200, 200), reply.text
    assert (rows(world)[mine]["shoe_size"], rows(world)[mine]["hat_size"]) == ("44", "7")
    for answer in (answer_of(passed), reply.json()):
        assert (await world.revert(answer))["status"] == "reverted"
    assert {**rows(world)[mine], "zip": None} == {**before["contacts"][mine], "zip": None}


async def test_after_the_vendor_has_refused_a_property_its_definitions_are_read_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "DEFINITIONS_AGAIN_S", 0.0)
    mine = next(iter(rows(world)))
    await world.operate("update", [{"id": mine, "fields": {"zip": "1"}}])
    del account(world).properties["contacts"]["zip"]
    since = len(await world.vendor_requests())

    first = await world.operate("update", [{"id": mine, "fields": {"zip": "2", "city": "X"}}], status=422)
    again = await world.operate("update", [{"id": mine, "fields": {"zip": "2", "city": "X"}}], status=422)

    assert (first["failures"][0]["code"], again["code"]) == ("unknown_field", "unknown_field")
    assert await asked(world, since=since) == [READ, UPDATE]  # the second one is refused before anything is sent
    assert rows(world)[mine]["city"] != "X"


async def test_a_guard_that_takes_over_what_another_has_accepted_reads_the_definitions_first(world: World) -> None:
    """Creations are written without anything being read before."""
    change = knowing().change("contacts", "create", {"fields": {"email": "n@example.net"}})

    async with world.guard.target("crm").work() as work:
        (outcome,) = await work.write(await work.before([change]))

    assert outcome.status is Status.APPLIED
    assert [row["email"] for row in rows(world).values()].count("n@example.net") == 1


async def test_without_definitions_nothing_is_written(world: World) -> None:
    await world.fault(kind="html", match={"path_regex": f"^{DEFINITIONS}"}, times=-1)
    before, mine = everything(world), next(iter(rows(world)))

    refused = await world.operate("update", [{"id": mine, "fields": {"zip": "1"}}], status=503)
    passed = await through(world, "PATCH", f"{CONTACTS}/{mine}", {"properties": {"zip": "1"}})

    assert (refused["code"], passed.json()["code"]) == ("target_unavailable", "target_unavailable")
    assert (await asked(world), everything(world)) == ([], before)


async def test_a_token_that_is_refused_in_mid_run_stops_it_with_everything_accounted_for(tmp_path: Path) -> None:
    async with hubspot(tmp_path, records=300) as world:
        before = everything(world)
        expired = {
            "status": "error",
            "message": "The OAuth token used to make this call expired.",
            "category": "EXPIRED",
        }
        await world.fault(kind="status", status=401, body=expired, match={"path_regex": "batch"}, times=-1, after=4)

        answer = await world.operate("update", [{"id": id_, "fields": {"zip": "1"}} for id_ in rows(world)])
        world.sandbox.faults.clear()

        written = sum(row.get("zip") == "1" for row in rows(world).values())
        assert 0 < written < 300
        assert (answer["records_applied"], answer["records_in_doubt"]) == (written, 0)
        assert answer["records_applied"] + answer["records_failed"] == 300
        assert (await world.revert(answer))["status"] == "reverted"
        assert everything(world) == before
