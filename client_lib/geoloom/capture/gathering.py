"""All that a function needs: the functions it calls, their constants, what they import."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import count
from types import FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np

from geoloom.calling import GIVEN_TO_OLDER, is_older_style
from geoloom.capture.compiling import compiled
from geoloom.capture.constants import is_builtin, written
from geoloom.capture.definition import HEADER, find, gives
from geoloom.capture.imports import (
    OWN_PACKAGES,
    Import,
    importable,
    is_foreign,
    is_installed,
    is_library,
    is_notebooks,
    name_of,
    of_module,
    submodules,
)
from geoloom.capture.part import Part
from geoloom.capture.refusal import TAKE_OUT, Unsendable, is_a, named, not_sent
from geoloom.capture.rules import check_kind, check_style, imported_by, is_there, not_defined
from geoloom.capture.uses import Use, attributes_of, globals_named, globals_set, globals_used, set_before_use

_NOTHING = object()


class Gathering:
    """What a function needs from the notebook.

    Parameters
    ----------
    function
        The one that is sent.
    modules
        What it may import, by the first part of their names.

    Attributes
    ----------
    name
        Of the function that is sent.
    parts
        The functions, by identity, the one that is sent first.
    needed
        Global names and what they stand for.
    imported
        Objects that are imported, with where from, by identity.
    submodules
        Modules that `import` has to name, since attributes of packages lead to them.
    spaces
        A person's own modules, with what is used of them, by identity.
    tops
        The modules that are imported, by the first part of their names.

    Raises
    ------
    FunctionNotSent
        Why it cannot be sent, and in which line.
    """

    def __init__(self, function: FunctionType, modules: Sequence[str]) -> None:
        self.modules = tuple(modules)
        self.older_style = is_older_style(function.__code__)
        self.parts: dict[int, Part] = {}
        self.needed: dict[str, Any] = {}
        self.imported: dict[int, tuple[Any, Import]] = {}
        self.submodules: set[str] = set()
        self.spaces: dict[int, tuple[ModuleType, dict[str, Any]]] = {}
        self.tops: set[str] = set()
        self._places: dict[str, str] = {}
        self._missing: list[tuple[Part, Use]] = []
        self.name = function.__code__.co_name
        try:
            self.main = Part.of(function, self.modules)
        except Unsendable as error:
            raise not_sent(_called(self.name), error.reason, error.hint) from None
        self._waiting = [self.main]
        self.parts[id(function)] = self.main
        if self.main.definition.is_lambda:
            self.name = self.main.definition.name or "function"
        else:
            self._need(self.main, self.name, function, 1)
        while self._waiting:
            part = self._waiting.pop(0)
            try:
                self._examine(part)
            except Unsendable as error:
                self._refuse(part, error)
        self._check_missing()
        if self.needed.get(self.name, function) is not function:
            self.name = next(name for name in map("function_{}".format, count()) if name not in self.needed)

    def reference(self, value: object) -> str | None:
        """Take something along that is no constant; None if it cannot be.

        Raises
        ------
        Unsendable
            Why it cannot be.
        """
        if (own := is_builtin(value)) is not None:
            return own
        if id(value) in self.parts or id(value) in self.imported or id(value) in self.spaces:
            return "_"
        if (found := importable(value, self.modules)) is not None:
            self.imported[id(value)] = (value, found)
            self.tops.add(found.top)
            return "_"
        if is_a(value, ModuleType):
            raise of_module(name_of(value), self.modules)  # type: ignore[arg-type]
        module, name = named(value)
        if type(value) is FunctionType and not is_foreign(value):
            self._add(value)
            return "_"
        if name and is_library(module):
            raise of_module(module, self.modules, name)
        return None

    def _add(self, function: FunctionType) -> None:
        """Find the text of a function that is called, and look at it later."""
        try:
            part = Part.of(function, self.modules)
        except Unsendable as error:
            raise Unsendable(f"{_called(function.__code__.co_name)}: {error.reason}", error.hint) from None
        self.parts[id(function)] = part
        self._waiting.append(part)

    def _examine(self, part: Part) -> None:
        definition, code = part.definition, part.function.__code__
        wraps = part is not self.main and any(one is part.function for one in self.main.values.values())
        if "__wrapped__" in part.function.__dict__:
            self._refuse_decorated(part.function, part.function.__dict__["__wrapped__"])
        if wraps and definition.decorators:
            self._refuse_decorated(self.main.function, part.function)
        check_kind(definition, code.co_flags, part is self.main)
        if part is self.main:
            check_style(definition.node, code)
        for name, value, line in part.look_around():
            self._take(name, value, line)
        lines, offset = part.statement(definition.name or "function", "around")
        text = "\n".join(lines)
        if not gives(text, offset + 1, definition, code):
            hint = "Write it as a def of its own, outside of what is around it."
            raise Unsendable("its text cannot be cut out exactly", hint, 1)
        self.tops |= imported_by(definition.node, self.modules)
        # Annotations do not count: nothing evaluates them in the engine either.
        own = compiled(f"{HEADER}\n{text}")
        rebound = globals_set(own)
        for use in globals_used(own):
            if use.name not in rebound or not set_before_use(definition.node, use.name):
                self._resolve(part, Use(use.name, max(use.line - offset - 1, 1)))

    def _resolve(self, part: Part, use: Use) -> None:
        """Take along what a global name stands for."""
        space = part.function.__globals__
        if self.older_style and GIVEN_TO_OLDER.fullmatch(use.name):
            return
        try:
            value = dict.get(space, use.name, _NOTHING)
            if value is _NOTHING or is_notebooks(value) or is_builtin(value) == use.name:
                if use.name not in ("numpy", "np"):
                    if not is_there(use.name):
                        self._missing.append((part, use))
                    return
                value = np
            if is_a(value, ModuleType):
                self._take_module(part, use.name, value)
            else:
                self._take(use.name, value, use.line)
        except Unsendable as error:
            hint = error.hint
            if hint is not None and not is_a(value, ModuleType):
                hint = hint.replace(TAKE_OUT, self._taking_out(part, use.name))
            raise Unsendable(error.reason, hint, error.line or use.line) from None
        self._need(part, use.name, value, use.line)

    def _take(self, name: str, value: Any, line: int) -> None:
        try:
            written(name, value, self.reference)
        except Unsendable as error:
            raise Unsendable(error.reason, error.hint, error.line or line) from None

    def _take_module(self, part: Part, name: str, module: Any) -> None:
        """A module that is imported, or a person's own, of which the used parts come along."""
        imported = importable(module, self.modules) is not None
        if imported:
            self.reference(module)
        for attributes, line in attributes_of(part.definition.node, name):
            if not imported:
                try:
                    self._take_attribute(module, name, attributes)
                except Unsendable as error:
                    raise Unsendable(error.reason, error.hint, line) from None
            elif name_of(module).partition(".")[0] != "numpy":  # which brings all its parts by itself
                self.submodules.update(submodules(module, attributes))

    def _take_attribute(self, module: ModuleType, name: str, attributes: tuple[str, ...]) -> None:
        content = object.__getattribute__(module, "__dict__")
        if name_of(module).partition(".")[0] in OWN_PACKAGES or is_installed(content.get("__file__")):
            raise of_module(name_of(module), self.modules)
        if not attributes:
            hint = f"Functions and constants of it come along where they are named: {name}.something."
            raise Unsendable(f"the module {name} is used as a whole", hint)
        first, *rest = attributes
        shown = f"{name}.{first}"
        if first not in content:
            near = get_close_matches(first, list(content), n=1)
            raise Unsendable(f"{shown} does not exist", f"Did you mean {name}.{near[0]}?" if near else None)
        value = content[first]
        if is_a(value, ModuleType) and importable(value, self.modules) is None:
            self._take_attribute(value, shown, tuple(rest))
        else:
            written(shown, value, self.reference)
        self.spaces.setdefault(id(module), (module, {}))[1][first] = value

    def _need(self, part: Part, name: str, value: Any, line: int) -> None:
        """A global name has one value in the text, whichever function asks."""
        if name not in self.needed:
            self.needed[name] = value
            self._places[name] = part.definition.place
        elif self._same(self.needed[name], value):
            return
        elif name == part.definition.name and value is not part.function:
            reason = f"{name} stands for something else by now"
            hint = "Run the cell with its def again, or give the two different names."
            raise Unsendable(reason, hint, line)
        elif name in globals_named(part.definition.node):
            before, here = self._places[name], part.definition.place
            where = f"in {before} and in {here}" if before != here else "in two of its functions"
            hint = "All functions that are sent share the global names they set: rename one of the two."
            raise Unsendable(f"{name} is not the same {where}", hint, line)
        elif value is part.function:
            part.own_names.append(name)
        else:
            # Two modules call two things by one name: this function gets its own as an inner function would.
            part.values[name] = value
            part.early.append(value)

    def _same(self, one: Any, other: Any) -> bool:
        if one is other:
            return True
        try:
            texts = [written("", value, lambda value: f"<{id(value)}>") for value in (one, other)]
        except Unsendable:
            return False
        return texts[0] == texts[1]

    def _check_missing(self) -> None:
        """Refuse the first name that is neither there nor assigned to by any of the functions."""
        assigned = {name for part in self.parts.values() for name in globals_set(part.function.__code__)}
        for part, use in self._missing:
            if use.name not in assigned:
                known = (*part.function.__code__.co_varnames, *part.function.__globals__)
                error = not_defined(use.name, self.name, known, self.modules)
                self._refuse(part, Unsendable(error.reason, error.hint, use.line))

    def _taking_out(self, part: Part, name: str) -> str:
        """How to take out of an object what is used of it."""
        calls = [one.func for one in ast.walk(part.definition.node) if isinstance(one, ast.Call)]
        called = {chain for one in calls for chain, _ in list(attributes_of(one, name))[:1]}
        for chain, _ in attributes_of(part.definition.node, name):
            taken = ".".join((name, *chain))
            if chain and chain not in called:
                return f"Take the value out of it in the notebook, {'_'.join((name, *chain))} = {taken}"
        return TAKE_OUT

    def _refuse_decorated(self, function: FunctionType, inner: object) -> NoReturn:
        """Refuse what a decorator made, by the name of what stands below the decorator."""
        name, above = _called(function.__code__.co_name), "a decorator"
        if type(inner) is FunctionType:
            name = inner.__code__.co_name
            with contextlib.suppress(Unsendable):
                above = (*find(inner).decorators, above)[0]
        hint = "Take the decorator off and run the cell again."
        raise not_sent(name, f"{above} stands above its def, and decorators cannot come along", hint)

    def _refuse(self, part: Part, error: Unsendable) -> NoReturn:
        lines, line = part.definition.lines, error.line
        text = lines[line - 1] if line is not None and 0 < line <= len(lines) else ""
        of = ""
        if part is not self.main:
            place = part.definition.place
            elsewhere = place.endswith(".py") and place != self.main.definition.place
            of = _called(part.function.__code__.co_name) + (f" in {place}" if elsewhere else "")
        called = _called(self.main.definition.name or "<lambda>")
        raise not_sent(called, error.reason, error.hint, line, text, of) from None


def _called(name: str) -> str:
    return "The lambda" if name == "<lambda>" else name
