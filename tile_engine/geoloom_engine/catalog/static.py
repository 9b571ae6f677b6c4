"""Static STAC catalogues: collections as ``collection.json``, items as parquet parts or as JSON.

Below the root, ``catalog.json`` names the collections; without one, folders that hold a
``collection.json`` are collections. Items are where the collection's links lead, and in the files of its
folder ``items``, and in parquet files beside ``collection.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from geoloom.errors import GeoloomError, SourceNotFound, SourceUnreadable
from geoloom_engine.catalog.files import File, Files

Json = dict[str, Any]

DEEPEST = 6
MOST_COLLECTIONS = 10_000

_PARQUET = ".parquet"
_ITEMS = (".json", ".geojson", ".ndjson", ".jsonl")


@dataclass(frozen=True, slots=True)
class StaticCollection:
    """A collection as its file describes it.

    Parameters
    ----------
    href
        Of its ``collection.json``.
    stamp
        Changes when that file does.
    """

    href: str
    stamp: str
    content: Json = field(hash=False)

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.content["id"])

    def parts(self, files: Files) -> list[File]:
        """The files that hold its items; later ones override."""
        folder = self.href.rpartition("/")[0]
        found: dict[str, File] = {}
        for file in (*files.listed(folder), *files.listed(f"{folder}/items")):
            inner = file.href.startswith(f"{folder}/items/")
            if file.name.endswith(_PARQUET) or (inner and file.name.endswith(_ITEMS)):
                found[file.href] = file
        for link in _links(self.content, "item", "items"):
            self._add(found, files, link["href"])
        for asset in assets_of(self.content):
            if asset["href"].endswith(_PARQUET):
                self._add(found, files, asset["href"])
        return list(found.values())

    def _add(self, found: dict[str, File], files: Files, href: str) -> None:
        href = files.join(self.href, href)
        if href not in found and files.holds(href):
            # Items that a web server has one by one are taken to change with their collection.
            parquet = href.endswith(_PARQUET)
            stamp = self.stamp if files.root.startswith("http") and not parquet else files.stamp(href)
            found[href] = File(href, stamp if stamp is not None else "missing")


def collections(files: Files) -> tuple[dict[str, StaticCollection], list[str]]:
    """The collections of a catalogue by id, and what is wrong with some."""
    found: dict[str, StaticCollection] = {}
    problems: list[str] = []
    try:
        for one in _below(files, problems):
            if one.id in found:
                problems.append(f"The collection {one.id!r} stands twice; {one.href} is left out.")
            else:
                found[one.id] = one
    except GeoloomError as error:
        problems.append(str(error))
    return found, problems


def items_of(content: bytes, href: str, files: Files) -> list[Json]:
    """The items of a JSON file: one, an ItemCollection, or one a line; their addresses made absolute.

    Raises
    ------
    SourceUnreadable
        It holds none.
    """
    try:
        if href.endswith((".ndjson", ".jsonl")):
            found = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            told = json.loads(content)
            found = told["features"] if told.get("type") == "FeatureCollection" else [told]
        if not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in found):
            raise ValueError("not every feature has an id")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise SourceUnreadable(
            f"{href} holds no STAC items: {error}.", hint="Repair it, or leave it out."
        ) from None
    for item in found:
        absolute(item, href, files)
    return found


def absolute(item: Json, base: str, files: Files) -> None:
    """Make the addresses of an item's assets absolute."""
    for asset in assets_of(item):
        asset["href"] = files.join(base, asset["href"])


def assets_of(item: Json) -> list[Json]:
    """The assets of an item that have an address."""
    assets = item.get("assets")
    listed = list(assets.values()) if isinstance(assets, dict) else []
    return [one for one in listed if isinstance(one, dict) and isinstance(one.get("href"), str)]


def _below(files: Files, problems: list[str]) -> Iterator[StaticCollection]:
    root = files.root.rstrip("/")
    if root.endswith(".json"):
        yield from _read(files, root, problems, {root})
        return
    for name in ("collection.json", "catalog.json"):
        stamp = files.stamp(f"{root}/{name}")
        if stamp is not None:
            seen = {f"{root}/{name}"}
            yield from _read(files, f"{root}/{name}", problems, seen)
            break
    else:
        seen = set()
    for folder in files.folders(root):
        href = f"{folder}/collection.json"
        if href not in seen and files.stamp(href) is not None:
            yield from _read(files, href, problems, seen)


def _read(
    files: Files, href: str, problems: list[str], seen: set[str], depth: int = 0
) -> Iterator[StaticCollection]:
    """The collection of a file, or those that a catalogue's file leads to."""
    seen.add(href)
    try:
        stamp = files.stamp(href)
        if stamp is None:
            raise SourceNotFound(f"The catalogue's file {href} is not there.")
        content = json.loads(files.read(href))
        if not isinstance(content, dict) or not isinstance(content.get("id"), str) or not content["id"]:
            raise ValueError("it has no id")
    except GeoloomError as error:
        problems.append(str(error))
        return
    except (ValueError, RecursionError) as error:
        problems.append(f"{href} is no STAC catalogue or collection: {error}.")
        return
    if content.get("type") == "Collection" or "extent" in content:
        yield StaticCollection(href, stamp, content)
    for link in _links(content, "child"):
        child = files.join(href, link["href"])
        if child not in seen and depth < DEEPEST and len(seen) < MOST_COLLECTIONS:
            yield from _read(files, child, problems, seen, depth + 1)


def _links(content: Json, *kinds: str) -> Iterator[Json]:
    links = content.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") in kinds and isinstance(link.get("href"), str):
            yield link
