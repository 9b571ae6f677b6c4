"""The base map that works offline: ``GET /basemap/{z}/{x}/{y}.png``, open to all."""

from __future__ import annotations

from geoloom_engine.routes.base import Handler
from geoloom_engine.routes.tiles import ratio_of, tile_of


class BasemapTile(Handler):
    """One tile of the base map, drawn from public data: needs no permission."""

    route = "basemap"
    guarded = False

    async def get(self, z: str, x: str, y: str, ratio: str | None) -> None:
        """Serve the tile."""
        tile = tile_of(z, x, y)
        png = await self.attentive(self.services.tiles.basemap(tile, ratio_of(ratio)))
        self.set_header("Content-Type", "image/png")
        self.set_header("Cache-Control", "public, max-age=604800")
        self.finish(png)
