"""Mistakes in scenario files are told with their lines, all at once, and without any secret."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.hooks.model import Hook
from guard.hooks.places import places
from guard.hooks.reading import Known, Mistake, Unusable, read
from tests.hooks.test_folder import KNOWN
from tests.web.hooking import BY_KEY
from tests.world import settings as settings_of


def mistakes(text: str | bytes, known: Known = KNOWN) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(Unusable) as refused:
        read("one.toml", content, known)
    return [str(each) for each in refused.value.mistakes]


HEAD = 'target = "crm"\nresource = "contacts"\naction = "update"\n'
ONE: dict[str, tuple[str | bytes, str]] = {
    "no TOML": (HEAD + "records = people", "one.toml:4: this is not TOML"),
    "a text that is not closed": (HEAD + 'records = "people', "one.toml:4: this is not TOML"),
    "a member twice": (HEAD + 'records = "a"\naction = "x"', "one.toml:5: this is not TOML"),
    "not UTF-8": (HEAD.encode() + "# ä".encode("latin-1"), "one.toml:4: this is not UTF-8"),
    "nested too deep": ("x = " + "[" * 5000, "one.toml:1: "),
    "a path without end": ("a" + ".a" * 3000 + " = 1", "one.toml:1: "),
    "a number without end": ("x = " + "9" * 5000, "one.toml:1: a number in it is too long"),
    "too long": ("#" * 70_000, "one.toml:1: a scenario file has 64 KiB"),
    "no records": (HEAD, "one.toml:1: records: it is missing"),
    "an unknown member": (
        BY_KEY + "[colour]\nred = 1\n",
        "one.toml:10: colour: this is not known here",
    ),
    "a member in the wrong table": (
        BY_KEY.replace("[record]", "[record]\nnote = 'x'"),
        "one.toml:6: record.note: a record to update has fields and id only",
    ),
    "an expression": (BY_KEY.replace("home.city", "home.city["), "one.toml:9: record.fields.city: not JMESPath"),
    "a function": (BY_KEY.replace('"who"', '"id(who)"'), "one.toml:6: record.id: there is no function id()"),
    "a number for an expression": (BY_KEY.replace('"who"', "5"), "one.toml:6: record.id: it must be a JMESPath"),
    "a text for a table": (BY_KEY.partition("[record]")[0] + 'record = "x"', "one.toml:5: record: it must be a table"),
    "a limit of nothing": ("records_max = 0\n" + BY_KEY, "one.toml:1: records_max: Input should be greater"),
    "an unknown target": (BY_KEY.replace('"crm"', '"erp"'), "one.toml:1: target: the settings have no target 'erp'"),
    "an unknown client": ('client = "n8n"\n' + BY_KEY, "one.toml:1: client: the settings have no client 'n8n'"),
    "a client without it": ('client = "zap"\n' + BY_KEY, "one.toml:1: client: the client zap may not use the target"),
    "nobody to tell": (
        'tell = ["sales", "boss"]\n' + BY_KEY,
        "one.toml:1: tell: the settings have nobody",
    ),
    "a secret in the file": ('secrets = ["s3cr3t-s3cr3t-s3cr3t"]\n' + BY_KEY, "one.toml:1: secrets.0: name where"),
    "a secret that is none": ('secrets = [{ env = "HOME" }]\n' + BY_KEY, "one.toml:1: secrets: a secret must have"),
    "what stands in both": (
        BY_KEY + '[shared.fields]\ncity = "x"',
        "one.toml:11: shared.fields.city: [record] has",
    ),
    "shared alone": (
        BY_KEY.partition("[record]")[0] + '[shared]\nid = "x"',
        "one.toml:5: shared: it needs a [record]",
    ),
    "after a text of many lines": (
        'about = """\n[record]\nx = 1\n"""\ntell = [\n  "sales",\n]\n' + BY_KEY.replace('"who"', '"who["'),
        "one.toml:13: record.id: not JMESPath",
    ),
}


@pytest.mark.parametrize("name", ONE)
def test_a_mistake_is_told_with_its_line_and_member(name: str) -> None:
    text, told = ONE[name]
    (found,) = mistakes(text)
    assert found.startswith(told)
    assert "s3cr3t" not in found


def test_all_mistakes_of_a_file_are_told_in_the_order_of_their_lines() -> None:
    text = BY_KEY.replace('"people"', '"people["').replace('"first"', '"first("') + "[nope]\n"
    assert [found.split(": ")[0] for found in mistakes(text)] == ["one.toml:4", "one.toml:8", "one.toml:10"]


def test_who_is_told_is_looked_up_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TEST_CHAT", "https://chat.example.com/hook")
    place = {"name": "team", "kind": "slack", "url": {"env": "GUARD_TEST_CHAT"}}
    known = Known.of(settings_of("file:store", "https://sandbox.example.com", notify=[place]))
    assert read("one.toml", f'tell = ["team"]\n{BY_KEY}'.encode(), known).tell == ["team"]
    with pytest.raises(Unusable, match="nobody called 'boss' to tell; they have team"):
        read("one.toml", f'tell = ["boss"]\n{BY_KEY}'.encode(), known)


def test_windows_lines_and_a_byte_order_mark_are_read() -> None:
    content = b"\xef\xbb\xbf" + BY_KEY.replace("\n", "\r\n").encode()
    assert isinstance(read("one.toml", content, KNOWN), Hook)


def test_a_file_of_only_a_comment_and_an_empty_one_miss_what_is_needed() -> None:
    for text in ("", "# nothing\n\n"):
        assert len(mistakes(text)) == 4


def test_every_member_has_its_line_however_it_is_written() -> None:
    text = (
        "a.b = 1\n\n[c]\nd = {e = 2, f = {g = 3}}\n[[h]]\ni = 1\n[h.j]\nk = [\n 1,\n]\nl = '''\nm = 1\n'''\n'n o' = 1\n"
    )
    lines = {".".join(path): line for path, line in places(text).items()}
    assert lines["a.b"] == 1
    assert (lines["c"], lines["c.d"], lines["c.d.e"], lines["c.d.f.g"]) == (3, 4, 4, 4)
    assert (lines["h"], lines["h.i"], lines["h.j"], lines["h.j.k"]) == (5, 6, 7, 8)
    assert (lines["h.j.l"], lines["h.j.n o"]) == (11, 14)
    assert "h.j.m" not in lines


ODD = st.text(max_size=10) | st.sampled_from(['"""', "'", "[", "`{", "[?", "&"])


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(BY_KEY)), st.integers(0, 20), ODD)
def test_a_file_with_anything_in_it_is_a_hook_or_has_mistakes(start: int, length: int, put: str) -> None:
    text = BY_KEY[:start] + put + BY_KEY[start + length :]
    mistakes: list[Mistake] = []
    try:
        read("one.toml", text.encode("utf-8", "replace"), KNOWN)
    except Unusable as unusable:
        mistakes = unusable.mistakes
    assert all(1 <= each.line <= text.count("\n") + 1 for each in mistakes)
