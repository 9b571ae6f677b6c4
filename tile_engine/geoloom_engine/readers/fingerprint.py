"""Fingerprints: how the engine notices that a source is no longer what it was.

A local file's fingerprint is made from the size and modification time of the file and of the
files beside it that belong to it; a remote one's from its ETag, Last-Modified and size, or from its
size and first bytes where its server tells of neither.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from geoloom.errors import SourceNotFound
from geoloom_engine.readers.access import Place
from geoloom_engine.readers.ranges import Part

SIDECARS = (".ovr", ".msk", ".aux.xml")
"""Endings of the files beside a GeoTIFF that GDAL would open with it."""


def fingerprint(place: Place) -> str:
    """32 hex digits that change with a local source.

    Raises
    ------
    SourceNotFound
        If it is gone.
    """
    marks = []
    for ending in ("", *SIDECARS):
        try:
            stat = Path(place.path + ending).stat()
        except OSError:
            if not ending:
                raise SourceNotFound(
                    f"{place.name} is not there any more.", hint="Check whether it was moved."
                ) from None
            continue
        marks.append(f"{ending}:{stat.st_size}:{stat.st_mtime_ns}")
    return _digest(place, marks)


def remote_fingerprint(place: Place, beginning: Part) -> str:
    """32 hex digits that change with a remote source, of which the first bytes are given."""
    marks = list(beginning.marks)
    if not any(marks):
        marks = [hashlib.sha256(beginning.content).hexdigest()]
    return _digest(place, [*marks, str(beginning.size)])


def _digest(place: Place, marks: list[str]) -> str:
    return hashlib.sha256("\n".join([place.href, *marks]).encode()).hexdigest()[:32]
