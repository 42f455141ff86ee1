"""A filter in place of ids."""

import asyncio
from typing import Any

import asyncpg
import pytest

from guard.core.errors import Refused, Unavailable
from guard.target.postgresql import PostgresTarget, filters
from tests.target.rows import Sql, fetched


async def chosen(target: PostgresTarget, where: dict[str, Any], fields: dict[str, Any] | None = None) -> list[str]:
    """Update the rows of `t` that the filter means; their ids as they were met."""
    await target.resource("t")
    met: list[str] = []
    async with target.work() as work:
        async for changes in work.select("t", "update", fields or {"v": "met"}, where):
            outcomes = await work.write(await work.before(changes))
            met += [str(outcome.id) for outcome in outcomes]
        await work.commit()
    return met


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"n": 2}, ["2"]),
        ({"n": "02"}, ["2"]),
        ({"n": {"gte": 2, "lt": 4}}, ["2", "3"]),
        ({"n": {"gt": 9}, "v": "a"}, ["10"]),
        ({"n": {"ne": 1, "lte": 3}}, ["2", "3"]),
        ({"n": {"in": [3, "1", 77]}}, ["1", "3"]),
        ({"at": {"lt": "2020-01-02T01:00:00+01:00"}}, ["1"]),
        ({"v": {"like": "x%"}}, ["4"]),
        ({"v": "x%'; --"}, ["4"]),
        ({"v": None}, ["5"]),
        ({"v": {"is_null": False}, "n": {"gte": 4, "lte": 6}}, ["4", "6"]),
        ({"twice": 4}, ["2"]),
        ({"n": 77}, []),
    ],
)
async def test_a_filter_means_the_rows_that_sql_would(
    target: PostgresTarget, sql: Sql, where: dict[str, Any], ids: list[str]
) -> None:
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY, n int, v text, at timestamptz,
          twice int GENERATED ALWAYS AS (n * 2) STORED);
        INSERT INTO t SELECT i, i, CASE i WHEN 4 THEN 'x%''; --' WHEN 5 THEN NULL ELSE 'a' END,
          timestamptz '2020-01-01 00:00Z' + (i - 1) * interval '1 day' FROM generate_series(1, 10) i"""
    )
    assert await chosen(target, where) == ids
    assert await sql.fetchval("SELECT count(*) FROM t WHERE v = 'met'") == len(ids)


async def test_rows_that_the_update_moves_into_or_out_of_the_filter_are_met_once(
    target: PostgresTarget, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "CHUNK_RECORDS", 3)
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY, n int, v text); INSERT INTO t SELECT i, i FROM generate_series(1, 10) i;
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN INSERT INTO t VALUES (NEW.id + 100, 1); RETURN NULL; END$$;
        CREATE TRIGGER f AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"""
    )
    assert await chosen(target, {"n": {"lt": 100}}, {"n": 50}) == [str(i) for i in range(1, 11)]
    assert await sql.fetchval("SELECT count(*) FROM t WHERE n = 50") == 10


async def test_a_row_that_another_takes_out_of_the_filter_meanwhile_is_left_alone(
    target: PostgresTarget, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "CHUNK_RECORDS", 1)
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')")
    await sql.execute("SET lock_timeout = '1s'")
    await target.resource("t")
    met: list[str | None] = []
    async with target.work() as work:
        async for changes in work.select("t", "update", {"v": "met"}, {"v": "a"}):
            met += [outcome.id for outcome in await work.write(await work.before(changes))]
            if met == ["1"]:
                await sql.execute("UPDATE t SET v = 'theirs' WHERE id = 2")
        await work.commit()
    assert met == ["1", "3"]
    assert await fetched(sql, "SELECT v FROM t ORDER BY id") == [("met",), ("theirs",), ("met",)]


async def test_the_filter_is_judged_by_the_row_that_is_locked(database_url: str, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    patient = PostgresTarget("hr", database_url, lock_timeout_s=20.0)
    observer = await asyncpg.connect(database_url)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("UPDATE t SET v = 'theirs' WHERE id = 2")
    waiting = asyncio.create_task(chosen(patient, {"v": "a"}))
    while not await observer.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await transaction.commit()
    assert await waiting == ["1"]
    await observer.close()
    await patient.close()
    assert await fetched(sql, "SELECT v FROM t ORDER BY id") == [("met",), ("theirs",)]


async def test_a_walk_that_is_given_up_leaves_nothing_open(
    target: PostgresTarget, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "CHUNK_RECORDS", 2)
    await sql.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1,9) i"
    )
    await target.resource("t")
    async with target.work() as work:
        walk = work.select("t", "delete", {}, {"v": "a"})
        await anext(walk)
    with pytest.raises(StopAsyncIteration):
        await anext(walk)
    async with target.work() as work:
        async for changes in work.select("t", "update", {"v": "b"}, {"v": "a"}):
            await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'guard'")
            with pytest.raises(Unavailable):
                await work.before(changes)
            break
    assert await sql.fetchval("SELECT count(*) FROM t WHERE v = 'a'") == 9


@pytest.mark.parametrize(
    ("action", "fields", "where", "code"),
    [
        ("update", {"v": "b"}, {}, "invalid_request"),
        ("update", {"v": "b"}, {"nope": 1}, "unknown_field"),
        ("update", {"v": "b"}, {"v": {"regex": "a"}}, "invalid_request"),
        ("update", {"v": "b"}, {"v": {}}, "invalid_request"),
        ("update", {"v": "b"}, {"v": {"in": []}}, "invalid_request"),
        ("update", {"v": "b"}, {"v": {"gt": None}}, "invalid_request"),
        ("update", {"v": "b"}, {"id": "abc"}, "invalid_record"),
        ("update", {"v": "b"}, {"doc": {"a": 1}}, "invalid_request"),
        ("update", {"id": 7}, {"v": "a"}, "invalid_record"),
        ("update", {}, {"v": "a"}, "invalid_request"),
        ("delete", {"v": "b"}, {"v": "a"}, "invalid_request"),
        ("upsert", {"v": "b"}, {"v": "a"}, "unknown_action"),
    ],
)
async def test_a_filter_that_says_nothing_usable_is_refused(
    target: PostgresTarget, sql: Sql, action: str, fields: dict[str, Any], where: dict[str, Any], code: str
) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text, doc json); INSERT INTO t VALUES (1, 'a')")
    await target.resource("t")
    async with target.work() as work:
        with pytest.raises(Refused) as caught:
            async for _ in work.select("t", action, fields, where):
                pass
    assert caught.value.code == code
