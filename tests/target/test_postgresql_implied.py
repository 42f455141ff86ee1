"""Rows that foreign keys delete or change along with a write belong to the snapshot and come back."""

import pytest

from guard.core.errors import Refused
from guard.core.model import Action, Status
from guard.target.postgresql import PostgresTarget, implied
from tests.target.rows import Sql, fetched, snapshot, take_back, write


async def test_cascaded_children_come_back_with_their_ids_parents_first(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE orders (id int PRIMARY KEY, who text);
        CREATE TABLE lines (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          order_id int NOT NULL REFERENCES orders ON DELETE CASCADE);
        CREATE TABLE notes (line_id int REFERENCES lines ON DELETE CASCADE, n int, PRIMARY KEY (line_id, n));
        INSERT INTO orders VALUES (1, 'a'), (2, 'b'); INSERT INTO lines (order_id) VALUES (1), (1), (2);
        INSERT INTO notes VALUES (1, 1), (2, 1), (2, 2), (3, 1)"""
    )
    was = await snapshot(sql, "orders", "lines", "notes")
    done = await write(target, "orders", "delete", {"id": 1})
    touched, outcomes = done
    places = {(each.change.resource, each.change.id): i for i, each in enumerate(touched)}
    for each in touched:
        if each.implied_by:
            assert places[each.change.resource, each.change.id] < places[each.implied_by]
    assert [each.change.resource.removeprefix("public.") for each in touched] == ["notes"] * 3 + ["lines"] * 2 + [
        "orders"
    ]
    assert {each.implied_by for each in touched if "lines" in each.change.resource} == {("public.orders", "1")}
    assert all(each.status is Status.APPLIED and each.sealed and each.after is None for each in outcomes)
    assert await sql.fetchval("SELECT count(*) FROM notes") == 1
    await take_back(target, done)
    assert await snapshot(sql, "orders", "lines", "notes") == was


async def test_children_that_only_lose_the_reference_get_it_back(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE teams (id bigint PRIMARY KEY, code text UNIQUE);
        CREATE TABLE people (id int PRIMARY KEY, team int REFERENCES teams ON DELETE SET NULL, name text,
          backup int DEFAULT 9 REFERENCES teams ON DELETE SET DEFAULT);
        INSERT INTO teams VALUES (1, 'a'), (2, 'b'), (9, 'default'), (5000000000, 'beyond an integer');
        INSERT INTO people VALUES (1, 1, 'x', 1), (2, 2, 'y', 1), (3, NULL, 'z', 2)"""
    )
    was = await snapshot(sql, "teams", "people")
    done = await write(target, "teams", "delete", {"id": 1}, {"id": 5_000_000_000})
    changes = {each.change.id: each.change for each in done[0] if each.implied_by}
    assert {id_: (change.action, dict(change.fields)) for id_, change in changes.items()} == {
        "1": (Action.UPDATE, {"team": None}),
        "2": (Action.UPDATE, {}),
    }
    after = {outcome.id: outcome.after for each, outcome in zip(*done, strict=True) if each.implied_by}
    assert after["1"] == {"id": "1", "team": None, "name": "x", "backup": "9"}
    assert after["2"] == {"id": "2", "team": "2", "name": "y", "backup": "9"}
    await take_back(target, done)
    assert await snapshot(sql, "teams", "people") == was


async def test_an_update_that_cascades_shows_and_restores_the_children(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE teams (id int PRIMARY KEY, code text UNIQUE, name text);
        CREATE TABLE people (id int PRIMARY KEY, team text REFERENCES teams (code) ON UPDATE CASCADE);
        INSERT INTO teams VALUES (1, 'a', 'A'); INSERT INTO people VALUES (1, 'a'), (2, NULL)"""
    )
    was = await snapshot(sql, "teams", "people")
    done = await write(target, "teams", "update", {"id": 1, "fields": {"code": "b"}})
    assert [(each.change.id, each.implied_by) for each in done[0]] == [("1", ("public.teams", "1")), ("1", None)]
    assert done[1][0].after == {"id": "1", "team": "b"}
    await take_back(target, done)
    assert await snapshot(sql, "teams", "people") == was
    touched, _ = await write(target, "teams", "update", {"id": 1, "fields": {"name": "B"}})
    assert len(touched) == 1


async def test_a_row_that_is_named_itself_does_not_stand_among_the_implied_ones(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute(
        """CREATE TABLE teams (id int PRIMARY KEY, code text UNIQUE);
        CREATE TABLE people (id int PRIMARY KEY, team text REFERENCES teams (code) ON UPDATE CASCADE);
        INSERT INTO teams VALUES (1, 'a'); INSERT INTO people VALUES (1, 'a'), (2, 'a')"""
    )
    await target.resource("teams")
    await target.resource("people")
    team = target.change("teams", "update", {"id": 1, "fields": {"code": "b"}})
    person = target.change("people", "update", {"id": 1, "fields": {"team": "b"}})
    async with target.work() as work:
        touched = await work.before([team, person])
    assert [(each.change.resource, each.change.id, each.implied_by) for each in touched] == [
        ("public.people", "2", ("public.teams", "1")),
        ("public.teams", "1", None),
        ("public.people", "1", None),
    ]


async def test_a_reference_that_loses_only_some_of_its_columns_is_foreseen_so(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE teams (firm int, id int, PRIMARY KEY (firm, id));
        CREATE TABLE people (id int PRIMARY KEY, firm int NOT NULL, team int,
          FOREIGN KEY (firm, team) REFERENCES teams ON DELETE SET NULL (team));
        INSERT INTO teams VALUES (1, 1); INSERT INTO people VALUES (1, 1, 1)"""
    )
    was = await snapshot(sql, "teams", "people")
    done = await write(target, "teams", "delete", {"id": [1, 1]})
    assert dict(done[0][0].change.fields) == {"team": None}
    await take_back(target, done)
    assert await snapshot(sql, "teams", "people") == was


