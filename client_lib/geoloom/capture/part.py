"""A function that is sent or comes along, with what it brings from where it was defined."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from geoloom.capture.compiling import compiled
from geoloom.capture.definition import INDENT, Definition, find
from geoloom.capture.imports import importable
from geoloom.capture.refusal import Unsendable, is_a
from geoloom.capture.uses import globals_used

_NOTHING = object()


@dataclass(eq=False)
class Part:
    """A function and its text.

    Parameters
    ----------
    function
        As the notebook has it.
    definition
        Its text.
    modules
        What may be imported.

    Attributes
    ----------
    values
        What it takes from the function around it, by name.
    own_names
        Names by which it finds itself there.
    defaults, named_defaults
        Values of its defaults, where its text may give others by now.
    changing
        Expressions of defaults that may give other values by now: they do not come along.
    early
        What must be there before it is defined.
    """

    function: FunctionType
    definition: Definition
    modules: Sequence[str]
    values: dict[str, Any] = field(default_factory=dict)
    own_names: list[str] = field(default_factory=list)
    defaults: tuple[Any, ...] | None = None
    named_defaults: dict[str, Any] | None = None
    changing: list[ast.expr] = field(default_factory=list)
    early: list[Any] = field(default_factory=list)

    @staticmethod
    def of(function: FunctionType, modules: Sequence[str]) -> Part:
        """Find a function's text.

        Raises
        ------
        Unsendable
            If it cannot be found.
        """
        return Part(function, find(function), modules)

    @property
    def enclosed(self) -> bool:
        """Whether its text needs a function around it, which gives it `values`."""
        return bool(self.values or self.own_names)

    def statement(self, name: str, around: str) -> tuple[list[str], int]:
        """Lines that define it by a name, and which of them is its own first one, from 0.

        If it is `enclosed`, they define ``around``, which gives it.
        """
        definition = self.definition.emptied(self.changing)
        if not self.enclosed:
            return definition.statement(name), 0
        names = chain(self.own_names, map("function_{}".format, count()))
        inner = self.definition.name or next(one for one in names if one not in self.values)
        lines = [f"def {around}({', '.join(self.values)}):", *definition.statement(inner, INDENT)]
        lines += [f"{INDENT}{one} = {inner}" for one in self.own_names if one != inner]
        return [*lines, f"{INDENT}return {inner}"], 1

    def look_around(self) -> Iterator[tuple[str, Any, int]]:
        """Fill in what the function has from where it was defined; gives each with its name and line.

        Raises
        ------
        Unsendable
            What has no value any more.
        """
        self._look_at_closure()
        self._look_at_defaults()
        for name, value in self.values.items():
            yield name, value, self._line_of(name)
        arguments = self.definition.node.args
        positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        given = self.defaults or ()
        defaults = dict(zip(positional[len(positional) - len(given) :], given, strict=True))
        for name, value in {**defaults, **(self.named_defaults or {})}.items():
            yield f"the default of {name}", value, 1
            self.early.append(value)

    def _look_at_closure(self) -> None:
        code = self.function.__code__
        for name, cell in zip(code.co_freevars, self.function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                line = self._line_of(name)
                raise Unsendable(f"{name} of the function around it has no value yet", None, line) from None
            if value is self.function:
                self.own_names.append(name)
            elif name in (self.definition.name, "__class__"):
                hint = "Write it outside of what is around it."
                raise Unsendable(f"{name} is something else around it", hint, self._line_of(name))
            else:
                self.values[name] = value
                self.early.append(value)

    def _look_at_defaults(self) -> None:
        """Defaults count as they were when the ``def`` was run."""
        arguments = self.definition.node.args
        changing: list[ast.expr] = []
        values, named = self.function.__defaults__ or (), self.function.__kwdefaults__ or {}
        if len(values) == len(arguments.defaults):
            pairs = zip(arguments.defaults, values, strict=True)
            changing += [one for one, value in pairs if not self._is_steady(one, value)]
            self.defaults = values if changing else None
        listed = [
            (default, named[one.arg])
            for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None and one.arg in named
        ]
        changing_named = [one for one, value in listed if not self._is_steady(one, value)]
        self.named_defaults = dict(named) if changing_named else None
        self.changing = [*changing, *changing_named]

    def _is_steady(self, default: ast.expr, value: Any) -> bool:
        """Whether the text of a default gives the value that the function has."""
        space: dict[str, Any] = {**vars(builtins), "numpy": np, "np": np, **self.function.__globals__}
        if isinstance(default, ast.Name):
            steady = default.id not in self.values and space.get(default.id, _NOTHING) is value
            if steady:
                self.early.append(value)
            return steady
        names = {use.name for use in globals_used(compiled(ast.unparse(default)))}
        return all(name in space and self._is_fixed(name, space[name]) for name in names)

    def _is_fixed(self, name: str, value: Any) -> bool:
        if is_a(value, ModuleType):
            return importable(value, self.modules) is not None
        return vars(builtins).get(name) is value

    def _line_of(self, name: str) -> int:
        """The first line that mentions a name."""
        names = (one for one in ast.walk(self.definition.node) if isinstance(one, ast.Name))
        return min((one.lineno for one in names if one.id == name), default=1)
