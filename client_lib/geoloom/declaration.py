"""What an op declares, inputs and output, and the signature and docstring that follow."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.param import REQUIRED, Parameter

Band = Block
"""Annotation of an input of exactly one band; the kernel gets a `Block`."""
Image = Block
"""Annotation of an input of any number of bands."""
Images = tuple[Block, ...]
"""Annotation of any number of inputs; only as the last input."""
SubChain = Chain
"""Annotation of a sub-chain that is evaluated once per item."""

InputKind = Literal["band", "image", "images", "sub_chain"]


@dataclass(frozen=True, slots=True)
class Input:
    """A declared input; see `band`, `image`, `images` and `sub_chain`."""

    name: str
    kind: InputKind
    doc: str
    unit: str | None = None
    default: Any = REQUIRED


def band(*, doc: str, unit: str | None = None) -> Any:
    """Declare an input of exactly one band."""
    return Input("", "band", doc, unit)


def image(*, doc: str, unit: str | None = None, default: Any = REQUIRED) -> Any:
    """Declare an input of any number of bands. Numbers become constants."""
    return Input("", "image", doc, unit, default)


def images(*, doc: str, unit: str | None = None) -> Any:
    """Declare any number of further inputs (the method takes them as ``*name``)."""
    return Input("", "images", doc, unit)


def sub_chain(*, doc: str) -> Any:
    """Declare the sub-chain that the op evaluates once per item."""
    return Input("", "sub_chain", doc)


@dataclass(frozen=True, slots=True)
class Output:
    """What an op gives.

    Parameters
    ----------
    bands
        A number, or ``"same"``: as many as the inputs have (1 combines with any number).
    dtype
        numpy's name, or ``"same"`` as the first input.
    unit, range
        Of the values; ``unit="same"`` keeps the first input's.
    """

    bands: int | Literal["same"] = "same"
    dtype: str = "float32"
    unit: str | None = None
    range: tuple[float, float] | None = None


def signature(inputs: tuple[Input, ...], parameters: tuple[Parameter, ...]) -> inspect.Signature:
    """Signature of the Image method: inputs but the first, then parameters."""
    kinds = inspect.Parameter
    found = [kinds("self", kinds.POSITIONAL_OR_KEYWORD)]
    variadic = False
    for one in inputs[1:]:
        variadic = variadic or one.kind == "images"
        if one.kind == "images":
            found.append(kinds(one.name, kinds.VAR_POSITIONAL))
            continue
        default = kinds.empty if one.default is REQUIRED else one.default
        found.append(kinds(one.name, kinds.POSITIONAL_OR_KEYWORD, default=default))
    for declared in sorted(parameters, key=lambda one: not one.required):
        if declared.variadic:
            variadic = True
            found.append(kinds(declared.name, kinds.VAR_POSITIONAL))
            continue
        kind = kinds.KEYWORD_ONLY if variadic else kinds.POSITIONAL_OR_KEYWORD
        default = kinds.empty if declared.required else declared.default
        found.append(kinds(declared.name, kind, default=default))
    return inspect.Signature(found)


def reference(summary: str, inputs: tuple[Input, ...], parameters: tuple[Parameter, ...]) -> str:
    """The docstring of method or function: summary, the inputs that are passed, parameters."""
    lines = [inspect.cleandoc(summary), "", "Parameters", "----------"]
    for one in inputs:
        lines += [one.name, f"    {one.doc}" + (f" Unit: {one.unit}." if one.unit else "")]
    for declared in parameters:
        default = "" if declared.required else f", default {declared.default!r}"
        unit = f" Unit: {declared.unit}." if declared.unit else ""
        lines += [f"{declared.name} : {declared.describe_type()}{default}", f"    {declared.doc}{unit}"]
    if not inputs and not parameters:
        del lines[-2:]
    return "\n".join(lines).rstrip()
