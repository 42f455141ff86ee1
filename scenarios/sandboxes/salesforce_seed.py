"""What a Salesforce sandbox holds at the start: an org's object descriptions, and records of a recruiting agency.

The same seed gives the same records. Everything is made up.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]

PREFIXES = {"Account": "001", "Contact": "003", "Opportunity": "006", "Placement__c": "a01", "Visit__c": "a02"}
OBJECTS = tuple(PREFIXES)
STAGES = {"Prospecting": 10.0, "Negotiation": 90.0, "Closed Won": 100.0, "Closed Lost": 0.0}
SKILLS = ("Java", "Python", "SQL", "English")
OWNERS = ("005000000000001AAA", "005000000000002AAA")

_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FIRST = "Ann Ben Carla David Eva Finn Greta Hugo Ida Jonas Klara Liam Mia Noah Olga Paul Rosa Sven Tara Uwe".split()
_LAST = "Abel Brandt Costa Diaz Engel Fuchs Gross Haas Iding Jansen Kern Lang Moser Nagy Otto Pohl Reis Sand".split()
_CITIES = ("Berlin", "Lisbon", "Vienna", "Porto", "")


def long_id(short: str) -> str:
    """The 18 characters of an id of 15: the last three tell which of the others are capitals."""
    parts = (short[i : i + 5] for i in (0, 5, 10))
    return short + "".join(_CHECK[sum(1 << n for n, char in enumerate(part) if char.isupper())] for part in parts)


def record_id(kind: str, number: int) -> str:
    text = ""
    for _ in range(9):
        number, rest = divmod(number, 62)
        text = _DIGITS[rest] + text
    return long_id(f"{PREFIXES[kind]}Dx0{text}")


def field(name: str, type_: str = "string", **more: Any) -> Row:
    """A field as GET /sobjects/{type}/describe shows it."""
    known = {"name": name, "label": name, "type": type_, "length": 255, "scale": 0, "nillable": True}
    can = {"updateable": True, "createable": True, "calculated": False, "autoNumber": False}
    keys = {"externalId": False, "idLookup": False, "unique": False, "caseSensitive": False}
    return {**known, **can, **keys, "custom": name.endswith("__c"), "picklistValues": [], "referenceTo": [], **more}


def kept(name: str, type_: str = "string", **more: Any) -> Row:
    """One that nobody can write."""
    return field(name, type_, updateable=False, createable=False, **more)


def choice(name: str, *values: str, type_: str = "picklist", restricted: bool = False) -> Row:
    listed = [{"active": True, "label": value, "value": value} for value in values]
    return field(name, type_, picklistValues=listed, restrictedPicklist=restricted)


def external(name: str, **more: Any) -> Row:
    return field(name, externalId=True, idLookup=True, unique=True, **more)


def money(name: str) -> Row:
    return field(name, "currency", scale=2)


_SYSTEM = [
    kept("Id", "id", idLookup=True),
    kept("IsDeleted", "boolean"),
    kept("CreatedDate", "datetime"),
    kept("CreatedById", "reference"),
    kept("LastModifiedDate", "datetime"),
    kept("LastModifiedById", "reference"),
    kept("SystemModstamp", "datetime"),
]
_OWNER = field("OwnerId", "reference", referenceTo=["User"])

FIELDS: dict[str, list[Row]] = {
    "Account": [
        *_SYSTEM,
        _OWNER,
        field("Name", idLookup=True),
        *(field(name) for name in ("Phone", "BillingCity", "Industry", "Rating", "Site")),
        field("Description", "textarea"),
        external("Client_Number__c"),
        kept("BillingAddress", "address"),
        kept("Placements__c", "double", calculated=True),
    ],
    "Contact": [
        *_SYSTEM,
        _OWNER,
        kept("Name"),
        *(field(name) for name in ("FirstName", "LastName", "Phone", "Title", "Department", "MailingCity")),
        field("Email", "email", idLookup=True),
        field("AccountId", "reference", referenceTo=["Account"]),
        field("DoNotCall", "boolean"),
        field("Birthdate", "date"),
        money("Salary_Expectation__c"),
        choice("Skills__c", *SKILLS, type_="multipicklist"),
        choice("Notice__c", "none", "1 month", "3 months", restricted=True),
        external("Candidate_Number__c"),
        kept("MailingAddress", "address"),
        kept("Full_Name__c", calculated=True),
        field("National_Id__c", "encryptedstring"),
    ],
    "Opportunity": [
        *_SYSTEM,
        _OWNER,
        field("Name"),
        field("AccountId", "reference", referenceTo=["Account"]),
        choice("StageName", *STAGES),
        field("Probability", "percent"),
        field("CloseDate", "date"),
        money("Amount"),
        kept("IsClosed", "boolean"),
    ],
    "Placement__c": [
        *_SYSTEM,
        kept("Name", autoNumber=True),
        field("Client__c", "reference", referenceTo=["Account"], updateable=False),
        field("Candidate__c", "reference", referenceTo=["Contact"]),
        money("Fee__c"),
        external("Placement_Number__c"),
    ],
    "Visit__c": [*_SYSTEM, _OWNER, field("Name"), external("Visit_Number__c")],
}

CHILDREN = {
    "Account": (
        ("Contacts", "Contact", "AccountId"),
        ("Opportunities", "Opportunity", "AccountId"),
        ("Placements__r", "Placement__c", "Client__c"),
    ),
}
"""What is deleted along with a record: relationship, object type, the field that refers to the record."""

FINAL = frozenset({"Visit__c"})
"""Whose records cannot be brought back."""


def describe(kind: str) -> Row:
    children = [
        {"relationshipName": name, "childSObject": child, "field": by, "cascadeDelete": True}
        for name, child, by in CHILDREN.get(kind, ())
    ]
    feeds = [{"relationshipName": "Feeds", "childSObject": f"{kind}Feed", "field": "ParentId", "cascadeDelete": True}]
    can = {"createable": True, "updateable": True, "deletable": True, "queryable": True, "mergeable": kind in FIELDS}
    told = {"name": kind, "label": kind, "keyPrefix": PREFIXES[kind], "undeletable": kind not in FINAL, **can}
    return {**told, "custom": kind.endswith("__c"), "fields": FIELDS[kind], "childRelationships": children + feeds}


_BEGAN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """As Salesforce writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}+0000"


