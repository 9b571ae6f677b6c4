"""Op: the declaration from which method, checks, docs, legend and tests are derived.

An op is a class with typed parameters, a margin, an output and a kernel::

    @op
    class Slope(Op):
        '''Steepest slope of a surface (Horn 1981), as gdaldem computes it.'''

        elevation: Band = band(unit="m", doc="Surface height.")
        z_factor: float = param(1.0, gt=0, unit="1", doc="Vertical exaggeration.")
        margin = 1
        output = Output(bands=1, dtype="float32", unit="degree", range=(0, 90))

        def kernel(self, elevation, grid): ...
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, ClassVar, Self, overload

import numpy as np

from geoloom.block import Block, eroded, valid_in_all
from geoloom.chain import Chain, Node, canonical
from geoloom.declaration import (
    Band,
    Image,
    Images,
    Input,
    Output,
    SubChain,
    band,
    image,
    images,
    reference,
    signature,
    sub_chain,
)
from geoloom.errors import BandError, ParameterError, UnknownOp
from geoloom.grid import Grid
from geoloom.param import REQUIRED, BandName, BlobKey, Number, Parameter, frozen, param, plain
from geoloom.profile import MAX_BANDS, Look, Profile, check_band_count, combined_names

__all__ = [
    "REQUIRED",
    "Band",
    "BandName",
    "BlobKey",
    "Image",
    "Images",
    "Input",
    "Look",
    "Number",
    "Op",
    "Output",
    "Parameter",
    "Profile",
    "SubChain",
    "band",
    "decode",
    "image",
    "images",
    "op",
    "param",
    "registry",
    "sub_chain",
]


class Op:
    """Base of all ops. Instances hold normalised parameters and are immutable."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[Input, ...]]
    parameters: ClassVar[tuple[Parameter, ...]]
    output: ClassVar[Output] = Output()
    margin: Any = 0
    """Pixels needed around the grid: a number, or a method ``margin(self, grid)`` giving one."""
    source: ClassVar[bool] = False
    """Whether its pixels come from a reader."""
    bandwise: ClassVar[bool] = False
    """Whether output band i depends on band i (or the only band) of each input alone."""
    pointwise: ClassVar[bool] = False
    """Whether each pixel of a band is computed from that pixel of these bands alone, wherever it lies."""
    fills: ClassVar[bool] = False
    """Whether a pixel may be valid though all it was computed from is invalid."""
    sandboxed: ClassVar[bool] = False
    """Whether a user's function computes it: its pixels may depend on the window."""
    painted: ClassVar[bool] = False
    """Whether it has no inputs and its pixels come from a painter of the engine."""
    symbol: ClassVar[str | None] = None
    """The Python operator it stands for, such as ``+``."""
    ufunc: ClassVar[str | None] = None
    """The numpy ufunc it stands for, so that ``numpy.sqrt(image)`` builds it."""
    function: ClassVar[bool] = False
    """Whether ``gl.name(image)`` exists beside ``image.name()``."""
    method: ClassVar[bool] = True
    """Whether Image gets a method of its name."""
    told: ClassVar[tuple[str, ...]] = ()
    """Which of ``dtype`` and ``inputs`` the kernel takes; set by `op`."""

    def __init__(self, /, **values: Any) -> None:
        unknown = set(values) - {one.name for one in self.parameters}
        if unknown:
            known = ", ".join(one.name for one in self.parameters) or "none"
            raise ParameterError(
                f"{self.name}() has no parameter {min(unknown)[:60]!a}.", hint=f"Its parameters are: {known}."
            )
        for declared in self.parameters:
            value = values.get(declared.name, declared.default)
            if value is REQUIRED:
                raise ParameterError(f"{self.name}() needs {declared.name}: {declared.doc}")
            self.__dict__[declared.name] = declared.normalise(value, self.name)
        self.check()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("ops are immutable")

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and canonical(self.params()) == canonical(other.params())

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.__dict__.items())))

    def check(self) -> None:
        """Check parameters against each other; raises ParameterError."""

    def params(self) -> dict[str, Any]:
        """The parameters as the node's JSON holds them."""
        return {one.name: plain(self.__dict__[one.name]) for one in self.parameters}

    def chain(self, *inputs: Chain, each: Chain | None = None) -> Chain:
        """The chain of this op over other chains."""
        return Chain.extend(self.name, self.version, self.params(), inputs, each)

    def margin_on(self, grid: Grid) -> int:
        """Pixels this op needs around `grid`."""
        return int(self.margin(grid)) if callable(self.margin) else int(self.margin)

    def effort(self, grid: Grid) -> float:
        """How much there is to do for a pixel of a band; 1 is a sum of two. Limits a plan's cost."""
        return 1.0

    def sampling(self, asked: str | None) -> str | None:
        """The resampling its inputs are read with, given what was asked of itself."""
        return asked

    def profile(self, *inputs: Profile) -> Profile:
        """What the result is, given what the inputs are; raises BandError, ParameterError."""
        first = inputs[0] if inputs else None
        dtype, unit = self.output.dtype, self.output.unit
        if first is not None and dtype == "same":
            dtype = first.dtype
        if first is not None and unit == "same":
            unit = first.unit
        return Profile(self._names(inputs), dtype, unit=unit, range=self.output.range)

    def described(self, *inputs: Profile) -> Profile:
        """`profile`, after a check that inputs declared as one band are one, and bands not too many.

        Raises
        ------
        BandError
            Naming the bands there are.
        """
        for declared, given in zip(self.inputs, inputs, strict=False):
            if declared.kind == "band" and given.bands != 1:
                raise BandError(
                    f"{self.name} needs one band as {declared.name}; the image has {given.bands}: "
                    f"{', '.join(given.names)}.",
                    hint=f'Choose one, such as image["{given.names[0]}"].',
                )
        check_band_count(self.name, sum(one.bands for one in inputs), 10 * MAX_BANDS)
        found = self.profile(*inputs)
        check_band_count(self.name, found.bands, MAX_BANDS)
        return found

    def _names(self, inputs: tuple[Profile, ...]) -> tuple[str, ...]:
        if self.output.bands == "same":
            return combined_names(self.name, *inputs)
        if self.output.bands == 1:
            return (self.name,)
        return tuple(f"{self.name}_{i + 1}" for i in range(self.output.bands))

    def restrict(self, bands: tuple[int, ...]) -> Op:
        """For a bandwise op: the op that computes only these output bands."""
        return self

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]] | None:
        """For an op that only rearranges bands: (input, band) of each output band asked for."""
        return None

    def reads(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, ...]]:
        """The bands of each input that these output bands need; the kernel gets just these.

        A bandwise op needs the same bands, any other all of them unless it says which.
        """
        if not self.bandwise:
            return [tuple(range(one.bands)) for one in inputs]
        return [(0,) if one.bands == 1 else bands for one in inputs]

    def working_dtype(self, *inputs: Profile) -> str:
        """The dtype in which to compute; only kernels that take a ``dtype`` are told."""
        return self.profile(*inputs).dtype

    kernel: Any
    """The pure array function ``kernel(self, *blocks, grid)``: computes the result on `grid` from
    blocks on ``grid.expand(margin)``. It returns a `Block`, or an array, which stands for a block
    that is valid where all inputs are, over the whole margin. With a parameter ``dtype`` it is also
    told the `working_dtype`, which blocks alone do not show (numbers adapt to images); with a
    parameter ``inputs`` the inputs' profiles."""

    def compute(
        self, blocks: tuple[Block, ...], grid: Grid, inputs: tuple[Profile, ...] | None = None
    ) -> Block:
        """Run the kernel and keep the promises of a `Block`. What the evaluator calls.

        Parameters
        ----------
        blocks
            The inputs on ``grid.expand(margin)``, with the bands that `reads` names.
        grid
            Where to compute.
        inputs
            The inputs' profiles. Without them they are guessed from the blocks, a block of
            (1, 1, 1) being taken for a number.
        """
        told: dict[str, Any] = {}
        if self.told:
            inputs = inputs or tuple(Profile.of_block(block.data) for block in blocks)
            known = {"dtype": _working_dtype(self, inputs), "inputs": inputs}
            told = {name: known[name] for name in self.told}
        margin = self.margin_on(grid)
        if margin:
            around = grid.expand(margin)
            blocks = tuple(block.fill(around.rows, around.cols) for block in blocks)
        with np.errstate(all="ignore"):  # what overflows or divides by zero becomes invalid
            result = self.kernel(*blocks, grid=grid, **told)
        if isinstance(result, Block):
            return result
        valid = valid_in_all(blocks)
        if margin and valid.shape[1:] != (1, 1):
            valid = eroded(valid, margin)
        data = result[np.newaxis] if result.ndim == 2 else result
        if valid.shape[0] not in (1, data.shape[0]):
            valid = valid.all(axis=0, keepdims=True)
        return Block.of(data, valid)

    @classmethod
    def example(cls) -> Self:
        """The op with its parameters' examples, or else their defaults."""
        return cls(**{one.name: one.example for one in cls.parameters if one.example is not None})

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Signature of the Image method: inputs but the first, then parameters."""
        return signature(cls.inputs, cls.parameters)

    @classmethod
    def reference(cls) -> str:
        """The docstring of its method, whose image is `self`, or of its function."""
        return reference(cls.__doc__ or "", cls.inputs[1:] if cls.method else cls.inputs, cls.parameters)


@lru_cache(maxsize=256)  # not more: parameters may be long
def _working_dtype(one: Op, inputs: tuple[Profile, ...]) -> np.dtype[Any]:
    return np.dtype(one.working_dtype(*inputs))


_REGISTRY: dict[str, dict[int, type[Op]]] = {}


@overload
def op[T: Op](cls: type[T]) -> type[T]: ...
@overload
def op[T: Op](*, name: str) -> Callable[[type[T]], type[T]]: ...
def op[T: Op](cls: type[T] | None = None, *, name: str | None = None) -> Any:
    """Declare a class as an op: reads its fields and registers it.

    The name is the class's in snake_case unless given (for names that Python reserves).
    """

    def declare(cls: type[T]) -> type[T]:
        cls.name = name or re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        hints = typing.get_type_hints(cls)
        inputs, parameters = [], []
        for field, value in [entry for base in reversed(cls.__mro__) for entry in vars(base).items()]:
            if isinstance(value, Input):
                inputs.append(replace(value, name=field))
            elif isinstance(value, Parameter):
                declared = replace(value, name=field, hint=hints[field])
                if not declared.required:
                    declared = replace(declared, default=declared.normalise(declared.default, cls.name))
                parameters.append(declared)
            else:
                continue
            if field in vars(cls):
                delattr(cls, field)
        kernel = getattr(cls, "kernel", None)
        takes = () if kernel is None else inspect.signature(kernel).parameters
        cls.told = tuple(one for one in ("dtype", "inputs") if one in takes)
        cls.inputs, cls.parameters = tuple(inputs), tuple(parameters)
        versions = _REGISTRY.setdefault(cls.name, {})
        known = versions.get(cls.version)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two ops are called {cls.name!r} version {cls.version}")
        versions[cls.version] = cls
        return cls

    return declare if cls is None else declare(cls)


@cache
def _load_all() -> None:
    package = importlib.import_module("geoloom.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"geoloom.ops.{module.name}")


def registry() -> Mapping[str, type[Op]]:
    """The newest version of every op, by name, in alphabetical order."""
    _load_all()
    return {name: _REGISTRY[name][max(_REGISTRY[name])] for name in sorted(_REGISTRY)}


def class_of(node: Node) -> type[Op]:
    """The op of a node, of its version, its parameters not looked at; raises UnknownOp."""
    _load_all()
    versions = _REGISTRY.get(node.op)
    if versions is None:
        raise UnknownOp(f"There is no op {node.op!r}.", hint="A newer Geoloom may have it.", node=node.key)
    cls = versions.get(node.v)
    if cls is None:
        known = ", ".join(str(v) for v in sorted(versions))
        message = f"The op {node.op} has no version {node.v} here (it has: {known})."
        hint = "Build the chain again, or update the engine."
        raise UnknownOp(message, hint=hint, node=node.key, op=node.op)
    return cls


def decode(node: Node) -> Op:
    """The op of a node, its parameters checked as strictly as in the notebook.

    Raises
    ------
    UnknownOp
        No such op or version here.
    ParameterError
        Parameters that are not in canonical form, or a wrong number of inputs.
    """
    cls = class_of(node)
    try:
        found = cls(**{name: frozen(value) for name, value in node.params.items()})
        if canonical(found.params()) != canonical(dict(node.params)):
            message = f"The parameters of {node.op} are not in canonical form."
            raise ParameterError(message, hint="Build the chain again with this Geoloom.")
        _check_inputs(cls, node)
    except ParameterError as error:
        error.node, error.op = node.key, node.op
        raise
    return found


def _check_inputs(cls: type[Op], node: Node) -> None:
    plain_inputs = [one for one in cls.inputs if one.kind != "sub_chain"]
    many = any(one.kind == "images" for one in plain_inputs)
    least = sum(one.kind != "images" for one in plain_inputs)
    count = len(node.inputs)
    if count < least or (count > least and not many):
        raise ParameterError(f"{node.op} takes {least}{' or more' if many else ''} inputs, not {count}.")
    if (node.each is not None) != any(one.kind == "sub_chain" for one in cls.inputs):
        raise ParameterError(f"{node.op} has a sub-chain too many or too few.")
