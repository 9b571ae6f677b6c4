"""A user's function run in the notebook, on the very pixels the engine would give it, for a debugger to see.

The engine runs a function's text; here the person's own code object runs in its place, among the same names.
A code object knows its file and lines, and by these a debugger finds its breakpoints: so those set in a cell
hold, in JupyterLab as with ``breakpoint()``, and a traceback shows the cell. The names are those of the text
and not the notebook's, as what is defined there and did not travel is what fails in the engine.
"""

from __future__ import annotations

import linecache
import math
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from types import FunctionType, TracebackType
from typing import Any

import numpy as np

from geoloom import blobs
from geoloom.capture.history import running_shell
from geoloom.errors import FunctionFailed, FunctionRefused, ParameterError, callers
from geoloom.examination import TILES, Subject, examine, fresh
from geoloom.execution import codes, execute, names_of, original
from geoloom.given import Given, Result
from geoloom.grid import MAX_ZOOM, Tile
from geoloom.harness import NAMESPACE, Function
from geoloom.image import Image, connected
from geoloom.op import Profile, decode
from geoloom.ops.execute import Execute
from geoloom.report import Check, Report

PATIENCE = 1.0
"""Seconds for a tile beyond which it is said that the checks take their time."""

DENSE = 2
"""Pixel ratio of the tiles that screens of high density are sent."""


def test_execute(
    f: Callable[..., Any] | str,
    *args: Any,
    image: Image,
    tile: Sequence[int] | Tile | None = None,
    bbox: Sequence[float] | None = None,
    margin: int = 0,
    modules: Sequence[str] | str | None = None,
    dtype: Any = None,
    bands: Sequence[str] | str | None = None,
    **kwargs: Any,
) -> Report:
    """Run a function here, on the pixels that the engine would give it, and look for what can go wrong.

    A debugger stops in the function, and after an exception ``%debug`` stands at its line.

    Parameters
    ----------
    f, args, kwargs, margin, modules, dtype, bands
        As `Image.execute` takes them.
    image
        What the function is run on.
    tile
        (z, x, y). By default the one in the image's middle.
    bbox
        West, south, east, north in degrees, instead of `tile`: about as much as a tile shows.

    Returns
    -------
    Report
        What was found. It is printed, and a notebook shows pictures of the input and the output.

    Raises
    ------
    Exception
        What the function raises.
    FunctionNotSent
        It cannot travel to the engine: why, and in which line.
    """
    __tracebackhide__ = True
    if not isinstance(image, Image):
        raise ParameterError(f"image= has to be an image, not {type(image).__name__}.")
    place = _place(image, tile, bbox)

    def executed(**named: Any) -> Image:
        how = {"margin": margin, "modules": modules, "dtype": dtype, "bands": bands}
        return execute(image, f, args, kwargs, **{**how, **named})

    trial: FunctionFailed | None = None
    try:
        found = Local(executed())
    except FunctionFailed as error:
        if error.__cause__ is None:
            raise
        # It may fail on made-up pixels alone, and if not, this is where it can be looked at.
        trial = error
        found = Local(executed(dtype=dtype or "float32", bands=bands or ("result",)))
    given = found.given(place)
    begun = time.perf_counter()
    result = found.run(given, place)
    seconds = time.perf_counter() - begun
    if seconds > PATIENCE:
        more = seconds * TILES
        print(f"{found.op.main} takes {seconds:.1f} s for a tile; the checks take some {more:.0f} s more.")
    if trial is not None and not isinstance(result, FunctionFailed):
        names = names_of(found.op.main, image.profile, result.data.shape[0])
        found = Local(executed(dtype=dtype or result.data.dtype, bands=bands or names))
    report = found.report(place, given)
    if trial is not None:
        report = replace(report, checks=(Check("trial", False, str(trial)), *report.checks))
    print(report)
    return report


test_execute.__test__ = False  # type: ignore[attr-defined]  # its name is no reason for pytest to run it


