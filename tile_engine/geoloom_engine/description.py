"""What a chain gives and where, found without reading a pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from geoloom.grid import MAX_ZOOM, Bounds, Lattice
from geoloom.op import Profile
from geoloom.selection import Selection
from geoloom_engine.painting import Painted
from geoloom_engine.readers import SourceInfo
from geoloom_engine.warp import Limits


@dataclass(frozen=True, slots=True)
class Description:
    """What a chain gives and where, without evaluating it.

    Parameters
    ----------
    profile
        Of the root.
    bounds
        In degrees, of all sources together; None for a chain without sources.
    zooms
        The lowest zoom the engine's limits allow, and the zoom of the finest source's pixels.
    resolution
        Ground metres of the finest source's pixels.
    sources
        By href.
    selections, painted
        The collections it reads items of, and what is painted.
    """

    profile: Profile
    bounds: Bounds | None
    zooms: tuple[int, int]
    resolution: float | None
    sources: dict[str, SourceInfo]
    selections: tuple[Selection, ...] = ()
    painted: tuple[Painted, ...] = ()

    @staticmethod
    def of(
        profile: Profile,
        sources: dict[str, SourceInfo],
        limits: Limits,
        painted: Iterable[Painted] = (),
        selections: Iterable[Selection] = (),
    ) -> Description:
        """The description of what has this profile and these sources."""
        infos, chosen, shapes = list(sources.values()), tuple(selections), tuple(painted)
        places = [info.bounds for info in infos] + [one.bounds for one in chosen if len(one)]
        places += [one.bounds for one in shapes if one.bounds is not None]
        sizes = [info.ground_resolution for info in infos] + [one.resolution for one in chosen]
        sizes += [one.resolution for one in shapes if one.resolution is not None]
        finest = min((size for size in sizes if size > 0), default=None)
        lowest = max((_lowest_zoom(info, limits) for info in infos), default=0)
        highest = MAX_ZOOM if finest is None else min(max(math.ceil(_zoom_of(finest)), 0), MAX_ZOOM)
        bounds = Bounds.around(places) if places else None
        zooms = (min(lowest, highest), highest)
        return Description(profile, bounds, zooms, finest, sources, chosen, shapes)

    def to_json(self) -> dict[str, Any]:
        """The description as ``/info`` answers it."""
        look, bounds = self.profile.look, self.bounds
        return {
            "bands": list(self.profile.names),
            "dtype": self.profile.dtype,
            "unit": self.profile.unit,
            "range": None if self.profile.range is None else list(self.profile.range),
            "look": None if look is None else look.kind,
            "bounds": None if bounds is None else [bounds.west, bounds.south, bounds.east, bounds.north],
            "zooms": list(self.zooms),
            "resolution_m": self.resolution,
            "sources": [info.to_json() for info in self.sources.values()]
            + [selection.info() for selection in self.selections],
        }


def _zoom_of(resolution: float) -> float:
    """The zoom whose pixels measure `resolution` metres at the equator."""
    return math.log2(Lattice.web_mercator(0).dx / max(resolution, 1e-6))


def _lowest_zoom(info: SourceInfo, limits: Limits) -> int:
    """The lowest zoom at which a tile's window of a source stays within the limits."""
    width, height = info.overviews[-1] if info.overviews else (info.width, info.height)
    if width * height <= limits.source_pixels:
        return 0
    coarsest = info.ground_resolution * info.width / width
    reach = math.sqrt(limits.source_pixels) / 256
    return max(0, math.ceil(_zoom_of(coarsest * reach)))
