"""Loops over pixels as machine code.

A formula of ten numpy passes reads and writes each pixel ten times; one loop does it once, in a
quarter of the time, with the same result to the last bit. numba is imported when it is first needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["array", "compiled", "number"]

_machine_code: dict[tuple[Callable[..., Any], str], Any] = {}
_lock = threading.Lock()


def compiled(loop: Callable[..., Any], dtype: str, parameters: Callable[[], tuple[Any, ...]]) -> Any:
    """The machine code of a loop for one type of pixel, kept on disk where there is a folder for it.

    Parameters
    ----------
    loop
        A function of a module, in the Python that numba knows. Dividing by zero raises nothing.
    dtype
        What tells apart the types of its parameters.
    parameters
        Makes these types, by `array` and `number`. There are no others, so nothing is compiled
        twice because an array happens to be read-only.
    """
    found = _machine_code.get((loop, dtype))
    if found is None:
        import numba

        with _lock:
            if (found := _machine_code.get((loop, dtype))) is None:
                how: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
                # numba keeps code by the name, and by the age of the loop's own file alone.
                loop.__qualname__ = f"{loop.__name__}_{_sources_hash(loop)}"
                try:
                    found = numba.njit([parameters()], cache=True, **how)(loop)
                except (RuntimeError, OSError):  # no folder to keep it in can be written
                    found = numba.njit([parameters()], **how)(loop)
                _machine_code[loop, dtype] = found
    return found


def array(dtype: str, dimensions: int, *, written: bool = False, layout: Literal["A", "C"] = "C") -> Any:
    """The type of an array that is read, or `written`; contiguous, or with layout ``A`` any."""
    from numba import types

    return types.Array(number(dtype), dimensions, layout, readonly=not written)


def number(dtype: str) -> Any:
    """The type of a number."""
    import numba

    return numba.from_dtype(np.dtype(dtype))


def _sources_hash(loop: Callable[..., Any]) -> str:
    """Changes when the file of a loop does, or of a compiled function that it calls."""
    seen: set[Any] = set()
    waiting: list[Any] = [loop]
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
