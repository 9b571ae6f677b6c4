from __future__ import annotations

from geoloom import blobs
from geoloom.chain import Chain, key_of
from geoloom.ops.execute import Execute
from geoloom.ops.item import Item
from geoloom.ops.open import Open


def test_what_is_kept_is_found_by_its_key() -> None:
    key = blobs.keep(b"def f(img): return img")
    assert key == key_of(b"def f(img): return img")
    assert blobs.kept(key) == b"def f(img): return img"
    assert blobs.kept("0" * 32) is None


def test_a_chain_names_each_blob_once() -> None:
    scene = Open(href="/data/a.tif").chain()
    one, other = "1" * 32, "2" * 32
    inner = Execute(text=one, main="f").chain(scene)
    chain = Execute(text=other, main="g").chain(Execute(text=one, main="g").chain(inner))
    assert sorted(blobs.needed(chain)) == [one, other]
    assert blobs.needed(scene) == ()
    assert blobs.needed(Item(selection="a" * 32).chain()) == ("a" * 32,)


def test_ops_of_other_versions_of_geoloom_name_none() -> None:
    assert blobs.needed(Chain.extend("unheard_of", 1, {"text": "1" * 32})) == ()
