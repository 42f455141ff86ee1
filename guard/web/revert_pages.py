"""The pages behind a revert URL: the plan, the question before it is carried out, its progress, its report.

A browser gets these, everybody else JSON (revert.py). GET changes nothing. A form asks once more before it writes,
unless it says nothing at all: then it is the one call that takes the run back.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import GuardError, Refused, Unavailable
from guard.core.lifecycle import RunState
from guard.core.limits import PAGE_CHECK_S, WAIT_S
from guard.flows.guard import Guard
from guard.flows.history import summary
from guard.flows.plan import Narrowing
from guard.flows.revert import RevertAsked, Tally, preview, start_revert
from guard.web import revert
from guard.web.deeds import moments
from guard.web.pages import page, problem_page, see, wants_html
from guard.web.plan_page import Looked, View, plan_page
from guard.web.revert import RevertModel, asked_of, body_of, fields_of, its_run, model_of, previewed, state_of_token
from guard.web.runs import number
from guard.web.waiting import finished, wait_s
from guard.web.watching import Seen, stream
from handlers.base import Traits

_ANSWER_S = 1.5
"""How long a browser waits for a revert before it is shown the progress."""


async def show(request: Request) -> Response:
    if not wants_html(request):
        return await revert.show(request)
    try:
        return await _show(request)
    except GuardError as error:
        return problem_page(request, error)


async def _show(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    state = await state_of_token(request)
    if state.phase == "reverting":
        return see(guard, f"{request.url.path}/report")
    query = fields_of(request.query_params.multi_items())
    view = View(
        page=number(query.pop("page", None), "page", 1, 10**7),
        limit=number(query.pop("limit", None), "limit", revert.PAGE_ROWS, revert.PAGE_ROWS_MAX),
        search=str(query.pop("search", "")).strip()[:200],
        verdict=str(query.pop("verdict", "")),
        wait_s=WAIT_S if query.pop("read", "") == "wait" else None,
    )
    model = model_of({name: value for name, value in query.items() if value != "" or name not in revert.NARROWING})
    looked = await plan_page(guard, request.app.state.plans, state, model, view)
    told = {**_common(request, state, model), **_shown(view, looked)}
    # What the page shows itself at, once its address is out of sight: the very view, for reloading and going back.
    seen = urlencode([*told["narrowed_pairs"], *told["view_pairs"], ("page", view.page), ("verdict", view.verdict)])
    return page(request, "plan.html", {**told, "address": f"{told['action_url']}?{seen}"})


def _common(request: Request, state: RunState, model: RevertModel) -> dict[str, Any]:
    guard: Guard = request.app.state.guard
    told = summary(guard, state, list(state.operations.values()))
    narrowed = model.model_dump(include={*revert.NARROWING, "on_conflict"}, exclude_none=True, exclude_defaults=True)
    pairs = [
        (name, each) for name, value in narrowed.items() for each in ([value] if isinstance(value, str) else value)
    ]
    address = f"/revert/{request.path_params['token']}"
    return {
        **told,
        "told": told,
        "moments": moments(told),
        "action_url": address,
        "narrowed": urlencode(pairs),
        "narrowed_pairs": pairs,
        "address": f"{address}?{urlencode(pairs)}" if pairs else address,
    }


def _shown(view: View, looked: Looked) -> dict[str, Any]:
    pages = max(1, -(-looked.total // view.limit))
    return {
        "records": looked.records,
        "records_to_take_back": looked.whole,
        "records_here": looked.total,
        "first": (view.page - 1) * view.limit + 1,
        "last": (view.page - 1) * view.limit + looked.rows,
        "numbers": looked.numbers,
        "unread": looked.unread,
        "cannot_be_taken_back": looked.effects,
        "fields_here": looked.fields,
        "search": view.search,
        "verdict": view.verdict,
        "page": view.page,
        "pages": pages,
        "view_pairs": [(k, v) for k, v in (("search", view.search), ("limit", view.limit_named)) if v],
    }


async def carry_out(request: Request) -> Response:
    if not wants_html(request):
        return await revert.carry_out(request)
    try:
        return await _carry_out(request)
    except GuardError as error:
        return problem_page(request, error)


async def _carry_out(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    state = await state_of_token(request)
    given = {**fields_of(request.query_params.multi_items()), **await body_of(request)}
    step = given.pop("step", "")
    model = model_of(await _chosen(request, state, given))
    asked = asked_of(guard, state, model)
    if model.dry_run:
        tally, shown = await preview(guard, asked)
        told = previewed(guard, state, tally, shown)
        return page(request, "report.html", {**_common(request, state, model), **told, "told": told})
    if step == "confirm":
        return await _ask(request, state, model, asked)
    task = start_revert(guard, asked)
    wait = wait_s(request) if "prefer" in request.headers else _ANSWER_S
    if await finished(task, wait) or not await its_run(guard, state, task):
        await task
    return see(guard, f"/revert/{request.path_params['token']}/report")


async def _chosen(request: Request, state: RunState, given: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a form without those that only say how records were chosen on the page. Raises Refused."""
    kept = dict(given)
    choice, search = kept.pop("choice", ""), str(kept.pop("search", "")).strip()
    if choice == "all":
        for name in ("ids", "except_ids"):
            if name not in request.query_params:
                kept.pop(name, None)
    elif choice == "chosen" and not (kept.get("ids") or kept.get("except_ids")):
        raise Refused("invalid_request", "No record was chosen. Go back and tick at least one. Nothing was written.")
    elif choice == "found":
        narrowing = model_of({name: value for name, value in kept.items() if name in revert.NARROWING}).narrowing()
        async with request.app.state.plans.of(state, narrowing) as plan:
            kept["ids"] = [row.origin async for row in plan.found(search) if row.origin]
        kept.pop("except_ids", None)
    return kept


