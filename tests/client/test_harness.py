from __future__ import annotations

import builtins
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from geoloom.block import Block
from geoloom.errors import FunctionFailed
from geoloom.grid import Tile
from geoloom.harness import PRINT_LIMIT, Function, Given

GRID = Tile(12, 2200, 1400).grid()

STUBBLE = """
import numpy
def stubble(img, v4, v6, v8, v11min, v11max):
    b4, b6, b8, b11 = img[0], img[1], img[2], img[3]
    res = numpy.ones_like(b4)
    res[b4 >= v4] = 0
    res[b6 >= v6] = 0
    res[b8 >= v8] = 0
    res[numpy.logical_or(b11 <= v11min, b11 >= v11max)] = 0
    return res
"""

OLDER = """
def stubble(v4=1000, v6=1200, v8=1200, v11_1=500, v11_2=1600):
    global img
    img = numpy.ones_like(band0)
    img[band0 > v4] = 0
    img[band1 > v6] = 0
    img[band2 > v8] = 0
    img[band3 <= v11_1] = 0
    img[band3 >= v11_2] = 0
"""


def given(bands: int = 4, margin: int = 0, dtype: str = "uint16", holes: bool = False) -> Given:
    grid = GRID.expand(margin)
    random = np.random.default_rng(7)
    data = random.integers(0, 2500, (bands, *grid.shape)).astype(dtype)
    valid = random.random((1, *grid.shape)) > 0.01 if holes else np.ones((1, *grid.shape), np.bool_)
    return Given.of(Block.of(data, valid), tuple(f"b{i}" for i in range(bands)), GRID, margin)


def run(text: str, window: Given | None = None, *args: Any, **how: Any) -> Any:
    name = text.split("def ")[-1].split("(")[0]
    return Function(text, name).call(window or given(), args, **how)


def failure(text: str, window: Given | None = None, *args: Any, **how: Any) -> FunctionFailed:
    with pytest.raises(FunctionFailed) as caught:
        run(text, window, *args, **how)
    return caught.value


def test_both_published_styles_work_verbatim() -> None:
    bands = given().data
    wanted = (bands[0] < 1000) & (bands[1] < 1200) & (bands[2] < 1200) & (bands[3] > 500) & (bands[3] < 1600)
    assert wanted.any()
    found = run(STUBBLE, None, 1000, 1200, 1200, 500, 1600)
    assert found.data.dtype == np.int32
    assert np.array_equal(found.data, wanted[np.newaxis])
    older = run(OLDER, None, 999, 1199, 1199)
    assert np.array_equal(older.data, found.data)


def test_small_integers_do_not_wrap() -> None:
    text = "def f(img): return img[0] - img[1]"
    window = given(2, dtype="uint16")
    assert (run(text, window).data == window.data[0] - window.data[1]).all()
    assert run(text, window).data.min() < 0


def test_an_image_changed_in_place_is_the_result_of_none() -> None:
    window = given(2)
    before = window.data.copy()
    assert np.array_equal(run("def f(img):\n    img += 5", window).data, before + 5)


def test_what_a_global_holds_ends_with_the_call() -> None:
    text = "seen = []\ndef f(img):\n    seen.append(1)\n    return img[:1] * 0 + len(seen)"
    function = Function(text, "f")
    assert [int(function.call(given()).data[0, 0, 0]) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "def f(img, seen=[]):\n    seen.append(1)\n    return img[0] * 0 + len(seen)",
        "def f(img, *, seen=[]):\n    seen.append(1)\n    return img[0] * 0 + len(seen)",
        "def f(img, cache={}):\n    cache[img[0].sum()] = 1\n    return img[0] * 0 + len(cache)",
        "def f(seen=[]):\n    global img\n    seen.append(1)\n    img = band0 * 0 + len(seen)",
        "SEEN = []\ndef g():\n    SEEN.append(1)\n    return len(SEEN)\n"
        "def f(img, how=g):\n    return img[0] * 0 + how()",
        "def f(img, weight=np.ones(1, int)):\n    weight += 1\n    return img[0] * 0 + weight - 1",
    ],
)
def test_what_a_default_holds_ends_with_the_call(text: str) -> None:
    function = Function(text, "f")
    for _ in range(3):
        assert np.unique(function.call(given()).data).tolist() == [1]


