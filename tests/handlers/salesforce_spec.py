"""Salesforce publishes no OpenAPI file; this is our own reading of its documentation, and always at hand."""

from pathlib import Path

import yaml

from tests.handlers.vendor_spec import VendorSpec


def load() -> VendorSpec:
    read = Path(__file__).with_name("salesforce_openapi.yaml").read_text()
    return VendorSpec({"salesforce.yaml": dict(yaml.safe_load(read))})
