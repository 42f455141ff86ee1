"""The tables of docs/handlers.md, made of what the handlers say of themselves.

python -m tests.handlers_table     makes them anew, after a handler has changed
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard.core.model import Action, Change, Reversal, Reversibility
from handlers import HANDLERS
from handlers import postgresql as database
from handlers.base import Handler, Traits

PAGE = Path(__file__).parent.parent / "docs" / "handlers.md"
OPTIONS: dict[str, dict[str, Any]] = {
    "bamboohr": {"company": "x"},
    "highlevel": {"location_id": "x"},
    "salesforce": {"domain": "x"},
    "tryton": {"database": "x", "user": "x"},
}
"""What a handler does not begin without."""
BY_SETTINGS = {"rest"}
"""What they guard is in each one's settings."""
_MARKS = re.compile(r"(<!-- made by python -m tests.handlers_table -->\n).*?(<!-- end -->)", re.DOTALL)
_UNDONE = {Reversibility.FULL: "undone", Reversibility.PARTIAL: "in part", Reversibility.NONE: "not undone"}


def table() -> str:
    """A row for each object type; reasons stand below as notes, each once."""
    notes: dict[str, int] = {}
    rows = [row for name in sorted(HANDLERS) if name not in BY_SETTINGS for row in _rows(name, notes)]
    lines = [
        "| system | object type | change | create | delete | other verbs | read, written by one call |",
        "|---|---|---|---|---|---|---|",
        *rows,
        f"| postgresql | every table | undone | undone | undone | a filter for ids | {_sizes(database.TRAITS)} |",
        "",
        *(f"{number}. {reason}" for reason, number in notes.items()),
    ]
    return "\n".join(lines)


def _rows(name: str, notes: dict[str, int]) -> Iterator[str]:
    handler = HANDLERS[name](OPTIONS.get(name, {}))
    for resource in handler.resources:
        offered = handler.actions[resource]
        cells = [_cell(handler, resource, action, notes) if action in offered else "" for action in _ACTIONS]
        verbs = ", ".join(f"`{verb}`" for verb in offered if verb not in (*_ACTIONS, "upsert"))
        yield f"| {name} | {resource} | {' | '.join(cells)} | {verbs} | {_sizes(handler.traits_of(resource))} |"


_ACTIONS = ("update", "create", "delete")


def _cell(handler: Handler, resource: str, action: str, notes: dict[str, int]) -> str:
    """The best that can come of it: what a record holds may lower it, and is then said before anything is sent."""
    fields = {} if action == "delete" else {"name": "x"}
    change = Change(resource=resource, action=Action(action), id="1", fields=fields)
    return _told(handler.reversal(change, None), notes)


def _told(reversal: Reversal, notes: dict[str, int]) -> str:
    if not reversal.reason:
        return _UNDONE[reversal.level]
    return f"{_UNDONE[reversal.level]} ({notes.setdefault(reversal.reason, len(notes) + 1)})"


def _sizes(traits: Traits) -> str:
    return f"{traits.read_max}, {traits.write_max}"


def with_tables(text: str) -> str:
    return _MARKS.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
