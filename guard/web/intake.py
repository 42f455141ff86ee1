"""Bodies of bulk operations: JSON, NDJSON and CSV, checked whole before the first record is acted upon.

A body is taken to disk first: so its digest is known (a repeat is recognised by it), a broken last line is found
before the first is written, and memory stays flat.
"""

import asyncio
import csv
import hashlib
import io
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import orjson
from starlette.requests import Request

from guard.core.errors import GuardError, Refused
from guard.core.limits import JSON_BYTES_MAX, RECORD_BYTES_MAX, RECORDS_MAX
from guard.core.model import RECORD_MEMBERS
from guard.flows.protect import Records
from guard.target.base import Target
from guard.web.bodies import parts
from guard.web.numbers import refuse_rounded

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
_TYPES = {JSON: JSON, NDJSON: NDJSON, "application/ndjson": NDJSON, "application/jsonl": NDJSON, CSV: CSV}

_IN_MEMORY_BYTES = 1024 * 1024
_BREATHE_EVERY = 500
Source = Generator[tuple[int, Mapping[str, Any]], None, None]
"""Records with their numbers, from 1. Whoever takes it closes it."""

CSV_NULL = "\\N"
"""A CSV cell of just this means null; an empty cell means an empty text."""


@dataclass(slots=True)
class Body:
    """A received body: seekable, with its digest and size."""

    file: IO[bytes]
    digest: str
    size: int
    kind: str

    def close(self) -> None:
        self.file.close()


def kind_of(request: Request) -> str:
    """JSON, NDJSON or CSV, as Content-Type tells. Raises Refused."""
    given = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if given not in _TYPES:
        raise Refused(
            "unsupported_media_type",
            f"A body of type {given[:80]!r} cannot be read. Send application/json, application/x-ndjson or text/csv. "
            "Nothing was written.",
        )
    refuse_encoded(request)
    return _TYPES[given]


