"""What the engine answers to a query: asked once, kept as long as the collections that share it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from geoloom import blobs
from geoloom.areas import swapped
from geoloom.errors import GeoloomError, ParameterError, SourceNotFound, SourceUnreadable
from geoloom.filters import filters_of
from geoloom.image import connected
from geoloom.query import Query
from geoloom.selection import Selection

__all__ = ["MAX_TOLD", "Resolution"]

MAX_TOLD = 1000
"""Items of which the engine tells all it knows at once."""

MAX_QUESTIONS = 24
"""Counts that are asked for to say why nothing is left."""


class Resolution:
    """Which items a query means, as the engine said when it was first asked.

    Parameters
    ----------
    query
        What is asked.
    places
        The query's areas in words.
    selection
        What is fixed already, instead of being asked for.
    """

    def __init__(self, query: Query, places: Sequence[str] = (), selection: Selection | None = None) -> None:
        self.query = query
        self.places = tuple(places)
        self.frozen = selection is not None
        self._selection = selection
        self._lock = threading.Lock()

    @property
    def known(self) -> int | None:
        """How many items there are, if that was asked before."""
        return None if self._selection is None else len(self._selection)

    def count(self) -> int:
        """How many items there are now."""
        return self.known if self.known is not None else asked(self.query)

    def items(self) -> list[Mapping[str, Any]]:
        """What the engine knows of each item, at most `MAX_TOLD`; warns if there are more.

        Raises
        ------
        ParameterError
            The items are fixed, and only what chains need is known of them.
        """
        if self.frozen:
            raise ParameterError(
                "A collection made of a selection knows no properties.",
                hint="collection.selection() has ids, dates and footprints.",
            )
        answer = connected().ask("/search", query=self.query.to_json(), answer="items")
        found = list(answer["items"])
        if answer["count"] > len(found):
            warnings.warn(
                f"These are the first {len(found):,} of {answer['count']:,} items; narrow the filters, "
                "or choose with sort and limit.",
                stacklevel=3,
            )
        return found

    def selection(self) -> Selection:
        """The items with all that chains need of them, frozen.

        Raises
        ------
        SourceNotFound
            No item is left; says which filter left none.
        SourceUnreadable
            There are items, but none that an image can be made of. If some are, it warns of the others.
        """
        with self._lock:
            if self._selection is None:
                answer = connected().ask("/search", query=self.query.to_json(), answer="selection")
                problems = [str(one) for one in answer.get("problems") or ()]
                if not answer["count"]:
                    raise _unusable(problems) if problems else nothing_left(self.query, self.places)
                for problem in problems:
                    warnings.warn(problem, stacklevel=4)
                content = answer["selection"].encode("utf-8")
                found = Selection.from_bytes(content)
                blobs.keep(content)
                self._selection = found
            return self._selection


def asked(query: Query) -> int:
    """How many items a query means."""
    return int(connected().ask("/search", query=query.to_json(), answer="count")["count"])


def _unusable(problems: Sequence[str]) -> GeoloomError:
    return SourceUnreadable("None of the items that were found can be used.", hint=" ".join(problems))


def nothing_left(query: Query, places: Sequence[str]) -> GeoloomError:
    """The error that says which filter left nothing; asks for counts without each of them."""
    name = query.collection
    query = replace(query, limit=None)
    total = asked(Query(name))
    if not total:
        id_ = name.rpartition("/")[2]
        return SourceNotFound(
            f"Collection {name} has no items.", hint=f"geoloom ingest … --collection {id_} adds some."
        )
    filters = filters_of(query, places)
    for n, area in enumerate(query.areas):
        turned = swapped(area)
        areas = (*query.areas[:n], turned, *query.areas[n + 1 :]) if turned else ()
        if areas and asked(replace(query, areas=areas)):
            return SourceNotFound(
                f"No item of {name} lies {places[n]}.",
                hint="With longitude and latitude exchanged there are some; longitude comes first.",
            )
    blamed = [(told, asked(without)) for told, without in filters[:MAX_QUESTIONS]]
    guilty = [f"without “{told}” there would be {count:,}" for told, count in blamed if count]
    words = "; ".join(told for told, _ in filters)
    message = f"No item of {name} is left of {total:,}: {words}."
    if guilty:
        said = "; ".join(guilty)
        return SourceNotFound(message, hint=f"{said[0].upper()}{said[1:]}. {_extent(name)}".rstrip())
    # Several filters leave nothing each: the first that does, in the order in which they are told.
    while len(filters) > 1 and not asked(filters[-1][1]):
        query, places = filters[-1][1], places[: len(filters[-1][1].areas)]
        filters = filters_of(query, places)
    return SourceNotFound(message, hint=f"“{filters[-1][0]}” leaves none of them. {_extent(name)}".rstrip())


def _extent(name: str) -> str:
    """Where and when the items of a collection are, in a sentence; nothing if that is not known."""
    from geoloom.catalog import entries

    try:
        found = next((one for one in entries() if one.name == name or one.id == name), None)
    except GeoloomError:
        return ""
    return "" if found is None else found.extent
