"""Capture: the text of a function gives the same results wherever it is executed."""

from __future__ import annotations

import itertools
import linecache
import math
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
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

from geoloom.block import Block
from geoloom.capture import Captured, capture
from geoloom.capture.definition import HEADER
from geoloom.errors import FunctionFailed, FunctionNotSent
from geoloom.given import Given
from geoloom.grid import Tile
from geoloom.harness import Function

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


def stubble(v4=1000, v6=1200, v8=1200, v11_1=500, v11_2=1600):
    global img
    img = numpy.ones_like(band0)  # noqa: F821
    img[band0 > v4] = 0  # noqa: F821
    img[band1 > v6] = 0  # noqa: F821
    img[band2 > v8] = 0  # noqa: F821
    img[band3 <= v11_1] = 0  # noqa: F821
    img[band3 >= v11_2] = 0  # noqa: F821


def newer_stubble(img, v4, v6, v8, v11min, v11max):
    b4, b6, b8, b11 = img[0], img[1], img[2], img[3]
    res = numpy.ones_like(b4)
    res[b4 >= v4] = 0
    res[b6 >= v6] = 0
    res[b8 >= v8] = 0
    res[numpy.logical_or(b11 <= v11min, b11 >= v11max)] = 0
    return res


def window() -> Given:
    grid = Tile(12, 2200, 1400).grid()
    data = np.random.default_rng(5).integers(0, 2000, (4, *grid.shape)).astype(np.uint16)
    return Given.of(Block.of(data, np.ones((1, *grid.shape), np.bool_)), ("B04", "B06", "B08", "B11"), grid)


def run(captured: Captured, *args: Any, **kwargs: Any) -> Any:
    captured.check_arguments(args, kwargs)
    return Function(captured.source, captured.name, captured.modules).call(window(), args, kwargs).data


def test_both_published_styles_in_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a notebook calls so has no place in the older style.
    monkeypatch.setitem(globals(), "img", object())
    monkeypatch.setitem(globals(), "band0", np.zeros(3))
    older, newer = capture(stubble), capture(newer_stubble)
    assert (older.older_style, newer.older_style) == (True, False)
    assert older.modules == newer.modules == ("numpy",)
    assert "band0 =" not in older.source
    result = run(older, 999, 1199, 1199)
    assert result.any()
    assert np.array_equal(result, run(newer, 1000, 1200, 1200, 500, 1600))


def test_numpy_is_there_though_the_notebook_has_none() -> None:
    space = cell("def f(img):\n    return np.where(img[0] > 3, numpy.pi, 0)")
    captured = capture(space["f"])
    assert captured.source.startswith(f"{HEADER}\n\nimport numpy\nimport numpy as np\n\n\ndef f(img):")
    assert run(captured).shape == (1, 256, 256)


@pytest.mark.parametrize("function", ZOO, ids=lambda one: one.__qualname__)
def test_text_is_the_same_again_and_is_one_for_the_harness(function: Callable[..., Any]) -> None:
    captured = capture(function)
    assert capture(function) == captured
    assert list(captured.modules) == sorted(set(captured.modules))
    compiled = Function(captured.source, captured.name, captured.modules)
    lines = captured.source.split("\n")
    assert (
        lines[captured.lines[captured.name] - 1].lstrip().startswith((f"def {captured.name}", captured.name))
    )
    assert compiled.older_style == captured.older_style


numbers = itertools.count()


def cell(text: str, **given: Any) -> dict[str, Any]:
    """What a text defines, as a cell would."""
    file = f"/notebook/cell_{next(numbers)}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space = {"__name__": "__main__", **given}
    exec(compile(text, file, "exec", dont_inherit=True), space)
    return space


NOTEBOOK = """
import math, numpy
import numpy as np
import scipy
from scipy import ndimage as nd
from numpy import where as choose, float32
unused = open
LIMITS = {"low": (1, 2.5), "names": {"b", "a"}}
weights = np.array([[0, 1], [1, 0]])
late = 0.1
def smooth(band, w=weights):
    return nd.convolve(band, w)  # at the edges: reflect
def mark(band):
    return choose(band > LIMITS["low"][1], scipy.ndimage.label(band)[0], np.nan)
rules = {"mark": mark, "root": math.sqrt}
blur = smooth
def f(img, by=late):
    return rules["mark"](blur(img[0])).astype(float32) * by
late = 0.2
"""

