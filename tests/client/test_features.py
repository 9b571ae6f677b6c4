"""Vectors over an engine that knows the features of one made-up file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from shapely.geometry import Point, box

from geoloom import blobs, feature_source, zonal
from geoloom.chain import Chain, key_of
from geoloom.errors import NotFound, ParameterError, RequestError, SourceNotFound
from geoloom.feature_source import misspelt
from geoloom.features import Vector, vector
from geoloom.image import Image
from geoloom.profile import Look, Profile
from geoloom.symbols import Style

PARCELS = "/data/parcels.gpkg"


@dataclass
class FeatureClient:
    """Answers as an engine does, and remembers what it was asked."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    registered: list[str] = field(default_factory=list)

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        self.asked.append((path, question))
        if "blob" in question and question["blob"] not in self.blobs:
            raise NotFound("There is no blob of this key.")
        if question.get("href", PARCELS) != PARCELS:
            raise SourceNotFound("There is no such file.", hint="Look again.")
        if question.get("layer") not in (None, "parcels", "trees"):
            raise RequestError("parcels.gpkg has no layer of this name.")
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "/features": self._features,
            "/features/values": self._values,
            "/identify": self._identify,
            "/zonal": self._zonal,
        }
        return answers[path](question)

    def put_blob(self, content: bytes, foreign: bool = False) -> str:
        self.blobs[key_of(content)] = content
        return key_of(content)

    def register(self, chain: Chain) -> None:
        self.registered.append(chain.root)

    def _features(self, question: dict[str, Any]) -> dict[str, Any]:
        where = question.get("where")
        if where is not None and "area" not in where:
            raise RequestError(f"{where!r} is no condition on the attributes.")
        return {
            "layers": ["parcels", "trees"],
            "layer": question.get("layer", "parcels"),
            "count": 4 if where is None else 2,
            "geometry": "Point" if question.get("layer") == "trees" else "MultiPolygon",
            "crs": "EPSG:32634",
            "bounds": [23.0, 44.0, 23.2, 44.1],
            "columns": {"code": "int32", "area": "float64", "owner": "text"},
        }

    def _values(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["column"] == "owner":
            counts: list[list[Any]] = [["Ana", 3], ["Ion", 1]]
            return {"counts": counts, "distinct": 2, "percentiles": [], "whole": False}
        counts = [[i, 1] for i in (1, 2, 3, 4)]
        return {
            "counts": counts,
            "distinct": 4,
            "percentiles": [1 + 0.03 * i for i in range(101)],
            "whole": True,
        }

    def _identify(self, question: dict[str, Any]) -> dict[str, Any]:
        return {"features": [{"properties": {"code": 2, "area": 3.5, "owner": "Ana"}}]}

    def _zonal(self, question: dict[str, Any]) -> dict[str, Any]:
        numbers = {"count": 9, "mean": 0.5, "min": 0.1, "max": 0.9, "std": 0.2, "sum": 4.5}
        empty = dict.fromkeys(numbers) | {"count": 0}
        return {
            "zones": [
                {"id": 1, "properties": {"code": 1}, "bands": {"red": numbers, "nir": numbers}},
                {"id": 7, "properties": {"code": 3}, "bands": {"red": empty, "nir": empty}},
            ]
        }


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FeatureClient:
    found = FeatureClient()
    monkeypatch.setattr(feature_source, "connected", lambda: found)
    monkeypatch.setattr(zonal, "connected", lambda: found)
    return found


@pytest.fixture
def parcels(client: FeatureClient) -> Vector:
    return vector(PARCELS)


def style_of(shown: Vector) -> Style:
    return Style.from_json(str(shown.picture.chain.node.params["style"]))


def scene(**profile: Any) -> Image:
    chain = Chain.extend("open", 1, {"href": "/data/a.tif", "fingerprint": None})
    return Image(chain, Profile(("red", "nir"), "uint16", **profile), {})


# opening ---------------------------------------------------------------------------------------


def test_the_engine_looks_at_a_file(parcels: Vector, client: FeatureClient) -> None:
    assert client.asked == [("/features", {"href": PARCELS})]
    assert (parcels.count, parcels.geometry, parcels.crs) == (4, "polygon", "EPSG:32634")
    assert parcels.bounds == (23.0, 44.0, 23.2, 44.1)
    assert parcels.columns == {"code": "int32", "area": "float64", "owner": "text"}
    assert (parcels.layer, parcels.layers) == ("parcels", ("parcels", "trees"))
    assert vector(parcels) is parcels
    assert parcels in {parcels}
    assert vector(PARCELS, layer="trees").name == "trees"


def test_geometries_are_sent_once_they_are_needed(client: FeatureClient) -> None:
    found = vector(box(23, 44, 23.1, 44.1))
    (key,) = client.blobs
    assert found.source.blob == key
    assert [path for path, _ in client.asked] == ["/features", "/features"]
    vector(box(23, 44, 23.1, 44.1))
    assert len(client.asked) == 3


def test_it_is_shown_without_asking(parcels: Vector, client: FeatureClient) -> None:
    client.asked.clear()
    assert repr(parcels) == "<Vector parcels: 4 polygons; columns code, area, owner>"
    html = parcels._repr_html_()
    assert "parcels; the file also has trees<" in html
    assert "23° E to 23.2° E" in html
    assert client.asked == []


def test_what_is_missing_is_said_in_words(client: FeatureClient, tmp_path: Any) -> None:
    (tmp_path / "parcels.gpkg").touch()
    with pytest.raises(SourceNotFound, match=r"did you mean parcels\.gpkg"):
        vector(tmp_path / "parcel.gpkg")
    with pytest.raises(RequestError, match="no layer of this name"):
        vector(PARCELS, layer="roads")
    with pytest.raises(ParameterError, match="cannot read features from a int"):
        vector(5)


# conditions, tables, places --------------------------------------------------------------------


def test_conditions_add_up(parcels: Vector, client: FeatureClient) -> None:
    large = parcels.where("area > 2").where("area < 9 OR code = 1")
    assert client.asked[-1] == (
        "/features",
        {"href": PARCELS, "where": "(area > 2) AND (area < 9 OR code = 1)"},
    )
    assert large.count == 2
    assert "2 polygons, where (area > 2)" in repr(large)
    assert large.picture.chain.node.params["where"] == large.source.where


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("aera > 5", "There is no column 'aera'. Did you mean 'area'?"),
        ("owner == 'x' AND (", "is no condition"),
        ("", "empty"),
    ],
)
def test_wrong_conditions_are_refused_at_once(parcels: Vector, condition: str, words: str) -> None:
    with pytest.raises((RequestError, ParameterError)) as caught:
        parcels.where(condition)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("größe ha > 4", 'write it in double quotes, as "größe ha".'),
        ("\"größe ha\" > 4 AND nme = 'größe ha'", "There is no column 'nme'. Did you mean 'name'?"),
        ('"größe m2" > 4', "There is no column 'größe m2'. Did you mean 'größe ha'?"),
        ("éta = 1", "There is no column 'éta'."),
    ],
)
def test_a_column_with_a_space_is_told_how_to_be_written(condition: str, hint: str) -> None:
    said = misspelt(condition, RequestError("It is wrong."), ["name", "größe ha"], [])
    assert hint in str(said)


