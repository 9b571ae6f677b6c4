"""Questions about collections: which there are, and what a query finds in one."""

from __future__ import annotations

import json
import math
from typing import Any

from geoloom.errors import RequestError
from geoloom.query import Query
from geoloom_engine.callers import Caller
from geoloom_engine.routes import fields
from geoloom_engine.routes.base import Handler

MOST_BYTES = 8 << 20
"""Of a question: an area may have many corners."""


class Question(Handler):
    """A question about catalogues: long answers are written beside the event loop."""

    route = "search"

    def answer_text(self, text: str) -> None:
        """Finish with JSON that is written already."""
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(text)


class Search(Question):
    """``POST /search``: the number, the items or the selection that a query finds."""

    async def post(self) -> None:
        """Answer ``count``, ``items`` or ``selection``."""
        await self.need_caller()
        body = await self.json_body(limit=MOST_BYTES)
        kind = fields.text(body, "answer")
        if kind not in ("count", "items", "selection"):
            raise RequestError(
                f"{kind[:40]!r} is no answer.", hint="Ask for 'count', 'items' or 'selection'."
            )
        if "query" not in body:
            raise RequestError("The request lacks 'query'.")
        asked, caller = body["query"], self.caller
        self.answer_text(await self.services.wait_for(lambda: self._found(kind, asked, caller), remote=True))

    def _found(self, kind: str, asked: Any, caller: Caller) -> str:
        query, catalogues = Query.from_json(asked), self.services.pipeline.catalogues
        rights = self.services.rights
        if rights.any:
            name = catalogues.name_of(
                query.collection, lambda name: rights.may(caller, rights.of_collection(name))
            )
            rights.require(caller, rights.of_collection(name))
        if kind == "count":
            return written({"count": catalogues.count(query)})
        if kind == "items":
            count, items = catalogues.items(query)
            return written({"count": count, "items": items})
        selection, problems = catalogues.selection(query)
        text = selection.to_bytes().decode("utf-8")
        return written({"count": len(selection), "selection": text, "problems": problems})


class Collections(Question):
    """``POST /collections``: all collections, or those that some words speak of."""

    async def post(self) -> None:
        """Describe them."""
        await self.need_caller()
        body = await self.json_body()
        words = fields.text(body, "words") if body.get("words") is not None else None

        rights, caller = self.services.rights, self.caller

        def told() -> str:
            answer = self.services.pipeline.catalogues.collections(words)
            answer["collections"] = [
                one
                for one in answer["collections"]
                if rights.may(caller, rights.of_collection(f"{one['catalog']}/{one['id']}"))
            ]
            return written(answer)

        self.answer_text(await self.services.wait_for(told, remote=True))


def written(answer: dict[str, Any]) -> str:
    """An answer as JSON; numbers that JSON does not have are null, as in a catalogue that lacks them."""
    try:
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(answer), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
