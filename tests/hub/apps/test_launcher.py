"""What JupyterLab's launcher shows in a user's server."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from jupyter_app_launcher.utils import parse_config

from geoloom_hub.apps.launcher import lab_environment

ROOT = Path(__file__).resolve().parents[3]


def entries(environment: dict[str, str]) -> list[dict[str, object]]:
    """As the launcher itself reads them."""
    folder = environment["JUPYTER_APP_LAUNCHER_PATH"]
    return parse_config(folder, str(Path(folder) / "jp_app_launcher.yaml"))  # type: ignore[no-any-return]


def test_each_gui_is_an_entry_that_gives_a_notebook_with_it(tmp_path: Path) -> None:
    found = {str(one["title"]): one for one in entries(lab_environment(tmp_path / "new", {}))}
    guis = {path.stem for path in (ROOT / "client_lib" / "geoloom" / "gui").glob("[a-z]*.py")}
    assert guis
    assert set(found) == {name.replace("_", " ").capitalize() for name in guis}
    notebook = nbformat.reads(str(found["Elevation"]["sourceCode"]), as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.endswith("gl.gui.elevation()")
    assert "Shift+Enter" in notebook.cells[0].source  # it is not run by itself
    assert found["Elevation"]["description"]
    assert str(found["Elevation"]["icon"]).startswith("<svg")


def test_each_app_is_an_entry_that_opens_its_page(tmp_path: Path) -> None:
    given = {"GEOLOOM_APPS_URL": "/services/apps/", "GEOLOOM_APPS_FOLDER": str(ROOT / "hub" / "apps")}
    found = [one for one in entries(lab_environment(tmp_path, given)) if one["type"] == "url"]
    assert "/services/apps/voila/render/elevation.ipynb" in {one["source"] for one in found}
    assert all(one["args"] == {"createNewWindow": True} for one in found)


def test_where_apps_cannot_be_listed_one_entry_leads_to_all(tmp_path: Path) -> None:
    given = {
        "GEOLOOM_APPS_URL": "https://services.hub.example/services/apps/",
        "GEOLOOM_APPS_FOLDER": "/not/here",
    }
    found = [one for one in entries(lab_environment(tmp_path, given)) if one["type"] == "url"]
    assert [one["source"] for one in found] == ["https://services.hub.example/services/apps/"]


def test_what_was_set_before_is_kept_behind(tmp_path: Path) -> None:
    found = lab_environment(tmp_path, {"JUPYTER_PATH": "/one:/two", "JUPYTER_CONFIG_PATH": "/three"})
    first, *rest = found["JUPYTER_PATH"].split(os.pathsep)
    assert (Path(first) / "nbconvert" / "templates" / "geoloom" / "index.html.j2").is_file()
    assert rest == ["/one", "/two"]
    first, *rest = found["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert "geoloom" in (Path(first) / "voila.py").read_text()
    assert rest == ["/three"]
