"""Bodies that cannot be read: cut, of another encoding, ragged, huge. Nothing of them is written."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from tests.web.doors import NOTHING_WRITTEN, assert_problem, nothing_happens, post, updates
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED: dict[str, Any] = {"target": "crm", "resource": "contacts", "action": "update"}
FIRST, SECOND = "80odnXVE9BAcgXuiNEr1", "FoCNvDAJbPdZLo13emta"


def lines(count: int) -> bytes:
    return b"".join(orjson.dumps({"id": f"id{n}", "fields": {"city": "Rome"}}) + b"\n" for n in range(count))


BROKEN_JSON = {
    "cut": b'{"target": "crm", "resource": "contacts", "action": "update", "records": [{"id": "a", "fie',
    "a comma too many": b'{"target": "crm",}',
    "single quotes": b"{'target': 'crm'}",
    "not a number": b'{"target": NaN}',
    "two documents": b'{"target": "crm"}{"target": "crm"}',
    "half a surrogate": b'{"target": "\\ud800"}',
    "a control character": b'{"target": "c\x00rm"}',
    "nested too deep": b'{"a":' * 100_000,
    "UTF-16": '{"target": "crm"}'.encode("utf-16"),
    "cp1252": '{"target": "crm", "note": "Zürich"}'.encode("cp1252"),
    "HTML": b"<html></html>",
    "nothing": b"",
    "blanks": b" \n ",
}


@pytest.mark.parametrize("name", BROKEN_JSON)
async def test_broken_json_is_refused_and_nothing_is_written(shared_world: World, name: str) -> None:
    with nothing_happens(shared_world):
        told = assert_problem(await post(shared_world, BROKEN_JSON[name]), "invalid_body")
    assert NOTHING_WRITTEN.search(told["detail"])


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b'"text"'], ids=repr)
async def test_json_that_is_no_object_is_refused(shared_world: World, content: bytes) -> None:
    with nothing_happens(shared_world):
        assert_problem(await post(shared_world, content), "invalid_request")


async def test_a_pass_through_of_broken_json_is_refused_and_not_forwarded(shared_world: World) -> None:
    for content in BROKEN_JSON.values():
        if content.strip():
            with nothing_happens(shared_world):
                reply = await shared_world.http.put(f"/to/crm/contacts/{FIRST}", content=content)
                told = assert_problem(reply, "invalid_body")
            assert NOTHING_WRITTEN.search(told["detail"])


@pytest.mark.parametrize("content", [b"", b" ", b"[]", b"5", b"null", b"{}", b'["firstName"]'], ids=repr)
async def test_a_pass_through_write_whose_body_names_nothing_is_refused_and_not_forwarded(
    shared_world: World, content: bytes
) -> None:
    with nothing_happens(shared_world):
        reply = await shared_world.http.put(f"/to/crm/contacts/{FIRST}", content=content)
        assert (reply.status_code, "application/problem+json") == (422, reply.headers["content-type"]) or (
            reply.status_code == 400
        ), reply.text


ODD_PASSES = {
    "channels that are a text": ("PUT", f"/contacts/{FIRST}", {"dndSettings": "off"}),
    "a channel that is a text": ("PUT", f"/contacts/{FIRST}", {"dndSettings": {"Call": "off"}}),
    "a channel that is a list": ("PUT", f"/contacts/{FIRST}", {"inboundDndSettings": {"all": [1]}}),
    "tags that are a number": ("PUT", f"/contacts/{FIRST}", {"tags": 5}),
    "custom fields that are a text": ("PUT", f"/contacts/{FIRST}", {"customFields": "x"}),
    "ids that are a text": ("POST", "/contacts/bulk/business", {"ids": FIRST, "businessId": "b"}),
    "ids that are numbers": ("POST", "/contacts/bulk/business", {"ids": [5], "businessId": "b"}),
    "an id with a path in it": ("POST", "/contacts/bulk/business", {"ids": ["../x"], "businessId": "b"}),
    "no ids": ("POST", "/contacts/bulk/business", {"businessId": "b"}),
    "contacts with a null": ("POST", "/contacts/bulk/tags/update/add", {"contacts": [None], "tags": ["a"]}),
    "a kind of bulk update that is not known": ("POST", "/contacts/bulk/tags/update/flip", {"contacts": [FIRST]}),
    "followers that are a number": ("POST", "/opportunities/7ZPllhfqWKh2O0lTQsq3/followers", {"followers": 5}),
    "an upsert that names nobody": ("POST", "/contacts/upsert", {"firstName": "Eve"}),
    "an id that is an object": ("POST", "/opportunities/upsert", {"id": {"a": 1}, "name": "x"}),
}


@pytest.mark.parametrize("name", ODD_PASSES)
async def test_a_pass_through_write_of_the_wrong_shape_is_refused_and_not_forwarded(
    shared_world: World, name: str
) -> None:
    method, path, body = ODD_PASSES[name]
    with nothing_happens(shared_world):
        reply = await shared_world.http.request(method, f"/to/crm{path}", json=body)
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    assert reply.json()["code"] in ("invalid_record", "invalid_request", "unknown_route"), reply.text


async def test_a_pass_through_write_that_names_a_record_twice_is_guarded_once(shared_world: World) -> None:
    """The vendor takes such a body, so it is passed on: then its records must be counted and taken back once."""
    before = shared_world.seen()
    body = {"contacts": [FIRST, FIRST], "tags": ["twice"], "locationId": "ve9EPM428h8vShlRW1KT"}
    reply = await shared_world.http.post("/to/crm/contacts/bulk/tags/update/add", json=body)
    if reply.status_code < 300:
        url = reply.headers["guard-revert-url"].removeprefix("http://guard.test")
        assert (await shared_world.http.post(url)).json()["records_total"] == 1
    assert before == shared_world.seen()


BROKEN_LINES = {
    "the last line is cut": lines(10_000) + b'{"id": "x", "fields": {"ci',
    "a line in the middle is cut": lines(700) + b'{"id": "x"\n' + lines(5),
    "the first line is a list of all": b"[" + lines(2).replace(b"\n", b",") + b"{}]\n",
    "a comma after each line": lines(3).replace(b"\n", b",\n"),
    "UTF-16": lines(2).decode().encode("utf-16"),
    "cp1252": '{"id": "a", "fields": {"city": "Zürich"}}\n'.encode("cp1252"),
    "a null byte": lines(2) + b"\x00\n",
    "no line feeds": lines(3).replace(b"\n", b""),
    "a header of a CSV": b"id,city\na,Rome\n",
}


@pytest.mark.parametrize("name", BROKEN_LINES)
async def test_a_broken_line_is_told_and_nothing_of_the_good_ones_is_written(shared_world: World, name: str) -> None:
    with nothing_happens(shared_world):
        reply = await post(shared_world, BROKEN_LINES[name], "ndjson", **ASKED)
        told = assert_problem(reply, "invalid_record" if name == "the first line is a list of all" else "invalid_body")
    assert NOTHING_WRITTEN.search(told["detail"])


async def test_the_line_that_is_told_is_the_one_an_editor_shows(shared_world: World) -> None:
    content = lines(3) + b"\n\n" + b"{broken\n"
    told = assert_problem(await post(shared_world, content, "ndjson", **ASKED), "invalid_body")
    assert "Line 6 " in told["detail"]


async def test_a_line_larger_than_a_record_may_be_is_refused(shared_world: World) -> None:
    content = lines(2) + orjson.dumps({"id": "x", "fields": {"city": "x" * 1024 * 1024}}) + b"\n"
    with nothing_happens(shared_world):
        assert_problem(await post(shared_world, content, "ndjson", **ASKED), "too_large")


ROUNDED = ["12345678901234567.89", "18446744073709551616", "-9223372036854775809", "0.12345678901234567891"]
KEPT = [
    "9007199254740993",
    "18446744073709551615",
    "0.1",
    "1234567.10",
    "3.141592653589793",
    "1e21",
    '"123456789012345.9"',
]


@pytest.mark.parametrize("kind", ["json", "ndjson"])
async def test_a_number_that_would_be_rounded_is_refused(shared_world: World, kind: str) -> None:
    """Of 12345678901234567.89 any parser makes another number, without a word."""
    query = {"target": "crm", "resource": "opportunities", "action": "update", "dry_run": "true"}

    async def reply(value: str) -> httpx2.Response:
        record = f'{{"id": "abc", "fields": {{"name": "1.2345678901234567890", "monetaryValue": {value}}}}}'
        if kind == "ndjson":
            return await post(shared_world, record.encode(), kind, headers=None, **query)
        return await post(shared_world, orjson.dumps(query)[:-1] + f', "records": [{record}]}}'.encode())

    with nothing_happens(shared_world):
        for value in ROUNDED:
            told = assert_problem(await reply(value), "invalid_body")
            assert value not in told["detail"]
        for value in KEPT:
            kept = await reply(value)
            assert kept.status_code == 200, (value, kept.text)


async def test_lines_that_end_as_on_windows_are_read(shared_world: World) -> None:
    content = lines(2).replace(b"\n", b"\r\n")
    reply = await post(shared_world, content, "ndjson", dry_run="true", **ASKED)
    assert (reply.status_code, reply.json()["records_total"]) == (200, 2), reply.text


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
@pytest.mark.parametrize("content", [b"", b"\n\n"], ids=repr)
async def test_an_empty_body_is_refused(shared_world: World, kind: str, content: bytes) -> None:
    with nothing_happens(shared_world):
        reply = await post(shared_world, content, kind, **ASKED)
        assert reply.json()["code"] in ("invalid_request", "invalid_body"), reply.text
    assert NOTHING_WRITTEN.search(reply.json()["detail"])


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
async def test_a_streamed_body_without_a_target_in_the_query_is_refused_before_it_is_taken(
    shared_world: World, kind: str
) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    with nothing_happens(shared_world):
        headers = {"content-type": "text/csv" if kind == "csv" else "application/x-ndjson"}
        reply = await shared_world.http.post("/v1/operations", content=unread(), headers=headers)
        assert_problem(reply, "invalid_request")


BROKEN_CSV = {
    "no id column": b"Id,city\na,Rome\n",
    "a header only of fields": b"city\nRome\n",
    "a row that is too short": b"id,city,state\na,Rome,RM\nb,Oslo\n",
    "a row that is too long": b"id,city\na,Rome\nb,Oslo,NO\n",
    "a row in the middle that is too long": b"id,city\n" + b"a,Rome\n" * 1 + b"b,Oslo,NO\n" + b"c,Bern\n",
    "two columns of one name": b"id,city,city\na,Rome,Oslo\n",
    "a column without a name": b"id,,city\na,x,Rome\n",
    "two id columns": b"id,id,city\na,b,Rome\n",
    "a quote that is not closed": b'id,city\na,"Rome\nb,Oslo\n',
    "text after a quote": b'id,city\na,"Rome"x\n',
    "UTF-16": "id,city\na,Rome\n".encode("utf-16"),
    "UTF-16 without a mark": "id,city\na,Rome\n".encode("utf-16-le"),
    "cp1252": "id,city\na,Zürich\n".encode("cp1252"),
    "cp1252 in the last of many rows": b"id,city\n"
    + b"".join(b"id%d,Rome\n" % n for n in range(10_000))
    + "x,Zürich\n".encode("cp1252"),
    "a workbook of Excel": b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\xe2\x9a\x80",
    "a huge cell": b"id,city\na," + b"x" * 2 * 1024 * 1024 + b"\n",
    "JSON": b'{"records": []}',
}


@pytest.mark.parametrize("name", BROKEN_CSV)
async def test_a_broken_csv_is_told_and_nothing_of_the_good_rows_is_written(shared_world: World, name: str) -> None:
    with nothing_happens(shared_world):
        reply = await post(shared_world, BROKEN_CSV[name], "csv", **ASKED)
        told = reply.json()
        assert_problem(reply, told.get("code") if told.get("code") == "too_large" else "invalid_body")
    assert NOTHING_WRITTEN.search(told["detail"])


GOOD_CSV = {
    "a byte order mark": b"\xef\xbb\xbfid,city\na,Rome\nb,Oslo\n",
    "semicolons": b"id;city\na;Rome\nb;Oslo, NO\n",
    "tabs": b"id\tcity\na\tRome\nb\tOslo\n",
    "lines as on Windows": b"id,city\r\na,Rome\r\nb,Oslo\r\n",
    "no line feed at the end": b"id,city\na,Rome\nb,Oslo",
    "empty lines": b"id,city\n\na,Rome\n\nb,Oslo\n\n",
    "quoted line feeds": b'id,city\na,"Rome\nor not"\nb,"Oslo\r\n\r\nNO"\n',
    "quoted separators": b'id,city\na,"Rome, or ""not"""\nb,"Oslo;"\n',
    "a semicolon in a quoted column": b'id,city\na,"x;y;z"\nb,Oslo\n',
}


