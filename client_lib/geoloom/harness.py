"""Calls a user's function on a window of pixels, exactly the same in the notebook and in the sandbox.

Two styles are understood::

    def stubble(img, limit):  # the window comes as the first argument, the result is returned
        return img[0] < limit


    def stubble(limit=1000):  # the older one: the window is in band0, band1, …
        global img  # and the result in img
        img = band0 < limit

Each call starts afresh: the function's text is executed in a new namespace, so nothing that one tile
leaves in a global reaches the next. What a function changes inside a module stays as long as its process.
"""

from __future__ import annotations

import builtins
import inspect
import linecache
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CellType, CodeType, FunctionType, TracebackType
from typing import Any, NoReturn

import numpy as np

from geoloom.afresh import PRINT_LIMIT, Prints, afresh
from geoloom.block import Array, Mask, eroded, everywhere
from geoloom.calling import (
    DEFAULT_MODULES,
    bound,
    defaults_of,
    is_filled,
    is_older_style,
    own_parameters,
)
from geoloom.errors import FunctionFailed
from geoloom.given import DTYPES, Given, Place, Result, asked_for, widened, without_margin

__all__ = [
    "DEFAULT_MODULES",
    "PRINT_LIMIT",
    "Function",
    "Given",
    "Place",
    "Result",
    "widened",
]

MESSAGE_LIMIT = 500
"""Characters of an exception's text that are told."""

LINE_LIMIT = 200

NAMESPACE = "geoloom_function"
"""``__name__`` of the namespace in which a function runs."""


