"""What pages and CSV say of a checkpoint: nothing is called the run's doing, for nobody knows whose it was."""

import re
from typing import Any

import pytest

from guard.web.deeds import deed
from guard.web.run_pages import defused
from tests.web.brackets import RUN_KEY, checkpoint, native, seal
from tests.web.test_pages import HTML, text_of
from tests.web.test_run_pages import get
from tests.web.test_sessions import visitor
from tests.world import World, path_of

CLAIMS = r"(before|after) the run\b|the run did|the run (changed|created|deleted)|import changed"
"""Words that say whose doing it was."""


async def pages_of(world: World, told: dict[str, str]) -> dict[str, str]:
    """Every page that shows a run, as text."""
    revert = path_of(told["revert_url"])
    return {
        "list": text_of(await get(world, "/")),
        "run": text_of(await get(world, f"/runs/{told['id']}")),
        "plan": await shown(world, "GET", revert),
        "question": await shown(world, "POST", revert, data={"step": "confirm", "choice": "all"}),
        "check": await shown(world, "POST", revert, data={"dry_run": "true"}),
    }


async def shown(world: World, method: str, path: str, **given: Any) -> str:
    """The page that a visitor comes to, as text."""
    reply = await visitor(world).request(method, path, headers=HTML, follow_redirects=True, **given)
    assert reply.status_code == 200, reply.text
    return text_of(reply.text)


async def test_no_page_of_a_checkpoint_says_that_the_run_did_it(small_world: World) -> None:
    world, ids = small_world, list(small_world.contacts)[:4]
    told = await checkpoint(world, ids, scenario="import")
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
    await native(world, "DELETE", f"/contacts/{ids[1]}")

    waiting = await pages_of(world, told)
    await seal(world, told)
    await world.edit("contacts", ids[0], {"city": "Lisbon"})
    sealed = await pages_of(world, told)
    report = await shown(world, "POST", path_of(told["revert_url"]))

    for name, text in [*waiting.items(), *sealed.items(), ("report", report)]:
        assert re.search(CLAIMS, text, re.IGNORECASE) is None, name
    assert "in doubt" not in waiting["run"] + sealed["run"]
    assert "A checkpoint of 4 records (not sealed yet) in crm, contacts." in waiting["run"]
    assert "Guard waits for the seal" in waiting["run"]
    assert "2 of 4 records changed between checkpoint and seal in crm, contacts." in sealed["run"]
    assert "import: 2 of 4 records changed between checkpoint and seal in crm, contacts" in sealed["plan"]
    assert sealed["run"].count("Unchanged") == 2
    assert "What somebody changed after the seal" in sealed["question"]
    assert "At the checkpoint At the seal Now" in report


async def test_a_run_with_a_checkpoint_and_an_operation_tells_them_apart(small_world: World) -> None:
    world, ids = small_world, list(small_world.contacts)[:3]
    told = await checkpoint(world, ids[:2], headers=RUN_KEY)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "Nowhere"})
    await world.operate("update", [{"id": ids[2], "fields": {"city": "Nowhere"}}], headers=RUN_KEY)

    waiting = (await pages_of(world, told))["run"]
    await seal(world, told)
    sealed = (await pages_of(world, told))["run"]

    assert "1 of 3 records changed (its checkpoint is not sealed yet) in crm" in waiting
    assert "2 of 3 records changed (in part between checkpoint and seal) in crm" in sealed
    assert "1 of 2 records changed between checkpoint and seal in crm, contacts" in sealed
    assert "changed 1 of 1 record in crm, contacts" in sealed
    assert sealed.count("Changed between checkpoint and seal:") == 1


async def test_the_csv_of_a_checkpoint_calls_nothing_an_update(small_world: World) -> None:
    world, ids = small_world, list(small_world.contacts)[:2]
    told = await checkpoint(world, ids)
    await native(world, "PUT", f"/contacts/{ids[0]}", {"city": "=Nowhere"})
    open_ = await get(world, f"/runs/{told['id']}/changes.csv")
    await seal(world, told)
    sealed = await get(world, f"/runs/{told['id']}/changes.csv")

    assert open_.count("watched,unknown,") == 2
    assert f"{ids[0]},changed between checkpoint and seal,sealed,,city," in sealed
    assert defused("=Nowhere") in sealed
    assert f"{ids[1]},unchanged,sealed," in sealed


async def test_a_conflict_with_what_another_checkpoint_found_names_no_culprit(small_world: World) -> None:
    world, one = small_world, next(iter(small_world.contacts))
    first = await world.operate("update", [{"id": one, "fields": {"city": "Rome"}}])
    later = await checkpoint(world, [one], scenario="later")
    await native(world, "PUT", f"/contacts/{one}", {"city": "Nowhere"})
    await seal(world, later)

    plan = await shown(world, "GET", path_of(first["revert_url"]))

    assert "between checkpoint and seal of a later run, later" in plan
    assert "by a later run of Guard" not in plan


async def test_the_redo_of_a_checkpoint_calls_its_moments_by_what_they_are(small_world: World) -> None:
    world, one = small_world, next(iter(small_world.contacts))
    told = await checkpoint(world, [one])
    await native(world, "PUT", f"/contacts/{one}", {"city": "Nowhere"})
    await seal(world, told)
    report = await world.revert(told)

    redo = await shown(world, "GET", path_of(report["revert_url"]))
    again = await world.revert(report)

    assert "Before taking back After it Now" in redo
    assert (again["status"], world.contacts[one]["city"]) == ("reverted", "Nowhere")


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("being_taken", "a checkpoint of 3 records (being taken)"),
        ("given_up", "a checkpoint of 3 records (given up without a seal)"),
        ("sealed", "1 of 3 records changed between checkpoint and seal; 1 could not be read at the seal"),
    ],
)
def test_every_stage_of_a_checkpoint_has_its_words(stage: str, said: str) -> None:
    numbers = {"records_total": 3, "records_applied": 1, "records_in_doubt": 1}
    told = {"action": "checkpoint", "checkpoint": stage, "records_implied": 0, "records_failed": 0, **numbers}
    assert deed(told) == said
