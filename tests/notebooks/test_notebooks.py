"""Every notebook and page of examples runs from top to bottom, in a real kernel, with the real engine."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nbclient
import nbformat
import pytest
import xarray
from osgeo import gdal

gdal.UseExceptions()

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXAMPLES = ("collections", "maps", "user-functions", "vectors")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in EXAMPLES)]
BLOCK = re.compile(r"^```(?:python\n|sh\n(?=geoloom ))(.*?)^```", re.MULTILINE | re.DOTALL)
"""Python, and the command ``geoloom``."""
SECONDS = 120


@dataclass
class Executed:
    """A notebook after its run, its folder, and the engine it ran with."""

    notebook: nbformat.NotebookNode
    text: str
    engine: dict[str, Any]

    def outputs(self, tag: str) -> list[Any]:
        """Outputs of the cells whose source contains a text."""
        return [
            output
            for cell in self.notebook.cells
            if cell.cell_type == "code" and tag in cell.source
            for output in cell.outputs
        ]

    def rights(self) -> list[str]:
        """URLs of tiles in the widgets' state."""
        return re.findall(
            r"/tiles/[0-9a-f]{32}/[^\"\\]*", json.dumps(self.notebook.metadata.get("widgets", {}))
        )


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook; of a page of examples, one cell a block."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    blocks = [_cell(block) for block in BLOCK.findall(path.read_text(encoding="utf-8"))]
    assert blocks
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(block) for block in blocks])


def _cell(block: str) -> str:
    """A block as Python; a command is run as in a terminal."""
    if not block.startswith("geoloom "):
        return block
    words = shlex.split(block)[1:]
    run = f"[sys.executable, '-m', 'geoloom.cli', *{words!r}], check=True, capture_output=True"
    return f"import subprocess, sys\nsubprocess.run({run})\nNone"


@pytest.fixture(scope="module", params=[*NOTEBOOKS, *PAGES], ids=lambda path: path.stem)
def executed(request: pytest.FixtureRequest) -> Iterator[Executed]:
    """Run one notebook in folders of its own; the engine lives on for a while."""
    home = Path(tempfile.mkdtemp(prefix="gl-nb-", dir="/tmp"))
    for name in ("run", "data", "jupyter", "ipython"):
        (home / name).mkdir(mode=0o700)
    (home / "notebooks").mkdir()
    (home / "notebooks" / "data").symlink_to(ROOT / "notebooks" / "data")
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(home / "run"),
        "XDG_DATA_HOME": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter"),
        "IPYTHONDIR": str(home / "ipython"),
        # What workers do together is tested elsewhere; each takes some seconds to start.
        "GEOLOOM_WORKERS": "1",
        # It ends with its folder, when the tests have asked it.
        "GEOLOOM_LINGER": "60",
        # A cell that asks for values fails where a person would try again; here the machine may be busy.
        "GEOLOOM_QUEUE_TIMEOUT": "60s",
        "GEOLOOM_FUNCTION_TIMEOUT": "60s",
    }
    for name in ("GEOLOOM_ENGINE_URL", "GEOLOOM_TOKEN", "JPY_PARENT_PID"):
        environment.pop(name, None)
    notebook = read(request.param)
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(home / "notebooks")}},
    )
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        client.execute(env=environment)
        (found,) = (home / "run").glob("geoloom-*/engine.json")
        path = home / "notebooks" / f"{request.param.stem}.ipynb"
        nbformat.write(notebook, path)
        yield Executed(notebook, path.read_text(), json.loads(found.read_text()))
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home, ignore_errors=True)


def test_the_engines_secret_is_not_saved(executed: Executed) -> None:
    assert executed.engine["token"] not in executed.text


def test_outputs_hold_no_right_to_read(executed: Executed) -> None:
    for cell in executed.notebook.cells:
        assert "/tiles/" not in json.dumps(cell.get("outputs", []))


def test_rights_in_saved_widgets_open_nothing_after_the_kernel(executed: Executed) -> None:
    address = urlsplit(executed.engine["url"])
    for url in executed.rights():
        assert parse_qs(urlsplit(url).query)["c"]
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        connection.request("GET", url.replace("{z}", "11").replace("{x}", "382").replace("{y}{r}", "768"))
        assert connection.getresponse().status == 403
        connection.close()


def test_no_cell_printed_an_error(executed: Executed) -> None:
    for cell in executed.notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            # The gazetteer says once on each machine what takes some seconds.
            if "names of towns are put in order" not in output.get("text", ""):
                assert output.get("name") != "stderr", output.get("text")


def test_the_notebook_in_the_repository_has_no_outputs() -> None:
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


def promises(stem: str) -> pytest.MarkDecorator:
    """Of a class: its tests are about one notebook."""
    (path,) = (one for one in NOTEBOOKS if one.stem == stem)
    return pytest.mark.parametrize("executed", [path], indirect=True, ids=[stem])


