"""`[[notify]]`: places are told of ends that need somebody: once, in numbers, whoever died in between."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from guard.core.limits import CALLS_MAX
from guard.flows.guard import Guard
from guard.flows.messages import plain
from guard.flows.operation import Asked, identify
from guard.flows.protect import Records, protect
from guard.flows.recover import Recovery
from guard.target.callbacks import sign
from tests.flows.copies import LONG, Clock, calling, copy_of_guard, swept, until_it_dies
from tests.flows.fuse import Fuse
from tests.servers import application
from tests.target.test_callbacks import SECRET
from tests.web.brackets import checkpoint, native, seal
from tests.web.doors import objects
from tests.world import PUBLIC_URL, World, settings, world

CALLBACKS = {"secret": {"env": "GUARD_TEST_CALLBACK_SECRET"}, "allow": ["127.0.0.0/8"]}
PATH = "/services/T0/B0/a-secret-path"
CANARY = "canary-of-a-record"


class Place:
    """Keeps what it was told; answers with `status`, once `open` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.told: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.url = ""

    async def hook(self, request: Request) -> Response:
        self.told.append((dict(request.headers), orjson.loads(await request.body())))
        await asyncio.to_thread(self.open.wait, 20)
        return RedirectResponse(PATH, 307) if self.status == 307 else Response("ok", self.status)

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, body in self.told]


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    with application(Starlette(routes=[Route(PATH, made.hook, methods=["POST"])])) as url:
        made.url = f"{url}{PATH}"
        yield made
        made.open.set()


def notify(folder: Path, place: Place, **members: Any) -> dict[str, Any]:
    (folder / "url").write_text(place.url)
    return {"name": "team", "kind": "slack", "url": {"file": str(folder / "url")}, **members}


@asynccontextmanager
async def telling(folder: Path, place: Place, **members: Any) -> AsyncIterator[World]:
    async with world(folder, callbacks=CALLBACKS, notify=[notify(folder, place, **members)]) as made:
        yield made


async def partial(there: World, **members: Any) -> dict[str, Any]:
    """An operation that ends in part: two of three records are written."""
    ids = [*list(there.contacts)[:2], "doesNotExist00000000"]
    records = [{"id": id_, "fields": {"companyName": CANARY}} for id_ in ids]
    return await there.operate("update", records, **members)


async def unfinished(guard: Guard) -> list[str]:
    return [run async for run in guard.journals.unfinished()]


async def test_a_run_that_ended_in_part_is_told_in_numbers_with_both_addresses(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place) as there:
        told = await partial(there, scenario="bulk import")
        await there.settle()
        assert await unfinished(there.guard) == []
    (text,) = place.texts
    assert text.splitlines() == [
        "*Guard: The scenario “bulk import” on crm was carried out in part*",
        "Of 3 records: 2 written; 1 not written.",
        f"<{PUBLIC_URL}/runs/{told['id']}|Look at the run> · <{told['revert_url']}|Take it back>",
    ]


async def test_a_success_is_silent(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place) as there:
        await there.operate("update", [{"id": next(iter(there.contacts)), "fields": {"city": "Lisbon"}}])
        await there.settle()
        assert await unfinished(there.guard) == []
    assert place.told == []


async def test_the_end_of_a_revert_is_told_with_what_was_left_alone(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place) as there:
        one, two, *_ = there.contacts
        told = await there.operate("update", [{"id": id_, "fields": {"city": "Nowhere"}} for id_ in (one, two)])
        await there.edit("contacts", one, {"city": "Lisbon"})
        back = await there.revert(told)
        await there.settle()
        assert await unfinished(there.guard) == []
    (text,) = place.texts
    assert text.splitlines()[:2] == [
        "*Guard: A revert on crm took back a part*",
        "1 taken back; 1 left alone: changed by others since.",
    ]
    assert f"<{back['revert_url']}|Do it again>" in text


