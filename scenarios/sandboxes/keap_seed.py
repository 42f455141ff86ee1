"""What is in the Keap sandbox at the start: the contacts of a made-up coaching business, and what hangs on them.

The same seed gives the same records, ids and times. Addresses are of domains reserved for examples (RFC 2606) and phone
numbers of the fictional exchange 555-01.. . Opportunities, notes and tasks hang on the first third of the contacts.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

USERS = ("1", "17", "23")
STAGES = {"2": "New", "4": "Contacting", "6": "Engaging", "8": "Won", "10": "Lost"}
TAGS = {"91": "Newsletter", "93": "Customer", "95": "Hot lead", "97": "Webinar", "99": "Coaching"}

JOB_LEVEL, SALARY, START_DATE, REGION_SERVED = "7", "9", "11", "13"
INDUSTRY, EMPLOYEES = "21", "23"
FEE, CHANNEL = "31", "33"
OUTCOME, TOPIC = "41", "43"

_START = datetime(2025, 2, 3, 9, 0, tzinfo=UTC)
_GIVEN = "Ada Ben Cleo Dana Elif Finn Gita Hugo Ines Jonas Kaya Lena Milo Nora Omar Pia Quinn Rosa Sam Tara".split()
_FAMILY = "Abbott Brandt Cruz Dietz Ekman Flores Grant Huber Ivers Jensen Klein Lang Moore Nunez Ortiz Patel".split()
_CITIES = (("Chandler", "US-AZ", "85225"), ("Austin", "US-TX", "78701"), ("Denver", "US-CO", "80202"))
_LEVELS = ("Junior", "Senior", "Lead")


def timestamp(moment: datetime) -> str:
    """As the vendor writes times: UTC, milliseconds, Z."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _field(id_: str, record: str, kind: str, label: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "id": id_,
        "label": label,
        "options": [{"id": str(n), "label": option} for n, option in enumerate(options)],
        "record_type": record,
        "field_type": kind,
        "field_name": label.title().replace(" ", ""),
    }


_COMBINED = (
    _field(OUTCOME, "TASK_NOTE_APPOINTMENT", "TEXT", "Outcome"),
    _field(TOPIC, "TASK_NOTE_APPOINTMENT", "TEXT", "Topic"),
)
MODELS = {
    "contacts": (
        _field(JOB_LEVEL, "CONTACT", "DROPDOWN", "Job level", _LEVELS),
        _field(SALARY, "CONTACT", "WHOLE_NUMBER", "Salary"),
        _field(START_DATE, "CONTACT", "DATE", "Start date"),
        _field(REGION_SERVED, "CONTACT", "TEXT", "Region served"),
    ),
    "companies": (
        _field(INDUSTRY, "COMPANY", "TEXT", "Industry"),
        _field(EMPLOYEES, "COMPANY", "WHOLE_NUMBER", "Employees"),
    ),
    "opportunities": (
        _field(FEE, "OPPORTUNITY", "CURRENCY", "Fee"),
        _field(CHANNEL, "OPPORTUNITY", "TEXT", "Channel"),
    ),
    "notes": _COMBINED,  # Keap has one set of custom fields for tasks, appointments and notes
    "tasks": _COMBINED,
}


