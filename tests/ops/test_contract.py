"""What every op promises, checked for every op in the registry; there is no list to edit.

Inputs are made from the op's declaration and from what its `profile` accepts: one or three bands,
every dtype, styled and unstyled, numbers. Their values depend on the absolute pixel index alone, so
that what is computed tile by tile can be compared, bit for bit, with one big window.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import itertools
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.errors import GeoloomError
from geoloom.grid import Grid, Lattice
from geoloom.image import Image
from geoloom.op import Op, decode, registry
from geoloom.param import BandName, BlobKey, Number
from geoloom.profile import Look, Profile

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "ops.json"

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64")
DTYPES = ("bool", *INTEGERS, "float32", "float64")
PAIRS = (
    *(("uint8", "float32"), ("int16", "uint16"), ("int64", "float32")),
    *(("bool", "uint8"), ("float64", "int32")),
)
NUMBERS = (3, 0.5, -1, 0)
LOOKS = {
    "grey": Look("grey", limits=((0.0, 1.0),)),
    "palette": Look("palette", lut=tuple(f"#{i:02x}80ffff" for i in range(7))),
    "rgb": Look("rgb", limits=((0.0, 1.0),) * 3),
    "rgba": Look("rgba"),
}
LOOK_BANDS = {"grey": 1, "palette": 1, "rgb": 3, "rgba": 4}

# A tile high in the north, one across the antimeridian, one on the ground's own metres, one in degrees.
GRIDS = (
    Grid(Lattice.web_mercator(3), 200, 300, 37, 41),
    Grid(Lattice.web_mercator(9), 2**17 - 20, 40_000, 37, 41),
    Grid(Lattice.web_mercator(14), 2_100_000, 1_400_000, 37, 41),
    Grid(Lattice("EPSG:32633", 30.0, 30.0, 300_000.0, 5_200_000.0), -5, 7, 37, 41),
    Grid(Lattice("EPSG:4326", 0.001, 0.001, -180.0, 90.0, "degree"), 190_000, 60_000, 37, 41),
)
WIDEST_MARGIN = 80
"""Grids on which an op needs more than this are left out, to stay quick."""

each_op = pytest.mark.parametrize("name", registry())
each_computed = pytest.mark.parametrize("name", [name for name, cls in registry().items() if not cls.source])


# inputs ----------------------------------------------------------------------------------------


def noise(grid: Grid, seed: int) -> np.ndarray:
    """64 random bits a pixel, (rows, cols), from its absolute row and column."""
    rows = (np.arange(grid.rows) + grid.row).astype(np.uint64)[:, np.newaxis]
    cols = (np.arange(grid.cols) + grid.col).astype(np.uint64)[np.newaxis]
    with np.errstate(over="ignore"):
        x = (
            rows * np.uint64(0x9E3779B97F4A7C15)
            + cols * np.uint64(0xC2B2AE3D27D4EB4F)
            + np.uint64(seed * 977)
        )
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def band_values(dtype: str, grid: Grid, seed: int, wild: bool) -> np.ndarray:
    """One band of any dtype: small numbers, and if `wild` also its extremes."""
    bits = noise(grid, seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return bits % np.uint64(2) == 1
    small = (bits % np.uint64(9)).astype(np.int64) - (4 if kind != "u" else 0)
    if kind == "f":
        small = small * 0.7 + (bits % np.uint64(1009)).astype(np.float64) * 1e-3
        extremes = [np.finfo(dtype).max, np.finfo(dtype).min, np.finfo(dtype).tiny, 0.0, 1e9, -32768.5]
    else:
        extremes = [np.iinfo(dtype).max, np.iinfo(dtype).min, np.iinfo(dtype).max - 1, 0, 100, 1]
    values = small.astype(dtype)
    if wild:
        which = (bits >> np.uint64(40)) % np.uint64(18)
        values = np.choose(
            np.minimum(which, 6).astype(np.intp), [*(np.array(one, dtype) for one in extremes), values]
        )
    return values.astype(dtype)


def valid_pixels(grid: Grid, seed: int) -> np.ndarray:
    """About four in five, in patches and single pixels."""
    patches = Grid(grid.lattice, grid.col // 8, grid.row // 8, grid.cols // 8 + 2, grid.rows // 8 + 2)
    rows = (np.arange(grid.rows) + grid.row) // 8 - patches.row
    cols = (np.arange(grid.cols) + grid.col) // 8 - patches.col
    coarse = noise(patches, seed + 5)[np.ix_(rows, cols)] % np.uint64(8) != 0
    return coarse & (noise(grid, seed + 6) % np.uint64(16) != 0)


def field(profile: Profile, grid: Grid, seed: int, wild: bool = True, gaps: bool = True) -> Block:
    """A block of an image like `profile`; what it holds at a pixel does not depend on the grid."""
    if profile.constant is not None:
        return registry()["constant"](value=profile.constant).compute((), grid)
    bands = [band_values(profile.dtype, grid, seed + 31 * i, wild) for i in range(profile.bands)]
    data = np.stack(bands)
    if profile.look is not None and profile.look.kind == "palette":
        data %= len(profile.look.lut)
    if not gaps:
        return Block(data, np.ones((1, *grid.shape), np.bool_))
    several = seed % 2 == 1 and profile.bands > 1
    valid = np.stack([valid_pixels(grid, seed + 7 * i) for i in range(profile.bands if several else 1)])
    np.copyto(data, data.dtype.type(0), where=~valid)
    return Block(data, valid)


@dataclass(frozen=True)
class Case:
    """An op and images it accepts."""

    op: Op
    inputs: tuple[Profile, ...]

    @property
    def profile(self) -> Profile:
        return self.op.described(*self.inputs)

    def blocks(self, grid: Grid, seed: int = 1, **how: Any) -> tuple[Block, ...]:
        """Whole inputs on a grid, all bands."""
        return tuple(field(one, grid, seed + 101 * i, **how) for i, one in enumerate(self.inputs))

    def run(self, grid: Grid, blocks: tuple[Block, ...], bands: tuple[int, ...] | None = None) -> Block:
        """What the planner and the evaluator make of it, from inputs on the grid and its margin."""
        everything = tuple(range(self.profile.bands))
        asked = everything if bands is None else bands
        routes = self.op.routes(asked, self.inputs)
        if routes is not None:
            return gathered(routes, blocks, grid, self.profile.dtype)
        given = asked if self.op.bandwise else everything
        op = self.op if given == everything else self.op.restrict(given)
        reads = self.op.reads(given, self.inputs)
        parts = tuple(block.pick(tuple(read)) for block, read in zip(blocks, reads, strict=True))
        found = op.compute(parts, grid, inputs=self.inputs)
        return found if given == asked else found.pick(asked)

    def compute(self, grid: Grid, seed: int = 1, **how: Any) -> Block:
        """The op on its inputs' fields, all pixels written out."""
        around = grid.expand(self.op.margin_on(grid))
        return self.run(grid, self.blocks(around, seed, **how)).fill(*grid.shape)

    def grids(self) -> Iterator[Grid]:
        """Where it may be tried."""
        return places(self.op)

    def __str__(self) -> str:
        shown = ", ".join(
            f"{one.constant!r}"
            if one.constant is not None
            else f"{one.bands}×{one.dtype}{f' {one.look.kind}' if one.look else ''}"
            for one in self.inputs
        )
        return f"{self.op!r} on ({shown})"


