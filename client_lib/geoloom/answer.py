"""The engine's answers as people read them: a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePosixPath
from typing import Any

from geoloom.chain import Node
from geoloom.op import class_of, decode

_COLUMNS = (
    ("count", "count"),
    ("min", "min"),
    ("2 %", "2"),
    ("median", "50"),
    ("98 %", "98"),
    ("max", "max"),
    ("mean", "mean"),
    ("std", "std"),
)


class Statistics(dict[str, dict[str, Any]]):
    """Numbers by band: ``statistics["B4"]["mean"]``; shown as a table, without the histograms."""

    def __repr__(self) -> str:
        rows = [["", *(title for title, _ in _COLUMNS)]]
        for band, numbers in self.items():
            every = {**numbers, **(numbers.get("percentiles") or {})}
            rows.append([band, *(_number(every.get(name)) for _, name in _COLUMNS)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
        )


class Texts(dict[str, str]):
    """Texts of functions by name; shown to be read, with all signs that hide or move text spelled out."""

    def __repr__(self) -> str:
        texts = [f"# {name}\n\n" + "".join(map(_seen, text.strip("\n"))) for name, text in self.items()]
        return "\n\n\n".join(texts) or "No functions of users."


class Explanation(dict[str, Any]):
    """What a tile reads and computes, as the engine plans it; shown a step a line."""

    def __repr__(self) -> str:
        z, x, y = self["tile"]
        lines = [
            f"Tile {z}/{x}/{y} reads {self['pixels']:,} pixels ({_size(self['bytes'])}) "
            f"and gives {', '.join(self['bands'])} as {self['dtype']}."
        ]
        if not self["pixels"] and self.get("files"):
            lines[0] = (
                f"Tile {z}/{x}/{y} reads at most {self['files']:,} files of scenes and gives "
                f"{', '.join(self['bands'])} as {self['dtype']}."
            )
        if self.get("blocks"):
            blocks = "1 block is" if self["blocks"] == 1 else f"{self['blocks']:,} blocks are"
            lines[0] += f" If nothing is in memory yet, {blocks} decoded ({_size(self['decoded_bytes'])})."
        return "\n".join([*lines, *(f"  {_step(step)}" for step in self["steps"])])


def _seen(sign: str) -> str:
    return sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()


def place(bounds: Sequence[float] | None, source: Mapping[str, Any] | None) -> str:
    """Where an image lies and how large its pixels are, in words.

    Parameters
    ----------
    bounds
        West, south, east, north in degrees.
    source
        What the engine said of the file with the finest pixels.
    """
    if bounds is None:
        return "everywhere"
    west, east = (f"{abs(one):.4g}° {'W' if one < 0 else 'E'}" for one in (bounds[0], bounds[2]))
    south, north = (f"{abs(one):.4g}° {'S' if one < 0 else 'N'}" for one in (bounds[1], bounds[3]))
    metres = None if source is None else source.get("ground_resolution")
    pixels = "" if metres is None else f"; pixels of {distance(metres)}"
    return f"{west} to {east}, {south} to {north}{pixels}"


def distance(metres: float) -> str:
    """A length to three digits, in metres or kilometres.

    Parameters
    ----------
    metres
        The length in metres.
    """
    rounded = float(f"{metres:.3g}")
    return f"{rounded / 1000:g} km" if rounded >= 1000 else f"{rounded:g} m"


def step(node: Node) -> str:
    """A step of a chain as people write it."""
    cls = class_of(node)
    return repr(decode(node)) if cls.painted or cls.sandboxed else str(node)


def table(caption: str, rows: Mapping[str, str]) -> str:
    """Names and values as a table of HTML."""
    left = "style='text-align:left'"
    cells = "".join(
        f"<tr><th {left}>{name}</th><td {left}>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table class='geoloom-{caption.lower()}'><caption>{caption}</caption>{cells}</table>"


def _step(step: dict[str, Any]) -> str:
    margin = f", margin {step['margin']} px" if step.get("margin") else ""
    if step["op"] == "read":
        level = f"overview {step['level']}" if step["level"] else "full resolution"
        name = PurePosixPath(step["href"]).name
        bands = ", ".join(step["bands"])
        if step["window"] is None:
            return f"read {name} [{bands}]: it does not reach here"
        width, height = step["window"][2:]
        return f"read {name} [{bands}], {level}, {width} × {height} px, {step['resampling']}{margin}"
    if "items" in step:
        # Key, dates and method of a reduction in words: the key of its table says nothing to people.
        how = step["params"].get("how", step["op"])
        each = [one for one in step.get("each", ()) if one not in ("read item", "gather", "lookup")]
        before = f", of each {', '.join(each)}" if each else ""
        dates = [f"{word} {one}" for word in ("start", "end") if (one := step["params"].get(word))]
        return (
            f"{how} of {step['items']:,} scenes that lie here, of {step['of_items']:,} of "
            f"{step['collection']}{before}{''.join(f', {one}' for one in dates)}, {step['dtype']}{margin}"
        )
    if step["op"] == "lookup":
        return f"{', '.join(step['ops'])} by one table, {step['dtype']}{margin}"
    if step["op"] == "gather":
        return f"bands put together, {step['dtype']}{margin}"
    given = ", ".join(f"{name}={value!r}" for name, value in step["params"].items())
    called = step.get("words") or (f"{step['op']}({given})" if given else step["op"])
    return f"{called} {step['dtype']}{margin}"


def _number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
