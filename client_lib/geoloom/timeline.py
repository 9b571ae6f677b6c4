"""Animation: a collection as images of one day, month or year after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from geoloom import per_item
from geoloom.chain import Chain
from geoloom.errors import ParameterError
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.periods import periods
from geoloom.selection import Selection
from geoloom.series import applied

__all__ = ["Animation", "Frame", "animate"]

MOST_SHOWN = 24
"""Frames that the HTML names."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of an animation.

    Parameters
    ----------
    label
        When, in words.
    start, end
        First moment, and first moment after it: UTC, as ``2016-07-13T00:00:00Z``.
    count
        Items it is made of.
    image
        The `Image`; nothing is computed before its tiles are asked for.
    """

    label: str
    start: str
    end: str
    count: int
    image: Image


class Animation(Sequence[Frame]):
    """Images of a collection, one a period, oldest first; `m.add_layer` shows them with a date slider.

    Immutable. Where an image is asked for, as by `Map.fit`, it is its first frame.

    Parameters
    ----------
    frames
        At least one.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        if not frames:
            raise ParameterError("An animation needs at least one frame.")
        self.frames = tuple(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, which: Any) -> Any:
        """A frame by its number; an animation of some by a slice."""
        if isinstance(which, slice):
            return Animation(self.frames[which])
        return self.frames[which]

    def map(self, function: Callable[[Image], Any]) -> Animation:
        """What a function makes of each frame's image: an index, or a look.

        Raises
        ------
        ParameterError
            If it makes no image.
        """
        return Animation([replace(one, image=applied(function, one.image)) for one in self.frames])

    @property
    def labels(self) -> tuple[str, ...]:
        """When each frame was, in words."""
        return tuple(one.label for one in self.frames)

    @property
    def chain(self) -> Chain:
        """The chain of the first frame."""
        return self.frames[0].image.chain

    @property
    def profile(self) -> Profile:
        """Bands and look, the same for all frames."""
        return self.frames[0].image.profile

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.profile.names

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """What the frames read."""
        return self.frames[0].image.sources

    @property
    def key(self) -> str:
        """The same for equal animations only."""
        return hashlib.sha256("".join(one.image.key for one in self.frames).encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        count = f"{len(self)} frames" if len(self) > 1 else "1 frame"
        to = f" to {self.labels[-1]}" if len(self) > 1 else ""
        return f"<Animation [{', '.join(self.band_names)}] of {count}: {self.labels[0]}{to}>"

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><td {left}>{escape(one.label)}</td><td>{one.count}</td></tr>"
            for one in self.frames[:MOST_SHOWN]
        )
        more = f"<div>… and {len(self) - MOST_SHOWN} more</div>" if len(self) > MOST_SHOWN else ""
        return (
            f"<div class='geoloom-animation'><table><caption>Animation of {len(self)} frames, "
            f"{escape(', '.join(self.band_names))}</caption><thead><tr><th {left}>when</th><th>scenes</th>"
            f"</tr></thead><tbody>{rows}</tbody></table>{more}"
            "<div>m.add_layer(animation) shows it with a date slider.</div></div>"
        )


def animate(each: Image, selection: Selection, by: str | int = "day", method: str = "first") -> Animation:
    """The items of a selection as images of one period after the other.

    All frames share the selection: they differ in the range of dates alone. Periods without an item are left
    out, and so are items without a date.

    Parameters
    ----------
    each
        What is computed of each item, from `per_item.item`.
    by
        ``day``, ``week``, ``dekad``, ``month``, ``year``, or a number of days.
    method
        How the items of a period become one image: as `per_item.composite`'s.

    Raises
    ------
    ParameterError
        If no item has a date, or there is no such period or method.
    """
    found = periods(selection.dates.tolist(), by)
    if not found:
        raise ParameterError(
            "There is nothing to animate: the collection has no items."
            if not len(selection)
            else f"There is nothing to animate: none of the {len(selection):,} items has a date.",
            hint="Widen the filters; count() says how many items there are."
            if not len(selection)
            else "Ingest again with a pattern that names the date, such as {date:%Y%m%d}.",
        )
    return Animation(
        [
            Frame(
                one.label,
                one.start,
                one.end,
                one.count,
                per_item.composite(each, selection, method, start=one.start, end=one.end),
            )
            for one in found
        ]
    )
