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
        if found := self.known(request):
            return found
        raise Refused(
            "unauthenticated",
            "Send a client key of Guard's settings as 'Authorization: Bearer …' or 'Guard-Key: …'. "
            "Nothing was written.",
        )

    def known(self, request: HTTPConnection) -> ClientSettings | None:
        """Who sent this request, where its key tells."""
        return self.of_key(key_of(request))

    def of_key(self, given: str) -> ClientSettings | None:
        """The client whose key this is."""
        digest = _digest(given)
        # All are compared, so that the time taken does not tell which one nearly fitted.
        matching = [client for known, client in self._clients if hmac.compare_digest(known, digest)]
        return matching[0] if given and matching else None


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
