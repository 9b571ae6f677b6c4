"""Loops over pixels as machine code.

A formula of ten numpy passes reads and writes each pixel ten times; one loop does it once, in a
quarter of the time, with the same result to the last bit. numba is imported when it is first needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

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
                try:
                    found = numba.njit([parameters()], cache=True, **how)(loop)
                except (RuntimeError, OSError):  # no folder to keep it in can be written
                    found = numba.njit([parameters()], **how)(loop)
                _machine_code[loop, dtype] = found
    return found


def array(dtype: str, dimensions: int, *, written: bool = False) -> Any:
    """The type of a contiguous array that is read, or `written`."""
    from numba import types

    return types.Array(number(dtype), dimensions, "C", readonly=not written)


def number(dtype: str) -> Any:
    """The type of a number."""
    import numba

    return numba.from_dtype(np.dtype(dtype))
