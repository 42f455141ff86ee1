"""HighLevel's searches as filters of POST /v1/checkpoints: only the ids that they show are used.

contacts:      {"filters": [{"field": "tags", "operator": "eq", "value": "…"}], "query": "…"}, POST /contacts/search
opportunities: {"pipeline_id": "…", "status": "open", …}, GET /opportunities/search

https://marketplace.gohighlevel.com/docs/ghl/contacts/search-contacts-advanced
"""

from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused
from handlers.base import Call, Page, Reply

PAGE_RECORDS = 100
_CONTACTS = ("filters", "query")
_OPPORTUNITIES = ("assigned_to", "contact_id", "pipeline_id", "pipeline_stage_id", "q", "status")


def search(location: str, resource: str, where: Mapping[str, Any], cursor: Any) -> Call:
    """Raises Refused."""
    _refuse_unlike(resource, where)
    if resource == "contacts":
        after = {"searchAfter": cursor} if cursor else {}
        body = {"locationId": location, "pageLimit": PAGE_RECORDS, **where, **after}
        return Call(method="POST", path="/contacts/search", body=body, repeatable=True)
    query = {"location_id": location, "limit": str(PAGE_RECORDS), **{name: str(value) for name, value in where.items()}}
    after = {"startAfter": str(cursor[0]), "startAfterId": str(cursor[1])} if cursor else {}
    return Call(method="GET", path="/opportunities/search", query={**query, **after}, repeatable=True)


def _refuse_unlike(resource: str, where: Mapping[str, Any]) -> None:
    known = _CONTACTS if resource == "contacts" else _OPPORTUNITIES
    if not any(where.values()) or not set(where) <= set(known):
        raise Refused("invalid_request", f"A filter of {resource} has {', '.join(known)}; at least one of them.")
    if not isinstance(where.get("filters") or [], list):
        raise Refused("invalid_request", "filters must be a list, as HighLevel's contact search takes it.")


def page(resource: str, reply: Reply) -> Page | None:
    rows = reply.part(resource)
    if reply.status != 200 or not isinstance(rows, list):
        return None
    ids = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str) and row["id"]]
    if len(ids) < len(rows):
        return None
    total = reply.part("total") if resource == "contacts" else reply.part("meta", "total")
    cursor = None
    if len(rows) == PAGE_RECORDS:
        cursor = rows[-1].get("searchAfter") if resource == "contacts" else _after(reply.part("meta"))
        if resource == "contacts" and not cursor:  # there may be more, and nothing tells where
            return None
    return Page(ids, cursor, total if isinstance(total, int) else None)


def _after(meta: Any) -> list[Any] | None:
    after = [meta.get("startAfter"), meta.get("startAfterId")] if isinstance(meta, dict) else [None]
    return None if None in after else after
