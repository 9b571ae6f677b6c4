"""What is asked of a process that looks into files, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from geoloom_engine.ingest.dates import Moment


@dataclass(frozen=True, slots=True)
class File:
    """One file of a scene.

    Parameters
    ----------
    href
        Absolute path or URL.
    name
        Of the asset that it becomes, if its own name tells; else None.
    size, changed
        As the listing told: bytes, and ns since 1970.
    """

    href: str
    name: str | None = None
    size: int | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The files of one scene.

    Parameters
    ----------
    scene
        Key that the files have in common.
    id
        Of the item to be made.
    files
        At least one.
    moment, properties
        As their names say.
    """

    scene: str
    id: str
    files: tuple[File, ...]
    moment: Moment | None = None
    properties: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    job
        As it was asked.
    items
        STAC items; none if no file could be used, several of a file with many times.
    problems
        (file, reason) of those that could not be used.
    optimised
        (bytes before, bytes after) of files that were written anew.
    """

    job: Job
    items: list[dict[str, Any]]
    problems: list[tuple[str, str]]
    optimised: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What holds for all jobs of an ingest.

    Parameters
    ----------
    collection
        Id of the collection.
    nodata
        Of bands that declare none.
    optimised
        Folder for optimised files; None to leave files as they are.
    """

    collection: str
    nodata: float | None = None
    optimised: str | None = None
