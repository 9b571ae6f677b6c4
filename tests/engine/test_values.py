"""Values: points at native resolution and at map zooms, statistics of an area."""

from __future__ import annotations

import numpy as np
import pytest
from osgeo import gdal, osr

from geoloom.errors import DemandError, RequestError
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.constant import Constant
from geoloom.ops.open import Open
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.values import point, statistics
from geoloom_engine.warp import Limits

PIXELS = np.arange(200 * 100, dtype=np.float32).reshape(100, 200)


def write(path, epsg, transform, pixels=PIXELS):
    made = gdal.GetDriverByName("GTiff").Create(
        str(path), pixels.shape[1], pixels.shape[0], 1, gdal.GDT_Float32
    )
    made.SetGeoTransform(transform)
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    made.SetSpatialRef(crs)
    made.GetRasterBand(1).SetNoDataValue(-1)
    made.GetRasterBand(1).WriteArray(pixels)
    made.Close()
    return path


@pytest.fixture
def planner(tmp_path) -> Planner:
    return Planner(SourcePool((str(tmp_path),)), Limits())


def chain(path):
    return Open(href=str(path)).chain()


def test_native_points_are_the_files_own_pixels(planner, tmp_path):
    path = write(tmp_path / "geo.tif", 4326, (10.0, 0.01, 0, 46.0, 0, -0.01))
    answer = point(planner, chain(path), 10.0 + 0.01 * 17.4, 46.0 - 0.01 * 31.7, None)
    assert answer["values"] == {"b1": PIXELS[31, 17]}
    assert answer["zoom"] is None
    assert answer["resolution_m"] == pytest.approx(1113, rel=0.01)


def test_utm_and_south_up_rasters(planner, tmp_path):
    north_up = write(tmp_path / "utm.tif", 32633, (400000, 20, 0, 5500000, 0, -20))
    # The same pixels, stored from the south on.
    south_up = write(tmp_path / "up.tif", 32633, (400000, 20, 0, 5498000, 0, 20), PIXELS[::-1])
    for path in (north_up, south_up):
        answer = point(planner, chain(path), 13.62, 49.643, None)
        at_map = point(planner, chain(path), 13.62, 49.643, 13)
        assert answer["values"]["b1"] == pytest.approx(at_map["values"]["b1"], abs=250)
    both = [point(planner, chain(path), 13.62, 49.643, None)["values"] for path in (north_up, south_up)]
    assert both[0] == both[1]
    assert both[0]["b1"] is not None


def test_outside_is_none_and_nonsense_is_refused(planner, tmp_path):
    path = write(tmp_path / "geo.tif", 4326, (10.0, 0.01, 0, 46.0, 0, -0.01))
    assert point(planner, chain(path), -70.0, 46.0, None)["values"] == {"b1": None}
    assert point(planner, chain(path), 370.05, 45.95, None)["values"]["b1"] is not None
    for lon, lat, zoom in ((float("nan"), 0, None), (0, 91, None), (0, 0, 99), (0, 0, -1)):
        with pytest.raises(RequestError):
            point(planner, chain(path), lon, lat, zoom)


def test_statistics_of_everything_and_of_a_box(planner, tmp_path):
    path = write(tmp_path / "geo.tif", 4326, (10.0, 0.01, 0, 1.0, 0, -0.01))
    whole = statistics(planner, chain(path), None)["bands"]["b1"]
    assert whole["min"] == pytest.approx(PIXELS.min(), abs=300)
    assert whole["max"] == pytest.approx(PIXELS.max(), abs=300)
    assert whole["mean"] == pytest.approx(PIXELS.mean(), rel=0.02)
    assert whole["percentiles"]["50"] == pytest.approx(np.median(PIXELS), rel=0.02)
    assert sum(whole["histogram"]["counts"]) == whole["count"]
    part = statistics(planner, chain(path), (10.5, 0.2, 11.0, 0.4))["bands"]["b1"]
    assert whole["min"] < part["min"] < part["max"] < whole["max"]
    none = statistics(planner, chain(path), (50.0, 0.2, 51.0, 0.4))["bands"]["b1"]
    assert (none["count"], none["mean"]) == (0, None)


def test_caches_make_room_for_what_is_computed(tmp_path):
    wanted: list[int] = []
    planner = Planner(SourcePool((str(tmp_path),)), Limits(), make_room=wanted.append)
    path = write(tmp_path / "geo.tif", 4326, (10.0, 0.01, 0, 1.0, 0, -0.01))
    answer = statistics(planner, chain(path), None)
    rows, cols = answer["grid"]
    assert wanted[0] >= rows * cols * PIXELS.itemsize
    point(planner, chain(path), 10.2, 0.8, None)
    assert len(wanted) == 2


def test_statistics_across_the_antimeridian(planner, tmp_path):
    path = write(tmp_path / "fiji.tif", 4326, (179.0, 0.01, 0, -16.0, 0, -0.01))
    assert planner.describe(chain(path)).bounds.west > planner.describe(chain(path)).bounds.east
    assert statistics(planner, chain(path), None)["bands"]["b1"]["mean"] == pytest.approx(
        PIXELS.mean(), rel=0.02
    )


def test_statistics_need_a_place_and_a_readable_zoom(tmp_path):
    planner = Planner(SourcePool((str(tmp_path),)), Limits(source_pixels=2000))
    with pytest.raises(RequestError):
        statistics(planner, Constant(value=3).chain(), None)
    path = write(tmp_path / "geo.tif", 4326, (10.0, 0.01, 0, 46.0, 0, -0.01))
    with pytest.raises(DemandError):
        statistics(planner, chain(path), None)


def test_styled_images_have_values_too(planner, tmp_path):
    path = write(tmp_path / "geo.tif", 4326, (10.0, 0.01, 0, 46.0, 0, -0.01))
    info = planner.pool.open(str(path)).info.to_json()
    image = Image(chain(path), Profile.of_source(info), {}).scale(0, 20000)
    assert point(planner, image.chain, 11.0, 45.5, 10)["values"]["b1"] == pytest.approx(128, abs=20)