def test_random_numbers_repeat() -> None:
    text = "import numpy as np\ndef f(img):\n    return np.random.random(img.shape[1:])"
    assert np.array_equal(run(text).data, run(text).data)


def test_what_is_asked_for_by_name_is_given() -> None:
    text = """
def f(img, scale, valid, grid, bands):
    assert valid.shape == img.shape and bands == ["b0", "b1"] and grid.margin == 2
    return valid[0] * grid.pixel_width * scale
"""
    window = given(2, margin=2, holes=True)
    found = run(text, window, 3.0)
    assert np.array_equal(
        found.data[0], (window.valid[0] * window.grid.expand(2).ground_resolution()[0] * 3)[2:-2, 2:-2]
    )


def test_neighbourhoods_show_no_seams() -> None:
    text = """
from scipy import ndimage as nd
def f(img):
    return nd.gaussian_filter(img[0] * 1.0, 1.0, truncate=3)
"""
    window = given(1, margin=3)
    whole = ndimage.gaussian_filter(window.data[0] * 1.0, 1.0, truncate=3)[3:-3, 3:-3]
    assert np.array_equal(run(text, window).data[0], whole)


def test_a_pixel_is_valid_where_all_bands_are_within_the_margin() -> None:
    window = given(2, margin=1, holes=True)
    wanted = ndimage.minimum_filter(window.valid[0], 3)[1:-1, 1:-1]
    assert not wanted.all()
    assert np.array_equal(run("def f(img): return img", window).valid[0], wanted)
    own = run("def f(img, valid): return img", window)
    assert np.array_equal(own.valid[0], window.valid[0, 1:-1, 1:-1])


def test_a_masked_array_brings_its_own_validity() -> None:
    text = "import numpy as np\ndef f(img):\n    return np.ma.masked_less(img, 1000)"
    window = given(2, holes=True)
    found = run(text, window)
    assert np.array_equal(found.valid, window.data >= 1000)


@pytest.mark.parametrize(
    ("body", "shape"),
    [("img[0]", 1), ("img", 4), ("img[:2] > 5", 2), ("3", 1), ("[img[0], img[1]]", 2), ("img[0].sum()", 1)],
)
def test_shapes_of_results(body: str, shape: int) -> None:
    assert run(f"def f(img): return {body}").data.shape == (shape, 256, 256)


def test_a_result_may_leave_the_margin_out() -> None:
    window = given(1, margin=2)
    assert np.array_equal(
        run("def f(img): return img[:, 2:-2, 2:-2]", window).data, run("def f(img): return img", window).data
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("img[0, :5]", "shape (5, 256)"),
        ("img[:, :, :5]", "shape (4, 256, 5)"),
        ("img[:0]", "shape (0, 256, 256)"),
        ("img[None]", "shape (1, 4, 256, 256)"),
        ("'text'", "type str"),
        ("img * 1j", "complex128"),
        ("img.astype(object)", "object"),
        ("{}", "type dict"),
    ],
)
def test_what_no_image_can_hold_is_told(body: str, words: str) -> None:
    assert words in failure(f"def f(img): return {body}").message


def test_a_failure_names_the_line_of_the_function() -> None:
    error = failure("import numpy\n\ndef f(img):\n    # a comment\n    return img[9]")
    assert (error.function, error.line, error.text) == ("f", 3, "return img[9]")
    assert error.exception is not None
    assert error.exception.startswith("IndexError: index 9")
    assert error.message.startswith("f, line 3: IndexError: index 9")
    assert isinstance(error.__cause__, IndexError)


