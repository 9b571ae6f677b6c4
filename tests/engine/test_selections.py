"""Blobs: loaded when they are not in memory; selections parsed once."""

from __future__ import annotations

import pytest
import shapely

from geoloom.errors import CorruptChain, NotFound
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.selections import Blobs


def missing(key: str) -> bytes:
    raise NotFound(f"no {key}")


def test_what_was_kept_is_not_loaded() -> None:
    blobs = Blobs(missing)
    blobs.keep("a", b"text")
    assert blobs.get("a") == b"text"
    with pytest.raises(NotFound):
        blobs.get("b")


def test_a_selection_is_parsed_once() -> None:
    item = Item("one", None, shapely.box(0, 0, 1, 1), (Asset("/data/one.tif", ((0, 0),)),))
    made = Selection.of("some", [SelectedBand("B1", "uint8")], [item])
    blobs = Blobs({made.key: made.to_bytes()}.__getitem__)
    first = blobs.selection(made.key)
    assert first == made
    assert blobs.selection(made.key) is first


def test_a_blob_that_is_no_selection_is_said_to_be_none() -> None:
    blobs = Blobs(lambda key: b"def f(img): return img")
    with pytest.raises(CorruptChain):
        blobs.selection("0" * 32)
