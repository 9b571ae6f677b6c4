"""Answers: dicts that are read at a glance."""

from __future__ import annotations

from typing import Any

from geoloom.answer import Explanation, Statistics, Texts, distance, place

BAND: dict[str, Any] = {
    "count": 103067,
    "min": -0.511988,
    "max": 0.644436,
    "mean": -0.038659,
    "std": 0.366466,
    "percentiles": {"2": -0.436241, "25": -0.395, "50": -0.17017, "75": 0.3459, "98": 0.52884},
    "histogram": {"edges": [0.0, 1.0], "counts": [103067]},
}
EMPTY: dict[str, Any] = {**dict.fromkeys(BAND), "count": 0}
READ: dict[str, Any] = {
    "op": "read",
    "href": "/data/dem.tif",
    "bands": ["elevation"],
    "resampling": "bilinear",
    "level": 1,
    "window": [755, 560, 440, 350],
    "margin": 1,
}
PLAN: dict[str, Any] = {
    "tile": [9, 86, 198],
    "steps": [READ, {"op": "slope", "params": {"z_factor": 1.0}, "dtype": "float32", "margin": 0}],
    "pixels": 154000,
    "bytes": 462000,
    "bands": ["slope"],
    "dtype": "float32",
}


def test_statistics_are_a_table_and_still_a_dict():
    found = Statistics({"NDVI": BAND, "empty": EMPTY})
    assert found["NDVI"]["mean"] == BAND["mean"]
    title, ndvi, empty = repr(found).splitlines()
    assert title.split() == ["count", "min", "2", "%", "median", "98", "%", "max", "mean", "std"]
    assert ndvi.split() == [
        *("NDVI", "103,067", "-0.512", "-0.4362", "-0.1702"),
        *("0.5288", "0.6444", "-0.03866", "0.3665"),
    ]
    assert empty.split() == ["empty", "0", *["none"] * 7]
    assert len({len(line) for line in (title, ndvi, empty)}) == 1


def test_statistics_of_nothing():
    assert "count" in repr(Statistics())


def test_an_explanation_has_a_line_a_step():
    found = Explanation(PLAN)
    assert found["pixels"] == 154000
    assert repr(found).splitlines() == [
        "Tile 9/86/198 reads 154,000 pixels (462.0 kB) and gives slope as float32.",
        "  read dem.tif [elevation], overview 1, 440 × 350 px, bilinear, margin 1 px",
        "  slope(z_factor=1.0) float32",
    ]


def test_sizes_and_full_resolution():
    small = Explanation({**PLAN, "bytes": 54, "steps": [{**READ, "level": 0, "margin": 0}]})
    assert "(54 bytes)" in repr(small)
    assert repr(small).endswith("full resolution, 440 × 350 px, bilinear")
    assert "(2.5 GB)" in repr(Explanation({**PLAN, "bytes": 2_500_000_000}))


def test_a_place_has_sides_and_pixels():
    finest = {"ground_resolution": 20.0004}
    assert place((-75.7298, 37.5848, -75.509, 37.7614), finest) == (
        "75.73° W to 75.51° W, 37.58° N to 37.76° N; pixels of 20 m"
    )
    assert place((170, -10.5, -170, 0), finest).startswith("170° E to 170° W, 10.5° S to 0° N;")
    assert place((-180, -90, 180, 90), {"ground_resolution": 22263.9}).endswith("; pixels of 22.3 km")
    assert place(None, None) == "everywhere"


def test_a_distance_has_three_digits_and_no_power_of_ten():
    assert [distance(one) for one in (0.0092, 0.30004, 999.4, 999.6, 111_320)] == [
        "0.0092 m",
        "0.3 m",
        "999 m",
        "1 km",
        "111 km",
    ]


def test_an_explanation_names_every_kind_of_step():
    off = {**READ, "window": None, "level": None}
    lookup = {"op": "lookup", "ops": ["scale", "colormap"], "dtype": "uint8", "margin": 0}
    gather = {"op": "gather", "dtype": "uint16", "margin": 2}
    more = {"blocks": 4, "decoded_bytes": 2_097_152, "steps": [READ, off, gather, lookup]}
    shown = repr(Explanation({**PLAN, **more})).splitlines()
    assert shown[0].endswith("If nothing is in memory yet, 4 blocks are decoded (2.1 MB).")
    assert shown[2:] == [
        "  read dem.tif [elevation]: it does not reach here",
        "  bands put together, uint16, margin 2 px",
        "  scale, colormap by one table, uint8",
    ]


def test_a_collection_is_explained_by_its_scenes():
    params = {"selection": "0" * 32, "how": "median", "start": "2016-07-01T00:00:00Z", "end": None}
    step = {
        "op": "composite",
        "params": params,
        "items": 12,
        "of_items": 2400,
        "collection": "local/season",
        "each": ["read item", "isin", "mask"],
        "dtype": "float32",
        "margin": 0,
    }
    shown = repr(Explanation({**PLAN, "pixels": 0, "bytes": 0, "files": 60, "steps": [step]}))
    assert shown.splitlines() == [
        "Tile 9/86/198 reads at most 60 files of scenes and gives slope as float32.",
        "  median of 12 scenes that lie here, of 2,400 of local/season, of each isin, mask, "
        "start 2016-07-01T00:00:00Z, float32",
    ]


def test_texts_of_functions_are_shown_to_be_read() -> None:
    shown = repr(
        Texts({"f": "def f(img):\n    return img\n", "g": "def g(img): return img  # \u202e\x1b[8m\r"})
    )
    assert "# f\n\ndef f(img):\n    return img\n" in shown
    assert shown.endswith(r"# \u202e\x1b[8m\r")
    assert repr(Texts()) == "No functions of users."
