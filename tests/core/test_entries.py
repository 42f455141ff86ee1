from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.entries import GENESIS, check_chain, decode, encode, pack, unpack
from guard.core.errors import Corrupt
from guard.core.ids import new_run_id

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = new_run_id(AT)

lines = st.lists(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20)),
        max_size=4,
    ),
    max_size=20,
)


def entry(n: int = 0, prev: str = GENESIS) -> bytes:
    return encode(RUN, n, prev, AT, "writer-1", [{"e": "opened"}])[1]


def test_an_entry_comes_back_as_it_was_written() -> None:
    digest, data = encode(RUN, 3, "f" * 64, AT, "writer-1", [{"e": "closing"}])

    found = decode(RUN, 3, data)

    assert (found.digest, found.prev, found.at, found.events) == (digest, "f" * 64, AT, [{"e": "closing"}])


@given(st.data())
def test_no_flipped_bit_goes_unnoticed(data: st.DataObject) -> None:
    stored = bytearray(entry())
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Corrupt):
        decode(RUN, 0, bytes(stored))


@pytest.mark.parametrize("cut", [0, 1, 10, 80, -1])
def test_a_cut_entry_is_damaged(cut: int) -> None:
    with pytest.raises(Corrupt):
        decode(RUN, 0, entry()[:cut])


def test_an_entry_of_another_run_or_number_is_foreign() -> None:
    other = new_run_id(AT)

    with pytest.raises(Corrupt, match="belongs to"):
        decode(other, 0, entry())
    with pytest.raises(Corrupt, match="belongs to"):
        decode(RUN, 1, entry())


def test_an_entry_of_a_newer_version_is_refused_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.core.entries.VERSION", 2)
    newer = entry()
    monkeypatch.undo()

    with pytest.raises(Corrupt, match="another version of Guard"):
        decode(RUN, 0, newer)


def test_an_entry_that_does_not_follow_its_predecessor_breaks_the_chain() -> None:
    with pytest.raises(Corrupt, match="does not follow"):
        check_chain(decode(RUN, 1, entry(1, "a" * 64)), "b" * 64)


@given(lines)
def test_lines_come_back_as_they_were_packed(given_lines: list[dict[str, Any]]) -> None:
    packed = pack(given_lines)

    assert unpack(RUN, packed.reference, packed.data) == given_lines


def test_large_lines_become_an_object_named_by_its_digest() -> None:
    import random  # noqa: PLC0415 - incompressible text

    noise = [{"t": random.Random(n).randbytes(200).hex()} for n in range(400)]  # noqa: S311
    packed = pack(noise)

    assert packed.reference == {"object": packed.digest}
    assert packed.data is not None
    assert unpack(RUN, packed.reference, packed.data) == noise


def test_a_damaged_or_swapped_image_is_noticed() -> None:
    packed = pack([{"id": "1"}])
    other = pack([{"id": "2"}])

    with pytest.raises(Corrupt):
        unpack(RUN, {**packed.reference, "inline": other.reference["inline"]}, None)
    with pytest.raises(Corrupt):
        unpack(RUN, {"object": packed.digest}, b"something else")
