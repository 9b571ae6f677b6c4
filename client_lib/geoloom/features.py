"""Features of a file or of GeoJSON: styled on maps, burnt into images, as masks and zones."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from geoloom import blobs
from geoloom.answer import place, table
from geoloom.classification import Column, categories, graduated
from geoloom.colour import Colour
from geoloom.errors import ParameterError, RequestError
from geoloom.feature_source import FeatureSource, misspelt
from geoloom.image import Image
from geoloom.joining import Table, key_text, near
from geoloom.op import Op
from geoloom.ops.burn import Burn
from geoloom.ops.draw import Draw
from geoloom.ops.heat import Heat
from geoloom.profile import holds
from geoloom.stencil import NAME, painted
from geoloom.symbols import By, Style

__all__ = ["Vector", "vector"]

MOST_KEYS = 100_000
"""Values of a column that a table's keys are compared with."""

BURNT = {"bool": "uint8", "float64": "float32"}
"""What a column is burnt as, if not as what it is: float32 is exact enough for a map."""

WIDTHS = ("uint8", "int16", "int32", "float32")

OUTLINE: Any = "#00000059"
"""Line around polygons and points of classes."""


def vector(source: Any, layer: str | None = None) -> Vector:
    """The features of a file, or of geometries of the notebook; the engine looks at them now.

    Parameters
    ----------
    source
        Path or URL of a GeoPackage, GeoJSON, Shapefile or FlatGeobuf; or GeoJSON as a dict (``m.drawn``), a
        GeoDataFrame, a shapely geometry, or a list of these.
    layer
        Of a file that has several; the first without it.

    Raises
    ------
    SourceError
        If the file is missing, refused, damaged or holds no features.
    ParameterError, RequestError
        If there is no such layer, or the geometries are not in degrees.
    """
    if isinstance(source, Vector):
        return source
    found = FeatureSource.of(source, layer)
    return Vector(found, MappingProxyType(found.look()))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Vector:
    """Features with attributes. Immutable; every method returns a new one. Made by `geoloom.vector`.

    `geoloom.Map.add_layer` shows it, drawn by the engine; `Image.mask` keeps the pixels inside it, and
    ``image.statistics(zones=vector)`` summarises them feature by feature.
    """

    _source: FeatureSource
    _found: Mapping[str, Any]
    _table: Table | None = None
    _table_key: str | None = None
    _matched: str = ""
    _style: Mapping[str, Any] = field(default_factory=dict)
    _by: By | None = None

    # What it is; none of this contacts the engine.

    @property
    def source(self) -> FeatureSource:
        """Where the features come from."""
        return self._source

    @property
    def count(self) -> int:
        """How many features."""
        return int(self._found["count"])

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north in degrees; None if there is nothing."""
        found = self._found.get("bounds")
        return None if found is None else (found[0], found[1], found[2], found[3])

    @property
    def columns(self) -> dict[str, str]:
        """The type of each attribute, by name; those of a joined table included."""
        joined = {} if self._table is None else self._table.types()
        return {**self._found["columns"], **joined}

    @property
    def crs(self) -> str | None:
        """Coordinate reference system of the file."""
        return self._found.get("crs")

    @property
    def layer(self) -> str | None:
        """Which layer of the file this is."""
        return self._found.get("layer")

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers of the file."""
        return tuple(self._found.get("layers") or ())

    @property
    def geometry(self) -> str:
        """``point``, ``line``, ``polygon`` or ``mixed``."""
        told = str(self._found.get("geometry")).lower()
        return next((one for one in ("point", "line", "polygon") if one in told), "mixed")

    @property
    def name(self) -> str:
        """Of the layer, or of the file if it has just one."""
        return self._source.name if len(self.layers) < 2 else str(self.layer)

    def __repr__(self) -> str:
        kind = "feature" if self.geometry == "mixed" else self.geometry
        parts = [f"{self.count:,} {kind}{'' if self.count == 1 else 's'}"]
        if self._source.where is not None:
            parts.append(f"where {self._source.where}")
        return f"<Vector {self.name}: {', '.join(parts)}; columns {', '.join(self.columns) or 'none'}>"

    def _repr_html_(self) -> str:
        columns = [f"{name} ({kind})" for name, kind in self.columns.items()]
        others = [name for name in self.layers if name != self.layer]
        rows = {
            "features": f"{self.count:,} ({self.geometry})",
            "columns": ", ".join(columns[:30]) + (f" and {len(columns) - 30} more" if columns[30:] else ""),
            "CRS": self.crs or "unknown",
            "place": place(self.bounds, None),
            "source": self._source.href or "GeoJSON",
            "layer": f"{self.layer}; the file also has {', '.join(others)}" if others else "",
            "where": self._source.where or "",
            "table": self._matched,
            "colours": "" if self._by is None else f"by {self._by.column}",
        }
        return table("Vector", {name: text for name, text in rows.items() if text})

    # Which features, and what is known of them.

    def where(self, condition: str) -> Vector:
        """Only features whose attributes meet a condition, in SQL: ``"population > 1000 AND kind = 'town'"``.

        Text stands in single quotes, the name of a column that is no plain word in double ones.

        Raises
        ------
        RequestError, ParameterError
            If it is no condition, or names no column of the file.
        """
        before = self._source.where
        whole = condition if before is None else f"({before}) AND ({condition})"
        source = replace(self._source, where=whole)
        Burn(**source.params())  # makes the checks that every op with a condition makes
        try:
            found = source.look()
        except (RequestError, ParameterError) as error:
            joined = [] if self._table is None else list(self._table.columns)
            raise misspelt(condition, error, list(self._found["columns"]), joined) from None
        return replace(self, _source=source, _found=MappingProxyType(found))

    def join(
        self, rows: Any, on: str | tuple[str, str], columns: Sequence[str] | str | None = None
    ) -> Vector:
        """Columns of a table of your own, added to the features whose `on` has the row's value.

        Parameters
        ----------
        rows
            A DataFrame, a list of dicts, ``{column: [values]}``, ``{key: {column: value}}`` or
            ``{key: value}``.
        on
            The column that both have; or (name in the features, name in the table).
        columns
            Which to add; all of the table's without it. Of ``{key: value}``, the name of the column.

        Raises
        ------
        ParameterError
            If a column is missing or there already, a key has two rows, no row has a feature, or a table was
            joined before on another column.

        Warns
        -----
        UserWarning
            If some rows have no feature: how many, and which.
        """
        added = Table.of(rows, on, columns)
        self._need(added.on, own=True)
        for name in added.columns:
            if name in self.columns:
                raise ParameterError(
                    f"The features have a column {name!r} already.",
                    hint="Rename the table's, or choose others by columns=.",
                )
        there = self._source.column(added.on, MOST_KEYS)
        known = frozenset(key for value, _ in there.counts if (key := key_text(value)) is not None)
        said = f"{len(added.keys):,} rows"
        if there.distinct == len(there.counts):
            without = added.unmatched(known)
            if without:
                warnings.warn(without, stacklevel=2)
            said = f"{len(added.keys & known):,} of {said} have features"
        whole = added if self._table is None else self._table.with_columns(added)
        key = blobs.keep(whole.content())
        return replace(self, _table=whole, _table_key=key, _matched=f"{said}, joined on {added.on}")

    def identify(self, lon: float, lat: float, zoom: int | None = None) -> list[dict[str, Any]]:
        """Attributes of the features at a place, the uppermost first.

        Parameters
        ----------
        zoom
            Of the map; points and lines are found within some pixels of it.
        """
        found = self._source.ask("/identify", lon=lon, lat=lat, zoom=zoom)
        return [self.completed(one["properties"]) for one in found["features"]]

    def completed(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of a feature with those of the joined table."""
        return dict(properties) if self._table is None else self._table.add_to(properties)

    # How it looks.

    def style(
        self,
        fill: Colour | None = None,
        line: Colour | None = None,
        width: float | None = None,
        radius: float | None = None,
    ) -> Vector:
        """Colours and sizes; what is left out stays.

        Parameters
        ----------
        fill
            Of polygons and points; ``"none"`` leaves them empty.
        line
            Of lines and outlines; ``"none"`` draws none.
        width
            Of lines, in pixels.
        radius
            Of points, in pixels.
        """
        given = {"fill": fill, "line": line, "width": width, "radius": radius}
        chosen = {name: value for name, value in given.items() if value is not None}
        styled = replace(self, _style={**self._style, **chosen})
        styled._looks()
        return styled

    def categories(
        self,
        column: str,
        colours: Mapping[Any, Any] | Sequence[Colour] | str | None = None,
        labels: Mapping[Any, str] | None = None,
        other: Colour | None = None,
    ) -> Vector:
        """A colour for each value of a column.

        Parameters
        ----------
        colours
            ``{value: colour}`` or ``{value: (label, colour)}``, where a tuple of values shares a colour; or a
            list of colours or a ramp's name, for the values that are there: numbers by size, text by the
            alphabet. Without it, colours that tell apart well.
        labels
            For the legend, by value.
        other
            Colour of features of other values; without it they are left out.
        """
        self._need(column)
        known = column if isinstance(colours, Mapping) else self._column(column)
        return replace(self, _by=categories(known, colours, labels, other))

    def graduated(
        self,
        column: str,
        classes: int = 5,
        method: str | Sequence[float] = "quantile",
        colormap: str | Sequence[Colour] = "viridis",
        other: Colour | None = None,
    ) -> Vector:
        """Colours from low to high values of a column, in classes.

        Parameters
        ----------
        classes
            How many.
        method
            ``"quantile"`` (equally many features in each), ``"equal"`` (equally wide), or a list of breaks.
        colormap
            A ramp's name or a list of colours.
        other
            Colour of features beyond the breaks or without a value; without it they are left out.
        """
        self._need(column)
        known = self._column(column) if isinstance(method, str) else Column(column, (), 0)
        return replace(self, _by=graduated(known, classes, method, colormap, other))

    @property
    def picture(self) -> Image:
        """What a map shows: an image of the features in their style."""
        return self._painted(Draw(**self._params(), style=self._looks().to_json()))

    # As pixels.

    def burn(self, what: str | float = 1, *, all_touched: bool = False, dtype: str | None = None) -> Image:
        """An image of one band that holds a value where a feature is, and is invalid elsewhere.

        Parameters
        ----------
        what
            A column of numbers, or one number for all features. Where features overlap, the last one counts.
        all_touched
            Whether all pixels touched are burnt, not only those whose centre lies inside.
        dtype
            By its name in numpy; without it what holds the values.
        """
        if not isinstance(what, str):
            chosen = dtype or next(one for one in (*WIDTHS, "float64") if holds(one, what))
            return self._painted(Burn(**self._params(), value=what, all_touched=all_touched, dtype=chosen))
        self._need(what)
        kind = self.columns[what]
        if not re.fullmatch(r"bool|u?int\d+|float\d+", kind):
            raise ParameterError(
                f"burn({what!r}): the column holds {kind}, and pixels hold numbers.",
                hint=f"Join a table that has a number for each {what}.",
            )
        chosen = dtype or BURNT.get(kind, kind)
        return self._painted(Burn(**self._params(), attribute=what, all_touched=all_touched, dtype=chosen))

    def heat(self, radius: float = 15.0, weight: str | None = None) -> Image:
        """A heat map of points: their density per pixel of the map, to be styled as any image.

        Parameters
        ----------
        radius
            How far a point is felt, in pixels of the map.
        weight
            A column that says how much each counts.
        """
        if weight is not None:
            self._need(weight)
        return self._painted(Heat(**self._params(), radius=radius, weight=weight))

    def __geoloom_image__(self) -> Image:
        """As a mask: 1 where a feature is."""
        op = Burn(**self._params())
        return Image(op.chain(), op.profile(), {})

    def _painted(self, op: Op) -> Image:
        return painted(op, self._source.href or NAME, self.bounds, self.crs)

    def _params(self) -> dict[str, Any]:
        return {**self._source.params(), "table": self._table_key}

    def _looks(self) -> Style:
        """The style, where the user chose nothing one that suits the geometries."""
        lines, classed = self.geometry == "line", self._by is not None
        usual = {"width": 1.5 if lines else 0.7 if classed else 1.0}
        if classed and not lines:
            usual["line"] = OUTLINE
        plain = Style()
        return Style.of(by=self._by, **{**plain.parts(), **usual, **self._style})

    def _column(self, name: str) -> Column:
        """What a column holds, of the features chosen."""
        if self._table is not None and name in self._table.columns:
            return Column.of(name, list(self._table.columns[name].values()))
        return self._source.column(name)

    def _need(self, column: str, own: bool = False) -> None:
        names = list(self._found["columns"] if own else self.columns)
        if column not in names:
            raise ParameterError(f"There is no column {column!r}.", hint=near(column, names))
