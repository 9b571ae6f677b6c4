"""What can be wrong with a function that runs, and whether it is: on real pixels, in the notebook."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoloom.block import Array, Mask
from geoloom.errors import EngineError, FunctionFailed, GeoloomError
from geoloom.given import Given, Result, widened
from geoloom.grid import Grid, Tile
from geoloom.harness import Function
from geoloom.report import Check

RUNS = 10
"""How often the function runs for all checks."""

TILES = RUNS + 2
"""How many tiles that makes: two of the windows are twice as large."""

QUICK = 0.5
"""Seconds of a run beyond which memory is not measured: that makes loops of Python much slower."""

ROUNDING = 1e-5
"""Part of a float's size by which two computations of it may differ: another order rounds otherwise."""

Finding = tuple[bool | None, str]
"""Whether it is well, and what was found."""

Ask = Callable[[Tile], Given]
"""Gets the pixels of a tile as the engine hands them to the function."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A function with all that its node says.

    Parameters
    ----------
    captured
        From its text, as the engine runs it.
    at_hand
        The person's own, among the notebook's names as they are now; None where there is only the text.
    args, kwargs
        The function's own arguments.
    dtype, bands
        What the node declares: the result's dtype and names of bands.
    """

    captured: Function
    at_hand: Function | None
    args: Sequence[Any]
    kwargs: dict[str, Any]
    dtype: str
    bands: tuple[str, ...]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.captured.name

    def run(self, given: Given, function: Function | None = None) -> Result:
        """The result on a window, as the node declares it; raises FunctionFailed."""
        try:
            args, kwargs = deepcopy((self.args, self.kwargs))  # the function may change them
            return (function or self.captured).call(
                fresh(given), args, kwargs, dtype=self.dtype, bands=len(self.bands)
            )
        except FunctionFailed as error:
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise error.__cause__ from None
            raise


def fresh(given: Given) -> Given:
    """The same pixels in memory of their own: the function may write to them."""
    return replace(given, data=given.data.copy(), valid=given.valid.copy())


def examine(
    subject: Subject, given: Given, tile: Tile, ask: Ask, engines: Callable[[], Given]
) -> tuple[Result | None, tuple[Check, ...]]:
    """The function's result on a tile, if it can be used, and all checks.

    Parameters
    ----------
    given
        The pixels of `tile`.
    ask
        Gets those of its neighbours.
    engines
        Gets what the engine makes of the tile.
    """
    started = time.perf_counter()
    try:
        first = subject.run(given)
    except FunctionFailed as error:
        return None, (Check("result", False, str(error)),)
    seconds = time.perf_counter() - started
    checks = {
        "pixels": lambda: _pixels(given),
        "result": lambda: _result(subject, first, seconds),
        "repeated": lambda: _repeated(subject, given, first, seconds),
        "seams": lambda: _seams(subject, given, first, tile, ask),
        "zeros": lambda: _zeros(subject, given),
        "invalid": lambda: _invalid(subject, given),
        "text": lambda: _text(subject, given, first),
        "engine": lambda: _engine(first, engines()),
    }
    return first, tuple(_checked(name, check) for name, check in checks.items())


def different(a: Result, b: Result, rounding: float = 0.0) -> Array:
    """Where two results differ, (rows, cols): in what is valid, or in valid values."""
    one, other = a.block(), b.block()
    valid = np.broadcast_to(one.valid, one.data.shape)
    found = valid != np.broadcast_to(other.valid, one.data.shape)
    if one.data.dtype.kind == "f" and rounding:
        size = np.maximum(np.abs(one.data), np.abs(other.data))
        found |= np.abs(one.data - other.data) > rounding * np.maximum(
            size, np.abs(one.data).max(initial=0) * 0.01
        )
    else:
        found |= one.data != other.data
    return np.asarray(found.any(axis=0))


def _checked(name: str, check: Callable[[], Finding]) -> Check:
    """Carry out a check: one that fails does not stop the others."""
    try:
        return Check(name, *check())
    except EngineError as error:
        return Check(name, None, f"not looked at. {error}")
    except GeoloomError as error:
        return Check(name, False, str(error))


def _pixels(given: Given) -> Finding:
    bands, rows, cols = given.data.shape
    share = float(given.valid.mean())
    margin = f", margin {given.margin} on each side" if given.margin else ""
    what = f"{bands} × {rows} × {cols} of {given.data.dtype}{margin}"
    if not share:
        return False, f"{what}, and none is valid: choose another place by tile= or bbox="
    return True, f"{what}, {_percent(share)} valid"


def _result(subject: Subject, result: Result, seconds: float) -> Finding:
    bands, rows, cols = result.data.shape
    share = _percent(float(result.valid.mean()))
    return True, f"{bands} × {rows} × {cols} of {subject.dtype}, {share} valid, in {seconds * 1000:.3g} ms"


def _repeated(subject: Subject, given: Given, first: Result, seconds: float) -> Finding:
    if seconds > QUICK:
        return _the_same(first, subject.run(given), "")
    tracing = tracemalloc.is_tracing()
    if tracing:
        tracemalloc.reset_peak()
    else:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        again = subject.run(given)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        if not tracing:
            tracemalloc.stop()
    return _the_same(first, again, f"; at its peak it took {peak / 1e6:.3g} MB")


def _the_same(first: Result, again: Result, more: str) -> Finding:
    count = int(different(first, again).sum())
    if count:
        return False, (
            f"{count:,} pixels differ when it runs twice on the same pixels. Random numbers need a seed, "
            "numpy.empty needs to be filled, and the time of day is no argument"
        )
    return True, f"the same twice{more}"


