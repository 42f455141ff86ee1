"""Revert tokens: `{run}.{expiry}.{mac}`. Derived, so a repeated request gets the same URL and nothing is stored."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

from guard.core.errors import Refused
from guard.core.ids import is_run_id

_MAC_BYTES = 24


def sign(run: str, expires_at: datetime, key: bytes) -> str:
    expiry = f"{int(expires_at.timestamp()):x}"
    return f"{run}.{expiry}.{_mac(run, expiry, key)}"


def verify(token: str, keys: Sequence[bytes], now: datetime) -> str:
    """The run that a token names. Raises Refused: invalid_token, expired_token."""
    run, _, rest = token.partition(".")
    expiry, _, mac = rest.partition(".")
    if not (token.isascii() and is_run_id(run) and any(_same(mac, _mac(run, expiry, key)) for key in keys)):
        raise Refused("invalid_token", "This revert URL is not valid. Copy it whole, from the answer that gave it.")
    # Only now is the expiry known to be ours.
    expires_at = datetime.fromtimestamp(int(expiry, 16), UTC)
    if now >= expires_at:
        raise Refused("expired_token", f"This revert URL expired at {expires_at:%Y-%m-%d %H:%M} UTC.")
    return run


def _mac(run: str, expiry: str, key: bytes) -> str:
    digest = hmac.digest(key, f"guard revert 1\n{run}\n{expiry}".encode(), hashlib.sha256)
    return urlsafe_b64encode(digest[:_MAC_BYTES]).decode()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
