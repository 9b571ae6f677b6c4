"""Who may read what, at a real engine; a made-up hub tells whose the tokens are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from geoloom import blobs, per_item
from geoloom.chain import Chain
from geoloom.engine_client import EngineClient
from geoloom.errors import AccessError
from geoloom.ops.open import Open
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.callers import ADMIN_SCOPE, SECRET, Caller, Forbidden
from geoloom_engine.catalog import write_items
from geoloom_engine.restrictions import Restrictions
from geoloom_engine.rights import Rights

if TYPE_CHECKING:
    from conftest import MadeUpHub, RunningEngine, StartEngine

TILE = (10, 554, 368)
BOX = (15.0, 45.0, 15.2, 45.15)
PREFIX = "/services/tiles"


def selection_of(collection: str, *hrefs: str) -> Selection:
    items = [
        Item(f"item-{n}", None, shapely.box(*BOX), (Asset(href, ((0, 0),)),), 30.0)
        for n, href in enumerate(hrefs)
    ]
    return Selection.of(collection, [SelectedBand("b1", "uint8")], items)


def test_a_chain_is_restricted_by_all_that_it_reads() -> None:
    selection = selection_of("local/s2", "/data/open/a.tif", "/data/closed/b.tif")
    rights = Rights(Restrictions(["/data/closed=hydro", "collection:dem=alps"]), lambda key: selection)
    each = per_item.item(selection)
    chain = per_item.composite(each, selection, "first").chain
    assert {one.place for one in rights.of_chain(chain)} == {"/data/closed"}
    assert rights.of_chain(Open(href="/data/open/a.tif").chain()) == frozenset()
    assert {one.place for one in rights.of_collection("any/dem")} == {"collection:dem"}


def test_one_must_be_in_a_group_of_each_restriction() -> None:
    rights = Rights(
        Restrictions(["/data=hydro+user:anna", "/data/deep=alps"]), lambda key: selection_of("none")
    )
    both, outer = rights.of_href("/data/deep/a.tif"), rights.of_href("/data/a.tif")
    anna = Caller("user", "anna", frozenset({"user:anna"}))
    ben = Caller("user", "ben", frozenset({"user:ben", "alps"}))
    zoe = Caller("service", "zoe", frozenset({"service:zoe", "alps", "hydro"}))
    assert [rights.may(one, outer) for one in (anna, ben, zoe, SECRET)] == [True, False, True, True]
    assert [rights.may(one, both) for one in (anna, ben, zoe, SECRET)] == [False, False, True, True]
    with pytest.raises(Forbidden, match="/data is only for the group hydro and the user anna") as caught:
        rights.require(ben, both)
    assert "You are user:ben" in str(caught.value.hint)


@dataclass
class Shared:
    """An engine that several people share, and their tokens."""

    engine: RunningEngine
    hub: MadeUpHub
    open: Path
    closed: Path
    anna: str
    ben: str

    def client(self, token: str, session: str = "s") -> EngineClient:
        return EngineClient(self.engine.url, token, session)

    def ask(self, token: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"token {token}", "X-Geoloom-Session": "s"}
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return self.engine.ask(method, path, raw, headers, token=False)


@pytest.fixture(scope="module")
def shared(
    start_engine: StartEngine,
    valkey: str,
    modules_hub: MadeUpHub,
    tmp_path_factory: pytest.TempPathFactory,
    new_raster: Any,
) -> Shared:
    folder = tmp_path_factory.mktemp("shared")
    for name in ("open", "closed", "catalog/secret/items", "catalog/free/items"):
        (folder / name).mkdir(parents=True)
    files = [new_raster(folder / name / "scene.tif") for name in ("open", "closed")]
    for id_ in ("secret", "free"):
        told = {
            "type": "Collection", "stac_version": "1.1.0", "id": id_, "description": id_, "license": "other",
            "extent": {"spatial": {"bbox": [list(BOX)]}, "temporal": {"interval": [[None, None]]}},
            "links": [],
        }  # fmt: skip
        (folder / "catalog" / id_ / "collection.json").write_text(json.dumps(told))
        item = {
            "type": "Feature", "stac_version": "1.1.0", "id": "one", "bbox": list(BOX), "links": [],
            "geometry": json.loads(shapely.to_geojson(shapely.box(*BOX))),
            "properties": {"datetime": "2020-01-01T00:00:00Z"},
            "assets": {
                "b": {"href": str(files[0]), "type": "image/tiff; application=geotiff", "roles": ["data"]}
            },
        }  # fmt: skip
        write_items(folder / "catalog" / id_ / "items" / "all.parquet", [item])
    engine = start_engine(
        valkey,
        folder,
        hub_api_url=modules_hub.url,
        hub_recheck="0",
        prefix=PREFIX,
        catalogs=f"local={folder / 'catalog'}",
        restricted=f"{folder / 'closed'}=hydro,collection:secret=hydro",
    )
    anna, ben = modules_hub.user("anna", "hydro"), modules_hub.user("ben", "alps")
    return Shared(engine, modules_hub, files[0], files[1], anna, ben)


@pytest.fixture(scope="module")
def closed_chain(shared: Shared) -> Chain:
    """A chain of the restricted file, registered by one who may, and drawn once."""
    chain = Open(href=str(shared.closed)).chain()
    client = shared.client(shared.anna)
    assert client.tile(chain, *TILE).startswith(b"\x89PNG")
    client.close()
    return chain


def test_a_known_chain_is_kept_from_who_may_not_read_it(shared: Shared, closed_chain: Chain) -> None:
    key = closed_chain.root
    z, x, y = TILE
    asked = [
        ("POST", "/chains", closed_chain.to_json()),
        ("GET", f"/chains/{key}", None),
        ("PUT", f"/chains/{key}/saved", None),
        ("POST", "/info", {"key": key}),
        ("POST", "/info", {"chain": json.loads(closed_chain.to_json())}),
        ("POST", "/info", {"href": str(shared.closed)}),
        ("POST", "/features", {"href": str(shared.closed)}),
        ("POST", "/identify", {"href": str(shared.closed), "lon": 15.1, "lat": 45.1}),
        ("POST", "/point", {"key": key, "lon": 15.1, "lat": 45.1}),
        ("POST", "/series", {"key": key, "lon": 15.1, "lat": 45.1}),
        ("POST", "/statistics", {"key": key}),
        ("POST", "/explain", {"key": key}),
        ("POST", "/window", {"key": key, "z": z, "x": x, "y": y}),
        ("POST", "/zonal", {"key": key, "href": str(shared.open)}),
        ("GET", f"/legend/{key}", None),
        ("GET", f"/legend/{key}.png", None),
        ("GET", f"/tilejson/{key}", None),
        ("GET", f"/tiles/{key}/{z}/{x}/{y}.png", None),
        ("GET", f"{PREFIX}/tiles/{key}/{z}/{x}/{y}.png", None),
    ]
    for method, path, body in asked:
        answer = shared.ask(shared.ben, method, path, body)
        assert (answer.status, answer.json["error"]) == (403, "AccessError"), (method, path, answer.body)
        assert "only for the group hydro" in answer.json["message"]
        assert str(shared.closed) not in answer.json["message"].replace(str(shared.closed.parent) + " is", "")


def test_who_is_in_the_group_reads_it(shared: Shared, closed_chain: Chain) -> None:
    for path, body in (("/point", {"lon": 15.1, "lat": 45.1}), ("/statistics", {})):
        assert shared.ask(shared.anna, "POST", path, {"key": closed_chain.root, **body}).status == 200
    assert shared.ask(shared.anna, "GET", f"/chains/{closed_chain.root}").status == 200


def test_one_who_left_the_group_is_refused_at_the_next_look(shared: Shared, closed_chain: Chain) -> None:
    zoe = shared.hub.user("zoe", "hydro")
    assert shared.ask(zoe, "POST", "/info", {"key": closed_chain.root}).status == 200
    shared.hub.models[zoe]["groups"] = []
    assert shared.ask(zoe, "POST", "/info", {"key": closed_chain.root}).status == 403


def test_a_capability_is_the_right_to_one_chain(shared: Shared, closed_chain: Chain) -> None:
    client = shared.client(shared.anna)
    tiles = client.register(closed_chain).tiles
    client.close()
    path = tiles.format(**dict(zip("zxy", TILE, strict=True)))
    for prefix in ("", PREFIX):
        answer = shared.engine.ask("GET", prefix + path, token=False)
        assert answer.status == 200
        assert answer.body.startswith(b"\x89PNG")
    told = shared.engine.ask(
        "GET", tiles.split("/{z}")[0].replace("/tiles/", f"{PREFIX}/tilejson/") + "?" + tiles.split("?")[1],
        headers={"X-Forwarded-Proto": "https", "Host": "hub.example"}, token=False,
    ).json  # fmt: skip
    assert told["tiles"][0].startswith(f"https://hub.example{PREFIX}/tiles/{closed_chain.root}/")


def test_items_and_collections_are_restricted_too(shared: Shared) -> None:
    through_files = selection_of("local/free", str(shared.open), str(shared.closed))
    by_name = selection_of("local/secret", str(shared.open))
    for selection in (through_files, by_name):
        blobs.keep(selection.to_bytes())
        chain = per_item.composite(per_item.item(selection), selection, "first").chain
        anna, ben = shared.client(shared.anna), shared.client(shared.ben)
        assert anna.tile(chain, *TILE)
        with pytest.raises(AccessError, match="only for the group hydro"):
            ben.register(chain)
        with pytest.raises(AccessError, match="only for the group hydro"):
            ben.blob(selection.key)
        assert anna.blob(selection.key) == selection.to_bytes()
        anna.close()
        ben.close()


def test_a_restricted_collection_is_neither_listed_nor_searched(shared: Shared) -> None:
    def listed(token: str) -> set[str]:
        return {one["id"] for one in shared.ask(token, "POST", "/collections", {}).json["collections"]}

    assert listed(shared.anna) == {"secret", "free"}
    assert listed(shared.ben) == {"free"}
    for name in ("secret", "local/secret"):
        for kind in ("count", "items", "selection"):
            question = {"query": {"collection": name}, "answer": kind}
            assert shared.ask(shared.anna, "POST", "/search", question).status == 200
            answer = shared.ask(shared.ben, "POST", "/search", question)
            assert (answer.status, "only for the group hydro" in answer.json["message"]) == (403, True)
    # Nor is it among the names that are like a wrong one.
    hints = {}
    for token in (shared.anna, shared.ben):
        question = {"query": {"collection": "local/secrets"}, "answer": "count"}
        answer = shared.ask(token, "POST", "/search", question)
        assert answer.status == 404
        hints[token] = "secret" in answer.json["hint"].replace("secrets", "")
    assert hints == {shared.anna: True, shared.ben: False}


def test_sessions_of_one_name_are_apart(shared: Shared) -> None:
    gone = shared.open.parent / "gone.tif"
    gone.write_bytes(shared.open.read_bytes())
    chain = Open(href=str(gone)).chain()
    anna, ben = shared.client(shared.anna, "same"), shared.client(shared.ben, "same")
    of_anna, of_ben = anna.register(chain), ben.register(chain)
    gone.unlink()
    path = of_anna.tiles.format(**dict(zip("zxy", TILE, strict=True)))
    assert shared.engine.ask("GET", path, token=False).status == 404
    told = anna.events(timeout=10.0)["events"]
    assert {event["type"] for event in told} >= {"error"}
    assert ben.events(timeout=0.0)["events"] == []

    ben.withdraw()
    shared.engine.wait_until(
        lambda: b"CapabilityError" in _error(shared, of_ben.tiles), what="the end of ben's layer"
    )
    assert b"CapabilityError" not in _error(shared, of_anna.tiles)
    anna.close()
    ben.close()


def _error(shared: Shared, tiles: str) -> bytes:
    path = tiles.format(**dict(zip("zxy", TILE, strict=True)))
    return shared.engine.ask("GET", path, token=False).headers.get("x-geoloom-error", "").encode()


def test_an_admin_withdraws_all_layers_of_a_user(shared: Shared) -> None:
    chain = Open(href=str(shared.open)).chain()
    fay, gus = (shared.client(shared.hub.user(name)) for name in ("fay", "gus"))
    before, others = fay.register(chain).tiles, gus.register(chain).tiles
    asked = ("DELETE", "/callers/user:fay/layers")
    assert shared.ask(shared.ben, *asked).status == 403
    admin = shared.hub.user("dora", scopes=("access:services", ADMIN_SCOPE))
    assert shared.ask(admin, *asked).json == {"caller": "user:fay", "revoked": True}
    shared.engine.wait_until(lambda: b"CapabilityError" in _error(shared, before), what="the end of a layer")
    assert b"CapabilityError" not in _error(shared, others)
    fay.close()
    gus.close()


def test_a_capability_says_nothing_of_who_it_was_given_to(shared: Shared) -> None:
    import base64

    client = shared.client(shared.anna, "my-session")
    token = client.register(Open(href=str(shared.open)).chain()).tiles.split("c=")[1].split("&")[0]
    client.close()
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"anna" not in raw
    assert b"my-session" in raw


def test_tokens_of_strangers_open_nothing(shared: Shared, closed_chain: Chain) -> None:
    other = shared.hub.user("eve", "hydro", scopes=("self", "access:services!service=other"))
    assert shared.ask(other, "POST", "/point", {"key": closed_chain.root, "lon": 15, "lat": 45}).status == 403
    assert (
        shared.ask("wrong", "POST", "/point", {"key": closed_chain.root, "lon": 15, "lat": 45}).status == 401
    )
