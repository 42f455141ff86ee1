"""PostgreSQL: a guarded update of many rows and its revert, against the same UPDATE without Guard."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TypeAlias

import asyncpg

from tests.bench.figures import Figure, Sizes, Work, ratio, seconds
from tests.bench.stack import GuardProcess, guard_process, ndjson
from tests.postgres_server import postgres_server

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_TABLE = """
CREATE TABLE employees (
  id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL, title text, salary numeric(12, 2),
  skills text[], hired date, notes text);
INSERT INTO employees
  SELECT n, 'Employee ' || n, 'employee' || n || '@example.com', 'Engineer', 50000 + n, ARRAY['sql', 'java'],
    date '2015-01-01' + n % 3000, repeat('note ', 10)
  FROM generate_series(1, {rows}) n
"""
_UPDATE = """
UPDATE employees SET title = given.title, salary = given.salary
FROM unnest($1::integer[], $2::text[], $3::numeric[]) AS given (id, title, salary) WHERE employees.id = given.id
"""
_PART = "PostgreSQL"


async def postgres(sizes: Sizes, folder: Path) -> list[Figure]:
    with postgres_server() as server:
        url = await server.create_database()
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_TABLE.format(rows=sizes.records))
            async with guard_process(folder, "hr", "postgresql", url, "") as guard:
                await _round(guard, connection, sizes.records, 0)  # caches, and the catalog that Guard reads once
                rounds = [await _round(guard, connection, sizes.records, 1 + n) for n in range(2 * sizes.rounds)]
        finally:
            await connection.close()
    return _figures({name: [each[name] for each in rounds] for name in rounds[0]})


async def _round(guard: GuardProcess, connection: Connection, rows: int, number: int) -> dict[str, float]:
    """Each UPDATE leaves dead rows behind; they are swept up between the runs, so that none pays for another."""
    ids = [str(id_) for id_ in range(1, rows + 1)]
    body = ndjson(ids, {"title": f"Title {number}", "salary": 60_000 + number})
    runs: list[dict[str, object]] = []

    async def guarded() -> None:
        runs.append(await guard.operate("employees", body))

    # The revert comes before the plain updates, lest they change what it is to restore.
    works: dict[str, Work] = {
        "guarded update": guarded,
        "revert": lambda: guard.revert(runs[0]),
        "UPDATE with values by row": lambda: _update(connection, rows, number),
        "UPDATE SET c = c + 1": lambda: connection.execute("UPDATE employees SET salary = salary + 1"),
    }
    taken = {}
    for name, work in works.items():
        await connection.execute("VACUUM employees")
        await connection.execute("CHECKPOINT")
        taken[name] = await seconds(work)
    return taken


async def _update(connection: Connection, rows: int, number: int) -> None:
    ids = list(range(1, rows + 1))
    await connection.execute(_UPDATE, ids, [f"Plain {number}"] * rows, [70_000 + number] * rows)


def _figures(samples: dict[str, Sequence[float]]) -> list[Figure]:
    figures = [
        Figure(
            part=_PART,
            name=f"{measured} / {reference}",
            value=ratio(samples[measured], samples[reference]),
            unit="x",
            at_most=6.0 if measured == "guarded update" else None,
            samples={measured: samples[measured], reference: samples[reference]},
        )
        for measured in ("guarded update", "revert")
        for reference in ("UPDATE with values by row", "UPDATE SET c = c + 1")
    ]
    revert_s = Figure(part=_PART, name="revert", value=median(samples["revert"]), unit="s", at_most=1.0)
    return [*figures, revert_s]
