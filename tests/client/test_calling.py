from __future__ import annotations

import inspect
from typing import Any

import pytest

from geoloom.calling import bound, defaults_of, is_filled, is_older_style, own_parameters
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


def called(f: Any, args: list[Any], kwargs: dict[str, Any], filled: dict[str, Any]) -> Any:
    parameters = own_parameters(inspect.signature(f), older_style=False)
    assert {one.name for one in parameters if is_filled(one, kwargs)} == set(filled)
    positional, named = bound(parameters, args, kwargs, filled, defaults_of(f), "f")
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


def test_variable_arguments_may_take_the_image_too() -> None:
    def f(*everything, **bands):  # type: ignore[no-untyped-def]
        return everything, bands

    assert called(f, [1, 2], {"x": 5}, {}) == (("image", 1, 2), {"x": 5})
    assert called(f, [], {}, {}) == (("image",), {})


def test_defaults_are_those_that_the_function_has_by_now() -> None:
    def f(img, a, b=2, /, c=3, *, valid, d=4):  # type: ignore[no-untyped-def]
        return a, b, c, valid, d

    assert called(f, [1], {}, {"valid": "V"}) == (1, 2, 3, "V", 4)
    f.__defaults__, f.__kwdefaults__ = (20, 30), {"d": 40}
    assert called(f, [1], {}, {"valid": "V"}) == (1, 20, 30, "V", 40)


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
