"""A property's column in an index: which rows a comparison holds for, and their order by it.

Texts stand as numbers into a sorted list of the distinct ones, in which 0 means that there is none: a
comparison is decided once for each distinct text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from geoloom.errors import RequestError
from geoloom_engine.catalog.columns import JSON, MOMENT, NUMBER
from geoloom_engine.catalog.geoparquet import moment

Mask = npt.NDArray[np.bool_]

MANY_VALUES = 40
"""Distinct texts above which they are not listed."""

_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_ARROW = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def fold(array: pa.Array) -> pa.Array:
    """A column as an index keeps it: numbers with NaN for null, texts by number."""
    if pa.types.is_floating(array.type):
        return pc.fill_null(array, float("nan"))
    values = pc.unique(array.drop_null())
    values = values.take(pc.sort_indices(values))
    codes = pc.add(pc.fill_null(pc.index_in(array, value_set=values), -1), 1).cast(pa.int32())
    listed = pa.concat_arrays([pa.array([""], pa.large_string()), values.cast(pa.large_string())])
    return pa.DictionaryArray.from_arrays(codes, listed)


def unfold(array: pa.Array) -> pa.Array:
    """A column as it was before `fold`; other columns as they are."""
    if not pa.types.is_dictionary(array.type):
        return array
    there = pc.greater(array.indices, 0)
    return pc.if_else(there, array.dictionary.take(array.indices), pa.scalar(None, pa.large_string()))


class Property:
    """A property of all items of an index.

    Parameters
    ----------
    kind
        One of `columns`.
    column
        From `fold`.
    """

    def __init__(self, kind: str, column: pa.Array) -> None:
        self._kind = kind
        if kind in (NUMBER, MOMENT):
            self._numbers: npt.NDArray[Any] = column.to_numpy(zero_copy_only=True)
        else:
            self._numbers = column.indices.to_numpy(zero_copy_only=True)
            self._texts = column.dictionary

    def holds(self, rows: Any, operator: str, value: Any) -> Mask:
        """For which of some rows a comparison holds; for none that lacks the property.

        Raises
        ------
        RequestError
            A moment is compared with what is none.
        """
        there = self._numbers[rows]
        if self._kind in (NUMBER, MOMENT):
            if self._kind == MOMENT:
                value = [_moment(one) for one in value] if operator == "in" else _moment(value)
            return _numbers_hold(there, operator, value)
        table = np.zeros(len(self._texts), bool)
        table[1:] = self._decided(operator, value)
        found: Mask = table[there]
        return found

    def keys(self, rows: Any, descending: bool) -> npt.NDArray[Any]:
        """Numbers that ascend in the order asked for; NaN for what lacks the property."""
        there: npt.NDArray[Any] = self._numbers[rows].astype(np.float64)
        if self._kind not in (NUMBER, MOMENT):
            there[there == 0] = np.nan
            if self._kind == JSON:
                there = self._json_order()[self._numbers[rows]]
        return -there if descending else there

    def summary(self) -> Any:
        """``minimum`` and ``maximum`` of numbers, the distinct texts if they are few, else None."""
        if self._kind in (NUMBER, MOMENT):
            known = self._numbers[np.isfinite(self._numbers)]
            if not len(known):
                return None
            ends = [float(known.min()), float(known.max())]
            if self._kind == MOMENT:
                ends = [str(np.datetime64(int(end), "s")) + "Z" for end in ends]  # type: ignore[misc]
            return {"minimum": ends[0], "maximum": ends[1]}
        if len(self._texts) - 1 > MANY_VALUES:
            return None
        listed = self._texts[1:].to_pylist()
        return [json.loads(text) for text in listed] if self._kind == JSON else listed

    def _decided(self, operator: str, value: Any) -> Mask:
        """Whether the comparison holds for each distinct text."""
        texts = self._texts[1:]
        if self._kind == JSON:
            values = [json.loads(text) for text in texts.to_pylist()]
            return np.array([_json_holds(one, operator, value) for one in values], bool)
        if operator == "in":
            sought = [one for one in value if isinstance(one, str)]
            found = pc.is_in(texts, value_set=pa.array(sought, pa.large_string()))
        elif not isinstance(value, str):
            return np.full(len(texts), operator == "!=")
        elif operator == "contains":
            found = pc.match_substring(texts, value)
        else:
            found = _ARROW[operator](texts, value)
        return np.asarray(found.to_numpy(zero_copy_only=False), bool)

    def _json_order(self) -> npt.NDArray[np.float64]:
        """A rank for each distinct JSON text: numbers by value, then others by their text; NaN for none."""
        values = [json.loads(text) for text in self._texts[1:].to_pylist()]
        keys = [_sortable(value) for value in values]
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        return np.array([np.nan, *(ranks[key] for key in keys)])


def _sortable(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, value if isinstance(value, str) else json.dumps(value)


def _numbers_hold(there: npt.NDArray[Any], operator: str, value: Any) -> Mask:
    if operator == "in":
        return np.isin(there, [float(one) for one in value if isinstance(one, int | float)])
    if not isinstance(value, int | float) or operator == "contains":
        return ~np.isnan(there) if operator == "!=" else np.zeros(len(there), bool)
    found: Mask = _COMPARED[operator](there, float(value))
    return found & ~np.isnan(there) if operator == "!=" else found


def _json_holds(there: Any, operator: str, value: Any) -> bool:
    if there is None:
        return False
    if operator == "contains":
        if isinstance(there, list):
            return any(_same(one, value) for one in there)
        return isinstance(there, str) and isinstance(value, str) and value in there
    if operator == "in":
        return any(_same(there, one) for one in value)
    if operator in ("==", "!="):
        return _same(there, value) == (operator == "==")
    try:
        return bool(_COMPARED[operator](there, value))
    except TypeError:
        return False


def _same(a: Any, b: Any) -> bool:
    """Equality in which true is not 1."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _moment(value: Any) -> float:
    found = moment(value)
    if found is None:
        raise RequestError(
            f"{str(value)[:60]!r} is compared with a date, but is none.",
            hint="Write dates as 2016-07-13 or 2016-07-13T09:20:32Z.",
        )
    return found.timestamp()
