"""The parts of a function put together as one text, always in the same order."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterator
from itertools import count
from types import ModuleType
from typing import Any

from geoloom.capture.constants import is_builtin, written
from geoloom.capture.definition import HEADER
from geoloom.capture.gathering import Gathering
from geoloom.capture.imports import name_of
from geoloom.capture.part import Part
from geoloom.capture.refusal import Unsendable, is_a, not_sent
from geoloom.capture.uses import globals_set

_BUILTINS = frozenset(vars(builtins))


class Arrangement:
    """The text of a module that defines what was gathered.

    First the imports, then the constants, then the functions; what one needs to be defined comes before it.

    Attributes
    ----------
    source
        The text.
    lines
        The line of each function's ``def`` (or ``lambda``), from 1.
    """

    def __init__(self, gathered: Gathering) -> None:
        self._gathered = gathered
        self._taken = {*gathered.needed, *_BUILTINS, "img", gathered.name}
        for part in gathered.parts.values():
            self._taken |= globals_set(part.function.__code__)
        self._names: dict[int, str] = {}
        self._bound: dict[int, list[str]] = {}
        for name in sorted(gathered.needed):
            self._bound.setdefault(id(gathered.needed[name]), []).append(name)
        for part in gathered.parts.values():
            self._names[id(part.function)] = self._function_name(part)
        for value, found in gathered.imported.values():
            wanted = (found.name or found.module).rpartition(".")[2]
            self._names[id(value)] = (self._bound.get(id(value)) or [""])[0] or self._free(wanted)
        self._lines: list[str] = []
        self.lines: dict[str, int] = {}
        later = dict(self._values())
        constants = {name: text for name, (text, needs) in later.items() if not needs}
        imports = sorted(self._imports())
        self._block([HEADER])
        if imports:
            self._block(["", *imports])
        if constants:
            # `float = 3` must not spoil what is written with float(…).
            order = sorted(constants, key=lambda name: (name in _BUILTINS, name))
            self._block(["", *(f"{name} = {constants[name]}" for name in order)])
        self._state: dict[int | str, bool] = dict.fromkeys(constants, True)
        self._later = {name: found for name, found in later.items() if name not in constants}
        for name in sorted(self._later):
            self._place_value(name)
        # What is called stands above; the function that is sent was the first to be gathered.
        for part in reversed(gathered.parts.values()):
            self._place(part)
        self.source = "\n".join(self._lines) + "\n"

    def _function_name(self, part: Part) -> str:
        """The name a function has in the text: its own, unless that means something else there."""
        gathered = self._gathered
        if part is gathered.main:
            return gathered.name
        own = part.definition.name
        aliases = self._bound.get(id(part.function), [])
        if own in aliases:
            return own
        if part.definition.is_lambda and aliases:
            return aliases[0]
        return self._free(own or "function")

    def _free(self, wanted: str) -> str:
        """A name that nothing else has."""
        name = next(
            name
            for number in count()
            if (name := f"{wanted}_{number}" if number else wanted) not in self._taken
        )
        self._taken.add(name)
        return name

    def _values(self) -> Iterator[tuple[str, tuple[str, list[int]]]]:
        """Global names that are neither functions nor imports: as text, and the functions each refers to."""
        for name, value in sorted(self._gathered.needed.items(), key=lambda one: one[0]):
            if id(value) in self._gathered.parts or id(value) in self._gathered.imported:
                continue
            yield name, self._written(name, value)

    def _written(self, name: str, value: Any) -> tuple[str, list[int]]:
        needs: list[int] = []

        def reference(value: object) -> str | None:
            if id(value) in self._gathered.parts:
                needs.append(id(value))
            if is_a(value, ModuleType) and id(value) in self._gathered.spaces:
                return self._space(value, reference)  # type: ignore[arg-type]
            return self._reference(value)

        return written(name, value, reference), needs

    def _space(self, module: ModuleType, reference: Any) -> str:
        """A person's own module: an object with the attributes that are used."""
        used = self._gathered.spaces[id(module)][1]
        listed = ", ".join(f"{name!r}: {written(name, used[name], reference)}" for name in sorted(used))
        return f"type({name_of(module)!r}, (), {{{listed}}})"

    def _reference(self, value: object) -> str | None:
        if (own := is_builtin(value)) is not None:
            return own
        return self._names.get(id(value))

    def _imports(self) -> set[str]:
        """Import statements."""
        found = {f"import {name}" for name in self._gathered.submodules}
        for value, place in self._gathered.imported.values():
            names = {*self._bound.get(id(value), []), self._names[id(value)]}
            found.update(place.line(name) for name in names)
        return found

    def _place_value(self, name: str) -> None:
        """Write a constant that refers to functions, behind these."""
        if self._state.get(name):
            return
        self._begin(name)
        text, needs = self._later[name]
        for one in needs:
            self._place(self._gathered.parts[one])
        self._block(["", "", f"{name} = {text}"])
        self._state[name] = True

    def _place(self, part: Part) -> None:
        """Write a function, behind what has to be there before."""
        key = id(part.function)
        if self._state.get(key):
            return
        self._begin(key)
        for value in part.early:
            self._place_before(value)
        name = self._names[key]
        text, own = part.statement(name, around := self._free(f"around_{name}") if part.enclosed else "")
        self.lines[name] = len(self._lines) + 3 + own
        self._block(["", "", *text])
        if part.enclosed:
            given = [self._written(name, value)[0] for name, value in part.values.items()]
            self._block(["", "", f"{name} = {around}({', '.join(given)})"])
        if part.defaults is not None:
            self._block([f"{name}.__defaults__ = {self._written(name, part.defaults)[0]}"])
        if part.named_defaults is not None:
            self._block([f"{name}.__kwdefaults__ = {self._written(name, part.named_defaults)[0]}"])
        aliases = [one for one in self._bound.get(key, []) if one != name]
        self._block([f"{one} = {name}" for one in aliases])
        self._state[key] = True

    def _place_before(self, value: Any) -> None:
        """Write the functions, and the constants with functions, that a value consists of."""
        for name in self._bound.get(id(value), []):
            if name in self._later:
                self._place_value(name)
        with contextlib.suppress(Unsendable):  # what a default only mentions need not come along
            for one in self._written("a value", value)[1]:
                self._place(self._gathered.parts[one])

    def _begin(self, key: int | str) -> None:
        if key in self._state:
            raise not_sent(
                self._gathered.name,
                "two of the functions it uses need each other to be defined",
                "Define them at the top of the notebook, outside other functions.",
            )
        self._state[key] = False

    def _block(self, lines: list[str]) -> None:
        self._lines.extend(lines)