@pytest.mark.parametrize("name", GOOD_CSV)
async def test_what_spreadsheets_write_is_read(shared_world: World, name: str) -> None:
    reply = await post(shared_world, GOOD_CSV[name], "csv", dry_run="true", **ASKED)
    assert (reply.status_code, reply.json().get("records_total")) == (200, 2), reply.text


async def test_another_column_may_hold_the_ids(shared_world: World) -> None:
    content = f"Contact Id,city\n{FIRST},Rome\n".encode()
    reply = await post(shared_world, content, "csv", dry_run="true", id_column="Contact Id", **ASKED)
    assert (reply.status_code, reply.json().get("records_total")) == (200, 1), reply.text


async def test_an_upsert_by_csv_may_leave_ids_empty_where_records_are_new(shared_world: World) -> None:
    content = f"id,email,city\n{FIRST},a@example.com,Rome\n,new@example.com,Oslo\n".encode()
    reply = await post(shared_world, content, "csv", dry_run="true", **{**ASKED, "action": "upsert"})
    assert (reply.status_code, reply.json().get("records_total")) == (200, 2), reply.text


OTHER_TYPES = ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]


@pytest.mark.parametrize("kind", [*OTHER_TYPES, "application/vnd.ms-excel", "x" * 300])
async def test_a_body_of_another_type_is_refused(shared_world: World, kind: str) -> None:
    with nothing_happens(shared_world):
        told = assert_problem(await post(shared_world, b"{}", kind, **ASKED), "unsupported_media_type")
    assert len(told["detail"]) < 300
    assert NOTHING_WRITTEN.search(told["detail"])


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
async def test_a_compressed_body_is_refused_at_both_doors(shared_world: World, encoding: str) -> None:
    headers = {"content-encoding": encoding}
    with nothing_happens(shared_world):
        reply = await post(shared_world, b"\x1f\x8b", "csv", headers=headers, **ASKED)
        assert_problem(reply, "unsupported_media_type")
        reply = await shared_world.http.put(f"/to/crm/contacts/{FIRST}", content=b'{"city": "Rome"}', headers=headers)
        assert_problem(reply, "unsupported_media_type")


