"""What every kind of target brings along to join the conformance suite: samples, and what is done with them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from guard.core.model import Image

ACTIONS = ("update", "create", "upsert", "delete")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is done to one resource. Fields are as callers of POST /v1/operations write them."""

    resource: str
    id: str
    """A record of the sandbox."""
    update: Mapping[str, Any]
    """New values for it, that any record may have; sets among them."""
    theirs: Mapping[str, Any]
    """A person's edit of a field that `update` names, as POST /_sandbox/edit takes it."""
    others: Mapping[str, Any]
    """A person's edit of a field that it leaves alone."""
    create: Mapping[str, Any]
    """A record that is not there yet."""
    identity: Mapping[str, Any]
    """The values by which an upsert finds the record `id`."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """Sets that `update` names, each with a member that a person adds meanwhile."""
    lost: frozenset[str] = frozenset()
    """What the vendor's API cannot bring back with a deleted record, as the sandbox's rows name it, besides the id."""
    missing: str = ""
    """An id of the vendor's shape that no record has, where it is no number and no text of any kind."""
    before: Image = None
    """The part of its pre-image without which no call can be made: a parent's id in the path."""

    @property
    def absent(self) -> str:
        """An id that no record has."""
        digits = re.sub("[0-9]", "9", self.id)
        return self.missing or (digits if self.id[0].isdecimal() else "neverThere00000000000")


Tried = tuple[Sample, str]
"""A sample and the action that is tried with it."""

State = dict[str, dict[str, dict[str, Any]]]
"""Resource -> id -> row, as the system holds it."""


class Member:
    """The attributes of a class that joins, whatever kind of target it is about."""

    samples: Sequence[Sample]

    @classmethod
    def system(cls) -> str:
        """What the settings call this kind of system."""
        raise NotImplementedError

    def actions_of(self, resource: str) -> Sequence[str]:
        """What POST /v1/operations may be asked of it."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name, values in self.given().items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=self.title_of)

    def given(self) -> dict[str, Sequence[Any]]:
        """Name of a test's argument -> what it is called with, one after the other."""
        tried = [(sample, action) for sample in self.samples for action in self.offered(sample, *ACTIONS)]
        return {"tried": tried, "sample": self.samples}

    def title_of(self, given: Any) -> str:
        """What a test's argument is called in the list of tests."""
        if isinstance(given, Sample):
            return given.resource
        sample, action = given
        return f"{sample.resource}-{action}"

    def offered(self, sample: Sample, *actions: str) -> list[str]:
        """Those that POST /v1/operations may be asked for."""
        return [action for action in actions if action in self.actions_of(sample.resource)]

    def offering(self, action: str) -> list[Sample]:
        return [sample for sample in self.samples if self.offered(sample, action)]


def record(sample: Sample, action: str) -> dict[str, Any]:
    """One record of POST /v1/operations."""
    match action:
        case "create":
            return {"fields": dict(sample.create)}
        case "upsert":
            return {"fields": {**sample.identity, **sample.update}}
        case "delete":
            return {"id": sample.id}
        case _:
            return {"id": sample.id, "fields": dict(sample.update)}
