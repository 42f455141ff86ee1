"""`guard verify` finds what is not as it was stored."""

from pathlib import Path

import pytest

from guard.core.entries import entry_key
from guard.flows.verify import Finding, verify_all
from tests.world import World


async def findings(world: World) -> list[Finding]:
    return [finding async for finding in verify_all(world.guard.journals)]


@pytest.fixture
async def run(small_world: World) -> str:
    """A run with two operations' worth of entries, its store whole."""
    records = [{"id": id_, "fields": {"firstName": "Oops"}} for id_ in small_world.contacts]
    answer = await small_world.operate("update", records)
    await small_world.settle()
    return str(answer["id"])


def path(tmp_path: Path, key: str) -> Path:
    return tmp_path / "store" / key


async def test_a_whole_store_has_nothing_to_find(small_world: World, run: str) -> None:
    assert await findings(small_world) == []


async def test_a_flipped_bit_anywhere_in_an_entry_is_found(small_world: World, run: str, tmp_path: Path) -> None:
    file = path(tmp_path, entry_key(run, 1))
    whole = file.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert [finding.damage for finding in await findings(small_world)] == [True]
    file.write_bytes(whole)
    assert await findings(small_world) == []


async def test_a_gap_is_found(small_world: World, run: str, tmp_path: Path) -> None:
    path(tmp_path, entry_key(run, 1)).unlink()

    assert any("entry 1 is missing" in finding.detail for finding in await findings(small_world))


async def test_an_entry_of_another_run_is_found(small_world: World, run: str, tmp_path: Path) -> None:
    id_ = next(iter(small_world.contacts))
    other = await small_world.operate("update", [{"id": id_, "fields": {"city": "X"}}])
    await small_world.settle()
    foreign = path(tmp_path, entry_key(other["id"], 1)).read_bytes()
    path(tmp_path, entry_key(run, 1)).write_bytes(foreign)

    assert any(finding.damage and "belongs to" in finding.detail for finding in await findings(small_world))


async def test_a_foreign_object_is_found(small_world: World, run: str, tmp_path: Path) -> None:
    path(tmp_path, f"runs/{run}/notes").write_text("?")

    assert any("foreign object" in finding.detail for finding in await findings(small_world))


async def test_a_missing_or_damaged_image_is_found(small_world: World, tmp_path: Path) -> None:
    noise = [chr(0x4E00 + (n * 7919) % 20000) for n in range(12000)]
    records = [
        {"id": id_, "fields": {"address1": "".join(noise[n * 600 : (n + 1) * 600])}}
        for n, id_ in enumerate(small_world.contacts)
    ]
    answer = await small_world.operate("update", records)
    await small_world.settle()
    (image, *_) = sorted(path(tmp_path, f"runs/{answer['id']}/images").iterdir())
    whole = image.read_bytes()

    image.write_bytes(whole[:-1] + b"?")
    assert any("is damaged" in finding.detail for finding in await findings(small_world))
    image.unlink()
    assert any("is missing" in finding.detail for finding in await findings(small_world))


async def test_a_revert_refuses_to_work_on_a_damaged_journal(small_world: World, run: str, tmp_path: Path) -> None:
    answer = {"revert_url": small_world.guard.revert_url(await small_world.guard.journals.state(run))}
    small_world.guard.journals._journals.clear()
    path(tmp_path, entry_key(run, 1)).unlink()
    before = small_world.seen()

    problem = await small_world.revert(answer, status=500)

    assert problem["code"] == "corrupt"
    assert small_world.seen() == before
