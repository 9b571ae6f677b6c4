"""The apps in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geoloom_hub.apps.catalogue import App, apps_in, find_app


def write(path: Path, *cells: tuple[str, str], **metadata: str) -> None:
    content: dict[str, Any] = {
        "cells": [{"cell_type": kind, "source": text.splitlines(keepends=True)} for kind, text in cells],
        "metadata": metadata,
    }
    path.write_text(json.dumps(content))


def test_an_app_tells_its_title_and_what_it_is_for(tmp_path: Path) -> None:
    write(
        tmp_path / "tides.ipynb",
        ("markdown", "# The *tides*\n\nHow high,\nand [when](x).\n\nMore."),
        ("code", "1"),
    )
    write(tmp_path / "snow_line.ipynb", ("code", "1"))
    write(
        tmp_path / "dem.ipynb", ("markdown", "# Heights"), title="Elevation", description="Heights of land."
    )
    assert apps_in(tmp_path) == [
        App("dem", "Elevation", "Heights of land."),
        App("snow_line", "Snow line", ""),
        App("tides", "The tides", "How high, and when."),
    ]
    assert find_app(tmp_path, "snow_line") == App("snow_line", "Snow line", "")


def test_only_notebooks_of_the_folder_are_apps(tmp_path: Path) -> None:
    folder = tmp_path / "apps"
    (folder / "inner").mkdir(parents=True)
    write(tmp_path / "outside.ipynb", ("code", "1"))
    write(folder / "inner" / "deep.ipynb", ("code", "1"))
    write(folder / ".hidden.ipynb", ("code", "1"))
    write(folder / "it's.ipynb", ("code", "1"))
    (folder / "linked.ipynb").symlink_to(tmp_path / "outside.ipynb")
    (folder / "broken.ipynb").write_text("{")
    (folder / "list.ipynb").write_text("[]")
    (folder / "notes.txt").write_text("secret")
    write(folder / "real.ipynb", ("code", "1"))
    assert [app.name for app in apps_in(folder)] == ["real"]


@pytest.mark.parametrize(
    "name", ["../outside", "inner/deep", ".hidden", "linked", "", "real.ipynb", "/etc/passwd"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "apps"
    (folder / "inner").mkdir(parents=True)
    for path in (tmp_path / "outside.ipynb", folder / "inner" / "deep.ipynb", folder / "real.ipynb"):
        write(path, ("code", "1"))
    (folder / "linked.ipynb").symlink_to(tmp_path / "outside.ipynb")
    assert find_app(folder, name) is None
