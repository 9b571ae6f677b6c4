"""Compiles what is compiled before the first person waits for it.

Compiled code is kept on disk where possible, so that all but the very first start only load it: 0.7 s
of processor time instead of 32.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numba
import numpy as np

from geoloom.block import Array, Block, Mask
from geoloom.errors import GeoloomError
from geoloom.grid import Bounds, Grid, Lattice, Tile
from geoloom.op import Op, Profile, registry
from geoloom.paint import over
from geoloom_engine.lookup import translate
from geoloom_engine.readers import BandInfo, SourceInfo, Window
from geoloom_engine.render import png
from geoloom_engine.warp import warp

log = logging.getLogger(__name__)

SIZE = 64
DTYPES = ("uint8", "uint16", "int16", "float32")
"""Pixel types of most imagery and elevation, compiled before a worker is ready."""
RARER = ("uint32", "int32", "int8", "float64")
"""Pixel types that are compiled once it is ready; the others when first met."""
PAUSE = 0.05
"""Seconds between two steps, in which other workers may take their turn."""
LOOK = 0.01
"""Seconds between two looks at whether it is one's turn."""
PATIENCE = 60.0
"""Seconds to wait at most for others to compile the same."""


Steps = Callable[[], Iterable[Callable[[], object]]]


class Warming:
    """Runs the steps in a thread of its own, however long one takes.

    Requests that are there already are answered beside it: a computation's time limit and turn are
    not for compiling, which takes as long as the machine is slow. A tile of 0.7 ms takes 10 ms (p95)
    while a step compiles, since LLVM works without the interpreter's lock.

    Where compiled code is kept, the workers of all engines of this installation take turns: one
    compiles, the others load.

    Parameters
    ----------
    wanted
        Makes what is done before the worker is ready.
    later
        Makes what is done afterwards.
    """

    def __init__(self, wanted: Steps, later: Steps = tuple) -> None:
        self._wanted = wanted
        self._later = later
        self._problem: str | None = "The engine is warming up."
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="warming", daemon=True).start()

    @property
    def problem(self) -> str | None:
        """Why the worker is not ready, if it is not."""
        return self._problem

    def close(self) -> None:
        """End after the current step."""
        self._stop.set()

    def _run(self) -> None:
        kept = _is_kept()
        try:
            for step in self._wanted():
                if self._stop.is_set():
                    return
                with self._turn(kept):
                    step()
        except Exception as error:  # noqa: BLE001 - told to whoever asks
            self._problem = f"Warming up failed: {error}."
            return
        self._problem = None
        for step in self._later():
            if self._stop.wait(PAUSE):
                return
            try:
                with self._turn(kept):
                    step()
            except Exception:
                log.exception("what is compiled beforehand cannot be compiled")

    @contextmanager
    def _turn(self, kept: bool) -> Iterator[None]:
        """Alone among the processes of this installation, unless the others take too long."""
        if not kept:
            yield
            return
        # The kernel lets go of the lock of a process that dies; a lock of a file needs no right to write it.
        with Path(__file__).open("rb") as file:
            for _ in range(int(PATIENCE / LOOK)):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if self._stop.wait(LOOK):
                        break
                except OSError:  # a file system without locks
                    break
                else:
                    break
            yield


def _is_kept() -> bool:
    """Whether there is a folder for compiled code."""
    try:
        numba.njit(cache=True)(_is_kept)
    except (RuntimeError, OSError):
        return False
    return True


class Specimen:
    """A source of ramps in memory, in UTM, some of it invalid."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self.info = SourceInfo(
            href="memory",
            driver="memory",
            fingerprint=dtype,
            width=SIZE,
            height=SIZE,
            transform=(500000.0, 30.0, 0.0, 5000000.0, 0.0, -30.0),
            crs="EPSG:32633",
            bands=(BandInfo("b1", dtype),),
            overviews=(),
            bounds=Bounds(15.0, 45.13, 15.03, 45.16),
            resolution=(30.0, 30.0),
            ground_resolution=30.0,
            resampling="bilinear",
            block=(SIZE, SIZE),
            dtype=dtype,
        )

    def read(self, level: int, bands: tuple[int, ...], window: Window) -> tuple[Array, Mask]:
        """Pixels as `readers.Source.read` gives them."""
        data = np.ones((len(bands), window.height, window.width), self._dtype)
        valid = np.ones((1, window.height, window.width), np.bool_)
        valid[:, :2, :2] = False
        return data, valid


def steps() -> Iterator[Callable[[], object]]:
    """What to run, most wanted first."""
    grid = Tile.at(15.01, 45.145, 13).grid()
    for dtype in DTYPES:
        source = Specimen(dtype)
        for resampling in ("bilinear", "nearest"):
            yield partial(warp, source, grid, (0,), resampling)
    noise = np.random.default_rng(1).integers(0, 256, (1, 256, 256), np.uint8)
    yield partial(png, Block(noise, np.ones((1, 256, 256), np.bool_)), None)
    picture = np.zeros((4, 16, 16), np.uint8)
    yield partial(over, picture, picture)
    for op in registry().values():
        if hasattr(op, "kernel"):
            yield from (partial(try_out, op, dtype) for dtype in DTYPES)


def later_steps() -> Iterator[Callable[[], object]]:
    """What to run once the worker is ready, most wanted first: what takes a second or so to compile."""
    near, far = Tile.at(15.01, 45.145, 13).grid(), Tile.at(15.01, 45.145, 10).grid()
    for width in (1, 2):
        values = np.zeros((16, 16), f"u{width}")
        for made in ("uint8", "uint16", "uint32"):
            yield partial(translate, values, np.zeros(256**width, made), np.zeros((16, 16), made))
    yield partial(try_out, registry()["divide"], "int32")
    for dtype in (*DTYPES, *RARER):
        source = Specimen(dtype)
        if dtype in RARER:
            yield partial(warp, source, near, (0,), "nearest")
            yield partial(warp, source, near, (0,), "bilinear")
        # The loop of mode is that of average.
        yield partial(warp, source, far, (0,), "average")
        yield partial(warp, source, near, (0,), "cubic")


def try_out(op: type[Op], dtype: str = "float32") -> Block | None:
    """Run an op's kernel once on one band of ramps; None if it needs other bands, numbers or a look."""
    grid = Grid(Lattice.web_mercator(13), 0, 1 << 19, 16, 16)
    try:
        example = op.example()
        margin = example.margin_on(grid)
        data = np.linspace(0, 1, (16 + 2 * margin) ** 2).astype(dtype)
        band = Block(data.reshape(1, 16 + 2 * margin, -1), np.ones((1, *grid.expand(margin).shape), np.bool_))
        profiles = tuple(Profile(("b1",), dtype) for _ in op.inputs)
        bands = tuple(range(example.described(*profiles).bands))
        return example.compute(tuple(map(band.pick, example.reads(bands, profiles))), grid, profiles)
    except GeoloomError:
        return None
