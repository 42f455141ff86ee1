"""What Keap's API v2 says of each object type: its paths, what it shows and takes, and what it keeps itself.

Source: the vendor's OpenAPI file (infusionsoft/keap-sdk, sdks/v2/swagger.yml).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from guard.core.model import Resource

IDS_MAX = 100
"""Ids in one filter: stated for opportunities; of contacts, notes and tasks Keap states no maximum."""

SLOTS: Mapping[str, tuple[str, str, frozenset[str]]] = {
    "email_addresses": ("field", "email", frozenset({"email"})),
    "phone_numbers": ("field", "number", frozenset({"number", "extension", "type"})),
    "fax_numbers": ("field", "number", frozenset({"number", "type"})),
    "social_accounts": ("type", "name", frozenset({"name"})),
    "addresses": (
        "field",
        "",
        frozenset("line1 line2 locality region region_code country country_code postal_code zip_code zip_four".split()),
    ),
    "custom_fields": ("id", "content", frozenset()),
}
"""Of a contact's lists: what tells its members apart, what a member is without (then it is empty), and what is written
of it. The rest (consent, E.164 forms) is Keap's own."""

SINGLE = {"email_address": "email_addresses", "phone_number": "phone_numbers", "fax_number": "fax_numbers"}
"""A company has one of each, in the shape of a contact's member."""

