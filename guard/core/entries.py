"""Journal entries and image lines: how they look as bytes, and how it is told that they are whole.

An entry is one JSON object; its first member is the digest of all the others, one of those is the digest of its
predecessor. Images are NDJSON, compressed, inside an event where they are small, an object named by digest else.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson
import zstandard

from guard.core.errors import Corrupt
from guard.core.limits import INLINE_BYTES_MAX, OBJECT_BYTES_MAX

VERSION = 1
GENESIS = "0" * 64
"""What the first entry names as its predecessor."""

Event = dict[str, Any]

_ENCODER = msgspec.json.Encoder()
_DIGEST_CHARS = 64
_PREFIX = b'{"digest":"'
_HEAD_BYTES = len(_PREFIX) + _DIGEST_CHARS + len(b'",')


def entry_key(run: str, n: int) -> str:
    return f"runs/{run}/{n:08d}"


def image_key(run: str, digest: str) -> str:
    return f"runs/{run}/images/{digest}"


@dataclass(frozen=True, slots=True)
class Entry:
    run: str
    n: int
    digest: str
    prev: str
    at: datetime
    writer: str
    events: list[Event]


def encode(run: str, n: int, prev: str, at: datetime, writer: str, events: list[Event]) -> tuple[str, bytes]:
    """An entry's digest and bytes. `writer` makes the bytes of no two writers equal."""
    rest = orjson.dumps(
        {"v": VERSION, "run": run, "n": n, "prev": prev, "at": at.isoformat(), "writer": writer, "events": events}
    )
    digest = hashlib.sha256(rest).hexdigest()
    return digest, _PREFIX + digest.encode() + b'",' + rest[1:]


def decode(run: str, n: int, data: bytes) -> Entry:
    """The entry, once its digest, run, number and version are what they must be. Raises Corrupt."""
    digest = data[len(_PREFIX) : len(_PREFIX) + _DIGEST_CHARS].decode("ascii", "replace")
    framed = data.startswith(_PREFIX) and data[_HEAD_BYTES - 2 : _HEAD_BYTES] == b'",'
    if not framed or hashlib.sha256(b"{" + data[_HEAD_BYTES:]).hexdigest() != digest:
        raise _corrupt(run, n, "its digest does not match its content")
    found = orjson.loads(data)
    if found["v"] != VERSION:
        raise _corrupt(run, n, f"it was written by another version of Guard (format {found['v']})")
    if (found["run"], found["n"]) != (run, n):
        raise _corrupt(run, n, f"it belongs to {found['run']} as entry {found['n']}")
    at = datetime.fromisoformat(found["at"])
    return Entry(run, n, digest, found["prev"], at, found["writer"], found["events"])


def check_chain(entry: Entry, prev: str) -> None:
    if entry.prev != prev:
        raise _corrupt(entry.run, entry.n, "it does not follow the entry before it")


def _corrupt(run: str, n: int, why: str) -> Corrupt:
    return Corrupt("corrupt", f"Journal entry {n} of {run} is damaged: {why}.", run=run, entry=n)


@dataclass(frozen=True, slots=True)
class Packed:
    """Lines as they are stored: what the event carries, and the object to create first (None: all inline)."""

    reference: dict[str, Any]
    digest: str
    data: bytes | None


def references(event: Event) -> list[Mapping[str, Any]]:
    """All that an event names of lines: its own, a vendor's answer, the records of an operation accepted for later."""
    own = [event[member] for member in ("lines", "reply") if member in event]
    return own + list(event.get("queued", {}).get("parts", ()))


def pack(lines: Iterable[Any]) -> Packed:
    """`lines` are what msgspec encodes as JSON: the structs of guard.core, dicts."""
    raw = _ENCODER.encode_lines(lines)
    data = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(raw)
    digest = hashlib.sha256(data).hexdigest()
    if len(data) <= INLINE_BYTES_MAX:
        return Packed({"inline": b64encode(data).decode(), "digest": digest}, digest, None)
    return Packed({"object": digest}, digest, data)


def unpack(run: str, reference: Mapping[str, Any], stored: bytes | None, kind: Any = Any) -> list[Any]:
    """The lines of a reference, as values of that kind; `stored` is the object it names, if any. Raises Corrupt."""
    data = b64decode(reference["inline"]) if "inline" in reference else stored or b""
    expected = reference.get("object") or reference["digest"]
    if hashlib.sha256(data).hexdigest() != expected:
        raise Corrupt("corrupt", f"An image of {run} is damaged: its digest does not match.", run=run, image=expected)
    raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=OBJECT_BYTES_MAX)
    return list(msgspec.json.Decoder(kind).decode_lines(raw))