@promises("01_first_map")
class TestFirstMap:
    """What `01_first_map` promises."""

    @pytest.fixture
    def first(self, executed: Executed) -> Executed:
        assert "Your first map" in executed.notebook.cells[0].source
        return executed

    def test_two_maps_are_shown(self, first: Executed) -> None:
        shown = [
            output.data["text/plain"]
            for cell in first.notebook.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
        ]
        assert [text.partition("(")[0] for text in shown] == ["Map", "Map"]
        assert "layers=['True colour']" in shown[0]

    def test_the_image_describes_itself(self, first: Executed) -> None:
        (output,) = first.outputs('gl.open("data/landsat.tif")')
        assert "B1, B2, B3, B4" in output.data["text/html"]

    def test_a_value_is_that_of_the_data(self, first: Executed) -> None:
        (output,) = first.outputs("ndvi.point")
        (value,) = json.loads(output.data["text/plain"].replace("'", '"')).values()
        assert value == pytest.approx(0.152174, abs=1e-6)

    def test_an_image_without_a_look_says_what_it_got(self, first: Executed) -> None:
        (output,) = first.outputs("Short-wave infrared")
        assert "(2–98 %)" in output.data["text/html"]

    def test_a_saved_chain_comes_back(self, first: Executed) -> None:
        (key,) = first.outputs("relief.save()")
        assert re.fullmatch(r"'[0-9a-f]{32}'", key.data["text/plain"])
        (same,) = first.outputs("again.equals")
        assert same.data["text/plain"] == "True"


@promises("02_your_own_function")
class TestYourOwnFunction:
    """What `02_your_own_function` promises."""

    @pytest.fixture
    def own(self, executed: Executed) -> Executed:
        assert "Your own function" in executed.notebook.cells[0].source
        return executed

    def test_the_share_of_burnt_land_is_that_of_the_file(self, own: Executed) -> None:
        b4, b6, b8, b11 = gdal.Open(str(ROOT / "notebooks" / "data" / "fields.tif")).ReadAsArray()
        burnt = (b4 < 1000) & (b6 < 1200) & (b8 < 1200) & (b11 > 500) & (b11 < 1600)
        (output,) = own.outputs("burnt.statistics()")
        share = float(output.data["text/plain"])
        assert share == pytest.approx(burnt[b4 > 0].mean(), rel=0.1)

    def test_the_function_is_tried_on_a_place(self, own: Executed) -> None:
        outputs = own.outputs("gl.test_execute(")
        text = "".join(output.get("text", "") for output in outputs)
        assert "stubble on tile 13/4622/2973: all is well" in text
        assert any(
            "data:image/png;base64" in output.get("data", {}).get("text/html", "") for output in outputs
        )

    def test_the_failure_is_repeated_in_the_notebook(self, own: Executed) -> None:
        text = "".join(output.get("text", "") for output in own.outputs(".replay("))
        assert "ValueError: zero-size array" in text

    def test_a_chain_with_a_function_comes_back(self, own: Executed) -> None:
        (same,) = own.outputs("gl.load(key).equals")
        assert same.data["text/plain"] == "True"


@promises("04_ocean")
class TestOcean:
    """What `04_ocean` promises."""

    @pytest.fixture
    def ocean(self, executed: Executed) -> Executed:
        assert "The sea in twelve months" in executed.notebook.cells[0].source
        return executed

    @pytest.fixture
    def year(self) -> xarray.DataArray:
        folder = ROOT / "notebooks" / "data" / "ocean"
        return xarray.load_dataset(folder / "sst_high.nc", engine="h5netcdf").sst

    def test_the_table_names_the_variable_and_its_months(self, ocean: Executed) -> None:
        (output,) = ocean.outputs("gl.variables(")
        assert "time: 12 from 2020-01-16 to 2020-12-16" in output.data["text/html"]

    def test_a_place_through_the_year_is_as_in_the_file(
        self, ocean: Executed, year: xarray.DataArray
    ) -> None:
        (output,) = ocean.outputs("for month in year]")
        expected = year.sel(lon=-65.1, lat=30.1, method="nearest").values
        assert json.loads(output.data["text/plain"]) == pytest.approx(expected.tolist(), abs=0.051)

    def test_the_polar_sea_opens_in_summer(self, ocean: Executed) -> None:
        (output,) = ocean.outputs("march.statistics(")
        march, september = json.loads(output.data["text/plain"].replace("(", "[").replace(")", "]"))
        assert september > 1.5 * march > 0

    def test_a_time_that_is_not_there_is_answered_with_those_there_are(self, ocean: Executed) -> None:
        (output,) = ocean.outputs("2031-01")
        assert "12, from 2020-01-16 to 2020-12-16" in output["text"]


