"""The Python that builds an image, as a person would write it: what a GUI shows as its code."""

from __future__ import annotations

import builtins
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from geoloom.chain import Chain, Node
from geoloom.image import Image
from geoloom.op import Op, class_of, decode, registry
from geoloom.ops.constant import Constant
from geoloom.ops.open import Open
from geoloom.ops.select import Select

LINE = 88
"""Letters of a line; a longer row of calls is written one call a line."""

Known = Mapping[str, tuple[str, str]]
"""By key, name and code of images: ``{dem.key: ("dem", 'gl.open("dem.tif")')}``."""


def python_text(image: Image, known: Known | None = None, name: str = "image") -> str:
    """Lines of Python that build an image: run after ``import geoloom as gl`` they give the same chain.

    What no method gives, such as a step of an older version, is written as the chain's JSON.

    Parameters
    ----------
    image
        The image.
    known
        Images it is made of, and how they are written. Those whose code is their name are there already.
    name
        Of the variable that holds it in the end.
    """
    try:
        writer = _Writer(image.chain, name, known or {})
        code = writer.written(image.key)
        return "\n".join([*writer.lines, code.assigned(name)])
    except _Unwritten:
        return f"{name} = gl.from_json({literal(image.to_json())})"


class _Unwritten(Exception):
    """No Python but the JSON gives such a step."""


@dataclass(frozen=True, slots=True)
class _Code:
    """An expression: how it begins, the calls that follow, and whether it is an operation."""

    head: str
    calls: tuple[str, ...] = ()
    operation: bool = False

    def __str__(self) -> str:
        return f"({self.head})" if self.operation else self.head + "".join(self.calls)

    def then(self, call: str) -> _Code:
        return _Code(str(self), (call,)) if self.operation else _Code(self.head, (*self.calls, call))

    def assigned(self, name: str) -> str:
        """``name = code``, one call a line if that is long."""
        line = f"{name} = {self.head}{''.join(self.calls)}"
        if len(line) <= LINE or not self.calls:
            return line
        return "\n".join([f"{name} = (", f"    {self.head}", *(f"    {call}" for call in self.calls), ")"])


@dataclass(slots=True)
class _Writer:
    chain: Chain
    name: str
    given: Known
    lines: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Of nodes that have a variable, by key."""
    uses: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        reached, waiting = {self.chain.root}, [self.chain.root]
        while waiting:
            for below in self._below(waiting.pop()):
                self.uses[below] += 1
                if below not in reached:
                    reached.add(below)
                    waiting.append(below)

    def written(self, key: str) -> _Code:
        """The code of a node, whatever it is called."""
        if key in self.given:
            return _Code(self._named(key, *self.given[key]))
        node = self.chain.nodes[key]
        cls, op = class_of(node), decode(node)
        if node.each is not None or cls.sandboxed or cls.painted or registry()[node.op] is not cls:
            raise _Unwritten
        if isinstance(op, Open):
            if op.fingerprint is not None:
                raise _Unwritten
            return _Code("gl", (f".open({literal(op.href)})",))
        if cls.symbol is not None:
            return self._operation(cls.symbol, node)
        if not cls.inputs or (cls.method and self._is_number(node.inputs[0])):
            raise _Unwritten
        first = self._operand(node.inputs[0]) if cls.method else _Code("gl")
        if isinstance(op, Select):
            names = ", ".join(map(literal, op.bands))
            return first.then(f"[{names}]" if len(op.bands) == 1 else f"[[{names}]]")
        rest = node.inputs[1:] if cls.method else node.inputs
        others = [str(self._operand(key, self._role(node, key))) for key in rest]
        return first.then(f".{cls.name}({', '.join([*others, *_arguments(cls, op)])})")

    def _operation(self, symbol: str, node: Node) -> _Code:
        if all(map(self._is_number, node.inputs)):
            raise _Unwritten
        operands = [str(self._operand(key)) for key in node.inputs]
        if symbol == "abs":
            return _Code(f"abs({operands[0]})")
        written = f"{symbol}{operands[0]}" if len(operands) == 1 else f" {symbol} ".join(operands)
        return _Code(written, operation=True)

    def _operand(self, key: str, role: str = "") -> _Code:
        """A node as part of another's code: by its name if it is used again, or if it has a role there."""
        if key in self.names:
            return _Code(self.names[key])
        if self._is_number(key):
            value = self.chain.nodes[key].params["value"]
            return _Code(literal(value), operation=value < 0)
        code = self.written(key)
        if key in self.names or (self.uses[key] < 2 and not (role and self.chain.nodes[key].inputs)):
            return code
        return _Code(self._named(key, role or self.chain.nodes[key].op, code))

    def _named(self, key: str, wanted: str, code: str | _Code) -> str:
        """The variable that holds a node, from here on."""
        if key not in self.names:
            there = wanted == code
            taken = () if there else {self.name, "gl", *self.names.values(), *dir(builtins)}
            candidates = [wanted, *(f"{wanted}_{n}" for n in range(2, len(self.names) + 4))]
            name = next(one for one in candidates if one not in taken and not iskeyword(one))
            if not there:
                self.lines.append((_Code(code) if isinstance(code, str) else code).assigned(name))
            self.names[key] = name
        return self.names[key]

    def _role(self, node: Node, key: str) -> str:
        """What an input is for: its declared name; of one among many, what it is."""
        declared = class_of(node).inputs
        place = node.inputs.index(key)
        if place >= len(declared) or declared[place].kind == "images":
            return self.chain.nodes[key].op
        return declared[place].name

    def _is_number(self, key: str) -> bool:
        return key not in self.given and self.chain.nodes[key].op == Constant.name

    def _below(self, key: str) -> tuple[str, ...]:
        return () if key in self.given else tuple(self.chain.nodes[key].inputs)


def _arguments(cls: type[Op], op: Op) -> list[str]:
    """What differs from the defaults: required ones by place, as long as none was left out before."""
    written, by_place = [], True
    declared = {one.name: one for one in cls.parameters}
    for parameter in (declared[name] for name in cls.signature().parameters if name in declared):
        value = getattr(op, parameter.name)
        if parameter.hint in (float, tuple[float, ...]):
            value = _whole(value)
        if parameter.variadic:
            written += [literal(one) for one in value]
        elif parameter.required and by_place:
            written.append(literal(value))
        else:
            by_place = False
            if parameter.required or value != parameter.default:
                written.append(f"{parameter.name}={literal(value)}")
    return written


def _whole(value: Any) -> Any:
    """Numbers that become floats anyway, without decimals that say nothing."""
    if isinstance(value, tuple):
        return tuple(map(_whole, value))
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def literal(value: Any) -> str:
    """A value as it stands in code: text in double quotes, which nothing in it ends."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool | int | float | None):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    raise _Unwritten
