"""Locks, broken connections, missing rights: each says what it is, and whether anything was written."""

import asyncio

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from guard.core.errors import GuardError, InDoubt, Refused, Unavailable
from guard.core.model import Change, Touched
from guard.target.postgresql import PostgresTarget
from guard.target.postgresql.database import Database
from tests.postgres_server import PostgresServer
from tests.target.rows import Sql, fetched, write

_TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'a')"
_KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'guard'"


async def changes(target: PostgresTarget) -> list[Change]:
    await target.resource("t")
    return [target.change("t", "update", {"id": i, "fields": {"v": "b"}}) for i in (1, 2)]


async def until(sql: Sql, condition: str) -> None:
    """The server has no event to wait for: it is asked until it says so."""
    while not await sql.fetchval(condition):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def kill(sql: Sql) -> None:
    """End Guard's backends, and wait until they are gone."""
    await sql.execute(_KILL)
    await until(sql, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'guard'")


async def write_killed(target: PostgresTarget, sql: Sql, asked: list[Change], killed_before: str) -> None:
    """All the steps of a write; before one of them the server ends the connection."""
    touched: list[Touched] = []
    async with target.work() as work:
        for step in ("before", "write", "commit"):
            if step == killed_before:
                await kill(sql)
            if step == "before":
                touched = await work.before(asked)
            elif step == "write":
                await work.write(touched)
            else:
                await work.commit()


async def values(sql: Sql) -> list[str]:
    return [row["v"] for row in await sql.fetch("SELECT v FROM t ORDER BY id")]


async def test_a_row_that_another_holds_is_waited_for_and_then_unavailable(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(_TABLE)
    asked = await changes(target)
    async with sql.transaction():
        await sql.execute("UPDATE t SET v = 'other' WHERE id = 2")
        async with target.work() as work:
            with pytest.raises(Unavailable, match=r"locked .* Nothing was written; try again"):
                await work.before(asked)
    assert await values(sql) == ["a", "other"]
    await write(target, "t", "update", {"id": 2, "fields": {"v": "b"}})


async def test_rows_are_held_from_the_reading_to_the_end_of_the_work(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(_TABLE)
    asked = await changes(target)
    await sql.execute("SET lock_timeout = '50ms'")
    async with target.work() as work:
        await work.before(asked)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await sql.execute("UPDATE t SET v = 'other'")
    await sql.execute("UPDATE t SET v = 'other'")


async def test_nobody_attaches_children_between_the_reading_and_the_deletion(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(f"{_TABLE}; CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE)")
    await target.resource("t")
    await sql.execute("SET lock_timeout = '50ms'")
    async with target.work() as work:
        await work.before([target.change("t", "delete", {"id": 1})])
        with pytest.raises(asyncpg.LockNotAvailableError):
            await sql.execute("INSERT INTO c VALUES (1, 1)")


async def test_a_row_is_read_as_the_one_who_held_it_has_left_it(
    target: PostgresTarget, database_url: str, sql: Sql
) -> None:
    await sql.execute(_TABLE)
    patient = PostgresTarget("hr", database_url, lock_timeout_s=20.0)
    asked = await changes(patient)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("UPDATE t SET v = 'theirs' WHERE id = 2")
    async with patient.work() as work:
        waiting = asyncio.create_task(work.before(asked))
        observer = await asyncpg.connect(database_url)
        await until(observer, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        await observer.close()
        await transaction.commit()
        touched = await waiting
    await patient.close()
    assert [(each.before or {})["v"] for each in touched] == ["a", "theirs"]


async def test_rows_are_locked_in_the_keys_order_so_that_two_works_do_not_deadlock(database_url: str, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT generate_series(1, 3)")
    patient = PostgresTarget("hr", database_url, lock_timeout_s=20.0)
    observer = await asyncpg.connect(database_url)
    await patient.resource("t")
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("SELECT FROM t WHERE id = 1 FOR UPDATE")
    async with patient.work() as work:
        waiting = asyncio.create_task(work.look("t", ["3", "2", "1"]))
        await until(observer, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        # Whoever waits for the lowest holds none of the higher ones.
        assert await fetched(observer, "SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED") == [(2,), (3,)]
        await transaction.rollback()
        await waiting
    await observer.close()
    await patient.close()


async def test_a_backend_that_dies_before_the_commit_has_written_nothing(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(_TABLE)
    asked = await changes(target)
    for killed_before in ("before", "write", "commit"):
        with pytest.raises(Unavailable, match="Nothing was written"):
            await write_killed(target, sql, asked, killed_before)
        assert await values(sql) == ["a", "a"]
    await write(target, "t", "update", {"id": 1, "fields": {"v": "b"}})


async def test_a_connection_lost_at_commit_is_settled_by_the_receipt(
    target: PostgresTarget, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sql.execute(_TABLE)
    asked = await changes(target)
    commit = AsyncConnection.commit

    async def commit_and_lose_the_answer(connection: AsyncConnection) -> None:
        await commit(connection)
        raise ConnectionResetError

    monkeypatch.setattr(AsyncConnection, "commit", commit_and_lose_the_answer)
    async with target.work() as work:
        await work.write(await work.before(asked))
        await work.commit()
    assert await values(sql) == ["b", "b"]


async def test_a_commit_that_nobody_can_tell_about_is_in_doubt(
    target: PostgresTarget, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sql.execute(_TABLE)
    asked = await changes(target)

    async def lost(_: object) -> None:
        raise ConnectionResetError

    async def silent(_: object, receipt: str) -> None:
        assert receipt

    monkeypatch.setattr(AsyncConnection, "commit", lost)
    monkeypatch.setattr(Database, "committed", silent)
    async with target.work() as work:
        await work.write(await work.before(asked))
        with pytest.raises(InDoubt):
            await work.commit()


async def test_an_idle_connection_that_was_cut_is_replaced_unnoticed(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(_TABLE)
    await target.check()
    await kill(sql)
    await write(target, "t", "update", {"id": 1, "fields": {"v": "b"}})
    assert await values(sql) == ["b", "a"]


async def test_what_a_transaction_was_refused_it_does_not_write_later(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(_TABLE)
    await target.resource("t")
    good, bad = (target.change("t", "update", {"id": i, "fields": f}) for i, f in ((1, {"v": "b"}), (2, {"v": "c"})))
    await sql.execute("ALTER TABLE t ADD CHECK (v <> 'c')")
    async with target.work() as work:
        await work.write(await work.before([good]))
        with pytest.raises(Refused):
            await work.write(await work.before([bad]))
        with pytest.raises(GuardError):
            await work.commit()
    assert await values(sql) == ["a", "a"]


@pytest.mark.parametrize("action", ["update", "create", "delete"])
async def test_a_role_that_may_only_read_is_told_so(
    postgres: PostgresServer, database_url: str, sql: Sql, action: str
) -> None:
    await sql.execute(f"{_TABLE}; DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader")
    database = str(await sql.fetchval("SELECT current_database()"))
    target = PostgresTarget("hr", postgres.database_url(database, "reader"))
    records: dict[str, dict[str, object]] = {
        "update": {"id": 1, "fields": {"v": "b"}},
        "create": {"fields": {"id": 3}},
        "delete": {"id": 1},
    }
    with pytest.raises(Unavailable, match="does not let Guard's role do this") as caught:
        await write(target, "t", action, records[action])
    assert caught.value.code == "target_refused"
    assert await target.read("t", ["1"]) == {"1": {"id": "1", "v": "a"}}
    await target.close()
    assert await values(sql) == ["a", "a"]
    await sql.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://postgres:s3cret@127.0.0.1:1/nowhere", "target_unavailable"),
        ("postgresql://postgres:s3cret@:notaport/x", "target_refused"),
        ("mysql://root:s3cret@127.0.0.1/x", "target_refused"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_unavailable_and_its_url_is_told_to_nobody(
    url: str, code: str
) -> None:
    target = PostgresTarget("hr", url, timeout_s=2.0)
    with pytest.raises(Unavailable) as caught:
        await target.check()
    await target.close()
    assert caught.value.code == code
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__


async def test_a_role_or_database_that_does_not_exist_is_the_credentials_fault(postgres: PostgresServer) -> None:
    for url in (postgres.database_url("nowhere"), postgres.database_url("postgres", "nobody")):
        target = PostgresTarget("hr", url)
        with pytest.raises(Unavailable) as caught:
            await target.check()
        await target.close()
        assert caught.value.code == "target_refused"


async def test_a_trigger_that_raises_refuses_the_operation_in_our_words(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        f"""{_TABLE}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN RAISE EXCEPTION 'no: %', NEW.v; END$$;
        CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"""
    )
    with pytest.raises(Refused, match="A trigger or a rule of hr refused a record") as caught:
        await write(target, "t", "update", {"id": 1, "fields": {"v": "secret"}})
    assert "secret" not in caught.value.detail
