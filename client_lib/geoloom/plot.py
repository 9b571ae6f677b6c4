"""Plot: lines over time as SVG, which every notebook shows without a further library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from geoloom.periods import MONTHS

__all__ = ["Plot"]

COLOURS = ("#2a7fba", "#d1661f", "#3a9150", "#a4508b", "#8a6d1d", "#555f6b", "#b3333f", "#1d8f8f")
"""Of the lines, in their order; they are told apart in grey and by people who see few colours."""

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 58, 14, 12, 24
TEXT = "var(--jp-ui-font-color1,#222)"
LINES = "rgba(128,128,128,.3)"
MOST_MARKS = 7

Point = tuple[float, float | None, str]
"""Seconds since 1970 UTC, a value or None, and what the point is, in words."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over time, shown as SVG.

    Parameters
    ----------
    lines
        Points by name, in order of time. Where a value is missing the line is broken.
    unit
        Of the values.
    width, height
        In pixels.
    """

    lines: Mapping[str, Sequence[Point]]
    unit: str | None = None
    width: int = 640
    height: int = 240

    @property
    def svg(self) -> str:
        """The picture as SVG text."""
        times = [time for points in self.lines.values() for time, _, _ in points]
        values = [value for points in self.lines.values() for _, value, _ in points if value is not None]
        width, height = self.width, self.height
        body = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'role="img" aria-label="{escape(", ".join(self.lines))} over time" '
            f'style="max-width:100%;font:11px sans-serif;color:{TEXT}">'
        ]
        if not values:
            body.append(
                f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle" fill="currentColor">'
                "No valid values here</text></svg>"
            )
            return "".join(body)
        ticks = _ticks(min(values), max(values))
        across = _Scale(*_padded(min(times), max(times)), MARGIN_LEFT, width - MARGIN_RIGHT)
        up = _Scale(ticks[0], ticks[-1], height - MARGIN_BOTTOM, MARGIN_TOP)
        for tick in ticks:
            y = up(tick)
            body.append(
                f'<line x1="{MARGIN_LEFT}" x2="{width - MARGIN_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="{LINES}"/><text x="{MARGIN_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" '
                f'fill="currentColor">{_number(tick, ticks)}</text>'
            )
        for time, label in _marks(across.low, across.high):
            x = across(time)
            body.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{MARGIN_TOP}" y2="{height - MARGIN_BOTTOM}" '
                f'stroke="{LINES}"/><text x="{x:.1f}" y="{height - 8}" text-anchor="middle" '
                f'fill="currentColor">{label}</text>'
            )
        if caption := self._caption():
            body.append(
                f'<text x="{MARGIN_LEFT + 6}" y="{MARGIN_TOP + 10}" fill="currentColor" opacity=".8">'
                f"{escape(caption)}</text>"
            )
        for number, (name, points) in enumerate(self.lines.items()):
            body.append(_line(name, points, COLOURS[number % len(COLOURS)], across, up))
        body.append("</svg>")
        return "".join(body)

    def save(self, path: str) -> None:
        """Write the picture into an SVG file."""
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - a path-like of any kind
            file.write(self.svg)

    def _repr_html_(self) -> str:
        return f'<div class="geoloom-plot">{self.svg}{self._names()}</div>'

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Plot({', '.join(self.lines)})"

    def _caption(self) -> str:
        """What the values are: the name of a single line, and the unit."""
        unit = "" if self.unit in (None, "1") else str(self.unit)
        if len(self.lines) > 1:
            return unit
        return next(iter(self.lines)) + (f" in {unit}" if unit else "")

    def _names(self) -> str:
        """Which colour is which line, if there are several."""
        if len(self.lines) < 2:
            return ""
        shown = "".join(
            f'<span style="margin-right:14px"><span style="color:{COLOURS[number % len(COLOURS)]}">●</span> '
            f"{escape(name)}</span>"
            for number, name in enumerate(self.lines)
        )
        return f'<div style="padding-left:{MARGIN_LEFT}px;color:{TEXT}">{shown}</div>'


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _line(name: str, points: Sequence[Point], colour: str, across: _Scale, up: _Scale) -> str:
    """A line through its points: solid between neighbours, dotted over a gap."""
    parts: list[str] = []
    solid: list[str] = []
    dotted: list[str] = []
    last: str | None = None
    broken = False
    for time, value, words in points:
        if value is None:
            broken = True
            continue
        place = f"{across(time):.1f},{up(value):.1f}"
        if last is not None:
            (dotted if broken else solid).append(f"M{last}L{place}")
        x, y = place.split(",")
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="3.2" fill="{colour}"><title>{escape(words)}: {escape(name)} '
            f"{value:.5g}</title></circle>"
        )
        last, broken = place, False
    style = f'fill="none" stroke="{colour}"'
    return (
        f'<path d="{"".join(solid)}" {style} stroke-width="1.8"/>'
        f'<path d="{"".join(dotted)}" {style} stroke-width="1" stroke-dasharray="2 4" opacity=".8"/>'
        f"{''.join(parts)}"
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    """A little room on both sides; a single moment gets a day."""
    room = max((high - low) * 0.02, 43_200.0 if high == low else 0.0)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round values around a range, three to seven of them."""
    if low == high:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _number(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    if max(abs(ticks[0]), abs(ticks[-1])) >= 1e7 or step < 1e-5:
        return f"{value:.3g}".replace("-", "−")
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    # A step of 0.25 or 2.5 has a digit more than its size.
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    return f"{value + 0.0:,.{decimals}f}".replace("-", "−")


def _marks(low: float, high: float) -> list[tuple[float, str]]:
    """Moments to write below: years, months or days, whichever are few enough."""
    first, last = (datetime.fromtimestamp(edge, UTC) for edge in (low, high))
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    if months <= 2:
        days = max(1, math.ceil((high - low) / 86_400 / MOST_MARKS))
        start = math.ceil(low / 86_400) * 86_400
        found = [float(one) for one in range(start, math.floor(high) + 1, days * 86_400)] or [
            (low + high) / 2
        ]
        return _with_year([(one, _short(datetime.fromtimestamp(one, UTC))) for one in found])
    every = next((one for one in (1, 2, 3, 6) if months / one <= MOST_MARKS), 0)
    if not every:
        years = math.ceil((last.year - first.year + 1) / MOST_MARKS)
        starts = [datetime(year, 1, 1, tzinfo=UTC) for year in range(first.year, last.year + 1)]
        inside = [one for one in starts if low <= one.timestamp() <= high and one.year % years == 0]
        return [(one.timestamp(), str(one.year)) for one in inside]
    marks = []
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        year, month = divmod(number, 12)
        moment = datetime(year, month + 1, 1, tzinfo=UTC)
        if month % every == 0 and low <= moment.timestamp() <= high:
            label = str(year) if month == 0 else MONTHS[month][:3]
            marks.append((moment.timestamp(), label))
    return _with_year(marks)


def _with_year(marks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The first mark says which year it is, unless one of them is a year."""
    if not marks or any(label.isdigit() for _, label in marks):
        return marks
    (first, label), *others = marks
    return [(first, f"{label} {datetime.fromtimestamp(first, UTC).year}"), *others]


def _short(moment: datetime) -> str:
    return f"{moment.day} {MONTHS[moment.month - 1][:3]}"
