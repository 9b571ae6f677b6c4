"""Turn values into shades."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Block
from geoloom.errors import BandError, ParameterError
from geoloom.grid import Grid
from geoloom.loops import array, compiled, number
from geoloom.op import Image, Look, Op, Output, Profile, image, op, param

SAFE = 1e30
"""Limits beyond this are computed in float64: in float32 their difference might overflow."""


@op
class Scale(Op):
    """Shades from 0 (low) to 255 (high), rounded and clipped: ``scale(0, 3000)``.

    One band is then shown in grey, or coloured by ``colormap`` or ``colors``; three bands are shown
    as red, green and blue. Limits the other way round give a negative.
    """

    values: Image = image(doc="The image.")
    limits: tuple[float, ...] = param(
        doc="Low and high, or low and high of each band one after the other, in the image's unit.",
        unit="same as the image",
        variadic=True,
        min_length=2,
        example=(0.0, 100.0),
    )
    gamma: float = param(1.0, gt=0, unit="1", doc="Above 1 brightens the middle shades: shade^(1 / gamma).")
    bandwise = True
    pointwise = True
    output = Output(dtype="uint8", range=(0, 255))

    def check(self) -> None:
        """Limits are pairs of different numbers."""
        if len(self.limits) % 2:
            raise ParameterError(
                f"scale() got {len(self.limits)} limits, which are not pairs.",
                hint="Give low and high, or low and high of each band.",
            )
        for low, high in self._pairs():
            if low == high:
                raise ParameterError(f"scale(): the limits {low:g} and {high:g} are equal.")
            if not math.isfinite(255 / (high - low)) or math.isinf(high - low):
                raise ParameterError(f"scale(): the limits {low:g} and {high:g} cannot be told apart.")

    def profile(self, *inputs: Profile) -> Profile:
        """uint8; a look for one band and for three."""
        source = inputs[0]
        pairs = self._pairs()
        if len(pairs) not in (1, source.bands):
            raise BandError(
                f"scale() got limits of {len(pairs)} bands for {source.bands} bands.",
                hint=f"Give 2 numbers, or 2 for each of: {', '.join(source.names)}.",
            )
        look = None
        if source.bands in (1, 3):
            limits = pairs if len(pairs) == source.bands else pairs * source.bands
            name = source.names[0] if source.bands == 1 else None
            look = Look("grey" if source.bands == 1 else "rgb", limits, unit=source.unit, name=name)
        return Profile(source.names, "uint8", range=(0.0, 255.0), look=look)

    def restrict(self, bands: tuple[int, ...]) -> Scale:
        """With the limits of these bands."""
        pairs = self._pairs()
        if len(pairs) == 1:
            return self
        return Scale(limits=tuple(x for i in bands for x in pairs[i]), gamma=self.gamma)

    def effort(self, grid: Grid) -> float:
        """Each pixel is looked up, or computed in some passes."""
        return 4.0

    def kernel(self, values: Block, grid: Grid) -> Array:
        """Shades, by a table for 8- and 16-bit integers."""
        pairs = self._pairs()
        if len(pairs) == 1:
            return _shades(values.data, *pairs[0], self.gamma)
        out = np.empty(values.data.shape, np.uint8)
        for band, (low, high) in enumerate(pairs):
            out[band] = _shades(values.data[band], low, high, self.gamma)
        return out

    def _pairs(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.limits[::2], self.limits[1::2], strict=True))


def _shades(data: Array, low: float, high: float, gamma: float) -> npt.NDArray[np.uint8]:
    if data.dtype.kind == "b" or (data.dtype.kind in "iu" and data.dtype.itemsize <= 2):
        table = _table(data.dtype, low, high, gamma)
        index = data.view(f"u{data.dtype.itemsize}")
        return np.take(table, index)
    wide = data.dtype != np.float32 or max(abs(low), abs(high)) > SAFE
    if wide or gamma != 1:
        return _computed(data.astype(np.float64 if wide else np.float32), low, high, gamma)
    out = np.empty(data.shape, np.uint8)
    numbers = np.ascontiguousarray(data).reshape(-1)
    compiled(_loop, "float32", _types)(numbers, np.float32(low), np.float32(high - low), out.reshape(-1))
    return out


def _types() -> tuple[Any, ...]:
    limit = number("float32")
    return array("float32", 1), limit, limit, array("uint8", 1, written=True)


def _loop(data: Any, low: Any, span: Any, out: Any) -> None:
    """As `_computed` with float32 and no gamma, in one pass: 0.02 ms instead of 0.07 at 256² pixels."""
    for i in range(data.size):
        shade = np.rint((data[i] - low) * np.float32(255) / span)
        out[i] = np.uint8(np.int32(min(max(shade, np.float32(0)), np.float32(255))))


def _computed(shades: npt.NDArray[Any], low: float, high: float, gamma: float) -> npt.NDArray[np.uint8]:
    """The shades of floats, which are overwritten."""
    shades -= low
    shades *= 255
    shades /= high - low
    if gamma != 1:
        np.clip(shades, 0, 255, out=shades)
        shades *= 1 / 255
        np.power(shades, 1 / gamma, out=shades)
        shades *= 255
    np.rint(shades, out=shades)
    np.clip(shades, 0, 255, out=shades)
    return shades.astype(np.uint8)


@lru_cache(maxsize=64)
def _table(dtype: np.dtype[Any], low: float, high: float, gamma: float) -> npt.NDArray[np.uint8]:
    """The shade of every value of a small dtype, by its bits read as an unsigned number."""
    bits = np.arange(256**dtype.itemsize, dtype=f"u{dtype.itemsize}")
    values = (bits != 0) if dtype.kind == "b" else bits.view(dtype)
    table = _computed(values.astype(np.float64), low, high, gamma)
    table.setflags(write=False)
    return table
