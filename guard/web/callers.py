"""Who is calling: client keys and the targets they open."""

import hashlib
import hmac

from starlette.requests import HTTPConnection

from guard.core.errors import Refused
from guard.settings import ClientSettings, Settings


class Callers:
    def __init__(self, settings: Settings) -> None:
        self._clients = [(_digest(client.key.get_secret_value()), client) for client in settings.clients]

    def client(self, request: HTTPConnection) -> ClientSettings:
        """Who sent this request. Raises Refused (unauthenticated)."""
        given = key_of(request)
        digest = _digest(given)
        # All are compared, so that the time taken does not tell which one nearly fitted.
        matching = [client for known, client in self._clients if hmac.compare_digest(known, digest)]
        if not given or not matching:
            raise Refused(
                "unauthenticated",
                "Send a client key of Guard's settings as 'Authorization: Bearer …' or 'Guard-Key: …'. "
                "Nothing was written.",
            )
        return matching[0]


def refuse_foreign(client: ClientSettings, target: str) -> None:
    """Raise Refused where the key does not open this target; whether the target exists is not told."""
    if target not in client.targets:
        raise Refused("forbidden", f"The key of {client.name} does not open the target {target!r}.")


def key_of(request: HTTPConnection) -> str:
    """The key that came along; empty where none did."""
    return request.headers.get("guard-key") or _bearer(request.headers.get("authorization", ""))


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
