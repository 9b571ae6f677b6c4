"""What a function's text uses from outside: global names, modules it imports, attributes of modules."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL"})

# Python itself sets these where text is executed, or in the body of a class.
_GIVEN = frozenset({"__name__", "__module__", "__qualname__", "__builtins__", "__debug__"})

_CATCHING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})

_NOT_EVALUATED = ("annotation", "returns", "type_params")

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Use:
    """A global name in a line of a text."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class InnerImport:
    """A module that a function imports by itself.

    `level` counts the dots of a relative import, `star` is for ``import *``, and `caught` for an import whose
    failure is provided for.
    """

    module: str
    level: int
    line: int
    star: bool = False
    caught: bool = False


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def globals_used(code: CodeType) -> Iterator[Use]:
    """Global names that code looks up, in its order, those of inner functions behind."""
    for one in codes(code):
        instructions = list(dis.get_instructions(one))
        own = {str(found.argval) for found in instructions if found.opname == "STORE_NAME"} | _GIVEN
        for found in instructions:
            if found.opname in _LOADS and (found.opname == "LOAD_GLOBAL" or found.argval not in own):
                line = found.positions.lineno if found.positions else None
                yield Use(str(found.argval), line or one.co_firstlineno)


def globals_set(code: CodeType) -> set[str]:
    """Global names that code assigns to: by ``global``, or as the text of a module."""
    return {
        str(found.argval)
        for one in codes(code)
        for found in dis.get_instructions(one)
        if found.opname == "STORE_GLOBAL" or (found.opname == "STORE_NAME" and one.co_name == "<module>")
    }


def globals_named(tree: ast.AST) -> set[str]:
    """Names in ``global`` statements."""
    return {name for one in ast.walk(tree) if isinstance(one, ast.Global) for name in one.names}


def set_before_use(function: _Function, name: str) -> bool:
    """Whether a function's statements always assign to a name before anything asks for it."""
    if isinstance(function, ast.Lambda):
        return False
    for statement in function.body:
        used = [one for one in ast.walk(statement) if isinstance(one, ast.Name) and one.id == name]
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if len(used) == 1 and any(target is used[0] for target in targets):
                return True
        if used:
            return False
    return False


def attributes_of(tree: ast.AST, name: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Where a name is used: ``name.a.b`` as ("a", "b"), with its line; alone as ()."""
    chains: dict[ast.Name, list[str]] = {}
    for node in evaluated(tree):
        if isinstance(node, ast.Attribute):
            attributes = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                attributes.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id == name:
                # The outermost attribute comes first.
                chains.setdefault(inner, attributes[::-1])
        elif isinstance(node, ast.Name) and node.id == name:
            chains.setdefault(node, [])
    for found, attributes in sorted(chains.items(), key=lambda one: (one[0].lineno, one[0].col_offset)):
        yield tuple(attributes), found.lineno


def evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, outer ones first, but annotations: nothing evaluates them."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        fields = [value for name, value in ast.iter_fields(node) if name not in _NOT_EVALUATED]
        values = [one for value in fields for one in (value if isinstance(value, list) else [value])]
        waiting += [one for one in reversed(values) if isinstance(one, ast.AST)]


def imports_in(tree: ast.AST, caught: bool = False) -> Iterator[InnerImport]:
    """Import statements, but those that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (InnerImport(one.name, 0, node.lineno, False, caught) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            star = any(one.name == "*" for one in node.names)
            yield InnerImport(node.module or "", node.level, node.lineno, star, caught)
        elif isinstance(node, ast.If) and _only_for_checkers(node.test):
            yield from imports_in(ast.Module(node.orelse, []), caught)
        elif isinstance(node, ast.Try) and any(_catches(one) for one in node.handlers):
            yield from imports_in(ast.Module(node.body, []), True)
            handled = [statement for handler in node.handlers for statement in handler.body]
            yield from imports_in(ast.Module([*handled, *node.orelse, *node.finalbody], []), caught)
        elif not isinstance(node, ast.expr):
            yield from imports_in(node, caught)


def _only_for_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _catches(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    listed = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(one is None or (isinstance(one, ast.Name) and one.id in _CATCHING) for one in listed)
