"""`guard scenarios check`: one run over a folder of good files and bad ones; each mistake with its file and line."""

import os
from pathlib import Path

import pytest
import pytest_asyncio

from scenarios.sandboxes.highlevel_seed import LOCATION_ID
from tests.conftest import known_in_environment
from tests.servers import free_port
from tests.test_cli import Done, run
from tests.web.doors import nothing_happens
from tests.web.hooking import BY_KEY, SECRET, write
from tests.web.serving import SETTINGS
from tests.world import PUBLIC_URL, World, world

FIRST = "80odnXVE9BAcgXuiNEr1"
SAMPLE = f'{{"people": [\n {{"who": "{FIRST}", "first": "Eve", "home": {{"city": "Rome"}}}},\n {{"who": 5}}]}}'
WITH_SAMPLE = 'sample = "sample.json"\n' + BY_KEY
INLINE = '[[sample.people]]\nwho = "' + FIRST + '"\nhome = { city = "Rome" }\n'

FILES = {
    "good": BY_KEY + INLINE,
    "nosample": BY_KEY,
    "signed": 'secrets = [{ env = "GUARD_T_HOOK" }]\nclient = "tests"\nrun_key = "\'x\'"\n' + BY_KEY + INLINE,
    "deletes": BY_KEY.replace('"update"', '"delete"').partition("[record.fields]")[0] + INLINE,
    "accepts": "accept_irreversible = true\n"
    + BY_KEY.replace('"update"', '"delete"').partition("[record.fields]")[0]
    + INLINE,
    "toml": BY_KEY + "x =\n",
    "expression": BY_KEY.replace('"people"', '"people["'),
    "target": BY_KEY.replace('"crm"', '"erp"'),
    "resource": BY_KEY.replace('"contacts"', '"contcats"') + INLINE,
    "resource-without-sample": BY_KEY.replace('"contacts"', '"contcats"'),
    "action": BY_KEY.replace('"update"', '"updat"') + INLINE,
    "field": BY_KEY.replace("city =", "ctiy =") + INLINE,
    "mapping": BY_KEY.replace('"who"', '"whom"') + INLINE,
    "second": WITH_SAMPLE,
    "lost": WITH_SAMPLE.replace("sample.json", "lost.json"),
    "path": WITH_SAMPLE.replace("sample.json", "../guard.toml"),
    "broken": WITH_SAMPLE.replace("sample.json", "broken.json"),
    "database": BY_KEY.replace('"crm"', '"db"') + INLINE,
}
TOLD = {
    "deletes": "3: action: every call will be refused, for it cannot be taken back whole: ",
    "toml": "10: this is not TOML",
    "expression": "4: records: not JMESPath: character 8 of 'people['",
    "target": "1: target: the settings have no target 'erp'; they have crm",
    "resource": "2: resource: ",
    "resource-without-sample": "2: resource: ",
    "action": "3: action: ",
    "field": "5: record: Record 1: contacts has no writable field",
    "mapping": "6: record.id: Record 1: record.id, the expression 'whom', finds nothing",
    "second": "8: record.fields: Record 2: no expression of [record.fields] finds anything",
    "lost": "1: sample: the file lost.json cannot be read (No such file or directory)",
    "path": "1: sample: it must be the name of a file in the same folder",
}
GOOD = {
    "good": [
        f"POST {PUBLIC_URL}/hooks/good, with the key of any client that may use crm",
        "Its sample: update 1 of contacts in crm.",
        f'The first record: {{"id":"{FIRST}","fields":{{"city":"Rome"}}}}',
        "It can be taken back whole.",
    ],
    "nosample": ["It has no sample, so only the file was checked, not what it makes of a payload."],
    "signed": [f"POST {PUBLIC_URL}/hooks/signed, signed with one of its secrets", "The run key: x"],
    "accepts": ["It cannot be taken back whole, which is accepted: "],
    "database": ["The target could not be asked, so its fields were not checked: "],
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def checked(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("check")
    nobody = f"postgresql://guard@127.0.0.1:{free_port()}/none"
    async with world(folder) as there:
        with known_in_environment({"GUARD_T_HOOK": SECRET, "GUARD_T_DB": nobody}):
            settle(folder, there)
            for name, text in FILES.items():
                write(folder / "hooks", name, text)
            (folder / "hooks" / "sample.json").write_text(SAMPLE)
            (folder / "hooks" / "broken.json").write_text('{"people": [\n{"who": \n')
            with nothing_happens(there):
                return await run(folder, "scenarios", "check")


def settle(folder: Path, there: World) -> None:
    tables = f"""
[store]
url = "file:{folder}/store"
[scenarios]
folder = "hooks"
[targets.db]
handler = "postgresql"
credential = {{ env = "GUARD_T_DB" }}
"""
    text = SETTINGS.format(url=PUBLIC_URL, tables=tables, sandbox=there.sandbox_url, location=LOCATION_ID)
    (folder / "guard.toml").write_text(text)


def lines_of(done: Done, name: str) -> list[str]:
    """What is printed below a file's name."""
    _, found, rest = done.out.partition(f"hooks{os.sep}{name}.toml: ")
    assert found, done
    below = rest.split("\n")[1:]
    return [line[2:] for line in below[: next(i for i, line in enumerate(below) if not line.startswith("  "))]]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", TOLD)
async def test_a_mistake_is_told_with_file_and_line(checked: Done, name: str) -> None:
    (found,) = [line for line in lines_of(checked, name) if line.startswith("hooks/")]
    assert found.startswith(f"hooks/{name}.toml:{TOLD[name]}"), found


async def test_a_sample_that_is_no_json_is_told_with_its_own_line(checked: Done) -> None:
    (found,) = [line for line in lines_of(checked, "broken") if line.startswith("hooks/")]
    assert found.startswith("hooks/broken.json:3: this is not JSON"), found


@pytest.mark.parametrize("name", GOOD)
async def test_of_a_good_file_it_is_told_what_the_operation_would_be(checked: Done, name: str) -> None:
    told = lines_of(checked, name)
    assert [line for line in told if line.startswith("hooks/")] == []
    for line in GOOD[name]:
        assert any(each.startswith(line) for each in told), told


async def test_mistakes_make_the_exit_status_1_and_are_counted(checked: Done) -> None:
    assert (checked.status, checked.err) == (1, "")
    wrong = len(FILES) - len(GOOD)
    summary = f"{len(FILES)} scenario files (*.toml), {wrong} with mistakes. Nothing was written."
    assert checked.out.rstrip().endswith(summary)


async def test_good_files_make_it_0_no_files_1_and_no_folder_2(tmp_path: Path, small_world: World) -> None:
    text = SETTINGS.format(url=PUBLIC_URL, tables="", sandbox=small_world.sandbox_url, location=LOCATION_ID)
    (tmp_path / "guard.toml").write_text(text)
    write(tmp_path / "some", "good", FILES["good"])
    (tmp_path / "empty").mkdir()
    told = [await run(tmp_path, "scenarios", "check", *named) for named in (["some"], ["empty"], [])]
    assert [each.status for each in told] == [0, 1, 2]
    assert "scenarios.folder is not set" in told[2].err
