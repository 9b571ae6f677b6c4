"""TiTiler in its leanest set-up: its three kinds of access, without middleware, docs or a catalogue.

Runs in the benchmark's own environment: ``uvicorn bench.titiler_app:app --app-dir tests``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import attr
import numpy as np
from fastapi import FastAPI
from rasterio.crs import CRS
from rio_tiler.io import Reader
from rio_tiler.io.base import MultiBaseReader
from rio_tiler.models import ImageData
from rio_tiler.mosaic.backend import BaseBackend
from rio_tiler.types import AssetInfo
from titiler.core.algorithm import BaseAlgorithm, algorithms
from titiler.core.errors import DEFAULT_STATUS_CODES, add_exception_handlers
from titiler.core.factory import MultiBaseTilerFactory, TilerFactory
from titiler.mosaic.factory import MosaicTilerFactory

from bench.classify import classify

LONGITUDE_LATITUDE = CRS.from_epsg(4326)
Box = tuple[float, float, float, float]


@cache
def extent(file: str) -> tuple[Box, CRS, Box]:
    """Bounds of a file in its CRS, the CRS, and its bounds in degrees; looked up once."""
    with Reader(file) as reader:
        return reader.bounds, reader.crs, reader.get_geographic_bounds(LONGITUDE_LATITUDE)


@attr.s
class SceneReader(MultiBaseReader):
    """A folder with a file per band: less work for TiTiler than reading a STAC item."""

    reader: type[Reader] = attr.ib(default=Reader, init=False)
    minzoom: int = attr.ib(default=7)
    maxzoom: int = attr.ib(default=14)

    def __attrs_post_init__(self) -> None:
        self.assets = sorted(path.stem for path in Path(self.input).glob("B*.tif"))
        self.bounds, self.crs, _ = extent(f"{self.input}/{self.assets[0]}.tif")

    def _get_asset_info(self, asset: Any) -> AssetInfo:
        name = asset if isinstance(asset, str) else asset["name"]
        return AssetInfo(
            name=name,
            url=f"{self.input}/{name}.tif",
            media_type=None,
            reader_options={},
            method_options={},
            metadata=None,
            env={},
        )


@attr.s
class FileList(BaseBackend):
    """A mosaic of files whose names stand in the URL: less work for TiTiler than a MosaicJSON."""

    minzoom: int = attr.ib(default=7)
    maxzoom: int = attr.ib(default=14)

    def __attrs_post_init__(self) -> None:
        self.boxes = {file: extent(file)[2] for file in self.input.split(",")}
        west, south, east, north = zip(*self.boxes.values(), strict=True)
        self.bounds = (min(west), min(south), max(east), max(north))
        self.crs = LONGITUDE_LATITUDE

    def assets_for_bbox(self, xmin: float, ymin: float, xmax: float, ymax: float, **_: Any) -> list[str]:
        return [
            file
            for file, (west, south, east, north) in self.boxes.items()
            if west < xmax and east > xmin and south < ymax and north > ymin
        ]

    def assets_for_tile(self, x: int, y: int, z: int, **_: Any) -> list[str]:
        return self.assets_for_bbox(*self.tms.bounds(x, y, z))

    def assets_for_point(self, lng: float, lat: float, **_: Any) -> list[str]:
        return self.assets_for_bbox(lng, lat, lng, lat)


class Classify(BaseAlgorithm):
    """The user's function, called without any protection: TiTiler's way of adding one's own code."""

    input_nbands: int = 4
    output_nbands: int = 1
    output_dtype: str = "uint8"

    def __call__(self, img: ImageData) -> ImageData:
        classes = np.ma.MaskedArray(classify(img.data)[None], mask=img.mask[None] == 0)
        return ImageData(classes, crs=img.crs, bounds=img.bounds, band_names=["class"])


chosen = algorithms.register({"classify": Classify})

app = FastAPI(openapi_url=None)
app.include_router(TilerFactory(process_dependency=chosen.dependency).router, prefix="/cog")
app.include_router(MultiBaseTilerFactory(reader=SceneReader).router, prefix="/bands")
app.include_router(MosaicTilerFactory(backend=FileList).router, prefix="/mosaic")
add_exception_handlers(app, DEFAULT_STATUS_CODES)


@app.get("/ping")
def ping() -> str:
    """Whether the server is there."""
    return "pong"
