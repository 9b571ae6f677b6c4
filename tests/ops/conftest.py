"""Runs one op on arrays, and gdaldem beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.grid import Grid, Lattice
from geoloom.op import Op, registry
from geoloom.profile import Look, Profile

METRES = Lattice("EPSG:32633", 10.0, 10.0, 400_000.0, 5_000_000.0)

Masked = np.ma.MaskedArray[Any, Any]


def make(name: str, params: dict[str, Any]) -> Op:
    return registry()[name](**params)


def block_of(values: Any) -> Block:
    """A read-only block: masked pixels are invalid."""
    array = np.ma.atleast_2d(np.ma.asarray(values))
    if array.ndim == 2:
        array = array[np.newaxis]
    data = np.array(array.filled(False), copy=True)
    valid = ~np.ma.getmaskarray(array)
    valid = valid if array.shape[0] > 1 and not (valid == valid[:1]).all() else valid[:1].copy()
    data.setflags(write=False)
    valid.setflags(write=False)
    return Block(data, valid)


class Runner:
    """``run("add", a, b)``: arrays of (rows, cols) or (bands, rows, cols), masked ones, or numbers."""

    def __call__(
        self,
        name: str,
        *images: Any,
        lattice: Lattice = METRES,
        corner: tuple[int, int] = (0, 0),
        margin: int = 0,
        profiles: tuple[Profile, ...] | None = None,
        **params: Any,
    ) -> Masked:
        """The op's result on the grid whose north-west pixel (row, col) is `corner`.

        Images come with `margin` pixels around that grid.
        """
        op = make(name, params)
        blocks, known = [], []
        for image in images:
            if isinstance(image, int | float):
                constant = make("constant", {"value": image})
                blocks.append(constant.compute((), Grid(lattice, 0, 0, 1, 1)))
                known.append(constant.profile())
            else:
                block = block_of(image)
                blocks.append(block)
                names = tuple(f"b{i + 1}" for i in range(block.bands))
                known.append(Profile(names, str(block.data.dtype)))
        inputs = tuple(known) if profiles is None else profiles
        rows, cols = np.broadcast_shapes(*(block.shape for block in blocks))
        grid = Grid(lattice, corner[1], corner[0], cols - 2 * margin, rows - 2 * margin)
        result = op.described(*inputs)
        found = self.compute(op, tuple(blocks), grid, inputs, result)
        assert found.data.dtype == result.dtype
        assert found.bands == result.bands
        found = found.fill(grid.rows, grid.cols)
        valid = np.broadcast_to(found.valid, found.data.shape)
        assert not found.data[~valid].any(), "invalid pixels hold 0"
        if found.data.dtype.kind == "f":
            assert np.isfinite(found.data).all()
        return np.ma.array(found.data, mask=~valid)

    @staticmethod
    def compute(
        op: Op, blocks: tuple[Block, ...], grid: Grid, inputs: tuple[Profile, ...], result: Profile
    ) -> Block:
        bands = tuple(range(result.bands))
        routes = op.routes(bands, inputs)
        if routes is not None:
            data = [blocks[i].data[j] for i, j in routes]
            valid = [blocks[i].valid[min(j, blocks[i].valid.shape[0] - 1)] for i, j in routes]
            shape = np.broadcast_shapes(*(one.shape for one in data), *(one.shape for one in valid))
            stacked = np.array([np.broadcast_to(one, shape) for one in data]).astype(result.dtype)
            return Block(stacked, np.array([np.broadcast_to(one, shape) for one in valid]))
        reads = op.reads(bands, inputs)
        assert op.margin_on(grid) * 2 <= min(blocks[0].shape)
        parts = tuple(block.pick(read) for block, read in zip(blocks, reads, strict=True))
        return op.compute(parts, grid, inputs)


@pytest.fixture(scope="session")
def run() -> Runner:
    return Runner()


@pytest.fixture(scope="session")
def profile() -> Callable[..., Profile]:
    """``profile("add", "uint8", 3)``: what an op makes of dtypes, profiles and numbers."""

    def of(name: str, *inputs: Any, **params: Any) -> Profile:
        known = []
        for one in inputs:
            if isinstance(one, str):
                known.append(Profile(("b1",), one))
            elif isinstance(one, int | float):
                known.append(make("constant", {"value": one}).profile())
            else:
                known.append(one)
        return make(name, params).described(*known)

    return of


@pytest.fixture(scope="session")
def grey() -> Profile:
    """One scaled band."""
    return Profile(("ndvi",), "uint8", look=Look("grey", ((-0.2, 1.0),), unit="1", name="ndvi"))


@pytest.fixture(scope="session")
def three() -> Profile:
    return Profile(("red", "green", "blue"), "uint16", unit="1")


@pytest.fixture(scope="session")
def relief() -> Any:
    """Hills of 10 m pixels, float32 (40, 50)."""
    rng = np.random.default_rng(4)
    rows, cols = np.mgrid[0:40, 0:50]
    hills = 300 * np.sin(rows / 7) * np.cos(cols / 9) + 4 * rows + rng.random((40, 50)) * 10
    return (hills + 800).astype("float32")


@pytest.fixture(scope="session")
def gdaldem() -> Callable[..., Any]:
    """``gdaldem("slope", heights)`` on the 10 m pixels of `METRES`; nodata is −9999."""
    from osgeo import gdal, gdal_array, osr

    gdal.UseExceptions()
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)

    def process(kind: str, heights: Any, **options: Any) -> Any:
        rows, cols = heights.shape
        code = gdal_array.NumericTypeCodeToGDALTypeCode(heights.dtype)
        source = gdal.GetDriverByName("MEM").Create("", cols, rows, 1, code)
        source.SetGeoTransform((METRES.x0, METRES.dx, 0, METRES.y0, 0, -METRES.dy))
        source.SetSpatialRef(crs)
        band = source.GetRasterBand(1)
        if heights.dtype.kind != "u":
            band.SetNoDataValue(-9999)
        band.WriteArray(heights)
        return gdal.DEMProcessing("", source, kind, format="MEM", **options).ReadAsArray()

    return process
