"""What callers ask for: HighLevel's own requests, ids, tags."""

from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused
from guard.core.model import Action, Change
from handlers.base import Request, Route
from handlers.highlevel.shapes import canonical_asked, tags_of

VERSION = "2021-07-28"
_OPTIONS = frozenset("id locationId createNewIfDuplicateAllowed isRemoveAllFollowers followersActionType".split())
"""Members of a request that are no fields of the record."""


def changes(route: Route, request: Request, location: str) -> list[Change]:
    if request.headers.get("version", VERSION) != VERSION:
        # The newer set names fields otherwise; a body in its names would be understood wrongly.
        raise Refused("unknown_route", f"Guard knows HighLevel's API of Version {VERSION} only.")
    if not isinstance(request.body, dict | None):
        raise Refused("invalid_request", "The body must be a JSON object.")
    body = request.body or {}
    id_ = id_of(request.params.get("id"))
    match (route.resource, route.action):
        case ("contacts", "tags"):
            return _tag_changes(request, body)
        case ("contacts", "business"):
            fields = business_of(body)
            ids = ids_of(body.get("ids"))
            return [Change(resource="contacts", action=Action.UPDATE, id=each, fields=fields) for each in ids]
        case ("contacts", "enrol"):
            return [Change(resource="contacts", action=Action.UPDATE, id=id_)]
        case ("opportunities", "followers"):
            followers = tuple(ids_of(body.get("followers")))
            return [set_change("opportunities", id_, "followers", followers, adding=request.method == "POST")]
        case (resource, "delete"):
            return [Change(resource=resource, action=Action.DELETE, id=id_)]
        case (resource, action):
            return [_field_change(resource, Action(action), id_, body, location)]


def _field_change(resource: str, action: Action, id_: str | None, body: Mapping[str, Any], location: str) -> Change:
    if body.get("locationId", location) != location:
        raise Refused("invalid_request", "The request is for another location than the one in Guard's settings.")
    given = {name: value for name, value in body.items() if name not in _OPTIONS}
    if resource == "opportunities" and action is Action.UPSERT:
        id_ = id_of(body.get("id"))
        named_followers = given.pop("followers", None)
        followers = tuple(ids_of(named_followers)) if named_followers else ()
        if body.get("isRemoveAllFollowers"):
            given["followers"] = []
        elif followers:
            adding = body.get("followersActionType") != "remove"
            named = {"followers": followers}
            return Change(
                resource=resource,
                action=action,
                id=id_,
                fields=canonical_asked(given),
                add=named if adding else {},
                remove={} if adding else named,
            )
    change = Change(resource=resource, action=action, id=id_, fields=canonical_asked(given))
    if action is Action.UPDATE and not change.fields:
        raise no_field()
    return change


def _tag_changes(request: Request, body: Mapping[str, Any]) -> list[Change]:
    adding = request.params.get("type") == "add" if "type" in request.params else request.method == "POST"
    if not adding and request.params.get("type", "remove") != "remove":
        raise Refused("unknown_route", "Guard knows bulk tag updates of type add and remove only.")
    ids = ids_of(body.get("contacts")) if "type" in request.params else [request.params["id"]]
    if body.get("removeAllTags"):
        return [Change(resource="contacts", action=Action.UPDATE, id=each, fields={"tags": []}) for each in ids]
    tags = tags_of(body.get("tags"))
    return [set_change("contacts", each, "tags", tags, adding=adding) for each in ids]


def set_change(resource: str, id_: str | None, name: str, members: tuple[str, ...], *, adding: bool) -> Change:
    named = {name: members}
    return Change(
        resource=resource,
        action=Action.UPDATE,
        id=id_,
        add=named if adding else {},
        remove={} if adding else named,
    )


def no_field() -> Refused:
    return Refused("invalid_record", "The update names no field.")


def id_of(value: Any) -> str | None:
    """An id becomes part of a path: nothing but what the vendor's own ids are made of may get there."""
    if value is None or (isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum()):
        return value
    raise Refused("invalid_record", "An id is not one of HighLevel's: they are texts of letters and digits.")


def business_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Null detaches. Raises Refused."""
    if "businessId" not in given:
        raise Refused("invalid_record", "Name the businessId; null detaches.")
    return {"businessId": id_of(given.get("businessId") or None)}


def ids_of(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or None in value:
        raise Refused("invalid_request", "The request names no records, or not by their ids.")
    return [str(id_of(each)) for each in value]
