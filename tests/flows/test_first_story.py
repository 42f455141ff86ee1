from tests.world import World


async def test_a_bulk_update_is_taken_back_whole(small_world: World) -> None:
    world = small_world
    before = world.seen()
    records = [{"id": id_, "fields": {"firstName": "Oops", "tags": ["ruined"]}} for id_ in world.contacts]

    answer = await world.operate("update", records)
    assert world.seen() != before
    report = await world.revert(answer)

    assert (report["status"], report["records_restored"]) == ("reverted", 20)
    assert world.seen() == before
