"""Python's operators: which special methods an op's symbol stands for."""

from __future__ import annotations

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