async def test_a_webhook_gets_numbers_signed_and_no_sentence_id_or_value(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place, kind="webhook") as there:
        ids = list(there.contacts)
        told = await partial(there, note=f"about {CANARY}", scenario="import")
        await there.settle()
    ((headers, body),) = place.told
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = orjson.dumps(body)
    assert headers["webhook-signature"] == sign(key, headers["webhook-id"], headers["webhook-timestamp"], content)
    assert headers["webhook-id"] == f"{told['id']}.team.1"
    assert body == {name: told[name] for name in body}
    assert not {"failures", "note", "problem", "reversible_reasons"} & set(body)
    assert (body["status"], body["records_failed"], body["revert_url"]) == ("partial", 1, told["revert_url"])
    assert [word for word in (*ids, "doesNotExist", CANARY, "companyName") if word in content.decode()] == []


async def test_no_chat_is_told_what_records_hold_or_are_called(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place) as there:
        ids = list(there.contacts)
        await there.revert(await partial(there, note=f"about {CANARY}"))
        await there.settle()
    assert len(place.texts) == 2
    text = "\n".join(place.texts)
    assert [word for word in (*ids, "doesNotExist", CANARY, "companyName") if word in text] == []


@pytest.mark.parametrize(
    ("members", "heard"),
    [
        ({"targets": ["crm"]}, 1),
        ({"targets": ["other"]}, 0),
        ({"on": ["failed", "reverted"]}, 0),
        ({"on": ["applied", "partial"]}, 1),
        ({"always": False}, 0),
    ],
    ids=str,
)
async def test_a_place_hears_of_its_targets_and_ends_only(
    tmp_path: Path, place: Place, members: dict[str, Any], heard: int
) -> None:
    async with telling(tmp_path, place, **members) as there:
        await partial(there)
        await there.settle()
        assert await unfinished(there.guard) == []
    assert len(place.told) == heard


async def asked_by_name(there: World, *names: str) -> None:
    """As a hook whose scenario file says `tell = […]`."""
    target = there.guard.target("crm")
    records = Records()
    change = {"id": "doesNotExist00000000", "fields": {"city": "x"}}
    records.add([target.change("contacts", "update", change)])
    asked = Asked(
        client="tests",
        target="crm",
        resource="contacts",
        action="update",
        door="hook",
        digest="x",
        records=1,
        tell=names,
    )
    run, op = identify(there.guard, asked)
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await protect(there.guard, replace(asked), records, run, op, begun)
    await there.settle()


async def test_a_scenario_names_places_that_are_not_told_by_default(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place, always=False) as there:
        await there.guard.target("crm").resource("contacts")
        await asked_by_name(there, "team")
        assert len(place.told) == 1


async def test_a_name_that_the_settings_do_not_have_is_dropped(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place, always=False) as there:
        await there.guard.target("crm").resource("contacts")
        await asked_by_name(there, "gone")
        assert (place.told, await unfinished(there.guard)) == ([], [])


async def test_a_receiver_that_does_not_answer_holds_up_no_answer(tmp_path: Path, place: Place) -> None:
    place.open.clear()
    async with telling(tmp_path, place) as there:
        told = await partial(there)
        back = await there.revert(told)
        assert (told["status"], back["status"]) == ("partial", "reverted")
        place.open.set()
        await there.settle()


