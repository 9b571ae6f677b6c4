"""The times and variables of netCDF files and Zarr stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from geoloom.address import Address
from geoloom.errors import GeoloomError, SourceUnreadable
from geoloom_engine.ingest.survey import Survey, survey
from geoloom_engine.readers import SourceInfo, SourcePool

ENDINGS = (".nc", ".nc4", ".zarr")

SURVEYED = 50_000_000
"""Values of a variable at all its times that are read for outlines and statistics; of more, none."""

_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One time of a file.

    Parameters
    ----------
    date
        In UTC; None of a file without times.
    mark
        First digits of the file's fingerprint.
    variables
        What each holds at that time.
    """

    date: str | None
    mark: str
    variables: dict[str, tuple[SourceInfo, Survey]]


def is_cube(href: str) -> bool:
    """Whether a file has variables rather than bands."""
    return href.split("?", 1)[0].rstrip("/").lower().endswith(ENDINGS)


def steps(pool: SourcePool, href: str) -> Iterator[Step]:
    """The times of a file in their order, each with the variables that have it.

    Raises
    ------
    SourceUnreadable
        If no variable of it can be shown on a map.
    """
    about = pool.describe(href)
    mark = str(about["fingerprint"])[:_DIGITS]
    times: dict[str | None, dict[str, str]] = {}
    problems = []
    addresses: list[tuple[str | None, str]] = []
    for variable in about["variables"]:
        name = variable["name"]
        problem = variable["problem"] or (f"{name} holds texts" if variable["dtype"] == "text" else None)
        try:
            if problem is None:
                # Too many depths for bands, for example, show only when it is opened.
                addresses = [*pool.time_steps(href, name)] or [(None, Address(href, name).text)]
                pool.open(addresses[0][1])
        except GeoloomError as error:
            problem = str(error)
        if problem is not None:
            problems.append(problem.rstrip("."))
            continue
        for date, address in addresses:
            times.setdefault(date, {})[name] = address
    if not times:
        reason = "; ".join(problems[:3]) or "it holds no variable"
        raise SourceUnreadable(f"Nothing in it can be shown on a map: {reason}.")
    for date in sorted(times, key=lambda date: date or ""):
        yield Step(date, mark, {name: _seen(pool, one, len(times)) for name, one in times[date].items()})


def compact(date: str) -> str:
    """A date as part of an id: ``20200116``, with the time of day where it is not midnight."""
    found = re.sub(r"[^0-9TZ]", "", date.partition(".")[0])
    return (
        found.removesuffix("Z").removesuffix("T000000") if found.endswith(("T000000Z", "T000000")) else found
    )


def _seen(pool: SourcePool, address: str, count: int) -> tuple[SourceInfo, Survey]:
    source = pool.open(address)
    return source.info, survey(source, SURVEYED // count)