TEXT = """\
from __future__ import annotations

from math import sqrt
from numpy import float32
from numpy import where as choose
from scipy import ndimage as nd
import numpy as np
import scipy
import scipy.ndimage

LIMITS = {'low': (1, 2.5), 'names': {'a', 'b'}}
weights = np.array([[0, 1], [1, 0]], 'int64')


def mark(band):
    return choose(band > LIMITS["low"][1], scipy.ndimage.label(band)[0], np.nan)


rules = {'mark': mark, 'root': sqrt}


def smooth(band, w=weights):
    return nd.convolve(band, w)  # at the edges: reflect
blur = smooth


def f(img, by=None):
    return rules["mark"](blur(img[0])).astype(float32) * by
f.__defaults__ = (0.1,)
"""


def test_the_text_as_a_whole() -> None:
    captured = capture(cell(NOTEBOOK)["f"])
    assert captured.source == TEXT
    assert captured.modules == ("math", "numpy", "scipy")
    assert captured.lines == {"mark": 15, "smooth": 22, "f": 27}


def test_what_else_a_notebook_holds_changes_nothing() -> None:
    text = "N = 3\ndef g(x):\n    return x + N\ndef f(img):\n    return g(img[0])"
    one = capture(cell(text)["f"])
    two = capture(cell(f"\n\nM = 5\n{text}\nN = 2 + 1\nother = f\ndef h(): pass")["f"])
    assert one == two
    assert hash(one) == hash(two)
    assert capture(cell(f"{text}\nN = 4")["f"]) != one


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of one's own, which functions use."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_tools.py").write_text(
        "import numpy as np\nimport own_more\nOFFSET = 5\nNAMES = ['a']\n"
        "def index(a, b):\n    return (a - b) / (a + b + OFFSET)\n"
        "def classes(v):\n    return np.digitize(v, own_more.EDGES)\n"
        "def falling(x, n=2):\n    return x if n == 0 else falling(x * OFFSET, n - 1)\n"
    )
    (tmp_path / "own_more.py").write_text("EDGES = [0.0, 0.3]\nscale = lambda x: x * 2\n")
    yield
    for name in ("own_tools", "own_more"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "text",
    [
        "import own_tools\ndef f(img):\n    return own_tools.classes(own_tools.index(img[0], img[1]))",
        "import own_tools as t\ndef f(img):\n    return t.own_more.scale(img[0]) + len(t.NAMES) + t.OFFSET",
        "from own_tools import *\ndef f(img):\n    return index(img[0], img[1]) + OFFSET",
        "from own_tools import index as i\nOFFSET = 9\ndef f(img):\n    return i(*img[:2]) + OFFSET",
        "from own_tools import falling as own\ndef falling(img):\n    return own(img[0])\nf = falling",
        "import own_tools as t\ndef index(img):\n    return t.index(*img[:2])\nf = index",
        "from own_tools import index\na = [lambda *x: index(*x)]\ndef f(img):\n    return a[0](*img[:2])",
        "import own_tools as t\ndef f(img, by=t.OFFSET, how=t.index):\n    return how(*img[:2]) + by",
    ],
    ids=["module", "module in a module", "star", "two offsets", "two names", "same name", "list", "default"],
)
def test_modules_of_ones_own_come_along(tools: None, text: str) -> None:
    function = cell(text)["f"]
    captured = capture(function)
    expected = function(pixels())
    for name in ("own_tools", "own_more"):
        sys.modules[name] = None  # type: ignore[assignment]
    assert np.array_equal(executed(captured)(pixels()), expected)
    assert set(captured.modules) <= {"numpy"}


def test_defaults_are_those_of_the_def() -> None:
    text = "N = 3\ndef f(img, n=N, *, m=N * 2):\n    return img[0] * 0 + n + m + N\nN = 100"
    captured = capture(cell(text)["f"])
    assert executed(captured)(pixels()).max() == 3 + 6 + 100


