"""Loops give what numpy gives, to the last bit, wherever they are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloom.loops import array, compiled, number


def halves(data: Any, by: Any, out: Any) -> None:
    for i in range(data.size):
        out[i] = data[i] / by


def types_of(dtype: str) -> tuple[Any, ...]:
    return array(dtype, 1), number(dtype), array(dtype, 1, written=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_machine_code_is_made_once_for_each_type(dtype: str) -> None:
    loop = compiled(halves, dtype, lambda: types_of(dtype))
    assert compiled(halves, dtype, lambda: pytest.fail("compiled twice")) is loop
    data = np.random.default_rng(1).normal(0, 1e6, 1000).astype(dtype)
    data.setflags(write=False)
    out = np.empty_like(data)
    for by in (3, 0):
        with np.errstate(all="ignore"):
            expected = data / np.dtype(dtype).type(by)
        loop(data, np.dtype(dtype).type(by), out)
        assert out.tobytes() == expected.tobytes()
    assert len(loop.signatures) == 1


def test_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    code = (
        "import numpy as np\n"
        "from geoloom.ops.scale import Scale\n"
        "from geoloom.block import Block\n"
        "block = Block(np.ones((1, 2, 2), np.float32), np.ones((1, 2, 2), bool))\n"
        "print(Scale(limits=(0.0, 2.0)).kernel(block, None).tolist())"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "inside")}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert found.stdout.strip() == "[[[128, 128], [128, 128]]]", found.stderr


USER = """
from geoloom.loops import compiled
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
