"""What Keap's API v2 takes in a body: names, types and lengths as its OpenAPI file has them; anything else is a 400."""

from collections.abc import Callable, Mapping
from typing import Any

Rule = Callable[[Any], str | None]
"""What is wrong with a value; None: nothing."""

SLOTS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "email_addresses": ("field", ("EMAIL1", "EMAIL2", "EMAIL3"), ("email", "opt_in_reason")),
    "phone_numbers": (
        "field",
        ("PHONE1", "PHONE2", "PHONE3", "PHONE4", "PHONE5"),
        ("number", "extension", "type", "number_e164"),
    ),
    "fax_numbers": ("field", ("FAX1", "FAX2"), ("number", "type")),
    "social_accounts": (
        "type",
        ("FACEBOOK", "LINKED_IN", "TWITTER", "INSTAGRAM", "SNAPCHAT", "YOUTUBE", "PINTEREST"),
        ("name",),
    ),
    "addresses": (
        "field",
        ("BILLING", "SHIPPING", "OTHER"),
        tuple("line1 line2 locality region region_code country country_code postal_code zip_code zip_four".split()),
    ),
}
"""Lists of a contact: what tells their members apart, its values, and the other parts of a member."""


def text(longest: int = 65_535) -> Rule:
    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and len(value) <= longest else f"must be a text of up to {longest}"

    return check


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"


def one_of(*values: Any) -> Rule:
    return lambda value: None if value in values else "is none of the values that are known"


def custom(value: Any) -> str | None:
    ok = isinstance(value, list) and all(isinstance(e, dict) and isinstance(e.get("id"), str) for e in value)
    return None if ok and all(set(e) <= {"id", "content"} for e in value) else "must be a list of {id, content}"


def company(value: Any) -> str | None:
    ok = isinstance(value, dict) and set(value) <= {"id", "company_name"}
    return None if ok and all(isinstance(each, str) for each in value.values()) else "must be {id}"


def member(name: str) -> Rule:
    key, keys, parts = SLOTS[name]

    def check(value: Any) -> str | None:
        if not isinstance(value, dict) or not set(value) <= {key, *parts}:
            return f"has a member with parts other than {', '.join((key, *parts))}"
        if value.get(key, keys[0]) not in keys:
            return f"has a member whose {key} is not known"
        return (
            None
            if all(isinstance(each, str) for each in value.values())
            else "has a member with a part that is no text"
        )

    return check


def members(name: str) -> Rule:
    each = member(name)

    def check(value: Any) -> str | None:
        return next(filter(None, map(each, value)), None) if isinstance(value, list) else "must be a list"

    return check


def _texts(names: str, longest: int = 65_535) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), text(longest))


CONTACT: Mapping[str, Rule] = {
    **_texts("prefix suffix anniversary_date birth_date contact_type leadsource_id owner_id preferred_locale"),
    **_texts("referral_code time_zone"),
    **_texts("given_name family_name", 40),
    **_texts("website middle_name preferred_name spouse_name billing_information", 100),
    **_texts("job_title", 255),
    **_texts("assistant_name", 20),
    **_texts("assistant_phone", 15),
    **{name: members(name) for name in SLOTS},
    "custom_fields": custom,
    "company": company,
    "source_type": one_of("API", "IMPORT", "MANUAL", "OTHER", "UNKNOWN", "WEBFORM", "LANDING_PAGE", "APPOINTMENT"),
}
COMPANY: Mapping[str, Rule] = {
    **_texts("notes website suffix title company_name anniversary_date assistant_name assistant_phone birth_date"),
    **_texts("billing_information contact_type first_name job_title last_name middle_name preferred_name owner_id"),
    **_texts("referral_code spouse_name"),
    "address": member("addresses"),
    "email_address": member("email_addresses"),
    "fax_number": member("fax_numbers"),
    "phone_number": member("phone_numbers"),
    "custom_fields": custom,
}
OPPORTUNITY: Mapping[str, Rule] = {
    **_texts("opportunity_title next_action_time next_action_notes opportunity_notes estimated_close_time"),
    **_texts("contact_id stage_id user_id affiliate_id"),
    **dict.fromkeys(("projected_revenue_low", "projected_revenue_high"), number),
    "include_in_forecast": flag,
    "custom_fields": custom,
}
NOTE: Mapping[str, Rule] = {**_texts("title text type user_id"), "is_pinned": flag, "custom_fields": custom}
NOTE_UPDATE: Mapping[str, Rule] = {**NOTE, **_texts("contact_id")}
TASK: Mapping[str, Rule] = {
    **_texts("title description type completion_time due_time assigned_to_user_id contact_id opportunity_id"),
    "priority": one_of("CRITICAL", "ESSENTIAL", "NONESSENTIAL"),
    "remind_time_mins": one_of(5, 10, 15, 30, 60, 120, 240, 480, 1440, 2880),
    "completed": flag,
    "accepted": flag,
    "custom_fields": custom,
}
