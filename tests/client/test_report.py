from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from geoloom.given import Given, Result
from geoloom.grid import Tile
from geoloom.report import MOST_PICTURES, Check, Report

TILE = Tile(12, 2356, 1477)


def report(*checks: Check, bands: int = 2, output: bool = True, name: str = "B4") -> Report:
    grid = TILE.grid()
    names = tuple(f"{name}{i}" for i in range(bands))
    values = np.arange(grid.pixels, dtype=np.int32).reshape(1, *grid.shape).repeat(bands, axis=0)
    given = Given(np.pad(values, ((0, 0), (2, 2), (2, 2))), np.ones((1, 260, 260), np.bool_), names, grid, 2)
    result = Result(values[:1] / 7.0, np.ones((1, 256, 256), np.bool_)) if output else None
    return Report("stubble", TILE, checks, given, result, ("burnt",))


WELL = Check("repeated", True, "the same twice")
WRONG = Check("seams", False, "too small: try margin=3")
SKIPPED = Check("engine", None, "not looked at")


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ((WELL, SKIPPED), "all is well"),
        ((WELL, WRONG), "1 problem"),
        ((WRONG, WRONG, SKIPPED), "2 problems"),
    ],
)
def test_it_says_how_it_went_in_one_line_and_in_several(checks: tuple[Check, ...], said: str) -> None:
    found = report(*checks)
    assert found.passed == (said == "all is well")
    assert found.verdict == f"stubble on tile 12/2356/1477: {said}"
    assert repr(found) == f"<Report: {found.verdict}>"
    assert str(found).splitlines()[0] == found.verdict
    assert len(str(found).splitlines()) == 1 + len(checks)


def test_its_lines_have_signs() -> None:
    assert str(report(WELL, WRONG, SKIPPED)).splitlines()[1:] == [
        "  ✓ repeated: the same twice",
        "  ✗ seams: too small: try margin=3",
        "  – engine: not looked at",
    ]


class Seen(HTMLParser):
    """Tags, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def test_a_notebook_shows_a_picture_of_each_band_and_its_range() -> None:
    seen = Seen(report(WELL)._repr_html_())
    assert seen.tags.count("img") == 3
    assert "B40\n0 to 65,535\n" in seen.text
    assert "burnt\n0 to 9,362\n" in seen.text
    assert "→" in seen.text


def test_of_many_bands_the_first_are_shown() -> None:
    seen = Seen(report(WELL, bands=9)._repr_html_())
    assert seen.tags.count("img") == MOST_PICTURES + 1
    assert f"and {9 - MOST_PICTURES} more" in seen.text


def test_without_an_output_the_input_is_shown() -> None:
    seen = Seen(report(WRONG, output=False)._repr_html_())
    assert seen.tags.count("img") == 2
    assert "nothing that could be used" in seen.text


def test_hostile_names_and_messages_are_escaped() -> None:
    text = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"
    found = report(Check(text, False, text), name=text)
    seen = Seen(found._repr_html_())
    assert "script" not in seen.tags
    assert seen.tags.count("img") == 3
