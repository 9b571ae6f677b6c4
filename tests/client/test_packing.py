"""Columns of numbers and texts as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.errors import CorruptChain
from geoloom.packing import pack_marks, pack_numbers, pack_texts, unpack_marks, unpack_numbers, unpack_texts


@given(st.lists(st.integers(-(2**58), 2**58)))
def test_numbers_come_back(numbers: list[int]) -> None:
    text = pack_numbers(numbers)
    assert unpack_numbers(text, len(numbers)).tolist() == numbers
    assert json.loads(json.dumps(text)) == text


@given(st.lists(st.integers(-100, 100), min_size=1), st.text(max_size=8))
def test_other_texts_are_refused_or_written_so(numbers: list[int], text: str) -> None:
    """Whatever is read is what would be written."""
    try:
        found = unpack_numbers(text, len(numbers))
    except CorruptChain:
        return
    assert pack_numbers(found) == text


@given(
    st.lists(
        st.one_of(st.text(max_size=6), st.from_regex(r"S2[AB]_[0-9]{8}_T[0-9]{2}[A-Z]{3}", fullmatch=True))
    )
)
def test_texts_come_back(texts: list[str]) -> None:
    packed = pack_texts(texts)
    assert unpack_texts(json.loads(json.dumps(packed)), len(texts)) == texts


@given(st.lists(st.from_regex(r"[0-9a-f]{10}", fullmatch=True)))
def test_marks_come_back(marks: list[str]) -> None:
    assert unpack_marks(pack_marks(marks), len(marks)) == "".join(marks)


@pytest.mark.parametrize("text", ["", "c", "x!", "u~", 'u"', "cé", "z!!", None, 3])
def test_malformed_numbers_are_refused(text: object) -> None:
    with pytest.raises(CorruptChain):
        unpack_numbers(text, 1)


@given(
    st.lists(
        st.sampled_from(["a1", "a2", "a10", "b07", "1", "22", "", "é3x", "7" * 20]), min_size=1, max_size=6
    ),
    st.data(),
)
def test_only_what_would_be_written_is_read(texts: list[str], data: st.DataObject) -> None:
    """A change anywhere in the packed form is refused, or is the packed form of other texts."""
    packed = json.dumps(pack_texts(texts))
    place = data.draw(st.integers(0, len(packed) - 1))
    other = data.draw(st.sampled_from('0123abc"[],!#$%~'))
    try:
        changed = json.loads(packed[:place] + other + packed[place + 1 :])
    except ValueError:
        return
    try:
        found = unpack_texts(changed, len(texts))
    except CorruptChain:
        return
    assert pack_texts(found) == changed


def test_texts_of_one_kind_take_little() -> None:
    ids = [
        f"S2A_2016{n % 12 + 1:02d}{n % 28 + 1:02d}_T{n % 60:02d}ABC_{n * 7919 % 1_000_000:06d}"
        for n in range(1000)
    ]
    assert len(json.dumps(pack_texts(ids))) < 10 * len(ids)
