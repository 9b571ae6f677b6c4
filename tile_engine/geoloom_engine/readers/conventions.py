"""What the attributes of a netCDF or Zarr file mean, by the CF conventions: axes, places and gaps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from geoloom.block import Mask
from geoloom_engine.readers.arrays import Values, Variable
from geoloom_engine.readers.calendars import is_time

REGULAR = 0.05
"""How far coordinates may lie from even steps, in steps: those of fine grids as float32 do."""

_EAST = {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"}
_NORTH = {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"}
_X_NAMES = {"lon", "long", "longitude", "x", "easting", "rlon", "nav_lon"}
_Y_NAMES = {"lat", "latitude", "y", "northing", "rlat", "nav_lat"}
_X_STANDARD = {"longitude", "projection_x_coordinate", "grid_longitude", "projection_x_angular_coordinate"}
_Y_STANDARD = {"latitude", "projection_y_coordinate", "grid_latitude", "projection_y_angular_coordinate"}
_LENGTHS = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0} | dict.fromkeys(
    ("km", "kilometre", "kilometer", "kilometres", "kilometers"), 1000.0
)
_DEFAULT_FILL = 9.969209968386869e36
"""What netCDF writes where nothing was written, for floats of both sizes."""


class Unplaced(Exception):
    """Why a variable cannot be shown on a map, as the end of a sentence that begins with its name.

    Parameters
    ----------
    reason
        "has no …"
    hint
        What to do.
    """

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def kind(name: str, coordinate: Variable | None) -> str:
    """What a dimension runs along: ``x``, ``y``, ``time`` or ``other``."""
    short = name.rpartition("/")[2].lower()
    if coordinate is None:
        return {True: "x", False: "other"}[short == "x"] if short != "y" else "y"
    standard, units = coordinate.text("standard_name"), (coordinate.text("units") or "").lower()
    axis = (coordinate.text("axis") or "").upper()
    if is_time(units) or standard == "time" or axis == "T":
        return "time"
    if standard in _X_STANDARD or units in _EAST:
        return "x"
    if standard in _Y_STANDARD or units in _NORTH:
        return "y"
    if axis in ("X", "Y"):
        return axis.lower()
    if standard or axis:
        return "other"
    return "x" if short in _X_NAMES else "y" if short in _Y_NAMES else "other"


def line(values: Values, bounds: Values | None, what: str) -> tuple[float, float]:
    """First edge and step of evenly spaced coordinates of pixel centres.

    Parameters
    ----------
    bounds
        (n, 2): edges of each, for a lone coordinate.
    what
        The coordinates' name, for the refusal.

    Raises
    ------
    Unplaced
        If they are not even.
    """
    hint = "Put it on a regular grid first, for example with xarray's interp or cdo remapbil."
    at = _decimal(values)
    if not np.isfinite(at).all():
        raise Unplaced(f"has gaps in its coordinate {what}", hint)
    if at.size == 1:
        if bounds is None or bounds.size != 2:
            raise Unplaced(
                f"has a single {what}, so the size of its pixel is unknown",
                "Write bounds of it (the attribute 'bounds'), or take more than one.",
            )
        low, high = (float(one) for one in _decimal(bounds).ravel())
        if low == high:
            raise Unplaced(f"has bounds of {what} without a width", hint)
        return low, high - low
    step = float(at[-1] - at[0]) / (at.size - 1)
    even = at[0] + step * np.arange(at.size)
    if step == 0 or float(np.abs(at - even).max()) > REGULAR * abs(step):
        raise Unplaced(f"has unevenly spaced {what}", hint)
    return float(at[0]) - step / 2, step


def unrolled(values: Values) -> npt.NDArray[np.float64]:
    """Longitudes that jump from 180 to −180 (or 360 to 0) as ones that go on."""
    at = _decimal(values)
    return np.unwrap(at, period=360.0) if at.size > 1 and np.isfinite(at).all() else at


def once_round(start: float, step: float, count: int) -> tuple[float, float]:
    """Longitudes that go once round but for rounding go exactly once round: no seam, no overlap."""
    if abs(abs(step) * count - 360.0) < REGULAR * abs(step):
        middle = start + step * count / 2
        step = 360.0 / count if step > 0 else -360.0 / count
        return middle - step * count / 2, step
    return start, step


def crs_of(
    variable: Variable, variables: Mapping[str, Variable], x: Variable, y: Variable, around: Mapping[str, Any]
) -> tuple[pyproj.CRS, float]:
    """A variable's horizontal CRS, and what its coordinates are multiplied by to be in the CRS's unit.

    Parameters
    ----------
    x, y
        Its horizontal coordinates.
    around
        Attributes of the file or store.

    Raises
    ------
    Unplaced
        If it says none that can be understood.
    """
    crs, factor = _declared(variable, variables, around), 1.0
    degrees = kind(x.name, x) == "x" and not _LENGTHS.get((x.text("units") or "").lower())
    named = {x.text("standard_name"), y.text("standard_name")} <= {"longitude", "latitude", None}
    if crs is None and degrees and named and not _plain_xy(x):
        return pyproj.CRS.from_epsg(4326), 1.0
    if crs is None:
        raise Unplaced(
            "does not say in which coordinate system its x and y are",
            "Write it into the file (rioxarray's rio.write_crs), then open it again.",
        )
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    crs = crs.to_2d()
    if not (crs.is_geographic or crs.is_projected) or crs.geodetic_crs is None:
        raise Unplaced(
            f"is in {crs.name}, which has no place on the map", "Warp it to longitude and latitude."
        )
    units = (x.text("units") or "").lower()
    if crs.is_projected and units in _LENGTHS:
        factor = _LENGTHS[units] / crs.axis_info[0].unit_conversion_factor
    elif crs.is_projected and units in ("rad", "radian", "radians"):
        # Angles as a geostationary satellite sees them; PROJ's coordinates are those times its height.
        params = [] if crs.coordinate_operation is None else crs.coordinate_operation.params
        factor = next((float(one.value) for one in params if "height" in one.name.lower()), 1.0)
    return crs, factor


@dataclass(frozen=True, slots=True)
class Gaps:
    """Which stored values stand for nothing.

    Parameters
    ----------
    values
        Each of them.
    low, high
        Stored values below or above are not valid; None for no limit.
    declared
        Whether the first of `values` is the file's own.
    """

    values: tuple[float, ...]
    low: float | None
    high: float | None
    declared: bool

    @staticmethod
    def of(variable: Variable, dtype: np.dtype[Any]) -> Gaps:
        """As `_FillValue`, `missing_value`, `valid_range`, `valid_min` and `valid_max` say."""
        values: list[float] = []
        for name in ("_FillValue", "missing_value"):
            found = variable.attributes.get(name)
            listed = found if isinstance(found, list) else [found]
            values += [_held(one, dtype) for one in listed if isinstance(one, int | float) and one == one]
        declared = bool(values)
        if dtype.kind == "f":
            values.append(_held(_DEFAULT_FILL, dtype))
        bounds = variable.attributes.get("valid_range")
        low, high = variable.number("valid_min"), variable.number("valid_max")
        if isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(b, int | float) for b in bounds):
            low, high = bounds
        return Gaps(tuple(dict.fromkeys(values)), low, high, declared)

    def valid(self, data: Values) -> Mask | None:
        """Which values are something; None if all are."""
        valid: Mask | None = np.isfinite(data) if data.dtype.kind == "f" else None
        for value in self.values:
            present = data != (data.dtype.type(value) if data.dtype.kind == "f" else value)
            valid = present if valid is None else valid & present
        if self.low is not None:
            valid = data >= self.low if valid is None else valid & (data >= self.low)
        if self.high is not None:
            valid = data <= self.high if valid is None else valid & (data <= self.high)
        return None if valid is None or valid.all() else valid


def stored_dtype(variable: Variable) -> np.dtype[Any]:
    """The type its values are given in: native byte order, unsigned where an attribute says so."""
    dtype = variable.dtype.newbyteorder("=")
    if dtype.kind == "i" and str(variable.attributes.get("_Unsigned", "")).lower() == "true":
        return np.dtype(f"u{dtype.itemsize}")
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _held(value: float, dtype: np.dtype[Any]) -> float:
    """A fill value as the array's type holds it: −1 of an unsigned byte is 255."""
    if dtype.kind == "u" and value < 0:
        return int(value) + (1 << (8 * dtype.itemsize))
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    return value


