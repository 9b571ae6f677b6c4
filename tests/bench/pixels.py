"""Whether both servers show the same picture, and the right one.

A tile is computed anew from the files: positions of every pixel by PROJ, values by GDAL, the recipe's
formula in float64. The engine's pixels must be these. TiTiler's are not exactly: its positions are
approximate by up to an eighth of a pixel, and some of its ways pick pixels of a grid they warped to
first; so a pixel of its tile may show anything the files hold within one pixel of the place (bilinear:
two). And the pictures as a whole must not differ in brightness.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from osgeo import gdal
from PIL import Image as Picture
from pyproj import Transformer

from bench.cases import Case, Floats, Recipe
from bench.classify import PALETTE
from bench.measure import Failed
from geoloom.colour import LEVELS, components, lut, ramp
from geoloom.grid import Tile

gdal.UseExceptions()

COARSEST = 1.25
"""Overviews are used whose pixels are at most so many times the tile's."""

EXACT_STEPS = 2.0
"""Rounding to 256 shades, then to 255 colours, of which neighbours may be equal."""

NEAR_STEPS = 3.0
"""The same, and TiTiler's truncation to 256 colours."""

EXACT_SHARE, NEAR_SHARE, MEAN_STEPS = 0.995, 0.97, 2.0

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far pictures agree, over all tiles looked at.

    Parameters
    ----------
    engine_exact, titiler_exact
        Share of pixels that are as computed.
    titiler_near
        Share of TiTiler's pixels that show what lies within a pixel or two.
    alike
        Share of pixels that are the same in both, within three steps of 255.
    mean_steps
        TiTiler's mean less the engine's.
    """

    engine_exact: float
    titiler_exact: float
    titiler_near: float
    alike: float
    mean_steps: float

    def check(self, name: str) -> None:
        """Raise Failed if the servers did not do the same work."""
        if (
            self.engine_exact < EXACT_SHARE
            or self.titiler_near < NEAR_SHARE
            or abs(self.mean_steps) > MEAN_STEPS
        ):
            raise Failed(f"case {name}: the pictures differ too much: {self}")


@dataclass(frozen=True, slots=True)
class Exact:
    """A tile as it should be.

    Parameters
    ----------
    shades
        0 to 255, (1 or 3, rows, cols).
    around
        Those of all places nearby, (1 or 3, places, rows, cols); NaN where there is nothing.
    valid
        What is to be seen, (rows, cols).
    """

    shades: Floats
    around: Floats
    valid: Mask

    def near(self, shown: Floats, classes: bool) -> Mask:
        """Whether each of (1 or 3, rows, cols) is within what lies nearby; of classes, one of these."""
        if classes:
            found: Mask = (np.abs(shown[:, None] - self.around) <= NEAR_STEPS).any(axis=1)
            return found
        with np.errstate(invalid="ignore"):
            low = np.nanmin(self.around, axis=1, initial=300.0)
            high = np.nanmax(self.around, axis=1, initial=-1.0)
        return (shown >= low - NEAR_STEPS) & (shown <= high + NEAR_STEPS)


def compare(
    case: Case, folder: Path, tiles: Sequence[Tile], engine: list[bytes], titiler: list[bytes]
) -> Agreement:
    """Compare pictures of the same tiles."""
    found = [
        one(case, exact(case, folder, tile), a, b) for tile, a, b in zip(tiles, engine, titiler, strict=True)
    ]
    return Agreement(*(float(np.mean(column)) for column in zip(*found, strict=True)))


def one(case: Case, right: Exact, engine: bytes, titiler: bytes) -> tuple[float, ...]:
    """The figures of `Agreement` for one tile."""
    ours, our_valid = shades(engine, case.recipe, LEVELS)
    theirs, their_valid = shades(titiler, case.recipe, 256)
    if ours.shape != right.shades.shape or theirs.shape != right.shades.shape:
        raise Failed(f"case {case.name}: tiles of {ours.shape} and {theirs.shape}, not {right.shades.shape}")
    both = our_valid & their_valid

    def share(fits: Mask, valid: Mask) -> float:
        return float(np.mean(np.where(right.valid & valid, fits.all(axis=0), right.valid == valid)))

    near = right.near(theirs, case.recipe.kind == "classes")
    same = np.where(both, (np.abs(ours - theirs) <= NEAR_STEPS).all(axis=0), our_valid == their_valid)
    return (
        share(np.abs(ours - right.shades) <= EXACT_STEPS, our_valid),
        share(np.abs(theirs - right.shades) <= EXACT_STEPS, their_valid),
        share(near, their_valid),
        float(np.mean(same)),
        float(np.mean((theirs - ours)[:, both])) if both.any() else 0.0,
    )


def shades(png: bytes, recipe: Recipe, levels: int) -> tuple[Floats, Mask]:
    """Shades 0 to 255 and visibility of a picture; colours are looked up in the ramp of so many levels."""
    if recipe.kind == "classes":
        names, last = list(PALETTE.values()), recipe.limits[1]
        places = np.array(list(PALETTE)) * 255 / last
    elif recipe.ramp:
        names = lut(ramp(recipe.ramp), levels)
        places = np.arange(levels) * 255 / (levels - 1)
    else:
        names, places = [], np.empty(0)
    rgba = np.asarray(Picture.open(io.BytesIO(png)).convert("RGBA")).transpose(2, 0, 1)
    valid: Mask = rgba[3] > 127
    if not names:
        return rgba[:3].astype(np.float64), valid
    colours = np.array([components(one)[:3] for one in names], np.int64)
    packed = (rgba[:3].astype(np.int64) * np.array([65536, 256, 1])[:, None, None]).sum(axis=0)
    known, where = np.unique(packed, return_inverse=True)
    parts = np.stack((known >> 16, known >> 8 & 255, known & 255), axis=1)
    nearest = ((parts[:, None] - colours[None]) ** 2).sum(axis=2).argmin(axis=1)
    return places[nearest[where]].reshape(1, *valid.shape), valid


def exact(case: Case, folder: Path, tile: Tile) -> Exact:
    """The tile as it should be: of the first scene, and where that is not valid, of the second."""
    found = [_of_scene(case, folder / f"S{number + 1}", tile) for number in range(case.recipe.scenes)]
    first = found[0]
    for below in found[1:]:
        top = first.valid
        first = Exact(
            np.where(top, first.shades, below.shades),
            np.where(top, first.around, below.around),
            top | below.valid,
        )
    return first


def _of_scene(case: Case, folder: Path, tile: Tile) -> Exact:
    grid = tile.grid(case.ratio)
    rows, cols = grid.shape
    lattice = grid.lattice
    x = lattice.x0 + (grid.col + np.arange(cols) + 0.5) * lattice.dx
    y = lattice.y0 - (grid.row + np.arange(rows) + 0.5) * lattice.dy
    reach = 1 if case.recipe.how == "nearest" else 2
    bands = []
    for band in case.recipe.bands:
        raster = gdal.Open(str(folder / f"{band}.tif"))
        place = raster.GetGeoTransform()
        project = Transformer.from_crs(lattice.crs, raster.GetProjection(), always_xy=True)
        east, north = project.transform(*np.meshgrid(x, y))
        level, factor = _level(raster, lattice.dx * _shrinkage(tile), place[1])
        across = (east - place[0]) / (place[1] * factor)
        down = (north - place[3]) / (place[5] * factor)
        bands.append(_around(level, across, down, reach, case.recipe.how))
    stacked = np.stack(bands)  # (bands, places around, rows, cols)
    shown = case.recipe.shades(np.where(stacked > 0, stacked, np.nan))
    valid: Mask = ~np.isnan(shown[:, 0]).any(axis=0)
    return Exact(np.nan_to_num(shown[:, 0]), shown, valid)


def _shrinkage(tile: Tile) -> float:
    """Ground metres of a metre of Web Mercator in a tile's middle."""
    bounds = tile.bounds()
    return math.cos(math.radians((bounds.south + bounds.north) / 2))


