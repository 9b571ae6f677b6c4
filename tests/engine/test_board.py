"""Board: each worker writes its number, all see it, and a new worker begins at nothing."""

from __future__ import annotations

import os

from geoloom_engine.board import Board


def test_another_process_sees_what_is_written() -> None:
    board = Board(3)
    board.claim(1)
    pid = os.fork()
    if pid == 0:
        board.claim(2)
        board.mine += 2.5
        os._exit(0)
    os.waitpid(pid, 0)
    assert list(board.numbers) == [0.0, 0.0, 2.5]
    assert board.mine == 0.0


def test_who_comes_after_begins_at_nothing() -> None:
    board = Board(2)
    board.claim(1)
    board.mine = 7.0
    assert board.mine == 7.0
    board.claim(1)
    assert list(board.numbers) == [0.0, 0.0]