def gathered(routes: list[tuple[int, int]], blocks: tuple[Block, ...], grid: Grid, dtype: str) -> Block:
    """Bands put together as an op's routes say."""
    parts = [blocks[which].pick((band,)).fill(*grid.shape) for which, band in routes]
    data = np.concatenate([part.data.astype(dtype) for part in parts])
    return Block(data, np.concatenate([np.broadcast_to(part.valid, part.data.shape) for part in parts]))


def leaves(hint: Any) -> Iterator[Any]:
    """The innermost types of a parameter's declaration."""
    if get_origin(hint) in (None, Literal) or is_number(hint):
        yield hint
    else:
        for one in get_args(hint):
            yield from leaves(one)


def is_number(hint: Any) -> bool:
    return hint in (int, float, Number)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from texts(one)


def named_bands(op: Op) -> tuple[str, ...]:
    """Bands that the op's parameters name."""
    found: dict[str, None] = {}
    for declared in op.parameters:
        if BandName in leaves(declared.hint):
            found.update(dict.fromkeys(texts(getattr(op, declared.name))))
    return tuple(found)


def images_for(op: Op, kind: str) -> Iterator[Profile]:
    """Images that an input of this kind may be given, plain ones first."""
    named = named_bands(op)
    many = (named + ("b1", "b2", "b3"))[: max(3, len(named))]
    choices = [named or ("b1",)] if kind == "band" else [many, (named or ("b1",))]
    if kind == "band":
        choices = [("b1",)]
    for names, dtype in itertools.product(dict.fromkeys(choices), DTYPES):
        yield Profile(names, dtype)
    for look_kind, look in LOOKS.items():
        yield Profile(tuple(f"b{i}" for i in range(LOOK_BANDS[look_kind])), "uint8", look=look)


