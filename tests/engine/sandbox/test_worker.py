"""The worker: what one tile does to its process does not change the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from geoloom.errors import FunctionFailed
from geoloom.harness import DEFAULT_MODULES
from geoloom_engine.sandbox.lock import LockLevel

if TYPE_CHECKING:
    from conftest import StartSandbox

UNLOCKED = LockLevel(seccomp=False, landlock=False, drop_uid=False)

# What a function sees, and what it then does to that: both as one text each.
STATES = {
    "seed": ("numpy.random.random()", "numpy.random.seed(99)"),
    "random": ("random.random()", "random.seed(99)"),
    "errors of numpy": ("numpy.float64(1) / numpy.float64(0)", "numpy.seterr(all='raise')"),
    "print options": ("len(str(numpy.array([1 / 3])))", "numpy.set_printoptions(precision=2)"),
    "decimals": (
        "float(decimal.Decimal(1) / decimal.Decimal(3))",
        "decimal.getcontext().prec = 3",
    ),
    "recursion": ("sys.getrecursionlimit()", "sys.setrecursionlimit(200)"),
    "tracing": ("float(sys.gettrace() is None)", "sys.settrace(lambda *a: None)"),
    "profiling": ("float(sys.getprofile() is None)", "sys.setprofile(lambda *a: None)"),
    "collection": ("float(gc.isenabled())", "gc.disable()"),
    "thresholds": ("float(gc.get_threshold()[0])", "gc.set_threshold(1)"),
    "streams": ("float(hasattr(sys.stdout, 'write'))", "sys.stdout = sys.stderr = sys.stdin = None"),
    "warnings": ("float(len(warnings.filters))", "warnings.simplefilter('error')"),
    "globals": ("float('left' in globals())", "globals()['left'] = 1"),
    "own text": ("LIST[0] if len(LIST) == 1 else -1", "LIST.append(5)"),
    "builtins": ("len([1, 2])", "globals()['__builtins__']['len'] = lambda x: 77"),
    "image": ("img.max()", "img.fill(9000)"),
    "arguments": ("len(arguments)", "arguments.append(1)"),
}

FUNCTION = """
import decimal, gc, random, sys, warnings

LIST = [4]

def f(img, arguments):
    seen = {seen}
    {done}
    return numpy.full((4, 5), float(seen))
"""


@pytest.mark.parametrize("state", STATES)
def test_a_tile_leaves_nothing_that_changes_the_next(start: StartSandbox, state: str) -> None:
    seen, done = STATES[state]
    sandbox = start(lock=UNLOCKED)
    source = FUNCTION.replace("{seen}", seen).replace("{done}", done)
    found = [
        float(
            sandbox.run(
                source, [1, 2], modules=(*DEFAULT_MODULES, "decimal", "gc", "random", "sys", "warnings")
            ).block.data[0, 0, 0]
        )
        for _ in range(3)
    ]
    assert sandbox.pool.state()["spawned"] == 1
    assert found[0] == found[1] == found[2]


def test_what_is_changed_inside_a_module_stays(start: StartSandbox) -> None:
    sandbox = start(lock=UNLOCKED)
    source = "def f(img):\n    numpy.own = getattr(numpy, 'own', 0) + 1\n    return img[0] * 0 + numpy.own"
    assert [sandbox.run(source).block.data.max() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("packets", [True, False])
def test_an_image_that_is_kept_does_not_reach_the_next_tile(start: StartSandbox, packets: bool) -> None:
    sandbox = start(lock=UNLOCKED, packets=packets)
    source = (
        "def f(img):\n    if hasattr(numpy, 'kept'):\n        numpy.kept.fill(5)\n"
        "    found = img[0].copy()\n    numpy.kept = img\n    return found"
    )
    for value in (1, 2, 3):
        image = np.full((2, 4, 5), value, np.int32)
        # Whoever keeps the image sees, and spoils, only its own pixels.
        assert sandbox.run(source, image=image).block.data.max() in (value, 5)
    assert sandbox.run("def f(img):\n    return img[0]").block.data.max() == 19


def test_memory_of_one_tile_is_free_for_the_next(start: StartSandbox) -> None:
    sandbox = start(memory=200 << 20)
    source = (
        "def f(img):\n    big = numpy.ones((1 << 20, 10))\n    global keep\n    keep = big\n"
        "    cycle = [big]\n    cycle.append(cycle)\n    return img[0]"
    )
    for _ in range(10):
        sandbox.run(source)
    assert sandbox.pool.state()["spawned"] == 1


@pytest.mark.parametrize("raised", ["SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "RecursionError"])
def test_whatever_is_raised_is_a_failure(start: StartSandbox, raised: str) -> None:
    sandbox = start()
    with pytest.raises(FunctionFailed) as caught:
        sandbox.run(f"def f(img):\n    raise {raised}")
    assert caught.value.line == 2
    assert sandbox.pool.state()["live"] == 1


def test_long_texts_are_cut(start: StartSandbox) -> None:
    sandbox = start()
    answer = sandbox.run("def f(img):\n    print('é' * 10_000_000)\n    return img[0]")
    assert 1000 < len(answer.printed) < 20_000
    with pytest.raises(FunctionFailed) as caught:
        sandbox.run("def f(img):\n    raise ValueError('x' * 10_000_000)")
    assert len(str(caught.value)) < 3000


def test_text_that_is_no_text_is_shown_all_the_same(start: StartSandbox) -> None:
    answer = start().run("def f(img):\n    print('\\ud800 \\x1b[2J')\n    return img[0]")
    assert "\x1b" not in answer.printed


def test_a_text_that_does_not_compile_is_a_failure_each_time(start: StartSandbox) -> None:
    sandbox = start()
    for _ in range(2):
        with pytest.raises(FunctionFailed, match="SyntaxError"):
            sandbox.run("def f(img):\n    return img[img<=3] = 0")
    assert sandbox.pool.state()["spawned"] == 1