def test_a_failure_in_a_helper_names_the_helper() -> None:
    error = failure("def helper(a):\n    return a / None\n\ndef f(img):\n    return helper(img)")
    assert (error.function, error.line, error.text) == ("helper", 2, "return a / None")
    assert error.message.startswith("f, line 2 of helper: TypeError")


def test_a_failure_inside_numpy_names_the_line_that_called_it() -> None:
    error = failure("import numpy as np\ndef f(img):\n    a = np.zeros(3)\n    return np.linalg.inv(a)")
    assert (error.line, error.text) == (3, "return np.linalg.inv(a)")


def test_text_that_does_not_compile_is_told() -> None:
    error = failure("def f(img):\n    return img[img<=n] = 0")
    assert error.line == 2
    assert "SyntaxError" in error.message
    assert "defines no function f" in failure("g = 1\ndef f(img): pass\ndel f").message


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit(3)", "GeneratorExit"])
def test_nothing_a_function_raises_gets_through(raised: str) -> None:
    assert raised.partition("(")[0] in failure(f"def f(img): raise {raised}").message


def test_an_exception_cannot_misbehave() -> None:
    text = """
class Bad(Exception):
    def __str__(self):
        raise self
def f(img):
    raise Bad
"""
    assert failure(text).exception == "Bad"
    long = failure("def f(img): raise ValueError('x' * 10**6)")
    assert len(long.message) < 700


def test_modules_are_allowed_or_told() -> None:
    error = failure("def f(img):\n    import os\n    return img")
    assert "os cannot be imported" in error.message
    assert "numpy" in error.message
    assert error.line == 2
    with pytest.raises(FunctionFailed, match="subprocess"):
        Function("import subprocess\ndef f(img): return img", "f")
    text = "import json\ndef f(img): return img * json.loads('2')"
    assert (Function(text, "f", ["json"]).call(given()).data == given().data * 2).all()


