"""The user's own function, as a step of a chain."""

from __future__ import annotations

import pytest

from geoloom.errors import ParameterError
from geoloom.grid import Tile
from geoloom.op import decode
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open

KEY = "0" * 32


def op(**params: object) -> Execute:
    return Execute(**{"text": KEY, "main": "f", **params})


def test_the_result_is_what_was_declared(profile) -> None:
    found = profile("execute", "uint16", text=KEY, main="f", dtype="uint8", bands=("a", "b"))
    assert (found.names, found.dtype) == (("a", "b"), "uint8")


def test_arguments_are_read_as_they_were_written() -> None:
    found = op(arguments='[[1,2.5,"x",[null,true]],{"limit":3}]')
    assert found.call() == ([1, 2.5, "x", [None, True]], {"limit": 3})
    assert decode(found.chain(Open(href="/a.tif").chain()).node) == found


@pytest.mark.parametrize(
    "arguments", ["", "[]", "[[],[]]", "[[1, 2],{}]", '[[],{"b":1,"a":2}]', "[[NaN],{}]", "[" * 5000, "null"]
)
def test_arguments_that_are_not_canonical_are_refused(arguments: str) -> None:
    with pytest.raises(ParameterError, match="canonical JSON"):
        op(arguments=arguments)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"main": "a b"}, "no name of a function"),
        ({"dtype": "complex64"}, "not the dtype of an image"),
        ({"bands": ("a", "a")}, "two bands have one name"),
        ({"bands": ()}, "at least 1"),
        ({"around": 600}, "at most 512"),
        ({"arguments": '[["' + "x" * 100_000 + '"],{}]'}, "too long"),
        ({"text": "no key"}, "the key of a blob"),
    ],
)
def test_nonsense_is_refused(params: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        op(**params)


def test_the_margin_is_the_users() -> None:
    assert op(around=7).margin_on(Tile(3, 1, 1).grid()) == 7
    assert op().margin_on(Tile(3, 1, 1).grid()) == 0


def test_it_is_shown_as_it_is_written() -> None:
    assert repr(op()) == "execute(f)"
    shown = op(arguments='[[1000,"x"],{"limit":2}]', around=3)
    assert repr(shown) == "execute(f, 1000, 'x', limit=2, margin=3)"