async def test_trees_and_circles_come_back(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE staff (id int PRIMARY KEY, boss int REFERENCES staff ON DELETE CASCADE);
        INSERT INTO staff VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, 5), (6, NULL);
        CREATE TABLE a (id int PRIMARY KEY, b int);
        CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b ON DELETE CASCADE DEFERRABLE;
        INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1"""
    )
    was = await snapshot(sql, "staff", "a", "b")
    staff = await write(target, "staff", "delete", {"id": 1}, {"id": 3}, {"id": 5})
    circle = await write(target, "a", "delete", {"id": 1})
    assert [each.change.id for each in staff[0] if each.implied_by] == ["4", "2"]
    assert [(each.change.resource, each.implied_by) for each in circle[0]] == [
        ("public.b", ("public.a", "1")),
        ("public.a", None),
    ]
    assert await snapshot(sql, "staff", "a", "b") == [['{"id": 6, "boss": null}'], [], []]
    await take_back(target, circle)
    await take_back(target, staff)
    assert await snapshot(sql, "staff", "a", "b") == was


async def test_rows_reached_by_several_ways_stand_once_and_children_still_come_first(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute(
        """CREATE TABLE top (id int PRIMARY KEY);
        CREATE TABLE mid (id int PRIMARY KEY, top int REFERENCES top ON DELETE CASCADE);
        CREATE TABLE leaf (id int PRIMARY KEY, top int REFERENCES top ON DELETE SET NULL,
          mid int REFERENCES mid ON DELETE CASCADE, peer int REFERENCES mid DEFERRABLE);
        INSERT INTO top VALUES (1), (2); INSERT INTO mid VALUES (1, 1), (2, 2);
        INSERT INTO leaf VALUES (1, 1, 1, 2), (2, 2, 1, NULL), (3, 1, NULL, NULL)"""
    )
    was = await snapshot(sql, "top", "mid", "leaf")
    done = await write(target, "top", "delete", {"id": 1}, {"id": 2})
    leaves = [(each.change.id, each.change.action) for each in done[0] if each.change.resource == "public.leaf"]
    order = [(each.change.resource, each.change.id) for each in done[0]]
    assert order.index(("public.leaf", "1")) < order.index(("public.mid", "2"))
    assert sorted(leaves) == [("1", Action.DELETE), ("2", Action.DELETE), ("3", Action.UPDATE)]
    await take_back(target, done)
    assert await snapshot(sql, "top", "mid", "leaf") == was


async def test_a_row_that_others_must_keep_is_not_deleted_and_nothing_is_written(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute(
        """CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);
        INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1, 1)"""
    )
    with pytest.raises(Refused, match="c_p_fkey"):
        await write(target, "p", "delete", {"id": 2}, {"id": 1})
    assert await sql.fetchval("SELECT count(*) FROM p") == 2


async def test_a_deferred_constraint_is_checked_before_the_commit(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO p VALUES (1)"""
    )
    with pytest.raises(Refused, match="c_p_fkey"):
        await write(target, "c", "create", {"fields": {"id": 1, "p": 2}})
    assert await sql.fetchval("SELECT count(*) FROM c") == 0


async def test_the_deletion_of_a_created_row_shows_what_others_have_attached_since(
    target: PostgresTarget, sql: Sql
) -> None:
    await sql.execute(
        """CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)"""
    )
    await write(target, "p", "create", {"fields": {"id": 1}})
    await sql.execute("INSERT INTO c VALUES (7, 1)")
    async with target.work() as work:
        touched = await work.before([target.change("public.p", "delete", {"id": 1})])
    assert [(each.change.resource, each.change.id, each.implied_by) for each in touched] == [
        ("public.c", "7", ("public.p", "1")),
        ("public.p", "1", None),
    ]


async def test_rows_that_could_not_be_restored_stop_the_deletion(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1)"""
    )
    with pytest.raises(Refused, match="no primary key") as caught:
        await write(target, "p", "delete", {"id": 1})
    assert caught.value.code == "irreversible"
    await write(target, "p", "delete", {"id": 2})
    assert await fetched(sql, "SELECT id FROM p") == [(1,)]


async def test_too_many_implied_rows_are_refused(
    target: PostgresTarget, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implied, "IMPLIED_MAX", 10)
    await sql.execute(
        """CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p VALUES (1), (2); INSERT INTO c SELECT i, 1 FROM generate_series(1, 10) i"""
    )
    async with target.work() as work:
        await target.resource("p")
        assert len(await work.before([target.change("p", "delete", {"id": 1})])) == 11
    await sql.execute("INSERT INTO c VALUES (11, 2)")
    with pytest.raises(Refused) as caught:
        await write(target, "p", "delete", {"id": 1}, {"id": 2})
    assert caught.value.code == "too_large"
    assert await sql.fetchval("SELECT count(*) FROM c") == 11


async def test_the_plan_tells_what_triggers_of_a_deletion_leave_behind(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE quiet (id int PRIMARY KEY);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
        CREATE TRIGGER d AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()"""
    )
    for name, said in (("t", "Triggers run when rows of public.t are deleted"), ("quiet", "")):
        await target.resource(name)
        reversal = target.reversal(target.change(name, "delete", {"id": 1}), {"id": "1"})
        assert reversal.level.value == "full"
        assert reversal.reason.startswith(said)
        assert bool(reversal.reason) is bool(said)
