"""GET and POST /revert/{token} for programs: the plan, and carrying it out. For people: revert_pages.py.

GET reads and shows, and never changes anything: link scanners and chat previews open revert URLs.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from guard.core.compare import JudgedLine
from guard.core.errors import GuardError, Refused
from guard.core.lifecycle import RunState
from guard.core.limits import ANSWER_RECORDS_MAX, PASS_BYTES_MAX
from guard.core.model import Action, Change, Verdict
from guard.core.past import changed_fields
from guard.flows.guard import Guard
from guard.flows.history import Recorded, answer, recorded, summary, told
from guard.flows.plan import Judged, Narrowing, Plan, Row, judge_rows, title_of
from guard.flows.revert import RevertAsked, Tally, preview, start_revert
from guard.target.base import Target
from guard.web.bodies import parts
from guard.web.flags import Flag
from guard.web.problems import Json, problem
from guard.web.runs import number
from guard.web.validated import validated
from guard.web.waiting import finished, wait_s

PAGE_ROWS = 50
PAGE_ROWS_MAX = 500


def _list(value: Any) -> Any:
    """In a query or form a list is one text with commas; an id of several columns is one itself, as JSON, and whole."""
    if not isinstance(value, str):
        return value
    return [value] if value.startswith("[") else [part for part in value.split(",") if part]


def fields_of(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The members of a query or a form; what narrows may be repeated. An empty one is kept: it asks for no record, and
    is refused rather than taken for everything."""
    given: dict[str, Any] = {}
    for name, value in pairs:
        given[name] = [*_list(given[name]), *_list(value)] if name in given and name in NARROWING else value
    return given


NARROWING = ("operations", "resources", "ids", "except_ids", "fields")


_NAMES = {
    "anyOf": [
        {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1, "maxItems": 100_000},
        {"type": "string", "pattern": "[^,]"},
    ]
}
Names = Annotated[list[str], BeforeValidator(_list), Field(min_length=1, max_length=100_000), WithJsonSchema(_NAMES)]


