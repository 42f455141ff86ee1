"""What a handler is: class data and pure, synchronous hooks about one kind of system.

Reading, pacing, retrying, paging, chunking and mapping of errors live once, in guard/target. A handler says which
vendor calls read, write and find records, what an answer means, and which of the vendor's own requests are writes.
docs/add-a-handler.md builds one step by step; tests/handlers holds the suite that says whether it is right.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from guard.core.errors import Refused
from guard.core.model import (
    Change,
    Failure,
    Fields,
    Image,
    Key,
    Outcome,
    Resource,
    Restore,
    Reversal,
)

READ = "read"
WRITE = "write"

DUPLICATE = "duplicate"
"""Failure code of a creation that the vendor refused because the record is there already: certainly not created."""

UNKNOWN_FIELD = "unknown_field"
"""Code of a refusal for a field that is not known, the handler's own or (as a failure) the vendor's. Either way the
definitions of the resource's fields are read anew before the next use."""

CREATED_INSTEAD = Failure("created_instead", "The target created a new record in place of the one its search named.")
"""Of an upsert: the record that the vendor's answer names is new, so taking it back is deleting it."""

OTHER_RECORD = Failure(
    "other_record",
    "The target wrote to another record than its own search had named; what that one held before is not known.",
)
"""Of an upsert: the vendor's answer names a record whose pre-image was not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A vendor's rate limit: `requests` in any `per_s` seconds, at most `concurrency` at once."""

    requests: int
    per_s: float
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitHeaders:
    """The vendor's headers that tell its limit; all lower case. interval is in milliseconds."""

    maximum: str
    remaining: str
    interval_ms: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a target system can do. No defaults: a handler's author decides each, from the vendor's documentation."""

    read_max: int
    """Records per read call."""
    write_max: int
    """Records per write call."""
    answer_carries_image: bool
    """An update's answer shows the record as it is afterwards, so that it need not be read again."""
    isolated: bool
    """Reading, writing and reading back see no other writer in between: every difference is the run's."""
    restore_deleted: Restore
    limits: Limits | None
    limit_headers: LimitHeaders | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the vendor. `path` begins with '/', is relative to the base URL and already escaped."""

    method: str
    path: str
    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """A list is sent as its name repeated."""
    body: Any = None
    """Sent as JSON; bytes are sent as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Besides those of `Handler.headers`; the type of a body that is no JSON is among them."""
    repeatable: bool = False
    """Sending it twice leaves the same state as once (reads; writes that set fields)."""


@dataclass(frozen=True, slots=True)
class Write:
    """A vendor call and the positions of the changes it carries out. `blind`: its answer shows none of the records."""

    call: Call
    positions: tuple[int, ...]
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A vendor's answer, whatever it is: HTML from a proxy and half a JSON are answers, too."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The decoded body; None where it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def part(self, *path: str) -> Any:
        """The member at path of a JSON object; None where the answer has none."""
        found = self.json()
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


@dataclass(frozen=True, slots=True)
class Page:
    """Ids of some of the records that a filter means."""

    ids: Sequence[str]
    cursor: Any = None
    """What the call for the next page is made with; None: this was the last one."""
    total: int | None = None
    """How many records the filter means in all, where the answer tells."""


@dataclass(frozen=True, slots=True)
class Route:
    """One of the vendor's own requests. `path` is a template: `/contacts/{id}`; a name matches one segment.

    kind READ passes untouched whatever its method; WRITE is guarded: `action` and `resource` say what it does, the
    handler's `changes` says to which records. `resource` is empty where only the request tells: see `resources_of`.
    """

    method: str
    path: str
    kind: str
    resource: str = ""
    action: str = ""

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The values of the names in the template, if the request is this route's. A final '/' does not matter."""
        if method != self.method:
            return None
        found = _pattern(self.path).fullmatch(path.rstrip("/") or "/")
        return found.groupdict() if found else None


_patterns: dict[str, re.Pattern[str]] = {}


