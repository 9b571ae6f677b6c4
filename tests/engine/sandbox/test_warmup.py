"""What is loaded before the lock is enough for all that functions use afterwards."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from geoloom.grid import Grid, Lattice
from geoloom.harness import DEFAULT_MODULES, Function, Given
from geoloom_engine.sandbox.launch import ENVIRONMENT, Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.warmup import needs_all

if TYPE_CHECKING:
    from conftest import Sandbox, StartSandbox

CODE = """
import json, os, sys, threading
from geoloom_engine.sandbox.warmup import warm_up
warm_up(("numpy", "math", "scipy", "skimage", "no_such_module"))
print(json.dumps({
    "threads": threading.active_count(),
    "tasks": len(os.listdir("/proc/self/task")),
    "modules": sorted(sys.modules),
}))
"""


@pytest.fixture(scope="module")
def warm() -> dict[str, object]:
    """What a process is like that has warmed up."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", CODE], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return dict(json.loads(run.stdout))


def test_there_is_one_thread(warm: dict[str, object]) -> None:
    assert warm["threads"] == warm["tasks"] == 1


@pytest.mark.parametrize(
    "name", ["osgeo", "matplotlib", "IPython", "numba", "tornado", "redis", "mypy", "psutil"]
)
def test_what_functions_do_not_use_is_not_loaded(warm: dict[str, object], name: str) -> None:
    assert name not in warm["modules"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "name",
    [
        "numpy.fft",
        "scipy.ndimage",
        "scipy.signal.windows",
        "scipy.spatial.transform",
        "scipy.stats.qmc",
        "skimage.filters.rank",
        "skimage.graph",
        "skimage.restoration",
        "_strptime",
        "encodings.idna",
    ],
)
def test_submodules_are_loaded(warm: dict[str, object], name: str) -> None:
    assert name in warm["modules"]  # type: ignore[operator]


# Calls every public function of a module with one image, and tells how each went: a name a line, and of
# what it gave the kinds, shapes and a sum that depends on all bits.
EVERY = """
import numpy
import {module} as module

def told(value):
    if isinstance(value, (tuple, list)):
        return [told(one) for one in value]
    try:
        array = numpy.asarray(value)
    except BaseException as error:
        return type(value).__name__
    if array.dtype == object:
        return type(value).__name__
    bits = numpy.frombuffer(numpy.ascontiguousarray(array).tobytes(), numpy.uint8).astype(numpy.uint64)
    with numpy.errstate(all="ignore"):
        total = int((bits * (numpy.arange(bits.size, dtype=numpy.uint64) * 2654435761 + 1)).sum())
    return [str(array.dtype), array.shape, total]

def f(img, names):
    for name in names:
        numpy.random.seed(0)
        argument = img[0].copy()
        try:
            said = told(getattr(module, name)(argument))
        except BaseException as error:
            said = type(error).__name__ + str(error).partition(" at 0x")[0][:40].replace("\\n", " ")
        print(name, said)
    return img[0]
"""
HUGE = ("moments_coords", "moments_coords_central")
"""Functions that take an image for a list of places in many dimensions, and ask for more than there is."""

AT_ONCE = 25
"""Functions called in one go: what they say has to fit into what one call may print."""

GRID = Grid(Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.0), 30, 40, 14, 12)


def names_of(module: str) -> list[str]:
    found = importlib.import_module(module)
    listed = getattr(found, "__all__", None) or dir(found)
    return sorted(
        name
        for name in listed
        if callable(getattr(found, name)) and not isinstance(getattr(found, name), type)
        if name not in HUGE
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "module",
    [
        "numpy.fft",
        "scipy.fft",
        "scipy.ndimage",
        "scipy.signal",
        "scipy.special",
        "skimage.exposure",
        "skimage.feature",
        "skimage.filters",
        "skimage.measure",
        "skimage.morphology",
        "skimage.segmentation",
        "skimage.transform",
    ],
)
def test_every_function_of_one_array_does_the_same_locked_in(start: StartSandbox, module: str) -> None:
    assert differing(start(lock=LockLevel(), modules=DEFAULT_MODULES, seconds=120.0), module) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", ["numpy.fft", "numpy.linalg", "numpy.polynomial.polynomial"])
def test_what_is_loaded_first_is_enough_for_numpy(start: StartSandbox, module: str) -> None:
    launcher = Launcher(1, LockLevel(), DEFAULT_MODULES)
    launcher.start()
    try:
        sandbox = start(launcher=launcher, seconds=120.0)
        assert differing(sandbox, module, ("numpy",)) == []
        assert not next(iter(sandbox.pool._owners)).whole
    finally:
        sandbox.pool.close()
        launcher.stop()


@pytest.mark.parametrize(
    ("modules", "needed"),
    [
        ((), False),
        (("numpy", "math", "collections", "datetime"), False),
        (("scipy",), True),
        (("numpy", "skimage"), True),
        (("of_the_operator",), True),
    ],
)
def test_most_functions_need_what_is_loaded_first(modules: tuple[str, ...], needed: bool) -> None:
    assert needs_all(modules) is needed


def differing(
    sandbox: Sandbox, module: str, modules: tuple[str, ...] = DEFAULT_MODULES
) -> list[tuple[str, str]]:
    """What functions of a module say of an image here, and otherwise in the sandbox."""
    names = names_of(module)
    assert len(names) >= 10
    image = np.random.default_rng(1).random((1, 12, 14)) + 0.1
    source = EVERY.replace("{module}", module)
    here = Function(source, "f", alone=True)
    different = []
    for some in (names[i : i + AT_ONCE] for i in range(0, len(names), AT_ONCE)):
        answer = sandbox.run(source, some, image=image, modules=modules)
        given = Given(image.copy(), np.ones((1, 12, 14), np.bool_), ("a",), GRID, 0)
        expected = here.call(given, [some]).printed
        for mine, theirs in zip(expected.splitlines(), answer.printed.splitlines(), strict=True):
            if mine != theirs:
                different.append((mine, theirs))
    return different


def test_a_pool_of_threads_does_things_at_once_and_in_order(start: StartSandbox) -> None:
    source = (
        "import concurrent.futures\n\ndef f(img):\n"
        "    with concurrent.futures.ThreadPoolExecutor(4) as pool:\n"
        "        later = pool.submit(lambda: 1 / 0)\n"
        "        print(list(pool.map(lambda a, b: a * b, [1, 2, 3], [4, 5, 6])), type(later.exception()))\n"
        "    return img[0]"
    )
    answer = start(seconds=30.0).run(source, modules=("concurrent",))
    assert answer.printed == "[4, 10, 18] <class 'ZeroDivisionError'>"
