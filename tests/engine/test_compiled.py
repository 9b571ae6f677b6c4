"""Code that was compiled for an image is used by an engine whose own files cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geoloom_engine import compiled

PROGRAM = """
import numba

@numba.njit(cache=True)
def twice(number):
    return number * 2

twice(2)
print(*twice.stats.cache_hits.values())
"""


def run(program: Path, cache: Path) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    answer = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, check=True)
    return answer.stdout.decode().strip()


def test_what_an_image_brought_is_not_compiled_again(tmp_path: Path) -> None:
    program, brought, kept = tmp_path / "program.py", tmp_path / "brought", tmp_path / "kept"
    program.write_text(PROGRAM)
    assert run(program, brought) == ""
    environment = {"NUMBA_CACHE_DIR": str(kept)}
    assert compiled.unpack(environment, brought) == 2
    assert run(program, kept) == "1"
    assert sorted(path.name for path in kept.rglob("*.*")) == sorted(
        path.name for path in brought.rglob("*.*")
    )


def test_each_image_is_unpacked_once_and_a_newer_one_replaces_it(tmp_path: Path) -> None:
    brought, kept = tmp_path / "brought", tmp_path / "kept"
    (brought / "a").mkdir(parents=True)
    (brought / "a" / "loop.nbi").write_text("old")
    (brought / "a" / "loop.1.nbc").write_text("old")
    environment = {"NUMBA_CACHE_DIR": str(kept)}
    assert compiled.unpack(environment, brought) == 2
    (kept / "a" / "loop.nbi").write_text("made here")
    assert compiled.unpack(environment, brought) == 0
    assert (kept / "a" / "loop.nbi").read_text() == "made here"
    (brought / "a" / "loop.nbi").write_text("newer")
    assert compiled.unpack(environment, brought) == 2
    assert (kept / "a" / "loop.nbi").read_text() == "newer"


def test_without_a_folder_nothing_is_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    brought = tmp_path / "brought"
    assert compiled.unpack({"NUMBA_CACHE_DIR": str(tmp_path)}, brought) == 0
    brought.mkdir()
    assert compiled.unpack({"NUMBA_CACHE_DIR": str(tmp_path)}, brought) == 0
    (brought / "x.nbi").write_text("x")
    assert compiled.unpack({}, brought) == 0
    (tmp_path / "file").write_text("")
    assert compiled.unpack({"NUMBA_CACHE_DIR": str(tmp_path / "file" / "x")}, brought) == 0
    assert "compiled code cannot be put into" in caplog.text
