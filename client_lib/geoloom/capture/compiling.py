"""From text to code, and whether two pieces of code are the same."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterator
from types import CodeType
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_ANNOTATIONS = annotations.compiler_flag


def parse(text: str, flags: int = 0) -> ast.Module:
    """The syntax tree of a text, without warnings about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags |= ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree: ast.Module = compile(text, "<text>", "exec", flags=flags, dont_inherit=True)
        return tree


def compiled(source: str | ast.Module, flags: int = 0) -> CodeType:
    """The code of a text, without warnings about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(source, "<text>", "exec", flags=flags, dont_inherit=True)
        return code


def flags_of(code: CodeType) -> int:
    """The compiler's flags that code was made with."""
    return code.co_flags & _ANNOTATIONS


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two pieces of code do the same in the same words; where they stand does not count."""
    return bool(_content(one) == _content(other))


def lines_of(text: str) -> list[str]:
    """The lines of a text as Python counts them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def pairs(one: CodeType, other: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The code within two pieces of code of the same structure, side by side."""
    yield one, other
    children = [[part for part in code.co_consts if isinstance(part, CodeType)] for code in (one, other)]
    for pair in zip(*children, strict=True):
        yield from pairs(*pair)


def _content(value: Any) -> Any:
    """All of code that decides what it does, as something that can be compared."""
    if isinstance(value, CodeType):
        return (
            value.co_name,
            value.co_code,
            value.co_exceptiontable,
            value.co_flags & ~(_ANNOTATIONS | inspect.CO_NESTED),
            (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount),
            (value.co_varnames, value.co_names, value.co_freevars, value.co_cellvars),
            tuple(_content(one) for one in value.co_consts if not _is_place(one, value)),
        )
    if isinstance(value, tuple):
        return tuple(_content(one) for one in value)
    if isinstance(value, frozenset):
        return frozenset(_content(one) for one in value)
    if isinstance(value, slice):
        return (slice, _content(value.start), _content(value.stop), _content(value.step))
    # 1 == 1.0 == True, 0.0 == -0.0 and nan != nan; what is written is not.
    return (type(value), repr(value))


def _is_place(constant: Any, code: CodeType) -> bool:
    """Whether a constant of a class's body only says where the class stands."""
    if "__qualname__" not in code.co_names:
        return False
    return constant in (code.co_qualname, code.co_firstlineno)
