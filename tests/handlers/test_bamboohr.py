"""What the BambooHR handler understands of definitions, values and answers, without a Guard around it."""

from typing import Any

import orjson
import pytest

from guard.core.model import Action, Change, Reversibility, Status
from handlers.bamboohr import BambooHR, account, answers, values
from handlers.base import Reply
from tests.handlers.bamboohr_account import knowing

NEW = Change(resource="employees", action=Action.CREATE, fields={"firstName": "New", "lastName": "Nurse"})


def told(content: Any, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(content))


def field(id_: int | str, alias: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": id_, "name": "x", "type": "text", **({"alias": alias} if alias else {}), **more}


@pytest.mark.parametrize(
    ("table", "of_table", "of_employee"),
    [
        ("customHistory", field(7, "customGrade"), field(7, "grade")),  # the same id
        ("jobInfo", field(7, "grade"), field(8, "grade")),  # a dated table has one of this alias
        ("customHistory", field(7, "other"), field(8, "jobTitle")),  # known by its name
    ],
)
def test_a_field_follows_from_a_table_by_its_id_its_alias_or_its_known_name(
    table: str, of_table: dict[str, Any], of_employee: dict[str, Any]
) -> None:
    tables = told([{"alias": table, "fields": [of_table]}])
    known = account.employees(told([of_employee, field(1, "city")]), tables)
    assert known
    assert known.dated == {of_employee["alias"]}


def test_the_same_alias_in_a_table_without_dates_is_another_field() -> None:
    tables = told([{"alias": "emergencyContacts", "fields": [field(82, "homePhone")]}])
    known = account.employees(told([field(6, "homePhone")]), tables)
    assert known
    assert known.dated == frozenset()


def test_fields_go_by_their_alias_or_their_id_and_parts_and_old_ones_are_none() -> None:
    listed = [field(1, "city"), field(4480), field("4470.1"), field(9, "customFax", deprecated=True), field(2, "id")]
    known = account.employees(told(listed), told([]))
    assert known
    assert known.writable == {"city", "4480"}


def test_of_more_fields_than_one_read_shows_those_with_a_whole_undo_come_first() -> None:
    listed = [field(0, "jobTitle"), *(field(n, f"custom{n}") for n in range(1, 401))]
    known = account.employees(told(listed), told([]))
    assert known
    assert (len(known.read), "jobTitle" in known.read, "jobTitle" in known.writable) == (400, False, True)


@pytest.mark.parametrize("content", [None, {}, "x", [None], [{}], [{"id": None}], []])
def test_definitions_that_say_nothing_are_not_learnt(content: Any) -> None:
    handler = knowing()
    good = told([field(1, "city")])
    assert not handler.learn("employees", [told(content), told([])])
    assert not handler.learn("employees", [good, told([{"alias": "jobInfo", "fields": content or None}])])
    assert not handler.learn("jobInfo", [told(content)])
    assert not handler.learn("employees", [Reply(403), told([])])


@pytest.mark.parametrize(
    "options",
    [{}, {"company": ""}, {"company": "a.b"}, {"company": "x/y"}, {"company": "x", "tables": "a/b"}, {"key": "x"}],
)
def test_settings_that_name_no_company_or_something_else_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"company|tables"):
        BambooHR(options)


def test_the_address_is_the_companys_own() -> None:
    assert BambooHR({"company": "acme"}).base_url == "https://acme.bamboohr.com"


@pytest.mark.parametrize(
    ("asked", "found", "alike"),
    [
        ("", None, True),
        (None, "0000-00-00", True),
        ("80000", "80000.00", True),
        (" Nurse ", "Nurse", True),
        ({"value": "1", "currency": "USD"}, {"value": "1.00", "currency": "USD"}, True),
        ({"value": "1"}, {"value": "1", "currency": "USD"}, False),
        (["a", "b"], ["b", "a"], False),
        ("x", None, False),
        ("0", "", False),
        (False, None, False),
    ],
)
def test_values_are_the_same_on_bamboos_terms(asked: Any, found: Any, *, alike: bool) -> None:
    assert values.same(asked, found) is alike


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (201, {"location": "https://x.bamboohr.com/employees/employee.php?id=123"}, (Status.APPLIED, "123")),
        (201, {"location": "https://x.bamboohr.com/api/v1/employees/123"}, (Status.APPLIED, "123")),
        (201, {"location": "https://x.bamboohr.com/employees/"}, (Status.UNKNOWN, None)),
        (201, {}, (Status.UNKNOWN, None)),
        (200, {"location": "https://x.bamboohr.com/employees/123"}, (Status.UNKNOWN, None)),
        (409, {answers.MESSAGE: "Duplicate email"}, (Status.FAILED, None)),
        (409, {}, (Status.UNKNOWN, None)),
        (503, {answers.MESSAGE: "Limit exceeded"}, (Status.UNKNOWN, None)),
    ],
)
def test_a_new_employee_is_named_by_the_address_of_a_201_and_by_nothing_else(
    status: int, headers: dict[str, str], expected: tuple[Status, str | None]
) -> None:
    (outcome,) = knowing().outcomes([NEW], Reply(status, b"", headers))
    assert (outcome.status, outcome.id) == expected


def test_a_field_that_one_read_does_not_show_is_told_before_anything_is_read() -> None:
    handler = knowing()
    change = handler.change("employees", "update", {"id": "101", "fields": {"ssn": "x", "city": "y"}})
    reversal = handler.reversal(change, None)
    assert (reversal.level, "ssn" in reversal.reason, "city" in reversal.reason) == (Reversibility.PARTIAL, True, False)
