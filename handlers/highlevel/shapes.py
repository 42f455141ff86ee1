"""Records as HighLevel shows and takes them, and as Guard knows them: each field under one name, nothing empty."""

import re
from collections.abc import Mapping
from typing import Any

from guard.core.errors import Refused
from handlers.base import unwritable

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
CHANNEL_GROUPS = ("dndSettings.", "inboundDndSettings.")
CHANNELS_OF = {
    "dndSettings": [f"dndSettings.{channel}" for channel in ("Call", "Email", "SMS", "WhatsApp", "GMB", "FB")],
    "inboundDndSettings": ["inboundDndSettings.all"],
}
# What PUT /contacts/{id} takes: UpdateContactDto, and four that live accounts take though the spec has them not.
CONTACT_FIELDS = frozenset(
    "firstName lastName name email phone address1 city state postalCode website timezone dnd dndSettings "
    "inboundDndSettings tags source dateOfBirth country assignedTo companyName keyword ssn type".split()
)
# CreateContactDto has no keyword, ssn and type, but gender, which can never be changed afterwards.
CREATE_FIELDS = (CONTACT_FIELDS - {"keyword", "ssn", "type"}) | {"gender"}
OPPORTUNITY_FIELDS = frozenset("pipelineId name pipelineStageId status monetaryValue assignedTo".split())
OPPORTUNITY_CREATE_FIELDS = OPPORTUNITY_FIELDS | {"contactId"}
_CLEARED: dict[str, Any] = {"postalCode": "", "country": "", "dnd": False, "assignedTo": "", "monetaryValue": 0}
"""What clears fields whose DTO is not nullable; the others take null."""
_CUSTOM = "customFields."


def canonical_found(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """A record as read; None where it is of no shape that could be relied upon."""
    try:
        return _canonical(found)
    except (TypeError, AttributeError, KeyError, Refused):
        return None


def _canonical(found: Mapping[str, Any]) -> dict[str, Any]:
    """Empty means the same to HighLevel as absent, so empty fields are left out."""
    image: dict[str, Any] = {}
    for name, value in found.items():
        match name:
            case "customFields":  # a contact's have value, an opportunity's fieldValue
                image |= {_CUSTOM + f["id"]: f.get("value", f.get("fieldValue")) for f in value or []}
            case "tags":
                image[name] = sorted(tags_of(value or []))
            case "dndSettings" | "inboundDndSettings":
                image |= {f"{name}.{channel}": each for channel, each in _channels(value).items()}
            case "followers":
                image[name] = sorted(str(each) for each in value or [])
            case _:
                image[name] = value
    return {name: value for name, value in image.items() if value not in (None, "", [], {})}


def canonical_asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a caller writes them, in canonical names. Nothing is left out: an empty one asks for clearing."""
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name == "customFields":
            if not isinstance(value, list):
                raise Refused("invalid_record", "customFields must be a list of {id, field_value}.")
            fields |= dict(_asked_custom(each) for each in value)
        elif name == "tags":
            fields[name] = list(tags_of(value))
        elif name in ("dndSettings", "inboundDndSettings"):
            if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
                raise Refused("invalid_record", f"{name} must be an object of channels.")
            on = _channels(value)
            fields |= {f"{name}.{channel}": on.get(channel) for channel in value}
        else:
            fields[name] = _typed(name, value)
    return fields


def _typed(name: str, value: Any) -> Any:
    """HighLevel refuses texts for its flag and its number; a CSV has only texts."""
    if name == "dnd" and value in ("true", "false"):
        return value == "true"
    if name == "monetaryValue" and isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):  # "nan", which some tools write for nothing, would clear it
            raise Refused("invalid_record", "monetaryValue must be a number.")
        return float(value)
    return value


def _asked_custom(given: Any) -> tuple[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise Refused(
            "invalid_record", "Each of customFields needs its id; a key alone does not tell which field it is."
        )
    values = [given[key] for key in ("field_value", "fieldValue", "value") if key in given]
    if not values:
        raise Refused("invalid_record", "Each of customFields needs its field_value.")
    return _CUSTOM + given["id"], values[0]


def refuse_unwritable(resource: str, action: str, fields: Mapping[str, Any]) -> None:
    known = {
        ("contacts", "create"): CREATE_FIELDS,
        ("contacts", "upsert"): CREATE_FIELDS,
        ("opportunities", "create"): OPPORTUNITY_CREATE_FIELDS,
        ("opportunities", "upsert"): OPPORTUNITY_CREATE_FIELDS,
        ("opportunities", "update"): OPPORTUNITY_FIELDS | {"lostReasonId"},
    }.get((resource, action), CONTACT_FIELDS)
    if unknown := [name for name in fields if not is_writable(name, known)]:
        raise unwritable(resource, unknown)
    if "lostReasonId" in fields and "status" not in fields:
        raise Refused("invalid_record", "HighLevel sets lostReasonId together with status only: name both.")


def is_writable(name: str, known: frozenset[str]) -> bool:
    """Custom fields and channels are named after what they belong to: customFields.<id>, dndSettings.SMS."""
    return name in known or name.startswith((_CUSTOM, *CHANNEL_GROUPS))


def body_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical fields as HighLevel takes them; a None clears."""
    body: dict[str, Any] = {}
    custom = []
    for name, value in fields.items():
        if name.startswith(_CUSTOM):
            custom.append({"id": name.removeprefix(_CUSTOM), "field_value": "" if value is None else value})
        elif name.startswith(CHANNEL_GROUPS):
            group, _, channel = name.partition(".")
            body.setdefault(group, {})[channel] = value or {"status": "inactive"}
        elif name == "dateOfBirth" and isinstance(value, str):
            body[name] = value[:10]  # read as a timestamp, written as a day
        elif name == "tags":
            body[name] = list(value or [])
        else:
            body[name] = _CLEARED.get(name) if value is None else value
    return {**body, **({"customFields": custom} if custom else {})}


def _channels(value: Any) -> dict[str, Any]:
    """Do-not-disturb settings without the channels that are simply off."""
    cleaned = {
        channel: {k: v for k, v in (s or {}).items() if v not in (None, "")} for channel, s in (value or {}).items()
    }
    return {channel: s for channel, s in cleaned.items() if s and s != {"status": "inactive"}}


def tags_of(value: Any) -> tuple[str, ...]:
    """HighLevel keeps tags trimmed and in lower case."""
    given = value.split(",") if isinstance(value, str) else value  # a CSV has them in one cell
    if not isinstance(given, list) or not all(isinstance(tag, str) for tag in given):
        raise Refused("invalid_record", "tags must be a list of texts.")
    return tuple(dict.fromkeys(tag.strip().lower() for tag in given if tag.strip()))