def test_what_numpy_imports_late_needs_no_leave() -> None:
    # In a new process: numpy remembers what it has imported.
    code = """
import numpy as np
from geoloom.grid import Tile
from geoloom.harness import Function, Given
text = "def f(img):\\n    print(img[0, :1, :1], img.max())\\n    return img"
grid = Tile(12, 2200, 1400).grid()
window = Given(np.ones((1, *grid.shape)), np.ones((1, *grid.shape), bool), ("a",), grid)
print(Function(text, "f", ()).call(window).printed)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[[1.]] 1.0\n", done.stderr


def test_prints_are_caught_and_cut() -> None:
    found = run("def f(img):\n    print('mean', img.shape)\n    print('more')\n    return img")
    assert found.printed == "mean (4, 256, 256)\nmore"
    assert len(run("def f(img):\n    print('x' * 10**6)\n    return img").printed) <= PRINT_LIMIT + 1
    assert "sys" not in vars(builtins)


def test_prints_go_where_they_always_go_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("def f(img):\n    print('here')\n    return img", stop=breakpoint)
    assert found.printed == ""
    assert capsys.readouterr().out == "here\n"
    assert sys.stdout is not None


def test_a_declared_result_is_kept_to() -> None:
    assert run("def f(img): return img[0] > 5", dtype="uint8").data.dtype == np.uint8
    assert run("def f(img): return img[0] / 2", dtype="float32", bands=1).data.dtype == np.float32
    assert run("def f(img): return img[0] * 1.0", dtype="int32").data.dtype == np.int32
    error = failure("def f(img): return img[0] + 0.5", dtype="int32")
    assert "which int32 cannot hold" in error.message
    assert error.hint is not None
    assert 'dtype="float64"' in error.hint
    assert "which uint8 cannot hold" in failure("def f(img): return img[0] + 1000", dtype="uint8").message
    assert "which uint8 cannot hold" in failure("def f(img): return -1 - img[0] % 3", dtype="uint8").message
    assert "gave 4 bands here and 2 elsewhere" in failure("def f(img): return img", bands=2).message


def test_what_is_invalid_need_not_fit_a_declared_dtype() -> None:
    window = given(1, holes=True)
    text = "import numpy as np\ndef f(img, valid): return np.where(valid, 7.0, np.nan)[0]"
    found = run(text, window, dtype="uint8")
    assert np.array_equal(found.valid[0], window.valid[0])
    assert (found.data[0][window.valid[0]] == 7).all()
    assert (found.block().data[0][~window.valid[0]] == 0).all()


def test_a_function_object_of_a_cell_runs_in_place_of_the_text() -> None:
    def f(img):  # type: ignore[no-untyped-def]
        return img[9]

    text = "def f(img):\n    return img[9]"
    with pytest.raises(FunctionFailed) as caught:
        Function(text, "f", codes={"f": f.__code__}).call(given())
    assert (caught.value.line, caught.value.text) == (2, "return img[9]")
    frames = caught.value.__cause__.__traceback__ if caught.value.__cause__ else None
    files = set()
    while frames is not None:
        files.add(frames.tb_frame.f_code.co_filename)
        frames = frames.tb_next
    assert __file__ in files


def test_helpers_run_in_place_of_their_text_too_and_see_constants_of_functions_around_them() -> None:
    def around(limit):  # type: ignore[no-untyped-def]
        def inner(img):  # type: ignore[no-untyped-def]
            return img[0] * 0 + limit

        return inner

    text = "limit = 7\ndef inner(img):\n    return img[0] * 0 + limit\ndef f(img):\n    return inner(img)"
    codes = {"inner": around(3).__code__, "gone": around.__code__, "np": around.__code__}
    assert (Function(text, "f", codes=codes).call(given()).data == 7).all()
    assert (
        Function(text, "f", codes={"f": (lambda img: img * 0 + 9).__code__}).call(given()).data == 7
    ).all()
    without = text.replace("limit = 7", "").replace("+ limit", "+ 5")
    assert (Function(without, "f", codes=codes).call(given()).data == 5).all()


def test_a_lambda_is_called_by_its_name_and_those_within_are_not() -> None:
    with pytest.raises(FunctionFailed, match=r"^f, line 1: IndexError"):
        Function("f = lambda img: img[9]", "f").call(given())
    within = "def f(img):\n    return list(map(lambda i: img[i], [9]))[0]"
    with pytest.raises(FunctionFailed, match=r"^f, line 1 of <lambda>: IndexError"):
        Function(within, "f").call(given())


def test_a_breakpoint_stops_where_somebody_can_look(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []
    monkeypatch.setattr("pdb.set_trace", lambda: stopped.append(sys._getframe(1).f_code.co_name))
    monkeypatch.setattr("sys.breakpointhook", sys.__breakpointhook__)
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    function = Function("def f(img):\n    breakpoint()\n    return img", "f")
    function.call(given())
    assert stopped == []
    function.call(given(), stop=breakpoint)
    assert stopped == ["f"]


def test_functions_see_nothing_of_the_harness() -> None:
    text = "def f(img):\n    return img * 0 + len([n for n in globals() if not n.startswith('__')])"
    assert int(run(text).data.max()) == 3  # numpy, np, and f itself


def test_what_was_printed_before_a_failure_is_told() -> None:
    assert failure("def f(img):\n    print('seen')\n    return img[9]").printed == "seen"
    assert failure("def f(img):\n    print('seen')\n    return 'x'").printed == "seen"


def test_a_result_that_cannot_be_looked_at_is_a_failure() -> None:
    text = """
class Odd:
    def __array__(self, *args, **kwargs):
        raise KeyError("no")
def f(img):
    return Odd()
"""
    assert "KeyError" in failure(text).message