def test_a_table_is_joined(parcels: Vector) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joined = parcels.join({1: "wheat", 2: "maize"}, on="code", columns="crop")
    assert joined.columns["crop"] == "text"
    assert "2 of 2 rows have features" in joined._repr_html_()
    told = json.loads(blobs.known(str(joined.picture.chain.node.params["table"])) or b"")
    assert told == {"on": "code", "columns": {"crop": {"1": "wheat", "2": "maize"}}}
    by = style_of(joined.categories("crop")).by
    assert by is not None
    assert [one.label for one in by.classes] == ["maize", "wheat"]
    assert joined.identify(23.1, 44.05)[0]["crop"] == "maize"
    again = joined.join({2: 7.5}, on="code", columns="rent")
    assert list(again.columns)[-2:] == ["crop", "rent"]
    assert again.identify(23.1, 44.05)[0]["rent"] == 7.5
    with pytest.raises(ParameterError, match="have a column 'crop' already"):
        joined.join({1: "x"}, on="code", columns="crop")
    with pytest.raises(ParameterError, match="joined on 'code' already, so none can be joined on 'owner'"):
        joined.join({"Ana": 1}, on="owner", columns="age")
    with pytest.raises(RequestError, match="crop comes from the joined table"):
        joined.where("crop = 'wheat'")


def test_rows_without_features_are_told(parcels: Vector) -> None:
    with pytest.warns(UserWarning, match="1 of 3 rows of the table have no feature: '9'"):
        joined = parcels.join({1: "a", 2: "b", 9: "c"}, on="code", columns="crop")
    assert "2 of 3 rows" in joined._repr_html_()


