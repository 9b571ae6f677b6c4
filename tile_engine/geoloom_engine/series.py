"""The values of every item at one place: a time series."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.errors import GeoloomError, RequestError
from geoloom.op import decode
from geoloom.ops.composite import Reduction, stamp
from geoloom_engine.evaluate import evaluate, fetch
from geoloom_engine.gathering import Gathering
from geoloom_engine.plan import Planner
from geoloom_engine.steps import Reduce
from geoloom_engine.unwanted import always
from geoloom_engine.values import of_pixel, place

if TYPE_CHECKING:
    from geoloom_engine.functions import FunctionCall


MORE = 10
"""Files that a series may read for each that a tile may: it is one pixel of them."""


def series(
    planner: Planner,
    chain: Chain,
    lon: float,
    lat: float,
    zoom: int | None,
    call: FunctionCall | None = None,
    wanted: Callable[[], bool] = always,
) -> dict[str, Any]:
    """What each item of a composite has at a point, as ``POST /series`` answers it.

    Parameters
    ----------
    chain
        Its root is a composite: what is computed of each item is told, not the composite itself.
    lon, lat
        Degrees.
    zoom
        A map zoom, or None for the finest pixels there are.

    Raises
    ------
    RequestError
        The image is no composite, or there is no such place.
    DemandError
        More items lie there than may be read for one answer.
    """
    op = decode(chain.node)
    if not isinstance(op, Reduction):
        raise RequestError(
            f"A series needs the image of a collection; this one ends with {op.name}.",
            hint="Call collection.series(lon, lat, f): f makes one image of each item.",
        )
    grid = place(planner, chain, lon, lat, zoom)
    plan = planner.plan(chain, grid, reuse=False, reads=MORE * planner.max_reads)
    index, step = next((i, one) for i, one in enumerate(plan.steps) if isinstance(one, Reduce))
    supply = planner.supply(wanted)
    gathering = plan.gatherings[index]
    own = fetch(gathering.inner, planner.pool, wanted)
    shared: dict[int, Block] = {}
    names = plan.profile.names
    found: list[dict[str, Any]] = []
    failed = 0
    for row, pixels in supply.reader.outcomes(gathering):
        entry: dict[str, Any] = {"id": gathering.selection.ids[row], "date": _date(gathering, row)}
        if isinstance(pixels, GeoloomError):
            failed += 1
            found.append({**entry, "values": dict.fromkeys(names), "error": str(pixels)})
            continue
        blocks = {**own, **pixels}
        block = evaluate(gathering.inner, blocks, None, wanted, call, supply, step, shared)
        found.append({**entry, "values": of_pixel(block.fill(1, 1), names)})
    found.sort(key=lambda entry: (entry["date"] is None, entry["date"], entry["id"]))
    return {"bands": list(names), "unit": plan.profile.unit, "items": found, "failed": failed}


def _date(gathering: Gathering, row: int) -> str | None:
    seconds = float(gathering.selection.dates[row])
    return None if math.isnan(seconds) else stamp(seconds)
