"""Plan: demand flows down from the root: bands, resampling, margins, limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from geoloom.errors import DemandError, NotFound, SourceChanged
from geoloom.grid import Bounds, Tile
from geoloom.image import Image, build
from geoloom.op import Profile, registry
from geoloom.ops.open import Open
from geoloom_engine.plan import MAX_COST, Planner
from geoloom_engine.readers import BandInfo, SourceInfo
from geoloom_engine.steps import Compute, Gather, Read
from geoloom_engine.warp import Limits

TILE = Tile(10, 547, 346)
WEST, NORTH = TILE.grid().bounds().west, TILE.grid().bounds().north
INFO = SourceInfo(
    href="/scene.tif",
    driver="GTiff",
    fingerprint="one",
    width=1024,
    height=1024,
    transform=(WEST, 38.0, 0.0, NORTH, 0.0, -38.0),
    crs="EPSG:3857",
    bands=tuple(BandInfo(name, "uint16") for name in ("B02", "B03", "B04", "B08")),
    overviews=((512, 512), (256, 256)),
    bounds=Bounds(12.3, 49.7, 12.7, 50.0),
    resolution=(38.0, 38.0),
    ground_resolution=24.7,
    resampling="bilinear",
    block=(256, 256),
    dtype="uint16",
)


@dataclass
class FakeSource:
    info: SourceInfo


class FakePool:
    """Knows sources without files."""

    def __init__(self, *infos: SourceInfo) -> None:
        self.infos = {info.href: info for info in infos}
        self.opened = 0

    def open(self, href: str) -> FakeSource:
        self.opened += 1
        return FakeSource(self.infos[href])

    def fingerprint(self, href: str) -> str:
        if href not in self.infos:
            raise NotFound(f"no {href}")
        return self.infos[href].fingerprint


@pytest.fixture
def pool() -> FakePool:
    return FakePool(INFO)


@pytest.fixture
def planner(pool) -> Planner:
    return Planner(pool, Limits())


@pytest.fixture
def image() -> Image:
    return Image(Open(href=INFO.href).chain(), Profile.of_source(INFO.to_json()), {})


def reads(plan):
    return [step for step in plan.steps if isinstance(step, Read)]


def test_only_the_bands_needed_are_read_once(planner, image):
    ndvi = image.normalized_difference("B08", "B04")
    assert [step.bands for step in reads(planner.plan(ndvi.chain, TILE.grid()))] == [(2, 3)]
    red = image["B04"]
    masked = image.mask(red > 100)["B02"] + red
    assert [step.bands for step in reads(planner.plan(masked.chain, TILE.grid()))] == [(0, 2)]


def test_rearranging_bands_costs_no_step(planner, image):
    plan = planner.plan(image.bands("B08").rename("nir").chain, TILE.grid())
    assert [type(step) for step in plan.steps] == [Read]
    assert plan.profile.names == ("nir",)
    turned = planner.plan(image.bands("B08", "B02").chain, TILE.grid())
    assert [type(step) for step in turned.steps] == [Read, Gather]


def test_bands_that_overlap_are_computed_once(planner, image):
    masked = image.mask(image["B02"] > 3)
    both = masked["B04"] + masked["B08"]
    plan = planner.plan(both.chain, TILE.grid())
    ops = [step.op.name for step in plan.steps if isinstance(step, Compute)]
    assert ops.count("mask") == 1


def test_margins_add_up_and_the_largest_wins(planner, image):
    band = image["B02"]
    smooth = band.focal_mean(3)
    terrain = smooth.slope() + band
    plan = planner.plan(terrain.chain, TILE.grid())
    around = {
        type(step).__name__ + getattr(getattr(step, "op", None), "name", ""): grid.cols - 256
        for step, grid in zip(plan.steps, plan.grids, strict=True)
    }
    assert around["Read"] == 8
    assert around["Computefocal_mean"] == 2
    assert around["Computeslope"] == 0


def test_margins_have_a_limit(planner, image):
    band = image["B02"]
    for _ in range(6):
        band = band.focal_mean(100)
    with pytest.raises(DemandError, match="600") as caught:
        planner.plan(band.chain, TILE.grid())
    assert caught.value.op == "focal_mean"


def test_the_innermost_resampling_wins(planner, image):
    plan = planner.plan((image["B02"].resample("nearest") + image["B03"]).chain, TILE.grid())
    assert sorted((step.bands, step.resampling) for step in reads(plan)) == [
        ((0,), "nearest"),
        ((1,), "bilinear"),
    ]
    nested = image["B02"].resample("nearest").sqrt().resample("cubic")
    assert [step.resampling for step in reads(planner.plan(nested.chain, TILE.grid()))] == ["nearest"]


def test_bands_of_one_file_are_read_as_each_needs():
    flags = replace(INFO.bands[0], name="QA", resampling="nearest")
    info = replace(INFO, bands=(INFO.bands[0], flags, INFO.bands[2]))
    planner = Planner(FakePool(info), Limits())
    image = Image(Open(href=info.href).chain(), Profile.of_source(info.to_json()), {})
    plan = planner.plan(image.chain, TILE.grid())
    assert [(step.bands, step.resampling) for step in reads(plan)] == [
        ((0, 2), "bilinear"),
        ((1,), "nearest"),
    ]
    assert plan.profile.names == ("B02", "QA", "B04")
    clear = planner.plan(image.mask(image["QA"] == 0)["B04"].chain, TILE.grid())
    assert {(step.bands, step.resampling) for step in reads(clear)} == {((1,), "nearest"), ((2,), "bilinear")}
    nearest = planner.plan(image.resample("nearest").chain, TILE.grid())
    assert [step.bands for step in reads(nearest)] == [(0, 1, 2)]


def test_data_versions_follow_the_files(planner, pool, image):
    before = planner.data_version(image.chain)
    assert before == planner.data_version(image.chain)
    pool.infos[INFO.href] = replace(INFO, fingerprint="two")
    assert planner.data_version(image.chain) != before
    assert planner.plan(image.chain, TILE.grid()).sources[INFO.href].fingerprint == "two"
    assert Planner(pool, Limits(), epoch="next").data_version(image.chain) != planner.data_version(
        image.chain
    )


def test_a_file_that_changes_while_its_chain_is_prepared_is_not_taken_for_the_old_one(planner, pool, image):
    """Else pixels of the new file would be kept under the version of the old one."""
    looked_up = pool.fingerprint
    pool.fingerprint = lambda href: "older" if pool.opened == 0 else looked_up(href)
    with pytest.raises(SourceChanged):
        planner.plan(image.chain, TILE.grid())
    assert planner.plan(image.chain, TILE.grid()).data == planner.data_version(image.chain)


def test_a_pinned_source_that_changed_is_named(planner, pool):
    pinned = Open(href=INFO.href, fingerprint="one").chain()
    planner.plan(pinned, TILE.grid())
    pool.infos[INFO.href] = replace(INFO, fingerprint="two")
    with pytest.raises(SourceChanged, match="scene") as caught:
        planner.data_version(pinned)
    assert caught.value.node == pinned.root


def test_a_chain_is_prepared_once(planner, pool, image):
    chain = image.normalized_difference("B08", "B04").chain
    for x in range(5):
        planner.plan(chain, Tile(10, 540 + x, 346).grid())
    assert pool.opened == 1


def test_without_overviews_low_zooms_are_refused_beforehand(image):
    huge = replace(
        INFO,
        width=200_000,
        height=200_000,
        overviews=(),
        resolution=(0.19, 0.19),
        transform=(WEST, 0.19, 0.0, NORTH, 0.0, -0.19),
        ground_resolution=0.12,
    )
    planner = Planner(FakePool(huge), Limits())
    lowest = planner.describe(image.chain).zooms[0]
    assert lowest > 8
    with pytest.raises(DemandError, match=r"zoom|overview"):
        planner.plan(image.chain, Tile.at(12.5, 49.85, 8).grid())


def test_deep_chains_need_no_recursion(planner, image):
    band = image["B02"]
    for _ in range(200):
        band = band + image["B03"]
    assert len(planner.plan(band.chain, TILE.grid()).steps) == 201


def test_memory_is_bounded_by_what_is_alive_at_one_time(planner, image):
    band = image["B02"]
    for _ in range(200):
        band = band * 1.5 + image["B03"]
    grid = TILE.grid(4)
    plan = planner.plan(band.chain, grid)
    assert plan.memory < 64 << 20
    wide = build(registry()["stack"](), *(image["B02"] * float(i) for i in range(2, 400)))
    with pytest.raises(DemandError, match=r"MB .* fewer bands"):
        planner.plan(wide.chain, grid)


def test_a_process_with_little_memory_refuses_sooner(pool, image):
    chain = (image["B02"] + image["B03"]).chain
    Planner(pool, Limits(), memory=64 << 20).plan(chain, TILE.grid(2))
    with pytest.raises(DemandError, match=r"than the 1 MB .* allowed"):
        Planner(pool, Limits(), memory=1 << 20).plan(chain, TILE.grid(2))


def test_the_cost_of_an_evaluation_is_bounded(planner, image):
    weights = tuple((1.0,) * 101 for _ in range(101))
    blurred = build(registry()["convolve"](weights=weights), image["B02"])
    cost = planner.plan(blurred.chain, TILE.grid()).cost
    assert cost > 256 * 256 * 101 * 101
    with pytest.raises(DemandError, match="operations") as refusal:
        planner.plan(blurred.chain, TILE.grid(4))
    assert "fewer" in str(refusal.value.hint)
    median = build(registry()["focal_median"](radius=25.0), image["B02"])
    assert planner.plan(median.chain, TILE.grid(4)).cost < MAX_COST  # its windows slide


def test_the_bytes_of_all_reads_are_bounded(planner):
    names = tuple(BandInfo(f"b{i}", "float64") for i in range(40))
    wide = replace(INFO, width=7000, height=7000, overviews=(), bands=names)
    planner = Planner(FakePool(wide), Limits())
    image = Image(Open(href=wide.href).chain(), Profile.of_source(wide.to_json()), {})
    grid = Tile.at(13.5, 49.0, 6).grid()
    assert 10e6 < planner.plan(image["b1"].chain, grid).pixels < 64e6
    with pytest.raises(DemandError, match="MB of source"):
        planner.plan(image.chain, grid)
