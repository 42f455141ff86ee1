"""Who signed a webhook: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

The library of that project takes the body as one text and raises what it meets; here the body stays on disk, its bytes
are signed as they came, and whatever is wrong ends in one sentence.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import IO

from starlette.datastructures import Headers

from guard.core.limits import KEY_CHARS_MAX, SIGNATURES_MAX, SIGNED_WITHIN_S

_PART_BYTES = 64 * 1024
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


class NotSigned(Exception):
    """The signature does not prove who sent this; the sentence tells nothing about the secrets."""


def is_signed(headers: Headers) -> bool:
    """It claims to be, so that its body is worth receiving."""
    return SIGNATURE in headers


def verify(headers: Headers, body: IO[bytes], keys: Sequence[bytes], now_s: float) -> None:
    """Return where one of the keys signed these headers and bytes, within the tolerance. Raises NotSigned."""
    id_, timestamp, signature = (_one(headers, name) for name in (ID, TIMESTAMP, SIGNATURE))
    if not id_.strip() or not id_.isprintable() or len(id_) > KEY_CHARS_MAX:
        raise NotSigned(f"{ID} must be printable, and have 1 to {KEY_CHARS_MAX} characters.")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise NotSigned(f"{TIMESTAMP} must be a time in seconds since 1970.")
    if abs(now_s - int(timestamp)) > SIGNED_WITHIN_S:
        raise NotSigned(
            f"{TIMESTAMP} is more than {SIGNED_WITHIN_S // 60} minutes from Guard's own time: the call is old, or a "
            "clock is wrong. Sign it anew when it is sent."
        )
    given = [each.encode("latin-1") for each in signature.split(" ") if each.startswith("v1,")][:SIGNATURES_MAX]
    if not given:
        raise NotSigned(f"{SIGNATURE} must hold a signature like v1,….")
    head = f"{id_}.{timestamp}.".encode("latin-1")
    # All are compared, so that the time taken does not tell which one nearly fitted.
    right = [_signed(key, head, body) for key in keys]
    fitting = [one for each in right for one in given if hmac.compare_digest(one, each)]
    if not fitting:
        raise NotSigned("No signature fits. It is made over 'webhook-id.webhook-timestamp.body', byte for byte.")


def _one(headers: Headers, name: str) -> str:
    found = headers.getlist(name)
    if len(found) != 1:
        raise NotSigned(f"A signed call has one {name} header; this one has {len(found) or 'none'}.")
    return found[0]


def _signed(key: bytes, head: bytes, body: IO[bytes]) -> bytes:
    digest = hmac.new(key, head, hashlib.sha256)
    body.seek(0)
    while part := body.read(_PART_BYTES):
        digest.update(part)
    body.seek(0)
    return b"v1," + base64.b64encode(digest.digest())
