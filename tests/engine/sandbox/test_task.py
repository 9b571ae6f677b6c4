"""A call prepared for a worker: its texts, and how much room it takes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from geoloom.block import Block
from geoloom.grid import Grid, Lattice
from geoloom_engine.sandbox.task import Call, Task

LATTICE = Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.1, "metre", 0.3048)
GRID = Grid(LATTICE, 30, 40, 6, 5)
CALL = Call(
    "me", "def f(img):\n    return 'é'".encode(), "f", "[[1],{}]", ("a",), ("numpy",), "float32", 2, 1
)
BLOCK = Block(np.zeros((1, 7, 8), np.uint8), np.ones((1, 7, 8), np.bool_))


def test_texts_are_json() -> None:
    task = Task.of(CALL, BLOCK, GRID)
    assert json.loads(task.program) == ["def f(img):\n    return 'é'", "f", ["numpy"]]
    names, lattice, arguments = json.loads(task.words)
    assert names == ["a"]
    assert Lattice(*lattice) == LATTICE
    assert arguments == "[[1],{}]"


def test_narrow_pixels_take_the_room_of_wide_ones() -> None:
    task = Task.of(CALL, BLOCK, GRID)
    assert task.given == np.int32
    assert task.result == np.float32
    assert task.layout.valid_at - task.layout.data_at >= 7 * 8 * 4
    assert task.layout.outside - task.layout.result_at >= 2 * 5 * 6 * (4 + 1)


def test_text_that_is_no_text_is_sent_all_the_same() -> None:
    task = Task.of(replace(CALL, source=b"\xff"), BLOCK, GRID)
    assert json.loads(task.program)[0] == "\ufffd"