async def test_a_charset_that_is_not_utf_8_is_refused_rather_than_misread(shared_world: World) -> None:
    with nothing_happens(shared_world):
        content = f"id,city\n{FIRST},Z\xfcrich\n".encode("latin-1")
        assert_problem(await post(shared_world, content, "text/csv; charset=iso-8859-1", **ASKED), "invalid_body")


async def test_a_json_body_above_its_limit_is_refused_with_the_way_out(shared_world: World) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1024 * 1024

    with nothing_happens(shared_world):
        headers = {"content-type": "application/json"}
        reply = await shared_world.http.post("/v1/operations", content=endless(), headers=headers)
        told = assert_problem(reply, "too_large")
    assert "NDJSON" in told["detail"]


@pytest.mark.parametrize("length", ["99999999999999", "17179869184"])
async def test_an_announced_length_above_the_limit_is_refused_before_the_body_is_taken(
    shared_world: World, length: str
) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    with nothing_happens(shared_world):
        headers = {"content-type": "text/csv", "content-length": length}
        reply = await shared_world.http.post("/v1/operations", params=ASKED, content=unread(), headers=headers)
        assert_problem(reply, "too_large")


async def test_a_pass_through_body_above_its_limit_is_refused_and_not_forwarded(shared_world: World) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1024 * 1024

    with nothing_happens(shared_world):
        reply = await shared_world.http.put(f"/to/crm/contacts/{FIRST}", content=endless())
        assert_problem(reply, "too_large")


