"""HighLevel's OpenAPI files: which ones, and where they contradict their own examples or live accounts."""

from typing import Any

from tests.handlers import vendor_spec
from tests.handlers.vendor_spec import Documents, VendorSpec

FILES = ("contacts.json", "opportunities.json", "common-schemas.json")
BESIDES = ("businesses.json", "locations.json")
"""What the sandbox answers, too, and the handler has no business with."""
LIVE_FIELDS = ("companyName", "keyword", "ssn", "type")


def correct(documents: Documents) -> None:
    """What the files have wrong.

    - PUT /contacts/{id} takes four fields more (the vendor's issue #314).
    - `responses` of bulk tags are strings by schema and objects in the example beside it; followers are lists of
      lists by schema and lists of ids in the example.
    - A custom field's `value` is a string by schema; written and read, multi-select fields are lists and monetary
      ones numbers.
    - Opportunity search answers typed keys in place of `fieldValue` (#87); an upsert takes the contact it is for.
    """
    contacts, deals = (_schemas(documents, name) for name in ("contacts.json", "opportunities.json"))
    contacts["UpdateContactDto"]["properties"] |= {name: {"type": "string", "nullable": True} for name in LIVE_FIELDS}
    contacts["CreateContactDto"]["properties"].setdefault("companyName", {"type": "string", "nullable": True})
    contacts["UpdateTagsResponseDTO"]["properties"]["responses"]["items"] = {"type": "object"}
    contacts["CustomFieldSchema"]["properties"]["value"] = {}
    deals["CustomFieldResponseSchema"] = {"type": "object", "required": ["id"]}
    deals["SearchOpportunitiesResponseSchema"]["properties"]["followers"] = {"type": "array"}
    deals["UpsertOpportunityDto"]["properties"]["contactId"] = {"type": "string"}


def _schemas(documents: Documents, name: str) -> dict[str, Any]:
    found: dict[str, Any] = documents[name]["components"]["schemas"]
    return found


def load(*besides: str) -> VendorSpec | None:
    return vendor_spec.load("highlevel", FILES + besides, correct)
