"""Profiles: what is known of an image before any pixel is read, and the dtype rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geoloom.errors import BandError, ParameterError

MAX_BANDS = 1000
"""Bands of a computed image."""

LookKind = Literal["grey", "palette", "rgb", "rgba"]


@dataclass(frozen=True, slots=True)
class Look:
    """How values are shown. The data of a block with a look are uint8.

    Parameters
    ----------
    kind
        ``grey`` (1 band, 0–255), ``palette`` (1 band of indices into `lut`), ``rgb`` (3 bands) or
        ``rgba`` (4 bands, the last is alpha). Invalid pixels are transparent in each.
    limits
        Value shown as the first and as the last shade, per band; empty where unknown.
    lut
        Colours of a palette, ``#rrggbbaa`` each.
    labels
        (label, colour) of each class; empty for ramps.
    unit, name
        Of the values, for the legend.
    opacity
        0 (clear) to 1.
    """

    kind: LookKind
    limits: tuple[tuple[float, float], ...] = ()
    lut: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    unit: str | None = None
    name: str | None = None
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Bands, dtype and meaning of an image.

    Parameters
    ----------
    names
        Band names.
    dtype
        numpy's name of the dtype of all bands.
    unit, range
        Unit of the values and the values possible, if known.
    look
        Set once the image is styled.
    constant
        The number, where the image is one number everywhere.
    """

    names: tuple[str, ...]
    dtype: str
    unit: str | None = None
    range: tuple[float, float] | None = None
    look: Look | None = None
    constant: int | float | None = None

    @property
    def bands(self) -> int:
        """How many bands."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a band.

        Raises
        ------
        BandError
            Naming the bands there are.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise BandError(
                f"There is no band {name!r}.", hint=f"The bands are: {', '.join(self.names)}."
            ) from None

    def pick(self, bands: tuple[int, ...]) -> Profile:
        """The profile of some of the bands."""
        if bands == tuple(range(self.bands)):
            return self
        return replace(self, names=tuple(self.names[i] for i in bands), look=None)

    @staticmethod
    def of_block(data: npt.NDArray[Any]) -> Profile:
        """What can be told from (bands, rows, cols); (1, 1, 1) is taken for a number."""
        names = tuple(f"b{i + 1}" for i in range(data.shape[0]))
        return Profile(names, str(data.dtype), constant=data.item() if data.shape == (1, 1, 1) else None)

    @staticmethod
    def of_source(info: Mapping[str, Any]) -> Profile:
        """The profile of a file, from what the engine's ``/info`` says of it."""
        bands = info["bands"]
        units = {band["unit"] for band in bands}
        look = None
        palette = bands[0].get("palette") if len(bands) == 1 else None
        if palette and info["dtype"] == "uint8":
            lut = tuple("#{:02x}{:02x}{:02x}{:02x}".format(*entry) for entry in palette[:256])
            names = bands[0].get("categories") or ()
            labels = tuple((name, colour) for name, colour in zip(names, lut, strict=False) if name)
            look = Look("palette", lut=lut, labels=labels, name=bands[0]["name"])
        return Profile(
            tuple(band["name"] for band in bands),
            info["dtype"],
            unit=units.pop() if len(units) == 1 else None,
            look=look,
        )


def check_band_count(op_name: str, count: int, limit: int) -> None:
    """Raises BandError beyond a limit: a hundred stacks of an image on itself would have 2^100 bands."""
    if count > limit:
        raise BandError(
            f"{op_name} would take or give {count:,} bands; at most {limit:,} are allowed.",
            hint="Choose the bands that are needed first, as image.bands(…).",
        )


def combined_names(op_name: str, *inputs: Profile) -> tuple[str, ...]:
    """Band names of images combined band by band; one band combines with any number."""
    many = [one for one in inputs if one.bands != 1]
    if any(one.bands != many[0].bands for one in many[1:]):
        counts = " and ".join(str(one.bands) for one in inputs)
        raise BandError(
            f"{op_name}: images of {counts} bands cannot be combined.",
            hint="Choose bands so that both have as many, or one has a single band.",
        )
    if many:
        return many[0].names
    named = [one for one in inputs if one.constant is None]
    return (named or list(inputs))[0].names


def dtype_of_number(value: int | float) -> str:
    """The dtype a Python number has in a chain: int32, int64 or float64; beside images it adapts."""
    if isinstance(value, float):
        return "float64"
    for name in ("int32", "int64"):
        if np.iinfo(name).min <= value <= np.iinfo(name).max:
            return name
    raise ParameterError(f"The number {value} does not fit into 64 bits.")


def holds(dtype: str, value: float) -> bool:
    """Whether a number is the same in a dtype; floats may round it."""
    if dtype == "bool":
        return value in (0, 1)
    if dtype.startswith("float"):
        return abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return float(value).is_integer() and int(limits.min) <= int(value) <= int(limits.max)


def common_dtype(*profiles: Profile) -> str:
    """The dtype that holds the values of all images: for `where`, `stack`, `minimum` and their like.

    Numbers adapt to images: 0 beside a uint8 image stays uint8, 0.5 makes it float32, and 0 and 1
    beside bool images are False and True.
    """
    images = [one for one in profiles if one.constant is None]
    dtypes = [np.dtype(one.dtype) for one in images]
    masks = bool(dtypes) and all(one.kind == "b" for one in dtypes)
    if masks and all(one.constant is None or repr(one.constant) in ("0", "1") for one in profiles):
        return "bool"
    numbers = [one.constant for one in profiles if one.constant is not None]
    dtypes += [_narrowest(one) if images else np.dtype(dtype_of_number(one)) for one in numbers]
    if any(one.kind == "f" for one in dtypes):
        return "float64" if any(one == np.float64 for one in dtypes) else "float32"
    found = np.result_type(*dtypes)
    return "float64" if found.kind == "f" else str(found)


def float_dtype(*profiles: Profile) -> str:
    """The dtype of quotients and functions: float32, or float64 where an image is float64."""
    images = [one for one in profiles if one.constant is None] or list(profiles)
    return "float64" if any(one.dtype == "float64" for one in images) else "float32"


def integer_range(profile: Profile) -> tuple[int, int]:
    """Smallest and largest value an integer or bool image can hold."""
    if profile.constant is not None:
        return int(profile.constant), int(profile.constant)
    if profile.dtype == "bool":
        return 0, 1
    info = np.iinfo(profile.dtype)
    return int(info.min), int(info.max)


def is_float(*profiles: Profile) -> bool:
    """Whether any of the images holds floats."""
    return any(np.dtype(one.dtype).kind == "f" for one in profiles)


def integer_dtype(low: int, high: int) -> str:
    """int32 if it holds low…high, else int64, else float64: sums and products never wrap."""
    for name in ("int32", "int64"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return name
    return "float64"


def _narrowest(value: int | float) -> np.dtype[Any]:
    if isinstance(value, float):
        return np.dtype(np.float32)
    return np.min_scalar_type(value)
