"""Hrefs with the parts of their item's id taken out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.errors import CorruptChain
from geoloom.href_template import Words, beginning, check_beginnings, fill, fits, parts_of, template

hrefs = st.text(alphabet="abS2$0_/.é", max_size=30)


@given(hrefs, hrefs)
def test_an_href_comes_back(href: str, id_: str) -> None:
    parts = parts_of(id_)
    assert fill(template(href, parts), parts) == href
    assert Words.of(template(href, parts)).fit(parts)


def test_parts_of_the_id_are_taken_out() -> None:
    parts = parts_of("S2A_34TFQ_20160713_0_L2A")
    assert template("34TFQ_20160713_B04.tif", parts) == "$1_$2_B04.tif"


def test_the_beginning_cuts_no_word() -> None:
    assert beginning(["a/b/B04.tif", "a/b/B08.tif"]) == "a/b/"
    assert beginning(["T34_B04.tif"]) == "T34_B04."


@given(st.lists(hrefs, min_size=1, max_size=3), hrefs)
def test_a_beginning_is_one(given_: list[str], id_: str) -> None:
    parts, stem = parts_of(id_), beginning(given_)
    check_beginnings([template(stem, parts)])
    assert fits(template(stem, parts), parts)
    for href in given_:
        assert template(stem, parts) + template(href[len(stem) :], parts) == template(href, parts)


@pytest.mark.parametrize("text", ["a$0", "$0a", "$0$1", "$", "x$", "$A/"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(CorruptChain):
        Words.of(text)


@pytest.mark.parametrize("stem", ["a/b", "a/$0", "a\n", "$", "$0x/"])
def test_what_is_no_beginning_is_refused(stem: str) -> None:
    with pytest.raises(CorruptChain):
        check_beginnings(["x/", stem, ""])


def test_parts_that_stand_as_they_are_do_not_fit() -> None:
    parts = parts_of("S2A_34TFQ")
    assert fits("T34TFQ/", parts)
    assert not fits("x/34TFQ/", parts)
    assert not fits("x/$2/", parts)
