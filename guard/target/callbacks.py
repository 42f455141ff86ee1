"""Callbacks to addresses that callers name: signed, and only to where the settings allow.

A caller could otherwise make Guard knock at addresses that only Guard reaches (a cloud's metadata, a database's
neighbour). So the name is resolved here, every address it has must be allowed, and the connection goes to the address
that was checked: a name that resolves differently a moment later (DNS rebinding) gains nothing. Redirects are not
followed. Signatures: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Sequence

import httpx2

from guard.core.errors import Refused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TIMEOUT_S = 15.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NotDelivered(Exception):
    """In words without the address, which may hold a secret."""


class Gone(NotDelivered):
    """The receiver answers 410: it wants nothing more at this address, as Zapier's does for a Zap that is off."""


class Callbacks:
    """`secret` signs (None: no callbacks); `allow` are host names and networks besides the public ones."""

    def __init__(self, secret: str | None, allow: Sequence[str] = ()) -> None:
        self._key = _key(secret) if secret else b""
        self._hosts = frozenset(each.lower() for each in allow if not _is_network(each))
        self._networks = [ipaddress.ip_network(each) for each in allow if _is_network(each)]

    @property
    def are_set_up(self) -> bool:
        return bool(self._key)

    def refuse_unfit(self, text: str, *, signed: bool = True, name: str = "callback_url") -> None:
        """Raise Refused where an address can already be seen not to do, so that the caller hears of it at once."""
        url = _parsed(text)
        if signed and not self._key:
            raise Refused("forbidden_callback", "Callbacks are not set up: callbacks.secret is not set.")
        if url is None or url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise Refused("forbidden_callback", f"{name} must be an address like https://example.com/done.")
        if url.scheme == "http" and not self._is_named(url.host):
            raise Refused("forbidden_callback", f"{name} must begin with https://.")
        literal = _address(url.host)
        if literal and not self._is_allowed(url.host, literal):
            raise Refused("forbidden_callback", f"{name} is not an address that Guard may call.")

    async def deliver(self, text: str, id_: str, body: bytes, *, signed: bool = True) -> None:
        """POST once; `id_` is the same for every attempt. Raises NotDelivered."""
        try:
            self.refuse_unfit(text, signed=signed)
        except Refused as error:
            raise NotDelivered(error.detail) from None
        url = httpx2.URL(text)
        address = await self._resolved(url)
        port = f":{url.port}" if url.port else ""
        headers = {"host": f"{url.host}{port}", "content-type": "application/json"}
        headers |= self._signed(id_, body) if signed else {}
        try:
            async with asyncio.timeout(_TIMEOUT_S), httpx2.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as http:
                request = http.build_request("POST", url.copy_with(host=str(address)), content=body, headers=headers)
                request.extensions["sni_hostname"] = url.host
                answer = await http.send(request, stream=True)
                await answer.aclose()
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise NotDelivered(f"no answer ({type(error).__name__})") from error
        if not 200 <= answer.status_code < 300:
            kind = Gone if answer.status_code == 410 else NotDelivered
            raise kind(f"the answer was {answer.status_code}")

    async def _resolved(self, url: httpx2.URL) -> Address:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
        except OSError:
            raise NotDelivered("its name cannot be resolved") from None
        addresses = [ipaddress.ip_address(each[4][0]) for each in found]
        if not addresses or not all(self._is_allowed(url.host, address) for address in addresses):
            raise NotDelivered("it is not at an address that Guard may call")
        return addresses[0]

    def _is_named(self, host: str) -> bool:
        literal = _address(host)
        return host.lower() in self._hosts or bool(literal and any(literal in network for network in self._networks))

    def _is_allowed(self, host: str, address: Address) -> bool:
        if host.lower() in self._hosts or any(address in network for network in self._networks):
            return True
        plain = getattr(address, "ipv4_mapped", None) or address
        inside = isinstance(plain, ipaddress.IPv6Address) and (plain in _NAT64 or plain.sixtofour or plain.teredo)
        return plain.is_global and not plain.is_multicast and not inside

    def _signed(self, id_: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        return {
            "webhook-id": id_,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self._key, id_, timestamp, body),
        }


def sign(key: bytes, id_: str, timestamp: str, body: bytes) -> str:
    digest = hmac.digest(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    """Raises ValueError where the secret is not base64, with or without `whsec_` in front."""
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)


def _parsed(text: str) -> httpx2.URL | None:
    try:
        return httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError, TypeError):
        return None


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
