"""BambooHR's OpenAPI file."""

from functools import cache

from tests.handlers import vendor_spec
from tests.handlers.vendor_spec import VendorSpec


@cache
def load() -> VendorSpec | None:
    return vendor_spec.load("bamboohr", ("public.yaml",))
