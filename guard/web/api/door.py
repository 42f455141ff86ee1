"""What a door is, as data: what it takes and what it answers.

Errors are named by their codes; the statuses follow from guard/core/errors.py. What a body or query may hold comes from
the models that check it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

JSON, HTML, FORM = "application/json", "text/html", "application/x-www-form-urlencoded"
NDJSON, CSV, EVENTS = "application/x-ndjson", "text/csv", "text/event-stream"
TEXT: dict[str, Any] = {"type": "string"}

KEY = ("bearer", "guardKey")
"""What opens most doors: names in SECURITY of guard/web/api/parts.py."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`content`: by type a model, several of which one fits, a schema as it is, or {} for anything."""

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    methods: Sequence[str]
    path: str
    name: str
    tag: str
    summary: str
    description: str = ""
    takes: Sequence[str] = ()
    """Names in PARAMETERS."""
    path_parameters: Sequence[Mapping[str, Any]] = ()
    query: type[BaseModel] | None = None
    """A model that the query is checked by, too."""
    not_in_query: frozenset[str] = frozenset()
    body: Mapping[str, Any] = field(default_factory=dict)
    """By content type: a model, or a schema as it is."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    answers: Mapping[int | str, Answer] = field(default_factory=dict)
    codes: Sequence[str] = ()
    security: Sequence[str] = KEY
    is_page: bool = False
    """A browser gets each answer as a page."""
    is_relayed: bool = False
    """A vendor's answers come through as they are, whatever their status."""
    is_probe: bool = False
    """Answered also when there is too much of everything else."""

    @property
    def all_codes(self) -> set[str]:
        always = {"internal"} if self.is_probe else {"internal", "overloaded"}
        return {*self.codes, *always, *(("unauthenticated",) if self.security else ())}

    def models(self) -> Iterator[Any]:
        for given in (
            *self.body.values(),
            *(each for answer in self.answers.values() for each in answer.content.values()),
        ):
            for each in given if isinstance(given, tuple) else (given,):
                if not isinstance(each, dict):
                    yield each
