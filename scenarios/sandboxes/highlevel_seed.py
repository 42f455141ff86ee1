"""What is in the HighLevel sandbox at the start: the candidates of a made-up recruiting agency.

The same seed gives the same records, ids and times. E-mail addresses are of domains reserved for examples (RFC 2606)
and phone numbers of the fictional exchange 555, so nothing that escapes from a demo reaches a person.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits
from typing import Any, TypeVar

LOCATION_ID = "sandboxLocation00001"
JOB_TITLE = "cfJobTitle0000000001"
SALARY = "cfSalary000000000002"
NOTICE = "cfNotice000000000003"
SKILLS = "cfSkills000000000004"
FEE = "cfPlacementFee000005"
CONTRACT = "cfContract0000000006"
USERS = ("userRecruiterAda0001", "userRecruiterBen0002", "userRecruiterCleo003")

_ALPHABET = ((ascii_letters + digits) * 5)[:256]
T = TypeVar("T")
_START = datetime(2025, 1, 6, 8, 0, tzinfo=UTC)
_FIRST = (
    "Aisha Ana Andrei Bruno Carla Chen Chloe Daniel Deepa Elena Emeka Farid Fatima Grace Hana Hugo Ines Ivan "
    "Jakob Joana Kofi Lars Leila Liam Lucia Maja Marco Mei Nadia Nils Noah Olga Omar Paula Priya Rafael Rosa "
    "Samir Sofia Tariq Tomas Uma Vera Wei Yara Yusuf Zoe"
).split()
_LAST = (
    "Abe Almeida Andersson Bauer Becker Brown Castro Chang Costa Dahl Diaz Eriksen Fischer Garcia Gupta Haddad "
    "Hoang Ito Jansen Keller Khan Kowalski Kumar Lopez Mbeki Meyer Moreau Nguyen Novak Okafor Olsen Park Patel "
    "Petrov Rossi Santos Schmidt Silva Singh Smith Suzuki Tanaka Varga Weber Yilmaz Zhang"
).split()
_PLACES = (
    ("Austin", "TX", "US"),
    ("Berlin", "BE", "DE"),
    ("Lisbon", "", "PT"),
    ("London", "", "GB"),
    ("Madrid", "MD", "ES"),
    ("Toronto", "ON", "CA"),
    ("Warsaw", "", "PL"),
)
_SOURCES = ("linkedin", "job board", "referral", "career fair", "website form")
_TAGS = "java python sql frontend remote relocation interviewed senior junior shortlisted newsletter".split()
_TITLES = "Data Engineer,Java Developer,Product Manager,QA Analyst,Recruiter,SRE,UX Designer".split(",")
_SKILLS = ("Java", "Python", "SQL", "React", "Kubernetes", "Figma", "English C1", "German B2")
_NOTICE = ("none", "2 weeks", "1 month", "3 months")
_COMPANIES = ("Northwind", "Contoso", "Globex", "Initech", "Umbrella Staffing")


def _pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of them; several times as fast as `choice`, which shows in 100,000 records."""
    return items[int(rng.random() * len(items))]


def _some(rng: random.Random, items: Sequence[str], most: int) -> list[str]:
    """One to `most` different ones."""
    start, count = int(rng.random() * len(items)), 1 + int(rng.random() * most)
    step = 1 + int(rng.random() * 2)
    return list(dict.fromkeys(items[(start + step * n) % len(items)] for n in range(count)))


def timestamp(moment: datetime) -> str:
    """As the vendor writes times: UTC, milliseconds, Z."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def new_id(rng: random.Random) -> str:
    """Twenty letters and digits, as the vendor's own ids are."""
    return "".join([_ALPHABET[byte] for byte in rng.randbytes(20)])


def _custom_field(key: str, name: str, kind: str, options: tuple[str, ...] = (), at: int = 0) -> dict[str, Any]:
    ids = {
        "contact.job_title": JOB_TITLE,
        "contact.salary_expectation": SALARY,
        "contact.notice_period": NOTICE,
        "contact.skills": SKILLS,
        "opportunity.placement_fee": FEE,
        "opportunity.contract_type": CONTRACT,
    }
    return {
        "id": ids[key],
        "name": name,
        "fieldKey": key,
        "placeholder": "",
        "dataType": kind,
        "position": at,
        "picklistOptions": list(options),
        "locationId": LOCATION_ID,
        "model": key.split(".", maxsplit=1)[0],
    }


CUSTOM_FIELDS = (
    _custom_field("contact.job_title", "Job title", "TEXT"),
    _custom_field("contact.salary_expectation", "Salary expectation", "MONETORY", at=50),
    _custom_field("contact.notice_period", "Notice period", "SINGLE_OPTIONS", _NOTICE, 100),
    _custom_field("contact.skills", "Skills", "MULTIPLE_OPTIONS", _SKILLS, 150),
    _custom_field("opportunity.placement_fee", "Placement fee", "MONETORY"),
    _custom_field("opportunity.contract_type", "Contract type", "TEXT", at=50),
)


def _pipeline(key: str, name: str, stages: tuple[str, ...]) -> dict[str, Any]:
    listed = [
        {"id": f"{key}-stage-{n}", "name": stage, "position": n, "showInFunnel": True, "showInPieChart": True}
        for n, stage in enumerate(stages)
    ]
    return {
        "id": key,
        "name": name,
        "stages": listed,
        "showInFunnel": True,
        "showInPieChart": True,
        "locationId": LOCATION_ID,
    }


