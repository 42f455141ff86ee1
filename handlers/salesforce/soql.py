"""Queries: which record has this external id, and what hangs on a record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from guard.core.errors import Refused
from handlers.base import Call, Page, Reply
from handlers.salesforce.names import DATA, canonical_id

_QUERY_CHARS_MAX = 8000
"""Of the values in one query, escaped: an address may have 16,384 characters in all."""
_CHILDREN_MAX = 20
"""Relationships in one query."""
_ESCAPED = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def query(soql: str) -> Call:
    return Call(method="GET", path=f"{DATA}/query", query={"q": soql}, repeatable=True)


def literal(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else f"'{str(value).translate(_ESCAPED)}'"


def in_parts(values: Mapping[int, Any], most: int) -> Iterator[dict[int, str]]:
    """Positions and literals, as many together as one query may have."""
    part: dict[int, str] = {}
    chars = 0
    for position, value in values.items():
        text = literal(value)
        if part and (len(part) == most or chars + len(quote(text)) + 3 > _QUERY_CHARS_MAX):
            yield part
            part, chars = {}, 0
        part[position] = text
        chars += len(quote(text)) + 3
    if part:
        yield part


def those_with(resource: str, name: str, literals: Sequence[str]) -> Call:
    listed = ",".join(dict.fromkeys(literals))
    return query(f"SELECT Id, {name} FROM {resource} WHERE {name} IN ({listed})")  # noqa: S608 - escaped


def meant(resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
    """A page of the ids of a condition's records: {"where": "City = 'Rome'"}. Raises Refused."""
    if cursor is not None:
        return Call(method="GET", path=cursor, repeatable=True)
    condition = where.get("where")
    if set(where) != {"where"} or not isinstance(condition, str) or not condition.strip():
        raise Refused("invalid_request", "A filter of Salesforce has where: the condition of a SOQL query, a text.")
    # In brackets, so that nothing but a condition is one: what SOQL has behind it may write (FOR VIEW).
    return query(f"SELECT Id FROM {resource} WHERE ({condition})")  # noqa: S608 - it is the caller's own query


def page(reply: Reply) -> Page | None:
    rows, more = reply.part("records"), reply.part("nextRecordsUrl")
    if reply.status != 200 or not isinstance(rows, list):
        return None
    ids = [canonical_id(row.get("Id")) if isinstance(row, dict) else None for row in rows]
    done, total = reply.part("done") is True, reply.part("totalSize")
    going_on = isinstance(more, str) and more.startswith(f"{DATA}/query/")
    if None in ids or done == going_on:
        return None
    return Page([str(id_) for id_ in ids], None if done else more, total if isinstance(total, int) else None)


def hanging_on(resource: str, ids: Sequence[str], children: Sequence[tuple[str, str]]) -> list[Call]:
    """Which records would be deleted along with these. (A LIMIT might count for all of them together.)"""
    parts = [children[i : i + _CHILDREN_MAX] for i in range(0, len(children), _CHILDREN_MAX)]
    inner = [", ".join(f"(SELECT Id FROM {name})" for name, _ in part) for part in parts]  # noqa: S608
    listed = ",".join(literal(id_) for id_ in ids)
    return [query(f"SELECT Id, {each} FROM {resource} WHERE Id IN ({listed})") for each in inner]  # noqa: S608 - ids


def rows_of(reply: Reply) -> list[dict[str, Any]] | None:
    """The records of a query's answer; None: they are not all there, or of no shape to rely upon."""
    rows = reply.part("records")
    if reply.status != 200 or reply.part("done") is not True or not isinstance(rows, list):
        return None
    return rows if all(isinstance(row, dict) and canonical_id(row.get("Id")) for row in rows) else None


def hanging(row: Mapping[str, Any], children: Sequence[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """Object types and ids of what hangs on the record of a row; None: it does not tell."""
    kinds = dict(children)
    found = []
    for name, inner in row.items():
        if name not in kinds or inner is None:
            continue
        rows = inner.get("records") if isinstance(inner, dict) else None
        if not isinstance(rows, list) or not all(isinstance(r, dict) and canonical_id(r.get("Id")) for r in rows):
            return None
        found += [(kinds[name], str(canonical_id(r["Id"]))) for r in rows]
    return found
