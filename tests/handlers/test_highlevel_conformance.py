"""HighLevel joins the conformance suite: every route, every action, every lost answer."""

from typing import Any, ClassVar

from starlette.applications import Starlette

from handlers.highlevel import HighLevel
from scenarios.sandboxes import highlevel as vendor
from scenarios.sandboxes import highlevel_seed as seed
from tests.handlers import highlevel_spec
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample

RECORDS = 20
PEOPLE = list(seed.contacts(RECORDS, 1))
DEALS = list(seed.opportunities(PEOPLE, 1))
ANN, DEAL = PEOPLE[5], DEALS[0]
PLACE = {"locationId": seed.LOCATION_ID}
PIPELINE = seed.PIPELINES[0]["id"]
CONTACT, OPPORTUNITY = f"/contacts/{ANN['id']}", f"/opportunities/{DEAL['id']}"
ENROL: dict[str, Any] = {}
FOLLOWERS = {"followers": [], "isRemoveAllFollowers": False, "followersActionType": "add"}


class TestHighLevel(HandlerConformance):
    options: ClassVar = {"location_id": seed.LOCATION_ID}
    handler = HighLevel(options)
    spec = highlevel_spec.load()
    stamps = frozenset({"dateUpdated", "updatedAt", "lastStatusChangeAt", "lastStageChangeAt"})
    samples = (
        Sample(
            resource="contacts",
            id=ANN["id"],
            update={
                "firstName": "Wrong",
                "city": "",
                "tags": ["ruined"],
                "customFields": [{"id": seed.SALARY, "field_value": "none"}],
            },
            theirs={"firstName": "Ann"},
            others={"companyName": "Contoso", "customFields": [{"id": seed.NOTICE, "value": "2 weeks"}]},
            added={"tags": "called back"},
            create={"firstName": "New", "email": " New@Example.net "},
            identity={"email": ANN["email"]},
            lost=frozenset({"dateAdded", "followers"}),
        ),
        Sample(
            resource="opportunities",
            id=DEAL["id"],
            update={"name": "Wrong", "monetaryValue": 1, "customFields": [{"id": seed.FEE, "field_value": 7}]},
            theirs={"name": "Deal of the year"},
            others={"assignedTo": seed.USERS[2]},
            create={"name": "New", "status": "open", "pipelineId": PIPELINE, "contactId": ANN["id"]},
            identity={"contactId": DEAL["contactId"], "pipelineId": DEAL["pipelineId"]},
            lost=frozenset({"createdAt", "followers", "source", "lostReasonId"}),
        ),
    )
    passed = (
        Passed("POST", "/contacts/upsert", {"email": ANN["email"], "city": "Wrong", **PLACE}),
        Passed("POST", "/contacts/bulk/tags/update/add", {"contacts": [ANN["id"]], "tags": ["new"], **PLACE}),
        Passed("POST", "/contacts/bulk/business", {"ids": [ANN["id"]], "businessId": "business000000000003", **PLACE}),
        Passed("POST", "/contacts/", {"email": "new@example.net", **PLACE}),
        Passed("PUT", CONTACT, {"firstName": "Wrong", "tags": ["ruined"]}),
        Passed("DELETE", CONTACT),
        Passed("POST", f"{CONTACT}/tags", {"tags": ["new"]}),
        Passed("DELETE", f"{CONTACT}/tags", {"tags": ANN["tags"][:1]}),
        Passed("POST", f"{CONTACT}/campaigns/campaign1", ENROL),
        Passed("DELETE", f"{CONTACT}/campaigns/campaign1"),
        Passed("POST", f"{CONTACT}/workflow/workflow1", ENROL),
        Passed("DELETE", f"{CONTACT}/workflow/workflow1", ENROL),
        Passed(
            "POST",
            "/opportunities/upsert",
            {"pipelineId": PIPELINE, "contactId": ANN["id"], "name": "New", **FOLLOWERS, **PLACE},
        ),
        Passed(
            "POST",
            "/opportunities/",
            {"name": "New", "status": "open", "pipelineId": PIPELINE, "contactId": ANN["id"], **PLACE},
        ),
        Passed("PUT", OPPORTUNITY, {"name": "Wrong"}),
        Passed("PUT", f"{OPPORTUNITY}/status", {"status": "abandoned"}),
        Passed("DELETE", OPPORTUNITY),
        Passed("POST", f"{OPPORTUNITY}/followers", {"followers": [seed.USERS[2]]}),
        Passed("DELETE", f"{OPPORTUNITY}/followers", {"followers": DEAL["followers"]}),
    )

    def sandbox(self) -> Starlette:
        return vendor.create_app(records=RECORDS, limits=None)
