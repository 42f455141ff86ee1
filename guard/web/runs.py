"""GET /v1/runs, /v1/runs/{id}, /v1/runs/{id}/changes: the history."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import Refused
from guard.core.ids import derived_run_id, index_key, is_run_id
from guard.core.lifecycle import RunState
from guard.core.limits import PAGE_RECORDS_MAX
from guard.core.model import Image
from guard.core.past import changed_fields
from guard.flows.guard import Guard
from guard.flows.history import Recorded, answer, recorded, summary
from guard.flows.plan import Resources
from guard.flows.stop import stop
from guard.settings import ClientSettings
from guard.web.callers import Callers
from guard.web.problems import Json
from guard.web.queries import members
from guard.web.waiting import finished, wait_s

_PAGE = 100
_RUNS_LOOKED_AT_MAX = 2000


async def runs(request: Request) -> Response:
    """Newest first. `target`, `since` and `until` narrow; the answer's next_after, as `after`, goes on.

    `run_key` finds the one run that this client began under it, for whoever knows the scenario's execution alone.
    """
    guard: Guard = request.app.state.guard
    client = _client(request)
    query = members(request)
    # All of it is looked at, whether it is used or not: what a caller has got wrong it is told.
    since, until = instant(query.get("since"), "since"), instant(query.get("until"), "until")
    limit = number(query.get("limit"), "limit", _PAGE, PAGE_RECORDS_MAX)
    _cursor(query.get("after"))
    if key := query.get("run_key", "").strip():
        return Json({"runs": await _by_key(guard, client, key), "next_after": None})
    found, after = await listed(
        guard,
        client,
        lambda _, targets: query.get("target") in (None, *targets),
        since=since,
        until=until,
        after=query.get("after"),
        limit=limit,
    )
    return Json({"runs": found, "next_after": after})


Fits = Callable[[dict[str, Any], set[str]], bool]
"""A run's flat object and its targets: is it asked for?"""


async def listed(
    guard: Guard,
    client: ClientSettings,
    fits: Fits,
    *,
    since: datetime | None,
    until: datetime | None,
    after: str | None,
    limit: int,
) -> tuple[list[dict[str, Any]], str | None]:
    """Runs that a client may see, newest first, and where to go on; None: there are no more. Raises Refused."""
    found: list[dict[str, Any]] = []
    looked_at, last = 0, None
    async for opened_at, run in guard.journals.newest(until, _cursor(after)):
        if (since and opened_at < since) or looked_at >= _RUNS_LOOKED_AT_MAX or len(found) >= limit:
            break
        looked_at, last = looked_at + 1, index_key(opened_at, run)
        state = await guard.journals.state(run)
        if _visible(client, state):
            told = summary(guard, state, list(state.operations.values()))
            if fits(told, _targets(state)):
                found.append(told)
    more = last is not None and (len(found) >= limit or looked_at >= _RUNS_LOOKED_AT_MAX)
    return found, last.removeprefix("index/") if more and last else None


async def _by_key(guard: Guard, client: ClientSettings, key: str) -> list[dict[str, Any]]:
    try:
        state = await guard.journals.state(derived_run_id("run key", client.name, key))
    except Refused:
        return []
    return [summary(guard, state, list(state.operations.values()))] if _visible(client, state) else []


