"""Coarse levels that a Zarr store brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from geoloom_engine.readers import SourcePool


@pytest.fixture
def pyramid(tmp_path: Path, make_ocean: Any) -> Path:
    """Three levels; the coarse ones hold what no averaging gives, to be told apart."""
    path = tmp_path / "a.zarr"
    made = make_ocean(rows=320, cols=640, depths=1)
    for level in range(3):
        one = made if level == 0 else made.coarsen(lat=2**level, lon=2**level).mean()
        (one + 1000 * level).astype("f4").to_zarr(path, group=str(level), mode="a", consolidated=False)
    datasets = [{"path": str(level)} for level in range(3)]
    zarr.open_group(path, mode="a").attrs["multiscales"] = [{"datasets": datasets}]
    return path


def test_levels_are_those_of_the_store(pool: SourcePool, whole: Any, pyramid: Path) -> None:
    (one,) = pool.describe(str(pyramid))["variables"]
    assert one["name"] == "0/sst"
    source = pool.open(pool.time_steps(str(pyramid), "0/sst")[1][1])
    assert source.info.levels == ((640, 320), (320, 160), (160, 80))
    assert not source.info.built
    for level in range(3):
        data, valid = whole(source, level)
        assert abs(data[valid].mean() - 15 - 1000 * level) < 1
        stored = zarr.open_group(pyramid, mode="r")[f"{level}/sst"][1, 0]
        assert np.array_equal(np.where(valid, data, np.nan), stored, equal_nan=True)


def test_a_level_that_lies_elsewhere_is_none(pool: SourcePool, pyramid: Path) -> None:
    lon = zarr.open_group(pyramid, mode="a")["1/lon"]
    lon[:] = lon[:] + 90
    source = pool.open(pool.time_steps(str(pyramid), "0/sst")[1][1])
    assert source.info.levels == ((640, 320), (160, 80))


def test_without_any_that_fits_they_are_made(pool: SourcePool, pyramid: Path) -> None:
    zarr.open_group(pyramid, mode="a").attrs["multiscales"] = [{"datasets": "0"}]
    assert len(pool.describe(str(pyramid))["variables"]) == 3
    assert pool.open(pool.time_steps(str(pyramid), "0/sst")[1][1]).info.built
