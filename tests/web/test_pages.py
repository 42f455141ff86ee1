"""The HTML pages: what records hold is shown, never executed; nothing keeps or passes on the address."""

import re
from typing import Any

import pytest

from tests.web.doors import all_ended, nothing_happens, updates
from tests.world import World, path_of

HTML = {"accept": "text/html,application/xhtml+xml"}
HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an attribute": '"><img src=x onerror=alert(1)>',
    "an apostrophe": "' onmouseover='alert(1)",
    "a template": "{{ 7*7 }}{% raw %}",
    "right to left": "\u202egnp.exe\u2066",
    "a null byte": "a\x00b",
    "line feeds": "a\r\n\r\nb",
    "an address": "javascript:alert(1)",
}


def assert_safe(page: str, value: str) -> None:
    assert value not in page or not set(value) & set("<>\"'")
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/static/guard.js">']
    assert not re.search(r"<[^>]*\son\w+=", page)
    assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", page)


async def page(world: World, method: str, url: str, **given: Any) -> tuple[int, str]:
    reply = await world.http.request(method, url, headers=HTML, follow_redirects=True, **given)
    assert reply.headers["content-type"].startswith("text/html"), reply.text
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["x-content-type-options"] == "nosniff"
    return reply.status_code, reply.text


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_values_of_records_are_text_on_every_page(small_world: World, name: str) -> None:
    value, id_ = HOSTILE[name], next(iter(small_world.contacts))
    records = [
        {"id": id_, "fields": {"companyName": value, "customFields": [{"id": "cfJobTitle0000000001", "value": value}]}}
    ]
    told = await small_world.operate("update", records, note=value, scenario=value[:50])
    url = path_of(told["revert_url"])
    status, plan = await page(small_world, "GET", url)
    assert status == 200
    assert_safe(plan, value)
    await small_world.edit("contacts", id_, {"companyName": f"{value}!"})
    status, report = await page(small_world, "POST", url)
    assert status == 200
    assert_safe(report, value)


async def test_a_value_of_a_megabyte_does_not_make_the_page_as_large(small_world: World) -> None:
    id_ = next(iter(small_world.contacts))
    records = [{"id": id_, "fields": {"companyName": "x" * 1_000_000}}]
    told = await small_world.operate("update", records)
    _, plan = await page(small_world, "GET", path_of(told["revert_url"]))
    assert len(plan) < 50_000


async def test_hostile_texts_in_a_request_are_text_on_the_page_of_the_problem(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 1))
    for query in ("<script>alert(1)</script>=1", 'operations="><img src=x onerror=alert(1)>'):
        status, problem = await page(small_world, "GET", f"{path_of(told['revert_url'])}?{query}")
        assert status == 422
        assert_safe(problem, "<script>")


@pytest.mark.parametrize("path", ["/revert/x", "/revert/<img src=x onerror=alert(1)>"])
async def test_a_wrong_address_is_a_page_for_a_browser(small_world: World, path: str) -> None:
    status, problem = await page(small_world, "GET", path)
    assert status == 404
    assert_safe(problem, "<script>")


async def test_a_page_says_once_that_nothing_was_written(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 1))
    _, problem = await page(small_world, "GET", f"{path_of(told['revert_url'])}?colour=red")
    assert problem.count("Nothing was written") == 1


def form_of(plan: str) -> str:
    found = re.search(r'<form method="post" action="([^"]*)"', plan)
    assert found, plan
    return found[1].replace("&amp;", "&")


async def test_the_button_takes_back_the_run(small_world: World) -> None:
    before = small_world.seen()
    told = await small_world.operate("update", updates(small_world))
    _, plan = await page(small_world, "GET", path_of(told["revert_url"]))
    await page(small_world, "POST", form_of(plan), data={})
    assert before == small_world.seen()


async def test_the_button_of_a_narrowed_plan_takes_back_no_more_than_the_page_shows(small_world: World) -> None:
    """The page of `?ids=…` speaks of one record: its button must not take back all of them."""
    told = await small_world.operate("update", updates(small_world, 3, city="Rome"))
    first, second, third = list(small_world.contacts)[:3]
    _, plan = await page(small_world, "GET", f"{path_of(told['revert_url'])}?ids={first}")
    assert "Take back 1 record …<" in plan
    await page(small_world, "POST", form_of(plan), data={})
    assert small_world.contacts[first]["city"] != "Rome"
    assert [small_world.contacts[id_]["city"] for id_ in (second, third)] == ["Rome", "Rome"]


