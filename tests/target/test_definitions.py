"""Definitions of fields are read once, used for a while, and read anew when a field turns out to be unknown."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from guard.core.errors import Refused, Unavailable
from guard.core.limits import DEFINITIONS_AGAIN_S, DEFINITIONS_S
from guard.core.model import Change
from guard.target.definitions import Definitions
from handlers.base import Call, Reply, unwritable
from tests.handlers.example_crm import ExampleCrm

FIELDS = Call(method="GET", path="/fields")


class Learning(ExampleCrm):
    """The example CRM as if it had custom fields, which only the vendor can name."""

    def __init__(self) -> None:
        super().__init__({})
        self.fields: tuple[str, ...] = ()

    def describe(self, resource: str) -> list[Call]:
        del resource
        return [FIELDS]

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        del resource
        found = replies[0].part("fields")
        if not isinstance(found, list):
            return False
        self.fields = tuple(found)
        return True

    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        if unknown := set(record["fields"]) - set(self.fields):
            raise unwritable(resource, sorted(unknown))
        return super().change(resource, action, record)


class Vendor:
    """Answers as told, and counts how often it was asked."""

    def __init__(self) -> None:
        self.answer: Reply | Unavailable = Reply(200, b'{"fields": ["name"]}')
        self.asked = 0
        self.now_s = 1000.0
        self.handler = Learning()
        self.definitions = Definitions("crm", self.handler, self._ask, clock=lambda: self.now_s)

    async def _ask(self, call: Call) -> Reply:
        assert call == FIELDS
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Unavailable):
            raise self.answer
        return self.answer


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


async def test_of_many_who_need_them_at_once_one_reads(vendor: Vendor) -> None:
    read = await asyncio.gather(*(vendor.definitions.ensure("people") for _ in range(20)))

    assert (sum(read), vendor.asked, vendor.handler.fields) == (1, 1, ("name",))


async def test_they_are_used_for_a_while_and_then_read_anew(vendor: Vendor) -> None:
    await vendor.definitions.ensure("people")
    vendor.now_s += DEFINITIONS_S - 1
    assert not await vendor.definitions.ensure("people")
    vendor.now_s += 1
    assert await vendor.definitions.ensure("people")
    assert vendor.asked == 2


async def test_in_doubt_they_are_read_anew_but_not_at_every_misspelt_field(vendor: Vendor) -> None:
    await vendor.definitions.ensure("people")
    assert not await vendor.definitions.renewed("people")  # they were read just now
    vendor.now_s += DEFINITIONS_AGAIN_S
    vendor.answer = Reply(200, b'{"fields": ["name", "size"]}')
    assert await vendor.definitions.renewed("people")
    assert not await vendor.definitions.renewed("people")
    assert (vendor.asked, vendor.handler.fields) == (2, ("name", "size"))


@pytest.mark.parametrize("answer", [Reply(500), Reply(200, b"<html>"), Unavailable("target_unavailable", "down")])
async def test_what_never_could_be_read_is_unavailable(vendor: Vendor, answer: Reply | Unavailable) -> None:
    vendor.answer = answer
    with pytest.raises(Unavailable):
        await vendor.definitions.ensure("people")
    vendor.answer = Reply(200, b'{"fields": ["name"]}')
    assert await vendor.definitions.ensure("people")


@pytest.mark.parametrize("answer", [Reply(500), Reply(200, b"<html>"), Unavailable("target_unavailable", "down")])
async def test_what_cannot_be_read_anew_is_used_on_and_tried_again_soon(
    vendor: Vendor, answer: Reply | Unavailable
) -> None:
    await vendor.definitions.ensure("people")
    vendor.now_s += DEFINITIONS_S
    vendor.answer = answer
    assert not await vendor.definitions.ensure("people")
    assert not await vendor.definitions.ensure("people")
    assert (vendor.asked, vendor.handler.fields) == (2, ("name",))
    vendor.now_s += DEFINITIONS_AGAIN_S
    vendor.answer = Reply(200, b'{"fields": ["size"]}')
    assert await vendor.definitions.ensure("people")
    assert vendor.handler.fields == ("size",)


async def test_a_handler_that_needs_none_asks_for_none() -> None:
    async def ask(call: Call) -> Reply:
        raise AssertionError(call)

    assert not await Definitions("crm", ExampleCrm({}), ask).ensure("people")


async def test_an_unknown_field_is_refused_by_the_handler_in_the_code_that_has_them_read_anew() -> None:
    with pytest.raises(Refused) as refused:
        Learning().change("people", "update", {"id": "p", "fields": {"size": "L"}})
    assert refused.value.code == "unknown_field"
