"""The text of a function: found where it was written, and cut out.

Whatever text is found, it counts only if Python makes of it exactly the code that the function at hand runs.
So a cell that was run again, a file that was edited since, or a line with two lambdas cannot lead astray.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import Any

from geoloom.capture import history
from geoloom.capture.refusal import Unsendable
from geoloom.capture.uses import codes

HEADER = "from __future__ import annotations"
INDENT = "    "

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_ANNOTATIONS = annotations.compiler_flag
_MARK = 10_000_000


@dataclass(frozen=True, eq=False)
class Definition:
    """A function's own text.

    Parameters
    ----------
    name
        From its ``def``; of a lambda the name it was assigned to, or empty.
    lines
        Its lines as they were written, without the indentation of the ``def``. Of a lambda, only the lambda.
    node
        The syntax tree of these lines.
    place
        Where it was found: ``tools.py``, ``cell [3]``.
    owner
        The class it stands in, if any.
    decorators
        What stands above its ``def``.
    imported
        Names that are imported beside it: Python calls what is in a module it sees imported by other code.
    """

    name: str
    lines: tuple[str, ...]
    node: FunctionNode
    place: str
    owner: str = ""
    decorators: tuple[str, ...] = ()
    imported: frozenset[str] = frozenset()

    @property
    def is_lambda(self) -> bool:
        """Whether it is no ``def``."""
        return isinstance(self.node, ast.Lambda)

    def statement(self, name: str, indent: str = "") -> list[str]:
        """Lines that bind the function to a name."""
        lines = list(self.lines)
        if self.is_lambda:
            lines = [f"{name} = ({lines[0]}", *lines[1:]]
            lines[-1] += ")"
        elif name != self.name:
            lines[0] = re.sub(r"^((?:async\s+)?def\s+)[^\s(\[]+", rf"\g<1>{name}", lines[0])
        inside = _rows_inside_strings(self.node)
        return [
            indent + line if line.strip() and number not in inside else line
            for number, line in enumerate(lines, 1)
        ]


def find(function: FunctionType) -> Definition:
    """The text of a function.

    Raises
    ------
    Unsendable
        If it cannot be found, or if what is found is no longer what the function runs.
    """
    code = function.__code__
    places = []
    for place, text in _texts(function):
        places.append(place)
        if (found := _cut_matching(text, code, place)) is not None:
            return found
    raise _not_found(code, places)


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


def gives(text: str, line: int, definition: Definition, code: CodeType) -> bool:
    """Whether a text in which a definition begins in a line defines a function of this code."""
    names = ", ".join(sorted(name for name in definition.imported if name in code.co_names))
    tree = parse(f"import {names}\n{text}" if names else text)
    # The body of a class holds its line number among its constants.
    ast.increment_lineno(tree, code.co_firstlineno - line - bool(names))
    return any(same_code(one, code) for one in codes(compiled(tree, flags_of(code))))


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two pieces of code do the same in the same words; where they stand does not count."""
    return bool(_content(one) == _content(other))


def cut(text: str, node: FunctionNode, place: str, name: str = "", owner: str = "") -> Definition:
    """The definition that a node of a text's tree stands for."""
    lines = lines_of(text)
    if isinstance(node, ast.Lambda):
        rows = lines[node.lineno - 1 : node.end_lineno]
        # Columns count bytes of UTF-8.
        rows[-1] = rows[-1].encode()[: node.end_col_offset].decode()
        rows[0] = rows[0].encode()[node.col_offset :].decode()
        statement = parse("(" + "\n".join(rows) + "\n)").body[0]
        assert isinstance(statement, ast.Expr)
        assert isinstance(statement.value, ast.Lambda)
        return Definition(name, tuple(rows), statement.value, place, owner)
    indent = lines[node.lineno - 1][: node.col_offset]
    inside = _rows_inside_strings(node)
    rows = [
        line if number in inside else line.removeprefix(indent) if line.strip() else ""
        for number, line in enumerate(lines[node.lineno - 1 : node.end_lineno], 1)
    ]
    own = parse("\n".join(rows)).body[0]
    assert isinstance(own, ast.FunctionDef | ast.AsyncFunctionDef)
    decorators = tuple(f"@{ast.unparse(one)}" for one in node.decorator_list)
    return Definition(node.name, tuple(rows), own, place, owner, decorators)


