"""From a function of the notebook to a step of a chain."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from geoloom import blobs
from geoloom.calling import own_parameters
from geoloom.capture import Captured, capture
from geoloom.capture.uses import codes as within
from geoloom.chain import canonical
from geoloom.errors import FunctionFailed, FunctionNotSent, ParameterError
from geoloom.given import Result
from geoloom.harness import DEFAULT_MODULES, Function
from geoloom.op import Profile
from geoloom.ops.execute import Execute
from geoloom.trial import try_out

if TYPE_CHECKING:
    from geoloom.image import Image

MODULES_VARIABLE = "GEOLOOM_FUNCTION_MODULES"

KEPT_ORIGINALS = 500
"""Functions of the notebook remembered by the key of their text, so that a replay can debug them."""

_AROUND = next(one for one in Execute.parameters if one.name == "around")

_originals: dict[str, Callable[..., Any]] = {}


def execute(
    image: Image,
    f: Callable[..., Any] | str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    margin: int = 0,
    modules: Iterable[str] | str | None = None,
    dtype: Any = None,
    bands: Sequence[str] | str | None = None,
) -> Image:
    """The image of a user's function; see `Image.execute`.

    Raises
    ------
    FunctionNotSent
        It cannot travel.
    FunctionFailed
        It failed in the trial.
    ParameterError
        An argument is no JSON.
    """
    captured = capture(f, allowed(modules))
    _check_whose(captured, len(args), {"margin": margin or None, "modules": modules, "dtype": dtype})
    arguments = _json(captured, args, kwargs)
    names = None if bands is None else (bands,) if isinstance(bands, str) else tuple(bands)
    key = blobs.keep(captured.source.encode())
    # In the node it is called otherwise: an op's margin is what its parameters make of a grid.
    around = replace(_AROUND, name="margin").normalise(margin, "execute")
    draft = Execute(text=key, main=captured.name, arguments=arguments, around=around)
    if dtype is None or names is None:
        found = _tried(f, captured, image.profile, draft)
        dtype = str(found.data.dtype) if dtype is None else dtype
        if names is None:
            names = names_of(captured.name, image.profile, found.data.shape[0])
    if callable(f):
        _originals[key] = f
        if len(_originals) > KEPT_ORIGINALS:
            del _originals[next(iter(_originals))]
    op = Execute(
        **{
            **draft.params(),
            "modules": captured.modules,
            "dtype": _dtype_name(dtype),
            "bands": names,
        }
    )
    return image.apply(op)


def _tried(f: Any, captured: Captured, image: Profile, op: Execute) -> Result:
    """The result of a trial; raises FunctionFailed."""
    args, kwargs = op.call()

    def tried(own: dict[str, CodeType]) -> Result:
        function = Function(captured.source, captured.name, captured.modules, own)
        return try_out(function, image, op.around, args, kwargs)

    # A debugger is not to stop in it; but what fails is to be seen in the cell.
    try:
        return tried({})
    except FunctionFailed as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
    return tried(codes(captured.name, f if isinstance(f, FunctionType) else None))


def allowed(modules: Iterable[str] | str | None = None) -> tuple[str, ...]:
    """What functions may import: those of the engine's operator, and what is named here."""
    set_here = [one.strip() for one in os.environ.get(MODULES_VARIABLE, "").split(",") if one.strip()]
    more = [modules] if isinstance(modules, str) else list(modules or ())
    return tuple(dict.fromkeys([*(set_here or DEFAULT_MODULES), *more]))


def original(text: str) -> Callable[..., Any] | None:
    """The function of this notebook whose text has a key, if it is one of the last."""
    return _originals.get(text)


def codes(name: str, f: FunctionType | None) -> dict[str, CodeType]:
    """The code objects of a function and of all that it may call, by their names in the notebook."""
    found: dict[str, CodeType] = {}
    left = [] if f is None else [(name, f)]
    while left:
        name, one = left.pop()
        if name not in found:
            found[name] = one.__code__
            used = {called for inner in within(one.__code__) for called in inner.co_names}
            known = {called: one.__globals__.get(called) for called in used}
            left += [(called, other) for called, other in known.items() if isinstance(other, FunctionType)]
    return found


def _check_whose(captured: Captured, positional: int, taken: Mapping[str, Any]) -> None:
    """Refuse a name that `execute` takes, where the function has a parameter of that name which it lacks."""
    own = [one.name for one in own_parameters(captured.signature, captured.older_style)]
    for name, value in taken.items():
        if value is not None and name in own[positional:]:
            raise ParameterError(
                f"{name}= is taken by execute, and {captured.name} has a parameter of that name.",
                hint=f"Rename it in {captured.name}, or give it by its place, without its name.",
            )


def _json(captured: Captured, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    captured.check_arguments(args, kwargs)
    given = [_plain(value, f"argument {i + 1} of {captured.name}") for i, value in enumerate(args)]
    named = {name: _plain(value, f"{name} of {captured.name}") for name, value in kwargs.items()}
    return canonical([given, named]).decode()


def _plain(value: Any, path: str) -> Any:
    """An argument as JSON holds it: tuples and ranges as lists, numpy's numbers as Python's."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, tuple | list | range):
        return [_plain(one, path) for one in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _plain(one, path) for name, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise FunctionNotSent(
            f"{path} is {value}, which does not travel to the engine.",
            hint=f"Let the function use a constant of the notebook instead, such as X = numpy.{value}.",
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise FunctionNotSent(
        f"{path} is of type {type(value).__name__}, which does not travel to the engine.",
        hint="Arguments are numbers, text, True, False, None, and lists and dicts of these. A small array "
        "comes along if the function uses it as a constant of the notebook, instead of an argument.",
    )


def names_of(function: str, image: Profile, count: int) -> tuple[str, ...]:
    """What the bands of a function's result are called that were given no names."""
    if count == 1:
        return (function,)
    if count == image.bands:
        return image.names
    return tuple(f"{function}_{i + 1}" for i in range(count))


def _dtype_name(dtype: Any) -> str:
    import numpy as np

    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise ParameterError(f"execute(dtype=…): {str(dtype)[:60]!r} is no dtype of numpy.") from None
