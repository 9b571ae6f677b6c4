"""Which worker computes a tile: the one that owns its neighbourhood, unless it has too much to do.

Neighbouring tiles are drawn from the same source blocks. So that a block is decoded once per engine
and not once per worker, and so that equal requests meet, the tiles below one ancestor two zooms up
belong to one worker, whatever the chain: by rendezvous hashing (Thaler and Ravishankar 1998), with
bounded load (Mirrokni et al. 2018) so that no worker idles while another's queue grows.

Asking costs 41 µs of processor time in all (a tile of 36 kB, both sides). For local files that does not
always pay: with an NDVI of two bands and two workers on a busy machine, tiles that have to be decoded
cost 1 to 12 % less processor time with owners, those from decoded blocks 1 to 10 % more, and their 95th
percentile grows by half, as two processes have to be woken. For remote files, a block that is not fetched
twice outweighs all that. Hence the default of `GEOLOOM_TILE_OWNERS`.
"""

from __future__ import annotations

from geoloom.grid import Tile
from geoloom_engine.board import Board

UP = 2
"""Zooms from a tile to the ancestor that decides: 16 tiles stay together."""

FULLER = 1.25
"""How many times as much as the mean an owner may have to do."""

SLACK = 0.02
"""Seconds of work that an owner may have in any case."""


class Owners(Board):
    """Who owns what, and how many seconds of work each worker has to do."""

    def note(self, seconds: float) -> None:
        """Tell all how much this worker has to do."""
        self.mine = seconds

    def owner(self, tile: Tile) -> int:
        """The worker that owns a tile."""
        up = min(UP, tile.z)
        # Hashes of numbers are the same in all processes.
        place = (tile.z - up, tile.x >> up, tile.y >> up)
        return max(range(len(self.numbers)), key=lambda worker: hash((worker, *place)))

    def elsewhere(self, tile: Tile) -> int | None:
        """The other worker that is to compute a tile; None if it is best done here."""
        owner = self.owner(tile)
        if owner == self.me:
            return None
        mean = sum(self.numbers) / len(self.numbers)
        return owner if self.numbers[owner] <= FULLER * mean + SLACK else None
