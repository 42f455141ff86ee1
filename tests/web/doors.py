"""What the tests of the doors ask: is this the one shape of an error, and was anything written?"""

import asyncio
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson

from guard.core.errors import CODES
from tests.world import World

READS = re.compile(r"/(contacts|opportunities)/search(\?|$)")

KINDS = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}

NOTHING_WRITTEN = re.compile(r"nothing (was|has been|is) (written|sent|changed|read)", re.IGNORECASE)


def assert_problem(reply: httpx2.Response, code: str, written: str = "nothing") -> dict[str, Any]:
    """The reply is problem details with this code, and says of itself whether anything was written."""
    assert reply.headers["content-type"] == "application/problem+json", (reply.status_code, reply.text)
    told = dict(reply.json())
    assert (code, CODES[code].status, written) == (told["code"], reply.status_code, told["written"]), told
    assert told["status"] == reply.status_code
    assert told["type"] == f"urn:guard:error:{code}"
    assert told["title"] == CODES[code].title
    assert told["detail"].strip()
    return told


def vendor_writes(world: World) -> list[tuple[str, str, int, bool]]:
    """Method, path, status and "it did something" of every write that has reached the vendor."""
    return [
        (method, path, status, applied)
        for _, method, path, status, _, applied in world.sandbox.log.entries
        if method not in ("GET", "HEAD", "OPTIONS") and not READS.search(path)
    ]


def objects(world: World) -> dict[str, bytes]:
    """All that the store holds, by key."""
    root = Path(world.guard.settings.store.url.removeprefix("file:"))
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "+tmp" not in path.parts
    }


@contextmanager
def nothing_is_written(world: World) -> Iterator[None]:
    """No write reaches the vendor and no record changes there; the store may take down that it was tried."""
    before = vendor_writes(world), dict(world.contacts), dict(world.opportunities)
    yield
    assert before == (vendor_writes(world), dict(world.contacts), dict(world.opportunities))


@contextmanager
def nothing_happens(world: World) -> Iterator[None]:
    """No write reaches the vendor, no record changes, no object appears in the store."""
    before = objects(world)
    with nothing_is_written(world):
        yield
    after = objects(world)
    assert before == after, sorted(set(before) ^ set(after))


async def all_ended(world: World) -> None:
    """Wait for what is going on, but not for ever."""
    await asyncio.wait_for(world.settle(), 30)


async def send(
    world: World,
    kind: str,
    action: str,
    records: Sequence[Mapping[str, Any]],
    *,
    headers: Mapping[str, str] | None = None,
    **query: str,
) -> httpx2.Response:
    """The same operation as JSON, NDJSON or CSV. `query` has its members besides the records."""
    asked = {"target": "crm", "resource": "contacts", "action": action, **query}
    if kind == "json":
        return await world.http.post("/v1/operations", json={**asked, "records": records}, headers=headers)
    content = b"".join(orjson.dumps(record) + b"\n" for record in records) if kind == "ndjson" else as_csv(records)
    return await post(world, content, kind, headers=headers, **asked)


async def post(
    world: World, content: bytes, kind: str = "json", *, headers: Mapping[str, str] | None = None, **query: str
) -> httpx2.Response:
    """These very bytes to the bulk door."""
    given = {"content-type": KINDS.get(kind, kind), **(headers or {})}
    return await world.http.post("/v1/operations", content=content, params=query, headers=given)


def as_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    rows = [
        {"id": record.get("id", ""), **record.get("fields", {})} | {k: v for k, v in record.items() if k == "tags"}
        for record in records
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def updates(world: World, count: int = 3, **fields: str) -> list[dict[str, Any]]:
    """Records of an update that changes each of the first contacts."""
    return [{"id": id_, "fields": fields or {"companyName": f"New {id_}"}} for id_ in list(world.contacts)[:count]]
