"""Collection: a lazy question for scenes, narrowed by filters, that becomes one image of them all.

Filters build a `Query` and ask nothing. Only what needs the scenes asks the engine, once: `count`, `mosaic`,
`composite`, `selection` and their kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from geoloom import per_item
from geoloom.answer import Explanation, table
from geoloom.errors import ImageUseError, ParameterError, RequestError
from geoloom.filters import filters_of, order_of
from geoloom.image import Image
from geoloom.narrowing import Narrowing
from geoloom.query import Query
from geoloom.resolution import Resolution
from geoloom.selection import Selection

if TYPE_CHECKING:
    import pandas as pd

    from geoloom.catalog_entry import Entry
    from geoloom.grid import Bounds
    from geoloom.series import Series
    from geoloom.timeline import Animation

__all__ = ["Collection"]

Function = Callable[[Image], Image]


class Collection(Narrowing):
    """Scenes of a catalogue, lazily: every method returns a new collection or an image.

    Made by ``gl.collection("id")`` or from ``gl.collections``.

    Parameters
    ----------
    query
        Which items, in which order.
    places
        The query's areas in words.
    maps
        Functions applied to each item, in this order.
    resolution
        What the engine said of this query before.
    entry
        What its catalogue says of the whole collection, if that was asked.
    """

    __slots__ = ("_maps", "_resolution", "entry")

    def __init__(
        self,
        query: Query,
        places: Iterable[str] = (),
        maps: Iterable[Function] = (),
        resolution: Resolution | None = None,
        entry: Entry | None = None,
    ) -> None:
        super().__init__(query, tuple(places))
        self._maps = tuple(maps)
        self._resolution = resolution or Resolution(query, self._places)
        self.entry = entry

    @staticmethod
    def of(selection: Selection) -> Collection:
        """The collection of just the items of a selection, as `selection` gave it."""
        query = Query(selection.collection)
        return Collection(query, resolution=Resolution(query, selection=selection))

    @property
    def id(self) -> str:
        """The collection's id, with its catalogue's name where that is known."""
        return self.query.collection

    # What is computed of each item.

    def map(self, f: Function) -> Collection:
        """Apply a function to each item before they become one image: ``map(lambda img: img.mask(…))``.

        Parameters
        ----------
        f
            Gets the image of an item and returns an image. It is called once, for all items.
        """
        if isinstance(f, Image) or not callable(f):
            raise ParameterError(
                f"map takes a function, not {type(f).__name__}.", hint="Write map(lambda img: …)."
            )
        return Collection(self.query, self._places, (*self._maps, f), self._resolution, self.entry)

    def select(self, *bands: str | int) -> Collection:
        """Only some bands of each item."""
        return self.map(lambda img: img.bands(*bands))

    # What asks the engine.

    def count(self) -> int:
        """How many items there are now."""
        return self._resolution.count()

    def __len__(self) -> int:
        return self.count()

    def selection(self) -> Selection:
        """The items, frozen: what this collection means from now on.

        Raises
        ------
        SourceNotFound
            No item is left; says which filter left none.
        """
        return self._resolution.selection()

    def each(self) -> Image:
        """What is computed of each item: an image that stands for each of them in turn."""
        __tracebackhide__ = True
        image = per_item.item(self.selection())
        for f in self._maps:
            image = _applied(f, image, "map")
        return image

    def mosaic(self) -> Image:
        """One image: of each pixel the first valid one, in the order of the items."""
        return self.composite("first")

    def __geoloom_image__(self) -> Image:
        return self.mosaic()

    @property
    def picture(self) -> Image:
        """What a map shows of it: the mosaic."""
        return self.mosaic()

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of all items in degrees; west > east crosses ±180°."""
        return self.selection().bounds

    def bands(self, *names: str | int) -> Image:
        """Some bands of the mosaic."""
        return self.mosaic().bands(*names)

    def composite(self, method: str) -> Image:
        """One image of all items: of each pixel one value, made of the items that are valid there.

        Parameters
        ----------
        method
            ``first`` or ``last`` in the items' order, ``min``, ``max``, ``mean``, ``median``, ``std``, or
            ``count`` (how many items are valid there).
        """
        __tracebackhide__ = True
        return per_item.composite(self.each(), self.selection(), method)

    def quality(self, score: Function | str) -> Image:
        """One image: of each pixel the item whose score is highest there.

        Parameters
        ----------
        score
            A band's name, or a function from the image of an item (as `map` left it) to one band.
        """
        __tracebackhide__ = True
        f: Function = (lambda img: img[score]) if isinstance(score, str) else score
        return per_item.quality(self.each(), self._of_each(f, "quality"), self.selection())

    def min(self) -> Image:
        """The smallest value of each pixel."""
        return self.composite("min")

    def max(self) -> Image:
        """The largest value of each pixel."""
        return self.composite("max")

    def mean(self) -> Image:
        """The mean of each pixel."""
        return self.composite("mean")

    def median(self) -> Image:
        """The median of each pixel."""
        return self.composite("median")

    def std(self) -> Image:
        """The standard deviation of each pixel."""
        return self.composite("std")

    def first(self) -> Image:
        """The image of the first item."""
        if not self._resolution.frozen:
            query = replace(self.query, limit=1)
            return Collection(query, self._places, self._maps).mosaic()
        all_of_them = self.selection()
        one = Selection.of(all_of_them.collection, all_of_them.bands, [all_of_them.item(0)])
        return Collection(self.query, (), self._maps, Resolution(self.query, selection=one)).mosaic()

    def coverage(self) -> Image:
        """How many footprints lie over each pixel: a picture of where there is data, at any zoom."""
        return per_item.coverage(self.selection())

    def series(self, lon: float, lat: float, f: Function | None = None, *, zoom: int | None = None) -> Series:
        """The values of every item at a place in degrees, oldest first: a table and a plot.

        Parameters
        ----------
        f
            What of each item (as `map` left it): ``lambda img: img.normalized_difference("B08", "B04")``.
        zoom
            Of the map; without it each item's own pixels.
        """
        from geoloom.series import series

        __tracebackhide__ = True
        # Only what lies there is asked for: the collection may be too large to be frozen as a whole.
        here = self
        if not self._resolution.frozen and self.query.limit is None:
            here = self.filter_location(lon, lat)
        return series(here._of_each(f, "series"), here.selection(), lon, lat, zoom)

    def animate(
        self, f: Function | None = None, *, by: str | int = "day", method: str = "first"
    ) -> Animation:
        """One image a period, oldest first; ``m.add_layer`` shows them with a date slider.

        Parameters
        ----------
        f
            What of each item (as `map` left it).
        by
            ``day``, ``week``, ``dekad``, ``month``, ``year``, or a number of days.
        method
            How the items of a period become one image: as `composite`'s.
        """
        from geoloom.timeline import animate

        __tracebackhide__ = True
        return animate(self._of_each(f, "animate"), self.selection(), by, method)

    def explain(self, zoom: int | None = None) -> Explanation:
        """What a tile in the middle of the mosaic would read and compute."""
        return self.mosaic().explain(zoom)

    def footprints(self) -> dict[str, Any]:
        """The items' outlines as GeoJSON; ``m.add_layer(collection.footprints())`` shows them."""
        import numpy as np
        import shapely

        found = self.selection()
        moments = [
            None if np.isnan(date) else f"{np.datetime64(round(date * 1000), 'ms')}Z" for date in found.dates
        ]
        features = [
            {
                "type": "Feature",
                "id": id_,
                "geometry": shapely.geometry.mapping(outline),
                "properties": {"id": id_, "date": moment},
            }
            for id_, moment, outline in zip(found.ids, moments, found.footprints, strict=True)
        ]
        return {"type": "FeatureCollection", "features": features}

    def to_dataframe(self) -> pd.DataFrame:
        """A table of the items: id, date, properties, and the footprint as a shapely geometry.

        Of more than 1,000 items it holds the first, and warns.
        """
        from geoloom.item_table import table_of

        return table_of(self._resolution.items())

    # What it shows; none of this contacts the engine.

    def filters(self) -> tuple[str, ...]:
        """The filters in words."""
        return tuple(told for told, _ in filters_of(self.query, self._places))

    def snippet(self) -> str:
        """Code that shows the whole collection on a map; it runs as it is. ``print(…)`` shows it.

        Raises
        ------
        ParameterError
            The catalogue was not asked about this collection.
        """
        if self.entry is None:
            raise ParameterError("Nothing is known of it yet.", hint=f"gl.collection({self.id!r}).snippet()")
        return self.entry.snippet()

    def __str__(self) -> str:
        return self.snippet() if self._whole and self.entry is not None else repr(self)

    def __repr__(self) -> str:
        parts = [*self.filters(), order_of(self.query), *self._steps()]
        return f"<Collection {self.id}: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        if self._whole and self.entry is not None:
            return table("Collection", self.entry.rows())
        rows = {
            "id": self.id,
            "filters": "; ".join(self.filters()) or "none",
            "order": order_of(self.query),
            "each item": "; ".join(self._steps()) or "as it is",
            "items": "not asked for yet: collection.count()",
        }
        if self._resolution.known is not None:
            rows["items"] = f"{self._resolution.known:,}"
        return table("Collection", rows)

    @property
    def _whole(self) -> bool:
        return self.query == Query(self.id) and not self._maps and not self._resolution.frozen

    def _of_each(self, f: Function | None, where: str) -> Image:
        __tracebackhide__ = True
        if f is not None and (isinstance(f, Image) or not callable(f)):
            raise ParameterError(
                f"{where} takes a function, not {type(f).__name__}.", hint=f"Write {where}(…, lambda img: …)."
            )
        each = self.each()
        return each if f is None else _applied(f, each, where)

    def _steps(self) -> list[str]:
        return [
            f"through {getattr(f, '__name__', type(f).__name__).replace('<lambda>', 'a function')}"
            for f in self._maps
        ]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            message = f"A collection has no attribute {name!r}."
            if name.startswith("_"):
                raise AttributeError(message)
            near = get_close_matches(name, [one for one in dir(Collection) if one[0] != "_"], n=1)
            if hasattr(Image, name):
                message += (
                    f" An image has: collection.mosaic().{name}, or of each item "
                    f"collection.map(lambda img: img.{name}…)."
                )
            elif near:
                message += f" Did you mean {near[0]}?"
            raise AttributeError(message)

    def __iter__(self) -> NoReturn:
        raise ImageUseError(
            "A collection cannot be iterated: its items are not loaded.",
            hint="Compute something of each by map(f), list them by to_dataframe(), take one by first().",
        )

    def __getitem__(self, which: Any) -> NoReturn:
        raise ImageUseError(
            f"collection[{which!r}] is not known.",
            hint="Bands of the mosaic are collection.bands(…), bands of each item collection.select(…).",
        )

    def _narrowed(self, query: Query, places: tuple[str, ...]) -> Collection:
        if self._resolution.frozen:
            raise RequestError(
                "The items of this collection are fixed: it was made of a selection.",
                hint=f"Filter gl.collection({self.id!r}) instead.",
            )
        return Collection(query, places, self._maps, entry=self.entry)


def _applied(f: Function, image: Image, where: str) -> Image:
    """What a function makes of the image of an item; errors stay at the function's own line."""
    __tracebackhide__ = True
    try:
        found: Any = f(image)
    except Exception as error:
        bands = ", ".join(image.band_names)
        error.add_note(f"In a function given to {where}(); it got the image of an item, with bands {bands}.")
        raise
    if hasattr(found, "__geoloom_image__"):
        found = found.__geoloom_image__()
    if not isinstance(found, Image):
        raise ImageUseError(
            f"A function given to {where}() returned {type(found).__name__} instead of an image.",
            hint="Does it end with return?" if found is None else None,
        )
    return found