def companies(records: int, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"companies {seed}")  # noqa: S311 - it must repeat, not surprise
    for n in range(max(3, records // 5)):
        name = f"{rng.choice(_FAMILY)} Partners {n}"
        yield {
            "id": str(5001 + n),
            "company_name": name,
            "website": f"https://partners{n}.example.com",
            "notes": "Found at the fair",
            "owner_id": USERS[n % 3],
            "address": {
                "line1": f"{n + 1} Main Street",
                "locality": "Austin",
                "region_code": "US-TX",
                "country_code": "USA",
            },
            "email_address": {"email": f"office{n}@example.org"},
            "phone_number": {"number": f"(512) 555-01{n % 100:02}", "type": "Work"},
            "custom_fields": {INDUSTRY: "Staffing", EMPLOYEES: 10 + n},
            "create_time": timestamp(_START + timedelta(minutes=n)),
            "update_time": timestamp(_START + timedelta(minutes=n)),
        }


def contacts(records: int, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"contacts {seed}")  # noqa: S311
    for n in range(records):
        given, family = rng.choice(_GIVEN), rng.choice(_FAMILY)
        city, region, code = rng.choice(_CITIES)
        created = timestamp(_START + timedelta(minutes=7 * n))
        tags = sorted(rng.sample(sorted(TAGS), 1 + n % 3))
        home = {
            "line1": f"{n} Elm Road",
            "locality": city,
            "region_code": region,
            "postal_code": code,
            "country_code": "USA",
        }
        yield {
            "id": str(10001 + n),
            "given_name": given,
            "family_name": family,
            "job_title": "Consultant",
            "owner_id": USERS[n % 3],
            "time_zone": "America/Phoenix",
            "source_type": "IMPORT",
            **({"company": "5001"} if n % 4 == 0 else {}),
            "email_addresses": {
                "EMAIL1": f"{given}.{family}.{n}@example.com".lower(),
                "EMAIL2": f"home.{n}@example.net",
            },
            "phone_numbers": {
                "PHONE1": {"number": f"(480) 555-01{n % 100:02}", "type": "Mobile"},
                "PHONE2": {"number": f"(602) 555-01{n % 100:02}", "type": "Work", "extension": "12"},
            },
            "fax_numbers": {},
            "addresses": {
                "BILLING": home,
                "SHIPPING": {"line1": f"PO Box {n}", "locality": city, "country_code": "USA"},
            },
            "social_accounts": {"LINKED_IN": {"name": f"{given.lower()}{n}"}},
            "custom_fields": {JOB_LEVEL: _LEVELS[n % 3], SALARY: 50_000 + n, REGION_SERVED: "Southwest"},
            "tag_ids": tags,
            "applied": dict.fromkeys(tags, created),
            "score_value": "3",
            "create_time": created,
            "update_time": created,
        }


def _hosts(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return people[: len(people) // 3]


def opportunities(people: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for n, person in enumerate(_hosts(people)):
        created = timestamp(_START + timedelta(days=1, minutes=n))
        yield {
            "id": str(7001 + n),
            "opportunity_title": f"Coaching package {n}",
            "contact_id": person["id"],
            "stage_id": sorted(STAGES)[n % 3],
            "user_id": USERS[n % 3],
            "opportunity_notes": "Came by referral",
            "next_action_time": "2025-09-01T15:00:00.000Z",
            "include_in_forecast": True,
            "projected_revenue_low": 1000 + n,
            "projected_revenue_high": 4000 + n,
            "custom_fields": {FEE: 250, CHANNEL: "phone"},
            "created_time": created,
            "last_updated_time": created,
        }


def notes(people: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for n, person in enumerate(_hosts(people)):
        created = timestamp(_START + timedelta(days=2, minutes=n))
        yield {
            "id": str(9001 + n),
            "contact_id": person["id"],
            "title": f"First call {n}",
            "text": "Wants a plan by autumn",
            "type": "Call",
            "user_id": USERS[n % 3],
            "custom_fields": {OUTCOME: "good"},
            "create_time": created,
            "update_time": created,
        }


def tasks(people: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for n, person in enumerate(_hosts(people)):
        created = timestamp(_START + timedelta(days=3, minutes=n))
        yield {
            "id": str(8001 + n),
            "contact_id": person["id"],
            "title": f"Send the offer {n}",
            "description": "With the price list",
            "type": "Other",
            "priority": "ESSENTIAL",
            "due_time": "2025-10-01T08:00:00.000Z",
            "assigned_to_user_id": USERS[n % 3],
            "custom_fields": {TOPIC: "offer"},
            "create_time": created,
            "modification_time": created,
        }