async def test_the_next_page_of_a_narrowed_plan_is_narrowed_alike(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 4, city="Rome"))
    ids = ",".join(list(small_world.contacts)[:3])
    _, plan = await page(small_world, "GET", f"{path_of(told['revert_url'])}?ids={ids}&limit=2")
    (following,) = re.findall(r'rel="next" href="([^"]*)"', plan)
    assert "ids=" in following
    _, second = await page(small_world, "GET", following.replace("&amp;", "&"))
    assert "Record 3 of 3" in second


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("<main")[2]))


async def test_plan_and_report_speak_of_people_and_in_words(small_world: World) -> None:
    id_, edited = list(small_world.contacts)[:2]
    skills = [{"id": "cfSkills000000000004", "field_value": ["Java", "Rust"]}]
    records = [{"id": each, "fields": {"dnd": True, "customFields": skills, "city": None}} for each in (id_, edited)]
    told = await small_world.operate("update", records)
    await small_world.edit("contacts", edited, {"city": "Paris"})
    names = ["{firstName} {lastName}".format(**small_world.contacts[each]) for each in (id_, edited)]

    _, plan = await page(small_world, "GET", path_of(told["revert_url"]))
    _, report = await page(small_world, "POST", path_of(told["revert_url"]))

    assert all(name in plan for name in names)
    assert [name in report for name in names] == [False, True]
    for shown in (text_of(plan), text_of(report)):
        assert not re.findall(r"True|False|None|\[|\{|\d{4}-\d\d-\d\dT", shown)
        assert "workflows and webhooks" in shown
    assert "Java, Rust" in text_of(plan)
    assert re.search(r"changed 2 of 2 records.*\d\d? [A-Z][a-z]+ 20\d\d, \d\d:\d\d UTC", text_of(plan))


async def test_plan_and_report_of_a_deletion_say_what_is_lost_and_the_new_ids(small_world: World) -> None:
    id_ = next(iter(small_world.contacts))
    told = await small_world.operate("delete", [{"id": id_}], accept_irreversible=True)

    _, plan = await page(small_world, "GET", path_of(told["revert_url"]))
    _, report = await page(small_world, "POST", path_of(told["revert_url"]))

    new_id = list(small_world.contacts)[-1]
    assert "its notes, tasks, conversations" in text_of(plan)
    assert "its notes, tasks, conversations" in text_of(report)
    assert re.search(f"{id_} is now {new_id}", text_of(report))


async def test_the_page_says_how_far_the_run_is_taken_back(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world, 2))
    url, first = path_of(told["revert_url"]), next(iter(small_world.contacts))

    async def heading(method: str, url: str) -> str:
        _, shown = await page(small_world, method, url)
        return text_of(f"<main>{re.findall(r'<h1>(.*?)</h1>', shown, re.DOTALL)[0]}").strip("> ✓")

    assert await heading("GET", url) == "Take this back?"
    assert await heading("POST", f"{url}?ids={first}") == "It is taken back"
    assert await heading("GET", url) == "This run was taken back in part"
    assert await heading("POST", url) == "It is taken back"
    assert await heading("GET", url) == "This run was taken back"


async def test_a_page_opened_meanwhile_says_so_and_has_no_button(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    await small_world.fault(kind="hang", seconds=60, match={"method": "PUT"})
    reply = await small_world.http.post(
        path_of(told["revert_url"]), headers={**HTML, "prefer": "wait=0"}, follow_redirects=True
    )
    assert "goes on by itself" in reply.text

    _, plan = await page(small_world, "GET", path_of(told["revert_url"]))

    assert "This run is being taken back" in plan
    assert "Take back" not in text_of(plan)
    small_world.sandbox.release()
    await all_ended(small_world)


async def test_the_button_that_only_checks_writes_nothing(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    with nothing_happens(small_world):
        status, report = await page(small_world, "POST", path_of(told["revert_url"]), data={"dry_run": "true"})
    assert (status, "nothing was written" in report) == (200, True)


async def test_pages_need_nothing_from_elsewhere(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    _, plan = await page(small_world, "GET", path_of(told["revert_url"]))
    linked = re.findall(r'(?:src|href|action)="([^"]*)"', plan)
    assert [link for link in linked if not re.match(r"/[^/]|#", link)] == []
    for name, kind in (("guard.css", "text/css"), ("guard.js", "text/javascript"), ("guard.svg", "image/svg+xml")):
        reply = await small_world.http.get(f"/static/{name}")
        assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, kind)
        assert "//" not in re.sub(r"//.*|xmlns=\S+|/\*.*?\*/", "", reply.text)
