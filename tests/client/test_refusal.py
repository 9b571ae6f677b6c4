"""Refusal: whoever sends what cannot travel reads what is wrong, in which line, and what to do."""

from __future__ import annotations

import functools
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import sobel

from geoloom.capture import capture
from geoloom.errors import FunctionNotSent
from geoloom.image import Image

Cell = Callable[..., dict[str, Any]]

numbers = count()


@pytest.fixture
def cell() -> Iterator[Cell]:
    """Runs a text as a module that was typed somewhere, and gives what it defines."""
    files = []

    def run(text: str, **given: Any) -> dict[str, Any]:
        file = f"/notebook/cell_{next(numbers)}.py"
        files.append(file)
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        space = {"__name__": "__main__", **given}
        exec(compile(text, file, "exec", dont_inherit=True), space)
        return space

    yield run
    for file in files:
        linecache.cache.pop(file, None)


CASES: dict[str, tuple[str, str, str]] = {
    "a name that is misspelt": (
        "treshhold = 3\ndef f(img):\n    return img[0] > treshold",
        "f cannot be sent to the engine: treshold is not defined (line 2: return img[0] > treshold).",
        "Did you mean treshhold?",
    ),
    "a name that nobody knows": (
        "def f(img):\n    def inner(b):\n        return b - qqqq\n    return inner(img)",
        "qqqq is not defined (line 3: return b - qqqq)",
        "Define it in the notebook first, or pass it as an argument.",
    ),
    "a module that was not imported": (
        "def f(img):\n    return math.sqrt(3) * img",
        "math is not imported (line 2: ",
        "Run `import math` in the notebook first.",
    ),
    "an alias that was not imported": (
        "def f(img):\n    return nd.sobel(img)",
        "nd is not imported",
        "Run `from scipy import ndimage as nd` first.",
    ),
    "the mask as a global": (
        "def f(img):\n    return img[0] * valid",
        "valid is not defined",
        "Give the function a parameter of that name to get it: def f(img, valid).",
    ),
    "bands in a function that is called": (
        "def f(img):\n    return helper()\ndef helper():\n    return band0",
        "band0 is not defined (line 2 of helper: return band0)",
        "Only a function that uses band0, band1, … itself finds them",
    ),
    "img in place of the parameter": (
        "def f(image, n):\n    return img[0] > n",
        "img is not defined in it (line 2: return img[0] > n)",
        "The image is its first parameter, image: write image instead of img.",
    ),
    "no parameter and img": (
        "def f():\n    return img[0] > 5",
        "img is not defined in it",
        "The image is its first parameter: def f(img).",
    ),
    "both styles in one": (
        "def f(img, n):\n    # why\n    return img[0] > band1",
        "it has a parameter img, and uses band1 as functions without one do (line 3: return img[0] > band1)",
        "Write img[1] instead of band1.",
    ),
    "a decorator": (
        "def same(f):\n    return f\n@same\ndef f(img):\n    return img",
        "@same stands above its def, and decorators cannot come along (line 1: def f(img):)",
        "Take the decorator off and run the cell again.",
    ),
    "a decorator that wraps": (
        "import functools\ndef timed(g):\n    @functools.wraps(g)\n    def inner(*a):\n        return g(*a)\n"
        "    return inner\n@timed\ndef f(img):\n    return img",
        "f cannot be sent to the engine: @timed stands above its def",
        "Take the decorator off",
    ),
    "a decorator that hides": (
        "def timed(g):\n    def inner(*a):\n        return g(*a)\n    return inner\n"
        "@timed\ndef f(img):\n    return img",
        "f cannot be sent to the engine: @timed stands above its def",
        "Take the decorator off",
    ),
    "a generator": (
        "def f(img):\n    for band in img:\n        yield band",
        "it is a generator, since it has yield (line 3: yield band)",
        "numpy.stack([a, b])",
    ),
    "an async function": (
        "async def f(img):\n    return img",
        "it is an async function (line 1: async def f(img):)",
        "Write it with def alone.",
    ),
    "a function of a class": (
        "class A:\n    def f(self, img):\n        return img\nf = A.f",
        "it is a method of class A (line 1: def f(self, img):)",
        "outside the class",
    ),
    "a class of numbers": (
        "class T:\n    low = 3\ndef f(img):\n    return img > T.low",
        "T is a class (line 2: return img > T.low)",
        "put its numbers into a dict",
    ),
    "an object of a class": (
        "class T:\n    low = 3\nt = T()\ndef f(img):\n    return img > t.low",
        "t is an object of class T (line 2: return img > t.low)",
        "t_low = t.low",
    ),
    "a model": (
        "class M:\n    pass\nm = M()\ndef f(img):\n    return m.predict(img)",
        "m is an object of class M",
        "Take the values you need out of it in the notebook",
    ),
    "an open file in a closure": (
        "def around(file):\n    def f(img):\n        # why\n        return img + len(file.read())\n"
        "    return f\nimport io\nf = around(io.StringIO())",
        "file is an open file (StringIO) (line 3: return img + len(file.read()))",
        "read it in the notebook, and use what was read",
    ),
    "a big array": (
        "import numpy as np\nbig = np.zeros((1000, 1000))\ndef f(img):\n    return img + big",
        "big is an array of shape (1000, 1000) and 8.0 MB, and only 64 kB may come along (line 2: ",
        "gl.stack(image, gl.open(…))",
    ),
    "a table of pandas": (
        "def f(img):\n    return table",
        "table is a pandas DataFrame (line 2: return table)",
        "table_values = table.to_numpy()",
    ),
    "pandas itself": (
        "def f(img):\n    return pd.DataFrame(img)",
        "it uses pandas, and functions may not use that in the engine (line 2: ",
        'Functions may use numpy, math, scipy, skimage. If the engine\'s operator allows it more '
        '(GEOLOOM_FUNCTION_MODULES), say so: image.execute(f, modules="pandas").',
    ),
    "an import inside": (
        "def f(img):\n    if img:\n        import os.path\n    return img",
        "it uses os.path, and functions may not use that in the engine (line 3: import os.path)",
        "There are no files in the engine",
    ),
    "a relative import": (
        "def f(img):\n    from . import tools\n    return img",
        "relative imports lead nowhere in the engine (line 2: from . import tools)",
        "by its full name",
    ),
    "__import__": (
        "def f(img):\n    return __import__('os')",
        "it uses os, and functions may not use that",
        "Functions may use numpy",
    ),
    "a function of the standard library": (
        "from statistics import median\ndef f(img):\n    return median(img)",
        "it uses median, which is of statistics",
        "numpy has mean, median, std and more.",
    ),
    "open": (
        "def f(img):\n    return open('a')",
        "it uses open, which is not there in the engine (line 2: return open('a'))",
        "There are no files in the engine",
    ),
    "input": (
        "def f(img):\n    return input()",
        "it uses input, which is not there in the engine",
        "image.execute(f, value)",
    ),
    "a partial": (
        "import functools\ng = functools.partial(max, 1)\ndef f(img):\n    return g(img)",
        "g is a functools.partial",
        "def g(x): return …",
    ),
    "an object of scipy": (
        "from scipy.interpolate import interp1d\ncurve = interp1d([0, 1], [1, 2])\n"
        "def f(img):\n    return curve(img)",
        "curve is an interp1d object of scipy",
        "Make it inside the function.",
    ),
    "a counter": (
        "from collections import Counter\nc = Counter()\ndef f(img):\n    return c[0]",
        "c is a Counter (a kind of dict)",
        "c = dict(c)",
    ),
    "a method of an object": (
        "class A:\n    def g(self): pass\ng = A().g\ndef f(img):\n    return g()",
        "g is a method of an object",
        "Only plain functions",
    ),
    "no parameter": ("def f():\n    return 1", "f has no parameter for the image", "def f(img)"),
    "a helper whose text is gone": (
        "exec('def g(x): return x')\ndef f(img):\n    return g(img)",
        "g: its text cannot be found; it was made by exec",
        "in a .py file",
    ),
    "a default that cannot be sent": (
        "class A:\n    pass\ndef f(img, by=A()):\n    return img",
        "the default of by is an object of class A (line 1: def f(img, by=A()):)",
        "pass it as an argument",
    ),
    "a default that was an object": (
        "def make():\n    return object()\ndef f(img, *, by=make()):\n    return img",
        "the default of by is an object of class object (line 1",
        "pass it as an argument",
    ),
    "a value that is not set": (
        "def around():\n    def f(img):\n        return late\n    if 0:\n        late = 1\n    return f\n"
        "f = around()",
        "late of the function around it has no value yet (line 2: return late)",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_cell_is_refused_with_reason_line_and_what_to_do(cell: Cell, case: str) -> None:
    text, reason, hint = CASES[case]
    # As `import pandas as pd` would give them.
    frame = type("DataFrame", (), {"__module__": "pandas.core.frame"})
    function = cell(text, pd=types.ModuleType("pandas"), table=frame())["f"]
    with pytest.raises(FunctionNotSent) as caught:
        capture(function)
    assert reason in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_function_that_calls_another_of_its_name_is_refused(cell: Cell) -> None:
    space = cell("def f(img):\n    return f(img)\nfirst = f\ndef f(img):\n    return img\n")
    with pytest.raises(FunctionNotSent, match=r"f stands for something else by now \(line 2") as caught:
        capture(space["first"])
    assert "Run the cell with its def again" in (caught.value.hint or "")


def test_an_image_is_refused_with_the_way_to_use_its_bands(cell: Cell) -> None:
    space = cell("def f(img):\n    return img[0] + dem", dem=object.__new__(Image))
    with pytest.raises(FunctionNotSent, match=r"dem is an Image, .* gl\.stack\(image, dem\)\.execute"):
        capture(space["f"])


def test_a_module_of_ones_own_that_is_imported_inside(cell: Cell, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own_tools.py").write_text("N = 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    space = cell("def f(img):\n    from own_tools import N\n    return img + N")
    with pytest.raises(FunctionNotSent, match=r"own_tools .* a file of yours .*outside the function"):
        capture(space["f"])
    assert "own_tools" not in sys.modules


class Callme:
    """Something that can be called."""

    def __call__(self, img: Any) -> Any:
        return img

    method = __call__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.sqrt, r"numpy\.sqrt is not a function of your own.*def f\(img\): return numpy\.sqrt\(img\)"),
        (np.mean, r"numpy\.mean is not"),
        (len, r"len is not"),
        (sobel, r"scipy\.ndimage\.sobel is not"),
        (functools.partial(max, 1), r"functools\.partial.*image\.execute\(f, 1000, limit=5\)"),
        (functools.lru_cache(lambda img: img), r"wrapped by lru_cache.*Take the decorator off"),
        (np.vectorize(max), r"numpy\.vectorize.*whole arrays"),
        (Callme, r"Callme is a class"),
        (Callme(), r"object of class Callme"),
        (Callme().method, r"A method of an object.*outside the class"),
        (None, r"A function is wanted, not None.*not image\.execute\(f\(1000\)\)"),
        (np.zeros(3), r"A function is wanted, not an ndarray"),
        (types.SimpleNamespace(), r"A function is wanted, not a SimpleNamespace"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_is_no_function_of_ones_own_is_refused(given: Any, message: str) -> None:
    with pytest.raises(FunctionNotSent, match=message):
        capture(given)


def test_an_image_where_a_function_is_wanted() -> None:
    with pytest.raises(FunctionNotSent, match=r"An image of geoloom.*without calling it"):
        capture(object.__new__(Image))  # type: ignore[arg-type]


def test_what_is_nested_too_deep_is_refused(cell: Cell) -> None:
    with pytest.raises(FunctionNotSent, match="nested too deep"):
        capture(cell(f"def f(img, by={'+'.join(['len([1])'] * 900)}):\n    return img")["f"])


def test_more_modules_can_be_allowed(cell: Cell) -> None:
    space = cell("import statistics\ndef f(img):\n    return statistics.median([1, 2, 3]) + img")
    assert capture(space["f"], ["numpy", "statistics"]).modules == ("statistics",)


TEXTS = [
    (
        "def f(img, n):\n    return img[img<=n] = 0",
        "an assignment has no value to return (line 2: return img[img<=n] = 0)",
        "Write img[img <= n] = 0 in a line of its own, and then return img.",
    ),
    ("def f(img):\n    return img += 1  # so", "no value to return", "Write img += 1 in a line of its own"),
    ("def f(img)\n    return img", "Python cannot read it, expected ':' (line 1: def f(img))", ""),
    ("def f(img):\nreturn img", "expected an indented block", ""),
    ("img[0] > 3", "The text defines no function", "def f(img): return"),
    ("f = 3", "The text defines no function", ""),
    ("print(1)\ndef f(img): return img", "more than define a function (line 1 of the text: print(1))", ""),
    ("class A: pass\ndef f(img): return img", "A is a class (line 1 of the text", "functions and dicts"),
    (
        "def f(img):\n    return img + N",
        "N is not defined (line 2 of the text: return img + N)",
        "in the text",
    ),
    (
        "N = 1\ndef f(a):\n    return img",
        "img is not defined in it (line 3 of the text",
        "write a instead of img",
    ),
    ("@a\ndef f(img): return img", "@a stands above its def", "Take the decorator off"),
    ("def f(img): yield img", "it is a generator", ""),
    ("async def f(img): return img", "async function", ""),
    ("import os\ndef f(img): return img", "it uses os", "Functions may use"),
    ("from numpy import *\ndef f(img): return img", "does not say what is used (line 1", "import numpy"),
    ("def f(img):\n    return open('a')", "it uses open", "no files"),
    ("stubble", "'stubble' is the name of a function", "image.execute(stubble, …)"),
    ("def f(img):\n    return '\0'", "cannot be sent|cannot be read", ""),
    ("", "The text defines no function", ""),
]


@pytest.mark.parametrize(("text", "reason", "hint"), TEXTS, ids=[one[0] for one in TEXTS])
def test_a_text_is_refused_with_reason_line_and_what_to_do(text: str, reason: str, hint: str) -> None:
    with pytest.raises(FunctionNotSent) as caught:
        capture(text)
    assert any(one in caught.value.message for one in reason.split("|"))
    assert hint in (caught.value.hint or "")
