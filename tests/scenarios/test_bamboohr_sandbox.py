"""BambooHR's sandbox behaves as the vendor's file says, with its limits, refusals and traps."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from scenarios.sandboxes import bamboohr_seed as seed
from scenarios.sandboxes.bamboohr import DEFAULT_TOKEN, FIELDS_MAX, Settings, create_app
from scenarios.sandboxes.common import RateLimits, running
from tests.handlers import bamboohr_spec
from tests.handlers.vendor_spec import Exchange, required

V1 = "/api/v1"
ANN = next(seed.employees(1, 1))
HERS = f"{V1}/employees/{ANN['id']}"


@pytest.fixture
def app() -> Starlette:
    return create_app(records=4, limits=None)


@pytest.fixture
def bamboo(app: Starlette) -> Iterator[httpx2.Client]:
    with running(app) as url, client(url) as http:
        yield http


def client(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, auth=(DEFAULT_TOKEN, "x"), headers={"accept": "application/json"})


def settings(bamboo: httpx2.Client, **changed: Any) -> None:
    assert bamboo.post("/_sandbox/settings", json=changed).status_code == 200


def error(reply: httpx2.Response) -> tuple[int, str, bytes]:
    return reply.status_code, reply.headers["x-bamboohr-error-message"], reply.content


def history(bamboo: httpx2.Client, table: str = "jobInfo") -> list[dict[str, Any]]:
    return list(bamboo.get(f"{HERS}/tables/{table}").json())


def test_every_answer_is_as_the_vendors_file_has_it(app: Starlette, bamboo: httpx2.Client) -> None:
    spec, exchanges = required(bamboohr_spec.load()), []
    app.state.sandbox.watchers.append(
        lambda asked, told, faulted: exchanges.append(
            Exchange(asked.method, asked.path, asked.query_string, asked.body, told.status, told.body, faulted)
        )
    )
    for path in ("meta/fields", "meta/tables", "employees?fields=workEmail", "employees?page[limit]=9999"):
        bamboo.get(f"{V1}/{path}")
    for path in ("", "?fields=jobTitle,payRate,city", "/tables/jobInfo", "/tables/nothing"):
        bamboo.get(f"{HERS}{path}")
    bamboo.post(f"{V1}/datasets/employee", json={"fields": ["firstName", "jobTitle"]})
    bamboo.post("/api/v2/datasets/employee/data", json={"fields": ["firstName", "jobTitle"]})
    bamboo.post(f"{V1}/employees", json={"firstName": "New", "lastName": "Nurse"})
    bamboo.post(HERS, json={"city": "Lehi"})
    bamboo.post(f"{HERS}/tables/jobInfo", json={"date": "2026-03-01", "jobTitle": "Nurse"})
    bamboo.delete(f"{HERS}/tables/jobInfo/1")
    assert len(exchanges) == 14
    queries = {each for each in exchanges if "page[" in each.query}  # the file's tool cannot tell what is in a bracket
    assert [wrong for each in exchanges if each not in queries for wrong in spec.violations(each)] == []


def test_only_the_fields_asked_for_are_answered_and_those_that_are_hidden_not_even_then(bamboo: httpx2.Client) -> None:
    assert set(bamboo.get(HERS).json()) == {"id", "firstName", "lastName"}
    settings(bamboo, hidden=["city"])
    shown = bamboo.get(HERS, params={"fields": "city,zipcode,jobTitle"}).json()
    assert shown == {"id": ANN["id"], "zipcode": None, "jobTitle": shown["jobTitle"]}
    listed = bamboo.get(f"{V1}/employees", params={"fields": "city", "filter[ids]": ANN["id"]}).json()["data"]
    assert [(each["city"], each["_restrictedFields"]) for each in listed] == [(None, ["city"])]


def test_more_fields_than_it_answers_at_once_are_refused(bamboo: httpx2.Client) -> None:
    asked = bamboo.get(HERS, params={"fields": ",".join(f"f{n}" for n in range(FIELDS_MAX + 1))})
    assert error(asked)[0] == 400


@pytest.mark.parametrize(("habit", "more"), [("adds", 1), ("changes", 0)])
def test_a_job_title_that_is_written_through_the_employee_changes_the_history(
    bamboo: httpx2.Client, habit: str, more: int
) -> None:
    settings(bamboo, dated=habit)
    before = history(bamboo)
    assert bamboo.post(HERS, json={"jobTitle": "Nurse"}).content == b""
    assert bamboo.get(HERS, params={"fields": "jobTitle"}).json()["jobTitle"] == "Nurse"
    assert len(history(bamboo)) == len(before) + more


def test_a_row_of_a_later_day_counts_only_when_the_future_is_asked_for(bamboo: httpx2.Client) -> None:
    bamboo.post(f"{HERS}/tables/jobInfo", json={"date": "2999-01-01", "jobTitle": "Chief"})
    now, then = (
        bamboo.get(HERS, params={"fields": "jobTitle", "onlyCurrent": only}).json()["jobTitle"]
        for only in ("true", "false")
    )
    assert (now != "Chief", then) == (True, "Chief")


def test_a_new_row_is_answered_by_nothing_and_a_new_employee_by_an_address(bamboo: httpx2.Client) -> None:
    row = bamboo.post(f"{HERS}/tables/jobInfo", json={"date": "2026-03-01"})
    made = bamboo.post(f"{V1}/employees", json={"firstName": "New", "lastName": "Nurse"})
    assert (row.status_code, row.content, made.status_code, made.content) == (200, b"", 201, b"")
    id_ = made.headers["location"].partition("id=")[2]
    assert bamboo.get(f"{V1}/employees/{id_}").json()["firstName"] == "New"


def test_a_deletion_of_a_row_that_is_not_there_answers_200(bamboo: httpx2.Client) -> None:
    reply = bamboo.delete(f"{HERS}/tables/jobInfo/1")
    assert (reply.status_code, reply.json()["success"]) == (200, False)
    assert bamboo.delete(f"{HERS}/tables/jobInfo/{history(bamboo)[0]['id']}").json() == {"success": True}


def test_no_employee_is_deleted(bamboo: httpx2.Client) -> None:
    assert error(bamboo.delete(HERS))[0] == 404
    assert bamboo.get(HERS).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {"gender": "Wrong"}, 409),
        ("", {}, 400),
        ("/tables/jobInfo", {"date": "soon"}, 406),
        ("/tables/nothing", {"date": "2026-03-01"}, 404),
        ("/tables/jobInfo/1", {"date": "2026-03-01"}, 404),
    ],
)
def test_refusals_have_no_body_and_say_why_in_a_header(
    bamboo: httpx2.Client, path: str, body: dict[str, Any], status: int
) -> None:
    told, message, content = error(bamboo.post(HERS + path, json=body))
    assert (told, bool(message), content) == (status, True, b"")


def test_what_the_key_may_not_write_is_left_out_or_refused_where_nothing_is_left(bamboo: httpx2.Client) -> None:
    settings(bamboo, unwritable=["city"])
    assert bamboo.post(HERS, json={"city": "Lehi", "zipcode": "84043"}).status_code == 200
    shown = bamboo.get(HERS, params={"fields": "city,zipcode"}).json()
    assert (shown["city"], shown["zipcode"]) == (ANN["city"], "84043")
    assert error(bamboo.post(HERS, json={"city": "Lehi"}))[0] == 403


def test_another_key_is_refused(bamboo: httpx2.Client) -> None:
    for auth in (("wrong", "x"), None):
        assert httpx2.get(f"{bamboo.base_url}{HERS}", auth=auth).status_code == 401


@pytest.mark.parametrize("status", [503, 429])
def test_too_much_is_answered_with_the_time_to_come_back(status: int) -> None:
    limits = RateLimits(per_interval=1, interval_s=60.0, per_day=9)
    tight = Settings(too_many=status)  # type: ignore[arg-type]
    with running(create_app(records=1, limits=limits, settings=tight)) as url, client(url) as http:
        answers = [http.get(HERS) for _ in range(2)]
    assert [reply.status_code for reply in answers] == [200, status]
    assert answers[1].headers["retry-after"] == "1"
