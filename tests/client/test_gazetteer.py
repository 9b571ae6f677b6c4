from __future__ import annotations

from typing import Any

import pytest
import shapely

from geoloom.errors import ParameterError
from geoloom.gazetteer import Place, find
from geoloom.lazy_collection import Collection
from geoloom.query import Query

pytestmark = pytest.mark.usefixtures("gazetteer")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (("Ispra",), "Ispra, Lombardy, Italy"),
        (("ISPRA", "IT"), "Ispra, Lombardy, Italy"),
        (("Ispra, Italia",), "Ispra, Lombardy, Italy"),
        ((3175406,), "Ispra, Lombardy, Italy"),
        (("Roma",), "Rome, Lazio, Italy"),
        (("Rome",), "Rome, Lazio, Italy"),
        (("Rome", "US"), None),
        (("Rome, Georgia",), "Rome, Georgia, United States"),
        (("München",), "Munich, Bavaria, Germany"),
        (("munich",), "Munich, Bavaria, Germany"),
        (("Paris",), "Paris, Île-de-France, France"),
        (("Paris, Texas",), "Paris, Texas, United States"),
        (("Paris, TX",), "Paris, Texas, United States"),
        (("Paris", "United States"), None),
        (("Springfield, IL",), "Springfield, Illinois, United States"),
        (("Washington, D.C.",), "Washington, District of Columbia, United States"),
        (("New York",), "New York City, New York, United States"),
        (("New York", None, "region"), "New York, United States"),
        (("Athens",), "Athens, Attica, Greece"),
        (("Hamburg",), "Hamburg, Hamburg, Germany"),
        (("Lombardia",), "Lombardy, Italy"),
        (("Lombardia", "MX"), "Lombardía, Michoacán, Mexico"),
        (("Italia",), "Italy"),
        (("IT",), "Italy"),
        (("Burma",), "Myanmar"),
        (("Granada",), None),
        (("Granada", "ES"), "Granada, Andalusia, Spain"),
        (("Granada", None, "country"), "Grenada"),
        (("Barcelona",), "Barcelona, Catalonia, Spain"),
        (("Luxembourg",), "Luxembourg"),
        (("Luxembourg", "LU", "town"), "Luxembourg, Luxembourg, Luxembourg"),
        (("Georgia",), "Georgia"),
        (("Georgia", "US"), "Georgia, United States"),
    ],
)
def test_what_is_meant(asked: tuple[Any, ...], name: str | None) -> None:
    if name is None:
        with pytest.raises(ParameterError, match="Several places"):
            find(*asked)
    else:
        assert find(*asked).name == name


def test_ambiguous_names_list_the_candidates() -> None:
    with pytest.raises(ParameterError) as caught:
        find("Cambridge")
    said = str(caught.value)
    assert "2653941: Cambridge, England, United Kingdom (" in said
    assert "Cambridge, Massachusetts, United States (" in said
    assert 'Say which, by country="GB", or "Cambridge, England", or the number, 2653941.' in said
    with pytest.raises(ParameterError, match=r"… and \d+ more"):
        find("Springfield")
    with pytest.raises(ParameterError, match=r'Zurich, Switzerland \(a region\)(.|\n)*kind="region"'):
        find("Zürich")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("Isppra",), "Did you mean Ispra, Lombardy, Italy"),
        (("Isrpa",), "Did you mean Ispra, Lombardy, Italy"),
        (("Lombardi",), "Lombard"),
        (("Germny",), "Germany"),
        (("Springfie",), "Springfield, Missouri"),
        (("Ispra", "FR"), "No place 'Ispra' is known in France. There is Ispra, Lombardy, Italy."),
        (("Ispra, Texas",), "No place 'Ispra' is known in Texas."),
        (("Xqzzyx",), "filter_location"),
        (("Ispra", "Itly"), "There is no country 'Itly'. Did you mean Italy"),
        (("Ispra", 39), "There is no country 39"),
        (("Ispra", None, "village"), "There are town, region, country"),
        (("Ispra", None, "region"), "knows no region"),
        (("",), "needs the name"),
        (("!!!",), "needs the name"),
        ((None,), "needs the name"),
        ((True,), "needs the name"),
        ((1,), "No town has the GeoNames id 1"),
    ],
)
def test_what_is_not_found(asked: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        find(*asked)
    assert said in str(caught.value)


def test_the_area_of_a_town() -> None:
    ispra = find("Ispra")
    circle, words = ispra.area()
    assert words == "within 2 km of Ispra, Lombardy, Italy"
    assert circle.covers(shapely.Point(ispra.lon, ispra.lat))
    wide, words = ispra.area(10)
    assert words == "within 10 km of Ispra, Lombardy, Italy"
    assert wide.area == pytest.approx(25 * circle.area, rel=0.01)
    point, words = ispra.area(0)
    assert (point.geom_type, words) == ("Point", "over Ispra, Lombardy, Italy")
    assert find("Milano").radius_km > 10
    assert Place("town", "x", 1, population=10**9).radius_km == 40


def test_the_area_of_a_country_or_region() -> None:
    italy, words = find("Italy").area()
    assert words == "in Italy"
    assert italy.covers(shapely.Point(9.19, 45.46))
    near, words = find("Luxembourg").area(20)
    assert words == "within 20 km of Luxembourg"
    assert near.covers(find("Luxembourg").area()[0])
    lombardy, words = find("Lombardy").area()
    assert words == "around the towns of Lombardy, Italy"
    assert lombardy.covers(find("Milano").area(0)[0])
    assert lombardy.covers(find("Ispra").area(0)[0])
    assert 3 < lombardy.area < 6
    assert find("Réunion").area()[1] == "around the towns of Reunion"
    fiji, _ = find("Fiji").area(50)
    assert fiji.bounds[::2] == (-180, 180)
    assert not fiji.intersects(shapely.Point(0, -17))


def test_a_collection_takes_places_by_name() -> None:
    ispra = Collection(Query("s2")).filter_geoname("Ispra", country="IT", buffer_km=10)
    assert ispra.filters() == ("within 10 km of Ispra, Lombardy, Italy",)
    (area,) = ispra.query.areas
    assert area["type"] == "Polygon"
    assert "Ispra" in repr(ispra)
