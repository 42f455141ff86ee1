"""The configured system: reads and finds records, and understands what writes were answered."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from guard.core.errors import GuardError, Refused, Unavailable
from guard.core.limits import CHUNK_RECORDS_MIN, CLOCK_SKEW_S, RECORDS_MAX
from guard.core.model import (
    Change,
    Image,
    Key,
    Outcome,
    Resource,
    Reversal,
    Status,
    Touched,
)
from guard.target.base import Calls, MayWrite, Meant, Work, always
from guard.target.client import Client, Denied, NoAnswer, NotSent
from guard.target.definitions import Definitions
from guard.target.http.failures import NO_ANSWER
from guard.target.http.forecast import calls
from guard.target.http.work import HttpWork
from guard.target.locks import RecordLocks
from guard.tasks import all_or_none
from handlers.base import (
    UNKNOWN_FIELD,
    Call,
    Handler,
    Reply,
    Request,
    Route,
)

log = structlog.get_logger()

_NAMELESS = "Nothing in this record tells which one it is: name its id."


class HttpTarget:
    """A vendor's API behind one handler, one credential and one pace."""

    def __init__(self, name: str, handler: Handler, client: Client) -> None:
        self.name = name
        self.handler = handler
        self.client = client
        self.traits = handler.traits
        self.side_effects = handler.side_effects
        self.locks = RecordLocks()
        self.definitions = Definitions(name, handler, self._definition)
        batch = max(self.traits.read_max, self.traits.write_max)
        # A multiple of the larger batch, so that chunking costs no call.
        self.chunk_records = batch * math.ceil(CHUNK_RECORDS_MIN / batch)

    @property
    def referred_to(self) -> Mapping[str, int]:
        """As far as it is known: what refers to what may have been learnt from the vendor."""
        return _referred_to(self.handler.resources)

    @property
    def actions(self) -> Mapping[str, Sequence[str]]:
        return self.handler.actions

    async def resource(self, name: str) -> Resource:
        if name not in self.handler.resources:
            known = ", ".join(sorted(self.handler.resources))
            raise Refused("unknown_resource", f"{self.name} has no resource {name!r}; it has {known}.")
        await self.definitions.ensure(name)
        return self.handler.resources[name]

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        return self.handler.change(resource, action, record)

    async def renewed(self, resource: str) -> bool:
        return await self.definitions.renewed(resource)

    async def changes(self, route: Route, request: Request) -> list[Change]:
        """The changes of one of the vendor's own requests. Raises Refused (I8), Unavailable."""
        await self.definitions.ensure(route.resource)
        resources = self.handler.resources_of(route, request)
        for name in resources:
            await self.resource(name)
        try:
            return self.handler.changes(route, request)
        except Refused as refused:
            if refused.code != UNKNOWN_FIELD or not any([await self.renewed(name) for name in resources]):
                raise
        return self.handler.changes(route, request)

    def references(self, resource: str) -> Mapping[str, str]:
        return self.handler.resources[resource].references

    def title(self, resource: str, image: Image) -> str:
        return self.handler.title(resource, image or {})

    def touches(self, change: Change) -> frozenset[str] | None:
        return self.handler.touches(change)

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        return self.handler.same(resource, name, asked, found)

    def reversal(self, change: Change, before: Image) -> Reversal:
        return self.handler.reversal(change, before)

    def calls(self, changes: Sequence[Change]) -> Calls:
        return calls(self.handler, self.answer, changes)

    def seconds_for(self, calls: int) -> float | None:
        return self.client.seconds_for(calls)

    @asynccontextmanager
    async def work(self, may_write: MayWrite = always, *, salvage: bool = False) -> AsyncIterator[Work]:
        work = HttpWork(self, may_write, salvage=salvage)
        try:
            yield work
        finally:
            work.release_all()

    async def read(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, Image]:
        """Raises Unavailable where a record's image cannot be had, for then nothing may be written. `some`: such a
        record is left out, and no reason not to read the others; raises only where none can be read."""
        await self.definitions.ensure(resource)
        calls = self.handler.read(resource, ids)
        found = await all_or_none(*(self._images(resource, call, asked, some=some) for call, asked in calls))
        images = {id_: image for read, _ in found for id_, image in read.items()}
        if not images and (errors := [error for _, error in found if error]):
            raise errors[0]
        return images

    async def _images(
        self, resource: str, call: Call, asked: Sequence[str], *, some: bool
    ) -> tuple[dict[str, Image], Unavailable | None]:
        found: dict[str, Image] = {}
        try:
            reply = await self.answer(call)
            found = self.handler.images(resource, asked, reply)
            if any(id_ not in found for id_ in asked):
                raise self._unreadable(reply)
        except Unavailable as error:
            if not some:
                raise
            return found, error
        return found, None

    def named(self, resource: str, id_: Any) -> str:
        return self.handler.named(resource, id_)

    async def seen(self, resource: str, ids: Sequence[str], *, some: bool = False) -> dict[str, tuple[str, Image]]:
        return {id_: (id_, image) for id_, image in (await self.read(resource, ids, some=some)).items()}

    async def meant(self, resource: str, where: Mapping[str, Any]) -> AsyncIterator[Meant]:
        await self.definitions.ensure(resource)
        cursor: Any = None
        for _ in range(RECORDS_MAX):  # a vendor whose pages never end
            reply = await self.answer(self.handler.search(resource, where, cursor))
            page = self.handler.page(resource, where, reply)
            if page is None:
                raise self._no_page(reply)
            yield Meant([self.named(resource, id_) for id_ in page.ids], page.total)
            if page.cursor is None or page.cursor == cursor:
                return
            cursor = page.cursor

    def _no_page(self, reply: Reply) -> GuardError:
        if 400 <= reply.status < 500 and reply.status not in (408, 429) and not self.handler.denies(reply):
            detail = f"{self.name} does not take this filter (it answered {reply.status}). Nothing was written."
            return Refused("invalid_request", detail)
        return self._unreadable(reply)

    def reads(self, resource: str, ids: Sequence[str]) -> int:
        return len(self.handler.read(resource, ids))

    async def attached(self, resource: str, ids: Sequence[str]) -> dict[str, frozenset[Key] | None]:
        calls = self.handler.all_attachments(resource, ids)
        told = await all_or_none(*(self._attached(resource, call, mine) for call, mine in calls))
        found: dict[str, frozenset[Key] | None] = {}
        for (_, mine), keys in zip(calls, told, strict=True):
            for id_ in mine:
                before = found.get(id_, frozenset())
                found[id_] = None if before is None or id_ not in keys else before | frozenset(keys[id_])
        return {id_: keys for id_, keys in found.items() if keys != frozenset()}

    async def _attached(self, resource: str, call: Call, ids: Sequence[str]) -> dict[str, list[Key]]:
        try:
            return self.handler.all_attached(resource, call, ids, await self.answer(call))
        except Unavailable:
            return {}

    def outcomes(self, touched: Sequence[Touched], reply: Reply) -> list[Outcome]:
        """What an answer says, and "unknown" where the handler falls over it: what was sent must be accounted for."""
        try:
            outcomes = self.handler.outcomes([each.change for each in touched], reply)
        except Exception:  # noqa: BLE001 - a vendor's answer may be anything; the records were sent already
            log.warning("answer_not_understood", target=self.name, status=reply.status)
            return [Outcome(status=Status.UNKNOWN, failure=NO_ANSWER)] * len(touched)
        for each, outcome in zip(touched, outcomes, strict=True):
            if outcome.failure and outcome.failure.code == UNKNOWN_FIELD:
                self.definitions.doubt(each.change.resource)
        return [_whole(each, outcome) for each, outcome in zip(touched, outcomes, strict=True)]

    async def find(self, change: Change) -> str | None:
        """The id of the record that a create or upsert would meet. Raises Refused where nothing tells, Unavailable."""
        (found,) = await self.find_all([change])
        if isinstance(found, GuardError):
            raise found
        return found

    async def find_all(self, changes: Sequence[Change], *, some: bool = False) -> list[str | GuardError | None]:
        """As `find`, for many at once; in place of an id the Refused that says why nothing tells.

        Raises Unavailable where a search cannot be made; `some`: that stands in place of the id, too.
        """
        for resource in {change.resource for change in changes}:
            await self.definitions.ensure(resource)
        found: list[str | GuardError | None] = [Refused("invalid_record", _NAMELESS)] * len(changes)
        calls = self.handler.finds(changes)
        answers = await all_or_none(
            *(self._find([changes[p] for p in positions], call, some=some) for call, positions in calls)
        )
        for (_, positions), told in zip(calls, answers, strict=True):
            for position, each in zip(positions, told, strict=True):
                found[position] = each
        return found

    async def _find(self, changes: Sequence[Change], call: Call, *, some: bool) -> list[str | GuardError | None]:
        try:
            reply = await self.answer(call)
            if not 200 <= reply.status < 300 or reply.json() is None:
                raise self._unreadable(reply)
        except Unavailable as error:
            if not some:
                raise
            return [error] * len(changes)
        return [self._found(change, reply) for change in changes]

    def _found(self, change: Change, reply: Reply) -> str | GuardError | None:
        try:
            return self.handler.found(change, reply)
        except Refused as refused:
            return refused

    def created_since(self, resource: str, image: Image, since: datetime) -> bool:
        try:
            created = datetime.fromisoformat(self.handler.created_at(resource, image) or "")
            return created >= since - timedelta(seconds=CLOCK_SKEW_S)
        except (ValueError, TypeError):
            return False  # no time, or none that could be compared: then nothing tells whose record it is

    async def answer(self, call: Call) -> Reply:
        """To a call that reads. Raises Unavailable."""
        try:
            return await self.client.read(call)
        except Denied as error:
            raise _denied(self.name, str(error)) from None
        except (NotSent, NoAnswer) as error:
            raise Unavailable(
                "target_unavailable", f"{self.name} cannot be read ({error}). Nothing was written; try again."
            ) from error

    async def _definition(self, call: Call) -> Reply:
        reply = await self.answer(call)
        if self.handler.denies(reply):
            raise self._unreadable(reply)
        return reply

    async def committed(self, receipt: str) -> bool | None:
        """An API has no transactions, so nothing ever asks with a receipt of one."""
        del receipt
        return None

    async def check(self) -> None:
        """Any answer but a refusal of the credential will do: an unknown id is asked for. Definitions must be had."""
        resource = next(iter(self.handler.resources))
        await self.definitions.ensure(resource)
        (call, _), *_ = self.handler.read(resource, ["guardcheck0000000000"])
        reply = await self.answer(call)
        if reply.status in (401, 403) or reply.status >= 500:
            raise self._unreadable(reply)

    def _unreadable(self, reply: Reply) -> Unavailable:
        if self.handler.denies(reply):
            return _denied(self.name, f"it answered {reply.status}")
        return Unavailable(
            "target_unavailable",
            f"{self.name} answered {reply.status} in a way that is no record. Nothing was written; try again later.",
        )

    async def close(self) -> None:
        await self.client.close()


def _referred_to(resources: Mapping[str, Resource]) -> dict[str, int]:
    """See guard.target.base.Target."""

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        named = set(resources[name].references.values()) - {name, *above}  # a circle has no order
        return max((1 + depth(each, (*above, name)) for each in named), default=0)

    named = {each for resource in resources.values() for each in resource.references.values()}
    return {each: depth(each) for each in named}


def _whole(touched: Touched, outcome: Outcome) -> Outcome:
    """An answer that shows a part of the record, put together with what was there before."""
    if not outcome.partial:
        return outcome
    after = {**(touched.before or {}), **(outcome.after or {})}
    return replace(outcome, partial=False, after={name: value for name, value in after.items() if value is not None})


def _denied(target: str, why: str) -> Unavailable:
    return Unavailable(
        "target_refused",
        f"{target} refused Guard's own credential: {why}. Nothing was written. "
        "Renew the credential in Guard's settings.",
    )
