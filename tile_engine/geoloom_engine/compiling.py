"""Machine code for the loops that are too slow in numpy, and the types it is made for."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numba
import numpy as np
from numba import types

_types: Any = types
_compiled: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()


def _array(dtype: str, ndim: int, layout: Literal["A", "C"] = "C", *, readonly: bool = True) -> Any:
    kind: types.Type = numba.from_dtype(np.dtype(dtype))
    return types.Array(kind, ndim, layout, readonly=readonly)


def source_types(dtype: str) -> tuple[Any, ...]:
    """Types of the parameters (data, valid, masked, window)."""
    arrays = (_array(dtype, 3, "A"), _array("bool", 3, "A"))
    return (*arrays, types.boolean, _types.UniTuple(types.int64, 4))


def cell_types() -> tuple[Any, ...]:
    """Types of the parameters (nodes, exact, slots, row, col)."""
    return _array("float64", 4), _array("float64", 4), _array("int32", 2), types.int64, types.int64


def grid_types(dtype: str) -> tuple[Any, ...]:
    """Types of the parameters (part, out, out_valid)."""
    arrays = (_array(dtype, 3, readonly=False), _array("bool", 3, readonly=False))
    return (_types.UniTuple(types.int64, 4), *arrays)


def number_range(dtype: Any) -> tuple[float, float, float]:
    """Lowest and highest float64 that the type holds, and what rounding adds."""
    if dtype.kind == "f":
        return -math.inf, math.inf, 0.0
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return float(limits.min), high if high <= limits.max else math.nextafter(high, 0.0), 0.5


def compiled(function: Callable[..., Any], dtype: str, arguments: Callable[[], tuple[Any, ...]]) -> Any:
    """Machine code for one type of pixel, from the cache folder if there is one that can be written.

    One signature a function and type: whatever an array's layout, no second one is compiled.
    `arguments` makes the types of the parameters.
    """
    key = (function.__name__, dtype)
    kernel = _compiled.get(key)
    if kernel is None:
        with _lock:
            kernel = _compiled.get(key)
            if kernel is None:
                signature = arguments()
                # numba keeps code by the name, and by the age of the function's own file alone.
                function.__qualname__ = f"{function.__name__}_{_sources_hash(function)}"
                try:
                    kernel = numba.njit([signature], nogil=True, cache=True)(function)
                except (RuntimeError, OSError):
                    kernel = numba.njit([signature], nogil=True)(function)
                _compiled[key] = kernel
    return kernel


def _sources_hash(function: Callable[..., Any]) -> str:
    """Changes when the file of a function does, or of a compiled one that it calls."""
    seen: set[Any] = set()
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        called = (one.__globals__.get(name) for name in one.__code__.co_names)
        waiting.extend(found.py_func for found in called if hasattr(found, "py_func"))
    digest = hashlib.sha256()
    for path in sorted({one.__code__.co_filename for one in seen}):
        with contextlib.suppress(OSError):
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:16]
