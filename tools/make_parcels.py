"""Makes the parcels of the farmland that ``make_fields.py`` makes, and what is told of them.

The parcels are those of the picture: a GeoPackage with the layers ``parcels`` (code, farm, soil, area) and
``damage`` (places where wild boar were in the crops), and beside it a table ``crops.csv``, by the parcel's
code: what was sown, when, and what was harvested. All is made up; the same comes out on every machine::

    python tools/make_parcels.py notebooks/data/parcels.gpkg
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import make_fields
import numpy as np
import numpy.typing as npt
import shapely
from make_fields import CROPS, CRS, NORTH, SHARES, SIZE, WEST, Floats
from osgeo import gdal, gdal_array, ogr, osr

gdal.UseExceptions()
ogr.UseExceptions()

PIXEL = 10.0
"""Metres of the picture's ground, on which the borders were drawn."""

LEAST = 0.8
"""Hectares of the smallest parcel."""

FARMS = (
    *("Ferma Dunărea", "Ionescu & fiii", "Popa Maria", "Agro Vest", "Lunca Jiului", "Stan Gheorghe"),
    *("Câmpia Verde", "Dobre Elena", "Cooperativa Segarcea"),
)
SOILS = ("chernozem", "loam", "sandy loam", "alluvial")

SOWN = {
    "stubble": "wheat",
    "ploughed": "barley",
    "maize": "maize",
    "sunflower": "sunflower",
    "alfalfa": "alfalfa",
}
"""What stood on a field before it looked as it does."""

SEASONS = {  # first day of sowing, days until the last, tonnes a hectare
    "wheat": (datetime.date(2015, 10, 1), 24, 5.1),
    "barley": (datetime.date(2015, 9, 24), 20, 4.4),
    "maize": (datetime.date(2016, 4, 14), 26, 6.8),
    "sunflower": (datetime.date(2016, 4, 8), 22, 2.5),
    "alfalfa": (datetime.date(2014, 4, 2), 30, 9.2),
}


def digest() -> str:
    """Names this version of the scripts; the file they make carries it."""
    scripts = (Path(__file__), Path(__file__).with_name("make_fields.py"))
    return hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()


@dataclass(frozen=True, slots=True)
class Parcel:
    """One parcel, in metres of the map projection."""

    code: str
    farm: str
    soil: str
    crop: str
    shape: shapely.Polygon

    @property
    def hectares(self) -> float:
        """Area."""
        return round(self.shape.area / 10_000, 2)