@pytest.mark.parametrize("kind", ["json", "ndjson", "csv"])
async def test_a_caller_that_hangs_up_in_the_middle_of_the_body_writes_nothing(shared_world: World, kind: str) -> None:
    content = b'{"target": "crm"' if kind == "json" else b"id,city\na," if kind == "csv" else lines(3)
    messages: Any = iter(
        [{"type": "http.request", "body": content, "more_body": True}, {"type": "http.disconnect"}],
    )
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return next(messages)

    async def answer(message: dict[str, object]) -> None:
        sent.append(message)

    types = {"json": b"application/json", "ndjson": b"application/x-ndjson", "csv": b"text/csv"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/operations",
        "raw_path": b"/v1/operations",
        "query_string": b"" if kind == "json" else b"target=crm&resource=contacts&action=update",
        "headers": [(b"content-type", types[kind]), (b"guard-key", shared_world.http.headers["guard-key"].encode())],
    }
    with nothing_happens(shared_world):
        await shared_world.app(scope, receive, answer)  # type: ignore[arg-type]
    assert sent[0]["status"] == 400


async def test_values_of_a_csv_arrive_as_they_were_written(shared_world: World) -> None:
    """The one good operation here, taken back at once: quoted, with a null and an empty text."""
    before = shared_world.seen()
    content = f'id;city;state\r\n{FIRST};"Rome\n""Eternal""; Ω";\\N\r\n{SECOND};Oslo;\r\n'.encode("utf-8-sig")
    reply = await post(shared_world, content, "csv", **ASKED)
    assert reply.status_code == 200, reply.text
    assert shared_world.contacts[FIRST]["city"] == 'Rome\n"Eternal"; Ω'
    assert not shared_world.contacts[FIRST].get("state")
    assert not shared_world.contacts[SECOND].get("state")
    await shared_world.revert(reply.json())
    assert before == shared_world.seen()
    assert updates(shared_world, 1)
