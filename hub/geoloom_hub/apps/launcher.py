"""What JupyterLab of a user's server shows: GUIs, apps, and Voilà's page without foreign parts."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoloom_hub.apps.catalogue import apps_in

__all__ = ["lab_environment"]

DATA = Path(__file__).with_name("data")

CATALOG = "Geoloom"

OF_LAB = ["jupyter_app_launcher", "@jupyterhub/jupyter-server-proxy", "jupyterlab_pygments"]
"""Extensions that have no use outside JupyterLab: Voilà's pages do without them."""

CODE = """# Shift+Enter runs this cell.
import geoloom as gl

gl.gui.{name}()"""


def lab_environment(folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write the launcher's entries, and give the variables that a user's server needs to show them.

    The folders of the package `geoloom.gui` and of the apps are looked through, so there is no list to keep.

    Parameters
    ----------
    folder
        A folder of this server's own; made if it is not there.
    environ
        The environment that the variables are added to, by default this process's.
    """
    given = os.environ if environ is None else environ
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    entries = [_gui_entry(folder, path) for path in _guis()] + _app_entries(given)
    # JSON is YAML; the launcher reads files of this name and ending.
    (folder / "jp_app_launcher.yaml").write_text(json.dumps(entries, indent=1), encoding="utf-8")

    def first(name: str, path: Path) -> str:
        return os.pathsep.join(filter(None, [str(path), given.get(name)]))

    return {
        "JUPYTER_APP_LAUNCHER_PATH": str(folder),
        "JUPYTER_PATH": first("JUPYTER_PATH", DATA / "jupyter"),
        "JUPYTER_CONFIG_PATH": first("JUPYTER_CONFIG_PATH", DATA / "config"),
    }


def _guis() -> list[Path]:
    """The modules of `geoloom.gui`: each is a GUI. Nothing of them is imported."""
    found = importlib.util.find_spec("geoloom")
    places = (found and found.submodule_search_locations) or []
    return [path for place in places for path in sorted(Path(place, "gui").glob("[a-z]*.py"))]


def _gui_entry(folder: Path, path: Path) -> dict[str, Any]:
    """An entry that puts a notebook with the GUI into the folder that is open."""
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "id": "gui",
    }
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = {
        "cells": [{**cell, "source": CODE.format(name=path.stem)}],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    source = folder / f"{path.stem}.ipynb"
    source.write_text(json.dumps(notebook), encoding="utf-8")
    return {
        "title": path.stem.replace("_", " ").capitalize(),
        "description": " ".join(about.split("\n\n")[0].split()),
        "type": "notebook",
        "source": str(source),
        "icon": str(DATA / "gui.svg"),
        "catalog": CATALOG,
    }


def _app_entries(given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Entries that open apps in a page of their own; one for all apps where they cannot be listed."""
    url, folder = given.get("GEOLOOM_APPS_URL", ""), given.get("GEOLOOM_APPS_FOLDER", "")
    if not url:
        return []
    apps = apps_in(Path(folder)) if folder and Path(folder).is_dir() else []
    pages = [(f"{app.title} (app)", app.about, f"{url}voila/render/{app.notebook}") for app in apps]
    return [
        {
            "title": title,
            "description": about,
            "type": "url",
            "source": source,
            "icon": str(DATA / "app.svg"),
            "catalog": CATALOG,
            "args": {"createNewWindow": True},
        }
        for title, about, source in pages or [("Apps", "All apps of this hub.", url)]
    ]
