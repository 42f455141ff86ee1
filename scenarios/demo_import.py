"""What happens to the candidates: an import whose columns slipped, and people who go on working meanwhile."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scenarios.sandboxes.highlevel_seed import JOB_TITLE, NOTICE, SALARY

Row = Mapping[str, Any]
"""A contact as the sandbox shows it."""

OTHER_FIELDS, SAME_FIELDS = 15, 10
"""People's edits: of fields that the import left alone, and of those that it overwrote."""

HEADER = ("id", f"customFields.{JOB_TITLE}", f"customFields.{SALARY}", "tags")


@dataclass(frozen=True, slots=True)
class Edit:
    """What a person changes in one contact."""

    id: str
    fields: Mapping[str, Any]


def custom(row: Row, field: str) -> Any:
    """A contact's own field; None where it is empty."""
    return next((each["value"] for each in row["customFields"] if each["id"] == field), None)


def shifted_csv(rows: Sequence[Row]) -> Iterator[bytes]:
    """The export, line by line: its header names the job title, its rows lack it, so every cell slipped to the left."""
    yield _line(HEADER)
    for row in rows:
        yield _line((row["id"], custom(row, SALARY), row.get("source"), custom(row, NOTICE)))


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def peoples_edits(rows: Sequence[Row]) -> list[Edit]:
    """One edit each of contacts from all over the list, so that both kinds meet every part of the import."""
    step = len(rows) // (OTHER_FIELDS + SAME_FIELDS)
    people = [row["id"] for row in rows[::step]]
    other = [Edit(id_, _OTHER[n % len(_OTHER)]) for n, id_ in enumerate(people[:OTHER_FIELDS])]
    same = people[OTHER_FIELDS : OTHER_FIELDS + SAME_FIELDS]
    return other + [Edit(id_, _own_field(*_SAME[n % len(_SAME)])) for n, id_ in enumerate(same)]


def _own_field(field: str, value: Any) -> dict[str, Any]:
    return {"customFields": [{"id": field, "value": value}]}


# None of these values is one that the sandbox's candidates begin with, so every edit changes something.
_OTHER: tuple[dict[str, Any], ...] = (
    {"city": "Vienna"},
    {"companyName": "Stark Recruiting"},
    {"address1": "1 New Street"},
    _own_field(NOTICE, "6 months"),
    {"timezone": "Europe/Vienna"},
)
_SAME = ((JOB_TITLE, "Head of Engineering"), (SALARY, 250_000))