def lines_of(text: str) -> list[str]:
    """The lines of a text as Python counts them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _texts(function: FunctionType) -> Iterator[tuple[str, str]]:
    """Texts in which the function may stand, the likeliest first: where, and what."""
    code = function.__code__
    file = code.co_filename
    name = PurePath(file).name
    # What was read before may be what was imported, whatever the file says now.
    before = linecache.getlines(file, function.__globals__)
    yield name, "".join(before)
    linecache.checkcache(file)
    now = linecache.getlines(file, function.__globals__)
    if now != before:
        yield name, "".join(now)
    if file.startswith("<"):
        try:
            yield "what was typed", "".join(inspect.findsource(code)[0])
        except (OSError, TypeError, IndexError):
            pass
    yield from history.cells()


def _cut_matching(text: str, code: CodeType, place: str) -> Definition | None:
    """The definition in a text that gives exactly this code: the one in its line, else the last."""
    word = "lambda" if code.co_name == "<lambda>" else code.co_name
    # Python reads some letters as others.
    if not text.strip() or (word.isascii() and word not in text):
        return None
    try:
        found = [one for one in _functions(text, flags_of(code)) if same_code(one.code, code)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not found:
        return None
    chosen = next((one for one in found if one.code.co_firstlineno == code.co_firstlineno), found[-1])
    if len(found) > 1:
        positions = list(code.co_positions())
        chosen = next((one for one in found if list(one.code.co_positions()) == positions), chosen)
    return replace(cut(text, chosen.node, place, chosen.assigned, chosen.owner), imported=chosen.imported)


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """A function of a text: its code, the name it is assigned to, its class, the imports beside it."""

    node: FunctionNode
    code: CodeType
    assigned: str
    owner: str
    imported: frozenset[str]


def _functions(text: str, flags: int) -> Iterator[_Found]:
    """Each function of a text, as Python compiles a file, and as IPython does: statement by statement."""
    tree, marked = parse(text, flags), parse(text, flags)
    nodes = _function_nodes(tree)
    for number, (node, _, _) in enumerate(_function_nodes(marked)):
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        first = decorators[0] if decorators else node
        first.lineno = first.end_lineno = _MARK + number
        first.col_offset = first.end_col_offset = 0
    statements = list(zip(tree.body, marked.body, strict=True))
    units = [[one] for one in statements] if len(statements) > 1 else []
    for unit in (statements, *units):
        own, numbers = (ast.Module([pair[side] for pair in unit], []) for side in (0, 1))
        imported = frozenset(_imported(own))
        for plain, numbered in _pairs(compiled(own, flags), compiled(numbers, flags)):
            if numbered.co_firstlineno >= _MARK:
                node, assigned, owner = nodes[numbered.co_firstlineno - _MARK]
                yield _Found(node, plain, assigned, owner, imported)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names that imports outside functions and classes bind."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (one.asname or one.name.partition(".")[0] for one in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _imported(node)


def _function_nodes(tree: ast.Module) -> list[tuple[FunctionNode, str, str]]:
    found: list[tuple[FunctionNode, str, str]] = []

    def walk(node: ast.AST, assigned: str, owner: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found.append((node, assigned, owner))
            owner = ""
        if isinstance(node, ast.ClassDef):
            owner = node.name
        target: ast.AST | None = None
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        for child in ast.iter_child_nodes(node):
            named = isinstance(target, ast.Name) and child is getattr(node, "value", None)
            walk(child, target.id if named else "", owner)  # type: ignore[union-attr]

    walk(tree, "", "")
    return found


def _pairs(one: CodeType, other: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The code within two pieces of code of the same structure, side by side."""
    yield one, other
    children = [[part for part in code.co_consts if isinstance(part, CodeType)] for code in (one, other)]
    for pair in zip(*children, strict=True):
        yield from _pairs(*pair)


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


def _rows_inside_strings(node: ast.AST) -> set[int]:
    """Lines, counted from the node's first, that begin inside a string: their indentation is part of it."""
    first = getattr(node, "lineno", 1)
    rows: set[int] = set()
    for one in ast.walk(node):
        text = isinstance(one, ast.Constant) and isinstance(one.value, str | bytes)
        if text or isinstance(one, ast.JoinedStr) or type(one).__name__ == "TemplateStr":
            rows.update(range(one.lineno - first + 2, (one.end_lineno or 0) - first + 2))  # type: ignore[attr-defined]
    return rows


def _not_found(code: CodeType, places: list[str]) -> Unsendable:
    file, name = code.co_filename, PurePath(code.co_filename).name
    if file.endswith(".py") and name in places and not re.search(r"[/\\]ipykernel_\d+[/\\]", file):
        module = PurePath(file).stem
        return Unsendable(
            f"its text in {name} is no longer what runs here: the file has changed since it was imported",
            f"Import it again: importlib.reload({module}), or restart the kernel.",
        )
    typed = not file.startswith("<") or file.startswith(("<timed", "<ipython-input"))
    if typed and any(place.startswith("cell") for place in places):
        return Unsendable(
            "the cell that defined it is not known any more", "Run the cell with its def again."
        )
    return Unsendable(
        "its text cannot be found; it was made by exec, or typed where Python keeps no text",
        "Write it in a cell of a notebook or in a .py file, or give its text: "
        "image.execute('def f(img): …').",
    )
