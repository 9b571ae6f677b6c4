"""A look for images that have none, from their own statistics; and words that say which."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from geoloom.errors import ParameterError
from geoloom.legend import number

PERCENTILES = ("2", "98")
MIDDLE = 50.0
SAMPLED = 3
"""Images whose statistics decide the look of many."""

COLOUR_CHANNELS = ("red", "green", "blue")
FALSE_AND_TRUE = {0: ("false", "#d9d9d9"), 1: ("true", "#1f78b4")}

Limits = tuple[float, float]
Level = float | Sequence[float] | None


def styled(
    image: Any,
    engine: Any,
    *,
    vmin: Level = None,
    vmax: Level = None,
    colormap: str | Sequence[Any] | None = None,
) -> tuple[Any, str]:
    """The image with a look, and a note on how it came by it ("" if it already had one).

    A bool image becomes two classes, one band a ramp, three or more a colour picture (the bands that the file
    calls red, green and blue, else the first three). Limits not given are the 2nd and 98th percentile.

    Parameters
    ----------
    image
        An `Image`.
    engine
        What answers `register` and `statistics`.
    vmin, vmax
        Value shown as the first and the last shade: one number, or one a band.
    colormap
        Name of a ramp or a list of colours; for one band.

    Raises
    ------
    ParameterError
        If the image already has a look, or a ramp is asked of a colour picture.
    """
    profile = image.profile
    given = [
        word for word, value in (("vmin", vmin), ("vmax", vmax), ("colormap", colormap)) if value is not None
    ]
    if profile.look is not None:
        if given:
            raise ParameterError(
                f"This image already has a look, so {' and '.join(given)} cannot be set here.",
                hint="Leave them out, or add the image as it was before .scale() or .colormap().",
            )
        return image, ""
    if profile.dtype == "bool" and len(profile.names) == 1 and not given:
        return image.palette(FALSE_AND_TRUE), "false and true"
    if colormap is not None or len(profile.names) < 3:
        return _ramp(image, engine, vmin, vmax, colormap)
    return _picture(image, engine, vmin, vmax)


def in_common(images: Sequence[Any], engine: Any, **look: Any) -> Any:
    """What `styled` may ask instead of an engine, so that images of the same bands get the same limits.

    It answers with the statistics of the first, middle and last image together.

    Parameters
    ----------
    images
        At least one.
    engine
        What answers `register` and `statistics`; given back if the images have a look.
    look
        As `styled` takes it.
    """
    if images[0].profile.look is not None:
        return engine
    found: list[Mapping[str, Any]] = []

    def record(key: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = engine.statistics(key)
        found.append(answer["bands"])
        return answer

    last = len(images) - 1
    asked = SimpleNamespace(register=engine.register, statistics=record)
    for index in sorted({round(last * part / (SAMPLED - 1)) for part in range(SAMPLED)}):
        styled(images[index], asked, **look)
    together = {"bands": _together(found)}
    return SimpleNamespace(register=lambda _: SimpleNamespace(key=""), statistics=lambda _: together)


def _together(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each band the lowest and the highest of the percentiles, and of the extremes."""
    bands: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        every = [one[name] for one in found if (one.get(name) or {}).get("percentiles")]
        if not every:
            continue
        marks = {
            mark: _most(min if float(mark) < MIDDLE else max, (one["percentiles"].get(mark) for one in every))
            for mark in every[0]["percentiles"]
        }
        low, high = (_most(which, (one.get(which.__name__) for one in every)) for which in (min, max))
        bands[name] = {"min": low, "max": high, "percentiles": marks}
    return bands


def _most(which: Callable[..., Any], values: Iterable[Any]) -> Any:
    return which((value for value in values if value is not None), default=None)


