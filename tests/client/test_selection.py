"""Selections: what is put in comes out, equal rows give equal bytes, and what is not canonical is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom.errors import CorruptChain, ParameterError
from geoloom.outlines import REACH
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom.selection_rows import seconds

BANDS = (SelectedBand("B04", "uint16", 0.0), SelectedBand("SCL", "uint8", None, resampling="nearest"))
TRANSFORM = (399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0)


def scene(number: int, date: float | None = 1.5e9) -> Item:
    coarse = (399960.0, 20.0, 0.0, 4900020.0, 0.0, -20.0)
    folder = f"s3://bucket/34/T/FQ/S2A_34TFQ_{number}_0_L2A"
    overviews = ((5490, 5490),)
    return Item(
        f"S2A_34TFQ_{number}_0_L2A",
        None if date is None else date + number,
        shapely.normalize(shapely.box(23, 44, 24 + number / 8, 45)),
        (
            Asset(
                f"{folder}/B04.tif",
                ((0, 0),),
                "0123456789",
                "EPSG:32634",
                TRANSFORM,
                (10980, 10980),
                overviews,
            ),
            Asset(f"{folder}/SCL.tif", ((1, 0),), "", "EPSG:32634", coarse, (5490, 5490)),
        ),
        10.0,
    )


texts = st.text(alphabet="abS2$0_/.é{", min_size=1, max_size=12)
finite = st.floats(-1e7, 1e7).map(lambda value: value + 0.0)


@st.composite
def assets(draw: st.DrawFn) -> Asset:
    sizes = st.tuples(st.integers(1, 99), st.integers(1, 99))
    return Asset(
        draw(texts),
        tuple(draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), max_size=2))),
        draw(st.one_of(st.just(""), st.from_regex(r"[0-9a-f]{10}", fullmatch=True))),
        draw(st.sampled_from(["", "EPSG:32634", "EPSG:4326"])),
        draw(st.one_of(st.none(), st.tuples(finite, finite, finite, finite, finite, finite))),
        draw(st.one_of(st.none(), sizes)),
        tuple(draw(st.lists(sizes, max_size=2))),
    )


@st.composite
def scenes(draw: st.DrawFn) -> list[Item]:
    ids = draw(st.lists(texts, max_size=5, unique=True))
    return [
        Item(
            id_,
            draw(st.one_of(st.none(), st.integers(-(10**13), 10**13).map(lambda ms: ms / 1000))),
            shapely.normalize(
                shapely.box(
                    west := draw(st.integers(-180, 179)),
                    south := draw(st.integers(-90, 89)),
                    draw(st.integers(west + 1, min(180, west + 290))),
                    draw(st.integers(south + 1, 90)),
                )
            ),
            tuple(draw(st.lists(assets(), max_size=3))),
            draw(st.sampled_from([0.0, 10.0, 0.5])),
        )
        for id_ in ids
    ]


@settings(deadline=None)
@given(scenes(), st.randoms())
def test_what_is_put_in_comes_out(items: list[Item], random: Any) -> None:
    selection = Selection.of("local/s2", BANDS, items)
    again = Selection.from_bytes(selection.to_bytes())
    assert [again.item(row) for row in range(len(items))] == items
    assert again == selection
    assert Selection.of("local/s2", BANDS, items).to_bytes() == selection.to_bytes()
    shuffled = random.sample(items, len(items))
    other = Selection.of("local/s2", BANDS, shuffled)
    assert (other.key == selection.key) == (shuffled == items)


def test_the_columns_are_those_of_the_items() -> None:
    items = [scene(3), scene(1, None), scene(2)]
    selection = Selection.of("local/s2", BANDS, items)
    assert (len(selection), selection.collection, selection.bands) == (3, "local/s2", BANDS)
    assert selection.ids == tuple(item.id for item in items)
    assert np.isnan(selection.dates).tolist() == [False, True, False]
    assert list(selection.footprints) == [item.footprint for item in items]
    assert list(selection.bounds) == [23, 44, 24.375, 45]
    assert selection.resolution == 10
    assert selection.item(-1) == items[2]


def test_bytes_are_the_same_in_every_process() -> None:
    selection = Selection.of("s2", BANDS, [scene(2), scene(1)])
    code = (
        "import sys; from geoloom.selection import Selection as S;"
        "s = S.from_bytes(sys.stdin.buffer.read());"
        "print(S.of(s.collection, s.bands, [s.item(i) for i in range(len(s))]).key)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], input=selection.to_bytes(), capture_output=True, check=True
    )
    assert told.stdout.decode().strip() == selection.key


def test_spellings_of_equal_rows_give_equal_bytes() -> None:
    item = scene(1)
    turned = shapely.Polygon([(24.125, 44), (24.125, 45), (23, 45), (23, 44)])
    whole = replace(item.assets[0], transform=(399960, 10, -0.0, 4900020, 0, -10))
    other = replace(item, footprint=turned, assets=(whole, item.assets[1]))
    assert Selection.of("s2", BANDS, [other]) == Selection.of("s2", BANDS, [item])


def sentinel(count: int) -> list[Item]:
    """Scenes of 13 assets, each with a mark; 5 to 8 corners; 300 places in six zones; in no order."""
    random = np.random.default_rng(1)
    items = []
    for _ in range(count):
        tile = int(random.integers(300))
        zone, name = 31 + tile % 6, chr(65 + tile % 20) + chr(65 + tile // 20)
        day = f"20{random.integers(16, 24):02d}{random.integers(1, 13):02d}{random.integers(1, 29):02d}"
        moment = f"{day}T{random.integers(80000, 110000):06d}"
        made = f"2021{random.integers(1, 13):02d}13T{random.integers(0, 235959):06d}"
        id_ = f"S2A_MSIL2A_{moment}_R{random.integers(1, 143):03d}_T{zone}T{name}_{made}"
        lon, lat = random.uniform(-175, 175), random.uniform(-60, 60)
        angles = np.linspace(0, 6, int(random.integers(5, 9))) + random.uniform(0, 0.25)
        corners = np.stack([lon + 0.7 * np.cos(angles), lat + 0.5 * np.sin(angles)], axis=1)
        folder = f"s3://sentinel-cogs/sentinel-s2-l2a-cogs/{zone}/T/{name}/{day[:4]}/{int(day[4:6])}/{id_}/IMG_DATA"
        x0, y0 = 300000 + tile % 7 * 99960.0, 4900020 + tile // 7 * 99960.0
        files = []
        for band in range(13):
            size = (10, 20, 60)[band % 3]
            files.append(
                Asset(
                    f"{folder}/T{zone}T{name}_{moment}_B{band + 1:02d}_{size}m.tif",
                    ((band, 0),),
                    f"{random.integers(0, 2**40):010x}",
                    f"EPSG:326{zone}",
                    (x0, float(size), 0.0, y0, 0.0, -float(size)),
                    (109800 // size, 109800 // size),
                    tuple((109800 // size >> level, 109800 // size >> level) for level in range(1, 5)),
                )
            )
        date = int(random.integers(14 * 10**11, 17 * 10**11)) / 1000
        items.append(Item(id_, date, shapely.Polygon(corners), tuple(files), 10.0))
    return items


def test_ten_thousand_scenes_take_less_than_two_megabytes() -> None:
    bands = [SelectedBand(f"B{number:02d}", "uint16", 0.0) for number in range(1, 14)]
    items = sentinel(10_000)
    selection = Selection.of("sentinel-2-l2a", bands, items)
    assert len(selection.to_bytes()) <= 2_000_000
    again = Selection.from_bytes(selection.to_bytes())
    for row in range(0, 10_000, 501):
        assert again.item(row).assets == items[row].assets
        assert again.item(row).date == items[row].date


def test_nothing_that_is_met_is_missed() -> None:
    """Footprints are rounded; those that just touch a place before are found after."""
    third = 1 / 3
    items = [
        replace(scene(number), footprint=shapely.box(number + third, 0, number + 2 * third, third))
        for number in range(20)
    ]
    selection = Selection.of("s2", BANDS, items)
    for row, item in enumerate(items):
        for x, y in item.footprint.exterior.coords:
            assert row in selection.meeting(shapely.Point(x, y))
    assert selection.meeting(shapely.box(4, 0, 6.5, 1)).tolist() == [4, 5, 6]
    assert selection.meeting(shapely.Point(0, 0.1)).tolist() == []
    assert REACH > math.hypot(0.5e-6, 0.5e-6)


def test_rows_come_in_order_and_dates_are_half_open() -> None:
    selection = Selection.of("s2", BANDS, [scene(5), scene(1), scene(3, None), scene(2)])
    assert selection.meeting(shapely.box(-180, -90, 180, 90)).tolist() == [0, 1, 2, 3]
    assert selection.between(None, None).tolist() == [0, 1, 2, 3]
    assert selection.between("2017-07-14T02:40:01Z", "2017-07-14T02:40:05Z").tolist() == [1, 3]
    assert selection.between("2017-07-14T02:40:05+00:00", None).tolist() == [0]
    with pytest.raises(ParameterError, match="is not a date"):
        selection.between("yesterday", None)


def test_bounds_take_the_shorter_way_round() -> None:
    east, west = shapely.box(170, 0, 180, 10), shapely.box(-180, 0, -175, 10)
    selection = Selection.of("s2", BANDS, [replace(scene(1), footprint=shapely.union(east, west))])
    assert list(selection.bounds) == [170, 0, -175, 10]
    apart = [replace(scene(1), footprint=shapely.box(0, 0, 10, 1)), replace(scene(2), footprint=east)]
    assert list(Selection.of("s2", BANDS, apart).bounds) == [0, 0, 180, 10]


def test_what_cannot_be_kept_is_said_with_the_items_id() -> None:
    good = scene(1)
    asset = good.assets[0]
    wrong: list[tuple[Item, str]] = [
        (replace(good, footprint=shapely.Point(1, 2)), "no footprint"),
        (replace(good, date=math.nan), "date"),
        (replace(good, resolution=-1.0), "resolution"),
        (replace(good, assets=(replace(asset, href=""),)), "no address"),
        (replace(good, assets=(replace(asset, href="a\nb"),)), "control characters"),
        (replace(good, assets=(replace(asset, mark="xyz"),)), "mark"),
        (replace(good, assets=(replace(asset, bands=((7, 0),)),)), "band"),
        (replace(good, assets=(replace(asset, transform=(math.inf, 1, 0, 0, 0, 1)),)), "transform"),
    ]
    for item, said in wrong:
        with pytest.raises(ParameterError, match=rf"Item 'S2A_34TFQ_1_0_L2A' .*{said}"):
            Selection.of("s2", BANDS, [item])
    with pytest.raises(ParameterError, match="stands twice"):
        Selection.of("s2", BANDS, [good, good])
    with pytest.raises(ParameterError, match="type"):
        Selection.of("s2", [SelectedBand("a", "complex64"), SelectedBand("b", "uint8")], [good])


def changed(selection: Selection, name: str, value: Any) -> bytes:
    payload = json.loads(selection.to_bytes())
    payload[name] = value(payload[name]) if callable(value) else value
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


HOSTILE: list[tuple[str, Any]] = [
    ("count", 3),
    ("count", 10**12),
    ("count", True),
    ("geoloom_selection", 2),
    ("geoloom_selection", True),
    ("bands", [["a", "uint8"]]),
    ("bands", lambda bands: [*bands, bands[0]]),
    ("collection", 5),
    ("ids", [["a", "a"]]),
    ("ids", [["a", ""]]),
    ("ids", [["b", "a"], "x"]),
    ("dates", "u!"),
    ("dated", "c&"),
    ("resolutions", [10.0]),
    ("resolutions", [-1]),
    ("resolutions", [10, 20]),
    ("layouts", lambda layouts: [*layouts, layouts[0]]),
    ("layouts", lambda layouts: [[[*layouts[0][0][:3], 9]]]),
    ("layouts", lambda layouts: [[["S2A.tif", [[0, 0]], 0, 0]]]),
    ("layouts", lambda layouts: [[["$z.tif", [[0, 0]], 0, 0]]]),
    ("layouts", {"a": 1}),
    ("places", [[0, None, 1]]),
    ("places", [[4, 1, 2]]),
    ("forms", []),
    ("forms", lambda forms: [*forms, forms[0]]),
    ("crs", ["EPSG:32634", "EPSG:4326"]),
    ("crs", [4]),
    ("marks", ""),
    ("marks", "!!!!!!!!!!!!!!"),
    ("outlines", []),
    ("outlines", ["c#", "c#", "c#", "c!", "c!"]),
    ("outlines", ["c#", "c#", "c~~~~~~~~~~!", "c!", "c!"]),
    ("stems", [["x", "y"]]),
    ("more", 1),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_refused(name: str, value: Any) -> None:
    selection = Selection.of("s2", BANDS, [scene(1), scene(2)])
    with pytest.raises(CorruptChain, match="selection"):
        Selection.from_bytes(changed(selection, name, value))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"count":1e999}'])
def test_what_is_no_selection_is_refused(text: bytes) -> None:
    with pytest.raises(CorruptChain):
        Selection.from_bytes(text)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_other_text_is_another_selection_or_none(data: st.DataObject) -> None:
    """One character changed: what is read would be written so."""
    text = Selection.of("s2", BANDS, [scene(1), scene(2, None)]).to_bytes()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(b'0123456789!#$%&,:[]{}"abz.'))
    content = text[:place] + bytes([other]) + text[place + 1 :]
    try:
        found = Selection.from_bytes(content)
    except CorruptChain:
        return
    items = [found.item(row) for row in range(len(found))]
    assert Selection.of(found.collection, found.bands, items).to_bytes() == content


def test_info_is_in_the_form_of_a_files_description() -> None:
    bands = [replace(BANDS[0], nodata=math.nan), BANDS[1]]
    info = Selection.of("local/s2", bands, [scene(1)]).info()
    assert info["href"] == "collection local/s2"
    assert info["bands"][0]["nodata"] == "nan"
    assert (info["dtype"], info["crs"], info["resolution"]) == ("uint16", "EPSG:32634", [10, 10])
    json.dumps(info, allow_nan=False)


@pytest.mark.parametrize("nodata", [-3.4028234663852886e38, 2.0**53, -0.5, 1e300, 65535, math.inf])
def test_large_numbers_stay_what_they_are(nodata: float) -> None:
    selection = Selection.of("s2", [SelectedBand("a", "float32", nodata)], [])
    assert Selection.from_bytes(selection.to_bytes()).bands[0].nodata == nodata


def test_seconds_are_of_utc() -> None:
    assert seconds("1970-01-02") == 86400
    assert seconds("1970-01-01T01:00:00+01:00") == 0
