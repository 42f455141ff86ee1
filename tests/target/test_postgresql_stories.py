"""The main job on a real PostgreSQL: a bulk operation through Guard's door, and its revert URL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from guard.assembly import assemble
from guard.flows.guard import Guard
from guard.flows.recover import Recovery
from guard.flows.verify import verify_all
from guard.settings import parse
from guard.web.app import create_app
from tests.target.rows import Sql, snapshot
from tests.world import KEY, PUBLIC_URL, path_of

STAFF = """
CREATE TABLE team (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE staff (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team int REFERENCES team ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> 'forbidden'),
    salary numeric(12, 2),
    yearly numeric GENERATED ALWAYS AS (salary * 12) STORED,
    skills text[], extra jsonb, hired timestamptz, changes int NOT NULL DEFAULT 0
);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END $$;
INSERT INTO team (name) SELECT 'team ' || n FROM generate_series(1, 5) n;
INSERT INTO staff (team, name, salary, skills, extra, hired)
    SELECT n % 5 + 1, 'person ' || n, n * 10.10, ARRAY['a', NULL, 'c"' || n], jsonb_build_object('n', n),
           timestamptz '2026-01-01 00:00:00.123456+00' + n * interval '1 hour'
    FROM generate_series(1, 3000) n;
UPDATE staff SET skills = NULL, extra = '{}', salary = NULL WHERE id % 7 = 0;
"""


class Hr:
    """A Guard in front of a database."""

    def __init__(self, guard: Guard, http: httpx2.AsyncClient) -> None:
        self.guard = guard
        self.http = http

    async def operate(self, action: str, *, status: int = 200, resource: str = "staff", **members: Any) -> Any:
        body = {"target": "hr", "resource": resource, "action": action, **members}
        reply = await self.http.post("/v1/operations", json=body)
        assert reply.status_code == status, reply.text
        return reply.json()

    async def revert(self, answer: Any, *, status: int = 200, **body: Any) -> Any:
        reply = await self.http.post(path_of(answer["revert_url"]), json=body, headers={"prefer": "wait=300"})
        assert reply.status_code == status, reply.text
        return reply.json()


@pytest.fixture
async def hr(database_url: str, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hr]:
    await sql.execute(STAFF)
    monkeypatch.setenv("GUARD_TEST_DATABASE", database_url)
    settings = parse(
        {
            "server": {"public_url": PUBLIC_URL, "secret_keys": [{"env": "GUARD_TEST_SECRET"}]},
            "store": {"url": f"file:{tmp_path}/store"},
            "clients": [{"name": "tests", "key": {"env": "GUARD_TEST_KEY"}, "targets": ["hr"]}],
            "targets": {"hr": {"handler": "postgresql", "credential": {"env": "GUARD_TEST_DATABASE"}}},
        },
        "test settings",
    )
    guard = assemble(settings)
    transport = httpx2.ASGITransport(create_app(guard), raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url=PUBLIC_URL, headers={"guard-key": KEY}, timeout=300
    ) as http:
        yield Hr(guard, http)
    assert [finding for finding in [f async for f in verify_all(guard.journals)] if finding.damage] == []
    await guard.close()


async def both(sql: Sql) -> list[list[str]]:
    return await snapshot(sql, "team", "staff")


async def test_three_thousand_salaries_go_back_exactly(hr: Hr, sql: Sql) -> None:
    before = await both(sql)
    records = [
        {"id": n, "fields": {"salary": "0.1", "skills": ["x"], "extra": None, "hired": None}} for n in range(1, 3001)
    ]

    answer = await hr.operate("update", records=records)
    report = await hr.revert(answer)

    assert (answer["status"], answer["records_applied"]) == ("applied", 3000)
    assert (report["status"], report["records_restored"]) == ("reverted", 3000)
    assert await both(sql) == before


async def test_people_who_edited_meanwhile_keep_their_edits(hr: Hr, sql: Sql) -> None:
    answer = await hr.operate("update", records=[{"id": n, "fields": {"salary": 1}} for n in range(1, 11)])
    await sql.execute("UPDATE staff SET salary = 77 WHERE id = 1; UPDATE staff SET name = 'Ann' WHERE id = 2")

    report = await hr.revert(answer)

    assert (report["records_restored"], report["records_conflicted"]) == (9, 1)
    assert [(c["id"], c["field"], c["now"]) for c in report["conflicts"]] == [("1", "salary", "77.00")]
    rows = await sql.fetch("SELECT salary::text, name FROM staff WHERE id < 3 ORDER BY id")
    assert [tuple(row) for row in rows] == [("77.00", "person 1"), ("20.20", "Ann")]


@pytest.mark.parametrize(
    ("since", "why"),
    [
        ("INSERT INTO team (name) VALUES ('team 3')", "unique"),
        ("ALTER TABLE team ADD CONSTRAINT no_3 CHECK (name <> 'team 3') NOT VALID", "check constraint"),
        (
            """CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.name = 'team 3' THEN RAISE 'no'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER no BEFORE UPDATE ON team FOR EACH ROW EXECUTE FUNCTION no()""",
            "trigger",
        ),
    ],
    ids=["unique", "check", "trigger"],
)
async def test_a_row_that_the_database_refuses_by_now_keeps_no_other_from_going_back(
    hr: Hr, sql: Sql, since: str, why: str
) -> None:
    answer = await hr.operate(
        "update", resource="team", records=[{"id": n, "fields": {"name": f"x{n}"}} for n in range(1, 6)]
    )
    await sql.execute(since)

    report = await hr.revert(answer)

    assert (report["status"], report["records_restored"], report["records_failed"]) == ("partly_reverted", 4, 1)
    assert [(each["id"], each["code"]) for each in report["failures"]] == [("3", "rejected")]
    assert why in report["failures"][0]["message"]
    names = await sql.fetch("SELECT name FROM team WHERE id < 6 ORDER BY id")
    assert [row[0] for row in names] == ["team 1", "team 2", "x3", "team 4", "team 5"]


async def test_a_row_whose_parent_is_gone_keeps_no_other_from_going_back(hr: Hr, sql: Sql) -> None:
    answer = await hr.operate("update", records=[{"id": n, "fields": {"team": 5}} for n in range(1, 11)])
    await sql.execute("DELETE FROM team WHERE id = 2")

    report = await hr.revert(answer)

    assert (report["records_restored"], report["records_failed"]) == (6, 2)
    teams = await sql.fetch("SELECT team FROM staff WHERE id < 11 ORDER BY id")
    assert [row[0] for row in teams] == [5, 3, 4, 5, 1, 5, 3, 4, 5, 1]


async def test_a_deleted_row_whose_name_is_taken_by_now_keeps_no_other_from_coming_back(hr: Hr, sql: Sql) -> None:
    answer = await hr.operate("delete", resource="team", records=[{"id": 1}, {"id": 2}])
    await sql.execute("INSERT INTO team (name) VALUES ('team 1')")

    report = await hr.revert(answer)

    assert (report["records_restored"], report["records_failed"]) == (601, 601)
    assert {each["id"] for each in report["failures"] if each["resource"] == "public.team"} == {"1"}
    assert await sql.fetchval("SELECT count(*) FROM staff WHERE team = 2") == 600


async def test_a_created_row_that_others_must_keep_stays_alone(hr: Hr, sql: Sql) -> None:
    await sql.execute("CREATE TABLE badge (id int PRIMARY KEY, team int REFERENCES team)")
    answer = await hr.operate("create", resource="team", records=[{"fields": {"name": f"new {n}"}} for n in range(3)])
    await sql.execute("INSERT INTO badge SELECT 1, max(id) FROM team")

    report = await hr.revert(answer)

    assert (report["records_restored"], report["records_failed"]) == (2, 1)
    assert [row[0] for row in await sql.fetch("SELECT name FROM team WHERE name LIKE 'new%'")] == ["new 2"]


async def test_what_a_trigger_changed_with_the_row_goes_back_with_it(hr: Hr, sql: Sql) -> None:
    await sql.execute("CREATE TRIGGER c BEFORE UPDATE OF name ON staff FOR EACH ROW EXECUTE FUNCTION counted()")
    before = await both(sql)

    answer = await hr.operate("update", records=[{"id": 5, "fields": {"salary": 5}}])
    await hr.revert(answer)

    assert await both(sql) == before


async def test_a_value_that_the_database_makes_another_one_is_told_by_name(hr: Hr, sql: Sql) -> None:
    answer = await hr.operate("update", records=[{"id": n, "fields": {"salary": 5}} for n in (1, 2)])
    await sql.execute(
        """CREATE FUNCTION least_wage() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN IF NEW.id = 2 THEN NEW.salary := 7; END IF; RETURN NEW; END $$;
        CREATE TRIGGER w BEFORE UPDATE ON staff FOR EACH ROW EXECUTE FUNCTION least_wage()"""
    )

    report = await hr.revert(answer)

    assert (report["status"], report["records_restored"], report["records_failed"]) == ("partly_reverted", 1, 1)
    told = [(each["id"], each["code"], each["message"]) for each in report["failures"]]
    assert told == [("2", "not_restored", "The target did not take back salary.")]


async def test_a_filter_in_place_of_ids(hr: Hr, sql: Sql) -> None:
    before = await both(sql)

    answer = await hr.operate("update", filter={"team": 2, "salary": {"gt": 100}}, fields={"salary": 0})
    changed = await sql.fetchval("SELECT count(*) FROM staff WHERE salary = 0")
    report = await hr.revert(answer)

    assert answer["records_applied"] == changed > 400
    assert report["records_restored"] == changed
    assert await both(sql) == before


async def test_a_dry_run_of_a_filter_counts_its_rows_and_changes_none(hr: Hr, sql: Sql) -> None:
    before, meant = await both(sql), {"team": 2, "salary": {"gt": 100}}

    told = await hr.operate("update", filter=meant, fields={"salary": 0}, dry_run=True)
    refused = await hr.operate("update", filter={"nope": 1}, fields={"salary": 0}, dry_run=True, status=422)

    assert told["records_total"] == await sql.fetchval("SELECT count(*) FROM staff WHERE team = 2 AND salary > 100")
    assert (told["status"], told["reversible_update"], told["vendor_calls"]) == ("dry_run", "full", None)
    assert refused["code"] == "unknown_field"
    assert await both(sql) == before


async def test_a_dry_run_of_named_rows_begins_no_transaction(hr: Hr, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(hr.guard.target("hr"), "work", begun)
    told = await hr.operate("update", records=[{"id": 1, "fields": {"salary": 0}}], dry_run=True)
    assert (told["status"], told["records_total"], told["reversible"]) == ("dry_run", 1, "full")


async def test_a_filter_that_means_more_than_the_policy_allows_writes_nothing(hr: Hr, sql: Sql) -> None:
    before = await both(sql)
    policy = hr.guard.settings.targets["hr"].policy.model_copy(update={"records_max": 2400})
    targets = {"hr": hr.guard.settings.targets["hr"].model_copy(update={"policy": policy})}
    hr.guard.settings = hr.guard.settings.model_copy(update={"targets": targets})

    told = await hr.operate("update", filter={"salary": {"gt": 0}}, fields={"salary": 0}, status=413)

    assert (told["code"], told["written"]) == ("too_large", "nothing")
    assert await both(sql) == before
    answer = await hr.operate("update", filter={"salary": {"gt": 10000}}, fields={"salary": 0})
    assert answer["status"] == "applied"


async def test_deleted_parents_come_back_with_their_children_and_ids(hr: Hr, sql: Sql) -> None:
    before = await both(sql)

    answer = await hr.operate("delete", resource="team", records=[{"id": 1}, {"id": 3}])
    assert await sql.fetchval("SELECT count(*) FROM staff") == 1800
    report = await hr.revert(answer)

    assert (answer["records_applied"], answer["records_implied"]) == (2, 1200)
    assert (report["status"], report["recreated"]) == ("reverted", [])
    assert await both(sql) == before


async def test_a_row_with_a_key_of_several_columns_may_be_narrowed_to_in_the_query(hr: Hr, sql: Sql) -> None:
    await sql.execute("CREATE TABLE shift (day text, n int, who text, PRIMARY KEY (day, n))")
    await sql.execute("INSERT INTO shift SELECT 'mo, ' || n, n, 'Ann' FROM generate_series(1, 3) n")
    records = [{"id": [f"mo, {n}", n], "fields": {"who": "Bob"}} for n in (1, 2, 3)]
    answer = await hr.operate("update", resource="shift", records=records)

    ids = {"ids": ['["mo, 1","1"]', '["mo, 3","3"]']}
    reply = await hr.http.post(path_of(answer["revert_url"]), params=ids)

    assert reply.json().get("records_restored") == 2, reply.text
    assert [row[0] for row in await sql.fetch("SELECT who FROM shift ORDER BY n")] == ["Ann", "Bob", "Ann"]


@pytest.mark.parametrize(("called", "restored"), [("team", 1), ("public.team", 1), ("public.staff", 600)])
async def test_a_table_may_be_narrowed_to_by_the_name_it_was_called_by(
    hr: Hr, sql: Sql, called: str, restored: int
) -> None:
    answer = await hr.operate("delete", resource="team", records=[{"id": 1}])
    if called == "public.staff":
        await sql.execute("INSERT INTO team OVERRIDING SYSTEM VALUE VALUES (1, 'theirs')")

    report = await hr.revert(answer, resources=[called])

    assert report["records_restored"] == restored
    assert (await hr.http.get(path_of(answer["run_url"]))).json()["status"] == "partly_reverted"


async def test_created_rows_are_deleted_and_a_redo_brings_them_back(hr: Hr, sql: Sql) -> None:
    before = await both(sql)
    answer = await hr.operate("create", records=[{"fields": {"name": f"new {n}", "team": 1}} for n in range(20)])
    created = await both(sql)

    report = await hr.revert(answer)
    assert await both(sql) == before
    await hr.revert(report)

    assert await both(sql) == created


async def test_a_created_parent_that_others_use_by_now_is_left_alone(hr: Hr, sql: Sql) -> None:
    answer = await hr.operate("create", resource="team", records=[{"fields": {"name": "new team"}}])
    await sql.execute("INSERT INTO staff (team, name) SELECT max(id), 'theirs' FROM team")

    report = await hr.revert(answer)

    assert (report["status"], report["records_conflicted"]) == ("partly_reverted", 1)
    assert await sql.fetchval("SELECT count(*) FROM staff WHERE name = 'theirs'") == 1


async def test_parents_and_children_that_one_run_created_go_together(hr: Hr, sql: Sql) -> None:
    before = await both(sql)
    key = {"guard-run-key": "import"}
    for resource, fields in (("team", {"name": "t"}), ("staff", {"name": "s", "team": 6})):
        body = {"target": "hr", "resource": resource, "action": "create", "records": [{"fields": fields}]}
        reply = await hr.http.post("/v1/operations", json=body, headers=key)
        assert reply.status_code == 200, reply.text

    report = await hr.revert(reply.json())

    assert (report["status"], report["records_restored"]) == ("reverted", 2)
    assert await both(sql) == before


async def test_an_upsert_updates_and_creates_and_both_go_back(hr: Hr, sql: Sql) -> None:
    before = await both(sql)

    answer = await hr.operate("upsert", resource="team", records=[{"id": 2, "fields": {"name": "renamed"}}])
    await hr.revert(answer)

    assert await both(sql) == before


async def test_one_value_that_does_not_fit_refuses_the_whole_operation(hr: Hr, sql: Sql) -> None:
    before = await both(sql)
    records = [{"id": n, "fields": {"name": "forbidden" if n == 2500 else "x"}} for n in range(1, 3001)]

    problem = await hr.operate("update", records=records, status=422)

    assert (problem["code"], problem["written"]) == ("invalid_record", "nothing")
    assert await both(sql) == before


async def test_ids_that_do_not_exist_are_named_and_the_others_written(hr: Hr, sql: Sql) -> None:
    answer = await hr.operate("update", records=[{"id": n, "fields": {"salary": 1}} for n in (1, 999_999)])

    assert (answer["status"], answer["records_applied"]) == ("partial", 1)
    assert [(each["id"], each["code"]) for each in answer["failures"]] == [("999999", "not_found")]


async def test_a_guard_that_died_after_the_commit_knows_by_the_receipt(
    hr: Hr, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await both(sql)

    async def died(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as dying:
        dying.setattr("guard.flows.passage.Passage.conclude", _commit_and_die)
        dying.setattr("guard.flows.operation.Drive._end", died)
        await hr.http.post(
            "/v1/operations",
            json={
                "target": "hr",
                "resource": "staff",
                "action": "update",
                "records": [{"id": 9, "fields": {"salary": 1}}],
            },
        )
    (told,) = [each async for each in Recovery(hr.guard).sweep(at_once=True)]
    state = await hr.guard.journals.state(told.run)
    assert state.operations["op_1"].count("applied") == 1

    report = await hr.revert({"revert_url": hr.guard.revert_url(state)})

    assert report["records_restored"] == 1
    assert await both(sql) == before


async def _commit_and_die(passage: Any) -> None:
    await passage._work.commit()
    raise OSError
