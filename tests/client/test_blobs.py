from __future__ import annotations

import json

import pytest

from geoloom import blobs
from geoloom.chain import Chain, key_of
from geoloom.errors import CorruptChain
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


def never(key: str) -> bytes:
    raise AssertionError(key)


def test_a_chain_takes_its_texts_along() -> None:
    mine, other = "def f(img): return img + 1  # é", b"def g(img): return img + 2"
    inner = Execute(text=blobs.keep(mine.encode()), main="f").chain(Open(href="/data/a.tif").chain())
    chain = Execute(text=key_of(other), main="g").chain(inner)
    told = blobs.to_json(chain, {key_of(other): other}.__getitem__)
    assert json.loads(told)["blobs"] == {key_of(mine.encode()): mine, key_of(other): other.decode()}
    assert blobs.known(key_of(other)) is None
    assert blobs.from_json(told) == blobs.from_json(told.encode()) == chain
    assert blobs.known(key_of(other)) == other
    assert blobs.kept(key_of(other)) is None  # read, not made here
    assert blobs.to_json(chain, never) == told


def test_a_chain_without_texts_is_its_canonical_json() -> None:
    chain = Open(href="/data/a.tif").chain()
    assert blobs.to_json(chain, never).encode() == chain.to_json()
    assert blobs.from_json(chain.to_json()) == chain


@pytest.mark.parametrize("text", ["def f(img): return img * 0", "", "\ud800"])
def test_another_text_under_a_name_is_refused(text: str) -> None:
    chain = Execute(text=key_of(b"def f(img): return img"), main="f").chain(Open(href="/a.tif").chain())
    told = json.loads(blobs.to_json(chain, lambda key: b"def f(img): return img"))
    told["blobs"] = dict.fromkeys(told["blobs"], text)
    with pytest.raises(CorruptChain, match="not the one it was made with"):
        blobs.from_json(json.dumps(told))


@pytest.mark.parametrize("found", [[], None, {}, {"0" * 32: "def f(): ..."}, 3])
def test_texts_that_are_missing_are_left_to_the_engine(found: object) -> None:
    chain = Execute(text="5" * 32, main="f").chain(Open(href="/a.tif").chain())
    told = json.loads(chain.to_json()) | {"blobs": found}
    assert blobs.from_json(json.dumps(told)) == chain
    assert blobs.known("5" * 32) is blobs.known("0" * 32) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\ud800", b"\xff"])
def test_what_is_no_chain_is_told(text: str | bytes) -> None:
    with pytest.raises(CorruptChain):
        blobs.from_json(text)
