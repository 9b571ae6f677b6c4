"""Where features come from, and the questions that the engine answers about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from geoloom import blobs
from geoloom.classification import Column
from geoloom.errors import GeoloomError, NotFound, ParameterError, SourceNotFound, SourceUnreadable
from geoloom.geojson import content_of
from geoloom.image import connected
from geoloom.joining import near
from geoloom.paths import absolute, nearby, other_kind
from geoloom.stencil import NAME

__all__ = ["FeatureSource", "misspelt"]

SQL = frozenset(
    ["and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false"]
    + ["cast", "as", "case", "when", "then", "else", "end"]
)


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """A layer of a file, or GeoJSON of the notebook, and a condition that its features meet.

    Parameters
    ----------
    href, blob
        One of them: address of the file, or key of the GeoJSON text.
    layer
        Of the file; the first without it.
    where
        A condition in SQL; None for all features.
    """

    href: str | None = None
    blob: str | None = None
    layer: str | None = None
    where: str | None = None

    @staticmethod
    def of(source: Any, layer: str | None = None) -> FeatureSource:
        """Of a path, a URL or anything that has geometries; raises ParameterError."""
        content = content_of(source)
        if content is not None:
            return FeatureSource(blob=blobs.keep(content), layer=layer)
        href = absolute(source)
        if not isinstance(href, str):
            raise ParameterError(
                f"gl.vector cannot read features from a {type(source).__name__}.",
                hint="Give a path, GeoJSON, a GeoDataFrame or a shapely geometry.",
            )
        return FeatureSource(href=href, layer=layer)

    @property
    def name(self) -> str:
        """Of the file."""
        return NAME if self.href is None else PurePosixPath(self.href).stem

    def params(self) -> dict[str, Any]:
        """As ops have it."""
        return {"href": self.href, "blob": self.blob, "layer": self.layer, "where": self.where}

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        """What the engine answers; GeoJSON that it does not know yet is sent to it."""
        told = {name: value for name, value in {**self.params(), **question}.items() if value is not None}
        client = connected()
        try:
            return client.ask(path, **told)
        except NotFound:
            content = blobs.known(self.blob or "")
            if content is None:
                raise
            client.put_blob(content)
            return client.ask(path, **told)

    def look(self) -> dict[str, Any]:
        """What the features are: layers, columns, how many, where.

        Raises
        ------
        SourceError
            If the file is missing, refused or damaged.
        RequestError
            If there is no such layer, or the condition is none.
        """
        try:
            return self.ask("/features")
        except SourceNotFound as error:
            raise SourceNotFound(error.message, hint=nearby(self.href or "") or error.hint) from None
        except SourceUnreadable as error:
            raise SourceUnreadable(error.message, hint=other_kind(self.href or "") or error.hint) from None

    def column(self, name: str, limit: int | None = None) -> Column:
        """What a column holds.

        Parameters
        ----------
        limit
            How many different values are told at most.
        """
        found = self.ask("/features/values", column=name, limit=limit)
        counts = tuple((value, int(count)) for value, count in found["counts"])
        return Column(name, counts, found["distinct"], tuple(found["percentiles"]), found["whole"])


def misspelt(condition: str, error: GeoloomError, columns: list[str], joined: list[str]) -> GeoloomError:
    """What the engine said of a condition, and which column a word in it may have been meant for."""
    hint = error.hint
    known = {name.casefold() for name in columns} | SQL
    said = re.sub(r"'[^']*'", "", condition)
    bare = re.sub(r'"[^"]*"', "", said).casefold()
    for name in columns:
        if not re.fullmatch(r"\w+", name) and name.casefold() in bare:
            hint = f'The name {name!r} is no plain word: write it in double quotes, as "{name}".'
            return type(error)(error.message, hint=hint)
    for quoted, plain in re.findall(r'"([^"]+)"|([^\W\d]\w*)', said):
        word = quoted or plain
        if word in joined:
            hint = f"{word} comes from the joined table, so choose its rows there, before they are joined."
            break
        if word.casefold() not in known:
            hint = f"There is no column {word!r}. {near(word, columns)} Text stands in single quotes."
            break
    return type(error)(error.message, hint=hint)
