from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from geoloom.op import registry
from geoloom_engine import rehearsal
from geoloom_engine.readers import Window
from geoloom_engine.rehearsal import DTYPES, Specimen, first_steps, later_steps, try_out
from geoloom_engine.warming import PROGRAM


def test_the_first_steps_warp_pixels() -> None:
    blocks = [step() for step in islice(first_steps(), 2 * len(DTYPES))]
    for block in blocks:
        assert block.valid.any()
        assert not block.valid.all()


def test_a_picture_is_encoded_next() -> None:
    assert next(islice(first_steps(), 2 * len(DTYPES), None))().startswith(b"\x89PNG")


def test_ops_that_take_one_band_are_tried_out() -> None:
    tried = {name for name, op in registry().items() if hasattr(op, "kernel") and try_out(op) is not None}
    assert {"focal_mean", "focal_min", "focal_median", "slope", "hillshade", "add", "sqrt"} <= tried
    assert try_out(registry()["blend"]) is None
    assert try_out(registry()["bit_and"]) is None
    assert try_out(registry()["bit_and"], "uint16") is not None
    assert sum(1 for _ in first_steps()) > 2 * len(DTYPES) + len(tried)


def test_the_specimen_reads_as_a_source_does() -> None:
    data, valid = Specimen("uint16").read(0, (0,), Window(0, 0, 5, 4))
    assert (data.shape, str(data.dtype), valid.shape, str(valid.dtype)) == (
        (1, 4, 5),
        "uint16",
        (1, 4, 5),
        "bool",
    )


def test_later_steps_run() -> None:
    for step in later_steps():
        step()


def test_the_program_runs_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    child = subprocess.Popen([sys.executable, *PROGRAM, "first"], stdin=subprocess.PIPE, cwd=tmp_path)
    assert child.wait(300) == 0
    child.communicate()


def test_it_ends_with_who_started_it() -> None:
    code = """if True:
        import signal
        from geoloom_engine import rehearsal
        rehearsal.later_steps = lambda: [signal.pause]
        rehearsal.main("later")
    """
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    child.communicate(timeout=60)
    assert child.returncode == 1


def test_what_fails_is_left_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(rehearsal, "first_steps", lambda: [lambda: {}[1], lambda: done.append(1)])
    monkeypatch.setattr(rehearsal, "_end_with_parent", lambda: None)
    rehearsal.main("first")
    assert done == [1]
