"""How a user's function is called: its style, and where its arguments go."""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any

from geoloom.errors import FunctionFailed

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
    name: str,
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments for a function, those that are filled in left out of the count.

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
    found.apply_defaults()
    values = {**found.arguments, **filled}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for one in parameters:
        value = values[one.name]
        if one.kind is one.VAR_POSITIONAL:
            positional.extend(value)
        elif one.kind is one.VAR_KEYWORD:
            named.update(value)
        elif one.kind is one.KEYWORD_ONLY:
            named[one.name] = value
        else:
            positional.append(value)
    return positional, named
