"""What a node or a question asks for: the features of a source, a layer, a condition, a joined table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pyproj.exceptions import ProjError

from geoloom.block import Array
from geoloom.errors import RequestError
from geoloom.grid import Bounds
from geoloom_engine.projection import into_degrees
from geoloom_engine.readers import SourcePool
from geoloom_engine.readers.vectors import Features, Vectors, vectors_of
from geoloom_engine.vectors.columns import Column, Table
from geoloom_engine.vectors.pack import Pack


@dataclass(frozen=True)
class Asked:
    """Some features.

    Parameters
    ----------
    vectors
        Where they come from.
    source
        As it is now.
    layer, where
        Which of them.
    table
        Joined to them, with the key of its blob.
    wanted
        Asked while waiting; raises when nobody waits any more.
    patience
        Seconds to wait for a layer that is being prepared; None as a tile does.
    """

    vectors: Vectors
    source: Features
    layer: str | None
    where: str | None
    table: tuple[str, Table] | None
    wanted: Callable[[], None]
    patience: float | None = None

    @staticmethod
    def of(
        pool: SourcePool,
        blob: Callable[[str], bytes],
        href: str | None,
        key: str | None,
        layer: str | None = None,
        where: str | None = None,
        table: str | None = None,
        wanted: Callable[[], None] = lambda: None,
        patience: float | None = None,
    ) -> Asked:
        """The features of a file (`href`) or a blob (`key`); `blob` gives content by its key."""
        vectors = vectors_of(pool)
        if href is not None:
            source = vectors.of_file(href)
        else:
            assert key is not None
            source = vectors.of_text(key, lambda: blob(key))
        joined = None if table is None else (table, Table.of(blob(table)))
        return Asked(vectors, source, layer, where, joined, wanted, patience)

    @cached_property
    def pack(self) -> Pack:
        """The geometry of the layer."""
        return self.vectors.pack(self.source, self.layer, self.wanted, self.patience)

    @cached_property
    def shown(self) -> Array:
        """bool, of the pack's features: whether the condition holds."""
        if self.where is None:
            return np.ones(len(self.pack), np.bool_)
        return self.vectors.matching(self.source, self.layer, self.where, self.pack)

    def column(self, name: str) -> Column:
        """An attribute, of the file or of the table.

        Raises
        ------
        RequestError
            If neither has it.
        """
        if self.table is not None and name in self.table[1].columns:
            key, table = self.table
            keys = self.vectors.column(self.source, self.layer, table.on, self.pack)
            found: Column = self.vectors.keep(
                (self.source.print_, self.layer, key, name), lambda: table.joined(name, keys), _size
            )
            return found
        return self.vectors.column(self.source, self.layer, name, self.pack)

    def numbers(self, name: str) -> Array:
        """An attribute that is a number, float64; NaN where there is none.

        Raises
        ------
        RequestError
            If it is text.
        """
        found = self.column(name).numbers
        if found is None:
            raise RequestError(
                f"Column {name!r} of {self.source.name} holds text, not numbers.",
                hint="Choose a column of numbers, or join a table that has one.",
            )
        return found

    def bounds(self) -> Bounds | None:
        """In degrees, of all features of the layer; None for the whole Earth or if there are none."""
        info = self.vectors.info(self.source, self.layer)
        if info.extent is None or not info.crs:
            return None
        try:
            west, south, east, north = into_degrees(info.crs).transform_bounds(*info.extent)
        except ProjError:
            return None
        if not np.isfinite([west, south, east, north]).all() or east - west >= 360:
            return None
        west, east = (one if -180 <= one <= 180 else (one + 180) % 360 - 180 for one in (west, east))
        return Bounds(west, max(south, -90.0), east, min(north, 90.0))


def _size(column: Any) -> int:
    return int(column.nbytes)