PIPELINES = (
    _pipeline("pipelinePermanent001", "Permanent placement", ("Sourced", "Screened", "Interview", "Offer", "Placed")),
    _pipeline("pipelineContract0002", "Contracting", ("Available", "Proposed", "Signed", "On assignment")),
)


def _dated(key: str, name: str, **more: str) -> dict[str, Any]:
    at = timestamp(_START)
    return {"id": key, "name": name, "locationId": LOCATION_ID, "createdAt": at, "updatedAt": at, **more}


LOST_REASONS = (
    _dated("lostReasonSalary0001", "Salary too low"),
    _dated("lostReasonOffer00002", "Took another offer"),
    _dated("lostReasonClient0003", "Client closed the position"),
)
BUSINESSES = tuple(
    _dated(f"business{n:012d}", name, city="London", country="GB", website=f"https://{n}.example.com")
    for n, name in enumerate(_COMPANIES, start=1)
)


def contacts(records: int, seed: int) -> Iterator[dict[str, Any]]:
    """As the sandbox keeps them: only what is not empty, custom fields as {id: value}."""
    rng = random.Random(seed)  # noqa: S311 - it must repeat, not surprise
    return (_contact(rng, n) for n in range(records))


def _contact(rng: random.Random, n: int) -> dict[str, Any]:
    first, last = _pick(rng, _FIRST), _pick(rng, _LAST)
    city, state, country = _pick(rng, _PLACES)
    mailbox = f"{first}.{last}.{n}".lower()
    added = timestamp(_START + timedelta(seconds=30 * n, milliseconds=n % 997))
    row: dict[str, Any] = {
        "id": new_id(rng),
        "type": "lead",
        "firstName": first,
        "lastName": last,
        "email": f"{mailbox}@example.com",
        "phone": f"+1{200 + n // 10_000 % 800:03d}555{n % 10_000:04d}",
        "city": city,
        "state": state,
        "country": country,
        "source": _pick(rng, _SOURCES),
        "tags": ["candidate", *_some(rng, _TAGS, 3)],
        "customFields": _custom_values(rng),
        "dnd": False,
        "assignedTo": _pick(rng, USERS) if rng.random() < 0.7 else "",
        "companyName": _pick(rng, _COMPANIES) if n % 3 == 0 else "",
        "address1": f"{_pick(rng, range(1, 250))} Main Street" if n % 4 else "",
        "dateOfBirth": _birthday(rng) if n % 5 else "",
        "dateAdded": added,
        "dateUpdated": added,
    }
    row |= _rarities(n, mailbox)
    return {key: value for key, value in row.items() if value != ""}


def _birthday(rng: random.Random) -> str:
    return f"{_pick(rng, range(1965, 2004))}-{_pick(rng, range(1, 13)):02d}-{_pick(rng, range(1, 29)):02d}"


def _custom_values(rng: random.Random) -> dict[str, Any]:
    values = {
        JOB_TITLE: _pick(rng, _TITLES),
        SALARY: 30_000 + 500 * _pick(rng, range(220)),
        NOTICE: _pick(rng, _NOTICE),
        SKILLS: _some(rng, _SKILLS, 4),
    }
    empty = _pick(rng, (None, None, None, SALARY, NOTICE, SKILLS))
    return {key: value for key, value in values.items() if key != empty}


def _rarities(n: int, mailbox: str) -> dict[str, Any]:
    """What only some contacts have: messages refused, more addresses, a business, followers."""
    rare: dict[str, Any] = {}
    if n % 20 == 7:
        rare |= {"dnd": True, "dndSettings": {"Email": {"status": "active", "message": "asked by mail", "code": ""}}}
    if n % 25 == 3:
        rare["additionalEmails"] = [{"email": f"{mailbox}@example.org"}]
    if n % 50 == 9:
        rare["businessId"] = BUSINESSES[n // 50 % len(BUSINESSES)]["id"]
    if n % 40 == 1:
        rare["followers"] = [USERS[0]]
    return rare


def opportunities(people: list[dict[str, Any]], seed: int) -> Iterator[dict[str, Any]]:
    """One for every tenth contact, spread over the stages of the two pipelines."""
    rng = random.Random(f"opportunities {seed}")  # noqa: S311 - it must repeat, not surprise
    return (_opportunity(rng, n, person) for n, person in enumerate(people[::10]))


def _opportunity(rng: random.Random, n: int, person: dict[str, Any]) -> dict[str, Any]:
    pipeline = PIPELINES[n % len(PIPELINES)]
    status = _pick(rng, ("open", "open", "open", "won", "lost", "abandoned"))
    at = person["dateAdded"]
    row = {
        "id": new_id(rng),
        "name": f"{person['firstName']} {person['lastName']}: {_pick(rng, _TITLES)}",
        "monetaryValue": rng.randrange(2_000, 30_000, 250),
        "pipelineId": pipeline["id"],
        "pipelineStageId": _pick(rng, pipeline["stages"])["id"],
        "assignedTo": _pick(rng, USERS),
        "status": status,
        "source": person["source"],
        "contactId": person["id"],
        "customFields": {FEE: rng.randrange(1_000, 9_000, 100), CONTRACT: _pick(rng, ("permanent", "fixed term"))},
        "followers": [USERS[1]] if n % 7 == 0 else [],
        "createdAt": at,
        "updatedAt": at,
        "lastStatusChangeAt": at,
        "lastStageChangeAt": at,
    }
    return row | ({"lostReasonId": _pick(rng, LOST_REASONS)["id"]} if status == "lost" else {})
