"""A function that was given as text: looked through, and put into the one form that is sent."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

from geoloom.calling import GIVEN_TO_OLDER, is_older_style
from geoloom.capture import history
from geoloom.capture.compiling import FunctionNode, compiled, lines_of, parse
from geoloom.capture.definition import HEADER, cut
from geoloom.capture.refusal import Unsendable, not_sent, slip
from geoloom.capture.rules import check_kind, check_style, imported_by, is_there, not_defined
from geoloom.capture.uses import codes, globals_set, globals_used
from geoloom.errors import FunctionNotSent

_PLAIN = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Assign, ast.AnnAssign)


@dataclass(frozen=True, eq=False)
class Textual:
    """A function from a text: its name, the whole text that is sent, and what that imports."""

    name: str
    source: str
    modules: frozenset[str]
    lines: dict[str, int]
    node: FunctionNode
    older_style: bool


def from_text(text: str, modules: Sequence[str]) -> Textual:
    """The last function that a text defines.

    Parameters
    ----------
    text
        A ``def`` or a lambda; imports, constants and other functions may stand before it.
    modules
        What it may import.

    Raises
    ------
    FunctionNotSent
        It cannot be read, or uses what is not there: why, and in which line of the text.
    """
    text = textwrap.dedent("\n".join(lines_of(text))).strip("\n").rstrip()
    if text.isidentifier():
        raise _only_a_name(text)
    try:
        tree = parse(text)
        if (
            len(tree.body) == 1
            and isinstance(tree.body[0], ast.Expr)
            and isinstance(tree.body[0].value, ast.Lambda)
        ):
            text = f"function = (\n{text}\n)" if "\n" in text else f"function = {text}"
            tree = parse(text)
        code = compiled(f"{HEADER}\n{text}")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable("The text", text, error) from None
    functions = list(_functions(tree))
    if not functions:
        hint = "Give the text of one: image.execute('def f(img): return img[0] > 5')."
        raise FunctionNotSent("The text defines no function.", hint=hint)
    name, node = functions[-1]
    # Of the functions in one line, the outermost comes first.
    by_line = {one.co_firstlineno - 1: one for one in reversed(list(codes(code)))}
    try:
        for statement in tree.body:
            _check_statement(statement)
        for one, found in functions:
            flags = by_line[_first_line(found)].co_flags
            try:
                check_kind(cut(text, found, "the text", one), flags, found is node)
            except Unsendable as error:
                raise Unsendable(error.reason, error.hint, found.lineno + (error.line or 1) - 1) from None
        own = by_line[_first_line(node)]
        try:
            check_style(node, own)
        except Unsendable as error:
            raise Unsendable(error.reason, error.hint, node.lineno + (error.line or 1) - 1) from None
        used = imported_by(tree, modules)
        older = is_older_style(own)
        _check_names(code, name, older, modules)
    except Unsendable as error:
        line = lines_of(text)[error.line - 1] if error.line else ""
        raise not_sent(name, error.reason, error.hint, error.line, line, "the text") from None
    known = HEADER in lines_of(text)[:1]
    source = f"{text}\n" if known else f"{HEADER}\n\n{text}\n"
    lines = {one: found.lineno + (0 if known else 2) for one, found in functions}
    return Textual(name, source, frozenset(used - {"__future__"}), lines, node, older)


def unreadable(what: str, text: str, error: Exception) -> FunctionNotSent:
    """That Python cannot read a text, with what may have been meant."""
    if not isinstance(error, SyntaxError):
        return FunctionNotSent(f"{what} cannot be read: {error}.")
    lines = lines_of(text)
    line = lines[error.lineno - 1].strip() if error.lineno and error.lineno <= len(lines) else ""
    reason, hint = slip(line, error)
    return FunctionNotSent(
        f"{what} cannot be sent to the engine: {reason} (line {error.lineno}: {line}).", hint=hint
    )


def _functions(tree: ast.Module) -> Iterator[tuple[str, FunctionNode]]:
    for one in tree.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield one.name, one
        elif isinstance(one, ast.Assign) and isinstance(one.value, ast.Lambda):
            yield from ((target.id, one.value) for target in one.targets[:1] if isinstance(target, ast.Name))


def _first_line(node: FunctionNode) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return decorators[0].lineno if decorators else node.lineno


def _check_statement(statement: ast.stmt) -> None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return
    if isinstance(statement, ast.ClassDef):
        hint = "Use functions and dicts instead."
        raise Unsendable(f"{statement.name} is a class", hint, statement.lineno)
    if not isinstance(statement, (*_PLAIN, ast.AsyncFunctionDef)):
        hint = "A text may have imports, constants and functions."
        raise Unsendable("it does more than define a function", hint, statement.lineno)


def _check_names(code: CodeType, name: str, older: bool, modules: Sequence[str]) -> None:
    known = globals_set(code)
    for use in globals_used(code):
        if use.name in known or use.name in ("numpy", "np") or (older and GIVEN_TO_OLDER.fullmatch(use.name)):
            continue
        if not is_there(use.name):
            error = not_defined(use.name, name, known, modules)
            hint = error.hint or ""
            if "notebook" in hint:
                hint = "A function given as text knows nothing of the notebook: define it in the text."
            raise Unsendable(error.reason, hint, use.line - 1)


def _only_a_name(name: str) -> FunctionNotSent:
    """For a name where a function is wanted; a cell that Python could not read may be why there is none."""
    for place, text in history.cells():
        if re.search(rf"^\s*def\s+{re.escape(name)}\b", text, re.MULTILINE):
            try:
                parse(text)
            except SyntaxError as error:
                return unreadable(f"{name} of {place}", text, error)
            break
    return FunctionNotSent(
        f"{name!r} is the name of a function, not a function or its text.",
        hint=f"Give the function itself, without quotes: image.execute({name}, …).",
    )
