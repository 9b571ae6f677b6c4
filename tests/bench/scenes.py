"""The two scenes as the engine knows them, and which of their tiles are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pyproj import Transformer

from geoloom.grid import Tile
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.open import Open

TILES_ACROSS = 4
"""A view is so many tiles wide and high, as on a laptop's map."""


class Describes(Protocol):
    """Says what a file holds, as an engine's client does."""

    def info(self, href: str) -> dict[str, Any]:
        """What the engine answers to ``/info``."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene's place in its CRS, in metres."""

    folder: Path
    crs: str
    west: float
    north: float
    width: float
    height: float

    @staticmethod
    def of(folder: Path, client: Describes) -> Scene:
        """The scene in a folder, by what the engine says of a band."""
        info = client.info(str(folder / "B08.tif"))
        west, dx, _, north, _, dy = info["transform"]
        return Scene(folder, info["crs"], west, north, info["width"] * dx, -info["height"] * dy)

    def place(self, right: float, down: float) -> tuple[float, float]:
        """Longitude and latitude of a point given in shares of the scene's width and height."""
        degrees = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        lon, lat = degrees.transform(self.west + right * self.width, self.north - down * self.height)
        return lon, lat


@dataclass(frozen=True, slots=True)
class Scenes:
    """Both scenes, and who says what their files hold."""

    first: Scene
    second: Scene
    client: Describes

    @staticmethod
    def of(folder: Path, client: Describes) -> Scenes:
        """The scenes of a data folder."""
        return Scenes(Scene.of(folder / "S1", client), Scene.of(folder / "S2", client), client)

    def image(self, scene: int, band: str) -> Image:
        """One band of scene 0 or 1, as `gl.open` gives it."""
        op = Open(href=str((self.first, self.second)[scene].folder / f"{band}.tif"))
        info = self.client.info(op.href)
        return Image(op.chain(), Profile.of_source(info).pick((0,)), {op.href: info})

    def tiles(self, area: str, zoom: int, count: int) -> list[Tile]:
        """Random tiles, the same in each run.

        Parameters
        ----------
        area
            ``scene`` (the first), ``union`` (both), ``seam`` (where the first ends upon the second) or
            ``same`` (one tile of the first again and again).
        """
        chosen = random.Random(f"{area if area != 'same' else 'scene'} {zoom}")
        both = (self.second.west + self.second.width - self.first.west) / self.first.width
        left, right = {"union": (0.16, both - 0.15), "seam": (1.0, 1.0)}.get(area, (0.22, 0.98))
        found = []
        for _ in range(1 if area == "same" else count):
            place = self.first.place(chosen.uniform(left, right), chosen.uniform(0.02, 0.98))
            found.append(Tile.at(*place, zoom))
        return found * count if area == "same" else found

    def walks(self, zoom: int) -> int:
        """How many walks there are room for without meeting one's own tracks."""
        return len(self._starts(zoom))

    def walk(self, zoom: int, turn: int, views: int = 20) -> Iterator[list[Tile]]:
        """Views of a map that is panned: half of each is in the view before, half was never seen.

        The way leads east, twice south, and back west; each `turn` is another part of the scene.
        """
        step = TILES_ACROSS // 2
        starts = self._starts(zoom)
        x, y, columns = starts[turn % len(starts)]
        east = min((columns - TILES_ACROSS) // step, (views - 2) // 2)
        for dx, dy in [(0, 0), *[(step, 0)] * east, *[(0, step)] * 2, *[(-step, 0)] * east][:views]:
            x, y = x + dx, y + dy
            yield [Tile(zoom, x + i, y + j) for j in range(TILES_ACROSS) for i in range(TILES_ACROSS)]

    def _starts(self, zoom: int) -> list[tuple[int, int, int]]:
        """Column, row and width in tiles of each part of the first scene a walk fits into."""
        corners = ((0.16, 0.03), (0.97, 0.97))
        first, last = (Tile.at(*self.first.place(*corner), zoom) for corner in corners)
        columns, rows = last.x - first.x + 1, 2 * TILES_ACROSS
        return [(first.x, y, columns) for y in range(first.y, max(last.y - rows + 2, first.y + 1), rows)]