async def _ask(request: Request, state: RunState, model: RevertModel, asked: RevertAsked) -> Response:
    """Say again what would be done, with its numbers, before anything is written."""
    guard: Guard = request.app.state.guard
    plans = request.app.state.plans
    async with plans.page(state, Narrowing(), 0, 1) as whole, plans.page(state, asked.narrowing, 0, 1) as part:
        chosen, targets = part.total, part.plan.targets()
    tally, unchecked = await _checked(guard, asked, targets, chosen)
    told = {
        "chosen": chosen,
        "whole": whole.total,
        "where": targets,
        "numbers": tally.members() if tally else None,
        "unchecked": unchecked,
        "seconds": _seconds(guard, targets, chosen),
        "seconds_to_check": _seconds_to_read(guard, targets, chosen),
        "on_conflict": model.on_conflict,
        "callback_url": model.callback_url,
        "cannot_be_taken_back": revert.effects(guard, targets),
    }
    return page(request, "confirm.html", {**_common(request, state, model), **told})


async def _checked(guard: Guard, asked: RevertAsked, targets: list[str], records: int) -> tuple[Tally | None, str]:
    """What would come of it; or None, and why that is not known. Reading uses up the target's limit, which the revert
    needs itself: it is not begun where it cannot end in time."""
    if _seconds_to_read(guard, targets, records) > PAGE_CHECK_S:
        return None, "time"
    try:
        async with asyncio.timeout(PAGE_CHECK_S):
            return (await preview(guard, asked))[0], ""
    except TimeoutError:
        return None, "time"
    except Unavailable as error:
        return None, error.detail


def _seconds_to_read(guard: Guard, targets: list[str], records: int) -> float:
    """The least time at the target's limit; 0: it has none, or the records are within it."""
    return _most(guard, targets, lambda traits: -(-records // traits.read_max))


def _seconds(guard: Guard, targets: list[str], records: int) -> float:
    """The same for reading and writing them."""
    return _most(guard, targets, lambda traits: -(-records // traits.read_max) + -(-records // traits.write_max))


def _most(guard: Guard, targets: list[str], calls: Callable[[Traits], int]) -> float:
    return max((guard.target(name).seconds_for(calls(guard.target(name).traits)) or 0 for name in targets), default=0)


async def report(request: Request) -> Response:
    """What the last revert came to, or how far it is."""
    try:
        return await _report(request)
    except GuardError as error:
        return problem_page(request, error)


async def _report(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    state = await state_of_token(request)
    last = next(reversed(state.reverts), None)
    common = _common(request, state, RevertModel())
    common |= {"address": f"{common['action_url']}/report"}
    if last is None:
        return see(guard, common["action_url"])
    ended = state.reverts[last]
    if ended is None:
        going_on = await _progress(guard, state, last)
        return page(request, "progress.html", {**common, **going_on, "run_status": common["status"]})
    told = await revert.report(guard, last)
    if ended["status"] == "failed" and "problem" not in told:
        told |= {"status": "failed", "problem": "It broke off before anything was written. Try again."}
    return page(request, "report.html", {**common, **told, "told": told})


async def events(request: Request) -> Response:
    """The progress of the last revert, for its page: the token opens it, no key is needed."""
    guard: Guard = request.app.state.guard
    run = (await state_of_token(request)).run

    async def look() -> Seen:
        state = await guard.journals.state(run)
        last = next(reversed(state.reverts), None)
        if last is None:
            return Seen(state.n, over=True, told={})
        told = await _progress(guard, state, last)
        return Seen(state.n + told.pop("entries"), state.reverts[last] is not None, told)

    return stream(guard, look)


async def _progress(guard: Guard, state: RunState, last: str) -> dict[str, Any]:
    """Numbers of a revert under way, flat. Records count as done once it is known what became of them."""
    with guard.journals.use(last) as journal:
        own = await journal.catch_up()
    operations = list(own.operations.values())
    planned = sum(operation.begun.get("planned", 0) for operation in operations)
    written = sum(operation.count("applied") for operation in operations)
    others = ("failed", "unknown", "already", "conflict", "irreversible", "in_doubt")
    left = sum(operation.count(name) for operation in operations for name in others)
    return {
        "status": state.status,
        "records_planned": planned,
        # A record with a conflict whose other fields go back is counted in both.
        "records_done": min(planned, written + left),
        "records_written": written,
        "entries": own.n,
    }
