"""What is told of a layer of features, and which files on disk belong together."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from geoloom.errors import SourceNotFound, SourceRefused
from geoloom_engine.readers.access import Access, Place

SIDECARS = ("-wal", "-journal", "-shm")
"""Endings of the files beside a GeoPackage."""

SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg", ".qpj", ".sbn", ".sbx", ".qix", ".idm", ".ind", ".cst")
"""Endings of the files that stand in place of a Shapefile's own."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What a layer holds.

    Parameters
    ----------
    layers
        Names of all layers of the file.
    layer
        The name of this one.
    count
        Features.
    geometry
        ``Point``, ``Polygon``, ``Unknown``…, as OGR names it.
    crs
        Authority code or WKT; RFC 7946 and nothing else says degrees where a file says nothing.
    extent
        West, south, east, north in `crs`; None if it is empty or not cheap to know.
    columns
        dtype by name, in the file's order: one of numpy's, or ``text``, ``bool``, ``date``, ``time``,
        ``datetime``.
    """

    layers: tuple[str, ...]
    layer: str
    count: int
    geometry: str
    crs: str
    extent: tuple[float, float, float, float] | None
    columns: dict[str, str]


def family(path: Path) -> list[Path]:
    """The file and those beside it that GDAL would open with it."""
    found = [path]
    if path.suffix.lower() == ".shp":
        stem = path.name[: -len(path.suffix)].lower()
        names = {stem + ending for ending in SHAPEFILE}
        with contextlib.suppress(OSError):
            found += sorted(one for one in path.parent.iterdir() if one.name.lower() in names)
    else:
        found += [one for ending in SIDECARS if (one := path.with_name(path.name + ending)).exists()]
    return found


def family_fingerprint(place: Place, access: Access) -> str:
    """32 hex digits that change with the file or one of those that belong to it.

    Raises
    ------
    SourceNotFound, SourceRefused
        If it is gone, or one beside it leads out of the allowed folders.
    """
    marks = [place.href]
    for file in family(Path(place.path)):
        if not access.allows_path(str(file)):
            raise SourceRefused(
                f"{file.name} beside {place.name} leads outside the folders this engine may read.",
                hint="Put the file itself there instead of a link.",
            )
        try:
            stat = file.stat()
        except OSError:
            if file.name != Path(place.path).name:
                continue
            raise SourceNotFound(
                f"{place.name} is not there any more.", hint="Check whether it was moved."
            ) from None
        # Whoever reads a GeoPackage may touch its shared memory, and leave an empty log.
        if not file.name.endswith("-shm") and (stat.st_size or not file.name.endswith(SIDECARS)):
            marks.append(f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:32]
