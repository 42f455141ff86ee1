"""The Salesforce sandbox keeps what its docstring promises: shapes, traps, limits, tokens; asked without Guard."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from scenarios.sandboxes import salesforce_seed as seed
from scenarios.sandboxes.common import RateLimits
from scenarios.sandboxes.salesforce import CLIENT, DEFAULT_TOKEN, Salesforce, Settings, create_app

DATA = "/services/data/v60.0"
MANY = f"{DATA}/composite/sobjects"
HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}"}
ANN = seed.record_id("Contact", 5)
CLIENT_1 = seed.record_id("Account", 1)


@pytest.fixture
def app() -> Starlette:
    return create_app(records=20, limits=None)


@pytest.fixture
async def org(app: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    async with asked(app) as client:
        yield client


def asked(app: Starlette, **headers: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://org", headers={**HEADERS, **headers})


def vendor(app: Starlette) -> Salesforce:
    found = app.state.sandbox.vendor
    assert isinstance(found, Salesforce)
    return found


def member(**fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Contact"}, **fields}


async def update(org: httpx2.AsyncClient, *records: dict[str, Any], **more: Any) -> httpx2.Response:
    return await org.patch(MANY, json={"records": list(records), **more})


async def seen(org: httpx2.AsyncClient, *names: str) -> dict[str, Any]:
    (row,) = (await org.post(f"{MANY}/Contact", json={"ids": [ANN], "fields": list(names)})).json()
    return {name: row[name] for name in names}


async def test_a_collection_answers_200_with_each_records_own_success(org: httpx2.AsyncClient) -> None:
    reply = await update(org, member(id=ANN, Title="x"), member(id=ANN[:-4] + "zAAA", Title="x"), member(Title="x"))
    assert (reply.status_code, [each["success"] for each in reply.json()]) == (200, [True, False, False])
    assert reply.json()[1]["errors"][0]["statusCode"] == "NOT_FOUND"


async def test_all_or_none_takes_back_what_had_succeeded(org: httpx2.AsyncClient) -> None:
    before = await seen(org, "Title")
    reply = await update(org, member(id=ANN, Title="new"), member(id=ANN, Title="newer"), allOrNone=True)
    codes = [each["errors"][0]["statusCode"] for each in reply.json()]
    assert (reply.status_code, codes) == (200, ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "DUPLICATE_VALUE"])
    assert await seen(org, "Title") == before


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Full_Name__c": "x"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"Nothing__c": "x"}, "INVALID_FIELD"),
        ({"Notice__c": "x"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ({"LastName": None}, "REQUIRED_FIELD_MISSING"),
        ({"Candidate_Number__c": "c-000001"}, "DUPLICATE_VALUE"),
        ({"Salary_Expectation__c": "70000"}, "JSON_PARSER_ERROR"),
    ],
)
async def test_what_the_vendor_refuses_is_refused(org: httpx2.AsyncClient, fields: dict[str, Any], code: str) -> None:
    (result,) = (await update(org, member(id=ANN, **fields))).json()
    row = await org.patch(f"{DATA}/sobjects/Contact/{ANN}", json=fields)
    assert (result["errors"][0]["statusCode"], row.json()[0]["errorCode"]) == (code, code)


async def test_more_than_two_hundred_are_refused(org: httpx2.AsyncClient) -> None:
    many = await update(org, *[member(id=ANN, Title="x")] * 201)
    gone = await org.delete(MANY, params={"ids": ",".join([ANN] * 201)})
    read = await org.post(f"{MANY}/Contact", json={"ids": [ANN] * 2001, "fields": ["Id"]})
    codes = {reply.json()[0]["errorCode"] for reply in (many, gone, read)}
    assert ([reply.status_code for reply in (many, gone, read)], codes) == ([400] * 3, {"EXCEEDED_ID_LIMIT"})


async def test_values_are_kept_as_salesforce_keeps_them(org: httpx2.AsyncClient) -> None:
    await update(org, member(id=ANN, Title="  x ", Email=" A@B.com", Skills__c="SQL;Java", Salary_Expectation__c=1.239))
    shown = await seen(org, "Title", "Email", "Skills__c", "Salary_Expectation__c", "Phone")
    assert list(shown.values())[:4] == ["x", "a@b.com", "Java;SQL", 1.24]


async def test_a_query_makes_no_difference_of_case_and_takes_escaped_values(org: httpx2.AsyncClient) -> None:
    await update(org, member(id=ANN, Title="it's \\ new"))
    for value in ("IT\\'S \\\\ NEW", "c-000005"):
        name = "Title" if "NEW" in value else "Candidate_Number__c"
        q = f"SELECT Id, {name} FROM Contact WHERE {name} IN ('{value}','else')"  # noqa: S608
        reply = (await org.get(f"{DATA}/query", params={"q": q})).json()
        assert ([row["Id"] for row in reply["records"]], reply["done"]) == ([ANN], True)


async def test_what_is_deleted_is_found_by_query_all_and_brought_back_by_soap(
    app: Starlette, org: httpx2.AsyncClient
) -> None:
    before = {kind: dict(table.rows) for kind, table in vendor(app).store.tables.items()}
    await org.delete(f"{DATA}/sobjects/Account/{CLIENT_1}")
    counts = {
        where: (await org.get(f"{DATA}/{where}", params={"q": "SELECT Id FROM Contact"})).json()["totalSize"]
        for where in ("query", "queryAll")
    }
    assert counts == {"query": 15, "queryAll": 20}
    told = await undelete(org, CLIENT_1, CLIENT_1)
    assert re.findall("<success>(.*?)</success>", told.text) == ["true", "false"]
    after = {kind: set(table.rows) for kind, table in vendor(app).store.tables.items()}
    assert after == {kind: set(rows) for kind, rows in before.items()}


async def undelete(org: httpx2.AsyncClient, *ids: str, token: str = DEFAULT_TOKEN) -> httpx2.Response:
    listed = "".join(f"<ids>{id_}</ids>" for id_ in ids)
    body = f"<E><sessionId>{token}</sessionId><undelete>{listed}</undelete></E>"
    return await org.post("/services/Soap/u/60.0", content=body, headers={"content-type": "text/xml"})


async def test_tokens_end_and_rest_and_soap_say_so_each_in_its_way(app: Starlette) -> None:
    vendor(app).settings = Settings(token_calls=1)
    form = {"grant_type": "client_credentials", "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    async with asked(app) as plain:
        token = (await plain.post("/services/oauth2/token", data=form)).json()["access_token"]
        wrong = await plain.post("/services/oauth2/token", data={**form, "client_secret": "x"})
        ended = await undelete(plain, ANN, token="x")
    async with asked(app, Authorization=f"Bearer {token}") as org:
        replies = [await org.get(f"{DATA}/sobjects/Contact/{ANN}") for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 401]
    assert replies[1].json()[0]["errorCode"] == "INVALID_SESSION_ID"
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_client")
    assert (ended.status_code, "sf:INVALID_SESSION_ID" in ended.text) == (500, True)


async def test_the_calls_of_a_day_are_counted_told_and_come_to_an_end() -> None:
    app = create_app(records=5, limits=RateLimits(2, 86_400.0, 2))
    async with asked(app) as org:
        replies = [await org.get(f"{DATA}/sobjects/Contact/{seed.record_id('Contact', 0)}") for _ in range(3)]
    assert [reply.headers["sforce-limit-info"] for reply in replies[:2]] == ["api-usage=1/2", "api-usage=2/2"]
    assert (replies[2].status_code, replies[2].json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")


async def test_the_same_seed_gives_the_same_records() -> None:
    assert seed.rows(30, 7) == seed.rows(30, 7)
    assert seed.rows(30, 7) != seed.rows(30, 8)


async def test_the_sandbox_runs_alone() -> None:
    command = (Path(sys.executable).parent / "guard", "sandbox", "salesforce", "--port", "0", "--records", "3")
    running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert running.stdout
        line = (await asyncio.wait_for(running.stdout.readline(), 60)).decode()
        async with httpx2.AsyncClient(base_url=line.split()[-1], headers=HEADERS) as http:
            found = await http.get(f"{DATA}/query", params={"q": "SELECT Id FROM Contact"})
        assert found.json()["totalSize"] == 3
        assert found.headers["sforce-limit-info"] == "api-usage=1/100000"
    finally:
        running.terminate()
        await asyncio.wait_for(running.wait(), 30)
