"""Some features to try the compiled loops out on, before anybody asks for others."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from geoloom.block import Block
from geoloom.grid import Grid, Lattice
from geoloom.ops.burn import Burn
from geoloom.ops.heat import Heat
from geoloom.symbols import By, Interval, Style
from geoloom_engine.readers.access import Access
from geoloom_engine.readers.vector import OgrFile
from geoloom_engine.readers.vectors import Features, Vectors
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.drawing import drawn
from geoloom_engine.vectors.pack import build
from geoloom_engine.vectors.painting import burnt, heated
from geoloom_engine.vectors.places import projection
from geoloom_engine.vectors.questions import identified
from geoloom_engine.vectors.sheet import sheets
from geoloom_engine.vectors.zonal import add

_SHAPES: tuple[tuple[str, object], ...] = (
    ("Polygon", [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]),
    ("Polygon", [[[1, 1], [1.001, 1], [1, 1.001], [1, 1]]]),
    ("LineString", [[0, 0], [5, 9]]),
    ("Point", [5, 5]),
)


def steps() -> Iterator[Callable[[], object]]:
    """What to run: all ways to paint, a question about a place, and statistics."""
    by = By("n", (Interval("low", "#ff0000ff", 0.0, 9.0),), "#00ff00ff")
    near = Grid(Lattice.web_mercator(3), 1024, 960, 64, 64)
    far = Grid(Lattice("EPSG:4326", 0.1, 0.1, 0.0, 10.0, "degree"), 0, 0, 64, 64)
    key = "0" * 32
    yield lambda: drawn(specimen(), Style().to_json(), near)
    yield lambda: drawn(specimen(), Style(by=by).to_json(), near)
    yield lambda: burnt(specimen(), Burn(blob=key), near)
    yield lambda: burnt(specimen(), Burn(blob=key), far)
    yield lambda: heated(specimen(), Heat(blob=key), near)
    yield lambda: identified(specimen(), 5.0, 5.0, 5)
    yield lambda: _counted(specimen(), near)


@cache
def specimen() -> Asked:
    """A polygon large and small, a line and a point."""
    features = [
        {
            "type": "Feature",
            "properties": {"n": number},
            "geometry": {"type": kind, "coordinates": coordinates},
        }
        for number, (kind, coordinates) in enumerate(_SHAPES)
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    source = Features("specimen", "specimen", OgrFile("specimen", text=text))
    with tempfile.TemporaryDirectory() as folder:
        vectors = Vectors(Access(()), Path(folder))
        asked = Asked(vectors, source, None, None, None, lambda: None)
        place = Path(folder) / "specimen.pack"
        # What is mapped stays there when the file is gone.
        pack = build(source.file.batches(None), projection("EPSG:4326", "specimen"), place, lambda read: None)
    asked.__dict__["pack"] = pack
    return asked


def _counted(asked: Asked, grid: Grid) -> None:
    block = Block(np.ones((1, *grid.shape), np.float32), np.ones((1, *grid.shape), np.bool_))
    for sheet in sheets(asked.pack, grid, exact=True):
        add(sheet, block, np.arange(len(asked.pack)), np.zeros((len(asked.pack), 1, 5)))
