"""HubSpot joins the conformance suite: every route, every action, every lost answer."""

from typing import Any, ClassVar

from starlette.applications import Starlette

from scenarios.sandboxes import hubspot as vendor
from scenarios.sandboxes import hubspot_seed as seed
from tests.handlers import hubspot_account, hubspot_spec
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample

RECORDS = 20
ROWS = seed.rows(RECORDS, 1)
ANN, BEN = ROWS["contacts"][4], ROWS["contacts"][5]
SAMPLES = {
    "contacts": Sample(
        resource="contacts",
        id=ANN["id"],
        update={"firstname": "Wrong", "jobtitle": "", "salary_expectation": 1, "skills": "sql", "relocates": True},
        theirs={"firstname": "Ann"},
        others={"zip": "10115"},
        create={"firstname": "New", "email": " New@Example.net ", "lifecyclestage": "lead"},
        identity={"email": ANN["email"]},
    ),
    "companies": Sample(
        resource="companies",
        id=ROWS["companies"][1]["id"],
        update={"name": "Wrong", "city": ""},
        theirs={"name": "Clinic of the year"},
        others={"industry": "HOSPITALS"},
        create={"name": "New", "customer_number": "K-9999"},
        identity={"customer_number": "K-0001"},
    ),
    "deals": Sample(
        resource="deals",
        id=ROWS["deals"][1]["id"],
        update={"dealname": "Wrong", "amount": 1.5},
        theirs={"dealname": "Deal of the year"},
        others={"description": "Signed."},
        create={"dealname": "New", "order_number": "O-9999", "pipeline": "default", "dealstage": "contractsent"},
        identity={"order_number": "O-0001"},
    ),
    "tickets": Sample(
        resource="tickets",
        id=ROWS["tickets"][1]["id"],
        update={"subject": "Wrong", "hs_ticket_priority": "HIGH"},
        theirs={"subject": "A question"},
        others={"content": "Where do I park?"},
        create={"subject": "New", "case_number": "T-9999", "hs_pipeline": "0", "hs_pipeline_stage": "1"},
        identity={"case_number": "T-0001"},
    ),
    "cars": Sample(
        resource="cars",
        id=ROWS["cars"][1]["id"],
        update={"model": "Wrong", "colour": ""},
        theirs={"model": "Golf"},
        others={"plate": "B-GU 99"},
        create={"model": "New", "plate": "B-GU 100"},
        identity={"plate": "B-GU 1"},
    ),
}


def requests_about(sample: Sample) -> list[Passed]:
    """One of HubSpot's own requests for each route of an object type. A custom object stands under its type id."""
    name = {"cars": seed.CARS_TYPE}.get(sample.resource, sample.resource)
    path = f"/crm/v3/objects/{name}"
    update = {key: str(value).lower() if value is True else str(value) for key, value in sample.update.items()}
    ((by, value),) = sample.identity.items()
    create = {"properties": dict(sample.create), "associations": []}
    return [
        Passed("POST", path, create),
        Passed("PATCH", f"{path}/{sample.id}", {"properties": update}),
        Passed("DELETE", f"{path}/{sample.id}"),
        Passed("POST", f"{path}/batch/create", {"inputs": [create]}),
        Passed("POST", f"{path}/batch/update", {"inputs": [{"id": sample.id, "properties": update}]}),
        Passed("POST", f"{path}/batch/upsert", {"inputs": [{"id": value, "idProperty": by, "properties": update}]}),
        Passed("POST", f"{path}/batch/archive", {"inputs": [{"id": sample.id}]}),
    ]


DEFAULT = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
DECIDES: dict[str, Any] = {"associationCategory": "USER_DEFINED", "associationTypeId": 28}
HERE = {"from": {"id": ANN["id"]}, "to": {"id": ROWS["companies"][2]["id"]}}
"""A contact and its primary company."""
FREE = {"from": {"id": BEN["id"]}, "to": {"id": ROWS["companies"][1]["id"]}}
"""A contact and a company that are not linked."""
PAIRS = "/crm/v4/associations/contacts/companies/batch"


def between(ends: dict[str, dict[str, str]], kind: str = "") -> str:
    return f"/crm/v4/objects/contacts/{ends['from']['id']}/associations/{kind}companies/{ends['to']['id']}"


class TestHubSpot(HandlerConformance):
    options: ClassVar = hubspot_account.OPTIONS
    handler = hubspot_account.knowing()
    spec = hubspot_spec.load()
    stamps = frozenset({"updatedAt", "hs_v2_date_entered_current_stage"})
    samples = tuple(SAMPLES.values())
    apart = frozenset({"associations"})
    passed = (
        *(passed for sample in samples for passed in requests_about(sample)),
        Passed("POST", f"{PAIRS}/create", {"inputs": [{**FREE, "types": [DEFAULT, DECIDES]}]}),
        Passed("POST", f"{PAIRS}/archive", {"inputs": [{**HERE, "to": [HERE["to"]]}]}),
        Passed("POST", f"{PAIRS}/labels/archive", {"inputs": [{**HERE, "types": [DEFAULT]}]}),
        Passed("POST", f"{PAIRS}/associate/default", {"inputs": [FREE]}),
        Passed("PUT", between(FREE, "default/")),
        Passed("PUT", between(FREE), [DECIDES]),
        Passed("DELETE", between(HERE)),
    )

    def sandbox(self) -> Starlette:
        return vendor.create_app(records=RECORDS, limits=None)
