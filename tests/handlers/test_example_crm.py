"""The example of docs/add-a-handler.md joins the conformance suite, as every handler does."""

from starlette.applications import Starlette

from tests.handlers import example_sandbox
from tests.handlers.conformance import HandlerConformance
from tests.handlers.example_crm import ExampleCrm
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample


class TestExampleCrm(HandlerConformance):
    handler = ExampleCrm({})
    stamps = frozenset({"updated"})
    samples = (
        Sample(
            resource="people",
            id="person1",
            update={"name": "Wrong", "phone": "0", "city": "", "labels": ["ruined"]},
            theirs={"name": "Ann"},
            others={"email": "ann@example.com"},
            added={"labels": "called back"},
            create={"name": "New", "email": " New@Example.com "},
            identity={"email": "person1@example.com"},
            lost=frozenset({"score", "created"}),
        ),
    )
    passed = (
        Passed("POST", "/people", {"name": "New", "email": "new@example.com"}),
        Passed("PATCH", "/people/person1", {"name": "Wrong", "labels": ["ruined"], "email": ""}),
        Passed("DELETE", "/people/person1"),
    )

    def sandbox(self) -> Starlette:
        return example_sandbox.create_app(people=6)
