"""The folder of scenario files as it changes: good, broken, good again, added, taken away, gone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from guard.hooks.folder import Folder
from guard.hooks.reading import Known
from guard.settings import SettingsError
from tests.web.hooking import BY_KEY, write

KNOWN = Known(frozenset({"crm"}), {"make": frozenset({"crm"}), "zap": frozenset()}, frozenset({"sales"}))
BROKEN = BY_KEY.replace('"people"', '"people["')


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)


async def state(folder: Folder, name: str = "one") -> str | None:
    standing = await folder.hook(name)
    return standing.state if standing else None


async def test_a_changed_file_counts_for_the_next_call_and_a_broken_one_leaves_the_good_one_in_service(
    tmp_path: Path, logged: LogCapture
) -> None:
    write(tmp_path, "one")
    folder = Folder(tmp_path, KNOWN)
    assert await state(folder) == "serving"

    write(tmp_path, "one", BROKEN)
    standing = await folder.hook("one")
    assert standing
    assert standing.hook
    assert (standing.state, standing.hook.records.text) == ("serving_older", "people")
    (mistake,) = standing.mistakes
    assert str(mistake).startswith("one.toml:4: records: not JMESPath: character 8")
    await folder.hook("one")

    write(tmp_path, "one", BY_KEY.replace('"people"', '"persons"'))
    standing = await folder.hook("one")
    assert standing
    assert standing.hook
    assert (standing.state, standing.hook.records.text) == ("serving", "persons")
    assert [entry["event"] for entry in logged.entries] == ["hook_loaded", "hook_broken", "hook_loaded"]
    assert logged.entries[1]["mistakes"] == [str(mistake)]


async def test_files_that_are_added_or_taken_away_are_noticed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, KNOWN)
    assert await state(folder) is None
    path = write(tmp_path, "one")
    assert await state(folder) == "serving"
    path.unlink()
    assert (await state(folder), await folder.all()) == (None, [])


async def test_a_file_that_was_never_good_is_broken_and_good_once_it_is(tmp_path: Path) -> None:
    write(tmp_path, "one", BROKEN)
    folder = Folder(tmp_path, KNOWN)
    assert await state(folder) == "broken"
    write(tmp_path, "one")
    assert await state(folder) == "serving"


async def test_a_secret_that_appears_later_mends_the_hook_without_a_change_of_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    write(tmp_path, "one", f'secrets = [{{ file = "{secret}" }}]\n' + BY_KEY)
    folder = Folder(tmp_path, KNOWN)
    assert [each.state for each in await folder.all()] == ["broken"]
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    assert [each.state for each in await folder.all()] == ["serving"]


async def test_a_secret_that_is_rotated_in_its_file_is_noticed(tmp_path: Path, logged: LogCapture) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    write(tmp_path, "one", f'secrets = [{{ file = "{secret}" }}]\n' + BY_KEY)
    folder = Folder(tmp_path, KNOWN)
    for _ in range(3):
        (before,) = await folder.all()
    secret.write_text("whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    (after,) = await folder.all()
    assert before.hook
    assert after.hook
    assert before.hook.signing_keys != after.hook.signing_keys
    assert [entry["event"] for entry in logged.entries] == ["hook_loaded", "hook_loaded"]
    assert "MfKQ" not in str(logged.entries)


async def test_an_edit_of_the_same_length_within_a_moment_is_noticed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, KNOWN)
    for name in ("aa", "bb", "cc", "dd"):
        write(tmp_path, "one", BY_KEY.replace('"people"', f'"{name}"'))
        standing = await folder.hook("one")
        assert standing
        assert standing.hook
        assert standing.hook.records.text == name


async def test_where_the_whole_folder_is_gone_its_hooks_stay_in_service(tmp_path: Path) -> None:
    """An unmounted disk is no decision to remove every hook."""
    inside = tmp_path / "inside"
    write(inside, "one")
    folder = Folder(inside, KNOWN)
    await folder.all()
    shutil.rmtree(inside)
    assert await state(folder) == "serving_older"
    write(inside, "one")
    assert await state(folder) == "serving"


@pytest.mark.parametrize("name", ["../one", "one.toml", "", "ONE", "one\n", "a" * 64, "sub/one", ".one", "é"])
async def test_a_name_that_is_none_opens_no_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / "sub", "one")
    write(tmp_path, "one")
    assert await state(Folder(tmp_path / "sub", KNOWN), name) is None


async def test_what_is_no_scenario_file_is_left_alone_and_a_bad_name_is_told(tmp_path: Path) -> None:
    write(tmp_path, "one")
    write(tmp_path, ".hidden", "x")
    write(tmp_path, "My Hook")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.toml").mkdir()
    told = {each.name: each for each in await Folder(tmp_path, KNOWN).all()}
    assert {name: each.state for name, each in told.items()} == {"one": "serving", "My Hook": "broken"}
    assert "small letters" in told["My Hook"].mistakes[0].message


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        Folder(tmp_path / "nowhere", KNOWN)
