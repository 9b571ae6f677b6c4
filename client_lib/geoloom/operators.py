"""Python's operators: which special methods an op's symbol stands for."""

from __future__ import annotations

from typing import Any

from geoloom.errors import ParameterError
from geoloom.op import Op

_SYMBOLS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "truediv",
    "//": "floordiv",
    "%": "mod",
    "**": "pow",
    "&": "and",
    "|": "or",
    "^": "xor",
    "<<": "lshift",
    ">>": "rshift",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
}
_UNARY = {"-": "neg", "~": "invert", "abs": "abs"}
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}

REVERSED = frozenset(f"__r{name}__" for symbol, name in _SYMBOLS.items() if symbol not in _COMPARISONS)
"""Methods that Python calls on the right operand."""


def operators(cls: type[Op]) -> tuple[str, ...]:
    """The special methods that an op's symbol stands for: ``__add__`` and ``__radd__`` for ``+``."""
    if cls.symbol is None:
        return ()
    if len(cls.inputs) == 1:
        return (f"__{_UNARY[cls.symbol]}__",)
    name = _SYMBOLS[cls.symbol]
    return (f"__{name}__",) if cls.symbol in _COMPARISONS else (f"__{name}__", f"__r{name}__")


def arguments(cls: type[Op], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What an op's method is called with, by name, defaults included.

    Raises
    ------
    ParameterError
        If the arguments do not fit the op's signature.
    """
    signature = cls.signature()
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        first = "(" if cls.method else f"({cls.inputs[0].name}, "
        shown = str(signature).replace("(self, ", first).replace("(self)", "()")
        raise ParameterError(f"{cls.name}: {error}.", hint=f"It is called as {cls.name}{shown}.") from None
    bound.apply_defaults()
    return bound.arguments