def inputs_for(op: Op) -> Iterator[tuple[Profile, ...]]:
    """Combinations of inputs: all alike, of mixed dtype, one band beside many, numbers beside images."""
    kinds = ["image" if one.kind == "images" else one.kind for one in op.inputs]
    kinds += [kind for one, kind in zip(op.inputs, kinds, strict=True) if one.kind == "images"]
    if not kinds:
        yield ()
        return
    for first in images_for(op, kinds[0]):
        yield (first, *(first if kind == kinds[0] else first.pick((0,)) for kind in kinds[1:]))
    if len(kinds) == 1:
        return
    one, three = ("b1",), ("b1", "b2", "b3")
    for (a, b), names, others in itertools.product(PAIRS, (one, three), (one, three)):
        yield (Profile(names, a), *(Profile(others, b) for _ in kinds[1:]))
        yield (Profile(names, "bool"), *(Profile(others, (a, b)[i % 2]) for i, _ in enumerate(kinds[1:])))
    for position, value, dtype in itertools.product(
        range(len(kinds)), NUMBERS, ("uint8", "int32", "float32")
    ):
        number = registry()["constant"](value=value).profile()
        yield tuple(number if i == position else Profile(one, dtype) for i in range(len(kinds)))
        yield tuple(
            number if i == position else Profile(three, "bool" if i == 0 else dtype)
            for i in range(len(kinds))
        )


def variants(cls: type[Op]) -> list[Op]:
    """The op's example, and others that its declaration allows: each choice with each of some numbers."""
    example = cls.example()
    choices: dict[str, list[Any]] = {}
    numbers: list[dict[str, Any]] = [{}]
    for declared in cls.parameters:
        for leaf in leaves(declared.hint):
            if get_origin(leaf) is Literal:
                choices[declared.name] = list(get_args(leaf))
            elif leaf is bool:
                choices[declared.name] = [True, False]
            elif is_number(leaf):
                limits = [one for one in (declared.ge, declared.le) if one is not None]
                numbers += [{declared.name: one} for one in (*limits, 0, 1, -1, 2.5, 7, 100, 1500)]
            elif leaf is type(None):
                numbers.append({declared.name: None})
    found = [example]
    for number, chosen in itertools.product(numbers, itertools.product(*choices.values())):
        try:
            op = cls(**{**example.__dict__, **dict(zip(choices, chosen, strict=True)), **number})
        except GeoloomError:
            continue
        if op not in found and any(places(op)):
            found.append(op)
    return spread(found, 24)