@pytest.mark.parametrize(
    "text",
    [
        "n = 3\ndef f(img, by=n * 2):\n    return img[0] * 0 + by\ndel n",
        "c = {'a': 6}\ndef f(img, by=c['a']):\n    return img[0] * 0 + by\nc = {'b': 1}",
        "t = [1, 6]\ndef f(img, *, by=t[1], ü='é', more=t):\n    return img[0] * 0 + by\nt = [0]",
        "t = [1, 6]\ndef f(img, a=1, é=(\n        t\n        [1]  # six\n), b=2):\n"
        "    return img[0] * 0 + é\nt = 5",
        "t = [1, 6]\nf = lambda img, by=t[1], *, more=t[0]: img[0] * 0 + by + more - 1\nt = 0",
        "class Table:\n    value = 6\nt = Table()\ndef f(img, by=t.value):\n    return img[0] * 0 + by",
    ],
)
def test_a_default_is_its_value_whatever_it_was_computed_from(text: str) -> None:
    captured = capture(cell(text)["f"])
    assert np.unique(executed(captured)(pixels())).tolist() == [6]


def test_a_nameless_function_may_use_what_is_called_function() -> None:
    text = "def per_band(function):\n    return lambda img: function(img[0])\nf = [per_band(np.negative)]"
    captured = capture(cell("import numpy as np\n" + text)["f"][0])
    np.testing.assert_array_equal(executed(captured)(pixels()), -pixels()[0])


@pytest.mark.parametrize(
    "text",
    [
        "def around(n):\n    def inner(x):\n        return x * n\n    return inner\n"
        "two, five = around(2), around(5)\ndef f(img):\n    return two(img[0]) + five(img[1])",
        "n = 1\ndef around(n):\n    def inner(x):\n        return x * n\n    return inner\n"
        "two = around(2)\ndef f(img):\n    return two(img[0]) + n",
        "def around(g, k=[lambda x: x + 1]):\n    def f(img):\n        return g(k[0](img[0]))\n    return f\n"
        "f = around(lambda x: x * 2)",
        "def f(img):\n    return img[0] * 2\ndef around(g):\n    def f(img):\n        return g(img) + 1\n"
        "    return f\nf = around(f)",
        "def around():\n    falling = lambda x, n=2: x if n == 0 else falling(x * 2, n - 1)\n"
        "    return falling\nf = around()",
        "def f(img, g=lambda x: x + 1):\n    return g(img[0])",
        "import numpy as np\ndef around(np):\n    def f(img):\n        return img[0] * np\n    return f\n"
        "g = around(3)\ndef f(img):\n    return g(img) + np.ones(3, int)[0]",
    ],
    ids=["two", "a global too", "functions", "same name", "recursive lambda", "default", "module's name"],
)
def test_functions_keep_what_was_around_them(text: str) -> None:
    function = cell(text)["f"]
    assert np.array_equal(executed(capture(function))(pixels()), function(pixels()))


def test_inner_functions_that_need_each_other_are_refused() -> None:
    text = (
        "def around():\n    def f(img, n=2):\n        return g(img, n)\n"
        "    def g(img, n):\n        return f(img, n - 1) if n else img\n    return f\nf = around()"
    )
    with pytest.raises(FunctionNotSent, match="two of the functions it uses need each other to be defined"):
        capture(cell(text)["f"])


def test_names_of_builtins_that_a_notebook_took_are_the_notebooks() -> None:
    text = (
        "list, float, frozenset = [1, 2], 2.5, 7\ntable = {'inf': 1e999, 'set': {1}}\n"
        "def f(img):\n    return img[0] * list[1] + float + frozenset + (table['inf'] > 3)"
    )
    function = cell(text)["f"]
    assert np.array_equal(executed(capture(function))(pixels()), function(pixels()))


def test_a_failure_names_the_line_as_it_was_written() -> None:
    text = (
        "N = [1]\ndef helper(x):\n    # why\n    return N[5]  # too far\ndef f(img):\n    return helper(img)"
    )
    with pytest.raises(FunctionFailed) as caught:
        run(capture(cell(text)["f"]))
    failure = caught.value
    assert (failure.function, failure.line, failure.text) == ("helper", 3, "return N[5]  # too far")


