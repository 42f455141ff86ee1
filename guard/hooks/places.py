"""On which line of a TOML file a member stands.

Python's own reader does not tell, so it is asked statement by statement: each `[table]` and each `member = value` is
TOML by itself, and one that goes over several lines is none before its end.
"""

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

Path = tuple[str, ...]


def places(text: str) -> dict[Path, int]:
    """Member's path -> its line, counted from 1; of a table the line of its heading. `text` is TOML that was read."""
    found: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        heading = statement.lstrip().startswith("[")
        paths = list(_paths(tomllib.loads(statement)))
        if heading:
            table = max(paths, key=len, default=())
        for path in paths:
            found.setdefault(path if heading else (*table, *path), number)
    return found


def line_of(path: Sequence[Any], known: dict[Path, int]) -> int:
    """The line of the member, or of the nearest thing around it that has one; 1 where there is none."""
    named = tuple(str(each) for each in path)
    return next((known[named[:end]] for end in range(len(named), 0, -1) if named[:end] in known), 1)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    begun, parts, end = 0, "", ""
    for number, line in enumerate(text.split("\n"), 1):
        if not parts:
            begun = number
            end = next((quotes for quotes in _QUOTES if quotes in line), "]")
        parts += line + "\n"
        if end not in line and number > begun:
            continue  # surely not its end: trying each line of a long value takes long
        try:
            said = tomllib.loads(parts)
        except tomllib.TOMLDecodeError:
            continue
        if said:
            yield begun, parts
        parts = ""


_QUOTES = ('"""', "'''")


def _paths(value: Any) -> Iterator[Path]:
    """Of all members of a table, at any depth."""
    for name, each in value.items() if isinstance(value, dict) else ():
        yield (name,)
        inner = each[0] if isinstance(each, list) and each else each
        yield from ((name, *path) for path in _paths(inner))
