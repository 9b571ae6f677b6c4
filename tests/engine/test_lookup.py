"""Lookup: tables give what the ops give, to the last bit, and stand for as much as they may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom.block import Block
from geoloom.derivation import profiles
from geoloom.grid import Bounds, Grid, Lattice
from geoloom.image import Image, build
from geoloom.op import Profile, decode, registry
from geoloom.ops.open import Open
from geoloom_engine.evaluate import evaluate
from geoloom_engine.lookup import joined
from geoloom_engine.plan import Plan
from geoloom_engine.readers import BandInfo, SourceInfo
from geoloom_engine.steps import Compute, Gather, Lookup, Read, Step, Steps, last_readers

GRID = Grid(Lattice.web_mercator(12), 64, 64, 40, 30)
DTYPES = ("uint8", "int8", "uint16", "int16")


def info(dtype: str) -> SourceInfo:
    return SourceInfo(
        href=f"/{dtype}.tif",
        driver="GTiff",
        fingerprint=dtype,
        width=1024,
        height=1024,
        transform=(0.0, 38.0, 0.0, 0.0, 0.0, -38.0),
        crs="EPSG:3857",
        bands=tuple(BandInfo(name, dtype) for name in ("a", "b", "c")),
        overviews=(),
        bounds=Bounds(0.0, -1.0, 1.0, 0.0),
        resolution=(38.0, 38.0),
        ground_resolution=38.0,
        resampling="nearest",
        block=(256, 256),
        dtype=dtype,
    )


def opened(dtype: str) -> Image:
    return Image(Open(href=f"/{dtype}.tif").chain(), Profile.of_source(info(dtype).to_json()), {})


def steps_of(image: Image) -> tuple[tuple[Step, ...], Profile]:
    chain = image.chain
    sources = {f"/{dtype}.tif": info(dtype) for dtype in DTYPES}
    known = profiles(chain, lambda one: Profile.of_source(sources[one.href].to_json()))
    ops = {node.key: decode(node) for node in chain.topological()}
    return Steps(chain, ops, known, sources).build(), known[chain.root]


def computed(steps: tuple[Step, ...], profile: Profile, pixels: dict[str, Block]) -> Block:
    reads = {index: step for index, step in enumerate(steps) if isinstance(step, Read)}
    blocks = {index: pixels[step.href].pick(step.bands) for index, step in reads.items()}
    grids = (GRID,) * len(steps)
    plan = Plan(GRID, steps, grids, {}, {}, {}, {}, profile, "", last_readers(steps))
    return evaluate(plan, blocks)


def pixels(seed: int, layers: int = 1) -> dict[str, Block]:
    random = np.random.default_rng(seed)
    found = {}
    for dtype in DTYPES:
        bits = random.integers(0, 256 ** np.dtype(dtype).itemsize, (3, *GRID.shape))
        data = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
        valid = random.random((layers, *GRID.shape)) > 0.1
        found[f"/{dtype}.tif"] = Block(data * valid, valid)
    return found


RUNS = {
    "coloured": lambda image: image["a"].scale(0, 90).colormap("viridis"),
    "own colours": lambda image: image["b"].scale(10, 90).colors(["white", "red"]),
    "classes": lambda image: (
        image["a"].remap({1: 10, 2: 20}).palette({10: ("one", "red"), 20: ("two", "blue")})
    ),
    "true colours": lambda image: image.rgb("c", "b", "a").scale(0, 80, 0, 90, 5, 100),
    "masked by itself": lambda image: image["a"].mask(image["a"] > 20).scale(0, 90),
    "a formula": lambda image: (image["a"] * 2 + 1).clip(3, 77) / 7 - image["a"],
    "a condition": lambda image: (image["a"] > 5) & (image["a"] < 50),
    "not finite": lambda image: (1 / image["a"]).scale(0, 1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", RUNS)
def test_a_table_gives_what_its_ops_give(name, dtype, layers):
    steps, profile = steps_of(RUNS[name](opened(dtype)))
    short = joined(steps)
    assert isinstance(short[-1], Lookup)
    assert all(isinstance(step, Read) for step in short[:-1])
    one, two = (computed(which, profile, pixels(7, layers)) for which in (steps, short))
    assert two.data.dtype == one.data.dtype
    assert np.array_equal(one.data, two.data)
    assert np.array_equal(*(np.broadcast_to(block.valid, block.data.shape) for block in (one, two)))


def test_bands_of_several_files_go_straight_into_one_table():
    image = build(registry()["stack"](), opened("uint16")["a"], opened("uint16")["b"]).scale(0, 9)
    steps, _ = steps_of(image)
    assert [type(step) for step in joined(steps)] == [Read, Lookup]
    assert isinstance(joined(steps)[-1], Lookup)


def test_what_two_bands_make_together_is_no_table():
    image = opened("uint16")
    index = image.normalized_difference("a", "b").scale(-1, 1).colormap("rdylgn")
    short = joined(steps_of(index)[0])
    assert not any(isinstance(step, Lookup) for step in short[:-1])
    assert any(isinstance(step, Compute) and step.op.name == "normalized_difference" for step in short)


def test_neighbours_are_not_in_a_table_but_what_follows_them_may_be():
    shaded = opened("int16")["a"].hillshade()
    short = joined(steps_of(shaded.scale(20, 200).colormap("greys"))[0])
    assert [type(step) for step in short] == [Read, Compute, Lookup]


def test_one_wide_op_is_quicker_than_its_table():
    steps, _ = steps_of(opened("uint16")["a"] * 2)
    assert joined(steps) == steps


def test_what_others_need_too_stays():
    shades = opened("uint16")["a"].scale(0, 90)
    both = build(registry()["stack"](), shades, (shades.slope() > 3) * 1)
    steps, _ = steps_of(both)
    short = joined(steps)
    assert any(isinstance(step, Lookup) for step in short)
    assert isinstance(short[-1], Gather)
    assert any(isinstance(step, Compute) and step.op.name == "slope" for step in short)


def test_filling_what_is_invalid_is_no_table():
    steps, profile = steps_of(opened("uint8")["a"].unmask(3).scale(0, 9))
    short = joined(steps)
    assert isinstance(short[1], Compute)
    assert np.array_equal(*(computed(which, profile, pixels(5)).data for which in (steps, short)))


FORMULAS = {
    "+": lambda result, number, image: result + number,
    "-": lambda result, number, image: number - result,
    "*": lambda result, number, image: result * (number or 1),
    "/": lambda result, number, image: number / result,
    ">": lambda result, number, image: result > number,
    "clip": lambda result, number, image: result.clip(-100, 100),
    "mask": lambda result, number, image: result.mask(image > number),
    "abs": lambda result, number, image: abs(result),
    "self": lambda result, number, image: result + image,
}


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_formulas_of_one_band_stay_the_same(data):
    result = image = opened(data.draw(st.sampled_from(DTYPES)))["a"]
    numbers = st.one_of(st.integers(-300, 300), st.sampled_from([0.5, -2.25, 1e6]))
    for _ in range(data.draw(st.integers(1, 6))):
        result = FORMULAS[data.draw(st.sampled_from(sorted(FORMULAS)))](result, data.draw(numbers), image)
    steps, profile = steps_of(result.scale(-50, 50))
    one, two = (computed(which, profile, pixels(11)) for which in (steps, joined(steps)))
    assert np.array_equal(one.data, two.data)
    assert np.array_equal(one.valid, two.valid)


FILLED = {
    "combine_first": lambda image: build(registry()["combine_first"](), image, 5),
    "below": lambda image: build(registry()["combine_first"](), 5, image),
    "where": lambda image: build(registry()["where"](), 1, 5, image),
}


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("name", FILLED)
def test_numbers_fill_what_is_invalid_whatever_is_computed_before_or_after(name, dtype):
    filled = FILLED[name](opened(dtype)["a"].clip(3, 77))
    steps, profile = steps_of(filled.scale(0, 90).colormap("viridis"))
    one, two = (computed(which, profile, pixels(7)) for which in (steps, joined(steps)))
    assert one.valid.all()
    assert two.valid.all()
    assert np.array_equal(one.data, two.data)


def test_a_condition_with_a_number_is_still_a_table():
    image = opened("uint8")["a"]
    chosen = build(registry()["where"](), image > 5, image, 0).scale(0, 90).colormap("viridis")
    assert [type(step) for step in joined(steps_of(chosen)[0])] == [Read, Lookup]
