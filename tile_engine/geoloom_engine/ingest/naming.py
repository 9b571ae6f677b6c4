"""What names of files say without a pattern: Sentinel-2, Landsat, Sentinel-1, and dates in any name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from geoloom_engine.ingest import dates
from geoloom_engine.ingest.pattern import Parts

_BANDS = (
    r"B(?:0?[1-9]|1[0-2]|8A)|SCL|AOT|WVP|TCI|CLDPRB|SNWPRB|CLD|SNW"
    r"|SR_B[1-7]|ST_B(?:6|10)|ST_[A-Z]{2,5}|SR_(?:QA_AEROSOL|CLOUD_QA|ATMOS_OPACITY)|QA_(?:PIXEL|RADSAT)|QA60|Fmask"
    r"|(?:blue|green|red|nir|nir08|nir09|swir1[69]|swir2[24]?|rededge[1-3]?|coastal|visual|pan|thermal)"
    r"|VV|VH|HH|HV"
)
_SUFFIX = re.compile(rf"(?P<scene>.+?)[_.-](?P<band>{_BANDS})(?:[_-](?P<metres>10|20|60)m)?\Z", re.IGNORECASE)
_ALONE = re.compile(rf"(?P<band>{_BANDS})(?:[_-](?P<metres>10|20|60)m)?\Z", re.IGNORECASE)
_SENTINEL_1 = re.compile(
    r"(?P<head>s1[ab]-(?:iw|ew|sm|wv)\d?-[a-z]{3})-(?P<band>vv|vh|hh|hv)-(?P<tail>.+?)(?:-00\d)?\Z",
    re.IGNORECASE,
)
_RESOLUTION_FOLDER = re.compile(r"R(\d+)m\Z", re.IGNORECASE)
_TILE = re.compile(r"(?<![A-Za-z0-9])T?(\d{2}[C-HJ-NP-X][A-HJ-NP-Z]{2})(?![A-Za-z0-9])")
_SENTINEL_2 = re.compile(r"(?<![A-Za-z0-9])S(2[A-D])_")
_LANDSAT = re.compile(r"(?<![A-Za-z0-9])L[COTEM]0?([1-9])_\w{4}_(\d{3})(\d{3})_")


def guess(path: str) -> Parts:
    """What a path with ``/`` between its parts says; files of one scene are looked for in one folder."""
    whole = PurePosixPath(path)
    stem = whole.name
    while PurePosixPath(stem).suffix.lower() in (
        ".tif",
        ".tiff",
        ".gtiff",
        ".nc",
        ".nc4",
        ".h5",
        ".zarr",
        ".cog",
    ):
        stem = PurePosixPath(stem).stem
    folders = list(whole.parts[:-1])
    metres = 0
    if folders and (found := _RESOLUTION_FOLDER.match(folders[-1])):
        metres = int(found[1])
        folders.pop()
    scene, band = stem, None
    if found := _SENTINEL_1.match(stem):
        scene, band = f"{found['head']}-{found['tail']}", found["band"].lower()
    elif found := _SUFFIX.match(stem):
        scene, band, metres = found["scene"], _spelled(found["band"]), int(found["metres"] or metres)
    elif folders and folders[-1] != "/" and (found := _ALONE.match(stem)):
        # A file called B04.tif says nothing of its scene; its folder is the scene.
        scene, band, metres = folders.pop(), _spelled(found["band"]), int(found["metres"] or metres)
    names = [stem, scene, "/".join(folders[-4:])]
    moment = next((moment for name in names if (moment := dates.find(name))), None)
    key = "/".join([*folders, scene]) if band else path
    return Parts(key, band, moment, _properties("_".join([*folders[-2:], scene, stem])), metres)


def scene_name(key: str) -> str:
    """The id that a scene's key gives an item, unless another has it."""
    name = key.rstrip("/").rpartition("/")[2]
    for ending in (".tif", ".tiff", ".gtiff", ".nc", ".nc4", ".h5", ".zarr"):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return name


def _spelled(band: str) -> str:
    """``b4`` → ``B04`` would be a guess; only the case of codes is made one."""
    return band.upper() if re.match(r"(?:b\d|[a-z]{2}_|scl|aot|wvp|tci|qa)", band, re.IGNORECASE) else band


def _properties(text: str) -> dict[str, str | int]:
    properties: dict[str, str | int] = {}
    if found := _SENTINEL_2.search(text):
        properties |= {"platform": f"sentinel-{found[1].lower()}", "constellation": "sentinel-2"}
        if tile := _TILE.search(text):
            properties["grid:code"] = f"MGRS-{tile[1]}"
    elif found := _LANDSAT.search(text):
        properties |= {
            "platform": f"landsat-{found[1]}",
            "landsat:wrs_path": found[2],
            "landsat:wrs_row": found[3],
        }
    return properties
