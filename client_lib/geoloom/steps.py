"""The times of a netCDF file or Zarr store, one after the other."""

from __future__ import annotations

from typing import Any

from geoloom.contents import choose, seconds, variables
from geoloom.dates import period
from geoloom.errors import ParameterError
from geoloom.opening import open as opened
from geoloom.ops.composite import stamp
from geoloom.timeline import Animation, Frame

__all__ = ["time_steps"]

MOST = 1000
"""Times of one animation."""


def time_steps(
    href: Any, variable: str | None = None, time: Any = None, unpack: bool = False, **at: Any
) -> Animation:
    """All times of a variable as an animation: `Map.add_layer` shows it with a date slider.

    Parameters
    ----------
    href, variable, unpack, at
        As of `geoloom.open`.
    time
        Only those of a year, a month or a range: ``"2020"``, ``slice("2020-03", "2020-08")``.

    Raises
    ------
    SourceError
        If the file is missing, refused, damaged or not georeferenced.
    ParameterError
        If there is no such variable, coordinate or time, or there are too many times.
    """
    table = variables(href)
    first = choose(table.href, table.info, variable, 0, at)
    name = str(first.variable)
    dim = table.time(name)
    texts = sorted(table.coordinates(name)[dim], key=seconds)
    if time is not None:
        start, end = period(time.start, time.stop) if isinstance(time, slice) else period(time)
        texts = [text for text in texts if start <= text < end]
    if not texts or len(texts) > MOST:
        raise ParameterError(
            f"{name} has {len(texts):,} times there; an animation shows 1 to {MOST:,}.",
            hint="Choose others, as time='2020' or time=slice('2020-03', '2020-08').",
        )
    short = all(text.endswith("T00:00:00Z") for text in texts)
    frames = []
    for text, following in zip(texts, [*texts[1:], None], strict=True):
        image = opened(first.with_at(**{dim: text}).text, unpack=unpack)
        label = text[:10] if short else text[:16].replace("T", " ")
        frames.append(Frame(label, text, following or _after(text), 1, image))
    return Animation(frames)


def _after(text: str) -> str:
    """The end of the last step, of which the file says none: a second later."""
    return stamp(seconds(text) + 1.0)
