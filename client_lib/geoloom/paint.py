"""From looks to colours: pure array functions behind the look ops and the legend."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoloom.block import Mask
from geoloom.colour import LEVELS, components

__all__ = ["GREY_TO_INDEX", "Bytes", "Paintable", "all_bands_valid", "over", "rgba", "table"]

Bytes = npt.NDArray[np.uint8]

GREY_TO_INDEX: Bytes = ((np.arange(256) * (LEVELS - 1) + 127) // 255).astype(np.uint8)
"""Index 0 to 254 of a ramp's table for each grey 0 to 255, (256,); use `numpy.take`."""
GREY_TO_INDEX.setflags(write=False)

_BANDS = {"grey": 1, "palette": 1, "rgb": 3, "rgba": 4}


class Paintable(Protocol):
    """What painting needs of a `Look`."""

    @property
    def kind(self) -> str:
        """``grey``, ``palette``, ``rgb`` or ``rgba``."""

    @property
    def lut(self) -> tuple[str, ...]:
        """The palette's colours as ``"#rrggbbaa"``."""

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """(label, colour) of each class; empty for ramps."""

    @property
    def opacity(self) -> float:
        """0 (not seen) to 1."""


def rgba(data: npt.NDArray[Any], valid: Mask, look: Paintable) -> Bytes:
    """What a look shows: red, green, blue and straight alpha.

    Parameters
    ----------
    data
        uint8, (bands, rows, cols): 1 band for ``grey`` (0..255) and ``palette`` (indices), 3 for
        ``rgb``, 4 for ``rgba``.
    valid
        bool, (1, rows, cols) or (bands, rows, cols); a pixel is shown where all bands are valid.
    look
        How the values become colours; its opacity is multiplied into alpha.

    Returns
    -------
    uint8, (4, rows, cols). Invalid pixels, and indices beyond the palette, are 0 in all bands.

    Raises
    ------
    ValueError
        If the data are not what the look's kind says.
    """
    check(data, look)
    seen = all_bands_valid(valid)
    shape = np.broadcast_shapes(data.shape[1:], seen.shape)
    out: Bytes = np.empty((4, *shape), np.uint8)
    if look.kind == "palette":
        # One gather of four bytes costs a fifth of four gathers of one.
        pixels = np.take(_entries(look.lut, look.opacity), data[0], mode="clip")
        out[...] = pixels.view(np.uint8).reshape(*data.shape[1:], 4).transpose(2, 0, 1)
    else:
        out[:3] = data[:3]
        alphas = scaled_alpha(look.opacity)
        out[3] = alphas[data[3]] if look.kind == "rgba" else alphas[255]
    if not seen.all():
        out *= seen
    return out


def over(top: Bytes, bottom: Bytes) -> Bytes:
    """One picture laid over another (Porter and Duff 1984, "over").

    Parameters
    ----------
    top, bottom
        uint8, (4, rows, cols), straight alpha.

    Returns
    -------
    uint8, (4, rows, cols), straight alpha; 0 in all bands where nothing is seen.
    """
    above = top[3].astype(np.float32) / np.float32(255)
    below = bottom[3].astype(np.float32) / np.float32(255) * (1 - above)
    alpha = above + below
    share = np.divide(above, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    out: Bytes = np.empty(top.shape, np.uint8)
    colour = top[:3] * share + bottom[:3] * (1 - share)
    out[:3] = np.where(alpha > 0, np.rint(colour), 0)
    out[3] = np.rint(alpha * 255)
    return out


def check(data: npt.NDArray[Any], look: Paintable) -> None:
    """Raises ValueError if data are not uint8 or have not the number of bands the look needs."""
    bands = _BANDS.get(look.kind)
    if bands is None:
        raise ValueError(f"There is no look of kind {look.kind!r}.")
    if data.dtype != np.uint8 or data.ndim != 3 or data.shape[0] != bands:
        raise ValueError(
            f"A {look.kind} look needs uint8 of shape ({bands}, rows, cols), not {data.dtype} {data.shape}."
        )


def all_bands_valid(valid: Mask) -> Mask:
    """Where all bands are valid, (rows, cols)."""
    seen: Mask = valid[0] if valid.shape[0] == 1 else valid.all(axis=0)
    return seen


@lru_cache(maxsize=256)
def table(lut: tuple[str, ...], opacity: float = 1.0) -> Bytes:
    """A palette as read-only uint8, (4, 256): colours beyond its end are transparent.

    Raises
    ------
    ValueError
        If the palette has more than 256 colours.
    """
    if len(lut) > 256:
        raise ValueError(f"A palette has at most 256 colours, not {len(lut)}.")
    colours: Bytes = np.zeros((4, 256), np.uint8)
    if lut:
        colours[:, : len(lut)] = np.array([components(colour) for colour in lut], np.uint8).T
    colours[3] = scaled_alpha(opacity)[colours[3]]
    colours.setflags(write=False)
    return colours


@lru_cache(maxsize=256)
def _entries(lut: tuple[str, ...], opacity: float) -> npt.NDArray[np.uint32]:
    """The table with the four bytes of a colour in one number, (256,)."""
    return np.ascontiguousarray(table(lut, opacity).T).view(np.uint32)[:, 0]


@lru_cache(maxsize=256)
def scaled_alpha(opacity: float) -> Bytes:
    """Alpha times opacity for each alpha 0 to 255, read-only uint8 (256,)."""
    scaled: Bytes = np.rint(np.arange(256) * min(max(opacity, 0.0), 1.0)).astype(np.uint8)
    scaled.setflags(write=False)
    return scaled