CUSTOM = "custom_fields"
TAGS = "tag_ids"
STATUS = "email_opt_status"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One object type of Keap's."""

    path: str
    listed: str
    """The member of a list's answer that holds the records, and the one path that lists them by ids."""
    ids: str
    """The filter that takes ids."""
    show: str
    """What `fields` asks for: Keap leaves custom fields, and much else, out of answers not asked for them."""
    shown: frozenset[str]
    """Members that an answer in full has, empty or not."""
    writable: frozenset[str]
    lists: frozenset[str]
    """Lists that a write replaces; their members are fields of their own: custom_fields.7, email_addresses.EMAIL1."""
    nested: Mapping[str, str] = field(default_factory=dict)
    """Read as an object, by its id: the object's name -> ours."""
    kept: frozenset[str] = frozenset()
    """Read, and written by nobody."""
    texts: frozenset[str]
    """Writable texts: an empty one clears them. The others are cleared by a mask that names them alone."""
    identity: tuple[str, ...]
    """Fields by which a search finds a record: a creation whose answer was lost, or what an upsert would meet."""
    created: str = "create_time"
    needs: tuple[str, ...] = ()
    """What the body of an update has to hold, changed or not."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONTACT_TEXTS = _words(
    "prefix suffix website contact_type family_name given_name job_title middle_name preferred_locale preferred_name "
    "referral_code spouse_name time_zone assistant_name assistant_phone billing_information"
)
_CONTACT_LISTS = frozenset(SLOTS)
_COMPANY_TEXTS = _words(
    "notes website suffix title company_name assistant_name assistant_phone billing_information contact_type "
    "first_name job_title last_name middle_name preferred_name referral_code spouse_name"
)
_COMPANY_SHOWN = _words("address notes website fax_number phone_number email_address custom_fields company_name")
_OPPORTUNITY_TEXTS = _words("opportunity_title next_action_notes opportunity_notes")

KINDS = {
    "contacts": Kind(
        path="/rest/v2/contacts",
        listed="contacts",
        ids="ids",
        show=",".join(
            sorted(
                _CONTACT_TEXTS
                | _CONTACT_LISTS
                | _words(
                    "id company origin birth_date anniversary_date leadsource_id owner_id source_type utm_parameters "
                    "links tag_ids score_value create_time update_time account_id created_by last_updated_by"
                )
            )
        ),
        shown=_CONTACT_LISTS | {TAGS},
        writable=_CONTACT_TEXTS
        | _CONTACT_LISTS
        | _words("company birth_date anniversary_date leadsource_id owner_id source_type"),
        lists=_CONTACT_LISTS,
        nested={"company": "company"},
        kept=_words("account_id created_by links origin utm_parameters"),
        texts=_CONTACT_TEXTS,
        identity=("email_addresses",),
    ),
    "companies": Kind(
        path="/rest/v2/companies",
        listed="companies",
        ids="company_id",
        show=",".join(
            sorted(
                _COMPANY_TEXTS
                | _COMPANY_SHOWN
                | _words("id anniversary_date birth_date owner_id account_id create_time update_time created_by")
            )
        ),
        shown=_words("address fax_number phone_number email_address custom_fields company_name"),
        writable=_COMPANY_TEXTS
        | _words("anniversary_date birth_date owner_id address custom_fields")
        | frozenset(SINGLE),
        lists=frozenset({CUSTOM}),
        kept=_words("account_id created_by"),
        texts=_COMPANY_TEXTS,
        identity=("company_name",),
    ),
    "opportunities": Kind(
        path="/rest/v2/opportunities",
        listed="opportunities",
        ids="ids",
        show=CUSTOM,
        shown=_words("custom_fields opportunity_title contact stage"),
        writable=_OPPORTUNITY_TEXTS
        | _words(
            "next_action_time estimated_close_time include_in_forecast projected_revenue_low projected_revenue_high "
            "contact_id stage_id user_id affiliate_id custom_fields"
        ),
        lists=frozenset({CUSTOM}),
        nested={"contact": "contact_id", "stage": "stage_id", "user": "user_id"},
        kept=_words("lead_source"),
        texts=_OPPORTUNITY_TEXTS,
        identity=("contact_id", "opportunity_title"),
        created="created_time",
    ),
    "notes": Kind(
        path="/rest/v2/notes",
        listed="notes",
        ids="ids",
        show=CUSTOM,
        shown=_words("custom_fields contact_id"),
        writable=_words("title text type user_id is_pinned contact_id custom_fields"),
        lists=frozenset({CUSTOM}),
        nested={"assigned_to_user": "user_id"},
        kept=_words("created_by_user_id"),
        texts=_words("title text type"),
        identity=("contact_id", "title"),
        needs=("user_id", "title", "type"),
    ),
    "tasks": Kind(
        path="/rest/v2/tasks",
        listed="tasks",
        ids="task_ids",
        show=CUSTOM,
        shown=_words("custom_fields"),
        writable=_words(
            "title description type priority completed completion_time due_time remind_time_mins assigned_to_user_id "
            "contact_id opportunity_id accepted custom_fields"
        ),
        lists=frozenset({CUSTOM}),
        kept=_words("created_by_user_id"),
        texts=_words("title description type"),
        identity=("contact_id", "title"),
    ),
}

HANGING = {
    "contacts": dict.fromkeys(("opportunities", "notes", "tasks", "orders", "subscriptions"), "contact_id"),
    "companies": {"contacts": "company_id"},
    "opportunities": {"tasks": "opportunity_id"},
}
"""What is deleted with a record, or loses it: lists, and the filter that finds those of one record."""

OFF = _words("is_pinned completed accepted")
"""Flags that are off where nothing is said of them."""
FLAGS = OFF | {"include_in_forecast"}
NUMBERS = _words("projected_revenue_low projected_revenue_high remind_time_mins")
TIMES = _words("next_action_time estimated_close_time completion_time due_time birth_date anniversary_date")
REFERENCES = _words("company contact_id stage_id user_id opportunity_id owner_id leadsource_id affiliate_id")

_EMAIL_SLOTS = ("EMAIL1", "EMAIL2", "EMAIL3")

RESOURCES = {
    "contacts": Resource(
        name="contacts",
        sets=frozenset({TAGS}),
        volatile=_words("create_time update_time last_updated_by score_value")
        | {f"{STATUS}.{slot}" for slot in _EMAIL_SLOTS},
        readonly=KINDS["contacts"].kept | {"id"},
        references={"company": "companies"},
    ),
    "companies": Resource(
        name="companies",
        volatile=_words("create_time update_time last_updated_by"),
        readonly=KINDS["companies"].kept | {"id"},
    ),
    "opportunities": Resource(
        name="opportunities",
        volatile=_words("created_time last_updated_time"),
        readonly=KINDS["opportunities"].kept | {"id"},
        references={"contact_id": "contacts"},
    ),
    "notes": Resource(
        name="notes",
        volatile=_words("create_time update_time last_updated_by_user_id pinned_at"),
        readonly=KINDS["notes"].kept | {"id"},
        references={"contact_id": "contacts"},
    ),
    "tasks": Resource(
        name="tasks",
        volatile=_words("create_time modification_time last_updated_by_user_id"),
        readonly=KINDS["tasks"].kept | {"id"},
        references={"contact_id": "contacts", "opportunity_id": "opportunities"},
    ),
}
