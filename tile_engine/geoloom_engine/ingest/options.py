"""What an ingest can be told."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoloom._version import __version__
from geoloom.runtime_folder import catalog_path
from geoloom_engine.ingest.finding import is_url
from geoloom_engine.ingest.pattern import Pattern
from geoloom_engine.setting_parsers import seconds

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Options:
    """An ingest, as it was asked for; the command's help says what each means."""

    sources: tuple[str, ...]
    collection: str
    catalog: Path
    pattern: Pattern | None = None
    title: str | None = None
    description: str | None = None
    nodata: float | None = None
    optimise: Path | None = None
    prune: bool = False
    jobs: int = 1
    watch: bool = False
    every: float = 600.0
    settle: float = 30.0
    file_timeout: float = 900.0

    @property
    def folder(self) -> Path:
        """Of the collection."""
        return self.catalog / self.collection


def parse(arguments: Sequence[str] | None) -> Options:
    """Options from a command line; a wrong one ends the process with status 2 and a sentence."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not _ID.fullmatch(given.collection):
        parser.error(
            f"--collection {given.collection!r}: an id begins with a letter or digit and holds letters, "
            "digits, dots, dashes and underlines."
        )
    sources = [*given.sources, *(given.watch or [])]
    if not sources:
        parser.error("name a folder, files or addresses to make the collection of.")
    pattern = None
    if given.pattern is not None:
        try:
            pattern = Pattern(given.pattern)
        except ValueError as error:
            parser.error(f"--pattern: {error}.")
    if given.nodata is not None:
        try:
            given.nodata = float(given.nodata)
        except ValueError:
            parser.error(f"--nodata {given.nodata!r} is not a number.")
    times = {}
    for name in ("every", "settle", "file_timeout"):
        try:
            times[name] = seconds(getattr(given, name))
        except ValueError as error:
            parser.error(f"--{name.replace('_', '-')}: {error}.")
    if given.jobs is not None and not 1 <= given.jobs <= 256:
        parser.error(f"--jobs {given.jobs} is not between 1 and 256.")
    catalog = Path(given.catalog).expanduser() if given.catalog else catalog_path()
    if is_url(str(given.catalog)):
        parser.error("--catalog is a folder of this machine; copy it to a bucket afterwards.")
    catalog = Path(os.path.abspath(catalog))  # noqa: PTH100
    optimise = None
    if given.optimize is not None:
        optimise = (
            catalog / given.collection / "files"
            if given.optimize == ""
            else Path(given.optimize).expanduser()
        )
        optimise = Path(os.path.abspath(optimise))  # noqa: PTH100
    return Options(
        sources=tuple(sources),
        collection=given.collection,
        catalog=catalog,
        pattern=pattern,
        title=given.title,
        description=given.description,
        nodata=given.nodata,
        optimise=optimise,
        prune=given.prune,
        jobs=given.jobs or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0, 1]),
        watch=given.watch is not None,
        **times,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geoloom ingest",
        description="Make a collection of GeoTIFF, netCDF and Zarr files, or bring one up to date. Files "
        "that are in it unchanged are left alone, so the same command goes on where it was ended.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="a folder (searched with all below it), a file, a name with wildcards in quotes, a text file of "
        "paths and addresses, the address of a file, of such a text or of a web server's listing, or s3://bucket/prefix",
    )
    parser.add_argument("--collection", required=True, metavar="ID", help="the collection's id")
    parser.add_argument(
        "--catalog", metavar="FOLDER", help="where collections are. Default: the user's own catalogue"
    )
    parser.add_argument(
        "--pattern",
        help="what the parts of files' names mean, such as '{tile}_{date:%%Y%%m%%d}_{band}.tif'. "
        "Default: names as of Sentinel-2 and Landsat, and any date in a name",
    )
    parser.add_argument("--title", help="the collection's title. Default: as it was, or its id")
    parser.add_argument("--description", metavar="TEXT", help="a sentence about the collection")
    parser.add_argument(
        "--nodata", metavar="VALUE", help='stands for "nothing here" in bands that declare nothing'
    )
    parser.add_argument(
        "--optimize",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="write each file anew as a cloud-optimised GeoTIFF and use that. Default of the folder: "
        "files/ in the collection's",
    )
    parser.add_argument("--prune", action="store_true", help="drop what is not in the sources any more")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes that look into files. Default: one per core"
    )
    parser.add_argument(
        "--watch", action="append", metavar="SOURCE", help="go on looking at a source and take in what is new"
    )
    parser.add_argument(
        "--every", default="10m", metavar="TIME", help="with --watch: how often. Default: 10m"
    )
    parser.add_argument(
        "--settle",
        default="30s",
        metavar="TIME",
        help="with --watch: how long a file must have been left alone. Default: 30s",
    )
    parser.add_argument(
        "--file-timeout", default="15m", metavar="TIME", help="most time for one file. Default: 15m"
    )
    return parser
