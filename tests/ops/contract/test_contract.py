"""What every op promises, checked for every op in the registry; there is no list to edit.

`conftest.py` beside this file makes the inputs.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.errors import GeoloomError
from geoloom.grid import Grid
from geoloom.image import Image
from geoloom.op import Op, decode, registry
from geoloom.ops.composite import Reduction
from geoloom.profile import Profile

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "ops.json"
LOOK_BANDS = {"grey": 1, "palette": 1, "rgb": 3, "rgba": 4}

each_op = pytest.mark.parametrize("name", registry())
each_computed = pytest.mark.parametrize(
    "name",
    [
        name
        for name, cls in registry().items()
        if not (cls.source or cls.sandboxed or cls.painted or issubclass(cls, Reduction))
    ],
)


def assert_same(found: Block, expected: Block, what: object) -> None:
    """Bit for bit: which pixels are valid, and their values."""
    shape = expected.data.shape
    assert found.data.shape == shape, what
    assert found.data.dtype == expected.data.dtype, what
    assert np.array_equal(np.broadcast_to(found.valid, shape), np.broadcast_to(expected.valid, shape)), what
    assert found.data.tobytes() == expected.data.tobytes(), what


# declaration -----------------------------------------------------------------------------------


def example_chain(cls: type[Op]) -> Chain:
    """The chain whose key is golden."""
    maker = importlib.util.spec_from_file_location("make_ops", GOLDEN.with_name("make_ops.py"))
    assert maker is not None
    assert maker.loader is not None
    module = importlib.util.module_from_spec(maker)
    maker.loader.exec_module(module)
    return module.example_chain(cls)


@each_op
def test_the_example_survives_json(name: str) -> None:
    cls = registry()[name]
    chain = example_chain(cls)
    read = Chain.from_json(chain.to_json(), chain.root)
    assert decode(read.node) == cls.example()
    assert decode(read.node).params() == cls.example().params()
    assert type(decode(read.node)) is cls


@each_op
def test_the_golden_key(name: str) -> None:
    cls, golden = registry()[name], json.loads(GOLDEN.read_text())
    command = "python tests/golden/make_ops.py"
    assert name in golden, f"{name} has no golden key yet; run: {command}"
    written = golden[name]
    assert written["v"] == cls.version, f"{name} has a new version; run: {command}"
    assert written["key"] == example_chain(cls).root, (
        f"The key of {name} changed, so saved chains no longer mean the same: give it a new version. "
        f"If only its example changed, run: {command}"
    )


def test_no_golden_key_is_left_over() -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(registry())


@each_op
def test_it_is_documented(name: str) -> None:
    cls = registry()[name]
    summary = inspect.cleandoc(cls.__doc__ or "").splitlines()
    assert summary, "needs a docstring"
    first = " ".join(itertools.takewhile(bool, summary))
    assert first.endswith("."), f"a summary is a sentence: {first!r}"
    for one in cls.inputs:
        assert one.doc.endswith("."), f"the input {one.name} needs a sentence"
    for declared in cls.parameters:
        assert declared.doc.endswith("."), f"the parameter {declared.name} needs a sentence"
        numeric = re.search(r"\b(int|float)\b", declared.describe_type())
        assert declared.unit or not numeric, f"{declared.name} needs a unit ('1' for a pure number)"
    assert all(declared.name in cls.reference() for declared in cls.parameters)


@each_op
def test_its_name_is_the_files_or_a_familys(name: str) -> None:
    cls = registry()[name]
    module = cls.__module__.rpartition(".")[2]
    family = [one for one in registry().values() if one.__module__ == cls.__module__]
    if len(family) == 1:
        assert module == name, f"the file of a single op is called {name}.py"
    else:
        assert name not in {one.__module__.rpartition(".")[2] for one in registry().values()} - {module}
    assert sys.modules[cls.__module__].__doc__


@each_op
def test_its_method_is_its_own(name: str) -> None:
    cls = registry()[name]
    if cls.method and cls.inputs:
        method = vars(Image).get(name)
        assert method is not None, f"Image lacks {name}"
        assert method.__doc__ == cls.reference(), f"Image.{name} is something else"


@each_op
def test_no_field_hides_another(name: str) -> None:
    cls = registry()[name]
    fields = [one.name for one in (*cls.inputs, *cls.parameters)]
    assert len(set(fields)) == len(fields)
    assert [one for one in fields if hasattr(Op, one)] == []


JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 10**5000, 1e300, float("nan"), "", "x", "\ud800", b"x", (), ((),), (1, 2)),
    *({}, {"a": 1}, {1: None}, {1, 2}, object(), 1j, (None,), ("a", 1), (("a", 1),), ((1, "blue", 2),)),
    *(np.array([1, 2]), np.array(1.5), np.float32("nan"), range(3), "0" * 32, Op, lambda: 1),
)  # fmt: skip


@each_op
def test_nonsense_is_refused_in_words(name: str, inputs_for: Any) -> None:
    cls = registry()[name]
    example = cls.example()
    for declared, junk in itertools.product(cls.parameters, JUNK):
        try:
            op = cls(**{**example.__dict__, declared.name: junk})
            node = Chain.from_json(op.chain().to_json()).node
        except GeoloomError:
            continue
        assert cls(**node.params) == op, f"{name}: {declared.name}={junk!r} is not stable"
        for inputs in [] if cls.source else itertools.islice(inputs_for(example), 40):
            try:
                op.described(*inputs)
            except GeoloomError:
                continue


# pixels ----------------------------------------------------------------------------------------


@each_computed
def test_the_result_is_as_declared(name: str, cases: Any) -> None:
    for case in (*cases(registry()[name]), *cases(registry()[name], every_variant=True)):
        for wild in (False, True):
            grid = next(case.grids())
            found, profile = case.compute(grid, wild=wild), case.profile
            shape = (profile.bands, *grid.shape)
            assert found.data.dtype == profile.dtype, case
            assert found.data.shape == shape, case
            assert found.valid.dtype == np.bool_, case
            assert found.valid.shape in ((1, *grid.shape), shape), case
            valid = np.broadcast_to(found.valid, shape)
            assert not found.data[~valid].any(), f"invalid pixels hold 0: {case}"
            values = found.data[valid]
            assert np.isfinite(values).all(), case
            if profile.range is not None and values.size:
                low, high = profile.range
                assert low <= values.min(), case
                assert values.max() <= high, case


@each_computed
def test_looks_are_uint8_of_their_bands(name: str, cases: Any) -> None:
    for case in (*cases(registry()[name]), *cases(registry()[name], every_variant=True)):
        look = case.profile.look
        if look is None:
            continue
        assert case.profile.dtype == "uint8", case
        assert case.profile.bands == LOOK_BANDS[look.kind], case
        if look.kind == "palette":
            assert case.compute(next(case.grids())).data.max() < len(look.lut), case


@each_computed
def test_tiles_computed_apart_equal_one_window(name: str, cases: Any) -> None:
    for number, case in enumerate(cases(registry()[name], every_variant=True)):
        chance = random.Random(number)
        grids = list(case.grids())
        for grid in grids if number < 2 else [grids[number % len(grids)]]:
            whole = case.compute(grid, seed=number)
            for part in split(grid, chance):
                assert_same(
                    case.compute(part, seed=number), whole.crop(part.window_in(grid)), f"{case} at {part}"
                )


def split(grid: Grid, chance: random.Random) -> Iterator[Grid]:
    """The grid in up to nine pieces, cut anywhere."""
    rows = [0, *sorted(chance.sample(range(1, grid.rows), 2)), grid.rows]
    cols = [0, *sorted(chance.sample(range(1, grid.cols), 2)), grid.cols]
    for (top, bottom), (left, right) in itertools.product(itertools.pairwise(rows), itertools.pairwise(cols)):
        yield Grid(grid.lattice, grid.col + left, grid.row + top, right - left, bottom - top)


@each_computed
def test_from_invalid_pixels_comes_nothing_valid(name: str, cases: Any) -> None:
    cls = registry()[name]
    if cls.fills or not cls.inputs:
        return
    for case in cases(cls, every_variant=True, count=24):
        if any(one.constant is not None for one in case.inputs):
            continue
        grid = next(case.grids())
        around = grid.expand(case.op.margin_on(grid))
        blocks = tuple(without(block, around) for block in case.blocks(around))
        assert not case.run(grid, blocks).valid.any(), case


def without(block: Block, grid: Grid) -> Block:
    """The block with no valid pixel."""
    return Block(np.zeros_like(block.data), np.zeros((1, *grid.shape), np.bool_))


@pytest.mark.parametrize("name", [name for name, cls in registry().items() if cls.pointwise])
def test_each_pixel_is_computed_by_itself(name: str, cases: Any) -> None:
    cls = registry()[name]
    assert cls.bandwise or all(one.kind == "band" for one in cls.inputs)
    assert cls.margin == 0
    for number, case in enumerate(cases(cls, every_variant=True)):
        grids = list(case.grids())
        here, there = grids[number % len(grids)], grids[(number + 1) % len(grids)]
        order = np.random.default_rng(number).permutation(here.cols * here.rows)[:1000]
        there = Grid(there.lattice, there.col, there.row, order.size, 1)
        found = case.run(there, tuple(shuffled(block, order) for block in case.blocks(here)))
        assert_same(found.fill(*there.shape), shuffled(case.compute(here), order), case)


def shuffled(block: Block, order: Any) -> Block:
    """Some pixels in one row, in another order; a number stays a number."""
    parts = (block.data, block.valid)
    data, valid = (one if one.size == 1 else one.reshape(len(one), 1, -1)[..., order] for one in parts)
    return Block(data, valid)


@each_computed
def test_inputs_are_never_modified(name: str, cases: Any) -> None:
    for case in cases(registry()[name], every_variant=True, count=24):
        grid = next(case.grids())
        around = grid.expand(case.op.margin_on(grid))
        writable, locked, kept = case.blocks(around), case.blocks(around), case.blocks(around)
        for block in locked:
            block.data.flags.writeable = block.valid.flags.writeable = False
        expected = case.run(grid, locked).fill(*grid.shape)
        found = case.run(grid, writable).fill(*grid.shape)
        assert_same(found, expected, case)
        for given, before in zip(writable, kept, strict=True):
            assert np.array_equal(given.data, before.data), case
            assert np.array_equal(given.valid, before.valid), case


@each_computed
def test_a_number_equals_an_image_of_that_number(name: str, cases: Any) -> None:
    for case in cases(registry()[name]):
        if all(one.constant is None for one in case.inputs) or not case.inputs:
            continue
        grid = next(case.grids())
        around = grid.expand(case.op.margin_on(grid))
        blocks = case.blocks(around)
        written = tuple(block.fill(*around.shape) for block in blocks)
        found, expected = (case.run(grid, one).fill(*grid.shape) for one in (blocks, written))
        assert np.array_equal(found.valid, expected.valid), case
        # numpy computes x ** 0.5 as a square root where it sees that the exponent is one number.
        np.testing.assert_allclose(found.data, expected.data, rtol=1e-6, err_msg=str(case))


@each_computed
def test_some_bands_equal_those_of_all(name: str, cases: Any) -> None:
    for case in cases(registry()[name], every_variant=True, count=24):
        grid, count = next(case.grids()), case.profile.bands
        around = grid.expand(case.op.margin_on(grid))
        blocks = case.blocks(around)
        whole = case.run(grid, blocks).fill(*grid.shape)
        for size in range(1, count):
            for bands in itertools.combinations(range(count), size):
                found = case.run(grid, blocks, bands).fill(*grid.shape)
                assert_same(found, whole.pick(bands), f"bands {bands} of {case}")


@each_computed
def test_routes_and_reads_name_bands_that_exist(name: str, cases: Any) -> None:
    for case in cases(registry()[name]):
        everything = tuple(range(case.profile.bands))
        routes = case.op.routes(everything, case.inputs)
        if routes is not None:
            assert len(routes) == case.profile.bands, case
            pairs = list(routes)
        else:
            assert getattr(case.op, "kernel", None) is not None, f"{name} has neither kernel nor routes"
            reads = case.op.reads(everything, case.inputs)
            assert len(reads) == len(case.inputs), case
            pairs = [(which, band) for which, bands in enumerate(reads) for band in bands]
        assert all(0 <= band < case.inputs[which].bands for which, band in pairs), case


@each_op
def test_one_band_where_one_is_declared(name: str) -> None:
    cls = registry()[name]
    if cls.source or all(one.kind != "band" for one in cls.inputs):
        return
    three = Profile(("b1", "b2", "b3"), "float32")
    inputs = tuple(three for one in cls.inputs if one.kind != "sub_chain")
    with pytest.raises(GeoloomError, match="band"):
        cls.example().described(*inputs)
