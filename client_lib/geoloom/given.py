"""What a user's function is given, and what it may give."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import read_array, write_array

from geoloom.block import Array, Block, Mask
from geoloom.grid import Bounds, Grid, Lattice

RESERVED = ("valid", "grid", "bands")
"""Parameters of a function that are filled in."""

DTYPES = frozenset(
    ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
"""What an image can hold."""


def widened(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype in which a band reaches a function: int32 for 8 and 16 bits, so that nothing wraps."""
    found = np.dtype(dtype)
    return np.dtype(np.int32) if found.kind in "iu" and found.itemsize < 4 else found


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window lies: what a function gets as ``grid``.

    Parameters
    ----------
    crs
        Authority code or WKT.
    bounds
        West, south, east, north of the window, margin included, in the CRS.
    pixel_width, pixel_height
        Metres on the ground of each row's pixels, (rows, 1).
    margin
        Pixels of the window on each side that belong to its neighbours.
    """

    crs: str
    bounds: Bounds
    pixel_width: npt.NDArray[np.float64]
    pixel_height: npt.NDArray[np.float64]
    margin: int


@dataclass(frozen=True, slots=True)
class Given:
    """A window of pixels as a function is given it.

    Parameters
    ----------
    data
        (bands, rows + 2 margin, cols + 2 margin) in the `widened` dtype, 0 where invalid. The function may
        write to it.
    valid
        bool, (1 or bands, rows + 2 margin, cols + 2 margin).
    names
        Of the bands.
    grid
        Where the result is wanted: (rows, cols), without the margin.
    margin
        Pixels around it.
    """

    data: Array
    valid: Mask
    names: tuple[str, ...]
    grid: Grid
    margin: int = 0

    @staticmethod
    def of(block: Block, names: tuple[str, ...], grid: Grid, margin: int = 0) -> Given:
        """A copy of a block on ``grid.expand(margin)``."""
        around = grid.expand(margin)
        full = block.fill(around.rows, around.cols)
        return Given(full.data.astype(widened(full.data.dtype), order="C"), full.valid, names, grid, margin)

    def pack(self) -> bytes:
        """As bytes: three ``.npy`` files one after the other, of JSON (uint8), `data` and `valid`."""
        grid = self.grid
        head = {
            "names": self.names,
            "margin": self.margin,
            "grid": [grid.col, grid.row, grid.cols, grid.rows],
            "lattice": {one.name: getattr(grid.lattice, one.name) for one in fields(Lattice)},
        }
        content = io.BytesIO()
        for array in (np.frombuffer(json.dumps(head).encode(), np.uint8), self.data, self.valid):
            write_array(content, np.ascontiguousarray(array), allow_pickle=False)
        return content.getvalue()

    @staticmethod
    def unpack(content: bytes) -> Given:
        """From bytes."""
        file = io.BytesIO(content)
        head, data, valid = (read_array(file, allow_pickle=False) for _ in range(3))
        told = json.loads(head.tobytes())
        grid = Grid(Lattice(**told["lattice"]), *told["grid"])
        return Given(data, valid, tuple(told["names"]), grid, told["margin"])


@dataclass(frozen=True, slots=True)
class Result:
    """What a function made of a window: data and valid, both (bands, rows, cols), and what it printed.

    `valid` may have one band for all.
    """

    data: Array
    valid: Mask
    printed: str = ""

    def block(self) -> Block:
        """As a block: what is not finite is invalid, and 0 where invalid."""
        return Block.of(self.data if self.data.flags.writeable else self.data.copy(), self.valid)


def asked_for(name: str, given: Given) -> Any:
    """What a function gets for a parameter of one of the `RESERVED` names."""
    if name == "valid":
        return np.array(np.broadcast_to(given.valid, given.data.shape))
    if name == "bands":
        return list(given.names)
    around = given.grid.expand(given.margin)
    return Place(around.lattice.crs, around.bounds(), *around.ground_resolution(), given.margin)


def without_margin(array: Array, given: Given) -> Array:
    """The part of (bands, rows + 2 margin, cols + 2 margin) that lies on the grid."""
    margin = given.margin
    return array[:, margin : array.shape[1] - margin, margin : array.shape[2] - margin] if margin else array
