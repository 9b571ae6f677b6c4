"""Every route with every kind of caller, against the table in docs/access.md."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from geoloom import blobs, per_item
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.callers import ADMIN_SCOPE
from geoloom_engine.routes import routes

if TYPE_CHECKING:
    from conftest import MadeUpHub, RunningEngine, StartEngine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "access.md"
SCOPE = "access:services!service=tiles"
BOX = (15.0, 45.0, 15.2, 45.15)
TILE = {"z": 10, "x": 554, "y": 368}


def table() -> dict[str, dict[str, str]]:
    """What the page says: of each route, of each caller."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| route |"))
    _, *callers = cells(lines[start])
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        route, *said = cells(line)
        found[route.strip("`")] = dict(zip(callers, said, strict=True))
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@dataclass
class Layer:
    """A chain of many items, its blob, a vector file, and the URL of its layer."""

    key: str
    chain: bytes
    blob: str
    file: str
    features: str
    query: str
    collection: str


@dataclass
class Stage:
    """An engine, its callers' tokens, and one layer that is open and one for a group."""

    engine: RunningEngine
    tokens: dict[str, str]
    open: Layer
    closed: Layer


@pytest.fixture(scope="module")
def stage(
    start_engine: StartEngine,
    valkey: str,
    modules_hub: MadeUpHub,
    tmp_path_factory: pytest.TempPathFactory,
    new_raster: Any,
) -> Stage:
    folder = tmp_path_factory.mktemp("matrix")
    for id_ in ("open", "closed"):
        (folder / "catalog" / id_ / "items").mkdir(parents=True)
        (folder / id_).mkdir()
        write_collection(folder, id_, new_raster(folder / id_ / "scene.tif"))
    engine = start_engine(
        valkey,
        folder,
        hub_api_url=modules_hub.url,
        catalogs=f"local={folder / 'catalog'}",
        restricted=f"{folder / 'closed'}=hydro,collection:closed=hydro",
    )
    hydro = modules_hub.user("anna", "hydro")
    tokens = {
        "a token without the scope": modules_hub.user("eve", "hydro", scopes=("self",)),
        "a user": modules_hub.user("ben", "alps"),
        "a user outside the group": modules_hub.user("cleo", "alps"),
        "an admin": modules_hub.user("dora", scopes=(SCOPE, ADMIN_SCOPE)),
        "the operator": engine.token,
        "a foreign page": engine.token,
    }
    return Stage(engine, tokens, layer(engine, folder, "open", hydro), layer(engine, folder, "closed", hydro))


def write_collection(folder: Path, id_: str, scene: Path) -> None:
    from geoloom_engine.catalog import write_items

    box = json.loads(shapely.to_geojson(shapely.box(*BOX)))
    extent = {"spatial": {"bbox": [list(BOX)]}, "temporal": {"interval": [[None, None]]}}
    told = {"type": "Collection", "stac_version": "1.1.0", "id": id_, "description": id_, "extent": extent}
    (folder / "catalog" / id_ / "collection.json").write_text(json.dumps({**told, "links": []}))
    asset = {"href": str(scene), "type": "image/tiff; application=geotiff", "roles": ["data"]}
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "one", "geometry": box, "bbox": list(BOX)}
    item |= {"properties": {"datetime": "2020-01-01T00:00:00Z"}, "links": [], "assets": {"b": asset}}
    write_items(folder / "catalog" / id_ / "items" / "all.parquet", [item])
    feature = {"type": "Feature", "geometry": box, "properties": {"name": "a"}}
    content = {"type": "FeatureCollection", "features": [feature]}
    (folder / id_ / "areas.geojson").write_text(json.dumps(content))


def layer(engine: RunningEngine, folder: Path, id_: str, token: str) -> Layer:
    from geoloom.engine_client import EngineClient

    scene = str(folder / id_ / "scene.tif")
    item = Item("one", 0.0, shapely.box(*BOX), (Asset(scene, ((0, 0),)),), 30.0)
    selection = Selection.of(f"local/{id_}", [SelectedBand("b1", "uint8")], [item])
    blobs.keep(selection.to_bytes())
    chain = per_item.composite(per_item.item(selection), selection, "first").chain
    client = EngineClient(engine.url, token)
    query = client.register(chain).tiles.split("?")[1]
    client.close()
    areas = str(folder / id_ / "areas.geojson")
    return Layer(chain.root, chain.to_json(), selection.key, scene, areas, query, f"local/{id_}")


def request(route: str, about: Layer) -> tuple[str, str, bytes | None]:
    """Method, path and body of a proper request to a route."""
    method, path = route.split()
    place = {**{name: str(value) for name, value in TILE.items()}, "session": "s", "label": "user:nobody"}
    place["key"] = about.blob if path.startswith("/blobs") else about.key
    bodies: dict[str, Any] = {
        "/chains": about.chain,
        "/blobs": b"content",
        "/info": {"key": about.key},
        "/point": {"key": about.key, "lon": 15.1, "lat": 45.1},
        "/series": {"key": about.key, "lon": 15.1, "lat": 45.1},
        "/statistics": {"key": about.key},
        "/explain": {"key": about.key},
        "/window": {"key": about.key, **TILE},
        "/search": {"query": {"collection": about.collection}, "answer": "count"},
        "/collections": {},
        "/features": {"href": about.features},
        "/features/values": {"href": about.features, "column": "name"},
        "/identify": {"href": about.features, "lon": 15.1, "lat": 45.1},
        "/zonal": {"key": about.key, "href": about.features},
    }
    body = bodies.get(path) if method == "POST" else None
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    path = re.sub(r"\{(\w+)\}", lambda found: place[found[1]], path)
    return method, path + ("?timeout=0" if path == "/events" else ""), raw


@pytest.mark.parametrize("route", table())
def test_each_caller_at_a_route(stage: Stage, route: str) -> None:
    got = {}
    for caller in table()[route]:
        about = stage.closed if caller == "a user outside the group" else stage.open
        method, path, body = request(route, about)
        headers = {"X-Geoloom-Session": "s"}
        if caller in stage.tokens:
            headers["Authorization"] = f"Bearer {stage.tokens[caller]}"
        if caller == "a foreign page":
            headers["Origin"] = "https://evil.example"
        if caller.endswith("layer's URL"):
            shown = stage.closed if caller.startswith("another") else about
            path += ("&" if "?" in path else "?") + shown.query
        status = stage.engine.ask(method, path, body, headers, token=False).status
        got[caller] = "ok" if status == 200 else str(status)
    assert got == table()[route]


def test_every_route_is_in_the_table() -> None:
    class Nothing: ...

    said = table()
    for pattern, handler, _ in routes(Nothing()):  # type: ignore[arg-type]
        methods = [
            name
            for name in ("get", "post", "put", "delete")
            if name in vars(handler) or inherits(handler, name)
        ]
        for method in methods:
            matching = [
                route
                for route in said
                if route.startswith(method.upper() + " ")
                and re.fullmatch(pattern, re.sub(r"\{\w+\}", "1", route.split()[1]))
            ]
            assert matching, f"{method.upper()} {pattern} is not in docs/access.md"


def inherits(handler: Any, name: str) -> bool:
    """Whether a handler answers a method by a class of ours above it."""
    return any(name in vars(one) for one in handler.__mro__ if one.__module__.startswith("geoloom_engine"))


def test_a_table_that_is_wrong_would_be_noticed() -> None:
    assert len(table()) >= 26
    assert {value for row in table().values() for value in row.values()} == {"ok", "401", "403"}
