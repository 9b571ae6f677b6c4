"""Tries an op on everything its declaration allows.

Inputs are made from the op's declaration and from what its `profile` accepts: one or three bands,
every dtype, styled and unstyled, numbers. Their values depend on the absolute pixel index alone, so
that what is computed tile by tile can be compared, bit for bit, with one big window.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.errors import GeoloomError
from geoloom.grid import Grid, Lattice
from geoloom.op import Op, registry
from geoloom.param import BandName, Number
from geoloom.profile import Look, Profile

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
    return spread(found, 16)


def places(op: Op) -> Iterator[Grid]:
    """The grids on which an op may be tried."""
    for grid in GRIDS:
        try:
            if op.margin_on(grid) <= WIDEST_MARGIN:
                yield grid
        except GeoloomError:
            continue


@functools.cache
def all_cases(cls: type[Op], every_variant: bool) -> tuple[Case, ...]:
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


def cases(cls: type[Op], *, every_variant: bool = False, count: int | None = None) -> tuple[Case, ...]:
    """The op with inputs it accepts: its example with all, or each variant with a few; `count` of them."""
    found = all_cases(cls, every_variant)
    return found if count is None else tuple(spread(list(found), count))


@pytest.fixture(name="cases")
def cases_fixture() -> Callable[..., tuple[Case, ...]]:
    """`cases(cls)`: an op with inputs it accepts."""
    return cases


@pytest.fixture(name="inputs_for")
def inputs_fixture() -> Callable[[Op], Iterator[tuple[Profile, ...]]]:
    """`inputs_for(op)`: inputs an op may be given, whether it accepts them or not."""
    return inputs_for
