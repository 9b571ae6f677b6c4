"""A user's function tried out in the notebook, on a small made-up window: what bands and dtype it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.errors import FunctionFailed
from geoloom.grid import Grid, Tile
from geoloom.harness import Function, Given, Result, widened
from geoloom.profile import Profile

SIDE = 32
"""Rows and columns of the window, without its margin."""

TOP = 10_000
"""Largest integer of the window: what reflectances are stored as."""

NOT_OF_VALUES = frozenset({"NameError", "AttributeError", "ImportError", "KeyboardInterrupt", "SyntaxError"})
"""Exceptions that a trial raises whatever the pixels are."""

_PLACE = Tile(12, 2200, 1400).grid()


def try_out(
    function: Function, image: Profile, margin: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Result:
    """What a function makes of values that rise over a window of `SIDE` × `SIDE`.

    Raises
    ------
    FunctionFailed
        It fails there. Where that is because of the values, the person names dtype and bands instead.
    """
    grid = Grid(_PLACE.lattice, _PLACE.col, _PLACE.row, SIDE, SIDE)
    data = ramp(image.bands, grid.expand(margin).shape, image.dtype)
    given = Given(data, np.ones((1, *data.shape[1:]), np.bool_), image.names, grid, margin)
    try:
        return function.call(given, args, kwargs)
    except FunctionFailed as error:
        if (error.exception or "").partition(":")[0] in NOT_OF_VALUES:
            raise
        error.hint = (
            f"That was a trial on {SIDE} × {SIDE} made-up pixels"
            + (f" with a margin of {margin}" if margin else "")
            + '. If it works with real ones, name what it gives, as in execute(…, dtype="float32", '
            'bands=["name"]), and no trial is made.' + ("" if error.hint is None else f" {error.hint}")
        )
        raise


def ramp(bands: int, shape: tuple[int, int], dtype: str) -> Array:
    """Values from the smallest usual one to the largest, (bands, rows, cols); each band begins elsewhere."""
    wide = widened(dtype)
    count = shape[0] * shape[1]
    steps = (np.arange(count)[np.newaxis] + np.arange(bands)[:, np.newaxis] * 97) % count
    share = (steps / max(1, count - 1)).reshape(bands, *shape)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return share > 0.5
    top = 1.0 if kind == "f" else min(TOP, np.iinfo(dtype).max)
    return (share * top).astype(wide)
