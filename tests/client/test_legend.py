from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.legend import MOST_CLASSES, legend_html, number


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(tag)
        self.depth += 1

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1


def tags(html: str) -> set[str]:
    parser = Tags()
    parser.feed(html)
    assert parser.depth == 0
    return set(parser.found)


def test_a_ramp_shows_its_ends_middle_and_unit() -> None:
    html = legend_html(
        {
            "kind": "ramp",
            "name": "slope",
            "unit": "degree",
            "limits": [[0, 30]],
            "colors": ["#000000ff", "#ffffffff"],
        }
    )
    assert "slope [°]" in html
    assert ">0<" in html
    assert ">15<" in html
    assert ">30<" in html
    assert "linear-gradient(to right,#000000ff,#ffffffff)" in html


def test_marks_have_three_digits_and_the_unit_follows_the_last() -> None:
    html = legend_html({"kind": "ramp", "unit": "degree", "limits": [[0.0519, 17.61]]}, named=False)
    assert "title" not in html
    assert [">0.1<" in html, ">8.8<" in html, ">17.6 °<" in html] == [True] * 3
    assert ">123000<" in legend_html({"kind": "grey", "limits": [[123456, 923456]]})
    assert ">5<" in legend_html({"kind": "grey", "limits": [[5, 5]]})
    assert ">1013.251<" in legend_html({"kind": "grey", "limits": [[1013.251, 1013.259]]})


def test_a_ramp_of_many_colours_keeps_its_last() -> None:
    colors = [f"#0000{level:02x}ff" for level in range(255)]
    html = legend_html({"kind": "ramp", "limits": [[0, 1]], "colors": colors})
    assert "#0000feff)" in html
    assert html.count("#0000") < 60


def test_classes_are_listed_and_the_rest_counted() -> None:
    labels = [[f"class {i}", "#ff0000ff"] for i in range(MOST_CLASSES + 3)]
    html = legend_html({"kind": "classes", "labels": labels})
    assert html.count("geoloom-legend-class") == MOST_CLASSES
    assert "… and 3 more" in html


def test_a_colour_picture_names_its_bands_and_limits() -> None:
    html = legend_html({"kind": "rgb", "bands": ["B3", "B2", "B1"], "limits": [[0, 100], [5, 90], [7, 80]]})
    assert "B3 0 – 100" in html
    assert "B1 7 – 80" in html


def test_a_group_shows_all_its_parts() -> None:
    parts = [{"kind": "ramp", "name": name, "limits": [[0, 1]]} for name in ("height", "shade")]
    html = legend_html({"kind": "group", "parts": parts})
    assert "height" in html
    assert "shade" in html


@pytest.mark.parametrize("kind", ["none", None, "something new"])
def test_what_it_does_not_know_it_leaves_out(kind: str | None) -> None:
    assert legend_html({"kind": kind}) == ""


@given(
    st.text(),
    st.text(),
    st.lists(st.tuples(st.text(), st.text()), max_size=4),
    st.sampled_from(["ramp", "grey", "classes", "rgb", "none"]),
)
def test_no_text_becomes_markup(name: str, unit: str, labels: list[tuple[str, str]], kind: str) -> None:
    legend = {
        "kind": kind,
        "name": name,
        "unit": unit,
        "limits": [[0, 1]],
        "labels": labels,
        "bands": [name, unit, name],
        "colors": [colour for _, colour in labels],
    }
    assert tags(legend_html(legend)) <= {"div", "span"}


def test_markup_in_names_and_colours_is_harmless() -> None:
    html = legend_html(
        {
            "kind": "classes",
            "name": "<script>alert(1)</script>",
            "labels": [['"><img src=x onerror=alert(1)>', 'red;background:url("http://example.org")']],
        }
    )
    assert tags(html) <= {"div", "span"}
    assert "example.org" not in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (3000, "3000"),
        (-12.25, "−12.25"),
        (0.123456, "0.1235"),
        (1e9, "1e+09"),
        (1e-7, "1e−07"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