def replay(image: Image, z: int, x: int, y: int) -> Report:
    """Run the functions of an image here, on the pixels of a tile; see `Image.replay`."""
    __tracebackhide__ = True
    steps = [node for node in image.chain.topological() if node.op == Execute.name]
    if not steps:
        raise ParameterError(
            "This image has no function of yours, so there is nothing to replay.",
            hint=f"image.tile({z}, {x}, {y}) gives the tile.",
        )
    tile, client = Tile(z, x, y), connected()
    client.register(image.chain)
    report: Report | None = None
    for node in steps:
        found = Local(_step(image, node.key))
        failed: FunctionFailed | None = None
        for ratio in (1, DENSE):
            # As the whole image asks it: what lies above a function may need pixels around the tile.
            result = found.run(client.window(image.key, node.key, z, x, y, ratio), tile)
            failed = failed or (result if isinstance(result, FunctionFailed) else None)
        report = found.report(tile, found.given(tile))
        again = "it does not fail here, nor on the tile of dense screens" if failed is None else str(failed)
        report = replace(report, checks=(Check("replay", failed is None, again), *report.checks))
        print(report)
    assert report is not None
    return report


class Local:
    """The function of an image's last step, run in the notebook.

    Parameters
    ----------
    image
        Its root is an execute step.

    Raises
    ------
    FunctionRefused
        The text is not of this notebook, and not trusted either.
    """

    def __init__(self, image: Image) -> None:
        op = decode(image.chain.node)
        assert isinstance(op, Execute)
        self.image = image
        self.op = op
        self._client = connected()
        self._client.register(image.chain)
        text = blobs.kept(op.text)
        if text is None:
            raise FunctionRefused(
                f"{op.main} came with the image and not from this notebook. To replay it is to run it here, "
                "with your rights and outside the engine's sandbox.",
                hint="Read it, as by print(gl.functions(image)); if you trust it, call "
                "gl.trust(image) and replay once more.",
            )
        source, f = text.decode(), original(op.text)
        at_hand = f if isinstance(f, FunctionType) else None
        self._function = Function(source, op.main, op.modules, codes(op.main, at_hand))
        # For tracebacks and debuggers, where the text itself runs.
        name = self._function.filename
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
        args, kwargs = op.call()
        self._subject = Subject(
            captured=Function(source, op.main, op.modules),
            # It would stop at each breakpoint once more.
            at_hand=None if at_hand is None or _attached() else _AtHand(at_hand, source, op.main, op.modules),
            args=args,
            kwargs=kwargs,
            dtype=op.dtype,
            bands=op.bands,
        )

    def given(self, tile: Tile) -> Given:
        """The pixels that the engine would give the function for a tile."""
        return self._client.window(self.image.key, self.image.key, tile.z, tile.x, tile.y)

    def run(self, given: Given, tile: Tile) -> Result | FunctionFailed:
        """What it makes of some pixels, or why that cannot be used; prints and debuggers work as ever.

        Raises
        ------
        Exception
            What the function raises, with a traceback of its own lines.
        """
        __tracebackhide__ = True
        raised: BaseException | None
        try:
            return self._function.call(fresh(given), *self.op.call(), stop=_stopping())
        except FunctionFailed as error:
            if error.__cause__ is None:
                return error
            raised = error.__cause__
        except KeyboardInterrupt as error:
            raised = error
        look = " %debug takes you to the line." if "IPython" in sys.modules else ""
        raised.add_note(f"{self.op.main} ran on tile {tile.z}/{tile.x}/{tile.y}.{look}")
        raise raised.with_traceback(_own(callers(raised.__traceback__)))

    def report(self, tile: Tile, given: Given) -> Report:
        """What there is to say of it on a tile."""
        result, checks = examine(self._subject, given, tile, self.given, lambda: self.engines(tile))
        return Report(self.op.main, tile, checks, given, result, self.op.bands)

    def engines(self, tile: Tile) -> Given:
        """What the engine makes of a tile."""
        # A step above: at the step of a function itself a window is the function's input.
        above = self.image.bands(*self.op.bands)
        self._client.register(above.chain)
        return self._client.window(above.key, above.key, tile.z, tile.x, tile.y)


