from __future__ import annotations

import math
from typing import Any

import pytest
import shapely

import geoloom.series as module
from geoloom import per_item
from geoloom.errors import BandError, ParameterError
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom.series import Reading, Series, applied, series

LON, LAT = 23.97, 43.79


def made_selection(count: int = 3) -> Selection:
    """Scenes of four bands, ten days apart."""
    bands = [SelectedBand(name, "uint16", nodata=0.0) for name in ("B04", "B08")]
    items = [
        Item(
            id=f"scene{number}",
            date=1_460_000_000.0 + 864_000 * number,
            footprint=shapely.box(23.9, 43.7, 24.0, 43.8),
            assets=(Asset(f"/data/{number}.tif", ((0, 0), (1, 1))),),
            resolution=10.0,
        )
        for number in range(count)
    ]
    return Selection.of("fields", bands, items)


class Fake:
    """An engine that answers a series as a test wrote it."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = items
        self.asked: list[dict[str, Any]] = []

    def register(self, chain: Any) -> Any:
        class Registered:
            key = chain.root

        self.chain = chain
        return Registered

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        self.asked.append({"path": path, **question})
        return {"bands": ["B04"], "items": list(self.items), "failed": 0}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    found = Fake(
        {"id": "b", "date": "2016-07-13T09:20:31Z", "values": {"B04": 0.75}},
        {"id": "a", "date": "2016-04-14T09:20:31Z", "values": {"B04": None}},
        {"id": "c", "date": "2016-07-23T09:20:31Z", "values": {"B04": None}, "error": "<403> forbidden"},
        {"id": "d", "date": None, "values": {"B04": 0.5}},
    )
    monkeypatch.setattr(module, "connected", lambda: found)
    return found


@pytest.fixture
def asked(fake: Fake) -> Series:
    selection = made_selection()
    return series(per_item.item(selection)["B04"], selection, LON, LAT)


def test_it_asks_once_for_all_items(fake: Fake) -> None:
    selection = made_selection()
    series(per_item.item(selection), selection, LON, LAT, zoom=12)
    (question,) = fake.asked
    assert question == {"path": "/series", "key": fake.chain.root, "lon": LON, "lat": LAT, "zoom": 12}
    assert fake.chain.node.op == "composite"


def test_readings_come_oldest_first_and_the_dateless_last(asked: Series) -> None:
    assert [one.id for one in asked] == ["a", "b", "c", "d"]
    assert len(asked) == 4
    assert asked["B04"] == [None, 0.75, None, 0.5]
    assert asked[1].values == {"B04": 0.75}
    assert [one.id for one in asked[1:3]] == ["b", "c"]
    assert str(asked.dates[1]) == "2016-07-13 09:20:31+00:00"
    with pytest.raises(BandError, match=r"no band 'B4'. There are B04"):
        asked["B4"]


def test_it_becomes_a_pandas_table(asked: Series) -> None:
    table = asked.to_dataframe()
    assert list(table.columns) == ["id", "B04", "error"]
    assert str(table.index.tz) == "UTC"
    assert table["B04"].isna().tolist() == [True, False, True, False]
    assert table.loc["2016-07-13", "B04"].tolist() == [0.75]


def test_what_failed_is_said_with_the_item(asked: Series) -> None:
    assert [one.id for one in asked.failed] == ["c"]
    shown = asked._repr_html_()
    assert "1 item of 4 could not be read" in shown
    assert "c: &lt;403&gt; forbidden" in shown
    assert repr(asked) == "<Series [B04] at 43.7900° N, 23.9700° E: 2 of 4 valid, 1 failed>"


def test_the_table_is_shown_with_its_plot(asked: Series) -> None:
    shown = asked._repr_html_()
    assert "<svg" in shown
    assert "13 July 2016" in shown
    assert "no date" in shown
    assert asked.plot().svg.count("<circle") == 1


def test_long_tables_are_cut_and_say_so() -> None:
    readings = [Reading(f"{number:03}", None, {"a": 1.0}) for number in range(100)]
    shown = Series(0, 0, ["a"], readings)._repr_html_()
    assert shown.count("<tr>") == 41
    assert "and 60 more" in shown


def test_an_empty_one_says_so() -> None:
    assert "No item of the collection lies at 1.0000° S, 2.0000° W" in Series(-2, -1, ["a"], [])._repr_html_()
    assert Series(0, 0, ["a"], []).to_dataframe().empty


@pytest.mark.parametrize(("lon", "lat"), [(200, 0), (0, 91), (math.nan, 0), ("x", 0), (True, 0)])
def test_no_place_is_refused_before_anything_is_asked(fake: Fake, lon: Any, lat: Any) -> None:
    selection = made_selection()
    with pytest.raises(ParameterError, match=r"series\(lon, lat\): east first"):
        series(per_item.item(selection), selection, lon, lat)
    assert fake.asked == []


def test_a_function_must_make_an_image() -> None:
    each = per_item.item(made_selection())
    assert applied(None, each) is each
    assert applied(lambda img: img["B04"] * 2, each).band_names == ("B04",)
    with pytest.raises(ParameterError, match="gave float, not an image"):
        applied(lambda img: 0.5, each)