@promises("05_vectors")
class TestVectors:
    """What `05_vectors` promises."""

    @pytest.fixture
    def fields(self, executed: Executed) -> Executed:
        assert "Fields, farms and tables" in executed.notebook.cells[0].source
        return executed

    def test_the_table_finds_all_its_parcels(self, fields: Executed) -> None:
        (output,) = fields.outputs('parcels.join(crops, on="code")')
        rows = len((ROOT / "notebooks" / "data" / "crops.csv").read_text().splitlines()) - 1
        assert f"{rows} of {rows} rows have features" in output.data["text/html"]

    def test_a_parcel_tells_what_was_sown(self, fields: Executed) -> None:
        (output,) = fields.outputs("sown.identify(")
        assert "'crop': " in output.data["text/plain"]
        assert "'farm': " in output.data["text/plain"]

    def test_alfalfa_is_the_greenest(self, fields: Executed) -> None:
        (output,) = fields.outputs('green.groupby("crop")')
        means = {row.split()[0]: float(row.split()[2]) for row in output.data["text/plain"].splitlines()[2:]}
        assert max(means, key=means.__getitem__) == "alfalfa"
        assert means["alfalfa"] > 0.6 > 0.3 > means["wheat"]

    def test_some_farms_burnt_straw(self, fields: Executed) -> None:
        (output,) = fields.outputs('found.groupby("farm")')
        rows = output.data["text/plain"].splitlines()[2:]
        assert 3 <= len(rows) <= 9
        assert sum(int(row.split()[-2]) for row in rows) > 20


@promises("03_collections")
class TestCollections:
    """What `03_collections` promises."""

    @pytest.fixture
    def season(self, executed: Executed) -> Executed:
        assert "# Collections" in executed.notebook.cells[0].source
        return executed

    def test_every_file_is_used(self, season: Executed) -> None:
        text = "".join(output.get("text", "") for output in season.outputs(" ingest data/scenes"))
        assert "season: 120 files used in 24 items" in text
        assert " 0 could not be used" in text

    def test_filters_leave_clear_summer_scenes(self, season: Executed) -> None:
        (table,) = season.outputs("filter_geoname")
        text = table.data["text/plain"]
        assert text.count("2016-0") == 8
        assert not re.search("2016-0[1-59]", text)

    def test_the_series_is_that_of_the_files(self, season: Executed) -> None:
        (shown,) = season.outputs("clear.series(")
        assert "10 of 12 valid" in shown.data["text/plain"]
        assert "<svg" in shown.data["text/html"]
        (table,) = season.outputs("field.to_dataframe()")
        scenes = ROOT / "notebooks" / "data" / "scenes"
        red, infrared = (
            gdal.Open(f"{scenes}/T34TGP_20160325T092031_{band}_10m.tif").ReadAsArray(151, 177, 3, 3)
            for band in ("B04", "B08")
        )
        around = (infrared.astype(float) - red) / (infrared.astype(float) + red)
        value = float(re.search(r"T34TGP_20160325T092031\s+(\S+)", table.data["text/plain"])[1])
        assert around.min() <= value <= around.max()

    def test_the_map_has_a_date_slider(self, season: Executed) -> None:
        widgets = json.dumps(season.notebook.metadata["widgets"])
        assert "<b>March 2016</b>" in widgets
        assert "2 scenes, 1 of 7" in widgets

    def test_the_burnt_field_has_become_dark(self, season: Executed) -> None:
        (value,) = season.outputs("change.point")
        assert -2600 < float(re.search(r"-\d+", value.data["text/plain"])[0]) < -1500

    def test_what_a_tile_takes_is_told_beforehand(self, season: Executed) -> None:
        (told,) = season.outputs(".explain(14)")
        assert "at most 120 files of scenes" in told.data["text/plain"]
        assert "median of 24 scenes" in told.data["text/plain"]

    def test_the_frozen_scenes_come_back(self, season: Executed) -> None:
        (same,) = season.outputs("gl.load(key).equals")
        assert same.data["text/plain"] == "True"


@promises("06_elevation")
class TestElevation:
    """What `06_elevation` promises."""

    @pytest.fixture
    def relief(self, executed: Executed) -> Executed:
        assert "Mountains without programming" in executed.notebook.cells[0].source
        return executed

    def test_the_window_is_shown(self, relief: Executed) -> None:
        (shown,) = relief.outputs("gl.gui.elevation")
        assert shown.data["text/plain"].startswith("Elevation(ImageLayer('Elevation', key=")

    def test_the_code_of_what_is_shown_is_printed(self, relief: Executed) -> None:
        (code,) = relief.outputs("relief.code")
        assert 'dem = gl.open("data/srtm90.tif")' in code["text"]
        assert 'm.add_layer(image, name="Elevation")' in code["text"]

    def test_a_place_has_the_height_of_the_file(self, relief: Executed) -> None:
        (values,) = relief.outputs("places.point")
        dem = gdal.Open(str(ROOT / "notebooks" / "data" / "srtm90.tif"))
        west, width, _, north, _, height = dem.GetGeoTransform()
        ((expected,),) = dem.ReadAsArray(int((-118.5 - west) / width), int((37.2 - north) / height), 1, 1)
        heights = [float(one) for one in re.findall(r"'elevation': ([0-9.]+)", values.data["text/plain"])]
        assert heights[1] == expected
        assert heights[0] == pytest.approx(expected, abs=30)
