from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import geoloom_engine.pipeline
from geoloom.chain import Chain
from geoloom.errors import CorruptChain, ImageUseError, ParameterError, UnknownOp
from geoloom.grid import Tile
from geoloom.ops.constant import Constant
from geoloom.ops.focal import FocalMean
from geoloom.ops.open import Open
from geoloom_engine.pipeline import Pipeline
from geoloom_engine.settings import load

TILE = Tile.at(15.05, 45.1, 11)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(load(["--sources", str(tmp_path)], {}))
    yield made
    made.close()


@pytest.fixture
def chain(tmp_path: Path, new_raster: Callable[[Path], Path]) -> Chain:
    return Open(href=str(new_raster(tmp_path / "scene.tif"))).chain()


def test_a_tile_from_start_to_end(pipeline: Pipeline, chain: Chain) -> None:
    drawn = pipeline.tile(chain, TILE, 2)
    assert Image.open(io.BytesIO(drawn.png)).size == (512, 512)
    assert drawn.data == pipeline.version(chain)
    assert list(drawn.stages) == ["plan", "read", "compute", "encode"]


def test_what_cannot_be_drawn_is_said_before_it_is_read(
    pipeline: Pipeline, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoloom_engine.pipeline, "fetch", lambda *_: pytest.fail("pixels were read"))
    mean = FocalMean(radius=1.0).chain(chain)
    with pytest.raises(ImageUseError, match="float32 in 1 band"):
        pipeline.tile(mean, TILE, 1)


def test_chains_are_checked_as_they_are_read(pipeline: Pipeline, chain: Chain) -> None:
    assert pipeline.read(chain.to_json()) == chain
    with pytest.raises(CorruptChain):
        pipeline.read(b"{}")
    with pytest.raises(UnknownOp):
        pipeline.read(Chain.extend("nosuchop", 1, {}).to_json())
    with pytest.raises(ParameterError):
        pipeline.read(Chain.extend("open", 1, {"href": 1, "fingerprint": None}).to_json())


def test_remote_chains_are_known(pipeline: Pipeline, chain: Chain) -> None:
    assert not pipeline.remote(chain)
    assert pipeline.remote(Open(href="https://a.example/b.tif").chain())


def test_the_plan_of_the_middle_is_explained_by_default(pipeline: Pipeline, chain: Chain) -> None:
    described = pipeline.describe(chain)
    west, south, east, north = described["bounds"]
    plan = pipeline.explain(chain, None, None)
    zoom, x, y = plan["tile"]
    assert zoom == described["zooms"][1]
    bounds = Tile(zoom, x, y).bounds()
    assert bounds.west <= (west + east) / 2 <= bounds.east
    assert bounds.south <= (south + north) / 2 <= bounds.north
    assert pipeline.explain(chain, TILE, None)["tile"] == [TILE.z, TILE.x, TILE.y]


def test_images_without_sources_have_no_edge(pipeline: Pipeline) -> None:
    chain = Constant(value=3).chain()
    assert pipeline.describe(chain)["bounds"] is None
    assert pipeline.explain(chain, None, 2)["tile"][0] == 2


def test_legends(pipeline: Pipeline, chain: Chain) -> None:
    assert pipeline.legend(chain)["bands"] == ["b1"]
    assert Image.open(io.BytesIO(pipeline.legend_picture(chain, 1))).format == "PNG"


def test_sources_must_be_absolute() -> None:
    with pytest.raises(ValueError, match="relative"):
        Pipeline(load(["--sources", "relative"], {}))
