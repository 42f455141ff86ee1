"""As much of SOQL as Guard and its tests ask: fields and children of one object type, by one field's values."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_QUERY = re.compile(
    r"SELECT (?P<what>.+) FROM (?P<kind>\w+)"
    r"(?: WHERE (?P<bracket>\()?(?P<name>\w+) (?:= (?P<one>.+?)|IN \((?P<many>.*)\))(?(bracket)\)))?"
)
_CHILD = re.compile(r"\(SELECT Id FROM (\w+)\)")
_LITERAL = re.compile(r"'((?:\\.|[^'\\])*)'|(-?[0-9.]+)")
_LISTED = re.compile(rf"(?:{_LITERAL.pattern})(?:,(?:{_LITERAL.pattern}))*")
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Query:
    kind: str
    names: tuple[str, ...]
    children: tuple[str, ...]
    by: str
    """The field of the condition; empty: there is none."""
    values: tuple[str, ...]

    def fits(self, value: object) -> bool:
        """Texts are compared without case."""
        return not self.by or str(value if value is not None else "").lower() in {v.lower() for v in self.values}


def parse(text: str) -> Query | None:
    found = _QUERY.fullmatch(text)
    if found is None:
        return None
    what = found["what"]
    children = tuple(_CHILD.findall(what))
    names = tuple(name for each in _CHILD.sub("", what).split(",") if (name := each.strip()))
    listed = found["many"] or found["one"] or ""
    if found["name"] and not _LISTED.fullmatch(listed):
        return None
    values = tuple(_value(match) for match in _LITERAL.finditer(listed))
    return Query(found["kind"], names, children, found["name"] or "", values)


def _value(match: re.Match[str]) -> str:
    if match[2] is not None:
        return match[2]
    plain: Callable[[re.Match[str]], str] = lambda m: _PLAIN.get(m[1], m[1])  # noqa: E731
    return re.sub(r"\\(.)", plain, match[1], flags=re.DOTALL)
