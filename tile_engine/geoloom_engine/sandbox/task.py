"""What is asked of a sandbox worker, and what it gives: a function, its tile, the result."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from geoloom.block import Block
from geoloom.grid import Grid, Lattice
from geoloom.harness import widened
from geoloom_engine.sandbox.arena import Layout


@dataclass(frozen=True, slots=True)
class Call:
    """Everything of one use of a function but the pixels.

    Parameters
    ----------
    session
        Whose it is.
    source, function
        Its text, and its name there.
    arguments
        JSON of its own arguments: ``[[…], {…}]``.
    names
        Of the bands.
    modules
        What it may import.
    dtype, bands
        Of the result.
    margin
        Pixels around the grid.
    """

    session: str
    source: bytes
    function: str
    arguments: str
    names: tuple[str, ...]
    modules: tuple[str, ...]
    dtype: str
    bands: int
    margin: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function made of a tile, and what it printed."""

    block: Block
    printed: str


@dataclass(frozen=True, slots=True)
class Task:
    """A call for one tile, ready to be written to a worker.

    Parameters
    ----------
    call, block, grid
        What to call, on what (pixels of ``grid.expand(call.margin)``), for where.
    given, result
        dtypes of the pixels as the function gets them, and of the result.
    program, words
        Texts: of the function; of what goes with the pixels.
    layout
        Where things lie.
    """

    call: Call
    block: Block
    grid: Grid
    given: np.dtype[Any]
    result: np.dtype[Any]
    program: bytes
    words: bytes
    layout: Layout

    @staticmethod
    def of(call: Call, block: Block, grid: Grid) -> Task:
        """Prepare a call."""
        program = _program(call.source, call.function, call.modules)
        words = _words(call.names, grid.lattice, call.arguments)
        given, result = widened(block.data.dtype), np.dtype(call.dtype)
        around = block.bands, grid.rows + 2 * call.margin, grid.cols + 2 * call.margin
        layout = _layout(len(program), len(words), around, given, (call.bands, *grid.shape), result)
        return Task(call, block, grid, given, result, program, words, layout)


@lru_cache(maxsize=1)
def rehearsal() -> Task:
    """A function and a tile that are nobody's, for a worker that belongs to nobody yet."""
    rows = cols = 256
    block = Block.of(np.zeros((1, rows, cols), np.uint16), np.ones((1, rows, cols), np.bool_))
    text = b"def rehearse(img):\n    return img[0] < 1\n"
    call = Call("", text, "rehearse", "[[],{}]", ("b1",), ("numpy",), "bool", 1, 0)
    return Task.of(call, block, Grid(Lattice("EPSG:3857", 1.0, 1.0, 0.0, 0.0), 0, 0, cols, rows))


@lru_cache(maxsize=64)
def _program(source: bytes, function: str, modules: tuple[str, ...]) -> bytes:
    return json.dumps((source.decode("utf-8", "replace"), function, modules)).encode()


@lru_cache(maxsize=256)
def _words(names: tuple[str, ...], lattice: Lattice, arguments: str) -> bytes:
    return json.dumps((names, astuple(lattice), arguments)).encode()


_layout = lru_cache(maxsize=256)(Layout.of)
