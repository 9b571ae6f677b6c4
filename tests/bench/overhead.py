"""What the sandbox adds to a call of a user's function, by the clock.

Two processes take turns, so on a machine that others use most of the time goes into waiting. Calls come in
batches; of a batch the median counts, and of the batches the best, which is nearest to what the code costs.
"""

from __future__ import annotations

import contextlib
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench import classify
from geoloom.block import Array, Block
from geoloom.given import Given
from geoloom.grid import Tile
from geoloom.harness import Function
from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel, available
from geoloom_engine.sandbox.pool import Call, Limits, Pool
from geoloom_engine.settings import load

LIGHT = "def light(img):\n    return img[0] < 1000\n"
CLASSIFY = f"import numpy as np\n\n\n{inspect.getsource(classify.classify)}"
NAMES = ("B02", "B03", "B04", "B08")
MODULES = ("numpy",)
GRID = Tile(13, 4400, 2700).grid()
BATCH = 40


@dataclass(frozen=True, slots=True)
class Overhead:
    """Milliseconds of a warm tile of 4 bands × 256 × 256.

    Parameters
    ----------
    function
        Its name.
    inside
        In the sandbox.
    here
        In this process, by the same harness on the same pixels.
    """

    function: str
    inside: float
    here: float

    @property
    def added(self) -> float:
        """What the sandbox adds."""
        return self.inside - self.here


SPARE_SECONDS = 0.05
"""In which a spare worker is made, behind another's first tile."""


@contextlib.contextmanager
def pool(spare: bool = True) -> Iterator[Pool]:
    """A sandbox with all locks that this system has."""
    found, settings = available(), load([], {})
    level = LockLevel(seccomp=found.seccomp, landlock=found.landlock_abi > 0)
    launcher = Launcher(1, level, settings.function_modules)
    launcher.start()
    made = Pool(
        launcher.channel(0),
        Limits(settings.function_timeout, settings.function_memory, settings.function_workers, spare=spare),
    )
    try:
        yield made
    finally:
        made.close()
        launcher.stop()


def overheads(batches: int) -> list[Overhead]:
    """Of a function that does next to nothing, and of the benchmark's own."""
    with pool() as made:
        return [
            overhead(made, "light", LIGHT, "bool", batches),
            overhead(made, "classify", CLASSIFY, "uint8", batches),
        ]


def new_worker(times: int, spare: bool) -> float:
    """Milliseconds by which the first tile of a session takes longer than its second."""
    block, call = _pixels(), _call("light", LIGHT, "bool")
    with pool(spare) as made:

        def tile(session: int) -> float:
            begun = time.perf_counter()
            made.call(replace(call, session=str(session)), block, GRID, lambda: True)
            return (time.perf_counter() - begun) * 1000

        def more(session: int) -> float:
            time.sleep(SPARE_SECONDS)
            return tile(session) - tile(session)

        tile(-1)  # the first of all has the modules loaded
        return statistics.median(more(session) for session in range(times))


def overhead(made: Pool, name: str, source: str, dtype: str, batches: int) -> Overhead:
    """Of one function; both sides take turns."""
    block, call = _pixels(), _call(name, source, dtype)
    function = Function(source, name, MODULES, alone=True)

    def inside() -> Array:
        return made.call(call, block, GRID, lambda: True).block.data

    def here() -> Array:
        return function.call(Given.of(block, NAMES, GRID), dtype=dtype, bands=1).data

    if not np.array_equal(inside(), here()):
        raise AssertionError(f"{name} gives something else in the sandbox")
    medians = [(batch(inside), batch(here)) for _ in range(batches)]
    return Overhead(name, *(min(column) for column in zip(*medians, strict=True)))


def batch(call: Callable[[], Array]) -> float:
    """The median milliseconds of some calls."""
    taken = []
    for _ in range(BATCH):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def _pixels() -> Block:
    pixels = np.random.default_rng(0).integers(200, 4000, (4, *GRID.shape)).astype(np.uint16)
    return Block.of(pixels, np.ones((1, *GRID.shape), np.bool_))


def _call(name: str, source: str, dtype: str) -> Call:
    return Call("bench", source.encode(), name, "[[],{}]", NAMES, MODULES, dtype, 1, 0)