class RevertModel(BaseModel):
    """What may narrow a revert and say what happens at conflicts; all of it optional."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    operations: Names | None = Field(default=None, description="Only these operations; in a query with commas between.")
    resources: Names | None = Field(default=None, description="Only these object types.")
    ids: Names | None = Field(default=None, description="Only these records.")
    except_ids: Names | None = Field(default=None, description="All but these records.")
    fields: Names | None = Field(default=None, description="Only these fields.")
    on_conflict: Literal["skip", "force", "abort"] = Field(
        default="skip",
        description="skip: leave conflicts alone; force: overwrite them; abort: write nothing if there is one.",
    )
    dry_run: Flag = Field(default=False, description="Judge all records, write nothing.")
    callback_url: str = Field(default="", max_length=2000, description="Is told when the revert has ended.")

    def narrowing(self) -> Narrowing:
        return Narrowing(
            operations=_set(self.operations),
            resources=_set(self.resources),
            ids=_set(self.ids),
            except_ids=_set(self.except_ids),
            fields=_set(self.fields),
        )


def _set(names: list[str] | None) -> frozenset[str] | None:
    return frozenset(names) if names is not None else None


async def show(request: Request) -> Response:
    """The plan as JSON, a page of it judged by what is there now."""
    try:
        state = await state_of_token(request)
        query = fields_of(request.query_params.multi_items())
        offset = number(query.pop("offset", None), "offset", 0, 2**31)
        limit = number(query.pop("limit", None), "limit", PAGE_ROWS, PAGE_ROWS_MAX)
        told = await _plan(request, state, model_of(query), offset, limit)
    except GuardError as error:
        return _problem(error)
    return Json(told, headers=_no_store())


async def _plan(request: Request, state: RunState, model: RevertModel, offset: int, limit: int) -> dict[str, Any]:
    guard, plans = request.app.state.guard, request.app.state.plans
    async with plans.page(state, model.narrowing(), offset, limit) as page:
        judged = await judge_page(guard, page.plan, page.rows, force=model.on_conflict == "force")
        targets = page.plan.targets()
    return {
        **summary(guard, state, list(state.operations.values())),
        "records_to_take_back": page.total,
        "page_offset": offset,
        "page_records": len(judged),
        "next_offset": offset + len(judged) if offset + len(judged) < page.total else None,
        **{f"page_{name}": count for name, count in foreseen(judged).members().items()},
        "cannot_be_taken_back": effects(guard, targets),
        "plan": [plan_item(guard.target(each[0].target), each) for each in judged],
    }


async def judge_page(guard: Guard, plan: Plan, rows: Sequence[Row], *, force: bool) -> list[Judged]:
    """Some rows of a plan with what their records hold now, in their order."""
    judged: dict[int, Judged] = {}
    for name in dict.fromkeys(row.target for row in rows):
        target = guard.target(name)
        mine = [(at, row) for at, row in enumerate(rows) if row.target == name]
        found = await judge_rows(partial(target.read, some=True), target, [row for _, row in mine], plan, force=force)
        judged |= {at: each for (at, _), each in zip(mine, found, strict=True)}
    return [judged[at] for at in sorted(judged)]


def foreseen(judged: Iterable[Judged]) -> Tally:
    tally = Tally()
    for _, _, judgement in judged:
        tally.foresee(judgement)
    return tally


def effects(guard: Guard, targets: Iterable[str]) -> list[str]:
    """What writes to these targets set off that nothing takes back."""
    return [effect for name in dict.fromkeys(targets) if (effect := guard.target(name).side_effects)]


async def carry_out(request: Request) -> Response:
    try:
        state = await state_of_token(request)
        query = fields_of(request.query_params.multi_items())
        model_of(query)  # by itself, too: a misspelt policy is not overlooked because the body has another one
        told, status = await _revert(request, state, model_of({**query, **await body_of(request)}))
    except GuardError as error:
        return _problem(error)
    headers = {"location": told["run_url"]} if status == 202 else {}
    return Json(told, status, {**headers, **_no_store()})


def asked_of(guard: Guard, state: RunState, model: RevertModel) -> RevertAsked:
    """Raises Refused."""
    if model.callback_url:
        guard.callbacks.refuse_unfit(model.callback_url)
    return RevertAsked(
        run=state.run,
        client="revert url",
        narrowing=model.narrowing(),
        on_conflict=model.on_conflict,
        callback=model.callback_url,
    )


async def _revert(request: Request, state: RunState, model: RevertModel) -> tuple[dict[str, Any], int]:
    guard: Guard = request.app.state.guard
    asked = asked_of(guard, state, model)
    if model.dry_run:
        tally, shown = await preview(guard, asked)
        return previewed(guard, state, tally, shown), 200
    task = start_revert(guard, asked)
    if not await finished(task, wait_s(request)) and (run := await its_run(guard, state, task)):
        lost = effects(guard, (operation.target for operation in state.operations.values()))
        going_on = {"status": "reverting", "conflicts": [], "recreated": [], "cannot_be_taken_back": lost}
        return {**await told(guard, run, answer(guard, run)), **going_on}, 202
    run = await task
    return await told(guard, run, report(guard, run)), 200


async def its_run(guard: Guard, state: RunState, task: asyncio.Task[str]) -> str | None:
    """The run of a revert that is going on, as soon as it has a journal; None: it ended before."""
    with guard.journals.use(state.run) as journal:
        while not task.done():
            last = next(reversed(journal.state.reverts), None)
            if journal.state.phase == "reverting" and last:
                with guard.journals.use(last) as own:
                    if own.state.operations:
                        return last
            await asyncio.sleep(0.02)
    return None


def previewed(guard: Guard, state: RunState, tally: Tally, shown: list[Judged]) -> dict[str, Any]:
    """What a revert would come to, in the shape of its report."""
    return {
        **summary(guard, state, list(state.operations.values())),
        "status": "dry_run",
        **{f"records_{name}": count for name, count in tally.members().items()},
        "failures": [],
        "recreated": [],
        "conflicts": _conflicts(
            [
                JudgedLine(row.past.resource, row.past.id, title_of(guard.target(row.target), row, image), judgement)
                for row, image, judgement in shown
            ]
        ),
        "cannot_be_taken_back": effects(guard, (operation.target for operation in state.operations.values())),
    }


async def report(guard: Guard, run: str) -> dict[str, Any]:
    """What a revert came to, from its own journal: flat, lists cut at a stated length."""
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
        told = await answer(guard, run)
        judged: list[JudgedLine] = []
        for operation in state.operations.values():
            for _, chunk in sorted(operation.chunks.items()):
                left = any(chunk.counts.get(name) for name in ("conflict", "irreversible", "in_doubt"))
                if left and len(judged) < ANSWER_RECORDS_MAX:
                    read = await journal.lines(chunk.lines["judged"], JudgedLine)
                    judged += [each for each in read if each.judgement.verdict is not Verdict.ALREADY]
        recreated = []
        if told["reversible"] != "full":
            async for record in recorded(journal, state):
                change, outcome = record.touched.change, record.outcome
                if change.origin and outcome.id and outcome.id != change.origin:
                    recreated.append(await _recreated(guard.target(state.operations[record.op].target), record))
                if len(recreated) >= ANSWER_RECORDS_MAX:
                    break
    whole = not any(told.get(f"records_{name}") for name in ("conflicted", "irreversible", "in_doubt", "failed"))
    return {
        **told,
        "status": "reverted" if whole and "problem" not in told else "partly_reverted",
        "conflicts": _conflicts(judged),
        "recreated": recreated,
        "cannot_be_taken_back": effects(guard, (operation.target for operation in state.operations.values())),
    }


async def _recreated(target: Target, record: Recorded) -> dict[str, Any]:
    """A record that got a new id, with the fields that the target did not take, and what is lost besides."""
    change, outcome = record.touched.change, record.outcome
    resource = await target.resource(change.resource)
    deletion = Change(resource=change.resource, action=Action.DELETE, id=change.origin)
    missing = [name for name in changed_fields(change.fields, outcome.after, resource) if name in change.fields]
    return {
        "resource": change.resource,
        "title": target.title(change.resource, change.fields),
        "old_id": change.origin,
        "new_id": outcome.id,
        "fields_lost": [name for name in missing if name != "id"],
        "lost": target.reversal(deletion, change.fields).reason,
    }


def _conflicts(judged: list[JudgedLine]) -> list[dict[str, Any]]:
    """One flat item per field that does not go back, and why."""
    items = []
    for resource, id_, title, judgement in judged[:ANSWER_RECORDS_MAX]:
        reason = judgement.reason or REASONS[judgement.verdict]
        item = {"resource": resource, "id": id_, "title": title, "reason": reason}
        left = [field for field in judgement.fields if field.verdict is not Verdict.RESTORE]
        if not left:
            items.append({**item, "verdict": judgement.verdict.value})
        for field in left:
            images = {"before": field.before, "after": field.after, "now": field.now}
            if field.verdict is not Verdict.ALREADY:
                items.append({**item, "verdict": field.verdict.value, "field": field.field, **images})
    return items


REASONS = {
    Verdict.RESTORE: "",
    Verdict.ALREADY: "It is already as it was before the run.",
    Verdict.CONFLICT: "It was changed after the run; that change is left alone.",
    Verdict.IRREVERSIBLE: "No API of the target writes this.",
    Verdict.IN_DOUBT: "It is not known what the run did here.",
}


def plan_item(target: Target, judged: Judged) -> dict[str, Any]:
    row, image, judgement = judged
    return {
        "target": row.target,
        "resource": row.past.resource,
        "id": row.past.id or None,
        "title": title_of(target, row, image),
        "verdict": judgement.verdict.value,
        "reason": judgement.reason or REASONS[judgement.verdict],
        "exists_now": None if row.past.lost else image is not None,
        "fields": [
            {"field": f.field, "verdict": f.verdict.value, "before": f.before, "after": f.after, "now": f.now}
            for f in judgement.fields
        ],
    }


async def state_of_token(request: Request) -> RunState:
    """The run that the token in the path opens. Raises Refused."""
    guard: Guard = request.app.state.guard
    state = await guard.journals.state(guard.run_of(request.path_params["token"]))
    if state.revoked:
        raise Refused("revoked_token", "This revert URL was revoked. Ask whoever runs Guard for another way back.")
    return state


async def body_of(request: Request) -> Mapping[str, Any]:
    """JSON, a form, or nothing. Raises Refused."""
    content = b""
    async for part in parts(request):
        content += part
        if len(content) > PASS_BYTES_MAX:
            raise Refused("too_large", "The body of a revert is too large. Nothing was written.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return fields_of(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))
    if not content.strip():
        return {}
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_body", f"The body is not JSON: {error.msg}. Nothing was written.") from None
    if not isinstance(found, dict):
        raise Refused("invalid_body", "The body must be a JSON object, or empty. Nothing was written.")
    return found


def model_of(given: Mapping[str, Any]) -> RevertModel:
    return validated(RevertModel, given)


def _problem(error: GuardError) -> Response:
    answer = problem(error)
    answer.headers.update(_no_store())
    return answer


def _no_store() -> dict[str, str]:
    return {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}
