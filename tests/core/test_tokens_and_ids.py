from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.errors import CODES, Refused
from guard.core.ids import derived_run_id, index_after, index_key, indexed, is_run_id, new_run_id
from guard.core.tokens import sign, verify

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = new_run_id(NOW)
KEY, OLD_KEY = b"first-key", b"second-key"
TOKEN = sign(RUN, NOW + timedelta(days=30), KEY)


def refused(token: str, now: datetime = NOW) -> str:
    with pytest.raises(Refused) as caught:
        verify(token, [KEY], now)
    return caught.value.code


def test_a_token_names_its_run() -> None:
    assert verify(TOKEN, [KEY], NOW) == RUN


def test_the_same_run_gets_the_same_token() -> None:
    assert sign(RUN, NOW + timedelta(days=30), KEY) == TOKEN


def test_a_token_of_a_key_that_was_rotated_still_works_while_the_key_is_listed() -> None:
    old = sign(RUN, NOW + timedelta(days=1), OLD_KEY)

    assert verify(old, [KEY, OLD_KEY], NOW) == RUN
    assert refused(old) == "invalid_token"


def test_a_token_expires() -> None:
    assert refused(TOKEN, NOW + timedelta(days=30)) == "expired_token"


def test_an_expiry_cannot_be_moved() -> None:
    run, _, mac = TOKEN.split(".")

    assert refused(f"{run}.ffffffff.{mac}") == "invalid_token"


@given(st.integers(0, len(TOKEN) - 1), st.characters(min_codepoint=33, max_codepoint=0x2FF))
def test_no_other_character_anywhere_makes_a_token(at: int, char: str) -> None:
    changed = TOKEN[:at] + char + TOKEN[at + 1 :]

    if changed != TOKEN:
        assert refused(changed) == "invalid_token"


@given(st.text(max_size=120))
def test_no_text_is_ever_more_than_invalid(text: str) -> None:
    assert refused(text) == "invalid_token"


@given(st.integers(1, len(TOKEN) - 1))
def test_a_cut_token_is_invalid(length: int) -> None:
    assert refused(TOKEN[:length]) == "invalid_token"


def test_run_ids_sort_by_time() -> None:
    ids = [new_run_id(NOW + timedelta(milliseconds=step)) for step in range(50)]

    assert ids == sorted(ids)
    assert all(is_run_id(run) for run in ids)


def test_a_derived_run_id_depends_on_every_part_and_on_where_it_ends() -> None:
    assert derived_run_id("a", "bc") == derived_run_id("a", "bc")
    assert derived_run_id("a", "bc") != derived_run_id("ab", "c")
    assert is_run_id(derived_run_id("a"))


def test_the_index_lists_the_newest_first_and_from_any_time_back() -> None:
    times = [NOW + timedelta(seconds=step) for step in range(5)]
    keys = sorted(index_key(at, new_run_id(at)) for at in times)

    assert [indexed(key)[0] for key in keys] == times[::-1]
    after = index_after(times[2])
    assert [indexed(key)[0] for key in keys if key > after] == [times[2], times[1], times[0]]


def test_every_error_code_has_a_status_and_a_title() -> None:
    assert all(400 <= code.status < 600 and code.title for code in CODES.values())
