"""Questions about features, and statistics of an image in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geoloom.chain import is_key
from geoloom.errors import RequestError
from geoloom_engine.routes import fields
from geoloom_engine.routes.base import Handler
from geoloom_engine.routes.values import Question
from geoloom_engine.unwanted import insist
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.questions import SOME_VALUES, holding, identified, values
from geoloom_engine.vectors.zonal import zonal

PATIENCE = 15.0
"""Seconds that a question waits for a layer to be prepared."""

LONGEST_WHERE = 10_000
"""Characters of a condition."""


class FeatureQuestion(Handler):
    """A question about the features of a file (``href``) or of a GeoJSON text (``blob``)."""

    route = "values"

    async def told(self, answer: Callable[[Asked], dict[str, Any]], body: dict[str, Any]) -> None:
        """Answer what features tell."""
        asked = await asked_for(self, body)
        self.answer(await self.services.wait_for(lambda: answer(asked()), remote=False))


class Features(FeatureQuestion):
    """``POST /features``: what a layer holds."""

    async def post(self) -> None:
        """Layers, columns, count, geometry, coordinate system and bounds."""
        await self.need_caller()
        await self.told(holding, await self.json_body())


class FeatureValues(FeatureQuestion):
    """``POST /features/values``: what a column holds."""

    async def post(self) -> None:
        """How common its values are, and percentiles of its numbers."""
        await self.need_caller()
        body = await self.json_body()
        name = fields.text(body, "column")
        limit = SOME_VALUES if body.get("limit") is None else fields.whole(body, "limit")
        if limit < 1:
            raise RequestError("limit must be at least 1.")
        await self.told(lambda asked: values(asked, name, limit), body)


class Identify(FeatureQuestion):
    """``POST /identify``: the features at a place."""

    async def post(self) -> None:
        """Their attributes, the uppermost first."""
        await self.need_caller()
        body = await self.json_body()
        lon, lat = fields.number(body, "lon", -180, 180), fields.number(body, "lat", -90, 90)
        zoom = fields.zoom(body)
        await self.told(lambda asked: identified(asked, lon, lat, zoom), body)


class Zonal(Question):
    """``POST /zonal``: statistics of an image (``key``) in each feature."""

    async def post(self) -> None:
        """Count, mean, min, max, std and sum of each band."""
        await self.need_caller()
        body = await self.json_body()
        chain = await self.chain(fields.key(body))
        resolution = None
        if body.get("resolution") is not None:
            resolution = fields.number(body, "resolution", 1e-3, 1e7)
        asked = await asked_for(self, body)
        # Waiting for it must not hold up what others compute.
        await self.services.wait_for(lambda: asked().pack, remote=False)
        pipeline = self.services.pipeline
        name = tuple(body.get(part) for part in ("href", "blob", "layer", "where"))
        self.answer(
            await self.computed(
                chain,
                ("zonal", name, resolution),
                lambda wanted, session: zonal(
                    pipeline.planner,
                    chain,
                    asked(insist(wanted)),
                    resolution,
                    pipeline.functions.bound(session, wanted, []),
                    wanted,
                ),
            )
        )


async def asked_for(handler: Handler, body: dict[str, Any]) -> Callable[..., Asked]:
    """What finds the features that a request names, to be called where that may take a while."""
    given = [name for name in ("href", "blob") if body.get(name) is not None]
    if len(given) != 1:
        raise RequestError("Name the features by one of 'href' and 'blob'.")
    text = fields.text(body, given[0])
    layer, where = (
        fields.text(body, name) if body.get(name) is not None else None for name in ("layer", "where")
    )
    if where is not None and not 0 < len(where.strip()) <= len(where) <= LONGEST_WHERE:
        raise RequestError(f"where is empty or longer than {LONGEST_WHERE:,} characters.")
    pipeline = handler.services.pipeline
    href = text if given == ["href"] else None
    if href is not None:
        handler.check_href(href)
    else:
        if not is_key(text):
            raise RequestError("blob must be a key of 32 hexadecimal digits.")
        content = await handler.services.chains.get_blob(text)
        pipeline.keep(text, content)

    def find(wanted: Callable[[], None] = lambda: None) -> Asked:
        key = None if href is not None else text
        return Asked.of(
            pipeline.pool, pipeline.blobs.get, href, key, layer, where, wanted=wanted, patience=PATIENCE
        )

    return find