def _level(raster: gdal.Dataset, target: float, pixel: float) -> tuple[gdal.Band, float]:
    """The coarsest level fine enough for pixels of `target` metres, and its factor."""
    band = raster.GetRasterBand(1)
    levels = [band, *(band.GetOverview(number) for number in range(band.GetOverviewCount()))]
    fitting = [(one, band.XSize / one.XSize) for one in levels]
    return [(one, factor) for one, factor in fitting if pixel * factor <= COARSEST * target or factor == 1][
        -1
    ]


def _around(level: gdal.Band, across: Floats, down: Floats, reach: int, how: str) -> Floats:
    """The value at each place, then those of all pixels within `reach`, (1 + n, rows, cols); 0 outside."""
    col, row = np.floor(across).astype(int), np.floor(down).astype(int)
    left, top = int(col.min()) - reach - 1, int(row.min()) - reach - 1
    wide, high = int(col.max()) + reach + 2 - left, int(row.max()) + reach + 2 - top
    window = np.zeros((high, wide))
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, level.XSize), min(top + high, level.YSize)
    if x1 > x0 and y1 > y0:
        window[y0 - top : y1 - top, x0 - left : x1 - left] = level.ReadAsArray(x0, y0, x1 - x0, y1 - y0)
    steps = range(-reach, reach + 1)
    near = [window[row - top + j, col - left + i] for j in steps for i in steps]
    if how == "nearest":
        return np.stack([window[row - top, col - left], *near])
    i, j = np.floor(across - 0.5).astype(int), np.floor(down - 0.5).astype(int)
    u, v = across - 0.5 - i, down - 0.5 - j
    value, weight = np.zeros(across.shape), np.zeros(across.shape)
    for dj, dv in ((0, 1 - v), (1, v)):
        for di, du in ((0, 1 - u), (1, u)):
            pixel = window[j + dj - top, i + di - left]
            value += pixel * du * dv
            weight += (pixel > 0) * du * dv
    inside = window[row - top, col - left] > 0
    return np.stack([np.where(inside, value / np.maximum(weight, 1e-9), 0), *near])
