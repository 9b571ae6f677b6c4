"""The folder of GUIs: they are found by their files, and loaded when they are used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import geoloom as gl
from geoloom.form import Gui

LOOK = """
import json, sys
import geoloom as gl
names = dir(gl.gui)
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"ipywidgets", "ipyleaflet", "tornado"})
print(json.dumps([names, loaded, "gui" in dir(gl), "geoloom.engine_client" in sys.modules]))
"""


def test_tab_lists_them_without_widgets_and_without_an_engine() -> None:
    told = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, check=True, text=True).stdout
    names, loaded, listed, asked = json.loads(told)
    assert names == [path.stem for path in sorted(Path(gl.gui.__file__).parent.glob("[!_]*.py"))]
    assert "elevation" in names
    assert (loaded, listed, asked) == ([], True, False)


def test_each_is_a_class_of_its_files_name_and_says_what_it_is_for() -> None:
    for name in dir(gl.gui):
        gui = getattr(gl.gui, name)
        assert issubclass(gui, Gui)
        assert gui.__name__.lower() == name.replace("_", "")
        assert "Parameters" in gui.__doc__


def test_importing_the_module_leaves_the_class_in_its_place() -> None:
    module = importlib.import_module("geoloom.gui.elevation")
    assert gl.gui.elevation is module.Elevation
    gl.gui.elevation = module
    assert gl.gui.elevation is module.Elevation


def test_a_new_file_is_all_that_a_new_one_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wind_rose.py").write_text("class WindRose:\n    pass\n")
    monkeypatch.setattr(gl.gui, "__path__", [*gl.gui.__path__, str(tmp_path)])
    try:
        assert "wind_rose" in dir(gl.gui)
        assert gl.gui.wind_rose.__name__ == "WindRose"
    finally:
        vars(gl.gui).pop("wind_rose", None)
        sys.modules.pop("geoloom.gui.wind_rose", None)


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(AttributeError, match=r"no GUI 'elevatoin'.*elevation"):
        gl.gui.elevatoin
