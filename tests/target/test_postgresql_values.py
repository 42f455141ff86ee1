"""Every type goes out and comes back exactly; what callers send becomes PostgreSQL's own text, or is refused."""

import json
from datetime import date, datetime, time
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from guard.core.errors import Refused
from guard.target.postgresql import PostgresTarget
from tests.target.rows import Sql, fetched, take_back, write

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


def _ints(bits: int) -> st.SearchStrategy[str]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _array(elements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.just("NULL") | elements.map(_quoted), max_size=4)
    return items.map(lambda each: "{" + ",".join(each) + "}")


def _span(low_high: tuple[int, int]) -> str:
    return f"[{min(low_high)},{max(low_high)})"


_MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1)).map(str) | st.sampled_from(  # noqa: DTZ001
    ["infinity", "-infinity", "0044-03-15 12:00:00.000001 BC"]
)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(["NaN", "-Infinity", "-0"])
_INTERVALS = st.tuples(*[st.integers(-9999, 9999)] * 3).map(lambda p: f"{p[0]} mons {p[1]} days {p[2]}.25 secs")

TYPES: dict[str, st.SearchStrategy[str]] = {
    "int2": _ints(16),
    "int4": _ints(32),
    "int8": _ints(64),
    "numeric": st.decimals(-(10**40), 10**40, allow_nan=False).map(str) | st.just("NaN"),
    "numeric(12,3)": st.decimals(-(10**8), 10**8, places=3).map(str),
    "float4": st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    "float8": _FLOATS,
    "money": st.decimals(-(10**9), 10**9, places=2).map(str),
    "text": _TEXT,
    "varchar(12)": _TEXT,
    "char(12)": _TEXT,
    '"char"': st.characters(min_codepoint=32, max_codepoint=126),
    "name": st.text("abc äß\"'\\", max_size=20),
    "bool": st.booleans().map(lambda value: "true" if value else "false"),
    "date": st.dates(date(1, 1, 1)).map(str),
    "time": st.times().map(str),
    "timetz": st.tuples(st.times(), st.integers(-12, 12)).map(lambda p: f"{time.isoformat(p[0])}{p[1]:+03d}"),
    "timestamp": _MOMENTS,
    "timestamptz": _MOMENTS,
    "timestamp(0)": _MOMENTS,
    "interval": _INTERVALS,
    "uuid": st.uuids().map(str),
    "bytea": st.binary(max_size=20).map(lambda value: "\\x" + value.hex()),
    "bit(5)": st.text("01", min_size=5, max_size=5),
    "varbit": st.text("01", max_size=9),
    "json": _JSON.map(json.dumps).filter(lambda text: "\\u0000" not in text),
    "jsonb": _JSON.map(json.dumps).filter(lambda text: "\\u0000" not in text),
    "int4[]": _array(_ints(32)),
    "text[]": _array(_TEXT),
    "varchar(12)[]": _array(_TEXT),
    "jsonb[]": _array(st.sampled_from(['{"a": "\\""}', "null", "[1]"])),
    "int4[][]": st.sampled_from(["{{1,2},{3,NULL}}", "[0:1][-1:0]={{1,2},{3,4}}", "{}"]),
    "int4range": st.tuples(st.integers(-999, 999), st.integers(-999, 999)).map(_span) | st.just("empty"),
    "tstzrange": st.sampled_from(["(,)", '["2020-01-01 00:00:00+02",)', "empty"]),
    "inet": st.ip_addresses().map(str),
    "macaddr": st.binary(min_size=6, max_size=6).map(bytes.hex),
    "point": st.tuples(_FLOATS, _FLOATS).map(lambda p: f"({p[0]},{p[1]})"),
    "tsvector": st.sampled_from(["", "'it''s':1A fat:2B,4", "a b"]),
    "mood": st.sampled_from(["so, so", 'quo"te', "ok"]),
    "plz": st.text("0123456789", min_size=5, max_size=5),
    "address": st.tuples(_TEXT, _ints(32)).map(lambda p: f"({_quoted(p[0])},{p[1]})"),
    "address[]": _array(st.tuples(_TEXT, _ints(32)).map(lambda p: f"({_quoted(p[0])},{p[1]})")),
}
COLUMNS = {f"c{i}": type_ for i, type_ in enumerate(TYPES)}
ROWS = st.fixed_dictionaries({name: st.none() | TYPES[type_] for name, type_ in COLUMNS.items()})


@pytest_asyncio.fixture
async def wide(sql: Sql) -> Sql:
    await sql.execute(
        """CREATE TYPE mood AS ENUM ('so, so', 'quo"te', 'ok'); CREATE DOMAIN plz AS varchar(5) CHECK (value ~ '\\d');
        CREATE TYPE address AS (street text, number int)"""
    )
    columns = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    await sql.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})")
    return sql


