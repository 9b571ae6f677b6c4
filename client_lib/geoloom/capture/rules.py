"""What a function's own text may not have, and why not."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import CodeType

from geoloom.calling import GIVEN_TO_OLDER
from geoloom.capture.compiling import FunctionNode
from geoloom.capture.definition import Definition
from geoloom.capture.imports import of_module
from geoloom.capture.refusal import Unsendable
from geoloom.capture.uses import globals_set, globals_used, imports_in

_NOT_THERE = {
    "open": "There are no files in the engine: read it in the notebook, and use what was read.",
    "input": "Nobody can answer in the engine: pass the value as an argument, image.execute(f, value).",
    "display": "There is nothing to show it on. What print(…) writes reaches the notebook, "
    "and gl.test_execute(f, image=…) shows the result.",
    "get_ipython": "There is no notebook in the engine: leave lines with % and ! out of the function.",
    "exit": "Leave the function with return.",
    "quit": "Leave the function with return.",
    "help": "Ask for help in the notebook.",
    "__file__": "There are no files in the engine.",
}
"""Names that are there in a notebook and not in the engine; what to do instead."""


def check_kind(definition: Definition, flags: int, sent: bool) -> None:
    """Refuse decorators, methods, async functions, and a generator where the result is wanted.

    Parameters
    ----------
    definition
        The function's text.
    flags
        Of its code.
    sent
        Whether it is the function that is sent, not one that it calls.

    Raises
    ------
    Unsendable
        Why, and in which line.
    """
    node = definition.node
    if definition.decorators:
        raise Unsendable(
            f"{definition.decorators[0]} stands above its def, and decorators cannot come along",
            "Take the decorator off and run the cell again.",
            1,
        )
    if definition.owner:
        hint = "Write it as a function outside the class."
        raise Unsendable(f"it is a method of class {definition.owner}", hint, 1)
    if flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise Unsendable("it is an async function", "Write it with def alone.", 1)
    if flags & inspect.CO_GENERATOR and sent:
        line = next(one.lineno for one in ast.walk(node) if isinstance(one, ast.Yield | ast.YieldFrom))
        hint = "Use return, once; several results are one array: numpy.stack([a, b])."
        raise Unsendable("it is a generator, since it has yield", hint, line)


def check_style(node: FunctionNode, code: CodeType) -> None:
    """Refuse what looks like the older style by mistake: ``img`` or ``band0`` meant for the first parameter.

    Parameters
    ----------
    node, code
        Of the function that is sent. Lines count from where `code` begins.

    Raises
    ------
    Unsendable
        What to write instead.
    """
    parameters = [*node.args.posonlyargs, *node.args.args]
    used = {use.name: use.line - code.co_firstlineno + 1 for use in globals_used(code)}
    bands = [name for name in used if name != "img" and GIVEN_TO_OLDER.fullmatch(name)]
    if bands and any(one.arg == "img" for one in parameters):
        reason = f"it has a parameter img, and uses {bands[0]} as functions without one do"
        raise Unsendable(reason, f"Write img[{bands[0][4:]}] instead of {bands[0]}.", used[bands[0]])
    if "img" in used and not bands and "img" not in globals_set(code):
        hint = "The image is its first parameter: def f(img)."
        if parameters:
            first = parameters[0].arg
            hint = f"The image is its first parameter, {first}: write {first} instead of img."
        raise Unsendable("img is not defined in it", hint, used["img"])


def imported_by(node: ast.AST, modules: Sequence[str]) -> set[str]:
    """The modules that a text imports by itself, by the first part of their names.

    Raises
    ------
    Unsendable
        For one that is not allowed.
    """
    found = set()
    for one in imports_in(node):
        if one.caught and (one.level or one.module.partition(".")[0] not in modules):
            continue
        if one.level:
            hint = "Import it in the notebook by its full name: the functions that are used then come along."
            raise Unsendable("relative imports lead nowhere in the engine", hint, one.line)
        if one.star:
            hint = f"Import what you use: import {one.module}."
            raise Unsendable(f"from {one.module} import * does not say what is used", hint, one.line)
        found.add(_allowed(one.module, modules, one.line))
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "__import__":
            first = call.args[0] if call.args else None
            module = first.value if isinstance(first, ast.Constant) else "what __import__ finds"
            found.add(_allowed(str(module), modules, call.lineno))
    return found


def is_there(name: str) -> bool:
    """Whether Python itself brings a name, in the engine too.

    Raises
    ------
    Unsendable
        Of one that is there in notebooks only.
    """
    if name in _NOT_THERE:
        raise Unsendable(f"it uses {name}, which is not there in the engine", _NOT_THERE[name])
    return name in vars(builtins)


def not_defined(name: str, function: str, known: Iterable[str], modules: Sequence[str]) -> Unsendable:
    """That a function uses a name that nobody knows.

    Parameters
    ----------
    name
        What is not known.
    function
        The name of the function that is sent.
    known
        Names that may be meant.
    modules
        What may be imported.
    """
    reason = f"{name} is not defined"
    if name in ("valid", "grid", "bands"):
        return Unsendable(
            reason, f"Give the function a parameter of that name to get it: def {function}(img, {name})."
        )
    if GIVEN_TO_OLDER.fullmatch(name):
        return Unsendable(
            reason,
            "Only a function that uses band0, band1, … itself finds them: pass the band on as an argument.",
        )
    if name in modules:
        return Unsendable(f"{name} is not imported", f"Run `import {name}` in the notebook first.")
    if name in ("nd", "ndi", "ndimage"):
        alias = "" if name == "ndimage" else f" as {name}"
        return Unsendable(f"{name} is not imported", f"Run `from scipy import ndimage{alias}` first.")
    near = get_close_matches(name, [one for one in (*known, *vars(builtins)) if not one.startswith("_")], n=1)
    hint = (
        f"Did you mean {near[0]}?" if near else "Define it in the notebook first, or pass it as an argument."
    )
    return Unsendable(reason, hint)


def _allowed(module: str, modules: Sequence[str], line: int) -> str:
    top = module.partition(".")[0]
    if top not in modules and top != "__future__":
        error = of_module(module, modules)
        raise Unsendable(error.reason, error.hint, line)
    return top
