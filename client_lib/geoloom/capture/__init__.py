"""A user's function as text: itself, and all that it uses of the notebook.

`capture` finds the text of a function where it was written (a cell, a script, a module), and puts it together
with the imports, constants and functions that it uses. Nothing of the user's is executed for that.

What is refused here is refused for the sake of a clear message, in the notebook and before anything is sent.
It protects nobody: what attributes of a module or `eval` may reach is not looked at. The sandbox protects.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import FunctionType, MappingProxyType
from typing import Any

from geoloom.calling import is_filled, own_parameters
from geoloom.capture.arrangement import Arrangement
from geoloom.capture.compiling import FunctionNode
from geoloom.capture.gathering import Gathering
from geoloom.capture.imports import importable, is_foreign
from geoloom.capture.refusal import library_function, named, not_a_function
from geoloom.capture.textual import from_text
from geoloom.errors import FunctionNotSent
from geoloom.harness import DEFAULT_MODULES

MOST_SOURCE = 1 << 20
"""Bytes of a text that is sent."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A function as text.

    Parameters
    ----------
    name
        What the text calls it.
    source
        A module that defines it. The same function with the same globals gives the same text, in any process.
    modules
        What the text imports, by the first part of their names, sorted.
    lines
        The line of each function's ``def`` in the text, from 1, by the functions' names.
    older_style
        Whether it takes its window from ``band0``, ``band1``, … or gives its result in ``img``.
    signature
        Its parameters; those that may be left out have a default, ``...``.
    """

    name: str
    source: str
    modules: tuple[str, ...]
    lines: Mapping[str, int] = field(hash=False)
    older_style: bool
    signature: inspect.Signature

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Compare a call's arguments, those behind the image, with the function's parameters.

        Raises
        ------
        FunctionNotSent
            One is missing, unknown, or too many.
        """
        parameters = own_parameters(self.signature, self.older_style)
        own = [one for one in parameters if not is_filled(one, kwargs)]
        try:
            inspect.Signature(own).bind(*args, **kwargs)
        except TypeError:
            raise self._wrong_call(own, args, kwargs) from None

    def _wrong_call(
        self, own: Sequence[inspect.Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> FunctionNotSent:
        places = [one.name for one in own if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        behind = "" if self.older_style else " after the image"
        listed = ", ".join(str(one).replace("=Ellipsis", "=…") for one in own) or "none"
        hint = f"Its arguments{behind} are: {listed}."
        named = {one.name for one in own if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
        unknown = [name for name in kwargs if name not in named]
        if unknown and not any(one.kind is one.VAR_KEYWORD for one in own):
            near = get_close_matches(unknown[0], named, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            return FunctionNotSent(f"{self.name} has no argument {unknown[0]}.{meant}", hint=hint)
        if len(args) > len(places) and not any(one.kind is one.VAR_POSITIONAL for one in own):
            wanted = f"{len(places)} argument{'' if len(places) == 1 else 's'}"
            return FunctionNotSent(f"{self.name} takes {wanted}{behind}, not {len(args)}.", hint=hint)
        if twice := [name for name in places[: len(args)] if name in kwargs]:
            return FunctionNotSent(f"{self.name} is given {twice[0]} twice.", hint=hint)
        filled = {*places[: len(args)], *kwargs}
        single = [one for one in own if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        needed = [one.name for one in single if one.default is one.empty and one.name not in filled]
        return FunctionNotSent(f"{self.name} needs {_listed(needed)}.", hint=hint)


def capture(f: Callable[..., Any] | str, modules: Sequence[str] = DEFAULT_MODULES) -> Captured:
    """The text of a function and of all that it uses.

    Parameters
    ----------
    f
        A function of a notebook, script or module; or its text, with one ``def``.
    modules
        What it may import, by the first part of their names.

    Raises
    ------
    FunctionNotSent
        It cannot travel: why, in which line, and what to do.
    """
    node: FunctionNode
    if type(f) is str:
        found = from_text(f, modules)
        name, source, used, lines = found.name, found.source, found.modules, found.lines
        node, older = found.node, found.older_style
    elif type(f) is FunctionType:
        if is_foreign(f):
            place = importable(f, (named(f)[0].partition(".")[0],))
            raise library_function(".".join((place.module, place.name) if place else named(f)))
        try:
            gathered = Gathering(f, modules)
            arranged = Arrangement(gathered)
        except RecursionError:
            raise FunctionNotSent(
                f"{f.__code__.co_name} cannot be sent to the engine: its text is nested too deep.",
                hint="Take it apart into several statements or functions.",
            ) from None
        name, source, used, lines = gathered.name, arranged.source, frozenset(gathered.tops), arranged.lines
        node, older = gathered.main.definition.node, gathered.older_style
    else:
        raise not_a_function(f)
    if len(source.encode()) > MOST_SOURCE:
        raise FunctionNotSent(
            f"{name} with what it uses is {len(source.encode()):,} bytes long; {MOST_SOURCE:,} can be sent.",
            hint="Use smaller tables, or compute them inside the function.",
        )
    signature = _signature(node.args)
    if not older:
        _check_first(name, signature)
    return Captured(name, source, tuple(sorted(used)), MappingProxyType(dict(lines)), older, signature)


def _signature(arguments: ast.arguments) -> inspect.Signature:
    """Parameters as written; whatever a default is, it shows as ``...``."""
    kinds = inspect.Parameter
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = len(positional) - len(arguments.defaults)
    found = []
    for number, one in enumerate(positional):
        only = number < len(arguments.posonlyargs)
        kind = kinds.POSITIONAL_ONLY if only else kinds.POSITIONAL_OR_KEYWORD
        found.append(kinds(one.arg, kind, default=kinds.empty if number < needed else ...))
    if arguments.vararg:
        found.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(kinds(one.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else ...))
    if arguments.kwarg:
        found.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(found)


def _check_first(name: str, signature: inspect.Signature) -> None:
    """A function needs a place for the image."""
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise FunctionNotSent(
            f"{name} has no parameter for the image.",
            hint=f"Its first one gets the image, an array (bands, rows, cols): def {name}(img).",
        )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