def ground(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Metres of the picture, southwards, as coordinates."""
    return WEST + x, NORTH - y


def ellipse(x: float, y: float, across: float, down: float) -> shapely.Polygon:
    """A round place of the picture: a village, a wood, a pond."""
    angle = np.linspace(0, 2 * np.pi, 64)
    return shapely.Polygon(np.column_stack(ground(x + across * np.cos(angle), y + down * np.sin(angle))))


def elsewhere() -> tuple[shapely.Geometry, shapely.Geometry]:
    """Where no fields are (villages, woods, water, roads); and the woods and the river's banks alone."""
    along = np.linspace(-200, PIXEL * 2 * SIZE + 200, 300)
    course = 8800 + 600 * np.sin(along / 1400) + 200 * np.sin(along / 430 + 1)
    river = shapely.LineString(np.column_stack(ground(along, course))).buffer(205)
    woods = shapely.union_all([ellipse(2000, 2080, 1010, 1040), ellipse(8950, 8400, 1150, 900), river])
    villages = [ellipse(2920, 6560, 640, 680), ellipse(7150, 2560, 640, 740), ellipse(5360, 1340, 520, 350)]
    roads = [
        shapely.LineString(np.column_stack(ground(along, slope * along + start))).buffer(10)
        for slope, start in ((0.47, 5100), (-1.9, 13000))
    ]
    return shapely.union_all([woods, *villages, *roads]), woods


def outlines(number: npt.NDArray[np.int64]) -> dict[int, shapely.Geometry]:
    """The outline of each field of the picture, by its number: borders straight, and shared by neighbours."""
    made = gdal_array.OpenNumPyArray(number.astype(np.int32), binterleave=True)
    made.SetGeoTransform((WEST, PIXEL, 0, NORTH, 0, -PIXEL))
    memory = gdal.GetDriverByName("MEM").Create("", 0, 0, 0, gdal.GDT_Unknown)
    layer = memory.CreateLayer("fields")
    layer.CreateField(ogr.FieldDefn("number", ogr.OFTInteger))
    gdal.Polygonize(made.GetRasterBand(1), None, layer, 0)
    numbers, shapes = [], []
    for feature in layer:
        numbers.append(feature.GetField("number"))
        shapes.append(shapely.from_wkb(bytes(feature.GetGeometryRef().ExportToWkb())))
    straight = shapely.coverage_simplify(shapes, 55)
    found: dict[int, shapely.Geometry] = {}
    for one, shape in zip(numbers, straight, strict=True):
        found[one] = shape if one not in found else found[one].union(shape)
    return found


def parcels() -> list[Parcel]:
    """The parcels, from north to south."""
    random = np.random.default_rng(20_160_713)  # the picture's own: what follows must be drawn in its order
    side = 2 * SIZE
    y, x = np.mgrid[0:side, 0:side] * PIXEL
    fields = make_fields.parcels(random, x, y)
    crop = random.choice(len(CROPS), fields.count, p=SHARES)
    own = np.random.default_rng(5)
    seats = np.column_stack(ground(own.uniform(0, 10_240, len(FARMS)), own.uniform(0, 10_240, len(FARMS))))
    away, woods = elsewhere()
    damp = woods.buffer(600)
    found = []
    for number, outline in outlines(fields.number).items():
        rest = outline.difference(away).buffer(-4, join_style="mitre")
        for part in shapely.get_parts(rest):
            if part.area < LEAST * 10_000 or part.area < 0.25 * part.minimum_rotated_rectangle.area:
                continue
            shape = shapely.remove_repeated_points(part, 0.5)
            place = np.array(shape.centroid.coords[0])
            near = np.argsort(np.hypot(*(seats - place).T) * own.uniform(0.7, 1.3, len(FARMS)))
            soil = "alluvial" if shape.intersects(damp) else SOILS[own.choice(3, p=(0.5, 0.3, 0.2))]
            found.append(Parcel("", FARMS[near[0]], soil, SOWN[CROPS[crop[number]]], shape))
    found.sort(key=lambda one: (-round(one.shape.centroid.y / 500), one.shape.centroid.x))
    return [
        Parcel(f"DJ-{number:04d}", one.farm, one.soil, one.crop, one.shape)
        for number, one in enumerate(found, 1)
    ]


def damage(all_parcels: list[Parcel]) -> list[tuple[float, float, str, float]]:
    """(east, north, day, hectares) where boar were seen: in maize and wheat, most of them near woods."""
    random = np.random.default_rng(11)
    _, woods = elsewhere()
    found = []
    for one in all_parcels:
        liked = {"maize": 5.0, "wheat": 1.6, "sunflower": 0.7}.get(one.crop, 0.15)
        often = liked * one.hectares / 9 * np.exp(-one.shape.distance(woods) / 420)
        west, south, east, north = one.shape.bounds
        for _ in range(random.poisson(often)):
            place = shapely.Point(random.uniform(west, east), random.uniform(south, north))
            if one.shape.contains(place):
                day = datetime.date(2016, 6, 1) + datetime.timedelta(int(random.integers(0, 100)))
                found.append((place.x, place.y, day.isoformat(), round(float(random.gamma(1.5, 0.08)), 2)))
    return found


def write(path: Path, all_parcels: list[Parcel]) -> None:
    """The GeoPackage, and the table beside it."""
    gdal.SetConfigOption("OGR_CURRENT_DATE", "2016-09-01T00:00:00Z")
    partial = path.with_name(f"part-{path.name}")
    partial.unlink(missing_ok=True)
    crs = osr.SpatialReference()
    crs.SetFromUserInput(CRS)
    made = gdal.GetDriverByName("GPKG").Create(str(partial), 0, 0, 0, gdal.GDT_Unknown)
    texts, numbers = ("code", "farm", "soil"), ("area_ha",)
    layer = made.CreateLayer("parcels", crs, ogr.wkbPolygon, [f"DESCRIPTION=Made up. {digest()}"])
    for name in (*texts, *numbers):
        layer.CreateField(ogr.FieldDefn(name, ogr.OFTString if name in texts else ogr.OFTReal))
    made.StartTransaction()
    for one in all_parcels:
        values = dict(zip((*texts, *numbers), (one.code, one.farm, one.soil, one.hectares), strict=True))
        add(layer, shapely.to_wkb(one.shape), values)
    places = made.CreateLayer("damage", crs, ogr.wkbPoint, ["DESCRIPTION=Made up."])
    places.CreateField(ogr.FieldDefn("seen", ogr.OFTDate))
    places.CreateField(ogr.FieldDefn("hectares", ogr.OFTReal))
    for east, north, day, hectares in damage(all_parcels):
        add(places, shapely.to_wkb(shapely.Point(east, north)), {"seen": day, "hectares": hectares})
    made.CommitTransaction()
    made.Close()
    table(path.with_name("crops.csv"), all_parcels)
    partial.replace(path)


def add(layer: ogr.Layer, geometry: bytes, values: dict[str, object]) -> None:
    """One feature more."""
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetGeometry(ogr.CreateGeometryFromWkb(geometry))
    for name, value in values.items():
        feature.SetField(name, value)
    layer.CreateFeature(feature)


def table(path: Path, all_parcels: list[Parcel]) -> None:
    """What was sown on each parcel, when, and what it gave."""
    random = np.random.default_rng(7)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("code", "crop", "sown", "yield_t_ha"))
        for one in all_parcels:
            first, days, tonnes = SEASONS[one.crop]
            sown = first + datetime.timedelta(int(random.integers(0, days)))
            better = {"chernozem": 1.1, "loam": 1.0, "sandy loam": 0.84, "alluvial": 1.04}[one.soil]
            harvest = tonnes * better * random.normal(1, 0.13)
            writer.writerow((one.code, one.crop, sown.isoformat(), f"{max(harvest, 0.4):.1f}"))


def main(path: Path) -> None:
    """Make the files."""
    write(path, parcels())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
