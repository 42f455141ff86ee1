"""A Guard in front of a HighLevel sandbox: what most tests of flows, pages and doors begin with.

Guard runs in the test's own loop, over the real application; the sandbox is a real server in a thread.
"""

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette

from guard.assembly import assemble
from guard.flows.guard import Guard
from guard.flows.queued import work_forever
from guard.settings import Settings, StoreSettings, parse
from guard.web.app import create_app
from scenarios.sandboxes.common import RateLimits, Sandbox, running
from scenarios.sandboxes.highlevel import HighLevel
from scenarios.sandboxes.highlevel import create_app as create_sandbox
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.conforming import conforming

KEY = "test-key-of-the-scenario-tool"
OTHER_KEY = "test-key-of-somebody-else-here"
PUBLIC_URL = "http://guard.test"

os.environ.setdefault("GUARD_TEST_KEY", KEY)
os.environ.setdefault("GUARD_TEST_OTHER_KEY", OTHER_KEY)
os.environ.setdefault("GUARD_TEST_SECRET", "test-secret-that-signs-revert-urls")
os.environ.setdefault("GUARD_TEST_TOKEN", "sandbox-token")
os.environ.setdefault("GUARD_TEST_CALLBACK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@dataclass
class World:
    guard: Guard
    app: Starlette
    http: httpx2.AsyncClient
    """Calls Guard with the key of a client that may use `crm`."""
    sandbox: Sandbox
    sandbox_url: str

    @property
    def vendor(self) -> HighLevel:
        vendor = self.sandbox.vendor
        assert isinstance(vendor, HighLevel)
        return vendor

    @property
    def contacts(self) -> Mapping[str, dict[str, Any]]:
        """The sandbox's contacts by id, as it holds them: custom fields as a dict by id, tags as a list."""
        return self.vendor.contacts.rows

    @property
    def opportunities(self) -> Mapping[str, dict[str, Any]]:
        return self.vendor.opportunities.rows

    def seen(self) -> dict[str, dict[str, Any]]:
        """A copy of the contacts without what the server keeps itself, tags in order: for comparing."""
        return {id_: comparable(row) for id_, row in copy.deepcopy(dict(self.contacts)).items()}

    async def operate(self, action: str, records: Any, *, status: int = 200, **members: Any) -> dict[str, Any]:
        """POST /v1/operations on contacts of `crm`; members go into the body, headers= and resource= are known."""
        headers = members.pop("headers", {})
        body = {"target": "crm", "resource": "contacts", "action": action, "records": records, **members}
        reply = await self.http.post("/v1/operations", json=body, headers=headers)
        assert reply.status_code == status, reply.text
        return dict(reply.json())

    async def revert(self, answer: dict[str, Any], *, status: int = 200, **body: Any) -> dict[str, Any]:
        """POST an answer's revert URL."""
        reply = await self.http.post(path_of(answer["revert_url"]), json=body)
        assert reply.status_code == status, reply.text
        return dict(reply.json())

    async def plan(self, answer: dict[str, Any], **query: str) -> dict[str, Any]:
        reply = await self.http.get(path_of(answer["revert_url"]), params=query)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def fault(self, **fault: Any) -> None:
        """Have the sandbox misbehave: see POST /_sandbox/faults in scenarios/sandboxes/common.py."""
        async with httpx2.AsyncClient() as http:
            reply = await http.post(f"{self.sandbox_url}/_sandbox/faults", json=[fault])
            assert reply.status_code == 200, reply.text

    async def edit(self, resource: str, id_: str, fields: dict[str, Any] | None) -> None:
        """A person's edit in the vendor's own user interface; None deletes the record."""
        async with httpx2.AsyncClient() as http:
            body = {"resource": resource, "id": id_, "fields": fields}
            reply = await http.post(f"{self.sandbox_url}/_sandbox/edit", json=body)
            assert reply.status_code == 200, reply.text

    async def vendor_requests(self) -> list[dict[str, Any]]:
        """What the vendor was asked, in order, as the sandbox logged it."""
        async with httpx2.AsyncClient() as http:
            return list((await http.get(f"{self.sandbox_url}/_sandbox/requests")).json()["requests"])

    async def settle(self) -> None:
        """Wait for what Guard does after it has answered."""
        while self.guard._going_on or await self.running():
            await self.guard.idle()
            await asyncio.sleep(0.02)

    async def running(self) -> list[str]:
        """Runs that are not over, those that wait in the queue included."""
        found = []
        for run in [run async for run in self.guard.journals.unfinished()]:
            with self.guard.journals.use(run) as journal:
                if (await journal.catch_up()).running:
                    found.append(run)
        return found


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in ("dateUpdated", "lastActivity", "updatedAt")}
    return {**kept, "tags": sorted(kept.get("tags") or [])}


