"""Where items lie: their footprints counted, without reading a file."""

from __future__ import annotations

from collections import Counter

import numpy as np
import shapely

from geoloom.block import Block
from geoloom.errors import EngineFault
from geoloom.grid import Grid
from geoloom.op import Op
from geoloom.ops.coverage import Coverage
from geoloom_engine.outline import centres, outline
from geoloom_engine.painting import Given, Painted

CELLS = 128
"""Footprints that are counted before it is asked again whether anybody waits."""


class CoveragePainter:
    """Counts at each pixel's centre how many footprints hold it."""

    ops: tuple[type[Op], ...] = (Coverage,)

    def fingerprint(self, op: Op, given: Given) -> str:
        """The selection's key says it all."""
        return "coverage"

    def describe(self, op: Op, given: Given) -> Painted:
        """The place of all footprints."""
        selection = given.selection(_checked(op).selection)
        bounds = selection.bounds if len(selection) else None
        return Painted(f"footprints of {selection.collection}", bounds)

    def paint(self, op: Op, grid: Grid, given: Given) -> Block:
        """The counts, (1, rows, cols), int32."""
        selection = given.selection(_checked(op).selection)
        counts = np.zeros(grid.shape, np.int32)
        lon, lat = centres(grid)
        # Of a map's grid each row has one latitude and each column one longitude.
        alike = grid.lattice.unit != "metre"
        across, down = (lon[:1], lat[:, :1]) if alike else (lon, lat)
        area = outline(grid)
        # The dates of one tile of an archive often have the very same footprint.
        numbers = Counter(selection.footprints[row] for row in selection.meeting(area))
        shapes = np.array(list(numbers), dtype=object)
        whole = shapely.contains(shapes, area)
        counts += sum(numbers[shape] for shape in shapes[whole])
        for number, shape in enumerate(shapes[~whole]):
            if number % CELLS == 0:
                given.wanted()
            west, south, east, north = shapely.bounds(shape)
            rows = np.flatnonzero(((down >= south) & (down <= north)).any(axis=1))
            cols = np.flatnonzero(((across >= west) & (across <= east)).any(axis=0))
            if rows.size and cols.size:
                part = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
                shapely.prepare(shape)
                counts[part] += numbers[shape] * shapely.contains_xy(shape, lon[part], lat[part])
        return Block(counts[np.newaxis], (counts > 0)[np.newaxis])


def _checked(op: Op) -> Coverage:
    if not isinstance(op, Coverage):
        raise EngineFault(f"{op.name} is not painted here.", op=op.name)
    return op


PAINTER = CoveragePainter()
