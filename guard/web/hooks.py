"""POST /hooks/{name}: a webhook's payload as an operation, as a scenario file says; GET /v1/scenarios: those files."""

import asyncio
import hashlib
import secrets
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import Refused, Unavailable
from guard.core.limits import HOOK_BYTES_MAX
from guard.flows.foresee import foresee
from guard.flows.guard import Guard
from guard.flows.operation import Asked
from guard.flows.protect import Records
from guard.hooks.folder import Folder, Standing
from guard.hooks.mapping import Record, mapped
from guard.hooks.model import Hook
from guard.hooks.signature import ID, NotSigned, is_signed, verify
from guard.settings import ClientSettings
from guard.web.callers import Callers
from guard.web.intake import JSON, Body, What, json_records, known_records, refuse_encoded, taken
from guard.web.operations import begun, idempotency_key_of, is_dry_run, key_header, parsed
from guard.web.problems import Json

_DECOY = [secrets.token_bytes(32)]
"""Stands for the secrets of hooks that have none or do not exist, so that without a key all are refused alike."""


async def hook(request: Request) -> Response:
    guard: Guard = request.app.state.guard
    name = request.path_params["name"]
    standing = await request.app.state.hooks.hook(name)
    found: Hook | None = standing.hook if standing else None
    callers: Callers = request.app.state.callers
    client = None if found and found.secrets else callers.known(request)
    if client:
        found = _opened(client, name, standing)
    elif not is_signed(request.headers):
        raise _unauthenticated("Send a client key that opens this hook, or sign the call if the hook has secrets.")
    body = await taken(request, HOOK_BYTES_MAX, JSON, "Send it in several calls.")
    try:
        proven = found if client and found else await asyncio.to_thread(_signed, request, guard, found, body)
        _refuse_other_types(request)
        run_key, idempotency_key = _run_key(request, client), _idempotency_key(request, name, client)
        dry_run = is_dry_run(request)
        records, found_key = await _records(request, guard, proven, body)
    finally:
        body.close()
    asked = _asked(name, proven, client, body.digest, records)
    asked = replace(asked, run_key=found_key or run_key, idempotency_key=idempotency_key)
    if dry_run:
        return Json(await foresee(guard, asked, records))
    return await begun(request, guard, asked, records)


async def _records(request: Request, guard: Guard, hook: Hook, body: Body) -> tuple[Records, str]:
    """The payload's records and its run key. Raises Refused, Unavailable."""
    await guard.target(hook.target).resource(hook.resource)  # may be slow: before others have to wait for it
    async with request.app.state.mapping:
        mapping, run_key = await asyncio.to_thread(lambda: mapped(hook, parsed(body.file.read())))
        return await records_of(guard, hook, mapping), run_key


def _opened(client: ClientSettings, name: str, standing: Standing | None) -> Hook:
    """What a client's key opens. Raises Refused, Unavailable."""
    if standing is None:
        raise Refused(
            "not_found",
            f"There is no hook {name[:80]!r}. Nothing was written. GET /v1/scenarios lists those there are.",
        )
    if standing.target and standing.target not in client.targets:
        raise _foreign(client)
    if standing.hook is None:
        detail = "The scenario file of this hook has mistakes; guard scenarios check tells which. Nothing was written."
        raise Unavailable("hook_broken", detail)
    if standing.hook.client not in (None, client.name):
        raise _foreign(client)
    return standing.hook


def _foreign(client: ClientSettings) -> Refused:
    advice = "Use the key of the client that the hook is for, or have its target added to yours."
    return Refused("forbidden", f"The key of {client.name} does not open this hook. Nothing was written. {advice}")


def _unauthenticated(reason: str) -> Refused:
    return Refused("unauthenticated", f"{reason} Nothing was written.")


def _signed(request: Request, guard: Guard, found: Hook | None, body: Body) -> Hook:
    """The hook, where one of its secrets signed the call. Raises Refused."""
    keys = found.signing_keys if found and found.secrets else _DECOY
    try:
        verify(request.headers, body.file, keys, guard.now().timestamp())
        if found is None:
            raise NotSigned("No signature fits.")
    except NotSigned as error:
        raise _unauthenticated(str(error)) from None
    return found


def _refuse_other_types(request: Request) -> None:
    given = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if given != JSON and not (given.startswith("application/") and given.endswith("+json")):
        raise Refused(
            "unsupported_media_type",
            f"A hook takes JSON; a body of type {given[:80]!r} cannot be read. Send application/json. "
            "Nothing was written.",
        )
    refuse_encoded(request)


async def records_of(guard: Guard, hook: Hook, mapping: list[Record]) -> Records:
    """The mapped records as changes of the target. Raises Refused, Unavailable."""
    target = guard.target(hook.target)
    await target.resource(hook.resource)
    what = What(hook.resource, hook.action, min(hook.records_max, guard.policy(hook.target).records_max))
    return await known_records(lambda: json_records(mapping), what, target)


def _asked(name: str, hook: Hook, client: ClientSettings | None, digest: str, records: Records) -> Asked:
    return Asked(
        client=client.name if client else hook.client or f"hook:{name}",
        target=hook.target,
        resource=hook.resource,
        action=hook.action,
        door="hook",
        digest=hashlib.sha256(f"hook {name}\n{digest}".encode()).hexdigest(),
        records=records.count,
        scenario=hook.scenario or name,
        note=hook.note,
        accept_irreversible=hook.accept_irreversible,
        tell=tuple(hook.tell),
    )


def _run_key(request: Request, client: ClientSettings | None) -> str:
    """No signature covers this header: whoever repeats somebody's call with another one would have it act again."""
    key = key_header(request, "guard-run-key")
    if key and client is None:
        detail = (
            "Guard-Run-Key is not part of what is signed. Have run_key in the scenario file find it in the payload."
        )
        raise Refused("invalid_request", f"{detail} Nothing was written.")
    return key


def _idempotency_key(request: Request, name: str, client: ClientSettings | None) -> str:
    """One webhook may be sent to several hooks, which each act on it, so a key counts for its hook alone.

    Of a signed call the signed id counts, whatever other headers say. Without any key an equal payload is another
    operation, as at the other doors: the same tag may be swept again tomorrow, and nobody else can tell.
    """
    key = idempotency_key_of(request) if client else f"webhook-id {key_header(request, ID)}"
    return f"hook {name} {key}" if key else ""


async def scenarios(request: Request) -> Response:
    """The scenario files whose targets the key opens, and those of which nobody can tell whose they are."""
    guard: Guard = request.app.state.guard
    callers: Callers = request.app.state.callers
    client = callers.client(request)
    folder: Folder = request.app.state.hooks
    foreign = frozenset(guard.targets) - set(client.targets)
    shown = [each for each in await folder.all() if each.target not in foreign]
    return Json({"scenarios": [_told(guard, each) for each in shown]})


def _told(guard: Guard, standing: Standing) -> dict[str, Any]:
    hook = standing.hook
    mistakes = [
        {"file": each.file, "line": each.line, "member": each.member or None, "message": each.message}
        for each in standing.mistakes
    ]
    return {
        "name": standing.name,
        "state": standing.state,
        "url": f"{guard.settings.server.public_url.rstrip('/')}/hooks/{standing.name}",
        "about": hook.about if hook else None,
        "target": standing.target or None,
        "resource": hook.resource if hook else None,
        "action": hook.action if hook else None,
        "signed": bool(hook.secrets) if hook else None,
        "mistakes": mistakes,
    }
