"""Run ids: 26 characters that sort by time, or that are derived from a key so that a repeat finds the same run."""

import hashlib
import re
import secrets
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that is misread over the phone
_RUN = re.compile(r"run_[0-9a-hjkmnp-tv-z]{26}")
_TIME_MAX_MS = 10**13


def is_run_id(text: str) -> bool:
    return _RUN.fullmatch(text) is not None


def new_run_id(now: datetime) -> str:
    return "run_" + _base32(_milliseconds(now), 10) + _base32(secrets.randbits(80), 16)


def derived_run_id(*parts: str) -> str:
    """The same parts give the same id, on every copy of Guard and after a restart."""
    return "run_" + _base32(int.from_bytes(_digest(parts)[:17]) >> 6, 26)


def derived_operation_id(*parts: str) -> str:
    return "op_" + _base32(int.from_bytes(_digest(parts)[:10]), 16)


def index_key(opened_at: datetime, run: str) -> str:
    """The run's key in the index. Time runs backwards there, so that listing begins with the newest."""
    return f"index/{_TIME_MAX_MS - _milliseconds(opened_at):013d}-{run}"


def index_after(until: datetime) -> str:
    """A key after which the index holds only runs opened at `until` or before."""
    return f"index/{min(max(_TIME_MAX_MS - _milliseconds(until), 1), _TIME_MAX_MS) - 1:013d}-~"


def indexed(key: str) -> tuple[datetime, str]:
    """When a run of the index was opened, and its id."""
    time, _, run = key.removeprefix("index/").partition("-")
    return datetime.fromtimestamp((_TIME_MAX_MS - int(time)) / 1000, UTC), run


def _digest(parts: tuple[str, ...]) -> bytes:
    framed = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return hashlib.sha256(framed).digest()


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
