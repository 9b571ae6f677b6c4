from __future__ import annotations

import pytest
import shapely

from geoloom.boundaries import boundaries, country_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("IT", "IT"),
        ("it", "IT"),
        ("ITA", "IT"),
        ("Italia", "IT"),
        ("deutschland", "DE"),
        ("Österreich", "AT"),
        ("UK", "GB"),
        ("Great Britain", "GB"),
        ("日本", "JP"),
        ("Atlantis", None),
        ("IT.09", None),
        ("", None),
    ],
)
def test_codes(text: str, code: str | None) -> None:
    assert country_code(text) == code


def test_outlines() -> None:
    known = boundaries()
    assert known["IT"].outline().covers(shapely.Point(9.19, 45.46))  # type: ignore[union-attr]
    assert not known["IT"].outline().intersects(shapely.Point(2.35, 48.86))  # type: ignore[union-attr]
    assert known["US.AK"].outline().covers(shapely.Point(-150, 64))  # type: ignore[union-attr]
    assert known["RE"].outline() is None
    for one in known.values():
        outline = one.outline()
        assert outline is None or (outline.is_valid and abs(outline.bounds[0]) <= 180)


def test_regions() -> None:
    lombardy = boundaries()["IT.09"]
    assert (lombardy.name, lombardy.country, lombardy.region) == ("Lombardy", "IT", "09")
    assert lombardy.names == {"lombardy", "lombardia"}
    assert boundaries()["IT"].region is None
