from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom_engine.lettering import clip, font, plain, wrap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Band 'B99' does not exist", "Band 'B99' does not exist"),
        ("a\n b\t\tc\x00\x1b[31m", "a b c [31m"),
        ("Zürich, Łódź, Straße, São Paulo", "Zurich, Lodz, Strasse, Sao Paulo"),
        ("3 × 4 ≤ 12 µm², 20 °C", "3 x 4 <= 12 um2, 20 °C"),
        ("日本語 text", "? text"),
        ("left\u202eright\u200b", "leftright"),
        ("", ""),
    ],
)
def test_text_is_spelled_with_what_the_font_has(text: str, expected: str) -> None:
    assert plain(text) == expected


@given(st.text(max_size=300))
def test_any_text_becomes_harmless(text: str) -> None:
    made = plain(text, 100)
    assert len(made) <= 100
    missing = font(12).getmask("\ue000")
    for sign in set(made):
        assert unicodedata.category(sign)[0] != "C"
        assert sign == " " or bytes(font(12).getmask(sign)) != bytes(missing)


def test_long_text_ends_with_an_ellipsis() -> None:
    assert plain("x" * 50, 10) == "x" * 9 + "…"


@settings(deadline=None)
@given(st.text(st.sampled_from("abcW .-/1"), max_size=200), st.integers(20, 300), st.integers(1, 6))
def test_lines_fit_and_lose_nothing_silently(text: str, width: int, lines: int) -> None:
    text = plain(text)
    lettering = font(12)
    made = wrap(text, lettering, width, lines)
    assert len(made) <= lines
    assert all(lettering.getlength(line) <= width for line in made)
    whole = "".join(made).replace(" ", "") == text.replace(" ", "")
    assert whole or made[-1].endswith("…")


def test_clip() -> None:
    lettering = font(12)
    assert clip("short", lettering, 200) == "short"
    cut = clip("a rather long text", lettering, 60)
    assert cut.endswith("…")
    assert lettering.getlength(cut) <= 60