def path_of(url: str) -> str:
    return url.removeprefix(PUBLIC_URL)


def settings(
    store: str,
    sandbox_url: str,
    *,
    policy: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    callbacks: dict[str, Any] | None = None,
    notify: list[dict[str, Any]] | None = None,
    pace: dict[str, Any] | None = None,
    timeout_s: float = 2.0,
    scenarios: Path | None = None,
) -> Settings:
    return parse(
        {
            "server": {"public_url": PUBLIC_URL, "secret_keys": [{"env": "GUARD_TEST_SECRET"}], **(server or {})},
            "store": {"url": store},
            "callbacks": callbacks or {},
            "notify": notify or [],
            "scenarios": {"folder": str(scenarios)} if scenarios else {},
            "clients": [
                {"name": "tests", "key": {"env": "GUARD_TEST_KEY"}, "targets": ["crm"]},
                {"name": "others", "key": {"env": "GUARD_TEST_OTHER_KEY"}, "targets": ["other"]},
            ],
            "targets": {name: _target(sandbox_url, policy or {}, pace, timeout_s) for name in ("crm", "other")},
        },
        "test settings",
    )


def _target(sandbox_url: str, policy: dict[str, Any], pace: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
    return {
        "handler": "highlevel",
        "credential": {"env": "GUARD_TEST_TOKEN"},
        "base_url": sandbox_url,
        "options": {"location_id": LOCATION_ID},
        "timeout_s": timeout_s,
        "policy": policy,
        "limits": pace,
    }


@asynccontextmanager
async def world(
    folder: Path,
    *,
    records: int = 20,
    limits: RateLimits | None = None,
    policy: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    callbacks: dict[str, Any] | None = None,
    notify: list[dict[str, Any]] | None = None,
    pace: dict[str, Any] | None = None,
    timeout_s: float = 2.0,
    store: StoreSettings | None = None,
    scenarios: Path | None = None,
) -> AsyncIterator[World]:
    """limits=None: the sandbox has no rate limit; pace=None: Guard keeps to the documented one all the same.

    store=None: a local one below the folder.
    """
    app = create_sandbox(records=records, limits=limits)
    with running(app) as url:
        made = settings(
            f"file:{folder}/store",
            url,
            policy=policy,
            server=server,
            callbacks=callbacks,
            notify=notify,
            pace=pace,
            timeout_s=timeout_s,
            scenarios=scenarios,
        )
        guard = assemble(made.model_copy(update={"store": store}) if store else made)
        async with guarded(guard, app.state.sandbox, url) as there:
            yield there


@asynccontextmanager
async def guarded(guard: Guard, sandbox: Sandbox, sandbox_url: str) -> AsyncIterator[World]:
    """The world around a Guard that was put together already; closes it at the end."""
    app = create_app(guard)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport,
        base_url=PUBLIC_URL,
        headers={"guard-key": KEY},
        timeout=60,
        event_hooks={"response": [conforming]},
    ) as http:
        working = asyncio.create_task(work_forever(guard))
        try:
            yield World(guard, app, http, sandbox, sandbox_url)
        finally:
            guard.draining.set()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await guard.close()