@pytest.mark.parametrize(
    ("table", "on", "words"),
    [
        (
            {"A1": "a"},
            "code",
            "No row of the table has a feature: its keys are 'A1', the features' code is '1'",
        ),
        ({1: "a"}, "cod", "There is no column 'cod'. Did you mean 'code'?"),
        ([{"code": 1, "area": 5}], "code", "have a column 'area' already"),
    ],
)
def test_tables_that_do_not_fit(parcels: Vector, table: Any, on: str, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parcels.join(table, on=on, columns="crop" if isinstance(table, dict) else None)
    assert words in str(caught.value)


def test_what_is_at_a_place(parcels: Vector, client: FeatureClient) -> None:
    assert parcels.identify(23.1, 44.05, zoom=12) == [{"code": 2, "area": 3.5, "owner": "Ana"}]
    assert client.asked[-1] == ("/identify", {"href": PARCELS, "lon": 23.1, "lat": 44.05, "zoom": 12})


# looks -----------------------------------------------------------------------------------------


def test_a_style_stays_and_can_be_changed(parcels: Vector) -> None:
    shown = parcels.style(fill="none", line="red").style(width=3)
    assert style_of(shown) == Style.of("none", "red", 3, 4)
    assert style_of(parcels) == Style()
    with pytest.raises(ParameterError, match="no colour"):
        parcels.style(fill="nosuch")


def test_categories_from_the_file(parcels: Vector, client: FeatureClient) -> None:
    shown = parcels.categories("owner")
    look = shown.picture.profile.look
    assert look is not None
    assert [label for label, _ in look.labels] == ["Ana", "Ion"]
    assert look.name == "owner"
    client.asked.clear()
    named = parcels.categories("owner", {"Ana": "red"}, other="grey").picture.profile.look
    assert named is not None
    assert named.labels == (("Ana", "#ff0000ff"), ("other", "#808080ff"))
    assert client.asked == []


def test_graduated_classes(parcels: Vector) -> None:
    by = style_of(parcels.graduated("area", classes=3, method="equal", colormap="greens")).by
    assert by is not None
    assert [one.label for one in by.classes] == ["1 – 2", "2 – 3", "3 – 4"]
    with pytest.raises(ParameterError, match=r"There is no column 'aera'\. Did you mean 'area'\?"):
        parcels.graduated("aera")


def test_classes_have_a_thin_outline_unless_one_is_chosen(parcels: Vector) -> None:
    assert style_of(parcels.categories("owner")).line == "#00000059"
    assert style_of(parcels.style(line="red").categories("owner")).line == "#ff0000ff"


# pixels ----------------------------------------------------------------------------------------


def test_burnt(parcels: Vector) -> None:
    assert parcels.burn().chain.node.params["dtype"] == "uint8"
    assert parcels.burn(-3).chain.node.params["dtype"] == "int16"
    assert parcels.burn(0.5).chain.node.params["dtype"] == "float32"
    area = parcels.burn("area", all_touched=True)
    assert (area.band_names, area.dtype) == (("area",), "float32")
    assert area.chain.node.params["all_touched"] is True
    assert area.bounds == parcels.bounds
    with pytest.raises(ParameterError, match="the column holds text"):
        parcels.burn("owner")


def test_heat(client: FeatureClient) -> None:
    found = vector(PARCELS, layer="trees").heat(radius=20, weight="area")
    assert found.chain.node.params["weight"] == "area"
    assert found.band_names == ("density",)


def test_it_masks_images(parcels: Vector) -> None:
    masked = scene().mask(parcels.where("area > 2"))
    burn = masked.chain.nodes[masked.chain.node.inputs[1]]
    assert (burn.op, burn.params["where"], burn.params["value"]) == ("burn", "area > 2", 1.0)


# zones -----------------------------------------------------------------------------------------


def test_statistics_of_zones_are_a_table(parcels: Vector, client: FeatureClient) -> None:
    joined = parcels.join({1: "wheat"}, on="code", columns="crop")
    image = scene()
    found = image.statistics(zones=joined, resolution=20)
    assert client.registered == [image.key]
    assert client.asked[-1] == ("/zonal", {"href": PARCELS, "key": image.key, "resolution": 20})
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == [
        *("code", "area", "owner", "crop"),
        *(f"{band}_{what}" for band in ("red", "nir") for what in zonal.NUMBERS),
    ]
    assert list(found.index) == [1, 7]
    assert found.loc[1, "nir_mean"] == 0.5
    assert pd.isna(found.loc[7, "nir_mean"])


def test_numbers_do_not_hide_attributes_of_their_name(parcels: Vector) -> None:
    joined = parcels.join({1: 5}, on="code", columns="count")
    found = scene().statistics(zones=joined)
    assert found.loc[1, "count"] == 5
    assert found.loc[1, "red_count"] == 9


@pytest.mark.parametrize(
    "given", [{"bbox": (0, 0, 1, 1), "zones": "parcels"}, {"bbox": "parcels"}, {"resolution": 10}]
)
def test_zones_are_given_by_name_and_without_a_bbox(parcels: Vector, given: dict[str, Any]) -> None:
    filled = {name: parcels if value == "parcels" else value for name, value in given.items()}
    with pytest.raises(ParameterError, match=r"image\.statistics\(zones=parcels\)"):
        scene().statistics(**filled)


def test_geometries_are_zones_too(client: FeatureClient) -> None:
    assert len(scene().statistics(zones=[Point(23, 44).buffer(0.1)])) == 2


def test_colours_have_no_statistics(parcels: Vector) -> None:
    with pytest.raises(ParameterError, match="Statistics of colours"):
        scene(look=Look("rgb")).statistics(zones=parcels)
