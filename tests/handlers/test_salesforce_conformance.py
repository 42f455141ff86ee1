"""Salesforce joins the conformance suite: every route, every action, every lost answer."""

from typing import ClassVar

from starlette.applications import Starlette

from scenarios.sandboxes import salesforce as vendor
from scenarios.sandboxes import salesforce_seed as seed
from tests.handlers import salesforce_spec
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.salesforce_org import DATA, MANY, OPTIONS, described, member
from tests.handlers.samples import Sample

RECORDS = 20
ROWS = seed.rows(RECORDS, 1)
ANN, ACME = ROWS["Contact"][5], ROWS["Account"][1]
READ = {"LastModifiedDate": ANN["LastModifiedDate"]}
CONTACT = f"{DATA}/sobjects/Contact"


class TestSalesforce(HandlerConformance):
    options: ClassVar = OPTIONS
    handler = described("Account", "Contact")
    spec = salesforce_spec.load()
    stamps = frozenset({"LastModifiedDate", "SystemModstamp"})
    samples = (
        Sample(
            resource="Contact",
            id=ANN["id"],
            update={"FirstName": "Wrong", "MailingCity": "", "Skills__c": ["English"], "Salary_Expectation__c": 1},
            theirs={"FirstName": "Ann"},
            others={"Department": "Sales"},
            added={"Skills__c": "Esperanto"},
            create={"LastName": "New", "Email": " New@Example.net ", "Candidate_Number__c": "C-new"},
            identity={"Candidate_Number__c": ANN["Candidate_Number__c"]},
            missing="003Dx0000999999IAA",
            before=READ,
        ),
        Sample(
            resource="Account",
            id=ACME["id"],
            update={"Name": "Wrong", "Description": "a\r\nb", "Industry": None},
            theirs={"Name": "Acme"},
            others={"Phone": "1"},
            create={"Name": "New", "Client_Number__c": "A-new"},
            identity={"Client_Number__c": ACME["Client_Number__c"]},
            missing="001Dx0000999999IAA",
            before=READ,
        ),
    )
    passed = (
        Passed(
            "POST",
            MANY,
            {
                "allOrNone": False,
                "records": [member("Contact", LastName="New", Email="n@example.net", Candidate_Number__c="C-n")],
            },
        ),
        Passed("PATCH", MANY, {"records": [member("Contact", id=ANN["id"][:15], FirstName="Wrong", Phone=None)]}),
        Passed("DELETE", MANY, query={"ids": ANN["id"], "allOrNone": "false"}),
        Passed(
            "PATCH",
            f"{MANY}/Contact/Candidate_Number__c",
            {"records": [member("Contact", Candidate_Number__c="C-000005", Title="Wrong")]},
        ),
        Passed("POST", CONTACT, {"LastName": "New", "Candidate_Number__c": "C-new"}),
        Passed("PATCH", f"{CONTACT}/{ANN['id']}", {"FirstName": "Wrong", "MailingCity": None}),
        Passed("DELETE", f"{CONTACT}/{ANN['id']}"),
        Passed("PATCH", f"{CONTACT}/Candidate_Number__c/C-000005", {"Title": "Wrong"}),
    )

    def sandbox(self) -> Starlette:
        return vendor.create_app(records=RECORDS, limits=None)
