"""What tests of handlers share: the HighLevel handler, and the vendor's own files where they are at hand.

The conformance suite takes a minute and more for each handler. `make test` runs it for two; for the others it is heavy.
"""

import pytest

from handlers.highlevel import HighLevel
from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.handlers import highlevel_spec
from tests.handlers.samples import Member
from tests.handlers.vendor_spec import VendorSpec, required

AT_ONCE = ("example", "highlevel")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        cls = getattr(item, "cls", None)
        if cls is not None and issubclass(cls, Member) and cls.system() not in AT_ONCE:
            item.add_marker(pytest.mark.heavy)


@pytest.fixture(scope="session")
def handler() -> HighLevel:
    return HighLevel({"location_id": LOCATION_ID})


@pytest.fixture(scope="session")
def spec() -> VendorSpec:
    return required(highlevel_spec.load())