def places(op: Op) -> Iterator[Grid]:
    """The grids on which an op may be tried."""
    for grid in GRIDS:
        try:
            if op.margin_on(grid) <= WIDEST_MARGIN:
                yield grid
        except GeoloomError:
            continue


@functools.cache
def cases(cls: type[Op], *, every_variant: bool = False) -> tuple[Case, ...]:
    """The op with inputs it accepts: its example with all, or each variant with a few."""
    found: list[Case] = []
    for op in variants(cls) if every_variant else [cls.example()]:
        own = []
        for inputs in inputs_for(op):
            try:
                op.described(*inputs)
            except GeoloomError:
                continue
            own.append(Case(op, inputs))
        found += spread(own, 5) if every_variant else own
    assert found, f"{cls.name} accepts no input that its declaration allows"
    return tuple(found)


def spread[T](found: list[T], count: int) -> list[T]:
    """Some of many, from first to last."""
    if len(found) <= count:
        return found
    return [found[round(i * (len(found) - 1) / (count - 1))] for i in range(count)]


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
        numeric = any(leaf in (int, float) or str(leaf) == "int | float" for leaf in leaves(declared.hint))
        assert declared.unit is not None or not numeric, (
            f"{declared.name} needs a unit ('1' for a pure number)"
        )
    assert inspect.signature(cls.signature) is not None
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
def test_nonsense_is_refused_in_words(name: str) -> None:
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
def test_the_result_is_as_declared(name: str) -> None:
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
def test_looks_are_uint8_of_their_bands(name: str) -> None:
    for case in (*cases(registry()[name]), *cases(registry()[name], every_variant=True)):
        look = case.profile.look
        if look is None:
            continue
        assert case.profile.dtype == "uint8", case
        assert case.profile.bands == LOOK_BANDS[look.kind], case
        if look.kind == "palette":
            assert case.compute(next(case.grids())).data.max() < len(look.lut), case


@each_computed
def test_tiles_computed_apart_equal_one_window(name: str) -> None:
    for number, case in enumerate(cases(registry()[name], every_variant=True)):
        chance = random.Random(number)
        grids = list(case.grids())
        for grid in grids if number < 4 else [grids[number % len(grids)]]:
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
def test_from_invalid_pixels_comes_nothing_valid(name: str) -> None:
    cls = registry()[name]
    if cls.fills or not cls.inputs:
        return
    for case in spread(list(cases(cls, every_variant=True)), 24):
        if any(one.constant is not None for one in case.inputs):
            continue
        grid = next(case.grids())
        around = grid.expand(case.op.margin_on(grid))
        blocks = tuple(without(block, around) for block in case.blocks(around))
        assert not case.run(grid, blocks).valid.any(), case


def without(block: Block, grid: Grid) -> Block:
    """The block with no valid pixel."""
    return Block(np.zeros_like(block.data), np.zeros((1, *grid.shape), np.bool_))


@each_computed
def test_inputs_are_never_modified(name: str) -> None:
    for case in spread(list(cases(registry()[name], every_variant=True)), 24):
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
def test_a_number_equals_an_image_of_that_number(name: str) -> None:
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
def test_some_bands_equal_those_of_all(name: str) -> None:
    for case in spread(list(cases(registry()[name], every_variant=True)), 24):
        grid, count = next(case.grids()), case.profile.bands
        around = grid.expand(case.op.margin_on(grid))
        blocks = case.blocks(around)
        whole = case.run(grid, blocks).fill(*grid.shape)
        for size in range(1, count):
            for bands in itertools.combinations(range(count), size):
                found = case.run(grid, blocks, bands).fill(*grid.shape)
                assert_same(found, whole.pick(bands), f"bands {bands} of {case}")


@each_computed
def test_routes_and_reads_name_bands_that_exist(name: str) -> None:
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


def test_blob_keys_are_settled() -> None:
    assert BlobKey in leaves(registry()["item"].parameters[0].hint)