class Function:
    """A user's function, from its text.

    Parameters
    ----------
    source
        A module that defines it.
    name
        Of the function.
    modules
        What it may import, by the first part of their names.
    codes
        Run in place of the code of the functions of these names, from the same text: debuggers then stop in
        the cell.
    alone
        Whether the process runs nothing else: what a call changes of it is not put back then.

    Raises
    ------
    FunctionFailed
        The text does not compile, fails by itself, or defines no such function.
    """

    def __init__(
        self,
        source: str,
        name: str,
        modules: Sequence[str] = DEFAULT_MODULES,
        codes: Mapping[str, CodeType] | None = None,
        alone: bool = False,
    ) -> None:
        self.name = name
        self.source = source
        self.filename = f"<function {name}>"
        self._modules = frozenset([*modules, "__future__"])
        self._codes = codes or {}
        self._own = {self.filename, *(code.co_filename for code in self._codes.values())}
        self._alone = alone
        self._qualname = name
        try:
            self._code = compile(source, self.filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
            raise FunctionFailed(
                f"{name} cannot be read: {described(error)}.",
                function=name,
                line=getattr(error, "lineno", None),
                text=shortened(str(getattr(error, "text", None) or "").strip(), LINE_LIMIT) or None,
                exception=described(error),
            ) from None
        with afresh(None, self._alone):
            function = self._fresh()[name]
        self._qualname = function.__code__.co_qualname
        self.older_style = is_older_style(function.__code__)
        self._parameters = own_parameters(inspect.signature(function), self.older_style)

    def call(
        self,
        given: Given,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        dtype: str | None = None,
        bands: int | None = None,
        stop: Callable[..., Any] | None = None,
    ) -> Result:
        """Run the function on a window.

        Parameters
        ----------
        given
            Its pixels; `Given.data` may be changed.
        args, kwargs
            The function's own arguments, behind the image.
        dtype, bands
            What the result has to be; None to take it as it is.
        stop
            What ``breakpoint()`` calls; it is passed over otherwise. With it, prints go where they always go,
            as debuggers need it, and so does a KeyboardInterrupt.

        Raises
        ------
        FunctionFailed
            It raised an exception, which is the error's cause, or gave what is no image.
        """
        __tracebackhide__ = True  # IPython and its debugger leave such frames out
        printed = Prints() if stop is None else None
        try:
            with afresh(printed, self._alone):
                data, valid = self._run(given, args, kwargs or {}, dtype, bands, stop)
        except FunctionFailed as error:
            error.printed = "" if printed is None else printed.text()
            raise
        return Result(data, valid, "" if printed is None else printed.text())

    def _run(
        self,
        given: Given,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        dtype: str | None,
        bands: int | None,
        stop: Callable[..., Any] | None,
    ) -> tuple[Array, Mask]:
        __tracebackhide__ = True
        namespace = self._fresh(stop)
        try:
            if self.older_style:
                namespace.update({f"band{i}": band for i, band in enumerate(given.data)})
                namespace.pop("img", None)
                value = self._called(namespace[self.name], (), given, args, kwargs)
                value = namespace.get("img") if value is None else value
                if value is None:
                    raise self._wrong("gave nothing.", "Set img to the result.")
            else:
                value = self._called(namespace[self.name], (given.data,), given, args, kwargs)
                value = given.data if value is None else value
            return self._result(value, given, dtype, bands)
        except FunctionFailed:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and stop is not None:
                raise
            self._failed(error)

    def _fresh(self, stop: Callable[..., Any] | None = None) -> dict[str, Any]:
        """A new namespace in which the text was executed."""
        builtin = {**vars(builtins), "__import__": self._import, "breakpoint": stop or _go_on}
        if stop is not None:
            # What `breakpoint` calls is imported from where it stands.
            debugger = os.environ.get("PYTHONBREAKPOINT", "pdb").partition(".")[0]
            builtin["__import__"] = partial(self._import, also=debugger)
        namespace: dict[str, Any] = {
            "__name__": NAMESPACE,
            "__builtins__": builtin,
            "numpy": np,
            "np": np,
        }
        try:
            exec(self._code, namespace)  # noqa: S102 - that is what it is for; the engine does so in a sandbox
        except BaseException as error:  # noqa: BLE001 - whatever the text raises
            self._failed(error)
        if not isinstance(namespace.get(self.name), FunctionType):
            raise FunctionFailed(f"The text defines no function {self.name}.", function=self.name)
        for name, code in self._codes.items():
            own = namespace.get(name)
            if isinstance(own, FunctionType) and own.__code__.co_filename == self.filename:
                namespace[name] = _recoded(own, code)
        return namespace

    def _import(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
        also: str = "",
    ) -> Any:
        # Numpy's own C code imports what it needs late in the name of the function that calls it, and says so
        # by a list; an import statement has a tuple or None.
        late = isinstance(fromlist, list)
        if level == 0 and not late and name.partition(".")[0] not in (*self._modules, also):
            allowed = ", ".join(sorted(self._modules - {"__future__"}))
            raise ImportError(f"{name} cannot be imported in a function; these can: {allowed}")
        return __import__(name, globals, locals, fromlist, level)

    def _called(
        self,
        function: Any,
        image: tuple[Array, ...],
        given: Given,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call with the image, the arguments, and what it asks for by name."""
        __tracebackhide__ = True
        filled = {one.name: asked_for(one.name, given) for one in self._parameters if is_filled(one, kwargs)}
        # Those of this very function: the one that the parameters were taken from had others.
        defaults = defaults_of(function)
        positional, named = bound(self._parameters, args, kwargs, filled, defaults, self.name)
        return function(*image, *positional, **named)

    def _result(self, value: Any, given: Given, dtype: str | None, bands: int | None) -> tuple[Array, Mask]:
        valid: Mask | None = None
        if isinstance(value, np.ma.MaskedArray):
            valid = ~np.ma.getmaskarray(value)
            value = np.ma.getdata(value)
        array = np.asarray(value)
        if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
            array = array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
        if array.dtype.name not in DTYPES or type(array) is not np.ndarray:
            raise self._wrong(
                f"gave {_kind(value, array)}, which no image can hold.",
                "Return an array of whole numbers, floats or bools.",
            )
        array = self._shaped(array, given)
        if valid is not None:
            valid = self._shaped(valid, given)
        elif any(one.name == "valid" for one in self._parameters):
            valid = without_margin(given.valid, given).all(axis=0, keepdims=True)
        else:
            valid = given.valid if everywhere(given.valid) else given.valid.all(axis=0, keepdims=True)
            valid = eroded(valid[:1], given.margin) if given.margin else valid[:1]
        if bands is not None and array.shape[0] != bands:
            raise self._wrong(
                f"gave {array.shape[0]} bands here and {bands} elsewhere.",
                "It has to give as many for every tile; say how many with bands=[…].",
            )
        if dtype is not None and array.dtype != dtype:
            array, valid = self._cast(array, valid, np.dtype(dtype))
        return array, valid

    def _shaped(self, array: Array, given: Given) -> Array:
        """As (bands, rows, cols), without the margin."""
        shape, around = given.grid.shape, given.grid.expand(given.margin).shape
        found = array.shape[:6]
        if array.ndim == 0:
            array = np.broadcast_to(array, (1, *shape))
        if array.ndim == 2:
            array = array[np.newaxis]
        if array.ndim == 3 and array.shape[0] and array.shape[1:] == around:
            return without_margin(array, given)
        if array.ndim == 3 and array.shape[0] and array.shape[1:] == shape:
            return array
        wanted = f"(rows, cols) = {around} or (bands, rows, cols)"
        raise self._wrong(f"gave an array of shape {found}; wanted is {wanted}.", None)

    def _cast(self, array: Array, valid: Mask, dtype: np.dtype[Any]) -> tuple[Array, Mask]:
        """The values in another dtype, exactly, or to the nearest float."""
        if dtype.kind == "f":
            return array.astype(dtype), valid
        if array.dtype.kind == "f":
            valid = valid & np.isfinite(array)
        with np.errstate(all="ignore"):
            array = np.where(valid, array, np.zeros((), array.dtype))
            found = array.astype(dtype)
            lost = (found.astype(array.dtype) != array) | ((found < 0) != (array < 0))
        if lost.any():
            value = array[lost][0]
            raise self._wrong(
                f"gave {value!s} ({array.dtype}), which {dtype} cannot hold.",
                "All tiles of an image have one dtype, found by a trial; name it, as in "
                f'execute(…, dtype="{array.dtype}"), or return {dtype} always.',
            )
        return found, valid

    def _wrong(self, what: str, hint: str | None) -> FunctionFailed:
        return FunctionFailed(f"{self.name} {what}", hint=hint, function=self.name)

    def _failed(self, error: BaseException) -> NoReturn:
        """Raise what tells where in the function's text an exception came from."""
        name, line, text = self._where(error.__traceback__)
        shown = described(error)
        place = "" if line is None else f", line {line}" + ("" if name == self.name else f" of {name}")
        hint = None
        if isinstance(error, MemoryError):
            hint = "Use fewer or smaller arrays: a function's memory is limited."
        raise FunctionFailed(
            f"{self.name}{place}: {shown}{'' if shown[-1] in '.!?…' else '.'}",
            hint=hint,
            function=name,
            line=line,
            text=text,
            exception=shown,
        ) from error

    def _where(self, frames: TracebackType | None) -> tuple[str, int | None, str | None]:
        """The innermost line of the text: in which function, counted from its def, and what it says."""
        found: tuple[str, int | None, str | None] = (self.name, None, None)
        while frames is not None:
            code = frames.tb_frame.f_code
            if code.co_filename in self._own:
                top = code.co_name == "<module>"
                line = frames.tb_lineno - (0 if top else code.co_firstlineno - 1)
                # A lambda is called by the name that it was given.
                name = self.name if top or code.co_qualname == self._qualname else code.co_name
                found = (name, line, self._line(code, frames.tb_lineno))
            frames = frames.tb_next
        return found

    def _line(self, code: CodeType, number: int) -> str | None:
        if code.co_filename == self.filename:
            lines = self.source.splitlines()
            text = lines[number - 1] if 0 < number <= len(lines) else ""
        else:
            text = linecache.getline(code.co_filename, number)
        return shortened(text.strip(), LINE_LIMIT) or None


def shortened(text: str, limit: int) -> str:
    """Text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _recoded(function: FunctionType, code: CodeType) -> FunctionType:
    """The function with another code, if that does the same.

    What the code has of functions around it is a name of the text.
    """
    names = function.__globals__
    if any(name not in names for name in code.co_freevars):
        return function
    if not code.co_freevars and _doing(code) != _doing(function.__code__):
        return function
    cells = tuple(CellType(names[name]) for name in code.co_freevars)
    found = FunctionType(code, names, function.__name__, function.__defaults__, cells)
    found.__kwdefaults__ = function.__kwdefaults__
    return found


def _doing(code: CodeType) -> tuple[Any, ...]:
    """What tells one code from another, wherever they stand."""
    constants = [repr(one) for one in code.co_consts if not isinstance(one, CodeType)]
    return code.co_code, code.co_names, code.co_varnames, constants


def _go_on(*_: Any, **__: Any) -> None:
    """``breakpoint()`` where nobody can look."""


def described(error: BaseException) -> str:
    """Type and text of an exception, cut to a length; whatever its own methods do."""
    kind = shortened(type(error).__name__, 100)
    try:
        text = str(error) if not isinstance(error, SyntaxError) else str(error.msg)
    except BaseException:  # noqa: BLE001 - the exception is the user's
        text = ""
    text = shortened(text, MESSAGE_LIMIT)
    return f"{kind}: {text}" if text else kind


def _kind(value: Any, array: Array) -> str:
    if isinstance(value, np.ndarray | np.generic):
        return f"an array of {array.dtype}"
    return f"a value of type {type(value).__name__[:100]}"
