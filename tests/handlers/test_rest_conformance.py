"""Systems that are described by settings alone join the conformance suite like those that have a file."""

from starlette.applications import Starlette

from handlers.rest import Rest
from tests.handlers import example_sandbox, kinto_sandbox
from tests.handlers.conformance import HandlerConformance
from tests.handlers.joining import Passed
from tests.handlers.samples import Sample

EXAMPLE = {
    "objects": {
        "people": {
            "path": "/people",
            "record_in": "person",
            "list_in": "people",
            "read_many": "/people?ids={ids}",
            "find": "/people?email={email}",
            "clear": "empty",
            "deleted": "new_id",
            "title": "name",
            "fields": ["name", "email", "phone", "city", "labels"],
            "sets": ["labels"],
            "volatile": ["created", "updated"],
            "created": "created",
        }
    }
}

KINTO = {
    "batch": {"path": "/batch", "max": 3},
    "objects": {
        name: {
            "path": f"/buckets/hr/collections/{name}/records",
            "record_in": "data",
            "body_in": "data",
            "list_in": "data",
            "read_many": f"/buckets/hr/collections/{name}/records?in_id={{ids}}",
            "read_max": 4,
            "find": f"/buckets/hr/collections/{name}/records?email={{email}}",
            "update": update,
            "clear": clear,
            "deleted": "same_id",
            "fields": ["name", "email", "phone", "age", "labels"],
            "sets": ["labels"],
            "volatile": ["last_modified"],
        }
        for name, update, clear in (("people", "PUT", "absent"), ("notes", "PATCH", "null"))
    },
}
"""The same system twice: once its records are replaced, once they are changed in part."""


class TestExampleBySettings(HandlerConformance):
    """The CRM of docs/add-a-handler.md, without the file that the page builds."""

    handler = Rest(EXAMPLE)
    options = EXAMPLE
    stamps = frozenset({"updated"})
    samples = (
        Sample(
            resource="people",
            id="person1",
            update={"name": "Wrong", "phone": "0", "city": "", "labels": ["ruined"]},
            theirs={"name": "Ann"},
            others={"email": "ann@example.com"},
            added={"labels": "called back"},
            create={"name": "New", "email": "new@example.com"},
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


class TestKintoBySettings(HandlerConformance):
    dated = False
    handler = Rest(KINTO)
    options = KINTO
    stamps = frozenset({"last_modified"})
    samples = tuple(
        Sample(
            resource=name,
            id=f"{name}1",
            # What is cleared by null holds a null from then on: only what is replaced can be empty as it was.
            update={"name": "Wrong", "age": None, "labels": ["ruined"], **({"phone": "0"} if name == "people" else {})},
            theirs={"name": "Ann"},
            others={"email": "ann@example.com"},
            added={"labels": "called back"},
            create={"name": "New", "email": "new@example.com"},
            identity={"email": f"{name}1@example.com"},
        )
        for name in ("people", "notes")
    )
    passed = tuple(
        Passed(method, f"/buckets/hr/collections/{name}/records{item}", body)
        for name, verb in (("people", "PUT"), ("notes", "PATCH"))
        for method, item, body in (
            ("POST", "", {"data": {"name": "New", "email": "new@example.com"}}),
            (verb, f"/{name}1", {"data": {"name": "Wrong", "labels": ["ruined"]}}),
            ("DELETE", f"/{name}1", None),
        )
    )

    def sandbox(self) -> Starlette:
        return kinto_sandbox.create_app(records=6)
