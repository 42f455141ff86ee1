"""I7: link scanners and chat previews open every address. GET, HEAD and OPTIONS change nothing, whatever they carry."""

from typing import Any

import pytest
from starlette.routing import Route

from tests.web.doors import all_ended, nothing_happens, updates
from tests.world import World

FIRST = "80odnXVE9BAcgXuiNEr1"
QUERIES = ["", "dry_run=false", "on_conflict=force", f"ids={FIRST}", "_method=POST", "method=DELETE", "now=true"]


def routes(world: World) -> list[str]:
    """Every address of the application, so that one that is added is tested, too."""
    return [route.path for route in world.app.routes if isinstance(route, Route)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_a_safe_method_changes_nothing_on_any_route(small_world: World, method: str, accept: str) -> None:
    told = await small_world.operate("update", updates(small_world))
    await all_ended(small_world)
    given = {
        "{target}": "crm",
        "{path:path}": f"contacts/{FIRST}",
        "{name}": "contact-update",
        "{run}": told["id"],
        "{subscription}": "sub_" + 24 * "0",
        "{token}": told["revert_url"].rpartition("/")[2],
    }
    headers = {"accept": accept, "x-http-method-override": "POST", "guard-run-key": "k", "prefer": "wait=0"}
    with nothing_happens(small_world):
        for path in routes(small_world):
            for name, value in given.items():
                path = path.replace(name, value)  # noqa: PLW2901 - filled in one name after the other
            assert "{" not in path
            for query in QUERIES:
                reply: Any = await small_world.http.request(method, f"{path}?{query}", headers=headers)
                assert reply.status_code < 500, (path, query, reply.text)
        await all_ended(small_world)


async def test_a_body_does_not_make_a_get_a_write(small_world: World) -> None:
    told = await small_world.operate("update", updates(small_world))
    token = told["revert_url"].rpartition("/")[2]
    with nothing_happens(small_world):
        for path in (f"/revert/{token}", f"/to/crm/contacts/{FIRST}", "/v1/operations"):
            await small_world.http.request("GET", path, json={"on_conflict": "force", "firstName": "Eve"})
