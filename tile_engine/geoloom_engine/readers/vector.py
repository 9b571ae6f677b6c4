"""GeoPackage, GeoJSON and Shapefile through GDAL's OGR.

A handle is used by one thread at a time; each use opens its own, for the packed geometry and the columns
are kept elsewhere.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, ogr

from geoloom.block import Array
from geoloom.errors import RequestError, SourceUnreadable
from geoloom_engine.readers.vector_files import LayerInfo, family
from geoloom_engine.vectors.wkb import Paths, parse

gdal.UseExceptions()
# Curves come as the straight pieces that approximate them.
ogr.SetNonLinearGeometriesEnabledFlag(False)

DRIVERS = ("GPKG", "GeoJSON", "ESRI Shapefile")
"""What GDAL may open here."""

BATCH = 65_536
"""Features read at once."""

_ARROW = [f"MAX_FEATURES_IN_BATCH={BATCH}", "INCLUDE_FID=YES"]
_FORM_HINT = "A vector file is a GeoPackage, GeoJSON, FlatGeobuf or a Shapefile (.shp)."
_TYPES = {
    ogr.OFTInteger: "int32",
    ogr.OFTInteger64: "int64",
    ogr.OFTReal: "float64",
    ogr.OFTDate: "date",
    ogr.OFTTime: "time",
    ogr.OFTDateTime: "datetime",
}


class OgrFile:
    """A vector file, or the GeoJSON text of a blob.

    Parameters
    ----------
    name
        For messages.
    path
        Of the file, checked before.
    text
        The content, instead of a path.
    """

    def __init__(self, name: str, path: str | None = None, text: bytes | None = None) -> None:
        self.name = name
        self._path = path
        self._text = text

    def describe(self, layer: str | None) -> LayerInfo:
        """What a layer (by default the first) holds.

        Raises
        ------
        SourceUnreadable
            If it cannot be read.
        RequestError
            If there is no such layer.
        """
        with self._opened(layer) as (dataset, found):
            definition = found.GetLayerDefn()
            columns = {}
            for k in range(definition.GetFieldCount()):
                field = definition.GetFieldDefn(k)
                boolean = field.GetSubType() == ogr.OFSTBoolean
                columns[_name(field)] = "bool" if boolean else _TYPES.get(field.GetType(), "text")
            count = found.GetFeatureCount()
            extent = None
            if count:
                with contextlib.suppress(RuntimeError):
                    west, east, south, north = found.GetExtent()
                    extent = (
                        (west, south, east, north) if np.isfinite([west, south, east, north]).all() else None
                    )
            return LayerInfo(
                tuple(_layer_names(dataset)),
                found.GetName(),
                count,
                ogr.GeometryTypeToName(ogr.GT_Flatten(found.GetGeomType())),
                _crs(found),
                extent,
                columns,
            )

    def batches(self, layer: str | None) -> Iterator[tuple[Array, Paths]]:
        """Numbers of features, and their geometry in the layer's coordinates."""
        with self._opened(layer) as (_, found):
            self._ignore(found, keep=())
            for batch in self._stream(found):
                geometry = batch.field(batch.type.num_fields - 1)
                yield _numbers(batch), parse(*_texts(geometry))

    def column(self, layer: str | None, name: str) -> tuple[Array, Any]:
        """Numbers of the features, and one attribute of each as a pyarrow array.

        Raises
        ------
        RequestError
            If there is no such column.
        """
        import pyarrow

        numbers, values = [], []
        with self._opened(layer) as (_, found):
            self._field(found, name)
            self._ignore(found, keep=(name,), geometry=False)
            for batch in self._stream(found):
                numbers.append(_numbers(batch))
                values.append(batch.field(1))
        if not values:
            return np.empty(0, np.int64), pyarrow.chunked_array([], pyarrow.float64())
        return np.concatenate(numbers), pyarrow.chunked_array(values)

    def matching(self, layer: str | None, where: str) -> Array:
        """Numbers of the features that a condition holds for.

        Raises
        ------
        RequestError
            If the condition is not OGR's SQL, or names a column that is not there.
        """
        with self._opened(layer) as (_, found):
            choose(found, where, self.name)
            self._ignore(found, keep=(), geometry=False)
            parts = [_numbers(batch) for batch in self._stream(found)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def attributes(self, layer: str | None, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """All attributes of some features, as JSON takes them."""
        with self._opened(layer) as (_, found):
            rows = []
            for number in numbers:
                with self._reading():
                    feature = found.GetFeature(int(number))
                    rows.append({} if feature is None else _properties(feature))
            return rows

    @contextlib.contextmanager
    def _opened(self, layer: str | None) -> Iterator[tuple[Any, Any]]:
        """The dataset and one of its layers, open for as long as it takes."""
        path, memory = self._path, None
        if path is None:
            assert self._text is not None
            path = memory = f"/vsimem/{uuid.uuid4().hex}/features.geojson"
            gdal.FileFromMemBuffer(memory, self._text)
        dataset = found = None
        try:
            with self._reading():
                dataset = gdal.OpenEx(
                    path,
                    gdal.OF_VECTOR | gdal.OF_READONLY,
                    allowed_drivers=list(DRIVERS),
                    sibling_files=_siblings(path),
                )
                names = _layer_names(dataset)
            if not names:
                raise SourceUnreadable(f"{self.name} has no layer of features.", hint=_FORM_HINT)
            if layer in _views(dataset):
                raise SourceUnreadable(
                    f"{layer} of {self.name} is a view, which is not read.", hint="Save it as a table."
                )
            if layer is not None and layer not in names:
                raise RequestError(
                    f"{self.name} has no layer {layer[:60]!r}.", hint=f"Its layers are: {_listed(names)}."
                )
            with self._reading():
                found = _spatial(dataset) if layer is None else dataset.GetLayerByName(layer)
            if found is None or found.GetLayerDefn().GetGeomFieldCount() == 0:
                raise SourceUnreadable(
                    f"{self.name} has no geometry{'' if layer is None else f' in its layer {layer[:60]}'}.",
                    hint=f"Its layers are: {_listed(names)}.",
                )
            yield dataset, found
        finally:
            # OGR's layers must not outlive their dataset.
            del found, dataset
            if memory is not None:
                gdal.Unlink(memory)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """What GDAL says becomes an error with the file's name."""
        try:
            with gdal.quiet_errors():
                yield
        except RuntimeError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> SourceUnreadable:
        path = self._path or ""
        if Path(path).suffix.lower() == ".shp" and not any(
            one.suffix.lower() == ".shx" for one in family(Path(path))
        ):
            return SourceUnreadable(
                f"{self.name} lacks its .shx file.", hint="Copy all files of a Shapefile, not the .shp alone."
            )
        said = str(error).replace(path, self.name) if path else str(error)
        reason = said.split("\n", 1)[0].strip().rstrip(".")[:200]
        return SourceUnreadable(f"{self.name} cannot be read as features: {reason}.", hint=_FORM_HINT)

    def _stream(self, layer: Any) -> Iterator[Any]:
        with self._reading():
            stream = layer.GetArrowStreamAsPyArrow(_ARROW)
        # An iterator of the stream is what meets damage further on in the file.
        batches = iter(stream)
        while True:
            with self._reading():
                gdal.ErrorReset()
                batch = next(batches, None)
                if batch is None:
                    if gdal.GetLastErrorType() >= gdal.CE_Failure:
                        raise self._unreadable(RuntimeError(gdal.GetLastErrorMsg()))
                    return
            yield batch

    def _field(self, layer: Any, name: str) -> None:
        definition = layer.GetLayerDefn()
        names = [_name(definition.GetFieldDefn(k)) for k in range(definition.GetFieldCount())]
        if name not in names:
            raise no_column(self.name, name, layer.GetName(), names)

    def _ignore(self, layer: Any, keep: Sequence[str], geometry: bool = True) -> None:
        """Leave out what is not asked for, where the format can."""
        definition = layer.GetLayerDefn()
        fields = [definition.GetFieldDefn(k).GetName() for k in range(definition.GetFieldCount())]
        ignored = [one for one in fields if one not in keep]
        layer.SetIgnoredFields(ignored if geometry else [*ignored, "OGR_GEOMETRY"])


def choose(layer: Any, where: str, name: str) -> None:
    """Leave only the features of a layer that a condition holds for.

    OGR's own parser reads it first: a GeoPackage would take any SQL.

    Raises
    ------
    RequestError
        If it does not understand it.
    """
    definition = layer.GetLayerDefn()
    dataset = gdal.GetDriverByName("MEM").CreateVector("")
    trial: Any = dataset.CreateLayer("trial")
    for k in range(definition.GetFieldCount()):
        trial.CreateField(definition.GetFieldDefn(k))
    try:
        with gdal.quiet_errors():
            trial.SetAttributeFilter(where)
            trial = None  # must not outlive its dataset
            layer.SetAttributeFilter(where)
    except RuntimeError as error:
        reason = str(error).split("\n", 1)[0].strip().rstrip(".")[:200]
        raise RequestError(
            f"{name}: where={where[:80]!r} is not understood: {reason}.",
            hint="Write a condition such as \"population > 1000 AND kind = 'town'\".",
        ) from None


def no_column(name: str, column: str, layer: str, columns: Sequence[str]) -> RequestError:
    """That a layer has no such column."""
    return RequestError(
        f"{name} has no column {column[:60]!r} in its layer {layer}.",
        hint=f"Its columns are: {_listed(columns)}.",
    )


def _siblings(path: str) -> list[str]:
    """Names GDAL may find beside the file."""
    if path.startswith("/vsimem/"):
        return []
    return [one.name for one in family(Path(path))]


def _spatial(dataset: Any) -> Any:
    """The first layer that has geometry."""
    layers = (dataset.GetLayerByName(name) for name in _layer_names(dataset))
    return next((one for one in layers if one.GetLayerDefn().GetGeomFieldCount()), None)


def _layer_names(dataset: Any) -> list[str]:
    names = [dataset.GetLayer(k).GetName() for k in range(dataset.GetLayerCount())]
    views = _views(dataset)
    return [name for name in names if name not in views]


def _views(dataset: Any) -> set[str]:
    """Layers of a GeoPackage that are a question instead of a table: such a question may never end."""
    if dataset.GetDriver().ShortName != "GPKG":
        return set()
    answer = dataset.ExecuteSQL("SELECT name FROM sqlite_master WHERE type = 'view'")
    if answer is None:
        return set()
    try:
        return {row.GetField(0) for row in answer}
    finally:
        dataset.ReleaseResultSet(answer)


def _name(field: Any) -> str:
    return str(field.GetName())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return ", ".join(names[:30]) + more if names else "none"


def _crs(layer: Any) -> str:
    system = layer.GetSpatialRef()
    if system is None:
        return ""
    authority, code = system.GetAuthorityName(None), system.GetAuthorityCode(None)
    if authority == "EPSG" and code:
        return f"EPSG:{code}"
    return str(system.ExportToWkt(["FORMAT=WKT2"]))


def _numbers(batch: Any) -> Array:
    found: Array = batch.field(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _texts(geometry: Any) -> tuple[Array, Array]:
    """Bytes and offsets of a binary array; a feature without geometry has an empty text."""
    wide = "large" in str(geometry.type)
    _, ends, content = geometry.buffers()
    dtype: Any = np.int64 if wide else np.int32
    offsets = np.frombuffer(ends, dtype, len(geometry) + 1, geometry.offset * np.dtype(dtype).itemsize)
    data = np.empty(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return data, offsets.astype(np.int64)


def _properties(feature: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k in range(feature.GetFieldCount()):
        definition = feature.GetFieldDefnRef(k)
        value: Any = None
        if feature.IsFieldSetAndNotNull(k):
            kind = definition.GetType()
            if kind in (ogr.OFTInteger, ogr.OFTInteger64):
                value = feature.GetFieldAsInteger64(k)
                if definition.GetSubType() == ogr.OFSTBoolean:
                    value = bool(value)
            elif kind == ogr.OFTReal:
                number = feature.GetFieldAsDouble(k)
                value = number if np.isfinite(number) else None
            elif kind == ogr.OFTBinary:
                value = f"{len(feature.GetFieldAsBinary(k))} bytes"
            else:
                value = _decoded(feature, k)
        found[definition.GetName()] = value
    return found


def _decoded(feature: Any, index: int) -> str:
    """Text, with what is not UTF-8 replaced."""
    text = feature.GetFieldAsString(index)
    return text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