@settings(max_examples=40, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(was=ROWS, asked=ROWS)
async def test_a_row_of_any_types_is_restored_to_the_letter(
    target: PostgresTarget, wide: Sql, was: dict[str, str | None], asked: dict[str, str | None]
) -> None:
    await wide.execute("TRUNCATE wide")
    values = ", ".join(f"${i}::text::{type_}" for i, type_ in enumerate(COLUMNS.values(), start=1))
    await wide.execute(f"INSERT INTO wide SELECT 1, {values}", *(was[name] for name in COLUMNS))
    original = await wide.fetchval("SELECT wide::text FROM wide")
    updated = await write(target, "wide", "update", {"id": 1, "fields": asked})
    await take_back(target, updated)
    assert await wide.fetchval("SELECT wide::text FROM wide") == original
    deleted = await write(target, "wide", "delete", {"id": 1})
    await take_back(target, deleted)
    assert await wide.fetchval("SELECT wide::text FROM wide") == original


@pytest.mark.parametrize(
    ("type_", "sent", "kept"),
    [
        ("int", 7, "7"),
        ("bigint", 2**60, "1152921504606846976"),
        ("numeric", 0.1, "0.1"),
        ("float8", 1e300, "1e+300"),
        ("bool", True, "true"),
        ("text", False, "false"),
        ("text", "", ""),
        ("text", None, None),
        ("text[]", [], "{}"),
        ("text[]", ["a,b", 'q"', "\\", None, "NULL", ""], '{"a,b","q\\"","\\\\",NULL,"NULL",""}'),
        ("int[]", [[1, 2], [3, None]], "{{1,2},{3,NULL}}"),
        ("bool[]", [True, False], "{t,f}"),
        ("jsonb", {"a": [1, None]}, '{"a": [1, null]}'),
        ("jsonb", [1, {"b": "ü"}], '[1, {"b": "ü"}]'),
        ("jsonb", '"a string"', '"a string"'),
        ("jsonb", 5, "5"),
        ("jsonb", None, None),
        ("jsonb[]", [{"a": 1}, 2, None], '{"{\\"a\\": 1}",2,NULL}'),
    ],
)
async def test_json_values_become_the_columns_type(
    target: PostgresTarget, sql: Sql, type_: str, sent: object, kept: str | None
) -> None:
    await sql.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {type_}); INSERT INTO t VALUES (1, NULL)")  # noqa: S608
    _, (outcome,) = await write(target, "t", "update", {"id": 1, "fields": {"v": sent}})
    assert outcome.after == {"id": "1", "v": kept}


@pytest.mark.parametrize(
    ("record", "code", "named"),
    [
        ({"id": 1, "fields": {"nope": 1}}, "unknown_field", "nope"),
        ({"id": 1, "fields": {"double": 1}}, "unknown_field", "double"),
        ({"id": 1, "fields": {"v": {"a": 1}}}, "invalid_record", "v"),
        ({"id": 1, "fields": {"v": [1]}}, "invalid_record", "v"),
        ({"id": 1, "fields": {"v": "a\0b"}}, "invalid_record", "v"),
        ({"id": 1, "fields": {"id": 2, "v": "a"}}, "invalid_record", "id"),
        ({"id": [1, 2], "fields": {"v": "a"}}, "invalid_record", "id"),
        ({"id": {"v": 1}, "fields": {"v": "a"}}, "invalid_record", "id"),
        ({"fields": {"v": "a"}}, "invalid_record", "id"),
        ({"id": 1, "fields": {}}, "invalid_record", "no column"),
        ({"id": 1, "fields": "v"}, "invalid_record", "object"),
        ({"id": 1, "set": {"v": "a"}}, "invalid_record", "fields"),
        ({"id": 1, "fields": {"n": "abc"}}, "invalid_record", "integer"),
        ({"id": 1, "fields": {"n": 2**40}}, "invalid_record", "integer"),
        ({"id": 1, "fields": {"short": "abcdef"}}, "invalid_record", "Nothing was written"),
        ({"id": 1, "fields": {"zip": "abcdef"}}, "invalid_record", "Nothing was written"),
        ({"id": 1, "fields": {"must": None}}, "invalid_record", "column must"),
        ({"id": 1, "fields": {"n": -1}}, "invalid_record", "t_n_check"),
        ({"id": "abc", "fields": {"v": "a"}}, "invalid_record", "integer"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name_without_its_contents(
    target: PostgresTarget, sql: Sql, record: dict[str, Any], code: str, named: str
) -> None:
    await sql.execute(
        """CREATE DOMAIN zip AS varchar(3);
        CREATE TABLE t (id int PRIMARY KEY, v text, n int CHECK (n > 0), must text NOT NULL DEFAULT 'd',
          short varchar(3), zip zip, double int GENERATED ALWAYS AS (n * 2) STORED);
        INSERT INTO t (id) VALUES (1), (2)"""
    )
    with pytest.raises(Refused) as caught:
        await write(target, "t", "update", {"id": 2, "fields": {"v": "fits"}}, record)
    assert caught.value.code == code
    assert named in caught.value.detail
    assert "abc" not in caught.value.detail
    assert caught.value.__cause__ is None
    assert await fetched(sql, "SELECT v FROM t") == [(None,), (None,)]


async def test_a_row_may_be_named_by_its_key_among_the_fields(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    await write(target, "t", "update", {"fields": {"id": 1, "v": "b"}})
    await write(target, "t", "create", {"id": 2, "fields": {"v": "c"}})
    assert await fetched(sql, "SELECT * FROM t") == [(1, "b"), (2, "c")]


@pytest.mark.parametrize("name", ["nothing", "v", "public.nothing", "keyless", "parent", "pg_class; drop table t"])
async def test_only_tables_whose_rows_can_be_told_apart_are_opened(target: PostgresTarget, sql: Sql, name: str) -> None:
    await sql.execute(
        """CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t; CREATE TABLE keyless (n int);
        CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE heir (v text) INHERITS (parent)"""
    )
    with pytest.raises(Refused) as caught:
        await target.resource(name)
    assert caught.value.code == "unknown_resource"


async def test_a_table_has_one_name_however_it_was_called(target: PostgresTarget, sql: Sql) -> None:
    await sql.execute("CREATE SCHEMA hr; CREATE TABLE hr.t (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY)")
    names = [(await target.resource(name)).name for name in ("t", "public.t", "hr.t")]
    assert names == ["public.t", "public.t", "hr.t"]
