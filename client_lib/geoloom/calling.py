"""How a user's function is called: its style, and where its arguments go."""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

from geoloom.errors import FunctionFailed
from geoloom.given import RESERVED

DEFAULT_MODULES = ("numpy", "math", "scipy", "skimage")
"""What a function may import, unless the operator says otherwise."""

GIVEN_TO_OLDER = re.compile(r"img|band\d+")
"""Global names that functions of the older style find."""


def is_older_style(code: CodeType) -> bool:
    """Whether a function takes its window from ``band0``, ``band1``, … or gives its result in ``img``."""
    used = {
        str(one.argval)
        for one in dis.get_instructions(code)
        if one.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "LOAD_NAME", "STORE_NAME")
    }
    return any(GIVEN_TO_OLDER.fullmatch(name) for name in used)


def bound(
    parameters: Sequence[inspect.Parameter],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    filled: Mapping[str, Any],
    defaults: Mapping[str, Any],
    name: str,
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments for a function.

    Parameters
    ----------
    parameters
        Of the function, but for the image.
    args, kwargs
        What it is called with.
    filled
        What it gets besides, by name.
    defaults
        What it has for parameters that are not given.
    name
        Of the function.

    Raises
    ------
    FunctionFailed
        Too many, too few, or of no such name.
    """
    own = [one for one in parameters if one.name not in filled]
    try:
        found = inspect.Signature(own).bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        shown = ", ".join(str(one) for one in own) or "none"
        raise FunctionFailed(
            f"{name} cannot be called so: {error}.", hint=f"Its own arguments are: {shown}.", function=name
        ) from None
    values = {**defaults, **found.arguments, **filled}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for one in parameters:
        if one.kind is one.VAR_POSITIONAL:
            positional.extend(values.get(one.name, ()))
        elif one.kind is one.VAR_KEYWORD:
            named.update(values.get(one.name, {}))
        elif one.kind is one.KEYWORD_ONLY:
            named[one.name] = values[one.name]
        else:
            positional.append(values[one.name])
    return positional, named


def own_parameters(signature: inspect.Signature, older_style: bool) -> list[inspect.Parameter]:
    """Parameters that are not for the image; ``*args`` take that and more."""
    found = list(signature.parameters.values())
    takes_all = bool(found) and found[0].kind is inspect.Parameter.VAR_POSITIONAL
    return found[0 if older_style or takes_all else 1 :]


def is_filled(parameter: inspect.Parameter, kwargs: Mapping[str, Any]) -> bool:
    """Whether a parameter is given by its name alone what it stands for, such as the mask."""
    several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.name in RESERVED and parameter.name not in kwargs and not several


def defaults_of(function: FunctionType) -> dict[str, Any]:
    """The values of a function's defaults, by the names of their parameters."""
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}