def _pattern(template: str) -> re.Pattern[str]:
    if template not in _patterns:
        parts = re.split(r"\{(\w+)\}", template.rstrip("/") or "/")
        text = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
        _patterns[template] = re.compile(text)
    return _patterns[template]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came through the pass-through, as far as a handler needs it."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    """A name that is repeated has its values joined by commas."""
    headers: Mapping[str, str]
    body: Any


class Handler(ABC):
    """Knows one kind of system. Subclasses are stateless but for their settings and what `learn` was given."""

    name: ClassVar[str]
    base_url: str
    """Empty: it has none of its own, so the settings must say it. One that the options name is set by them."""
    structured_options: ClassVar[bool] = False
    """The options may hold tables and lists, not only texts."""
    traits: Traits
    resources: Mapping[str, Resource]
    """By name. Class data, like routes and actions; a handler whose settings name object types adds those."""
    routes: Sequence[Route]
    actions: Mapping[str, Sequence[str]]
    """Resource -> what POST /v1/operations may ask of it: create, update, upsert, delete and the handler's verbs."""
    side_effects: str
    """What a write sets off that no API takes back, in words for the revert page."""
    asked_headers: ClassVar[frozenset[str]] = frozenset()
    """Headers that change what the vendor's own requests do, and so are passed on with them; lower case."""
    told_headers: ClassVar[frozenset[str]] = frozenset()
    """Headers of its answers, besides the usual ones, that are passed back to the caller; lower case."""

    @abstractmethod
    def __init__(self, options: Mapping[str, Any]) -> None:
        """Raises ValueError with a sentence where an option is missing or not known."""

    def traits_of(self, resource: str) -> Traits:
        """The traits of one resource, where it differs from the others; `traits` are those of most."""
        del resource
        return self.traits

    def place(self, path: str, content: bytes) -> str:
        """The path by which routes know a request. A vendor that has one path for everything (JSON-RPC) names the
        method in the body; then this puts it into the path. Total: a body that names none leaves it as it is."""
        del content
        return path

    def route(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route that a request takes, by its place. First match wins, so literal ones stand before templates."""
        for route in self.routes:
            if (params := route.match(method, path)) is not None:
                return route, params
        return None

    def refuse_disguised(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Raises Refused for one of the vendor's own requests that is not what its method says: some write by GET, or
        take another method from the query. Asked before a request is taken for a read."""
        del method, path, query

    @abstractmethod
    def headers(self, credential: str) -> dict[str, str]:
        """Headers of every call: who Guard is, and the API's version. `credential` is the token where there is one."""

    def login(self, credential: str) -> Call | None:
        """The call that fetches a token for the credential, sent without `headers`; None: every call carries the
        credential itself."""
        del credential
        return None

    def token(self, reply: Reply) -> str | None:
        """The token in the answer to `login`; None: it holds none."""
        del reply
        return None

    def expired(self, reply: Reply) -> bool:
        """Does this answer say that the token counts no longer, and that nothing was done for that? Then a new one is
        fetched, and the call made once more."""
        return reply.status == 401

    def denies(self, reply: Reply) -> bool:
        """Does this answer refuse Guard's credential, so that somebody has to renew it or give it more rights?"""
        return reply.status in (401, 403)

    def signed(self, call: Call, credential: str) -> Call:
        """The call with the credential, or the token, in it, for a vendor that wants it elsewhere than in a header."""
        del credential
        return call

    def describe(self, resource: str) -> list[Call]:
        """The calls that read the definitions of this resource's fields; none: the handler knows them without.

        Guard makes them before the resource is first used, and again when they are old or in doubt: see
        guard/target/definitions.py.
        """
        del resource
        return []

    def learn(self, resource: str, replies: Sequence[Reply]) -> bool:
        """Take in what the answers to `describe` say, in place of what was known. False: they do not tell; then what
        was known stays."""
        del resource, replies
        return True

    @abstractmethod
    def change(self, resource: str, action: str, record: Mapping[str, Any]) -> Change:
        """One record of POST /v1/operations as a change, in canonical field names. Raises Refused."""

    @abstractmethod
    def changes(self, route: Route, request: Request) -> list[Change]:
        """The changes of one of the vendor's own requests. Raises Refused where it cannot tell (I8)."""

    def resources_of(self, route: Route, request: Request) -> Sequence[str]:
        """The resources that a request is about, where its route cannot name them. Raises Refused. Their definitions,
        and before that those of the route's own, are there when `changes` is asked."""
        del request
        return [route.resource]

    @abstractmethod
    def read(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        """The fewest calls that read these records, each with the ids it answers for."""

    @abstractmethod
    def images(self, resource: str, ids: Sequence[str], reply: Reply) -> dict[str, Image]:
        """What the answer says of each id: its image, or None where it does not exist.

        An id that the answer says nothing reliable about is left out; then nothing is written.
        """

    def named(self, resource: str, id_: Any) -> str:
        """The id of a record as a caller of POST /v1/checkpoints gives it, as images have it. Raises Refused where no
        record can have it: it becomes a part of the calls that `read` makes. By default what a deletion would name."""
        return str(self.change(resource, "delete", {"id": id_}).id)

    def search(self, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
        """The call that lists records which a filter means, for POST /v1/checkpoints; `cursor` is that of the page
        before, None for the first. Raises Refused: it has no filters for this resource, or not such a one."""
        del where, cursor
        raise Refused("invalid_request", f"{self.name} takes no filter for {resource}: name the records by their ids.")

    def page(self, resource: str, where: Mapping[str, Any], reply: Reply) -> Page | None:
        """What the answer to `search` shows; None: it is none to rely upon."""
        del resource, where, reply
        return None

    def find(self, change: Change) -> Call | None:
        """The call that finds the record a create or upsert would meet; None: nothing identifies it."""
        del change
        return None

    def finds(self, changes: Sequence[Change]) -> list[tuple[Call, tuple[int, ...]]]:
        """The fewest calls that find these, each with the positions of the changes that `found` may ask its answer
        about. What nothing identifies is left out. By default one call each, that of `find`."""
        return [(call, (i,)) for i, change in enumerate(changes) if (call := self.find(change))]

    def found(self, change: Change, reply: Reply) -> str | None:
        """The id in the answer to `find`; None: there is no such record. Raises Refused where it cannot tell."""
        del change, reply
        return None

    def siblings(self, change: Change) -> Call | None:
        """Of a creation whose answer does not name what it made: the call that lists what is there already. Guard makes
        it before the creation and after it: the record that is new, and holds what was asked for, is the one.
        None: the answer names it."""
        del change
        return None

    def listed(self, change: Change, reply: Reply) -> Mapping[str, Fields] | None:
        """The records in the answer to `siblings`, by id; None: it does not tell."""
        del change, reply
        return None

    def attachments(self, resource: str, id_: str) -> list[Call]:
        """The calls that read what hangs on a record, is no part of its image, and is gone with it when it is deleted.
        Asked before a revert deletes what the run has created."""
        del resource, id_
        return []

    def attached(self, resource: str, reply: Reply) -> list[Key] | None:
        """What one answer to `attachments` shows; None: it does not tell."""
        del resource, reply
        return []

    def all_attachments(self, resource: str, ids: Sequence[str]) -> list[tuple[Call, tuple[str, ...]]]:
        """The fewest such calls for many records, each with the ids it tells of. By default those of each."""
        return [(call, (id_,)) for id_ in ids for call in self.attachments(resource, id_)]

    def all_attached(self, resource: str, call: Call, ids: Sequence[str], reply: Reply) -> dict[str, list[Key]]:
        """What the answer to one call of `all_attachments` shows of each id; what it does not tell of is left out."""
        found = self.attached(resource, reply)
        return {} if found is None else {ids[0]: found}

    def completed(self, change: Change, before: Image) -> Change:
        """The change as this record will see it: with what the vendor does to fields that it does not name (a list that
        replaces takes away what is not in it). A completed change stays as it is; `before` is None for a creation."""
        del before
        return change

    @abstractmethod
    def write(self, changes: Sequence[Change], before: Sequence[Image]) -> list[list[Write]]:
        """The fewest calls that carry out the changes, in steps: a step begins when the one before it ended.

        `before` are the changes' pre-images, for what can only be written together with what is there.

        The last call of each change should be the one whose answer carries the post-image, where there is one.
        """

    def afterwards(self, changes: Sequence[Change]) -> list[Write]:
        """Calls that a creation needs besides and that name its record: tags of one that is created again. Asked with
        the creations that were done, each with its new id; the records are read afterwards to see what became of it."""
        del changes
        return []

    def parts(self, write: Write, reply: Reply) -> list[Write]:
        """Smaller calls to send in place of one that the vendor refused as a whole, for the sake of some of its
        records; empty: it was not so, or it cannot be made smaller. Each is asked about again if it is refused, too.
        """
        del write, reply
        return []

    @abstractmethod
    def outcomes(self, changes: Sequence[Change], reply: Reply) -> list[Outcome]:
        """What one answer to a write says of each of its changes. Total: whatever comes back, never an exception.

        A change whose failure code is "vendor_error" was not done if a read finds the record unchanged; after
        "no_answer" it may still be on its way. OTHER_RECORD says that it was done, but not to the change's record.
        """

    def touches(self, change: Change) -> frozenset[str]:
        """The fields that are the change's to take back: those it names and those the vendor derives from them."""
        return change.asked()

    def title(self, resource: str, image: Fields) -> str:
        """What people call the record, for the revert pages: an id says nothing to them. Empty: nothing to show."""
        del resource, image
        return ""

    def same(self, resource: str, name: str, asked: Any, found: Any) -> bool:
        """Is what was found what was asked for, on the vendor's terms (trimmed, lower-cased, normalised)?"""
        del resource, name
        return bool(asked == found)

    def created_at(self, resource: str, image: Image) -> str | None:
        """When the record was created, ISO 8601, as its image tells; None: it does not."""
        del resource, image
        return None

    @abstractmethod
    def reversal(self, change: Change, before: Image) -> Reversal:
        """How far this change can be taken back."""


def unwritable(resource: str, names: Sequence[str]) -> Refused:
    listed = ", ".join(sorted(names)[:10])
    return Refused(UNKNOWN_FIELD, f"{resource} has no writable field named {listed}. Nothing was written.")


def refuse_unknown_action(handler: Handler, resource: str, action: str) -> None:
    """Raise Refused unless the handler does this."""
    if resource not in handler.resources:
        known = ", ".join(sorted(handler.resources))
        raise Refused("unknown_resource", f"{handler.name} has no resource {resource!r}; it has {known}.")
    if action not in handler.actions[resource]:
        known = ", ".join(handler.actions[resource])
        raise Refused("unknown_action", f"{resource} takes {known}; not {action!r}.")
