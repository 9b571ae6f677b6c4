"""Coarse levels that a Zarr store brings along, as `multiscales` among its attributes declares them.

::

    {"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}, {"path": "2"}]}]}

with the variables of one level in each of these groups, as ndpyramid and OME-Zarr write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoloom_engine.readers.arrays import Variable
from geoloom_engine.readers.source import Transform

type Lie = tuple[Variable, Transform, int, int]
"""A level: its variable, transform, width and height."""


def paths(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """The groups of the levels, the finest first; empty if there are none."""
    declared = attributes.get("multiscales")
    for one in declared if isinstance(declared, list) else []:
        datasets = one.get("datasets") if isinstance(one, dict) else None
        if isinstance(datasets, list):
            found = [str(each.get("path")) for each in datasets if isinstance(each, dict)]
            return tuple(found)
    return ()


def is_coarse(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a variable is but a coarse level of another one."""
    return name.partition("/")[0] in paths(attributes)[1:]


def siblings(
    variable: Variable, variables: Mapping[str, Variable], attributes: Mapping[str, Any]
) -> list[Variable]:
    """The variable in the groups of the coarser levels, of the same dimensions."""
    levels = paths(attributes)
    group, _, rest = variable.name.partition("/")
    if not levels or group != levels[0]:
        return []
    found = [variables.get(f"{path}/{rest}") for path in levels[1:]]
    return [
        one
        for one in found
        if one is not None and one.dtype == variable.dtype and _short(one) == _short(variable)
    ]


def lie_alike(fine: Lie, coarse: Lie) -> bool:
    """Whether a level is coarser and covers the same, to half of its pixels."""
    _, a, width, height = fine
    _, b, cols, rows = coarse
    if cols >= width or rows > height:
        return False
    ends = ((a[0], b[0], b[1]), (a[0] + a[1] * width, b[0] + b[1] * cols, b[1])) + (
        (a[3], b[3], b[5]),
        (a[3] + a[5] * height, b[3] + b[5] * rows, b[5]),
    )
    return all(abs(one - other) <= abs(step) / 2 for one, other, step in ends)


def _short(variable: Variable) -> list[str]:
    return [dim.rpartition("/")[2] for dim in variable.dims]
