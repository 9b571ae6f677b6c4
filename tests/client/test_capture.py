"""Capture: the text of a function gives the same results wherever it is executed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy
import numpy as np
import pytest
import scipy
import scipy.ndimage
from numpy import clip, newaxis, where
from numpy.linalg import norm as length
from scipy import ndimage as nd
from scipy.ndimage import gaussian_filter

from geoloom.capture import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 40
NAMES = {"low": 20, "high": 80.5, "classes": (1, 2, 3), "text": "grün", "none": None}
CLOUDS = {3, 8, 9, 10}
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16
TABLE = np.arange(256, dtype=np.uint8)[::-1].copy()
SCALE = np.float32(0.1)
ENDLESS = float("inf")
DTYPE = np.float32
COUNTER = 0
STEPS = [lambda band: band > 10, lambda band: band * 2]
RULES = {"mean": np.mean, "double": STEPS[1]}
root = math.sqrt
biggest = max


def index(a: Any, b: Any) -> Any:
    return (a - b) / (a + b + 1)


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def smooth(band: Any, weights: Any = KERNEL) -> Any:
    return nd.convolve(band.astype(DTYPE), weights)


def pairs(image: Any) -> Any:
    for number in range(len(image) - 1):
        yield image[number], image[number + 1]


def with_constant(img):
    return img[0] > LIMIT


def with_alias(img):
    return np.where(img[0] > LIMIT, 1, 0)


def with_full_name(img):
    return numpy.maximum(img[0], img[1])


def with_imported_function(img):
    return where(img[0] > 5, clip(img[1], 0, 50), length(img[:, newaxis, 0, 0]))


def with_submodule(img):
    return scipy.ndimage.uniform_filter(img[0], 3)


def with_submodule_alias(img):
    return nd.maximum_filter(img[0], 3)


def with_filter(img):
    return gaussian_filter(img[0].astype(float), 1.5)


def with_inner_import(img):
    from scipy.ndimage import label

    return label(img[0] > 50)[0]


def with_lazy_package(img):
    import skimage.filters

    return img[0] > skimage.filters.threshold_otsu(img[0])


def with_caught_import(img):
    try:
        import bottleneck
    except ImportError:
        bottleneck = None
    return img[0] + (bottleneck is None)


def with_dict(img):
    return (img[0] > NAMES["low"]) & (img[0] < NAMES["high"]) | (NAMES["none"] is not None)


def with_set(img):
    return np.isin(img[0], list(CLOUDS))


def with_array(img):
    return smooth(img[0])


def with_table(img):
    return TABLE[img[0].astype(np.uint8)]


def with_numpy_scalar(img):
    return (img[0] * SCALE).astype(DTYPE)


def with_infinity(img):
    return np.where(img[0] > 30, ENDLESS, math.nan)


def with_helper(img):
    return index(img[0].astype(float), img[1])


def with_mutual_recursion(img):
    return img[0] if even(10) else img[1]


def with_recursion(img, times=3):
    return img[0] if times == 0 else with_recursion(img + 1, times - 1)


def with_generator_helper(img):
    return sum(second - first for first, second in pairs(img))


def with_functions_in_a_list(img):
    return STEPS[1](img[0]) * STEPS[0](img[1])


def with_functions_in_a_dict(img):
    return RULES["double"](img[0]) - RULES["mean"](img[0])


def with_builtin_alias(img):
    return img[0] * biggest(1, 2) + root(16)


def with_defaults(img, limit=LIMIT, *, table=NAMES, kernel=KERNEL, low=-math.pi / 2):
    return (img[0] > limit) * (img[0] < table["high"]) * (kernel.sum() + low)


def with_annotations(img: np.ndarray, more: Sequence[int] | None = None) -> Missing:  # noqa: F821
    total: Whatever = img.sum(axis=0)  # noqa: F821

    def inner(one: Unknown) -> Unknown:  # noqa: F821
        return one * 2

    return inner(total)


def with_docstring(img):
    """Text with 'quotes', a \\ and
    a second line
      indented.
    """
    return img[0]


def with_strings(img):
    text = """
