"""A plan in words and numbers, for people who want to know what a view costs before it is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom_engine.plan import Plan
from geoloom_engine.readers.source import blocks_of
from geoloom_engine.steps import Compute, Lookup, Read, Reduce, Step
from geoloom_engine.warp import ReadPlan


def explained(plan: Plan) -> dict[str, Any]:
    """The plan, as ``/explain`` answers it."""
    blocks, size = _decoded(plan)
    steps: list[dict[str, Any]] = []
    for index, step, grid in plan.live():
        margin = (grid.cols - plan.grid.cols) // 2
        entry: dict[str, Any] = {"node": step.key, "rows": grid.rows, "cols": grid.cols, "margin": margin}
        if isinstance(step, Read):
            info = plan.sources[step.href]
            entry |= {
                "op": "read",
                "href": step.href,
                "bands": [info.bands[i].name for i in step.bands],
                "resampling": step.resampling,
                **_read_json(plan.reads[index]),
            }
        elif isinstance(step, Reduce):
            gathering = plan.gatherings[index]
            entry |= {
                "op": step.op.name,
                "params": step.op.params(),
                "collection": gathering.selection.collection,
                "items": len(gathering.rows),
                "of_items": len(gathering.selection),
                "files": gathering.files,
                "strips": gathering.strips,
                "each": [_what(one) for one in step.steps],
                "dtype": step.dtype,
            }
        elif isinstance(step, Compute):
            entry |= {"op": step.op.name, "params": step.op.params(), "dtype": step.dtype}
            if step.op.sandboxed or step.op.painted:
                entry["words"] = repr(step.op)
        elif isinstance(step, Lookup):
            entry |= {"op": "lookup", "ops": list(step.ops), "dtype": step.dtype}
        else:
            entry |= {"op": "gather", "dtype": step.dtype}
        steps.append(entry)
    return {
        "steps": steps,
        "reads": len(plan.reads),
        "files": plan.files,
        "pixels": plan.pixels,
        "bytes": plan.bytes,
        "blocks": blocks,
        "decoded_bytes": size,
        "cost": plan.cost,
        "memory": plan.memory,
        "bands": list(plan.profile.names),
        "dtype": plan.profile.dtype,
    }


def _decoded(plan: Plan) -> tuple[int, int]:
    """Blocks of bands to decode where none is in memory, and their bytes without validity."""
    blocks = size = 0
    for index, demanded in plan.reads.items():
        step = plan.steps[index]
        assert isinstance(step, Read)
        info = plan.sources[step.href]
        each = sum(np.dtype(info.bands[band].dtype).itemsize for band in step.bands)
        for read in demanded.reads:
            count, pixels = blocks_of(info, read.level, read.window)
            blocks += count * len(step.bands)
            size += pixels * each
    return blocks, size


def _what(step: Step) -> str:
    """A step of an item's computation, in a word."""
    if isinstance(step, Compute):
        return step.op.name
    return {"ItemRead": "read item", "Reduce": "reduce"}.get(type(step).__name__, type(step).__name__.lower())


def _read_json(read: ReadPlan) -> dict[str, Any]:
    window = read.window
    return {
        "level": read.level,
        "window": None if window is None else [window.x, window.y, window.width, window.height],
        "pixels": read.pixels,
        "bytes": read.bytes,
    }
