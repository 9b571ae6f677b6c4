"""What a layer's colours mean, as HTML: a colour bar, a list of classes, or the bands of a colour picture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLOUR = re.compile(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")
MOST_CLASSES = 24
STOPS = 32
SWATCH = (
    "display:inline-block;width:12px;height:12px;margin-right:5px;vertical-align:-2px;"
    "border:1px solid rgba(128,128,128,.6)"
)


def legend_html(legend: Mapping[str, Any], *, named: bool = True) -> str:
    """The legend as HTML; every text in it is escaped.

    Parameters
    ----------
    legend
        What the engine says about a chain's look: `kind` (ramp, grey, classes, rgb or none), `name`, `unit`,
        `limits` ((low, high) a band), `colors` (a ramp's, low to high), `labels` ((text, colour) a class) and
        `bands` (of a colour picture). Kind group has several of them as `parts`.
    named
        Whether to begin with the name of the values. Their unit stands behind it, else behind the last mark.
    """
    kind = legend.get("kind")
    title = _title(legend, named)
    if kind in ("ramp", "grey"):
        return title + _bar(legend, "" if title else unit_text(legend.get("unit")))
    if kind == "classes":
        return title + _classes(legend.get("labels") or ())
    if kind == "rgb":
        return _channels(legend)
    if kind == "group":
        return "".join(f"<div>{legend_html(part)}</div>" for part in legend.get("parts") or ())
    return title


def number(value: float, decimals: int | None = None) -> str:
    """A number as people write it: four significant digits, no exponent for everyday sizes.

    Parameters
    ----------
    decimals
        Digits behind the point instead; negative ones round tens, hundreds…

    >>> number(0.123456), number(3000.0), number(-12.5), number(1013.251, 2)
    ('0.1235', '3000', '−12.5', '1013.25')
    """
    magnitude = abs(value)
    if magnitude and not 1e-4 <= magnitude < 1e7:
        text = f"{value:.3g}"
    elif decimals is None:
        text = f"{value:.{_decimals(magnitude)}f}"
    else:
        text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def _decimals(magnitude: float) -> int:
    decimals = 4
    while decimals and magnitude >= 1:
        magnitude /= 10
        decimals -= 1
    return decimals


def _title(legend: Mapping[str, Any], named: bool) -> str:
    name, unit = str(legend.get("name") or "") if named else "", unit_text(legend.get("unit"))
    if not name:
        return ""
    words = " ".join(part for part in (escape(name), f"[{escape(unit)}]" if unit else "") if part)
    return f'<div class="geoloom-legend-title">{words}</div>'


def unit_text(unit: object) -> str:
    """A unit as it is shown: nothing for pure numbers, ° for degrees; not escaped."""
    return "" if not unit or unit == "1" else "°" if unit == "degree" else str(unit)


def _bar(legend: Mapping[str, Any], unit: str) -> str:
    colors = [c for c in map(_colour, legend.get("colors") or ("#000000", "#ffffff")) if c]
    if len(colors) == 1:
        colors = colors * 2
    step = max(1, (len(colors) - 1) // STOPS)
    stops = ",".join([*colors[:-1:step], colors[-1]]) if colors else "#000,#fff"
    limits = legend.get("limits") or ()
    ends = ""
    if limits:
        low, high = limits[0]
        decimals = 2 - math.floor(math.log10(abs(high - low) or 1))
        shown = [number(value, decimals) for value in (low, (low + high) / 2, high)]
        shown[-1] += f" {escape(unit)}" if unit else ""
        marks = "".join(f"<span>{text}</span>" for text in shown)
        ends = f'<div style="display:flex;justify-content:space-between">{marks}</div>'
    return (
        '<div class="geoloom-legend-bar" style="height:10px;border:1px solid rgba(128,128,128,.6);'
        f'background:linear-gradient(to right,{stops})"></div>{ends}'
    )


def _classes(labels: Sequence[Sequence[str]]) -> str:
    rows = [
        f'<div class="geoloom-legend-class">{_swatch(_colour(colour))}{escape(str(label))}</div>'
        for label, colour in labels[:MOST_CLASSES]
    ]
    if len(labels) > MOST_CLASSES:
        rows.append(f"<div>… and {len(labels) - MOST_CLASSES} more</div>")
    return "".join(rows)


def _channels(legend: Mapping[str, Any]) -> str:
    limits = list(legend.get("limits") or ())
    bands = [str(name) for name in legend.get("bands") or ()]
    rows = []
    for index, (channel, colour) in enumerate(
        (("red", "#e03030"), ("green", "#30a030"), ("blue", "#3060e0"))
    ):
        words = [escape(bands[index])] if index < len(bands) else [channel]
        if len(limits) == 1 or index < len(limits):
            low, high = limits[min(index, len(limits) - 1)]
            words.append(f"{number(low)} – {number(high)}")
        rows.append(f"<div>{_swatch(colour)}{' '.join(words)}</div>")
    return "".join(rows)


def _swatch(colour: str | None) -> str:
    return f'<span style="{SWATCH};background:{colour or "transparent"}"></span>'


def _colour(text: object) -> str | None:
    """A colour that is safe to put into a style, or None."""
    return text if isinstance(text, str) and COLOUR.fullmatch(text) else None
