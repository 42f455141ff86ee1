"""Keap's OpenAPI file: which one, and what it has wrong."""

from functools import cache

from tests.handlers import vendor_spec
from tests.handlers.vendor_spec import Documents, VendorSpec

FILE = "swagger.yml"


def correct(documents: Documents) -> None:
    """`remind_time_mins` is an integer whose allowed values are written as texts."""
    schemas = documents[FILE]["components"]["schemas"]
    for name in ("CreateUpdateTaskRequest", "CreateTaskRequest", "Task", "UpdateTaskResponse"):
        minutes = schemas[name]["properties"]["remind_time_mins"]
        minutes["enum"] = [int(each) for each in minutes["enum"]]


@cache
def load() -> VendorSpec | None:
    return vendor_spec.load("keap", (FILE,), correct)
