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


async def test_a_journal_that_has_lost_its_end_is_found(small_world: World, run: str, tmp_path: Path) -> None:
    entries = sorted(file for file in path(tmp_path, f"runs/{run}").iterdir() if file.is_file())
    whole = {file: file.read_bytes() for file in entries}
    for kept in range(2, len(entries)):
        for file in entries[kept:]:
            file.unlink()
        assert [(finding.run, finding.damage) for finding in await findings(small_world)] == [(run, True)], kept
        for file, content in whole.items():
            file.write_bytes(content)


async def test_a_journal_that_has_lost_the_end_of_a_revert_is_found(
    small_world: World, run: str, tmp_path: Path
) -> None:
    await small_world.revert({"revert_url": small_world.guard.revert_url(await small_world.guard.journals.state(run))})
    *_, last = sorted(file for file in path(tmp_path, f"runs/{run}").iterdir() if file.is_file())
    last.unlink()

    assert [(finding.run, finding.damage) for finding in await findings(small_world)] == [(run, True)]


async def test_a_run_that_goes_on_is_no_damage(small_world: World) -> None:
    await small_world.fault(kind="hang", seconds=60, match={"method": "PUT"})
    id_ = next(iter(small_world.contacts))
    records = [{"id": id_, "fields": {"city": "Rome"}}]
    await small_world.operate("update", records, status=202, headers={"prefer": "wait=1"})

    assert [(finding.damage, "has not ended" in finding.detail) for finding in await findings(small_world)][:1] == [
        (False, True)
    ]

    small_world.sandbox.release()
    await small_world.settle()


@pytest.mark.parametrize("part", ["", "0*"], ids=["all of it", "its entries"])
async def test_a_journal_that_is_gone_is_found(small_world: World, run: str, tmp_path: Path, part: str) -> None:
    for file in path(tmp_path, f"runs/{run}").glob(part or "**/*"):
        file.unlink()
    assert [(finding.run, finding.damage) for finding in await findings(small_world)] == [(run, True)]


@pytest.mark.parametrize("key", ["images/abc", "00000009x", "index/zz", "open/zz"])
async def test_what_is_nobodys_is_found(small_world: World, run: str, tmp_path: Path, key: str) -> None:
    foreign = path(tmp_path, key if "/z" in key else f"runs/{run}/{key}")
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("?")

    assert [finding.damage for finding in await findings(small_world)] == [True]


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
