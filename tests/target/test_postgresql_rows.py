"""Writing rows and taking them back, on a real server."""

from typing import Any

import pytest

from guard.core.errors import Refused, Unavailable
from guard.core.model import Action, Change, Image, Key, Status, Verdict
from guard.target.postgresql import PostgresTarget
from tests.target.rows import Sql, fetched, snapshot, take_back, write


async def test_an_update_shows_each_row_before_and_after_and_is_taken_back(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE people (id int PRIMARY KEY, title text, note text)")
    await sql.execute("INSERT INTO people VALUES (1, 'Nurse', NULL), (2, '', 'x')")
    was = await snapshot(sql, "people")
    done = await write(
        target, "people", "update", {"id": 1, "fields": {"title": None}}, {"id": "2", "fields": {"note": ""}}
    )
    touched, outcomes = done
    assert [each.before for each in touched] == [
        {"id": "1", "title": "Nurse", "note": None},
        {"id": "2", "title": "", "note": "x"},
    ]
    assert [each.after for each in outcomes] == [
        {"id": "1", "title": None, "note": None},
        {"id": "2", "title": "", "note": ""},
    ]
    assert await snapshot(sql, "people") != was
    await take_back(target, done)
    assert await snapshot(sql, "people") == was


async def test_nothing_is_written_without_a_commit(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    await target.resource("t")
    async with target.work() as work:
        touched = await work.before([target.change("t", "update", {"id": 1, "fields": {"v": "b"}})])
        (outcome,) = await work.write(touched)
        receipt = work.receipt
    assert outcome.status is Status.APPLIED
    assert await sql.fetchval("SELECT v FROM t") == "a"
    assert receipt is not None
    assert await target.committed(receipt) is False


async def test_the_receipt_tells_that_the_transaction_came_through(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    await target.resource("t")
    async with target.work() as work:
        touched = await work.before([target.change("t", "update", {"id": 1, "fields": {"v": "b"}})])
        await work.write(touched)
        await work.commit()
    assert work.receipt is not None
    assert await target.committed(work.receipt) is True
    assert await target.committed("99999999999") is None


async def test_another_spelling_of_a_key_means_the_same_row_and_stands_once(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    touched, outcomes = await write(
        target, "t", "update", {"id": "01", "fields": {"v": "b"}}, {"id": "1", "fields": {"v": "c"}}
    )
    assert [each.change.id for each in touched] == ["1", "1"]
    assert touched[1].problem is not None
    assert touched[1].problem.code == "duplicate_record"
    assert [each.status for each in outcomes] == [Status.APPLIED, Status.FAILED]
    assert await sql.fetchval("SELECT v FROM t") == "b"


async def test_a_row_that_is_not_there_is_the_only_one_that_fails(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    records = [{"id": 7, "fields": {"v": "b"}}, {"id": 1, "fields": {"v": "b"}}]
    touched, outcomes = await write(target, "t", "update", *records)
    assert touched[0].problem is not None
    assert touched[0].problem.code == "not_found"
    assert [each.status for each in outcomes] == [Status.FAILED, Status.APPLIED]


@pytest.mark.parametrize("id_", [{"order_id": 7, "line": "b"}, [7, "b"], '[7, "b"]', '["7","b"]'])
async def test_a_key_of_several_columns_is_named_by_object_list_or_json(
    target: PostgresTarget, sql: Sql, id_: object
) -> None:
    await sql.execute("CREATE TABLE lines (order_id int, line text, n int, PRIMARY KEY (order_id, line))")
    await sql.execute("INSERT INTO lines VALUES (7, 'a', 1), (7, 'b', 2)")
    done = await write(target, "lines", "update", {"id": id_, "fields": {"n": 9}})
    assert [each.change.id for each in done[0]] == ['["7","b"]']
    assert await sql.fetchval("SELECT n FROM lines WHERE line = 'b'") == 9
    await take_back(target, done)
    assert await fetched(sql, "SELECT n FROM lines ORDER BY line") == [(1,), (2,)]


async def test_updates_of_different_columns_in_one_chunk_each_reach_their_row(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
    await sql.execute("INSERT INTO t SELECT i, 'a', 'b' FROM generate_series(1, 6) i")
    was = await snapshot(sql, "t")
    records = [{"id": i, "fields": {"a" if i % 2 else "b": f"new {i}"}} for i in range(1, 7)]
    done = await write(target, "t", "update", *records)
    assert [each.id for each in done[1]] == ["1", "2", "3", "4", "5", "6"]
    found = await fetched(sql, "SELECT a, b FROM t ORDER BY id")
    assert found == [
        ("a", "new 2") if i == 2 else (f"new {i}", "b") if i % 2 else ("a", f"new {i}") for i in range(1, 7)
    ]
    await take_back(target, done)
    assert await snapshot(sql, "t") == was


async def test_a_created_row_tells_its_id_and_goes_when_taken_back(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text DEFAULT 'd')")
    done = await write(target, "t", "create", {"fields": {"v": "a"}}, {"fields": {"v": "b"}}, {"fields": {}})
    assert [each.id for each in done[1]] == ["1", "2", "3"]
    assert done[1][2].after == {"id": "3", "v": "d"}
    await take_back(target, done)
    assert await sql.fetchval("SELECT count(*) FROM t") == 0


async def test_a_created_row_that_somebody_changed_since_is_left_alone(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id serial PRIMARY KEY, v text)")
    done = await write(target, "t", "create", {"fields": {"v": "a"}}, {"fields": {"v": "b"}})
    await sql.execute("UPDATE t SET v = 'mine' WHERE id = 1")
    judged = await take_back(target, done)
    assert [each.verdict for each in judged] == [Verdict.RESTORE, Verdict.CONFLICT]
    assert await fetched(sql, "SELECT v FROM t") == [("mine",)]


async def test_an_upsert_is_resolved_before_it_is_written(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t VALUES (1, 'a', 'kept')")
    was = await snapshot(sql, "t")
    records: list[dict[str, Any]] = [
        {"id": 1, "fields": {"v": "b"}},
        {"fields": {"id": 2, "v": "new"}},
        {"id": 1, "fields": {"v": "twice"}},
    ]
    done = await write(target, "t", "upsert", *records)
    assert [each.change.action for each in done[0]][:2] == [Action.UPDATE, Action.CREATE]
    assert [each.status for each in done[1]] == [Status.APPLIED, Status.APPLIED, Status.FAILED]
    assert await fetched(sql, "SELECT * FROM t ORDER BY id") == [
        (1, "b", "kept"),
        (2, "new", None),
    ]
    await take_back(target, done)
    assert await snapshot(sql, "t") == was


async def test_an_upsert_of_nothing_but_the_key_leaves_an_existing_row_as_it_is(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    _, outcomes = await write(target, "t", "upsert", {"id": 1, "fields": {}}, {"id": 2, "fields": {}})
    assert [each.after for each in outcomes] == [{"id": "1", "v": "a"}, {"id": "2", "v": None}]


async def test_an_upsert_that_loses_to_another_creator_writes_nothing_and_says_try_again(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    await target.resource("t")
    async with target.work() as work:
        touched = await work.before([target.change("t", "upsert", {"id": 1, "fields": {"v": "guard"}})])
        await sql.execute("INSERT INTO t VALUES (1, 'other')")
        with pytest.raises(Unavailable, match="try again"):
            await work.write(touched)
    assert await fetched(sql, "SELECT v FROM t") == [("other",)]


async def test_a_deleted_row_comes_back_with_its_id_identity_and_computed_columns(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, price numeric(10,2),"
        " gross numeric GENERATED ALWAYS AS (price * 1.2) STORED, tags text[], extra jsonb)"
    )
    await sql.execute(
        "INSERT INTO t (price, tags, extra) VALUES (1.50, '{a,\"b c\"}', '{\"k\": null}'), (2, NULL, '[]')"
    )
    was = await snapshot(sql, "t")
    done = await write(target, "t", "delete", {"id": 2}, {"id": 1})
    assert await sql.fetchval("SELECT count(*) FROM t") == 0
    await take_back(target, done)
    assert await snapshot(sql, "t") == was
    _, (created,) = await write(target, "t", "create", {"fields": {"price": 3}})
    assert created.id == "3"


async def test_a_computed_column_that_moves_with_the_others_does_not_hinder_the_undo(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED)")
    await sql.execute("INSERT INTO t VALUES (1, 1)")
    done = await write(target, "t", "update", {"id": 1, "fields": {"a": 5}})
    assert done[1][0].after == {"id": "1", "a": "5", "b": "10"}
    assert [each.verdict for each in await take_back(target, done)] == [Verdict.RESTORE]
    assert tuple(await sql.fetchrow("SELECT a, b FROM t") or ()) == (1, 2)


async def test_unique_values_that_move_from_row_to_row_go_back(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE)")
    await sql.execute("INSERT INTO t SELECT i, 'mail ' || i FROM generate_series(1, 5) i")
    was = await snapshot(sql, "t")
    # Each row takes its neighbour's: only one order of writing works, and the undo needs the other one.
    records = [{"id": i, "fields": {"email": f"mail {i + 1}"}} for i in (1, 3, 2, 5, 4)]
    done = await write(target, "t", "update", *records)
    assert await sql.fetchval("SELECT email FROM t WHERE id = 1") == "mail 2"
    await take_back(target, done)
    assert await snapshot(sql, "t") == was


async def test_unique_values_that_change_places_are_refused_and_nothing_is_written(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE); INSERT INTO t VALUES (1,'a'), (2,'b')")
    with pytest.raises(Refused, match="t_email_key") as caught:
        await write(target, "t", "update", *({"id": i, "fields": {"email": e}} for i, e in ((1, "b"), (2, "a"))))
    assert caught.value.code == "invalid_record"
    assert await fetched(sql, "SELECT email FROM t ORDER BY id") == [("a",), ("b",)]


async def test_columns_that_a_trigger_changes_are_the_runs_and_go_back(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY, first text, shown text, hits int DEFAULT 0);
        INSERT INTO t VALUES (1, 'ann', 'Ann (nickname)', 3);
        CREATE FUNCTION before_write() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN IF NEW.first <> OLD.first THEN NEW.shown := upper(NEW.first); END IF; RETURN NEW; END$$;
        CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION before_write();
        CREATE FUNCTION after_write() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN UPDATE t SET hits = hits + 1 WHERE id = NEW.id; RETURN NULL; END$$;
        CREATE TRIGGER a AFTER UPDATE OF first ON t FOR EACH ROW EXECUTE FUNCTION after_write();"""
    )
    done = await write(target, "t", "update", {"id": 1, "fields": {"first": "eve"}})
    assert done[1][0].after == {"id": "1", "first": "eve", "shown": "EVE", "hits": "4"}
    assert [each.verdict for each in await take_back(target, done)] == [Verdict.RESTORE]
    assert await sql.fetchval("SELECT first FROM t") == "ann"


async def test_a_trigger_that_keeps_a_row_makes_that_row_fail_alone(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN IF OLD.id = 1 THEN RETURN NULL; END IF; IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
            RETURN NEW; END$$;
        CREATE TRIGGER k BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep();"""
    )
    _, updated = await write(target, "t", "update", *({"id": i, "fields": {"v": "b"}} for i in (1, 2)))
    _, deleted = await write(target, "t", "delete", {"id": 1}, {"id": 2})
    for outcomes in (updated, deleted):
        assert [each.status for each in outcomes] == [Status.FAILED, Status.APPLIED]
        assert outcomes[0].failure is not None
        assert outcomes[0].failure.code == "not_applied"


async def test_a_trigger_that_keeps_a_row_from_being_created_refuses_the_operation(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY);
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END$$;
        CREATE TRIGGER k BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION keep();"""
    )
    with pytest.raises(Refused, match="Nothing was written"):
        await write(target, "t", "create", *({"fields": {"id": i}} for i in (1, 2, 3)))
    assert await sql.fetchval("SELECT count(*) FROM t") == 0


async def test_images_of_a_look_are_not_mistaken_for_rows_of_another_table(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'in a')")
    await sql.execute("CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'in b')")
    changes = [
        Change(resource=f"public.{name}", action=Action.UPDATE, id="1", fields={"v": "new"}) for name in ("a", "b")
    ]
    async with target.work() as work:
        known: dict[Key, Image] = {}
        for change in changes:
            known |= {(change.resource, id_): row for id_, row in (await work.look(change.resource, ["1"])).items()}
        touched = await work.before(changes, known)
    assert [(each.before or {})["v"] for each in touched] == ["in a", "in b"]


async def test_hostile_and_foreign_names_are_only_names(target: PostgresTarget, sql: Sql) -> None:
    table, column = 'we"ird; drop table t; --.%(x)s', 'co"l:a $1 %s ünï'
    quoted, inside = table.replace('"', '""'), column.replace('"', '""')
    await sql.execute(f'CREATE TABLE "{quoted}" ("{inside}" text PRIMARY KEY, "c0" text, n int, given int)')
    await sql.execute(f"INSERT INTO \"{quoted}\" VALUES ('ключ''\"', 'a', 1, 2)")  # noqa: S608
    was = await snapshot(sql, f'"{quoted}"')
    done = await write(target, table, "update", {"id": "ключ'\"", "fields": {"c0": "☃", "n": 5, "given": 6}})
    assert done[1][0].after == {column: "ключ'\"", "c0": "☃", "n": "5", "given": "6"}
    await take_back(target, done)
    done = await write(target, f"public.{table}", "delete", {"id": "ключ'\""})
    await take_back(target, done)
    assert await snapshot(sql, f'"{quoted}"') == was


async def test_wide_rows_and_long_texts_go_through(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(f'c{i} text' for i in range(300))})")
    await sql.execute("INSERT INTO t (id) VALUES (1)")
    was = await snapshot(sql, "t")
    fields = {f"c{i}": f"value {i}" for i in range(300)} | {"c7": "ä" * 1_000_000}
    done = await write(target, "t", "update", {"id": 1, "fields": fields})
    assert done[1][0].after == {"id": "1", **fields}
    await take_back(target, done)
    assert await snapshot(sql, "t") == was


async def test_a_partition_is_written_through_its_parent(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE t (id int, y int, v text, PRIMARY KEY (id, y)) PARTITION BY LIST (y);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);
        INSERT INTO t VALUES (1, 1, 'a'), (1, 2, 'b')"""
    )
    was = await snapshot(sql, "t")
    done = await write(target, "t", "delete", {"id": [1, 1]}, {"id": [1, 2]})
    assert await sql.fetchval("SELECT count(*) FROM t") == 0
    await take_back(target, done)
    assert await snapshot(sql, "t") == was


async def test_a_column_added_meanwhile_is_known_to_the_next_operation(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    await write(target, "t", "update", {"id": 1, "fields": {"v": "b"}})
    await sql.execute("ALTER TABLE t ADD COLUMN w text")
    _, (outcome,) = await write(target, "t", "update", {"id": 1, "fields": {"w": "c"}})
    assert outcome.after == {"id": "1", "v": "b", "w": "c"}
