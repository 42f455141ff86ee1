"""What tests of handlers share: the HighLevel handler, and the vendor's own files where they are at hand."""

import pytest

from handlers.highlevel import HighLevel
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.handlers import highlevel_spec
from tests.handlers.vendor_spec import VendorSpec, required


@pytest.fixture(scope="session")
def handler() -> HighLevel:
    return HighLevel({"location_id": LOCATION_ID})


@pytest.fixture(scope="session")
def spec() -> VendorSpec:
    return required(highlevel_spec.load())
