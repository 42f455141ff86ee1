"""What a handler brings along to join the conformance suite, data and no code, and what every part makes of it."""

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx2
import pytest
from starlette.applications import Starlette

from guard.core.model import Change, Reversibility
from handlers.base import WRITE, Call, Handler, Reply, Request, Route
from scenarios.sandboxes import common
from scenarios.sandboxes.common import Row, Sandbox, running
from tests.handlers.samples import Member, Sample, State, record
from tests.handlers.vendor_spec import Exchange, VendorSpec
from tests.world import World

TOKEN = "sandbox-token"
"""What every sandbox takes for a credential."""


@dataclass(frozen=True)
class Passed:
    """One of the vendor's own write requests, as it comes through the pass-through."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)


Ask = Callable[[Call], Reply]
"""Sends a call to the sandbox, without Guard."""


@dataclass(frozen=True)
class Served:
    sandbox: Sandbox
    url: str
    exchanges: list[Exchange] = field(default_factory=list)
    """What was asked of the sandbox and answered."""
    judged: set[Exchange] = field(default_factory=set)
    """Those that were found to be as the vendor's files have it."""

    def watch(self, request: common.Request, reply: common.Reply, faulted: bool) -> None:
        made = (request.method, request.path, request.query_string, request.body, reply.status, reply.body)
        self.exchanges.append(Exchange(*made, faulted))


class Joining(Member):
    """The attributes of a class that joins. The sandbox takes TOKEN, and has neither limits nor latency."""

    handler: Handler
    options: ClassVar[Mapping[str, Any]] = {}
    apart: frozenset[str] = frozenset()
    """Resources without samples: their records always exist, and hold but sets (links between others)."""
    passed: Sequence[Passed]
    """At least one request for each route of kind WRITE."""
    spec: ClassVar[VendorSpec | None] = None
    """The vendor's OpenAPI files, where they are at hand: all that is sent and answered is checked against them."""
    dated: ClassVar[bool] = True
    """Records tell when they were created. Where they do not, a creation whose answer is lost stays in doubt."""
    stamps: frozenset[str] = frozenset()
    """What the vendor changes in a record whenever it is written, as the sandbox's rows name it."""

    def sandbox(self) -> Starlette:
        raise NotImplementedError

    @classmethod
    def system(cls) -> str:
        return cls.handler.name

    def actions_of(self, resource: str) -> Sequence[str]:
        return self.handler.actions[resource]

    def given(self) -> dict[str, Sequence[Any]]:
        whole = [passed for passed in self.passed if self.level(self.changes(passed)) is Reversibility.FULL]
        return {**super().given(), "passed": self.passed, "whole": whole}

    def title_of(self, given: Any) -> str:
        return f"{given.method} {given.path}" if isinstance(given, Passed) else super().title_of(given)

    @pytest.fixture(scope="class")
    @classmethod
    def served(cls) -> Iterator[Served]:
        app = cls().sandbox()
        with running(app) as url:
            served = Served(app.state.sandbox, url)
            served.sandbox.watchers.append(served.watch)
            yield served

    @pytest.fixture
    def vendor(self, served: Served) -> Iterator[Ask]:
        """The sandbox as it was at the start, asked without Guard."""
        served.sandbox.reset()
        with asking(self.handler, served.url) as ask:
            yield ask
        self.refuse_unlike_spec(served)

    # What the suite makes of them

    def refuse_unlike_spec(self, served: Served) -> None:
        """Fail where something was sent, or answered, that the vendor's files do not have."""
        fresh = set(served.exchanges) - served.judged
        wrong = {each for exchange in fresh for each in (self.spec.violations(exchange) if self.spec else [])}
        served.exchanges.clear()
        served.judged.update(fresh)
        assert not wrong, "\n".join(sorted(wrong))

    def fewest_reads(self, resource: str, ids: Sequence[str]) -> int:
        """How many calls read these. Where records are read by what they belong to, its class says so."""
        return math.ceil(len(ids) / self.handler.traits_of(resource).read_max)

    def vendors_own(self, id_: str) -> str:
        """The part of an id that stands in the record itself, where Guard's own has more in it."""
        return id_

    def change(self, sample: Sample, action: str) -> Change:
        """The sample's change as the bulk door makes it. An upsert is one that finds its record."""
        return self.handler.change(sample.resource, action, record(sample, action))

    def call(self, sample: Sample, action: str) -> Call:
        """The last call by which the sample's change is written."""
        step = self.handler.write([self.change(sample, action)], [sample.before])[-1]
        return step[-1].call

    def route(self, passed: Passed) -> tuple[Route, dict[str, str]]:
        found = self.handler.route(passed.method, self.place(passed))
        assert found is not None, f"no route for {passed.method} {passed.path}"
        return found

    def changes(self, passed: Passed) -> list[Change]:
        route, params = self.route(passed)
        request = Request(passed.method, passed.path, params, passed.query, {}, passed.body)
        return self.handler.changes(route, request)

    def level(self, changes: Sequence[Change]) -> Reversibility:
        """How far these can be taken back, as far as that is known before anything is read."""
        order = list(Reversibility)
        return max((self.handler.reversal(change, None).level for change in changes), key=order.index)

    def place(self, asked: Call | Passed) -> str:
        """The path by which the handler, the sandbox's log and its faults know a request."""
        content = asked.body if isinstance(asked.body, bytes) else json.dumps(asked.body).encode()
        return self.handler.place(asked.path, content)

    async def asked_of(self, world: World) -> list[dict[str, Any]]:
        """What was asked of the vendor, but for tokens and definitions of fields: those are fetched once in a while."""
        calls = [call for name in self.handler.resources for call in self.handler.describe(name)]
        calls += [login] if (login := self.handler.login(TOKEN)) else []
        known = {(call.method, self.place(call)) for call in calls}
        return [each for each in await world.vendor_requests() if (each["method"], each["path"]) not in known]

    def writes(self) -> list[Route]:
        return [route for route in self.handler.routes if route.kind == WRITE]

    def state(self, there: World | Served) -> State:
        """A copy of all that the vendor holds, without its own times, sets in one order."""
        tables = {name: dict(table.rows) for name, table in there.sandbox.vendor.store.tables.items()}
        copied = copy.deepcopy(tables)
        return {name: {id_: self._comparable(name, row) for id_, row in rows.items()} for name, rows in copied.items()}

    def _comparable(self, resource: str, row: Row) -> Row:
        known = self.handler.resources.get(resource)
        sets = known.sets if known else frozenset()
        kept = {name: value for name, value in row.items() if name not in self.stamps}
        return {name: sorted(value) if name in sets else value for name, value in kept.items()}


@contextmanager
def asking(handler: Handler, url: str) -> Iterator[Ask]:
    """Sends single calls to a sandbox, as Guard's client would."""
    with httpx2.Client(base_url=url, headers=handler.headers(TOKEN)) as http:

        def ask(call: Call) -> Reply:
            call = handler.signed(call, TOKEN)
            body = {} if call.body is None else {"content" if isinstance(call.body, bytes) else "json": call.body}
            reply = http.request(call.method, call.path, params=dict(call.query), headers=dict(call.headers), **body)
            return Reply(reply.status_code, reply.content, reply.headers)

        yield ask
