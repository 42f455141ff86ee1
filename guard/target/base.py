"""What the flows need of a target, be it a vendor's API or a database.

async with target.work() as work:            # a database: one transaction; an API: nothing to hold
    touched  = await work.before(changes)    # upserts resolved, pre-images read (a database: rows locked)
    …the flow makes the snapshot durable…
    outcomes = await work.write(touched)     # sends
    outcomes = await work.after(touched, outcomes)   # post-images that the answers did not carry
    await work.commit()                      # a database: now it is so; an API: nothing
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from guard.core.model import Change, Image, Key, Known, Outcome, Resource, Reversal, Touched
from handlers.base import Call, Reply, Traits

MayWrite = Callable[[], bool]

Ask = Callable[[Call], Coroutine[Any, Any, Reply]]
"""Makes a call that reads. Raises Unavailable where no answer can be had."""


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Meant:
    """Ids of some of the records that a filter means, and how many it means in all, where the target tells."""

    ids: Sequence[str]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of a vendor's API, as far as they are known before anything is read."""

    run: int
    revert: int


def by_resource(keys: Iterable[Key]) -> dict[str, list[str]]:
    """Resource -> ids, in the order given, each once."""
    ids: dict[str, list[str]] = {}
    for resource, id_ in dict.fromkeys(keys):
        ids.setdefault(resource, []).append(id_)
    return ids


def keys_of(changes: Iterable[Change]) -> Iterable[Key]:
    return ((change.resource, str(change.id)) for change in changes)


class Work(Protocol):
    """One operation's or revert's passage through a target. Not shared between operations.

    An API's may be used by several chunks at once; a database's (`traits.isolated`) by one chunk after the other.
    """

    receipt: str | None
    """A database: the transaction's own id, known once `write` was called; the snapshot's journal keeps it."""

    def select(
        self, resource: str, action: str, fields: Mapping[str, Any], where: Mapping[str, Any]
    ) -> AsyncIterator[list[Change]]:
        """The changes of an operation that names a filter in place of ids, a chunk at a time. Raises Refused."""
        ...

    async def look(self, resource: str, ids: Sequence[str]) -> dict[str, Image]:
        """What the records hold now (a database: and nobody changes them until commit). One that cannot be read is
        left out; raises Unavailable where none can."""
        ...

    def let_go(self, keys: Iterable[Key]) -> None:
        """What was looked at and will not be written: others may have it (a database: at the end)."""
        ...

    async def before(self, changes: Sequence[Change], known: Known | None = None) -> list[Touched]:
        """Each change with its pre-image, and the changes the target makes by itself because of them (cascades).

        Upserts come back as creates or updates. A record that must not be sent carries its `problem`. `known` are
        images that `look` has just answered: they are not read again. Implied changes stand before the change
        that implies them, in the order in which the target carries them out.
        Raises Unavailable (nothing was written), Refused (the whole operation cannot be).
        """
        ...

    async def write(self, touched: Sequence[Touched]) -> list[Outcome]:
        """Send those that have no problem; one outcome per change, in order. Never raises once it may have sent."""
        ...

    async def after(self, touched: Sequence[Touched], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes with post-images read where they are not sealed, unknown ones settled where reading can."""
        ...

    async def commit(self) -> None:
        """Raises Unavailable (certainly nothing was written) or InDoubt."""
        ...


class Target(Protocol):
    """A configured connection to one system."""

    name: str
    traits: Traits
    chunk_records: int
    """Records read, snapshot and written together."""
    side_effects: str
    """What a write sets off that nothing takes back, in words; empty: nothing is known to."""

    @property
    def referred_to(self) -> Mapping[str, int]:
        """Resources whose ids are fields of others and that get a new id when they are created again; the number says
        in which order: each after those that it refers to itself."""
        ...

    @property
    def actions(self) -> Mapping[str, Sequence[str]]:
        """Resources, each with what an operation may ask of it; one without a name stands for any (a table)."""
        ...

    async def resource(self, name: str) -> Resource:
        """Raises Refused (unknown_resource), Unavailable."""
        ...

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        """One record of a bulk operation as a change; `resource` was opened before. Raises Refused."""
        ...

    async def renewed(self, resource: str) -> bool:
        """After a refusal for an unknown field: True where the target's definitions were read anew just now, so that
        the same record may be no longer refused. Raises Unavailable."""
        ...

    def references(self, resource: str) -> Mapping[str, str]:
        """Fields that hold ids of other resources, where a re-created record gets a new id."""
        ...

    def title(self, resource: str, image: Image) -> str:
        """What people call this record; empty where the target cannot tell."""
        ...

    def touches(self, change: Change) -> frozenset[str] | None:
        """The fields that are the change's to take back; None: every difference is."""
        ...

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool: ...

    def reversal(self, change: Change, before: Image) -> Reversal: ...

    def calls(self, changes: Sequence[Change]) -> Calls | None:
        """What carrying out these changes and taking them back will cost, when all goes well; None: nothing is
        counted here (a database)."""
        ...

    def seconds_for(self, calls: int) -> float | None:
        """The least time for so many calls at the target's limit; None: it has none."""
        ...

    def work(self, may_write: MayWrite = always, *, salvage: bool = False) -> AbstractAsyncContextManager[Work]:
        """`may_write` is asked before every write; where it says no, nothing more is sent (a database: the flow asks
        before it commits). `salvage` (a revert): a record that a database refuses fails alone, else it refuses the
        whole work; a field that an API does not know any more is left out, else it fails its record.
        """
        ...

    async def find(self, change: Change) -> str | None:
        """The id of the record that a create may have made; None: there is none. Raises Refused, Unavailable."""
        ...

    def created_since(self, resource: str, image: Image, since: datetime) -> bool:
        """Does the image tell that the record was created after `since`? False where it tells nothing."""
        ...

    async def read(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, Image]:
        """What the records hold now, for showing. Raises Unavailable; `some`: as Work.look does."""
        ...

    def named(self, resource: str, id_: Any) -> str:
        """The id of a record as a caller gives it, as Guard keeps it; `resource` was opened before. Raises Refused
        where no record can have it."""
        ...

    async def seen(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, tuple[str, Image]]:
        """As `read`, with the id by which the target itself calls each record. (To a database 007 is 7.)"""
        ...

    def meant(self, resource: str, where: Mapping[str, Any]) -> AsyncIterator[Meant]:
        """The records that a filter in the target's own words means, some at a time. Raises Refused (it has no filters,
        or not such a one), Unavailable."""
        ...

    def reads(self, resource: str, ids: Sequence[str]) -> int | None:
        """How many calls read these records; None: nothing is counted here (a database)."""
        ...

    async def attached(self, resource: str, ids: Sequence[str]) -> dict[str, frozenset[Key] | None]:
        """What deleting these records would take along and no snapshot shows; None: that cannot be told now. Ids with
        nothing are left out. (A database tells what it takes along when it is asked to delete: see Work.before.)"""
        ...

    async def committed(self, receipt: str) -> bool | None:
        """What became of a database's transaction; None: it cannot be told (any more), or is still going on."""
        ...

    async def check(self) -> None:
        """Is the target there and the credential good? Raises Unavailable."""
        ...

    async def close(self) -> None: ...
