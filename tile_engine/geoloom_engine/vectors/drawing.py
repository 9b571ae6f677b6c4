"""Features as a picture in a style."""

from __future__ import annotations

import math

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.symbols import By, Category, Interval, Style
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.columns import Column
from geoloom_engine.vectors.fill import fill, specks
from geoloom_engine.vectors.sheet import Sheet, sheets
from geoloom_engine.vectors.stroke import discs, over, stroke, topmost
from geoloom_engine.vectors.wkb import LINE, POINT

_CLEAR = np.zeros(4, np.float32)

_NUDGE = 1e-4
"""Added before a shade is rounded: shares of exactly a half are then rounded up in each tile."""


def drawn(asked: Asked, style: str, grid: Grid) -> Block:
    """Four bands, uint8: red, green, blue and alpha; valid where there is any colour.

    Polygons are filled first, then lines and outlines are drawn, points last; of the lines of several
    classes those of the last class of the legend are on top.
    """
    look = Style.from_json(style)
    codes, fills, lines = _classes(asked, look)
    line = _premultiplied(look.line)
    paper = np.zeros((*grid.shape, 5), np.float32)
    ink = np.zeros(grid.shape, np.float32)
    radius = look.radius
    reach = max(look.width, 1.0) / 2 + 1.0
    outlined = look.line is not None and look.width > 0
    inks = np.array([max(look.width, 1.0), min(look.width, 1.0)] if outlined else [0.0, 0.0], np.float32)
    parts = []
    for sheet in sheets(asked.pack, grid, reach):
        asked.wanted()
        code = sheet.of(codes)
        margin = max(reach, 1.0)
        rows = specks(sheet, code, fills, inks, paper, ink, margin)
        kinds = _kinds(sheet, rows)
        order = sheet.of(asked.pack.order)
        areal = rows[kinds > LINE]
        areal = areal[np.argsort(order[areal], kind="stable")]
        asked.wanted()
        fill(sheet, areal, code, fills, paper)
        parts.append((sheet, code, areal, rows[kinds == LINE]))
    for sheet, _, areal, _ in parts:
        if outlined:
            asked.wanted()
            stroke(sheet, areal, False, look.width, ink)
    if outlined:
        over(ink, line, paper)
    for own in range(len(lines)) if look.width > 0 else ():
        there = False
        for sheet, code, _, linear in parts:
            rows = linear[code[linear] == own]
            if len(rows):
                there = True
                stroke(sheet, rows, True, look.width, ink)
        if there:
            over(ink, lines[own], paper)
    for sheet in sheets(asked.pack, grid, radius + reach) if asked.pack.points else ():
        asked.wanted()
        order = sheet.of(asked.pack.order)
        places = topmost(sheet, *grid.shape, order, sheet.of(codes), math.ceil(radius + reach))
        if len(places):
            discs(places, radius, look.width, fills, line, outlined, paper)
    return _block(paper)


def _block(paper: Array) -> Block:
    alpha = np.clip(paper[..., 4], 0.0, 1.0)
    shades = np.empty((4, *alpha.shape), np.uint8)
    safe = np.maximum(alpha, 1e-6)
    for k in range(3):
        shades[k] = np.clip(paper[..., 1 + k] / safe * 255.0 + 0.5 + _NUDGE, 0, 255)
    shades[3] = np.clip(alpha * 255.0 + 0.5 + _NUDGE, 0, 255)
    return Block.of(shades, shades[3] > 0)


def _kinds(sheet: Sheet, rows: Array) -> Array:
    """Of each feature the kind of its last path: what a mixed collection has most of is drawn as that."""
    level = sheet.level
    last = level.first[rows + 1]
    there = last > level.first[rows]
    found = np.full(len(rows), POINT, np.uint8)
    found[there] = level.kind[last[there] - 1]
    return found


def _classes(asked: Asked, look: Style) -> tuple[Array, Array, Array]:
    """Of each feature its class (−1: not drawn), and of each class the colour of its inside and as a line."""
    if look.by is None:
        codes = np.where(asked.shown, 0, -1).astype(np.int16)
        return codes, _premultiplied(look.fill)[None], _premultiplied(look.line)[None]
    by = look.by
    table = None if asked.table is None else asked.table[0]
    key = ("classes", asked.source.print_, asked.layer, asked.where, table, by)
    codes = asked.vectors.keep(key, lambda: _codes(asked, by), lambda found: int(found.nbytes))
    shades = np.stack([_premultiplied(one) for one in (*(one.colour for one in by.classes), by.other)])
    return codes, shades, shades


def _codes(asked: Asked, by: By) -> Array:
    column = asked.column(by.column)
    if isinstance(by.classes[0], Category):
        codes = _by_value(column, [one.values for one in by.classes if isinstance(one, Category)])
    else:
        codes = _by_size(column, [(one.low, one.high) for one in by.classes if isinstance(one, Interval)])
    if by.other is not None:
        codes[codes < 0] = len(by.classes)
    codes[~asked.shown] = -1
    return codes


def _by_value(column: Column, classes: list[tuple[object, ...]]) -> Array:
    wanted: dict[object, int] = {}
    for number, values in enumerate(classes):
        for value in values:
            wanted.setdefault(value if column.numbers is None or value is None else _number(value), number)
    without = wanted.get(None, -1)
    if column.numbers is not None:
        numbers = np.array([one for one in wanted if isinstance(one, float)], np.float64)
        order = np.argsort(numbers)
        found = np.full(len(column.numbers), -1, np.int16)
        if len(numbers):
            at = np.clip(np.searchsorted(numbers[order], column.numbers), 0, len(numbers) - 1)
            hit = numbers[order][at] == column.numbers
            of = np.array([wanted[one] for one in numbers[order].tolist()], np.int16)
            found[hit] = of[at[hit]]
        found[np.isnan(column.numbers)] = without
        return found
    assert column.codes is not None
    of = np.array([*(wanted.get(one, -1) for one in column.categories), without], np.int16)
    codes: Array = of[column.codes]
    return codes


def _by_size(column: Column, classes: list[tuple[float, float]]) -> Array:
    if column.numbers is None:
        return np.full(len(column), -1, np.int16)
    found = np.full(len(column.numbers), -1, np.int16)
    for number, (low, high) in reversed(list(enumerate(classes))):
        last = number == len(classes) - 1
        inside = (column.numbers >= low) & (column.numbers <= high if last else column.numbers < high)
        found[inside] = number
    return found


def _number(value: object) -> object:
    return float(value) if isinstance(value, int | float) else value


def _premultiplied(colour: str | None) -> Array:
    """Red, green, blue times alpha, and alpha, from 0 to 1."""
    if colour is None:
        return _CLEAR
    shades = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5, 7)], np.float64) / 255.0
    shades[:3] *= shades[3]
    return shades.astype(np.float32)
