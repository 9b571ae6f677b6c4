"""Machine code, with or without a folder to keep it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geoloom_engine.compiling import number_range


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "uint64"])
def test_the_range_is_what_the_type_can_hold(dtype: str) -> None:
    limits = np.iinfo(dtype)
    low, high, half = number_range(np.dtype(dtype))
    assert (low, half) == (limits.min, 0.5)
    assert int(high) <= limits.max
    assert int(math.nextafter(high, math.inf)) > limits.max - 1
    assert number_range(np.dtype("float32")) == (-math.inf, math.inf, 0.0)


SCRIPT = """
import numpy as np
from numba.core import caching
from geoloom_engine.interpolation import extent
for locator in caching.CacheImpl._locator_classes:
    locator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError("read-only file system"))
nodes = np.zeros((2, 3, 2, 2))
cells = nodes, np.zeros((2, 0, 16, 16)), np.full((1, 1), -1, np.int32)
print(extent(*cells, (0, 0, 16, 16), (8, 4))[0] <= 0)
"""


def test_works_where_compiled_code_cannot_be_kept(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "none")},
    )
    assert found.stdout.strip() == "True", found.stderr
    assert not (tmp_path / "none").exists()


USER = """
from geoloom_engine.compiling import compiled
from numba import types
from inner import twice
def outer(x):
    return twice(x) + 1
print(compiled(outer, "", lambda: (types.int64,))(5))
"""
INNER = "import numba\n@numba.njit\ndef twice(x):\n    return x * {}\n"


def test_kept_code_is_not_used_when_a_function_it_calls_has_changed(tmp_path: Path) -> None:
    """By itself numba looks at the file of the outer function alone."""
    (tmp_path / "user.py").write_text(USER)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": str(tmp_path)}
    for factor in (2, 2, 30):
        (tmp_path / "inner.py").write_text(INNER.format(factor))
        found = subprocess.run(
            [sys.executable, "-B", str(tmp_path / "user.py")],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
        assert found.stdout.strip() == str(5 * factor + 1), found.stderr