def _ramp(image: Any, engine: Any, vmin: Level, vmax: Level, colormap: Any) -> tuple[Any, str]:
    names = image.profile.names
    if len(names) > 1 and colormap is not None:
        raise ParameterError(
            f"A ramp shows one band, but this image has {len(names)}: {', '.join(names)}.",
            hint=f'Choose one, for example image["{names[0]}"].',
        )
    band = image if len(names) == 1 else image[names[0]]
    limits, how = _limits(band, engine, names[:1], vmin, vmax)
    look = band.scale(*limits[0])
    if colormap is None:
        colormap = "greys_r" if image.profile.dtype.startswith("uint") else "viridis"
    look = look.colormap(colormap) if isinstance(colormap, str) else look.colors(list(colormap))
    only = f"{names[0]} of {len(names)} bands, " if len(names) > 1 else ""
    return look, only + _note(limits, how)


def _picture(image: Any, engine: Any, vmin: Level, vmax: Level) -> tuple[Any, str]:
    names = image.profile.names
    chosen = _colour_bands(names, image.sources.values())
    picture = chosen or tuple(names[:3])
    bands = f"{', '.join(picture)} as red, green, blue"
    if chosen and image.profile.dtype == "uint8" and vmin is None and vmax is None:
        return image.rgb(*picture).scale(0, 255), f"{bands}, as in the file"
    limits, how = _limits(image[list(picture)], engine, picture, vmin, vmax)
    flat = [value for pair in limits for value in pair]
    return image.rgb(*picture).scale(*flat), f"{bands}, {_note(limits, how)}"


def _colour_bands(names: Sequence[str], sources: Iterable[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """The bands the file itself calls red, green and blue, in this order."""
    found: dict[str, str] = {}
    for source in sources:
        for band in source.get("bands") or ():
            colour = str(band.get("colour") or "").lower()
            if band.get("name") in names:
                found.setdefault(colour, band["name"])
    if all(channel in found for channel in COLOUR_CHANNELS):
        return tuple(found[channel] for channel in COLOUR_CHANNELS)
    return None


def _limits(
    image: Any, engine: Any, names: Sequence[str], vmin: Level, vmax: Level
) -> tuple[list[Limits], str]:
    """(low, high) of each band, and what was measured to get them ("" if all were given)."""
    lows, highs = _each(vmin, "vmin", names), _each(vmax, "vmax", names)
    if None not in lows and None not in highs:
        how = ""
    else:
        bands = engine.statistics(engine.register(image.chain).key)["bands"]
        valid = any((bands.get(name) or {}).get("percentiles") for name in names)
        how = "2–98 %" if valid else "no valid pixels found"
        for index, name in enumerate(names):
            low, high = _measured(bands.get(name) or {})
            lows[index] = low if lows[index] is None else lows[index]
            highs[index] = high if highs[index] is None else highs[index]
    pairs = [(float(low or 0.0), float(high or 0.0)) for low, high in zip(lows, highs, strict=True)]
    if how:
        pairs = [(low, high) if low < high else (low, low + 1.0) for low, high in pairs]
    return pairs, how


def _measured(band: Mapping[str, Any]) -> Limits:
    percentiles = band.get("percentiles") or {}
    low, high = (percentiles.get(name) for name in PERCENTILES)
    if low is None or high is None:
        return 0.0, 1.0
    if low == high and band.get("min") is not None and band.get("max") is not None:
        low, high = band["min"], band["max"]
    return _round(float(low), float(high))


def _round(low: float, high: float) -> Limits:
    """Limits that a legend can show in few digits: rounded to a hundredth of what lies between them."""
    if not 0 < high - low < math.inf:
        return low, high
    digits = 2 - math.floor(math.log10(high - low))
    return round(low, digits) + 0.0, round(high, digits) + 0.0


def _each(level: Level, word: str, names: Sequence[str]) -> list[float | None]:
    if level is None or isinstance(level, int | float):
        return [level] * len(names)
    values: list[float | None] = [float(value) for value in level] if isinstance(level, Iterable) else []
    if len(values) != len(names):
        raise ParameterError(
            f"{word} has {len(values)} values for {len(names)} bands.",
            hint=f"Give one number, or one for each of {', '.join(names)}.",
        )
    return values


def _note(limits: Sequence[Limits], how: str) -> str:
    shown = list(
        dict.fromkeys(
            f"{number(low)}{'–' if low >= 0 and high >= 0 else ' to '}{number(high)}" for low, high in limits
        )
    )
    return f"stretched {', '.join(shown)}{f' ({how})' if how else ''}"
