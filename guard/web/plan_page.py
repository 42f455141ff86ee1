"""What the page of a plan shows: a page of its records, judged where the target answers in time."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard.core.bracket import NOT_SEALED
from guard.core.errors import Refused, Unavailable
from guard.core.lifecycle import RunState
from guard.core.limits import PAGE_READ_S
from guard.core.model import Verdict
from guard.core.past import Past, moved_fields
from guard.flows.guard import Guard
from guard.flows.others import GONE, Others, others
from guard.flows.plan import Judged, Plan, Row, title_of
from guard.web.plans import Plans
from guard.web.revert import PAGE_ROWS, RevertModel, effects, foreseen, judge_page, plan_item


@dataclass(frozen=True, slots=True)
class View:
    """Which part of the plan somebody looks at. It narrows nothing."""

    page: int
    limit: int
    search: str
    verdict: str
    wait_s: float | None
    """How long to wait for what the records hold now; None: as long as a page may take."""

    @property
    def limit_named(self) -> str:
        return "" if self.limit == PAGE_ROWS else str(self.limit)


@dataclass(frozen=True, slots=True)
class Looked:
    records: list[dict[str, Any]]
    """Those to show; a verdict that was asked for leaves out others of this page."""
    rows: int
    """Records of this page."""
    whole: int
    """Records that would be taken back."""
    total: int
    """Records that were found; all, without a search."""
    numbers: Mapping[str, int] | None
    """Of this page's records, by verdict; None: they were not read."""
    unread: str
    """Why not: "time", or the target's trouble in words."""
    effects: list[str]
    fields: list[str]


async def plan_page(guard: Guard, plans: Plans, state: RunState, model: RevertModel, view: View) -> Looked:
    """Raises Refused, Unavailable (the store), Corrupt."""
    if view.verdict and view.verdict not in set(Verdict):
        raise Refused("invalid_request", f"verdict must be one of {', '.join(Verdict)}.")
    offset, narrowing = (view.page - 1) * view.limit, model.narrowing()
    if view.search:
        async with plans.of(state, narrowing) as plan:
            found, rows = 0, []
            async for row in plan.found(view.search):
                if offset <= found < offset + view.limit:
                    rows.append(row)
                found += 1
            return await _looked(guard, state, model, view, plan, rows, (len(plan), found))
    async with plans.page(state, narrowing, offset, view.limit) as page:
        return await _looked(guard, state, model, view, page.plan, page.rows, (page.total, page.total))


async def _looked(
    guard: Guard, state: RunState, model: RevertModel, view: View, plan: Plan, rows: list[Row], totals: tuple[int, int]
) -> Looked:
    judged, unread = await _judged(guard, plan, rows, view, force=model.on_conflict == "force")
    if judged is None:
        records = [await _unjudged(guard, plan, row) for row in rows]
    else:
        who = await _who(guard, state, judged)
        records = [_item(guard, each, who) for each in judged]
    return Looked(
        records=[each for each in records if view.verdict in ("", each["verdict"])],
        rows=len(rows),
        whole=totals[0],
        total=totals[1],
        numbers=None if judged is None else foreseen(judged).members(),
        unread=unread,
        effects=effects(guard, plan.targets()),
        fields=sorted({field["field"] for each in records for field in each["fields"]}),
    )


async def _judged(
    guard: Guard, plan: Plan, rows: Sequence[Row], view: View, *, force: bool
) -> tuple[list[Judged] | None, str]:
    """The rows judged; or None, and why the target could not be read in time."""
    try:
        async with asyncio.timeout(PAGE_READ_S if view.wait_s is None else view.wait_s):
            return await judge_page(guard, plan, rows, force=force), ""
    except TimeoutError:
        return None, "time"
    except Unavailable as error:
        return None, error.detail


async def _who(guard: Guard, state: RunState, judged: Sequence[Judged]) -> Others:
    """Who else; nobody is named where looking takes too long."""
    try:
        async with asyncio.timeout(PAGE_READ_S):
            return await others(guard, state, judged)
    except (TimeoutError, Unavailable):
        return Others({}, all_looked_through=False)


def _item(guard: Guard, judged: Judged, who: Others) -> dict[str, Any]:
    row, now, judgement = judged
    where = (row.target, row.past.resource, row.past.id)
    gone = now is None and judgement.verdict is Verdict.CONFLICT
    item = plan_item(guard.target(row.target), judged) | {"origin": row.origin, "gone": gone}
    item["who"] = _name(who, (where, GONE)) if gone else ""
    for field in item["fields"]:
        conflict = field["verdict"] == Verdict.CONFLICT
        field["who"] = _name(who, (where, GONE if gone else field["field"])) if conflict else ""
        field["kept"] = field["now"] == field["after"]
    return item


def _did(past: Past) -> str:
    """What became of a whole record; empty: its fields tell."""
    if past.unsealed:
        return NOT_SEALED.message
    if past.before is not None and past.after is not None:
        return ""
    done = "deleted" if past.after is None else "created"
    return f"It was {done} between checkpoint and seal." if past.between else f"The run {done} the record."


def _name(who: Others, key: tuple[tuple[str, str, str], str]) -> str:
    other = who.found.get(key)
    if other and other.between:
        return f"between checkpoint and seal of a later run, {other.scenario or other.run}"
    if other:
        return f"by a later run of Guard, {other.scenario or other.run}"
    return "by someone outside Guard" if who.all_looked_through else "by someone else"


async def _unjudged(guard: Guard, plan: Plan, row: Row) -> dict[str, Any]:
    """What the run did to a record, without what it holds now."""
    past, target = row.past, guard.target(row.target)
    fields = []
    if past.before is not None and past.after is not None and not past.lost:
        names = moved_fields(past, await plan.resources(target, past.resource))
        only = plan.narrowing.fields
        fields = [
            {"field": name, "verdict": "", "before": past.before.get(name), "after": past.after.get(name), "who": ""}
            for name in names
            if only is None or name in only
        ]
    return {
        "resource": past.resource,
        "id": past.id or None,
        "origin": row.origin,
        "title": title_of(target, row, None),
        "verdict": "",
        "reason": past.lost or _did(past),
        "who": "",
        "gone": False,
        "fields": [{**field, "now": None, "kept": False} for field in fields],
    }
