"""The text of a function: found where it was written, and cut out.

Whatever text is found, it counts only if Python makes of it exactly the code that the function at hand runs.
So a cell that was run again, a file that was edited since, or a line with two lambdas cannot lead astray.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import CodeType, FunctionType

from geoloom.capture import history
from geoloom.capture.compiling import FunctionNode, compiled, flags_of, lines_of, parse, same_code
from geoloom.capture.matching import match
from geoloom.capture.refusal import Unsendable
from geoloom.capture.uses import codes

HEADER = "from __future__ import annotations"
INDENT = "    "


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

    def emptied(self, expressions: Sequence[ast.expr]) -> Definition:
        """The same text with None in place of some expressions, on as many lines."""
        if not expressions:
            return self
        # Columns count bytes of UTF-8, and those of a lambda the parenthesis that it was read in.
        rows = [line.encode() for line in self.lines]
        rows[0] = b"(" * self.is_lambda + rows[0]
        for one in sorted(expressions, key=lambda found: (found.lineno, found.col_offset), reverse=True):
            first, last = one.lineno - 1, (one.end_lineno or one.lineno) - 1
            ahead, behind = rows[first][: one.col_offset], rows[last][one.end_col_offset :]
            rows[first : last + 1] = [ahead + b"None", *[b""] * (last - first)]
            rows[last] += behind
        rows[0] = rows[0][self.is_lambda :]
        return replace(self, lines=tuple(row.decode() for row in rows))

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
        if (found := match(text, code)) is not None:
            at = found.place
            return replace(cut(text, at.node, place, at.assigned, at.owner), imported=found.imported)
    raise _not_found(code, places)


def gives(text: str, line: int, definition: Definition, code: CodeType) -> bool:
    """Whether a text in which a definition begins in a line defines a function of this code."""
    names = ", ".join(sorted(definition.imported))
    tree = parse(f"import {names}\n{text}" if names else text)
    # The body of a class holds its line number among its constants.
    ast.increment_lineno(tree, code.co_firstlineno - line - bool(names))
    return any(same_code(one, code) for one in codes(compiled(tree, flags_of(code))))


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


def _texts(function: FunctionType) -> Iterator[tuple[str, str]]:
    """Texts in which the function may stand, the likeliest first: where, and what."""
    code = function.__code__
    file = code.co_filename
    name = _place(file)
    # What was read before may be what was imported, whatever the file says now.
    before = linecache.getlines(file, function.__globals__)
    yield name, "".join(before)
    linecache.checkcache(file)
    now = linecache.getlines(file, function.__globals__)
    if now != before:
        yield name, "".join(now)
    yield from history.cells()


def _place(file: str) -> str:
    """What to call a file: the cells of a notebook have made-up names."""
    if file.startswith(("<ipython-input", "<timed")) or re.search(r"[/\\]ipykernel_\d+[/\\]", file):
        return "the notebook"
    return PurePath(file).name


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
    file, name = code.co_filename, _place(code.co_filename)
    if name.endswith(".py") and name in places:
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
