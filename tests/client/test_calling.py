from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from geoloom.calling import bound, is_older_style
from geoloom.errors import FunctionFailed


def style_of(text: str) -> bool:
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    return is_older_style(namespace["f"].__code__)


@pytest.mark.parametrize(
    ("text", "older"),
    [
        ("def f(img): return img[0]", False),
        ("def f(a): return a", False),
        ("def f(img):\n band0 = img[0]\n return band0", False),
        ("def f(x):\n return x.band0 + x.img", False),
        ("def f(v=1):\n global img\n img = band0 > v", True),
        ("def f(v=1):\n return band12 > v", True),
        ("def f(v=1):\n return bandwidth > v", False),
        ("def f():\n global img\n img = 1", True),
    ],
)
def test_the_style_is_told_from_the_names_it_uses(text: str, older: bool) -> None:
    assert style_of(text) == older


def parameters(f: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(f).parameters.values())[1:]


def called(f: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], filled: dict[str, Any]) -> Any:
    positional, named = bound(parameters(f), args, kwargs, filled, "f")
    return f("image", *positional, **named)


def test_what_is_filled_in_takes_no_place_of_an_argument() -> None:
    def f(img, a, valid, b=2, *, grid, c=3):  # type: ignore[no-untyped-def]
        return img, a, valid, b, grid, c

    filled = {"valid": "V", "grid": "G"}
    assert called(f, [1], {}, filled) == ("image", 1, "V", 2, "G", 3)
    assert called(f, [1, 5], {"c": 9}, filled) == ("image", 1, "V", 5, "G", 9)


def test_positional_only_and_variable_arguments_go_where_they_belong() -> None:
    def f(img, a, /, b, *rest, valid, **more):  # type: ignore[no-untyped-def]
        return img, a, b, rest, valid, more

    assert called(f, [1, 2, 3, 4], {"x": 5}, {"valid": "V"}) == ("image", 1, 2, (3, 4), "V", {"x": 5})


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [([], {}, "missing a required argument: 'a'"), ([1, 2, 3], {}, "too many"), ([1], {"z": 1}, "'z'")],
)
def test_wrong_arguments_are_told_with_those_there_are(
    args: list[Any], kwargs: dict[str, Any], words: str
) -> None:
    def f(img, a, b=2, valid=None):  # type: ignore[no-untyped-def]
        return None

    with pytest.raises(FunctionFailed, match=words) as caught:
        called(f, args, kwargs, {"valid": "V"})
    assert caught.value.hint == "Its own arguments are: a, b=2."