no indentation
    some
"""
    return img[0] + len(text) + len(f"{img.shape!r} {LIMIT:>{5}} { {'a': 1}['a'] }")


def with_comments(img):
    # why
    total = img[0] + img[1]  # what

    total += 1
    return total  # done


def with_nested_functions(img):
    scale = 2

    def inner(band):
        def deeper(x):
            nonlocal scale
            scale += 1
            return x * scale

        return deeper(band) + LIMIT

    return inner(img[0])


def with_walrus(img):
    return (half := img[0] // 2) + half


def with_comprehensions(img):
    return np.stack([band * LIMIT for band in img if (band > LIMIT).any()] or [img[0]])


def with_match(img):
    match img.shape:
        case (1, *_):
            return img[0]
        case (n, rows, cols) if n > 1:
            return img[1] + rows + cols
        case _:
            return None


def with_type_parameter[T](img: T) -> T:
    return img[0] * 3


def with_class_inside(img):
    class Limits:
        low = LIMIT
        high = low * 2

    return (img[0] > Limits.low) & (img[0] < Limits.high)


def with_counter(img):
    global COUNTER
    COUNTER += 1
    return img[0] + COUNTER


def with_star_arguments(img, *more, factor=2, **named):
    return img[0] * factor + sum(more) + len(named)


def with_try(img):
    try:
        return img[99]
    except IndexError as error:
        return img[0] + len(error.args)
    finally:
        np.sum(img)


def with_lambda_inside(img):
    return (lambda band, by=LIMIT: band * by)(img[0])


def with_print(img):
    print("shape", img.shape)  # noqa: T201
    return img[0]


def with_dead_code(img):
    if TYPE_CHECKING:
        import pandas

        pandas.DataFrame(img)
    return img[0]


def with_ünicode(img):
    größe = 3
    return img[0] * größe


def with_deleted_global(img):
    global temporary
    temporary = img[0] * 2
    result = temporary + 1
    del temporary
    return result


def in_place(img):
    img[img > LIMIT] = 0


def several_bands(img):
    return np.stack([img[0], img[1] * SCALE])


def times(factor, table=None):
    def multiplied(img):
        return img[0] * factor + len(table or ())

    return multiplied


def recursive_inside(depth):
    def falling(img, n=depth):
        return img[0] if n == 0 else falling(img + 1, n - 1)

    return falling


def counting():
    seen = 5

    def counted(img):
        nonlocal seen
        seen += 1
        return img[0] + seen

    return counted


def inside_out():
    def helper(x):
        return x * 2

    def outer(img):
        return helper(img[0]) + helper(1)

    return outer


if LIMIT:

    def inside_a_block(img):
        text = """
    kept as it is
  """
        return img[0] + len(text)


assigned = lambda img: img[0] > LIMIT  # noqa: E731
many = [lambda img, n=n: img[0] > n for n in (20, 60)]
ZOO: list[Callable[..., Any]] = [
    *(one for name, one in list(globals().items()) if name.startswith("with_")),
    in_place,
    several_bands,
    inside_a_block,
    assigned,
    *many,
    times(3),
    times(7, {"a": 1}),
    recursive_inside(4),
    counting(),
    inside_out(),
]


def pixels() -> Any:
    return np.random.default_rng(3).integers(0, 100, (3, 12, 14)).astype(np.int32)


def executed(captured: Captured) -> Any:
    namespace: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile(captured.source, "<captured>", "exec", dont_inherit=True), namespace)
    return namespace[captured.name]


def test_the_zoo_is_large() -> None:
    assert len(ZOO) >= 50


@pytest.mark.parametrize("function", ZOO, ids=lambda one: one.__qualname__)
def test_text_gives_the_same_results_as_the_function(function: Callable[..., Any]) -> None:
    captured = capture(function)
    image = pixels()
    found = executed(captured)(image)
    expected_image = pixels()
    expected = function(expected_image)
    assert np.array_equal(image, expected_image)
    if expected is None:
        assert found is None
    else:
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        assert np.array_equal(found, expected, equal_nan=np.asarray(expected).dtype.kind == "f")
