"""Paths of files as the engine wants them, and what lies near one that is missing."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

FEATURES = (".gpkg", ".geojson", ".shp", ".fgb")
IMAGES = (".tif", ".tiff", ".nc", ".zarr", ".jp2", ".vrt")
TABLES = (".csv", ".xlsx", ".parquet", ".dbf")


def absolute(href: Any) -> Any:
    """A path, also a relative one, in full; URLs and what is no path as they are."""
    if isinstance(href, Path) or (isinstance(href, str) and "://" not in href and not href.startswith("/")):
        text = str(href)
        if text and "\0" not in text and "\n" not in text:
            return str(Path(text).expanduser().absolute())
    return href


def other_kind(href: str) -> str | None:
    """What reads a file that was taken for something else, by its ending; None if that says nothing."""
    suffix = PurePosixPath(href).suffix.lower()
    if suffix in FEATURES:
        return f"Features are opened by gl.vector({PurePosixPath(href).name!r})."
    if suffix in IMAGES:
        return f"Images are opened by gl.open({PurePosixPath(href).name!r})."
    if suffix in TABLES:
        return "A table is joined to features: read it with pandas, then vector.join(table, on=…)."
    return None


def nearby(href: str) -> str | None:
    """What lies where the embedded engine looked for a file; None if that says nothing."""
    path = Path(href)
    if os.environ.get("GEOLOOM_ENGINE_URL") or "://" in href or path.is_file():
        return None
    try:
        folder = next(one for one in (path, *path.parents) if one.is_dir())
        names = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    except (OSError, StopIteration):
        return None
    if folder == path and names:
        return f"It holds {', '.join(names[:8])}{' …' if len(names) > 8 else ''}."
    if folder == path:
        return None
    missing = path.relative_to(folder).parts[0]
    near = get_close_matches(missing, names, n=3, cutoff=0.7)
    looked = f"Looked in {folder}" if missing == path.name else f"There is no folder {missing} in {folder}"
    return looked + (f"; did you mean {' or '.join(near)}?" if near else ".")
