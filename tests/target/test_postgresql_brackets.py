"""A bracket around statements that others send to a real PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.assembly import assemble
from guard.flows.verify import verify_all
from guard.settings import parse
from guard.web.app import create_app
from tests.target.rows import Sql, snapshot
from tests.world import KEY, PUBLIC_URL, path_of

STAFF = """
CREATE TABLE staff (
    id int PRIMARY KEY, team text, name text, salary numeric(12, 2),
    yearly numeric GENERATED ALWAYS AS (salary * 12) STORED, skills text[]
);
CREATE TABLE grade (country text, level int, pay numeric, PRIMARY KEY (country, level));
INSERT INTO staff (id, team, name, salary, skills)
    SELECT n, CASE WHEN n % 2 = 0 THEN 'sales' ELSE 'hr' END, 'person ' || n, n * 10, ARRAY['a', 'b']
    FROM generate_series(1, 1500) n;
INSERT INTO grade SELECT 'DE', n, n * 100 FROM generate_series(1, 3) n;
"""


@pytest.fixture
async def http(
    database_url: str, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of a Guard in front of the database."""
    await sql.execute(STAFF)
    monkeypatch.setenv("GUARD_TEST_DATABASE", database_url)
    settings = {
        "server": {"public_url": PUBLIC_URL, "secret_keys": [{"env": "GUARD_TEST_SECRET"}]},
        "store": {"url": f"file:{tmp_path}/store"},
        "clients": [{"name": "tests", "key": {"env": "GUARD_TEST_KEY"}, "targets": ["hr"]}],
        "targets": {"hr": {"handler": "postgresql", "credential": {"env": "GUARD_TEST_DATABASE"}}},
    }
    guard = assemble(parse(settings, "test settings"))
    transport = httpx2.ASGITransport(create_app(guard), raise_app_exceptions=False)
    headers = {"guard-key": KEY}
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers, timeout=60) as made:
        yield made
    assert [finding async for finding in verify_all(guard.journals) if finding.damage] == []
    await guard.close()


async def post(http: httpx2.AsyncClient, path: str, status: int = 200, **body: Any) -> Any:
    reply = await http.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def checkpoint(http: httpx2.AsyncClient, status: int = 200, **body: Any) -> Any:
    return await post(http, "/v1/checkpoints", status, **{"target": "hr", "resource": "staff", **body})


async def test_rows_that_were_changed_deleted_and_inserted_between_go_back_exactly(
    http: httpx2.AsyncClient, sql: Sql
) -> None:
    before = await snapshot(sql, "staff")
    told = await checkpoint(http, ids=[*range(1, 1501), "01501"])
    await sql.execute(
        "UPDATE staff SET salary = salary * 1.07, skills = '{}' WHERE id <= 1000; DELETE FROM staff WHERE id > 1490;"
        "INSERT INTO staff VALUES (1501, 'new', 'New', 1)"
    )

    sealed = await post(http, path_of(told["seal_url"]))
    report = await post(http, path_of(told["revert_url"]))

    assert (told["records_total"], told["records_absent"]) == (1501, 1)
    assert (sealed["records_total"], sealed["records_applied"], sealed["records_unchanged"]) == (1501, 1011, 490)
    assert (report["status"], report["records_restored"]) == ("reverted", 1011)
    assert await snapshot(sql, "staff") == before


async def test_the_rows_of_a_filter_go_back_and_those_that_moved_in_are_not_claimed(
    http: httpx2.AsyncClient, sql: Sql
) -> None:
    told = await checkpoint(http, filter={"team": "sales", "salary": {"lte": 100}})
    await sql.execute("UPDATE staff SET salary = 7 WHERE id <= 10; UPDATE staff SET team = 'sales' WHERE id = 11")

    sealed = await post(http, path_of(told["seal_url"]))
    await post(http, path_of(told["revert_url"]))

    assert (told["records_total"], sealed["records_applied"]) == (5, 5)
    assert any("could not be looked for" in reason for reason in sealed["reversible_reasons"])
    rows = await sql.fetch("SELECT id, salary::int, team FROM staff WHERE id <= 11 ORDER BY id")
    assert [row["salary"] for row in rows] == [7, 20, 7, 40, 7, 60, 7, 80, 7, 100, 110]
    assert rows[-1]["team"] == "sales"


async def test_a_filter_that_means_too_many_or_is_none_is_refused(http: httpx2.AsyncClient) -> None:
    too_many = await checkpoint(http, 413, filter={"team": "sales"}, records_max=700)
    unknown = await checkpoint(http, 422, filter={"colour": "red"})
    none = await checkpoint(http, 422, ids=["x"], resource="cows")

    assert "more than 700 records" in too_many["detail"]
    assert (unknown["code"], none["code"]) == ("unknown_field", "unknown_resource")


async def test_rows_with_a_key_of_several_columns_are_named_as_in_operations(
    http: httpx2.AsyncClient, sql: Sql
) -> None:
    before = await snapshot(sql, "grade")
    told = await checkpoint(http, resource="grade", ids=[["DE", 1], '["DE",1]', {"country": "DE", "level": 2}])
    await sql.execute("UPDATE grade SET pay = 0")

    report = await post(http, path_of(told["revert_url"]))

    assert (told["records_total"], report["records_restored"]) == (2, 2)
    await sql.execute("UPDATE grade SET pay = 300 WHERE level = 3")
    assert await snapshot(sql, "grade") == before


async def test_a_guarded_operation_between_checkpoint_and_seal_is_part_of_what_changed(
    http: httpx2.AsyncClient, sql: Sql
) -> None:
    before = await snapshot(sql, "staff")
    key = {"guard-run-key": "execution 1"}
    asked = {"target": "hr", "resource": "staff"}
    told = (await http.post("/v1/checkpoints", json={**asked, "ids": ["1", "2"]}, headers=key)).json()
    await sql.execute("UPDATE staff SET name = 'native' WHERE id = 1")
    records = [{"id": "1", "fields": {"name": "guarded"}}, {"id": "3", "fields": {"name": "guarded"}}]
    await http.post("/v1/operations", json={**asked, "action": "update", "records": records}, headers=key)
    await sql.execute("UPDATE staff SET name = 'native again' WHERE id = 1")

    report = await post(http, path_of(told["revert_url"]))

    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert await snapshot(sql, "staff") == before
