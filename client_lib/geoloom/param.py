"""Parameters of ops: their types, bounds, and how values become canonical.

A parameter's type is its annotation: ``bool``, ``int``, ``float``, ``Number`` (an int stays an
int), ``str``, `BandName`, `BlobKey`, ``Literal[…]``, ``X | None``, ``tuple[X, ...]`` and
``tuple[X, Y]``. Whatever a user passes is turned into that type or refused with the path to it.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import math
import operator
import os
import types
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal, NewType, Union, get_args, get_origin

from geoloom.chain import MAX_BYTES, is_key
from geoloom.errors import ParameterError

Number = int | float
BandName = NewType("BandName", str)
BlobKey = NewType("BlobKey", str)


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED: Any = _Required()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A declared parameter; see `param`."""

    name: str
    hint: Any
    default: Any
    unit: str | None
    doc: str
    gt: float | None
    ge: float | None
    lt: float | None
    le: float | None
    min_length: int
    coerce: Callable[[Any], Any] | None
    variadic: bool
    example: Any

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def names_band(self) -> bool:
        """Whether it names one band or several of the op's first input."""
        return self.hint is BandName or BandName in get_args(self.hint)

    @property
    def names_blob(self) -> bool:
        """Whether it names a blob, or may do so."""
        return self.hint is BlobKey or BlobKey in get_args(self.hint)

    def normalise(self, value: Any, op: str) -> Any:
        """The canonical value: plain JSON with tuples for lists.

        Raises
        ------
        ParameterError
            Naming op, parameter and position within it.
        """
        path = f"{op}({self.name}=…)"
        if self.coerce is not None:
            value = self.coerce(value)
        result = _normalise(self.hint, value, path)
        self._check(result, path)
        if isinstance(result, tuple) and len(result) < self.min_length:
            raise ParameterError(f"{path} needs at least {self.min_length} values, got {len(result)}.")
        return result

    def _check(self, value: Any, path: str) -> None:
        if isinstance(value, tuple):
            for i, item in enumerate(value):
                self._check(item, f"{path}[{i}]")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        for limit, holds, words in (
            (self.gt, operator.gt, "greater than"),
            (self.ge, operator.ge, "at least"),
            (self.lt, operator.lt, "less than"),
            (self.le, operator.le, "at most"),
        ):
            if limit is not None and not holds(value, limit):
                raise ParameterError(f"{path} must be {words} {limit:g}, got {value!r}.")

    def describe_type(self) -> str:
        """The type in words, for signatures and the reference."""
        return _type_words(self.hint)


def param(
    default: Any = REQUIRED,
    *,
    doc: str,
    unit: str | None = None,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    min_length: int = 0,
    coerce: Callable[[Any], Any] | None = None,
    variadic: bool = False,
    example: Any = None,
) -> Any:
    """Declare a parameter of an op; the annotation is its type.

    Parameters
    ----------
    default
        Without it the parameter is required.
    doc
        One sentence.
    unit
        Of the value: ``"m"``, ``"degree"``, ``"1"`` for a pure number, None where it has none.
    gt, ge, lt, le
        Bounds of the number or of each number in a tuple.
    min_length
        Of a tuple.
    coerce
        Turns what users pass (a dict, a colour's name) into the declared type; raises
        ParameterError. Must leave canonical values as they are.
    variadic
        The method takes this tuple as ``*values``.
    example
        A value for the reference and the contract tests; required parameters need one.
    """
    return Parameter("", None, default, unit, doc, gt, ge, lt, le, min_length, coerce, variadic, example)


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down: a normalised value as JSON has it."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def frozen(value: Any) -> Any:
    """Lists as tuples, all the way down: JSON as `Parameter.normalise` returns it."""
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value


def _normalise(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint == Number:
        value = _scalar(value)
        return _float(value, path) if isinstance(value, float) else _int(value, path, "a number")
    if hint is bool:
        value = _scalar(value)
        if not isinstance(value, bool):
            raise _wrong(path, "True or False", value)
        return value
    if hint is int:
        return _int(_scalar(value), path, "a whole number")
    if hint is float:
        return _float(_scalar(value), path)
    if hint is str:
        return _text(value, path)
    if hint is BandName:
        if not isinstance(value, str):
            raise _wrong(path, "a band's name", value)
        return _text(value, path)
    if hint is BlobKey:
        if not is_key(value):
            raise _wrong(path, "the key of a blob", value)
        return value
    if origin is Literal:
        value = _scalar(value)
        if not any(type(value) is type(one) and value == one for one in arguments):
            choices = ", ".join(repr(one) for one in arguments)
            raise ParameterError(f"{path} must be one of {choices}; got {_shown(value)}.")
        return value
    if origin in (Union, types.UnionType) and type(None) in arguments:
        if value is None:
            return None
        inner = functools.reduce(operator.or_, (one for one in arguments if one is not type(None)))
        return _normalise(inner, value, path)
    if origin is tuple:
        return _tuple(arguments, value, path)
    raise TypeError(f"{path} is declared with the type {hint!r}, which no parameter can have")


def _tuple(arguments: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str | bytes | Mapping | Set) or not hasattr(value, "__iter__"):
        raise _wrong(path, "a list", value)
    items = list(itertools.islice(value, MAX_BYTES))
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        hints = [arguments[0]] * len(items)
    else:
        hints = list(arguments)
        if len(hints) != len(items):
            raise ParameterError(f"{path} needs {len(hints)} values, got {len(items)}.")
    return tuple(
        _normalise(hint, item, f"{path}[{i}]")
        for i, (hint, item) in enumerate(zip(hints, items, strict=True))
    )


def _scalar(value: Any) -> Any:
    """Numpy scalars and arrays of one number as Python numbers."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    return value


def _int(value: Any, path: str, wanted: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(path, wanted, value)
    if not -(2**63) <= value < 2**64:
        raise ParameterError(f"{path}: {_shown(value)} does not fit into 64 bits.")
    return value


def _float(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ParameterError(f"{path} must be a finite number, got {_shown(value)}.")
    return number + 0.0  # −0.0 becomes 0.0


def _text(value: Any, path: str) -> str:
    value = _scalar(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, datetime.date | datetime.datetime):
        value = value.isoformat()
    if not isinstance(value, str):
        raise _wrong(path, "text", value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ParameterError(f"{path} holds characters that are not valid Unicode.") from None
    return str.__str__(value)


def _wrong(path: str, wanted: str, value: Any) -> ParameterError:
    return ParameterError(f"{path} must be {wanted}, got {_shown(value)}.")


def _shown(value: Any) -> str:
    name = type(value).__name__
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign repr; also integers too long to print
        return f"a value of type {name}"
    return f"{name} {text if len(text) <= 60 else text[:57] + '…'}"


def _type_words(hint: Any) -> str:
    if hint == Number:
        return "int | float"
    if hint in (BandName, BlobKey):
        return "str"
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint.__name__
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "Literal[" + ", ".join(repr(one) for one in arguments) + "]"
    if origin in (Union, types.UnionType):
        return " | ".join("None" if one is type(None) else _type_words(one) for one in arguments)
    words = ", ".join("..." if one is Ellipsis else _type_words(one) for one in arguments)
    return f"tuple[{words}]"
