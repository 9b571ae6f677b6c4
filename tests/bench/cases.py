"""What is compared: each case as TiTiler's URL, as an engine's chain and as a formula, from one recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from bench.classify import PALETTE, classify
from bench.scenes import Scenes
from geoloom.image import Image

Floats = npt.NDArray[np.float64]
TILE = "tiles/WebMercatorQuad/{z}/{x}/{y}.png"
STACK = ("B02", "B03", "B04", "B08")
"""Bands of the file that holds several."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is shown.

    Parameters
    ----------
    kind
        ``band`` as it is, ``ndvi`` of two, ``rgb`` of three, ``classes`` of four by a user's function.
    bands
        Which are read, of one scene or of both laid over each other.
    limits
        Values of the ramp's ends; of classes 0 and the last.
    ramp
        Its name, the same in both servers; empty for rgb and classes.
    how
        Resampling.
    """

    kind: Literal["band", "ndvi", "rgb", "classes"]
    bands: tuple[str, ...]
    limits: tuple[float, float]
    ramp: str = ""
    how: Literal["nearest", "bilinear"] = "nearest"
    scenes: int = 1

    def image(self, scenes: Scenes, ramp: str = "") -> Image:
        """The engine's chain; `ramp` replaces the recipe's own."""
        parts = [
            [scenes.image(i, band).resample(self.how) for band in self.bands] for i in range(self.scenes)
        ]
        laid = [reduce(Image.combine_first, band) for band in zip(*parts, strict=True)]
        value = laid[0]
        if self.kind == "classes":
            return laid[0].stack(*laid[1:]).execute(classify).palette(PALETTE)
        if self.kind == "rgb":
            stack = laid[0].stack(*laid[1:])
            value = stack.rgb(*stack.band_names)
        elif self.kind == "ndvi":
            value = (laid[0] - laid[1]) / (laid[0] + laid[1])
        shown: Image = value.scale(*self.limits)
        return shown.colormap(ramp or self.ramp) if self.ramp else shown

    def shades(self, bands: Floats) -> Floats:
        """The shades, 0 to 255 without rounding, of band values (bands, …): (1 or 3, …)."""
        value = bands
        if self.kind == "ndvi":
            with np.errstate(invalid="ignore", divide="ignore"):
                value = (bands[:1] - bands[1:2]) / (bands[:1] + bands[1:2])
        elif self.kind == "classes":
            value = np.where(np.isnan(bands).any(axis=0), np.nan, classify(np.nan_to_num(bands)))[None]
        low, high = self.limits
        return np.clip((value - low) / (high - low) * 255, 0, 255)

    def titiler(self, folder: Path, stacked: bool) -> str:
        """TiTiler's path; `stacked` reads the file with several bands, which costs it less."""
        first, second = folder / "S1", folder / "S2"
        if self.kind == "classes":
            colours = {str(number): f"{colour}ff" for number, colour in PALETTE.items()}
            return (
                f"/cog/{TILE}?url={first}/stack4.tif&algorithm=classify&colormap={quote(json.dumps(colours))}"
            )
        looks = [f"rescale={self.limits[0]:g},{self.limits[1]:g}"]
        if self.ramp:
            looks.append(f"colormap_name={self.ramp}")
        if self.how != "nearest":
            looks += [f"resampling={self.how}", f"reproject={self.how}"]
        places = [STACK.index(band) + 1 for band in self.bands]
        if self.scenes > 1:
            source = f"/mosaic/{TILE}?url={first}/stack4.tif,{second}/stack4.tif"
        elif len(self.bands) == 1:
            source, places = f"/cog/{TILE}?url={first}/{self.bands[0]}.tif", [1]
        elif stacked:
            source = f"/cog/{TILE}?url={first}/stack4.tif"
        else:
            named = "&".join(f"assets={band}" for band in self.bands)
            source = f"/bands/{TILE}?url={first}&{named}&asset_as_band=true"
            places = list(range(1, len(self.bands) + 1))
        if self.kind == "ndvi":
            nir, red = (f"b{place}" for place in places)
            looks.append(f"expression=({nir}-{red})/({nir}%2B{red})")
        elif "stack4" in source:
            looks += [f"bidx={place}" for place in places]
        return "&".join((source, *looks))


@dataclass(frozen=True, slots=True)
class Case:
    """A recipe, where it is asked for, and how many times cheaper than TiTiler it is to be.

    Parameters
    ----------
    area
        See `Scenes.tiles`.
    warm, cold
        The least ratio of TiTiler's processor time to the engine's, with decoded blocks in memory and
        without; None for not measured. `e` counts as warm, with all caches on.
    raw
        Whether TiTiler's fastest PNG is measured too.
    """

    name: str
    title: str
    recipe: Recipe
    area: Literal["scene", "union", "seam", "same"] = "scene"
    zoom: int = 13
    ratio: int = 1
    warm: float | None = None
    cold: float | None = None
    raw: bool = False

    @property
    def stacked(self) -> bool:
        """Whether TiTiler has a cheaper way from one file with several bands."""
        return len(self.recipe.bands) > 1 and self.recipe.scenes == 1 and self.raw

    def titiler(self, folder: Path, kind: Literal["png", "pngraw"] = "png", stacked: bool = False) -> str:
        """TiTiler's path with ``{z}/{x}/{y}`` in it."""
        path = self.recipe.titiler(folder, stacked) + (
            f"&tilesize={256 * self.ratio}" if self.ratio > 1 else ""
        )
        return path.replace(".png?", f".{kind}?")

    def engine(self, template: str) -> str:
        """The engine's path, from the template it gave for the chain."""
        return template.replace("{y}", f"{{y}}@{self.ratio}x") if self.ratio > 1 else template


BAND = Recipe("band", ("B08",), (0, 6000), "viridis")
BAND_BILINEAR = Recipe("band", ("B08",), (0, 6000), "viridis", how="bilinear")
NDVI = Recipe("ndvi", ("B08", "B04"), (-0.2, 1), "rdylgn")
RGB = Recipe("rgb", ("B04", "B03", "B02"), (200, 2500))
MOSAIC = Recipe("ndvi", ("B08", "B04"), (-0.2, 1), "rdylgn", scenes=2)
CLASSES = Recipe("classes", STACK, (0, max(PALETTE)))

CASES = (
    Case("a", "one band, viridis", BAND, warm=40, cold=7, raw=True),
    Case("a_bil", "one band, bilinear", BAND_BILINEAR, warm=40, cold=7),
    Case("b", "NDVI of two files", NDVI, warm=45, cold=5.5, raw=True),
    Case("c", "RGB of three files", RGB, warm=30, cold=5.5, raw=True),
    Case("d", "NDVI of a mosaic, anywhere", MOSAIC, area="union", warm=22, cold=4.5),
    Case("d_seam", "NDVI of a mosaic, two scenes deep", MOSAIC, area="seam", warm=35, cold=4.5),
    Case("e", "the same NDVI tile again", NDVI, area="same", warm=300),
    Case("u", "classes by a user's function", CLASSES, warm=6, cold=2),
    Case("a_512", "one band, 512 px (@2x)", BAND, ratio=2, warm=28),
    Case("b_512", "NDVI, 512 px (@2x)", NDVI, ratio=2, warm=20),
    Case("b_z10", "NDVI at zoom 10 (overviews)", NDVI, zoom=10, warm=30),
    Case("b_z16", "NDVI at zoom 16 (oversampled)", NDVI, zoom=16, warm=15),
)