async def test_one_that_answers_too_late_was_not_told(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.target.callbacks._TIMEOUT_S", 0.1)
    place.open.clear()
    async with telling(tmp_path, place) as there:
        told = await partial(there)
        await there.settle()
        assert await unfinished(there.guard) == [told["id"]]


async def one_sweep(recovery: Recovery) -> None:
    async for _ in recovery.sweep():
        pass


def another_copy(there: World, folder: Path, place: Place | None, clock: Clock) -> Guard:
    places = [notify(folder, place)] if place else []
    store = there.guard.settings.store.url
    return copy_of_guard(settings(store, there.sandbox_url, callbacks=CALLBACKS, notify=places), clock=clock)


@pytest.mark.parametrize("status", [500, 404, 429, 307])
async def test_what_was_not_taken_is_told_again_later_by_any_copy_and_then_no_more(
    tmp_path: Path, place: Place, status: int
) -> None:
    place.status = status
    async with telling(tmp_path, place, kind="webhook") as there:
        told = await partial(there)
        await there.settle()
        assert (len(place.told), await unfinished(there.guard)) == (1, [told["id"]])
        place.status = 200
        other = another_copy(there, tmp_path, place, Clock())
        await swept(other)
        await swept(other)
        assert (len(place.told), await unfinished(other)) == (2, [])
        await other.close()


async def test_what_is_told_late_is_how_it_ended_and_not_what_became_of_it_since(tmp_path: Path, place: Place) -> None:
    place.status = 500
    async with telling(tmp_path, place) as there:
        told = await partial(there, scenario="bulk import")
        await there.settle()
        place.status = 200
        await there.revert(told)
        await there.settle()
        other = another_copy(there, tmp_path, place, Clock())
        await swept(other)
        await other.close()
    headlines = [text.splitlines()[0] for text in place.texts[1:]]
    assert headlines == [
        "*Guard: A revert on crm took everything back*",
        "*Guard: The scenario “bulk import” on crm was carried out in part*",
    ]


async def test_a_place_that_goes_on_failing_is_given_up(tmp_path: Path, place: Place) -> None:
    place.status = 500
    async with telling(tmp_path, place) as there:
        await partial(there)
        await there.settle()
        other = another_copy(there, tmp_path, place, clock := Clock())
        for _ in range(CALLS_MAX + 2):
            clock.ahead *= 3  # the pauses double
            await swept(other)
        assert (len(place.told), await unfinished(other)) == (CALLS_MAX, [])
        await other.close()


async def test_a_place_that_was_taken_out_of_the_settings_is_dropped(tmp_path: Path, place: Place) -> None:
    place.status = 500
    async with telling(tmp_path, place) as there:
        await partial(there)
        await there.settle()
        other = another_copy(there, tmp_path, None, Clock())
        await swept(other)
        assert (len(place.told), await unfinished(other)) == (1, [])
        await other.close()


async def test_of_copies_that_look_at_once_one_tells(tmp_path: Path, place: Place) -> None:
    place.status = 500
    async with telling(tmp_path, place) as there:
        await partial(there)
        await there.settle()
        place.status = 200
        copies = [another_copy(there, tmp_path, place, Clock(LONG)) for _ in range(4)]
        await asyncio.gather(*(one_sweep(Recovery(copy)) for copy in copies))
        assert len(place.told) == 2
        for copy in copies:
            await copy.close()


async def test_a_node_with_many_items_does_not_flood_a_chat(tmp_path: Path, place: Place) -> None:
    """n8n sends each item by itself, all at once, in one run."""
    async with telling(tmp_path, place, on=["failed"]) as there:
        headers = {"guard-run-key": "execution 7"}
        sent = [
            there.operate(
                "update", [{"id": f"doesNotExist{n:08}", "fields": {"city": "x"}}], status=422, headers=headers
            )
            for n in range(30)
        ]
        await asyncio.gather(*sent)
        await there.settle()
        assert len(place.told) <= 2
        other = another_copy(there, tmp_path, place, Clock())
        await swept(other)
        assert (len(place.told) <= 3, await unfinished(other)) == (True, [])
        state = await other.journals.state((await there.http.get("/v1/runs")).json()["runs"][0]["id"])
        assert len(state.calls["team", ""].over) == 30
        await other.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_whoever_dies_at_whatever_step_the_place_is_told(quick_path: Path, place: Place, *, after: bool) -> None:
    """At least once; twice only where death came between the delivery and its being taken down."""
    async with world(quick_path, records=5) as there:

        async def life(guard: Guard) -> None:
            async with calling(guard) as http:
                records = [
                    {"id": id_, "fields": {"city": "x"}} for id_ in (next(iter(there.contacts)), "doesNotExist000")
                ]
                body = {"target": "crm", "resource": "contacts", "action": "update", "records": records}
                await http.post("/v1/operations", json=body)
                await guard.idle()

        async def told(folder: Path, fuse: Fuse) -> int:
            place.told.clear()
            there.sandbox.reset()
            places = [notify(quick_path, place, on=["partial", "failed"])]
            made = settings(f"file:{folder}", there.sandbox_url, callbacks=CALLBACKS, notify=places)
            await until_it_dies(copy_of_guard(made, fuse=fuse), fuse, life)
            other = copy_of_guard(made, clock=Clock())
            await swept(other)
            assert await unfinished(other) == []
            begun = [key async for key in other.journals.store.list("runs/")]
            await other.close()
            return len(place.told) if begun else 1

        whole = Fuse()
        assert await told(quick_path / "whole", whole) == 1
        names = [step.split("/")[0] for step in whole.steps]
        taken_down = len(names) - 1 - names[::-1].index("create runs")  # the last entry: it was delivered
        for step in range(len(whole.steps)):
            times = await told(quick_path / str(step), Fuse(step, after=after))
            assert times == (2 if step == taken_down and not after else 1), whole.steps[step]


async def test_the_address_of_a_place_is_in_no_log_and_not_in_the_store(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place) as there:
        with capture_logs() as logged:
            place.status = 500
            await partial(there)
            await there.settle()
            stored = b"".join(objects(there).values())
    assert "not_told" in {entry["event"] for entry in logged}
    assert "a-secret-path" not in str(logged)
    assert (b"a-secret-path" in stored, b'"to":"team"' in stored) == (False, True)


@pytest.mark.parametrize(
    "hostile",
    [
        "<!channel> all done",
        "<https://evil.example|Take it back>",
        "@channel @here @everyone",
        "see https://evil.example/login or evil.example",
        "[Take it back](https://evil.example)",
        "a\nb\r\n*Guard: a run came to nothing*",
        "a\u202etfel ot thgir\u2066",
        "&lt;!channel&gt;",
        "`code` *bold* _em_ ~no~ #channel",
        "x" * 10_000,
    ],
)
async def test_a_hostile_name_of_a_scenario_is_plain_text_of_one_line(
    tmp_path: Path, place: Place, hostile: str
) -> None:
    async with telling(tmp_path, place) as there:
        body = {"companyName": "x"}
        header = {
            "guard-scenario": hostile if hostile.isascii() and hostile.isprintable() and len(hostile) < 255 else "x"
        }
        first = next(iter(there.contacts))
        await there.fault(kind="status", status=400, match={"method": "PUT"})
        await there.http.put(f"/to/crm/contacts/{first}", json=body, headers=header)
        await there.settle()
    (text,) = place.texts
    said = text.splitlines()
    assert len(said) == 3
    assert text.count("<") == text.count(">") == 2  # our two links
    assert plain(hostile) in text or header["guard-scenario"] == "x"


@pytest.mark.parametrize("markup", ["<", ">", "\n", "\u202e", "@channel", "://", "evil.example", "](", "*b", "`c"])
def test_nothing_of_a_name_is_taken_for_markup(markup: str) -> None:
    made = plain(f"a {markup} b {markup}")
    assert markup not in made
    assert "\n" not in made
    assert len(plain(markup * 1000)) < 1000


def test_what_is_no_markup_stays_as_it_is() -> None:
    assert plain("Übernahme 2026, Bewerber & Co, 25%") == "Übernahme 2026, Bewerber &amp; Co, 25%"


async def test_a_seal_is_told_without_saying_who_wrote(tmp_path: Path, place: Place) -> None:
    async with telling(tmp_path, place, on=["applied"]) as there:
        ids = list(there.contacts)[:3]
        told = await checkpoint(there, ids, scenario="bulk import")
        await native(there, "PUT", f"/contacts/{ids[0]}", {"city": CANARY})
        await seal(there, told)
        await there.settle()
    (text,) = place.texts
    assert text.splitlines()[:2] == [
        "*Guard: The checkpoint of the scenario “bulk import” on crm was sealed*",
        "Of 3 records: 1 changed between checkpoint and seal; 2 unchanged.",
    ]