def _seams(subject: Subject, given: Given, first: Result, tile: Tile, ask: Ask) -> Finding:
    last = (1 << tile.z) - 1
    if not last:
        return None, "there is one tile only at zoom 0"
    count, reach, rounded = 0, 0, False
    for axis in (1, 2):
        edge = given.valid.take([0, -1], axis).any(axis=0).sum(axis=2 - axis)
        place = tile.y if axis == 1 else tile.x
        onwards = (edge[1] >= edge[0] and place < last) or place == 0
        beside = _moved(tile, axis, 1 if onwards else -1)
        try:
            other = ask(beside)
            both = ((given, first), (other, subject.run(other)))
        except FunctionFailed as error:
            return False, f"it fails in the next tile, {beside.z}/{beside.x}/{beside.y}. {error}"
        (left, its), (right, others) = both if onwards else both[::-1]
        apart = _joined_results((its, others), axis)
        together = subject.run(joined(left, right, axis))
        rounded = rounded or bool(different(apart, together).any())
        found = np.flatnonzero(different(apart, together, ROUNDING).any(axis=2 - axis))
        count += int(different(apart, together, ROUNDING).sum())
        middle = together.data.shape[axis] // 2
        if found.size:
            reach = max(reach, int(np.where(found < middle, middle - found, found - middle + 1).max()))
    if not count:
        return True, "two tiles and one window over both agree" + (" but for rounding" if rounded else "")
    where = f"{count:,} pixels differ between two tiles and one window over both"
    if reach > given.grid.rows // 2:
        return False, (
            f"{where}, all over the tile: the result depends on the whole window, as on its mean or its "
            "maximum. No margin cures that: find such numbers first, as by image.statistics(), and give them "
            "as arguments"
        )
    return False, (
        f"{where}, up to {reach} from the edge. The margin is too small: try margin={given.margin + reach}"
    )


def _zeros(subject: Subject, given: Given) -> Finding:
    try:
        subject.run(replace(given, data=np.zeros_like(given.data), valid=np.ones_like(given.valid)))
    except FunctionFailed as error:
        return False, f"it fails where all pixels are 0, as over water. {error}"
    return True, "a tile of zeros does not fail"


def _invalid(subject: Subject, given: Given) -> Finding:
    none = np.zeros_like(given.valid)
    one = none.copy()
    one[:, one.shape[1] // 2, one.shape[2] // 2] = True
    try:
        subject.run(replace(given, data=np.where(one, given.data, 0), valid=one))
    except FunctionFailed as error:
        return False, f"it fails where one pixel alone is valid, as at the edge of a scene. {error}"
    try:
        subject.run(replace(given, data=np.zeros_like(given.data), valid=none))
    except FunctionFailed as error:
        return None, f"it fails where no pixel is valid, where the engine does not call it. {error}"
    return True, "tiles with one valid pixel or none do not fail"


def _text(subject: Subject, given: Given, first: Result) -> Finding:
    if subject.at_hand is None:
        return None, "there is no function here to compare its text with, or a debugger follows it"
    count = int(different(first, subject.run(given, subject.at_hand)).sum())
    if count:
        return False, (
            f"{count:,} pixels differ between the function here and its text, which the engine runs. What it "
            "uses has changed: run the cells of that again, or give it as an argument"
        )
    return True, "the text that travels gives the same as the function here"


def _engine(first: Result, engines: Given) -> Finding:
    mine = Result(first.data.astype(widened(first.data.dtype)), first.valid)
    if engines.data.shape != mine.data.shape:
        return False, f"its tile has the shape {engines.data.shape}, not {mine.data.shape}"
    count = int(different(mine, Result(engines.data, engines.valid)).sum())
    if count:
        rounded = not different(mine, Result(engines.data, engines.valid), ROUNDING).any()
        how = ", but only by rounding" if rounded else ""
        return rounded, f"{count:,} pixels of the engine's tile differ{how}: its modules may be others"
    return True, "its tile is the same, bit for bit"


def joined(first: Given, second: Given, axis: int) -> Given:
    """One window over two neighbouring tiles, with the margin around both; `axis` 1 joins rows, 2 columns."""
    size, margin = first.grid.shape[axis - 1], first.margin
    ahead, behind = slice(0, size + margin), slice(margin, None)
    parts = [
        [
            array[:, part] if axis == 1 else array[:, :, part]
            for part, array in zip((ahead, behind), pair, strict=True)
        ]
        for pair in ((first.data, second.data), (_full(first), _full(second)))
    ]
    data, valid = (np.concatenate(both, axis=axis) for both in parts)
    grid = first.grid
    rows, cols = (2 * grid.rows, grid.cols) if axis == 1 else (grid.rows, 2 * grid.cols)
    return Given(data, valid, first.names, Grid(grid.lattice, grid.col, grid.row, cols, rows), margin)


def _full(given: Given) -> Mask:
    return np.broadcast_to(given.valid, given.data.shape)


def _joined_results(results: Sequence[Result], axis: int) -> Result:
    data = np.concatenate([one.data for one in results], axis=axis)
    valid = np.concatenate([np.broadcast_to(one.valid, one.data.shape) for one in results], axis=axis)
    return Result(data, valid)


def _moved(tile: Tile, axis: int, steps: int) -> Tile:
    return Tile(tile.z, tile.x + (steps if axis == 2 else 0), tile.y + (steps if axis == 1 else 0))


def _percent(share: float) -> str:
    return "all" if share == 1 else f"{100 * share:.3g} %"
