"""Which function of a text is the one at hand: the one that Python makes the same code of."""

from __future__ import annotations

import ast
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
    """Where a text has a function: in which statement, assigned to which name, in which class.

    `mark` is the number of its first line in `marked`, the same statement with marks.
    """

    node: FunctionNode
    mark: int
    statement: ast.stmt
    marked: ast.stmt
    assigned: str
    owner: str

    @property
    def name(self) -> str:
        """As its code has it."""
        return "<lambda>" if isinstance(self.node, ast.Lambda) else self.node.name


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
def _searched(text: str, flags: int) -> tuple[frozenset[str], list[Place]]:
    """What a text imports, and all its functions. Sliders send one function many times."""
    tree, marked = parse(text, flags), parse(text, flags)
    nodes = [node for node in ast.walk(marked) if isinstance(node, FunctionNode)]
    for number, node in enumerate(nodes):
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        first = decorators[0] if decorators else node
        first.lineno = first.end_lineno = _MARK + number
        first.col_offset = first.end_col_offset = 0
    numbers = {
        node: number
        for number, node in enumerate(one for one in ast.walk(tree) if isinstance(one, FunctionNode))
    }
    found = []
    for statement, other in zip(tree.body, marked.body, strict=True):
        found += [
            Place(node, _MARK + numbers[node], statement, other, assigned, owner)
            for node, assigned, owner in _inside(statement)
        ]
    return frozenset(_imported(tree)), found


def _functions(text: str, code: CodeType) -> Iterator[list[Match]]:
    """A text's functions of a name, as Python compiles a file; then as IPython does, each statement alone."""
    flags = flags_of(code)
    imported, everything = _searched(text, flags)
    found = [one for one in everything if one.name == code.co_name]
    # Of all that stands around a statement, only what is imported makes a difference to its code.
    line = f"import {', '.join(sorted(imported))}" if imported else ""
    beside = parse(line).body
    there = [
        one for one in found if one.statement.lineno <= code.co_firstlineno <= (one.statement.end_lineno or 0)
    ]
    for some in (there, [one for one in found if one not in there]):
        for before, names in ((beside, imported), ([], frozenset())):
            yield [
                Match(place, plain, names)
                for statement in dict.fromkeys(one.statement for one in some)
                for place, plain in _compiled(
                    before, [one for one in some if one.statement is statement], flags
                )
            ]


def _compiled(before: list[ast.stmt], places: list[Place], flags: int) -> Iterator[tuple[Place, CodeType]]:
    """The functions of one statement, each with its code."""
    statements = (places[0].statement, places[0].marked)
    by_mark = {one.mark: one for one in places}
    for plain, marked in pairs(*(compiled(ast.Module([*before, one], []), flags) for one in statements)):
        if marked.co_firstlineno in by_mark:
            yield by_mark[marked.co_firstlineno], plain


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names that imports outside functions and classes bind."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (one.asname or one.name.partition(".")[0] for one in node.names)
            yield from (name for name in names if name != "*")
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _imported(node)


def _inside(statement: ast.stmt) -> Iterator[tuple[FunctionNode, str, str]]:
    """The functions in a statement, with the name each is assigned to and the class it is in."""
    waiting: list[tuple[ast.AST, str, str]] = [(statement, "", "")]
    while waiting:
        node, assigned, owner = waiting.pop()
        if isinstance(node, FunctionNode):
            yield node, assigned, owner
            owner = ""
        if isinstance(node, ast.ClassDef):
            owner = node.name
        target: ast.AST | None = None
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        for child in reversed(list(ast.iter_child_nodes(node))):
            named = isinstance(target, ast.Name) and child is getattr(node, "value", None)
            waiting.append((child, target.id if named else "", owner))  # type: ignore[union-attr]
