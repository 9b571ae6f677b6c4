"""Where images come from: files, stored chains, JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloom import opening
from geoloom.chain import Chain
from geoloom.errors import CorruptChain, NotFound, ParameterError, SourceNotFound
from geoloom.image import Image

BAND = {"name": "b1", "unit": "m", "palette": None, "categories": []}


class FakeEngine:
    """An engine that knows one file."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.chains: dict[str, Chain] = {}

    def info(self, href: str) -> dict[str, object]:
        self.asked.append(href)
        if href.endswith("missing.tif"):
            raise SourceNotFound(f"{href} is not there.")
        return {
            "bands": [BAND],
            "dtype": "int16",
            "crs": "EPSG:4326",
            "resolution": [1, 1],
            "bounds": [0, 0, 1, 1],
            "ground_resolution": 1,
            "fingerprint": "f1",
        }

    def chain(self, key: str) -> Chain:
        if key not in self.chains:
            raise NotFound(f"no chain {key}")
        return self.chains[key]


@pytest.fixture
def engine(monkeypatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(opening, "connected", lambda: fake)
    monkeypatch.setattr("geoloom.image.connected", lambda: fake)
    return fake


def test_relative_paths_become_absolute(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = opening.open("dem.tif")
    assert image.chain.node.params["href"] == str(tmp_path / "dem.tif")
    assert opening.open(Path("dem.tif")).equals(image)
    assert (image.unit, image.dtype, image.band_names) == ("m", "int16", ("b1",))


@pytest.mark.parametrize("href", ["https://example.org/a.tif", "/data/a.tif", "s3://bucket/a.tif"])
def test_urls_and_absolute_paths_stay(engine, href):
    assert opening.open(href).chain.node.params["href"] == href


def test_errors_come_where_the_file_is_named(engine):
    with pytest.raises(SourceNotFound):
        opening.open("/data/missing.tif")
    with pytest.raises(ParameterError):
        opening.open(17)


def test_json_and_load_bring_the_same_image_back(engine):
    image = (opening.open("/data/dem.tif") * 2).scale(0, 10)
    assert opening.from_json(image.to_json()).equals(image)
    assert opening.from_json(image.to_json()).profile == image.profile
    engine.chains[image.key] = image.chain
    assert opening.load(image.key).equals(image)
    with pytest.raises(NotFound):
        opening.load("0" * 32)
    with pytest.raises(CorruptChain):
        opening.from_json(image.to_json().replace("2", "3"))


def test_pin_writes_the_fingerprint_into_the_sources(engine):
    image = opening.open("/data/dem.tif") + 1
    pinned = image.pin()
    sources = [node for node in pinned.chain.topological() if node.op == "open"]
    assert [node.params["fingerprint"] for node in sources] == ["f1"]
    assert isinstance(pinned, Image)
    assert not pinned.equals(image)


def test_diff_shows_the_steps_that_differ(engine):
    image = opening.open("/data/dem.tif")
    text = opening.diff(image + 1, image + 2)
    assert "- constant(value=1)" in text
    assert "+ constant(value=2)" in text
    assert "open" not in text
    assert opening.diff(image, image) == "The chains are equal."


def test_a_missing_file_is_told_with_what_lies_there(engine, tmp_path, monkeypatch):
    monkeypatch.delenv("GEOLOOM_ENGINE_URL", raising=False)
    (tmp_path / "mising.tif").touch()
    with pytest.raises(SourceNotFound) as caught:
        opening.open(tmp_path / "missing.tif")
    assert caught.value.hint == f"Looked in {tmp_path}; did you mean mising.tif?"
    with pytest.raises(SourceNotFound) as caught:
        opening.open(tmp_path / "scenes" / "missing.tif")
    assert caught.value.hint == f"There is no folder scenes in {tmp_path}."
    (tmp_path / "missing.tif").mkdir()
    with pytest.raises(SourceNotFound) as caught:
        opening.open(tmp_path / "missing.tif")
    assert caught.value.hint is None
    (tmp_path / "missing.tif" / "B1.tif").touch()
    with pytest.raises(SourceNotFound) as caught:
        opening.open(tmp_path / "missing.tif")
    assert caught.value.hint == "It holds B1.tif."


def test_files_of_an_engine_elsewhere_are_not_looked_for_here(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", "https://engine.example")
    with pytest.raises(SourceNotFound) as caught:
        opening.open(tmp_path / "missing.tif")
    assert caught.value.hint is None


def test_packed_values_are_unpacked_if_asked_for(engine, monkeypatch):
    packed = {**BAND, "scale": 0.01, "offset": 20.0}
    info = {**engine.info("/data/a.nc"), "bands": [packed]}
    monkeypatch.setattr(engine, "info", lambda href: info)
    image = opening.open("/data/a.nc", unpack=True)
    assert (image.dtype, image.unit, image.band_names) == ("float32", "m", ("b1",))
    assert image.equals(opening.open("/data/a.nc").unpack(0.01, 20))
    info["bands"] = [BAND]
    assert opening.open("/data/a.nc", unpack=True).equals(opening.open("/data/a.nc"))
    info["bands"] = [packed, {**packed, "name": "b2", "scale": 0.5}]
    with pytest.raises(ParameterError, match="packed in different ways"):
        opening.open("/data/a.nc", unpack=True)


def test_a_file_of_bands_has_no_variables(engine):
    with pytest.raises(ParameterError, match=r"dem\.tif holds bands"):
        opening.open("/data/dem.tif", variable="sst")
