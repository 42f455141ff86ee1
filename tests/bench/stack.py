"""What is measured, as real processes: a sandbox, a Guard in front of it, and somebody who calls both."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import psutil

from scenarios.sandboxes.highlevel import DEFAULT_TOKEN, VERSION
from scenarios.sandboxes.highlevel_seed import JOB_TITLE, LOCATION_ID
from tests.servers import free_port, process

CONCURRENCY = 20
"""Calls at once, of Guard and of who does without it: what the HighLevel handler keeps to at the real vendor."""

_KEY = "bench-key-of-the-scenario-tool"
_POLL_S = 0.2
_SETTINGS = """\
[server]
public_url = "{url}"
secret_keys = [{{ env = "GUARD_BENCH_SECRET" }}]
[store]
url = "file:{store}"
[[clients]]
name = "bench"
key = {{ env = "GUARD_BENCH_KEY" }}
targets = ["{target}"]
[targets.{target}]
handler = "{handler}"
credential = {{ env = "GUARD_BENCH_CREDENTIAL" }}
{more}
"""
_SANDBOX_TARGET = """\
base_url = "{url}"
options = {{ location_id = "{location}" }}
limits = {{ requests = 1000000, per_s = 1.0, concurrency = {concurrency} }}
"""


@dataclass(frozen=True, slots=True)
class GuardProcess:
    """A Guard and a client of it."""

    process: psutil.Process
    http: httpx2.AsyncClient
    target: str
    store: Path

    async def operate(self, resource: str, body: bytes) -> dict[str, Any]:
        """A bulk update of NDJSON records, to its end. Raises where not every record was applied."""
        query = {"target": self.target, "resource": resource, "action": "update"}
        headers = {"content-type": "application/x-ndjson"}
        told = await self._ended("/v1/operations", params=query, content=body, headers=headers)
        if told["status"] != "applied":
            raise RuntimeError(f"The operation ended as {told['status']}: {told.get('problem')}")
        return told

    async def revert(self, run: dict[str, Any]) -> dict[str, Any]:
        """Take a run back, to its end. Raises where not every record was restored."""
        await self._ended(run["revert_url"])
        told = (await self.http.get(run["run_url"])).json()
        if told["status"] != "reverted":
            raise RuntimeError(f"The revert ended as {told['status']}: {told.get('problem')}")
        return dict(told)

    async def _ended(self, url: str, **request: Any) -> dict[str, Any]:
        """The answer, waited for at its run's address where it takes longer than Guard lets a caller wait."""
        headers = {"prefer": "wait=300", **request.pop("headers", {})}
        reply = await self.http.post(url, headers=headers, **request)
        told = reply.raise_for_status().json()
        while told["status"] in ("accepted", "running", "reverting"):
            await asyncio.sleep(_POLL_S)
            told = (await self.http.get(told["run_url"])).raise_for_status().json()
        return dict(told)

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used so far."""
        used = self.process.cpu_times()
        return used.user + used.system


@asynccontextmanager
async def guard_process(
    folder: Path, target: str, handler: str, credential: str, more: str, like: GuardProcess | None = None
) -> AsyncIterator[GuardProcess]:
    """`guard serve` with one target, on a local store below `folder`, or on that of another one."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = folder / f"guard-{port}.toml"
    store = like.store if like else folder / str(port) / "store"
    config.write_text(_SETTINGS.format(url=url, store=store, target=target, handler=handler, more=more))
    settings = {
        "GUARD_BENCH_SECRET": "bench-secret-that-signs-revert-urls",
        "GUARD_BENCH_KEY": _KEY,
        "GUARD_BENCH_CREDENTIAL": credential,
    }
    command = [sys.executable, "-m", "guard.cli", "serve", "--config", str(config), "--port", str(port)]
    with process(command, settings, f"{url}/healthz") as running:
        async with client(url, {"guard-key": _KEY}) as http:
            yield GuardProcess(psutil.Process(running.pid), http, target, store)


@contextmanager
def sandbox_process(records: int, latency_ms: int) -> Iterator[str]:
    """The address of a HighLevel sandbox without limits."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = {"--port": port, "--records": records, "--latency-ms": latency_ms, "--rate-limit": "off"}
    command = [sys.executable, "-m", "scenarios.sandboxes", "highlevel", *(str(p) for o in options.items() for p in o)]
    with process(command, {}, f"{url}/_sandbox/counts"):
        yield url


@dataclass(frozen=True, slots=True)
class Stack:
    """A sandbox, a Guard in front of it, and a client of the sandbox that goes past Guard."""

    guard: GuardProcess
    vendor: httpx2.AsyncClient
    ids: Sequence[str]

    async def calls(self) -> int:
        """Requests that the sandbox has had."""
        return int((await self.vendor.get("/_sandbox/counts")).json()["total"])

    async def read(self, id_: str) -> None:
        (await self.vendor.get(f"/contacts/{id_}")).raise_for_status()

    async def write(self, id_: str, fields: Any) -> None:
        (await self.vendor.put(f"/contacts/{id_}", json=fields)).raise_for_status()

    async def unguarded(self, mark: str, *, reads: bool) -> None:
        """The same update without Guard: each record read first or not, CONCURRENCY at once."""
        waiting = iter(self.ids)

        async def worker() -> None:
            for id_ in waiting:
                if reads:
                    await self.read(id_)
                await self.write(id_, update(mark))

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


def sandbox_settings(url: str) -> str:
    """Of a target that is a HighLevel sandbox at this address."""
    return _SANDBOX_TARGET.format(url=url, location=LOCATION_ID, concurrency=CONCURRENCY)


@asynccontextmanager
async def stack(folder: Path, records: int, latency_ms: int) -> AsyncIterator[Stack]:
    with sandbox_process(records, latency_ms) as url:
        more = sandbox_settings(url)
        headers = {"authorization": f"Bearer {DEFAULT_TOKEN}", "version": VERSION}
        async with (
            guard_process(folder, "crm", "highlevel", DEFAULT_TOKEN, more) as guard,
            client(url, headers) as vendor,
        ):
            state = await vendor.get("/_sandbox/state/contacts")
            yield Stack(guard, vendor, [orjson.loads(line)["id"] for line in state.content.splitlines()])


def client(url: str, headers: dict[str, str]) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4.0)
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=600, limits=limits, trust_env=False)


def update(mark: str) -> dict[str, Any]:
    """What an import does to a candidate; with another mark every value is another one.

    No tags: a revert takes those back as differences, by bulk calls of their own, so that the least number of calls
    would depend on how alike the candidates' tags were.
    """
    return {
        "firstName": f"Name {mark}",
        "customFields": [{"id": JOB_TITLE, "field_value": f"Title {mark}"}],
    }


def ndjson(ids: Sequence[str], fields: dict[str, Any]) -> bytes:
    tail = json.dumps(fields)
    return "".join(f'{{"id": "{id_}", "fields": {tail}}}\n' for id_ in ids).encode()
