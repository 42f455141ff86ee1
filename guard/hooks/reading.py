"""From the text of a scenario file to a hook, or to what is wrong with it, line by line."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from guard.core.limits import HOOK_FILE_BYTES_MAX
from guard.hooks.model import Hook
from guard.hooks.places import line_of, places
from guard.settings import NAME, Settings


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a file, for whoever wrote it. Never holds a secret's or a record's value."""

    file: str
    line: int
    message: str
    member: str = ""
    hint: str = ""
    """For whoever has the settings: it may name what else stands there."""

    def __str__(self) -> str:
        said = f"{self.member}: {self.message}" if self.member else self.message
        return f"{self.file}:{self.line}: {said}{f'; {self.hint}' if self.hint else ''}"


class Unusable(Exception):
    """A scenario file that cannot be served."""

    def __init__(self, mistakes: list[Mistake], target: str = "") -> None:
        super().__init__("; ".join(str(each) for each in mistakes))
        self.mistakes = mistakes
        self.target = target
        """The target it names, where that much can be read."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the names in scenario files are checked against."""

    targets: frozenset[str]
    clients: Mapping[str, frozenset[str]]
    """Client -> the targets that its key opens."""
    tell: frozenset[str]
    """Names of those who can be told."""

    @classmethod
    def of(cls, settings: Settings) -> "Known":
        clients = {client.name: frozenset(client.targets) for client in settings.clients}
        return cls(frozenset(settings.targets), clients, frozenset(each.name for each in settings.notify))


def read(file: str, content: bytes, known: Known) -> Hook:
    """`file` is what mistakes call it. Raises Unusable, with every mistake that can be told."""
    if not is_name(Path(file).stem):
        said = "the file's name becomes part of the address: small letters, digits, - and _, at most 63 of them"
        raise Unusable([Mistake(file, 1, said)])
    try:
        return _hook(file, _text(file, content), known)
    except RecursionError:
        raise Unusable([Mistake(file, 1, "its tables are nested too deep")]) from None


def _hook(file: str, text: str, known: Known) -> Hook:
    tables = _tables(file, text)
    target = tables.get("target")
    try:
        hook = Hook.model_validate(tables)
    except ValidationError as error:
        lines = places(text)
        found = [_mistake(file, each, lines) for each in error.errors(include_input=False, include_url=False)]
        raise Unusable(sorted(found, key=lambda each: each.line), target if isinstance(target, str) else "") from None
    if unknown := _unknown(hook, known):
        lines = places(text)
        wrong = [Mistake(file, line_of((name,), lines), said, name, hint) for name, said, hint in unknown]
        raise Unusable(wrong, hook.target)
    return hook


def _tables(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unusable([_not_toml(file, text, str(error))]) from None
    except ValueError:
        raise Unusable([Mistake(file, 1, "a number in it is too long")]) from None


def is_name(text: str) -> bool:
    """Whether a hook can be called so."""
    return re.fullmatch(NAME.strip("^$"), text) is not None


def _text(file: str, content: bytes) -> str:
    if len(content) > HOOK_FILE_BYTES_MAX:
        raise Unusable([Mistake(file, 1, f"a scenario file has {HOOK_FILE_BYTES_MAX // 1024} KiB at most")])
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unusable([Mistake(file, line, "this is not UTF-8; save the file as UTF-8")]) from None


def _not_toml(file: str, text: str, said: str) -> Mistake:
    what, _, where = said.partition(" (at ")
    found = re.match(r"line (\d+), column (\d+)", where)
    line = int(found[1]) if found else max(1, len(text.rstrip().split("\n")))
    column = f", column {found[2]}" if found else ""
    return Mistake(file, line, f"this is not TOML: {what}{column}. Texts stand in quotes, one member on a line.")


def _mistake(file: str, error: Any, lines: dict[tuple[str, ...], int]) -> Mistake:
    # What concerns the whole file knows its place from the top.
    path = [*error["loc"], *error.get("ctx", {}).get("path", ())]
    member = ".".join(str(each) for each in path)
    if error["type"] == "extra_forbidden":
        said = f"this is not known here; known are {', '.join(Hook.model_fields)}"
    elif error["type"] == "missing":
        said = "it is missing"
    else:
        said = error["msg"].removeprefix("Value error, ")
    return Mistake(file, line_of(path, lines), said, member)


def _unknown(hook: Hook, known: Known) -> list[tuple[str, str, str]]:
    """Member, sentence and hint for each name that the settings do not have."""
    wrong = []
    if hook.target not in known.targets:
        wrong.append(("target", f"the settings have no target {hook.target!r}", _listed(known.targets)))
    if hook.client is not None and hook.client not in known.clients:
        wrong.append(("client", f"the settings have no client {hook.client!r}", _listed(known.clients)))
    elif hook.client is not None and hook.target not in known.clients[hook.client]:
        wrong.append(("client", f"the client {hook.client} may not use the target {hook.target!r}", "add it there"))
    strangers = [name for name in hook.tell if name not in known.tell]
    hint = _listed(known.tell)
    wrong += [("tell", f"the settings have nobody called {name!r} to tell", hint) for name in strangers]
    return wrong


def _listed(names: Iterable[str]) -> str:
    return f"they have {', '.join(sorted(names)) or 'none'}"
