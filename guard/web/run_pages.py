"""The pages of the history, for people who are signed in: the list of runs, one run, its changes as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from guard.core.errors import GuardError, Refused
from guard.core.lifecycle import RunState
from guard.flows.guard import Guard
from guard.flows.history import Recorded, recorded, summary
from guard.flows.plan import Resources
from guard.flows.stop import stop as stop_run
from guard.settings import ClientSettings
from guard.web import signing
from guard.web.deeds import happened, moments, outcome, trouble
from guard.web.pages import PAGE_HEADERS, STATES, page, problem_page, see
from guard.web.revert import body_of
from guard.web.runs import change_item, changes_page, listed, number, told_of, visible_state
from guard.web.sessions import Sessions
from guard.web.shown import plain
from guard.web.waiting import finished
from guard.web.watching import Seen, stream

_RUNS = 50
_CHANGES = 50
_STOP_WAIT_S = 2.0


async def runs(request: Request) -> Response:
    client = signing.signed_in(request)
    if client is None:
        return signing.ask(request)
    try:
        return await _runs(request, client)
    except GuardError as error:
        return problem_page(request, error)


async def _runs(request: Request, client: ClientSettings) -> Response:
    guard: Guard = request.app.state.guard
    names = ("target", "scenario", "day", "status")
    asked = {name: request.query_params.get(name, "").strip()[:200] for name in names}
    begin = _day(asked["day"])

    def fits(told: dict[str, Any], targets: set[str]) -> bool:
        scenario = str(told["scenario"] or "").casefold()
        return (
            (not asked["target"] or asked["target"] in targets)
            and asked["scenario"].casefold() in scenario
            and asked["status"] in ("", told["status"])
        )

    found, after = await listed(
        guard,
        client,
        fits,
        since=begin,
        until=begin + timedelta(days=1, milliseconds=-1) if begin else None,
        after=request.query_params.get("after"),
        limit=_RUNS,
    )
    kept = [(name, value) for name, value in asked.items() if value]
    told = {
        "runs": found,
        "asked": asked,
        "targets": sorted(client.targets),
        "states": STATES,
        "next_url": f"/?{urlencode([*kept, ('after', after)])}" if after else "",
        "narrowed": bool(kept),
        "first_page": not request.query_params.get("after"),
    }
    return page(request, "runs.html", told)


def _day(text: str) -> datetime | None:
    """The first moment of a day, UTC. Raises Refused."""
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise Refused("invalid_request", "day must be a day like 2026-01-31.") from None


async def run(request: Request) -> Response:
    client = signing.signed_in(request)
    if client is None:
        return signing.ask(request)
    try:
        guard: Guard = request.app.state.guard
        state = await visible_state(guard, client, request.path_params["run"])
        return page(request, "run.html", await _told(guard, client, state, request))
    except GuardError as error:
        return problem_page(request, error)


async def _told(guard: Guard, client: ClientSettings, state: RunState, request: Request) -> dict[str, Any]:
    at = number(request.query_params.get("page"), "page", 1, 10**7)
    skip = (at - 1) * _CHANGES
    found, after = await changes_page(guard, state, skip, _CHANGES)
    resources = Resources()
    told = await told_of(guard, state)
    return {
        **told,
        "told": told,
        "moments": moments(told),
        "changes": [
            {**await change_item(guard, state, record, None, resources), **_named(guard, state, record)}
            for record in found
        ],
        "running": state.running,
        "reverts_of": [await _brief(guard, client, each) for each in state.reverts],
        "of": await _brief(guard, client, str(state.opened["of"])) if state.opened.get("kind") == "revert" else None,
        "first": skip + 1,
        "last": skip + len(found),
        "page": at,
        "more": after is not None,
    }


def _named(guard: Guard, state: RunState, record: Recorded) -> dict[str, Any]:
    """What people call the record, as it was before the run, which may have changed just that; what became of it."""
    image = record.touched.before or record.outcome.after
    title = guard.target(state.operations[record.op].target).title(record.touched.change.resource, image)
    return {"title": title, "happened": happened(record), "trouble": trouble(record)}


async def _brief(guard: Guard, client: ClientSettings, run_id: str) -> dict[str, Any]:
    """A run that another one names, by its id alone where this client may not see it."""
    try:
        state = await visible_state(guard, client, run_id)
    except Refused:
        return {"id": run_id, "told": None}
    return {"id": run_id, "told": summary(guard, state, list(state.operations.values()))}


async def events(request: Request) -> Response:
    """A run's progress for its page. A session opens pages only, so they have a stream of their own."""
    client = signing.signed_in(request)
    if client is None:
        raise Refused("unauthenticated", "Sign in to watch a run. Nothing was written.")
    guard: Guard = request.app.state.guard
    run_id = (await visible_state(guard, client, request.path_params["run"])).run

    async def look() -> Seen:
        state = await guard.journals.state(run_id)
        return Seen(state.n, not state.running, summary(guard, state, list(state.operations.values())))

    return stream(guard, look)


async def stop(request: Request) -> Response:
    client = signing.signed_in(request)
    if client is None:
        return signing.ask(request)
    guard: Guard = request.app.state.guard
    sessions: Sessions = request.app.state.sessions
    try:
        sessions.refuse_foreign_form(request, str((await body_of(request)).get("form_token", "")))
        run_id = (await visible_state(guard, client, request.path_params["run"])).run
        stopping = guard.start(f"stop of {run_id}", stop_run(guard, run_id))
        if await finished(stopping, _STOP_WAIT_S):
            await stopping
    except GuardError as error:
        return problem_page(request, error)
    return see(guard, f"/runs/{run_id}")


async def export(request: Request) -> Response:
    """The changes of a run as CSV, a line for each field, as they are read from the journal."""
    client = signing.signed_in(request)
    if client is None:
        return signing.ask(request)
    guard: Guard = request.app.state.guard
    try:
        state = await visible_state(guard, client, request.path_params["run"])
    except GuardError as error:
        return problem_page(request, error)
    headers = {**PAGE_HEADERS, "content-disposition": f'attachment; filename="{state.run}.csv"'}
    return StreamingResponse(_lines(guard, state), headers=headers, media_type="text/csv; charset=utf-8")


_COLUMNS = ("operation", "resource", "id", "action", "status", "message", "field", "before", "after")


async def _lines(guard: Guard, state: RunState) -> AsyncIterator[bytes]:
    resources, text = Resources(), io.StringIO()
    writer = csv.writer(text)
    text.write("\ufeff")  # without it Excel takes UTF-8 for something else
    writer.writerow(_COLUMNS)
    with guard.journals.use(state.run) as journal:
        async for record in recorded(journal, state):
            item = await change_item(guard, state, record, None, resources)
            if record.until is not None:
                item |= {"action": happened(record), "status": outcome(record)}
            for field in item["fields"] or [{}]:
                writer.writerow([defused(_cell(({**item, **field}).get(name))) for name in _COLUMNS])
            if text.tell() > _PART_CHARS:
                yield text.getvalue().encode("utf-8", "replace")
                text.seek(0)
                text.truncate()
    yield text.getvalue().encode("utf-8", "replace")


_PART_CHARS = 64 * 1024


def _cell(value: Any) -> str:
    return "" if value is None else plain(value).replace("\x00", "\ufffd")


def defused(cell: str) -> str:
    """A spreadsheet carries out what begins like a formula; with an apostrophe in front it is text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell
