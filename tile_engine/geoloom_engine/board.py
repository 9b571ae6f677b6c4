"""A number of each worker, which all workers of an engine see."""

from __future__ import annotations

import mmap


class Board:
    """Numbers in memory that all workers share; made before the fork.

    Parameters
    ----------
    workers
        How many there are.
    """

    def __init__(self, workers: int) -> None:
        self.numbers = memoryview(mmap.mmap(-1, 8 * workers)).cast("d")
        self.me = 0

    def claim(self, worker: int) -> None:
        """Be this worker from now on; its predecessor's number is gone."""
        self.me = worker
        self.mine = 0.0

    @property
    def mine(self) -> float:
        """The number of this worker."""
        return self.numbers[self.me]

    @mine.setter
    def mine(self, number: float) -> None:
        self.numbers[self.me] = number
