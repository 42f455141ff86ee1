"""Tryton joins the conformance suite: every route, every action, every lost answer."""

from typing import ClassVar

from starlette.applications import Starlette

from scenarios.sandboxes import tryton as vendor
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample
from tests.handlers.tryton_database import OPTIONS, PARTY, body, described

_LIMIT = {"__class__": "Decimal", "decimal": "7.00"}


class TestTryton(HandlerConformance):
    options: ClassVar = OPTIONS
    handler = described(PARTY)
    stamps = frozenset({"written", "stamp"})
    samples = (
        Sample(
            resource=PARTY,
            id="1001",
            update={"name": "Wrong", "lang": None, "categories": [2002]},
            theirs={"name": "Ann"},
            others={"credit_limit_amount": _LIMIT},
            create={"name": "New", "code": "N-1", "categories": [2001]},
            added={"categories": 2003},
            identity={"code": "1"},
            lost=frozenset({"created"}),
        ),
    )
    passed = (
        Passed("POST", vendor.PATH, body(PARTY, "create", [{"name": "New", "code": "N-2"}])),
        Passed("POST", vendor.PATH, body(PARTY, "write", [1001], {"name": "Wrong", "categories": [["add", [2002]]]})),
        Passed("POST", vendor.PATH, body(PARTY, "delete", [1001])),
    )

    def sandbox(self) -> Starlette:
        return vendor.create_app(records=6)
