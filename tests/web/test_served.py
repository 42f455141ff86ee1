"""What only a real server shows: a gigabyte that is refused early, memory that stays flat, hang-ups, the log."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.web.doors import READS
from tests.web.serving import Served, served
from tests.world import KEY

MIB = 2**20
QUERY = "target=crm&resource=contacts&action=update"


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as made:
        yield made


def writes(guard: Served) -> int:
    return sum(e[1] not in ("GET", "HEAD") and not READS.search(e[2]) for e in guard.sandbox.log.entries)


async def pour(guard: Served, head: str, block: bytes, total: int) -> tuple[int, bytes, float]:
    """Send a body until all is sent or the server has answered: bytes sent, the answer, the most memory used."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
    answer = asyncio.create_task(reader.readuntil(b"}"))
    writer.write(f"{head}\r\nHost: guard\r\nGuard-Key: {KEY}\r\n\r\n".encode())
    sent, most = 0, guard.memory_mib()
    try:
        while sent < total and not answer.done():
            writer.write(block)
            await asyncio.wait_for(writer.drain(), 2)
            sent += len(block)
            most = max(most, guard.memory_mib())
        if head.endswith("chunked") and sent >= total:
            writer.write(b"0\r\n\r\n")
        told = await asyncio.wait_for(answer, 10)
    except (ConnectionError, TimeoutError):
        told = answer.result() if answer.done() and not answer.exception() else b""
    finally:
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        writer.close()
    return sent, told, most


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


LINES = (b'{"id": "doesNotExist", "fields": {"city": "' + b"x" * 200 + b'"}}\n') * 4000
STREAMS = {
    "JSON without a length": ("application/json", "Transfer-Encoding: chunked", chunk(b" " * MIB)),
    "JSON that tells its length": ("application/json", f"Content-Length: {2**30}", b" " * MIB),
    "lines that tell their length": ("application/x-ndjson", f"Content-Length: {2**30}", LINES),
    "lines without a length": ("application/x-ndjson", "Transfer-Encoding: chunked", chunk(LINES)),
    "a CSV without a length": ("text/csv", "Transfer-Encoding: chunked", chunk(b"id,city\n" * 100_000)),
    "a CSV of one endless line": ("text/csv", "Transfer-Encoding: chunked", chunk(b"x" * MIB)),
    "one endless line": ("application/x-ndjson", "Transfer-Encoding: chunked", chunk(b" " * MIB)),
}
MOST_MIB = {"JSON": 17, "lines": 257, "a CSV": 257, "one": 257}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_gigabyte_is_refused_early_and_memory_stays_flat(guard: Served, name: str) -> None:
    kind, length, block = STREAMS[name]
    before, idle = writes(guard), guard.memory_mib()
    query = "" if kind == "application/json" else f"?{QUERY}"
    head = f"POST /v1/operations{query} HTTP/1.1\r\nContent-Type: {kind}\r\n{length}"
    sent, told, most = await pour(guard, head, block, 2**30)
    assert b" 413 " in told.split(b"\r\n")[0], told[:300]
    assert b"too_large" in told
    allowed = (
        0
        if length.startswith("Content-Length")
        else MOST_MIB[name.split(maxsplit=1)[0] if name[:2] != "a " else "a CSV"]
    )
    # What is on its way in the buffers of both sides when the answer comes is not the server's to refuse.
    assert sent < (allowed + 40) * MIB
    assert most - idle < 60
    assert before == writes(guard)


async def test_a_gigabyte_for_the_pass_through_is_refused_early(guard: Served) -> None:
    before, idle = writes(guard), guard.memory_mib()
    head = "PUT /to/crm/contacts/80odnXVE9BAcgXuiNEr1 HTTP/1.1\r\nTransfer-Encoding: chunked"
    sent, told, most = await pour(guard, head, chunk(b" " * MIB), 2**30)
    assert b"too_large" in told, told[:300]
    assert sent < 60 * MIB
    assert (before, True) == (writes(guard), most - idle < 60)


async def test_a_csv_whose_first_line_is_as_large_as_a_body_may_be_does_not_fill_the_memory(guard: Served) -> None:
    idle = guard.memory_mib()
    head = f"POST /v1/operations?{QUERY} HTTP/1.1\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked"
    head += "\r\nConnection: close\r\nX-End: chunked"
    _, told, most = await pour(guard, head, chunk(b"x" * MIB), 100 * MIB)
    assert b" 4" in told.split(b"\r\n")[0], told[:300]
    assert most - idle < 60
    assert guard.memory_mib() - idle < 60


