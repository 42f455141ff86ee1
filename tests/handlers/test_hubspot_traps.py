"""Each trap that HubSpot's users have reported, by its name: Guard does not step into it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from guard.flows.history import recorded
from guard.target import definitions
from scenarios.sandboxes import hubspot_seed as seed
from tests.handlers.crm import answer_of, through
from tests.handlers.hubspot_world import account, asked, everything, hubspot, links, rows
from tests.world import World

CONTACTS = "/crm/v3/objects/contacts"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with hubspot(tmp_path) as world:
        yield world


def first(world: World, kind: str = "contacts", **values: str | None) -> str:
    """The first record with these values; None: without one."""
    found = rows(world, kind).items()
    return next(id_ for id_, row in found if all(row.get(name) == value for name, value in values.items()))


# 1. null is not the clear value, "" is


@pytest.mark.parametrize("empty", [None, ""])
async def test_what_is_emptied_by_the_bulk_door_is_sent_as_an_empty_text(world: World, empty: Any) -> None:
    before, mine = everything(world), first(world, city="Berlin")

    answer = await world.operate("update", [{"id": mine, "fields": {"city": empty}}])

    assert "city" not in rows(world)[mine]
    assert (await world.revert(answer))["status"] == "reverted"
    assert everything(world) == before


async def test_a_property_that_was_empty_is_emptied_again(world: World) -> None:
    before, mine = everything(world), first(world, city=None)

    answer = await world.operate("update", [{"id": mine, "fields": {"city": "Rome", "zip": "00100"}}])

    assert (await world.revert(answer))["status"] == "reverted"
    assert everything(world) == before


async def test_a_null_that_is_passed_through_and_ignored_is_not_reported_as_written(world: World) -> None:
    mine = first(world, city="Berlin")

    reply = await through(world, "PATCH", f"{CONTACTS}/{mine}", {"properties": {"city": None}})

    assert (reply.status_code, rows(world)[mine]["city"]) == (200, "Berlin")
    assert reply.headers["guard-status"] != "applied"


# 2. A read-only, calculated or removed property fails the record


@pytest.mark.parametrize("name", ["hs_full_name_or_email", "num_associated_deals", "createdate", "no_such_property"])
async def test_a_property_that_nobody_can_write_is_told_before_anything_is_written_by_both_doors(
    world: World, name: str
) -> None:
    mine, before = first(world), everything(world)

    refused = await world.operate("update", [{"id": mine, "fields": {"city": "X", name: "1"}}], status=422)
    passed = await through(world, "PATCH", f"{CONTACTS}/{mine}", {"properties": {"city": "X", name: "1"}})

    assert [refused["code"], passed.json()["code"]] == ["unknown_field"] * 2
    assert name in refused["detail"]
    assert ("HubSpot keeps or calculates it" in refused["detail"]) is (name != "no_such_property")
    assert (await asked(world), everything(world)) == ([], before)


@pytest.mark.parametrize("how", ["removed", "read only"])
async def test_a_property_that_cannot_be_written_any_more_keeps_nothing_else_from_going_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(definitions, "DEFINITIONS_AGAIN_S", 0.0)
    async with hubspot(tmp_path) as world:
        mine = first(world, city="Berlin")
        answer = await world.operate("update", [{"id": mine, "fields": {"city": "X", "notice_period": "none"}}])
        if how == "removed":
            del account(world).properties["contacts"]["notice_period"]
        else:
            account(world).define("contacts", seed.readonly("notice_period"))

        report = await world.revert(answer)

        assert (rows(world)[mine]["city"], rows(world)[mine]["notice_period"]) == ("Berlin", "none")
        assert (report["status"], report["records_restored"]) == ("partly_reverted", 0)


# 3. Only requested properties come back


async def test_every_property_that_can_be_written_is_in_the_snapshot_and_no_other(world: World) -> None:
    mine = first(world)
    kept = {n: v for n, v in rows(world)[mine].items() if n not in ("id", "hs_additional_emails")}

    answer = await world.operate("update", [{"id": mine, "fields": {"city": "X"}}])

    with world.guard.journals.use(answer["id"]) as journal:
        found = [each async for each in recorded(journal, await journal.catch_up())]
    assert [each.touched.before for each in found] == [kept]


# 4. lifecyclestage cannot move backwards


async def test_a_lifecycle_stage_is_taken_back_by_emptying_it_first(world: World) -> None:
    before = everything(world)
    answer = await world.operate(
        "update", [{"id": id_, "fields": {"lifecyclestage": "customer"}} for id_ in rows(world)]
    )
    since = len(await world.vendor_requests())

    report = await world.revert(answer)

    assert (report["status"], everything(world)) == ("reverted", before)
    paths = await asked(world, since=since)
    assert paths == [f"POST {CONTACTS}/batch/read", *[f"POST {CONTACTS}/batch/update"] * 2]


async def test_a_stage_that_is_passed_through_and_not_moved_back_is_not_reported_as_written(world: World) -> None:
    mine = first(world, lifecyclestage="customer")

    reply = await through(world, "PATCH", f"{CONTACTS}/{mine}", {"properties": {"lifecyclestage": "lead"}})

    assert (reply.status_code, rows(world)[mine]["lifecyclestage"]) == (200, "customer")
    assert reply.headers["guard-status"] != "applied"


async def test_a_stage_moves_forward_in_one_request(world: World) -> None:
    mine = first(world, lifecyclestage="lead")

    await world.operate("update", [{"id": mine, "fields": {"lifecyclestage": "customer"}}])

    assert await asked(world) == [f"POST {CONTACTS}/batch/read", f"POST {CONTACTS}/batch/update"]


# 5. A new company can change the primary one


@pytest.mark.parametrize("side", ["contact", "company", "default", "batch"])
async def test_a_contacts_primary_company_is_put_back(world: World, side: str) -> None:
    before = everything(world)
    mine = next(
        id_ for id_ in rows(world) if any(link.endswith("/1") for link in links(world, f"contacts:{id_}:companies"))
    )
    other = next(id_ for id_ in rows(world, "companies") if id_ not in str(links(world, f"contacts:{mine}:companies")))
    spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
    ends = {"from": {"id": mine}, "to": {"id": other}}
    objects, pairs = "/crm/v4/objects", "/crm/v4/associations/contacts/companies/batch"
    request: dict[str, tuple[str, str, Any]] = {
        "contact": ("PUT", f"{objects}/contacts/{mine}/associations/companies/{other}", [spec]),
        "company": (
            "PUT",
            f"{objects}/companies/{other}/associations/contacts/{mine}",
            [{**spec, "associationTypeId": 280}],
        ),
        "default": ("PUT", f"{objects}/0-1/{mine}/associations/default/companies/{other}", None),
        "batch": ("POST", f"{pairs}/create", {"inputs": [{**ends, "types": [spec]}]}),
    }
    reply = await through(world, *request[side])
    assert reply.status_code // 100 == 2, reply.text
    assert f"{other}/HUBSPOT_DEFINED/1" in links(world, f"contacts:{mine}:companies")

    report = await world.revert(answer_of(reply))

    assert (report["status"], everything(world)) == ("reverted", before)


# 6. A batch of deletions hides what became of each


async def test_a_batch_of_deletions_is_believed_only_after_reading(world: World) -> None:
    one, two, *_ = rows(world)
    match = {"path_regex": "batch/archive$"}
    await world.fault(kind="ok_not_done", match=match)

    answer = await world.operate("delete", [{"id": one}, {"id": two}], accept_irreversible=True)

    assert (answer["records_applied"], answer["records_in_doubt"], {one, two} <= set(rows(world))) == (0, 2, True)


# 7. Search is behind


async def test_no_search_is_ever_asked(world: World) -> None:
    mine = first(world)
    email = rows(world)[mine]["email"]
    done = [
        await world.operate("update", [{"id": mine, "fields": {"city": "X"}}]),
        await world.operate(
            "upsert", [{"fields": {"email": email, "city": "Y"}}, {"fields": {"email": "n@example.org"}}]
        ),
        await world.operate("create", [{"fields": {"email": "m@example.org"}}]),
    ]
    for answer in reversed(done):
        await world.revert(answer)

    assert not [path for path in await asked(world) if path.endswith("/search")]


# 8. A unique value may be another record's by now


@pytest.mark.parametrize("refuses", ["record", "batch"])
async def test_an_address_that_another_record_has_by_now_keeps_only_its_own_record_from_going_back(
    tmp_path: Path, refuses: Any
) -> None:
    async with hubspot(tmp_path) as world:
        one, two, three, *_ = rows(world)
        before = rows(world)
        renamed = [{"id": id_, "fields": {"email": f"{id_}@example.net"}} for id_ in (one, two, three)]
        answer = await world.operate("update", renamed)
        await world.edit("contacts", list(before)[9], {"email": before[two]["email"]})
        account(world).settings = type(account(world).settings)(refuses=refuses)

        report = await world.revert(answer)

        assert (report["records_restored"], report["records_failed"]) == (2, 1)
        now = rows(world)
        assert [now[id_]["email"] for id_ in (one, three)] == [before[id_]["email"] for id_ in (one, three)]
        assert now[two]["email"] == f"{two}@example.net"


# 9. What is created again has another id


async def test_deleting_is_refused_unless_accepted_and_left_to_people_to_restore(world: World) -> None:
    one, two, *_ = rows(world)
    before = everything(world)
    refused = await world.operate("delete", [{"id": one}], status=422)
    assert (refused["code"], everything(world)) == ("irreversible", before)
    assert "90 days" in refused["detail"]

    answer = await world.operate("delete", [{"id": one}, {"id": two}], accept_irreversible=True)
    report = await world.revert(answer)

    assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 2)
    assert sorted(each["id"] for each in report["conflicts"]) == sorted([one, two])
    for id_ in (one, two):  # nothing was created that would stand in the way of that
        account(world).restore(id_)
    assert everything(world) == before


@pytest.mark.parametrize("path", ["contacts/merge", "0-1/gdpr-delete", "companies/merge", f"{seed.CARS_TYPE}/merge"])
async def test_merges_and_gdpr_deletions_are_refused_even_if_accepted(world: World, path: str) -> None:
    one, two, *_ = rows(world)
    before = everything(world)
    body = {"primaryObjectId": one, "objectIdToMerge": two, "objectId": one}

    reply = await through(world, "POST", f"/crm/v3/objects/{path}", body, accept=True)

    assert (reply.status_code, reply.json()["code"], await asked(world)) == (422, "irreversible", [])
    assert everything(world) == before


# 10. A deal's stage fires calculations, and sets the close date


async def test_a_close_date_that_came_with_the_stage_goes_back_with_it(world: World) -> None:
    before, mine = everything(world), first(world, "deals", dealstage="contractsent")

    answer = await world.operate("update", [{"id": mine, "fields": {"dealstage": "closedwon"}}], resource="deals")
    assert "closedate" in rows(world, "deals")[mine]

    assert (await world.revert(answer))["status"] == "reverted"
    assert everything(world) == before


# Results of a batch come in any order, and ids of another object type


@pytest.mark.parametrize("traces", [True, False])
async def test_results_of_a_batch_in_another_order_are_each_records_own(tmp_path: Path, traces: bool) -> None:
    async with hubspot(tmp_path) as world:
        account(world).settings = type(account(world).settings)(traces=traces)
        fields = [{"email": f"n{n}@example.net", "firstname": f"N{n}"} for n in range(7)]

        answer = await world.operate("create", [{"fields": each} for each in fields])

        changes = (await world.http.get(f"/v1/runs/{answer['id']}/changes")).json()["changes"]
        shown = {each["id"]: {field["field"]: field["after"] for field in each["fields"]} for each in changes}
        made = {id_: row for id_, row in rows(world).items() if row["email"].endswith("@example.net")}
        assert {id_: fields["firstname"] for id_, fields in shown.items()} == {
            id_: row["firstname"] for id_, row in made.items()
        }
        assert (await world.revert(answer))["records_restored"] == 7


async def test_an_id_of_another_object_type_is_not_written(world: World) -> None:
    before, company = everything(world), first(world, "companies")

    refused = await world.operate("update", [{"id": company, "fields": {"city": "X"}}], status=422)

    assert refused["failures"][0]["code"] == "not_found"
    assert (await asked(world), everything(world)) == ([f"POST {CONTACTS}/batch/read"], before)
