"""Words for what cannot travel to the engine: what it is, and what to do instead."""

from __future__ import annotations

import ast
import functools
import re
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from geoloom.errors import FunctionNotSent

LINE_LIMIT = 100
"""Characters of a line that a message quotes."""


TAKE_OUT = "Take the values you need out of it in the notebook"
"""What to do with an object of which attributes are used."""


class Unsendable(Exception):
    """Something cannot be sent; whoever knows which function it is makes it a `FunctionNotSent`.

    Parameters
    ----------
    reason, hint
        What is wrong, and what to do.
    line
        Where, counted from the function's ``def``; None if the caller knows better.
    """

    def __init__(self, reason: str, hint: str | None = None, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.line = line


def not_sent(
    function: str, reason: str, hint: str | None = None, line: int | None = None, text: str = "", of: str = ""
) -> FunctionNotSent:
    """The error that says why a function stays.

    Parameters
    ----------
    function
        Its name.
    reason, hint
        What is wrong, and what to do.
    line, text
        Where, counted from the function's ``def``, which is line 1; and what that line says.
    of
        The function that the line belongs to, if it is not the one that is sent.
    """
    place = ""
    if line is not None:
        quoted = text.strip()
        quoted = quoted if len(quoted) <= LINE_LIMIT else quoted[: LINE_LIMIT - 1] + "…"
        place = f" (line {line}{f' of {of}' if of else ''}: {quoted})"
    return FunctionNotSent(f"{function} cannot be sent to the engine: {reason}{place}.", hint=hint)


def type_name(value: object) -> tuple[str, str]:
    """Module and name of a value's type, without a look at the value itself."""
    cls = type(value)
    module = type.__dict__["__module__"].__get__(cls)
    return str(module), str(type.__dict__["__name__"].__get__(cls))


def is_a(value: object, *kinds: Any) -> bool:
    """Whether a value's type is one of these or below; the value is not asked (`isinstance` asks)."""
    return issubclass(type(value), kinds)


def named(value: object) -> tuple[str, str]:
    """The module and the name that a function or class says it has; empty for any other object."""
    if is_a(value, type):
        return tuple(str(type.__dict__[one].__get__(value)) for one in ("__module__", "__name__"))  # type: ignore[return-value]
    module, kind = type_name(value)
    if is_a(value, FunctionType, BuiltinFunctionType, np.ufunc) or kind == "_ArrayFunctionDispatcher":
        said = getattr(value, "__module__", None)
        return str(said or module), str(getattr(value, "__name__", ""))
    return "", ""


def of_object(name: str, value: object) -> Unsendable:
    """Why an object that a function uses by a name cannot come along."""
    module, kind = type_name(value)
    top = module.partition(".")[0]
    if is_a(value, type):
        return Unsendable(
            f"{name} is a class",
            "Functions and constants come along, classes do not: put its numbers into a dict, or pass them "
            "as arguments, image.execute(f, value).",
        )
    if (top, kind) == ("geoloom", "Image"):
        return Unsendable(
            f"{name} is an Image, which holds no numbers until a map asks for them",
            f"Add its bands to the image first: gl.stack(image, {name}).execute(…); "
            "in the function they are further bands of the array.",
        )
    if top == "geoloom" and is_a(value, dict):
        return Unsendable(
            f"{name} is {article(kind)} of geoloom (a kind of dict)",
            f"Take the numbers out of it in the notebook, or make it a plain dict: {name} = dict({name}).",
        )
    if top == "geoloom":
        return Unsendable(f"{name} is {article(kind)} of geoloom", "The function gets plain numpy arrays.")
    if top == "pandas":
        return Unsendable(
            f"{name} is a pandas {kind}",
            f"Make it an array or a dict in the notebook first, such as {name}_values = {name}.to_numpy().",
        )
    if top == "xarray":
        return Unsendable(
            f"{name} is an xarray {kind}",
            f"Make it an array in the notebook first: {name}_values = {name}.to_numpy(). If it is a raster "
            "of its own, open it as an image and stack it: gl.stack(image, gl.open(…)).",
        )
    if top in ("_io", "io", "tempfile", "gzip"):
        return Unsendable(
            f"{name} is an open file ({kind})",
            "There are no files in the engine: read it in the notebook, and use what was read.",
        )
    if is_a(value, functools.partial):
        return Unsendable(
            f"{name} is a functools.partial",
            f"Write it as a function: def {_word(name)}(x): return …",
        )
    if top in ("numba", "cython"):
        return Unsendable(
            f"{name} is compiled by {top}", "Use the plain Python function, without the decorator."
        )
    if is_a(value, MethodType):
        return Unsendable(
            f"{name} is a method of an object",
            "Only plain functions come along: take what you need of the object as constants.",
        )
    if is_a(value, dict, list, tuple, set, frozenset, str, int, float):
        plain = next(one for one in type(value).__mro__ if one.__module__ == "builtins")
        return Unsendable(
            f"{name} is {article(kind)} (a kind of {plain.__name__})",
            f"Make it a plain {plain.__name__} in the notebook: {name} = {plain.__name__}({name}).",
        )
    if is_a(value, np.ma.MaskedArray):
        return Unsendable(
            f"{name} is a masked array",
            f"Use {name}.filled(…), or its data and its mask as two arrays.",
        )
    if is_a(value, np.ndarray):
        return Unsendable(
            f"{name} is {article(kind)}, a special array",
            f"Make it a plain one: {name} = numpy.asarray({name}).",
        )
    if kind == "generator":
        return Unsendable(f"{name} is a generator, which can be read once", f"Make it a list: list({name}).")
    if top in ("datetime", "pathlib", "uuid", "decimal", "fractions"):
        return Unsendable(
            f"{name} is {article(kind)} object",
            "Make it text or a number in the notebook, where you make it.",
        )
    if top in ("numpy", "scipy", "skimage"):
        return Unsendable(f"{name} is {article(kind)} object of {top}", "Make it inside the function.")
    where = "" if module in ("__main__", "builtins") else f" of {module}"
    return Unsendable(
        f"{name} is an object of class {kind}{where}",
        f"Numbers, text, lists, dicts, sets, small arrays and functions come along. {TAKE_OUT}, "
        "or pass it as an argument: image.execute(f, value).",
    )


def not_a_function(f: object) -> FunctionNotSent:
    """Why what was given as the function is none that can be sent."""
    module, kind = type_name(f)
    if is_a(f, functools.partial):
        return FunctionNotSent(
            "A functools.partial cannot be sent to the engine.",
            hint="Pass the function itself and its arguments: image.execute(f, 1000, limit=5).",
        )
    if is_a(f, MethodType):
        return FunctionNotSent(
            "A method of an object was given; only plain functions can be sent to the engine.",
            hint="Write it as a function outside the class, and pass what it takes from self as arguments.",
        )
    if is_a(f, type):
        return FunctionNotSent(
            f"{named(f)[1]} is a class; only plain functions can be sent to the engine.",
            hint="Write a function def f(img, …) that does it.",
        )
    if (library := _library_name(f)) is not None:
        return library_function(library)
    if module.partition(".")[0] == "geoloom":
        return FunctionNotSent(
            f"{article(kind).capitalize()} of geoloom was given where a function is wanted.",
            hint="Give the function itself, without calling it, and its arguments behind it: "
            "image.execute(f, 1000), not image.execute(f(image), 1000).",
        )
    if module.partition(".")[0] in ("numba", "cython"):
        return FunctionNotSent(
            f"A compiled function ({module.partition('.')[0]}) cannot be sent to the engine.",
            hint="Send the plain Python function, without the decorator.",
        )
    if kind == "vectorize":
        return FunctionNotSent(
            "A function wrapped by numpy.vectorize cannot be sent to the engine.",
            hint="Write it for whole arrays: def f(img): return img[0] > 5 works on all pixels at once.",
        )
    if module == "functools":
        return FunctionNotSent(
            f"A function wrapped by {kind.strip('_').removesuffix('_wrapper')} cannot be sent to the engine.",
            hint="Take the decorator off and run the cell again.",
        )
    if callable(f):
        return FunctionNotSent(
            f"An object of class {kind} was given; only plain functions can be sent to the engine.",
            hint="Write a function def f(img, …) that does it, with what it needs as arguments.",
        )
    return FunctionNotSent(
        f"A function is wanted, not {'None' if f is None else article(kind)}.",
        hint="Give the function itself, without calling it, and its arguments behind it: "
        "image.execute(f, 1000), not image.execute(f(1000)).",
    )


def library_function(name: str) -> FunctionNotSent:
    """For a function of a library: it wants a function of one's own around it."""
    short = name.rpartition(".")[2]
    hint = f"Write a function around it: def f(img): return {name}(img)."
    if short in ("sqrt", "log", "exp", "absolute", "log10"):
        hint += " Many are there for images already: image.sqrt(), image.abs(), gl.log(image)."
    return FunctionNotSent(f"{name} is not a function of your own, and only these are sent.", hint=hint)


def slip(line: str, error: SyntaxError) -> tuple[str, str | None]:
    """What a line that Python cannot read may have meant: the reason, and what to do.

    Parameters
    ----------
    line
        The one that the error names.
    error
        Of its compilation.
    """
    found = re.match(r"\s*return\s+([^#]+)", line)
    statements = found and _statements(found[1].strip().rstrip(";"))
    if not (found and statements and isinstance(statements[0], ast.Assign | ast.AugAssign)):
        return f"Python cannot read it, {error.msg}", None
    assignment = statements[0]
    target = assignment.targets[0] if isinstance(assignment, ast.Assign) else assignment.target
    while isinstance(target, ast.Subscript | ast.Attribute):
        target = target.value
    hint = f"Write {ast.unparse(assignment)} in a line of its own, and then return {ast.unparse(target)}."
    return "an assignment has no value to return", hint


def _statements(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError):
        return []


def article(kind: str) -> str:
    """``an ndarray``, ``a list``."""
    return f"{'an' if kind[:1].lower() in 'aeiou' or kind == 'ndarray' else 'a'} {kind}"


def _word(name: str) -> str:
    return name if name.isidentifier() else "f"


def _library_name(f: Any) -> str | None:
    """The dotted name of a builtin or a ufunc."""
    if is_a(f, np.ufunc):
        return f"numpy.{f.__name__}"
    if type(f) is BuiltinFunctionType:
        owner = f.__self__
        if type(owner) is ModuleType:
            module = owner.__name__
            return f.__name__ if module == "builtins" else f"{module}.{f.__name__}"
        return f.__name__
    if type_name(f)[0].partition(".")[0] == "numpy" and type_name(f)[1] == "_ArrayFunctionDispatcher":
        return f"numpy.{f.__name__}"
    return None
