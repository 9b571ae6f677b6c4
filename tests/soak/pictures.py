"""What people look at: some layers over made-up land, and the right pixels of each of their tiles.

What is right is what a quiet engine says, which computes every tile anew. A chain of another key shows
the same pixels when its bands are called otherwise, or when its function gets another argument that
changes nothing: so layers that nobody has seen before are known as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.grid import Tile
from geoloom.ops.arithmetic import Add, Divide, Subtract
from geoloom.ops.colormap import Colormap
from geoloom.ops.execute import Execute
from geoloom.ops.focal import FocalMean
from geoloom.ops.hillshade import Hillshade
from geoloom.ops.open import Open
from geoloom.ops.rename import Rename
from geoloom.ops.scale import Scale
from geoloom.ops.slope import Slope
from geoloom.ops.stack import Stack
from soak.browser import Browser

PNG = b"\x89PNG\r\n\x1a\n"

WEST, NORTH = 15.0, 45.15
"""Degrees, of the scenes' corner."""

SIZE = 4096
"""Pixels of a scene's side, 10 m each."""

LAZY = 1_000_000_000
"""From this number on a function's argument makes it slow, without a change of its result."""

SLOW = LAZY + 8_000_000
"""One that takes it about a quarter of a second for a tile."""

FUNCTION = f"""
def f(img, k):
    for _ in range(k - {LAZY}):
        pass
    return img[0] // 2 + img[0] // 2
"""

Known = Mapping[tuple[str, int, int, int], str]
"""Digest of what is right, by picture and tile."""


@dataclass(frozen=True, slots=True)
class Land:
    """Scenes in a folder.

    Parameters
    ----------
    folder
        Where they are.
    zooms
        First and last that is looked at.
    """

    folder: Path
    zooms: tuple[int, int] = (10, 13)

    def source(self, name: str, variant: int | None) -> Chain:
        """A scene; its band is called after the variant."""
        opened = Open(href=str(self.folder / f"{name}.tif")).chain()
        return opened if variant is None else Rename(names=((f"band{variant}",),)).chain(opened)

    def chain(self, picture: str, variant: int | None = None) -> Chain:
        """A picture's chain; with another number another chain of the same pixels."""
        one, two = self.source("one", variant), self.source("two", variant)
        return PICTURES[picture](one, two, variant or 0)

    def slow(self, number: int) -> Chain:
        """The chain of a function that takes a quarter of a second; its pixels are those of the quick one."""
        return PICTURES["function"](self.source("one", None), self.source("two", None), SLOW + number)

    def tiles(self) -> list[Tile]:
        """All that can be looked at: the scenes and a tile around them."""
        found = []
        for zoom in range(self.zooms[0], self.zooms[1] + 1):
            (first_x, last_x), (first_y, last_y) = self.reach(zoom)
            found += [
                Tile(zoom, x, y) for x in range(first_x, last_x + 1) for y in range(first_y, last_y + 1)
            ]
        return found

    def reach(self, zoom: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last column, first and last row of a zoom's tiles."""
        degrees = SIZE * 10 / 111_320
        first = Tile.at(WEST, NORTH, zoom)
        last = Tile.at(WEST + degrees / 0.71, NORTH - degrees, zoom)
        return (first.x - 1, last.x + 1), (first.y - 1, last.y + 1)


def _index(one: Chain, two: Chain) -> Chain:
    return Divide().chain(Subtract().chain(one, two), Add().chain(one, two))


def _execute(one: Chain, number: int) -> Chain:
    text = blobs.keep(FUNCTION.encode())
    return Execute(text=text, main="f", arguments=f"[[{number}],{{}}]", dtype="int32").chain(one)


PICTURES: Mapping[str, Callable[[Chain, Chain, int], Chain]] = {
    "grey": lambda one, two, number: Scale(limits=(0.0, 60000.0)).chain(one),
    "colours": lambda one, two, number: Colormap(ramp="terrain").chain(Scale(limits=(0.0, 6e4)).chain(two)),
    "index": lambda one, two, number: Colormap(ramp="viridis").chain(
        Scale(limits=(-1.0, 1.0)).chain(_index(one, two))
    ),
    "slope": lambda one, two, number: Colormap(ramp="magma").chain(
        Scale(limits=(0.0, 90.0)).chain(Slope().chain(one))
    ),
    "relief": lambda one, two, number: Scale(limits=(0.0, 255.0)).chain(Hillshade().chain(two)),
    "three bands": lambda one, two, number: Scale(limits=(0.0, 6e4)).chain(Stack().chain(one, two, one)),
    "neighbours": lambda one, two, number: Scale(limits=(0.0, 6e4)).chain(FocalMean(radius=2.0).chain(one)),
    "function": lambda one, two, number: Scale(limits=(0.0, 6e4)).chain(_execute(one, number)),
}
"""By name: a chain of two scenes. The last runs a user's function."""


def write_scenes(folder: Path, size: int = SIZE) -> None:
    """Two scenes of rough land in uint16, with overviews; no block is like another."""
    from osgeo import gdal, osr

    gdal.UseExceptions()
    options = ["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512", "COMPRESS=DEFLATE", "PREDICTOR=2", "ZLEVEL=1"]
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(32633)
    for seed, name in enumerate(("one", "two")):
        random = np.random.default_rng(seed)
        path = str(folder / f"{name}.tif")
        dataset = gdal.GetDriverByName("GTiff").Create(path, size, size, 1, gdal.GDT_UInt16, options)
        dataset.SetProjection(srs.ExportToWkt())
        dataset.SetGeoTransform((500000, 10, 0, 5000000, 0, -10))
        rough = random.integers(0, 2000, (512, 512), dtype=np.uint16)
        for row in range(0, size, 512):
            for col in range(0, size, 512):
                base = np.uint16(random.integers(0, 50000))
                dataset.GetRasterBand(1).WriteArray(np.roll(rough, (row // 7, col // 5)) + base, col, row)
        dataset.BuildOverviews("AVERAGE", [2, 4, 8, 16])
        dataset.FlushCache()


def digest(body: bytes) -> str:
    """By which pictures are compared: all that stands in a PNG, its pixels unpacked.

    Bytes of the same pixels differ now and then, by a byte or so, where ISA-L packed them.
    """
    found = hashlib.sha256()
    place = len(PNG)
    while body.startswith(PNG) and place < len(body):
        length, name = struct.unpack_from(">I4s", body, place)
        content = body[place + 8 : place + 8 + length]
        found.update(name + (zlib.decompress(content) if name == b"IDAT" else content))
        place += 12 + length
    return found.hexdigest() if body.startswith(PNG) else hashlib.sha256(body).hexdigest()


async def known_bytes(land: Land, engine: str, token: str, connections: int = 4) -> Known:
    """What is right of every tile of every picture, from a quiet engine."""
    browser = Browser(engine, connections=connections)
    found: dict[tuple[str, int, int, int], str] = {}

    async def know(picture: str, template: str, tile: Tile) -> None:
        path = template.format(z=tile.z, x=tile.x, y=tile.y)
        answer = await browser.get(path)
        if answer.status != 200:
            raise RuntimeError(f"{picture} {tile}: the quiet engine answered {answer.status}")
        found[picture, tile.z, tile.x, tile.y] = digest(answer.body)

    headers = {"Authorization": f"Bearer {token}"}
    await browser.post("/blobs", FUNCTION.encode(), headers)
    for picture in PICTURES:
        registered = await browser.post("/chains", land.chain(picture).to_json(), headers)
        template = registered.json["tiles"]
        await asyncio.gather(*(know(picture, template, tile) for tile in land.tiles()))
    browser.close()
    return found
