"""GET /v1/targets: what a key opens."""

from tests.web.doors import assert_problem
from tests.world import OTHER_KEY, World


async def test_a_key_sees_its_targets_with_their_object_types_and_actions(small_world: World) -> None:
    (crm,) = (await small_world.http.get("/v1/targets")).json()["targets"]
    assert (crm["id"], crm["handler"]) == ("crm", "highlevel")
    assert crm["resources"] == ["contacts", "opportunities"]
    assert {"create", "update", "upsert", "delete", "tags.add"} <= set(crm["actions"])


async def test_a_key_sees_no_others_targets(small_world: World) -> None:
    reply = await small_world.http.get("/v1/targets", headers={"guard-key": OTHER_KEY})
    assert [each["id"] for each in reply.json()["targets"]] == ["other"]
    assert_problem(await small_world.http.get("/v1/targets", headers={"guard-key": "no"}), "unauthenticated")
