"""What a HubSpot sandbox holds at the start: an account's property definitions, and records of a recruiting agency.

The same seed gives the same records. Everything is made up.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]

CARS_TYPE = "2-1001"
"""A custom object: the cars that the agency lends to its candidates."""
OBJECTS = {"contacts": "0-1", "companies": "0-2", "deals": "0-3", "tickets": "0-5", "cars": CARS_TYPE}

STAGES = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer")
DEAL_STAGES = ("appointmentscheduled", "contractsent", "closedwon", "closedlost")
CLOSED = frozenset({"closedwon", "closedlost"})
"""A label between contacts and companies, made in this account; 29 the other way round."""

_FIRST = "Ann Ben Carla David Eva Finn Greta Hugo Ida Jonas Klara Liam Mia Noah Olga Paul Rosa Sven Tara Uwe".split()
_LAST = "Abel Brandt Costa Diaz Engel Fuchs Gross Haas Iding Jansen Kern Lang Moser Nagy Otto Pohl Reis Sand".split()
_CITIES = ("Berlin", "Lisbon", "Vienna", "Porto", "")
_SKILLS = ("java", "python", "sql", "english")


def definition(name: str, type_: str = "string", field: str = "text", **more: Any) -> Row:
    """A property as GET /crm/v3/properties/{type} shows it."""
    modification = {"archivable": True, "readOnlyDefinition": False, "readOnlyValue": False}
    made = {"name": name, "label": name, "type": type_, "fieldType": field, "description": "", "groupName": "g"}
    kept = {"calculated": False, "hasUniqueValue": False, "externalOptions": False, "hidden": False}
    return {**made, "options": [], **kept, "formField": True, "modificationMetadata": modification, **more}


def readonly(name: str, type_: str = "string", **more: Any) -> Row:
    """One that HubSpot keeps itself."""
    modification = {"archivable": False, "readOnlyDefinition": True, "readOnlyValue": True}
    return definition(name, type_, hubspotDefined=True, modificationMetadata=modification, **more)


def choice(name: str, *values: str, field: str = "select") -> Row:
    options = [{"value": v, "label": v, "hidden": False, "displayOrder": n} for n, v in enumerate(values)]
    return definition(name, "enumeration", field, options=options)


def unique(name: str) -> Row:
    return definition(name, hasUniqueValue=True)


_KEPT = [
    readonly("createdate", "datetime"),
    readonly("hs_lastmodifieddate", "datetime"),
    readonly("hs_object_id", "number"),
]

PROPERTIES: dict[str, list[Row]] = {
    "contacts": [
        *_KEPT,
        *(definition(n) for n in "firstname lastname phone jobtitle company city zip notice_period".split()),
        unique("email"),
        unique("candidate_number"),
        definition("salary_expectation", "number", "number"),
        definition("available_from", "date", "date"),
        choice("relocates", "true", "false", field="booleancheckbox") | {"type": "bool"},
        choice("skills", *_SKILLS, field="checkbox"),
        choice("lifecyclestage", *STAGES, field="radio"),
        choice("hs_lead_status", "NEW", "OPEN", "CONNECTED", field="radio"),
        definition("hubspot_owner_id", "enumeration", "select", externalOptions=True),
        readonly("hs_additional_emails"),
        readonly("hs_full_name_or_email", calculated=True),
        readonly("num_associated_deals", "number", calculated=True),
    ],
    "companies": [
        *_KEPT,
        *(definition(n) for n in "name domain phone city industry".split()),
        unique("customer_number"),
        choice("lifecyclestage", *STAGES, field="radio"),
        readonly("num_associated_contacts", "number", calculated=True),
    ],
    "deals": [
        *_KEPT,
        *(definition(n) for n in ("dealname", "description")),
        unique("order_number"),
        definition("amount", "number", "number"),
        definition("closedate", "datetime", "date"),
        choice("pipeline", "default"),
        choice("dealstage", *DEAL_STAGES, field="radio"),
        readonly("hs_v2_date_entered_current_stage", "datetime"),
        readonly("hs_is_closed", "bool", calculated=True),
    ],
    "tickets": [
        *_KEPT,
        *(definition(n) for n in ("subject", "content")),
        unique("case_number"),
        choice("hs_pipeline", "0"),
        choice("hs_pipeline_stage", "1", "2", "3", "4"),
        choice("hs_ticket_priority", "LOW", "MEDIUM", "HIGH"),
    ],
    "cars": [*_KEPT, *(definition(n) for n in ("model", "colour")), unique("plate")],
}

DEFAULTS = {
    "contacts": ("createdate", "email", "firstname", "hs_object_id", "hs_lastmodifieddate", "lastname"),
    "companies": ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    "deals": ("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate", "pipeline"),
    "tickets": ("content", "createdate", "hs_lastmodifieddate", "hs_object_id", "hs_pipeline", "subject"),
    "cars": ("createdate", "hs_lastmodifieddate", "hs_object_id"),
}
"""What comes back where no properties are asked for."""

_BEGAN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def _row(number: int, base: int, properties: Row) -> Row:
    at = (_BEGAN + timedelta(minutes=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kept = {name: value for name, value in properties.items() if value}
    return {"id": str(base + number), "createdAt": at, "updatedAt": at, **kept}


def contacts(records: int, seed: int) -> Iterator[Row]:
    """Every third has no city, every fourth more than one skill, every tenth a second e-mail address."""
    dice = random.Random(seed)  # noqa: S311 - the same records each time, nothing secret
    for n in range(records):
        first, last = _FIRST[n % len(_FIRST)], _LAST[(n // len(_FIRST) + n) % len(_LAST)]
        email = f"{first}.{last}.{n}@example.org".lower()
        yield _row(
            n,
            10_001,
            {
                "firstname": first,
                "lastname": last,
                "email": email,
                "hs_additional_emails": f"second.{n}@example.org" if n % 10 == 0 else "",
                "candidate_number": f"C-{n:05}",
                "phone": f"+4930{1_000_000 + n}",
                "jobtitle": dice.choice(["Nurse", "Driver", "Welder", "Clerk"]),
                "city": _CITIES[n % len(_CITIES)],
                "notice_period": f"{dice.randint(1, 6)} weeks",
                "salary_expectation": str(30_000 + 500 * dice.randint(0, 60)),
                "available_from": f"2026-{1 + n % 12:02}-01",
                "relocates": "true" if n % 2 else "",
                "skills": ";".join(_SKILLS[: 1 + n % 4]),
                "lifecyclestage": STAGES[n % len(STAGES)],
                "hs_lead_status": "NEW",
            },
        )


def companies(records: int) -> Iterator[Row]:
    for n in range(records):
        named = {"name": f"Clinic {n}", "domain": f"clinic{n}.example.org", "customer_number": f"K-{n:04}"}
        yield _row(n, 500_001, {**named, "city": _CITIES[n % len(_CITIES)], "lifecyclestage": "customer"})


def deals(records: int) -> Iterator[Row]:
    for n in range(records):
        named = {"dealname": f"Placement {n}", "order_number": f"O-{n:04}", "amount": str(5000 + 100 * n)}
        yield _row(n, 700_001, {**named, "pipeline": "default", "dealstage": DEAL_STAGES[n % 2]})


def tickets(records: int) -> Iterator[Row]:
    for n in range(records):
        named = {"subject": f"Question {n}", "case_number": f"T-{n:04}", "hs_pipeline": "0"}
        yield _row(n, 800_001, {**named, "hs_pipeline_stage": "1", "hs_ticket_priority": "LOW"})


def cars(records: int) -> Iterator[Row]:
    for n in range(records):
        yield _row(n, 900_001, {"model": "Polo", "colour": "red", "plate": f"B-GU {n}"})


def rows(records: int, seed: int) -> dict[str, list[Row]]:
    """`records` contacts, and a fifth as many of everything else."""
    fifth = -(-records // 5)
    return {
        "contacts": list(contacts(records, seed)),
        "companies": list(companies(fifth)),
        "deals": list(deals(fifth)),
        "tickets": list(tickets(fifth)),
        "cars": list(cars(fifth)),
    }
