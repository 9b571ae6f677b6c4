"""Constants of the notebook as text: the same values, exactly, in another process."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.capture.refusal import Unsendable, is_a, named, of_object, type_name

MOST_ARRAY = 64 << 10
"""Bytes of an array that comes along."""

MOST_TEXT = 256 << 10
"""Characters of one constant."""

MOST_NESTING = 50
"""Containers within containers (Python's own parser ends at 100 to 200)."""

MOST_BITS = 8192
"""Of a whole number; Python writes no longer ones than 4300 digits."""

READABLE = 100
"""Values of an array that are written out; more are written as bytes."""

Reference = Callable[[object], str | None]
"""The name in the text of what is no constant: a function, a module; None if it cannot come along."""


def written(name: str, value: object, reference: Reference) -> str:
    """An expression that gives a value.

    Parameters
    ----------
    name
        What the function calls it; for messages.
    value
        Numbers, text, None, arrays, and containers of these.
    reference
        Asked for all else.

    Raises
    ------
    Unsendable
        What cannot be written, why, and what to do.
    """
    text = _Writer(name, reference).text(value, ())
    if len(text) > MOST_TEXT:
        raise Unsendable(
            f"{name} is too large: {len(text):,} characters as text, and {MOST_TEXT:,} may come along",
            "Make it a numpy array, or compute it inside the function.",
        )
    return text


class _Writer:
    def __init__(self, name: str, reference: Reference) -> None:
        self.name = name
        self.reference = reference

    def text(self, value: Any, around: tuple[int, ...]) -> str:
        kind = type(value)
        if value is None or value is ... or kind is bool:
            return repr(value) if value is not ... else "..."
        if kind is int:
            if value.bit_length() > MOST_BITS:
                raise Unsendable(f"{self.name} has a whole number of more than {MOST_BITS} bits")
            return repr(value)
        if kind is float:
            return _float(value)
        if kind is complex:
            return f"complex({_float(value.real)}, {_float(value.imag)})"
        if kind in (str, bytes):
            return repr(value)
        if kind in (tuple, list, dict, set, frozenset, slice, range):
            return self._container(value, around)
        if is_a(value, np.ndarray, np.generic, np.dtype):
            return self._numpy(value)
        if (referred := self.reference(value)) is not None:
            return referred
        raise of_object(self.name if not around else f"a value in {self.name}", value)

    def _container(self, value: Any, around: tuple[int, ...]) -> str:
        if id(value) in around:
            raise Unsendable(f"{self.name} contains itself")
        if len(around) >= MOST_NESTING:
            raise Unsendable(f"{self.name} is nested more than {MOST_NESTING} deep")
        inner = (*around, id(value))
        kind = type(value)
        if kind is slice or kind is range:
            parts = (value.start, value.stop, value.step)
            return f"{kind.__name__}({', '.join(self.text(one, inner) for one in parts)})"
        if kind is dict:
            pairs = [f"{self.text(key, inner)}: {self.text(one, inner)}" for key, one in value.items()]
            return f"{{{', '.join(pairs)}}}"
        found = [self.text(one, inner) for one in value]
        if kind is list:
            return f"[{', '.join(found)}]"
        if kind is tuple:
            return f"({', '.join(found)}{',' if len(found) == 1 else ''})"
        # The order of a set differs from process to process.
        listed = f"{{{', '.join(sorted(found))}}}" if found else ""
        return (listed or "set()") if kind is set else f"frozenset({listed})"

    def _numpy(self, value: Any) -> str:
        numpy = self.reference(np)
        if is_a(value, np.dtype):
            if value.kind not in "biufcSUmM":
                raise Unsendable(f"{self.name} is a dtype of {value.kind!r} kind, not of plain numbers")
            return f"{numpy}.dtype({_dtype(value)})"
        if is_a(value, np.generic):
            if type_name(value)[0] != "numpy":
                raise of_object(self.name, value)
            if value.dtype.kind == "b":
                return f"{numpy}.bool_({bool(value)})"
            if value.dtype.kind in "iu":
                return f"{numpy}.{value.dtype.name}({int(value)})"
            if value.dtype.kind == "f" and not _is_long(value.dtype):
                return f"{numpy}.{value.dtype.name}({_float(float(value))})"
            return f"{self._array(np.asarray(value), numpy)}[()]"
        if type(value) is not np.ndarray:
            raise of_object(self.name, value)
        return self._array(value, numpy)

    def _array(self, value: Array, numpy: str | None) -> str:
        if value.dtype.kind not in "biufcSUmM":
            raise Unsendable(
                f"{self.name} is an array of dtype {value.dtype}, not of plain numbers",
                "Make it an array of numbers, or a list or dict.",
            )
        if _is_long(value.dtype):
            raise Unsendable(f"{self.name} is of dtype {value.dtype}", "Make it float64 or complex128.")
        if value.nbytes > MOST_ARRAY:
            raise Unsendable(
                f"{self.name} is an array of shape {value.shape} and {_size(value.nbytes)}, "
                f"and only {_size(MOST_ARRAY)} may come along",
                "Compute it inside the function, or make it smaller. If it is a raster of its own, open it "
                "as an image and stack it: gl.stack(image, gl.open(…)).execute(…).",
            )
        dtype = _dtype(value.dtype)
        if value.size == 0:
            return f"{numpy}.zeros({value.shape}, {dtype})"
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            return f"{self._array(value.T, numpy)}.T"
        if value.dtype.kind in "biuf" and value.size <= READABLE and np.isfinite(value).all():
            return f"{numpy}.array({value.tolist()!r}, {dtype})"
        content = f"bytes.fromhex({value.tobytes().hex()!r})"
        return f"{numpy}.frombuffer({content}, {value.dtype.str!r}).reshape({value.shape}).copy()"


def is_builtin(value: object) -> str | None:
    """The name of one of Python's own functions or types."""
    name = named(value)[1] if is_a(value, type, BuiltinFunctionType) else ""
    return name if name and vars(builtins).get(name) is value else None


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'float("{value!r}")'


def _is_long(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype differs from machine to machine; some of its bytes mean nothing."""
    return dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16)


def _dtype(dtype: np.dtype[Any]) -> str:
    return repr(dtype.name if dtype.isnative and dtype.kind in "biuf" else dtype.str)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1024:.0f} kB"
