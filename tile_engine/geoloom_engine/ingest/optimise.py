"""Files written anew so that tiles of them come quickly: the items point to these instead."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geoloom_engine.ingest.jobs import File, Job, Treatment
from geoloom_engine.readers import cog
from geoloom_engine.readers.access import Access
from geoloom_engine.readers.remote_file import RemoteFiles
from geoloom_engine.readers.source import SourceInfo

_ANYWHERE = ("/", "http://", "https://", "s3://")
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class Optimised:
    """A file written anew.

    Parameters
    ----------
    path
        Where it is.
    mark
        Of the file it was made from, as it was then.
    sizes
        Bytes before (0 where unknown) and after.
    """

    path: str
    mark: str
    sizes: tuple[int, int]


def optimise(file: File, info: SourceInfo, folder: Path, job: Job, treatment: Treatment) -> Optimised:
    """Write a file anew, unless that was done.

    The name holds the mark of the file as it is, so what is there under that name is whole and right: it
    gets its name when it has been read back.

    Raises
    ------
    SourceUnreadable
        If the file cannot be read to its end.
    OSError
        If the new one cannot be written.
    """
    mark = info.fingerprint[:10]
    path = folder / _safe(job.id) / f"{_safe(file.name or 'data')}.{mark}.tif"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{_UNFINISHED}{os.getpid()}-{path.name}")
        nearest = tuple(band.resampling == "nearest" for band in info.bands)
        try:
            with _opened(file.href) as name:
                cog.write(name, str(scratch), nearest, treatment.nodata)
            with scratch.open("rb+") as written:
                os.fsync(written.fileno())
            scratch.rename(path)
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink()
    return Optimised(str(path), mark, (file.size or 0, path.stat().st_size))


@contextlib.contextmanager
def _opened(href: str) -> Iterator[str]:
    """What GDAL calls a file, for the length of a ``with``."""
    access = Access(_ANYWHERE)
    place = access.resolve(href)
    if not place.remote:
        yield place.path
        return
    files = RemoteFiles(access, timeout=60.0, retries=4)
    try:
        with files.open(place, files.look(place), lambda: None).names() as (name, _):
            yield name
    finally:
        files.close()


def sweep(folder: Path) -> None:
    """Remove what ended processes left unfinished."""
    for left in folder.glob(f"*/{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            left.unlink()


def supersede(path: Path) -> None:
    """Remove what was made of earlier states of the same file; call when no item points there any more."""
    name, mark, ending = path.name.rsplit(".", 2)
    for other in path.parent.glob(f"*.{ending}"):
        parts = other.name.rsplit(".", 2)
        if (
            parts[0] == name
            and len(parts) == 3
            and parts[1] != mark
            and re.fullmatch("[0-9a-f]{10}", parts[1])
        ):
            with contextlib.suppress(OSError):
                other.unlink()


def _safe(name: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "_"
