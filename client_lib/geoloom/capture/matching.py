"""Which function of a text is the one at hand: the one that Python makes the same code of."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from geoloom.capture.compiling import FunctionNode, compiled, flags_of, pairs, parse, same_code

_MARK = 10_000_000
"""Line numbers from here on are marks: no text has so many lines."""


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where a text has a function: in which statement, assigned to which name, in which class."""

    node: FunctionNode
    name: str
    statement: ast.stmt
    assigned: str
    owner: str


@dataclass(frozen=True, eq=False, slots=True)
class Match:
    """A function of a text with its code, and the names that are imported beside it."""

    place: Place
    code: CodeType
    imported: frozenset[str]


def match(text: str, code: CodeType) -> Match | None:
    """The function of a text that Python makes exactly this code of: the one in its line, else the last."""
    if not _mentions(text, code.co_name):
        return None
    try:
        for found in _functions(text, code):
            if equal := [one for one in found if same_code(one.code, code)]:
                break
        else:
            return None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    chosen = next((one for one in equal if one.code.co_firstlineno == code.co_firstlineno), equal[-1])
    if len(equal) == 1:
        return chosen
    positions = list(code.co_positions())
    return next((one for one in equal if list(one.code.co_positions()) == positions), chosen)


def _mentions(text: str, name: str) -> bool:
    """Whether a text may define a function of a name."""
    if name == "<lambda>":
        return "lambda" in text
    # Python reads some letters as others.
    return bool(re.search(rf"\bdef\b[\s\\]+{name}\b" if text.isascii() else r"\bdef\b", text))


@lru_cache(16)
def _searched(text: str, flags: int) -> tuple[ast.Module, list[Place]]:
    """The tree of a text, and all its functions. Sliders send one function many times."""
    tree = parse(text, flags)
    return tree, [place for statement in tree.body for place in _places(statement)]


def _functions(text: str, code: CodeType) -> Iterator[list[Match]]:
    """A text's functions of a name, as Python compiles a file; then as IPython does, each statement alone."""
    flags = flags_of(code)
    tree, everything = _searched(text, flags)
    found = [one for one in everything if one.name == code.co_name]
    statements = dict.fromkeys(one.statement for one in found)
    imported = frozenset(_imported(tree))
    # Of all that stands around a statement, only what is imported makes a difference to its code.
    line = f"import {', '.join(sorted(imported))}" if imported else ""
    beside = parse(line).body
    there = [one for one in statements if one.lineno <= code.co_firstlineno <= (one.end_lineno or 0)]
    for some in (there, [one for one in statements if one not in there]):
        for before, names in ((beside, imported), ([], frozenset())):
            yield [
                Match(place, plain, names)
                for statement in some
                for place, plain in _compiled_functions(before, statement, found, flags)
            ]


def _compiled_functions(
    before: list[ast.stmt], statement: ast.stmt, places: list[Place], flags: int
) -> Iterator[tuple[Place, CodeType]]:
    """The functions in a statement, each with its code."""
    marked = copy.deepcopy(statement)
    nodes = [node for node in ast.walk(statement) if isinstance(node, FunctionNode)]
    for number, node in enumerate(one for one in ast.walk(marked) if isinstance(one, FunctionNode)):
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        first = decorators[0] if decorators else node
        first.lineno = first.end_lineno = _MARK + number
        first.col_offset = first.end_col_offset = 0
    by_node = {id(one.node): one for one in places}
    codes_ = (compiled(ast.Module([*before, one], []), flags) for one in (statement, marked))
    for plain, numbered in pairs(*codes_):
        if numbered.co_firstlineno >= _MARK:
            place = by_node.get(id(nodes[numbered.co_firstlineno - _MARK]))
            if place is not None:
                yield place, plain


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names that imports outside functions and classes bind."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (one.asname or one.name.partition(".")[0] for one in node.names)
            yield from (name for name in names if name != "*")
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _imported(node)


def _places(statement: ast.stmt) -> list[Place]:
    found: list[Place] = []

    def walk(node: ast.AST, assigned: str, owner: str) -> None:
        if isinstance(node, FunctionNode):
            name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            found.append(Place(node, name, statement, assigned, owner))
            owner = ""
        if isinstance(node, ast.ClassDef):
            owner = node.name
        target: ast.AST | None = None
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        for child in ast.iter_child_nodes(node):
            named = isinstance(target, ast.Name) and child is getattr(node, "value", None)
            walk(child, target.id if named else "", owner)  # type: ignore[union-attr]

    walk(statement, "", "")
    return found
