"""Blocks of nodes kept in memory, so that chains that share a prefix share its work.

An entry is one band of a node on one window of a lattice. A request inside the window is answered by
cropping: a pixel's value depends on node, lattice and pixel index alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from geoloom.block import Array, Block, Mask
from geoloom.grid import TILE_SIZE, Grid, Tile
from geoloom.op import Profile
from geoloom_engine.cache import Budget, Cache, CacheState
from geoloom_engine.steps import Compute, Read, Reduce, Step, parts_of

WORTH = 8.0
"""A node's result is kept if making it from kept ones takes this many sums of two a pixel."""

_NOMINAL = Tile(12, 2048, 1400).grid()
"""Where the effort of ops is judged that depends on the pixel size."""


@dataclass(frozen=True, slots=True)
class NodeName:
    """What a kept block is a block of.

    Parameters
    ----------
    key
        Of the node.
    asked
        The resampling it was asked with.
    data
        Data version of the sources below the node.
    exact
        Whether its pixels may depend on the window they are computed in, as those of users' functions: it
        is then found for the same window only.
    """

    key: str
    asked: str | None
    data: str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """One band on a window; `valid` is None where every pixel is."""

    grid: Grid
    data: Array
    valid: Mask | None


class NodeCache:
    """Bands of nodes by name and place; safe to use from many threads.

    At each place, which is a cell as large as a tile, one window of a band is kept: that of the last
    request in the cell's middle which the one before did not hold.
    """

    def __init__(self, budget: Budget, limit: int | None = None) -> None:
        self._cache: Cache[_Kept] = Cache(budget, "nodes", limit)

    def get(self, name: NodeName, grid: Grid, bands: tuple[int, ...]) -> Block | None:
        """Some bands of a node, (bands, rows, cols), if all of them are here; not to be written to."""
        found = []
        place = _place(name, grid)
        for band in bands:
            kept = self._cache.get((name, grid.lattice, place, band))
            if kept is None or not kept.grid.holds(grid):
                return None
            found.append(kept)
        rows, cols = grid.shape
        first = found[0]
        data, valid = [], []
        for kept in found:
            window = grid.window_in(kept.grid)
            data.append(kept.data[window])
            valid.append(None if kept.valid is None else kept.valid[window])
        pixels = data[0][np.newaxis] if len(data) == 1 else np.stack(data)
        if all(kept.valid is first.valid for kept in found):
            shared = valid[0]
            good = np.broadcast_to(np.True_, (1, rows, cols)) if shared is None else shared[np.newaxis]
            return Block(pixels, good)
        everywhere = np.broadcast_to(np.True_, (rows, cols))
        return Block(pixels, np.stack([everywhere if one is None else one for one in valid]))

    def put(self, name: NodeName, grid: Grid, bands: tuple[int, ...], block: Block) -> None:
        """Keep a node's block; its arrays cannot be written to any more."""
        if block.data.shape[1:] != grid.shape:
            return  # The same everywhere: quicker made than found.
        block.data.setflags(write=False)
        block.valid.setflags(write=False)
        place = _place(name, grid)
        masks = [_own(layer, block.valid.shape[0]) for layer in block.valid]
        for index, band in enumerate(bands):
            key = (name, grid.lattice, place, band)
            known = self._cache.peek(key)
            if known is not None and (known.grid.holds(grid) or known.grid.pixels > grid.pixels):
                continue
            mask = masks[min(index, len(masks) - 1)]
            kept = _Kept(grid, _alone(block.data[index], block.data.shape[0]), mask)
            self._cache.put(key, kept, kept.data.nbytes + (0 if mask is None else mask.nbytes))

    def state(self) -> CacheState:
        """Counts since the start, and what is kept now."""
        return self._cache.state()


def worth_keeping(
    steps: tuple[Step, ...], known: Mapping[str, Profile], data: list[str]
) -> dict[int, NodeName]:
    """The steps whose results are kept, with the names they get.

    Bands as they are read; what is about to get its colours, since those are tried one after the
    other; and whatever takes long.

    Parameters
    ----------
    known
        Profile of every node.
    data
        By step: the data version of the sources below.
    """
    names: dict[int, NodeName] = {}
    effort = [0.0] * len(steps)
    exact = [False] * len(steps)
    coloured = {
        part.step
        for step in steps
        if known[step.key].look is not None
        for part in parts_of(step)
        if known[steps[part.step].key].look is None
    }
    for index, step in enumerate(steps):
        if isinstance(step, Read):
            names[index] = NodeName(step.key, step.resampling, data[index])
            continue
        if isinstance(step, Reduce):
            names[index] = NodeName(step.key, step.asked, data[index], step.exact)
            exact[index] = step.exact
            continue
        parts = parts_of(step)
        own = isinstance(step, Compute) and step.op.sandboxed
        exact[index] = own or any(exact[part.step] for part in parts)
        effort[index] = sum(effort[one] for one in {part.step for part in parts}) + 1.0
        if isinstance(step, Compute):
            effort[index] += step.op.effort(_NOMINAL) - 1.0
            if effort[index] >= WORTH or step.op.painted or (index in coloured and step.parts):
                names[index] = NodeName(step.key, step.asked, data[index], exact[index])
                effort[index] = 0.0
    return names


def _place(name: NodeName, grid: Grid) -> object:
    if name.exact:
        return grid
    return (2 * grid.row + grid.rows) // (2 * TILE_SIZE), (2 * grid.col + grid.cols) // (2 * TILE_SIZE)


def _alone(values: Array, siblings: int) -> Array:
    """The values in memory of their own: a view would keep all of what it looks at."""
    if siblings == 1 and values.flags.c_contiguous:
        base = values.base
        if base is None or getattr(base, "nbytes", 0) <= values.nbytes:
            return values
    own = values.copy()
    own.setflags(write=False)
    return own


def _own(layer: Mask, siblings: int) -> Mask | None:
    if layer.strides == (0, 0):
        layer = layer[:1, :1]
    return None if layer.all() else _alone(layer, siblings)
