"""Large archives, without TiTiler, which has nothing of the kind: search over items, tiles of vectors."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

from bench.contest import Effort
from bench.report import Finding

FULL = 100
"""Runs of at least so many tiles a case take archives of their full size; quicker ones a tenth of it."""

MILLION = 1_000_000


def search(effort: Effort) -> Iterator[Finding]:
    """Processor time of each kind of question over a million items, and the memory it takes."""
    from bench.search import LIMIT_MB, LIMIT_MS, ROUNDS
    from bench.search import search as measured

    figures = measured(size(effort), ROUNDS if effort.tiles >= FULL else ROUNDS // 4)
    section = f"Search over {figures['items']:,} items"
    for name, one in figures["kinds"].items():
        note = f"p95 {one['p95']:.1f} ms, finds {one['found']:,.0f}"
        yield Finding(name, one["p50"], " ms", most=LIMIT_MS, note=note, section=section)
    note = f"the mapped index of {figures['size']:.0f} MB included"
    yield Finding("memory", figures["memory"], " MB", most=LIMIT_MB, note=note, section=section)


def vectors(effort: Effort) -> Iterator[Finding]:
    """Processor time of a tile of a million polygons: the slowest zoom of each way to paint them."""
    from bench.vectors import LIMIT_MS, ROUNDS

    # In a process of its own: it counts its memory, and keeps its packs in a passing folder.
    figures = _apart(_vectors, size(effort), ROUNDS if effort.tiles >= FULL else 2)
    section = f"Tiles of {figures['polygons']:,} polygons"
    for name, one in figures["tiles"].items():
        zoom, slowest = max(one["zooms"].items(), key=lambda each: each[1])
        note = f"at zoom {zoom}, of {len(one['zooms'])}; the first tile of all took {one['first']:.0f} ms"
        yield Finding(f"{name}, the slowest zoom", slowest, " ms", most=LIMIT_MS, note=note, section=section)
    cpu, wall = figures["packing"]
    note = f"{wall:.1f} s on the clock; {figures['file']:.0f} MB become {figures['pack']:.0f} MB"
    yield Finding("packing the file, once", cpu, " s", note=note, section=section)
    yield Finding("memory beside the mapped pack", figures["memory"], " MB", section=section)


ARCHIVES: dict[str, Callable[[Effort], Iterator[Finding]]] = {one.__name__: one for one in (search, vectors)}


def size(effort: Effort) -> int:
    """Items or features of an archive."""
    return MILLION if effort.tiles >= FULL else MILLION // 10


def _vectors(count: int, rounds: int) -> dict[str, Any]:
    from bench.vectors import measure

    return measure(count, rounds)


def _apart(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
