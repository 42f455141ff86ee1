"""Each trap of Salesforce that its documentation or its users tell of: what Guard does about it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from guard.core.errors import Refused
from guard.core.model import Action, Change, Status
from handlers.base import Reply
from handlers.salesforce import Salesforce, names
from scenarios.sandboxes import salesforce_seed as seed
from scenarios.sandboxes.common import RateLimits
from tests.handlers.salesforce_org import (
    DATA,
    MANY,
    OPTIONS,
    answered,
    calls,
    configure,
    described,
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

HANDLER = described(*seed.OBJECTS)
ANN = seed.record_id("Contact", 5)
NOTHING_ASKED: list[str] = []


@pytest.fixture
async def crm(tmp_path: Path) -> AsyncIterator[World]:
    async with org(tmp_path) as world:
        yield world


def people(world: World) -> list[str]:
    return list(vendor(world).store.tables["Contact"].rows)


def first(world: World, kind: str) -> str:
    return next(iter(rows(world, kind)))


async def update(
    world: World, id_: str, *, resource: str = "Contact", status: int = 200, **fields: Any
) -> dict[str, Any]:
    return await world.operate("update", [{"id": id_, "fields": fields}], resource=resource, status=status)


# HTTP 200 does not mean success


async def test_http_200_does_not_mean_success(crm: World) -> None:
    before, ids = rows(crm), people(crm)
    records = [{"id": id_, "fields": {"Notice__c": "never" if n % 2 else "none"}} for n, id_ in enumerate(ids)]
    answer = await crm.operate("update", records, resource="Contact")
    assert (answer["status"], answer["records_applied"], answer["records_failed"]) == ("partial", 10, 10)
    assert {each["code"] for each in answer["failures"]} == {"rejected"}
    assert "restricted picklist" in answer["failures"][0]["message"]

    assert (await crm.revert(answer))["records_restored"] == 10
    assert rows(crm) == before


async def test_a_200_that_wrote_nothing_is_found_out(crm: World) -> None:
    before, ids = rows(crm), people(crm)[:2]
    await crm.fault(kind="ok_not_done", match={"method": "PATCH"})
    records = [{"id": id_, "fields": {"Title": "Wrong"}} for id_ in ids]
    answer = await crm.operate("update", records, resource="Contact")
    assert (answer["records_applied"], {each["code"] for each in answer["failures"]}) == (0, {"not_shown"})
    assert rows(crm) == before


async def test_an_answer_with_fewer_results_than_records_says_nothing_sure() -> None:
    changes = [HANDLER.change("Contact", "update", {"id": ANN, "fields": {"Title": "x"}})] * 2
    told = HANDLER.outcomes(changes, answered([{"id": ANN, "success": True, "errors": []}]))
    assert [each.status for each in told] == [Status.UNKNOWN] * 2


async def test_a_collection_that_is_refused_as_a_whole_is_sent_in_halves_until_only_the_guilty_fails(
    tmp_path: Path,
) -> None:
    async with org(tmp_path, refuses="batch") as world:
        ids = people(world)
        await update(world, ids[0], Title="x")  # the fields are known now, and one of them goes meanwhile
        kept = vendor(world).fields["Contact"].pop("department")
        fields = [{"Department": "x"} if id_ == ids[3] else {"Title": "Wrong"} for id_ in ids]
        records = [{"id": id_, "fields": given} for id_, given in zip(ids, fields, strict=True)]
        vendor(world).fields["Contact"]["department"] = {**kept, "updateable": False}
        answer = await world.operate("update", records, resource="Contact")
        assert (answer["records_applied"], answer["records_failed"]) == (19, 1)
        assert answer["failures"][0]["code"] == "unknown_field"


# Validation rules, flows, derived fields


async def test_a_validation_rule_that_rejects_the_old_value_is_reported_and_keeps_no_other_record(crm: World) -> None:
    before, ids = rows(crm, "Opportunity"), list(rows(crm, "Opportunity"))
    records = [{"id": ids[0], "fields": {"StageName": "Closed Won"}}, {"id": ids[1], "fields": {"Amount": 1}}]
    answer = await crm.operate("update", records, resource="Opportunity")
    configure(crm, no_way_back=True)

    report = await crm.revert(answer)

    now = rows(crm, "Opportunity")
    assert (report["records_restored"], report["records_failed"]) == (1, 1)
    assert "not opened again" in report["failures"][0]["message"]
    assert (now[ids[0]]["StageName"], now[ids[1]]) == ("Closed Won", before[ids[1]])


async def test_a_flow_that_rewrites_a_field_after_the_restore_is_noticed(tmp_path: Path) -> None:
    async with org(tmp_path, flow=True) as world:
        id_ = first(world, "Account")
        answer = await update(world, id_, resource="Account", Industry="Technology", Rating="Low")
        assert rows(world, "Account")[id_]["Rating"] == "Hot"

        report = await world.revert(answer)

        assert (report["status"], report["records_failed"]) == ("partly_reverted", 1)
        (row,) = (await world.plan(answer))["plan"]  # what is left: now it is neither the old value nor the run's
        left = [(each["field"], each["now"]) for each in row["fields"] if each["verdict"] == "conflict"]
        assert left == [("Rating", "Warm")]


async def test_a_probability_that_came_with_the_stage_goes_back_with_it(crm: World) -> None:
    before = rows(crm, "Opportunity")
    answer = await update(crm, first(crm, "Opportunity"), resource="Opportunity", StageName="Negotiation")
    assert rows(crm, "Opportunity")[first(crm, "Opportunity")]["Probability"] == 90.0

    assert (await crm.revert(answer))["status"] == "reverted"
    assert rows(crm, "Opportunity") == before  # 25, which is no stage's own


async def test_roll_ups_on_parents_are_no_conflict(crm: World) -> None:
    before, id_ = everything(crm), first(crm, "Account")
    placement = {"Client__c": id_, "Placement_Number__c": "P-new"}
    created = await crm.operate("create", [{"fields": placement}], resource="Placement__c")
    changed = await update(crm, id_, resource="Account", Phone="0")

    assert [(await crm.revert(each))["status"] for each in (changed, created)] == ["reverted", "reverted"]
    assert everything(crm) == before


async def test_the_plan_says_that_owners_may_be_mailed_and_how_long_the_bin_keeps(crm: World) -> None:
    answer = await update(crm, people(crm)[0], OwnerId=seed.OWNERS[1][:15])
    (told,) = (await crm.plan(answer))["cannot_be_taken_back"]
    assert "mail a new owner" in told
    assert "15 days" in told


# Fields


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Full_Name__c", "calculates it"),
        ("MailingAddress", "keeps it itself"),
        ("Name", "keeps it itself"),
        ("SystemModstamp", "keeps it itself"),
        ("Id", "keeps it itself"),
        ("National_Id__c", "another shape"),
    ],
)
async def test_fields_that_the_vendor_calculates_compound_and_masked_ones_are_refused_by_both_doors(
    crm: World, name: str, why: str
) -> None:
    id_ = people(crm)[0]
    told = await crm.operate("update", [{"id": id_, "fields": {name: "x"}}], resource="Contact", status=422)
    assert why in told["detail"]
    record = {"records": [member("Contact", id=people(crm)[1], **{name: "x"})]}
    passed = await through(crm, "PATCH", MANY if name != "Id" else f"/sobjects/Contact/{id_}", record)
    assert (passed.status_code, await calls(crm)) == (422, NOTHING_ASKED)


async def test_a_masters_field_can_be_given_once_and_never_changed(crm: World) -> None:
    fields = {"Client__c": first(crm, "Account")}
    records = [{"id": first(crm, "Placement__c"), "fields": fields}]
    told = await crm.operate("update", records, resource="Placement__c", status=422)
    assert "Client__c" in told["detail"]


async def test_null_that_empties_nothing_is_noticed(tmp_path: Path) -> None:
    """That null empties is what users report; the documentation does not say so."""
    async with org(tmp_path, null_empties=False) as world:
        before, ids = rows(world), people(world)[:2]
        records = [{"id": id_, "fields": {"Phone": None, "Title": "Wrong"}} for id_ in ids]
        answer = await world.operate("update", records, resource="Contact")
        assert {each["code"] for each in answer["failures"]} == {"partly_applied"}
        assert "Phone" in answer["failures"][0]["message"]

        filled = await update(world, ids[0], Department="Sales")
        report = await world.revert(filled)
        assert (report["records_in_doubt"], report["status"]) == (1, "partly_reverted")
        assert rows(world)[ids[0]]["Department"] == "Sales"
        await world.edit("Contact", ids[0], {"Department": ""})
        configure(world, null_empties=True)
        assert (await world.revert(answer))["status"] == "reverted"
        assert {id_: rows(world)[id_] for id_ in ids} == {id_: before[id_] for id_ in ids}


async def test_a_field_that_was_made_meanwhile_is_read_anew_and_written(
    crm: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.target.definitions.DEFINITIONS_AGAIN_S", 0)
    await update(crm, people(crm)[0], Title="x")
    vendor(crm).define("Contact", seed.field("Nickname__c"))
    answer = await update(crm, people(crm)[0], nickname__C="Annie")
    assert (answer["status"], rows(crm)[people(crm)[0]]["Nickname__c"]) == ("applied", "Annie")
    vendor(crm).define("Contact", seed.field("Shoe_Size__c"))
    passed = await through(crm, "PATCH", f"/sobjects/Contact/{ANN}", {"Shoe_Size__c": "42"})
    assert (passed.status_code, rows(crm)[ANN]["Shoe_Size__c"]) == (204, "42")


async def test_texts_of_a_csv_become_numbers_flags_and_choices(crm: World) -> None:
    id_ = people(crm)[0]
    head = "id,Salary_Expectation__c,DoNotCall,Skills__c,Phone\n"
    reply = await crm.http.post(
        "/v1/operations?target=crm&resource=Contact&action=update",
        content=f"{head}{id_},65000.50,true,SQL;Java,\n",
        headers={"content-type": "text/csv"},
    )
    assert (reply.json()["status"], reply.json()["failures"]) == ("applied", [])
    now = rows(crm)[id_]
    assert (now["Salary_Expectation__c"], now["DoNotCall"], now["Skills__c"]) == (65000.5, True, ["Java", "SQL"])
    assert "Phone" not in now


@pytest.mark.parametrize("value", ["nan", "many", "1e400", True, [1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(Refused, match="must be"):
        HANDLER.change("Contact", "update", {"id": ANN, "fields": {"Salary_Expectation__c": value}})


# Ids


def test_15_and_18_characters_are_one_id_whatever_a_tool_made_of_the_case() -> None:
    short = "001Dx00000AbCdE"
    long_ = names.canonical_id(short)
    assert long_ == seed.long_id(short)
    assert {names.canonical_id(each) for each in (long_, long_.lower(), long_.upper())} == {long_}
    assert names.canonical_id(short.lower()) != long_


@pytest.mark.parametrize("id_", ["001Dx00000AbCdEAA9", "001Dx00000AbCdEZZZ", "001Dx00000AbCd", 7, None, "C-000001"])
def test_an_id_whose_last_three_characters_do_not_fit_is_none(id_: Any) -> None:
    assert names.canonical_id(id_) is None


async def test_the_same_record_under_both_ids_is_seen_by_both_doors(crm: World) -> None:
    id_, before = people(crm)[0], rows(crm)
    records = [{"id": each, "fields": {"Title": "x"}} for each in (id_, id_[:15])]
    told = await crm.operate("update", records, resource="Contact", status=422)
    assert told["code"] in ("duplicate_record", "invalid_record")
    both = [member("Contact", id=each, Title="x") for each in (id_, id_[:15])]
    passed = await through(crm, "PATCH", MANY, {"records": both})
    assert (passed.status_code, rows(crm)) == (422, before)


async def test_an_id_of_another_object_type_is_told_before_anything_is_written(crm: World) -> None:
    id_ = first(crm, "Account")
    told = await crm.operate("update", [{"id": id_, "fields": {"Title": "x"}}], resource="Contact", status=422)
    assert "begin with 003" in told["detail"]
    passed = await through(crm, "DELETE", f"/sobjects/Contact/{id_}")
    many = await through(crm, "PATCH", MANY, {"records": [member("Contact", id=id_, Title="x")]})
    strange = await through(crm, "DELETE", MANY, ids=f"{id_},0zzDx0000000000AAA")
    assert {reply.status_code for reply in (passed, many, strange)} == {422}
    assert await calls(crm) == NOTHING_ASKED


async def test_an_id_that_does_not_exist_any_more_is_told_and_the_others_are_written(crm: World) -> None:
    ids = people(crm)
    await crm.edit("Contact", ids[0], None)
    records = [{"id": id_, "fields": {"Title": "x"}} for id_ in ids]
    answer = await crm.operate("update", records, resource="Contact")
    assert (answer["records_applied"], answer["failures"][0]["code"]) == (19, "not_found")


# Object types


@pytest.mark.parametrize(
    ("name", "why"), [("contact", "called Contact"), ("Nothing__c", "no object"), ("a/b", "no resource")]
)
async def test_an_object_type_that_is_none_or_otherwise_called_is_unknown(crm: World, name: str, why: str) -> None:
    told = await crm.operate("update", [{"id": ANN, "fields": {"Title": "x"}}], resource=name, status=422)
    assert (told["code"], why in told["detail"]) == ("unknown_resource", True)
    if "/" not in name:
        passed = await through(crm, "DELETE", f"/sobjects/{name}/{ANN}")
        assert passed.json()["code"] == "unknown_resource"


async def test_a_batch_larger_than_the_vendor_takes_is_split_by_our_door_and_refused_by_the_vendors(
    tmp_path: Path,
) -> None:
    async with org(tmp_path, records=201) as world:
        records = [member("Contact", id=id_, Title="x") for id_ in people(world)]
        passed = await through(world, "PATCH", MANY, {"records": records})
        deleted = await through(world, "DELETE", MANY, ids=",".join(people(world)))
        assert (passed.status_code, deleted.status_code, await calls(world)) == (422, 422, NOTHING_ASKED)

        ours = [{"id": id_, "fields": {"Title": "x"}} for id_ in people(world)]
        answer = await world.operate("update", ours, resource="Contact")
        assert (answer["records_applied"], len(await writes(world))) == (201, 2)


# Conditions


async def test_a_single_record_is_written_only_if_nobody_has_changed_it_since_it_was_read(crm: World) -> None:
    id_ = people(crm)[0]

    def edit(request: Any, reply: Any, faulted: bool) -> None:
        if request.method == "POST":  # the read
            crm.sandbox.watchers.clear()
            vendor(crm).edit("Contact", vendor(crm).store.tables["Contact"].rows[id_], {"Title": "Theirs"})
            vendor(crm).store.commit()

    crm.sandbox.watchers.append(edit)
    answer = await update(crm, id_, Title="Ours", Phone="0", status=422)
    assert (answer["records_failed"], answer["failures"][0]["code"]) == (1, "changed_meanwhile")
    assert rows(crm)[id_]["Title"] == "Theirs"


async def test_collections_cannot_have_the_conditional_headers_so_they_carry_none() -> None:
    changes = [HANDLER.change("Contact", "update", {"id": ANN, "fields": {"Title": "x"}})]
    changes += [HANDLER.change("Contact", "update", {"id": seed.record_id("Contact", 6), "fields": {"Title": "x"}})]
    before = {"LastModifiedDate": "2026-01-05T08:00:00.250+0000"}
    ((single,),) = HANDLER.write(changes[:1], [before])
    ((both,),) = HANDLER.write(changes, [before, before])
    # Rounded up: the header has whole seconds, and nothing may be refused that nobody has changed.
    assert single.call.headers == {"if-unmodified-since": "Mon, 05 Jan 2026 08:00:01 GMT"}
    assert (both.call.headers, both.call.path) == ({}, MANY)


async def test_the_callers_own_condition_goes_on_with_its_request(crm: World) -> None:
    condition = {"if-unmodified-since": "Mon, 05 Jan 2015 08:00:00 GMT"}
    reply = await through(crm, "PATCH", f"/sobjects/Contact/{ANN}", {"Title": "x"}, headers=condition)
    assert (reply.status_code, reply.headers["guard-status"], await writes(crm)) == (412, "failed", [])


# Deleting


async def test_a_bin_that_was_emptied_is_told_and_keeps_no_other_record(crm: World) -> None:
    ids = people(crm)[:2]
    answer = await crm.operate("delete", [{"id": id_} for id_ in ids], resource="Contact")
    vendor(crm).bin.load([each for each in vendor(crm).bin.rows.values() if each["id"] == ids[1]])

    report = await crm.revert(answer)

    assert (report["records_restored"], report["records_failed"], report["failures"][0]["code"]) == (1, 1, "not_in_bin")
    assert (ids[0] in rows(crm), ids[1] in rows(crm)) == (False, True)


async def test_what_never_gets_into_the_bin_is_not_deleted_unless_accepted(crm: World) -> None:
    records = [{"id": first(crm, "Visit__c")}]
    refused = await crm.operate("delete", records, resource="Visit__c", status=422)
    assert (refused["code"], await writes(crm)) == ("irreversible", [])
    answer = await crm.operate("delete", records, resource="Visit__c", accept_irreversible=True)
    assert (answer["records_applied"], answer["reversible"]) == (1, "none")
    report = await crm.revert(answer)
    assert (report["status"], report["records_irreversible"]) == ("partly_reverted", 1)


async def test_an_account_that_others_have_put_people_into_is_not_deleted_by_a_revert(crm: World) -> None:
    fields = [{"Name": f"New {n}", "Client_Number__c": f"N-{n}"} for n in range(2)]
    answer = await crm.operate("create", [{"fields": each} for each in fields], resource="Account")
    mine = [id_ for id_, row in rows(crm, "Account").items() if row["Name"].startswith("New")]
    await crm.edit("Contact", people(crm)[0], {"AccountId": mine[0]})

    report = await crm.revert(answer)

    assert (report["records_restored"], report["records_conflicted"]) == (1, 1)
    assert (mine[0] in rows(crm, "Account"), mine[1] in rows(crm, "Account")) == (True, False)


async def test_where_it_cannot_be_told_what_hangs_on_a_record_it_is_not_deleted(crm: World) -> None:
    before = rows(crm, "Account")
    fields = {"Name": "New", "Client_Number__c": "N-1"}
    answer = await crm.operate("create", [{"fields": fields}], resource="Account")
    await crm.fault(kind="status", status=400, body=[], match={"path_regex": "/query"})
    first_try = await crm.revert(answer)
    assert (first_try["records_in_doubt"], len(rows(crm, "Account"))) == (1, len(before) + 1)

    assert (await crm.revert(answer))["status"] == "reverted"
    assert rows(crm, "Account") == before


async def test_somebody_elses_undelete_is_no_conflict(crm: World) -> None:
    before, id_ = rows(crm), people(crm)[0]
    answer = await crm.operate("delete", [{"id": id_}], resource="Contact")
    vendor(crm)._undelete(id_)
    vendor(crm).store.commit()
    report = await crm.revert(answer)
    assert (report["records_already"], rows(crm)) == (1, before)


# Locks, limits, duplicates


async def test_rows_that_others_hold_fail_alone_and_are_named_so(crm: World) -> None:
    ids = people(crm)
    configure(crm, locked=[ids[1]])
    records = [{"id": id_, "fields": {"Title": "Wrong"}} for id_ in ids[:3]]
    answer = await crm.operate("update", records, resource="Contact")
    assert (answer["records_applied"], answer["failures"][0]["code"]) == (2, "locked")
    configure(crm, locked=[ids[0]])
    first_try = await crm.revert(answer)
    configure(crm, locked=[])
    second = await crm.revert(answer)
    assert [(each["records_restored"], each["records_failed"]) for each in (first_try, second)] == [(1, 1), (1, 0)]


async def test_a_used_up_daily_limit_is_no_trouble_with_the_credential(crm: World) -> None:
    await update(crm, people(crm)[0], Title="x")
    used_up = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    await crm.fault(kind="status", status=403, body=used_up, times=-1)
    records = [{"id": people(crm)[0], "fields": {"Title": "y"}}]
    told = await crm.operate("update", records, resource="Contact", status=503)
    assert (told["code"], told["written"]) == ("target_unavailable", "nothing")


async def test_the_calls_that_are_left_of_the_day_are_told_to_the_caller(tmp_path: Path) -> None:
    async with org(tmp_path, limits=RateLimits(10, 86_400.0, 10)) as world:
        read = await through(world, "GET", f"/sobjects/Contact/{ANN}")
        written = await through(world, "PATCH", f"/sobjects/Contact/{ANN}", {"Title": "x"})
        assert read.headers["sforce-limit-info"] == "api-usage=1/10"
        assert written.headers["sforce-limit-info"].endswith("/10")


async def test_a_duplicate_is_told_as_one_and_the_callers_header_overrules_the_rule(tmp_path: Path) -> None:
    async with org(tmp_path, duplicate_rule=True) as world:
        twin = {"LastName": "Twin", "Email": rows(world)[ANN]["Email"]}
        before = rows(world)
        answer = await world.operate("create", [{"fields": twin}], resource="Contact", status=422)
        assert (answer["failures"][0]["code"], rows(world)) == ("duplicate", before)

        header = {"sforce-duplicate-rule-header": "allowSave=true"}
        reply = await through(world, "POST", "/sobjects/Contact", twin, headers=header)
        assert (reply.status_code, len(rows(world))) == (201, 21)
        assert (await world.revert(url_of(reply)))["status"] == "reverted"
        assert rows(world) == before


async def test_an_upsert_by_what_several_records_have_is_refused_and_the_id_asked_for(crm: World) -> None:
    twin = rows(crm)[ANN]["Email"]
    await crm.edit("Contact", people(crm)[0], {"Email": twin})
    records = [{"fields": {"Email": twin, "Title": "x"}}]
    answer = await crm.operate("upsert", records, resource="Contact", status=422)
    assert (answer["records_failed"], await writes(crm)) == (1, [])
    assert "Several records" in answer["failures"][0]["message"]
    passed = await through(crm, "PATCH", f"/sobjects/Contact/Email/{twin}", {"Title": "x"})
    assert (passed.status_code, await writes(crm)) == (422, [])


async def test_an_upsert_by_one_field_that_names_another_external_id_is_refused(crm: World) -> None:
    path = f"/sobjects/Contact/Email/{rows(crm)[ANN]['Email']}"
    reply = await through(crm, "PATCH", path, {"Candidate_Number__c": "C-000001", "Title": "x"})
    assert (reply.status_code, await calls(crm)) == (422, NOTHING_ASKED)


def test_an_upsert_that_went_astray_is_told() -> None:
    change = Change(resource="Contact", action=Action.UPDATE, id=ANN, fields={"Title": "x"})
    other = seed.record_id("Contact", 9)
    for created, code in ((True, "created_instead"), (False, "other_record")):
        reply = answered({"id": other, "success": True, "errors": [], "created": created}, 201)
        (outcome,) = HANDLER.outcomes([change], reply)
        assert outcome.failure is not None
        assert (outcome.id, outcome.failure.code) == (other, code)


# What nobody can take back, and what is not what it seems


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("POST", "/services/Soap/u/60.0", {}),  # merges, among other things
        ("GET", "/services/apexrest/anything", {}),
        ("POST", "/services/apexrest/merge", {}),
        ("GET", f"{DATA}/tooling/executeAnonymous", {"anonymousBody": "delete [SELECT Id FROM Contact];"}),
        ("GET", f"{DATA}/Tooling/EXECUTEANONYMOUS", {"anonymousBody": "x"}),
        ("GET", f"{DATA}/%74ooling/executeAnonymous/", {"anonymousBody": "x"}),
        ("GET", "/services/oauth2/revoke", {"token": "x"}),
        ("GET", f"{DATA}/sobjects/Contact/{ANN}", {"_HttpMethod": "DELETE"}),
        ("POST", f"{DATA}/sobjects/Contact/{ANN}", {"_HttpMethod": "PATCH"}),
        ("POST", f"{MANY}/Contact", {"_httpmethod": "PATCH"}),
        ("POST", f"{DATA}/composite", {}),
        ("POST", f"{DATA}/composite/batch", {}),
        ("POST", f"{DATA}/composite/graph", {}),
        ("POST", f"{DATA}/composite/tree/Contact", {}),
        ("POST", f"{DATA}/jobs/ingest", {}),
        ("DELETE", f"{DATA}/sobjects/Contact/Candidate_Number__c/C-1", {}),
        ("PATCH", f"{DATA}/sobjects/Contact/{ANN}/Account", {}),
    ],
)
async def test_merges_apex_composites_and_disguised_requests_do_not_get_through(
    crm: World, method: str, path: str, query: dict[str, str]
) -> None:
    reply = await crm.http.request(method, f"/to/crm{path}", params=query, json={"a": 1} if method != "GET" else None)
    assert (reply.status_code, await calls(crm)) == (422, NOTHING_ASKED), reply.text


@pytest.mark.parametrize(
    "options", [{}, {"domain": ""}, {"domain": "evil/x"}, {"domain": "https://a.b"}, {**OPTIONS, "secret": "x"}]
)
def test_options_that_are_wrong_are_told(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="domain"):
        Salesforce(options)


def undeleted(success: str, head: str = "") -> Reply:
    result = f"<result><id>{ANN}</id><success>{success}</success></result>"
    response = f'<undeleteResponse xmlns="urn:partner.soap.sforce.com">{result}</undeleteResponse>'
    envelope = (
        f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{response}</e:Body></e:Envelope>'
    )
    return Reply(200, f"{head}{envelope}".encode())


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (undeleted("true"), Status.APPLIED),
        (
            undeleted("&ok;", '<!DOCTYPE e [<!ENTITY ok "true">]>'),
            Status.UNKNOWN,
        ),  # entities can be made to fill memory
        (undeleted("perhaps"), Status.UNKNOWN),
        (undeleted("false"), Status.UNKNOWN),  # without a reason
        (Reply(502, undeleted("true").body), Status.UNKNOWN),
        (Reply(200, b"<html>"), Status.UNKNOWN),
    ],
)
def test_of_a_soap_answer_only_what_is_plain_is_believed(reply: Reply, status: Status) -> None:
    change = Change(resource="Contact", action=Action.CREATE, origin=ANN)
    assert [each.status for each in HANDLER.outcomes([change], reply)] == [status]
