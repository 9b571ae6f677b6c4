"""Styles: colours in any spelling, and the text that a chain holds."""

from __future__ import annotations

import json

import pytest

from geoloom.errors import ParameterError
from geoloom.symbols import By, Category, Interval, Style

CROPS = By(
    "crop",
    (Category("wheat", "#e8c468ff", ("wheat",)), Category("none", "#ccccccff", (None, 0))),
    "#99999980",
)
DENSITY = By(
    "density", (Interval("0–10", "#ffffffff", 0.0, 10.0), Interval("10–20", "#000000ff", 10.0, 20.0))
)


@pytest.mark.parametrize("by", [None, CROPS, DENSITY])
def test_a_style_survives_its_text(by: By | None) -> None:
    style = Style.of("wheat", "none", 2, 5, by)
    assert style == Style("#f5deb3ff", None, 2.0, 5.0, by)
    assert Style.from_json(style.to_json()) == style


def test_the_text_is_what_painters_read() -> None:
    told = json.loads(Style.of(None, "red", 1, 4, CROPS).to_json())
    assert told["fill"] is None
    assert told["line"] == "#ff0000ff"
    assert told["labels"] is None
    assert told["by"]["classes"][1] == {"label": "none", "colour": "#ccccccff", "values": [None, 0]}
    assert json.loads(Style(by=DENSITY).to_json())["by"]["classes"][0]["high"] == 10.0


def test_the_legend_names_the_rest() -> None:
    assert CROPS.labels == (("wheat", "#e8c468ff"), ("none", "#ccccccff"), ("other", "#99999980"))
    assert DENSITY.labels == (("0–10", "#ffffffff"), ("10–20", "#000000ff"))


@pytest.mark.parametrize("size", [-1, 101, "2", True, None, float("nan")])
def test_sizes_are_pixels(size: object) -> None:
    with pytest.raises(ParameterError, match="width must be a number of pixels from 0 to 100"):
        Style.of("red", "red", size, 4)  # type: ignore[arg-type]


def _changed(**what: object) -> str:
    told = json.loads(Style(by=CROPS).to_json())
    return json.dumps({**told, **what}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[" * 100_000,
        json.dumps(json.loads(Style().to_json())),
        _changed(fill="nocolour"),
        _changed(fill="red"),
        _changed(width=-1.0),
        _changed(labels="name"),
        _changed(by={"column": "crop", "classes": [], "other": None}),
        _changed(by={"column": 5, "classes": [{"label": "", "colour": "red", "values": []}], "other": None}),
        _changed(
            by={"column": "a", "classes": [{"label": "", "colour": "red", "values": [[]]}], "other": None}
        ),
        _changed(
            by={
                "column": "a",
                "classes": [{"label": "", "colour": "#ff0000ff", "low": 2.0, "high": 1.0}],
                "other": None,
            }
        ),
        _changed(
            by={
                "column": "a",
                "classes": [
                    {"label": "", "colour": "#ff0000ff", "low": 0.0, "high": 1.0},
                    {"label": "", "colour": "#ff0000ff", "values": [1]},
                ],
                "other": None,
            }
        ),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        Style.from_json(text)