def _row(kind: str, number: int, fields: Row) -> Row:
    at = stamp(_BEGAN + timedelta(minutes=number))
    stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), at)
    given = {name: value for name, value in fields.items() if value not in ("", None, [])}
    return {"id": record_id(kind, number), **stamps, **given}


def contacts(count: int, seed: int) -> Iterator[Row]:
    rng = random.Random(seed)  # noqa: S311 - made-up people
    for number in range(count):
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        skills = [skill for skill in SKILLS if rng.random() < 0.4]
        fields = {
            "FirstName": first,
            "LastName": last,
            "Email": f"{first}.{last}.{number}@example.com".lower(),
            "Phone": f"+49 30 {rng.randrange(100000, 999999)}",
            "Title": rng.choice(("Developer", "Analyst", "Team lead", "")),
            "MailingCity": rng.choice(_CITIES),
            "AccountId": record_id("Account", number % max(1, _accounts(count))),
            "OwnerId": OWNERS[0],
            "DoNotCall": rng.random() < 0.1,
            "Birthdate": f"{rng.randrange(1960, 2004)}-0{rng.randrange(1, 10)}-1{rng.randrange(10)}",
            "Salary_Expectation__c": float(rng.randrange(40, 120) * 1000) if rng.random() < 0.7 else None,
            "Skills__c": skills,
            "Candidate_Number__c": f"C-{number:06}",
        }
        yield _row("Contact", number, fields)


def _accounts(count: int) -> int:
    return (count + 4) // 5


def rows(count: int, seed: int) -> dict[str, list[Row]]:
    """`count` contacts, and accounts, opportunities and placements to go with them."""
    people = list(contacts(count, seed))
    clients = [
        _row(
            "Account",
            n,
            {
                "Name": f"Client {n}",
                "Phone": f"+49 40 {100000 + n}",
                "BillingCity": _CITIES[n % 5],
                "Industry": "Banking",
                "Rating": "Cold",
                "OwnerId": OWNERS[0],
                "Client_Number__c": f"A-{n:05}",
            },
        )
        for n in range(_accounts(count))
    ]
    deals = [
        _row(
            "Opportunity",
            n,
            {
                "Name": f"Search {n}",
                "AccountId": client["id"],
                "StageName": "Prospecting",
                "Probability": 25.0,
                "CloseDate": "2026-12-31",
                "Amount": 9000.0,
                "OwnerId": OWNERS[0],
            },
        )
        for n, client in enumerate(clients)
    ]
    placed = [
        _row(
            "Placement__c",
            n,
            {
                "Client__c": client["id"],
                "Candidate__c": people[n]["id"],
                "Fee__c": 5000.0,
                "Placement_Number__c": f"P-{n:04}",
            },
        )
        for n, client in enumerate(clients)
    ]
    visits = [_row("Visit__c", n, {"Name": f"Visit {n}", "Visit_Number__c": f"V-{n}"}) for n in range(min(count, 5))]
    return {"Account": clients, "Contact": people, "Opportunity": deals, "Placement__c": placed, "Visit__c": visits}