async def run(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    return Json(await told_of(guard, await state_of(request)))


async def told_of(guard: Guard, state: RunState) -> dict[str, Any]:
    """A run's flat object with its failures, its operations and its reverts."""
    told = await answer(guard, state.run)
    operations = [{"operation": op, **summary(guard, state, [operation])} for op, operation in state.operations.items()]
    return {**told, "operations": operations, "reverted_by_runs": list(state.reverts)}


async def stop_run(request: Request) -> Response:
    """Nothing more of the run is sent. 202 where chunks under way have not come to their end within the wait."""
    guard: Guard = request.app.state.guard
    run_id = (await state_of(request)).run
    stopping = guard.start(f"stop of {run_id}", stop(guard, run_id))
    ended = await finished(stopping, wait_s(request))
    if ended:
        await stopping
    return Json(await answer(guard, run_id), 200 if ended else 202)


async def changes(request: Request) -> Response:
    """Record by record: before, after, and with `now=true` what is there at this moment. Paged by `after`."""
    guard: Guard = request.app.state.guard
    state = await state_of(request)
    query = members(request)
    limit = number(query.get("limit"), "limit", _PAGE, PAGE_RECORDS_MAX)
    skip = number(query.get("after"), "after", 0, 2**31)
    page, after = await changes_page(guard, state, skip, limit)
    now = await _now(guard, state, page) if query.get("now") == "true" else None
    resources = Resources()
    items = [await change_item(guard, state, record, now, resources) for record in page]
    return Json({"changes": items, "next_after": after})


async def changes_page(guard: Guard, state: RunState, skip: int, limit: int) -> tuple[list[Recorded], int | None]:
    """Some records of a run, and where to go on; None: nothing stands behind them."""
    page: list[Recorded] = []
    with guard.journals.use(state.run) as journal:
        async for record in recorded(journal, state, skip=skip):
            if len(page) == limit:
                return page, skip + limit
            page.append(record)
    return page, None


async def _now(guard: Guard, state: RunState, page: list[Recorded]) -> dict[tuple[str, str, str], Image]:
    wanted: dict[tuple[str, str], set[str]] = {}
    for record in page:
        if id_ := record.outcome.id or record.touched.change.id:
            key = (state.operations[record.op].target, record.touched.change.resource)
            wanted.setdefault(key, set()).add(id_)
    now: dict[tuple[str, str, str], Image] = {}
    for (target, resource), ids in wanted.items():
        images = await guard.target(target).read(resource, sorted(ids))
        now |= {(target, resource, id_): image for id_, image in images.items()}
    return now


async def change_item(
    guard: Guard,
    state: RunState,
    record: Recorded,
    now: dict[tuple[str, str, str], Image] | None,
    resources: Resources,
) -> dict[str, Any]:
    """One record of a run: what was to happen, what came of it, field by field."""
    change, outcome = record.touched.change, record.outcome
    target = guard.target(state.operations[record.op].target)
    resource = await resources(target, change.resource)
    id_ = outcome.id or change.id
    before, after = record.touched.before, outcome.after
    names = changed_fields(before, after, resource) if outcome.sealed else sorted(change.asked())
    image = now.get((target.name, change.resource, str(id_))) if now is not None else None
    fields = [
        {
            "field": name,
            "before": (before or {}).get(name),
            "after": (after or {}).get(name) if outcome.sealed else None,
            **({"now": (image or {}).get(name)} if now is not None else {}),
        }
        for name in names
    ]
    failure = outcome.failure
    return {
        "operation": record.op,
        "resource": change.resource,
        "action": change.action.value,
        "id": id_,
        "status": outcome.status.value,
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
        **({"recreates": change.origin} if change.origin else {}),
        **({"exists_now": image is not None} if now is not None else {}),
        "fields": fields,
    }


async def state_of(request: Request) -> RunState:
    """The run in the path, if the caller may see it. One that it may not see is not told from one that is not."""
    return await visible_state(request.app.state.guard, _client(request), request.path_params["run"])


async def visible_state(guard: Guard, client: ClientSettings, run_id: str) -> RunState:
    """A run, if this client may see it. Raises Refused."""
    missing = Refused("not_found", "There is no such run.")
    if not is_run_id(run_id):
        raise missing
    try:
        state = await guard.journals.state(run_id)
    except Refused:
        raise missing from None
    if not _visible(client, state):
        raise missing
    return state


def _client(request: Request) -> ClientSettings:
    callers: Callers = request.app.state.callers
    return callers.client(request)


def _cursor(text: str | None) -> str:
    if text and not re.fullmatch(r"[0-9]{13}-run_[0-9a-z]{26}", text):
        raise Refused("invalid_request", "after must be the next_after of an earlier answer.")
    return f"index/{text}" if text else ""


def _targets(state: RunState) -> set[str]:
    return {operation.target for operation in state.operations.values()}


def _visible(client: ClientSettings, state: RunState) -> bool:
    # A revert that found nothing to do wrote to no target: nobody's key names it.
    return bool(_targets(state)) and _targets(state) <= set(client.targets)


def number(text: str | None, name: str, default: int, most: int) -> int:
    """A whole number from the query. Raises Refused."""
    if text is None or text == "":
        return default
    if (
        not (text.isascii() and text.isdigit() and len(text) < 12)
        or int(text) > most
        or (int(text) < 1 and most < 2**31)
    ):
        raise Refused("invalid_request", f"{name} must be a whole number up to {most}.")
    return int(text)


def instant(text: str | None, name: str) -> datetime | None:
    """An ISO 8601 time from the query, UTC where it names no zone. Raises Refused."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise Refused("invalid_request", f"{name} must be a time like 2026-01-31T12:00:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
