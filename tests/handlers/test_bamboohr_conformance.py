"""BambooHR joins the conformance suite: every route, every action, every lost answer."""

from collections.abc import Sequence
from typing import Any, ClassVar

from starlette.applications import Starlette

from scenarios.sandboxes import bamboohr as vendor
from scenarios.sandboxes import bamboohr_seed as seed
from tests.handlers import bamboohr_account, bamboohr_spec
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample

RECORDS = 6
PEOPLE, ROWS = list(seed.employees(RECORDS, 1)), seed.rows(RECORDS, 1)
ANN, BEN = PEOPLE[3]["id"], PEOPLE[4]["id"]
HERS = {table: next(row["id"] for row in rows if row["employeeId"] == ANN) for table, rows in ROWS.items()}
NEW: dict[str, dict[str, Any]] = {
    "jobInfo": {"date": "2026-03-01", "jobTitle": "Nurse", "department": "Sales"},
    "compensation": {"startDate": "2026-03-01", "rate": "61000.00", "type": "Salary", "paidPer": "Year"},
    "employmentStatus": {"date": "2026-03-01", "employmentStatus": "Part-Time"},
    seed.BONUSES: {"customDate": "2026-03-01", "customAmount": "250.00"},
}
UPDATE: dict[str, dict[str, Any]] = {
    "jobInfo": {"jobTitle": "Wrong", "department": "", "reportsTo": "Ava Adler"},
    "compensation": {"rate": 1, "reason": None},
    "employmentStatus": {"employmentStatus": "Wrong", "comment": "ruined"},
    seed.BONUSES: {"customAmount": "1.00", "customReason": ""},
}
THEIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "jobInfo": ({"jobTitle": "Trainee nurse"}, {"location": "Lehi, Utah"}),
    "compensation": ({"rate": "99000.00"}, {"comment": "Agreed."}),
    "employmentStatus": ({"comment": "Agreed."}, {"date": "2023-02-01"}),
    seed.BONUSES: ({"customAmount": "750.00"}, {"customDate": "2023-02-01"}),
}


def _at(table: str, *row: str, version: str = "v1") -> str:
    return "/".join([f"/api/{version}/employees/{ANN}/tables/{table}", *row])


class TestBambooHR(HandlerConformance):
    options: ClassVar = bamboohr_account.OPTIONS
    handler = bamboohr_account.knowing()
    spec = bamboohr_spec.load()
    stamps = frozenset({"lastChanged"})
    dated = False
    samples = (
        Sample(
            resource="employees",
            id=ANN,
            update={"firstName": "Wrong", "city": "", "middleName": "Q", seed.SHIRT: "XL", seed.BADGE: 7},
            theirs={"firstName": "Ann"},
            others={"mobilePhone": "801-555-0199"},
            create={"firstName": "New", "lastName": "Nurse", "workEmail": "new@example.com"},
            identity={},
        ),
        *(
            Sample(
                resource=table,
                id=HERS[table],
                update=UPDATE[table],
                theirs=THEIRS[table][0],
                others=THEIRS[table][1],
                create={"employeeId": BEN, **NEW[table]},
                identity={"employeeId": ANN, **NEW[table]},
            )
            for table in NEW
        ),
    )
    passed = (
        Passed("POST", "/api/v1/employees", {"firstName": "New", "lastName": "Nurse"}),
        Passed("POST", f"/api/v1/employees/{ANN}", {"firstName": "Wrong", "city": ""}),
        *(
            passed
            for table in NEW
            for version in ("v1", "v1_1")
            for passed in (
                Passed("POST", _at(table, version=version), NEW[table]),
                Passed("POST", _at(table, HERS[table].partition("-")[2], version=version), UPDATE[table]),
            )
        ),
        *(Passed("DELETE", _at(table, HERS[table].partition("-")[2])) for table in NEW),
    )

    def sandbox(self) -> Starlette:
        return vendor.create_app(records=RECORDS, limits=None)

    def fewest_reads(self, resource: str, ids: Sequence[str]) -> int:
        """All of an employee's rows in a table come by one call."""
        del resource
        return len({id_.partition("-")[0] for id_ in ids})

    def vendors_own(self, id_: str) -> str:
        return id_.rpartition("-")[2]
