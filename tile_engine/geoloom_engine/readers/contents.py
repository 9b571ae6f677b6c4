"""What a netCDF or Zarr file holds: its variables, their dimensions, and where they lie."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj

from geoloom.address import Address
from geoloom.errors import SourceNotGeoreferenced, SourceUnreadable
from geoloom_engine.projection import spelled
from geoloom_engine.readers import footprint
from geoloom_engine.readers.arrays import ArrayFile, Values, Variable
from geoloom_engine.readers.calendars import is_time, real_date, texts
from geoloom_engine.readers.conventions import (
    Unplaced,
    crs_of,
    kind,
    line,
    nearest,
    once_round,
    stored_dtype,
    unrolled,
)
from geoloom_engine.readers.pyramid import Lie, is_coarse, lie_alike, siblings
from geoloom_engine.readers.source import Transform

MAX_BANDS = 32
"""The longest dimension whose values become bands when it is left free."""

_MAX_COORDINATES = 4_000_000


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension and its coordinates.

    Parameters
    ----------
    name, size
        Of the dimension.
    kind
        ``x``, ``y``, ``time`` or ``other``.
    texts
        Each coordinate as an address has it; counts from 0 where there are no coordinates.
    unit, description, calendar
        As the file has them, or None.
    """

    name: str
    size: int
    kind: str
    texts: tuple[str, ...]
    unit: str | None = None
    description: str | None = None
    calendar: str | None = None

    @property
    def range(self) -> str:
        """In words: how many there are, from where to where."""
        if self.size == 1:
            return f"only {self.texts[0]}"
        return f"{self.size:,}, from {self.texts[0]} to {self.texts[-1]}"

    def find(self, text: str) -> int | None:
        """The position of a coordinate: the same text, or as good as the same number."""
        try:
            return self.texts.index(text)
        except ValueError:
            pass
        if self.kind == "time":
            return None
        try:
            at, wanted = np.array(self.texts, np.float64), float(text)
        except ValueError:
            return None
        close = np.flatnonzero(np.abs(at - wanted) <= 1e-6 * np.maximum(np.abs(at), 1e-6))
        return int(close[0]) if close.size else None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the pixels of a variable lie: its horizontal dimensions, CRS and transform."""

    x: str
    y: str
    transform: Transform
    crs: str
    crs_name: str


class Contents:
    """The meaning of an open file; safe to use from many threads.

    Parameters
    ----------
    file
        The arrays.
    name
        The file's name, for messages.
    """

    def __init__(self, file: ArrayFile, name: str) -> None:
        self.file = file
        self._name = name
        self._lock = threading.Lock()
        self._axes: dict[str, Axis] = {}
        self._placed: dict[str, Placed | Unplaced] = {}

    def variable(self, name: str) -> Variable:
        """The variable of a name, with or without its groups.

        Raises
        ------
        SourceUnreadable
            Naming those there are.
        """
        found = self.file.variables.get(name)
        if found is None:
            shown = [one.name for one in self.data_variables()]
            listed = ", ".join(shown[:8]) + (" …" if len(shown) > 8 else "")
            raise SourceUnreadable(
                f"{self._name} has no variable {name!r}.",
                hint=f"It has: {listed}." if shown else "It holds no variable that can be shown.",
            )
        return found

    def data_variables(self) -> list[Variable]:
        """Variables that are neither coordinates nor what describes others."""
        variables = self.file.variables
        serving: set[str] = set()
        for one in variables.values():
            for attribute in ("bounds", "climatology", "grid_mapping", "coordinates", "ancillary_variables"):
                for word in (one.text(attribute) or "").replace(":", " ").split():
                    found = nearest(variables, one.name, word)
                    if found is not None and attribute != "ancillary_variables":
                        serving.add(found.name)
        return [
            one
            for one in variables.values()
            if len(one.dims) >= 2 and one.name not in serving and not self._is_bounds(one)
            if not is_coarse(one.name, self.file.attributes)
        ]

    def axis(self, variable: Variable, dim: str) -> Axis:
        """A dimension of a variable, with its coordinates."""
        with self._lock:
            found = self._axes.get(dim)
            if found is None:
                size = variable.shape[variable.dims.index(dim)]
                found = self._axes[dim] = self._read_axis(dim, size)
        return found

    def placed(self, variable: Variable) -> Placed:
        """Where a variable lies.

        Raises
        ------
        Unplaced
            If it has no place that can be shown, and why.
        """
        with self._lock:
            found = self._placed.get(variable.name)
            if found is None:
                try:
                    found = self._place(variable)
                except Unplaced as error:
                    found = error
                self._placed[variable.name] = found
        if isinstance(found, Unplaced):
            raise found
        return found

    def others(self, variable: Variable, placed: Placed) -> list[Axis]:
        """The dimensions that are not horizontal, in the order of the file."""
        return [self.axis(variable, dim) for dim in variable.dims if dim not in (placed.x, placed.y)]

    def size(self, variable: Variable, placed: Placed) -> tuple[int, int]:
        """Width and height of a variable in pixels."""
        x, y = variable.dims.index(placed.x), variable.dims.index(placed.y)
        return variable.shape[x], variable.shape[y]

    def coarser(self, variable: Variable, placed: Placed) -> list[Variable]:
        """The same in the coarse levels that a file brings along, from fine to coarse."""
        found: list[Variable] = []
        last: Lie = (variable, placed.transform, *self.size(variable, placed))
        for one in siblings(variable, self.file.variables, self.file.attributes):
            try:
                its = self.placed(one)
            except Unplaced:
                continue
            level: Lie = (one, its.transform, *self.size(one, its))
            if its.crs == placed.crs and lie_alike(last, level):
                found.append(one)
                last = level
        return found

    def to_json(self) -> dict[str, Any]:
        """Variables and dimensions with their coordinates, as ``/info`` tells them."""
        variables, axes = [], {}
        for one in self.data_variables():
            entry: dict[str, Any] = {
                "name": one.name,
                "dtype": str(stored_dtype(one)) if one.numeric else "text",
                "unit": one.text("units"),
                "description": one.text("long_name") or one.text("standard_name"),
                "dimensions": list(one.dims),
                "shape": list(one.shape),
                "problem": None,
            }
            try:
                placed = self.placed(one)
                entry |= {"crs": placed.crs, "x": placed.x, "y": placed.y}
                for axis in self.others(one, placed):
                    axes[axis.name] = {
                        "size": axis.size,
                        "kind": axis.kind,
                        "unit": axis.unit,
                        "description": axis.description,
                        "calendar": axis.calendar,
                        "values": list(axis.texts),
                    }
            except Unplaced as error:
                entry["problem"] = f"{one.name} {error.reason}."
            variables.append(entry)
        return {"driver": self.file.driver, "variables": variables, "dimensions": axes}

    def time_steps(self, address: Address) -> list[tuple[str, str]]:
        """See `geoloom_engine.readers.SourcePool.time_steps`."""
        if address.variable is None:
            raise SourceUnreadable(f"{self._name}: time steps are those of one variable.", hint="Name it.")
        variable = self.variable(address.variable)
        try:
            placed = self.placed(variable)
        except Unplaced as error:
            raise SourceNotGeoreferenced(
                f"{self._name}: {variable.name} {error.reason}.", hint=error.hint
            ) from None
        for axis in self.others(variable, placed):
            if axis.kind == "time":
                return [(real_date(text), address.with_at(**{axis.name: text}).text) for text in axis.texts]
        return []

    def _is_bounds(self, variable: Variable) -> bool:
        return variable.name.endswith(("_bnds", "_bounds")) and variable.shape[-1:] in ((2,), (4,))

    def _coordinate(self, dim: str) -> Variable | None:
        """The one-dimensional variable that gives a dimension's coordinates."""
        found = nearest(self.file.variables, dim, dim.rpartition("/")[2])
        short = dim.rpartition("/")[2]
        if found is None or len(found.dims) not in (1, 2) or found.dims[0].rpartition("/")[2] != short:
            return None
        # Texts of old files are rows of letters.
        return found if len(found.dims) == 1 or found.dtype.kind == "S" else None

    def _read_axis(self, dim: str, size: int) -> Axis:
        found = self._coordinate(dim)
        if found is None or found.shape[0] != size:
            return Axis(dim, size, kind(dim, None), tuple(map(str, range(size))))
        of = kind(found.name, found)
        values = self._values(found)
        units, calendar = found.text("units"), found.text("calendar")
        description = found.text("long_name") or found.text("standard_name")
        words: list[str] | None = None
        if of == "time" and units and is_time(units) and found.numeric:
            words = texts(values, units, calendar)
        if words is None:
            of = "other" if of == "time" else of
            words = _written(values)
        if len(set(words)) < size:
            # Coordinates that are there twice would make two places of one address.
            words = [str(index) for index in range(size)]
        return Axis(dim, size, of, tuple(words), units, description, calendar)

    def _place(self, variable: Variable) -> Placed:
        if not variable.numeric:
            what = "texts, not numbers" if variable.dtype.kind in "SUO" else f"{variable.dtype} values"
            raise Unplaced(f"holds {what}", "Choose a variable of whole numbers or floats.")
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            if not 0 < size <= _MAX_COORDINATES:
                reason = "nothing" if size == 0 else f"{size:,} values, more than can be listed,"
                raise Unplaced(f"has {reason} along {dim}", "Write a smaller file.")
        kinds = {dim: kind(dim, self._coordinate(dim)) for dim in variable.dims}
        dims = {of: dim for dim, of in kinds.items() if of in ("x", "y")}
        coordinates = {of: self._coordinate(dim) for of, dim in dims.items()}
        if len(dims) < 2 or None in coordinates.values():
            self._refuse_curvilinear(variable)
        if len(dims) < 2:
            raise Unplaced(
                f"has no longitude and latitude (or x and y) among its dimensions "
                f"{', '.join(variable.dims) or '(none)'}",
                "Give them coordinates with units degrees_east and degrees_north.",
            )
        x, y = coordinates["x"], coordinates["y"]
        if x is None or y is None:
            return self._by_corner(variable, dims)
        crs, factor = crs_of(variable, self.file.variables, x, y, self.file.attributes)
        columns, rows = self._values(x), self._values(y)
        if crs.is_geographic:
            columns = unrolled(columns)
        x0, dx = line(columns, self._bounds(x), dims["x"])
        y0, dy = line(rows, self._bounds(y), dims["y"])
        if crs.is_geographic:
            x0, dx = once_round(x0, dx, x.shape[0])
        transform = (x0 * factor, dx * factor, 0.0, y0 * factor, 0.0, dy * factor)
        return Placed(dims["x"], dims["y"], transform, spelled(crs), crs.name)

    def _values(self, coordinate: Variable) -> Values:
        """Coordinates as they are meant: some are packed, as variables are."""
        values = self.file.read(coordinate.name, tuple(slice(0, size) for size in coordinate.shape))
        scale, offset = coordinate.number("scale_factor"), coordinate.number("add_offset")
        if coordinate.numeric and (scale is not None or offset is not None):
            values = values * (1.0 if scale is None else scale) + (offset or 0.0)
        return values

    def _by_corner(self, variable: Variable, dims: Mapping[str, str]) -> Placed:
        """Without coordinates, from the transform that GDAL and rioxarray write beside the CRS."""
        mapping = variable.text("grid_mapping") or "spatial_ref"
        found = nearest(self.file.variables, variable.name, mapping)
        words = re.split(r"[\s,]+", (found.text("GeoTransform") or "").strip()) if found else []
        if found is None or len(words) != 6:
            missing = " and ".join(dims[of] for of in ("x", "y"))
            raise Unplaced(
                f"has no coordinates of its dimensions {missing}",
                "Write them into the file as one-dimensional variables of the same names.",
            )
        x0, dx, rx, y0, ry, dy = (float(word) for word in words)
        here = Variable(dims["x"], np.dtype(float), (dims["x"],), (1,), (1,))
        crs, _ = crs_of(variable, self.file.variables, here, here, self.file.attributes)
        try:
            footprint.invert((x0, dx, rx, y0, ry, dy))
        except ValueError:
            raise Unplaced("has pixels without area in its GeoTransform", "Correct it.") from None
        return Placed(dims["x"], dims["y"], (x0, dx, rx, y0, ry, dy), spelled(crs), crs.name)

    def _refuse_curvilinear(self, variable: Variable) -> None:
        for word in (variable.text("coordinates") or "").split():
            found = nearest(self.file.variables, variable.name, word)
            if found is not None and len(found.dims) >= 2 and kind(found.name, found) in ("x", "y"):
                raise Unplaced(
                    f"lies on a curvilinear grid: its coordinate {word} has {len(found.dims)} dimensions",
                    "Put it on a regular grid first, for example with xESMF or cdo remapbil.",
                )

    def _bounds(self, coordinate: Variable) -> Any:
        name = coordinate.text("bounds")
        found = nearest(self.file.variables, coordinate.name, name) if name else None
        if found is None or coordinate.shape != (1,) or found.shape != (1, 2):
            return None
        return self.file.read(found.name, (slice(None), slice(None)))


def _written(values: Any) -> list[str]:
    """Coordinates as short texts that are read back as the same numbers."""
    if values.dtype.kind == "S" and values.ndim == 2:
        return [b"".join(row.tolist()).decode("utf-8", "replace").strip("\0 ") for row in values]
    if values.dtype.kind in "SO":
        return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in values]
    if values.dtype.kind == "f":
        found = [str(one) for one in values.astype(values.dtype.newbyteorder("="))]
        return [one[:-2] if one.endswith(".0") else one for one in found]
    return [str(one) for one in values.tolist()]


def placed_on_earth(placed: Placed, width: int, height: int) -> tuple[Any, float] | None:
    """Bounds in degrees and ground resolution, or None if the CRS does not reach degrees there."""
    try:
        return footprint.place(placed.transform, width, height, placed.crs)
    except pyproj.exceptions.ProjError:
        return None
