"""Keap joins the conformance suite: every route, every action, every lost answer."""

from typing import Any

from starlette.applications import Starlette

from handlers.keap import Keap
from scenarios.sandboxes import keap as vendor
from scenarios.sandboxes import keap_seed as seed
from tests.handlers import keap_spec
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample

RECORDS = 12
PEOPLE = list(seed.contacts(RECORDS, 1))
FIRM = list(seed.companies(RECORDS, 1))[2]
DEAL, NOTE, TASK = (next(made(PEOPLE)) for made in (seed.opportunities, seed.notes, seed.tasks))
ANN, HOST = PEOPLE[9], PEOPLE[0]["id"]
EMAIL = ANN["email_addresses"]["EMAIL1"]
NOTED = f"/rest/v2/contacts/{NOTE['contact_id']}/notes/{NOTE['id']}"
ASKED: dict[str, Any] = {"contact_ids": [ANN["id"], PEOPLE[8]["id"]]}


def _at(resource: str, id_: str) -> str:
    return f"/rest/v2/{resource}/{id_}"


class TestKeap(HandlerConformance):
    handler = Keap({})
    spec = keap_spec.load()
    stamps = frozenset({"update_time", "last_updated_time", "modification_time", "pinned_at"})
    samples = (
        Sample(
            resource="contacts",
            id=ANN["id"],
            update={
                "given_name": "Wrong",
                "job_title": "",
                "email_addresses.EMAIL2": None,
                "phone_numbers": [{"field": "PHONE1", "number": "5125550199"}],
                "custom_fields": [{"id": seed.REGION_SERVED, "content": "ruined"}],
            },
            theirs={"given_name": "Ann"},
            others={
                "family_name": "Other",
                "custom_fields": {seed.SALARY: 1},
                "email_addresses": {"EMAIL3": "c@example.net"},
            },
            create={"given_name": "New", "email_addresses": [{"field": "EMAIL1", "email": " New@Example.net "}]},
            identity={"email_addresses.EMAIL1": EMAIL},
            lost=frozenset({"create_time", "applied", "score_value"}),
        ),
        Sample(
            resource="companies",
            id=FIRM["id"],
            update={
                "notes": "Wrong",
                "website": "",
                "address": {"line1": "Nowhere"},
                "custom_fields": [{"id": seed.INDUSTRY, "content": None}],
            },
            theirs={"notes": "Met at the fair"},
            others={"last_name": "Other", "custom_fields": {seed.EMPLOYEES: 99}},
            create={"company_name": "New Partners"},
            identity={"company_name": FIRM["company_name"]},
            lost=frozenset({"create_time"}),
        ),
        Sample(
            resource="opportunities",
            id=DEAL["id"],
            update={
                "opportunity_notes": "Wrong",
                "next_action_time": "",
                "projected_revenue_low": 1,
                "custom_fields": [{"id": seed.CHANNEL, "content": "ruined"}],
            },
            theirs={"opportunity_notes": "Called back"},
            others={"user_id": seed.USERS[1], "custom_fields": {seed.FEE: 300}},
            create={"opportunity_title": "New", "contact_id": HOST, "stage_id": "2"},
            identity={"contact_id": DEAL["contact_id"], "opportunity_title": DEAL["opportunity_title"]},
            lost=frozenset({"created_time"}),
        ),
        Sample(
            resource="notes",
            id=NOTE["id"],
            update={"text": "Wrong", "is_pinned": True, "custom_fields": [{"id": seed.OUTCOME, "content": ""}]},
            theirs={"text": "Called back"},
            others={"type": "Email", "custom_fields": {seed.TOPIC: "price"}},
            create={"contact_id": HOST, "title": "New", "user_id": seed.USERS[0]},
            identity={"contact_id": NOTE["contact_id"], "title": NOTE["title"]},
            lost=frozenset({"create_time"}),
            before={name: NOTE[name] for name in ("contact_id", "user_id", "title")},
        ),
        Sample(
            resource="tasks",
            id=TASK["id"],
            update={"description": "Wrong", "due_time": "", "completed": True, "priority": "CRITICAL"},
            theirs={"description": "With the new price list"},
            others={"type": "Call", "custom_fields": {seed.OUTCOME: "sent"}},
            create={"contact_id": HOST, "title": "New", "assigned_to_user_id": seed.USERS[0]},
            identity={"contact_id": TASK["contact_id"], "title": TASK["title"]},
            lost=frozenset({"create_time"}),
        ),
    )
    passed = (
        Passed("POST", "/rest/v2/tags/99/contacts:applyTags", ASKED),
        Passed("POST", f"/rest/v2/tags/{ANN['tag_ids'][0]}/contacts:removeTags", {"contact_ids": [ANN["id"]]}),
        Passed("POST", f"/rest/v2/contacts/{HOST}/notes", {"title": "New", "user_id": "1"}),
        Passed("PATCH", NOTED, {"user_id": "1", "title": "Wrong", "custom_fields": []}, {"fields": "custom_fields"}),
        Passed("DELETE", NOTED),
        Passed("POST", "/rest/v2/contacts", {"email_addresses": [{"field": "EMAIL1", "email": "new@example.net"}]}),
        Passed(
            "POST",
            "/rest/v2/contacts",
            {"email_addresses": [{"field": "EMAIL1", "email": EMAIL}], "given_name": "Wrong"},
            {"duplicate_option": "Email"},
        ),
        Passed(
            "PATCH",
            _at("contacts", ANN["id"]),
            {"given_name": "Wrong", "custom_fields": [{"id": seed.REGION_SERVED, "content": "ruined"}]},
        ),
        Passed("DELETE", _at("contacts", ANN["id"])),
        Passed("POST", "/rest/v2/companies", {"company_name": "New Partners"}),
        Passed("PATCH", _at("companies", FIRM["id"]), {"notes": "Wrong", "title": ""}, {"update_mask": "notes"}),
        Passed("DELETE", _at("companies", FIRM["id"])),
        Passed("POST", "/rest/v2/opportunities", {"opportunity_title": "New", "contact_id": HOST, "stage_id": "2"}),
        Passed("PATCH", _at("opportunities", DEAL["id"]), {"stage_id": "8", "custom_fields": []}),
        Passed("DELETE", _at("opportunities", DEAL["id"])),
        Passed("POST", "/rest/v2/tasks", {"title": "New", "contact_id": HOST, "assigned_to_user_id": "1"}),
        Passed("PATCH", _at("tasks", TASK["id"]), {"completed": True}),
        Passed("DELETE", _at("tasks", TASK["id"])),
    )

    def sandbox(self) -> Starlette:
        return vendor.create_app(records=RECORDS, limits=None)