async def test_a_length_that_is_a_lie_writes_nothing(guard: Served) -> None:
    before = writes(guard)
    body = b'{"target": "crm", "resource": "contacts", "action": "update", "records": []}'
    for length in (len(body) - 5, len(body) + 5):
        reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
        head = f"POST /v1/operations HTTP/1.1\r\nHost: g\r\nGuard-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
    for odd in ("-1", "x", "1e3", "5, 6"):
        reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
        head = f"POST /v1/operations HTTP/1.1\r\nHost: g\r\nGuard-Key: {KEY}\r\nContent-Length: {odd}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.write_eof()
        told = await asyncio.wait_for(reader.read(), 10)
        assert b" 400 " in told.split(b"\r\n")[0], (odd, told[:200])
        writer.close()
    assert before == writes(guard)


async def test_a_run_goes_on_after_its_caller_has_hung_up(guard: Served) -> None:
    ids = list(guard.sandbox.vendor.contacts.rows)[:3]  # type: ignore[attr-defined]
    before = {id_: guard.sandbox.vendor.contacts.rows[id_]["city"] for id_ in ids}  # type: ignore[attr-defined]
    guard.sandbox.latency_s = 1.0  # long enough to be seen going on
    records = [{"id": id_, "fields": {"city": "Hung up"}} for id_ in ids]
    body = {"target": "crm", "resource": "contacts", "action": "update", "records": records}
    async with guard.client() as http:

        async def is_(status: str) -> bool:
            newest = (await http.get("/v1/runs?limit=1")).json()["runs"]
            return bool(newest) and bool(newest[0]["status"] == status)

        async with guard.client() as another:
            posting = asyncio.create_task(another.post("/v1/operations", json=body))
            await guard.until(10, lambda: is_("running"))
            posting.cancel()
        guard.sandbox.latency_s = 0.0
        await guard.until(10, lambda: is_("applied"))
        told = (await http.get("/v1/runs?limit=1")).json()["runs"][0]
        assert told["records_applied"] == 3
        assert (await http.post(told["revert_url"])).json()["status"] == "reverted"
    rows = guard.sandbox.vendor.contacts.rows  # type: ignore[attr-defined]
    assert before == {id_: rows[id_]["city"] for id_ in ids}


async def test_many_callers_that_hang_up_during_reads_leave_the_target_usable(guard: Served) -> None:
    guard.sandbox.latency_s = 0.3
    path = "/to/crm/contacts/80odnXVE9BAcgXuiNEr1"
    async with guard.client() as http:
        for _ in range(2):
            asked = [http.get(path, timeout=0.1) for _ in range(15)]
            await asyncio.gather(*asked, return_exceptions=True)
        guard.sandbox.latency_s = 0.0
        assert (await http.get(path, timeout=10)).status_code == 200


async def test_the_log_of_the_server_holds_no_address_token_key_or_record(guard: Served) -> None:
    id_ = "80odnXVE9BAcgXuiNEr1"
    # After a fault of its own the server closes the connection, so each request gets a new one.
    async with guard.client() as http:
        http.headers["connection"] = "close"
        body = {"target": "crm", "resource": "contacts", "action": "update"}
        records = [{"id": id_, "fields": {"companyName": "canary-of-a-record"}}]
        told = (await http.post("/v1/operations", json={**body, "records": records})).json()
        odd = [{"id": id_, "fields": "canary-of-a-record"}]
        await http.post("/v1/operations", json={**body, "records": odd})
        upsert = [{"fields": {"email": "canary-of-a-record@example.com"}}]
        made = (await http.post("/v1/operations", json={**body, "action": "upsert", "records": upsert})).json()
        for run in (told, made):
            await http.get(run["revert_url"])
            await http.get(run["revert_url"] + "x")
            await http.post(run["revert_url"])
    log = guard.log.read_text()
    assert "listening" in log
    assert "canary-of-a-record" not in log
    assert KEY not in log
    assert not re.search(r"/revert/|run_[0-9a-z]{26}\.", log)
    assert "Traceback" not in log


def test_the_folder_of_the_store_is_not_open_to_others(guard: Served) -> None:
    """Snapshots are copies of records: whoever shares the machine has no business in them."""
    store = guard.log.parent / "store"
    assert store.is_dir()
    open_to_others = [path for path in [store, *store.rglob("*")] if path.stat().st_mode & 0o007]
    assert not open_to_others
