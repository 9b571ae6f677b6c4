"""Questions about values: what a file or chain holds, points, statistics, and what a view costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geoloom.chain import canonical
from geoloom.errors import ParameterError, RequestError
from geoloom_engine.routes import fields
from geoloom_engine.routes.base import Handler

if TYPE_CHECKING:
    from geoloom.chain import Chain
    from geoloom_engine.lanes import Wanted


class Info(Handler):
    """``POST /info``: what a file (``href``) or an image (``chain`` or ``key``) holds."""

    route = "values"

    async def post(self) -> None:
        """Describe one of the three."""
        await self.need_caller()
        body = await self.json_body(limit=2 << 20)
        asked = [name for name in ("href", "chain", "key") if name in body]
        if len(asked) != 1:
            raise RequestError("Ask for one of 'href', 'chain' and 'key'.")
        pipeline = self.services.pipeline
        if asked == ["href"]:
            href = fields.text(body, "href")
            self.check_href(href)
            self.answer(await self.services.wait_for(lambda: pipeline.source(href), remote="://" in href))
            return
        if asked == ["key"]:
            chain = await self.chain(fields.key(body))
        else:
            chain = await self.services.wait_for(lambda: pipeline.read(_raw(body["chain"])), remote=False)
            await self.check_rights(chain)
        self.answer(await self.services.look_at(chain, lambda: pipeline.describe(chain)))


class Question(Handler):
    """A question that pixels are computed for."""

    route = "values"

    async def computed[T](self, chain: Chain, asked: tuple[Any, ...], task: Callable[[Wanted, str], T]) -> T:
        """What a task gives that is told whether to go on and for which session; equal questions share it."""
        session = self.session
        work = self.services.compute_while_wanted(
            (asked[0], chain.root, *asked[1:]),
            session,
            lambda wanted: task(wanted, session),
            outside=self.services.pipeline.outside(chain),
        )
        return await self.attentive(work)


class Point(Question):
    """``POST /point``: the values at a place, of the map's zoom or native."""

    asked = "point"

    async def post(self) -> None:
        """Values of all bands."""
        await self.need_caller()
        body = await self.json_body()
        zoom = fields.zoom(body)
        lon, lat = fields.number(body, "lon", -180, 180), fields.number(body, "lat", -90, 90)
        chain = await self.chain(fields.key(body))
        found = getattr(self.services.pipeline, self.asked)
        self.answer(
            await self.computed(
                chain,
                (self.asked, lon, lat, zoom),
                lambda wanted, session: found(chain, lon, lat, zoom, wanted, session),
            )
        )


class Series(Point):
    """``POST /series``: the same of every item of a composite, by date."""

    asked = "series"


class Statistics(Question):
    """``POST /statistics``: counts, moments, percentiles and a histogram, from a coarse grid."""

    async def post(self) -> None:
        """Statistics of all bands."""
        await self.need_caller()
        body = await self.json_body()
        bbox = fields.bbox(body)
        chain = await self.chain(fields.key(body))
        pipeline = self.services.pipeline
        self.answer(
            await self.computed(
                chain,
                ("statistics", bbox),
                lambda wanted, session: pipeline.statistics(chain, bbox, wanted, session),
            )
        )


class Window(Question):
    """``POST /window``: the pixels that a user's function is given for a tile, or that a node gives.

    The answer is as `geoloom.given.Given.pack` writes it.
    """

    async def post(self) -> None:
        """The window of a node (``node``, by default the root) on a tile (``z``, ``x``, ``y``, ``ratio``)."""
        await self.need_caller()
        body = await self.json_body()
        chain = await self.chain(fields.key(body))
        node = fields.text(body, "node") if "node" in body else chain.root
        tile = fields.tile(body)
        ratio = fields.whole(body, "ratio") if "ratio" in body else 1
        pipeline = self.services.pipeline
        found = await self.computed(
            chain,
            ("window", node, tile, ratio),
            lambda wanted, session: pipeline.window(chain, node, tile, ratio, wanted, session),
        )
        content = await self.services.wait_for(found.pack, remote=False)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Cache-Control", "no-store")
        self.finish(content)


class Explain(Handler):
    """``POST /explain``: the plan of a tile, or of the tile in the image's middle, and its cost."""

    route = "values"

    async def post(self) -> None:
        """The plan, or why the view is refused."""
        await self.need_caller()
        body = await self.json_body()
        zoom, tile = fields.zoom(body), None
        if "z" in body:
            tile = fields.tile(body)
        chain = await self.chain(fields.key(body))
        pipeline = self.services.pipeline
        self.answer(await self.services.look_at(chain, lambda: pipeline.explain(chain, tile, zoom)))


def _raw(chain: Any) -> bytes:
    try:
        return canonical(chain)
    except ParameterError as error:
        raise RequestError(error.message) from None
