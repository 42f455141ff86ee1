"""What Guard needs of a store: objects that are created once and never overwritten.

A store knows nothing of runs or journals. Two implementations exist (a local folder and S3), one conformance
suite holds both to the same promises (tests/store/conformance.py), and `probe` asks the real thing at start.
"""

from collections.abc import AsyncIterator
from typing import Protocol


class StoreError(Exception):
    """Base of everything a store may raise; nothing else escapes from one.

    StoreError
    ├── KeyTaken     an object with this key exists: somebody else won, nothing was changed
    ├── KeyMissing   no object with this key
    ├── Unavailable  the store did not do it and says so, or was never reached: try again
    └── Unknown      asked, and the answer is lost: the object may or may not exist now
    """


class KeyTaken(StoreError):
    pass


class KeyMissing(StoreError):
    pass


class Unavailable(StoreError):
    pass


class Unknown(StoreError):
    pass


def closed() -> Unavailable:
    return Unavailable("The store is closed.")


class Store(Protocol):
    """Keys are relative, '/'-separated, of characters [A-Za-z0-9._~-]; values are bytes, at most a few MiB.

    Every method may be called from many tasks at once, of many processes.
    """

    async def create(self, key: str, data: bytes) -> None:
        """Return once the object is durable. Of many callers with one key exactly one returns.

        Raises KeyTaken for the others (whatever the data), Unavailable where certainly nothing was stored,
        Unknown where it cannot tell.
        """
        ...

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyMissing, Unavailable."""
        ...

    def list(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Keys that begin with prefix, in the order of their bytes, those greater than the key `after` only.

        Raises Unavailable. Sees every object whose create had returned when the listing began.
        """
        ...

    async def remove(self, key: str) -> None:
        """Take a marker away; one that is not there is fine. Never called for journals or images."""
        ...

    async def close(self) -> None: ...