class _AtHand(Function):
    """The person's function itself, among the notebook's names instead of the text's.

    What it does to its defaults stays here: they are the notebook's.
    """

    def __init__(self, f: FunctionType, *text: Any) -> None:
        self._f = f
        super().__init__(*text)

    def _fresh(self, stop: Callable[..., Any] | None = None) -> dict[str, Any]:
        namespace = {**super()._fresh(stop), **self._f.__globals__}
        f = self._f
        defaults = tuple(_copy(one) for one in f.__defaults__ or ()) or None
        own = FunctionType(f.__code__, namespace, self.name, defaults, f.__closure__)
        own.__kwdefaults__ = {name: _copy(one) for name, one in (f.__kwdefaults__ or {}).items()}
        namespace[self.name] = own
        return namespace


def _copy(value: Any) -> Any:
    """A copy of what a function might change."""
    return deepcopy(value) if isinstance(value, list | dict | set | np.ndarray) else value


def _stopping() -> Callable[..., Any]:
    """What ``breakpoint()`` does: as ever, but in a kernel to whose debugger nobody is attached, IPython's.

    There it would pass without a word: JupyterLab's is attached once its button is pressed.
    """
    shell = running_shell()
    if "debugpy" not in sys.modules or shell is None or _attached():
        return breakpoint

    def stop(*_: Any, **__: Any) -> None:
        shell.debugger_cls().set_trace(sys._getframe(1))

    return stop


def _attached() -> bool:
    """Whether a debugger as JupyterLab's follows this process."""
    debugpy = sys.modules.get("debugpy")
    return debugpy is not None and bool(debugpy.is_client_connected())


def _own(frames: TracebackType | None) -> TracebackType | None:
    """A traceback that ends at the last line of the person's own, not in what that calls.

    There ``%debug`` is to stand, and what a module of numpy has to say is in the exception.
    """
    found = _until_own(frames)
    return frames if found is None else found


def _until_own(frames: TracebackType | None) -> TracebackType | None:
    if frames is None:
        return None
    rest = _until_own(frames.tb_next)
    if rest is None and frames.tb_frame.f_globals.get("__name__") != NAMESPACE:
        return None
    return TracebackType(rest, frames.tb_frame, frames.tb_lasti, frames.tb_lineno)


def _step(image: Image, key: str) -> Image:
    """The image of one of the steps, which is a function's."""
    op = decode(image.chain.nodes[key])
    assert isinstance(op, Execute)
    return Image(image.chain.at(key), Profile(op.bands, op.dtype), image.sources)


def _place(image: Image, tile: Sequence[int] | Tile | None, bbox: Sequence[float] | None) -> Tile:
    """The tile to run on."""
    if tile is not None:
        return tile if isinstance(tile, Tile) else Tile(*_numbers("tile", tile, ("z", "x", "y"), int))
    client = connected()
    if bbox is None:
        client.register(image.chain)
        return Tile(*client.explain(image.key)["tile"])
    west, south, east, north = _numbers("bbox", bbox, ("west", "south", "east", "north"), float)
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ParameterError(
            f"bbox = {tuple(bbox)} is no rectangle in degrees.", hint="It is (west, south, east, north)."
        )
    # In pixels of the last zoom, of which all others are halves.
    first, last = Tile.at(west, north, MAX_ZOOM), Tile.at(east, south, MAX_ZOOM)
    world = 1 << MAX_ZOOM
    width, height = (last.x - first.x) % world + 1, last.y - first.y + 1
    zoom = min(
        MAX_ZOOM - math.ceil(math.log2(max(width, height, 1))), client.describe(image.chain)["zooms"][1]
    )
    shift = MAX_ZOOM - max(zoom, 0)
    return Tile(max(zoom, 0), (first.x + width // 2) % world >> shift, (first.y + height // 2) >> shift)


def _numbers[T](name: str, given: Any, wanted: tuple[str, ...], kind: Callable[[Any], T]) -> list[T]:
    """What stands in a tuple of some numbers."""
    try:
        found = [kind(one) for one in given]
    except (TypeError, ValueError):
        found = []
    if len(found) != len(wanted):
        raise ParameterError(f"{name} = {given!r} cannot be used.", hint=f"It is ({', '.join(wanted)}).")
    return found
