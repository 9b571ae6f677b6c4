"""What a map shows beside a layer's tiles: legend and TileJSON."""

from __future__ import annotations

from geoloom_engine.routes.base import Handler
from geoloom_engine.routes.tiles import ratio_of


class Legend(Handler):
    """``GET /legend/{key}``: what the colours mean."""

    route = "legend"
    guarded = False

    async def get(self, key: str) -> None:
        """The legend as JSON."""
        chain = await self.capable_chain(key)
        pipeline = self.services.pipeline
        self.answer(await self.services.look_at(chain, lambda: pipeline.legend(chain)))


class LegendPicture(Handler):
    """``GET /legend/{key}.png``: the legend as a picture."""

    route = "legend"
    guarded = False

    async def get(self, key: str, suffix: str | None) -> None:
        """The legend as PNG."""
        chain = await self.capable_chain(key)
        pipeline, ratio = self.services.pipeline, ratio_of(suffix)
        png = await self.services.look_at(chain, lambda: pipeline.legend_picture(chain, ratio))
        self.set_header("Content-Type", "image/png")
        self.set_header("Cache-Control", "private, no-cache")
        self.finish(png)


class TileJson(Handler):
    """``GET /tilejson/{key}``: TileJSON 3.0.0, with the capability of the request in its tile URL."""

    route = "tilejson"
    guarded = False

    async def get(self, key: str) -> None:
        """The TileJSON."""
        chain = await self.capable_chain(key)
        services = self.services
        data = await services.chains.version(chain)
        described = await services.look_at(chain, lambda: services.pipeline.describe(chain))
        token = self.get_query_argument("c", None)
        permission = f"c={token}&" if token else ""
        west, south, east, north = described["bounds"] or (-180.0, -85.06, 180.0, 85.06)
        low, high = described["zooms"]
        self.answer(
            {
                "tilejson": "3.0.0",
                "name": ", ".join(described["bands"]),
                "tiles": [
                    f"{self.origin}{services.settings.prefix}/tiles/{chain.root}"
                    f"/{{z}}/{{x}}/{{y}}.png?{permission}d={data}"
                ],
                "bounds": [west, south, east, north] if west < east else [-180.0, south, 180.0, north],
                "minzoom": low,
                "maxzoom": high,
            }
        )