def test_capturing_asks_nothing_of_the_users_objects() -> None:
    class Trap:
        def _fail(self, *args: Any) -> Any:
            raise AssertionError("capture asked an object of the user's")

        __getattribute__ = __eq__ = __bool__ = __len__ = __repr__ = __iter__ = __array__ = _fail  # type: ignore[assignment]
        __hash__ = None  # type: ignore[assignment]

    space = cell("def f(img):\n    return img[0] + N", N=3, trap=Trap())
    assert "N = 3" in capture(space["f"]).source
    space["N"] = Trap()
    with pytest.raises(FunctionNotSent, match="N is an object of class Trap"):
        capture(space["f"])


ARGUMENTS: list[tuple[str, tuple[Any, ...], dict[str, Any], str | None]] = [
    ("def f(img, a, b=2): 1", (1,), {}, None),
    ("def f(img, a, b=2): 1", (1,), {"b": 3}, None),
    ("def f(img, a, b): 1", (), {}, "f needs a and b. Its arguments after the image are: a, b."),
    ("def f(img, a, b, c): 1", (1,), {}, "f needs b and c."),
    ("def f(img, a): 1", (1, 2), {}, "f takes 1 argument after the image, not 2."),
    ("def f(img): 1", (1,), {}, "f takes 0 arguments after the image, not 1. Its arguments"),
    ("def f(img, limit=3): 1", (), {"limt": 1}, "f has no argument limt. Did you mean limit?"),
    ("def f(img, a): 1", (1,), {"a": 2}, "f is given a twice."),
    ("def f(img, valid, a): 1", (1,), {}, None),
    ("def f(img, a, *, bands, grid): 1", (1,), {}, None),
    ("def f(img, valid): 1", (1,), {}, "f takes 0 arguments after the image, not 1."),
    ("def f(img, *rest, k, **more): 1", (1, 2), {"k": 1, "z": 2}, None),
    ("def f(img, *rest, k): 1", (1, 2), {}, "f needs k."),
    ("def f(img, a, /, b): 1", (1,), {"a": 2}, "f has no argument a."),
    ("def f(v=1):\n    global img\n    img = band0 > v", (3,), {}, None),
    ("def f(v=1):\n    global img\n    img = band0 > v", (3, 4), {}, "f takes 1 argument, not 2."),
    ("lambda img, n: img > n", (), {}, "function needs n."),
]


@pytest.mark.parametrize(("text", "args", "kwargs", "message"), ARGUMENTS)
def test_arguments_are_compared_with_the_parameters(
    text: str, args: tuple[Any, ...], kwargs: dict[str, Any], message: str | None
) -> None:
    captured = capture(text)
    if message is None:
        captured.check_arguments(args, kwargs)
    else:
        with pytest.raises(FunctionNotSent) as caught:
            captured.check_arguments(args, kwargs)
        assert str(caught.value).startswith(message)


GIVEN_AS_TEXT = '''
    # what it is for
    import numpy as np
    from scipy import ndimage as nd
    N = 3

    def helper(x: int) -> "Missing":
        return nd.uniform_filter(x, N)

    def f(img, n=N):
        """Why."""
        return helper(img[0]) > n
'''


def test_a_function_given_as_text() -> None:
    captured = capture(GIVEN_AS_TEXT)
    assert captured.modules == ("numpy", "scipy")
    assert captured.source.startswith(f"{HEADER}\n\n# what it is for\nimport numpy as np\n")
    lines = captured.source.split("\n")
    assert [lines[captured.lines[name] - 1][:8] for name in ("helper", "f")] == ["def help", "def f(im"]
    assert np.array_equal(run(captured), run(capture(cell(textwrap.dedent(GIVEN_AS_TEXT))["f"])))
    assert capture(captured.source) == captured


def test_lambdas_and_the_older_style_as_text() -> None:
    assert run(capture("lambda img, n: img[0] > n"), 5).any()
    assert run(capture("lambda img: (\n  img[0]\n)")).any()
    assert run(capture("f = lambda img: img[0]")).any()
    captured = capture("def f(v=1):\n    global img\n    img = band0 > v")
    assert captured.older_style
    assert run(captured, 3).any()


def test_too_long_a_text_is_refused() -> None:
    tables = "".join(f"t{i} = '{'x' * 250_000}'\n" for i in range(5))
    with pytest.raises(FunctionNotSent, match=r"1,250,\d+ bytes long; 1,048,576 can be sent"):
        capture(cell(tables + "def f(img):\n    return img, t0, t1, t2, t3, t4")["f"])