def _decimal(values: Values) -> npt.NDArray[np.float64]:
    """Coordinates as float64; float32 ones as the decimal numbers they were written as."""
    if values.dtype.kind == "f" and values.dtype.itemsize == 4:
        return values.astype(str).astype(np.float64)
    return values.astype(np.float64)


def _plain_xy(x: Variable) -> bool:
    """Whether a coordinate is just called x, so that nothing says that it is in degrees."""
    short = x.name.rpartition("/")[2].lower()
    return short not in ("lon", "long", "longitude", "nav_lon") and not (
        (x.text("units") or "").lower() in _EAST or x.text("standard_name") == "longitude"
    )


def _declared(
    variable: Variable, variables: Mapping[str, Variable], around: Mapping[str, Any]
) -> pyproj.CRS | None:
    """What the grid mapping, or another way of writing it, says."""
    written = variable.attributes.get("_CRS")
    if isinstance(written, dict):
        # GDAL's way in Zarr.
        return _parsed(written.get("wkt") or written.get("url") or written.get("projjson"))
    mapping = variable.text("grid_mapping")
    names = [mapping.split(":")[0].split()[0]] if mapping else ["spatial_ref"]
    for name in names:
        found = nearest(variables, variable.name, name)
        if found is None:
            continue
        text = found.text("crs_wkt") or found.text("spatial_ref")
        crs = _parsed(text) if text else None
        if crs is None and found.text("grid_mapping_name"):
            try:
                crs = pyproj.CRS.from_cf(dict(found.attributes))
            except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError):
                crs = None
        if crs is not None:
            return crs
    return _parsed(around.get("proj:wkt2") or around.get("proj:code") or around.get("proj:epsg"))


def nearest(variables: Mapping[str, Variable], beside: str, name: str) -> Variable | None:
    """The variable of a name in the group of another one, else in the groups above."""
    group = beside.rpartition("/")[0]
    short = name.lstrip("/")
    while True:
        found = variables.get(f"{group}/{short}" if group else short)
        if found is not None or not group:
            return found
        group = group.rpartition("/")[0]


def _parsed(text: Any) -> pyproj.CRS | None:
    # Texts that PROJ would take for options or for the name of a file are no CRS here.
    if not isinstance(text, str | dict | int) or not text or re.match(r"\s*[+/]", str(text)):
        return None
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        return None
