"""What the flows do with a database, without the journal: one chunk written, one chunk taken back."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import asyncpg

from guard.core.compare import Judgement, judge
from guard.core.model import Image, Outcome, Touched
from guard.core.past import Past
from guard.target.postgresql import PostgresTarget

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Done = tuple[list[Touched], list[Outcome]]


async def snapshot(sql: Sql, *tables: str) -> list[list[str]]:
    """Every row of the tables, as PostgreSQL writes it."""
    return [sorted(row[0] for row in await sql.fetch(f"SELECT to_jsonb(t)::text FROM {table} t")) for table in tables]  # noqa: S608


async def fetched(sql: Sql, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await sql.fetch(query)]


async def write(target: PostgresTarget, resource: str, action: str, *records: Mapping[str, Any]) -> Done:
    """One operation of one chunk, committed."""
    await target.resource(resource)
    changes = [target.change(resource, action, record) for record in records]
    async with target.work() as work:
        touched = await work.before(changes)
        outcomes = await work.after(touched, await work.write(touched))
        await work.commit()
    return touched, outcomes


async def take_back(target: PostgresTarget, done: Done) -> list[Judgement]:
    """Newest first, as judged by the core. Returns the judgements."""
    pasts = [_past(each, outcome) for each, outcome in reversed(list(zip(*done, strict=True))) if not each.problem]
    async with target.work() as work:
        now = {name: await work.look(name, _ids(pasts, name)) for name in {past.resource for past in pasts}}
        judged = [await _judged(target, past, now[past.resource][past.id]) for past in pasts]
        changes = [judgement.compensation for judgement in judged if judgement.compensation]
        touched = await work.before(changes)
        await work.after(touched, await work.write(touched))
        await work.commit()
    return judged


async def _judged(target: PostgresTarget, past: Past, now: Image) -> Judgement:
    resource = await target.resource(past.resource)
    return judge(past, now, resource, same=lambda name, asked, found: target.same(past.resource, name, asked, found))


def _past(touched: Touched, outcome: Outcome) -> Past:
    change = touched.change
    id_ = outcome.id or change.id or ""
    return Past(resource=change.resource, id=id_, before=touched.before, after=outcome.after, touched=None)


def _ids(pasts: Sequence[Past], resource: str) -> list[str]:
    return [past.id for past in pasts if past.resource == resource]
