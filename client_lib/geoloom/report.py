"""What a function did when it was run in the notebook: checks in words, pictures of input and output."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape

import numpy as np

from geoloom.block import Array, Mask
from geoloom.given import Given, Result, without_margin
from geoloom.grid import Tile
from geoloom.thumbnail import thumbnail

MOST_PICTURES = 4
"""Bands of the input, and of the output, of which a picture is shown."""

FEW_PICTURES = 5
WIDE, NARROW = 160, 120
"""Pixels of a picture's width, of few and of more: eight stand side by side in a notebook of usual size."""

SIGNS = {True: "✓", False: "✗", None: "–"}
COLOURS = {True: "#1a7f37", False: "#b00020", None: "#777777"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name
        Of what was looked at.
    ok
        None if it does not matter here.
    message
        What was found, and what to do.
    """

    name: str
    ok: bool | None
    message: str

    def __str__(self) -> str:
        return f"{SIGNS[self.ok]} {self.name}: {self.message}"


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What was found; shown as pictures in a notebook, and in words by ``print``.

    Parameters
    ----------
    function
        Name of the function.
    tile
        Where it ran.
    checks
        What was looked at.
    input
        The pixels it was given.
    output
        What it made of them, if it could be used.
    bands
        Names of the output's bands.
    """

    function: str
    tile: Tile
    checks: tuple[Check, ...]
    input: Given
    output: Result | None
    bands: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong."""
        return all(check.ok is not False for check in self.checks)

    @property
    def verdict(self) -> str:
        """The whole report in one line."""
        wrong = sum(check.ok is False for check in self.checks)
        where = f"tile {self.tile.z}/{self.tile.x}/{self.tile.y}"
        said = "all is well" if not wrong else "1 problem" if wrong == 1 else f"{wrong} problems"
        return f"{self.function} on {where}: {said}"

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"  {check}" for check in self.checks)])

    def __repr__(self) -> str:
        return f"<Report: {self.verdict}>"

    def _repr_html_(self) -> str:
        given, made = self.input, self.output
        shown = min(len(given.names), MOST_PICTURES) + min(len(self.bands), MOST_PICTURES)
        width = WIDE if shown <= FEW_PICTURES else NARROW
        inner = without_margin(given.data, given), without_margin(given.valid, given)
        left = _pictures(*inner, given.names, width)
        right = "nothing that could be used"
        if made is not None:
            right = _pictures(made.data, made.valid, self.bands, width)
        lines = "".join(
            f'<div><span style="color:{COLOURS[check.ok]}">{SIGNS[check.ok]}</span> '
            f"<b>{escape(check.name)}</b>: {escape(check.message)}</div>"
            for check in self.checks
        )
        return (
            '<div class="geoloom-report" style="line-height:1.4;margin-top:6px">'
            '<div style="display:flex;flex-wrap:wrap;align-items:center;gap:8px">'
            f'{left}<div style="font-size:24px">→</div>{right}</div>'
            f"<details><summary>{escape(self.verdict)}</summary>{lines}</details></div>"
        )


def _pictures(data: Array, valid: Mask, names: tuple[str, ...], width: int) -> str:
    """A figure of each band, with its name; side by side."""
    masks = np.broadcast_to(valid, data.shape)
    figures = []
    for name, band, mask in list(zip(names, data, masks, strict=True))[:MOST_PICTURES]:
        picture, limits = thumbnail(band, mask)
        words = "no valid pixel" if limits is None else _limits(limits, band.dtype)
        figures.append(_figure(name, picture, words, width))
    if len(names) > MOST_PICTURES:
        figures.append(f"<div>and {len(names) - MOST_PICTURES} more</div>")
    return f'<div style="display:flex;align-items:center;gap:8px">{"".join(figures)}</div>'


def _figure(title: str, picture: bytes, words: str, width: int) -> str:
    ground = "background:repeating-conic-gradient(#eee 0 25%,#fff 0 50%) 0 0/12px 12px"
    style = f"width:{width}px;max-width:none;border:1px solid #ccc;display:block;{ground}"
    return (
        '<figure style="margin:0;font-size:12px;text-align:center">'
        f'<img alt="" style="{style}" src="data:image/png;base64,{b64encode(picture).decode()}">'
        f"<figcaption><b>{escape(title[:60])}</b><br>{escape(words)}</figcaption></figure>"
    )


def _limits(limits: tuple[float, float], dtype: np.dtype[np.generic]) -> str:
    low, high = (f"{one:,.4g}" if dtype.kind == "f" else f"{int(one):,}" for one in limits)
    return f"all {low}" if low == high else f"{low} to {high}"