def refuse_encoded(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(
            "unsupported_media_type", "Send the body as it is, without Content-Encoding. Nothing was written."
        )


async def receive(request: Request, bytes_max: int) -> Body:
    """Take the body to disk. Raises Refused (too_large) as soon as it is."""
    kind = kind_of(request)
    if kind == JSON:
        return await taken(request, min(bytes_max, JSON_BYTES_MAX), kind, "As NDJSON or CSV it may be larger.")
    return await taken(request, bytes_max, kind, "Send it in several operations.")


async def taken(request: Request, bytes_max: int, kind: str, advice: str) -> Body:
    """A body of whatever kind. Raises Refused (too_large) as soon as it is, with `advice`."""
    _refuse_too_large(int(request.headers.get("content-length", "0")), bytes_max, advice)
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by Body.close
    digest, size = hashlib.sha256(), 0
    try:
        async for part in parts(request):
            size += len(part)
            _refuse_too_large(size, bytes_max, advice)
            digest.update(part)
            file.write(part)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return Body(file, digest.hexdigest(), size, kind)


def _refuse_too_large(size: int, bytes_max: int, advice: str) -> None:
    if size > bytes_max:
        raise Refused("too_large", f"The body is larger than {bytes_max // 1024} KiB. {advice} Nothing was written.")


async def known_records(source: Callable[[], Source], what: "What", target: Target) -> Records:
    """Every record as a change of the target. A field that is not known may have been made a minute ago: then the
    target's definitions are read anew, and the records once more. Raises Refused, Unavailable."""
    try:
        return await _checked(source, what, target)
    except Refused as refused:
        if refused.code != "unknown_field" or not await target.renewed(what.resource):
            raise
    return await _checked(source, what, target)


async def _checked(source: Callable[[], Source], what: "What", target: Target) -> Records:
    with closing(source()) as records:
        return await checked(records, what, target)


async def checked(source: Source, what: "What", target: Target) -> Records:
    """Every record as a change of the target, on disk. Raises Refused with the record's number; closed by the flow."""
    records = Records()
    try:
        while part := list(islice(source, _BREATHE_EVERY)):
            allowed = min(RECORDS_MAX, what.records_max)
            if part[-1][0] > allowed:
                raise Refused("too_large", f"An operation may have {allowed} records. Nothing was written.")
            records.add([_change(target, what, number, record) for number, record in part])
            await asyncio.sleep(0)  # others have their turn while a long body is parsed
    except BaseException:
        records.close()
        raise
    if not records.count:
        records.close()
        raise Refused("invalid_request", "The operation has no records. Nothing was written.")
    return records


@dataclass(frozen=True, slots=True)
class What:
    resource: str
    action: str
    records_max: int


def _change(target: Target, what: What, number: int, record: Mapping[str, Any]) -> Any:
    try:
        members = RECORD_MEMBERS.get(what.action)
        if members and not members.issuperset(record):
            unknown, allowed = sorted(set(record) - members), " and ".join(sorted(members))
            raise Refused("invalid_record", f"It has a member {unknown[0][:80]!r}; a record has {allowed}.")
        change = target.change(what.resource, what.action, record)
        if change.id is None and what.action not in ("create", "upsert"):
            raise Refused("invalid_record", "It has no id.")
    except GuardError as error:
        detail = f"Record {number}: {error.detail}"
        if "Nothing was written" not in detail:
            detail += " Nothing was written."
        raise Refused(error.code, detail, record=number, **error.members) from None
    return change


def json_records(given: Any) -> Source:
    if not isinstance(given, list):
        raise Refused("invalid_request", "'records' must be a list of objects. Nothing was written.")
    for number, record in enumerate(given, 1):
        yield number, _object(number, record)


def ndjson_records(body: Body) -> Source:
    number = line_number = 0
    while line := body.file.readline(RECORD_BYTES_MAX + 1):
        line_number += 1
        if not line.strip():
            continue
        number += 1
        if len(line) > RECORD_BYTES_MAX:
            raise Refused("too_large", f"Record {number} is larger than {RECORD_BYTES_MAX // 1024} KiB.")
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Refused(
                "invalid_body", f"Line {line_number} is not JSON ({error.msg}). Nothing was written."
            ) from None
        refuse_rounded(line, f"A number of line {line_number}")
        yield number, _object(number, record)


def csv_records(body: Body, action: str, id_column: str) -> Source:
    """The first line names the columns; one of them holds the ids, the others are fields."""
    text = io.TextIOWrapper(body.file, encoding="utf-8-sig", newline="")
    try:
        header = text.readline(RECORD_BYTES_MAX)
        text.seek(0)
        reader = csv.reader(_lines(text), delimiter=max(",;\t", key=header.count), strict=True)
        columns = _columns(next(reader, []), action, id_column)
        for number, cells in enumerate((cells for cells in reader if cells), 1):
            if len(cells) != len(columns):
                detail = f"Row {number} has {len(cells)} cells, the header has {len(columns)}. Nothing was written."
                raise Refused("invalid_body", detail, record=number)
            values = [None if cell == CSV_NULL else cell for cell in cells]
            yield number, _csv_record(dict(zip(columns, values, strict=True)), action, id_column)
    except UnicodeDecodeError as error:
        detail = f"The CSV is not UTF-8 (byte {error.start} of a part). Save it as 'CSV UTF-8'. Nothing was written."
        raise Refused("invalid_body", detail) from None
    except csv.Error as error:
        raise Refused("invalid_body", f"The CSV is broken: {error}. Nothing was written.") from None
    finally:
        text.detach()


def _lines(text: IO[str]) -> Iterator[str]:
    """Line by line, none longer than a record may be: one endless line would fill the memory."""
    while line := text.readline(RECORD_BYTES_MAX + 1):
        if len(line) > RECORD_BYTES_MAX:
            raise Refused("too_large", f"A line of the CSV is longer than {RECORD_BYTES_MAX // 1024} KiB.")
        yield line


def _columns(columns: list[str], action: str, id_column: str) -> list[str]:
    if len(set(columns)) != len(columns) or not all(columns):
        raise Refused(
            "invalid_body", "Two columns of the CSV have the same name, or one has none. Nothing was written."
        )
    if id_column not in columns and action not in ("create", "upsert"):
        raise Refused(
            "invalid_body",
            f"The CSV has no column {id_column!r}, so it does not tell which records are meant. "
            "Name the right one with id_column. Nothing was written.",
        )
    return columns


def _csv_record(row: dict[str, Any], action: str, id_column: str) -> dict[str, Any]:
    given = row.pop(id_column, None)
    id_ = {"id": given} if given else {}
    if action in ("create", "update", "upsert"):
        return {**id_, "fields": row}
    return id_ if action == "delete" else {**row, **id_}


def _object(number: int, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise Refused("invalid_record", f"Record {number} is not an object. Nothing was written.", record=number)
    return record
