from __future__ import annotations

import multiprocessing
from collections import Counter

from geoloom.grid import Tile
from geoloom_engine.owners import SLACK, Owners


def test_neighbours_stay_together_and_all_get_their_share() -> None:
    owners = Owners(4)
    area = [Tile(12, x, y) for x in range(2000, 2080) for y in range(1400, 1480)]
    owned = {(tile.x >> 2, tile.y >> 2): set[int]() for tile in area}
    for tile in area:
        owned[tile.x >> 2, tile.y >> 2].add(owners.owner(tile))
    assert all(len(found) == 1 for found in owned.values())
    shares = Counter(owners.owner(tile) for tile in area)
    assert set(shares) == set(range(4))
    assert max(shares.values()) < 1.5 * min(shares.values())
    assert owners.owner(Tile(0, 0, 0)) in range(4)
    assert owners.owner(Tile(1, 1, 1)) in range(4)


def test_another_worker_takes_tiles_from_all_but_moves_none_between_them() -> None:
    few, more = Owners(3), Owners(4)
    for tile in [Tile(10, x, y) for x in range(0, 160, 4) for y in range(0, 160, 4)]:
        assert more.owner(tile) in (few.owner(tile), 3)


def place(owners: Owners, worker: int) -> Tile:
    return next(tile for x in range(0, 1024, 4) if owners.owner(tile := Tile(10, x, 0)) == worker)


def test_an_owner_with_too_much_to_do_is_left_alone() -> None:
    owners = Owners(2)
    owners.claim(1)
    mine, other = place(owners, 1), place(owners, 0)
    assert owners.elsewhere(mine) is None
    assert owners.elsewhere(other) == 0
    owners.claim(0)
    owners.note(10 * SLACK)
    owners.me = 1
    assert owners.elsewhere(other) is None
    owners.note(10 * SLACK)
    assert owners.elsewhere(other) == 0
    # A worker that was started anew has nothing to do.
    owners.claim(1)
    assert owners.elsewhere(other) is None


def _tell(owners: Owners, asked: list[Tile], answers: multiprocessing.Queue[list[int]]) -> None:
    owners.claim(1)
    owners.note(100.0)
    answers.put([owners.owner(tile) for tile in asked])


def test_processes_agree_and_see_each_others_load() -> None:
    owners = Owners(2)
    tiles = [Tile(9, x, 7) for x in range(0, 300, 3)]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_tell, args=(owners, tiles, answers))
    process.start()
    assert answers.get(timeout=20) == [owners.owner(tile) for tile in tiles]
    process.join(20)
    owners.claim(0)
    assert owners.elsewhere(place(owners, 1)) is None
