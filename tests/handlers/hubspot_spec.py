"""HubSpot's OpenAPI files: which ones, and where they contradict the vendor's own documentation."""

from tests.handlers import vendor_spec
from tests.handlers.vendor_spec import Documents, VendorSpec

FILES = ("objects-v3.json", "contacts-v3.json", "associations-v4.json", "properties-v3.json")


def correct(documents: Documents) -> None:
    """What the files have wrong.

    - Properties without a value are shown as null by the documentation's examples, and are texts by schema.
    - `subCategory` of a batch's error is a text by the documentation, and an object without members by schema.
    """
    for document in documents.values():
        schemas = document["components"]["schemas"]
        for name, schema in schemas.items():
            if name.startswith("SimplePublic") and "archived" in schema["properties"]:
                schema["properties"]["properties"]["additionalProperties"] = {"type": "string", "nullable": True}
        schemas["StandardError"]["properties"]["subCategory"] = {}


def load() -> VendorSpec | None:
    return vendor_spec.load("hubspot", FILES, correct)
