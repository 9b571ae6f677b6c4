"""Fetches the sample images of the notebooks into ``notebooks/data``, and makes others.

Those fetched are real: a Landsat 7 scene of the Great Salt Lake and two elevation models (Sierra Nevada
from SRTM, mountains in Colorado), made by NASA and the USGS and in the public domain. The
``localtileserver`` package carries them; only these files are taken out of its wheel, it is not installed.
The farmland with burnt fields is made up, by ``make_fields.py``, and so are its parcels, by
``make_parcels.py``, and a season's archive of scenes, by ``make_scenes.py``; likewise a year of
sea-surface temperature, by ``make_ocean.py``. Runs again at no cost.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "localtileserver==1.0.0"
FOLDER_IN_WHEEL = "localtileserver/tiler/data"
SHA256 = {
    "landsat.tif": "a975165abd0f643e7865b2ba9f19d02eb8eb57a274cdcd4bdacca30107c81b66",
    "srtm90.tif": "4cfc724096b8d4b3395b9a3fea9c5b251ad816d6395a47aa626bff037e18fcd1",
    "co_elevation_roi.tif": "351697f701ff7bb62c294bbf1240d2236116c51405df12f1d1814aab96a06404",
}
TARGET = Path(__file__).resolve().parent.parent / "notebooks" / "data"


def cache_folder() -> Path:
    """Where the downloaded wheel stays, so that another checkout needs no network."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoloom" / "samples"


def is_right(name: str, data: bytes) -> bool:
    """Whether these are the bytes this file must have."""
    return hashlib.sha256(data).hexdigest() == SHA256[name]


def download(folder: Path) -> None:
    """Have pip, with this machine's own settings, put the wheel into the folder."""
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(
            f"geoloom: the sample images could not be fetched (pip download {PACKAGE} failed, see above).\n"
            "geoloom: Connect to a package index once and try again."
        )


def unpack(folder: Path) -> bool:
    """Take the images out of the wheel in the folder; false if there is none or it is damaged."""
    for wheel in folder.glob("localtileserver-*.whl"):
        try:
            with zipfile.ZipFile(wheel) as archive:
                images = {name: archive.read(f"{FOLDER_IN_WHEEL}/{name}") for name in SHA256}
        except (zipfile.BadZipFile, KeyError, OSError):
            images = {}
        if images and all(is_right(name, data) for name, data in images.items()):
            for name, data in images.items():
                partial = TARGET / f"{name}.part"
                partial.write_bytes(data)
                partial.replace(TARGET / name)
            return True
        wheel.unlink()
    return False


def make_fields() -> None:
    """Make the scene that no satellite saw, unless it is there as this version of its script makes it."""
    script = Path(__file__).with_name("make_fields.py")
    mark = hashlib.sha256(script.read_bytes()).hexdigest().encode()
    made = TARGET / "fields.tif"
    if made.is_file() and mark in made.read_bytes():
        return
    print("geoloom: making a scene of fields in notebooks/data", flush=True)
    subprocess.run([sys.executable, script, made], check=True)


def make_parcels() -> None:
    """Make the parcels of that scene, unless they are there as this version of the scripts makes them."""
    scripts = (Path(__file__).with_name(name) for name in ("make_parcels.py", "make_fields.py"))
    mark = hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest().encode()
    made = TARGET / "parcels.gpkg"
    if made.is_file() and mark in made.read_bytes() and made.with_name("crops.csv").is_file():
        return
    print("geoloom: making the parcels of its fields", flush=True)
    subprocess.run([sys.executable, Path(__file__).with_name("make_parcels.py"), made], check=True)


def make_scenes() -> None:
    """Make the season's archive, unless it is there as this version of its scripts makes it."""
    scripts = (Path(__file__).with_name(name) for name in ("make_scenes.py", "make_fields.py"))
    mark = hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()
    made = TARGET / "scenes"
    if (made / "MADE_BY").is_file() and (made / "MADE_BY").read_text(encoding="ascii") == mark:
        return
    print("geoloom: making a season of scenes in notebooks/data/scenes", flush=True)
    subprocess.run([sys.executable, Path(__file__).with_name("make_scenes.py"), made], check=True)


def make_ocean() -> None:
    """Make the year of sea-surface temperature, unless it is there as this version of its script makes it."""
    script = Path(__file__).with_name("make_ocean.py")
    mark = hashlib.sha256(script.read_bytes()).hexdigest().encode()
    made = [TARGET / "ocean" / name for name in ("sst_low.nc", "sst_high.nc")]
    if all(one.is_file() and mark in one.read_bytes() for one in made):
        return
    print("geoloom: making a year of sea-surface temperature in notebooks/data/ocean", flush=True)
    subprocess.run([sys.executable, script, TARGET / "ocean"], check=True)


def main() -> None:
    """Make ``notebooks/data`` complete."""
    TARGET.mkdir(parents=True, exist_ok=True)
    make_fields()
    make_parcels()
    make_scenes()
    make_ocean()
    if all((TARGET / name).is_file() and is_right(name, (TARGET / name).read_bytes()) for name in SHA256):
        return
    print("geoloom: fetching the sample images (Landsat, elevation) into notebooks/data", flush=True)
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if unpack(folder):
        return
    download(folder)
    if not unpack(folder):
        sys.exit(f"geoloom: the images in {PACKAGE} are not the expected ones (SHA-256 differs).")


if __name__ == "__main__":
    main()
