"""What a function is given for a tile, handed out: the same arrays as in the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geoloom.chain import Chain, key_of
from geoloom.errors import FunctionFailed, NotFound
from geoloom.given import Given
from geoloom.grid import Tile
from geoloom.ops.composite import Composite
from geoloom.ops.execute import Execute
from geoloom.ops.focal import FocalMean
from geoloom.ops.item import Item as ItemOp
from geoloom.ops.open import Open
from geoloom.ops.resample import Resample
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.evaluate import run
from geoloom_engine.functions import Functions
from geoloom_engine.pipeline import Pipeline
from geoloom_engine.settings import load

TILE = Tile.at(15.05, 45.1, 13)
TEXT = b"def f(img): return img[0] + 1"
KEY = key_of(TEXT)


class Recording:
    """Remembers what the sandbox is given."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.given: list[Given] = []

    def call(self, call: Any, block: Any, grid: Any, wanted: Any) -> Any:
        self.given.append(Given.of(block, call.names, grid, call.margin))
        return self.sandbox.call(call, block, grid, wanted)

    def close(self) -> None:
        pass


@pytest.fixture
def recording(in_process: Any) -> Recording:
    return Recording(in_process)


@pytest.fixture
def pipeline(tmp_path: Path, recording: Recording) -> Iterator[Pipeline]:
    made = Pipeline(
        load(["--sources", str(tmp_path)], {}), Functions(recording, ("numpy",), {KEY: TEXT}.__getitem__)
    )
    yield made
    made.close()


@pytest.fixture
def scene(tmp_path: Path, new_raster: Callable[[Path], Path]) -> Chain:
    return Open(href=str(new_raster(tmp_path / "scene.tif"))).chain()


def same(one: Given, other: Given) -> bool:
    return (
        one.data.dtype == other.data.dtype
        and np.array_equal(one.data, other.data)
        and np.array_equal(
            np.broadcast_to(one.valid, one.data.shape), np.broadcast_to(other.valid, one.data.shape)
        )
        and (one.names, one.grid, one.margin) == (other.names, other.grid, other.margin)
    )


@pytest.mark.parametrize("how", [None, "nearest", "cubic"])
@pytest.mark.parametrize("around", [0, 3])
def test_a_window_is_what_the_function_is_given(
    pipeline: Pipeline, scene: Chain, recording: Recording, how: Any, around: int
) -> None:
    node = Execute(text=KEY, main="f", dtype="int32", around=around).chain(scene)
    chain = node if how is None else Resample(how=how).chain(node)
    chain = FocalMean(radius=2.0).chain(chain)
    call = pipeline.functions.bound("s", lambda: True, [])

    run(pipeline.planner, chain, TILE.grid(), call)
    window = pipeline.window(chain, node.root, TILE, 1)
    assert same(Given.unpack(window.pack()), recording.given[0])
    assert window.grid == TILE.grid().expand(2)
    assert window.margin == around
    assert window.valid.any()


def test_any_other_node_gives_what_it_gives(pipeline: Pipeline, scene: Chain) -> None:
    chain = Execute(text=KEY, main="f", dtype="int32").chain(scene)
    below = pipeline.window(chain, scene.root, TILE, 1)
    assert below.data.dtype == np.int32
    assert below.margin == 0
    mean = FocalMean(radius=1.0).chain(chain)
    found = pipeline.window(mean, mean.root, TILE, 1)
    assert found.data.dtype == np.float32
    assert found.data.shape[1:] == (256, 256)


def test_a_node_that_is_none_is_told(pipeline: Pipeline, scene: Chain) -> None:
    with pytest.raises(NotFound, match="no step"):
        pipeline.window(scene, "0" * 32, TILE, 1)


def test_a_function_of_each_item_is_given_the_one_on_which_it_fails(
    pipeline: Pipeline, tmp_path: Path, new_raster: Callable[..., Path], in_process: Any
) -> None:
    places = [new_raster(tmp_path / f"{name}.tif", phase) for phase, name in enumerate("abc")]
    info = pipeline.pool.open(str(places[0])).info
    west, south, east, north = info.bounds
    items = [
        Item(path.stem, None, shapely.box(west, south, east, north), (Asset(str(path), ((0, 0),)),))
        for path in places
    ]
    selection = Selection.of("three", [SelectedBand("b1", info.bands[0].dtype)], items)
    pipeline.keep(selection.key, selection.to_bytes())
    node = Execute(text=KEY, main="f", dtype="int32").chain(ItemOp(selection=selection.key).chain())
    chain = Composite(selection=selection.key, how="max").chain(each=node)
    first = pipeline.window(chain, node.root, TILE, 1)
    assert first.valid.any()

    calls = in_process.call

    def failing(*args: Any) -> Any:
        if len(in_process.calls) == 1:
            in_process.calls.append(args)
            raise FunctionFailed("no", function="f", line=1, text="", exception="no")
        return calls(*args)

    in_process.calls.clear()
    in_process.call = failing
    second = pipeline.window(chain, node.root, TILE, 1)
    assert len(in_process.calls) == 2
    assert not np.array_equal(second.data, first.data)
    in_process.calls.clear()
    with pytest.raises(FunctionFailed) as caught:
        run(pipeline.planner, chain, TILE.grid(), pipeline.functions.bound("s", lambda: True, []))
    assert "on the item b" in str(caught.value)
