"""Guard as a process of its own in front of a sandbox, for tools that are processes of their own too."""

import asyncio
import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from scenarios.sandboxes.common import Fault, Match, Sandbox, running
from scenarios.sandboxes.highlevel import HighLevel
from scenarios.sandboxes.highlevel import create_app as create_sandbox
from tests.servers import FaultyProxy, Request
from tests.web.doors import READS
from tests.web.serving import in_front_of
from tests.world import KEY, comparable

CONTACTS = 220
_UNPACED = "[targets.crm.limits]\nrequests = 100000\nper_s = 1.0\nconcurrency = 20"


@dataclass
class Stage:
    guard_url: str
    sandbox: Sandbox
    sandbox_url: str

    @property
    def contacts(self) -> dict[str, dict[str, Any]]:
        assert isinstance(self.sandbox.vendor, HighLevel)
        return self.sandbox.vendor.contacts.rows

    def seen(self) -> dict[str, dict[str, Any]]:
        """A copy of the contacts without what the server keeps itself."""
        return {id_: comparable(row) for id_, row in copy.deepcopy(self.contacts).items()}

    def cities(self) -> list[str | None]:
        return [row.get("city") for row in self.contacts.values()]

    def writes(self) -> list[tuple[str, str, int]]:
        """Method, path and status of every write that has reached the vendor."""
        return [
            (method, path, status)
            for _, method, path, status, *_ in self.sandbox.log.entries
            if method not in ("GET", "HEAD", "OPTIONS") and not READS.search(path)
        ]

    def fault(self, *, method: str, **fault: Any) -> None:
        """Have the sandbox misbehave with requests of a method: see `Fault` in scenarios/sandboxes/common.py."""
        self.sandbox.faults.append(Fault(match=Match(method=method), **fault))

    def get(self, path: str, **query: str) -> dict[str, Any]:
        reply = httpx2.get(f"{self.guard_url}{path}", params=query, headers={"guard-key": KEY}, timeout=60)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def revert(self, url: str) -> dict[str, Any]:
        reply = httpx2.post(url, timeout=120, headers={"prefer": "wait=100"})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def reset(self) -> None:
        self.sandbox.reset()
        self.sandbox.latency_s = 0.0


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A fresh Guard with a store in the folder, and 220 contacts behind it."""
    app = create_sandbox(records=CONTACTS, limits=None)
    tables = f'[store]\nurl = "file:{folder}/store"\n{_UNPACED}'
    with running(app) as url, in_front_of(app.state.sandbox, url, folder, tables) as served:
        yield Stage(served.url, app.state.sandbox, url)


def hosts_of(process: int) -> set[str]:
    """Every address that a process and its children listen on or are connected with."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    found = [connection for each in family for connection in each.net_connections("inet")]
    return {address.ip for each in found for address in (each.laddr, each.raddr) if address}


@contextmanager
def losing_answers(url: str, *methods: str) -> Iterator[FaultyProxy]:
    """A proxy that passes everything on, and loses the answer to the first request of each of these methods."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = FaultyProxy(url)
    for method in methods:
        proxy.faults[method].append(_lost)
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
        try:
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _lost(proxy: FaultyProxy, request: Request) -> bytes:
    await proxy.forward(request)
    return b""
