"""Made-up people and their histories, the same for the same seed, and the definitions of a made-up account's fields."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

COMPANY = "sandbox"
FIRST_EMPLOYEE, FIRST_ROW = 101, 2001
SHIRT, BADGE = "customShirtSize", "4480"
"""Custom fields; the second has no alias, so it goes by its id."""
BONUSES = "customBonuses"
"""A custom table."""

_GIVEN = ("Ava", "Ben", "Chloe", "Dev", "Elif", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam")
_FAMILY = ("Adler", "Brandt", "Costa", "Dorsey", "Engel", "Farouk", "Garcia", "Hansen", "Ito", "Jansen")
_TITLES = ("Recruiter", "Account Manager", "Payroll Clerk", "Nurse", "Engineer")
_DEPARTMENTS = ("Sales", "Operations", "People")

_OWN = {
    "firstName": (1, "text"),
    "lastName": (2, "text"),
    "middleName": (5, "text"),
    "preferredName": (1358, "text"),
    "employeeNumber": (7, "employee_number"),
    "workEmail": (3, "email"),
    "homeEmail": (1362, "email"),
    "workPhone": (9, "phone"),
    "mobilePhone": (4, "phone"),
    "homePhone": (6, "phone"),
    "address1": (8, "text"),
    "city": (10, "text"),
    "state": (11, "state"),
    "zipcode": (12, "text"),
    "country": (3991, "country"),
    "dateOfBirth": (13, "date"),
    "gender": (14, "gender"),
    "maritalStatus": (15, "marital_status"),
    "hireDate": (18, "date"),
    "ssn": (20, "ssn"),
    SHIRT: (4470, "list"),
}
_TABLES: dict[str, dict[str, tuple[int, str]]] = {
    "jobInfo": {
        "date": (50, "date"),
        "location": (51, "list"),
        "department": (52, "list"),
        "division": (53, "list"),
        "jobTitle": (17, "list"),
        "reportsTo": (91, "employee"),
    },
    "compensation": {
        "startDate": (60, "date"),
        "rate": (19, "currency"),
        "type": (61, "pay_type"),
        "paidPer": (62, "paid_per"),
        "reason": (63, "list"),
        "comment": (64, "textarea"),
    },
    "employmentStatus": {"date": (70, "date"), "employmentStatus": (16, "list"), "comment": (71, "textarea")},
    "emergencyContacts": {"name": (80, "text"), "relationship": (81, "relationship"), "homePhone": (82, "phone")},
    BONUSES: {"customDate": (4491, "date"), "customAmount": (4492, "currency"), "customReason": (4493, "list")},
}
DATES = {"jobInfo": "date", "compensation": "startDate", "employmentStatus": "date", BONUSES: "customDate"}
"""The column by which a table's rows follow one another."""

FOLLOWS = {
    **{name: ("jobInfo", name) for name in ("location", "department", "division", "jobTitle", "reportsTo")},
    "payRate": ("compensation", "rate"),
    "payType": ("compensation", "type"),
    "payPer": ("compensation", "paidPer"),
    "employmentHistoryStatus": ("employmentStatus", "employmentStatus"),
}
"""Fields of an employee that hold what the newest row of a table says: the table and its column."""

OWN = (*_OWN, BADGE)
COLUMNS = {table: tuple(columns) for table, columns in _TABLES.items()}


def _field(name: str, id_: int, kind: str) -> dict[str, Any]:
    return {"id": id_, "name": name, "type": kind, "alias": name}


TABLES = [
    {"alias": table, "fields": [_field(name, *how) for name, how in columns.items()]}
    for table, columns in _TABLES.items()
]
FIELDS = [
    *(_field(name, *how) for name, how in _OWN.items()),
    *(_field(name, *_TABLES[table][column]) for name, (table, column) in FOLLOWS.items()),
    {"id": int(BADGE), "name": "Badge", "type": "text"},
    {"id": "4470.1", "name": "Shirt size: width", "type": "text"},
    {"id": 4471, "name": "Fax", "type": "text", "alias": "customFax", "deprecated": True},
    _field("displayName", 30, "text"),
    _field("lastChanged", 31, "timestamp"),
]


def employees(records: int, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"employees {seed}")  # noqa: S311 - it must repeat, not surprise
    for n in range(records):
        given, family = rng.choice(_GIVEN), rng.choice(_FAMILY)
        yield {
            "id": str(FIRST_EMPLOYEE + n),
            "firstName": given,
            "lastName": family,
            "employeeNumber": str(7001 + n),
            "workEmail": f"{given}.{family}.{n}@example.com".lower(),
            "mobilePhone": f"801-555-01{n % 100:02}",
            "address1": f"{n + 1} Main Street",
            "city": "Lindon",
            "state": "UT",
            "country": "United States",
            "dateOfBirth": "1990-01-31",
            "hireDate": _hired(n).isoformat(),
            "ssn": f"078-05-1{n % 1000:03}",
            SHIRT: "M",
            BADGE: f"B{n:04}",
            "lastChanged": "2026-01-05T08:00:00+00:00",
        }


def rows(records: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Of each table, by employee: a first job and the one they have now, pay, status; of some a bonus."""
    rng = random.Random(f"rows {seed}")  # noqa: S311
    made: dict[str, list[dict[str, Any]]] = {table: [] for table in COLUMNS}

    def add(table: str, employee: str, **values: Any) -> None:
        number = FIRST_ROW + sum(map(len, made.values()))
        made[table].append({"id": f"{employee}-{number}", "employeeId": employee, **values})

    for n in range(records):
        employee, hired = str(FIRST_EMPLOYEE + n), _hired(n)
        place = {"location": "Lindon, Utah", "division": "North America"}
        department = rng.choice(_DEPARTMENTS)
        for years, title in ((0, "Trainee"), (1, rng.choice(_TITLES))):
            day = (hired + timedelta(days=365 * years)).isoformat()
            add("jobInfo", employee, date=day, jobTitle=title, department=department, **place)
        pay = {"rate": f"{52_000 + 100 * n}.00", "type": "Salary", "paidPer": "Year", "reason": "New hire"}
        add("compensation", employee, startDate=hired.isoformat(), **pay)
        add("employmentStatus", employee, date=hired.isoformat(), employmentStatus="Full-Time")
        if n % 3 == 0:
            add("emergencyContacts", employee, name="Sam Park", relationship="Spouse", homePhone="801-555-0177")
            add(BONUSES, employee, customDate=hired.isoformat(), customAmount="500.00", customReason="Signing")
    return made


def _hired(n: int) -> date:
    return date(2023, 1, 9) + timedelta(days=n)
