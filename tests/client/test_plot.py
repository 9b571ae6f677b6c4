from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest

from geoloom.plot import COLOURS, Plot

SVG = "{http://www.w3.org/2000/svg}"


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def drawn(plot: Plot) -> ET.Element:
    return ET.fromstring(plot.svg)


def texts(plot: Plot) -> list[str]:
    return [one.text or "" for one in drawn(plot).iter(f"{SVG}text")]


def line(*values: float | None) -> list[tuple[float, float | None, str]]:
    return [(at(f"2016-0{month}-10"), value, f"day {month}") for month, value in enumerate(values, 3)]


def test_points_lie_where_their_values_are() -> None:
    plot = Plot({"ndvi": line(0.2, 0.8, 0.5)})
    dots = list(drawn(plot).iter(f"{SVG}circle"))
    x, y = zip(*((float(one.get("cx", "")), float(one.get("cy", ""))) for one in dots), strict=True)
    assert list(x) == sorted(x)
    assert y[0] > y[2] > y[1]
    assert (y[0] - y[2]) / (y[0] - y[1]) == pytest.approx(0.5, abs=0.01)
    assert dots[1][0].text == "day 4: ndvi 0.8"


def test_a_gap_is_dotted_not_drawn_through() -> None:
    solid, dotted = drawn(Plot({"ndvi": line(0.2, 0.3, None, 0.5, 0.6)})).iter(f"{SVG}path")
    assert solid.get("d", "").count("M") == 2
    assert dotted.get("d", "").count("M") == 1
    assert dotted.get("stroke-dasharray")


def test_names_and_units_are_shown_and_escaped() -> None:
    shown = Plot({"<b>": line(1.0, 2.0), "two": line(2.0, 3.0)}, unit="<m>")._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "&lt;m&gt;" in shown
    assert "<b>" not in shown
    assert COLOURS[1] in shown
    assert "●" not in Plot({"one": line(1.0, 2.0)})._repr_html_()


def test_a_single_line_is_named_in_the_picture() -> None:
    assert "ndvi" in texts(Plot({"ndvi": line(1.0, 2.0)}, unit="1"))
    assert "height in m" in texts(Plot({"height": line(1.0, 2.0)}, unit="m"))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.1, 0.9), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((-3.0, 7.0), ["−5.0", "−2.5", "0.0", "2.5", "5.0", "7.5"]),
        ((1000.0, 3000.0), ["1,000", "1,500", "2,000", "2,500", "3,000"]),
        ((5.0, 5.0), ["4.50", "4.75", "5.00", "5.25", "5.50"]),
    ],
)
def test_the_axis_has_round_numbers(values: tuple[float, ...], ticks: list[str]) -> None:
    shown = [text for text in texts(Plot({"a": line(*values)})) if not re.search("[A-Za-z]", text)]
    assert shown == ticks


@pytest.mark.parametrize(
    ("first", "last", "marks"),
    [
        ("2016-03-25", "2016-09-14", ["Apr 2016", "May", "Jun", "Jul", "Aug", "Sep"]),
        ("2015-11-02", "2016-05-20", ["Nov", "2016", "Mar", "May"]),
        ("2010-06-01", "2016-05-20", ["2011", "2012", "2013", "2014", "2015", "2016"]),
        ("1985-06-01", "2016-05-20", ["1985", "1990", "1995", "2000", "2005", "2010", "2015"]),
        ("2016-07-01", "2016-07-04", ["1 Jul 2016", "2 Jul", "3 Jul", "4 Jul"]),
    ],
)
def test_the_time_axis_fits_its_length(first: str, last: str, marks: list[str]) -> None:
    shown = texts(Plot({"": [(at(first), 1.0, ""), (at(last), 2.0, "")]}))
    assert [text for text in shown if re.fullmatch(r"(\d+ )?[A-Z][a-z]+( \d{4})?|\d{4}", text)] == marks


def test_without_values_it_says_so() -> None:
    assert texts(Plot({"ndvi": line(None, None)})) == ["No valid values here"]
    assert texts(Plot({})) == ["No valid values here"]


def test_it_can_be_saved(tmp_path: Path) -> None:
    plot = Plot({"ndvi": line(0.2, 0.8)})
    plot.save(str(tmp_path / "plot.svg"))
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8") == plot._repr_svg_()
    assert repr(plot) == "Plot(ndvi)"
